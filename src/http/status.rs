//! What anybody may ask: is it alive, is it ready, which certificates is it to be trusted by.
//!
//! `/bundle` and `/roots.pem` are every root to trust, `/intermediates.pem` what lies between those and
//! the leaves; `/authority/NAME/…`, or `?authority=NAME`, are one authority's. All carry an entity tag
//! and a digest (RFC 9530), so that a fleet that asks often is sent the text when it has changed.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::problem::Failure;
use super::{App, Response, only_get, reply};
use crate::authority::bundle::Bundle;
use crate::service::Live;

/// The last readiness check: trying for real costs an fsync, which no prober shall be able to
/// demand more often than once in [`READINESS_AGE`].
#[derive(Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

const READINESS_AGE: Duration = Duration::from_secs(1);

/// Longest wait for the check: a store that hangs is not ready.
const READINESS_PATIENCE: Duration = Duration::from_secs(5);

/// For how long a bundle may be used without asking again: well within any overlap of two roots.
const BUNDLE_AGE: &str = "public, max-age=600";

pub(super) async fn answer(app: &App, head: &Parts) -> Result<Response, Failure> {
    let path = head.uri.path();
    if let Some(bundle) = bundle(path) {
        only_get(&head.method)?;
        return trust(&app.service.live(), bundle, head);
    }
    let known = root(app, path);
    if known.is_none() && !PATHS.contains(&path) {
        return Err(Failure::NoSuchResource);
    }
    only_get(&head.method)?;
    let text = |content_type, body: &'static str| Ok(reply(StatusCode::OK, content_type, body));
    match path {
        "/health" => text("application/json", r#"{"status":"ok"}"#),
        "/readyz" if !is_ready(app).await => Err(Failure::NotReady),
        "/livez" | "/readyz" => text("text/plain", "ok\n"),
        _ => known.ok_or(Failure::NoSuchResource),
    }
}

const PATHS: [&str; 3] = ["/health", "/livez", "/readyz"];

/// Whether it is asked by who watches over this process, and not limited.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/livez" | "/readyz")
}

/// Which certificates a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Roots,
    Intermediates,
}

/// The certificates that a path is for, and the authority that it names.
fn bundle(path: &str) -> Option<(Which, Option<&str>)> {
    let (authority, name) = match path.strip_prefix("/authority/") {
        Some(rest) => rest.split_once('/').map(|(authority, name)| (Some(authority), name))?,
        None => (None, path.strip_prefix('/')?),
    };
    match name {
        "bundle" | "roots.pem" => Some((Which::Roots, authority)),
        "intermediates.pem" => Some((Which::Intermediates, authority)),
        _ => None,
    }
}

/// Sends a bundle, or that the one the client has is still the same (RFC 9110 §13.1.2).
fn trust(live: &Live, (which, in_path): (Which, Option<&str>), head: &Parts) -> Result<Response, Failure> {
    let asked = match (head.uri.query(), in_path) {
        (None, in_path) => in_path,
        // What else stands in a query is of no account, as for every file.
        (Some(query), None) => query.split('&').find_map(|part| part.strip_prefix("authority=")),
        (Some(_), Some(in_path)) => Some(in_path),
    };
    let of_authority = |name| live.authorities.get(name).ok_or(Failure::NoSuchResource);
    let bundle = match (which, asked) {
        (Which::Roots, None) => live.authorities.bundle(),
        (Which::Intermediates, None) => live.authorities.intermediates(),
        (Which::Roots, Some(name)) => of_authority(name)?.bundle(),
        (Which::Intermediates, Some(name)) => of_authority(name)?.intermediates(),
    };
    Ok(sent(bundle, &head.headers))
}

fn sent(bundle: &Bundle, headers: &HeaderMap) -> Response {
    let tag: String = bundle.sha256().iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let mut response = if has(headers, &tag) {
        let mut same = reply(StatusCode::NOT_MODIFIED, "application/x-pem-file", "");
        same.headers_mut().remove(header::CONTENT_TYPE);
        same
    } else {
        reply(StatusCode::OK, "application/x-pem-file", bundle.pem().clone())
    };
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(header::ETAG, &tag);
    set(header::CACHE_CONTROL, BUNDLE_AGE);
    let digest = format!("sha-256=:{}:", STANDARD.encode(bundle.sha256()));
    set(HeaderName::from_static("repr-digest"), &digest);
    response
}

/// Whether a client says that it has the representation with this tag; weak tags compare as equal.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        let mut tags = list.split(',').map(str::trim);
        tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    })
}

/// `/root/{sha256}`: as the `step` CLI fetches it, upper case and dashes tolerated.
fn root(app: &App, path: &str) -> Option<Response> {
    let wanted = path.strip_prefix("/root/")?.to_ascii_lowercase().replace('-', "");
    let live = app.service.live();
    let body = serde_json::json!({ "ca": live.authorities.root(&wanted)? }).to_string();
    Some(reply(StatusCode::OK, "application/json", body))
}

/// Probes that come while one is checking wait for what it finds.
async fn is_ready(app: &App) -> bool {
    let mut last = app.readiness.0.lock().await;
    if let Some((at, ready)) = *last
        && at.elapsed() < READINESS_AGE
    {
        return ready;
    }
    let ready = match tokio::time::timeout(READINESS_PATIENCE, app.service.ready()).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "not ready");
            false
        }
        Err(_) => {
            tracing::error!("not ready: the store or the signer did not answer in time");
            false
        }
    };
    *last = Some((Instant::now(), ready));
    ready
}
