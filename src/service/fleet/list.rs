//! The fleet as it is asked for: identities with what the inventory knows of them.

use super::super::{Error, Service};
use crate::authority::certificate::{CertificateRecord, Content};
use crate::fleet::{Identity, IdentityId, State};
use crate::storage::StoreError;

/// Bytes of certificates behind one page: who asks has to hold it, names and all.
const BYTES: usize = 384 * 1024;

/// Where a list goes on: the minute in which a certificate ends, and a place among those.
pub type Place = (u32, u32);

/// An identity, and its latest certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownIdentity {
    /// How it stands.
    pub identity: Identity,
    /// What the inventory has of its certificate; `None` if that is swept or does not read.
    pub latest: Option<(CertificateRecord, Content)>,
}

/// One page of identities in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityPage {
    /// Which, what expires first in front.
    pub identities: Vec<KnownIdentity>,
    /// Where to go on; `None` at the end.
    pub next: Option<Place>,
}

impl Service {
    /// Up to `limit` identities in a state, as of now, from behind `after`.
    pub async fn identities(
        &self,
        state: State,
        after: Option<Place>,
        limit: usize,
    ) -> Result<IdentityPage, Error> {
        self.fleet.advance(self.now());
        let found = self.fleet.list(state, after, limit);
        let full = found.len() == limit;
        let mut page = IdentityPage { identities: Vec::with_capacity(found.len()), next: None };
        let (count, mut bytes) = (found.len(), 0);
        for (identity, place) in found {
            let known = self.known(identity).await?;
            bytes += known.latest.as_ref().map_or(0, |(record, _)| record.der.len());
            page.identities.push(known);
            if bytes >= BYTES && page.identities.len() < count {
                page.next = Some(place);
                return Ok(page);
            }
            page.next = full.then_some(place);
        }
        Ok(page)
    }

    /// One identity, as of now.
    pub async fn known_identity(&self, id: &IdentityId) -> Result<KnownIdentity, Error> {
        self.fleet.advance(self.now());
        match self.fleet.identity(id) {
            Some(identity) => self.known(identity).await,
            None if self.fleet.is_complete() => Err(Error::NotFound),
            None => Err(Error::Busy("the inventory is still being read")),
        }
    }

    async fn known(&self, identity: Identity) -> Result<KnownIdentity, Error> {
        let record = self.readable_of(&identity).await?;
        let latest = record.and_then(|record| record.content().map(|content| (record, content)));
        Ok(KnownIdentity { identity, latest })
    }

    /// As [`Service::latest_of`]; one that does not read is as good as swept, so that it hides no other.
    pub(in crate::service) async fn readable_of(
        &self,
        identity: &Identity,
    ) -> Result<Option<CertificateRecord>, Error> {
        match self.latest_of(identity).await {
            Err(Error::Store(StoreError::Corrupt(why))) => {
                tracing::error!(serial = %identity.serial, why, "a certificate does not read");
                Ok(None)
            }
            other => other,
        }
    }
}
