//! Group commit: many callers, one writer, one sync per group.
//!
//! Callers queue their batches; a dedicated thread takes what has gathered, evaluates the checks in
//! arrival order, applies everything that holds in one durable write, and only then answers. Reads
//! go straight to the engine, which shows nothing that is not durable. Read-modify-write is read,
//! check, and retry on [`CommitOutcome::Conflict`].
//!
//! After an engine error nothing is acknowledged or read any more. A failed sync is never retried:
//! the kernel may have dropped the very pages it could not write, and a second sync would succeed
//! without them.

mod overlay;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::overlay::Ledger;
use self::writer::{Reply, Txn};
use super::engine::Engine;
use super::{Batch, BoxFuture, CommitOutcome, Row, Store, StoreError, Table, Versioned, limits, record};
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::{CommitEnd, Stage};

/// Transactions that may wait; more are refused with [`StoreError::Busy`].
pub const QUEUE_TXNS: usize = 4096;

/// Bytes that may wait; more are refused with [`StoreError::Busy`]. Keeps a full queue of large
/// batches from filling the memory.
pub const QUEUE_BYTES: usize = 64 << 20;

/// A [`Store`] over an engine. See the module's doc.
///
/// Dropping it drains the queue and waits for the writer, as [`Store::close`] does.
pub struct GroupCommit<E: Engine> {
    inner: Arc<Inner<E>>,
}

struct Inner<E: Engine> {
    /// Taken on close, which ends the writer once it has drained the queue.
    queue: RwLock<Option<SyncSender<Txn>>>,
    /// Held while joining, so that every caller of close waits for the end.
    writer: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared<E>>,
}

/// What readers and the writer share.
struct Shared<E: Engine> {
    /// Read-locked by every operation for as long as it lasts, taken on close.
    engine: RwLock<Option<E>>,
    /// Why the store has failed, once it has.
    failed: OnceLock<StoreError>,
    /// Bytes in the queue.
    queued: AtomicUsize,
}

impl<E: Engine> GroupCommit<E> {
    /// Opens the store that `engine` holds and starts its writer.
    ///
    /// Fails if the store has another format, or with the engine's own error.
    pub fn start(engine: E) -> Result<Self, StoreError> {
        let ledger = Ledger::open(&engine)?;
        let shared = Arc::new(Shared {
            engine: RwLock::new(Some(engine)),
            failed: OnceLock::new(),
            queued: AtomicUsize::new(0),
        });
        let (queue, incoming) = sync_channel(QUEUE_TXNS);
        let writer = std::thread::Builder::new()
            .name("mayfly-commit".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || writer::run(shared, &incoming, ledger)
            })
            .map_err(|error| StoreError::Failed(format!("its writer does not start: {error}")))?;
        let inner = Inner { queue: RwLock::new(Some(queue)), writer: Mutex::new(Some(writer)), shared };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl<E: Engine> Inner<E> {
    fn submit(&self, batch: Batch) -> Result<oneshot::Receiver<writer::Answer>, StoreError> {
        let bytes = limits::measure(&batch)?;
        self.shared.alive()?;
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_ref() else { return Err(closed()) };
        let queued = &self.shared.queued;
        if queued.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES {
            queued.fetch_sub(bytes, Ordering::Relaxed);
            return Err(StoreError::Busy);
        }
        let (caller, answer) = oneshot::channel();
        let reply = Reply { caller, runtime: Handle::try_current().ok() };
        queue.try_send(Txn { batch, bytes, reply }).map_err(|refused| {
            queued.fetch_sub(bytes, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => self.shared.failure(),
            }
        })?;
        Ok(answer)
    }

    /// Drains the queue, ends the writer, releases the engine. Blocks; may be called repeatedly.
    fn shut(&self) {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = writer.take()
            // A waker may drop the last handle to the store on the writer's own thread.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic there has already been marked as the store's failure.
            let _ = thread.join();
        }
        drop(self.shared.engine.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl<E: Engine> Shared<E> {
    fn alive(&self) -> Result<(), StoreError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn failure(&self) -> StoreError {
        self.failed.get().cloned().unwrap_or_else(closed)
    }

    /// Marks the store as failed for good; the first reason stays.
    fn fail(&self, error: StoreError) -> StoreError {
        let error = match error {
            StoreError::Failed(_) => error,
            other => StoreError::Failed(other.to_string()),
        };
        self.failed.get_or_init(|| error).clone()
    }

    fn read<T>(&self, read: impl FnOnce(&E) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        self.alive()?;
        let result = read(engine.as_ref().ok_or_else(closed)?);
        // Again, so that nothing read during the failure gets out.
        self.alive()?;
        result.map_err(|error| match error {
            StoreError::Failed(_) => self.fail(error),
            other => other,
        })
    }
}

fn closed() -> StoreError {
    StoreError::Failed("it is closed".into())
}

/// Runs a blocking step off the async threads, where there are any.
async fn blocking<T: Send + 'static>(step: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    // In a box: what runs it is compiled for every type.
    let step: Box<dyn FnOnce() -> T + Send> = Box::new(step);
    match Handle::try_current() {
        Err(_) => Ok(step()),
        // The step cannot be cancelled short of the runtime's end.
        Ok(runtime) => runtime
            .spawn_blocking(step)
            .await
            .map_err(|error| StoreError::Failed(format!("a step did not end: {error}"))),
    }
}

impl<E: Engine> Store for GroupCommit<E> {
    fn get<'a>(
        &'a self,
        table: Table,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            self.inner
                .shared
                .read(|engine| if limits::is_key(key) { record::read(engine, table, key) } else { Ok(None) })
        })
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            let shared = Arc::clone(&self.inner.shared);
            let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
            blocking(move || {
                shared.read(|engine| record::scan(engine, table, &prefix, after.as_deref(), limit))
            })
            .await?
        })
    }

    /// A batch once queued is applied even if the caller stops waiting.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(async move {
            let committed = Stage::Commit.follow(async {
                let answer = self.inner.submit(batch)?;
                answer.await.unwrap_or_else(|_| Err(self.inner.shared.failure()))
            });
            let committed = committed.await;
            metrics().store.committed(match &committed {
                Ok(CommitOutcome::Committed(_)) => CommitEnd::Committed,
                Ok(CommitOutcome::Conflict) => CommitEnd::Conflict,
                Err(StoreError::Busy | StoreError::NoSpace(_)) => CommitEnd::Busy,
                Err(StoreError::TooLarge(_) | StoreError::Failed(_) | StoreError::Corrupt(_)) => {
                    CommitEnd::Failed
                }
            });
            committed
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        // An empty batch takes a version, and writing the last version is the small record.
        Box::pin(async move { self.commit(Batch::new()).await.map(|_| ()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            if let Err(error) = blocking(move || inner.shut()).await {
                tracing::warn!(%error, "closing the store");
            }
        })
    }
}

impl<E: Engine> Drop for GroupCommit<E> {
    fn drop(&mut self) {
        self.inner.shut();
    }
}
