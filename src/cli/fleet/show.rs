//! `mayfly fleet list` and `mayfly fleet show`

use std::io::Write;

use hyper::Method;
use url::form_urlencoded::Serializer;

use super::error::{self, FleetError};
use crate::cli::CliError;
use crate::cli::certs::Output;
use crate::cli::running::{Target, json};
use crate::client::admin::AdminError;
use crate::fleet::{Cause, IdentityId};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::wire::admin::{Identities, Identity};

/// Arguments of `mayfly fleet list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// In this state
    #[arg(long, value_name = "STATE", default_value = "overdue", value_parser = ["due", "overdue", "expired", "retired"])]
    pub state: String,
    /// How much, and how
    #[command(flatten)]
    pub output: Output,
}

/// Arguments of `mayfly fleet show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// All its names (DNS names, wildcards, addresses, permanent-identifier:ID), or its id
    #[arg(value_name = "NAME", required = true, num_args = 1..)]
    pub names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// What stands above rows.
pub(super) const HEADER: &str =
    "STATE    ENDS                  IN         FAILED            ACCOUNT                 NAMES";

/// One identity in a line.
pub(super) fn row(identity: &Identity, now: &str) -> String {
    let Identity { state, not_after, names, id, account, .. } = identity;
    let failed = match &identity.last_failure {
        None => "-".to_owned(),
        Some(last) => {
            let all: u32 = identity.failures.values().map(|count| u32::from(*count)).sum();
            format!("{all}x {}", last.cause)
        }
    };
    let names = if names.is_empty() { format!("id {id}") } else { names.join(",") };
    let account = account.as_deref().unwrap_or("-");
    format!("{state:<8} {not_after:<20}  {:<9}  {failed:<16}  {account:<22}  {names}\n", left(not_after, now))
}

/// How long until then.
fn left(end: &str, now: &str) -> String {
    match (Timestamp::parse_rfc3339(end), Timestamp::parse_rfc3339(now)) {
        (Some(end), Some(now)) if end > now => super::span(end.since(now).as_secs()),
        (Some(end), Some(now)) => format!("-{}", super::span(now.since(end).as_secs())),
        (None, _) | (_, None) => "?".to_owned(),
    }
}

/// Asks for one page after the other, and prints each as it comes.
pub(super) fn list(args: &List, out: &mut dyn Write) -> Result<(), CliError> {
    const PAGE: u64 = 500;
    let (mut left, mut after) = (args.output.limit, args.output.after.clone());
    let mut all = Identities { complete: true, identities: Vec::new(), next: None };
    let mut printed = false;
    loop {
        let mut query = Serializer::new(String::new());
        query.append_pair("state", &args.state).append_pair("limit", &left.min(PAGE).to_string());
        if let Some(after) = &after {
            query.append_pair("after", after);
        }
        let path = format!("/v1/fleet/identities?{}", query.finish());
        let page: Identities = args.output.target.call(Method::GET, &path, None::<&()>)?;
        left = left.saturating_sub(page.identities.len() as u64);
        (all.complete, all.next) = (page.complete, page.next.clone());
        if args.output.json {
            all.identities.extend(page.identities);
        } else {
            let now = SystemClock.now().to_rfc3339();
            for identity in &page.identities {
                if !std::mem::replace(&mut printed, true) {
                    writeln!(out, "{HEADER}")?;
                }
                out.write_all(row(identity, &now).as_bytes())?;
            }
        }
        after = page.next;
        if after.is_none() || left == 0 {
            break;
        }
    }
    if args.output.json {
        return json(out, &all);
    }
    if !printed {
        writeln!(out, "No identity is {}.", args.state)?;
    }
    if let Some(next) = &all.next {
        writeln!(out, "There may be more: --limit N for more at once, or --after {next}")?;
    }
    if !all.complete {
        writeln!(out, "Incomplete: the CA is still reading its inventory.")?;
    }
    Ok(())
}

