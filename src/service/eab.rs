//! Keys for external account binding: the operator's verbs, and what the client's verbs ask of them.
//!
//! A key changes only when it is revoked. Who signs for an account that is bound commits against the
//! key as it was read, so a revocation that returned is one that nothing gets past.

use tokio::sync::MutexGuard;
use zeroize::Zeroizing;

use super::{Error, Service, audited, audited_by};
use crate::acme::account::{Account, EabBinding};
use crate::acme::error::Refusal;
use crate::audit::{Actor, Event};
use crate::id::EabKid;
use crate::jose::jwk::Jwk;
use crate::jose::mac::UnverifiedMac;
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::{EabAsk, EabKey, not_made_by_a_key};
use crate::storage::codec::{EabUses, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version};
use crate::time::Timestamp;

/// Most keys in one page of a list.
pub const PAGE: usize = 100;

/// The key that an account is bound to, as it was read.
pub(super) struct BoundKey {
    pub(super) key: EabKey,
    version: Version,
}

impl BoundKey {
    /// Makes a batch hold only if the key is still as it was read.
    pub(super) fn unchanged(&self, batch: Batch) -> Batch {
        batch.expect(Table::EabKeys, *self.key.kid.as_bytes(), Expect::Is(self.version))
    }
}

/// One use of a key, which counts once its batch is committed. While it lives no other use of the same
/// key is under way: of many at once, each finds the count that the one before it has left.
pub(super) struct Registration<'a> {
    bound: BoundKey,
    binding: &'a UnverifiedMac,
    uses: u32,
    counted: Expect,
    _turn: MutexGuard<'a, ()>,
}

impl Registration<'_> {
    /// What the account keeps.
    pub(super) fn details(&self) -> EabBinding {
        let [protected, payload, signature] = self.binding.members.clone();
        EabBinding { kid: self.bound.key.kid, protected, payload, signature }
    }

    /// Adds the use to the batch that creates the account.
    pub(super) fn counted(&self, batch: Batch, account: &Account, now: Timestamp) -> Batch {
        let kid = self.bound.key.kid;
        let batch = self.bound.unchanged(batch).expect(Table::EabUses, *kid.as_bytes(), self.counted).put(
            Table::EabUses,
            *kid.as_bytes(),
            EabUses(self.uses.saturating_add(1)).encode(),
        );
        audited(batch, now, Event::AccountBound { account: account.id, kid })
    }
}

/// A key and how many accounts it has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key.
    pub key: EabKey,
    /// Accounts registered.
    pub uses: u32,
}

impl Service {
    /// Makes a key.
    pub async fn create_eab_key(&self, ask: EabAsk, by: Option<&Actor>) -> Result<EabKey, Error> {
        let Some(terms) = self.provisioner(&ask.provisioner) else {
            let mut names: Vec<String> = self.live().provisioners.keys().cloned().collect();
            names.sort();
            let detail = format!("provisioner: there is none of that name; there are: {}", names.join(", "));
            return Err(Refusal::malformed(detail).into());
        };
        let now = self.now();
        let key = EabKey::create(ask, &terms, self.entropy.bytes(), self.entropy.bytes(), now)?;
        let row = *key.kid.as_bytes();
        let event = Event::EabKeyCreated {
            kid: key.kid,
            provisioner: key.provisioner.clone(),
            trusts_names: key.trusts_names,
        };
        let batch =
            Batch::new().expect(Table::EabKeys, row, Expect::Absent).put(Table::EabKeys, row, key.encode());
        match self.store.commit(audited_by(batch, now, event, by)).await? {
            CommitOutcome::Committed(_) => {
                tracing::info!(kid = %key.kid, provisioner = key.provisioner, "EAB key created");
                Ok(key)
            }
            CommitOutcome::Conflict => Err(Error::Busy("a fresh key id was taken")),
        }
    }

