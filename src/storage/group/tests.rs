//! The group commit over engines that stall, fail, panic and fill up on command.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Condvar, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::storage::engine::{Purpose, RawRow, Space, Span, Write};
use crate::storage::memory::Memory;
use crate::storage::{Expect, Version};

/// What an engine under test does at its next writes; clones share it.
#[derive(Clone, Default)]
struct Script(Arc<Orders>);

#[derive(Default)]
struct Orders {
    /// Writes wait while this holds.
    stalled: Mutex<bool>,
    released: Condvar,
    /// How many writes have been started.
    applied: AtomicU32,
    /// The write, counted from 1, that fails; 0 for none.
    fail_at: AtomicU32,
    /// Failing writes panic instead.
    panic: AtomicBool,
    /// A failing write gets to the data first: whether it was applied is then unknown.
    half: AtomicBool,
    full: AtomicBool,
    /// So full that not even a removal has room.
    choked: AtomicBool,
    unreadable: AtomicBool,
}

impl Script {
    fn stall(&self) {
        *self.stalled() = true;
    }
    fn release(&self) {
        *self.stalled() = false;
        self.0.released.notify_all();
    }
    fn stalled(&self) -> MutexGuard<'_, bool> {
        self.0.stalled.lock().unwrap()
    }
    fn applied(&self) -> u32 {
        self.0.applied.load(Ordering::SeqCst)
    }
    fn fail_at(&self, nth: u32) {
        self.0.fail_at.store(nth, Ordering::SeqCst);
    }
    /// Waits until the writer is inside its `nth` write.
    fn await_write(&self, nth: u32) {
        while self.applied() < nth {
            std::thread::yield_now();
        }
    }
    fn start(&self) -> GroupCommit<Scripted> {
        GroupCommit::start(Scripted { memory: Memory::default(), script: self.clone() }).unwrap()
    }
}

struct Scripted {
    memory: Memory,
    script: Script,
}

impl Engine for Scripted {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if self.script.0.unreadable.load(Ordering::SeqCst) {
            return Err(StoreError::Failed("bad sector".into()));
        }
        self.memory.get(space, key)
    }
    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError> {
        self.memory.scan(space, span, limit)
    }
    fn room(&self, _: usize, purpose: Purpose) -> Result<(), StoreError> {
        let full = match purpose {
            Purpose::Data => &self.script.0.full,
            Purpose::Removal => &self.script.0.choked,
        };
        match full.load(Ordering::SeqCst) {
            true => Err(StoreError::NoSpace("full".into())),
            false => Ok(()),
        }
    }
    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        assert!(writes.is_sorted_by(|a, b| a.target() < b.target()), "sorted, without repetition");
        let nth = self.script.0.applied.fetch_add(1, Ordering::SeqCst) + 1;
        let stalled = self.script.stalled();
        drop(self.script.0.released.wait_while(stalled, |stalled| *stalled).unwrap());
        if nth == self.script.0.fail_at.load(Ordering::SeqCst) {
            assert!(!self.script.0.panic.load(Ordering::SeqCst), "told to panic");
            if self.script.0.half.load(Ordering::SeqCst) {
                self.memory.apply(writes)?;
            }
            return Err(StoreError::Failed("sync failed".into()));
        }
        self.memory.apply(writes)
    }
}

type Waiting<'a> = BoxFuture<'a, Result<CommitOutcome, StoreError>>;

/// Polls a commit once, which queues it; the answer if it is refused at once.
fn queue<'a>(store: &'a impl Store, batch: Batch) -> Result<Waiting<'a>, StoreError> {
    let mut commit = store.commit(batch);
    match commit.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(commit),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(outcome)) => Ok(Box::pin(async move { Ok(outcome) })),
    }
}

fn put(key: &str, value: u8) -> Batch {
    Batch::new().put(Table::Orders, key, vec![value])
}

fn failed<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Failed(_)))
}

