//! What is counted and timed, and the page that `/metrics` answers with.
//!
//! Like the log, the counts are the process's: whoever does something counts it where it is done, by
//! [`metrics`], with nothing handed down to it. Counting is an addition or two to a number that is in its
//! place already ([`cells`]); labels are put to the numbers only when the page is written ([`page`]).
//!
//! Names and units are as Prometheus wants them, every name begins with `mayfly_`. Labels take values of
//! closed vocabularies ([`vocabulary`]) and names out of the configuration, never of clients: there are
//! as many series for a million identities as for one.

pub mod cells;
pub mod doors;
pub mod fleet;
pub mod page;
mod process;
pub mod receivers;
mod vault;
pub mod vocabulary;

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use self::cells::{Count, Histogram, Level, SECONDS, SIZES};
use self::doors::Door;
use self::vocabulary::{CommitEnd, Operation, Reason, SpanLoss, Stage, SweptTable};
use crate::limits::Limit;
use crate::telemetry::trace::{Kind, Span};

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    &METRICS
}

/// Everything that is counted as it happens. What is looked up when the page is written is in
/// [`page::Now`].
#[derive(Debug)]
pub struct Metrics {
    doors: RwLock<Vec<Arc<Door>>>,
    receivers: RwLock<Vec<Arc<receivers::Receiver>>>,
    stages: [Histogram; Stage::ALL.len()],
    requests: [Histogram; Operation::ALL.len()],
    limited: [Count; Limit::ALL.len() + 1],
    /// Of the commit queue and its writer.
    pub store: Store,
    /// Of the sweeper.
    pub sweeper: Sweeper,
    /// Of the export of traces.
    pub traces: Traces,
    /// Signatures waited for or under way.
    pub signer_queue: Level,
    /// Signatures made, and those that the signer did not make.
    pub signatures: [Count; 2],
    /// Nonces used up, and those that were missing, unknown or used.
    pub nonces: [Count; 2],
}

/// What the store's writer counts.
#[derive(Debug)]
pub struct Store {
    commits: [Count; CommitEnd::ALL.len()],
    /// Transactions of one durable write.
    pub group: Histogram,
    /// One durable write, the sync included.
    pub sync: Histogram,
}

/// What the sweeper counts.
#[derive(Debug, Default)]
pub struct Sweeper {
    removed: [Count; SweptTable::ALL.len()],
    /// When it last came to the end of what had run out, seconds since the epoch; 0 is never.
    pub caught_up: Level,
    /// Whether more is waiting than one step takes.
    pub behind: Level,
}

/// What the export of traces counts.
#[derive(Debug, Default)]
pub struct Traces {
    /// Spans that a collector has taken.
    pub exported: Count,
    lost: [Count; SpanLoss::ALL.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            doors: RwLock::default(),
            receivers: RwLock::default(),
            stages: std::array::from_fn(|_| Histogram::new(SECONDS)),
            requests: std::array::from_fn(|_| Histogram::new(SECONDS)),
            limited: Default::default(),
            store: Store {
                commits: Default::default(),
                group: Histogram::new(SIZES),
                sync: Histogram::new(SECONDS),
            },
            sweeper: Sweeper::default(),
            traces: Traces::default(),
            signer_queue: Level::default(),
            signatures: Default::default(),
            nonces: Default::default(),
        }
    }
}

impl Metrics {
    /// The counts of one door and one provisioner behind it. A name is the configuration's.
    pub fn door(&self, door: &'static str, provisioner: &str) -> Arc<Door> {
        let find = |doors: &[Arc<Door>]| doors.iter().find(|known| known.is(door, provisioner)).cloned();
        let known = find(&self.doors.read().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_else(|| {
            let mut doors = self.doors.write().unwrap_or_else(PoisonError::into_inner);
            find(&doors).unwrap_or_else(|| {
                let made = Arc::new(Door::new(door, provisioner));
                doors.push(made.clone());
                made
            })
        })
    }

    /// The door of ACME at a provisioner.
    pub fn acme(&self, provisioner: &str) -> Arc<Door> {
        self.door("acme", provisioner)
    }

    /// What reached no provisioner: refused before it was known which.
    pub fn http(&self) -> Arc<Door> {
        self.door("http", NONE)
    }

    /// The admin socket.
    pub fn admin(&self) -> Arc<Door> {
        self.door("admin", NONE)
    }

    /// What this server issues to itself.
    pub fn own(&self) -> Arc<Door> {
        self.door("own", NONE)
    }

    /// A request has been answered.
    pub fn answered(&self, door: &Door, operation: Operation, refused: Option<Reason>, took: Duration) {
        door.answered(operation, refused);
        self.requests[operation as usize].observe(took);
    }

    /// A limit of `[limits]` has refused something; by its key there.
    pub fn limited(&self, limit: &str) {
        let place = Limit::ALL.iter().position(|known| known.name() == limit);
        self.limited[place.unwrap_or(Limit::ALL.len())].add(1);
    }

    /// A stage took so long.
    pub fn took(&self, stage: Stage, time: Duration) {
        self.stages[stage as usize].observe(time);
    }
}

/// Where a label has nothing to tell.
pub(crate) const NONE: &str = "none";

impl Stage {
    /// Does a step and notes how long it took; in a traced request it is a span.
    pub fn run<T>(self, step: impl FnOnce() -> T) -> T {
        let span = Span::part(self.name(), Kind::Internal);
        let begun = Instant::now();
        let done = step();
        drop(span);
        metrics().took(self, begun.elapsed());
        done
    }

    /// The same for a step that waits.
    pub async fn follow<F: Future>(self, step: F) -> F::Output {
        let span = Span::part(self.name(), Kind::Internal);
        let done = self.timed(step).await;
        drop(span);
        done
    }

    /// The same for a step whose span is the caller's.
    pub async fn timed<F: Future>(self, step: F) -> F::Output {
        let begun = Instant::now();
        let done = step.await;
        metrics().took(self, begun.elapsed());
        done
    }
}

impl Store {
    /// A transaction has been answered.
    pub fn committed(&self, end: CommitEnd) {
        self.commits[end as usize].add(1);
    }
}

impl Traces {
    /// So many spans were not exported.
    pub fn lost(&self, why: SpanLoss, spans: u64) {
        self.lost[why as usize].add(spans);
    }
}

impl Sweeper {
    /// So many rows of a table have been removed.
    pub fn removed(&self, table: SweptTable, rows: usize) {
        self.removed[table as usize].add(rows as u64);
    }
}
