//! Issued certificates as the inventory keeps them.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::provisioner::Requester;
use crate::time::Timestamp;

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
pub struct CertificateDetails {}

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
