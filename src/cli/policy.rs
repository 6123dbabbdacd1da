//! `mayfly policy`

mod import;
mod what_if;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::config::{Problem, policy::load};
use crate::policy::describe::{Description, Whom};
use crate::policy::{Context, Facts, NotUnderstood, Policy, Verdict};
use crate::time::{Clock, SystemClock};

const AFTER_HELP: &str = "\
A policy is a TOML file of allow and deny rules; `policy = \"FILE\"` in a [[provisioner]] puts it into \
force, `policy_audit = \"FILE\"` beside it tries one without effect. `test` reads a certificate or a CSR \
(PEM), or a few lines of TOML or JSON:

  dns = [\"a.web.example.internal\"]
  key = \"ec-p256\"
  lifetime = \"24h\"
  context.provisioner = \"web\"

Examples:
  mayfly policy import --from vault-role role.json > web.toml
  mayfly policy check web.toml
  mayfly policy test web.toml request.toml
  mayfly policy test web.toml leaf.pem --provisioner web
  mayfly policy what-if web.toml --since 7d --provisioner web --config /etc/mayfly/mayfly.toml

Exit codes of `test`: 0 allowed, 1 refused, 2 could not be judged.";

/// Arguments of `mayfly policy`.
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
    /// Check a policy file and report every error in it
    Check(Check),
    /// Put a request to a policy, and print the verdict with its reasons
    Test(Test),
    /// Replay what a running CA has issued and refused, and print where a policy differs
    WhatIf(what_if::WhatIf),
    /// Make a policy of one of cert-manager's, or of a Vault role
    Import(import::Import),
}

/// Arguments of `mayfly policy check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Arguments of `mayfly policy test`.
#[derive(Clone, Debug, clap::Args)]
pub struct Test {
    /// The policy
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A certificate or CSR (PEM), or a description (TOML, JSON)
    #[arg(value_name = "REQUEST")]
    pub request: PathBuf,
    /// The provisioner it is asked of
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// The authority that would sign
    #[arg(long, value_name = "NAME")]
    pub authority: Option<String>,
    /// The account that asks
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// The EAB key that the account is bound to
    #[arg(long, value_name = "KID")]
    pub eab_key: Option<String>,
    /// The profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Who asks: acme, auto-renewal, own or ceremony
    #[arg(long, value_name = "WHO")]
    pub requester: Option<String>,
}

/// Runs a command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::Check(Check { file }) => {
            let wrong = |problems| CliError::Policy { file: file.clone(), problems, again: "check" };
            let policy = read(file).map_err(wrong)?;
            Ok(writeln!(out, "{}: ok\n  policy {:?}, {} rules", file.display(), policy.name, policy.len())?)
        }
        Command::Test(args) => test(args, out),
        Command::WhatIf(args) => what_if::run(args, out),
        Command::Import(args) => import::run(args, out),
    }
}

fn read(file: &Path) -> Result<Policy, Vec<Problem>> {
    load(file)
}

fn test(args: &Test, out: &mut dyn Write) -> Result<(), CliError> {
    let bad = |file: &Path, why: String| CliError::PolicyTest { file: file.to_owned(), why };
    let policy = read(&args.file).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| problem.render(&args.file)).collect();
        bad(&args.file, lines.join("\n"))
    })?;
    let bytes = std::fs::read(&args.request).map_err(|error| bad(&args.request, error.to_string()))?;
    let (facts, context) = request(args, &bytes).map_err(|why| bad(&args.request, why))?;
    let verdict = policy.judge(&facts, &context);
    out.write_all(told(&policy, &facts, &verdict).as_bytes())?;
    if verdict.allowed() { Ok(()) } else { Err(CliError::PolicyDenies) }
}

type Request = (Result<Facts, NotUnderstood>, Context);

