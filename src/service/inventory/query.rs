//! What can be asked of the inventory, and how it is answered.

use std::net::IpAddr;

use super::super::{Error, Service};
use super::{Indexed, ListedCertificate};
use crate::acme::error::Refusal;
use crate::acme::identifier::{DnsName, Identifier};
use crate::authority::certificate::CertificateRecord;
use crate::id::{AccountId, EabKid};
use crate::provisioner::Requester;
use crate::storage::{Table, inventory};
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// Certificates in one page, unless asked otherwise, and at most.
pub const PAGE: (usize, usize) = (100, 500);

/// Keys that one page walks over, and certificates that it reads, at most.
const WALK: (usize, usize) = (4_000, 1_000);

/// Bytes of certificates in one page: who asks has to hold it, names and all.
pub(super) const BYTES: usize = 384 * 1024;

/// Keys of one read.
const STEP: usize = 128;

/// A certificate's standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// Neither of the others.
    Valid,
    /// Past its end.
    Expired,
    /// Revoked, whether past its end or not.
    Revoked,
}

impl CertificateState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Valid, Self::Expired, Self::Revoked];

    /// As the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Conditions, all of which must hold; the default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateQuery {
    /// This very name is in it.
    pub name: Option<Identifier>,
    /// This name, or one below it, is in it.
    pub suffix: Option<DnsName>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: Option<KeyHash>,
    /// The account that it was issued to.
    pub account: Option<AccountId>,
    /// The key that the account was bound to.
    pub eab_key: Option<EabKid>,
    /// The provisioner's name.
    pub provisioner: Option<String>,
    /// The profile.
    pub profile: Option<String>,
    /// The issuer's key identifier.
    pub issuer: Option<[u8; 20]>,
    /// Whose request it was issued on.
    pub client: Option<IpAddr>,
    /// Its standing.
    pub state: Option<CertificateState>,
    /// It expires at this time or later.
    pub expires_from: Option<Timestamp>,
    /// It expires before.
    pub expires_before: Option<Timestamp>,
    /// It was signed at this time or later. There is no index of that: nothing that has expired by then is
    /// looked at, and whatever else the range holds is.
    pub issued_from: Option<Timestamp>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What was found, in the order of the range walked: by expiry, or by name below a suffix.
    pub certificates: Vec<ListedCertificate>,
    /// Where to go on; `None` at the end.
    pub next: Option<Vec<u8>>,
    /// If certificates from before there was an index may be missing: how far it is.
    pub building: Option<Indexed>,
}

/// A range of keys that holds whatever a query may find.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    table: Table,
    prefix: Vec<u8>,
    /// Whether the serial, and so the time of expiry, follows the prefix at once.
    by_expiry: bool,
}

impl CertificateQuery {
    /// The narrowest range.
    fn range(&self) -> Range {
        let index = |prefix, by_expiry| Range { table: Table::CertificateIndex, prefix, by_expiry };
        if let Some(name) = &self.name {
            index(inventory::of_name(name), true)
        } else if let Some(key) = &self.key {
            index(inventory::of_key(key), true)
        } else if let Some(account) = self.account {
            index(inventory::of_account(account), true)
        } else if let Some(suffix) = &self.suffix {
            index(inventory::below(suffix), false)
        } else if self.state == Some(CertificateState::Revoked) {
            index(inventory::revoked(), true)
        } else if let Some(provisioner) = &self.provisioner {
            index(inventory::of_provisioner(provisioner), true)
        } else if let Some(issuer) = &self.issuer {
            index(inventory::of_issuer(issuer), true)
        } else {
            Range { table: Table::Certificates, prefix: Vec::new(), by_expiry: true }
        }
    }

    /// The first and the last hour of expiry that can meet the query.
    fn hours(&self, now: Timestamp) -> (u64, u64) {
        let hour = |at: Timestamp| at.as_secs() / 3600;
        let (valid, expired) = match self.state {
            Some(CertificateState::Valid) => (hour(now), u64::MAX),
            Some(CertificateState::Expired) => (0, hour(now)),
            Some(CertificateState::Revoked) | None => (0, u64::MAX),
        };
        (
            self.expires_from.max(self.issued_from).map_or(0, hour).max(valid),
            self.expires_before.map_or(u64::MAX, hour).min(expired),
        )
    }

    /// Whether a certificate meets all conditions. `row` is the key it was found by.
    fn holds(&self, found: &ListedCertificate, row: &[u8], now: Timestamp) -> bool {
        let ListedCertificate { record, content, .. } = found;
        let CertificateRecord { requester, not_after, details, .. } = record;
        let (provisioner, account) = match requester {
            Requester::Acme { provisioner, account, .. }
            | Requester::AutoRenewal { provisioner, account, .. } => (Some(provisioner), Some(*account)),
            Requester::Own | Requester::Ceremony => (None, None),
        };
        let provenance = &details.provenance;
        let client = provenance.client.as_ref().map(|client| client.address);
        self.name.as_ref().is_none_or(|name| content.identifiers.contains(name))
            && self.suffix.as_ref().is_none_or(|suffix| is_first_below(suffix, found, row))
            && self.key.is_none_or(|key| key == content.key_hash)
            && (self.account.is_none() || self.account == account)
            && (self.eab_key.is_none() || self.eab_key == provenance.eab)
            && (self.provisioner.is_none() || self.provisioner.as_ref() == provisioner)
            && (self.profile.is_none() || self.profile == details.profile)
            && self.issuer.is_none_or(|issuer| issuer == record.issuer)
            && (self.client.is_none() || self.client == client)
            && self.state.is_none_or(|state| state == found.state(now))
            && self.expires_from.is_none_or(|from| *not_after >= from)
            && self.expires_before.is_none_or(|before| *not_after < before)
            && self.issued_from.is_none_or(|from| record.issued >= from)
    }
}

