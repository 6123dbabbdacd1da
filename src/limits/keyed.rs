//! What is remembered per key, in a bounded number of places.
//!
//! Nothing that still counts is ever thrown out: whoever floods the table with keys of his own resets
//! neither a victim's state nor his own. A key whose state says nothing any more gives its place up; when
//! every place is held by a state that still counts, further keys share a few cells, picked by a hash with
//! a secret of this process. There a limit holds for several keys together: it is stricter, never looser.
//! A key that gets a place of its own later begins there with what its cell says.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::time::Timestamp;

/// Any key, as 16 bytes: an account's id, a network, a digest.
pub type Key = [u8; 16];

/// Keys with places of their own, in one table.
pub const PLACES: usize = 65_536;
const SHARDS: usize = 64;
/// Shared cells of a shard.
const CELLS: usize = 16;
/// Between two searches of a full shard for states that say nothing any more.
const SEARCH: Duration = Duration::from_secs(1);

/// A state that may come to say nothing.
pub trait State: Copy + Default {
    /// Whether it says no more than the default does.
    fn is_idle(&self, now: Timestamp) -> bool;
}

/// The table. Threads meet only if their keys are in the same one of 64 parts.
pub struct Keyed<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    secret: RandomState,
    places: usize,
}

struct Shard<V> {
    own: HashMap<Key, V>,
    shared: [V; CELLS],
    searched: Timestamp,
}

impl<V: State> Keyed<V> {
    /// A table of [`PLACES`].
    pub fn new() -> Self {
        Self::with_places(PLACES)
    }

    fn with_places(places: usize) -> Self {
        let shard =
            || Shard { own: HashMap::new(), shared: [V::default(); CELLS], searched: Timestamp::EPOCH };
        Self {
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            secret: RandomState::new(),
            places: places / SHARDS,
        }
    }

    /// Looks at the state of a key, and keeps what `change` makes of it.
    pub fn with<R>(&self, key: &Key, now: Timestamp, change: impl FnOnce(&mut V) -> R) -> R {
        let hash = self.secret.hash_one(key);
        // Both remainders are of powers of two.
        let (part, cell) = ((hash % SHARDS as u64) as usize, ((hash >> 32) % CELLS as u64) as usize);
        let mut shard = self.shards[part].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = shard.own.get_mut(key) {
            return change(state);
        }
        let before = shard.shared[cell];
        let mut state = before;
        let result = change(&mut state);
        if state.is_idle(now) && before.is_idle(now) {
            return result;
        }
        if shard.own.len() >= self.places && (now < shard.searched || now.since(shard.searched) >= SEARCH) {
            shard.searched = now;
            shard.own.retain(|_, state| !state.is_idle(now));
        }
        if shard.own.len() < self.places {
            shard.own.insert(*key, state);
        } else {
            shard.shared[cell] = state;
        }
        result
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().own.len()).sum()
    }
}

impl<V: State> Default for Keyed<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::gcra::{Bucket, Quota};
    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

    fn key(n: u64) -> Key {
        (u128::from(n) << 7).to_be_bytes()
    }

    fn quota() -> Quota {
        Quota::new(3, Duration::from_secs(300)).unwrap()
    }

    fn take(table: &Keyed<Bucket>, key: &Key, now: Timestamp) -> bool {
        table.with(key, now, |bucket| match quota().take(*bucket, now) {
            Ok(next) => {
                *bucket = next;
                true
            }
            Err(_) => false,
        })
    }

    #[test]
    fn a_flood_of_keys_resets_nobody() {
        let table = Keyed::with_places(256);
        let victim = key(1);
        for _ in 0..3 {
            assert!(take(&table, &victim, T0));
        }
        assert!(!take(&table, &victim, T0));
        for n in 2..100_000 {
            take(&table, &key(n), T0);
        }
        assert!(table.len() <= 256, "{}", table.len());
        assert!(!take(&table, &victim, T0));
        // Keys that found no place are limited too, together with others.
        assert!((2..100_000).filter(|n| take(&table, &key(*n), T0)).count() <= 256 * 3);
        // When the states say nothing any more, places are free again, for anybody.
        let later = T0 + Duration::from_secs(301);
        assert!((200_000..200_100).all(|n| take(&table, &key(n), later)));
        assert!(take(&table, &victim, later));
    }

    #[test]
    fn looking_takes_no_place() {
        let table: Keyed<Bucket> = Keyed::with_places(256);
        for n in 0..1000 {
            table.with(&key(n), T0, |bucket| assert!(bucket.is_full(T0)));
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn threads_together_get_the_quota_and_no_more() {
        let table: Keyed<Bucket> = Keyed::new();
        let taken: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..200).filter(|n| take(&table, &key(n % 50), T0)).count()))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(taken, 150);
    }

    proptest! {
        /// Whatever else goes on, and however small the table: nobody gets more than his quota.
        #[test]
        fn never_looser(asks in prop::collection::vec((0u64..400, 0u64..20_000), 1..600)) {
            let table = Keyed::with_places(64);
            let (mut now, mut taken) = (T0, HashMap::<u64, Vec<u64>>::new());
            for (who, step) in asks {
                now = now + Duration::from_millis(step);
                if take(&table, &key(who), now) {
                    taken.entry(who).or_default().push(now.as_millis());
                }
            }
            for times in taken.values() {
                for (i, from) in times.iter().enumerate() {
                    for (j, to) in times.iter().enumerate().skip(i) {
                        prop_assert!((j - i + 1) as u64 <= 3 + (to - from) / 100_000);
                    }
                }
            }
        }
    }
}