fn request(args: &Test, bytes: &[u8]) -> Result<Request, String> {
    let now = SystemClock.now();
    let whom = |given: Whom| Whom {
        requester: args.requester.clone().or(given.requester),
        authority: args.authority.clone().or(given.authority),
        provisioner: args.provisioner.clone().or(given.provisioner),
        account: args.account.clone().or(given.account),
        eab_key: args.eab_key.clone().or(given.eab_key),
        profile: args.profile.clone().or(given.profile),
    };
    let text = String::from_utf8_lossy(bytes);
    if text.contains("-----BEGIN ") {
        let start = text.find("-----BEGIN ").unwrap_or_default();
        let end = text[start..].find("-----END ").map_or(text.len(), |at| start + at);
        let end = text[end..].find('\n').map_or(text.len(), |at| end + at);
        let (label, der) = pem_rfc7468::decode_vec(text[start..end].trim().as_bytes())
            .map_err(|error| format!("the PEM does not parse: {error}"))?;
        return match label {
            "CERTIFICATE" => {
                let at = Facts::start_of(&der).map_err(|error| error.to_string())?;
                Ok((Facts::of_certificate(&der, at), whom(Whom::default()).context(at)?))
            }
            "CERTIFICATE REQUEST" => Ok((Facts::of_request(&der), whom(Whom::default()).context(now)?)),
            other => Err(format!("holds {other}; give a CERTIFICATE or a CERTIFICATE REQUEST")),
        };
    }
    let description: Description = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(&text).map_err(|error| error.to_string())?,
        false => toml::from_str(&text).map_err(|error| error.to_string())?,
    };
    let facts = description.facts()?;
    Ok((Ok(facts), whom(description.context).context(now)?))
}

fn told(policy: &Policy, facts: &Result<Facts, NotUnderstood>, verdict: &Verdict) -> String {
    let mut text =
        format!("{}: policy {:?}\n", if verdict.allowed() { "allowed" } else { "refused" }, policy.name);
    for reason in &verdict.reasons {
        // Writing to a String does not fail.
        let _ = writeln!(text, "  {reason}");
    }
    let unknown = facts.as_ref().map(|facts| policy.unjudged(facts)).unwrap_or_default();
    if !unknown.is_empty() {
        let _ = writeln!(text, "  not judged, since the request does not say: {}", unknown.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn run_with(dir: &Path, policy: &str, request: &str, more: &[&str]) -> (String, Result<(), CliError>) {
        let (file, asked) = (dir.join("p.toml"), dir.join("r"));
        std::fs::write(&file, policy).unwrap();
        std::fs::write(&asked, request).unwrap();
        let words = ["mayfly", "policy", "test", file.to_str().unwrap(), asked.to_str().unwrap()];
        let cli = crate::cli::Cli::try_parse_from(words.into_iter().chain(more.iter().copied())).unwrap();
        let mut out = Vec::new();
        let result = crate::cli::run(cli, &mut out);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn verdicts_and_exit_codes() {
        let dir = tempfile::tempdir().unwrap();
        let policy = "[[allow]]\nname = \"web\"\nwhen.provisioner = \"web\"\ndns = \"*.a.test\"\nlifetime = \"..24h\"\n";
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["x.a.test".to_owned()]).unwrap();
        let pem =
            |label, der: &[u8]| pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap();
        let csr = pem("CERTIFICATE REQUEST", params.serialize_request(&key).unwrap().der());
        let long = pem("CERTIFICATE", params.self_signed(&key).unwrap().der());
        let web: &[&str] = &["--provisioner", "web"];
        let rows: [(&str, &[&str], u8, &str); 10] = [
            ("dns = [\"x.a.test\"]\ncontext.provisioner = \"web\"", &[], 0, "not judged"),
            ("{\"dns\":[\"x.a.test\"],\"lifetime\":\"24h\"}", web, 0, "allowed"),
            ("dns = [\"x.a.test\"]", &[], 1, "\"web\" (line 1, for others)"),
            ("dns = [\"b.test\"]", web, 1, "DNS name b.test"),
            (&csr, web, 0, "allowed"),
            (&csr, &[], 1, "refused"),
            (&long, web, 1, "lifetime"),
            ("dns = [\"x.a.test.\"]", web, 2, ""),
            ("colour = \"red\"", web, 2, ""),
            ("-----BEGIN X-----\nAA==\n-----END X-----\n", web, 2, ""),
        ];
        for (request, more, code, says) in rows {
            let (text, result) = run_with(dir.path(), policy, request, more);
            assert_eq!(
                result.as_ref().err().map_or(0, CliError::exit_code),
                code,
                "{request}: {text} {result:?}"
            );
            assert!(text.contains(says), "{request}: {text}");
        }
        let (_, result) = run_with(dir.path(), "[[allow]]\ndsn = \"x\"", "dns = []", &[]);
        assert_eq!(result.unwrap_err().exit_code(), 2, "a policy with mistakes judges nothing");
    }

    #[test]
    fn the_samples_are_policies() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            load(&file).unwrap_or_else(|problems| panic!("{}: {problems:#?}", file.display()));
        }
    }
}
