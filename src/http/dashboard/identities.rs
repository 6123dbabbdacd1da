//! Identities in one state, page by page.

use maud::{Markup, html};

use super::Failure;
use super::overview::{named, table};
use super::text::count;
use crate::fleet::State;
use crate::http::App;

/// Identities of one page.
const LIMIT: usize = 50;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    state: State,
    after: Option<(u32, u32)>,
}

impl Asked {
    /// Of a query string; `None` if it names no state that there is a list of.
    pub(super) fn of(query: &str) -> Option<Self> {
        let (mut state, mut after) = (Some(State::Overdue), None);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "state" => {
                    state = State::ALL.iter().copied().find(|state| state.name() == value);
                }
                "after" => {
                    let (end, slot) = value.split_once('.')?;
                    after = Some((end.parse().ok()?, slot.parse().ok()?));
                }
                _ => {}
            }
        }
        let state = state.filter(|state| *state != State::Healthy)?;
        Some(Self { state, after })
    }
}

/// The page's title.
pub(super) fn title(asked: &Asked) -> &'static str {
    match asked.state {
        State::Healthy => "Healthy identities",
        State::Due => "Identities that are due",
        State::Overdue => "Overdue identities",
        State::Expired => "Expired identities",
        State::Retired => "Retired identities",
    }
}

/// The page's main part.
pub(super) async fn main(app: &App, asked: Asked) -> Result<Markup, Failure> {
    let service = &app.service;
    let now = service.now();
    service.fleet().advance(now);
    let all = service.fleet().summary().of(asked.state);
    let listed = service.fleet().list(asked.state, asked.after, LIMIT);
    let next = (listed.len() == LIMIT).then(|| listed.last().map(|(_, place)| *place)).flatten();
    let identities: Vec<_> = listed.into_iter().map(|(identity, _)| identity).collect();
    let rows = named(service, &identities).await?;
    Ok(html! {
        div.search {
            h1 { (title(&asked)) }
            p.detail { (count(all, "identity", "identities")) ", what expires first in front" }
            @if rows.is_empty() { p.detail { "There is none." } } @else { (table(title(&asked), &rows, now)) }
            @if let Some((end, slot)) = next {
                p.pages { a href={ "/dashboard/identities?state=" (asked.state.name()) "&after=" (end) "." (slot) } { "More" } }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_pages() {
        let asked = |state, after| Some(Asked { state, after });
        for (query, want) in [
            ("", asked(State::Overdue, None)),
            ("state=expired", asked(State::Expired, None)),
            ("state=due&after=7.9", asked(State::Due, Some((7, 9)))),
            ("state=healthy", None),
            ("state=<script>", None),
            ("state=due&after=x", None),
            ("state=due&after=1.99999999999", None),
        ] {
            assert_eq!(Asked::of(query), want, "{query}");
        }
    }
}
