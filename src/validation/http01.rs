//! http-01 (RFC 8555 §8.3).
//!
//! Every hop, redirects included, is resolved and judged on its own. No proxy is used, whatever
//! the environment says. The request is built by hand on one connection that is then closed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::dial::Host;
use super::location::{Ports, Refusal, Target};
use super::{Ask, FailureKind, Stop, Validator, quote};

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;
/// The longest body that can be a proof; a key authorization has about 90 bytes.
pub(super) const MAX_BODY: usize = 1024;
/// The longest response header.
const MAX_HEADER: usize = 16 * 1024;
/// The most header fields of a response.
const MAX_FIELDS: usize = 100;

/// What one hop answered.
pub(super) enum Reply {
    /// Status 200, and its body; `None` if that is longer than [`MAX_BODY`].
    Ok(Option<Vec<u8>>),
    /// A redirect, and its only Location.
    Redirect(Option<Vec<u8>>),
    /// Any other status.
    Other(u16),
}

impl Validator {
    /// Checks that `host` serves the key authorization.
    pub(super) async fn http01(&self, host: Host, ask: &Ask, deadline: Instant) -> Result<(), Stop> {
        let rules = self.door.rules();
        let ports = Ports { http: rules.http_port, tls: rules.tls_alpn_port };
        let mut target = Target::first(host, &ask.token, ports);
        for _ in 0..=MAX_REDIRECTS {
            let from = self.shown(&target, ask);
            target = match self.fetch(&target, ask, deadline).await? {
                Reply::Ok(body) => return judge(body.as_deref(), &from, ask),
                Reply::Other(status) => {
                    return Err(Stop::failed(
                        FailureKind::Unauthorized,
                        format!(
                            "{from} answered with status {status}, not 200; does the client's responder serve this \
                             file on this host?"
                        ),
                    ));
                }
                Reply::Redirect(location) => location
                    .as_deref()
                    .ok_or(Refusal::NoLocation)
                    .and_then(|location| target.follow(location, ports))
                    .map_err(|refusal| {
                        Stop::failed(
                            FailureKind::IncorrectResponse,
                            format!("{from} redirects, which is not followed: {refusal}"),
                        )
                    })?,
            };
        }
        Err(Stop::failed(
            FailureKind::IncorrectResponse,
            format!("more than {MAX_REDIRECTS} redirects, the last to {}", self.shown(&target, ask)),
        ))
    }

    /// A URL as details show it. The path of a redirect is the target's to choose, so it is cut.
    fn shown(&self, target: &Target, ask: &Ask) -> String {
        let scheme = if target.tls { "https" } else { "http" };
        let path = match target.path.strip_prefix("/.well-known/acme-challenge/") {
            Some(token) if token == ask.token => target.path.clone(),
            _ => quote(target.path.as_bytes(), &ask.key_authorization),
        };
        format!("{scheme}://{}{path}", target.authority())
    }

    async fn fetch(&self, target: &Target, ask: &Ask, deadline: Instant) -> Result<Reply, Stop> {
        let (stream, peer) = self.door.open(&target.host, target.port, "http-01", deadline).await?;
        let from = format!("{} ({peer})", self.shown(target, ask));
        let exchange = async {
            if target.tls {
                let stream = self.https(target, stream, peer).await?;
                exchange(stream, target, &from).await
            } else {
                exchange(Unshut(stream), target, &from).await
            }
        };
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
            Err(Stop::failed(
                FailureKind::Connection,
                format!("{from} gave no complete answer in time; is the responder overloaded or stuck?"),
            ))
        })
    }

    async fn https(
        &self,
        target: &Target,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Stop> {
        let name = match &target.host {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned())
                .map_err(|_| Stop::failed(FailureKind::Tls, format!("{name} cannot be sent as SNI")))?,
        };
        TlsConnector::from(self.tls.redirect.clone()).connect(name, stream).await.map_err(|error| {
            Stop::failed(
                FailureKind::Tls,
                format!("a redirect leads to https on {peer}, whose TLS handshake failed: {error}"),
            )
        })
    }
}

/// One request and its answer on a fresh connection.
pub(super) async fn exchange<S>(stream: S, target: &Target, from: &str) -> Result<Reply, Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error: hyper::Error| http_stop(from, &error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER)
        .max_headers(MAX_FIELDS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = request(target)?;
    let mut answer = std::pin::pin!(async {
        let response = sender.send_request(request).await?;
        read(response).await
    });
    // The connection is driven here and not on a task of its own, so that dropping the validation
    // closes it.
    let mut connection = std::pin::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            reply = &mut answer => return reply.map_err(broken),
            _ = &mut connection, if open => open = false,
        }
    }
}

/// A connection that is closed at its end and not shut down before: hyper would do both.
struct Unshut(TcpStream);

impl AsyncRead for Unshut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Unshut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn request(target: &Target) -> Result<Request<Empty<Bytes>>, Stop> {
    Request::get(&target.path)
        .header(HOST, target.authority())
        .header(USER_AGENT, concat!("mayfly/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| {
            Stop::failed(FailureKind::IncorrectResponse, "a redirect leads to a URL that cannot be sent")
        })
}

/// Bodies of anything but a 200 are not read: they cannot be the proof.
async fn read(response: Response<Incoming>) -> Result<Reply, hyper::Error> {
    match response.status().as_u16() {
        200 => Ok(Reply::Ok(body(response.into_body()).await?)),
        301 | 302 | 303 | 307 | 308 => {
            let mut locations = response.headers().get_all(LOCATION).iter();
            let only = locations.next().filter(|_| locations.next().is_none());
            Ok(Reply::Redirect(only.map(|location| location.as_bytes().to_vec())))
        }
        status => Ok(Reply::Other(status)),
    }
}

async fn body(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let mut bytes = Vec::new();
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Ok(None);
    }
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > MAX_BODY {
                return Ok(None);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Some(bytes))
}

pub(super) fn judge(body: Option<&[u8]>, from: &str, ask: &Ask) -> Result<(), Stop> {
    let Some(body) = body else {
        return Err(Stop::failed(
            FailureKind::IncorrectResponse,
            format!("{from} answered with more than {MAX_BODY} bytes; a key authorization has about 90"),
        ));
    };
    // RFC 8555 §8.3: whitespace at the end is to be ignored.
    let content = body.trim_ascii_end();
    if content == ask.key_authorization.as_bytes() {
        return Ok(());
    }
    Err(Stop::failed(
        FailureKind::Unauthorized,
        format!(
            "{from} answered with other content than the key authorization: \"{}\"; is this the account's own \
             responder, and the newest challenge?",
            quote(content, &ask.key_authorization)
        ),
    ))
}

fn http_stop(from: &str, error: &hyper::Error) -> Stop {
    if error.is_parse() || error.is_parse_too_large() {
        return Stop::failed(
            FailureKind::IncorrectResponse,
            format!("{from} does not answer in HTTP/1.1 within bounds ({error}); what listens on that port?"),
        );
    }
    Stop::failed(
        FailureKind::Connection,
        format!("the connection to {from} broke off ({error}); did the responder stop?"),
    )
}

#[cfg(test)]
mod tests;
