//! A command to a running CA, through its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::wire::admin::Problem;

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
    /// The exchange broke off, or what came is not what should come.
    #[error("the exchange with the CA failed: {0}")]
    Exchange(String),
    /// The CA's answer is no.
    #[error("{}", .0.detail)]
    Refused(Problem),
}

/// Sends one request, and reads its answer.
pub async fn call<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T, AdminError> {
    let exchanged = tokio::time::timeout(TIME, exchange(socket, method, path, body)).await;
    let (success, bytes) = exchanged.map_err(|_| AdminError::Exchange("it took too long".into()))??;
    let broken =
        |error: serde_json::Error| AdminError::Exchange(format!("its answer does not read: {error}"));
    if success {
        serde_json::from_slice(&bytes).map_err(broken)
    } else {
        Err(AdminError::Refused(serde_json::from_slice(&bytes).map_err(broken)?))
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<(bool, Bytes), AdminError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            AdminError::NotRunning(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => AdminError::Forbidden(socket.to_owned()),
        _ => AdminError::Connect { path: socket.to_owned(), error },
    })?;
    let failed = |error: &dyn std::fmt::Display| AdminError::Exchange(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    let mut bytes = Vec::new();
    if let Some(body) = body {
        bytes = serde_json::to_vec(body).map_err(|e| failed(&e))?;
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(Bytes::from(bytes))).map_err(|e| failed(&e))?;
    let reply = sender.send_request(request).await.map_err(|e| failed(&e))?;
    let success = reply.status().is_success();
    let bytes = Limited::new(reply.into_body(), MAX_BODY).collect().await.map_err(|e| failed(&e))?.to_bytes();
    driver.abort();
    Ok((success, bytes))
}