    /// Up to [`PAGE`] keys in the order of their ids, which is none that means anything, from behind
    /// `after`; fewer mean that there are no more.
    pub async fn eab_keys(&self, after: Option<EabKid>) -> Result<Vec<ListedKey>, Error> {
        let after = after.map(|kid| *kid.as_bytes());
        let rows =
            self.store.scan(Table::EabKeys, &[], after.as_ref().map(<[u8; 16]>::as_slice), PAGE).await?;
        let mut listed = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            let key = EabKey::decode(&Zeroizing::new(row.value))?;
            let (EabUses(uses), _) = self.eab_uses(key.kid).await?;
            listed.push(ListedKey { key, uses });
        }
        Ok(listed)
    }

    /// Revokes a key, for good: it registers nobody any more, and accounts that it has registered
    /// neither order nor finalize. One that is revoked already stays as it is.
    pub async fn revoke_eab_key(&self, kid: EabKid, by: Option<&Actor>) -> Result<ListedKey, Error> {
        // Not against registrations under way, which would lose their race: behind them.
        let _turn = self.eab_locks.of(kid.as_bytes()).await;
        let (EabUses(uses), _) = self.eab_uses(kid).await?;
        let BoundKey { mut key, version } = self.eab_key(kid).await?.ok_or(Error::NotFound)?;
        if key.revoked.is_some() {
            return Ok(ListedKey { key, uses });
        }
        let now = self.now();
        key.revoked = Some(now);
        let row = *kid.as_bytes();
        let batch = Batch::new().expect(Table::EabKeys, row, Expect::Is(version)).put(
            Table::EabKeys,
            row,
            key.encode(),
        );
        match self.store.commit(audited_by(batch, now, Event::EabKeyRevoked { kid }, by)).await? {
            CommitOutcome::Committed(_) => {
                tracing::info!(%kid, "EAB key revoked");
                Ok(ListedKey { key, uses })
            }
            CommitOutcome::Conflict => Err(Error::Busy("another change of the key came first")),
        }
    }

    /// The key that an account is bound to. One read of the store if it is bound, none if it is not.
    pub(super) async fn bound_key(&self, account: &Account) -> Result<Option<BoundKey>, Error> {
        let Some(EabBinding { kid, .. }) = &account.details.eab else { return Ok(None) };
        let bound = self.eab_key(*kid).await?;
        // Keys are never removed.
        let missing = || Error::Internal(format!("account {}: its key {kid} is not there", account.id));
        bound.ok_or_else(missing).map(Some)
    }

    /// Checks a binding for a new account with that key, and takes the key's turn.
    pub(super) async fn registration<'a>(
        &'a self,
        terms: &Terms,
        binding: &'a UnverifiedMac,
        account_key: &Jwk,
        now: Timestamp,
    ) -> Result<Registration<'a>, Error> {
        let kid = EabKid::parse(&binding.kid).ok_or_else(not_made_by_a_key)?;
        // Before the turn: who holds no key shall not stand in anybody's way.
        let bound = self.eab_key(kid).await?.ok_or_else(not_made_by_a_key)?;
        bound.key.verify(binding, account_key)?;
        let turn = self.eab_locks.of(kid.as_bytes()).await;
        let (EabUses(uses), version) = self.eab_uses(kid).await?;
        bound.key.check_registration(terms, uses, now)?;
        let counted = version.map_or(Expect::Absent, Expect::Is);
        Ok(Registration { bound, binding, uses, counted, _turn: turn })
    }

    async fn eab_key(&self, kid: EabKid) -> Result<Option<BoundKey>, Error> {
        let Some(row) = self.store.get(Table::EabKeys, kid.as_bytes()).await? else { return Ok(None) };
        let (version, value) = (row.version, Zeroizing::new(row.value));
        Ok(Some(BoundKey { key: EabKey::decode(&value)?, version }))
    }

    async fn eab_uses(&self, kid: EabKid) -> Result<(EabUses, Option<Version>), Error> {
        match self.store.get(Table::EabUses, kid.as_bytes()).await? {
            Some(row) => Ok((EabUses::decode(&row.value)?, Some(row.version))),
            None => Ok((EabUses::default(), None)),
        }
    }
}
