//! One certificate's whole story.

use maud::{Markup, html};

use super::overview::{certificate, why};
use super::page::{self, breakable, names};
use super::text::{dated, relative, time, when};
use crate::acme::order::{Authorization, ChallengeState, Finish, Order, Slot};
use crate::authority::certificate::{Replacement, Revoker};
use crate::provisioner::Requester;
use crate::service::inventory::{CertificateState, ListedCertificate};
use crate::service::story::Story;
use crate::time::Timestamp;
use crate::x509::serial::Serial;
use crate::x509::{hex, pem};

/// The door a certificate came through, and the provisioner behind it.
pub(super) fn door(found: &ListedCertificate) -> String {
    match &found.record.requester {
        Requester::Acme { provisioner, .. } => format!("ACME, {provisioner}"),
        Requester::AutoRenewal { provisioner, .. } => format!("automatic renewal, {provisioner}"),
        Requester::Own => "this CA itself".to_owned(),
        Requester::Ceremony => "the operator".to_owned(),
    }
}

/// The page's title: its first name.
pub(super) fn title(found: &ListedCertificate) -> String {
    found.content.identifiers.first().map_or_else(|| found.serial.to_string(), ToString::to_string)
}

/// The page's main part. `authority` is whose issuer signed it.
pub(super) fn main(story: &Story, authority: Option<&str>, now: Timestamp) -> Markup {
    let found = &story.certificate;
    let state = found.state(now);
    let others = found.content.identifiers.len().saturating_sub(1);
    html! {
        div.story {
            div.heading {
                p.kicker { "Certificate" }
                h1 { (breakable(&title(found))) @if others > 0 { span.more { " and " (others) " more" } } }
                p { (page::standing(state)) " " span.far { (ending(state, found.record.not_after, now)) } }
            }
            section.card aria-labelledby="facts" { h2 #facts { "Facts" } (facts(story, authority, now)) }
            section.card aria-labelledby="history" { h2 #history { "How it came to be" } (history(story, now)) }
            section.card.wide aria-labelledby="series" { h2 #series { "Renewals of these names" } (series(story, now)) }
            section.card.wide aria-labelledby="pem" {
                h2 #pem { "The certificate itself" }
                details { summary { "PEM" } pre tabindex="0" { (pem::certificate(&found.record.der)) } }
            }
        }
    }
}

fn ending(state: CertificateState, not_after: Timestamp, now: Timestamp) -> String {
    match state {
        CertificateState::Valid => format!("expires {}", relative(not_after, now)),
        CertificateState::Expired => format!("expired {}", relative(not_after, now)),
        CertificateState::Revoked => "good for nothing any more".to_owned(),
    }
}

fn link(serial: &Serial) -> Markup {
    html! { a.code href=(certificate(serial)) { (serial) } }
}

fn row(name: &str, value: impl maud::Render) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn code(value: impl ToString) -> Markup {
    html! { span.code { (value.to_string()) } }
}

fn facts(story: &Story, authority: Option<&str>, now: Timestamp) -> Markup {
    let found = &story.certificate;
    let record = &found.record;
    let provenance = &record.details.provenance;
    let replaced_by =
        record.details.replaced_by.as_ref().and_then(|Replacement { serial, .. }| serial.as_ref());
    html! {
        dl.facts {
            (row("Names", names(&found.content.identifiers, usize::MAX)))
            (row("Serial", code(found.serial)))
            (row("Valid", html! { (dated(found.content.not_before)) " to " (dated(record.not_after)) }))
            (row("Signed", when(record.issued, now)))
            (row("Issuer", html! { @if let Some(name) = authority { (name) ", " } "key " (code(hex::encode(&record.issuer))) }))
            (row("Profile", record.details.profile.as_deref().unwrap_or("the default")))
            (row("Door", door(found)))
            (requester(story, now))
            @if let Some(kid) = &provenance.eab { (row("Bound to", html! { "EAB key " (code(kid)) })) }
            @if let Some(client) = &provenance.client {
                (row("Client", code(client.address)))
                @if !client.user_agent.is_empty() { (row("User agent", &client.user_agent)) }
            }
            (row("Key SHA-256", code(found.content.key_hash)))
            @if let Some(serial) = &provenance.replaces { (row("Replaces", link(serial))) }
            @if let Some(serial) = replaced_by { (row("Replaced by", link(serial))) }
        }
    }
}

fn requester(story: &Story, now: Timestamp) -> Markup {
    let account = match &story.certificate.record.requester {
        Requester::Acme { account, .. } | Requester::AutoRenewal { account, .. } => account,
        Requester::Own | Requester::Ceremony => return html! {},
    };
    html! {
        (row("Account", html! {
            (code(account))
            @match &story.account {
                Some(kept) => { br; "since " (time(kept.created, now)) @for contact in &kept.contacts { ", " (contact) } }
                None => { " (no longer kept)" }
            }
        }))
    }
}

fn step(done: &str, what: Markup, at: Option<Markup>) -> Markup {
    html! { li class={ "step is-" (done) } { (page::mark(done)) div { (what) @if let Some(at) = at { p.at { (at) } } } } }
}

fn history(story: &Story, now: Timestamp) -> Markup {
    let record = &story.certificate.record;
    html! {
        ol.history {
            @match &story.order {
                Some((id, order)) => {
                    (step("opened", html! { p { "Order " (code(id)) } }, Some(when(order.created, now))))
                    @for slot in &order.slots { (proof(slot, now)) }
                    (finish(order))
                }
                None => (step("unknown", html! { p { (without_order(&record.requester)) } }, None)),
            }
            (step("allowed", html! {
                p { "The CA's checks and the policies in force had nothing against it: what they refuse is not signed." }
                @if let Some(number) = record.details.provenance.configuration {
                    p { "Configuration " (number) " was in force; " code { "mayfly config show " (number) } " has its policies." }
                }
            }, None))
            (step("issued", html! { p { "Signed, recorded and handed out" } }, Some(when(record.issued, now))))
            @if let Some(identity) = story.identity.filter(|identity| identity.serial == story.certificate.serial) {
                (step(identity.state.name(), html! { p { (why(&identity, now)) } }, Some(html! {
                    "renewal expected " (when(identity.due, now)) ", late " (when(identity.overdue, now))
                })))
            }
            @if let Some(Replacement { serial: Some(serial), .. }) = &record.details.replaced_by {
                (step("replaced", html! { p { "Replaced by " (link(serial)) } }, None))
            }
            @if let Some(revocation) = &record.revocation {
                (step("revoked", html! {
                    p {
                        "Revoked by " (revoker(&revocation.by))
                        @if let Some(reason) = revocation.reason { ", reason " (reason) }
                    }
                }, Some(when(revocation.at, now))))
            }
            @if record.not_after <= now {
                (step("expired", html! { p { "Expired" } }, Some(when(record.not_after, now))))
            }
        }
    }
}

fn without_order(requester: &Requester) -> &'static str {
    match requester {
        Requester::Acme { .. } | Requester::AutoRenewal { .. } => {
            "Its order is no longer kept; [store] retention says how long orders are."
        }
        Requester::Own => "Without an order: the certificate that this CA shows on its own listener.",
        Requester::Ceremony => "Without an order: made by the operator on the command line.",
    }
}

fn revoker(by: &Revoker) -> Markup {
    match by {
        Revoker::Owner(_) => html! { "the account it was issued to" },
        Revoker::Authorized(account) => {
            html! { "the account " (code(account)) ", which is authorized for its names" }
        }
        Revoker::Key => html! { "the holder of its private key" },
    }
}

fn proof(slot: &Slot, now: Timestamp) -> Markup {
    match slot {
        Slot::Own(authorization) => own_proof(authorization, now),
        Slot::Reused { identifier, order, .. } => step(
            "proved",
            html! { p { strong { (breakable(&identifier.to_string())) } " proved before, for the order " (code(order)) } },
            None,
        ),
        Slot::Trusted { identifier, by, .. } => step(
            "trusted",
            html! { p { strong { (breakable(&identifier.to_string())) } " trusted: the EAB key " (code(by)) " vouches for it" } },
            None,
        ),
    }
}

fn own_proof(authorization: &Authorization, now: Timestamp) -> Markup {
    let name = authorization.identifier.to_string();
    let mut steps = Vec::new();
    for challenge in &authorization.challenges {
        let by = challenge.kind.name();
        match &challenge.state {
            ChallengeState::Valid(at) => steps.push(step(
                "proved",
                html! { p { strong { (breakable(&name)) } " proved by " span.nowrap { (by) } } },
                Some(when(*at, now)),
            )),
            ChallengeState::Invalid(problem) => steps.push(step(
                "failed",
                html! { p { strong { (breakable(&name)) } " not proved by " (by) ": " (problem.detail) } },
                None,
            )),
            ChallengeState::Processing | ChallengeState::Pending(_) => {}
        }
    }
    if authorization.deactivated {
        steps.push(step(
            "retired",
            html! { p { strong { (breakable(&name)) } " given up by the client since" } },
            None,
        ));
    }
    html! { @for step in &steps { (step) } }
}

fn finish(order: &Order) -> Markup {
    match &order.finish {
        Finish::Failed(problem) => step("failed", html! { p { "Refused: " (problem.detail) } }, None),
        Finish::Renewing(_) => {
            step("opened", html! { p { "This CA renews it by itself until the order ends." } }, None)
        }
        Finish::Open | Finish::Processing(_) | Finish::Issued { .. } => html! {},
    }
}

fn series(story: &Story, now: Timestamp) -> Markup {
    let mut before: Option<&ListedCertificate> = None;
    let mut rows = Vec::new();
    for one in &story.series {
        let key = before
            .map(|last| if last.content.key_hash == one.content.key_hash { "same key" } else { "new key" });
        rows.push((one, key.unwrap_or("–")));
        before = Some(one);
    }
    html! {
        @if story.cut { p.detail { "Some of them; search for the name to see all." } }
        table.rows {
            caption.quiet { "Certificates for exactly these names, by expiry" }
            thead { tr {
                th scope="col" { "Signed" } th scope="col" { "State" } th scope="col" { "Serial" } th scope="col" { "Key" }
                th scope="col" { "Expires" }
            } }
            tbody {
                @for (one, key) in rows.iter().rev() {
                    @let own = one.serial == story.certificate.serial;
                    tr.own[own] {
                        td.when data-label="Signed" { (when(one.record.issued, now)) }
                        td data-label="State" { (page::standing(one.state(now))) }
                        th scope="row" data-label="Serial" {
                            @if own { (code(one.serial)) span.quiet { " (this one)" } } @else { (link(&one.serial)) }
                        }
                        td data-label="Key" { (key) }
                        td.when data-label="Expires" { (when(one.record.not_after, now)) }
                    }
                }
            }
        }
    }
}
