//! The fleet at a glance: sections that are replaced one by one when something has changed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use maud::{Markup, html};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::heatmap::Heatmap;
use super::page::{self, because, names};
use super::text::{count, number, relative, span, time, when};
use crate::authority::authorities::Authority;
use crate::authority::rotation::{IssuerFacts, Role, Stage, Step};
use crate::fleet::recent::{Happening, MINUTES, Minute, What};
use crate::fleet::{Cause, Identity, State, Summary};
use crate::service::inventory::ListedCertificate;
use crate::service::rotation::Rotation;
use crate::service::{Error, Service};
use crate::time::Timestamp;
use crate::x509::hex;
use crate::x509::serial::Serial;

/// Identities that are told of one by one.
const ATTENTION: usize = 12;

/// Happenings that are.
const HAPPENINGS: usize = 10;

/// One section.
#[derive(Debug)]
pub(super) struct Section {
    /// Its id in the page.
    pub(super) id: &'static str,
    /// What is in it.
    pub(super) html: String,
    /// A digest of that.
    pub(super) version: String,
}

/// All of them, as of one moment.
#[derive(Debug)]
pub(super) struct Overview {
    /// In the page's order.
    pub(super) sections: Vec<Section>,
    /// What a screen reader says when it changes.
    pub(super) announce: String,
}

impl Overview {
    /// Reads what there is to see: a bounded number of rows, however large the fleet.
    pub(super) async fn gather(service: &Service) -> Result<Self, Error> {
        let now = service.now();
        let fleet = service.fleet();
        fleet.advance(now);
        let summary = fleet.summary();
        let complete = fleet.is_complete();
        let attention = attention(service, &summary, now).await?;
        let (last, minutes) = fleet.recent(now);
        let activity = activity(service, &last, &minutes, now).await;
        let heatmap = Heatmap::of(fleet, now);
        let authorities = service.live().authorities.iter().cloned().collect::<Vec<_>>();
        let sections = [
            ("horizon", horizon(&summary, complete, now)),
            ("states", states(&summary)),
            ("attention", attention),
            ("expiries", html! { h2 { "Expiries" } (heatmap.render()) }),
            ("activity", activity),
            ("authorities", issuers(&service.rotations(), &authorities, now)),
        ];
        let late = summary.of(State::Overdue) + summary.of(State::Expired);
        let announce = match late {
            0 => "No identity is overdue".to_owned(),
            _ => format!(
                "{} overdue, {} expired",
                count(summary.of(State::Overdue), "identity", "identities"),
                number(summary.of(State::Expired))
            ),
        };
        Ok(Self { sections: sections.map(|(id, html)| Section::new(id, html)).into(), announce })
    }

    /// Which version of everything this is, for whoever asks later what has changed.
    pub(super) fn version(&self) -> String {
        self.sections.iter().map(|section| section.version.as_str()).collect::<Vec<_>>().join(".")
    }

    /// The page's main part.
    pub(super) fn main(&self) -> Markup {
        html! {
            h1.quiet { "The fleet at a glance" }
            div.overview data-version=(self.version()) {
                @for section in &self.sections {
                    section id=(section.id) class={ "card " (section.id) } { (maud::PreEscaped(&section.html)) }
                }
            }
        }
    }
}

impl Section {
    fn new(id: &'static str, html: Markup) -> Self {
        let html = html.into_string();
        let hash = digest(&SHA256, html.as_bytes());
        Self { id, version: hex::encode(hash.as_ref().get(..4).unwrap_or_default()), html }
    }
}

fn horizon(summary: &Summary, complete: bool, now: Timestamp) -> Markup {
    html! {
        h2 { "If the CA stopped now" }
        @if !complete { p.note { "The inventory is still being read: there is more than this." } }
        @match summary.horizon {
            None => { p.figure { "Nothing would expire" } p.detail { "There is no live certificate." } }
            Some(horizon) => {
                p.figure {
                    span.lead { "the first certificate expires " }
                    strong { @if horizon.first > now { "in " (span(horizon.first.since(now))) } @else { "now" } }
                }
                dl.marks {
                    div { dt { "First" } dd { (time(horizon.first, now)) } }
                    div { dt { "5 %" } dd { (when(horizon.twentieth, now)) } }
                    div { dt { "Half" } dd { (when(horizon.half, now)) } }
                }
            }
        }
    }
}

