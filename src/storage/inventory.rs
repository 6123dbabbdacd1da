//! The rows by which certificates are found: keys of [`Table::CertificateIndex`](super::Table), without
//! values. Each ends in a serial, so that what shares its beginning sorts by expiry.
//!
//! | begins with | then | for |
//! |---|---|---|
//! | `n` | a DNS name's labels from the last, each closed by 1; 0 | one row per name, and all below one |
//! | `o` | another identifier's kind; 0; its value, or the digest of a long one; 0 | the same |
//! | `k` | 16 bytes of the SHA-256 of the SubjectPublicKeyInfo | a key |
//! | `a` | the account's id | an account |
//! | `p` | the provisioner's name; 0 | a provisioner |
//! | `i` | the issuer's key identifier | an issuer |
//! | `r` | nothing | what was revoked |
//!
//! A row only says where to look: who reads holds the certificate itself against what was asked.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::codec::Record;
use crate::acme::identifier::{DnsName, Identifier};
use crate::authority::certificate::{CertificateRecord, Content};
use crate::authority::sign::Issued;
use crate::id::AccountId;
use crate::provisioner::{Purpose, Requester};
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// Bytes of a key's digest in a row.
const KEY: usize = 16;

/// Longer values of identifiers stand in rows as their digest.
const LONG: usize = 200;

/// What the rows of one certificate are made of.
#[derive(Clone, Copy, Debug)]
struct Indexed<'a> {
    names: &'a [Identifier],
    key_hash: &'a KeyHash,
    requester: &'a Requester,
    issuer: &'a [u8; 20],
    revoked: bool,
}

impl Indexed<'_> {
    fn rows(&self, serial: &Serial) -> Vec<Vec<u8>> {
        let mut beginnings: Vec<Vec<u8>> = self.names.iter().map(of_name).collect();
        beginnings.push(of_key(self.key_hash));
        beginnings.push(of_issuer(self.issuer));
        match self.requester {
            Requester::Acme { provisioner, account, .. }
            | Requester::AutoRenewal { provisioner, account, .. } => {
                beginnings.push(of_provisioner(provisioner));
                beginnings.push(of_account(*account));
            }
            Requester::Own | Requester::Ceremony => {}
        }
        if self.revoked {
            beginnings.push(revoked());
        }
        for row in &mut beginnings {
            row.extend_from_slice(serial.as_bytes());
        }
        beginnings
    }
}

/// The rows of a certificate that is about to be committed.
pub fn rows_of_issued(issued: &Issued) -> Vec<Vec<u8>> {
    let grant = issued.grant();
    let names: &[Identifier] = match grant.purpose() {
        Purpose::Leaf(names) => names,
        Purpose::Root(_) | Purpose::Intermediate(_) => &[],
    };
    let indexed = Indexed {
        names,
        key_hash: &grant.key().hash(),
        requester: grant.requester(),
        issuer: issued.issuer(),
        revoked: false,
    };
    indexed.rows(&issued.serial)
}

/// The rows of a certificate in the inventory.
pub fn rows_of(serial: &Serial, record: &CertificateRecord, content: &Content) -> Vec<Vec<u8>> {
    let indexed = Indexed {
        names: &content.identifiers,
        key_hash: &content.key_hash,
        requester: &record.requester,
        issuer: &record.issuer,
        revoked: record.revocation.is_some(),
    };
    indexed.rows(serial)
}

/// The row that says that a certificate was revoked.
pub fn revoked_row(serial: &Serial) -> Vec<u8> {
    [revoked().as_slice(), serial.as_bytes()].concat()
}

/// How rows of this very name begin.
pub fn of_name(name: &Identifier) -> Vec<u8> {
    match name {
        Identifier::Dns(base) => [below(base).as_slice(), &[0]].concat(),
        Identifier::Wildcard(base) => [below(base).as_slice(), b"*\x01\0"].concat(),
        other @ (Identifier::Ip(_) | Identifier::Permanent(_)) => {
            let value = other.order_value();
            let mut row = [b"o", other.kind().as_bytes(), &[0]].concat();
            if value.len() > LONG {
                row.extend_from_slice(digest(&SHA256, value.as_bytes()).as_ref());
            } else {
                row.extend_from_slice(value.as_bytes());
            }
            row.push(0);
            row
        }
    }
}

/// How rows of this name and of all below it begin.
pub fn below(name: &DnsName) -> Vec<u8> {
    let mut row = Vec::with_capacity(name.as_str().len() + 2 + 1 + Serial::LEN);
    row.push(b'n');
    for label in name.as_str().rsplit('.') {
        row.extend_from_slice(label.as_bytes());
        row.push(1);
    }
    row
}

