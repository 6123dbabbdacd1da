//! ML-DSA keys (RFC 9881) above and below: every parameter set as root, issuer and leaf.

use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::authority::chain::ChainError;
use crate::provisioner::profile::KeyType;

fn algorithm(set: ParameterSet) -> &'static rcgen::SignatureAlgorithm {
    match set {
        ParameterSet::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
        ParameterSet::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
        ParameterSet::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
    }
}

fn check(chain: &[Vec<u8>], roots: &[Vec<u8>], now: Timestamp) -> Result<(), ChainError> {
    crate::authority::chain::check(chain, roots, now).map(drop)
}

/// A root, and an issuer under it, both of that algorithm. The issuer sets no limit below itself: the
/// check counts every certificate above the first for a CA's.
fn all_by(algorithm: SignatureAlgorithm) -> (Vec<u8>, Issuer) {
    let signer = || -> Arc<dyn Signer> { Arc::new(TestSigner::new(algorithm)) };
    let (above, own) = (signer(), signer());
    let root = root(above.clone(), YEAR * 10, T0);
    let anchor = Issuer::new(root.der.clone(), &[], above).unwrap();
    let spec = CaSpec { path_len: None, ..CaSpec::issuing("Test Issuer").unwrap() };
    let issued = issue(ceremony::intermediate(spec, own.public_key().clone(), YEAR * 5), &anchor, T0);
    (root.der, of_realm(Issuer::new(issued.der, &[], own).unwrap()))
}

fn all_of(set: ParameterSet) -> (Vec<u8>, Issuer) {
    all_by(SignatureAlgorithm::MlDsa(set))
}

#[test]
fn chains_of_every_set_verify_and_damaged_ones_do_not() {
    for set in ParameterSet::ALL {
        let (root, issuer) = all_of(set);
        let leaf = issue(Ask::new(&["a.test", "10.0.0.1"]).grant(&key(algorithm(set)), T0), &issuer, T0).der;
        let chain = vec![leaf.clone(), issuer.der().to_vec()];
        assert_eq!(check(&chain, std::slice::from_ref(&root), T0), Ok(()), "{set:?}");

        let (_, parsed) = X509Certificate::from_der(&leaf).unwrap();
        for identifier in
            [&parsed.signature_algorithm, &parsed.tbs_certificate.signature, &parsed.public_key().algorithm]
        {
            assert_eq!(identifier.algorithm.as_bytes(), &set.algorithm_der()[4..]);
            assert!(identifier.parameters.is_none());
        }
        assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 1, "digitalSignature alone");
        // One bit in the signature, one in what is signed.
        for at in [leaf.len() - 1, leaf.len() - 2000, 60] {
            let mut damaged = chain.clone();
            damaged[0][at] ^= 1;
            let got = check(&damaged, std::slice::from_ref(&root), T0);
            assert!(matches!(got, Err(ChainError::Broken(0) | ChainError::Malformed(0))), "{set:?} {at}");
        }
        // The same names and another key.
        let (other, _) = all_of(set);
        assert_eq!(check(&chain, &[other], T0), Err(ChainError::NoRoot));
        let (_, stranger) = all_of(set);
        let mixed = vec![leaf, stranger.der().to_vec()];
        assert_eq!(check(&mixed, &[root], T0), Err(ChainError::Broken(0)));
    }
}

#[test]
fn kinds_mix_both_ways() {
    for set in ParameterSet::ALL {
        let (root, issuer) = all_of(set);
        let classical = issue(Ask::new(&["a.test"]).grant(&p256(), T0), &issuer, T0);
        let chain = vec![classical.der, issuer.der().to_vec()];
        assert_eq!(check(&chain, &[root], T0), Ok(()));

        let (root, issuer) = all_by(SignatureAlgorithm::EcdsaP256Sha256);
        let leaf = issue(Ask::new(&["a.test"]).grant(&key(algorithm(set)), T0), &issuer, T0);
        let chain = vec![leaf.der, issuer.der().to_vec()];
        assert_eq!(check(&chain, &[root], T0), Ok(()));
    }
}

#[test]
fn a_signature_of_another_set_or_context_is_none() {
    let (root, issuer) = all_of(ParameterSet::MlDsa44);
    let leaf = issue(Ask::new(&["a.test"]).grant(&p256(), T0), &issuer, T0).der;
    // The certificate says ML-DSA-65 in both places, and its signer has a key of ML-DSA-44.
    let oid = &ParameterSet::MlDsa44.algorithm_der()[4..];
    let mut lying = leaf;
    let places: Vec<usize> =
        lying.windows(9).enumerate().filter(|(_, w)| *w == oid).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 2);
    places.into_iter().for_each(|at| lying[at + 8] += 1);
    let got = check(&[lying, issuer.der().to_vec()], &[root], T0);
    assert_eq!(got, Err(ChainError::Broken(0)));
}

#[test]
fn requests_prove_possession_of_the_key() {
    for set in ParameterSet::ALL {
        let pair = key(algorithm(set));
        let der =
            rcgen::CertificateParams::new(vec!["a.test".into()]).unwrap().serialize_request(&pair).unwrap();
        let der = der.der().to_vec();
        let csr = Csr::parse(&der).unwrap();
        assert_eq!(csr.key(), &spki(&pair));
        assert_eq!(
            KeyType::of(csr.key().key()),
            match set {
                ParameterSet::MlDsa44 => KeyType::MlDsa44,
                ParameterSet::MlDsa65 => KeyType::MlDsa65,
                ParameterSet::MlDsa87 => KeyType::MlDsa87,
            }
        );
        let mut damaged = der.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(Csr::parse(&damaged), Err(crate::x509::csr::CsrError::Signature));
        // A signature algorithm that is not the key's.
        let at = der.windows(9).rposition(|w| *w == set.algorithm_der()[4..]).unwrap();
        let mut other = der;
        other[at + 8] = if set == ParameterSet::MlDsa44 { 0x12 } else { 0x11 };
        assert_eq!(Csr::parse(&other), Err(crate::x509::csr::CsrError::SignatureAlgorithm));
    }
}

#[test]
fn a_signer_that_errs_is_found_out() {
    for set in ParameterSet::ALL {
        let signer = |broken| {
            let signer = TestSigner::new(SignatureAlgorithm::MlDsa(set));
            intermediate(Arc::new(TestSigner { cost: Cost::Slow, broken, ..signer }), YEAR).1
        };
        assert!(self_test(&signer(false)).is_ok());
        let issuer = signer(true);
        assert!(self_test(&issuer).is_err());
        let linted = super::super::lint::lint(leaf_draft(&issuer, &["a.test"]), &issuer).unwrap();
        assert!(sign(approved(linted, T0), &issuer).is_err());
    }
}
