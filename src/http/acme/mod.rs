//! The ACME front end (RFC 8555).
//!
//! Departures from the RFC, each on purpose:
//! - §7.1.6 a pending authorization whose time has run out shows as `expired`.
//!
//! Choices that the RFC leaves to the server:
//! - §7.3.4 where a provisioner's `eab` is off, a binding is neither verified nor shown. A key's expiry
//!   and number of uses limit registrations; its name scope, and that it is not revoked, count for every
//!   order and every finalization of the accounts that are bound to it.
//! - §7.1.4 an authorization that a binding vouches for is valid at once and lists no challenge.
//!
//! Beyond it: renewal information and replacement (RFC 9773), profiles (draft-ietf-acme-profiles). Where
//! RFC 9773 §5 leaves it open, `replaces` wants the same account at the same provisioner and one
//! identifier in common; a refusal for another reason than `alreadyReplaced` is `malformed`, or
//! `unauthorized` for another account's certificate.
//!
//! Of RFC 8739 (automatic renewal), where it leaves the choice:
//! - §3.1.1 `lifetime-adjust` is raised to two thirds of `lifetime`, and reflected so; an end-date beyond
//!   the issuer's own end is refused; without a start-date nothing is pre-dated before finalization.
//! - §3.1.2 a cancelled order expires with its last certificate.
//! - §3.3 before the first certificate the answer is 403 `orderNotReady`; a week after the end, 404.

mod authz;
mod binding;
mod cors;
mod envelope;
mod links;
mod objects;
mod resources;
mod routes;
mod star;

use std::time::Instant;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::problem::{self, Failure};
use super::{App, Response, reply};
use crate::service;
use crate::telemetry::metrics::metrics;
use crate::telemetry::trace;
use links::Links;
use routes::Resource;

const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");

/// How the URLs of a provisioner's accounts begin, and how their hashed URIs do: what validation
/// needs of the links that this room prints.
pub fn account_prefixes(base_url: &str, provisioner: &str) -> (String, String) {
    let links = Links::new(base_url, provisioner);
    (links.accounts(), links.account_hashes())
}

/// Answers a request under `/acme/`; `rest` is the path after that.
pub(super) async fn answer<B>(app: &App, rest: &str, request: Request<B>, id: &str) -> Response
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let begun = Instant::now();
    let found = rest.split_once('/').and_then(|(name, path)| {
        let terms = app.service.provisioner(name)?;
        Some((terms, routes::parse(path)?))
    });
    let method = request.method().clone();
    // Not to OPTIONS, which asks about the resource and for nothing of it.
    let is_nonce = matches!(found, Some((_, Resource::NewNonce))) && method != Method::OPTIONS;
    let mut response = match found {
        None => problem::render_unrouted(&Failure::NoSuchResource, id),
        Some((terms, resource)) => {
            noted(&method, &terms.name, resource);
            let links = Links::new(&app.base_url, &terms.name);
            let outcome = match (&method, &resource) {
                (&Method::GET | &Method::HEAD, Resource::Directory) => Ok(objects::directory(&links, &terms)),
                (&Method::GET, Resource::NewNonce) => Ok(objects::nonce(StatusCode::NO_CONTENT)),
                (&Method::HEAD, Resource::NewNonce) => Ok(objects::nonce(StatusCode::OK)),
                (&Method::GET | &Method::HEAD, Resource::RenewalInfo(id)) => {
                    resources::renewal_info(app, &terms, *id).await
                }
                (&Method::POST, Resource::RenewalInfo(_)) => Err(Failure::Method(resource.methods())),
                (&Method::POST, Resource::NewOrder | Resource::NewAuthz | Resource::NewAccount)
                    if app.is_crowded() =>
                {
                    Err(Failure::Service(service::Error::Busy("requests under way come first")))
                }
                (&Method::GET | &Method::HEAD, Resource::StarCertificate(id)) => {
                    Box::pin(star::certificate(app, &terms, *id, None)).await
                }
                (&Method::POST, _) => resources::post(app, &terms, &links, resource, request).await,
                (&Method::OPTIONS, _) => Ok(cors::preflight(resource.methods())),
                (_, _) => Err(Failure::Method(resource.methods())),
            };
            if method != Method::OPTIONS {
                let refused = outcome.as_ref().err().map(problem::reason);
                if let Some(reason) = refused {
                    trace::note("error.type", reason.name());
                }
                let door = metrics().acme(&terms.name);
                metrics().answered(&door, resource.operation(), refused, begun.elapsed());
            }
            let mut response = outcome.unwrap_or_else(|failure| problem::render(&failure, id));
            cors::open(response.headers_mut());
            if resource != Resource::Directory
                && let Ok(link) = HeaderValue::try_from(links.index())
            {
                response.headers_mut().append(header::LINK, link);
            }
            response
        }
    };
    // Refusals too: a client that lost its last nonce has the next one at once.
    if method == Method::POST || is_nonce {
        let headers = response.headers_mut();
        if let Ok(nonce) = HeaderValue::try_from(app.service.nonces().issue()) {
            headers.insert(REPLAY_NONCE, nonce);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Tells the request's span what it is for.
fn noted(method: &Method, provisioner: &str, resource: Resource) {
    let route = resource.route();
    trace::name(|| format!("{} /acme/{{provisioner}}/{route}", super::known_method(method)));
    trace::note("http.route", format_args!("/acme/{{provisioner}}/{route}"));
    trace::note("mayfly.provisioner", provisioner);
    resource.noted();
}

/// Where a provisioner's directory is.
pub(super) fn directory_url(base_url: &str, provisioner: &str) -> String {
    Links::new(base_url, provisioner).directory()
}

/// A JSON response.
fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    // Holds the objects of an order with one name.
    let mut text = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut text, body).is_err() {
        text.clear();
    }
    reply(status, "application/json", text)
}
