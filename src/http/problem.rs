//! Every failure → status and problem document (RFC 7807, RFC 8555 §6.7). No match here has a
//! wildcard arm: a new error has to be given its place.
//!
//! A fault of ours shows a request id and nothing else; the log has the rest.

use std::borrow::Cow;

use hyper::header::{self, HeaderValue};
use hyper::{StatusCode, header::HeaderName};

use super::{Response, reply};
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::jose::jwk::Algorithm;
use crate::jose::jws::JwsError;
use crate::service;
use crate::storage::StoreError;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::Reason;
use crate::wire::acme as wire;

/// Why a request got no answer of its own kind.
#[derive(Debug)]
pub enum Failure {
    /// A verb refused or failed.
    Service(service::Error),
    /// The body is no acceptable JWS.
    Jws(JwsError),
    /// Nothing has that path.
    NoSuchResource,
    /// The path has other methods; which.
    Method(&'static str),
    /// Not `application/jose+json`.
    ContentType,
    /// The body is larger than the limit, bytes.
    TooLarge(usize),
    /// The body broke off.
    Body,
    /// The body took longer than the limit.
    Slow,
    /// The path is longer than the limit, bytes.
    LongUrl(usize),
    /// More header fields than the limit.
    ManyHeaders(usize),
    /// A request without exactly one valid Host (RFC 9112 §3.2, RFC 9113 §8.3.1).
    Host,
    /// The signature does not hold.
    Signature,
    /// The nonce is missing, unknown or used.
    Nonce,
    /// The signed url is not the one requested.
    Url,
    /// No account has that key or URL.
    NoAccount,
    /// The account is closed.
    Deactivated,
    /// A key of a key change is in use; the account's URL.
    KeyInUse(String),
    /// The request took longer than the limit.
    Timeout,
    /// Not ready to serve, for `/readyz`.
    NotReady,
    /// `/metrics`, from a network that is not let in.
    NotAllowed,
}

impl From<service::Error> for Failure {
    fn from(error: service::Error) -> Self {
        Self::Service(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Service(service::Error::Refused(refusal))
    }
}

impl From<JwsError> for Failure {
    fn from(error: JwsError) -> Self {
        Self::Jws(error)
    }
}

/// Seconds after which a client shall try again when we are busy.
const RETRY_AFTER: &str = "2";

/// A failure as a response.
pub fn render(failure: &Failure, request_id: &str) -> Response {
    let Parts { status, kind, detail, refusal } = parts(failure, request_id);
    let algorithms = if kind == ErrorKind::BadSignatureAlgorithm {
        Algorithm::TABLE.iter().map(|(_, name)| *name).collect()
    } else {
        Vec::new()
    };
    let subproblems = refusal.map(|refusal| refusal.subproblems.iter().map(subproblem).collect());
    let body = wire::Problem {
        kind: urn(kind),
        detail,
        status: Some(status.as_u16()),
        identifier: None,
        subproblems: subproblems.unwrap_or_default(),
        algorithms,
        request: Some(request_id),
    };
    let body = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = reply(status, "application/problem+json", body);
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::CACHE_CONTROL, "no-store");
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        // A limit knows when; whatever else is busy says a little later.
        if let Failure::Service(service::Error::Limited(refused)) = failure {
            set(header::RETRY_AFTER, &refused.seconds().to_string());
        } else {
            set(header::RETRY_AFTER, RETRY_AFTER);
        }
    }
    if let Failure::Method(allowed) = failure {
        set(header::ALLOW, allowed);
    }
    if let Failure::KeyInUse(account) = failure {
        set(header::LOCATION, account);
    }
    response
}

/// As [`render`], for what came to no resource and is counted nowhere else.
pub(super) fn render_unrouted(failure: &Failure, request_id: &str) -> Response {
    metrics().http().refused(reason(failure));
    render(failure, request_id)
}

