//! Every failure on the admin socket → status and problem document (RFC 9457). No match here has a
//! wildcard arm.
//!
//! A fault of ours shows a request id; the log has the rest.

use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use super::super::{NotApplied, Response, reply};
use super::operators::Stranger;
use crate::authority::rotation::NotYet;
use crate::service;
use crate::storage::StoreError;
use crate::wire::admin as wire;

/// Why a request got no answer of its own kind.
#[derive(Debug)]
pub(super) enum Failure {
    /// A verb refused or failed.
    Service(service::Error),
    /// The other side is somebody else's process.
    Forbidden,
    /// The other side's certificate does not let it in; why.
    Stranger(Stranger),
    /// A browser sends it in the name of another site's page.
    OtherOrigin,
    /// Nothing has that path.
    NoSuchResource,
    /// The path has other methods; which.
    Method(&'static str),
    /// Not `application/json`.
    ContentType,
    /// The body is larger than so many bytes.
    TooLarge(usize),
    /// What does not read, and why.
    Malformed(String),
    /// The request took too long.
    Timeout,
    /// A configuration was not put into force.
    NotApplied(NotApplied),
    /// A rotation's step may not be taken yet.
    NotYet(NotYet),
}

impl From<service::Error> for Failure {
    fn from(error: service::Error) -> Self {
        Self::Service(error)
    }
}

/// A failure as a response.
pub(super) fn render(failure: &Failure, request_id: &str) -> Response {
    let (status, detail) = parts(failure, request_id);
    let body = wire::Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or_default().into(),
        status: status.as_u16(),
        detail,
    };
    let mut response =
        reply(status, "application/problem+json", serde_json::to_vec(&body).unwrap_or_default());
    if let Failure::Method(allowed) = failure {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

fn parts(failure: &Failure, request_id: &str) -> (StatusCode, String) {
    match failure {
        Failure::Service(error) => of_service(error, request_id),
        Failure::Forbidden => {
            (StatusCode::FORBIDDEN, "only the user that the CA runs as, and root, may use this socket".into())
        }
        Failure::Stranger(Stranger::Unknown(why)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}; try again"))
        }
        Failure::Stranger(
            why @ (Stranger::Unreadable | Stranger::Expired(..) | Stranger::Revoked | Stranger::NotListed(_)),
        ) => (StatusCode::FORBIDDEN, why.to_string()),
        Failure::OtherOrigin => {
            (StatusCode::FORBIDDEN, "a browser sends this in the name of another site's page".into())
        }
        Failure::NoSuchResource => (
            StatusCode::NOT_FOUND,
            "there is no such resource: the command and the server may be of different versions".into(),
        ),
        Failure::Method(allowed) => {
            (StatusCode::METHOD_NOT_ALLOWED, format!("the method is not allowed here; allowed: {allowed}"))
        }
        Failure::NotApplied(NotApplied::Invalid(problems)) => {
            let detail =
                format!("nothing was changed; the configuration has errors:\n{}", problems.join("\n"));
            (StatusCode::BAD_REQUEST, detail)
        }
        Failure::NotApplied(NotApplied::Failed(error)) => of_service(error, request_id),
        Failure::NotYet(NotYet::NoAuthority)
        | Failure::NotApplied(NotApplied::NotYet(NotYet::NoAuthority)) => {
            (StatusCode::NOT_FOUND, NotYet::NoAuthority.to_string())
        }
        Failure::NotYet(why) | Failure::NotApplied(NotApplied::NotYet(why)) => {
            (StatusCode::CONFLICT, why.to_string())
        }
        Failure::ContentType => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type: must be application/json".into())
        }
        Failure::TooLarge(limit) => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
        }
        Failure::Malformed(why) => (StatusCode::BAD_REQUEST, why.clone()),
        Failure::Timeout => {
            // No 503, which says that nothing was done: it may be, and goes on.
            let detail =
                format!("the request took too long, and may still be carried out (request {request_id})");
            (StatusCode::GATEWAY_TIMEOUT, detail)
        }
    }
}

fn of_service(error: &service::Error, request_id: &str) -> (StatusCode, String) {
    match error {
        service::Error::Refused(refusal) => (StatusCode::BAD_REQUEST, refusal.detail.clone().into_owned()),
        service::Error::NotFound => (StatusCode::NOT_FOUND, "there is none of that id".into()),
        service::Error::Deactivated | service::Error::KeyInUse(_) => {
            (StatusCode::CONFLICT, error.to_string())
        }
        service::Error::Limited(refused) => (StatusCode::TOO_MANY_REQUESTS, refused.to_string()),
        service::Error::Busy(_) | service::Error::Store(StoreError::Busy | StoreError::NoSpace(_)) => {
            tracing::warn!(%error, "busy");
            (StatusCode::SERVICE_UNAVAILABLE, format!("the server is busy; try again (request {request_id})"))
        }
        service::Error::IssuerNotValid(_) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        service::Error::Store(StoreError::TooLarge(_) | StoreError::Failed(_) | StoreError::Corrupt(_))
        | service::Error::Internal(_) => {
            tracing::error!(%error, "an admin request failed through a fault of ours");
            let detail = format!("an internal error; the server's log has it under {request_id}");
            (StatusCode::INTERNAL_SERVER_ERROR, detail)
        }
    }
}
