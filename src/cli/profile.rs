//! `mayfly profile`

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use super::CliError;
use crate::config::settings::Provisioner;
use crate::config::units::format_duration;
use crate::config::{self, Problem};
use crate::policy::document::quoted;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::contents::{Attribute, ExtensionTemplate, Form};
use crate::provisioner::profile::template::Template;
use crate::provisioner::profile::usages::KeyUsages;
use crate::provisioner::profile::{LeafRules, Restraints, Rules};

const AFTER_HELP: &str = "\
What a profile comes to when the authority's, the provisioner's and the default values are merged: every key \
with the value that holds, as a mayfly.toml has it. Orders that name no profile get the default one, or the \
provisioner's own rules, which are shown without a name.

Examples:
  mayfly profile show /etc/mayfly/mayfly.toml
  mayfly profile show /etc/mayfly/mayfly.toml --provisioner web --profile short";

/// Arguments of `mayfly profile`.
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
    /// Print what profiles come to
    Show(Show),
}

/// Arguments of `mayfly profile show`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Show {
    /// The mayfly.toml
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Of this provisioner alone
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// This profile alone
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// Prints what the profiles of a configuration come to.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let Command::Show(args) = &args.command;
    let wrong = |problems| CliError::Config { file: args.file.clone(), problems };
    let settings = config::read_settings(&args.file).map_err(wrong)?;
    let mut shown = Vec::new();
    for Provisioner::Acme(terms) in &settings.provisioners {
        if args.provisioner.as_ref().is_some_and(|name| *name != terms.name) {
            continue;
        }
        shown.extend(
            all(terms).into_iter().filter(|(name, _)| args.profile.is_none() || *name == args.profile),
        );
    }
    if shown.is_empty() {
        let message = "there is no such profile; without --provisioner and --profile all are shown";
        return Err(wrong(vec![Problem { line: None, key: String::new(), message: message.to_owned() }]));
    }
    let texts: Vec<String> = shown.into_iter().map(|(_, text)| text).collect();
    Ok(out.write_all(texts.join("\n").as_bytes())?)
}

/// Every profile of a provisioner by name; `None`: its own rules, if orders may get those.
fn all(terms: &Terms) -> Vec<(Option<String>, String)> {
    let default = terms.profiles.default.as_deref();
    let mut all = Vec::new();
    if default.is_none() {
        let rules = Rules { lifetimes: terms.lifetimes, leaf: LeafRules::usual() };
        let title = format!(
            "# Provisioner {}, authority {}: orders that name no profile\n",
            terms.name, terms.authority
        );
        all.push((None, title + &told(&rules, terms.restraints)));
    }
    for (name, profile) in &terms.profiles.offered {
        let usual = if default == Some(name) { ", and orders that name none" } else { "" };
        let mut text =
            format!("# Provisioner {}, authority {}: profile {name}{usual}\n", terms.name, terms.authority);
        row(&mut text, "description", &quoted(&profile.description));
        text.push_str(&told(&profile.rules, profile.restraints));
        all.push((Some(name.clone()), text));
    }
    all
}

fn row(text: &mut String, key: &str, value: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{key} = {value}");
}

