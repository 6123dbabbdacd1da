//! `mayfly certs refused`

use std::io::Write;

use hyper::Method;
use url::form_urlencoded::Serializer;

use super::super::CliError;
use super::super::running::json;
use super::Output;
use crate::wire::admin::{RefusedRequest, RefusedRequests};

/// Arguments of `mayfly certs refused`.
#[derive(Clone, Debug, clap::Args)]
pub struct Refused {
    /// For this name, wildcard or address, among others
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Of this account
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// By this provisioner
    #[arg(long, value_name = "NAME")]
    pub provisioner: Option<String>,
    /// From this address
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<String>,
    /// With this ACME error, such as rejectedIdentifier or rateLimited
    #[arg(long, value_name = "TYPE")]
    pub error: Option<String>,
    /// Refused then or later (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How to print
    #[command(flatten)]
    pub output: Output,
}

/// Asks for one page after the other, and prints each as it comes.
pub(super) fn list(args: &Refused, out: &mut dyn Write) -> Result<(), CliError> {
    const PAGE: u64 = 500;
    let Refused { name, account, provisioner, client, error, since, output } = args;
    let conditions = [
        ("name", name),
        ("account", account),
        ("provisioner", provisioner),
        ("client", client),
        ("error", error),
        ("since", since),
    ];
    let given: Vec<_> =
        conditions.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let (mut left, mut all) = (output.limit, RefusedRequests { refused: Vec::new(), next: None });
    all.next.clone_from(&output.after);
    let mut printed = false;
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&given).append_pair("limit", &left.min(PAGE).to_string());
        if let Some(after) = &all.next {
            query.append_pair("after", after);
        }
        let path = format!("/v1/refused-requests?{}", query.finish());
        let page: RefusedRequests = output.target.call(Method::GET, &path, None::<&()>)?;
        left = left.saturating_sub(page.refused.len() as u64);
        all.next = page.next;
        if output.json {
            all.refused.extend(page.refused);
        } else {
            for refused in &page.refused {
                printed = true;
                out.write_all(told(refused).as_bytes())?;
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
        writeln!(out, "No such request was refused.")?;
    }
    if let Some(next) = &all.next {
        writeln!(out, "There may be more: --limit N for more at once, or --after {next}")?;
    }
    Ok(())
}

/// One, in a line for each of: what, why, who.
fn told(refused: &RefusedRequest) -> String {
    let RefusedRequest { first, last, times, asked, provisioner, names, others, error, detail, .. } = refused;
    let often = match times {
        1 => String::new(),
        _ => format!("  {times} times since {first}"),
    };
    let names = match (asked.as_str(), others) {
        ("others", _) => "further refusals, which are not kept one by one".to_owned(),
        (_, 0) => names.join(","),
        (_, others) => format!("{} and {others} more", names.join(",")),
    };
    let asked = if asked == "others" { String::new() } else { format!("{asked} for ") };
    let mut text = format!("{last}  {error}  {asked}{names}{often}\n");
    if refused.asked != "others" {
        text.push_str(&format!("  {detail}\n"));
    }
    let who = [
        ("provisioner", Some(provisioner)),
        ("account", refused.account.as_ref()),
        ("from", refused.client_address.as_ref()),
        ("with", refused.user_agent.as_ref().filter(|agent| !agent.is_empty())),
        ("profile", refused.profile.as_ref()),
        ("key", refused.key_sha256.as_ref()),
        ("replacing", refused.replaces.as_ref()),
    ];
    let who = who.iter().filter_map(|(what, value)| value.map(|value| format!("{what} {value}")));
    text.push_str(&format!("  {}\n", who.collect::<Vec<_>>().join(", ")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_why_and_who() {
        let refused = RefusedRequest {
            first: "2030-01-31T11:00:00Z".into(),
            last: "2030-01-31T12:00:00Z".into(),
            times: 7,
            asked: "order".into(),
            provisioner: "acme".into(),
            authority: "prod".into(),
            issuer: "07".repeat(20),
            account: Some("A".into()),
            order: None,
            names: vec!["a.test".into(), "b.test".into()],
            others: 3,
            profile: None,
            key_sha256: None,
            replaces: None,
            error: "rejectedIdentifier".into(),
            detail: "b.test is not allowed".into(),
            client_address: Some("192.0.2.7".into()),
            user_agent: Some(String::new()),
        };
        assert_eq!(
            told(&refused),
            "2030-01-31T12:00:00Z  rejectedIdentifier  order for a.test,b.test and 3 more  7 times since \
             2030-01-31T11:00:00Z\n  b.test is not allowed\n  provisioner acme, account A, from 192.0.2.7\n"
        );
        let others = RefusedRequest { asked: "others".into(), names: Vec::new(), others: 0, ..refused };
        assert_eq!(
            told(&others),
            "2030-01-31T12:00:00Z  rejectedIdentifier  further refusals, which are not kept one by one  7 times \
             since 2030-01-31T11:00:00Z\n  provisioner acme, account A, from 192.0.2.7\n"
        );
    }
}
