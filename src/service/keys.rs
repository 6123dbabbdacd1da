//! Keys that are refused: the operator's verbs over blocked keys, and what other verbs ask of them.
//!
//! The first look at a key is for a clear answer, early. What holds is the commit: whatever binds
//! itself to a key expects that no row blocks it.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, Ordering};

use super::{Error, Service, audited_by};
use crate::acme::error::{ErrorKind, Refusal};
use crate::audit::{Actor, Event};
use crate::authority::blocked::{BlockedKey, Blocker, check_reason};
use crate::storage::codec::Record;
use crate::storage::limits::MAX_OPS;
use crate::storage::{Batch, CommitOutcome, Expect, Store, Table};
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::spki::Spki;

/// Most keys blocked by one request: each is a check, a row and an event, and there is room to spare.
pub const MOST_AT_ONCE: usize = MAX_OPS / 4;

/// Most keys in one page of a list.
pub const PAGE: usize = 500;

/// Keys of this process's own listener that are remembered: the one in use, and those before it.
const OWN_KEYS: usize = 8;

/// What came of a request to block keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Blocked now.
    pub new: usize,
    /// Blocked before; they keep their reason.
    pub known: usize,
}

/// Whether any key is blocked at all, so that nobody reads for a table that is empty.
#[derive(Debug, Default)]
pub(super) struct AnyBlocked(AtomicU8);

impl AnyBlocked {
    const UNKNOWN: u8 = 0;
    const NONE: u8 = 1;
    const SOME: u8 = 2;

    /// Said ahead of the commit that blocks.
    fn note(&self) {
        self.0.store(Self::SOME, Ordering::SeqCst);
    }

    async fn ask(&self, store: &dyn Store) -> Result<bool, Error> {
        if self.0.load(Ordering::SeqCst) == Self::UNKNOWN {
            let empty = store.scan(Table::BlockedKeys, &[], None, 1).await?.is_empty();
            let found = if empty { Self::NONE } else { Self::SOME };
            // One that was blocked meanwhile counts.
            let _ = self.0.compare_exchange(Self::UNKNOWN, found, Ordering::SeqCst, Ordering::SeqCst);
        }
        Ok(self.0.load(Ordering::SeqCst) == Self::SOME)
    }
}

/// Makes a batch hold only if no row blocks the key.
pub(super) fn unblocked(batch: Batch, key: &Spki) -> Batch {
    batch.expect(Table::BlockedKeys, key.hash().0, Expect::Absent)
}

/// The refusal of a certificate for a key that is blocked.
pub(super) async fn refuse_blocked(store: &dyn Store, key: &Spki) -> Result<(), Error> {
    match is_blocked(store, key).await? {
        false => Ok(()),
        true => {
            let detail = "the CSR's key: it is blocked here, since it was compromised or banned: make a new \
                          key";
            Err(Refusal::new(ErrorKind::BadCsr, detail).into())
        }
    }
}

async fn is_blocked(store: &dyn Store, key: &Spki) -> Result<bool, Error> {
    Ok(store.get(Table::BlockedKeys, key.hash().as_bytes()).await?.is_some())
}

impl Service {
    /// Whether a key may be certified for somebody else: it is not blocked, and it is neither this server's
    /// own nor that of a CA certificate here.
    pub(super) async fn check_certifiable(&self, key: &Spki) -> Result<(), Error> {
        if self.live().authorities.holds_key(&key.hash()) || self.is_own_key(key.hash()) {
            let detail = "the CSR's key: it is this CA's own: make a new key";
            return Err(Refusal::new(ErrorKind::BadCsr, detail).into());
        }
        match self.any_blocked.ask(&*self.store).await? {
            true => refuse_blocked(&*self.store, key).await,
            false => Ok(()),
        }
    }

