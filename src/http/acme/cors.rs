//! Browsers as ACME clients (RFC 8555 §6.1): any origin may call, and read what a client needs.
//!
//! Nothing here rests on who the browser is: requests carry no cookies, and count by their signature
//! alone.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};

use super::super::{Response, reply};

/// Response headers that a client in a browser may read besides the simple ones.
const EXPOSED: HeaderValue = HeaderValue::from_static("Link, Location, Replay-Nonce, Retry-After");

/// What a request may say of itself; `application/jose+json` is no simple content type.
const ASKABLE: HeaderValue = HeaderValue::from_static("Content-Type");

/// Seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Opens a response to every origin.
pub(super) fn open(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

/// The answer to OPTIONS, a preflight or not; `methods` are the resource's.
pub(super) fn preflight(methods: &'static str) -> Response {
    let mut response = reply(StatusCode::NO_CONTENT, "text/plain", "");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::ALLOW, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ASKABLE);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}
