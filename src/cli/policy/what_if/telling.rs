//! A difference, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::tally::rule_of;
use crate::policy::value::shorten;
use crate::policy::{Context, Reason};

/// Whose a recorded certificate is, and what is known of that.
pub(super) struct Recorded {
    pub(super) context: Context,
    /// Conditions of which it is not known whether they hold.
    pub(super) unknown: Vec<&'static str>,
    /// Of the certificate; none of one that was refused.
    pub(super) serial: Option<String>,
    pub(super) names: Vec<String>,
}

/// Why a verdict differs.
pub(super) enum Why<'a> {
    /// What the policy says.
    Now(&'a [Reason]),
    /// What others said.
    Then(&'a [String]),
}

/// Some lines.
pub(super) fn text(what: &str, recorded: &Recorded, why: &Why<'_>) -> String {
    let Context { at, requester, provisioner, account, eab_key, profile, .. } = &recorded.context;
    let names = if recorded.names.is_empty() { "-".to_owned() } else { recorded.names.join(",") };
    let title = match &recorded.serial {
        Some(serial) => format!("{serial} issued {} for {names}", at.to_rfc3339()),
        None => format!("refused {} for {names}", at.to_rfc3339()),
    };
    let whose =
        [("provisioner", provisioner), ("account", account), ("EAB key", eab_key), ("profile", profile)];
    let whose: Vec<String> =
        whose.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
    let whose = if whose.is_empty() { requester.name().to_owned() } else { whose.join(", ") };
    let mut text = format!("{what}: {title} ({whose})\n");
    // Writing to a String does not fail.
    let _ = match why {
        Why::Now(reasons) => reasons.iter().try_for_each(|reason| writeln!(text, "  {reason}")),
        Why::Then(reasons) => reasons.iter().try_for_each(|reason| writeln!(text, "  was: {reason}")),
    };
    text
}

/// The same as an object.
pub(super) fn json(what: &str, recorded: &Recorded, why: &Why<'_>) -> Value {
    let Context { at, requester, authority, provisioner, account, eab_key, profile } = &recorded.context;
    let reasons = match why {
        Why::Now(reasons) => reasons
            .iter()
            .map(|reason| {
                let (field, rule) = (reason.field.names().1, rule_of(reason));
                json!({ "field": field, "value": shorten(&reason.value), "rule": rule, "text": reason.to_string() })
            })
            .collect::<Value>(),
        Why::Then(reasons) => reasons.iter().map(|reason| json!({ "text": reason })).collect(),
    };
    json!({
        "verdict": what, "serial": recorded.serial, "at": at.to_rfc3339(), "names": recorded.names,
        "door": requester.name(), "authority": authority, "provisioner": provisioner, "account": account,
        "eab_key": eab_key, "profile": profile, "reasons": reasons,
    })
}