/// The format is the first write of a new store; commits start with the second.
const FIRST: u32 = 2;

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let script = Script::default();
    let store = script.start();
    script.stall();
    let mut waiting = vec![queue(&store, put("first", 0)).unwrap()];
    script.await_write(FIRST);
    for n in 0..QUEUE_TXNS {
        waiting.push(queue(&store, Batch::new().put(Table::Orders, n.to_be_bytes(), vec![])).unwrap());
    }
    assert!(matches!(queue(&store, put("one too many", 0)), Err(StoreError::Busy)));
    assert!(matches!(store.check().await, Err(StoreError::Busy)));
    // Reads neither wait for the writer nor see what is not durable.
    assert_eq!(store.get(Table::Orders, b"first").await.unwrap(), None);
    script.release();
    for commit in waiting {
        assert!(matches!(commit.await.unwrap(), CommitOutcome::Committed(_)));
    }
    // One write for the first, and two groups of at most 2048 for all the others.
    assert_eq!(script.applied(), FIRST + 2);
    assert_eq!(store.scan(Table::Orders, b"", None, usize::MAX).await.unwrap().len(), QUEUE_TXNS + 1);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_queue_full_of_bytes_refuses_too() {
    let script = Script::default();
    let store = script.start();
    script.stall();
    let large =
        || (0..3u8).fold(Batch::new(), |batch, n| batch.put(Table::Orders, [n], vec![n; limits::MAX_VALUE]));
    let mut waiting = vec![queue(&store, put("first", 0)).unwrap()];
    script.await_write(FIRST);
    while let Ok(commit) = queue(&store, large()) {
        waiting.push(commit);
    }
    assert_eq!(waiting.len() - 1, QUEUE_BYTES / (3 * limits::MAX_VALUE + 3));
    script.release();
    for commit in waiting {
        assert!(matches!(commit.await.unwrap(), CommitOutcome::Committed(_)));
    }
    assert_eq!(store.inner.shared.queued.load(Ordering::SeqCst), 0);
    store.check().await.unwrap();
}

#[tokio::test]
async fn a_group_sees_its_own_changes_in_order() {
    let script = Script::default();
    let store = script.start();
    script.stall();
    let mut waiting = vec![queue(&store, put("first", 0)).unwrap()];
    script.await_write(FIRST);
    let create = |value| put("a", value).expect(Table::Orders, "a", Expect::Absent);
    for batch in [
        create(1),
        create(2),
        Batch::new().delete(Table::Orders, "a"),
        create(3),
        create(4),
        put("b", 5).expect(Table::Orders, "a", Expect::Is(Version(4))),
        put("b", 6).expect(Table::Orders, "b", Expect::Is(Version(5))),
    ] {
        waiting.push(queue(&store, batch).unwrap());
    }
    script.release();
    let mut outcomes = Vec::new();
    for commit in waiting {
        outcomes.push(commit.await.unwrap());
    }
    let committed = |n| CommitOutcome::Committed(Version(n));
    let lost = CommitOutcome::Conflict;
    let expected =
        [committed(1), committed(2), lost, committed(3), committed(4), lost, committed(5), committed(6)];
    assert_eq!(outcomes, expected);
    assert_eq!(script.applied(), FIRST + 1);
    assert_eq!(store.get(Table::Orders, b"a").await.unwrap().unwrap().value, [3]);
    assert_eq!(store.get(Table::Orders, b"b").await.unwrap().unwrap().value, [6]);
}

/// On which threads callers were woken.
#[derive(Default)]
struct Woken(Mutex<Vec<Option<String>>>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().push(std::thread::current().name().map(str::to_owned));
    }
}

