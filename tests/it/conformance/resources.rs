//! Browsers, the list of orders, proof ahead of an order and of what is below a name.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §6.1", cases: BROWSERS },
    Group { section: "RFC 8555 §7.1.2.1", cases: LIST },
    Group { section: "RFC 8555 §7.4.1", cases: AHEAD },
    Group { section: "RFC 9444 §4", cases: BELOW },
];

fn preflight(w: &mut World, url: &str) -> Reply {
    let headers = [
        ("Origin", "https://browser.test"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    w.alice.https.send("OPTIONS", url, &headers, None).unwrap()
}

const BROWSERS: &[Case] = &[
    case(
        "any origin may read the directory",
        |w| {
            let url = w.server.directory();
            w.alice.https.send("GET", &url, &[("Origin", "https://browser.test")], None).unwrap()
        },
        ok(200).and(&[Header("access-control-allow-origin", "*")]),
    ),
    case(
        "and the headers that a client needs",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Header("access-control-expose-headers", "Link, Location, Replay-Nonce, Retry-After")]),
    ),
    case(
        "a preflight of newOrder",
        |w| {
            let url = w.url("newOrder");
            preflight(w, &url)
        },
        ok(204).and(&[
            Header("access-control-allow-origin", "*"),
            Header("access-control-allow-methods", "POST"),
            Header("access-control-allow-headers", "Content-Type"),
            Empty,
        ]),
    ),
    case(
        "a preflight takes no nonce",
        |w| {
            let url = w.url("newNonce");
            preflight(w, &url)
        },
        ok(204).and(&[NoHeader("replay-nonce")]),
    ),
    case(
        "no credentials are asked for",
        |w| {
            let url = w.url("newAccount");
            preflight(w, &url)
        },
        ok(204).and(&[NoHeader("access-control-allow-credentials")]),
    ),
    case(
        "refusals may be read too",
        |w| {
            let url = w.url("newOrder");
            w.plain("GET", &url)
        },
        refused(405, "malformed").and(&[Header("access-control-allow-origin", "*")]),
    ),
];

fn orders(w: &mut World) -> String {
    let url = w.account();
    w.read(&url).json()["orders"].as_str().unwrap().to_owned()
}

/// Somebody with this many orders, and their list.
fn with_orders(w: &World, count: usize) -> (crate::support::acme::Client, String) {
    let mut client = crate::support::acme::Client::registered(&w.server);
    for n in 0..count {
        client.order(&[&format!("l{n}.test")]).unwrap();
    }
    let url = client.kid.clone().unwrap();
    let list = client.fetch(&url).unwrap().json()["orders"].as_str().unwrap().to_owned();
    (client, list)
}

const LIST: &[Case] = &[
    case(
        "the account says where",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Has("/orders")]),
    ),
    case(
        "of an account without orders",
        |w| {
            let (mut client, list) = with_orders(w, 0);
            reply(client.fetch(&list))
        },
        ok(200).and(&[Length("/orders", 0)]),
    ),
    case(
        "all that are pending",
        |w| {
            let (mut client, list) = with_orders(w, 3);
            reply(client.fetch(&list))
        },
        ok(200).and(&[Length("/orders", 3)]),
    ),
    case(
        "an entry leads to its order",
        |w| {
            let (mut client, list) = with_orders(w, 1);
            let url = client.fetch(&list).unwrap().json()["orders"][0].as_str().unwrap().to_owned();
            reply(client.fetch(&url))
        },
        ok(200).and(&[Is("/identifiers/0/value", "l0.test")]),
    ),
    case(
        "more than a page has a next one",
        |w| {
            let (mut client, list) = with_orders(w, 101);
            reply(client.fetch(&list))
        },
        ok(200).and(&[Length("/orders", 100), Link("next")]),
    ),
    case(
        "which has the rest",
        |w| {
            let (mut client, list) = with_orders(w, 102);
            let next = client.fetch(&list).unwrap().link("next").unwrap().to_owned();
            reply(client.fetch(&next))
        },
        ok(200).and(&[
            Length("/orders", 2),
            That(|reply| match reply.link("next") {
                None => Ok(()),
                Some(url) => Err(format!("and one more: {url}")),
            }),
        ]),
    ),
    case(
        "of somebody else",
        |w| {
            let url = orders(w);
            w.bob_reads(&url)
        },
        refused(403, "unauthorized"),
    ),
    case(
        "a plain GET",
        |w| {
            let url = orders(w);
            w.plain("GET", &url)
        },
        refused(405, "malformed").and(&[Header("allow", "POST")]),
    ),
];

