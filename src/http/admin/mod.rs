//! The admin API: HTTP and JSON for the operator's commands to a running CA, on a Unix socket and, if that is
//! configured, on a listener of its own.
//!
//! Who may open the socket ([`socket`] sees to who that is), or shows a certificate that is on the list
//! ([`operators`]), may do everything it offers. A new resource
//! is a variant of `routes::Resource`, a row of `routes::parse`, an arm of `answer` and a path of
//! `openapi.json`; its objects are in [`crate::wire::admin`], and what it does is a verb of the service.

mod campaigns;
mod certificates;
mod configuration;
mod eab;
mod events;
mod fleet;
mod keys;
pub mod listener;
pub mod operators;
mod parameters;
mod problem;
mod receivers;
mod refusals;
mod refused;
mod rotations;
mod routes;
pub mod socket;
mod sparing;

use std::time::Instant;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::de::DeserializeOwned;

use self::problem::Failure;
use self::routes::Resource;
use super::dashboard::{self, Viewer};
use super::{App, Response, reply, tagged};
use crate::acme::error::ErrorKind;
use crate::audit::Actor;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::{Operation, Reason};
use crate::telemetry::trace;

/// What is here, for people and their tools.
const OPEN_API: &str = include_str!("openapi.json");

/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;

/// Answers one request of somebody who may ask.
pub(super) async fn answer<B>(app: &App, request: Request<B>, id: &str) -> Response
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Instant::now();
    let response = match dispatch(app, request, id).await {
        Ok(response) => response,
        Err(failure) => problem::render(&failure, id),
    };
    let refused = match response.status() {
        status if status.is_server_error() => Some(Reason::Kind(ErrorKind::ServerInternal)),
        status if status.is_client_error() => Some(Reason::Kind(ErrorKind::Malformed)),
        _ => None,
    };
    metrics().answered(&metrics().admin(), Operation::Command, refused, begun.elapsed());
    tracing::debug!(%method, path, status = response.status().as_u16(), "admin request");
    private(tagged(response, id))
}

/// Answers one request of somebody who may not.
fn refuse(id: &str) -> Response {
    private(tagged(problem::render(&Failure::Forbidden, id), id))
}