/// How rows of a key begin.
pub fn of_key(key_hash: &KeyHash) -> Vec<u8> {
    [b"k", &key_hash.as_bytes()[..KEY]].concat()
}

/// How rows of an account begin.
pub fn of_account(account: AccountId) -> Vec<u8> {
    [b"a", account.as_bytes().as_slice()].concat()
}

/// How rows of a provisioner begin.
pub fn of_provisioner(name: &str) -> Vec<u8> {
    [b"p", name.as_bytes(), &[0]].concat()
}

/// How rows of an issuer begin.
pub fn of_issuer(key_id: &[u8; 20]) -> Vec<u8> {
    [b"i", key_id.as_slice()].concat()
}

/// How rows of revoked certificates begin.
pub fn revoked() -> Vec<u8> {
    b"r".to_vec()
}

/// The serial at the end of a row.
pub fn serial_of(row: &[u8]) -> Option<Serial> {
    row.last_chunk::<{ Serial::LEN }>().and_then(|serial| Serial::from_bytes(serial))
}

/// The key of [`IndexState`] in [`Table::Meta`](super::Table::Meta).
pub const STATE_KEY: &[u8] = b"certificate_index";

/// How far certificates from before there were rows have got theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexState {
    /// All of them.
    pub complete: bool,
    /// How many have been looked at.
    pub certificates: u64,
    /// Up to which serial.
    pub through: Option<Serial>,
}

impl Record for IndexState {
    const KIND: &'static str = "certificate index";
    const VERSION: u8 = 1;
}

/// The rows of a stored certificate; of one that does not read, none but an error.
pub fn rows_of_stored(serial: &Serial, value: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    rows_of_record(serial, &CertificateRecord::decode(value)?)
}

/// The rows of a certificate whose record was read.
pub fn rows_of_record(serial: &Serial, record: &CertificateRecord) -> Result<Vec<Vec<u8>>, StoreError> {
    let content = record
        .content()
        .ok_or_else(|| StoreError::Corrupt(format!("certificate {serial} does not parse")))?;
    Ok(rows_of(serial, record, &content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::limits::MAX_KEY;
    use crate::time::Timestamp;

    fn dns(text: &str) -> Identifier {
        Identifier::parse_dns(text).unwrap()
    }

    fn base(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn what_is_below_a_name_begins_with_it_and_nothing_else_does() {
        let under = below(&base("fill.test"));
        for (name, want) in [
            ("fill.test", true),
            ("*.fill.test", true),
            ("a.fill.test", true),
            ("b.a.fill.test", true),
            ("xfill.test", false),
            ("fillx.test", false),
            ("fill-x.test", false),
            ("test", false),
            ("fill.test.a", false),
        ] {
            assert_eq!(of_name(&dns(name)).starts_with(&under), want, "{name}");
        }
        // An exact name's rows are no other's.
        let exact = of_name(&dns("a.test"));
        for other in ["*.a.test", "b.a.test", "a.test.b"] {
            assert!(!of_name(&dns(other)).starts_with(&exact), "{other}");
        }
    }

    #[test]
    fn rows_are_keys_and_sort_by_expiry_behind_their_beginning() {
        let serial = |hours: u64| Serial::new(Timestamp::from_secs(hours * 3600), [0xaa; 16]);
        let labels = vec!["x".repeat(61); 4].join(".");
        let device = Identifier::parse("permanent-identifier", &"D".repeat(255)).unwrap();
        let names = [dns(&labels), dns("*.a.test"), Identifier::parse_ip("2001:db8::1").unwrap(), device];
        let indexed = Indexed {
            names: &names,
            key_hash: &KeyHash([7; 32]),
            requester: &Requester::Acme {
                provisioner: "acme".into(),
                account: AccountId::new([1; 16]),
                order: crate::id::OrderId::new(Timestamp::EPOCH, [2; 11]),
            },
            issuer: &[9; 20],
            revoked: true,
        };
        let (early, late) = (indexed.rows(&serial(500_000)), indexed.rows(&serial(500_001)));
        assert_eq!(early.len(), 4 + 4 + 1);
        for (early, late) in early.iter().zip(&late) {
            assert!(early < late && early.len() <= MAX_KEY);
            assert_eq!(serial_of(early), Some(serial(500_000)));
        }
        assert_eq!(early.last(), Some(&revoked_row(&serial(500_000))));
        // This server's own have neither an account nor a provisioner.
        let own = Indexed { requester: &Requester::Own, revoked: false, ..indexed };
        assert_eq!(own.rows(&serial(1)).len(), 4 + 2);
    }
}
