//! What all pages have: the frame, marks of states, and the way of an error.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets::{SCRIPT, STYLE};
use crate::fleet::{Cause, State};
use crate::service::inventory::CertificateState;

/// Which entry of the menu a page belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The fleet at a glance.
    Overview,
    /// Search, and what it leads to.
    Search,
}

/// The mark in the browser's tab: a mayfly's wings, in the CA's green.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E\
                    %3Cpath fill='%23107a5b' d='M16 29c-1 0-1-8-1-12C9 18 3 14 2 7c7-2 12 2 14 7 2-5 7-9 14-7-1 7-7 11-13 \
                    10 0 4 0 12-1 12z'/%3E%3C/svg%3E";

const MARK: &str = r#"<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><path d="M16 29c-1 0-1-8-1-12C9 18 3 14 2 7c7-2 12 2 14 7 2-5 7-9 14-7-1 7-7 11-13 10 0 4 0 12-1 12z"/></svg>"#;

/// A whole page. `live` is where it hears of changes, if it does.
pub(super) fn frame(title: &str, host: &str, place: Place, live: Option<&str>, main: &Markup) -> Markup {
    let entry = |to: Place, href: &str, text: &str| {
        html! { a href=(href) aria-current=[(to == place).then_some("page")] { (text) } }
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Mayfly" }
                link rel="icon" href=(PreEscaped(ICON));
                link rel="stylesheet" href=(STYLE.path);
                @if live.is_some() { noscript { meta http-equiv="refresh" content="60"; } }
                script src=(SCRIPT.path) defer {}
            }
            body data-events=[live] {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href="/dashboard" { (PreEscaped(MARK)) span { "Mayfly" } }
                    span.host { (host) }
                    nav aria-label="Dashboard" {
                        (entry(Place::Overview, "/dashboard", "Overview"))
                        (entry(Place::Search, "/dashboard/search", "Search"))
                    }
                    @if live.is_some() { p.live #live data-state="off" { span.dot aria-hidden="true" {} span.word { "Not live" } } }
                }
                main #main tabindex="-1" { (main) }
                footer.bottom { p { "All times are UTC." } }
                div #announce .quiet aria-live="polite" {}
            }
        }
    }
}

/// A state's shape; its word stands beside it.
fn shape(name: &str) -> PreEscaped<&'static str> {
    PreEscaped(match name {
        "healthy" | "valid" | "issued" | "proved" | "allowed" | "trusted" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7"/><path class="in" d="M4.8 8.3l2.2 2.2 4.2-4.6"/></svg>"#
        }
        "due" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="7"/><path class="in" d="M8 4.2V8l2.6 1.8"/></svg>"#
        }
        "overdue" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M8 .9l7.6 13.7H.4z"/><path class="in" d="M8 5.6v4.2M8 12.1v.3"/></svg>"#
        }
        "expired" | "failed" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><rect x="1" y="1" width="14" height="14" rx="3"/><path class="in" d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"/></svg>"#
        }
        "revoked" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5 .9h6L15.1 5v6L11 15.1H5L.9 11V5z"/><path class="in" d="M4.6 8h6.8"/></svg>"#
        }
        "opened" => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><circle class="hollow" cx="8" cy="8" r="6"/><circle cx="8" cy="8" r="2.4"/></svg>"#
        }
        _ => {
            r#"<svg viewBox="0 0 16 16" aria-hidden="true"><circle class="hollow" cx="8" cy="8" r="6"/><path class="line" d="M5.2 8h5.6"/></svg>"#
        }
    })
}

/// A state, by shape, colour and word.
pub(super) fn mark(name: &str) -> Markup {
    html! { span class={ "state is-" (name) } { (shape(name)) span { (name) } } }
}

/// An identity's.
pub(super) fn state(state: State) -> Markup {
    mark(state.name())
}

/// A certificate's.
pub(super) fn standing(state: CertificateState) -> Markup {
    mark(state.name())
}

/// Why attempts fail, in a sentence's end.
pub(super) fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Dns => "DNS queries fail",
        Cause::Connection => "the host cannot be reached",
        Cause::Content => "the challenge is answered with something else",
        Cause::Tls => "the validation's TLS fails",
        Cause::Caa => "CAA records forbid it",
        Cause::Policy => "the CA's rules refuse it",
        Cause::Limits => "there were too many requests",
        Cause::Other => "another error",
    }
}

/// Names, the first few of them, each where it may break.
pub(super) fn names<T: ToString>(names: &[T], most: usize) -> Markup {
    let more = names.len().saturating_sub(most);
    html! {
        span.names {
            @for name in names.iter().take(most) { span.name { (breakable(&name.to_string())) } }
            @if more > 0 { span.more { "and " (more) " more" } }
        }
    }
}

/// Where a long name may go on in the next line.
pub(super) fn breakable(name: &str) -> Markup {
    let mut parts = name.split_inclusive('.');
    let first = parts.next().unwrap_or_default();
    html! { (first) @for part in parts { wbr; (part) } }
}

/// A page that says what went wrong.
pub(super) fn trouble(host: &str, title: &str, detail: &str) -> Markup {
    let main = html! {
        div.trouble { h1 { (title) } p { (detail) } p { a href="/dashboard" { "To the overview" } } }
    };
    frame(title, host, Place::Search, None, &main)
}