    fn is_own_key(&self, key: KeyHash) -> bool {
        self.own_keys.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    /// Remembers a key of this server's own listener.
    pub(super) fn note_own_key(&self, key: &Spki) {
        let mut own = self.own_keys.lock().unwrap_or_else(PoisonError::into_inner);
        own.truncate(OWN_KEYS - 1);
        own.push_front(key.hash());
    }

    /// Whether an account may use a key.
    pub(super) async fn check_account_key(&self, key: &Spki) -> Result<(), Error> {
        if !self.any_blocked.ask(&*self.store).await? {
            return Ok(());
        }
        match is_blocked(&*self.store, key).await? {
            false => Ok(()),
            true => {
                let detail = "the account key is blocked here, since it was compromised or banned: make a \
                              new key";
                Err(Refusal::new(ErrorKind::BadPublicKey, detail).into())
            }
        }
    }

    /// Blocks keys for good, or until they are unblocked; all or none. At most [`MOST_AT_ONCE`].
    pub async fn block_keys(
        &self,
        keys: &[KeyHash],
        reason: &str,
        actor: Option<&Actor>,
    ) -> Result<Blocked, Error> {
        let reason = check_reason(reason).map_err(|why| Refusal::malformed(format!("reason: {why}")))?;
        let keys: BTreeSet<KeyHash> = keys.iter().copied().collect();
        if keys.is_empty() || keys.len() > MOST_AT_ONCE {
            let detail = format!("keys: give 1 to {MOST_AT_ONCE} at once");
            return Err(Refusal::malformed(detail).into());
        }
        let now = self.now();
        let (mut batch, mut new) = (Batch::new(), 0);
        for key in &keys {
            if self.store.get(Table::BlockedKeys, key.as_bytes()).await?.is_some() {
                continue;
            }
            new += 1;
            let row = BlockedKey { at: now, reason: reason.clone(), by: Blocker::Operator };
            batch = blocking(batch, *key, &row, actor);
        }
        let known = keys.len() - new;
        if new == 0 {
            return Ok(Blocked { new, known });
        }
        self.any_blocked.note();
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {
                tracing::warn!(new, known, reason, "keys blocked");
                Ok(Blocked { new, known })
            }
            CommitOutcome::Conflict => Err(Error::Busy("another change of the blocked keys came first")),
        }
    }

    /// Adds to a batch that a revocation blocks the key of the certificate, unless it is blocked already.
    pub(super) async fn blocked_by(
        &self,
        batch: Batch,
        key: KeyHash,
        by: Blocker,
        now: Timestamp,
    ) -> Result<Batch, Error> {
        if self.store.get(Table::BlockedKeys, key.as_bytes()).await?.is_some() {
            return Ok(batch);
        }
        self.any_blocked.note();
        let reason = "a certificate of it was revoked for keyCompromise".to_owned();
        Ok(blocking(batch, key, &BlockedKey { at: now, reason, by }, None))
    }

    /// Lifts a block.
    pub async fn unblock_key(&self, key: KeyHash, by: Option<&Actor>) -> Result<BlockedKey, Error> {
        let row = self.store.get(Table::BlockedKeys, key.as_bytes()).await?.ok_or(Error::NotFound)?;
        let blocked = BlockedKey::decode(&row.value)?;
        let batch = Batch::new()
            .expect(Table::BlockedKeys, key.0, Expect::Is(row.version))
            .delete(Table::BlockedKeys, key.0);
        match self.store.commit(audited_by(batch, self.now(), Event::KeyUnblocked { key }, by)).await? {
            CommitOutcome::Committed(_) => {
                tracing::warn!(%key, "key unblocked");
                Ok(blocked)
            }
            CommitOutcome::Conflict => Err(Error::Busy("another change of the key came first")),
        }
    }

    /// Up to [`PAGE`] blocked keys in the order of their hashes, from behind `after`; fewer mean that
    /// there are no more.
    pub async fn blocked_keys(&self, after: Option<KeyHash>) -> Result<Vec<(KeyHash, BlockedKey)>, Error> {
        let after = after.as_ref().map(|key| key.as_bytes().as_slice());
        let rows = self.store.scan(Table::BlockedKeys, &[], after, PAGE).await?;
        let read = |(key, row): (Vec<u8>, crate::storage::Versioned)| {
            let key: [u8; 32] = key
                .try_into()
                .map_err(|_| Error::Internal("a blocked key's row has no hash for its key".into()))?;
            Ok((KeyHash(key), BlockedKey::decode(&row.value)?))
        };
        rows.into_iter().map(read).collect()
    }
}

/// Adds a row that is not there yet, and its event.
fn blocking(batch: Batch, key: KeyHash, row: &BlockedKey, actor: Option<&Actor>) -> Batch {
    let batch =
        batch.expect(Table::BlockedKeys, key.0, Expect::Absent).put(Table::BlockedKeys, key.0, row.encode());
    audited_by(batch, row.at, Event::KeyBlocked { key, by: row.by }, actor)
}
