//! A command to a running CA, through its admin socket or its admin listener.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs as provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::wire::admin::Problem;
use crate::x509::pem;

/// Bytes of a reply's body.
const MAX_BODY: usize = 16 << 20;
/// For one command, all in all: longer than the server takes.
const TIME: Duration = Duration::from_secs(100);

/// Why a command came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No process listens.
    #[error("no CA answers at {}", .0.display())]
    NotRunning(PathBuf),
    /// The socket is another user's.
    #[error("{} is not for this user", .0.display())]
    Forbidden(PathBuf),
    /// The socket does not work.
    #[error("cannot reach the CA at {}: {error}", path.display())]
    Connect {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The listener cannot be reached, or is not the CA's.
    #[error("cannot reach the CA at {url}: {why}")]
    Remote {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// The exchange broke off, or what came is not what should come.
    #[error("the exchange with the CA failed: {0}")]
    Exchange(String),
    /// The CA's answer is no.
    #[error("{}", .0.detail)]
    Refused(Problem),
}

/// Where a running CA is commanded.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// On its Unix socket.
    Socket(PathBuf),
    /// On its admin listener.
    Listener(Listener),
}

/// An admin listener, and who comes to it.
#[derive(Clone, Debug)]
pub struct Listener {
    url: String,
    authority: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
}

impl Listener {
    /// At `https://HOST[:PORT]`, known by the PEM certificates `roots`; `chain` and `key` are the caller's
    /// own, in PEM too. The error says what is wrong with which.
    pub fn new(url: &str, roots: &[u8], chain: &[u8], key: &[u8]) -> Result<Self, String> {
        let bad = || format!("{url} is not https://HOST:PORT");
        let authority =
            url.strip_prefix("https://").map(|rest| rest.trim_end_matches('/')).ok_or_else(bad)?;
        let parsed: hyper::http::uri::Authority = authority.parse().map_err(|_| bad())?;
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| bad())?;
        let mut store = RootCertStore::empty();
        let certificates = |what: &str, text: &[u8]| {
            pem::parse_certificates(text)
                .ok_or_else(|| format!("{what} has no PEM certificate, or a broken one"))
        };
        for der in certificates("the root's file", roots)? {
            store.add(CertificateDer::from(der)).map_err(|error| format!("the root: {error}"))?;
        }
        let chain = certificates("the client certificate's file", chain)?;
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "the client key's file has no private key in PEM, or it is encrypted".to_owned())?;
        let tls = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| error.to_string())?
            .with_root_certificates(store)
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the client certificate and its key: {error}"))?;
        let authority = authority.to_owned();
        Ok(Self { url: url.to_owned(), authority, name, tls: Arc::new(tls) })
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> AdminError {
        AdminError::Remote { url: self.url.clone(), why: why.to_string() }
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, AdminError> {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { self.authority.clone() } else { format!("{}:443", self.authority) };
        let stream = TcpStream::connect(address).await.map_err(|error| self.failed(&error))?;
        let connecting = TlsConnector::from(self.tls.clone()).connect(self.name.clone(), stream);
        connecting.await.map_err(|error| self.failed(&error))
    }
}

/// Sends one request through a socket, and reads its answer.
pub async fn call<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T, AdminError> {
    call_at(&Endpoint::Socket(socket.to_owned()), method, path, body).await
}

/// Sends one request, and reads its answer.
pub async fn call_at<T: DeserializeOwned>(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T, AdminError> {
    decoded(&ask(endpoint, method, path, body.map(encoded).transpose()?).await?)
}

/// A body in JSON, as [`ask`] takes it.
pub fn encoded(body: &impl Serialize) -> Result<Vec<u8>, AdminError> {
    serde_json::to_vec(body).map_err(|error| AdminError::Exchange(error.to_string()))
}

/// An answer of [`ask`], read.
pub fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(bytes)
        .map_err(|error| AdminError::Exchange(format!("its answer does not read: {error}")))
}

/// Sends one request, whose body is JSON, and gives the JSON of its answer. Knows no types of either, so that
/// the exchange is compiled once, not for every command.
pub async fn ask(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<Bytes, AdminError> {
    let exchanged = tokio::time::timeout(TIME, exchange(endpoint, method, path, body)).await;
    let (success, bytes) = exchanged.map_err(|_| AdminError::Exchange("it took too long".into()))??;
    if success { Ok(bytes) } else { Err(AdminError::Refused(decoded(&bytes)?)) }
}

async fn exchange(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<Vec<u8>>,
) -> Result<(bool, Bytes), AdminError> {
    let failed = |error: &dyn std::fmt::Display| AdminError::Exchange(error.to_string());
    let host = match endpoint {
        Endpoint::Socket(_) => "localhost",
        Endpoint::Listener(listener) => &listener.authority,
    };
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(body.unwrap_or_default()))).map_err(|e| failed(&e))?;
    let sent = match endpoint {
        Endpoint::Socket(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    AdminError::NotRunning(path.to_owned())
                }
                io::ErrorKind::PermissionDenied => AdminError::Forbidden(path.to_owned()),
                _ => AdminError::Connect { path: path.to_owned(), error },
            })?;
            send(stream, request).await
        }
        // With TLS 1.3 it is heard only here that the certificate was refused.
        Endpoint::Listener(listener) => send(listener.connect().await?, request).await,
    };
    sent.map_err(|error| failed(&error))
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(bool, Bytes), String> {
    let failed = |error: hyper::Error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let reply = sender.send_request(request).await.map_err(failed)?;
    let success = reply.status().is_success();
    let body = Limited::new(reply.into_body(), MAX_BODY).collect().await;
    driver.abort();
    Ok((success, body.map_err(|error| error.to_string())?.to_bytes()))
}
