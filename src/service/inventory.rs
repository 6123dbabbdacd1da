//! The inventory: one certificate's whole record, lists of those that meet a query, and the rows that
//! they are found by, for certificates from before there were such rows.
//!
//! A query walks one range of keys, the narrowest that its conditions name, and holds every certificate
//! that it meets there against all of them. A page costs so much at most, whatever is asked: where little
//! is found it comes back short, with a cursor to go on from.

mod index;
mod query;
#[cfg(test)]
mod tests;

pub use self::index::Indexed;
pub use self::query::{CertificateQuery, CertificateState, PAGE, Page};

use super::{Error, Service};
use crate::authority::certificate::{CertificateRecord, Content};
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// A certificate of the inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedCertificate {
    /// Its serial.
    pub serial: Serial,
    /// Its record.
    pub record: CertificateRecord,
    /// What it says itself.
    pub content: Content,
    /// What its record cannot say yet.
    pub unrecorded: Unrecorded,
}

/// What records of that age have no place for: there "none" is "unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unrecorded {
    /// The profile.
    pub profile: bool,
    /// The key that the account is bound to, and whatever else [`Provenance`](crate::authority::certificate::Provenance) holds.
    pub provenance: bool,
}

impl Unrecorded {
    /// By the version of a stored record.
    fn of(value: &[u8]) -> Self {
        let version = value.first().copied().unwrap_or_default();
        Self { profile: version < 2, provenance: version < 3 }
    }
}

impl ListedCertificate {
    /// Reads a stored record.
    fn read(serial: Serial, value: &[u8]) -> Result<Self, Error> {
        let record = CertificateRecord::decode(value)?;
        let content = super::renewal::content(&record)?;
        Ok(Self { serial, record, content, unrecorded: Unrecorded::of(value) })
    }

    /// Its standing at `now`.
    pub fn state(&self, now: Timestamp) -> CertificateState {
        if self.record.revocation.is_some() {
            CertificateState::Revoked
        } else if now >= self.record.not_after {
            CertificateState::Expired
        } else {
            CertificateState::Valid
        }
    }
}

impl Service {
    /// One certificate.
    pub async fn listed_certificate(&self, serial: Serial) -> Result<ListedCertificate, Error> {
        let row = self.store.get(Table::Certificates, serial.as_bytes()).await?.ok_or(Error::NotFound)?;
        ListedCertificate::read(serial, &row.value)
    }
}
