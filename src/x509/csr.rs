//! Certification requests (RFC 2986): a [`Csr`] exists only if it parsed completely and its
//! signature held, so it is parsed once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

use super::spki::{PublicKey, Spki, SpkiError};

/// A verified certification request: its key and the names it asks for, nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csr {
    der: Vec<u8>,
    key: Spki,
    names: BTreeSet<RequestedName>,
    common_name: Option<String>,
}

/// A subject alternative name as asked for; DNS names in lower case, otherwise unchecked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedName {
    /// dNSName.
    Dns(String),
    /// iPAddress.
    Ip(IpAddr),
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
        "the CSR's signature algorithm is not accepted: sign with ECDSA or RSA PKCS#1 over SHA-256, SHA-384 or SHA-512, or with Ed25519"
    )]
    SignatureAlgorithm,
    /// The signature does not verify.
    #[error("the CSR's signature does not verify with its own key")]
    Signature,
    /// More than one extensionRequest, extension or commonName of a kind.
    #[error("the CSR carries its {0} more than once")]
    Repeated(&'static str),
    /// A name of a kind this CA does not certify.
    #[error("the CSR asks for a name of type {0}: only dNSName and iPAddress are accepted")]
    NameKind(&'static str),
    /// A name that is not what its type says.
    #[error("the CSR asks for a malformed name")]
    NameMalformed,
    /// `CA:TRUE`.
    #[error("the CSR asks for a CA certificate")]
    AsksForCa,
    /// Neither names nor a common name.
    #[error("the CSR names nothing: put the names into its subjectAltName extension")]
    NoNames,
}

impl Csr {
    /// Parses and verifies a request.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        let info = &request.certification_request_info;
        let key = Spki::parse(info.subject_pki.raw)?;
        let algorithm = verification(&request.signature_algorithm, key.key())?;
        key.parsed(algorithm)?
            .verify_sig(info.raw, &request.signature_value.data)
            .map_err(|_| CsrError::Signature)?;

        let mut names = requested_names(&request)?;
        let common_name = common_name(&request)?;
        if names.is_empty() {
            // Without a subjectAltName the common name is what is asked for (RFC 8555 §7.4).
            match &common_name {
                Some(cn) => names.insert(name_of_common_name(cn)),
                None => return Err(CsrError::NoNames),
            };
        }
        Ok(Self { der: der.to_vec(), key, names, common_name })
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
}

fn name_of_common_name(text: &str) -> RequestedName {
    match text.parse() {
        Ok(ip) => RequestedName::Ip(ip),
        Err(_) => RequestedName::Dns(text.to_ascii_lowercase()),
    }
}

/// One row per accepted pair of signature algorithm and key.
fn verification(
    algorithm: &x509_parser::x509::AlgorithmIdentifier<'_>,
    key: &PublicKey,
) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let oid = algorithm.algorithm.to_id_string();
    Ok(match (oid.as_str(), key) {
        ("1.2.840.10045.4.3.2", PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", PublicKey::EcP256(_)) => &signature::ECDSA_P256_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", PublicKey::EcP384(_)) => &signature::ECDSA_P384_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", PublicKey::EcP521(_)) => &signature::ECDSA_P521_SHA512_ASN1,
        ("1.3.101.112", PublicKey::Ed25519(_)) => &signature::ED25519,
        // Sizes are policy, not format: the smallest that the library verifies is let through here.
        ("1.2.840.113549.1.1.11", PublicKey::Rsa { .. }) => {
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        }
        ("1.2.840.113549.1.1.12", PublicKey::Rsa { .. }) => &signature::RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", PublicKey::Rsa { .. }) => {
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        }
        _ => return Err(CsrError::SignatureAlgorithm),
    })
}

fn requested_names(request: &X509CertificationRequest<'_>) -> Result<BTreeSet<RequestedName>, CsrError> {
    let mut requests = request.certification_request_info.iter_attributes().filter_map(|attribute| {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(wanted) => Some(wanted),
            _ => None,
        }
    });
    let Some(wanted) = requests.next() else { return Ok(BTreeSet::new()) };
    if requests.next().is_some() {
        return Err(CsrError::Repeated("extensionRequest"));
    }
    let mut seen = BTreeSet::new();
    let mut names = BTreeSet::new();
    for extension in &wanted.extensions {
        if !seen.insert(extension.oid.to_id_string()) {
            return Err(CsrError::Repeated("extension"));
        }
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                for name in &san.general_names {
                    names.insert(requested_name(name)?);
                }
            }
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                return Err(CsrError::AsksForCa);
            }
            ParsedExtension::ParseError { .. } => return Err(CsrError::Malformed),
            // Key usages and all else come from the profile; nothing of it is copied.
            _ => {}
        }
    }
    Ok(names)
}

fn requested_name(name: &GeneralName<'_>) -> Result<RequestedName, CsrError> {
    match name {
        GeneralName::DNSName(text) => Ok(RequestedName::Dns(text.to_ascii_lowercase())),
        GeneralName::IPAddress(octets) => {
            super::ip_of(octets).map(RequestedName::Ip).ok_or(CsrError::NameMalformed)
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
