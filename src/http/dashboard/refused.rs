//! Requests that were refused, page by page.

use maud::{Markup, html};

use super::Failure;
use super::page::names;
use super::text::when;
use crate::audit::refused::{Asked as What, RefusedRequest};
use crate::http::App;
use crate::service::refused::RefusedQuery;
use crate::time::Timestamp;

/// Refusals of one page.
const LIMIT: usize = 50;

/// Where a page goes on, of a query string; `None` if that is no number.
pub(super) fn after(query: &str) -> Option<Option<u64>> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    match pairs.find(|(key, _)| key == "after") {
        None => Some(None),
        Some((_, value)) => value.parse().ok().map(Some),
    }
}

/// The page's main part.
pub(super) async fn main(app: &App, after: Option<u64>) -> Result<Markup, Failure> {
    let now = app.service.now();
    let page = app.service.refused_requests(&RefusedQuery::default(), after, LIMIT).await?;
    Ok(html! {
        div.search {
            h1 { "Refused requests" }
            p.detail { "Requests of accounts, the newest first; what is refused again and again is one row an hour." }
            @if page.refused.is_empty() { p.detail { "There is none." } } @else {
                table.rows {
                    caption.quiet { "Requests that were refused, the newest first" }
                    thead { tr {
                        th scope="col" { "Last" } th scope="col" { "Names" } th scope="col" { "Why" } th scope="col" { "By" }
                    } }
                    tbody { @for (_, refused) in &page.refused { (row(refused, now)) } }
                }
            }
            @if let Some(next) = page.next {
                p.pages { a href={ "/dashboard/refused?after=" (next) } { "More" } }
            }
        }
    })
}

fn row(refused: &RefusedRequest, now: Timestamp) -> Markup {
    let account = refused.account.map(|account| account.to_string());
    html! {
        tr {
            td.when data-label="Last" {
                (when(refused.last, now))
                @if refused.times > 1 { " · " (refused.times) " times" }
            }
            th scope="row" data-label="Names" {
                @match refused.asked {
                    What::Others => "further refusals, not kept one by one",
                    What::Order | What::Authorization | What::Certificate => {
                        (names(&refused.names, 2))
                        @if refused.others > 0 { " and " (refused.others) " more" }
                    }
                }
            }
            td data-label="Why" {
                @match refused.asked {
                    What::Others => (refused.error.name()),
                    What::Order | What::Authorization | What::Certificate => { (refused.error.name()) ": " (refused.detail) }
                }
            }
            td.by data-label="By" {
                (refused.provisioner)
                @if let Some(client) = &refused.client { ", " (client.address) " " (client.user_agent) }
                @if let Some(account) = account { ", account " (account) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_page_goes_on() {
        for (query, want) in
            [("", Some(None)), ("after=7", Some(Some(7))), ("after=x", None), ("x=1", Some(None))]
        {
            assert_eq!(after(query), want, "{query}");
        }
    }
}
