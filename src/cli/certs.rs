//! `mayfly certs`

mod refused;

use std::io::Write;

use hyper::Method;
use url::form_urlencoded::Serializer;

use super::CliError;
use super::fleet;
use super::running::{Target, json};
use crate::id::AccountId;
use crate::wire::admin::{Certificate, Certificates, Indexing};
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

const AFTER_HELP: &str = "\
Every certificate that the CA has issued, until [store] retention after its end: with whose request it \
was, from where, under which account, profile and issuer, and what it replaces. And requests of accounts \
that were refused, up to 10,000 and as long: what is refused again and again is one row an hour with its count.

Commands go through the admin socket of the running CA, as the user it runs as or as root.

Examples:
  mayfly certs list --expires-before 2030-01-31T12:00:00Z
  mayfly certs list --suffix web.example.internal --state any --json
  mayfly certs search db1.example.internal --config /etc/mayfly/mayfly.toml
  mayfly certs show SERIAL
  mayfly certs refused --name db1.example.internal
  mayfly certs retire old.example.internal";

/// Arguments of `mayfly certs`.
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
    /// List certificates that meet all conditions, what expires next first
    List(Box<List>),
    /// Show one certificate whole
    Show(Show),
    /// Find certificates by a name and what is below it, a serial, a key's SHA-256 or an account
    Search(Search),
    /// List requests for certificates that were refused, the newest first
    Refused(Box<refused::Refused>),
    /// Say that an identity is not to renew any more, so that its end alarms nobody
    Retire(fleet::Retire),
}

/// How much to print, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct Output {
    /// Print so many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub limit: u64,
    /// Go on behind a list that was cut off
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly certs list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// With this very name, wildcard or address
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// With this DNS name or one below it
    #[arg(long, value_name = "NAME")]
    pub suffix: Option<String>,
    /// Of the key whose SubjectPublicKeyInfo has this SHA-256
    #[arg(long, value_name = "HEX")]
    pub key: Option<String>,
    /// Issued to this account
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Issued to an account that is bound to this EAB key
    #[arg(long, value_name = "KID")]
    pub eab_key: Option<String>,
    /// Issued by this provisioner
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// Issued under this profile
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Issued by the issuer with this key identifier
    #[arg(long, value_name = "HEX")]
    pub issuer: Option<String>,
    /// Asked for from this address
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<String>,
    /// Of this standing
    #[arg(long, value_name = "STATE", default_value = "valid", value_parser = ["valid", "expired", "revoked", "any"])]
    pub state: String,
    /// Expiring then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub expires_from: Option<String>,
    /// Expiring before
    #[arg(long, value_name = "TIME")]
    pub expires_before: Option<String>,
    /// Issued then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub issued_from: Option<String>,
    /// How to print
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `mayfly certs show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The certificate's serial, in hex
    #[arg(value_name = "SERIAL", value_parser = serial)]
    pub serial: Serial,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly certs search`.
#[derive(Clone, Debug, clap::Args)]
pub struct Search {
    /// A name, a serial, a key's SHA-256, or an account's id
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// How to print
    #[command(flatten)]
    pub output: Output,
}

/// In hex, upper or lower case, with or without colons, as other tools print it.
fn serial(text: &str) -> Result<Serial, String> {
    read_serial(text).ok_or_else(|| "is no serial of this CA's: 38 characters of hex".to_owned())
}

fn read_serial(text: &str) -> Option<Serial> {
    Serial::parse(&text.replace(':', "").to_ascii_lowercase())
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::List(args) => list(args, out),
        Command::Show(args) => show(args.serial, &args.target, args.json, out),
        Command::Search(args) => search(args, out),
        Command::Refused(args) => refused::list(args, out),
        Command::Retire(args) => fleet::retire(args, out),
    }
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), CliError> {
    let state = Some(args.state.clone()).filter(|state| state != "any");
    let conditions = [
        ("name", &args.name),
        ("suffix", &args.suffix),
        ("key", &args.key),
        ("account", &args.account),
        ("eab_key", &args.eab_key),
        ("provisioner", &args.provisioner),
        ("profile", &args.profile),
        ("issuer", &args.issuer),
        ("client", &args.client),
        ("state", &state),
        ("expires_from", &args.expires_from),
        ("expires_before", &args.expires_before),
        ("issued_from", &args.issued_from),
    ];
    let given = conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    pages(&given.collect::<Vec<_>>(), &args.output, out)
}

fn search(args: &Search, out: &mut dyn Write) -> Result<(), CliError> {
    let what = args.what.trim();
    if let Some(serial) = read_serial(what) {
        return show(serial, &args.output.target, args.output.json, out);
    }
    pages(&[condition_of(what)], &args.output, out)
}

/// By what a text is searched for.
fn condition_of(what: &str) -> (&'static str, &str) {
    let below = what.strip_prefix('.');
    if KeyHash::parse(what).is_some() {
        ("key", what)
    } else if AccountId::parse(what).is_some() && !what.contains('.') {
        ("account", what)
    } else if below.is_none() && (what.starts_with("*.") || what.contains(':') || is_address(what)) {
        ("name", what)
    } else {
        ("suffix", below.unwrap_or(what))
    }
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
}

