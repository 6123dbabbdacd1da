//! An issuing certificate with its key, ready to issue under.

use std::fmt;
use std::sync::Arc;

use rcgen::{CertificateParams, PublicKeyData, SigningKey};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::alternate::AlternateChain;
use super::constraints::{ChainConstraints, NAME_CONSTRAINTS, NameConstraints};
use super::realm::Realm;
use super::signer::{SignatureAlgorithm, Signer};
use super::subject::Subject;
use super::urls::Urls;
use crate::id::AuthorityName;
use crate::time::Timestamp;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::pem;
use crate::x509::spki::{PublicKey, Spki};

/// An issuer: its certificate, the chain above it, and its key.
pub struct Issuer {
    der: Vec<u8>,
    chain_pem: String,
    chain: Vec<Vec<u8>>,
    key_id: [u8; 20],
    subject: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    signer: Arc<dyn Signer>,
    builder: rcgen::Issuer<'static, Unsigned>,
    alternates: Vec<AlternateChain>,
    constraints: ChainConstraints,
    path_room: Option<u8>,
    urls: Urls,
    realm: Option<Arc<Realm>>,
}

/// Why a certificate and a key do not make an issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Not a certificate.
    #[error("the issuer certificate is malformed")]
    Malformed,
    /// The key is another one's.
    #[error("the private key does not belong to the issuer certificate")]
    KeyMismatch,
    /// No CA certificate.
    #[error("the issuer certificate may not sign certificates (basicConstraints, keyUsage)")]
    NotCa,
    /// Without the extension that leaves refer to.
    #[error("the issuer certificate has no 20-byte subject key identifier")]
    NoKeyIdentifier,
    /// The builder cannot reproduce its name.
    #[error("the issuer certificate's subject uses a form of name that is not supported")]
    Name,
    /// What is above it does not allow it, or in a way that cannot be held.
    #[error("certificate {0} of the issuer's chain: {1}")]
    Chain(usize, &'static str),
}

impl Issuer {
    /// Joins a certificate and its key. `above` are the certificates over it that clients need,
    /// nearest first, without the root.
    pub fn new(der: Vec<u8>, above: &[Vec<u8>], signer: Arc<dyn Signer>) -> Result<Self, IssuerError> {
        let (rest, parsed) = X509Certificate::from_der(&der).map_err(|_| IssuerError::Malformed)?;
        if !rest.is_empty() {
            return Err(IssuerError::Malformed);
        }
        if parsed.public_key().raw != signer.public_key().der() {
            return Err(IssuerError::KeyMismatch);
        }
        let signs = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
        if !parsed.is_ca() || !signs {
            return Err(IssuerError::NotCa);
        }
        let key_id = subject_key_id(&parsed).ok_or(IssuerError::NoKeyIdentifier)?;
        let subject = parsed.subject().as_raw().to_vec();
        let time = |at: x509_parser::time::ASN1Time| {
            Timestamp::from_secs(u64::try_from(at.timestamp()).unwrap_or(0))
        };
        let (not_before, not_after) = (time(parsed.validity().not_before), time(parsed.validity().not_after));
        let builder =
            rcgen::Issuer::from_ca_cert_der(&CertificateDer::from(der.as_slice()), Unsigned::of(&*signer))
                .map_err(|_| IssuerError::Name)?;
        if issuer_written_by(&builder, &*signer).is_none_or(|name| name != subject) {
            return Err(IssuerError::Name);
        }
        let chain: Vec<Vec<u8>> = std::iter::once(der.clone()).chain(above.iter().cloned()).collect();
        let chain_pem = chain.iter().map(|certificate| pem::certificate(certificate)).collect();
        let alternates = Vec::new();
        let (mut constraints, mut path_room) = (ChainConstraints::default(), None);
        for (place, certificate) in chain.iter().enumerate() {
            take_limits(certificate, place, &mut constraints, &mut path_room)?;
        }
        Ok(Self {
            der,
            chain_pem,
            chain,
            key_id,
            subject,
            not_before,
            not_after,
            signer,
            builder,
            alternates,
            constraints,
            path_room,
            urls: Urls::default(),
            realm: None,
        })
    }

