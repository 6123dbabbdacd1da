//! Drafts: complete to-be-signed certificates by profile; nothing is signed here.
//!
//! Nothing is taken from a certification request but its key and the names that the grant
//! approved; what else a leaf says comes from its profile. Times are whole seconds. A leaf is backdated a little, since clocks differ, and never
//! outlives its issuer.

mod leaf;

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, IsCa, KeyIdMethod,
    KeyUsagePurpose, SerialNumber,
};

use super::ca::CaSpec;
use super::constraints::NAME_CONSTRAINTS;
use super::issuer::{Issuer, SubjectKey, key_identifier};
use crate::provisioner::{Grant, Purpose};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// How far notBefore lies before the moment of issuance, but for profiles that say otherwise.
pub const BACKDATE: Duration = crate::provisioner::profile::BACKDATE;

/// A certificate that is complete but for its signature; unchecked.
#[derive(Debug)]
#[must_use]
pub struct Draft {
    /// The whole certificate with an empty signature.
    pub(super) unsigned: Vec<u8>,
    pub(super) serial: Serial,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) grant: Grant,
}

/// Why no certificate can be drafted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The end that was asked for has come, or lies before the beginning.
    #[error("the validity asked for has passed")]
    Passed,
    /// The end that was asked for lies beyond the issuer's.
    #[error("the validity asked for ends after the issuer's own, at {0}")]
    OutlivesIssuer(Timestamp),
    /// The issuer has expired or begins in the future.
    #[error("the issuer's certificate is not valid now")]
    IssuerNotValid,
    /// The builder refused.
    #[error("the certificate cannot be built: {0}")]
    Build(String),
}

/// Drafts the certificate that `grant` permits. `random` becomes the serial's random part.
pub fn draft(grant: Grant, issuer: &Issuer, random: [u8; 16], now: Timestamp) -> Result<Draft, DraftError> {
    let (not_before, not_after) = validity(&grant, issuer, now)?;
    let serial = Serial::new(not_after, random);
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
    params.not_before = not_before.to_utc();
    params.not_after = not_after.to_utc();
    params.distinguished_name = DistinguishedName::new();
    params.use_authority_key_identifier_extension = true;
    params.key_identifier_method = KeyIdMethod::PreSpecified(key_id(&grant).to_vec());
    match grant.purpose() {
        Purpose::Leaf(names) => {
            let no_rev_avail = grant.leaf().no_rev_avail(not_before, not_after);
            leaf::fill(&mut params, names, &grant, issuer.urls().of_leaf(no_rev_avail), no_rev_avail)?;
        }
        Purpose::Root(spec) | Purpose::Intermediate(spec) => ca_profile(&mut params, spec),
    }
    let built = params
        .signed_by(&SubjectKey::of(grant.key()), issuer.builder())
        .map_err(|error| DraftError::Build(error.to_string()))?;
    Ok(Draft { unsigned: built.der().to_vec(), serial, not_before, not_after, grant })
}

/// The subject key identifier that a grant's certificate has.
pub(super) fn key_id(grant: &Grant) -> [u8; 20] {
    match grant.purpose() {
        Purpose::Root(CaSpec { key_id: Some(given), .. })
        | Purpose::Intermediate(CaSpec { key_id: Some(given), .. }) => *given,
        Purpose::Leaf(_) | Purpose::Root(_) | Purpose::Intermediate(_) => key_identifier(grant.key()),
    }
}

fn ca_profile(params: &mut CertificateParams, spec: &CaSpec) {
    params.distinguished_name = spec.subject.to_builder();
    params.is_ca = IsCa::Ca(match spec.path_len {
        None => BasicConstraints::Unconstrained,
        Some(below) => BasicConstraints::Constrained(below),
    });
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if !spec.constraints.is_empty() {
        // The builder has none for URIs.
        let oid = [2, 5, 29, u64::from(NAME_CONSTRAINTS[2])];
        let mut extension = CustomExtension::from_oid_content(&oid, spec.constraints.encode());
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }
}

fn validity(grant: &Grant, issuer: &Issuer, now: Timestamp) -> Result<(Timestamp, Timestamp), DraftError> {
    if now < issuer.not_before() || now >= issuer.not_after() {
        return Err(DraftError::IssuerNotValid);
    }
    let start = grant.not_before().unwrap_or(now);
    let not_before =
        grant.not_before().unwrap_or(now - grant.leaf().backdate).whole_seconds().max(issuer.not_before());
    let not_after = match grant.not_after() {
        Some(end) if end > issuer.not_after() => {
            return Err(DraftError::OutlivesIssuer(issuer.not_after()));
        }
        Some(end) => end.whole_seconds(),
        None => (start + grant.lifetime()).whole_seconds().min(issuer.not_after()),
    };
    if not_after <= now || not_after <= not_before {
        return Err(DraftError::Passed);
    }
    Ok((not_before, not_after))
}
