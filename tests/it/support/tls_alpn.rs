//! A responder for tls-alpn-01, right or wrong in whatever way a test wants.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the responder shows.
pub struct Proof {
    pub names: Vec<String>,
    pub digest: Vec<u8>,
    pub oid: Vec<u64>,
    pub critical: bool,
    pub protocol: Option<Vec<u8>>,
}

impl Proof {
    /// The right one for a name and a key authorization.
    pub fn new(name: &str, key_authorization: &str) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_authorization.as_bytes());
        Self {
            names: vec![name.to_owned()],
            digest: digest.as_ref().to_vec(),
            oid: vec![1, 3, 6, 1, 5, 5, 7, 1, 31],
            critical: true,
            protocol: Some(b"acme-tls/1".to_vec()),
        }
    }

    fn config(&self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        let content = [&[4, u8::try_from(self.digest.len()).unwrap()][..], &self.digest].concat();
        let mut extension = CustomExtension::from_oid_content(&self.oid, content);
        extension.set_criticality(self.critical);
        params.custom_extensions.push(extension);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let signer = provider
            .key_provider
            .load_private_key(PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let shown = Shown(Arc::new(CertifiedKey::new(vec![certificate], signer)));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = self.protocol.iter().cloned().collect();
        config
    }
}

/// One certificate whatever is asked for; rustls itself would not show one with an unknown critical
/// extension.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// The running responder; it stops, and its port is free, on drop.
pub struct TlsAlpn {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TlsAlpn {
    pub fn start(address: Ipv4Addr, port: u16, proof: &Proof) -> Self {
        let listener = TcpListener::bind((address, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (config, stop) = (Arc::new(proof.config()), Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((tcp, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(2));
                    continue;
                };
                tcp.set_nonblocking(false).unwrap();
                tcp.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let session = ServerConnection::new(config.clone()).unwrap();
                // Ends when the other side has seen enough, or does not like what it sees.
                let _ = StreamOwned::new(session, tcp).read(&mut [0; 1]);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for TlsAlpn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
