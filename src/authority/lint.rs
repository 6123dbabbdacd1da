//! The last look before the key: the to-be-signed bytes, read back by a parser that is not the
//! builder, must be exactly what the grant, the profile and RFC 5280 allow.
//!
//! Since the check is over the final bytes, whatever is in a signed certificate was approved, no
//! matter what the builder, or a change of configuration on the way, did. The rules come first, each
//! with its own message; the comparison with the canonical encoding comes last and leaves no gap
//! between them.

mod leaf;

use std::time::Duration;

use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Version;

use super::ca::CaSpec;
use super::canonical::{self, AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_ID};
use super::constraints::{NAME_CONSTRAINTS, Name, NameConstraints, Violation};
use super::draft::{Draft, key_id};
use super::issuer::Issuer;
use super::policy;
use super::signer::SignatureAlgorithm;
use crate::acme::identifier::{Identifier, PermanentId};
use crate::provisioner::{Grant, Purpose};
use crate::time::Timestamp;
use crate::x509::serial::Serial;
use crate::x509::{der, permanent};

/// A to-be-signed certificate that passed. Made here only, used up by [`super::approve::approve`].
#[derive(Debug)]
#[must_use]
pub struct Linted {
    pub(super) tbs: Vec<u8>,
    pub(super) algorithm: Vec<u8>,
    pub(super) serial: Serial,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) grant: Grant,
    /// Whose draft it is: its key identifier.
    pub(super) issuer: [u8; 20],
}

