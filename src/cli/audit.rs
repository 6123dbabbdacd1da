//! `mayfly audit`

use std::io::Write;

use hyper::Method;
use url::form_urlencoded::Serializer;

use super::CliError;
use super::certs::Output;
use super::running::json;
use crate::wire::admin::{AuditEvent, AuditEvents};

const AFTER_HELP: &str = "\
What is kept of each event: when, what, which operator did it if it was one (by the name in [admin] clients, or \
the user's number on the admin socket), and its facts. Events are kept for [store] retention.

Examples:
  mayfly audit --operators --since 2030-01-31T12:00:00Z
  mayfly audit --event certificate_revoked --json";

/// Arguments of `mayfly audit`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Only what operators did
    #[arg(long)]
    pub operators: bool,
    /// Only events of this name, such as certificate_revoked
    #[arg(long, value_name = "NAME")]
    pub event: Option<String>,
    /// Then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How to print
    #[command(flatten)]
    pub output: Output,
}

/// Asks for one page after the other, and prints each as it comes.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    const PAGE: u64 = 500;
    let Args { operators, event, since, output } = args;
    let operators = operators.then(|| "true".to_owned());
    let conditions = [("operators", &operators), ("event", event), ("since", since)];
    let given: Vec<_> =
        conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let (mut left, mut all) = (output.limit, AuditEvents { events: Vec::new(), next: output.after.clone() });
    let mut printed = false;
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&given).append_pair("limit", &left.min(PAGE).to_string());
        if let Some(after) = &all.next {
            query.append_pair("after", after);
        }
        let path = format!("/v1/audit-events?{}", query.finish());
        let page: AuditEvents = output.target.call(Method::GET, &path, None::<&()>)?;
        left = left.saturating_sub(page.events.len() as u64);
        all.next = page.next;
        if output.json {
            all.events.extend(page.events);
        } else {
            for event in &page.events {
                printed = true;
                out.write_all(told(event).as_bytes())?;
            }
        }
        if all.next.is_none() || left == 0 {
            break;
        }
    }
    if output.json {
        return json(out, &all);
    }
    if !printed {
        writeln!(out, "No such event.")?;
    }
    if let Some(next) = &all.next {
        writeln!(out, "There may be more: --limit N for more at once, or --after {next}")?;
    }
    Ok(())
}

/// One, in a line; who did it in front of the facts.
fn told(event: &AuditEvent) -> String {
    let by = event.operator.iter().map(|operator| format!("by {operator}"));
    let facts = event.facts.iter().map(|(name, value)| format!("{name} {value}"));
    let rest = by.chain(facts).collect::<Vec<_>>().join(", ");
    format!("{}  {:<26} {rest}\n", event.at, event.event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_what_and_who() {
        let event = AuditEvent {
            number: 7,
            at: "2030-01-31T12:00:00Z".into(),
            event: "campaign_cancelled".into(),
            operator: Some("alice@example.com".into()),
            facts: [("campaign".to_owned(), "3".to_owned())].into(),
        };
        let want = "2030-01-31T12:00:00Z  campaign_cancelled         by alice@example.com, campaign 3\n";
        assert_eq!(told(&event), want);
    }
}
