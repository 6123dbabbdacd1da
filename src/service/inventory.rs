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
}

impl ListedCertificate {
    /// Reads a stored record.
    fn read(serial: Serial, value: &[u8]) -> Result<Self, Error> {
        let record = CertificateRecord::decode(value)?;
        let content = super::renewal::content(&record)?;
        Ok(Self { serial, record, content })
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
