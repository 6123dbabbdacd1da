//! `/metrics`: on the main listener or on one of its own, in plain HTTP, for this machine and for the
//! networks of `[metrics] allow`.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::problem::{self, Failure};
use super::{App, Peer, Response, only_get, reply, tagged};
use crate::telemetry::metrics::page::{self, Format};
use crate::telemetry::trace::{Span, Work};

/// The path.
pub(super) const PATH: &str = "/metrics";

/// Connections at once on a listener of its own: scrapers are few.
const CONNECTIONS: usize = 32;
/// Of those that are not let in and only told so: apart, so that they keep no scraper out.
const STRANGERS: usize = 8;
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

/// Places for connections on a listener of its own.
struct Places {
    scrapers: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        Self {
            scrapers: Arc::new(Semaphore::new(CONNECTIONS)),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
        }
    }

    /// A place, which whoever is let in waits for; `None`: there is none.
    async fn enter(&self, is_open: bool) -> Option<OwnedSemaphorePermit> {
        match is_open {
            true => self.scrapers.clone().acquire_owned().await.ok(),
            false => self.strangers.clone().try_acquire_owned().ok(),
        }
    }
}

/// Serves the page alone until `stop` turns true.
pub async fn serve(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let places = Places::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = tokio::select! {
                    place = places.enter(app.metrics.is_open_to(peer.ip())) => place,
                    _ = stop.wait_for(|stop| *stop) => return,
                };
                let Some(place) = place else { continue };
                let (app, mut stop) = (app.clone(), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, peer, app) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    drop(place);
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
    let whole = if app.metrics.is_open_to(peer.ip()) { TIMES.1 } else { TIMES.0 };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        let app = app.clone();
        async move { Ok::<_, Infallible>(alone(&app, peer.ip(), &request)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(TIMES.0);
    // A scraper that keeps its connection for longer opens another one.
    let served = tokio::time::timeout(whole, builder.serve_connection(TokioIo::new(stream), service));
    if let Ok(Err(error)) = served.await {
        tracing::debug!(%peer, %error, "a connection for metrics ended");
    }
}

/// On the listener of its own there is nothing else.
fn alone<B>(app: &App, peer: IpAddr, request: &Request<B>) -> Response {
    let id: Arc<str> = app.request_id().into();
    Work::of_request(id.clone(), &Span::none()).around(|| alone_as(app, peer, request, &id))
}

fn alone_as<B>(app: &App, peer: IpAddr, request: &Request<B>, id: &str) -> Response {
    let from = app.service.limits().source(peer);
    let answered = app.admit(request, from).and_then(|()| match request.uri().path() {
        PATH => answer(app, peer, request),
        _ => Err(Failure::NoSuchResource),
    });
    tagged(answered.unwrap_or_else(|failure| problem::render(&failure, id)), id)
}

#[cfg(test)]
mod tests {
    use super::super::RequestLimits;
    use super::*;
    use crate::limits::Limit;
    use crate::limits::gcra::Quota;
    use crate::service::stand::{Stand, no_limits};

    #[tokio::test]
    async fn strangers_keep_no_scraper_out() {
        let places = Places::new();
        let mut held = Vec::new();
        for _ in 0..STRANGERS {
            held.push(places.enter(false).await.unwrap());
        }
        assert!(places.enter(false).await.is_none());
        for _ in 0..CONNECTIONS {
            held.push(places.enter(true).await.unwrap());
        }
        // The next one waits until a place is free.
        let short = Duration::from_millis(10);
        assert!(tokio::time::timeout(short, places.enter(true)).await.is_err());
        held.pop();
        assert!(places.enter(true).await.is_some());
    }

    /// As on the main listener: who may read the page is not limited, and everybody else is.
    #[tokio::test]
    async fn requests_on_its_own_listener_are_limited_too() {
        let stand = Stand::new().await;
        let mut rules = no_limits();
        rules.set(Limit::NetworkRequests, Quota::new(2, Duration::from_secs(3600)));
        stand.service.limits().reload(rules);
        let limits = RequestLimits { bytes: 0, time: Duration::ZERO, under_way: 1, headers: 8, url: 64 };
        let app = App::new(stand.service.clone(), "https://ca.test".into(), limits, 0);
        let ask = |from: &str, path: &str| {
            let peer: IpAddr = from.parse().unwrap();
            let mut request = Request::get(path).body(()).unwrap();
            request.extensions_mut().insert(Peer(peer));
            alone(&app, peer, &request).status().as_u16()
        };
        let status = |from: &str, path: &str| (0..4).map(|_| ask(from, path)).collect::<Vec<_>>();
        assert_eq!(status("127.0.0.1", PATH), [200; 4]);
        assert_eq!(status("10.1.2.3", PATH), [403, 403, 429, 429]);
        assert_eq!(status("127.0.0.1", "/other"), [404, 404, 429, 429]);
        assert_eq!(ask("127.0.0.2", &format!("{PATH}?{}", "x".repeat(64))), 414);
    }

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