/// As what a failure is counted.
pub(super) fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Service(error) => {
            if let service::Error::Limited(refused) = error {
                metrics().limited(refused.limit);
            }
            error.reason()
        }
        Failure::Jws(error) => Reason::Kind(of_jws(error).kind),
        Failure::NoSuchResource
        | Failure::Method(_)
        | Failure::ContentType
        | Failure::TooLarge(_)
        | Failure::Body
        | Failure::Slow
        | Failure::LongUrl(_)
        | Failure::ManyHeaders(_)
        | Failure::Host
        | Failure::Signature
        | Failure::KeyInUse(_) => Reason::Kind(ErrorKind::Malformed),
        Failure::Nonce => Reason::Kind(ErrorKind::BadNonce),
        Failure::Url | Failure::Deactivated | Failure::NotAllowed => Reason::Kind(ErrorKind::Unauthorized),
        Failure::NoAccount => Reason::Kind(ErrorKind::AccountDoesNotExist),
        Failure::Timeout | Failure::NotReady => Reason::Busy,
    }
}

/// `urn:ietf:params:acme:error:…`
pub fn urn(kind: ErrorKind) -> String {
    format!("urn:ietf:params:acme:error:{}", kind.name())
}

/// A problem kept with an object.
pub fn stored(problem: &StoredProblem) -> wire::Problem<'_> {
    wire::Problem {
        kind: urn(problem.kind),
        detail: Cow::Borrowed(&problem.detail),
        status: Some(status_of(problem.kind).as_u16()),
        identifier: problem.identifier.as_ref().map(|identifier| wire::Identifier {
            kind: identifier.kind().into(),
            value: identifier.order_value(),
        }),
        subproblems: Vec::new(),
        algorithms: Vec::new(),
        request: None,
    }
}

fn subproblem(of: &crate::acme::error::Subproblem) -> wire::Problem<'_> {
    wire::Problem {
        kind: urn(of.kind),
        detail: Cow::Borrowed(&of.detail),
        status: None,
        identifier: Some(wire::Identifier {
            kind: of.identifier.0.as_str().into(),
            value: of.identifier.1.as_str().into(),
        }),
        subproblems: Vec::new(),
        algorithms: Vec::new(),
        request: None,
    }
}

struct Parts<'a> {
    status: StatusCode,
    kind: ErrorKind,
    detail: Cow<'a, str>,
    refusal: Option<&'a Refusal>,
}

fn parts<'a>(failure: &'a Failure, request_id: &str) -> Parts<'a> {
    let client = |status, kind, detail: &'a str| Parts { status, kind, detail: detail.into(), refusal: None };
    match failure {
        Failure::Service(error) => of_service(error, request_id),
        Failure::Jws(error) => of_jws(error),
        Failure::NoSuchResource => {
            client(StatusCode::NOT_FOUND, ErrorKind::Malformed, "there is no such resource; see the directory")
        }
        Failure::Method(allowed) => Parts {
            status: StatusCode::METHOD_NOT_ALLOWED,
            kind: ErrorKind::Malformed,
            detail: format!("the method is not allowed here; allowed: {allowed} (RFC 8555 §6.3: resources are read by POST-as-GET)").into(),
            refusal: None,
        },
        Failure::ContentType => client(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::Malformed,
            "Content-Type: must be application/jose+json",
        ),
        Failure::TooLarge(limit) => Parts {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            kind: ErrorKind::Malformed,
            detail: format!("the body is larger than {limit} bytes").into(),
            refusal: None,
        },
        Failure::LongUrl(limit) => Parts {
            status: StatusCode::URI_TOO_LONG,
            kind: ErrorKind::Malformed,
            detail: format!("the path is longer than {limit} bytes").into(),
            refusal: None,
        },
        Failure::ManyHeaders(limit) => Parts {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            kind: ErrorKind::Malformed,
            detail: format!("there are more than {limit} header fields").into(),
            refusal: None,
        },
        Failure::Body => {
            client(StatusCode::BAD_REQUEST, ErrorKind::Malformed, "the body did not arrive completely")
        }
        Failure::Slow => {
            client(StatusCode::REQUEST_TIMEOUT, ErrorKind::Malformed, "the body did not arrive in time")
        }
        Failure::Host => {
            client(StatusCode::BAD_REQUEST, ErrorKind::Malformed, "Host: must be given once, as HOST or HOST:PORT")
        }
        Failure::Signature => {
            client(StatusCode::BAD_REQUEST, ErrorKind::Malformed, "the JWS signature does not verify")
        }
        Failure::Nonce => client(
            StatusCode::BAD_REQUEST,
            ErrorKind::BadNonce,
            "nonce: missing, unknown or used; try again with the one in Replay-Nonce",
        ),
        Failure::Url => client(
            StatusCode::UNAUTHORIZED,
            ErrorKind::Unauthorized,
            "url: is not the URL of this request as the directory gives it",
        ),
        Failure::NoAccount => client(
            StatusCode::BAD_REQUEST,
            ErrorKind::AccountDoesNotExist,
            "kid: there is no such account; create it with newAccount",
        ),
        Failure::Deactivated => deactivated(),
        Failure::KeyInUse(_) => client(
            StatusCode::CONFLICT,
            ErrorKind::Malformed,
            "the new key belongs to an account already; its URL is in Location",
        ),
        Failure::Timeout => busy("the request took too long; try again", request_id),
        Failure::NotReady => busy("not ready", request_id),
        Failure::NotAllowed => client(
            StatusCode::FORBIDDEN,
            ErrorKind::Unauthorized,
            "metrics are for this machine and for the networks of `allow` in [metrics]",
        ),
    }
}

