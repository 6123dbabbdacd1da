//! Accounts that nobody uses are removed: anybody may create one, so they must not stay for ever.
//!
//! An account is used when it opens an order; that is written down at most once a day, in the commit of
//! the order itself and in a row of its own, so that it neither costs a commit nor gets in the way of one.
//! The row also says until when the account may have something alive: an order, a proof, a certificate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::MutexGuard;

use super::account::{KnownAccount, key_row};
use super::sweep::Swept;
use super::{Error, Service, audited};
use crate::acme::account::Account;
use crate::audit::Event;
use crate::id::AccountId;
use crate::provisioner::acme::Terms;
use crate::storage::codec::{AccountKey, AccountUse, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::SweptTable;
use crate::time::Timestamp;

/// Accounts looked at in one step.
const STEP: usize = 256;
/// A use is written down this often at most.
const DAY: Duration = Duration::from_secs(86_400);
/// What an account from before uses were written down may have alive: the longest certificate there is.
const LONGEST: Duration = Duration::from_secs(398 * 86_400);

/// A use that is in a batch; to be told when the batch is committed.
#[derive(Default)]
pub(super) struct Use<'a> {
    noted: Option<(Arc<KnownAccount>, Timestamp)>,
    /// The account's lock, from the reading of its row to the commit: what one use says of how long
    /// something is alive is not to be lost to another's.
    _alone: Option<MutexGuard<'a, ()>>,
}

impl Use<'_> {
    /// The batch was committed: the next use to write down is tomorrow's.
    pub(super) fn stored(self) {
        if let Some((known, at)) = &self.noted {
            noted(known, *at);
        }
    }
}

