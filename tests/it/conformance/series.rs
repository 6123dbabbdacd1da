//! Orders that are renewed automatically.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8739 §3.1", cases: ORDERS },
    Group { section: "RFC 8739 §3.2", cases: OFFER },
    Group { section: "RFC 8739 §3.3", cases: CERTIFICATES },
];

/// RFC 3339, so many hours from now.
fn ahead(hours: u64) -> String {
    let at = time::OffsetDateTime::from(SystemTime::now() + Duration::from_secs(hours * 3600));
    let at = at.replace_nanosecond(0).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

fn terms() -> Value {
    json!({"end-date": ahead(2), "lifetime": 3600, "allow-certificate-get": true})
}

fn ask(w: &mut World, terms: &Value) -> Reply {
    let name = w.name();
    w.post_at("full", "newOrder", &json!({"identifiers": identifiers(&[&name]), "auto-renewal": terms}))
}

fn with(w: &mut World, member: &str, value: Value) -> Reply {
    let mut terms = terms();
    terms[member] = value;
    ask(w, &terms)
}

/// A series that has begun: the order's URL and the certificate's.
fn begun(w: &mut World) -> (String, String) {
    let made = ask(w, &terms());
    let object = made.json();
    let order = Order { url: made.header("location").unwrap().to_owned(), object };
    w.authorize_at("full", &order);
    let name = order.object["identifiers"][0]["value"].as_str().unwrap().to_owned();
    let done = w.at("full").finalize(&order, &csr(&[&name]).1).unwrap();
    (order.url, done.object["star-certificate"].as_str().unwrap().to_owned())
}

fn cancel(w: &mut World, url: &str) -> Reply {
    reply(w.at("full").post(url, r#"{"status":"canceled"}"#))
}

const ORDERS: &[Case] = &[
    case(
        "a new one",
        |w| ask(w, &terms()),
        ok(201).and(&[
            Has("/auto-renewal/end-date"),
            Has("/auto-renewal/lifetime"),
            True("/auto-renewal/allow-certificate-get"),
            Lacks("/star-certificate"),
        ]),
    ),
    case("no end-date", |w| ask(w, &json!({"lifetime": 3600})), refused(400, "malformed")),
    case("no lifetime", |w| ask(w, &json!({"end-date": ahead(2)})), refused(400, "malformed")),
    case(
        "an end-date that has passed",
        |w| with(w, "end-date", json!("2020-01-01T00:00:00Z")),
        refused(400, "malformed"),
    ),
    case("an end-date too far ahead", |w| with(w, "end-date", json!(ahead(100))), refused(400, "malformed")),
    case("a lifetime too short", |w| with(w, "lifetime", json!(1)), refused(400, "malformed")),
    case("no object", |w| ask(w, &json!("yes")), refused(400, "malformed")),
    case(
        "together with notAfter",
        |w| {
            let payload = json!({
                "identifiers": identifiers(&["a.test"]), "auto-renewal": terms(), "notAfter": ahead(1),
            });
            w.post_at("full", "newOrder", &payload)
        },
        refused(400, "malformed"),
    ),
    case(
        "where it is not offered",
        |w| w.new_order(&json!({"identifiers": identifiers(&["a.test"]), "auto-renewal": terms()})),
        refused(400, "malformed"),
    ),
    case(
        "one that has begun",
        |w| {
            let url = begun(w).0;
            reply(w.at("full").fetch(&url))
        },
        ok(200).and(&[Is("/status", "valid"), Has("/star-certificate"), Lacks("/certificate")]),
    ),
    case(
        "cancelled",
        |w| {
            let url = begun(w).0;
            cancel(w, &url)
        },
        ok(200).and(&[Is("/status", "canceled")]),
    ),
    case(
        "cancelled before it has begun",
        |w| {
            let url = ask(w, &terms()).header("location").unwrap().to_owned();
            cancel(w, &url)
        },
        refused(400, "autoRenewalCancellationInvalid"),
    ),
];

const OFFER: &[Case] = &[
    case(
        "in the directory",
        |w| {
            let url = w.server.url("/acme/full/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[
            Has("/meta/auto-renewal/min-lifetime"),
            Has("/meta/auto-renewal/max-duration"),
            True("/meta/auto-renewal/allow-certificate-get"),
        ]),
    ),
    case(
        "not where it is not offered",
        |w| {
            let url = w.server.directory();
            w.plain("GET", &url)
        },
        ok(200).and(&[Lacks("/meta/auto-renewal")]),
    ),
];

const CERTIFICATES: &[Case] = &[
    case(
        "by a signed request",
        |w| {
            let url = begun(w).1;
            reply(w.at("full").fetch(&url))
        },
        ok(200).and(&[HasHeader("cert-not-before"), HasHeader("cert-not-after")]),
    ),
    case(
        "by an unsigned one where that was agreed",
        |w| {
            let url = begun(w).1;
            w.plain("GET", &url)
        },
        ok(200).and(&[
            HasHeader("cert-not-before"),
            Header("content-type", "application/pem-certificate-chain"),
        ]),
    ),
    case(
        "after it was cancelled",
        |w| {
            let (order, url) = begun(w);
            assert_eq!(cancel(w, &order).status, 200);
            w.plain("GET", &url)
        },
        refused(403, "autoRenewalCanceled"),
    ),
    case(
        "it is not revoked, but cancelled",
        |w| {
            let url = begun(w).1;
            let pem = w.plain("GET", &url).text();
            reply(w.at("full").revoke(&pem, None))
        },
        refused(403, "autoRenewalRevocationNotSupported"),
    ),
];