fn ahead(w: &mut World, identifier: Value) -> Reply {
    w.post_at("full", "newAuthz", &json!({"identifier": identifier}))
}

fn dns(name: &str) -> Value {
    json!({"type": "dns", "value": name})
}

const AHEAD: &[Case] = &[
    case(
        "not in the directory of a provisioner that does not offer it",
        |w| {
            let url = w.server.url("/acme/narrow/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[Lacks("/newAuthz")]),
    ),
    case(
        "a new authorization",
        |w| {
            let name = w.name();
            ahead(w, dns(&name))
        },
        ok(201).and(&[
            Is("/status", "pending"),
            HasHeader("location"),
            Has("/challenges/0/token"),
            Has("/expires"),
        ]),
    ),
    case(
        "one that is valid is given again, and the order is ready at once",
        |w| {
            let name = w.name();
            let made = ahead(w, dns(&name));
            let order = crate::support::acme::Order {
                url: String::new(),
                object: json!({"authorizations": [made.header("location").unwrap()]}),
            };
            w.authorize_at("full", &order);
            w.post_at("full", "newOrder", &json!({"identifiers": [dns(&name)]}))
        },
        ok(201).and(&[Is("/status", "ready")]),
    ),
    case("a wildcard", |w| ahead(w, dns("*.ahead.test")), refused(400, "malformed")),
    case("a denied name", |w| ahead(w, dns("denied.test")), refused(400, "rejectedIdentifier")),
    case("no identifier", |w| w.post_at("full", "newAuthz", &json!({})), refused(400, "malformed")),
    case(
        "an unknown type",
        |w| ahead(w, json!({"type": "email", "value": "a@a.test"})),
        refused(400, "unsupportedIdentifier"),
    ),
    case(
        "two identifiers",
        |w| w.post_at("full", "newAuthz", &json!({"identifier": [dns("a.test"), dns("b.test")]})),
        refused(400, "malformed"),
    ),
];

fn below(w: &mut World, name: &str, ancestor: &str) -> Reply {
    let identifier = json!({"type": "dns", "value": name, "ancestorDomain": ancestor});
    w.post_at("full", "newOrder", &json!({"identifiers": [identifier]}))
}

const BELOW: &[Case] = &[
    case(
        "the directory says so",
        |w| {
            let url = w.server.url("/acme/full/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[True("/meta/subdomainAuthAllowed")]),
    ),
    case(
        "and does not where it is not offered",
        |w| {
            let url = w.server.directory();
            w.plain("GET", &url)
        },
        ok(200).and(&[Lacks("/meta/subdomainAuthAllowed")]),
    ),
    case(
        "an order by an ancestor",
        |w| below(w, "www.zone.test", "zone.test"),
        ok(201).and(&[
            Length("/authorizations", 1),
            Is("/identifiers/0/value", "www.zone.test"),
            Lacks("/identifiers/0/ancestorDomain"),
        ]),
    ),
    case(
        "its authorization is the ancestor's",
        |w| {
            let url = below(w, "www.zone.test", "zone.test").json()["authorizations"][0]
                .as_str()
                .unwrap()
                .to_owned();
            reply(w.at("full").fetch(&url))
        },
        ok(200).and(&[Is("/identifier/value", "zone.test"), True("/subdomainAuthAllowed")]),
    ),
    case(
        "newAuthz for the names below",
        |w| {
            let name = w.name();
            w.post_at("full", "newAuthz", &json!({"identifier": dns(&name), "subdomainAuthAllowed": true}))
        },
        ok(201).and(&[True("/subdomainAuthAllowed")]),
    ),
    case("no ancestor of it", |w| below(w, "www.zone.test", "other.test"), refused(400, "malformed")),
    case("itself", |w| below(w, "zone.test", "zone.test"), refused(400, "malformed")),
    case("a part of a label", |w| below(w, "wwwzone.test", "zone.test"), refused(400, "malformed")),
];
