//! An imported policy as a document.

use std::fmt::Write as _;

use super::super::document::quoted;
use super::{Note, Source};

/// What the one allow rule lists; `None`: the rule says nothing of that kind, an empty list: there must be
/// none.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) dns: Option<Vec<String>>,
    /// Whether names may be wildcards.
    pub(super) wildcards: bool,
    pub(super) ip: Option<Vec<String>>,
    pub(super) uri: Option<Vec<String>>,
    pub(super) email: Option<Vec<String>>,
    pub(super) devices: Option<Vec<String>>,
    pub(super) principals: Option<Vec<String>>,
    pub(super) subject: Option<Vec<String>>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) lifetime: Option<String>,
    pub(super) key_usage: Option<Vec<String>>,
    pub(super) eku: Option<Vec<String>>,
}

/// Longest line of a list that stands in one.
const LINE: usize = 100;

fn list(out: &mut String, key: &str, entries: Option<&Vec<String>>) {
    let Some(entries) = entries else { return };
    let quoted: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
    let line = format!("{key} = [{}]\n", quoted.join(", "));
    if line.len() <= LINE {
        out.push_str(&line);
        return;
    }
    // Writing to a String does not fail.
    let _ = writeln!(out, "{key} = [");
    for entry in quoted {
        let _ = writeln!(out, "  {entry},");
    }
    out.push_str("]\n");
}

/// The whole document.
pub(super) fn document(source: Source, name: &str, lists: &Lists, notes: &[Note]) -> String {
    let from = match source {
        Source::CertManager => "a cert-manager CertificateRequestPolicy",
        Source::VaultRole => "a Vault PKI role",
    };
    let mut out = format!("# Made of {from} by `mayfly policy import`.\n");
    if !notes.is_empty() {
        out.push_str("#\n# What has no equivalent, or one that is not the same:\n");
    }
    for note in notes {
        let _ = writeln!(out, "# - {note}");
    }
    let _ = write!(out, "\nname = {}\n\n[[allow]]\nname = \"imported\"\n", quoted(name));
    list(&mut out, "dns", lists.dns.as_ref());
    if lists.wildcards && lists.dns.is_some() {
        out.push_str("wildcards = true\n");
    }
    list(&mut out, "ip", lists.ip.as_ref());
    list(&mut out, "uri", lists.uri.as_ref());
    list(&mut out, "email", lists.email.as_ref());
    list(&mut out, "devices", lists.devices.as_ref());
    list(&mut out, "principals", lists.principals.as_ref());
    list(&mut out, "subject", lists.subject.as_ref());
    list(&mut out, "keys", lists.keys.as_ref());
    list(&mut out, "lifetime", lists.lifetime.clone().map(|span| vec![span]).as_ref());
    list(&mut out, "key_usage", lists.key_usage.as_ref());
    list(&mut out, "eku", lists.eku.as_ref());
    out
}
