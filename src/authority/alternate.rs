//! Alternate chains (RFC 8555 §7.4.2): other certificates over the issuer's own key and name, for
//! clients that trust another root than the first chain leads to.

use x509_parser::prelude::X509Certificate;

use super::chain::{ChainError, check_links};
use super::issuer::{Issuer, subject_key_id};
use crate::time::Timestamp;
use crate::x509::pem;

/// A chain that may follow the issuer's leaves as well as its own does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternateChain {
    pem: String,
    not_after: Timestamp,
}

impl AlternateChain {
    /// What follows a leaf, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether all of it is still valid; a chain that ran out is not offered any more.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.not_after
    }
}

/// Why a chain is no alternate to the issuer's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlternateError {
    /// Nothing in it.
    #[error("holds no certificate")]
    Empty,
    /// Another key.
    #[error("its first certificate is for another key than the issuer's")]
    Key,
    /// Another name.
    #[error("its first certificate has another subject than the issuer's")]
    Name,
    /// Leaves refer to the issuer by an identifier that this certificate does not have.
    #[error("its first certificate has another subject key identifier than the issuer's")]
    KeyIdentifier,
    /// No CA certificate.
    #[error("its first certificate may not sign certificates (basicConstraints, keyUsage)")]
    NotCa,
    /// The issuer's own chain.
    #[error("it is the chain that is served anyway")]
    Same,
    /// Its links.
    #[error("{0}")]
    Chain(#[from] ChainError),
}

/// Checks that `chain` (DER, nearest the leaf first) can stand in the place of the issuer's own: it
/// begins with a certificate of the same key and name, and verifies link by link, all of it valid at
/// `now`. To which root it leads is the operator's to know: it need not be one of ours.
pub fn check(issuer: &Issuer, chain: &[Vec<u8>], now: Timestamp) -> Result<AlternateChain, AlternateError> {
    let parsed = check_links(chain, now)?;
    let first = parsed.first().ok_or(AlternateError::Empty)?;
    if first.public_key().raw != issuer.signer().public_key().der() {
        return Err(AlternateError::Key);
    }
    if first.subject().as_raw() != issuer.subject() {
        return Err(AlternateError::Name);
    }
    if subject_key_id(first).as_ref() != Some(issuer.key_id()) {
        return Err(AlternateError::KeyIdentifier);
    }
    let signs = first.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    if !first.is_ca() || !signs {
        return Err(AlternateError::NotCa);
    }
    if chain == issuer.chain() {
        return Err(AlternateError::Same);
    }
    let not_after = parsed.iter().map(end_of).min().ok_or(AlternateError::Empty)?;
    let pem = chain.iter().map(|certificate| pem::certificate(certificate)).collect();
    Ok(AlternateChain { pem, not_after })
}

fn end_of(certificate: &X509Certificate<'_>) -> Timestamp {
    Timestamp::from_secs(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
}
