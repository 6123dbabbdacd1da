//! The change from one issuer of an authority to another: since when, kept durably, so that clients with
//! certificates of the one before are called over (RFC 9773) evenly, over a restart too.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::{Error, Provisioner, Service, audited};
use crate::acme::renewal::Handover;
use crate::audit::Event;
use crate::id::AuthorityName;
use crate::storage::codec::{IssuingSince, Record, issuing_row};
use crate::storage::{Batch, CommitOutcome, Expect, Table};

/// Over how long certificates of the issuer before are called for renewal, evenly; those that would have
/// been renewed sooner anyway are.
pub const HANDOVER: Duration = Duration::from_secs(24 * 3600);

/// What is known of the issuers in force, by authority.
#[derive(Default)]
pub(super) struct Issuing(RwLock<HashMap<AuthorityName, IssuingSince>>);

impl Service {
    /// Notes which issuer each authority signs with, and when that changed. Without a change, it reads
    /// nothing once it has read each once.
    pub async fn note_issuers(&self) -> Result<(), Error> {
        let live = self.live();
        for authority in live.authorities.iter() {
            let (name, issuer) = (authority.name(), *authority.issuer().key_id());
            let known = self.issuing.0.read().unwrap_or_else(PoisonError::into_inner).get(name).copied();
            if known.is_some_and(|known| known.issuer == issuer) {
                continue;
            }
            if let Some(now) = self.note_issuer(name, issuer).await? {
                self.issuing.0.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), now);
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

    /// That a certificate of `issuer` is to be replaced since the provisioner's authority signs with
    /// another one.
    pub(super) fn handover(&self, terms: &Provisioner, issuer: &[u8; 20]) -> Option<Handover> {
        let known = self.issuing.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(&terms.authority).filter(|known| known.issuer != *issuer)?;
        Some(Handover { since: known.since?, over: HANDOVER })
    }
}
