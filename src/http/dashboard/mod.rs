//! The dashboard: what an operator wants to see of the fleet, rendered here, readable without a script and
//! without anything from elsewhere.
//!
//! On the admin socket and the admin listener, for those who may command; nothing here changes anything. With
//! `[admin] dashboard_on_loopback` also on the main listener, for this machine (`access` says who that is).
//! Whatever a client has sent (names, user agents, reasons) goes through the templates' escaping; scripts and
//! styles run only from here.

pub(super) mod access;
mod assets;
mod events;
mod heatmap;
mod identities;
mod overview;
mod page;
mod refused;
mod search;
mod story;
#[cfg(test)]
mod tests;
mod text;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request;
use hyper::{Method, StatusCode};
use maud::Markup;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::Instant;

use self::overview::Overview;
use self::page::{Place, frame, trouble};
use self::search::Found;
use super::{App, Response, reply};
use crate::service::{self, Service};
use crate::storage::StoreError;
use crate::x509::serial::Serial;

/// Streams of changes at once, through each kind of door.
const STREAMS: usize = 16;

/// How long a look at the fleet serves all who look.
const FRESH: Duration = Duration::from_secs(1);

/// Everything that a page may load is from here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The dashboard of a running server.
#[derive(Clone)]
pub struct Dashboard(Arc<Inner>);

struct Inner {
    service: Arc<Service>,
    /// Whether it is shown to this machine on the main listener.
    on_loopback: bool,
    stop: watch::Receiver<bool>,
    places: Places,
    seen: Mutex<Option<(Instant, Arc<Overview>)>>,
}

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    /// Whoever is on this machine, through the main listener.
    Here,
    /// Who may command the CA, through the admin socket or the admin listener.
    Operator,
}

/// Places for streams: who needs no certificate takes none of those who have one.
struct Places {
    here: Arc<Semaphore>,
    operators: Arc<Semaphore>,
}

impl Places {
    fn of(&self, viewer: Viewer) -> Arc<Semaphore> {
        match viewer {
            Viewer::Here => self.here.clone(),
            Viewer::Operator => self.operators.clone(),
        }
    }
}

/// Why there is no page.
#[derive(Debug)]
enum Failure {
    NoPage,
    Method,
    Service(service::Error),
}

impl From<service::Error> for Failure {
    fn from(error: service::Error) -> Self {
        Self::Service(error)
    }
}

impl Dashboard {
    /// For this service. Streams end when `stop` turns true.
    pub fn new(service: Arc<Service>, on_loopback: bool, stop: watch::Receiver<bool>) -> Self {
        let of_door = || Arc::new(Semaphore::new(STREAMS));
        let places = Places { here: of_door(), operators: of_door() };
        Self(Arc::new(Inner { service, on_loopback, stop, places, seen: Mutex::new(None) }))
    }

    /// The fleet as it was a moment ago at most: however many look, one reads.
    async fn overview(&self) -> Result<Arc<Overview>, service::Error> {
        let mut seen = self.0.seen.lock().await;
        if let Some((at, overview)) = &*seen
            && at.elapsed() < FRESH
        {
            return Ok(overview.clone());
        }
        let overview = Arc::new(Overview::gather(&self.0.service).await?);
        *seen = Some((Instant::now(), overview.clone()));
        Ok(overview)
    }
}

/// Whether a path is the dashboard's.
pub(super) fn is_here(path: &str) -> bool {
    path == "/dashboard" || path.starts_with("/dashboard/")
}

/// Answers a request on the main listener, if the dashboard is shown there; `None` if it is not.
pub(super) async fn on_loopback(
    app: &App,
    peer: IpAddr,
    head: &request::Parts,
    id: &str,
) -> Option<Response> {
    if !app.dashboard.0.on_loopback || !is_here(head.uri.path()) {
        return None;
    }
    Some(match access::admits(peer, head) {
        Ok(()) => answer(app, Viewer::Here, head, id).await,
        Err(why) => {
            let text = trouble("this machine only", "Not from here", why);
            dressed(html(StatusCode::FORBIDDEN, text))
        }
    })
}

