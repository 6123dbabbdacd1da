//! Turns at something, one after the other, by its exact key: who has another key waits for nobody.
//!
//! A turn may be held for as long as a slow signer takes, and then must not keep strangers out, as a lock
//! that many keys share would.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// A digest of what turns are taken at.
pub(super) type Key = [u8; 32];

/// Who is at what, and who waits; nothing is kept of a key that nobody asks for.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Line>>);

#[derive(Default)]
struct Line {
    /// Those that wait, and the one whose turn it is.
    places: usize,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The turn, until it is dropped.
pub(super) struct Turn<'a> {
    // Given up first: whoever waits still has a place in the line.
    _held: OwnedMutexGuard<()>,
    _place: Place<'a>,
}

/// A place in the line, also of one that stops waiting.
struct Place<'a> {
    turns: &'a Turns,
    key: Key,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.key) {
            line.places -= 1;
            if line.places == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

impl Turns {
    /// Waits for the turn at a key. Who holds several takes them in the order of their keys.
    pub(super) async fn of(&self, key: Key) -> Turn<'_> {
        let turn = {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let line = lines.entry(key).or_default();
            line.places += 1;
            line.turn.clone()
        };
        let place = Place { turns: self, key };
        Turn { _held: turn.lock_owned().await, _place: place }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_of_one_key_and_strangers_at_once() {
        let turns = Turns::default();
        // All of these would meet in a few stripes.
        let held: Vec<_> = {
            let mut held = Vec::new();
            for n in 0..5000u32 {
                let mut key = [0; 32];
                key[..4].copy_from_slice(&n.to_be_bytes());
                held.push(turns.of(key).await);
            }
            held
        };
        let mut first = [0; 32];
        let waiting = tokio::time::timeout(Duration::from_millis(10), turns.of(first));
        assert!(waiting.await.is_err(), "its turn is taken");
        drop(held);
        drop(turns.of(first).await);
        first[0] = 1;
        drop(turns.of(first).await);
        assert!(turns.0.lock().unwrap().is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn who_waits_comes_in_and_nobody_besides() {
        let (turns, inside) = (Arc::new(Turns::default()), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (turns, inside) = (turns.clone(), inside.clone());
            tasks.spawn(async move {
                let _turn = turns.of([7; 32]).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
