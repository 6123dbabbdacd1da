//! The admin API over the network: a listener of its own, where every request is by somebody whose certificate
//! is on the list.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use super::operators::{Operators, Stranger};
use super::problem::{self, Failure};
use crate::acme::error::ErrorKind;
use crate::audit::Actor;
use crate::http::server::{Limits, Unanswered};
use crate::http::{App, Response, tagged};
use crate::service;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::Reason;

/// The listener's limits; operators, their scripts and their browsers are few.
pub fn limits(drain: Duration) -> Limits {
    Limits { connections: 64, request: Duration::from_secs(30), drain, head: 16 * 1024, of_network: Some(16) }
}

/// The certificate that a client has shown in the handshake, which has proved that the key is theirs.
#[derive(Clone)]
pub(in crate::http) struct Shown(pub Arc<[u8]>);

/// For a request's body to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);

/// Answers one request.
pub(in crate::http) async fn answer<B>(
    app: &App,
    operators: &Operators,
    request: Request<B>,
    id: &str,
) -> Response
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let (mut head, body) = request.into_parts();
    let admitted = admit(app, operators, &head).await;
    // Before a refusal too: an HTTP/2 client whose body nobody takes hears of that instead of the answer.
    let body = whole(body).await;
    match admitted.and_then(|operator| Ok((operator, body?))) {
        Ok((operator, body)) => {
            if !is_reading(&head.method) {
                tracing::info!(
                    request = id, operator, method = %head.method, path = head.uri.path(), "admin command"
                );
            }
            head.extensions.insert(Actor::Operator(operator));
            super::answer(app, Request::from_parts(head, Full::new(body)), id).await
        }
        Err(failure) => {
            let is_stranger = matches!(failure, Failure::Stranger(_) | Failure::OtherOrigin);
            let kind = if is_stranger { ErrorKind::Unauthorized } else { ErrorKind::Malformed };
            metrics().admin().refused(Reason::Kind(kind));
            // Whoever has any certificate of the right CA can bring this about.
            if let Some(passed_over) = operators.telling.may(app.service.now()) {
                tracing::warn!(
                    request = id,
                    ?failure,
                    passed_over,
                    "a request on the admin listener was refused"
                );
            }
            super::private(tagged(problem::render(&failure, id), id))
        }
    }
}

/// Answers a request that has no answer of its own.
pub(in crate::http) fn unanswered(why: Unanswered, id: &str) -> Response {
    let (failure, kind) = match why {
        Unanswered::Host => {
            let detail = "host: there must be one, and one only";
            (Failure::Malformed(detail.into()), ErrorKind::Malformed)
        }
        Unanswered::Crowded => {
            let busy = service::Error::Busy("too many requests are under way");
            (Failure::Service(busy), ErrorKind::ServerInternal)
        }
        Unanswered::Late => (Failure::Timeout, ErrorKind::ServerInternal),
        Unanswered::Broken(error) => {
            (Failure::Service(service::Error::Internal(error)), ErrorKind::ServerInternal)
        }
    };
    metrics().admin().refused(Reason::Kind(kind));
    super::private(tagged(problem::render(&failure, id), id))
}

async fn whole<B>(body: B) -> Result<Bytes, Failure>
where
    B: hyper::body::Body + Send + Unpin,
    B::Data: Send,
    B::Error: std::fmt::Display,
{
    let body = body.map_err(|error| std::io::Error::other(error.to_string()));
    match tokio::time::timeout(BODY_TIME, Limited::new(body, super::MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::TooLarge(super::MAX_BODY)),
        Ok(Err(_)) | Err(_) => Err(Failure::Malformed("the body did not arrive completely".into())),
    }
}

/// Who asks.
async fn admit(app: &App, operators: &Operators, head: &Parts) -> Result<String, Failure> {
    let Some(Shown(der)) = head.extensions.get() else {
        return Err(Failure::Stranger(Stranger::Unreadable));
    };
    let operator = operators.who(&app.service, der).await.map_err(Failure::Stranger)?;
    if !is_reading(&head.method) && !is_own(&head.uri, &head.headers) {
        return Err(Failure::OtherOrigin);
    }
    Ok(operator)
}

fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a request is of a program, or of a page of this very server. A browser shows the operator's
/// certificate for whatever page sends the request, and says which in fields that pages cannot write.
fn is_own(uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |value: &header::HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let site = headers.get("sec-fetch-site").map(text);
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN).map(text) else { return true };
    let host = uri.authority().map(ToString::to_string).or_else(|| headers.get(header::HOST).map(text));
    let host = host.unwrap_or_default();
    origin.strip_prefix("https://").is_some_and(|of| of.eq_ignore_ascii_case(&host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_of_programs_and_of_pages_from_here() {
        let rows: [(&[(&str, &str)], bool); 11] = [
            (&[("host", "ca.test:9444")], true),
            (&[("host", "ca.test:9444"), ("origin", "https://ca.test:9444")], true),
            (&[("host", "ca.test"), ("origin", "https://CA.test"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "ca.test"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "ca.test"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "ca.test"), ("sec-fetch-site", "cross-site")], false),
            (&[("host", "ca.test"), ("sec-fetch-site", "none")], false),
            (&[("host", "ca.test"), ("origin", "https://evil.test")], false),
            (&[("host", "ca.test"), ("origin", "http://ca.test")], false),
            (&[("host", "ca.test"), ("origin", "https://ca.test:1")], false),
            (&[("host", "ca.test"), ("origin", "null")], false),
        ];
        for (fields, want) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers
                    .insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            assert_eq!(is_own(&"/v1/x".parse().unwrap(), &headers), want, "{fields:?}");
        }
    }
}
