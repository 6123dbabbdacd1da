//! How many validations one account, and all accounts together, may have under way.
//!
//! Whoever may register may aim validations at a listener that never answers. So there are two
//! bounds, each with a smaller one per account: of validations that were begun (memory), and of
//! attempts that are being made (sockets). A validation holds the second only while it attempts, not
//! in its pauses; who finds no attempt free waits, first for its own account's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::id::AccountId;

/// Attempts being made at once. Each has one or two sockets, the resolver's and the target's, so these
/// take some 1024 file descriptors at most.
pub(crate) const MAX_ATTEMPTS: usize = 512;

/// Attempts of one account at once: as fast as an honest client needs, and an eighth of all.
pub(super) const MAX_ATTEMPTS_OF_ACCOUNT: usize = 64;

/// Validations begun and not settled, a few KiB each; more are asked to come back.
pub(super) const MAX_VALIDATIONS: usize = 4096;

/// Those of one account: two orders of a hundred names and some, and a sixteenth of all.
pub(super) const MAX_VALIDATIONS_OF_ACCOUNT: usize = 256;

/// The bounds, and what is under way.
pub(super) struct Slots {
    attempts: Semaphore,
    accounts: Mutex<Accounts>,
}

#[derive(Default)]
struct Accounts {
    of: HashMap<AccountId, Account>,
    seats: usize,
}

struct Account {
    seats: usize,
    attempts: Arc<Semaphore>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { attempts: Semaphore::new(MAX_ATTEMPTS), accounts: Mutex::default() }
    }

    /// A place for one validation, or why there is none.
    pub(super) fn enter(self: &Arc<Self>, account: AccountId) -> Result<Seat, &'static str> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if accounts.seats >= MAX_VALIDATIONS {
            return Err("too many validations are under way");
        }
        let own = accounts.of.entry(account).or_insert_with(|| Account {
            seats: 0,
            attempts: Arc::new(Semaphore::new(MAX_ATTEMPTS_OF_ACCOUNT)),
        });
        if own.seats >= MAX_VALIDATIONS_OF_ACCOUNT {
            return Err("too many validations of this account are under way");
        }
        own.seats += 1;
        let attempts = own.attempts.clone();
        accounts.seats += 1;
        Ok(Seat { slots: self.clone(), account, attempts })
    }
}

/// A validation's place, until it is dropped.
pub(super) struct Seat {
    slots: Arc<Slots>,
    account: AccountId,
    attempts: Arc<Semaphore>,
}

/// Leave to make one attempt, until it is dropped.
pub(super) struct Turn<'a> {
    _of_account: SemaphorePermit<'a>,
    _of_all: SemaphorePermit<'a>,
}

impl Seat {
    /// Waits for an attempt. The account's own comes first, so that no account has more than its share
    /// in the line for one of all. `None` only if the service is gone.
    pub(super) async fn turn(&self) -> Option<Turn<'_>> {
        let of_account = self.attempts.acquire().await.ok()?;
        let of_all = self.slots.attempts.acquire().await.ok()?;
        Some(Turn { _of_account: of_account, _of_all: of_all })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut accounts = self.slots.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.seats -= 1;
        if let Some(own) = accounts.of.get_mut(&self.account) {
            own.seats -= 1;
            if own.seats == 0 {
                accounts.of.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_takes_the_account_along() {
        let slots = Arc::new(Slots::new());
        let account = |n| AccountId::new([n; 16]);
        for n in 0..16 {
            let seats: Vec<_> =
                (0..MAX_VALIDATIONS_OF_ACCOUNT).map(|_| slots.enter(account(n)).unwrap()).collect();
            assert!(slots.enter(account(n)).is_err());
            assert!(slots.enter(account(n + 1)).is_ok());
            drop(seats);
        }
        let all: Vec<_> = (0..16)
            .flat_map(|n| (0..MAX_VALIDATIONS_OF_ACCOUNT).map(move |_| n))
            .map(|n| slots.enter(account(n)).unwrap())
            .collect();
        assert_eq!(all.len(), MAX_VALIDATIONS);
        assert!(slots.enter(account(77)).is_err());
        drop(all);
        let accounts = slots.accounts.lock().unwrap();
        assert_eq!((accounts.of.len(), accounts.seats), (0, 0));
    }
}
