//! One single-threaded runtime per core for connections and all that is done in their name.
//!
//! Measured against one runtime that shares its work among threads: the same requests cost less CPU
//! (no stealing, no waking of another core for each step) and their slowest are quicker. What it
//! gives up, the balancing of single steps, a CA does not need: its requests are many and small, and
//! where they wait long each begins where its wait is the shortest (`line`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::line::{Line, Lines};

/// How often a runtime wakes by itself. A timer that ends before all others makes the runtime write to its
/// own wake-up descriptor, and each request's limits are such timers; behind this one, those of longer
/// never are. Three system calls less for an issuance, for four a second.
const PULSE: Duration = Duration::from_millis(250);

/// In how many steps one is for what comes from other threads, 31 by default: commits and requests that cross
/// over would wait for that many. And in how many new input is looked for, 61 by default: a validation has to
/// wait for four.
const STEPS: (u32, u32) = (2, 31);

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The runtimes. Dropping them ends what still runs on them.
pub struct Workers(Vec<Worker>);

struct Worker {
    queue: mpsc::UnboundedSender<Job>,
    load: Arc<AtomicUsize>,
    line: Arc<Line>,
}

impl Workers {
    /// Starts one runtime per core.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// In which their requests wait.
    pub(super) fn lines(&self) -> Lines {
        Lines::new(self.0.iter().map(|worker| worker.line.clone()))
    }

    /// Runs a connection on the runtime that has the fewest. The queues need no bound: what comes
    /// here has a slot among the listener's connections.
    pub(super) fn run(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.0.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
            return;
        };
        worker.load.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(worker.load.clone());
        let job = Box::pin(async move {
            connection.await;
            drop(counted);
        });
        if worker.queue.send(job).is_err() {
            tracing::error!("a worker thread is gone; a connection was dropped");
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .global_queue_interval(STEPS.0)
            .event_interval(STEPS.1)
            .enable_all()
            .build()?;
        let line = Line::of(runtime.handle().clone());
        let driven = line.clone();
        let (queue, mut jobs) = mpsc::unbounded_channel::<Job>();
        std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
            runtime.block_on(async {
                tokio::spawn(driven.drive());
                tokio::spawn(async {
                    loop {
                        tokio::time::sleep(PULSE).await;
                    }
                });
                while let Some(job) = jobs.recv().await {
                    tokio::spawn(job);
                }
            });
        })?;
        Ok(Self { queue, load: Arc::default(), line })
    }
}