fn states(summary: &Summary) -> Markup {
    let all = summary.identities();
    let failing: u64 = summary.failing.iter().sum();
    let causes: Vec<(Cause, u64)> = Cause::ALL
        .iter()
        .map(|cause| (*cause, summary.failing[*cause as usize]))
        .filter(|(_, count)| *count > 0)
        .collect();
    html! {
        h2 { (count(all, "identity", "identities")) }
        ul.tiles {
            @for state in State::ALL {
                @let count = summary.of(*state);
                li class={ "tile is-" (state.name()) @if count == 0 { " none" } } {
                    @let inside = html! { (page::state(*state)) b { (number(count)) } };
                    @match state {
                        State::Healthy => div { (inside) },
                        State::Due | State::Overdue | State::Expired | State::Retired => {
                            a href={ "/dashboard/identities?state=" (state.name()) } { (inside) }
                        }
                    }
                }
            }
        }
        @if failing > 0 {
            p.detail {
                (count(failing, "identity fails", "identities fail")) " to renew: "
                @for (place, (cause, count)) in causes.iter().enumerate() {
                    @if place > 0 { ", " } span.nowrap { (cause.name()) " " (number(*count)) }
                }
            }
        }
    }
}

/// Identities with their names, which the inventory has.
pub(super) async fn named(
    service: &Service,
    identities: &[Identity],
) -> Result<Vec<(Identity, Vec<String>)>, Error> {
    let mut named = Vec::with_capacity(identities.len());
    for identity in identities {
        let names = match service.listed_certificate(identity.serial).await {
            Ok(found) => found.content.identifiers.iter().map(ToString::to_string).collect(),
            // Swept meanwhile.
            Err(Error::NotFound) => vec![identity.id.to_string()],
            Err(error) => return Err(error),
        };
        named.push((*identity, names));
    }
    Ok(named)
}

async fn attention(service: &Service, summary: &Summary, now: Timestamp) -> Result<Markup, Error> {
    let fleet = service.fleet();
    let mut late: Vec<Identity> = Vec::new();
    for state in [State::Overdue, State::Expired] {
        let left = ATTENTION - late.len().min(ATTENTION);
        late.extend(fleet.list(state, None, left).into_iter().map(|(identity, _)| identity));
    }
    let all = summary.of(State::Overdue) + summary.of(State::Expired);
    let rows = named(service, &late).await?;
    Ok(html! {
        h2 { "Needs attention" @if all > 0 { " " span.badge { (number(all)) } } }
        @if rows.is_empty() {
            p.calm { (page::mark("healthy")) span { "Every identity renews as it should." } }
        } @else {
            (table("Identities that should have renewed and have not, overdue ones first", &rows, now))
            @if all > rows.len() as u64 {
                p.detail {
                    a href="/dashboard/identities?state=overdue" { "All that are overdue" } " · "
                    a href="/dashboard/identities?state=expired" { "All that have expired" }
                }
            }
        }
    })
}

/// A table of identities.
pub(super) fn table(caption: &str, rows: &[(Identity, Vec<String>)], now: Timestamp) -> Markup {
    html! {
        table.rows {
            caption.quiet { (caption) }
            thead { tr {
                th scope="col" { "State" } th scope="col" { "Names" } th scope="col" { "Why" } th scope="col" { "Expires" }
            } }
            tbody {
                @for (identity, of) in rows {
                    tr {
                        td data-label="State" { (page::state(identity.state)) }
                        th scope="row" data-label="Names" { a href=(certificate(&identity.serial)) { (names(of, 2)) } }
                        td data-label="Why" { (why(identity, now)) }
                        td.when data-label="Expires" { (when(identity.not_after, now)) }
                    }
                }
            }
        }
    }
}

