//! One request, and what came of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};

use super::{Failure, Kind, Place};
use crate::fleet::notices::Delivery;
use crate::keystore::password::Password;
use crate::outbound::{self, Roots, reason};

/// Bytes of an answer that are looked at: its status is what counts.
const LARGEST_ANSWER: usize = 16 * 1024;
/// Characters of it that are told.
const TOLD: usize = 200;

/// What [`Place`] says, ready for use.
pub(super) struct Post {
    client: outbound::Client,
    uri: Uri,
    origin: String,
    token_file: Option<PathBuf>,
    timeout: Duration,
}

impl Post {
    pub(super) fn new(place: &Place) -> Result<Self, String> {
        let url = match place.kind {
            Kind::Webhook => place.url.clone(),
            Kind::Alertmanager => format!("{}/api/v2/alerts", place.url.trim_end_matches('/')),
        };
        // The URL may have a secret in its path, and an error tells of none of it.
        let uri: Uri = url.parse().map_err(|_| "url: is no URL that a request can be sent to".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err("url: has no scheme or no host".to_owned());
        };
        let origin = format!("{scheme}://{authority}");
        let roots = place.ca.as_deref().map_or(Roots::System, Roots::File);
        // Half of it, so that an address that swallows everything is told from a receiver that is slow.
        let client = outbound::client(roots, scheme == "https", place.timeout / 2);
        let client = client.map_err(|why| format!("ca: {why}"))?;
        let token_file = place.token_file.clone();
        if let Some(path) = &token_file {
            bearer(path).map_err(|why| format!("token_file: {why}"))?;
        }
        Ok(Self { client, uri, origin, token_file, timeout: place.timeout })
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Sends a body of JSON. 2xx is an acknowledgement and nothing else is.
    pub(super) async fn send(
        &self,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<(), Failure> {
        let request = self.request(body, headers).map_err(|reason| Failure {
            delivery: Delivery::NotSent,
            answered: false,
            reason,
        })?;
        let exchanged = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        exchanged.unwrap_or_else(|_| {
            let reason = format!("{}: no answer within {:?}", self.origin, self.timeout);
            Err(Failure { delivery: Delivery::Uncertain, answered: false, reason })
        })
    }

    fn request(
        &self,
        body: Vec<u8>,
        headers: &[(&'static str, String)],
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::post(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("mayfly/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        for (name, value) in headers {
            let value = HeaderValue::try_from(value).map_err(|error| format!("{name}: {error}"))?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        if let Some(path) = &self.token_file {
            // Each time: a platform puts another one there when it likes.
            let token = bearer(path).map_err(|why| format!("token_file: {why}"))?;
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        Ok(request)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(), Failure> {
        let answer = self.client.request(request).await.map_err(|error| Failure {
            delivery: if error.is_connect() { Delivery::NotSent } else { Delivery::Uncertain },
            answered: false,
            reason: format!("{}: {}", self.origin, reason(&error)),
        })?;
        if answer.status().is_success() {
            return Ok(());
        }
        let reason = format!("{} answered {}", self.origin, explain(answer).await);
        Err(Failure { delivery: Delivery::Uncertain, answered: true, reason })
    }
}

/// An answer that is no acknowledgement, in a line.
async fn explain<B>(answer: Response<B>) -> String
where
    B: hyper::body::Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let status = answer.status();
    if status.is_redirection() {
        return format!("{status}: redirects are not followed; give the URL that it leads to");
    }
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return format!("{status}: see to token_file or secret_file");
    }
    let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    // Not ours, so not to be trusted in a log line.
    let text = String::from_utf8_lossy(&body);
    let plain: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(TOLD).collect();
    if plain.trim().is_empty() { status.to_string() } else { format!("{status}: {}", plain.trim()) }
}

/// The header of a token in a file that only its owner may read.
fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let token = Password::read(path).map_err(|error| error.to_string())?;
    let text = [b"Bearer ", token.bytes()].concat();
    let header = HeaderValue::from_bytes(&text);
    let mut header = header.map_err(|_| format!("{}: its first line is no token", path.display()))?;
    header.set_sensitive(true);
    Ok(header)
}