    /// The same issuer under this root: what the root's certificate says of names and of the depth
    /// below it counts too.
    pub fn under_root(mut self, root: &[u8]) -> Result<Self, IssuerError> {
        take_limits(root, self.chain.len(), &mut self.constraints, &mut self.path_room)?;
        Ok(self)
    }

    /// A root about to be made: it has a name and a key, and its certificate is what it issues
    /// first. Used by the ceremony only.
    pub(crate) fn founding(
        subject: &Subject,
        now: Timestamp,
        not_after: Timestamp,
        signer: Arc<dyn Signer>,
    ) -> Self {
        let key_id = key_identifier(signer.public_key());
        let mut params = CertificateParams::default();
        params.distinguished_name = subject.to_builder();
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id.to_vec());
        Self {
            der: Vec::new(),
            chain_pem: String::new(),
            chain: Vec::new(),
            key_id,
            subject: Vec::new(),
            not_before: now,
            not_after,
            builder: rcgen::Issuer::new(params, Unsigned::of(&*signer)),
            signer,
            alternates: Vec::new(),
            constraints: ChainConstraints::default(),
            path_room: None,
            urls: Urls::default(),
            realm: None,
        }
    }

    /// Its certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// Itself and what is above it, without the root: what follows a leaf in a chain.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }
    /// The same as PEM text.
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }
    /// The same issuer, offering these chains as well.
    pub fn with_alternates(self, alternates: Vec<AlternateChain>) -> Self {
        Self { alternates, ..self }
    }
    /// The same issuer, whose certificates name these URLs.
    pub fn with_urls(self, urls: Urls) -> Self {
        Self { urls, ..self }
    }
    /// The URLs that its certificates name.
    pub fn urls(&self) -> &Urls {
        &self.urls
    }
    /// The same issuer as one of an authority's: it signs what was granted for that, and nothing else.
    pub fn of_realm(self, realm: Arc<Realm>) -> Self {
        Self { realm: Some(realm), ..self }
    }
    /// The authority's settings; `None` if it is no authority's: it founds hierarchies only.
    pub fn realm(&self) -> Option<&Realm> {
        self.realm.as_deref()
    }
    /// The authority that it signs for.
    pub fn authority(&self) -> Option<&AuthorityName> {
        self.realm.as_ref().map(|realm| &realm.name)
    }
    /// Other chains over the same key and name, in the configuration's order.
    pub fn alternates(&self) -> &[AlternateChain] {
        &self.alternates
    }
    /// Its subject key identifier.
    pub fn key_id(&self) -> &[u8; 20] {
        &self.key_id
    }
    /// Its subject name, DER; empty for a root in the making.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }
    /// No certificate may begin before.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }
    /// No certificate may outlive it.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
    /// Which names its own certificate and those above it let it certify.
    pub fn constraints(&self) -> &ChainConstraints {
        &self.constraints
    }
    /// How many CAs may follow below it, one under the other, by its own certificate and those above
    /// it; `None` if nothing limits that.
    pub fn path_room(&self) -> Option<u8> {
        self.path_room
    }
    /// Its key.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }
    pub(super) fn builder(&self) -> &rcgen::Issuer<'static, Unsigned> {
        &self.builder
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({:02x?})", self.key_id)
    }
}

/// What a certificate `place` steps above the issuer says of all that is below.
fn take_limits(
    der: &[u8],
    place: usize,
    constraints: &mut ChainConstraints,
    room: &mut Option<u8>,
) -> Result<(), IssuerError> {
    let Ok(([], parsed)) = X509Certificate::from_der(der) else { return Err(IssuerError::Malformed) };
    let unreadable = |_| IssuerError::Chain(place, "its basicConstraints extension does not read");
    if let Some(basic) = parsed.basic_constraints().map_err(unreadable)?
        && let Some(path) = basic.value.path_len_constraint
    {
        let path = usize::try_from(path).unwrap_or(usize::MAX);
        let left = path.checked_sub(place);
        let left = left.ok_or(IssuerError::Chain(place, "its path length allows no issuer that deep"))?;
        let left = u8::try_from(left).unwrap_or(u8::MAX);
        *room = Some(room.map_or(left, |room| room.min(left)));
    }
    let mut found = parsed.iter_extensions().filter(|e| e.oid.as_bytes() == NAME_CONSTRAINTS);
    match (found.next(), found.next()) {
        (None, _) => Ok(()),
        (Some(extension), None) => {
            let read = NameConstraints::parse(extension.value);
            let read = read.map_err(|_| IssuerError::Chain(place, "its nameConstraints cannot be held"))?;
            constraints.push(read);
            Ok(())
        }
        (Some(_), Some(_)) => Err(IssuerError::Chain(place, "it has two nameConstraints extensions")),
    }
}

