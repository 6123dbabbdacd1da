//! The live leaves of each issuer, counted in this process: from the inventory once, in the background, and
//! from then on with every commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Error, Live, Service};
use crate::authority::certificate::CertificateRecord;
use crate::authority::issuer::Issuer;
use crate::authority::leaves::{Leaf, Leaves, Live as LiveCount};
use crate::authority::sign::Issued;
use crate::provisioner::Requester;
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Certificates of one step of the count.
const STEP: usize = 512;

/// The count, and what else an issuer may still be needed for.
#[derive(Default)]
pub struct LiveLeaves {
    count: Mutex<Leaves>,
    /// The issuer of the certificate that this server shows.
    own: Mutex<Option<[u8; 20]>>,
    /// Issuers of settings that were in force: requests that began under them hold them.
    former: Mutex<Vec<Weak<Issuer>>>,
}

/// Whether a certificate is one that clients hold. This server's own ones are shown by one process, which
/// replaces them itself, and CA certificates are no leaves.
fn counts(requester: &Requester) -> bool {
    match requester {
        Requester::Acme { .. } | Requester::AutoRenewal { .. } => true,
        Requester::Own | Requester::Ceremony => false,
    }
}

/// A certificate as the count takes it: with when it was signed, and whether it was revoked; `None` if it
/// does not count.
pub(super) type Scanned = (Leaf, Timestamp, bool);

/// One of the inventory.
pub(super) fn scanned(serial: Serial, record: &CertificateRecord) -> Option<Scanned> {
    counts(&record.requester).then(|| {
        let leaf = Leaf { serial, issuer: record.issuer, not_after: record.not_after };
        (leaf, record.issued, record.revocation.is_some())
    })
}

impl LiveLeaves {
    fn lock(&self) -> MutexGuard<'_, Leaves> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A walk over the inventory has come by these; `last`: and by all others.
    pub(super) fn walked(&self, found: &[Scanned], last: bool, now: Timestamp) {
        let mut count = self.lock();
        for (leaf, issued, revoked) in found {
            count.scanned(leaf, *issued, *revoked, now);
        }
        if last {
            count.finish(now);
        }
    }

    /// A certificate was committed.
    pub(super) fn issued(&self, issued: &Issued) {
        if counts(issued.grant().requester()) {
            let leaf = Leaf { serial: issued.serial, issuer: *issued.issuer(), not_after: issued.not_after };
            self.lock().issued(&leaf);
        }
    }

    /// Its revocation was.
    pub(super) fn revoked(&self, serial: Serial, record: &CertificateRecord, now: Timestamp) {
        if counts(&record.requester) {
            let leaf = Leaf { serial, issuer: record.issuer, not_after: record.not_after };
            self.lock().revoked(&leaf, now);
        }
    }

    /// This server shows a certificate of that issuer from now on.
    pub(super) fn own(&self, issuer: [u8; 20]) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(issuer);
    }

    /// Other settings are about to be put into force.
    pub(super) fn replaced(&self, live: &Live) {
        let mut former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.retain(|issuer| issuer.strong_count() > 0);
        former.extend(live.authorities.iter().map(|authority| Arc::downgrade(authority.issuer())));
    }

    /// The live leaves of an issuer; `None` as long as they are not all counted.
    pub(super) fn of(&self, issuer: &[u8; 20], now: Timestamp) -> Option<LiveCount> {
        self.lock().of(issuer, now)
    }

    /// Whether this server's own certificate is of that issuer.
    pub(super) fn shown(&self, issuer: &[u8; 20]) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(issuer)
    }

    /// Whether a request that began under former settings may still be signed by that issuer.
    pub(super) fn in_use(&self, issuer: &[u8; 20]) -> bool {
        let former = self.former.lock().unwrap_or_else(PoisonError::into_inner);
        former.iter().filter_map(Weak::upgrade).any(|held| held.key_id() == issuer)
    }
}

impl Service {
    /// How many certificates were looked at; `None` once all are counted.
    pub fn counting_leaves(&self) -> Option<u64> {
        self.leaves.lock().counting()
    }

    /// Begins to count; what is to be read comes behind that key.
    pub fn begin_count(&self) -> Vec<u8> {
        let now = self.now();
        self.leaves.lock().begin(now);
        // What expires this hour or later; the table sorts by that.
        Serial::new(now, [0; 16]).as_bytes()[..3].to_vec()
    }

    /// One bounded step of the count by itself, from behind `after`; where to go on, `None` at the end.
    pub async fn count_leaves(&self, after: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let rows = self.store.scan(Table::Certificates, &[], Some(after), STEP).await?;
        let now = self.now();
        let more = rows.len() == STEP;
        let cursor = rows.last().map(|(key, _)| key.clone());
        let mut found = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let Some(serial) = Serial::from_bytes(&key) else { continue };
            // One that does not read is an end: as long as it is not known, nothing is.
            let record = CertificateRecord::decode(&row.value).inspect_err(
                |error| tracing::error!(%serial, %error, "a certificate does not read; no issuer can be retired"),
            )?;
            found.extend(scanned(serial, &record));
        }
        self.leaves.walked(&found, !more, now);
        Ok(cursor.filter(|_| more))
    }
}