/// What is to be said of an identity's renewal.
pub(super) fn why(identity: &Identity, now: Timestamp) -> String {
    let failures: u32 = identity.failures.iter().map(|count| u32::from(*count)).sum();
    match (identity.last_failure, identity.state) {
        (Some((at, cause)), _) => format!(
            "{}, the last {}: {}",
            count(u64::from(failures), "attempt failed", "attempts failed"),
            relative(at, now),
            because(cause)
        ),
        (None, State::Overdue | State::Expired) => {
            format!("silent: no attempt since it was issued {}", relative(identity.issued, now))
        }
        (None, State::Healthy) => format!("expected to renew {}", relative(identity.due, now)),
        (None, State::Due) => format!(
            "expected since {}, late {}",
            relative(identity.due, now),
            relative(identity.overdue, now)
        ),
        (None, State::Retired) => "not expected to renew".to_owned(),
    }
}

/// A certificate's page.
pub(super) fn certificate(serial: &Serial) -> String {
    format!("/dashboard/certificates/{serial}")
}

async fn activity(
    service: &Service,
    last: &[Happening],
    minutes: &[Minute; MINUTES],
    now: Timestamp,
) -> Markup {
    let mut rows = Vec::new();
    for happening in last.iter().take(HAPPENINGS) {
        let found = match &happening.what {
            What::Issued(serial) => match service.listed_certificate(*serial).await {
                Ok(found) => Some(found),
                // Swept, or the store is busy: without it the rest is still to be seen.
                Err(error) => {
                    tracing::debug!(%error, %serial, "a certificate of the last ones is not there");
                    continue;
                }
            },
            What::Failed { .. } => None,
        };
        rows.push((happening, found));
    }
    let (issued, failed) = minutes.iter().fold((0, 0), |(issued, failed), minute| {
        (issued + u64::from(minute.issued), failed + u64::from(minute.failed))
    });
    html! {
        h2 { "Activity" }
        p.detail { (count(issued, "certificate", "certificates")) " issued and " (count(failed, "attempt", "attempts")) " failed in the last hour" }
        (bars(minutes))
        @if rows.is_empty() { p.detail { "Nothing has happened since the CA was started." } } @else {
            table.rows.compact {
                caption.quiet { "What happened last, the newest first" }
                thead { tr { th scope="col" { "Time" } th scope="col" { "Result" } th scope="col" { "Names" } th scope="col" { "By" } } }
                tbody { @for (happening, found) in &rows { (happened(happening, found.as_ref(), now)) } }
            }
        }
        p.detail { a href="/dashboard/refused" { "Refused requests, with who and why" } }
    }
}

fn happened(happening: &Happening, found: Option<&ListedCertificate>, now: Timestamp) -> Markup {
    let (result, of, by) = match &happening.what {
        What::Issued(serial) => {
            let of = found.map(
                |found| html! { a href=(certificate(serial)) { (names(&found.content.identifiers, 1)) } },
            );
            let by = found.map(super::story::door).unwrap_or_default();
            ("issued", of.unwrap_or_default(), by)
        }
        What::Failed { names: of, others, cause } => {
            let more = html! { @if *others > 0 { " and " (others) " more" } };
            ("failed", html! { (names(of, 1)) (more) }, because(*cause).to_owned())
        }
    };
    html! {
        tr {
            td.when data-label="Time" { (time(happening.at, now)) }
            td data-label="Result" { (page::mark(result)) }
            th scope="row" data-label="Names" { (of) }
            td.by data-label="By" { (by) }
        }
    }
}