async fn dispatch<B>(app: &App, request: Request<B>, id: &str) -> Result<Response, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let (mut head, body) = request.into_parts();
    let by: Option<Actor> = head.extensions.remove();
    let by = by.as_ref();
    if head.uri.path() == "/" {
        return Ok(dashboard::from_root());
    }
    if dashboard::is_here(head.uri.path()) {
        return Ok(dashboard::answer(app, Viewer::Operator, &head, id).await);
    }
    let resource = routes::parse(head.uri.path()).ok_or(Failure::NoSuchResource)?;
    noted(&head.method, head.uri.path());
    let query = head.uri.query();
    // Of a method that is none of the resource's, that is said first.
    let takes_none = match head.method {
        Method::GET => !resource.takes_query(),
        Method::POST => {
            !resource.takes_query() || matches!(resource, Resource::EabKeys | Resource::BlockedKeys)
        }
        _ => false,
    };
    if query.is_some() && takes_none {
        return Err(Failure::Malformed("query: this resource takes none".into()));
    }
    match (resource, &head.method) {
        (Resource::EabKeys, &Method::GET) => eab::list(app, query).await,
        (Resource::EabKeys, &Method::POST) => eab::create(app, by, read(&head.headers, body).await?).await,
        (Resource::EabKeys, _) => Err(Failure::Method("GET, POST")),
        (Resource::EabRevocation(kid), &Method::POST) => eab::revoke(app, by, kid).await,
        (Resource::EabRevocation(_), _) => Err(Failure::Method("POST")),
        (Resource::BlockedKeys, &Method::GET) => keys::list(app, query).await,
        (Resource::BlockedKeys, &Method::POST) => {
            keys::block(app, by, read(&head.headers, body).await?).await
        }
        (Resource::BlockedKeys, _) => Err(Failure::Method("GET, POST")),
        (Resource::Unblocking(key), &Method::POST) => keys::unblock(app, by, key).await,
        (Resource::Unblocking(_), _) => Err(Failure::Method("POST")),
        (Resource::Certificates, &Method::GET) => certificates::list(app, query).await,
        (Resource::Certificate(serial), &Method::GET) => certificates::show(app, serial).await,
        (Resource::PolicyRefusals, &Method::GET) => refusals::list(app, query).await,
        (Resource::RefusedRequests, &Method::GET) => refused::list(app, query).await,
        (Resource::AuditEvents, &Method::GET) => events::list(app, query).await,
        (Resource::Configurations, &Method::GET) => configuration::list(app).await,
        (Resource::Configurations, &Method::POST) => {
            configuration::apply(app, by, read(&head.headers, body).await?).await
        }
        (Resource::Configurations, _) => Err(Failure::Method("GET, POST")),
        (Resource::Configuration(number), &Method::GET) => configuration::show(app, number).await,
        (Resource::Configuration(_), _) => Err(Failure::Method("GET")),
        (Resource::Campaigns(which), _) => campaigns::answer(app, (which, by), &head, body).await,
        (Resource::OpenApi, &Method::GET) => Ok(reply(StatusCode::OK, "application/json", OPEN_API)),
        (Resource::Rotations, &Method::GET) => rotations::list(app),
        (Resource::Rotations, &Method::POST) => rotations::ask(app, &read(&head.headers, body).await?),
        (Resource::Rotations, _) => Err(Failure::Method("GET, POST")),
        (Resource::Fleet, &Method::GET) => fleet::summary(app),
        (Resource::Identities, &Method::GET) => fleet::list(app, query).await,
        (Resource::Identity(id), &Method::GET) => fleet::show(app, &id).await,
        (Resource::Retirement, &Method::POST) => {
            fleet::retire(app, by, read(&head.headers, body).await?).await
        }
        (Resource::Retirement, _) => Err(Failure::Method("POST")),
        (Resource::Receivers, &Method::GET) => receivers::list(app),
        (Resource::Receivers, _) => Err(Failure::Method("GET")),
        (Resource::ReceiverTest, &Method::POST) => receivers::test(app).await,
        (Resource::ReceiverTest, _) => Err(Failure::Method("POST")),
        (
            Resource::Certificates
            | Resource::Certificate(_)
            | Resource::Fleet
            | Resource::Identities
            | Resource::Identity(_)
            | Resource::PolicyRefusals
            | Resource::RefusedRequests
            | Resource::AuditEvents
            | Resource::OpenApi,
            _,
        ) => Err(Failure::Method("GET")),
    }
}

/// Tells the request's span what it is for: the collection that a path, known as a resource's, is of.
fn noted(method: &Method, path: &str) {
    let collection = path.match_indices('/').nth(2).map_or(path, |(end, _)| &path[..end]);
    trace::name(|| format!("{} {collection}", super::known_method(method)));
    trace::note("http.route", collection);
}

/// Reads a JSON body, which must have arrived within the connection's time.
async fn read<T, B>(headers: &header::HeaderMap, body: B) -> Result<T, Failure>
where
    T: DeserializeOwned,
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let json = HeaderValue::from_static("application/json");
    if headers.get(header::CONTENT_TYPE) != Some(&json) {
        return Err(Failure::ContentType);
    }
    let body = body.map_err(|error| std::io::Error::other(error.to_string()));
    let bytes = match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Failure::TooLarge(MAX_BODY)),
        Err(_) => return Err(Failure::Malformed("the body did not arrive completely".into())),
    };
    // serde would take an array for a struct, member by member.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::Malformed("body: must be a JSON object".into()));
    }
    serde_json::from_slice(&bytes).map_err(|error| Failure::Malformed(format!("body: {error}")))
}

/// A JSON response.
fn json(status: StatusCode, body: &impl serde::Serialize) -> Result<Response, Failure> {
    let text = serde_json::to_vec(body)
        .map_err(|error| Failure::Service(crate::service::Error::Internal(error.to_string())))?;
    Ok(reply(status, "application/json", text))
}

fn private(mut response: Response) -> Response {
    // Assets of the dashboard say otherwise.
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