fn of_service<'a>(error: &'a service::Error, request_id: &str) -> Parts<'a> {
    match error {
        service::Error::Refused(refusal) => Parts {
            status: status_of(refusal.kind),
            kind: refusal.kind,
            detail: Cow::Borrowed(&refusal.detail),
            refusal: Some(refusal),
        },
        service::Error::NotFound => Parts {
            status: StatusCode::NOT_FOUND,
            kind: ErrorKind::Malformed,
            detail: "there is no such object, or it is not this account's".into(),
            refusal: None,
        },
        service::Error::Deactivated => deactivated(),
        service::Error::KeyInUse(_) => Parts {
            status: StatusCode::CONFLICT,
            kind: ErrorKind::Malformed,
            detail: "the new key belongs to an account already".into(),
            refusal: None,
        },
        service::Error::Busy(_) => {
            tracing::info!(%error, "busy");
            busy("the server is busy; try again", request_id)
        }
        service::Error::IssuerNotValid(_) => {
            tracing::error!(%error, "a request failed: put another issuer in");
            busy("this authority cannot issue now", request_id)
        }
        service::Error::Limited(refused) => {
            tracing::info!(limit = refused.limit, "a client asked for too much");
            Parts {
                status: StatusCode::TOO_MANY_REQUESTS,
                kind: ErrorKind::RateLimited,
                detail: refused.to_string().into(),
                refusal: None,
            }
        }
        service::Error::Store(StoreError::Busy | StoreError::NoSpace(_)) => {
            tracing::warn!(%error, "the store takes no writes now");
            busy("the server is busy; try again", request_id)
        }
        service::Error::Store(StoreError::TooLarge(_) | StoreError::Failed(_) | StoreError::Corrupt(_))
        | service::Error::Internal(_) => {
            tracing::error!(%error, "a request failed through a fault of ours");
            Parts {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                kind: ErrorKind::ServerInternal,
                detail: format!("an internal error; the server's log has it under {request_id}").into(),
                refusal: None,
            }
        }
    }
}

/// RFC 8555 §7.3.6 wants 401 for every request of a closed account.
fn deactivated<'a>() -> Parts<'a> {
    Parts {
        status: StatusCode::UNAUTHORIZED,
        kind: ErrorKind::Unauthorized,
        detail: "the account is deactivated".into(),
        refusal: None,
    }
}

fn busy<'a>(detail: &'static str, request_id: &str) -> Parts<'a> {
    Parts {
        status: StatusCode::SERVICE_UNAVAILABLE,
        kind: ErrorKind::ServerInternal,
        detail: format!("{detail} (request {request_id})").into(),
        refusal: None,
    }
}