/// Which rule a draft broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LintError {
    /// The key may not be certified; the client's to mend.
    #[error("{0}")]
    Key(#[from] policy::KeyRefusal),
    /// The issuer's own certificate, or one above it, forbids a name.
    #[error("{0}")]
    Name(#[from] Violation),
    /// The issuer's own certificate, or one above it, forbids a CA of that kind.
    #[error("{0}")]
    Path(&'static str),
    /// Anything else is our own fault.
    #[error("the drafted certificate breaks a rule: {0}")]
    Rule(&'static str),
}

fn require(holds: bool, rule: &'static str) -> Result<(), LintError> {
    if holds { Ok(()) } else { Err(LintError::Rule(rule)) }
}

/// Checks a draft.
pub fn lint(draft: Draft, issuer: &Issuer) -> Result<Linted, LintError> {
    let Draft { unsigned, serial, not_before, not_after, grant } = &draft;
    let (serial, not_before, not_after) = (*serial, *not_before, *not_after);
    policy::check_key(grant.key().key())?;
    let (rest, parsed) =
        X509Certificate::from_der(unsigned).map_err(|_| LintError::Rule("it parses as a certificate"))?;
    require(rest.is_empty(), "nothing follows it")?;
    check_frame(&parsed, serial, not_before, not_after, issuer)?;
    check_lifetime(grant, issuer, not_before, not_after)?;
    check_maker(grant, issuer)?;
    check_names(&parsed, issuer)?;
    require(grant.authority() == issuer.authority(), "its issuer is of the authority it was granted for")?;
    require(parsed.public_key().raw == grant.key().der(), "its key is the granted key")?;
    let critical = |oid: &[u8]| matches!(oid, KEY_USAGE | BASIC_CONSTRAINTS);
    let extensions = parsed.extensions();
    let order: Vec<&[u8]> = extensions.iter().map(|extension| extension.oid.as_bytes()).collect();
    let mut oids = order.clone();
    oids.sort_unstable();
    require(oids.windows(2).all(|pair| pair[0] != pair[1]), "no extension is doubled")?;
    match grant.purpose() {
        Purpose::Leaf(names) => {
            if grant.key() == issuer.signer().public_key() {
                return Err(policy::KeyRefusal::Issuer.into());
            }
            leaf::check(&parsed, &oids, names, grant, issuer, (not_before, not_after))?;
        }
        Purpose::Root(spec) | Purpose::Intermediate(spec) => {
            require(parsed.subject().as_raw() == spec.subject.der(), "a CA's subject is the granted one")?;
            let mut expected = vec![SUBJECT_KEY_ID, KEY_USAGE, BASIC_CONSTRAINTS, AUTHORITY_KEY_ID];
            if !spec.constraints.is_empty() {
                expected.insert(3, NAME_CONSTRAINTS);
            }
            require(oids == expected, "a CA has the extensions of its profile")?;
            let well_marked = |e: &X509Extension<'_>| {
                let oid = e.oid.as_bytes();
                e.critical == (critical(oid) || oid == NAME_CONSTRAINTS)
            };
            require(extensions.iter().all(well_marked), "criticality is as profiled")?;
            check_path(spec, grant, issuer)?;
            for extension in extensions {
                check_ca_extension(extension, spec, grant, issuer)?;
            }
        }
    }
    let algorithm = algorithm_der(issuer.signer().algorithm());
    let tbs = canonical::tbs(&draft, issuer, algorithm, &order);
    let tbs = tbs.ok_or(LintError::Rule("every extension is one of the profile's"))?;
    // The builder ends with the algorithm and an empty BIT STRING.
    require(
        *unsigned == der::sequence(&[&tbs, algorithm, &[0x03, 0x01, 0x00]]),
        "it is the one encoding of what was granted, byte for byte",
    )?;
    let algorithm = algorithm.to_vec();
    Ok(Linted { tbs, algorithm, serial, not_before, not_after, grant: draft.grant, issuer: *issuer.key_id() })
}

/// A root in the making signs itself and nothing else, and is the only one to make a root.
fn check_maker(grant: &Grant, issuer: &Issuer) -> Result<(), LintError> {
    let founding = issuer.subject().is_empty();
    match grant.purpose() {
        Purpose::Root(_) => {
            require(founding && grant.key() == issuer.signer().public_key(), "a root signs itself")
        }
        Purpose::Leaf(_) | Purpose::Intermediate(_) => {
            require(!founding, "a root in the making signs itself only")
        }
    }
}

fn check_frame(
    parsed: &X509Certificate<'_>,
    serial: Serial,
    not_before: Timestamp,
    not_after: Timestamp,
    issuer: &Issuer,
) -> Result<(), LintError> {
    require(parsed.version() == X509Version::V3, "it is version 3")?;
    require(parsed.raw_serial() == serial.as_bytes(), "its serial is the drawn one")?;
    require(parsed.raw_serial()[0] & 0x80 == 0, "its serial is positive")?;
    let founding = issuer.subject().is_empty();
    let wanted = if founding { parsed.subject().as_raw() } else { issuer.subject() };
    require(parsed.issuer().as_raw() == wanted, "its issuer is the issuer's subject, byte for byte")?;
    let at = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    require(at(parsed.validity().not_before) == not_before.as_secs(), "notBefore is the drafted one")?;
    require(at(parsed.validity().not_after) == not_after.as_secs(), "notAfter is the drafted one")?;
    require(not_before < not_after, "it begins before it ends")?;
    require(not_before >= issuer.not_before(), "it does not begin before its issuer")?;
    require(not_after <= issuer.not_after(), "it does not outlive its issuer")?;
    let oid = oid_of(issuer.signer().algorithm());
    require(
        parsed.tbs_certificate.signature.algorithm.as_bytes() == oid
            && parsed.signature_algorithm.algorithm.as_bytes() == oid,
        "its signature algorithm is the issuer's",
    )
}

fn check_lifetime(
    grant: &Grant,
    issuer: &Issuer,
    not_before: Timestamp,
    not_after: Timestamp,
) -> Result<(), LintError> {
    // Backdated, and rounded to whole seconds.
    let slack = grant.leaf().backdate + Duration::from_secs(1);
    let life = not_after.since(not_before);
    require(life <= grant.longest() + slack, "it does not live longer than granted")?;
    let most = issuer.realm().and_then(|realm| realm.max_ttl);
    require(most.is_none_or(|most| life <= most + slack), "it does not live longer than its authority allows")
}

/// What the issuer's certificate and those above it say of every name in the certificate: those of
/// subjectAltName and, since verifiers look there too, the subject's.
fn check_names(parsed: &X509Certificate<'_>, issuer: &Issuer) -> Result<(), LintError> {
    let constraints = issuer.constraints();
    if constraints.is_empty() {
        return Ok(());
    }
    let names = parsed.subject_alternative_name();
    let names = names.map_err(|_| LintError::Rule("its names are readable"))?;
    for name in names.iter().flat_map(|san| &san.value.general_names) {
        constraints.check(Name::of(name).ok_or(LintError::Rule("its names are well formed"))?)?;
    }
    let subject = parsed.subject();
    if subject.iter().next().is_none() {
        return Ok(());
    }
    constraints.check(Name::Directory(subject.as_raw()))?;
    for address in subject.iter_email() {
        let text = address.as_str().map_err(|_| LintError::Rule("its names are readable"))?;
        constraints.check(Name::Email(text))?;
    }
    for text in subject.iter_common_name().filter_map(|name| name.as_str().ok()) {
        if !parsed.is_ca() && Identifier::parse_dns(text).is_ok() {
            constraints.check(Name::Dns(text))?;
        }
    }
    Ok(())
}

/// No CA below a CA that may have none, none that may have more below it than its issuer, and none
/// that permits names which its issuer does not.
fn check_path(spec: &CaSpec, grant: &Grant, issuer: &Issuer) -> Result<(), LintError> {
    let forbidden = |rule| Err(LintError::Path(rule));
    match (issuer.path_room(), spec.path_len) {
        // What a root says is for those below it.
        _ if matches!(grant.purpose(), Purpose::Root(_)) => return Ok(()),
        (None, _) => {}
        (Some(0), _) => {
            return forbidden("the issuer's path length (pathLenConstraint) allows no CA below it");
        }
        (Some(_), None) => return forbidden("the issuer's path length is limited: give a smaller one"),
        (Some(room), Some(below)) if below >= room => {
            return forbidden("the path length must be smaller than the issuer's");
        }
        (Some(_), Some(_)) => {}
    }
    for subtree in &spec.constraints.permitted {
        issuer.constraints().check_subtree(subtree)?;
    }
    Ok(())
}

fn check_ca_extension(
    extension: &X509Extension<'_>,
    spec: &CaSpec,
    grant: &Grant,
    issuer: &Issuer,
) -> Result<(), LintError> {
    match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(constraints) => {
            let path = spec.path_len.map(u32::from);
            require(constraints.ca && constraints.path_len_constraint == path, "path length is as granted")
        }
        ParsedExtension::NameConstraints(_) => {
            let read = NameConstraints::parse(extension.value);
            require(read.as_ref() == Ok(&spec.constraints), "name constraints are the granted ones")
        }
        // Bit 5 keyCertSign, bit 6 cRLSign.
        ParsedExtension::KeyUsage(usage) => require(usage.flags == 0b110_0000, "a CA signs only"),
        other => check_key_ids(other, grant, issuer),
    }
}

fn check_key_ids(extension: &ParsedExtension<'_>, grant: &Grant, issuer: &Issuer) -> Result<(), LintError> {
    match extension {
        ParsedExtension::SubjectKeyIdentifier(id) => {
            require(id.0 == key_id(grant), "the subject key identifier is the key's")
        }
        ParsedExtension::AuthorityKeyIdentifier(id) => require(
            id.key_identifier.as_ref().is_some_and(|key| key.0 == issuer.key_id())
                && id.authority_cert_issuer.is_none()
                && id.authority_cert_serial.is_none(),
            "the authority key identifier is the issuer's",
        ),
        _ => Err(LintError::Rule("every extension is one of the profile's")),
    }
}

pub(super) fn identifier_of(name: &GeneralName<'_>) -> Option<Identifier> {
    match name {
        GeneralName::DNSName(text) => {
            let identifier = Identifier::parse_dns(text).ok()?;
            (identifier.order_value() == *text).then_some(identifier)
        }
        GeneralName::IPAddress(octets) => {
            crate::x509::ip_of(octets).and_then(|ip| Identifier::from_ip(ip).ok())
        }
        GeneralName::OtherName(oid, value) if oid.as_bytes() == permanent::PERMANENT_IDENTIFIER => {
            let device = PermanentId::parse(&permanent::parse_other_name(value)?).ok()?;
            Some(Identifier::Permanent(device))
        }
        _ => None,
    }
}

/// The content bytes of the algorithm's object identifier: behind two headers of two bytes.
fn oid_of(algorithm: SignatureAlgorithm) -> &'static [u8] {
    let der = algorithm_der(algorithm);
    &der[4..4 + usize::from(der[3])]
}

/// AlgorithmIdentifier as it stands in the certificate; RSA alone has (NULL) parameters
/// (RFC 5758 §3.2, RFC 8410 §3, RFC 4055 §5).
pub(super) fn algorithm_der(algorithm: SignatureAlgorithm) -> &'static [u8] {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => {
            &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
        }
        SignatureAlgorithm::EcdsaP384Sha384 => {
            &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03]
        }
        SignatureAlgorithm::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
        SignatureAlgorithm::RsaPkcs1Sha256 => {
            &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00]
        }
        SignatureAlgorithm::MlDsa(set) => set.algorithm_der(),
    }
}