/// Issuances and failures of the last hour, a bar for each minute.
fn bars(minutes: &[Minute; MINUTES]) -> Markup {
    const HEIGHT: u32 = 48;
    let most = minutes.iter().map(|minute| minute.issued + minute.failed).max().unwrap_or_default().max(1);
    let tall = |value: u32| if value == 0 { 0 } else { (value * HEIGHT / most).max(2) };
    html! {
        svg.bars viewBox="0 0 600 50" preserveAspectRatio="none" role="img"
            aria-label={ "The last hour by the minute; at most " (most) " in one" } {
            @for (place, minute) in minutes.iter().enumerate() {
                @let (good, bad) = (tall(minute.issued), tall(minute.failed));
                @if good > 0 { rect.good x=(place * 10 + 1) y=(HEIGHT.saturating_sub(good)) width="8" height=(good) {} }
                @if bad > 0 { rect.bad x=(place * 10 + 1) y=(HEIGHT.saturating_sub(good + bad)) width="8" height=(bad) {} }
            }
            line x1="0" x2="600" y1="49" y2="49" {}
        }
        p.axis aria-hidden="true" { span { "an hour ago" } span { "now" } }
    }
}

fn issuers(rotations: &[Rotation], authorities: &[Arc<Authority>], now: Timestamp) -> Markup {
    html! {
        h2 { "Authorities" }
        @for rotation in rotations {
            @let authority = authorities.iter().find(|one| *one.name() == rotation.authority);
            h3 { (rotation.authority) " " span.stage { (stage(rotation.standing.stage)) } }
            table.rows.compact {
                caption.quiet { "Issuers and roots of the authority " (rotation.authority) }
                thead { tr { th scope="col" { "Certificate" } th scope="col" { "Role" } th.n scope="col" { "Live" } th scope="col" { "Expires" } } }
                tbody {
                    @for (role, issuer) in rotation.facts.issuers() { (issuer_row(role, issuer, now)) }
                    @for (subject, end) in authority.map(|one| roots(one)).unwrap_or_default() {
                        tr {
                            th scope="row" data-label="Certificate" { (subject) }
                            td data-label="Role" { "root" } td.n data-label="Live" { "–" }
                            td.when data-label="Expires" { (ending(end, now)) }
                        }
                    }
                }
            }
            p.detail { (next_step(rotation, now)) }
        }
    }
}

fn issuer_row(role: Role, issuer: &IssuerFacts, now: Timestamp) -> Markup {
    let live = issuer.live.map_or_else(|| "counting".to_owned(), |live| number(live.count));
    html! {
        tr {
            th scope="row" data-label="Certificate" { (issuer.subject) }
            td data-label="Role" { (role.name()) }
            td.n data-label="Live" { (live) }
            td.when data-label="Expires" { (ending(issuer.not_after, now)) }
        }
    }
}

/// CA certificates live for years: what is near is said so.
fn ending(end: Timestamp, now: Timestamp) -> Markup {
    const NEAR: std::time::Duration = std::time::Duration::from_secs(60 * 86_400);
    html! { @if end <= now + NEAR { (page::mark(if end <= now { "expired" } else { "due" })) " " } (when(end, now)) }
}

fn roots(authority: &Authority) -> Vec<(String, Timestamp)> {
    let read = |der: &Vec<u8>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        Some((parsed.subject().to_string(), Timestamp::from_secs(end)))
    };
    authority.roots().iter().filter_map(read).collect()
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Steady => "no rotation under way",
        Stage::Overlap => "next issuer published, not signing yet",
        Stage::Ready => "next issuer may sign",
        Stage::Counting => "counting the former issuer's certificates",
        Stage::HandingOver => "clients are called over",
        Stage::Draining => "waiting for the last clients",
        Stage::Drained => "former issuer may be retired",
    }
}

fn next_step(rotation: &Rotation, now: Timestamp) -> Markup {
    let step = match rotation.standing.step {
        Step::Start => "start",
        Step::Advance => "advance",
        Step::Retire(_) => "retire",
    };
    html! {
        @if rotation.standing.stage == Stage::Steady { "To replace the issuer: " } @else { "Next: " }
        code { "mayfly rotation " (step) }
        @match rotation.standing.from { Some(from) if from > now => { " from " (when(from, now)) } _ => {} }
    }
}
