//! Certification requests (RFC 2986): a [`Csr`] exists only if it parsed completely and its
//! signature held, so it is parsed once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use x509_parser::asn1_rs::{Header, Length, Tag};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AlgorithmIdentifier;

use super::ml_dsa::ParameterSet;
use super::spki::{PublicKey, Spki, SpkiError};
use super::{der, permanent};

/// A verified certification request: its key and the names it asks for, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
    key: Spki,
    names: BTreeSet<RequestedName>,
    common_name: Option<String>,
    subject: Vec<u8>,
}

/// A subject alternative name as asked for; DNS names in lower case, otherwise unchecked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedName {
    /// dNSName.
    Dns(String),
    /// iPAddress.
    Ip(IpAddr),
    /// PermanentIdentifier (RFC 4043) in its text form.
    Permanent(String),
}

/// What a request may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Hosts,
    Devices,
    Authority,
}

/// Why a certification request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Not DER of that shape, or bytes after it.
    #[error("the CSR is not a DER-encoded PKCS#10 request")]
    Malformed,
    /// The key.
    #[error("the CSR's key: {0}")]
    Key(#[from] SpkiError),
    /// The signature algorithm is unknown or does not fit the key.
    #[error(
        "the CSR's signature algorithm is not accepted: sign with ECDSA or RSA PKCS#1 over SHA-256, SHA-384 or SHA-512, or with Ed25519 or ML-DSA"
    )]
    SignatureAlgorithm,
    /// The signature does not verify.
    #[error("the CSR's signature does not verify with its own key")]
    Signature,
    /// More than one extensionRequest, extension or commonName of a kind.
    #[error("the CSR carries its {0} more than once")]
    Repeated(&'static str),
    /// A name of a kind this CA does not certify.
    #[error(
        "the CSR asks for a name of type {0}: only dNSName and iPAddress are accepted; what else is in the certificate is for its profile to say: leave it out of the CSR"
    )]
    NameKind(&'static str),
    /// A name that is not what its type says.
    #[error("the CSR asks for a malformed name")]
    NameMalformed,
    /// `CA:TRUE`.
    #[error("the CSR asks for a CA certificate")]
    AsksForCa,
    /// `CA:FALSE`, where a CA is to be certified.
    #[error("the CSR asks for a certificate that is no CA's (basicConstraints CA:FALSE)")]
    AsksForLeaf,
    /// A CA has none.
    #[error("the CSR of a CA asks for names (subjectAltName): leave them out, a CA has its subject only")]
    AuthorityNames,
    /// Neither names nor a common name.
    #[error("the CSR names nothing: put the names into its subjectAltName extension")]
    NoNames,
}

