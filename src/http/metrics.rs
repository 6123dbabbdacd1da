//! `/metrics`: on the main listener or on one of its own, in plain HTTP, for this machine and for the
//! networks of `[metrics] allow`.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::problem::{self, Failure};
use super::{App, Response, only_get, reply, tagged};
use crate::telemetry::metrics::page::{self, Format};

/// The path.
pub(super) const PATH: &str = "/metrics";

/// Connections at once on a listener of its own: scrapers are few.
const CONNECTIONS: usize = 32;
/// For a request's head to arrive, and for all of a connection.
const TIMES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));

/// Who may read the page, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Whether it has a listener of its own; the main one does not serve it then.
    pub elsewhere: bool,
    /// Beside this machine.
    pub allow: Vec<IpNet>,
    /// Whether to show what Vault has too under its names.
    pub vault_aliases: bool,
}

impl Access {
    /// Whether the main listener serves it.
    pub(super) fn is_here(&self) -> bool {
        !self.elsewhere
    }

    /// Whether that peer may read it.
    pub(super) fn is_open_to(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        peer.is_loopback() || self.allow.iter().any(|net| net.contains(&peer))
    }
}

/// Answers a request for the page.
pub(super) fn answer<B>(app: &App, peer: IpAddr, request: &Request<B>) -> Result<Response, Failure> {
    if !app.metrics.is_open_to(peer) {
        return Err(Failure::NotAllowed);
    }
    only_get(request.method())?;
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of(accept);
    let page = page::write(format, now(app), app.metrics.vault_aliases);
    let mut response = reply(StatusCode::OK, format.content_type(), page);
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

fn now(app: &App) -> page::Now {
    let mut now = app.service.metered();
    now.requests = app.limits.under_way.saturating_sub(app.under_way.available_permits());
    now
}

/// Serves the page alone until `stop` turns true.
pub async fn serve(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok(slot) = slot else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (app, mut stop) = (app.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, peer, app) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection for metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: Arc<App>) {
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(alone(&app, peer.ip(), &request)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(TIMES.0);
    // A scraper that keeps its connection for longer opens another one.
    let served = tokio::time::timeout(TIMES.1, builder.serve_connection(TokioIo::new(stream), service));
    if let Ok(Err(error)) = served.await {
        tracing::debug!(%peer, %error, "a connection for metrics ended");
    }
}

/// On the listener of its own there is nothing else.
fn alone<B>(app: &App, peer: IpAddr, request: &Request<B>) -> Response {
    let id = app.request_id();
    let answered = match request.uri().path() {
        PATH => answer(app, peer, request),
        _ => Err(Failure::NoSuchResource),
    };
    tagged(answered.unwrap_or_else(|failure| problem::render(&failure, &id)), &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_who_is_allowed() {
        let access = Access { allow: vec!["10.1.0.0/16".parse().unwrap()], ..Access::default() };
        let rows = [
            ("127.0.0.1", true),
            ("127.8.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("::", false),
            ("fe80::1", false),
        ];
        for (peer, want) in rows {
            assert_eq!(access.is_open_to(peer.parse().unwrap()), want, "{peer}");
        }
        assert!(!Access::default().is_open_to("10.1.2.3".parse().unwrap()));
    }
}