/// The issuer's name as the builder writes it, DER: it knows no name with two parts of one kind.
fn issuer_written_by(builder: &rcgen::Issuer<'static, Unsigned>, signer: &dyn Signer) -> Option<Vec<u8>> {
    let probe = CertificateParams::default().signed_by(&SubjectKey::of(signer.public_key()), builder).ok()?;
    let (_, parsed) = X509Certificate::from_der(probe.der()).ok()?;
    Some(parsed.issuer().as_raw().to_vec())
}

/// The subject key identifier of a certificate, if it has one of 20 bytes.
pub fn subject_key_id(certificate: &X509Certificate<'_>) -> Option<[u8; 20]> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => id.0.try_into().ok(),
        _ => None,
    })
}

/// The key identifier of a key: the first 20 bytes of the SHA-256 of its SubjectPublicKeyInfo
/// (RFC 7093 §2).
pub fn key_identifier(key: &Spki) -> [u8; 20] {
    let mut out = [0; 20];
    out.copy_from_slice(&key.hash().as_bytes()[..20]);
    out
}

/// Stands where the builder wants a signing key, and signs nothing: the builder's work ends with
/// the to-be-signed bytes.
pub(super) struct Unsigned {
    key: Spki,
    algorithm: SignatureAlgorithm,
}

impl Unsigned {
    fn of(signer: &dyn Signer) -> Self {
        Self { key: signer.public_key().clone(), algorithm: signer.algorithm() }
    }
}

impl PublicKeyData for Unsigned {
    fn der_bytes(&self) -> &[u8] {
        self.key.der()
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            SignatureAlgorithm::RsaPkcs1Sha256 => &rcgen::PKCS_RSA_SHA256,
            SignatureAlgorithm::MlDsa(set) => ml_dsa(set),
        }
    }
}

impl SigningKey for Unsigned {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

fn ml_dsa(set: ParameterSet) -> &'static rcgen::SignatureAlgorithm {
    match set {
        ParameterSet::MlDsa44 => &rcgen::PKCS_ML_DSA_44,
        ParameterSet::MlDsa65 => &rcgen::PKCS_ML_DSA_65,
        ParameterSet::MlDsa87 => &rcgen::PKCS_ML_DSA_87,
    }
}

/// A subject's key in the form the builder wants.
pub(super) struct SubjectKey<'a> {
    pub(super) raw: std::borrow::Cow<'a, [u8]>,
    pub(super) algorithm: &'static rcgen::SignatureAlgorithm,
}

impl<'a> SubjectKey<'a> {
    pub(super) fn of(key: &'a Spki) -> Self {
        let (raw, algorithm): (std::borrow::Cow<'a, [u8]>, _) = match key.key() {
            PublicKey::EcP256(point) => (point.into(), &rcgen::PKCS_ECDSA_P256_SHA256),
            PublicKey::EcP384(point) => (point.into(), &rcgen::PKCS_ECDSA_P384_SHA384),
            PublicKey::EcP521(point) => (point.into(), &rcgen::PKCS_ECDSA_P521_SHA512),
            PublicKey::Ed25519(raw) => (raw.into(), &rcgen::PKCS_ED25519),
            PublicKey::Rsa { n, e } => {
                (crate::x509::spki::rsa_public_key(n, e).into(), &rcgen::PKCS_RSA_SHA256)
            }
            PublicKey::MlDsa(set, raw) => (raw.into(), ml_dsa(*set)),
        };
        Self { raw, algorithm }
    }
}

impl PublicKeyData for SubjectKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.raw
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}
