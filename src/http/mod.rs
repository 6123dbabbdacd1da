//! Everything that serves HTTP.
//!
//! hyper directly, without a framework: the routes are few and fixed, and a table of ours can be
//! read whole.

pub mod acme;
pub mod problem;
pub mod server;
pub mod status;
pub mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};

use crate::service::Service;
use problem::Failure;

/// A complete response.
pub type Response = hyper::Response<Full<Bytes>>;

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Most bytes of a body.
    pub body: usize,
    /// Most requests under way at once.
    pub under_way: usize,
}

/// A request under way; counts until dropped.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the handlers work with.
pub struct App {
    /// The verbs.
    pub service: Arc<Service>,
    /// `https://HOST[:PORT]`; every URL handed out starts so, whatever Host a client sends.
    pub base_url: String,
    /// Root and intermediate certificates for download.
    pub trust: status::Trust,
    /// Limits of one request and of all.
    pub limits: RequestLimits,
    under_way: AtomicUsize,
    requests: AtomicU64,
    boot: u32,
    readiness: status::Readiness,
}

impl App {
    /// Joins the parts; `boot` sets this run's request ids apart from the last one's.
    pub fn new(
        service: Arc<Service>,
        base_url: String,
        trust: status::Trust,
        limits: RequestLimits,
        boot: u32,
    ) -> Self {
        Self {
            service,
            base_url,
            trust,
            limits,
            under_way: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            boot,
            readiness: status::Readiness::default(),
        }
    }

    /// An id that ties a reply to the log.
    fn request_id(&self) -> String {
        format!("{:08x}-{:x}", self.boot, self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a request in, or sheds it: past the limit everything, past half of it what would begin
    /// new work, so that what was begun gets finished. Refusing costs next to nothing, since it
    /// comes before the body is read.
    fn admit(&self, begins_work: bool) -> Result<UnderWay<'_>, Failure> {
        let limit = if begins_work { self.limits.under_way / 2 } else { self.limits.under_way };
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let counted = UnderWay(&self.under_way);
        if before < limit { Ok(counted) } else { Err(Failure::Overloaded) }
    }

    /// Answers one request, whatever it is.
    pub async fn answer<B>(&self, request: Request<B>) -> Response
    where
        B: hyper::body::Body + Send + Unpin,
        B::Data: Send,
        B::Error: std::fmt::Display,
    {
        let id = self.request_id();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answered = match path.strip_prefix("/acme/") {
            Some(rest) => acme::answer(self, rest, request, &id).await,
            None => match status::answer(self, &path, &method).await {
                Ok(response) => response,
                Err(failure) => problem::render(&failure, &id),
            },
        };
        let mut response = answered;
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        tracing::debug!(request = id, %method, path, status = response.status().as_u16(), "request");
        response
    }
}

/// A response with a body of that type.
fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = hyper::Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// GET and HEAD only.
fn only_get(method: &Method) -> Result<(), Failure> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Failure::Method("GET, HEAD")) }
}
