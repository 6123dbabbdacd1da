//! The listener's TLS: 1.2 and 1.3, hybrid post-quantum key exchange first, and a certificate that
//! is replaced in memory while connections go on.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::acme::identifier::Identifier;
use crate::authority::authorities::Authority;
use crate::policy::Judged;
use crate::provisioner::own;
use crate::service::{Service, gate};
use crate::time::Timestamp;
use crate::x509::spki::{PublicKey, Spki};

/// Why the listener has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// It was not issued.
    #[error("the server's own certificate was not issued: {0}")]
    Issue(#[from] crate::service::Error),
    /// The key could not be made or used.
    #[error("the server's own key cannot be used: {0}")]
    Key(String),
}

/// The certificate that the listener shows, and its renewal.
#[derive(Debug)]
pub struct OwnCertificate {
    current: RwLock<Arc<CertifiedKey>>,
}

impl OwnCertificate {
    /// Issues the first certificate.
    pub async fn issue(
        service: &Service,
        names: &[Identifier],
    ) -> Result<(Self, Timestamp), OwnCertificateError> {
        let (certified, renew_at) = fresh(service, names).await?;
        Ok((Self { current: RwLock::new(Arc::new(certified)) }, renew_at))
    }

    /// Replaces it; returns when to do so again.
    pub async fn renew(
        &self,
        service: &Service,
        names: &[Identifier],
    ) -> Result<Timestamp, OwnCertificateError> {
        let (certified, renew_at) = fresh(service, names).await?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(renew_at)
    }

    /// What the policies of an authority would say of one that is issued now; nothing is signed.
    pub fn rehearse(
        authority: &Authority,
        names: &[Identifier],
        now: Timestamp,
    ) -> Result<Judged, OwnCertificateError> {
        let (_, key) = fresh_key()?;
        Ok(gate::rehearse(authority.issuer(), own::grant(authority.realm(), names, key), now)?)
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn key_error(error: &dyn std::fmt::Display) -> OwnCertificateError {
    OwnCertificateError::Key(error.to_string())
}

fn fresh_key() -> Result<(EcdsaKeyPair, Spki), OwnCertificateError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|e| key_error(&e))?;
    let spki = Spki::from_key(PublicKey::EcP256(pair.public_key().as_ref().to_vec()));
    Ok((pair, spki))
}

/// A fresh key, never written anywhere, and its certificate.
async fn fresh(
    service: &Service,
    names: &[Identifier],
) -> Result<(CertifiedKey, Timestamp), OwnCertificateError> {
    let (pair, spki) = fresh_key()?;
    let pkcs8 = pair.to_pkcs8v1().map_err(|e| key_error(&e))?;
    let (issued, issuer) = service.issue_own(names, spki).await?;
    let chain = std::iter::once(issued.der.clone()).chain(issuer.chain().iter().cloned());
    let chain = chain.map(CertificateDer::from).collect();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
    let signing = provider::sign::any_supported_type(&key).map_err(|e| key_error(&e))?;
    let life = issued.not_after.since(issued.not_before);
    Ok((CertifiedKey::new(chain, signing), issued.not_before + life * 2 / 3))
}

/// The listener's configuration.
pub fn server_config(own: Arc<OwnCertificate>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
