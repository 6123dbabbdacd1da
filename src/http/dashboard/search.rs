//! Search: from a name, what is below it, or a serial, to certificates.

use maud::{Markup, html};

use super::Failure;
use super::overview::certificate;
use super::page::{self, names};
use super::text::when;
use crate::acme::identifier::{DnsName, Identifier};
use crate::http::App;
use crate::jose::{base64url, from_base64url};
use crate::service::inventory::{CertificateQuery, CertificateState, Page};
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// Certificates of one page.
const LIMIT: usize = 50;

/// Characters of what is searched for: the longest name there can be.
const LONGEST: usize = 255;

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// As it was typed.
    pub(super) text: String,
    /// `None`: whatever their state.
    pub(super) state: Option<CertificateState>,
    pub(super) after: Option<Vec<u8>>,
}

/// What a text means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Serial(Serial),
    Query(Box<CertificateQuery>),
    Nothing(&'static str),
}

impl Asked {
    /// Of a query string; what is not known there is passed over, since a page's address is nobody's contract.
    pub(super) fn of(query: &str) -> Self {
        let mut asked = Self { state: Some(CertificateState::Valid), ..Self::default() };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "q" => asked.text = value.trim().chars().take(LONGEST).collect(),
                "state" => {
                    asked.state = CertificateState::ALL.into_iter().find(|state| state.name() == value)
                }
                "after" => {
                    asked.after = from_base64url(&value).filter(|key| crate::storage::limits::is_key(key))
                }
                _ => {}
            }
        }
        asked
    }

    fn meaning(&self) -> Meaning {
        let text = self.text.to_ascii_lowercase();
        let hex: String = text.chars().filter(|c| *c != ':').collect();
        if let Some(serial) = Serial::parse(&hex) {
            return Meaning::Serial(serial);
        }
        let query = CertificateQuery { state: self.state, ..CertificateQuery::default() };
        let query = if let Some(key) = KeyHash::parse(&hex) {
            CertificateQuery { key: Some(key), ..query }
        } else if let Some(ip) = text.parse().ok().and_then(|ip| Identifier::from_ip(ip).ok()) {
            CertificateQuery { name: Some(ip), ..query }
        } else if text.is_empty() {
            query
        } else {
            let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(&text);
            match DnsName::parse(below) {
                Ok(name) => CertificateQuery { suffix: Some(name), ..query },
                Err(_) => {
                    return Meaning::Nothing(
                        "That is no name, address, serial or key hash. Give a whole name; what is below it is found as well.",
                    );
                }
            }
        };
        Meaning::Query(Box::new(query))
    }

    fn next(&self, page: &Page) -> Option<String> {
        let after = page.next.as_ref()?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &self.text);
        query.append_pair("state", self.state.map_or("any", CertificateState::name));
        query.append_pair("after", &base64url(after));
        Some(format!("/dashboard/search?{}", query.finish()))
    }
}

/// What search leads to.
pub(super) enum Found {
    /// Straight to a page.
    At(String),
    /// A list.
    Page(Markup),
}

/// Searches.
pub(super) async fn search(app: &App, asked: &Asked) -> Result<Found, Failure> {
    let now = app.service.now();
    let (page, problem) = match asked.meaning() {
        Meaning::Serial(serial) => return Ok(Found::At(certificate(&serial))),
        Meaning::Nothing(why) => (None, Some(why)),
        Meaning::Query(query) => {
            (Some(app.service.certificates(&query, asked.after.as_deref(), LIMIT).await?), None)
        }
    };
    Ok(Found::Page(html! {
        div.search {
            h1 { "Certificates" }
            (form(asked))
            @if let Some(why) = problem { p.problem role="alert" { (why) } }
            @if let Some(page) = page { (results(asked, &page, now)) }
        }
    }))
}

fn form(asked: &Asked) -> Markup {
    let chosen = asked.state;
    html! {
        form.find action="/dashboard/search" method="get" role="search" {
            label for="q" { "Name, address, serial or key hash" }
            input #q type="search" name="q" value=(asked.text) maxlength=(LONGEST) autocomplete="off" autocapitalize="none"
                spellcheck="false" placeholder="web.example.internal";
            label.quiet for="state" { "State" }
            select #state name="state" {
                @for state in CertificateState::ALL {
                    option value=(state.name()) selected[chosen == Some(state)] { (state.name()) }
                }
                option value="any" selected[chosen.is_none()] { "any state" }
            }
            button type="submit" { "Search" }
        }
    }
}

fn results(asked: &Asked, page: &Page, now: Timestamp) -> Markup {
    let next = asked.next(page);
    html! {
        @if page.building.is_some() { p.note { "The index of an older store is being built: some may be missing." } }
        @if page.certificates.is_empty() {
            p.detail { @if next.is_some() { "None among those looked through so far." } @else { "There is none." } }
        } @else {
            table.rows {
                caption.quiet { "Certificates found" }
                thead { tr {
                    th scope="col" { "Names" } th scope="col" { "State" } th scope="col" { "Signed" } th scope="col" { "Expires" }
                    th scope="col" { "By" }
                } }
                tbody {
                    @for found in &page.certificates {
                        tr {
                            th scope="row" data-label="Names" {
                                a href=(certificate(&found.serial)) { (names(&found.content.identifiers, 3)) }
                            }
                            td data-label="State" { (page::standing(found.state(now))) }
                            td.when data-label="Signed" { (when(found.record.issued, now)) }
                            td.when data-label="Expires" { (when(found.record.not_after, now)) }
                            td.by data-label="By" { (super::story::door(found)) }
                        }
                    }
                }
            }
        }
        @if let Some(next) = next { p.pages { a href=(next) { "More" } } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_understood() {
        let meaning = |text: &str| Asked { text: text.into(), ..Asked::default() }.meaning();
        let query = |text: &str| match meaning(text) {
            Meaning::Query(query) => *query,
            other => panic!("{other:?}"),
        };
        let below = query("Example.internal").suffix.unwrap();
        assert_eq!(below.as_str(), "example.internal");
        assert_eq!(query("*.example.internal").suffix.unwrap().as_str(), "example.internal");
        assert_eq!(query(".internal").suffix.unwrap().as_str(), "internal");
        assert_eq!(query("10.0.0.1").name, Some(Identifier::from_ip("10.0.0.1".parse().unwrap()).unwrap()));
        assert_eq!(query(&"AB".repeat(32)).key, Some(KeyHash([0xab; 32])));
        assert_eq!(query(""), CertificateQuery::default());
        let serial = "ab".repeat(19);
        assert_eq!(meaning(&serial), Meaning::Serial(Serial::parse(&serial).unwrap()));
        for odd in ["<script>", "a b", "\"'", "a..b", "%00"] {
            assert!(matches!(meaning(odd), Meaning::Nothing(_)), "{odd}");
        }
    }

    #[test]
    fn addresses_of_pages() {
        let asked = Asked::of("q=+a.test+&state=revoked&x=y&after=AAAA");
        assert_eq!((asked.text.as_str(), asked.state), ("a.test", Some(CertificateState::Revoked)));
        assert_eq!(Asked::of("state=any").state, None);
        assert_eq!(Asked::of("").state, Some(CertificateState::Valid));
        assert_eq!(Asked::of(&format!("q={}", "x".repeat(9000))).text.len(), LONGEST);
        let page = Page { certificates: Vec::new(), next: Some(vec![1, 2, 3]), building: None };
        let next = Asked { text: "\"><a".into(), state: None, after: None }.next(&page).unwrap();
        assert_eq!(next, "/dashboard/search?q=%22%3E%3Ca&state=any&after=AQID");
    }
}