/// Asks for one page after the other, and prints each as it comes.
fn pages(conditions: &[(&str, &str)], output: &Output, out: &mut dyn Write) -> Result<(), CliError> {
    const PAGE: u64 = 500;
    let (mut left, mut after) = (output.limit, output.after.clone());
    let mut all = Certificates { certificates: Vec::new(), next: None, indexing: None };
    let mut printed = false;
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(conditions).append_pair("limit", &left.min(PAGE).to_string());
        if let Some(after) = &after {
            query.append_pair("after", after);
        }
        let path = format!("/v1/certificates?{}", query.finish());
        let page: Certificates = output.target.call(Method::GET, &path, None::<&()>)?;
        left = left.saturating_sub(page.certificates.len() as u64);
        (all.next, all.indexing) = (page.next.clone(), page.indexing);
        if output.json {
            all.certificates.extend(page.certificates);
        } else {
            for certificate in &page.certificates {
                if !std::mem::replace(&mut printed, true) {
                    writeln!(
                        out,
                        "{:<38}  {:<7}  {:<20}  {:<12}  NAMES",
                        "SERIAL", "STATE", "EXPIRES", "PROVISIONER"
                    )?;
                }
                row(certificate, out)?;
            }
        }
        after = page.next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    if output.json {
        return json(out, &all);
    }
    if !printed {
        writeln!(out, "No such certificate.")?;
    }
    if let Some(next) = &all.next {
        writeln!(out, "There may be more: --limit N for more at once, or --after {next}")?;
    }
    if let Some(indexing) = &all.indexing {
        writeln!(out, "{}", still_indexing(indexing))?;
    }
    Ok(())
}

fn still_indexing(indexing: &Indexing) -> String {
    let through = indexing.through.as_ref();
    let through = through.map(|through| format!(", all that expire before {through}")).unwrap_or_default();
    format!(
        "Incomplete: the index of certificates from before this version is being made ({} done{through}).",
        indexing.certificates
    )
}

fn row(certificate: &Certificate, out: &mut dyn Write) -> Result<(), CliError> {
    let Certificate { serial, state, not_after, provisioner, door, names, .. } = certificate;
    let provisioner = provisioner.as_deref().unwrap_or(door);
    let names = if names.is_empty() { "-".to_owned() } else { names.join(",") };
    writeln!(out, "{serial}  {state:<7}  {not_after:<20}  {provisioner:<12}  {names}")?;
    Ok(())
}

fn show(serial: Serial, target: &Target, as_json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let found: Certificate = target.call(Method::GET, &format!("/v1/certificates/{serial}"), None::<&()>)?;
    if as_json {
        return json(out, &found);
    }
    Ok(out.write_all(told(&found).as_bytes())?)
}

/// All of it, a line each.
fn told(found: &Certificate) -> String {
    let revoked = found.revocation.as_ref().map(|revocation| {
        let reason = revocation.reason.map(|code| format!(", reason {code}")).unwrap_or_default();
        let by = match (revocation.by.as_str(), &revocation.account) {
            ("key", _) => "its own key".to_owned(),
            (by, Some(account)) => format!("account {account} ({by})"),
            (by, None) => by.to_owned(),
        };
        format!("{} by {by}{reason}", revocation.at)
    });
    let names = if found.names.is_empty() { None } else { Some(found.names.join(", ")) };
    let lines = [
        ("serial", Some(found.serial.clone())),
        ("state", Some(found.state.clone())),
        ("names", names),
        ("valid", Some(format!("{} to {}", found.not_before, found.not_after))),
        ("issued", Some(found.issued.clone())),
        ("authority", found.authority.clone()),
        ("issuer", Some(found.issuer.clone())),
        ("key sha256", Some(found.key_sha256.clone())),
        ("door", Some(found.door.clone())),
        ("provisioner", found.provisioner.clone()),
        ("profile", found.profile.clone()),
        ("account", found.account.clone()),
        ("order", found.order.clone()),
        ("EAB key", found.eab_key.clone()),
        ("client", found.client_address.clone()),
        ("user agent", found.user_agent.clone()),
        ("replaces", found.replaces.clone()),
        ("replaced by", found.replaced_by.clone()),
        ("allowed by", found.configuration.map(|number| format!("configuration {number}"))),
        ("revoked", revoked),
    ];
    let mut text: String = lines
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name:<12} {value}\n")))
        .collect();
    text.push_str(found.pem.as_deref().unwrap_or_default());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_search_is_for() {
        let key = "ab".repeat(32);
        let account = AccountId::new([0xfb; 16]).to_string();
        for (what, want) in [
            ("web.example.internal", ("suffix", "web.example.internal")),
            (".example.internal", ("suffix", "example.internal")),
            ("*.example.internal", ("name", "*.example.internal")),
            ("10.0.0.1", ("name", "10.0.0.1")),
            ("2001:db8::1", ("name", "2001:db8::1")),
            ("permanent-identifier:C02", ("name", "permanent-identifier:C02")),
            (key.as_str(), ("key", key.as_str())),
            (account.as_str(), ("account", account.as_str())),
        ] {
            assert_eq!(condition_of(what), want);
        }
        let serial = "0a".repeat(19);
        assert!(read_serial(&serial).is_some() && read_serial(&serial.to_ascii_uppercase()).is_some());
        assert!(read_serial(&["0A"; 19].join(":")).is_some());
    }
}
