//! Responders of the tests: raw HTTP and TLS servers on loopback addresses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Ask, Failure, FailureKind, Outcome, Persist, Rules};
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::time::Timestamp;

/// The token of all asks.
pub(crate) const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
/// The key authorization of all asks.
pub(crate) const KEY_AUTH: &str =
    "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

/// The account's URL in all asks.
pub(crate) const ACCOUNT_URL: &str = "https://ca.test/acme/acme/account/A";
/// How hashed account URIs begin in all asks.
pub(crate) const HASH_PREFIX: &str = "https://ca.test/acme/acme/account-hash/";
/// The time of all asks.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_793_318_400);

/// An ask for an identifier of either type.
pub(crate) fn ask(challenge: ChallengeKind, identifier: &str) -> Ask {
    let identifier = match identifier.parse() {
        Ok(ip) => Identifier::Ip(ip),
        Err(_) => Identifier::parse_dns(identifier).unwrap(),
    };
    let persist = Persist {
        issuer_domains: vec!["ca.test".to_owned(), "ca.example".to_owned()],
        account_hash_prefix: HASH_PREFIX.to_owned(),
        thumbprint: KEY_AUTH.split_once('.').unwrap().1.to_owned(),
    };
    Ask {
        identifier,
        challenge,
        token: TOKEN.to_owned(),
        key_authorization: KEY_AUTH.to_owned(),
        account_url: ACCOUNT_URL.to_owned(),
        persist: Some(persist),
        caa: None,
        now: NOW,
    }
}

/// Rules for a loopback world: 127.0.0.1 and ::1 are allowed, the rest of loopback is not.
pub(crate) fn rules(resolver: SocketAddr, port: u16) -> Rules {
    Rules {
        resolvers: vec![resolver],
        http_port: port,
        tls_alpn_port: port,
        allow: vec!["127.0.0.1/32".parse().unwrap(), "::1/128".parse().unwrap()],
        timeout: Duration::from_secs(5),
        ..Rules::default()
    }
}

/// The failure of an outcome that must be a failed one, of that kind.
#[track_caller]
pub(crate) fn failed(outcome: Outcome, kind: FailureKind) -> String {
    let Outcome::Failed(Failure { kind: got, detail }) = outcome else { panic!("not failed: {outcome:?}") };
    assert_eq!(got, kind, "{detail}");
    assert!(!detail.contains(KEY_AUTH), "{detail}");
    detail
}

/// A running responder; it ends with the value.
pub(crate) struct Responder {
    pub(crate) addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Responder {
    /// What it was sent, one text per request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections it accepted.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Plain HTTP on `addr` (port 0 for a free one), answering each request head as `answer` says.
    pub(crate) async fn http(addr: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(addr, None, answer).await
    }

    /// The same behind TLS.
    pub(crate) async fn tls(
        addr: &str,
        config: ServerConfig,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::start(addr, Some(TlsAcceptor::from(Arc::new(config))), answer).await
    }

    async fn start(
        addr: &str,
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, count, answer) = (requests.clone(), connections.clone(), Arc::new(answer));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (log, answer, tls) = (log.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => talk(stream, &log, &*answer).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                talk(stream, &log, &*answer).await;
                            }
                        }
                    }
                });
            }
        });
        Self { addr, requests, connections, _tasks: tasks }
    }
}

async fn talk<S>(mut stream: S, log: &Mutex<Vec<String>>, answer: &(dyn Fn(&str) -> Vec<u8> + Send + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    log.lock().unwrap().push(head.clone());
    let _ = stream.write_all(&answer(&head)).await;
    let _ = stream.shutdown().await;
}

/// A 200 with that body.
pub(crate) fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A redirect with that status.
pub(crate) fn redirect(status: u16, location: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[derive(Debug)]
struct Only(Arc<CertifiedKey>, Arc<Mutex<Vec<Option<String>>>>);

impl ResolvesServerCert for Only {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.1.lock().unwrap().push(hello.server_name().map(str::to_owned));
        Some(self.0.clone())
    }
}

/// What SNI each handshake carried.
pub(crate) type Names = Arc<Mutex<Vec<Option<String>>>>;

/// A TLS server that shows this certificate to everyone, however odd it is.
pub(crate) fn server_config(
    cert: CertificateDer<'static>,
    key: &rcgen::KeyPair,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> (ServerConfig, Names) {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let names = Names::default();
    let certified = CertifiedKey::new(vec![cert], any_supported_type(&key).unwrap());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Only(Arc::new(certified), names.clone())));
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    (config, names)
}

/// The processor time of this thread so far.
pub(crate) fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// Makes something on a thread and runtime of its own, whose time is not counted with this one's;
/// both live as long as the process.
pub(crate) fn elsewhere<T, F>(make: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            sender.send(make().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receiver.recv().unwrap()
}
