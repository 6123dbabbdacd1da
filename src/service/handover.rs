//! The change from one issuer of an authority to another: since when, kept durably, so that clients with
//! certificates of the one before are called over (RFC 9773) evenly, over a restart too.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::{Error, Provisioner, Service, audited};
use crate::acme::renewal::Call;
use crate::audit::Event;
use crate::authority::authorities::Authority;
use crate::authority::certificate::CertificateRecord;
use crate::id::AuthorityName;
use crate::storage::codec::{IssuingSince, Published, Record, issuing_row, published_row};
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;

/// What is known of the issuers in force, by authority.
#[derive(Default)]
pub(super) struct Issuing {
    signing: RwLock<HashMap<AuthorityName, IssuingSince>>,
    published: RwLock<HashMap<AuthorityName, Published>>,
}

impl Issuing {
    /// Since when an authority signs with the issuer that it signs with.
    pub(super) fn since(&self, authority: &AuthorityName) -> Option<Timestamp> {
        self.signing.read().unwrap_or_else(PoisonError::into_inner).get(authority)?.since
    }

    /// Since when one of its issuers is in the bundle.
    pub(super) fn published(&self, authority: &AuthorityName, issuer: &[u8; 20]) -> Option<Timestamp> {
        let known = self.published.read().unwrap_or_else(PoisonError::into_inner);
        known.get(authority)?.0.iter().find(|(known, _)| known == issuer)?.1
    }
}

impl Service {
    /// Notes which issuer each authority signs with, and when that changed. Without a change, it reads
    /// nothing once it has read each once.
    pub async fn note_issuers(&self) -> Result<(), Error> {
        let live = self.live();
        for authority in live.authorities.iter() {
            self.note_published(authority).await?;
            let (name, issuer) = (authority.name(), *authority.issuer().key_id());
            let known =
                self.issuing.signing.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
            if known.is_some_and(|known| known.issuer == issuer) {
                continue;
            }
            if let Some(now) = self.note_issuer(name, issuer).await? {
                self.issuing
                    .signing
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(name.clone(), now);
            }
        }
        Ok(())
    }

    /// `None` if somebody else was writing: to be looked at again.
    async fn note_issuer(
        &self,
        name: &AuthorityName,
        issuer: [u8; 20],
    ) -> Result<Option<IssuingSince>, Error> {
        let key = issuing_row(name.as_str());
        let row = self.store.get(Table::Meta, &key).await?;
        let before = row.as_ref().map(|row| IssuingSince::decode(&row.value)).transpose()?;
        if let Some(same) = before.filter(|before| before.issuer == issuer) {
            return Ok(Some(same));
        }
        let now = self.now();
        let noted = IssuingSince { issuer, since: before.map(|_| now) };
        let expected = row.map_or(Expect::Absent, |row| Expect::Is(row.version));
        let batch =
            Batch::new().expect(Table::Meta, key.clone(), expected).put(Table::Meta, key, noted.encode());
        let batch = match before {
            None => batch,
            Some(before) => {
                let authority = name.as_str().to_owned();
                let event = Event::IssuerChanged { authority, before: before.issuer, now: issuer };
                audited(batch, now, event)
            }
        };
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {
                if before.is_some() {
                    tracing::info!(authority = %name, "another issuer signs; clients are called over");
                }
                Ok(Some(noted))
            }
            CommitOutcome::Conflict => Ok(None),
        }
    }

    /// Notes which of an authority's issuers are in the bundle, and since when. What was there when somebody
    /// looked first has no such time; but the next one was put there to be waited for, so that it has.
    async fn note_published(&self, authority: &Authority) -> Result<(), Error> {
        let (name, facts) = (authority.name(), authority.rotation_facts());
        let others = facts.former.iter().chain([&facts.signing]).map(|issuer| (issuer.key_id, false));
        let here: Vec<_> = facts.next.iter().map(|next| (next.key_id, true)).chain(others).collect();
        let same = |known: &Published| {
            known.0.len() == here.len()
                && here.iter().all(|(issuer, next)| {
                    known.0.iter().any(|(k, since)| k == issuer && (since.is_some() || !next))
                })
        };
        let known = |issuing: &Issuing| {
            issuing.published.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
        };
        if known(&self.issuing).is_some_and(|known| same(&known)) {
            return Ok(());
        }
        let key = published_row(name.as_str());
        let row = self.store.get(Table::Meta, &key).await?;
        let before = row.as_ref().map(|row| Published::decode(&row.value)).transpose()?;
        let now = self.now();
        let since = |issuer: [u8; 20], next: bool| match &before {
            None => next.then_some(now),
            Some(before) => {
                let known =
                    before.0.iter().find(|(known, _)| *known == issuer).map_or(Some(now), |known| known.1);
                // One that was there from the first, and is to sign next after all.
                known.or(next.then_some(now))
            }
        };
        let noted = Published(here.iter().map(|(issuer, next)| (*issuer, since(*issuer, *next))).collect());
        if before.as_ref() != Some(&noted) {
            let expected = row.map_or(Expect::Absent, |row| Expect::Is(row.version));
            let batch = Batch::new().expect(Table::Meta, key.clone(), expected);
            match self.store.commit(batch.put(Table::Meta, key, noted.encode())).await? {
                CommitOutcome::Committed(_) => {}
                // Somebody else was writing: to be looked at again.
                CommitOutcome::Conflict => return Ok(()),
            }
        }
        self.issuing.published.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), noted);
        Ok(())
    }

    /// That a certificate is to be replaced since the provisioner's authority signs with another issuer than
    /// its own. Not so if another authority signed it, before the provisioner moved: then it is no
    /// predecessor's, and is renewed when its time comes. Of an issuer that no configuration names any more,
    /// those that are younger than that change cannot be a predecessor's.
    pub(super) fn handover(&self, terms: &Provisioner, record: &CertificateRecord) -> Option<Call> {
        let live = self.live();
        let named = live.authorities.of_issuer(&record.issuer).map(|authority| authority.name());
        if named.is_some_and(|name| *name != terms.authority) {
            return None;
        }
        let known = self.issuing.signing.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&terms.authority).filter(|known| known.issuer != record.issuer)?;
        // One that was begun before the change may be signed just behind it.
        let since = known.since.filter(|since| named.is_some() || record.issued <= *since)?;
        Some(Call { since, over: terms.issues_under().rotation().handover })
    }
}
