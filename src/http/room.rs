//! Room on a listener that has all the connections it may have.
//!
//! A client keeps its connection a while, in case it asks again; that must not keep others out. Once
//! somebody waits for a place, connections that have been idle for two rounds make room, some in each round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// From one round to the next. It is nothing to whoever waits, and much between two requests of an order.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds that a connection has been idle for before it goes.
const ROUNDS: u32 = 2;
/// One in so many goes in a round.
const SHARE: usize = 8;
/// How often it is logged.
const TOLD: Duration = Duration::from_secs(60);

/// What a listener tells its connections.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    stopping: bool,
    round: u64,
}

/// The places of a listener.
pub(super) struct Room {
    places: Arc<Semaphore>,
    all: usize,
    word: watch::Sender<Word>,
    leaving: Arc<AtomicUsize>,
    told: Option<Instant>,
}

/// One connection's ear.
#[derive(Clone)]
pub(super) struct Ear {
    word: watch::Receiver<Word>,
    leaving: Arc<AtomicUsize>,
    /// What was done when it was last asked to make room, and for how many rounds that has been all.
    quiet: (Option<u64>, u32),
}

/// Why a connection is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// The server stops.
    Stopping,
    /// Others wait, and it is idle.
    Idle,
}

impl Room {
    /// For so many.
    pub(super) fn new(all: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(all)),
            all,
            word: watch::Sender::default(),
            leaving: Arc::default(),
            told: None,
        }
    }

    /// What a connection is to listen to.
    pub(super) fn ear(&self) -> Ear {
        Ear { word: self.word.subscribe(), leaving: self.leaving.clone(), quiet: (None, 0) }
    }

    /// A place, once there is one.
    pub(super) async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        if self.told.is_none_or(|told| told.elapsed() >= TOLD) {
            self.told = Some(Instant::now());
            tracing::warn!(
                connections = self.all,
                "all connections are taken, idle ones make room: server.max_connections may be too small"
            );
        }
        let place = self.places.clone().acquire_owned();
        tokio::pin!(place);
        loop {
            self.leaving.store(self.all / SHARE + 1, Ordering::Relaxed);
            self.word.send_modify(|word| word.round += 1);
            if let Ok(place) = tokio::time::timeout(ROUND, &mut place).await {
                return place.ok();
            }
        }
    }

    /// Tells all connections that the server stops, and waits until they have ended.
    pub(super) async fn empty(self) {
        self.word.send_modify(|word| word.stopping = true);
        let all = u32::try_from(self.all).unwrap_or(u32::MAX);
        // Never closed.
        let _ = self.places.acquire_many(all).await;
    }
}

impl Ear {
    /// Waits until the server stops. A listener that is gone says so too.
    pub(super) async fn stopping(&mut self) {
        let _ = self.word.wait_for(|word| word.stopping).await;
    }

    /// Waits until the connection is to end. `idle` is how much it has done so far, if it is idle.
    pub(super) async fn leave(&mut self, idle: impl Fn() -> Option<u64>) -> Leave {
        loop {
            if self.word.changed().await.is_err() || self.word.borrow_and_update().stopping {
                return Leave::Stopping;
            }
            let now = idle();
            self.quiet =
                if now.is_some() && now == self.quiet.0 { (now, self.quiet.1 + 1) } else { (now, 0) };
            let takes = |left: usize| left.checked_sub(1);
            if self.quiet.1 >= ROUNDS
                && self.leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok()
            {
                return Leave::Idle;
            }
        }
    }
}
