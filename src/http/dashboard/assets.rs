//! Style and script: in the binary, each under a name that changes with its content, and so kept by browsers
//! for as long as they like.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};

use crate::http::{Response, reply};
use crate::x509::hex;

/// One of them.
pub(super) struct Asset {
    /// Its path.
    pub(super) path: String,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    fn new(name: &str, extension: &str, content_type: &'static str, text: &'static str) -> Self {
        let hash = digest(&SHA256, text.as_bytes());
        let hash = hex::encode(hash.as_ref().get(..8).unwrap_or_default());
        Self { path: format!("/dashboard/assets/{name}.{hash}.{extension}"), content_type, text }
    }

    /// As a response.
    pub(super) fn response(&self) -> Response {
        let mut response = reply(StatusCode::OK, self.content_type, self.text);
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
        response
    }
}

/// How it looks.
pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("style.css")));

/// What keeps it up to date; without it pages work as well.
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("script", "js", "text/javascript; charset=utf-8", include_str!("script.js")));

/// The asset of a path.
pub(super) fn of(path: &str) -> Option<&'static Asset> {
    [&*STYLE, &*SCRIPT].into_iter().find(|asset| asset.path == path)
}