/// Answers a request of somebody who may look.
pub(super) async fn answer(app: &App, viewer: Viewer, head: &request::Parts, id: &str) -> Response {
    let host = host(app);
    let response = match route(app, viewer, head).await {
        Ok(response) => response,
        Err(failure) => {
            let (status, title, detail) = match &failure {
                Failure::NoPage | Failure::Service(service::Error::NotFound) => (
                    StatusCode::NOT_FOUND,
                    "There is no such page",
                    "A certificate may have been swept away since.".to_owned(),
                ),
                Failure::Method => (
                    StatusCode::METHOD_NOT_ALLOWED,
                    "Only for looking",
                    "Nothing is changed here.".to_owned(),
                ),
                Failure::Service(service::Error::Refused(refusal)) => (
                    StatusCode::BAD_REQUEST,
                    "That cannot be searched for",
                    refusal.detail.clone().into_owned(),
                ),
                Failure::Service(
                    error @ (service::Error::Busy(_)
                    | service::Error::IssuerNotValid(_)
                    | service::Error::Store(StoreError::Busy | StoreError::NoSpace(_))),
                ) => {
                    tracing::warn!(request = id, %error, "the dashboard cannot be shown now");
                    (
                        StatusCode::SERVICE_UNAVAILABLE,
                        "Not now",
                        "The server is busy; reload the page in a moment.".to_owned(),
                    )
                }
                Failure::Service(error) => {
                    tracing::error!(request = id, %error, "the dashboard failed through a fault of ours");
                    (
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "Something is wrong here",
                        format!("The server's log has it under {id}."),
                    )
                }
            };
            let mut response = html(status, trouble(host, title, &detail));
            if matches!(failure, Failure::Method) {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            response
        }
    };
    dressed(response)
}

fn host(app: &App) -> &str {
    app.base_url.strip_prefix("https://").unwrap_or(&app.base_url)
}

async fn route(app: &App, viewer: Viewer, head: &request::Parts) -> Result<Response, Failure> {
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Err(Failure::Method);
    }
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let page = |title: &str, place, live, main: &Markup| {
        html(StatusCode::OK, frame(title, host(app), place, live, main))
    };
    Ok(match path.strip_prefix("/dashboard").map(|rest| rest.trim_start_matches('/')) {
        Some("") if path == "/dashboard" => {
            let overview = app.dashboard.overview().await?;
            page("Overview", Place::Overview, Some("/dashboard/events"), &overview.main())
        }
        Some("events") if head.method == Method::GET => events::open(app, viewer, &head.headers, query),
        Some("search") => match search::search(app, &search::Asked::of(query)).await? {
            Found::At(page) => see_other(&page),
            Found::Page(main) => page("Search", Place::Search, None, &main),
        },
        Some("identities") => {
            let asked = identities::Asked::of(query).ok_or(Failure::NoPage)?;
            let main = identities::main(app, asked).await?;
            page(identities::title(&asked), Place::Overview, None, &main)
        }
        Some("refused") => {
            let main = refused::main(app, refused::after(query).ok_or(Failure::NoPage)?).await?;
            page("Refused requests", Place::Overview, None, &main)
        }
        Some(rest) => match rest.strip_prefix("certificates/").and_then(Serial::parse) {
            Some(serial) => {
                let story = app.service.story(serial).await?;
                let live = app.service.live();
                let issuer = story.certificate.record.issuer;
                let authority = live.authorities.iter().find(|one| {
                    one.issuer().key_id() == &issuer
                        || one.others().iter().any(|other| other.key_id() == &issuer)
                });
                let authority = authority.map(|one| one.name().to_string());
                let main = story::main(&story, authority.as_deref(), app.service.now());
                page(&story::title(&story.certificate), Place::Search, None, &main)
            }
            None => assets::of(path).ok_or(Failure::NoPage)?.response(),
        },
        None => return Err(Failure::NoPage),
    })
}

fn html(status: StatusCode, page: Markup) -> Response {
    reply(status, "text/html; charset=utf-8", page.into_string())
}

fn see_other(to: &str) -> Response {
    let mut response = reply(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// The way from `/`, where somebody has typed the host alone.
pub(super) fn from_root() -> Response {
    dressed(see_other("/dashboard"))
}

/// What every response here says to the browser.
fn dressed(mut response: Response) -> Response {
    let rows: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in rows {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
