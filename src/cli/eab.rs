//! `mayfly eab`

use std::io::Write;
use std::time::Duration;

use hyper::Method;

use super::CliError;
use super::running::{Target, json};
use crate::config::units::parse_duration;
use crate::id::EabKid;
use crate::provisioner::eab::{LIFETIMES, MAX_USES};
use crate::wire::admin::{CreatedEabKey, EabKey, EabKeys, NewEabKey};

const AFTER_HELP: &str = "\
A key lets somebody register an ACME account at a provisioner whose eab is \"optional\" or \
\"required\". Accounts stay bound to the key that they were registered with: they may only ask for \
names that it allows, and when it is revoked they get nothing more.

Commands go through the admin socket of the running CA, as the user it runs as or as root.

Examples:
  mayfly eab create --provisioner acme --allow '*.web.example.internal' --uses 20 --expires 30d
  mayfly eab create --provisioner acme --allow db1.example.internal --trust-names
  mayfly eab list --config /etc/mayfly/mayfly.toml
  mayfly eab revoke KID";

/// Arguments of `mayfly eab`.
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
    /// Make a key; prints it, this once
    Create(Create),
    /// List the keys, without their secrets
    List(List),
    /// Revoke a key: it registers nobody, and its accounts get nothing more
    Revoke(Revoke),
}

