//! Who comes through the admin listener: holders of certificates that are listed by name, and nobody else.
//!
//! The handshake asks for a certificate and takes one from a CA of `client_ca`, or one whose fingerprint is
//! listed. Whether its names are on the list, whether it holds still, and whether this CA has revoked it, is
//! asked again at every request.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs as provider, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore,
    ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

use super::sparing::Sparing;
use crate::acme::error::ErrorKind;
use crate::http::tls::OwnCertificate;
use crate::provisioner::operator::{OperatorName, Presented};
use crate::service::Service;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::Reason;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Requests at once; one connection alone could bring more.
const REQUESTS: usize = 64;

/// Names of a stranger that are told, and characters of each.
const TOLD: usize = 4;
const LONGEST: usize = 100;

/// The list, and the CAs whose word on a name counts.
#[derive(Debug)]
pub struct Operators {
    listed: Vec<OperatorName>,
    roots: Option<Arc<dyn ClientCertVerifier>>,
    /// The certificates of these, in an order of their own.
    cas: Vec<Vec<u8>>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Of requests.
    places: Arc<Semaphore>,
    /// Lines about requests that were refused.
    pub(super) telling: Sparing,
}

/// Why somebody is sent away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    /// What they have shown is no certificate that reads.
    #[error("the client certificate does not read")]
    Unreadable,
    /// It does not hold now.
    #[error("the client certificate is not valid now: it is from {} to {}", .0.to_rfc3339(), .1.to_rfc3339())]
    Expired(Timestamp, Timestamp),
    /// This CA has revoked it.
    #[error("the client certificate was revoked")]
    Revoked,
    /// It is from the right CA, and not on the list.
    #[error("the client certificate is not on the list: [admin] clients has none of {0}")]
    NotListed(String),
    /// Whether it was revoked is not known.
    #[error("whether the client certificate was revoked cannot be looked up now: {0}")]
    Unknown(String),
}

impl Operators {
    /// Of the list, and the certificates of the CAs in it; without any, fingerprints alone count.
    pub fn new(listed: Vec<OperatorName>, cas: &[Vec<u8>]) -> Result<Self, String> {
        let crypto = Arc::new(provider::default_provider());
        let algorithms = crypto.signature_verification_algorithms;
        let mut roots = RootCertStore::empty();
        for ca in cas {
            roots.add(CertificateDer::from(ca.clone())).map_err(|error| error.to_string())?;
        }
        let roots = match cas {
            [] => None,
            _ => {
                let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto).build();
                Some(built.map_err(|error| error.to_string())?)
            }
        };
        let mut cas = cas.to_vec();
        cas.sort_unstable();
        Ok(Self {
            listed,
            roots,
            cas,
            algorithms,
            places: Arc::new(Semaphore::new(REQUESTS)),
            telling: Sparing::default(),
        })
    }

    /// Whether both trust the same CAs.
    pub fn trust_as(&self, other: &Self) -> bool {
        self.cas == other.cas
    }

    /// A place for one more request.
    pub(in crate::http) fn places(&self) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.places.clone().try_acquire_owned()
    }

    /// Who has shown this certificate, if they may operate the CA.
    pub(super) async fn who(&self, service: &Service, der: &[u8]) -> Result<String, Stranger> {
        let shown = Presented::read(der).ok_or(Stranger::Unreadable)?;
        if !shown.is_valid(service.now()) {
            return Err(Stranger::Expired(shown.validity.0, shown.validity.1));
        }
        let Some(name) = shown.listed_as(&self.listed) else {
            return Err(Stranger::NotListed(told(&shown.names)));
        };
        if let Some(serial) = Serial::from_bytes(&shown.serial) {
            match service.listed_certificate(serial).await {
                Ok(found) if found.record.der == der && found.record.revocation.is_some() => {
                    return Err(Stranger::Revoked);
                }
                Ok(_) | Err(crate::service::Error::NotFound) => {}
                Err(error) => return Err(Stranger::Unknown(error.to_string())),
            }
        }
        Ok(name.to_string())
    }

    fn verify(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let shown = Presented::read(own).ok_or(CertificateError::BadEncoding)?;
        let mut fingerprints = self.listed.iter().filter(|name| name.is_fingerprint());
        if fingerprints.any(|fingerprint| shown.names.contains(fingerprint)) {
            return match shown.is_valid(Timestamp::from_secs(now.as_secs())) {
                true => Ok(ClientCertVerified::assertion()),
                false => Err(CertificateError::Expired.into()),
            };
        }
        match &self.roots {
            Some(roots) => roots.verify_client_cert(own, above, now),
            None => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

/// Names of a certificate, as many as are of use to whoever reads them: it may have thousands.
fn told(names: &[OperatorName]) -> String {
    let short = |name: &OperatorName| {
        let name = name.to_string();
        match name.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name,
        }
    };
    let first: Vec<String> = names.iter().take(TOLD).map(short).collect();
    match names.len().saturating_sub(TOLD) {
        0 => first.join(", "),
        others => format!("{} and {others} more", first.join(", ")),
    }
}

impl ClientCertVerifier for Operators {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A browser offers what it has from these; with fingerprints on the list it is to offer all.
        match &self.roots {
            Some(roots) if !self.listed.iter().any(OperatorName::is_fingerprint) => {
                roots.root_hint_subjects()
            }
            Some(_) | None => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        self.verify(end_entity, intermediates, now).inspect_err(|error| {
            // Whoever reaches the port can bring this about, as often as they like: it is counted.
            tracing::debug!(%error, "a client certificate was refused on the admin listener");
            metrics().admin().refused(Reason::Kind(ErrorKind::Unauthorized));
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The listener's TLS: as the main one's, and nobody without a certificate of their own. No session is taken
/// up again: each handshake looks at the certificate.
pub fn server_config(own: Arc<OwnCertificate>, operators: Arc<Operators>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(operators)
        .with_cert_resolver(own);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_told_by_a_few_names() {
        let named = |n: usize| OperatorName::parse(&format!("n{n}.test")).unwrap();
        let names = |count: usize| (0..count).map(named).collect::<Vec<_>>();
        for (count, want) in [
            (0, ""),
            (1, "n0.test"),
            (4, "n0.test, n1.test, n2.test, n3.test"),
            (5, "n0.test, n1.test, n2.test, n3.test and 1 more"),
            (5000, "n0.test, n1.test, n2.test, n3.test and 4996 more"),
        ] {
            assert_eq!(told(&names(count)), want);
        }
        let long = OperatorName::Uri(format!("x://{}", "ä".repeat(5000)));
        assert_eq!(told(&[long]), format!("x://{}…", "ä".repeat(96)));
    }
}
