//! The listener: accepts, shakes hands, serves HTTP/1.1 and HTTP/2, drains.
//!
//! Every wait for a client has an end: the handshake, the request's head, its body, the reply.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::problem::{self, Failure};
use super::{App, Response};

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait in the kernel's queue.
    pub connections: usize,
    /// For a request to arrive completely and be answered, and for a kept connection to stay idle.
    pub request: Duration,
    /// For requests under way when the server stops.
    pub drain: Duration,
}

/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;

/// Serves until `stop` turns true, then drains.
pub async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    app: Arc<App>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = stopped(&mut stop) => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (tls, app, stop) = (tls.clone(), app.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, peer, tls, app, limits, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.drain, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("stopping with requests still under way");
    }
}

/// Waits until the server is to stop. A channel whose sender is gone says so too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    app: Arc<App>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    // Replies are small and whole; waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    // Each stage's state in a box of its own: the task of an idle connection, and there may be
    // thousands, is then as large as what it needs.
    let stream = match tokio::time::timeout(HANDSHAKE, Box::pin(tls.accept(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            return;
        }
    };
    let served = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(serve_http2(stream, app, limits, stop)).await
    } else {
        Box::pin(serve_http1(stream, app, limits, stop)).await
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn serve_http1(
    stream: TlsStream<TcpStream>,
    app: Arc<App>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(app.clone(), limits.request, request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.request).max_buf_size(HEAD);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        served = connection.as_mut() => served,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn serve_http2(
    stream: TlsStream<TcpStream>,
    app: Arc<App>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| answer(app.clone(), limits.request, request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD as u32)
        .keep_alive_interval(limits.request)
        .keep_alive_timeout(HANDSHAKE);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        served = connection.as_mut() => served,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn answer(app: Arc<App>, limit: Duration, request: Request<Incoming>) -> Result<Response, Infallible> {
    let work = tokio::spawn({
        let app = app.clone();
        async move { app.answer(request).await }
    });
    // In a task of its own: a client that hangs up does not stop a change half way, and a panic
    // ends one request instead of a connection.
    let response = match tokio::time::timeout(limit, work).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            tracing::error!(%error, "a request handler failed");
            problem::render(&Failure::Service(crate::service::Error::Internal(error.to_string())), "-")
        }
        Err(_) => {
            let mut response = problem::render(&Failure::Timeout, "-");
            response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
            response
        }
    };
    Ok(response)
}
