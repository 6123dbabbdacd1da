//! Issued certificates as the inventory keeps them.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509CertificateParser;
use x509_parser::extensions::{GeneralName, SubjectAlternativeName};
use x509_parser::nom::Parser;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer;

use super::lint::identifier_of;
use crate::acme::identifier::Identifier;
use crate::id::{AccountId, EabKid, OrderId};
use crate::provisioner::Requester;
use crate::provisioner::profile::KeyType;
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;
use crate::x509::spki::PublicKey;

/// A certificate in the inventory. Its names, serial and the rest are in the DER; here is what is
/// not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// The certificate.
    #[serde(with = "serde_bytes")]
    pub der: Vec<u8>,
    /// The first 20 bytes of the SHA-256 of the issuer's SubjectPublicKeyInfo (its key identifier).
    pub issuer: [u8; 20],
    /// Who asked.
    pub requester: Requester,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it expires.
    pub not_after: Timestamp,
    /// If it was revoked.
    pub revocation: Option<Revocation>,
    /// What later versions added.
    pub details: CertificateDetails,
}

/// What the inventory may hold besides; the default says nothing. Grows at its end only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateDetails {
    /// The order that is to replace it, or has (RFC 9773 §5).
    pub replaced_by: Option<Replacement>,
    /// The ACME profile that it was issued under.
    pub profile: Option<String>,
    /// Where it came from and what for.
    pub provenance: Provenance,
}

/// Where an issuance came from, besides its requester. Grows at its end only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Who sent the request; none if this server acted by itself, or went on after a crash with what a
    /// slow signer had not signed yet.
    pub client: Option<Client>,
    /// The key that the account is bound to.
    pub eab: Option<EabKid>,
    /// The certificate that it replaces, as the client said (RFC 9773 §5).
    pub replaces: Option<Serial>,
    /// The configuration in force, by its number, whose policies allowed it; none if that is not known.
    pub configuration: Option<u64>,
}

/// The sender of a request, as the inventory keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its address; behind a proxy, the proxy's.
    pub address: IpAddr,
    /// Its User-Agent: printable ASCII, at most [`Client::MAX_AGENT`] bytes; empty if it sent none.
    pub user_agent: String,
}

impl Client {
    /// Bytes kept of a User-Agent.
    pub const MAX_AGENT: usize = 120;

    /// From what came over the wire: an IPv4 address in IPv6 clothes is one, and of the User-Agent only so
    /// much is kept, with `?` for whatever does not print.
    pub fn new(address: IpAddr, user_agent: &[u8]) -> Self {
        let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' };
        let user_agent = user_agent.iter().take(Self::MAX_AGENT).map(printable).collect();
        Self { address: address.to_canonical(), user_agent }
    }
}

/// That an order was opened to replace a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The order. While there is no certificate yet, the mark counts only as long as the order may
    /// still have one.
    pub order: OrderId,
    /// The certificate that came of it; with it the mark is for good.
    pub serial: Option<Serial>,
}

/// What a certificate says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// When it begins.
    pub not_before: Timestamp,
    /// Its names and addresses, without what its profile added to them.
    pub identifiers: Vec<Identifier>,
    /// The SHA-256 of its SubjectPublicKeyInfo.
    pub key_hash: KeyHash,
    /// The type of its key; `None` of one that is not certified any more.
    pub key_type: Option<KeyType>,
}

impl CertificateRecord {
    /// Reads the certificate itself; `None` if it is not one that was issued here.
    pub fn content(&self) -> Option<Content> {
        // Of the extensions the names are all that is wanted, and the inventory is read through after each start.
        let (_, parsed) =
            X509CertificateParser::new().with_deep_parse_extensions(false).parse(&self.der).ok()?;
        let not_before = u64::try_from(parsed.validity().not_before.timestamp()).ok()?;
        let names = match parsed.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME).ok()? {
            Some(extension) => SubjectAlternativeName::from_der(extension.value).ok()?.1.general_names,
            None => Vec::new(),
        };
        let ordered =
            |name: &&GeneralName<'_>| !matches!(name, GeneralName::URI(_) | GeneralName::RFC822Name(_));
        let identifiers = names.iter().filter(ordered).map(identifier_of).collect::<Option<Vec<_>>>()?;
        let key_hash = KeyHash::of(parsed.public_key().raw);
        let key_type = PublicKey::of(parsed.public_key()).ok().map(|key| KeyType::of(&key));
        Some(Content { not_before: Timestamp::from_secs(not_before), identifiers, key_hash, key_type })
    }
}

/// That, when and why a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// RFC 5280 §5.3.1; `None` if none was given.
    pub reason: Option<u8>,
    /// By whose hand.
    pub by: Revoker,
}

/// Who may revoke (RFC 8555 §7.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revoker {
    /// The account that it was issued to.
    Owner(AccountId),
    /// An account that holds authorizations for all its names.
    Authorized(AccountId),
    /// The holder of its private key.
    Key,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_bounded_and_printable() {
        let of = |text: &[u8]| Client::new([10, 0, 0, 1].into(), text).user_agent;
        assert_eq!(of(b"lego/4.20 (linux)"), "lego/4.20 (linux)");
        assert_eq!(of(b""), "");
        assert_eq!(of(b"a\x1b[31m\xff\n\x7f"), "a?[31m???");
        assert_eq!(of(&[b'x'; 5000]).len(), Client::MAX_AGENT);
        let mapped = Client::new("::ffff:10.0.0.1".parse().unwrap(), b"");
        assert_eq!(mapped.address, IpAddr::from([10, 0, 0, 1]));
    }
}
