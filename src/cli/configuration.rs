//! `mayfly config`

use std::io::Write;
use std::path::{Component, Path};

use diffy::DiffOptions;
use hyper::Method;

use super::CliError;
use super::replace::{self, Replaced};
use super::running::{Target, json};
use crate::config;
use crate::wire::admin::{
    AppliedConfiguration, ApplyConfiguration, Configuration, ConfigurationSummary, Configurations,
};

const AFTER_HELP: &str = "\
The file is where the configuration is changed. What was put into force, by a start, SIGHUP, `apply` or \
`rollback`, is kept under a number: the last hundred of them, with the policy files they name.

Commands go through the admin socket of the running CA, as the user it runs as or as root; `rollback` \
writes the file, and must be allowed to.

Examples:
  mayfly config diff                       what `apply` would change
  mayfly config apply                      put the file into force, all of it or nothing
  mayfly config history
  mayfly config rollback 7";

/// Arguments of `mayfly config`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// List the configurations that were put into force
    History(History),
    /// Print one of them
    Show(Show),
    /// Compare the file, or a version, with another version
    Diff(Diff),
    /// Put the file into force, without a restart
    Apply(Apply),
    /// Make the file what it was in a version, and put it into force
    Rollback(Rollback),
}

/// Arguments of `mayfly config history`.
#[derive(Clone, Debug, clap::Args)]
pub struct History {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly config show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// Its number; by default the one in force
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
    /// Print JSON, with the policy files
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly config diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Diff {
    /// The older side; by default the version in force
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,
    /// The newer side; by default the file
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly config apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct Apply {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly config rollback`.
#[derive(Clone, Debug, clap::Args)]
pub struct Rollback {
    /// Its number, as `mayfly config history` shows it
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: u64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::History(args) => history(args, out),
        Command::Show(args) => show(args, out),
        Command::Diff(args) => diff(args, out),
        Command::Apply(args) => apply(args, out),
        Command::Rollback(args) => rollback(args, out),
    }
}

fn fetch(target: &Target, version: Option<u64>) -> Result<Configuration, CliError> {
    let which = version.map_or_else(|| "current".to_owned(), |version| version.to_string());
    target.call(Method::GET, &format!("/v1/configurations/{which}"), None::<&()>)
}

fn history(args: &History, out: &mut dyn Write) -> Result<(), CliError> {
    let all: Configurations = args.target.call(Method::GET, "/v1/configurations", None::<&()>)?;
    if args.json {
        return json(out, &all);
    }
    writeln!(out, "{:>7}  {:<20}  {:<16}  SHA-256", "VERSION", "IN FORCE SINCE", "BY")?;
    for ConfigurationSummary { version, at, how, sha256 } in &all.versions {
        writeln!(out, "{version:>7}  {at:<20}  {how:<16}  {}", sha256.get(..16).unwrap_or(sha256))?;
    }
    Ok(())
}

fn show(args: &Show, out: &mut dyn Write) -> Result<(), CliError> {
    let found = fetch(&args.target, args.version)?;
    if args.json {
        return json(out, &found);
    }
    out.write_all(found.text.as_bytes())?;
    Ok(())
}

/// One side of a comparison: what it is called, and its texts by path.
struct Side {
    title: String,
    texts: Vec<(String, String)>,
}

impl Side {
    fn of_version(found: Configuration) -> Self {
        let title = format!("version {}", found.summary.version);
        let files = found.files.into_iter().map(|file| (file.path, file.text));
        Self { title, texts: std::iter::once(("mayfly.toml".to_owned(), found.text)).chain(files).collect() }
    }

    fn of_file(path: &Path) -> Result<Self, CliError> {
        let read = config::texts(path)
            .map_err(|problem| CliError::Config { file: path.to_owned(), problems: vec![problem] })?;
        let texts = std::iter::once(("mayfly.toml".to_owned(), read.file)).chain(read.policies).collect();
        Ok(Self { title: "the file".to_owned(), texts })
    }

    fn text(&self, path: &str) -> &str {
        self.texts.iter().find(|(own, _)| own == path).map_or("", |(_, text)| text)
    }
}

/// Unified, of every text that differs; nothing if none does.
fn compared(from: &Side, to: &Side) -> String {
    let added = to.texts.iter().filter(|(path, _)| !from.texts.iter().any(|(own, _)| own == path));
    let mut out = String::new();
    for (path, _) in from.texts.iter().chain(added) {
        let (old, new) = (from.text(path), to.text(path));
        if old != new {
            let title = |side: &Side| format!("{path} ({})", side.title);
            let mut options = DiffOptions::new();
            options.set_original_filename(title(from)).set_modified_filename(title(to));
            out.push_str(&options.create_patch(old, new).to_string());
        }
    }
    out
}

fn diff(args: &Diff, out: &mut dyn Write) -> Result<(), CliError> {
    let from = Side::of_version(fetch(&args.target, args.from)?);
    let to = match args.to {
        Some(version) => Side::of_version(fetch(&args.target, Some(version))?),
        None => Side::of_file(&args.target.file()?)?,
    };
    let text = compared(&from, &to);
    if text.is_empty() {
        writeln!(out, "no difference between {} and {}", from.title, to.title)?;
    }
    out.write_all(text.as_bytes())?;
    Ok(())
}

fn apply(args: &Apply, out: &mut dyn Write) -> Result<(), CliError> {
    let ask = ApplyConfiguration::default();
    let applied = args.target.call(Method::POST, "/v1/configurations", Some(&ask))?;
    report(&applied, args.json, out)
}

fn rollback(args: &Rollback, out: &mut dyn Write) -> Result<(), CliError> {
    let file = args.target.file()?;
    let _alone = replace::alone(&file)?;
    let found = fetch(&args.target, Some(args.version))?;
    let base = file.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // One that is gone, or does not read, names nothing.
    let known = config::policies(&config::texts(&file).map(|texts| texts.file).unwrap_or_default());
    for named in &found.files {
        if let Err(why) = may_write(base, &named.path, &known) {
            return Err(CliError::ForeignFile { version: args.version, path: named.path.clone(), why });
        }
    }
    // Every file as it is now, until the CA runs on the older ones.
    let mut replaced = Replaced::default();
    for named in &found.files {
        replaced.put(&base.join(&named.path), &named.text)?;
    }
    replaced.put(&file, &found.text)?;
    let ask = ApplyConfiguration { rollback_to: Some(args.version), ..ApplyConfiguration::default() };
    let (applied, copies): (AppliedConfiguration, _) =
        replaced.settled(args.target.call(Method::POST, "/v1/configurations", Some(&ask)))?;
    report(&applied, args.json, out)?;
    if !args.json {
        for copy in copies {
            writeln!(out, "What was there before is in {}", copy.display())?;
        }
    }
    Ok(())
}

/// Whether a rollback may write the file at `path`, as the CA's answer has it: that answer is no authority
/// over the files of whoever runs the command, perhaps root. What the file on the disk names, whoever may
/// write that has named; besides, what lies below it.
fn may_write(base: &Path, path: &str, named: &[String]) -> Result<(), &'static str> {
    if named.iter().any(|known| known == path) {
        return Ok(());
    }
    if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("the configuration file does not name, and which is not in its directory or below");
    }
    let mut at = base.to_owned();
    for part in Path::new(path).components() {
        at.push(part);
        if at.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Err("the configuration file does not name, and which is behind a symbolic link");
        }
    }
    Ok(())
}

/// Says what was put into force.
pub(super) fn report(
    applied: &AppliedConfiguration,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if as_json {
        return json(out, applied);
    }
    writeln!(out, "Version {} is in force.", applied.version)?;
    for section in &applied.restart {
        writeln!(
            out,
            "{section} differs from what this process started with: it takes effect at the next start."
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(title: &str, texts: &[(&str, &str)]) -> Side {
        let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Side { title: title.to_owned(), texts }
    }

    #[test]
    fn what_a_rollback_may_write() {
        let home = tempfile::tempdir().unwrap();
        let (base, away) = (home.path().join("etc"), home.path().join("away"));
        std::fs::create_dir_all(base.join("policies")).unwrap();
        std::fs::create_dir(&away).unwrap();
        std::os::unix::fs::symlink(&away, base.join("out")).unwrap();
        std::os::unix::fs::symlink(away.join("file"), base.join("link.toml")).unwrap();
        let named = ["/srv/web.toml".to_owned(), "out/known.toml".to_owned()];
        for (path, want) in [
            ("web.toml", true),
            ("policies/web.toml", true),
            ("policies/new/web.toml", true),
            ("/srv/web.toml", true),
            ("out/known.toml", true),
            ("/etc/cron.d/mayfly", false),
            ("../web.toml", false),
            ("policies/../../web.toml", false),
            ("out/web.toml", false),
            ("link.toml", false),
        ] {
            assert_eq!(may_write(&base, path, &named).is_ok(), want, "{path}");
        }
    }

    #[test]
    fn differences_of_all_texts() {
        let old = side("version 1", &[("mayfly.toml", "a\nb\n"), ("gone.toml", "x\n")]);
        let new = side("the file", &[("mayfly.toml", "a\nc\n"), ("new.toml", "y\n")]);
        assert_eq!(compared(&old, &old), "");
        let text = compared(&old, &new);
        let words = [
            "--- mayfly.toml (version 1)\n+++ mayfly.toml (the file)\n",
            "-b\n+c\n",
            "--- gone.toml",
            "-x\n",
            "--- new.toml",
            "+y\n",
        ];
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