/// The identity of that id, or of exactly these names.
pub(in crate::cli) fn find(target: &Target, words: &[String]) -> Result<Identity, CliError> {
    let id = match words {
        [word] => IdentityId::parse(word),
        _ => None,
    };
    let id = match id {
        Some(id) => Some(id),
        None => IdentityId::of(error::names(words)?.iter()),
    };
    let none = || FleetError::NoIdentity { names: words.to_vec(), alike: Vec::new() };
    let path = format!("/v1/fleet/identities/{}", id.ok_or_else(none)?);
    match target.call(Method::GET, &path, None::<&()>) {
        Err(CliError::Admin { error: AdminError::Refused(problem), .. }) if problem.status == 404 => {
            Err(error::unknown(target, words)?)
        }
        found => found,
    }
}

pub(super) fn show(args: &Show, out: &mut dyn Write) -> Result<(), CliError> {
    let found = find(&args.target, &args.names)?;
    if args.json { json(out, &found) } else { Ok(out.write_all(told(&found).as_bytes())?) }
}

/// All of it, a line each.
fn told(found: &Identity) -> String {
    let names = if found.names.is_empty() { "not known any more".to_owned() } else { found.names.join(", ") };
    let failures = Cause::ALL.iter().filter_map(|cause| {
        let count = found.failures.get(cause.name())?;
        Some(format!("{} {count}", cause.name()))
    });
    let failures: Vec<String> = failures.collect();
    let failures = if failures.is_empty() { "none".to_owned() } else { failures.join(", ") };
    let lines = [
        ("identity", Some(found.id.clone())),
        ("names", Some(names)),
        ("state", Some(found.state.clone())),
        ("issued", Some(found.issued.clone())),
        ("due", Some(found.due.clone())),
        ("overdue", Some(found.overdue.clone())),
        ("ends", Some(found.not_after.clone())),
        ("failures", Some(failures)),
        ("last failure", found.last_failure.as_ref().map(|last| format!("{} {}", last.at, last.cause))),
        ("certificate", Some(found.serial.clone())),
        ("door", found.door.clone()),
        ("provisioner", found.provisioner.clone()),
        ("profile", found.profile.clone()),
        ("account", found.account.clone()),
        ("EAB key", found.eab_key.clone()),
        ("client", found.client_address.clone()),
        ("user agent", found.user_agent.clone()),
    ];
    lines.into_iter().filter_map(|(name, value)| Some(format!("{name:<12} {}\n", value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::admin::Failed;

    #[test]
    fn rows_stand_under_their_header() {
        let mut identity = Identity {
            id: "ab".repeat(12),
            state: "overdue".into(),
            names: vec!["a.test".into(), "b.test".into()],
            serial: "ab".repeat(19),
            issued: "2030-01-01T00:00:00Z".into(),
            not_after: "2030-01-02T00:00:00Z".into(),
            due: "2030-01-01T16:00:00Z".into(),
            overdue: "2030-01-01T20:00:00Z".into(),
            failures: Cause::ALL.iter().map(|cause| (cause.name().to_owned(), 255)).collect(),
            last_failure: Some(Failed { at: "2030-01-01T20:00:00Z".into(), cause: "connection".into() }),
            door: Some("acme".into()),
            provisioner: Some("acme".into()),
            account: Some("A".repeat(22)),
            eab_key: None,
            profile: None,
            client_address: None,
            user_agent: None,
        };
        let line = row(&identity, "2030-01-01T21:00:00Z");
        let under = |column: &str, text: &str| line[HEADER.find(column).unwrap()..].starts_with(text);
        for (column, text) in [
            ("STATE", "overdue  "),
            ("ENDS", "2030-01-02T00:00:00Z  "),
            ("IN ", "3 h 00 m  "),
            ("FAILED", "2040x connection  "),
            ("ACCOUNT", "AAAAAAAAAAAAAAAAAAAAAA  "),
            ("NAMES", "a.test,b.test\n"),
        ] {
            assert!(under(column, text), "{column}:\n{HEADER}\n{line}");
        }
        let text = told(&identity);
        assert!(
            text.contains("failures     dns 255, connection 255, ")
                && text.contains("names        a.test, b.test\n"),
            "{text}"
        );
        // Swept, and late.
        (identity.names, identity.account, identity.last_failure) = (Vec::new(), None, None);
        let line = row(&identity, "2030-01-03T00:30:00Z");
        assert!(
            line.contains("  -1 d 00 h  ") && line.ends_with(&format!("  id {}\n", identity.id)),
            "{line}"
        );
    }
}