/// Whether a certificate has a name at or below `suffix`. Found by a row of such a name, it counts only at
/// its first one, or it would be listed once for each.
fn is_first_below(suffix: &DnsName, found: &ListedCertificate, row: &[u8]) -> bool {
    let prefix = inventory::below(suffix);
    let below = found.content.identifiers.iter().map(inventory::of_name).filter(|of| of.starts_with(&prefix));
    match below.min() {
        Some(first) => !row.starts_with(&prefix) || row.starts_with(&first),
        None => false,
    }
}

/// The hour in front of a serial.
fn hour_of(serial: &Serial) -> u64 {
    let bytes = serial.as_bytes();
    u64::from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]))
}

impl Service {
    /// One page of the certificates that meet `query`, from behind `after`, a cursor of the same query.
    pub async fn certificates(
        &self,
        query: &CertificateQuery,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Page, Error> {
        let now = self.now();
        let Range { table, prefix, by_expiry } = query.range();
        if after.is_some_and(|after| !after.starts_with(&prefix)) {
            return Err(Refusal::malformed("after: is not a cursor of this query").into());
        }
        let building = match table {
            Table::CertificateIndex => self.index_building(),
            _ => None,
        };
        let (first, last) = query.hours(now);
        let mut cursor = after.map(<[u8]>::to_vec);
        if cursor.is_none() && by_expiry && first > 0 {
            // Shorter than any key of that hour, and so in front of them all.
            let hour = u32::try_from(first).unwrap_or(u32::MAX).min(0x7f_ffff).to_be_bytes();
            cursor = Some([prefix.as_slice(), &hour[1..]].concat());
        }
        let mut page = Page { certificates: Vec::new(), next: None, building };
        let (mut walked, mut read, mut bytes) = (0, 0, 0);
        loop {
            let rows = self.store.scan(table, &prefix, cursor.as_deref(), STEP).await?;
            let ended = rows.len() < STEP;
            for (key, row) in rows {
                walked += 1;
                let serial = inventory::serial_of(&key);
                let hour = serial.as_ref().map_or(0, hour_of);
                if by_expiry && hour > last {
                    return Ok(page);
                }
                if let Some(serial) = serial.filter(|_| (first..=last).contains(&hour)) {
                    read += 1;
                    let value = match table {
                        Table::Certificates => Some(row.value),
                        _ => {
                            self.store.get(Table::Certificates, serial.as_bytes()).await?.map(|row| row.value)
                        }
                    };
                    // Swept between the two reads, or its commit is on the way.
                    let found = value.map(|value| ListedCertificate::read(serial, &value)).transpose();
                    match found {
                        Ok(Some(found)) if query.holds(&found, &key, now) => {
                            bytes += found.record.der.len();
                            page.certificates.push(found);
                        }
                        Ok(_) => {}
                        Err(error) => tracing::error!(%serial, %error, "a certificate does not read"),
                    }
                }
                cursor = Some(key);
                let full = page.certificates.len() >= limit || bytes >= BYTES;
                if full || walked >= WALK.0 || read >= WALK.1 {
                    page.next = cursor;
                    return Ok(page);
                }
            }
            if ended {
                return Ok(page);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_range_is_walked() {
        let name = Identifier::parse_dns("a.test").unwrap();
        let suffix = DnsName::parse("test").unwrap();
        let all = CertificateQuery {
            name: Some(name.clone()),
            suffix: Some(suffix.clone()),
            key: Some(KeyHash([1; 32])),
            account: Some(AccountId::new([2; 16])),
            provisioner: Some("acme".into()),
            issuer: Some([3; 20]),
            state: Some(CertificateState::Revoked),
            ..CertificateQuery::default()
        };
        let mut query = all;
        assert_eq!(query.range().prefix, inventory::of_name(&name));
        query.name = None;
        assert_eq!(query.range().prefix, inventory::of_key(&KeyHash([1; 32])));
        query.key = None;
        assert_eq!(query.range().prefix, inventory::of_account(AccountId::new([2; 16])));
        query.account = None;
        assert_eq!(query.range().prefix, inventory::below(&suffix));
        query.suffix = None;
        assert_eq!(query.range().prefix, inventory::revoked());
        query.state = Some(CertificateState::Valid);
        assert_eq!(query.range().prefix, inventory::of_provisioner("acme"));
        query.provisioner = None;
        assert_eq!(query.range().prefix, inventory::of_issuer(&[3; 20]));
        query.issuer = None;
        assert_eq!(query.range().table, Table::Certificates);
    }
}
