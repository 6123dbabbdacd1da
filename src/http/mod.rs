//! Everything that serves HTTP.
//!
//! hyper directly, without a framework: the routes are few and fixed, and a table of ours can be
//! read whole.

pub mod acme;
pub mod admin;
mod body;
pub mod dashboard;
mod host;
mod line;
pub mod metrics;
pub mod problem;
pub mod reconfigure;
mod room;
pub mod server;
pub mod status;
pub mod tls;
pub mod workers;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use tokio::sync::{Semaphore, watch};

use crate::audit::Actor;
use crate::audit::configuration::How;
use crate::limits::{Limit, Source};
use crate::service::{self, Service};
pub use body::Body;
use dashboard::Dashboard;
use problem::Failure;
pub use reconfigure::{Applied, Check, NotApplied, Reconfigure};

/// A response.
pub type Response = hyper::Response<Body>;

/// Limits of one request, and of all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Most bytes of a body.
    pub bytes: usize,
    /// Until the last of them has arrived.
    pub time: Duration,
    /// Requests at once. A handler outlives a client that gives up, so over a store that hangs the
    /// limit of connections alone would bound nothing.
    pub under_way: usize,
    /// Most header fields.
    pub headers: usize,
    /// Most bytes of path and query.
    pub url: usize,
}

/// Whom a request comes from; the listener puts it with the request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What the handlers work with.
pub struct App {
    /// The verbs.
    pub service: Arc<Service>,
    /// `https://HOST[:PORT]`; every URL handed out starts so, whatever Host a client sends.
    pub base_url: String,
    /// What requests may cost.
    pub limits: RequestLimits,
    metrics: metrics::Access,
    dashboard: Dashboard,
    requests: AtomicU64,
    under_way: Arc<Semaphore>,
    boot: u32,
    readiness: status::Readiness,
    reconfigure: OnceLock<Arc<dyn Reconfigure>>,
}

impl App {
    /// Joins the parts; `boot` sets this run's request ids apart from the last one's.
    pub fn new(service: Arc<Service>, base_url: String, limits: RequestLimits, boot: u32) -> Self {
        // Streams of it end at once: nobody has said when the server stops.
        let dashboard = Dashboard::new(service.clone(), false, watch::channel(false).1);
        Self {
            service,
            base_url,
            limits,
            metrics: metrics::Access::default(),
            dashboard,
            requests: AtomicU64::new(0),
            under_way: Arc::new(Semaphore::new(limits.under_way)),
            boot,
            readiness: status::Readiness::default(),
            reconfigure: OnceLock::new(),
        }
    }

    /// Says who puts the configuration file into force when the operator asks; the first one stays.
    pub fn reconfigured_by(&self, who: Arc<dyn Reconfigure>) {
        let _ = self.reconfigure.set(who);
    }

    /// Puts the configuration file into force.
    async fn reconfigure(&self, how: How, by: Option<Actor>, check: Check) -> Result<Applied, NotApplied> {
        match self.reconfigure.get() {
            Some(who) => who.clone().reconfigure(how, by, check).await,
            None => Err(service::Error::Internal("nobody here knows the configuration file".into()).into()),
        }
    }

    /// Who may read `/metrics`, and where.
    pub fn with_metrics(self, metrics: metrics::Access) -> Self {
        Self { metrics, ..self }
    }

    /// The dashboard, and to whom it is shown here.
    pub fn with_dashboard(self, dashboard: Dashboard) -> Self {
        Self { dashboard, ..self }
    }

    /// An id that ties a reply to the log.
    pub fn request_id(&self) -> String {
        let mut id = String::with_capacity(8 + 1 + 16);
        let _ = write!(id, "{:08x}-{:x}", self.boot, self.requests.fetch_add(1, Ordering::Relaxed));
        id
    }

    /// Whether new orders and accounts are to wait: with half of the places taken, what was begun
    /// gets finished first, or under overload nothing would be.
    fn is_crowded(&self) -> bool {
        self.under_way.available_permits() < self.limits.under_way / 2
    }

    /// Answers one request, whatever it is, under an id from [`App::request_id`].
    pub async fn answer<B>(&self, mut request: Request<B>, id: &str) -> Response
    where
        B: hyper::body::Body + Send + Unpin,
        B::Data: Send,
        B::Error: std::fmt::Display,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let peer = peer_of(&request);
        let source = self.service.limits().source(peer);
        request.extensions_mut().insert(source);
        let answered = match (self.admit(&request, source), path.strip_prefix("/acme/")) {
            (Ok(()), Some(rest)) => acme::answer(self, rest, request, id).await,
            (Ok(()), None) if path == metrics::PATH && self.metrics.is_here() => {
                match metrics::answer(self, peer, &request) {
                    Ok(response) => response,
                    Err(failure) => problem::render_unrouted(&failure, id),
                }
            }
            (Ok(()), None) => {
                let head = request.into_parts().0;
                match dashboard::on_loopback(self, peer, &head, id).await {
                    Some(response) => response,
                    None => match status::answer(self, &head).await {
                        Ok(response) => response,
                        Err(failure) => problem::render_unrouted(&failure, id),
                    },
                }
            }
            (Err(failure), _) => problem::render_unrouted(&failure, id),
        };
        let response = tagged(answered, id);
        tracing::debug!(%peer, %method, path, status = response.status().as_u16(), "request");
        response
    }

    /// What holds for every request, before anything is read or done for it.
    fn admit<B>(&self, request: &Request<B>, from: Source) -> Result<(), Failure> {
        if request.uri().path_and_query().is_some_and(|path| path.as_str().len() > self.limits.url) {
            return Err(Failure::LongUrl(self.limits.url));
        }
        if request.headers().len() > self.limits.headers {
            return Err(Failure::ManyHeaders(self.limits.headers));
        }
        let path = request.uri().path();
        if status::is_probe(path) || (path == metrics::PATH && self.metrics.is_open_to(peer_of(request))) {
            return Ok(());
        }
        let now = self.service.now();
        let taken = self.service.limits().take(Limit::NetworkRequests, &from.network, &from, now);
        taken.map_err(|refused| Failure::Service(service::Error::Limited(refused)))
    }
}

/// Whom a request comes from; one without a peer, which no listener of ours lets through, is of a network
/// of its own.
fn peer_of<B>(request: &Request<B>) -> IpAddr {
    request.extensions().get().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |Peer(ip)| *ip)
}

/// A method as a trace names it: anybody can make up another.
fn known_method(method: &Method) -> &str {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::OPTIONS | Method::PUT | Method::DELETE => {
            method.as_str()
        }
        _ => "_OTHER",
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Puts the request's id on a response.
fn tagged(mut response: Response, id: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A response with a body of that type.
fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// GET and HEAD only.
fn only_get(method: &Method) -> Result<(), Failure> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Failure::Method("GET, HEAD")) }
}
