//! The thread that owns all writes.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Shared;
use super::overlay::{Ledger, Overlay};
use crate::storage::engine::{Engine, Purpose};
use crate::storage::{Batch, CommitOutcome, Op, StoreError, limits};
use crate::telemetry::metrics::metrics;

/// Transactions of one group.
const GROUP_TXNS: usize = 2048;
/// Bytes at which a group takes no further transaction.
const GROUP_BYTES: usize = 4 << 20;

/// So many transactions a second are a crowd: each group waits for company.
const CROWD: u64 = 1_000;
/// A pause that makes groups larger and so syncs and wake-ups fewer: an issuance has three commits, and
/// under load a third of a sync instead of one, which is 8 % of its CPU. The lonely client never waits.
const LINGER: Duration = Duration::from_millis(1);
/// Where groups are so large, the pause is three times as long. On two cores with 64 callers and more that saves
/// 5 % beside twice as long, and four times no more; 32 callers, who then all wait at times, save nothing and
/// get 6 % less done. At half of what the cores bear groups are not large, and it would take the slowest there
/// beyond 15 ms.
const LARGE: u64 = 10;
/// How long they are counted.
const COUNTED: Duration = Duration::from_millis(5);

/// What the caller of a commit waits for.
pub type Answer = Result<CommitOutcome, StoreError>;

/// One queued transaction.
pub struct Txn {
    /// The checks and changes.
    pub batch: Batch,
    /// Size of the batch, as counted against the queue.
    pub bytes: usize,
    /// Where the answer goes. The caller may have gone away; the batch is applied all the same.
    pub reply: Reply,
}

/// Where an answer goes, and the runtime on which its caller waits, if it is on one.
pub struct Reply {
    /// To the caller.
    pub caller: oneshot::Sender<Answer>,
    /// Where the caller is.
    pub runtime: Option<Handle>,
}

type Addressed = (oneshot::Sender<Answer>, Answer);

/// Answers everyone. Waking a task from another thread is a system call, which wakes that thread's
/// runtime: each runtime is woken once for all of its callers, and does the rest itself.
fn answer_all(replies: Vec<Reply>, answers: Vec<Answer>) {
    let mut there: Vec<(Handle, Vec<Addressed>)> = Vec::new();
    for (Reply { caller, runtime }, answer) in replies.into_iter().zip(answers) {
        let Some(runtime) = runtime else {
            deliver([(caller, answer)]);
            continue;
        };
        match there.iter_mut().find(|(known, _)| known.id() == runtime.id()) {
            Some((_, waiting)) => waiting.push((caller, answer)),
            None => there.push((runtime, vec![(caller, answer)])),
        }
    }
    for (runtime, waiting) in there {
        if waiting.len() == 1 {
            deliver(waiting);
        } else {
            // A runtime that has ended drops this, and with it those who waited on it.
            runtime.spawn(async move { deliver(waiting) });
        }
    }
}

fn deliver(waiting: impl IntoIterator<Item = Addressed>) {
    for (caller, answer) in waiting {
        // A caller that has gone away needs no answer.
        let _ = caller.send(answer);
    }
}

/// Runs until the queue is closed and empty, or the store fails.
///
/// When it returns early, the queue is dropped with the transactions still in it; their callers
/// find their reply gone and answer [`StoreError::Failed`].
pub fn run<E: Engine>(shared: Arc<Shared<E>>, queue: &Receiver<Txn>, mut ledger: Ledger) {
    let _mark = FailOnPanic(&shared);
    let mut crowd = Crowd::new(Instant::now());
    while let Some(group) = next_group(queue, &mut crowd) {
        if let Err(error) = commit_group(&shared, &mut ledger, group) {
            tracing::error!(%error, "the store has failed and answers no more until it is opened again");
            return;
        }
    }
}

/// Waits for one transaction, then takes what is there. The previous group's sync was time to gather;
/// a little more is given where there is a crowd.
fn next_group(queue: &Receiver<Txn>, crowd: &mut Crowd) -> Option<Vec<Txn>> {
    let first = queue.recv().ok()?;
    if let Some(pause) = crowd.pause(Instant::now()) {
        std::thread::sleep(pause);
    }
    let mut bytes = first.bytes;
    let mut group = vec![first];
    while group.len() < GROUP_TXNS && bytes < GROUP_BYTES {
        let Ok(next) = queue.try_recv() else { break };
        bytes += next.bytes;
        group.push(next);
    }
    crowd.came(group.len());
    Some(group)
}

/// Whether there are many callers, by how many transactions came lately. The last group alone does not
/// tell: behind a large one, whose callers are all at their next step, there is often a group of one.
/// Where all are of one, it is one caller, that commits as fast as it can.
struct Crowd {
    since: Instant,
    count: u64,
    groups: u64,
    pause: Option<Duration>,
}

impl Crowd {
    fn new(now: Instant) -> Self {
        Self { since: now, count: 0, groups: 0, pause: None }
    }

