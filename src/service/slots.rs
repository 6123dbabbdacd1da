//! How many validations one account, and all accounts together, may have under way.
//!
//! Whoever may register may aim validations at a listener that never answers. So there are two
//! bounds, each with a smaller one per account and one per network that accounts come from: of
//! validations that were begun (memory), and of attempts that are being made (sockets). A validation holds
//! the second only while it attempts, not in its pauses; who finds no attempt free waits, first for its own
//! account's, then for its network's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::id::AccountId;
use crate::limits::Source;
use crate::limits::keyed::Key;

/// Attempts being made at once. Each has one or two sockets, the resolver's and the target's, so these
/// take some 1024 file descriptors at most.
pub(crate) const MAX_ATTEMPTS: usize = 512;

/// Attempts of one account at once: as fast as an honest client needs, and an eighth of all.
pub(super) const MAX_ATTEMPTS_OF_ACCOUNT: usize = 64;

/// Validations begun and not settled, a few KiB each; more are asked to come back.
pub(super) const MAX_VALIDATIONS: usize = 4096;

/// Those of one account: two orders of a hundred names and some, and a sixteenth of all.
pub(super) const MAX_VALIDATIONS_OF_ACCOUNT: usize = 256;

/// Attempts at once for all accounts that one network uses: a quarter of all.
pub(super) const MAX_ATTEMPTS_OF_NETWORK: usize = MAX_ATTEMPTS / 4;

/// Validations of all accounts that one network uses: a quarter of all, so that no network, however many
/// accounts it creates, keeps the others from theirs.
pub(super) const MAX_VALIDATIONS_OF_NETWORK: usize = MAX_VALIDATIONS / 4;

/// The bounds, and what is under way.
pub(super) struct Slots {
    attempts: Semaphore,
    taken: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    accounts: Shares<AccountId>,
    networks: Shares<Key>,
    seats: usize,
}

/// Who has how many places; nobody is kept who has none.
struct Shares<K>(HashMap<K, Share>);

struct Share {
    seats: usize,
    attempts: Arc<Semaphore>,
}

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Shares<K> {
    fn seats(&self, of: K) -> usize {
        self.0.get(&of).map_or(0, |share| share.seats)
    }

    fn enter(&mut self, of: K, attempts: usize) -> Arc<Semaphore> {
        let share = self
            .0
            .entry(of)
            .or_insert_with(|| Share { seats: 0, attempts: Arc::new(Semaphore::new(attempts)) });
        share.seats += 1;
        share.attempts.clone()
    }

    fn leave(&mut self, of: K) {
        if let Some(share) = self.0.get_mut(&of) {
            share.seats -= 1;
            if share.seats == 0 {
                self.0.remove(&of);
            }
        }
    }
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { attempts: Semaphore::new(MAX_ATTEMPTS), taken: Mutex::default() }
    }

    /// A place for one validation, or why there is none. An exempt source has no share but all of it.
    pub(super) fn enter(self: &Arc<Self>, account: AccountId, from: Source) -> Result<Seat, &'static str> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.seats >= MAX_VALIDATIONS {
            return Err("too many validations are under way");
        }
        if taken.accounts.seats(account) >= MAX_VALIDATIONS_OF_ACCOUNT {
            return Err("too many validations of this account are under way");
        }
        let network = (!from.exempt).then_some(from.network);
        if network.is_some_and(|network| taken.networks.seats(network) >= MAX_VALIDATIONS_OF_NETWORK) {
            return Err("too many validations of this network are under way");
        }
        let of_account = taken.accounts.enter(account, MAX_ATTEMPTS_OF_ACCOUNT);
        let of_network = network.map(|network| taken.networks.enter(network, MAX_ATTEMPTS_OF_NETWORK));
        taken.seats += 1;
        Ok(Seat { slots: self.clone(), account, network, of_account, of_network })
    }
}

/// A validation's place, until it is dropped.
pub(super) struct Seat {
    slots: Arc<Slots>,
    account: AccountId,
    network: Option<Key>,
    of_account: Arc<Semaphore>,
    of_network: Option<Arc<Semaphore>>,
}

/// Leave to make one attempt, until it is dropped.
pub(super) struct Turn<'a> {
    _of_account: SemaphorePermit<'a>,
    _of_network: Option<SemaphorePermit<'a>>,
    _of_all: SemaphorePermit<'a>,
}

impl Seat {
    /// Waits for an attempt. The account's own comes first, then the network's, so that neither has more
    /// than its share in the line for one of all. `None` only if the service is gone.
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let of_account = self.of_account.acquire().await.ok()?;
        let of_network = match &self.of_network {
            Some(network) => Some(network.acquire().await.ok()?),
            None => None,
        };
        let of_all = self.slots.attempts.acquire().await.ok()?;
        Some(Turn { _of_account: of_account, _of_network: of_network, _of_all: of_all })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.seats -= 1;
        taken.accounts.leave(self.account);
        if let Some(network) = self.network {
            taken.networks.leave(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u8) -> AccountId {
        AccountId::new([n; 16])
    }

    fn network(n: u8) -> Source {
        Source { network: [n; 16], exempt: false }
    }

    #[test]
    fn no_account_and_no_network_takes_all() {
        let slots = Arc::new(Slots::new());
        let mut held = Vec::new();
        // One network, with as many accounts as it likes.
        for n in 0..16 {
            for _ in 0..MAX_VALIDATIONS_OF_ACCOUNT {
                held.extend(slots.enter(account(n), network(1)).ok());
            }
            assert!(slots.enter(account(n), network(1)).is_err());
        }
        assert_eq!(held.len(), MAX_VALIDATIONS_OF_NETWORK);
        // Another one has its full share.
        for n in 20..24 {
            held.extend(
                (0..MAX_VALIDATIONS_OF_ACCOUNT).map(|_| slots.enter(account(n), network(2)).unwrap()),
            );
        }
        assert!(slots.enter(account(30), network(2)).is_err());
        // An account is no way around its own share, nor an account's share one around its network's.
        assert!(slots.enter(account(20), network(3)).is_err());
        // A source that is not limited may have what is left, and no more.
        let exempt = Source { exempt: true, ..network(1) };
        for n in 40..48 {
            held.extend((0..MAX_VALIDATIONS_OF_ACCOUNT).map(|_| slots.enter(account(n), exempt).unwrap()));
        }
        assert_eq!(held.len(), MAX_VALIDATIONS);
        assert!(slots.enter(account(50), network(5)).is_err());
        drop(held);
        let taken = slots.taken.lock().unwrap();
        assert_eq!((taken.accounts.0.len(), taken.networks.0.len(), taken.seats), (0, 0, 0));
    }

    #[tokio::test]
    async fn attempts_of_a_network_leave_some_to_others() {
        let slots = Arc::new(Slots::new());
        let seats: Vec<_> = (0..MAX_VALIDATIONS_OF_NETWORK)
            .map(|n| slots.enter(account((n / MAX_VALIDATIONS_OF_ACCOUNT) as u8), network(1)).unwrap())
            .collect();
        let mut turns = Vec::new();
        for seat in &seats {
            if let Ok(turn) = tokio::time::timeout(std::time::Duration::ZERO, seat.turn()).await {
                turns.push(turn.unwrap());
            }
        }
        assert_eq!(turns.len(), MAX_ATTEMPTS_OF_NETWORK);
        let other = slots.enter(account(99), network(2)).unwrap();
        assert!(other.turn().await.is_some());
    }
}
