//! newAccount, account updates, key changes (RFC 8555 §7.3).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::eab::Registration;
use super::keys::unblocked;
use super::sweep_accounts::{alive_until, first_use, noted};
use super::{Error, Service, audited};
use crate::acme::account::{Account, AccountDetails, AccountStatus, check_contacts};
use crate::acme::error::{ErrorKind, Refusal};
use crate::audit::Event;
use crate::id::AccountId;
use crate::jose::jwk::{Jwk, Thumbprint};
use crate::jose::mac::UnverifiedMac;
use crate::limits::{Limit, Source};
use crate::provisioner::acme::Terms;
use crate::provisioner::eab;
use crate::storage::codec::{AccountKey, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version};

/// An account with its key ready to verify.
#[derive(Debug)]
pub struct KnownAccount {
    /// The record.
    pub account: Account,
    /// Its key.
    pub key: Jwk,
    /// The key's thumbprint.
    pub thumbprint: Thumbprint,
    pub(super) version: Version,
    /// Milliseconds since the epoch: before that, its use need not be written down again. Zero if that is
    /// not known.
    pub(super) next_use: AtomicU64,
}

/// Accounts lately seen, with parsed keys.
pub(super) type Cache = quick_cache::sync::Cache<AccountId, Arc<KnownAccount>>;

/// Accounts kept in memory, about 1 KiB each, and as much again if they are bound.
const CACHED_ACCOUNTS: usize = 8192;

pub(super) fn cache() -> Cache {
    Cache::new(CACHED_ACCOUNTS)
}

/// newAccount's payload.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// `contact`
    pub contacts: Vec<String>,
    /// `termsOfServiceAgreed`
    pub terms_agreed: bool,
    /// `onlyReturnExisting`
    pub only_existing: bool,
    /// `externalAccountBinding`, whose header was checked and whose MAC was not.
    pub binding: Option<UnverifiedMac>,
    /// Where the request comes from.
    pub from: Source,
}

/// What an update changes.
#[derive(Clone, Debug, Default)]
pub struct AccountUpdate {
    /// New contacts, if any are given.
    pub contacts: Option<Vec<String>>,
    /// Close the account.
    pub deactivate: bool,
}

/// Tries to create an account. One that loses a race finds the winner's next time, unless that has
/// changed its key at once.
const CREATIONS: usize = 4;

pub(super) fn key_row(provisioner: &str, thumbprint: &Thumbprint) -> Vec<u8> {
    // Provisioner names have no NUL.
    [provisioner.as_bytes(), &[0], &thumbprint.0].concat()
}

impl Service {
    /// The account of that id at that provisioner, if there is one; any status.
    pub async fn account(&self, terms: &Terms, id: AccountId) -> Result<Option<Arc<KnownAccount>>, Error> {
        let found = match self.accounts.get(&id) {
            Some(found) => Some(found),
            None => {
                let _guard = self.account_locks.of(id.as_bytes()).await;
                // Of many requests that wait here, the first reads for all.
                match self.accounts.get(&id) {
                    Some(found) => Some(found),
                    None => self.load_account(id).await?,
                }
            }
        };
        Ok(found.filter(|known| known.account.provisioner == terms.name))
    }

    /// Reads an account into the cache. The account's lock must be held: it keeps an old state
    /// from being cached after a newer one.
    pub(super) async fn load_account(&self, id: AccountId) -> Result<Option<Arc<KnownAccount>>, Error> {
        let Some(row) = self.store.get(Table::Accounts, id.as_bytes()).await? else { return Ok(None) };
        let account = Account::decode(&row.value)?;
        self.cache_account(account, row.version).map(Some)
    }

    /// As if the cache had been full.
    #[cfg(test)]
    pub(crate) fn forget_account(&self, id: AccountId) {
        self.accounts.remove(&id);
    }

