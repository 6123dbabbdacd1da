//! From a statement's certificates to a configured root.
//!
//! The path is webpki's work: signatures, validity, basic constraints, name constraints, unknown
//! critical extensions, with its bounds on path length and on work. What a format asks of the first
//! certificate is read with a parser of extensions.

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Refused;
use crate::time::Timestamp;
use crate::x509::pem;
use crate::x509::spki::Spki;

/// Roots of one provisioner; each is tried in turn.
const MOST_ROOTS: usize = 64;

/// The first certificate of a chain that verified.
pub(super) struct Leaf<'a> {
    /// With its extensions.
    pub(super) certificate: X509Certificate<'a>,
    /// Its key.
    pub(super) key: Spki,
}

impl<'a> Leaf<'a> {
    /// The value of an extension, by the content bytes of its object identifier; `Err` if it is there
    /// twice.
    pub(super) fn extension(&self, oid: &[u8]) -> Result<Option<&'a [u8]>, Refused> {
        let mut found = self.certificate.extensions().iter().filter(|e| e.oid.as_bytes() == oid);
        let first = found.next().map(|extension| extension.value);
        if found.next().is_some() { Err(Refused::Leaf("has an extension twice")) } else { Ok(first) }
    }
}

/// Chains of devices carry purposes of their own or none; the format asks for the leaf's.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

/// Checks the path from the first certificate to one of `roots` at `now`.
pub(super) fn verify<'a>(
    certificates: &[&'a [u8]],
    roots: &[Vec<u8>],
    now: Timestamp,
) -> Result<Leaf<'a>, Refused> {
    let (first, others) = certificates.split_first().ok_or(Refused::Member("x5c"))?;
    let roots: Vec<CertificateDer<'_>> = roots.iter().map(|der| der.as_slice().into()).collect();
    // The configuration holds nothing that is not an anchor.
    let anchors: Vec<_> =
        roots.iter().filter_map(|root| webpki::anchor_from_trusted_cert(root).ok()).collect();
    let others: Vec<CertificateDer<'_>> = others.iter().map(|der| (*der).into()).collect();
    let der = CertificateDer::from(*first);
    let end = EndEntityCert::try_from(&der).map_err(|_| Refused::Certificate)?;
    let time = UnixTime::since_unix_epoch(now.since(Timestamp::EPOCH));
    end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &others, time, AnyPurpose, None, None)
        .map_err(|error| Refused::Chain(error.to_string()))?;
    let (rest, certificate) = X509Certificate::from_der(first).map_err(|_| Refused::Certificate)?;
    if !rest.is_empty() {
        return Err(Refused::Certificate);
    }
    let key = Spki::parse(certificate.public_key().raw)?;
    Ok(Leaf { certificate, key })
}

/// Why a file is not one of roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// No PEM, or none of certificates.
    #[error("holds no certificate in PEM")]
    NotPem,
    /// One cannot anchor a chain.
    #[error("holds something that is not the certificate of a certificate authority")]
    NotAnchor,
    /// Too many.
    #[error("holds more than 64 certificates")]
    TooMany,
}

/// The certificates of a PEM file, each fit to be a root; at most 64.
pub fn parse_roots(text: &[u8]) -> Result<Vec<Vec<u8>>, RootError> {
    let roots = pem::parse_certificates(text).ok_or(RootError::NotPem)?;
    if roots.len() > MOST_ROOTS {
        return Err(RootError::TooMany);
    }
    let is_anchor = |der: &Vec<u8>| {
        webpki::anchor_from_trusted_cert(&der.as_slice().into()).is_ok()
            && X509Certificate::from_der(der).is_ok_and(|(rest, root)| rest.is_empty() && root.is_ca())
    };
    if roots.iter().all(is_anchor) { Ok(roots) } else { Err(RootError::NotAnchor) }
}