/// Arguments of `mayfly eab create`.
#[derive(Clone, Debug, clap::Args)]
pub struct Create {
    /// The provisioner that it is for
    #[arg(long, value_name = "NAME")]
    pub provisioner: String,
    /// A name that its accounts may ask for, "*.NAME" for all under one, or a network; may be repeated
    /// [default: whatever the provisioner allows]
    #[arg(long, value_name = "RULE")]
    pub allow: Vec<String>,
    /// How long it registers accounts; those it has registered go on
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = lifetime)]
    pub expires: Duration,
    /// How many accounts it registers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_USES)))]
    pub uses: u32,
    /// What to call it in the list
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub label: String,
    /// Names that --allow gives need no challenge; the provisioner must have eab_trusts_names = true
    #[arg(long, requires = "allow")]
    pub trust_names: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly eab list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly eab revoke`.
#[derive(Clone, Debug, clap::Args)]
pub struct Revoke {
    /// The key's id
    #[arg(value_name = "KID", value_parser = kid)]
    pub kid: EabKid,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text)
        .map_err(|error| format!("{error}; write a duration such as \"90m\", \"24h\" or \"7d\""))?;
    match lifetime {
        ok if (LIFETIMES.0..=LIFETIMES.1).contains(&ok) && ok.subsec_nanos() == 0 => Ok(ok),
        _ => Err("give whole seconds, from 60s to 3650d".to_owned()),
    }
}

fn kid(text: &str) -> Result<EabKid, String> {
    EabKid::parse(text).ok_or_else(|| "is not a key id; `mayfly eab list` shows them".to_owned())
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::Create(args) => create(args, out),
        Command::List(args) => list(args, out),
        Command::Revoke(args) => revoke(args, out),
    }
}

fn create(args: &Create, out: &mut dyn Write) -> Result<(), CliError> {
    let ask = NewEabKey {
        provisioner: args.provisioner.clone(),
        allow: args.allow.clone(),
        lifetime: args.expires.as_secs(),
        max_uses: args.uses,
        label: args.label.clone(),
        trust_names: args.trust_names,
    };
    let created: CreatedEabKey = args.target.call(Method::POST, "/v1/eab-keys", Some(&ask))?;
    if args.json { json(out, &created) } else { Ok(out.write_all(told(&created).as_bytes())?) }
}

/// What the operator passes on.
fn told(created: &CreatedEabKey) -> String {
    let CreatedEabKey { key, hmac_key, directory } = created;
    let EabKey { kid, provisioner, max_uses, expires, allow, trust_names, .. } = key;
    let accounts = if *max_uses == 1 { "account" } else { "accounts" };
    let names = match (allow.as_slice(), trust_names) {
        ([], _) => "any name that the provisioner allows".to_owned(),
        (rules, false) => rules.join(", "),
        (rules, true) => format!("{}, without validation", rules.join(", ")),
    };
    format!(
        "An EAB key for {provisioner}: it registers {max_uses} {accounts} until {expires}, for {names}.\n\
         The HMAC key is shown this once.\n\
         \n  key id    {kid}\
         \n  HMAC key  {hmac_key}\n\
         \nFlags for certbot:\
         \n  --server {directory} --eab-kid {kid} --eab-hmac-key {hmac_key}\n\
         \nFlags for lego:\
         \n  --server {directory} --eab --kid {kid} --hmac {hmac_key}\n\
         \nGlobal options for Caddy:\
         \n  acme_ca {directory}\
         \n  acme_eab {{\
         \n    key_id {kid}\
         \n    mac_key {hmac_key}\
         \n  }}\n"
    )
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), CliError> {
    let mut keys: Vec<EabKey> = Vec::new();
    let mut path = "/v1/eab-keys".to_owned();
    loop {
        let page: EabKeys = args.target.call(Method::GET, &path, None::<&()>)?;
        keys.extend(page.keys);
        match page.next {
            Some(after) => path = format!("/v1/eab-keys?after={after}"),
            None => break,
        }
    }
    keys.sort_by(|a, b| (&a.created, &a.kid).cmp(&(&b.created, &b.kid)));
    if args.json {
        return json(out, &EabKeys { keys, next: None });
    }
    if keys.is_empty() {
        writeln!(out, "There are no EAB keys; `mayfly eab create` makes one.")?;
        return Ok(());
    }
    writeln!(
        out,
        "{:<22}  {:<8}  {:<12}  {:>9}  {:<20}  NAMES",
        "KID", "STATE", "PROVISIONER", "USES", "EXPIRES"
    )?;
    for key in &keys {
        let uses = format!("{}/{}", key.uses, key.max_uses);
        let names = if key.allow.is_empty() { "any".to_owned() } else { key.allow.join(",") };
        let trusted = if key.trust_names { " (trusted)" } else { "" };
        let label = if key.label.is_empty() { String::new() } else { format!("  # {}", key.label) };
        writeln!(
            out,
            "{:<22}  {:<8}  {:<12}  {uses:>9}  {:<20}  {names}{trusted}{label}",
            key.kid, key.state, key.provisioner, key.expires
        )?;
    }
    Ok(())
}

fn revoke(args: &Revoke, out: &mut dyn Write) -> Result<(), CliError> {
    let path = format!("/v1/eab-keys/{}/revoke", args.kid);
    let key: EabKey = args.target.call(Method::POST, &path, None::<&()>)?;
    if args.json {
        return json(out, &key);
    }
    writeln!(
        out,
        "Revoked {}: it registers nobody any more, and accounts that it registered ({}) get nothing more. \
         Certificates that they have stay valid until they expire or are revoked.",
        key.kid, key.uses
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_ready_to_paste() {
        let key = EabKey {
            kid: "KID".into(),
            state: "active".into(),
            provisioner: "acme".into(),
            allow: vec!["a.test".into(), "*.b.test".into()],
            trust_names: true,
            label: String::new(),
            uses: 0,
            max_uses: 1,
            created: "then".into(),
            expires: "later".into(),
            revoked: None,
        };
        let created = CreatedEabKey { key, hmac_key: "KEY".into(), directory: "https://ca.test/d".into() };
        let want = "\
An EAB key for acme: it registers 1 account until later, for a.test, *.b.test, without validation.
The HMAC key is shown this once.

  key id    KID
  HMAC key  KEY

Flags for certbot:
  --server https://ca.test/d --eab-kid KID --eab-hmac-key KEY

Flags for lego:
  --server https://ca.test/d --eab --kid KID --hmac KEY

Global options for Caddy:
  acme_ca https://ca.test/d
  acme_eab {
    key_id KID
    mac_key KEY
  }
";
        assert_eq!(told(&created), want);
    }
}
