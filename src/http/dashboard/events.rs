//! What has changed, told as it happens (Server-Sent Events). A stream ends by itself after a while, before any
//! listener's patience does, and when the server stops; browsers come back by themselves. Where all places are
//! taken it ends at once, and they come back later: after another status than 200 they would not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::overview::Overview;
use super::{Dashboard, Viewer};
use crate::http::server::idle_step;
use crate::http::{App, Body, Response};

/// Between two looks.
const STEP: Duration = Duration::from_secs(2);

/// Of one stream, at most.
const LIFE: Duration = Duration::from_secs(20);

/// All that a stream says for which there is no place: when to come back, and for the page why.
pub(super) const CROWDED: &str = "retry: 15000\nevent: crowded\ndata: too many look at once\n\n";

/// For a piece to be taken by who listens.
const PATIENCE: Duration = Duration::from_secs(5);

/// Without a change, a sign of life is sent each so many steps.
const SILENT: u32 = 4;

/// Characters of what a browser says that it has.
const LONGEST: usize = 256;

/// Opens a stream. A browser that comes back says in `Last-Event-ID` what it has; a page says it in the query.
pub(super) fn open(app: &App, viewer: Viewer, headers: &HeaderMap, query: &str) -> Response {
    let Ok(place) = app.dashboard.0.places.of(viewer).try_acquire_owned() else {
        return stream(Body::from(Bytes::from_static(CROWDED.as_bytes())));
    };
    let (sender, receiver) = mpsc::channel(1);
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let of_page = || url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "have");
    let has = last.or_else(|| of_page().map(|(_, value)| value.into_owned())).unwrap_or_default();
    let telling = tell(app.dashboard.clone(), Known::of(&has), sender, place);
    tokio::spawn(tokio::time::timeout(life(viewer, app.limits.time), telling));
    stream(Body::Pieces(receiver))
}

/// A listener takes a connection whose request has its response for idle, and closes it after two steps:
/// a stream is over within one. The operators' listener and socket have more patience than `LIFE`. (Where others
/// wait for a connection, one that is silent for a moment is closed, and the browser comes back.)
fn life(viewer: Viewer, patience: Duration) -> Duration {
    match viewer {
        Viewer::Here => LIFE.min(idle_step(patience)),
        Viewer::Operator => LIFE,
    }
}

fn stream(body: Body) -> Response {
    let mut response = hyper::Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Versions of the sections that the other side has.
#[derive(Default)]
struct Known(Vec<String>);

impl Known {
    fn of(text: &str) -> Self {
        Self(text.chars().take(LONGEST).collect::<String>().split('.').map(str::to_owned).collect())
    }

    /// The event that brings the other side up to date, if anything has changed.
    fn event(&mut self, overview: &Overview) -> Option<Bytes> {
        let mut changed = HashMap::new();
        for (place, section) in overview.sections.iter().enumerate() {
            if self.0.get(place) != Some(&section.version) {
                changed.insert(section.id, section.html.as_str());
            }
        }
        if changed.is_empty() {
            return None;
        }
        let version = overview.version();
        *self = Self::of(&version);
        let data = serde_json::json!({ "sections": changed, "announce": overview.announce });
        // JSON text has no line ends of its own.
        Some(format!("id: {version}\nevent: change\ndata: {data}\n\n").into())
    }
}

async fn tell(dashboard: Dashboard, mut known: Known, to: mpsc::Sender<Bytes>, _place: OwnedSemaphorePermit) {
    let mut stop = dashboard.0.stop.clone();
    let mut silent = 0;
    let mut piece = Some(Bytes::from_static(b"retry: 1000\n\n"));
    loop {
        let overview: Option<Arc<Overview>> = match dashboard.overview().await {
            Ok(overview) => Some(overview),
            Err(error) => {
                tracing::debug!(%error, "the dashboard cannot look at the fleet now");
                None
            }
        };
        let event = overview.and_then(|overview| known.event(&overview));
        silent = if event.is_some() { 0 } else { silent + 1 };
        let ping = (silent % SILENT == 0 && event.is_none()).then(|| Bytes::from_static(b": here\n\n"));
        for piece in [piece.take(), event, ping].into_iter().flatten() {
            if to.send_timeout(piece, PATIENCE).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(STEP) => {}
            () = to.closed() => return,
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}
