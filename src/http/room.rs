//! Room on a listener that has all the connections it may have.
//!
//! A client keeps its connection a while, in case it asks again; that must not keep others out. Once
//! somebody waits for a place, connections that are idle make room, some in each round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

/// From one round to the next: all connections wake up.
const ROUND: Duration = Duration::from_millis(100);
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
    /// When the last round was.
    round: Option<Instant>,
    told: Option<Instant>,
}

/// One connection's ear.
#[derive(Clone)]
pub(super) struct Ear {
    word: watch::Receiver<Word>,
    leaving: Arc<AtomicUsize>,
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
            round: None,
            told: None,
        }
    }

    /// What a connection is to listen to.
    pub(super) fn ear(&self) -> Ear {
        Ear { word: self.word.subscribe(), leaving: self.leaving.clone() }
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
                "a listener's connections are all taken; idle ones make room"
            );
        }
        let place = self.places.clone().acquire_owned();
        tokio::pin!(place);
        loop {
            if self.round.is_none_or(|last| last.elapsed() >= ROUND) {
                self.round = Some(Instant::now());
                self.leaving.store(self.all / SHARE + 1, Ordering::Relaxed);
                self.word.send_modify(|word| word.round += 1);
            }
            let next = self.round.map_or_else(Instant::now, |last| last + ROUND);
            if let Ok(place) = tokio::time::timeout_at(next, &mut place).await {
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
    /// Waits until the connection is to end.
    pub(super) async fn leave(&mut self, is_idle: impl Fn() -> bool) -> Leave {
        loop {
            // A listener that is gone has stopped.
            if self.word.changed().await.is_err() || self.word.borrow_and_update().stopping {
                return Leave::Stopping;
            }
            let takes = |left: usize| left.checked_sub(1);
            if is_idle() && self.leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, takes).is_ok() {
                return Leave::Idle;
            }
        }
    }
}
