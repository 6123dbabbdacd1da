//! The signature: takes an [`Approved`] certificate and nothing else.

use aws_lc_rs::signature::{self, VerificationAlgorithm};

use super::approve::Approved;
use super::certificate::{CertificateDetails, CertificateRecord, Provenance};
use super::issuer::Issuer;
use super::lint::algorithm_der;
use super::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use super::subject::Subject;
use crate::provisioner::Grant;
use crate::time::Timestamp;
use crate::x509::der::{self, sequence, tlv};
use crate::x509::serial::Serial;

/// A signed certificate that has not left yet: it must be committed first.
#[derive(Debug)]
#[must_use]
pub struct Issued {
    /// Its serial number.
    pub serial: Serial,
    /// The certificate.
    pub der: Vec<u8>,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    grant: Grant,
    issuer: [u8; 20],
}

impl Issued {
    /// What it was granted for.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The key identifier of its issuer.
    pub fn issuer(&self) -> &[u8; 20] {
        &self.issuer
    }

    /// Its row of the inventory.
    pub fn record(&self, provenance: Provenance, now: Timestamp) -> CertificateRecord {
        CertificateRecord {
            der: self.der.clone(),
            issuer: self.issuer,
            requester: self.grant.requester().clone(),
            issued: now,
            not_after: self.not_after,
            revocation: None,
            details: CertificateDetails {
                replaced_by: None,
                profile: self.grant.profile().map(str::to_owned),
                provenance,
            },
        }
    }
}

/// Signs with the issuer that the draft was linted for. Blocks for as long as the signer takes ([`super::signer::Signer::cost`]).
pub fn sign(approved: Approved, issuer: &Issuer) -> Result<Issued, SignError> {
    let Approved { linted } = approved;
    // Names and dates were held against that issuer's, not any.
    if linted.issuer != *issuer.key_id() || linted.grant.authority() != issuer.authority() {
        return Err(SignError("the certificate was drafted for another issuer".into()));
    }
    let signer = issuer.signer();
    let signature = signer.sign(&linted.tbs)?;
    // A signer out of process may hand back anything, and an RSA fault gives the key away; a
    // quick one in process would pay three times its own cost for this.
    if signer.cost() == Cost::Slow {
        check_signature(&**signer, &linted.tbs, &signature)?;
    }
    let der = der::sequence(&[&linted.tbs, &linted.algorithm, &der::bit_string(&signature)]);
    Ok(Issued {
        serial: linted.serial,
        der,
        not_before: linted.not_before,
        not_after: linted.not_after,
        grant: linted.grant,
        issuer: *issuer.key_id(),
    })
}

/// Proves that the signer answers and that its key is the issuer's, for `/readyz`. What it signs
/// is text that can be no certificate.
pub fn self_test(issuer: &Issuer) -> Result<(), SignError> {
    const TEXT: &[u8] = b"mayfly signer self-test; this is no certificate";
    let signature = issuer.signer().sign(TEXT)?;
    check_signature(&**issuer.signer(), TEXT, &signature)
}

/// A certification request (RFC 2986) for a CA of this name: what another CA is asked to sign. It
/// proves that the key is there and can be no certificate, so it passes no gate.
pub fn certification_request(subject: &Subject, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
    let constraints = sequence(&[&[0x01, 0x01, 0xff]]);
    let oid = tlv(0x06, &[super::canonical::BASIC_CONSTRAINTS]);
    let extension = sequence(&[&oid, &[0x01, 0x01, 0xff], &tlv(0x04, &[&constraints])]);
    let extensions = tlv(0x31, &[&sequence(&[&extension])]);
    let attribute = sequence(&[&tlv(0x06, &[EXTENSION_REQUEST]), &extensions]);
    let version: &[u8] = &[0x02, 0x01, 0x00];
    let key = signer.public_key().der();
    let info = sequence(&[version, subject.der(), key, &tlv(0xa0, &[&attribute])]);
    let signature = signer.sign(&info)?;
    Ok(sequence(&[&info, algorithm_der(signer.algorithm()), &der::bit_string(&signature)]))
}

/// Holds a signature against the signer's own public key.
pub fn check_signature(signer: &dyn Signer, message: &[u8], signature: &[u8]) -> Result<(), SignError> {
    let verification: &'static dyn VerificationAlgorithm = match signer.algorithm() {
        SignatureAlgorithm::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SignatureAlgorithm::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SignatureAlgorithm::Ed25519 => &signature::ED25519,
        SignatureAlgorithm::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureAlgorithm::MlDsa(set) => set.verification(),
    };
    let key = signer.public_key().parsed(verification);
    match key.map(|key| key.verify_sig(message, signature)) {
        Ok(Ok(())) => Ok(()),
        _ => Err(SignError("the signature does not verify with the signer's public key".into())),
    }
}