/// Names with commas between them, as a list.
fn list(names: &str) -> String {
    let quoted: Vec<String> = names.split(", ").filter(|name| !name.is_empty()).map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

fn told(rules: &Rules, restraints: Restraints) -> String {
    let Rules { lifetimes, leaf } = rules;
    let LeafRules {
        key_types,
        min_rsa_bits,
        usages,
        key_usage,
        sans,
        templates,
        backdate,
        no_rev_avail_below,
    } = &**leaf;
    let span = |span| quoted(&format_duration(span));
    let mut text = String::new();
    row(&mut text, "default_ttl", &span(lifetimes.default));
    row(&mut text, "max_ttl", &span(lifetimes.max));
    row(&mut text, "min_ttl", &span(lifetimes.min));
    row(&mut text, "key_types", &list(&key_types.names()));
    row(&mut text, "min_rsa_bits", &min_rsa_bits.to_string());
    row(&mut text, "usages", &list(&usages.names()));
    match key_usage {
        None => text.push_str("# key_usage: by the key, digitalSignature and for RSA keyEncipherment\n"),
        Some(held) => {
            let held: Vec<String> = KeyUsages::TABLE
                .iter()
                .filter(|(_, usage)| held.byte() & usage.byte() != 0)
                .map(|(name, _)| quoted(name))
                .collect();
            row(&mut text, "key_usage", &format!("[{}]", held.join(", ")));
        }
    }
    row(&mut text, "sans", &list(&sans.names()));
    let texts = |templates: &[Template]| {
        let quoted: Vec<String> = templates.iter().map(|template| quoted(template.source())).collect();
        format!("[{}]", quoted.join(", "))
    };
    for (key, templates) in [("uris", &templates.uris), ("emails", &templates.emails)] {
        if !templates.is_empty() {
            row(&mut text, key, &texts(templates));
        }
    }
    row(&mut text, "backdate", &span(*backdate));
    row(&mut text, "no_rev_avail_below", &no_rev_avail_below.map_or_else(|| quoted("off"), span));
    row(&mut text, "fresh_keys", &restraints.fresh_keys.to_string());
    let budgets =
        [(restraints.profile_budget, "this profile's own"), (restraints.issue_budget, "the provisioner's")];
    for (budget, whose) in budgets {
        if let Some(budget) = budget {
            let _ = writeln!(text, "# issue_budget: {budget}, {whose}");
        }
    }
    if budgets.iter().all(|(budget, _)| budget.is_none()) {
        text.push_str("# issue_budget: none\n");
    }
    for (attribute, template) in &templates.subject {
        let name = Attribute::TABLE.iter().find(|(_, known, ..)| known == attribute).map_or("", |row| row.0);
        row(&mut text, &format!("subject.{name}"), &quoted(template.source()));
    }
    for ExtensionTemplate { oid, critical, form, value } in &templates.extensions {
        let form = Form::TABLE.iter().find(|(_, known)| known == form).map_or("", |(name, _)| *name);
        let _ = writeln!(
            text,
            "[[extensions]]\noid = {}\ncritical = {critical}\n{form} = {}",
            quoted(&oid.to_string()),
            quoted(value.source())
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const LEAST: &str = "[server]\naddress = \"127.0.0.1:1\"\ndns_names = [\"ca.test\"]\n[[provisioner]]\ntype = \"acme\"\nname = \"acme\"\ndefault_ttl = \"12h\"\n";

    const PROFILE: &str = r#"
max_ttl = "10h"
default_ttl = "10h"
key_types = ["ec-p384", "rsa"]
min_rsa_bits = 3072
usages = ["clientAuth", "1.3.6.1.4.1.32473.5"]
key_usage = ["digitalSignature"]
sans = ["dns", "uri"]
uris = ["spiffe://a.test/{{ name }}"]
no_rev_avail_below = "off"
fresh_keys = true
subject.organization = "It's \"Example\""
[[extensions]]
oid = "1.3.6.1.4.1.32473.1"
utf8 = "{{ account }}"
"#;

    fn show(config: &str, more: &[&str]) -> Result<String, CliError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mayfly.toml");
        std::fs::write(&file, config).unwrap();
        let words = ["mayfly", "profile", "show", file.to_str().unwrap()];
        let cli = crate::cli::Cli::try_parse_from(words.into_iter().chain(more.iter().copied())).unwrap();
        let mut out = Vec::new();
        crate::cli::run(cli, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn profile(config: &str) -> crate::provisioner::profile::Profile {
        let settings = config::parse(config, std::path::Path::new("/nowhere")).settings.unwrap();
        let Provisioner::Acme(terms) = &settings.provisioners[0];
        terms.profiles.offered["short"].clone()
    }

    /// Put into a configuration of its own, what is shown is the same profile.
    #[test]
    fn what_is_shown_is_what_holds() {
        let with = |text: &str| {
            let mut table: toml::Table = LEAST.parse().unwrap();
            let provisioner = table["provisioner"].as_array_mut().unwrap()[0].as_table_mut().unwrap();
            let profile: toml::Table = text.parse().unwrap();
            provisioner
                .insert("profiles".into(), toml::Table::from_iter([("short".into(), profile.into())]).into());
            table.to_string()
        };
        let config = with(PROFILE);
        let shown = show(&config, &["--profile", "short"]).unwrap();
        assert!(shown.starts_with("# Provisioner acme, authority default: profile short\n"), "{shown}");
        for line in ["min_ttl = \"5m\"", "backdate = \"1m\"", "default_ttl = \"10h\""] {
            assert!(shown.contains(line), "{shown}");
        }
        assert_eq!(profile(&with(&shown)), profile(&config), "{shown}");
        for (budget, want) in [
            ("issue_budget = \"3 per 1h\"\n", "# issue_budget: 3 per 1 h, this profile's own\n"),
            ("issue_budget = \"off\"\n", "# issue_budget: none\n"),
        ] {
            let shown = show(&with(&format!("{budget}{PROFILE}")), &["--profile", "short"]).unwrap();
            assert!(shown.contains(want), "{shown}");
        }
        let both = show(&config, &[]).unwrap();
        assert!(both.starts_with(
            "# Provisioner acme, authority default: orders that name no profile\ndefault_ttl = \"12h\""
        ));
        assert!(both.ends_with(&shown), "{both}");
        for none in [&["--profile", "long"], &["--provisioner", "other"]] {
            assert!(show(&config, none).unwrap_err().report().contains("no such profile"));
        }
    }
}
