//! The ACME front end (RFC 8555).
//!
//! Departures from the RFC, each on purpose:
//! - §7.1.2.1 the account object has no `orders` URL yet; no client reads it.
//! - §7.1.6 a pending authorization whose time has run out shows as `expired`.
//! - §7.4.2 one chain is offered.
//!
//! Of RFC 8739 (automatic renewal), where it leaves the choice:
//! - §3.1.1 `lifetime-adjust` is raised to two thirds of `lifetime`, and reflected so; an end-date beyond
//!   the issuer's own end is refused; without a start-date nothing is pre-dated before finalization.
//! - §3.1.2 a cancelled order expires with its last certificate.
//! - §3.3 before the first certificate the answer is 403 `orderNotReady`; a week after the end, 404.

mod envelope;
mod links;
mod objects;
mod resources;
mod routes;
mod star;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};

use super::problem::{self, Failure};
use super::{App, Response, reply};
use crate::service;
use links::Links;
use routes::Resource;

/// Answers a request under `/acme/`; `rest` is the path after that.
pub(super) async fn answer<B>(app: &App, rest: &str, request: Request<B>, id: &str) -> Response
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let found = rest.split_once('/').and_then(|(name, path)| {
        let terms = app.service.provisioner(name)?;
        Some((terms, routes::parse(path)?))
    });
    let method = request.method().clone();
    let is_nonce = matches!(found, Some((_, Resource::NewNonce)));
    let mut response = match found {
        None => problem::render(&Failure::NoSuchResource, id),
        Some((terms, resource)) => {
            let links = Links::new(&app.base_url, &terms.name);
            let outcome = match (&method, &resource) {
                (&Method::GET | &Method::HEAD, Resource::Directory) => Ok(objects::directory(&links, &terms)),
                (&Method::GET, Resource::NewNonce) => Ok(objects::nonce(StatusCode::NO_CONTENT)),
                (&Method::HEAD, Resource::NewNonce) => Ok(objects::nonce(StatusCode::OK)),
                (&Method::POST, Resource::NewOrder | Resource::NewAccount) if app.is_crowded() => {
                    Err(Failure::Service(service::Error::Busy("requests under way come first")))
                }
                (&Method::GET | &Method::HEAD, Resource::StarCertificate(id)) => {
                    star::certificate(app, &terms, *id, None).await
                }
                (&Method::POST, _) => resources::post(app, &terms, &links, resource, request).await,
                (_, Resource::Directory | Resource::NewNonce) => Err(Failure::Method("GET, HEAD, POST")),
                (_, _) => Err(Failure::Method("POST")),
            };
            let mut response = outcome.unwrap_or_else(|failure| problem::render(&failure, id));
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
            headers.insert("replay-nonce", nonce);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
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
