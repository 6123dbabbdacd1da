//! TLS towards peers whose certificate chain means nothing to us.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key,
};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use x509_parser::asn1_rs::{Any, BitString, FromDer, Sequence};
use x509_parser::certificate::X509Certificate;

use super::Error;

/// The protocol of RFC 8737 §6.2.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The two kinds of TLS client of this room; both speak TLS 1.2 and 1.3 only.
#[derive(Clone, Debug)]
pub(super) struct Configs {
    /// For https hops of http-01.
    pub(super) redirect: Arc<ClientConfig>,
    /// For tls-alpn-01.
    pub(super) acme_tls: Arc<ClientConfig>,
}

impl Configs {
    /// Both of them.
    pub(super) fn new() -> Result<Self, Error> {
        Ok(Self { redirect: config(b"http/1.1")?, acme_tls: config(ACME_TLS)? })
    }
}

fn config(alpn: &[u8]) -> Result<Arc<ClientConfig>, Error> {
    let mut provider = aws_lc_rs::default_provider();
    // Nothing secret is sent, so post-quantum key exchange would only make the ClientHello larger
    // than some old peers can take.
    provider.kx_groups =
        vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::SECP384R1];
    let verifier = Arc::new(AnyChain { algorithms: provider.signature_verification_algorithms });
    let mut config =
        with_provider(provider)?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    // Each validation is to see the peer's certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn with_provider(
    provider: CryptoProvider,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
}

/// Accepts any certificate whose key made the handshake's signature.
///
/// A chain has nothing to say here. For an https hop of http-01, the host being validated usually
/// has no trusted certificate yet, which is why it asks for one (RFC 8555 §8.3, §10.2: the
/// challenge itself is plain HTTP, and the proof is the content). For tls-alpn-01 the certificate
/// is self-signed by design and its contents are checked after the handshake (RFC 8737 §3).
///
/// The signature is checked because a certificate alone is public: without it, anybody could
/// replay one that somebody else once showed.
#[derive(Debug)]
struct AnyChain {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyChain {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = Key::of(cert)?;
        // A TLS 1.2 scheme leaves the curve open, so several algorithms may fit; the key has one.
        self.algorithms
            .mapping
            .iter()
            .filter(|(scheme, _)| *scheme == dss.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .any(|algorithm| key.verifies(*algorithm, message, dss.signature()))
            .then(HandshakeSignatureValid::assertion)
            .ok_or(rustls::Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By raw key: the helpers that take a certificate refuse its critical acmeIdentifier.
        let spki = SubjectPublicKeyInfoDer::from(spki(cert)?);
        // The helper takes the first algorithm of the scheme, and would panic on none.
        if !self
            .algorithms
            .mapping
            .iter()
            .any(|(scheme, algorithms)| *scheme == dss.scheme && !algorithms.is_empty())
        {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The SubjectPublicKeyInfo of a certificate, as DER.
fn spki<'a>(cert: &'a CertificateDer<'_>) -> Result<&'a [u8], rustls::Error> {
    let (_, parsed) = X509Certificate::from_der(cert).map_err(|_| bad_encoding())?;
    Ok(parsed.tbs_certificate.subject_pki.raw)
}

fn bad_encoding() -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::BadEncoding)
}

/// A public key, in the two parts that signature algorithms want.
struct Key {
    /// What is inside the AlgorithmIdentifier's SEQUENCE.
    algorithm: Vec<u8>,
    /// What is inside the BIT STRING.
    bits: Vec<u8>,
}

impl Key {
    fn of(cert: &CertificateDer<'_>) -> Result<Self, rustls::Error> {
        Self::from_spki(spki(cert)?).ok_or_else(bad_encoding)
    }

    fn from_spki(spki: &[u8]) -> Option<Self> {
        let (_, spki) = Sequence::from_der(spki).ok()?;
        let (rest, algorithm) = Any::from_der(&spki.content).ok()?;
        let (_, bits) = BitString::from_der(rest).ok()?;
        Some(Self { algorithm: algorithm.data.to_vec(), bits: bits.data.to_vec() })
    }

    fn verifies(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        algorithm.public_key_alg_id().as_ref() == self.algorithm
            && algorithm.verify_signature(&self.bits, message, signature).is_ok()
    }
}