    fn cache_account(&self, account: Account, version: Version) -> Result<Arc<KnownAccount>, Error> {
        let key = Jwk::from_key(account.key.clone())
            .map_err(|error| Error::Internal(format!("stored account {}: {error}", account.id)))?;
        let thumbprint = key.thumbprint();
        // A change of the account is no reason to write its use down again.
        let before = self.accounts.get(&account.id);
        let before = before.map_or(0, |before| before.next_use.load(Ordering::Relaxed));
        let next_use = AtomicU64::new(before);
        let known = Arc::new(KnownAccount { account, key, thumbprint, version, next_use });
        self.accounts.insert(known.account.id, known.clone());
        Ok(known)
    }

    /// The account that a key belongs to.
    pub async fn account_of_key(&self, terms: &Terms, key: &Jwk) -> Result<Option<Arc<KnownAccount>>, Error> {
        let row = self.store.get(Table::AccountKeys, &key_row(&terms.name, &key.thumbprint())).await?;
        let Some(row) = row else { return Ok(None) };
        let AccountKey(id) = AccountKey::decode(&row.value)?;
        self.account(terms, id).await
    }

    /// Creates an account, or finds the one the key belongs to (then `false`).
    pub async fn new_account(
        &self,
        terms: &Terms,
        key: Jwk,
        ask: NewAccount,
    ) -> Result<(Arc<KnownAccount>, bool), Error> {
        for _ in 0..CREATIONS {
            if let Some(known) = self.account_of_key(terms, &key).await? {
                return match known.account.status {
                    AccountStatus::Valid => Ok((known, false)),
                    AccountStatus::Deactivated => Err(Error::Deactivated),
                };
            }
            if ask.only_existing {
                let detail = "there is no account for this key";
                return Err(Refusal::new(ErrorKind::AccountDoesNotExist, detail).into());
            }
            check_contacts(&ask.contacts)?;
            if let Some(url) = &terms.terms_of_service
                && !ask.terms_agreed
            {
                let detail = format!("termsOfServiceAgreed: must be true; the terms are at {url}");
                return Err(Refusal::malformed(detail).into());
            }
            let binding = eab::wanted(terms.eab, ask.binding.as_ref())?;
            match self.create_account(terms, &key, &ask, binding).await {
                Ok(Some(known)) => return Ok((known, true)),
                Ok(None) => {}
                // The same request came twice, and the other one has used its key up: then the account
                // is there.
                Err(Error::Refused(refusal)) => {
                    if self.account_of_key(terms, &key).await?.is_none() {
                        return Err(refusal.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        // Neither found nor absent: the row of the key is there, and its account is not.
        let thumbprint = key.thumbprint();
        Err(Error::Internal(format!("the key {thumbprint} has a row that leads to no account")))
    }

    async fn create_account(
        &self,
        terms: &Terms,
        key: &Jwk,
        ask: &NewAccount,
        binding: Option<&UnverifiedMac>,
    ) -> Result<Option<Arc<KnownAccount>>, Error> {
        let now = self.now();
        self.check_account_key(key.spki()).await?;
        let registration = match binding {
            Some(binding) => Some(self.registration(terms, binding, key, now).await?),
            None => None,
        };
        self.limits.take(Limit::NetworkAccounts, &ask.from.network, &ask.from, now)?;
        let account = Account {
            id: AccountId::new(self.entropy.bytes()),
            provisioner: terms.name.clone(),
            key: key.spki().key().clone(),
            status: AccountStatus::Valid,
            contacts: ask.contacts.clone(),
            terms_agreed: ask.terms_agreed,
            created: now,
            details: AccountDetails { eab: registration.as_ref().map(Registration::details) },
        };
        let thumbprint = key.thumbprint();
        let row = key_row(&terms.name, &thumbprint);
        let event = Event::AccountCreated {
            provisioner: terms.name.clone(),
            account: account.id,
            thumbprint: thumbprint.0,
        };
        let batch = match &registration {
            Some(registration) => registration.counted(Batch::new(), &account, now),
            None => Batch::new(),
        };
        let batch = unblocked(batch, key.spki())
            .expect(Table::AccountKeys, row.clone(), Expect::Absent)
            .expect(Table::Accounts, *account.id.as_bytes(), Expect::Absent)
            .put(Table::AccountKeys, row, AccountKey(account.id).encode())
            .put(Table::Accounts, *account.id.as_bytes(), account.encode());
        let _guard = self.account_locks.of(account.id.as_bytes()).await;
        let batch = first_use(batch, account.id, alive_until(terms, now), now);
        match self.store.commit(audited(batch, now, event)).await? {
            CommitOutcome::Committed(version) => {
                let known = self.cache_account(account, version)?;
                noted(&known, now);
                Ok(Some(known))
            }
            CommitOutcome::Conflict => Ok(None),
        }
    }

    /// Changes contacts, or closes the account.
    pub async fn update_account(
        &self,
        id: AccountId,
        update: AccountUpdate,
    ) -> Result<Arc<KnownAccount>, Error> {
        if let Some(contacts) = &update.contacts {
            check_contacts(contacts)?;
        }
        let now = self.now();
        self.change_account(id, |account| {
            let mut changed = account.clone();
            if let Some(contacts) = update.contacts {
                changed.contacts = contacts;
            }
            let event = if update.deactivate {
                changed.status = AccountStatus::Deactivated;
                Event::AccountDeactivated { account: id }
            } else {
                Event::AccountUpdated { account: id }
            };
            Ok((changed, audited(Batch::new(), now, event)))
        })
        .await
    }

    /// Replaces the account's key (RFC 8555 §7.3.5).
    pub async fn change_key(
        &self,
        terms: &Terms,
        known: &KnownAccount,
        key: Jwk,
    ) -> Result<Arc<KnownAccount>, Error> {
        if let Some(other) = self.account_of_key(terms, &key).await? {
            return Err(Error::KeyInUse(other.account.id));
        }
        self.check_account_key(key.spki()).await?;
        let (id, now) = (known.account.id, self.now());
        let (old_row, new_row) =
            (key_row(&terms.name, &known.thumbprint), key_row(&terms.name, &key.thumbprint()));
        let old_key = &known.account.key;
        self.change_account(id, |account| {
            if account.key != *old_key {
                return Err(Refusal::unauthorized("the account's key has changed meanwhile").into());
            }
            let changed = Account { key: key.spki().key().clone(), ..account.clone() };
            let event = Event::AccountKeyChanged { account: id, thumbprint: key.thumbprint().0 };
            let batch = unblocked(Batch::new(), key.spki())
                .expect(Table::AccountKeys, new_row.clone(), Expect::Absent)
                .put(Table::AccountKeys, new_row, AccountKey(id).encode())
                .delete(Table::AccountKeys, old_row);
            Ok((changed, audited(batch, now, event)))
        })
        .await
    }

    async fn change_account(
        &self,
        id: AccountId,
        change: impl FnOnce(&Account) -> Result<(Account, Batch), Error>,
    ) -> Result<Arc<KnownAccount>, Error> {
        let _guard = self.account_locks.of(id.as_bytes()).await;
        let known = self.load_account(id).await?.ok_or(Error::NotFound)?;
        if known.account.status != AccountStatus::Valid {
            return Err(Error::Deactivated);
        }
        let (changed, batch) = change(&known.account)?;
        let now = self.now();
        let batch = self
            .put_use(batch, id, now, now)
            .await?
            .expect(Table::Accounts, *id.as_bytes(), Expect::Is(known.version))
            .put(Table::Accounts, *id.as_bytes(), changed.encode());
        match self.store.commit(batch).await {
            Ok(CommitOutcome::Committed(version)) => self.cache_account(changed, version),
            Ok(CommitOutcome::Conflict) => {
                self.accounts.remove(&id);
                Err(Error::Busy("another change of the account came first"))
            }
            Err(error) => {
                // Whether it was applied is unknown; the next read shall look.
                self.accounts.remove(&id);
                Err(error.into())
            }
        }
    }
}