impl Service {
    /// Adds to a batch that the account is used, if that was not written down today, and that what the
    /// batch opens may be alive until `until`. The batch then holds only if the account is still as it is
    /// known.
    pub(super) async fn note_use(
        &self,
        batch: Batch,
        terms: &Terms,
        account: AccountId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(Batch, Use<'_>), Error> {
        let known = self.account(terms, account).await?.ok_or(Error::NotFound)?;
        let is_noted = || now.as_millis() < known.next_use.load(Ordering::Relaxed);
        if is_noted() {
            return Ok((batch, Use::default()));
        }
        let alone = self.account_locks.of(account.as_bytes()).await;
        // By whoever came first.
        if is_noted() {
            return Ok((batch, Use::default()));
        }
        // Whatever else is opened before the next time is alive a day longer.
        let batch = self.put_use(batch, account, until + DAY, now).await?.expect(
            Table::Accounts,
            *account.as_bytes(),
            Expect::Is(known.version),
        );
        Ok((batch, Use { noted: Some((known, now)), _alone: Some(alone) }))
    }

    /// As [`Self::note_use`], for what may be alive for longer than an ordinary order: written down
    /// whenever it happens.
    pub(super) async fn note_long_use(
        &self,
        batch: Batch,
        known: &KnownAccount,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(Batch, Use<'_>), Error> {
        let account = known.account.id;
        let alone = self.account_locks.of(account.as_bytes()).await;
        let batch = self.put_use(batch, account, until, now).await?.expect(
            Table::Accounts,
            *account.as_bytes(),
            Expect::Is(known.version),
        );
        Ok((batch, Use { noted: None, _alone: Some(alone) }))
    }

    /// Puts the row of an account's use; what was said to be alive longer stays so. The account's lock must
    /// be held until the batch is committed.
    pub(super) async fn put_use(
        &self,
        batch: Batch,
        account: AccountId,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Batch, Error> {
        let row = self.store.get(Table::AccountUses, account.as_bytes()).await?;
        // One that does not read is replaced.
        let before = row.and_then(|row| AccountUse::decode(&row.value).ok());
        let until = before.map_or(until, |before| before.until.max(until));
        Ok(batch.put(Table::AccountUses, *account.as_bytes(), AccountUse { used: now, until }.encode()))
    }

    /// One bounded step over the accounts; `retention` is how long an account stays that is not used.
    pub async fn sweep_accounts(
        &self,
        cursor: &mut Option<Vec<u8>>,
        retention: Duration,
    ) -> Result<Swept, Error> {
        let rows = self.store.scan(Table::Accounts, &[], cursor.as_deref(), STEP).await?;
        let mut swept = Swept { deleted: 0, more: rows.len() == STEP };
        let last = rows.last().map(|(key, _)| key.clone());
        for (key, row) in rows {
            match Account::decode(&row.value) {
                Ok(account) => swept.deleted += usize::from(self.sweep_account(&account, retention).await?),
                Err(error) => tracing::error!(key = ?key, %error, "an account does not read"),
            }
        }
        metrics().sweeper.removed(SweptTable::Accounts, swept.deleted);
        *cursor = if swept.more { last } else { None };
        Ok(swept)
    }

    async fn sweep_account(&self, seen: &Account, retention: Duration) -> Result<bool, Error> {
        let (id, now) = (seen.id, self.now());
        if seen.created + retention > now {
            return Ok(false);
        }
        let row = self.store.get(Table::AccountUses, id.as_bytes()).await?;
        let Some(row) = row else { return self.begin_use(id, now).await };
        let last = AccountUse::decode(&row.value)?;
        if last.used + retention > now || last.until > now {
            return Ok(false);
        }
        // From here on nobody caches the account, and whoever opens an order finds it changed.
        let _guard = self.account_locks.of(id.as_bytes()).await;
        let Some(known) = self.load_account(id).await? else { return Ok(false) };
        self.accounts.remove(&id);
        let account = &known.account;
        let mut batch = Batch::new()
            .expect(Table::Accounts, *id.as_bytes(), Expect::Is(known.version))
            .expect(Table::AccountUses, *id.as_bytes(), Expect::Is(row.version))
            .delete(Table::Accounts, *id.as_bytes())
            .delete(Table::AccountUses, *id.as_bytes());
        let key_row = key_row(&account.provisioner, &known.thumbprint);
        if let Some(found) = self.store.get(Table::AccountKeys, &key_row).await?
            && AccountKey::decode(&found.value).is_ok_and(|AccountKey(owner)| owner == id)
        {
            batch = batch
                .expect(Table::AccountKeys, key_row.clone(), Expect::Is(found.version))
                .delete(Table::AccountKeys, key_row);
        }
        let event = Event::AccountRemoved {
            provisioner: account.provisioner.clone(),
            account: id,
            thumbprint: known.thumbprint.0,
        };
        match self.store.commit(audited(batch, now, event)).await? {
            CommitOutcome::Committed(_) => {
                tracing::info!(account = %id, last_use = %last.used, "an account that is not used was removed");
                Ok(true)
            }
            // It is used after all.
            CommitOutcome::Conflict => Ok(false),
        }
    }

    /// An account from before uses were written down: its time begins now.
    async fn begin_use(&self, id: AccountId, now: Timestamp) -> Result<bool, Error> {
        let first = AccountUse { used: now, until: now + LONGEST };
        let batch = Batch::new().expect(Table::AccountUses, *id.as_bytes(), Expect::Absent).put(
            Table::AccountUses,
            *id.as_bytes(),
            first.encode(),
        );
        let _ = self.store.commit(batch).await?;
        Ok(false)
    }
}

/// The row that a new account begins with: its orders of the first day need write nothing.
pub(super) fn first_use(batch: Batch, id: AccountId, until: Timestamp, now: Timestamp) -> Batch {
    batch.put(Table::AccountUses, *id.as_bytes(), AccountUse { used: now, until: until + DAY }.encode())
}

/// A use was written down at `now`; the next one to write down is tomorrow's.
pub(super) fn noted(known: &KnownAccount, now: Timestamp) {
    known.next_use.store((now + DAY).as_millis(), Ordering::Relaxed);
}

/// Until when what an order of these terms leads to may be alive.
pub(super) fn alive_until(terms: &Terms, now: Timestamp) -> Timestamp {
    // A certificate may begin as late as one lifetime after the order.
    let longest = terms.profiles.offered.values().map(|profile| profile.rules.lifetimes.max).max();
    let longest = longest.map_or(terms.lifetimes.max, |longest| longest.max(terms.lifetimes.max));
    // An order stays as long as its certificate may be given again.
    let kept = terms.authorization_ttl.max(terms.reuse_certificates.unwrap_or_default());
    now + terms.order_ttl + kept.max(longest * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account outlives its orders, whatever keeps those.
    #[test]
    fn what_an_order_leads_to_is_alive_as_long_as_anything_keeps_it() {
        let now = Timestamp::from_secs(1_793_318_400);
        let usual = Terms::named("acme");
        let ends = |change: fn(&mut Terms)| {
            let mut terms = usual.clone();
            change(&mut terms);
            alive_until(&terms, now).since(now + terms.order_ttl)
        };
        assert_eq!(ends(|_| ()), usual.lifetimes.max * 2);
        assert_eq!(ends(|terms| terms.authorization_ttl = 7 * DAY), 7 * DAY);
        assert_eq!(ends(|terms| terms.reuse_certificates = Some(7 * DAY)), 7 * DAY);
    }
}
