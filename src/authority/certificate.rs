//! Issued certificates as the inventory keeps them.

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::lint::identifier_of;
use crate::acme::identifier::Identifier;
use crate::id::{AccountId, OrderId};
use crate::provisioner::Requester;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// A certificate in the inventory. Its names, serial and the rest are in the DER; here is what is
/// not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// The certificate.
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
    /// Its names and addresses.
    pub identifiers: Vec<Identifier>,
}

impl CertificateRecord {
    /// Reads the certificate itself; `None` if it is not one that was issued here.
    pub fn content(&self) -> Option<Content> {
        let (_, parsed) = X509Certificate::from_der(&self.der).ok()?;
        let not_before = u64::try_from(parsed.validity().not_before.timestamp()).ok()?;
        let names = parsed.subject_alternative_name().ok()?;
        let names = names.map(|san| san.value.general_names.as_slice()).unwrap_or_default();
        let identifiers = names.iter().map(identifier_of).collect::<Option<Vec<_>>>()?;
        Some(Content { not_before: Timestamp::from_secs(not_before), identifiers })
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
