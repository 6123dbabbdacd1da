//! HTTP/1.1 or HTTP/2 over TLS to one server, one connection at a time, kept while it lasts.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request, Uri, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs as provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::x509::pem;

/// Bytes of a reply's body.
const MAX_BODY: usize = 1 << 20;

/// Which HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Not an `https://` URL.
    #[error("{0} is not an https URL")]
    Url(String),
    /// The server's objects point somewhere else.
    #[error("{0} is at another server than the directory; this client talks to one")]
    Elsewhere(String),
    /// The name has no address.
    #[error("{0} has no address: {1}")]
    Resolve(String, String),
    /// The roots are not certificates.
    #[error("no root certificate: {0}")]
    Root(String),
    /// TCP.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// TLS.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// HTTP.
    #[error("the exchange failed: {0}")]
    Http(String),
    /// The reply's body is too large or did not arrive.
    #[error("the reply's body did not arrive: {0}")]
    Body(String),
    /// Took too long.
    #[error("no reply within {0:?}")]
    Timeout(Duration),
}

impl TransportError {
    /// One word for counting.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Elsewhere(_) => "elsewhere",
            Self::Resolve(..) => "resolve",
            Self::Root(_) => "root",
            Self::Connect(..) => "connect",
            Self::Tls(_) => "tls",
            Self::Http(_) => "http",
            Self::Body(_) => "body",
            Self::Timeout(_) => "timeout",
        }
    }
}

/// A server and how to reach it.
#[derive(Clone, Debug)]
pub struct Target {
    authority: String,
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    version: Version,
    timeout: Duration,
}

impl Target {
    /// The server of `url`, trusted by the PEM certificates in `roots`. Every exchange, the
    /// connecting included, has `timeout`.
    pub async fn new(
        url: &str,
        roots: &[u8],
        version: Version,
        timeout: Duration,
    ) -> Result<Self, TransportError> {
        let (authority, _) = split(url)?;
        let bad = || TransportError::Url(url.to_owned());
        let parsed: Uri = url.parse().map_err(|_| bad())?;
        let bracketed = parsed.host().ok_or_else(bad)?;
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = parsed.port_u16().unwrap_or(443);
        let resolve = |why: String| TransportError::Resolve(host.clone(), why);
        let address = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|error| resolve(error.to_string()))?
            // IPv4 first: what listens on this machine mostly listens there.
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| resolve("none found".into()))?;
        let name = match host.parse::<IpAddr>() {
            Ok(ip) => ServerName::IpAddress(ip.into()),
            Err(_) => ServerName::try_from(host.clone()).map_err(|_| bad())?,
        };
        let tls = Arc::new(config(roots, version)?);
        Ok(Self { authority: authority.to_owned(), address, name, tls, version, timeout })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn connect(&self) -> Result<Connection, TransportError> {
        let stream =
            TcpStream::connect(self.address).await.map_err(|e| TransportError::Connect(self.address, e))?;
        let _ = stream.set_nodelay(true);
        let connected = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), stream).await;
        let stream = TokioIo::new(connected.map_err(|error| TransportError::Tls(error.to_string()))?);
        let http = |error: hyper::Error| TransportError::Http(describe(&error));
        // A connection ends by its sender's end, or on an error that its sender reports.
        Ok(match self.version {
            Version::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.map_err(http)?;
                let driver = tokio::spawn(async move { drop(connection.await) });
                Connection { sender: Sender::Http1(sender), driver }
            }
            Version::Http2 => {
                let built = http2::Builder::new(TokioExecutor::new()).handshake(stream).await;
                let (sender, connection) = built.map_err(http)?;
                let driver = tokio::spawn(async move { drop(connection.await) });
                Connection { sender: Sender::Http2(sender), driver }
            }
        })
    }
}

