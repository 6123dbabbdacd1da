//! Renewal information, replacement, and profiles.

use serde_json::{Value, json};
use x509_parser::prelude::*;

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 9773 §4", cases: INFORMATION },
    Group { section: "RFC 9773 §5", cases: REPLACEMENT },
    Group { section: "draft-ietf-acme-profiles §4", cases: PROFILES },
];

/// RFC 9773 §4.1, from the certificate alone.
fn cert_id(pem: &str) -> String {
    let der = leaf(pem);
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let issuer = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => {
            found.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    });
    format!("{}.{}", b64(issuer.unwrap()), b64(certificate.raw_serial()))
}

fn own(w: &mut World) -> String {
    cert_id(&w.issued().pem.clone())
}

fn ask(w: &mut World, id: &str) -> Reply {
    let url = format!("{}/{id}", w.url("renewalInfo"));
    w.plain("GET", &url)
}

fn window(reply: &Reply) -> Result<(), String> {
    let window = &reply.json()["suggestedWindow"];
    let (start, end) = (window["start"].as_str().unwrap_or(""), window["end"].as_str().unwrap_or(""));
    if !start.is_empty() && start < end { Ok(()) } else { Err(format!("a window of {window}")) }
}

const INFORMATION: &[Case] = &[
    case(
        "of a certificate",
        |w| {
            let id = own(w);
            ask(w, &id)
        },
        ok(200).and(&[That(window), HasHeader("retry-after"), Lacks("/explanationURL")]),
    ),
    case(
        "of a revoked one, with an explanation where there is one",
        |w| {
            let (_, issued) = w.issue_at("full");
            w.at("full").revoke(&issued.pem, None).unwrap();
            let url = format!("{}/{}", w.at("full").endpoint("renewalInfo"), cert_id(&issued.pem));
            w.plain("GET", &url)
        },
        ok(200).and(&[That(window), Is("/explanationURL", "https://ca.test/renew")]),
    ),
    case(
        "of a revoked one",
        |w| {
            let issued = w.issue();
            w.alice.revoke(&issued.pem, None).unwrap();
            ask(w, &cert_id(&issued.pem))
        },
        ok(200).and(&[That(window)]),
    ),
    case(
        "of one nobody issued",
        |w| {
            let id = own(w);
            let (issuer, _) = id.split_once('.').unwrap();
            ask(w, &format!("{issuer}.AQ"))
        },
        refused(404, "malformed"),
    ),
    case(
        "of another provisioner's",
        |w| {
            let (_, issued) = w.issue_at("full");
            ask(w, &cert_id(&issued.pem))
        },
        refused(404, "malformed"),
    ),
    case("no full stop", |w| ask(w, "AAAA"), refused(400, "malformed")),
    case("padding", |w| ask(w, "AAAA.AQ=="), refused(400, "malformed")),
    case("a negative serial number", |w| ask(w, "AAAA.gA"), refused(400, "malformed")),
    case("a serial number of zero", |w| ask(w, "AAAA.AA"), refused(400, "malformed")),
    case(
        "POST",
        |w| {
            let url = format!("{}/{}", w.url("renewalInfo"), own(w));
            w.read(&url)
        },
        refused(405, "malformed").and(&[Header("allow", "GET, HEAD")]),
    ),
];

fn order(w: &mut World, name: &str, replaces: &str) -> Reply {
    w.new_order(&json!({"identifiers": identifiers(&[name]), "replaces": replaces}))
}

fn issue(w: &mut World) -> (String, String) {
    let name = w.name();
    let issued = w.alice.issue(&w.web, &[&name]).unwrap();
    (name, cert_id(&issued.pem))
}

const REPLACEMENT: &[Case] = &[
    case(
        "an order for the same name",
        |w| {
            let (name, id) = issue(w);
            order(w, &name, &id)
        },
        ok(201).and(&[Has("/replaces")]),
    ),
    case(
        "a second one while the first is under way",
        |w| {
            let (name, id) = issue(w);
            assert_eq!(order(w, &name, &id).status, 201);
            order(w, &name, &id)
        },
        refused(409, "alreadyReplaced"),
    ),
    case(
        "one after it was replaced",
        |w| {
            let (name, id) = issue(w);
            let made = order(w, &name, &id);
            let first = Order { url: made.header("location").unwrap().to_owned(), object: made.json() };
            w.alice.authorize(&w.web, &first).unwrap();
            assert_eq!(w.finalize(&first, &csr(&[&name]).1).status, 200);
            order(w, &name, &id)
        },
        refused(409, "alreadyReplaced"),
    ),
    case(
        "no name in common",
        |w| {
            let (_, id) = issue(w);
            order(w, "other.test", &id)
        },
        refused(400, "malformed"),
    ),
    case(
        "another account's certificate",
        |w| {
            let name = w.name();
            let issued = w.bob.issue(&w.web, &[&name]).unwrap();
            order(w, &name, &cert_id(&issued.pem))
        },
        refused(403, "unauthorized"),
    ),
    case("no identifier of a certificate", |w| order(w, "a.test", "x"), refused(400, "malformed")),
    case(
        "a certificate nobody issued",
        |w| {
            let id = own(w);
            let (issuer, _) = id.split_once('.').unwrap();
            order(w, "a.test", &format!("{issuer}.AQ"))
        },
        refused(400, "malformed"),
    ),
];

fn profile(w: &mut World, profile: Value) -> Reply {
    let name = w.name();
    w.post_at("full", "newOrder", &json!({"identifiers": identifiers(&[&name]), "profile": profile}))
}

const PROFILES: &[Case] = &[
    case(
        "the directory describes them",
        |w| {
            let url = w.server.url("/acme/full/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[Is("/meta/profiles/usual", "As usual"), Has("/meta/profiles/short")]),
    ),
    case(
        "none where none is offered",
        |w| {
            let url = w.server.directory();
            w.plain("GET", &url)
        },
        ok(200).and(&[Lacks("/meta/profiles")]),
    ),
    case("an order with one", |w| profile(w, json!("short")), ok(201).and(&[Is("/profile", "short")])),
    case("the default one", |w| profile(w, Value::Null), ok(201).and(&[Is("/profile", "usual")])),
    case("one that there is not", |w| profile(w, json!("none")), refused(400, "invalidProfile")),
    case("no text", |w| profile(w, json!(7)), refused(400, "malformed")),
    case(
        "one where none is offered",
        |w| w.new_order(&json!({"identifiers": identifiers(&["a.test"]), "profile": "short"})),
        refused(400, "invalidProfile"),
    ),
    case(
        "a key that it does not allow",
        |w| {
            let name = w.name();
            let payload = json!({"identifiers": identifiers(&[&name]), "profile": "short"});
            let made = w.post_at("full", "newOrder", &payload);
            let order = Order { url: made.header("location").unwrap().to_owned(), object: made.json() };
            w.authorize_at("full", &order);
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
            let payload = json!({"csr": b64(csr_for(&[&name], &key))});
            let url = order.object["finalize"].as_str().unwrap().to_owned();
            reply(w.at("full").post(&url, &payload.to_string()))
        },
        refused(400, "badCSR"),
    ),
];
