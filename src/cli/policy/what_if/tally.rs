//! What came of a replay, counted.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::policy::{Cause, Reason, Verdict};
use crate::time::Timestamp;

/// How many of one kind came out how.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) same: u64,
    pub(super) differs: u64,
    /// By what is not known.
    open: BTreeMap<String, u64>,
    pub(super) unreadable: u64,
}

impl Counts {
    pub(super) fn all(&self) -> u64 {
        self.same + self.differs + self.open.values().sum::<u64>() + self.unreadable
    }

    pub(super) fn open(&mut self, unknown: &[&'static str]) {
        *self.open.entry(unknown.join(" and ")).or_default() += 1;
    }

    fn told(&self, done: &str, same: &str, differs: &str) -> String {
        let mut text = format!("{} {done}: {} {same}, {} {differs}", self.all(), self.same, self.differs);
        for (unknown, count) in &self.open {
            text.push_str(&format!(", {count} undecidable ({unknown} not recorded)"));
        }
        if self.unreadable > 0 {
            text.push_str(&format!(", {} that do not read", self.unreadable));
        }
        text + "\n"
    }

    fn json(&self) -> Value {
        json!({ "same": self.same, "differs": self.differs, "undecidable": self.open, "unreadable": self.unreadable })
    }
}

/// Which rule refuses, in a few words.
pub(super) fn rule_of(reason: &Reason) -> String {
    match &reason.cause {
        Cause::Denied(rule, line, _) => format!("rule {rule:?} (line {line})"),
        Cause::Uncovered(..) => "no allow rule".to_owned(),
        Cause::Unknown(_) => "not understood".to_owned(),
        Cause::Never(_) => "never permitted".to_owned(),
    }
}

/// Of all kinds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) issued: Counts,
    pub(super) refused: Counts,
    /// By field and rule: no more than the policy has.
    blamed: BTreeMap<(String, String), u64>,
    /// Of authorities that are not known any more, where one was asked for.
    pub(super) foreign: u64,
    /// Whether certificates may be missing.
    pub(super) indexing: bool,
}

impl Tally {
    /// Each rule counts once for a certificate and a field.
    pub(super) fn blame(&mut self, verdict: &Verdict) {
        let mut blamed: Vec<(String, String)> = verdict
            .reasons
            .iter()
            .map(|reason| (reason.field.names().1.to_owned(), rule_of(reason)))
            .collect();
        blamed.sort();
        blamed.dedup();
        for each in blamed {
            *self.blamed.entry(each).or_default() += 1;
        }
    }

    pub(super) fn json(&self, policy: &str, begin: Timestamp) -> Value {
        let blamed = self.blamed.iter();
        let by = blamed.map(|((field, rule), count)| json!({ "field": field, "rule": rule, "count": count }));
        json!({
            "policy": policy, "since": begin.to_rfc3339(), "issued": self.issued.json(),
            "refused": self.refused.json(), "by": by.collect::<Value>(), "left_out": self.foreign,
            "incomplete": self.indexing,
        })
    }

    pub(super) fn told(&self, policy: &str, begin: Timestamp, limit: u64) -> String {
        let differing = self.issued.differs + self.refused.differs;
        let mut text = String::new();
        if differing > limit {
            text.push_str(&format!("and {} more; --limit N prints them\n", differing - limit));
        }
        text.push_str(&format!("policy {policy:?}, since {}:\n  ", begin.to_rfc3339()));
        text.push_str(&self.issued.told("issued", "still allowed", "would be refused"));
        for ((field, rule), count) in &self.blamed {
            text.push_str(&format!("    {count} by {field}: {rule}\n"));
        }
        text.push_str("  ");
        text.push_str(&self.refused.told("refused", "still refused", "would be allowed"));
        if self.foreign > 0 {
            let line = "by issuers that are no authority's any more: left out";
            text.push_str(&format!("  {} {line}\n", self.foreign));
        }
        if self.indexing {
            text.push_str("  incomplete: the index of certificates is being made; try again later\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_in_words() {
        let mut tally = Tally::default();
        (tally.issued.same, tally.issued.differs, tally.refused.same) = (3, 2, 1);
        tally.issued.open(&["profile"]);
        tally.issued.open(&["profile"]);
        tally.foreign = 1;
        let text = tally.told("web", Timestamp::EPOCH, 1);
        for part in [
            "and 1 more; --limit N prints them",
            "7 issued: 3 still allowed, 2 would be refused, 2 undecidable (profile not recorded)",
            "1 refused: 1 still refused, 0 would be allowed",
            "1 by issuers",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