fn config(roots: &[u8], version: Version) -> Result<ClientConfig, TransportError> {
    let root = |why: &str| TransportError::Root(why.to_owned());
    let mut store = RootCertStore::empty();
    for der in pem::parse_certificates(roots).ok_or_else(|| root("the file holds no PEM certificate"))? {
        store.add(CertificateDer::from(der)).map_err(|error| root(&error.to_string()))?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TransportError::Tls(error.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = match version {
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    };
    // ACME clients come back days later: a fresh connection is a full handshake.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Authority and path of an `https://` URL.
fn split(url: &str) -> Result<(&str, &str), TransportError> {
    let bad = || TransportError::Url(url.to_owned());
    let rest = url.strip_prefix("https://").ok_or_else(bad)?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return Err(bad());
    }
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

struct Connection {
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A reply, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in its form of seconds (RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// A connection to a server, opened when needed, and opened again when it was lost between two
/// requests.
pub struct Transport {
    target: Arc<Target>,
    open: Option<Connection>,
}

impl Transport {
    /// Without a connection yet.
    pub fn new(target: Arc<Target>) -> Self {
        Self { target, open: None }
    }

    /// Ends the connection; the next request opens another.
    pub fn close(&mut self) {
        self.open = None;
    }

    /// One exchange. `jws` makes it a POST.
    pub async fn send(
        &mut self,
        method: Method,
        url: &str,
        jws: Option<String>,
    ) -> Result<Reply, TransportError> {
        let limit = self.target.timeout;
        let outcome = match tokio::time::timeout(limit, self.exchange(method, url, jws)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(TransportError::Timeout(limit)),
        };
        // Whatever went wrong on it, a connection is not used again.
        if outcome.is_err() {
            self.open = None;
        }
        outcome
    }

    async fn exchange(
        &mut self,
        method: Method,
        url: &str,
        jws: Option<String>,
    ) -> Result<Reply, TransportError> {
        let (authority, path) = split(url)?;
        if authority != self.target.authority {
            return Err(TransportError::Elsewhere(url.to_owned()));
        }
        let version = self.target.version;
        let uri = if version == Version::Http2 { url } else { path };
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::USER_AGENT, concat!("mayfly/", env!("CARGO_PKG_VERSION")));
        if version == Version::Http1 {
            request = request.header(header::HOST, authority);
        }
        if jws.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/jose+json");
        }
        let body = Full::new(Bytes::from(jws.unwrap_or_default()));
        let request = request.body(body).map_err(|error| TransportError::Http(error.to_string()))?;
        let response = match self.ready().await? {
            Sender::Http1(sender) => sender.send_request(request).await,
            Sender::Http2(sender) => sender.send_request(request).await,
        };
        let (parts, body) = response.map_err(|error| TransportError::Http(describe(&error)))?.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| TransportError::Body(error.to_string()))?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// The open connection, or a new one if that has ended.
    async fn ready(&mut self) -> Result<&mut Sender, TransportError> {
        let usable = match self.open.as_mut().map(|open| &mut open.sender) {
            Some(Sender::Http1(sender)) => sender.ready().await.is_ok(),
            Some(Sender::Http2(sender)) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.open = None;
            let fresh = self.target.connect().await?;
            return Ok(&mut self.open.insert(fresh).sender);
        }
        match &mut self.open {
            Some(open) => Ok(&mut open.sender),
            None => Err(TransportError::Http("the connection is gone".into())),
        }
    }
}

/// hyper's message and its cause, which says more.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_split() {
        let rows = [
            ("https://a.test", Some(("a.test", "/"))),
            ("https://a.test:8443/x/y?z", Some(("a.test:8443", "/x/y?z"))),
            ("https://[::1]:9443/", Some(("[::1]:9443", "/"))),
            ("http://a.test/", None),
            ("https://", None),
            ("https:///x", None),
            ("https://u@a.test/", None),
            ("", None),
        ];
        for (url, want) in rows {
            assert_eq!(split(url).ok(), want, "{url}");
        }
    }

    #[test]
    fn retry_after_is_seconds() {
        let reply = |text: &'static str| {
            let headers =
                [(header::RETRY_AFTER, header::HeaderValue::from_static(text))].into_iter().collect();
            Reply { status: 503, headers, body: Bytes::new() }.retry_after()
        };
        assert_eq!(reply("3"), Some(Duration::from_secs(3)));
        assert_eq!(reply(" 0 "), Some(Duration::ZERO));
        for other in ["", "-1", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(reply(other), None, "{other}");
        }
    }
}
