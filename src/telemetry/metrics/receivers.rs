//! What is counted by receiver of notices.

use std::fmt;
use std::sync::{Arc, PoisonError};

use super::Metrics;
use super::cells::{Count, Level};
use super::page::{Labels, Writer};

/// The counts of one receiver; its name is the configuration's.
#[derive(Debug)]
pub struct Receiver {
    name: String,
    kind: &'static str,
    delivered: Count,
    failed: Count,
    waiting: Level,
}

impl Receiver {
    /// It has acknowledged so many notices.
    pub fn delivered(&self, notices: usize) {
        self.delivered.add(notices as u64);
    }

    /// An attempt at so many has failed.
    pub fn failed(&self, notices: usize) {
        self.failed.add(notices as u64);
    }

    /// So many are waiting for it.
    pub fn waits(&self, notices: usize) {
        self.waiting.set(i64::try_from(notices).unwrap_or(i64::MAX));
    }

    fn is(&self, (name, kind): (&str, &str)) -> bool {
        self.name == name && self.kind == kind
    }

    fn labels(&self, more: &[(&'static str, &'static str)]) -> Labels<'_> {
        [("receiver", self.name.as_str()), ("type", self.kind)]
            .into_iter()
            .chain(more.iter().copied())
            .collect()
    }
}

impl Metrics {
    /// The counts of a receiver.
    pub fn receiver(&self, name: &str, kind: &'static str) -> Arc<Receiver> {
        let mut receivers = self.receivers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = receivers.iter().find(|one| one.is((name, kind))) {
            return known.clone();
        }
        let made = Arc::new(Receiver {
            name: name.to_owned(),
            kind,
            delivered: Count::default(),
            failed: Count::default(),
            waiting: Level::default(),
        });
        receivers.push(made.clone());
        made
    }

    /// These are in force: shown from zero on, and for others nothing waits.
    pub fn receivers_are<'a>(&self, receivers: impl Iterator<Item = (&'a str, &'static str)>) {
        let receivers: Vec<_> = receivers.collect();
        for (name, kind) in &receivers {
            self.receiver(name, kind);
        }
        let known = self.receivers.read().unwrap_or_else(PoisonError::into_inner);
        for other in known.iter().filter(|known| !receivers.iter().any(|one| known.is(*one))) {
            other.waits(0);
        }
    }
}

pub(super) fn write(writer: &mut Writer<'_>, metrics: &Metrics) -> fmt::Result {
    let mut receivers = metrics.receivers.read().unwrap_or_else(PoisonError::into_inner).clone();
    receivers.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    let results = receivers.iter().flat_map(|one| {
        let row = |result, count: &Count| (one.labels(&[("result", result)]), count.get());
        [row("delivered", &one.delivered), row("failed", &one.failed)]
    });
    writer.counts("mayfly_notifications", "Notices sent to receivers, by how that ended", results)?;
    writer.levels(
        "mayfly_notifications_pending",
        "Alerts, and ends of alerts, that a receiver has not acknowledged",
        receivers.iter().map(|one| (one.labels(&[]), one.waiting.get() as f64)),
    )
}