    fn came(&mut self, group: usize) {
        self.count += group as u64;
        self.groups += 1;
    }

    /// How long a group is to wait for company: as of the last [`COUNTED`] or longer, if it was quiet since then.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.since);
        if passed >= COUNTED {
            let per_second = u128::from(self.count) * 1_000_000 / passed.as_micros();
            let there = per_second >= u128::from(CROWD) && self.count > self.groups;
            let large = self.count >= self.groups * LARGE;
            let pause = there.then_some(if large { 3 * LINGER } else { LINGER });
            *self = Self { pause, ..Self::new(now) };
        }
        self.pause
    }
}

/// Commits a group and only then answers everyone in it, conflicts included: a conflict may be
/// with a change of this very group, which nobody may learn of before it is durable.
fn commit_group<E: Engine>(
    shared: &Shared<E>,
    ledger: &mut Ledger,
    group: Vec<Txn>,
) -> Result<(), StoreError> {
    let bytes = group.iter().map(|txn| txn.bytes).sum();
    shared.queued.fetch_sub(bytes, Ordering::Relaxed);
    let (batches, replies): (Vec<_>, Vec<_>) = group.into_iter().map(|txn| (txn.batch, txn.reply)).unzip();
    match try_group(shared, ledger, batches, bytes) {
        Ok(answers) => {
            answer_all(replies, answers);
            Ok(())
        }
        Err(error) => {
            // Failed first, answered second: whoever hears of the failure must not read afterwards.
            let error = shared.fail(error);
            let answers = vec![Err(error.clone()); replies.len()];
            answer_all(replies, answers);
            Err(error)
        }
    }
}

/// The outer error is the engine's and ends the store; the inner ones end one transaction each.
fn try_group<E: Engine>(
    shared: &Shared<E>,
    ledger: &mut Ledger,
    batches: Vec<Batch>,
    bytes: usize,
) -> Result<Vec<Answer>, StoreError> {
    let engine = shared.engine.read().unwrap_or_else(PoisonError::into_inner);
    let Some(engine) = engine.as_ref() else { return Err(StoreError::Failed("it is closed".into())) };
    // Set where there is no room for data: then only what removes some goes on, or the disk would
    // stay full for ever.
    let full = match engine.room(bytes, Purpose::Data) {
        Err(full @ StoreError::NoSpace(_)) => {
            let removals = batches.iter().filter(|batch| removes_only(batch));
            let bytes = removals.filter_map(|batch| limits::measure(batch).ok()).sum();
            match engine.room(bytes, Purpose::Removal) {
                Err(full @ StoreError::NoSpace(_)) => return Ok(vec![Err(full); batches.len()]),
                other => other?,
            }
            Some(full)
        }
        other => {
            other?;
            None
        }
    };
    let mut overlay = Overlay::new(engine, ledger);
    let mut answers = Vec::with_capacity(batches.len());
    for batch in batches {
        if let Some(full) = &full
            && !removes_only(&batch)
        {
            answers.push(Err(full.clone()));
            continue;
        }
        answers.push(match overlay.add(batch) {
            Err(error @ StoreError::Failed(_)) => return Err(error),
            answer => answer,
        });
    }
    let begun = Instant::now();
    overlay.apply()?;
    let counts = &metrics().store;
    counts.sync.observe(begun.elapsed());
    counts.group.add(answers.len() as u64);
    Ok(answers)
}

/// An empty batch removes nothing: it asks whether data can be written.
fn removes_only(batch: &Batch) -> bool {
    !batch.ops.is_empty() && batch.ops.iter().all(|op| matches!(op, Op::Delete(..)))
}

/// Marks the store as failed if the engine panics under the writer, instead of leaving reads alive
/// over an engine in an unknown state.
struct FailOnPanic<'a, E: Engine>(&'a Shared<E>);

impl<E: Engine> Drop for FailOnPanic<'_, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(StoreError::Failed("the engine panicked".into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_many_in_a_short_time() {
        let start = Instant::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut crowd = Crowd::new(start);
        let mut come = |groups: &[usize], until| {
            groups.iter().for_each(|group| crowd.came(*group));
            crowd.pause(at(until)).map_or(0, |pause| pause.as_millis())
        };
        // Nobody is judged before there was time to count.
        assert_eq!(come(&[100], 4_999), 0);
        assert_eq!(come(&[], 5_000), 3);
        assert_eq!((come(&[1, 3, 1], 9_999), come(&[], 10_000)), (3, 1));
        assert_eq!(come(&[1, 3], 15_000), 0);
        // One caller, however quick.
        assert_eq!(come(&[1; 20], 20_000), 0);
        assert_eq!(come(&[8, 11], 25_000), 1);
        assert_eq!(come(&[8, 12], 30_000), 3);
        // One that comes after a pause, with a crowd before it.
        assert_eq!(come(&[8, 8], 1_030_000), 0);
    }
}