fn of_jws(error: &JwsError) -> Parts<'_> {
    let kind = match error {
        JwsError::Malformed(_) => ErrorKind::Malformed,
        JwsError::Algorithm => ErrorKind::BadSignatureAlgorithm,
        JwsError::Key(_) => ErrorKind::BadPublicKey,
    };
    Parts { status: status_of(kind), kind, detail: error.to_string().into(), refusal: None }
}

/// The HTTP status of a kind of refusal.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::AccountDoesNotExist
        | ErrorKind::AlreadyRevoked
        | ErrorKind::BadCsr
        | ErrorKind::BadNonce
        | ErrorKind::BadPublicKey
        | ErrorKind::BadRevocationReason
        | ErrorKind::BadSignatureAlgorithm
        | ErrorKind::Connection
        | ErrorKind::Dns
        | ErrorKind::InvalidContact
        | ErrorKind::Malformed
        | ErrorKind::RejectedIdentifier
        | ErrorKind::Tls
        | ErrorKind::UnsupportedContact
        | ErrorKind::UnsupportedIdentifier
        | ErrorKind::InvalidProfile
        | ErrorKind::AutoRenewalCancellationInvalid
        | ErrorKind::BadAttestationStatement => StatusCode::BAD_REQUEST,
        ErrorKind::IncorrectResponse
        | ErrorKind::OrderNotReady
        | ErrorKind::Unauthorized
        | ErrorKind::UserActionRequired
        | ErrorKind::ExternalAccountRequired
        | ErrorKind::Caa
        | ErrorKind::AutoRenewalCanceled
        | ErrorKind::AutoRenewalExpired
        | ErrorKind::AutoRenewalRevocationNotSupported => StatusCode::FORBIDDEN,
        ErrorKind::AlreadyReplaced => StatusCode::CONFLICT,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::ServerInternal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn rendered(failure: Failure) -> (StatusCode, serde_json::Value) {
        let response = render(&failure, "req-1");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn faults_of_ours_are_5xx_and_say_nothing_but_the_request_id() {
        let secret = "SELECT * FROM /var/lib/db";
        let faults = [
            service::Error::Store(StoreError::Busy),
            service::Error::Store(StoreError::NoSpace(secret.into())),
            service::Error::Store(StoreError::Failed(secret.into())),
            service::Error::Store(StoreError::Corrupt(secret.into())),
            service::Error::Store(StoreError::TooLarge(secret.into())),
            service::Error::Internal(secret.into()),
            service::Error::Busy("x"),
        ];
        for fault in faults {
            let (status, body) = rendered(fault.into()).await;
            assert!(status.is_server_error(), "{body}");
            assert!(!body.to_string().contains("SELECT") && body.to_string().contains("req-1"), "{body}");
            assert_eq!(body["type"], "urn:ietf:params:acme:error:serverInternal");
        }
    }

    #[tokio::test]
    async fn a_closed_account_is_told_the_same_everywhere() {
        let everywhere =
            [rendered(Failure::Deactivated).await, rendered(service::Error::Deactivated.into()).await];
        for (status, body) in &everywhere {
            assert_eq!(*status, StatusCode::UNAUTHORIZED);
            assert_eq!(body["type"], "urn:ietf:params:acme:error:unauthorized");
        }
        assert_eq!(everywhere[0], everywhere[1]);
    }

    #[tokio::test]
    async fn every_kind_renders_with_its_urn_and_a_client_status() {
        for kind in ErrorKind::ALL {
            let (status, body) = rendered(Refusal::new(*kind, "why").into()).await;
            assert_eq!(body["type"], urn(*kind));
            assert_eq!(body["status"], status.as_u16());
            assert_eq!(status.is_server_error(), *kind == ErrorKind::ServerInternal);
        }
        let (_, body) = rendered(Failure::Jws(JwsError::Algorithm)).await;
        assert_eq!(body["algorithms"], serde_json::json!(["ES256", "ES384", "EdDSA", "RS256"]));
    }
}