impl Csr {
    /// Parses and verifies a request for names and addresses.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        Self::parse_for(der, For::Hosts)
    }

    /// As [`Csr::parse`], for an order of devices: PermanentIdentifier is accepted among the names,
    /// and the names may be left out, since the order says what was attested
    /// (draft-ietf-acme-device-attest §3.2). A common name then stands for no name by itself.
    pub fn parse_for_device(der: &[u8]) -> Result<Self, CsrError> {
        Self::parse_for(der, For::Devices)
    }

    /// As [`Csr::parse`], for a CA: it may say `CA:TRUE`, and has a subject and no names. Path length
    /// and name constraints are the signer's to set; what the request says of them is not looked at.
    pub fn parse_for_authority(der: &[u8]) -> Result<Self, CsrError> {
        Self::parse_for(der, For::Authority)
    }

    fn parse_for(der: &[u8], purpose: For) -> Result<Self, CsrError> {
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info;
        let (key, verifier) = Spki::parse_to_verify(info.subject_pki.raw, |key| {
            verification(&request.signature_algorithm, key)
        })?;
        // One encoding only: around the signed part stands what DER demands, and nothing else.
        let identifier = algorithm_der(&request.signature_algorithm).ok_or(CsrError::SignatureAlgorithm)?;
        let signature = der::bit_string(&request.signature_value.data);
        if der::sequence(&[info.raw, &identifier, &signature]) != der {
            return Err(CsrError::Malformed);
        }
        verifier.verify_sig(info.raw, &request.signature_value.data).map_err(|_| CsrError::Signature)?;

        let mut names = requested_names(&request, purpose)?;
        let common_name = common_name(&request)?;
        if names.is_empty() && purpose == For::Hosts {
            // Without a subjectAltName the common name is what is asked for (RFC 8555 §7.4).
            match &common_name {
                Some(cn) => names.insert(name_of_common_name(cn)),
                None => return Err(CsrError::NoNames),
            };
        }
        let subject = info.subject.as_raw().to_vec();
        Ok(Self { der: der.to_vec(), key, names, common_name, subject })
    }

    /// The request's DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key to certify.
    pub fn key(&self) -> &Spki {
        &self.key
    }

    /// The names asked for in subjectAltName (or in the common name, if there is none).
    pub fn names(&self) -> &BTreeSet<RequestedName> {
        &self.names
    }

    /// The name in the common name, which must be one of the names too (RFC 8555 §7.4).
    pub fn common_name(&self) -> Option<RequestedName> {
        self.common_name.as_deref().map(name_of_common_name)
    }

    /// Its subject, DER of a Name.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The common name as it stands there.
    pub fn common_name_text(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

fn name_of_common_name(text: &str) -> RequestedName {
    match text.parse() {
        Ok(ip) => RequestedName::Ip(ip),
        Err(_) => RequestedName::Dns(text.to_ascii_lowercase()),
    }
}

// The content bytes of the accepted signature algorithms' object identifiers; compared as bytes,
// since an identifier that is not DER may print like one that is.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];

/// AlgorithmIdentifier without parameters, or with the NULL that RSA is written with (RFC 4055 §5;
/// ECDSA and Ed25519 omit them: RFC 5758 §3.2, RFC 8410 §3). No other is accepted here.
fn algorithm_der(algorithm: &AlgorithmIdentifier<'_>) -> Option<Vec<u8>> {
    let oid = der::tlv(0x06, &[algorithm.algorithm.as_bytes()]);
    let rsa = algorithm.algorithm.as_bytes().starts_with(&RSA_SHA256[..8]);
    match &algorithm.parameters {
        None => Some(der::sequence(&[&oid])),
        Some(null) if rsa && null.tag() == Tag::Null && null.data.is_empty() => {
            Some(der::sequence(&[&oid, &[5, 0]]))
        }
        Some(_) => None,
    }
}

/// One row per accepted pair of signature algorithm and key.
fn verification(
    algorithm: &AlgorithmIdentifier<'_>,
    key: &PublicKey,
) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    Ok(match (algorithm.algorithm.as_bytes(), key) {
        (ECDSA_SHA256, PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA256_ASN1,
        (ECDSA_SHA384, PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA384_ASN1,
        (ECDSA_SHA512, PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA512_ASN1,
        (ECDSA_SHA256, PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA256_ASN1,
        (ECDSA_SHA384, PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA384_ASN1,
        (ECDSA_SHA512, PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA512_ASN1,
        (ECDSA_SHA256, PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA256_ASN1,
        (ECDSA_SHA384, PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA384_ASN1,
        (ECDSA_SHA512, PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA512_ASN1,
        (ED25519, PublicKey::Ed25519(_)) => &signature::ED25519,
        // Sizes are policy, not format: the smallest that the library verifies is let through here.
        (RSA_SHA256, PublicKey::Rsa { .. }) => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        (RSA_SHA384, PublicKey::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (RSA_SHA512, PublicKey::Rsa { .. }) => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        // The key's own parameter set, pure (RFC 9881 §3).
        (oid, PublicKey::MlDsa(set, _)) if ParameterSet::of_oid(oid) == Some(*set) => set.verification(),
        _ => return Err(CsrError::SignatureAlgorithm),
    })
}

fn requested_names(
    request: &X509CertificationRequest<'_>,
    purpose: For,
) -> Result<BTreeSet<RequestedName>, CsrError> {
    let mut requests = request.certification_request_info.iter_attributes().filter_map(|attribute| {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(wanted) => Some((attribute.value, wanted)),
            _ => None,
        }
    });
    let Some((value, wanted)) = requests.next() else { return Ok(BTreeSet::new()) };
    // A SET of one; the parser reads the first and would pass over another.
    if !is_one_value(value) {
        return Err(CsrError::Malformed);
    }
    if requests.next().is_some() {
        return Err(CsrError::Repeated("extensionRequest"));
    }
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    for extension in &wanted.extensions {
        if !seen.insert(extension.oid.as_bytes()) {
            return Err(CsrError::Repeated("extension"));
        }
        if !is_one_value(extension.value) {
            return Err(CsrError::Malformed);
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(_) if purpose == For::Authority => {
                return Err(CsrError::AuthorityNames);
            }
            ParsedExtension::SubjectAlternativeName(san) => {
                for name in &san.general_names {
                    names.insert(requested_name(name, purpose)?);
                }
            }
            ParsedExtension::BasicConstraints(constraints) => match (constraints.ca, purpose) {
                (true, For::Hosts | For::Devices) => return Err(CsrError::AsksForCa),
                (false, For::Authority) => return Err(CsrError::AsksForLeaf),
                (true, For::Authority) | (false, For::Hosts | For::Devices) => {}
            },
            ParsedExtension::ParseError { .. } => return Err(CsrError::Malformed),
            // Key usages and all else come from the profile; nothing of it is copied.
            _ => {}
        }
    }
    Ok(names)
}

/// Whether the bytes are one tag, length and value with nothing behind.
fn is_one_value(bytes: &[u8]) -> bool {
    Header::from_der(bytes).is_ok_and(|(content, header)| header.length() == Length::Definite(content.len()))
}

fn requested_name(name: &GeneralName<'_>, purpose: For) -> Result<RequestedName, CsrError> {
    match name {
        GeneralName::DNSName(text) => Ok(RequestedName::Dns(text.to_ascii_lowercase())),
        GeneralName::IPAddress(octets) => {
            super::ip_of(octets).map(RequestedName::Ip).ok_or(CsrError::NameMalformed)
        }
        GeneralName::OtherName(oid, value)
            if purpose == For::Devices && oid.as_bytes() == permanent::PERMANENT_IDENTIFIER =>
        {
            permanent::parse_other_name(value).map(RequestedName::Permanent).ok_or(CsrError::NameMalformed)
        }
        GeneralName::OtherName(..) => Err(CsrError::NameKind("otherName")),
        GeneralName::RFC822Name(_) => Err(CsrError::NameKind("rfc822Name")),
        GeneralName::X400Address(_) => Err(CsrError::NameKind("x400Address")),
        GeneralName::DirectoryName(_) => Err(CsrError::NameKind("directoryName")),
        GeneralName::EDIPartyName(_) => Err(CsrError::NameKind("ediPartyName")),
        GeneralName::URI(_) => Err(CsrError::NameKind("uniformResourceIdentifier")),
        GeneralName::RegisteredID(_) => Err(CsrError::NameKind("registeredID")),
        GeneralName::Invalid(..) => Err(CsrError::NameMalformed),
    }
}

fn common_name(request: &X509CertificationRequest<'_>) -> Result<Option<String>, CsrError> {
    let mut found = request.certification_request_info.subject.iter_common_name();
    let Some(first) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(CsrError::Repeated("commonName"));
    }
    let text = first.as_str().map_err(|_| CsrError::NameMalformed)?;
    // An empty common name is what some clients send when they mean none.
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests;