/// The writer wakes a runtime, and the runtime its tasks.
#[test]
fn callers_of_one_runtime_are_woken_by_it() {
    let mut theirs = tokio::runtime::Builder::new_multi_thread();
    let runtime = theirs.worker_threads(1).thread_name("theirs").build().unwrap();
    let script = Script::default();
    let store = script.start();
    script.stall();
    let first = queue(&store, put("first", 0)).unwrap();
    script.await_write(FIRST);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut waiting = Vec::new();
    for n in 0..3 {
        let _inside = runtime.enter();
        let mut commit = store.commit(put("a", n));
        assert!(commit.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        waiting.push(commit);
    }
    script.release();
    while woken.0.lock().unwrap().len() < waiting.len() {
        std::thread::yield_now();
    }
    for mut commit in waiting {
        assert!(commit.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert!(woken.0.lock().unwrap().iter().all(|thread| thread.as_deref() == Some("theirs")));
    assert!(runtime.block_on(first).is_ok());
}

#[tokio::test]
async fn conflicts_wait_for_the_sync_and_cost_none_alone() {
    let script = Script::default();
    let store = script.start();
    let wrong = || put("a", 1).expect(Table::Orders, "a", Expect::Is(Version(9)));
    assert_eq!(store.commit(wrong()).await.unwrap(), CommitOutcome::Conflict);
    assert_eq!(script.applied(), FIRST - 1);
    script.fail_at(FIRST);
    script.stall();
    let first = queue(&store, put("a", 1)).unwrap();
    script.await_write(FIRST);
    let conflict = queue(&store, wrong()).unwrap();
    script.release();
    assert!(failed(&first.await));
    assert!(failed(&conflict.await));
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged() {
    for (nth, half, panic) in [(0, false, false), (3, true, false), (1, false, true), (5, true, true)] {
        let script = Script::default();
        let store = script.start();
        script.fail_at(FIRST + nth);
        script.0.half.store(half, Ordering::SeqCst);
        script.0.panic.store(panic, Ordering::SeqCst);
        for n in 0..nth {
            assert!(store.commit(put(&n.to_string(), 1)).await.is_ok());
        }
        script.stall();
        let under_way = queue(&store, put("a", 1)).unwrap();
        script.await_write(FIRST + nth);
        let queued: Vec<_> = (0..50).map(|_| queue(&store, put("b", 2)).unwrap()).collect();
        script.release();
        assert!(failed(&under_way.await));
        for commit in queued {
            assert!(failed(&commit.await));
        }
        assert!(failed(&store.commit(put("c", 3)).await));
        assert!(failed(&store.check().await));
        // Not even what is there: the engine's memory may be ahead of the disk.
        assert!(failed(&store.get(Table::Orders, b"0").await));
        assert!(failed(&store.scan(Table::Orders, b"", None, 9).await));
        assert_eq!(script.applied(), FIRST + nth, "a failed sync is not tried again");
        store.close().await;
    }
}

#[tokio::test]
async fn a_failed_read_fails_the_store() {
    let script = Script::default();
    let store = script.start();
    let _ = store.commit(put("a", 1)).await.unwrap();
    script.0.unreadable.store(true, Ordering::SeqCst);
    assert!(failed(&store.get(Table::Orders, b"a").await));
    script.0.unreadable.store(false, Ordering::SeqCst);
    assert!(failed(&store.get(Table::Orders, b"a").await));
    assert!(failed(&store.commit(put("a", 2)).await));
}

#[tokio::test]
async fn a_check_that_cannot_be_read_fails_the_group() {
    let script = Script::default();
    let store = script.start();
    script.0.unreadable.store(true, Ordering::SeqCst);
    assert!(failed(&store.commit(put("a", 1).expect(Table::Orders, "a", Expect::Absent)).await));
    assert!(failed(&store.check().await));
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let script = Script::default();
    let store = script.start();
    let _ = store.commit(put("a", 1)).await.unwrap();
    script.0.full.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(put("a", 2)).await, Err(StoreError::NoSpace(_))));
    assert!(matches!(store.check().await, Err(StoreError::NoSpace(_))));
    assert_eq!(store.get(Table::Orders, b"a").await.unwrap().unwrap().value, [1]);
    script.0.full.store(false, Ordering::SeqCst);
    let _ = store.commit(put("a", 3)).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_takes_removals_from_among_others() {
    let script = Script::default();
    let store = script.start();
    for key in ["a", "b"] {
        let _ = store.commit(put(key, 1)).await.unwrap();
    }
    script.0.full.store(true, Ordering::SeqCst);
    script.stall();
    let remove = |key: &str| Batch::new().delete(Table::Orders, key);
    let first = queue(&store, remove("none")).unwrap();
    script.await_write(FIRST + 2);
    // All in one group.
    let data = queue(&store, put("c", 1)).unwrap();
    let removal = queue(&store, remove("a")).unwrap();
    let both = queue(&store, remove("b").put(Table::Orders, "d", vec![])).unwrap();
    let logged = queue(&store, remove("b").append(Table::Audit, vec![])).unwrap();
    script.release();
    assert!(first.await.is_ok() && removal.await.is_ok());
    for refused in [data, both, logged] {
        assert!(matches!(refused.await, Err(StoreError::NoSpace(_))));
    }
    assert!(matches!(store.check().await, Err(StoreError::NoSpace(_))));
    let rows = store.scan(Table::Orders, b"", None, 9).await.unwrap();
    assert_eq!(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [b"b"]);
    script.0.choked.store(true, Ordering::SeqCst);
    assert!(matches!(store.commit(remove("b")).await, Err(StoreError::NoSpace(_))));
}

#[tokio::test]
async fn a_corrupt_record_fails_one_transaction_and_can_be_replaced() {
    let memory = Memory::default();
    memory.apply(vec![Write::Put(Space::Table(Table::Orders), b"a".to_vec(), vec![1, 2])]).unwrap();
    let store = GroupCommit::start(memory).unwrap();
    assert!(matches!(store.get(Table::Orders, b"a").await, Err(StoreError::Corrupt(_))));
    let checked = put("a", 1).expect(Table::Orders, "a", Expect::Absent);
    assert!(matches!(store.commit(checked).await, Err(StoreError::Corrupt(_))));
    let _ = store.commit(put("a", 2)).await.unwrap();
    assert_eq!(store.get(Table::Orders, b"a").await.unwrap().unwrap().value, [2]);
}

/// Lets a test look into an engine that a store owns.
#[derive(Clone, Default)]
struct Seen(Arc<Memory>);

impl Engine for Seen {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(space, key)
    }
    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError> {
        self.0.scan(space, span, limit)
    }
    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.0.apply(writes)
    }
}

#[tokio::test]
async fn chunks_leave_with_their_record() {
    let seen = Seen::default();
    let chunks = || seen.scan(Space::Chunks, &Span::new(b"", None).unwrap(), usize::MAX).unwrap().len();
    let large = |size| Batch::new().put(Table::Meta, "crl", vec![1; size]);
    let store = GroupCommit::start(seen.clone()).unwrap();
    let table: &[(usize, usize)] = &[(3001, 2), (9000, 3), (10, 0), (100_000, 34), (100_000, 34)];
    for (size, expected) in table {
        let _ = store.commit(large(*size)).await.unwrap();
        assert_eq!(chunks(), *expected, "{size}");
    }
    // A store that is opened again still knows of them.
    drop(store);
    let store = GroupCommit::start(seen.clone()).unwrap();
    let _ = store.commit(large(5000)).await.unwrap();
    assert_eq!(chunks(), 2);
    let _ = store.commit(Batch::new().delete(Table::Meta, "crl")).await.unwrap();
    assert_eq!(chunks(), 0);
    let _ = store.commit(large(5000).put(Table::Meta, "crl", vec![])).await.unwrap();
    assert_eq!(chunks(), 0);
}

#[test]
fn another_format_does_not_open() {
    let seen = Seen::default();
    drop(GroupCommit::start(seen.clone()).unwrap());
    drop(GroupCommit::start(seen.clone()).unwrap());
    let format = Write::Put(Space::System, b"format".to_vec(), b"mayfly store 2".to_vec());
    seen.apply(vec![format]).unwrap();
    let Err(StoreError::Failed(reason)) = GroupCommit::start(seen.clone()) else { panic!("opened") };
    assert!(reason.contains("mayfly store 2") && reason.contains("mayfly store 1"), "{reason}");
    let version = Write::Put(Space::System, b"version".to_vec(), vec![0, 0, 0, 0, 0, 0, 0, 1]);
    seen.apply(vec![version, Write::Delete(Space::System, b"format".to_vec())]).unwrap();
    assert!(matches!(GroupCommit::start(seen), Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn a_caller_that_leaves_changes_nothing() {
    let script = Script::default();
    let store = script.start();
    script.stall();
    drop(queue(&store, put("a", 1)).unwrap());
    script.await_write(FIRST);
    drop(queue(&store, put("b", 2)).unwrap());
    script.release();
    store.check().await.unwrap();
    assert_eq!(store.scan(Table::Orders, b"", None, 9).await.unwrap().len(), 2);
}

#[test]
fn dropping_drains_the_queue() {
    let seen = Seen::default();
    let store = GroupCommit::start(seen.clone()).unwrap();
    for n in 0..1000u32 {
        drop(queue(&store, Batch::new().put(Table::Orders, n.to_be_bytes(), vec![])).unwrap());
    }
    drop(store);
    let span = Span::new(b"", None).unwrap();
    assert_eq!(seen.scan(Space::Table(Table::Orders), &span, usize::MAX).unwrap().len(), 1000);
}
