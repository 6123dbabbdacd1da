//! Whether certificates are a chain: from the issuer up to a root that clients trust.

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::time::Timestamp;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::{PublicKey, Spki, SpkiError};

/// What is wrong with a chain; `0` is the issuer, and so on upwards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not a certificate.
    #[error("certificate {0} of the chain is malformed")]
    Malformed(usize),
    /// Not within its validity.
    #[error("certificate {0} of the chain is not valid now: it holds from {1} to {2}")]
    NotValid(usize, Timestamp, Timestamp),
    /// Its signer does not follow it.
    #[error("certificate {0} of the chain was not signed by the one after it")]
    Broken(usize),
    /// Deeper than a certificate above allows.
    #[error("certificate {0} of the chain allows fewer CAs below it (pathLenConstraint)")]
    PathLength(usize),
    /// The top is under none of the roots.
    #[error("the chain does not lead to the root certificate: none given has signed it")]
    NoRoot,
}

pub(super) fn parse(der: &[u8], place: usize) -> Result<X509Certificate<'_>, ChainError> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(ChainError::Malformed(place)),
    }
}

fn signed_by(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> bool {
    parent.is_ca() && child.issuer().as_raw() == parent.subject().as_raw() && signature_holds(child, parent)
}

/// ML-DSA is verified here: the parser's own verification does not know it.
fn signature_holds(child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> bool {
    let algorithm = &child.signature_algorithm;
    let Some(set) = ParameterSet::of_oid(algorithm.algorithm.as_bytes()) else {
        return child.verify_signature(Some(parent.public_key())).is_ok();
    };
    let fits = |key: &PublicKey| match key {
        PublicKey::MlDsa(of_key, _) if *of_key == set => Ok(set.verification() as _),
        _ => Err(SpkiError::Unsupported),
    };
    // RFC 5280 §4.1.1.2: inside as outside.
    algorithm.parameters.is_none()
        && child.tbs_certificate.signature == *algorithm
        && Spki::parse_to_verify(parent.public_key().raw, fits).is_ok_and(|(_, key)| {
            key.verify_sig(child.tbs_certificate.as_ref(), &child.signature_value.data).is_ok()
        })
}

/// RFC 5280 §6.1.4 (l, m): `below` CAs are between this one and the leaf.
fn check_depth(certificate: &X509Certificate<'_>, below: usize) -> Result<(), ChainError> {
    let basic = certificate.basic_constraints().map_err(|_| ChainError::Malformed(below))?;
    match basic.and_then(|basic| basic.value.path_len_constraint) {
        Some(path) if below > usize::try_from(path).unwrap_or(usize::MAX) => {
            Err(ChainError::PathLength(below))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_time(certificate: &X509Certificate<'_>, place: usize, now: Timestamp) -> Result<(), ChainError> {
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
    };
    let (start, end) = (at(certificate.validity().not_before), at(certificate.validity().not_after));
    if now < start || now >= end { Err(ChainError::NotValid(place, start, end)) } else { Ok(()) }
}

/// Checks that each certificate of `chain` (DER, issuer first) was signed by the next one, and that
/// all of them are valid at `now`; the certificates, read.
pub(super) fn check_links(chain: &[Vec<u8>], now: Timestamp) -> Result<Vec<X509Certificate<'_>>, ChainError> {
    let parsed: Vec<_> =
        chain.iter().enumerate().map(|(place, der)| parse(der, place)).collect::<Result<_, _>>()?;
    for (place, certificate) in parsed.iter().enumerate() {
        check_time(certificate, place, now)?;
        check_depth(certificate, place)?;
        if let Some(parent) = parsed.get(place + 1)
            && !signed_by(certificate, parent)
        {
            return Err(ChainError::Broken(place));
        }
    }
    Ok(parsed)
}

/// Checks that each certificate of `chain` (DER, issuer first, without the root) was signed by the
/// next one, the last one by one of `roots`, and that all of them are valid at `now`; that root.
pub fn check<'a>(chain: &[Vec<u8>], roots: &'a [Vec<u8>], now: Timestamp) -> Result<&'a [u8], ChainError> {
    let links = check_links(chain, now)?;
    let top = links.last().ok_or(ChainError::NoRoot)?;
    for der in roots {
        let root = parse(der, links.len())?;
        if signed_by(top, &root) {
            check_time(&root, links.len(), now)?;
            check_depth(&root, links.len())?;
            return Ok(der);
        }
    }
    Err(ChainError::NoRoot)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    /// A certificate called `name`, signed by `by` (itself if `None`).
    fn made(name: &str, by: Option<&Issuer<'_, KeyPair>>) -> (Vec<u8>, Issuer<'static, KeyPair>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = Timestamp::from_secs(1_000_000).to_utc();
        params.not_after = Timestamp::from_secs(2_000_000).to_utc();
        let certificate = match by {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        (certificate.unwrap().der().to_vec(), Issuer::new(params, key))
    }

    #[test]
    fn chains() {
        let now = Timestamp::from_secs(1_500_000);
        let (root, root_issuer) = made("root", None);
        let (middle, middle_issuer) = made("middle", Some(&root_issuer));
        let (issuer, _) = made("issuer", Some(&middle_issuer));
        // Another hierarchy of the same names.
        let (other_root, other_issuer) = made("root", None);
        let (other_middle, _) = made("middle", Some(&other_issuer));
        let long = vec![issuer.clone(), middle.clone()];
        let one = |der: &Vec<u8>| vec![der.clone()];
        let rows = [
            (one(&middle), one(&root), Ok(())),
            (long.clone(), vec![other_root.clone(), root.clone()], Ok(())),
            (one(&middle), one(&other_root), Err(ChainError::NoRoot)),
            (one(&middle), one(&middle), Err(ChainError::NoRoot)),
            (one(&middle), vec![], Err(ChainError::NoRoot)),
            (vec![], one(&root), Err(ChainError::NoRoot)),
            (vec![issuer, other_middle], one(&root), Err(ChainError::Broken(0))),
            (vec![b"junk".to_vec()], one(&root), Err(ChainError::Malformed(0))),
        ];
        for (chain, roots, want) in rows {
            assert_eq!(check(&chain, &roots, now).map(drop), want);
        }
        for at in [999_999, 2_000_000] {
            let at = Timestamp::from_secs(at);
            let got = check(&one(&middle), &one(&root), at).map(drop);
            assert!(matches!(got, Err(ChainError::NotValid(0, ..))), "{got:?}");
        }
        assert_eq!(check(&long, &one(&root), now + Duration::from_secs(1)), Ok(root.as_slice()));
    }
}
