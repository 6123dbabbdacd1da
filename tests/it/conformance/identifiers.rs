//! What may be asked for: names, wildcards, addresses, and the operator's rules.

use serde_json::json;

use super::world::World;
use super::{Case, Check::*, Group, Want, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §9.7.7", cases: TYPES },
    Group { section: "RFC 1035 §2.3", cases: NAMES },
    Group { section: "RFC 5890 §2.3.1", cases: LABELS },
    Group { section: "RFC 8555 §7.1.3", cases: WILDCARDS },
    Group { section: "RFC 8555 §7.4", cases: POLICY },
    Group { section: "RFC 8738 §3", cases: ADDRESSES },
    Group { section: "RFC 8738 §7", cases: ADDRESS_CHALLENGES },
];

const MALFORMED: Want = refused(400, "malformed").and(&[Has("/detail")]);
const UNSUPPORTED: Want = refused(400, "unsupportedIdentifier");
const REJECTED: Want = refused(400, "rejectedIdentifier");

const TYPES: &[Case] = &[
    case("dns", |w| w.identifier("dns", "type.test"), ok(201)),
    case("ip", |w| w.identifier("ip", "127.0.0.1"), ok(201)),
    case("email", |w| w.identifier("email", "a@a.test"), UNSUPPORTED),
    case("uri", |w| w.identifier("uri", "https://a.test/"), UNSUPPORTED),
    case("TNAuthList", |w| w.identifier("TNAuthList", "F83n2a"), UNSUPPORTED),
    case("DNS in capitals", |w| w.identifier("DNS", "a.test"), UNSUPPORTED),
    case("an empty type", |w| w.identifier("", "a.test"), UNSUPPORTED),
    case("no type", |w| w.new_order(&json!({"identifiers": [{"value": "a.test"}]})), MALFORMED),
    case("no value", |w| w.new_order(&json!({"identifiers": [{"type": "dns"}]})), MALFORMED),
    case(
        "a value that is a number",
        |w| w.new_order(&json!({"identifiers": [{"type": "dns", "value": 1}]})),
        MALFORMED,
    ),
    case("an identifier that is a text", |w| w.new_order(&json!({"identifiers": ["a.test"]})), MALFORMED),
    case("an identifier that is null", |w| w.new_order(&json!({"identifiers": [null]})), MALFORMED),
];

fn dns(w: &mut World, name: &str) -> Reply {
    w.identifier("dns", name)
}

fn of_length(length: usize) -> String {
    let long = "abcdefghi.".repeat(30) + "test";
    long[long.len() - length..].trim_start_matches('.').to_owned()
}

const NAMES: &[Case] = &[
    case(
        "a name",
        |w| dns(w, "www.example.test"),
        ok(201).and(&[Is("/identifiers/0/value", "www.example.test")]),
    ),
    case("one label", |w| dns(w, "host"), ok(201)),
    case(
        "capitals are lowered",
        |w| dns(w, "WWW.Example.TEST"),
        ok(201).and(&[Is("/identifiers/0/value", "www.example.test")]),
    ),
    case("digits and hyphens", |w| dns(w, "1-2-3.a0.test"), ok(201)),
    case("a label of 63", |w| dns(w, &format!("{}.test", "a".repeat(63))), ok(201)),
    case("a label of 64", |w| dns(w, &format!("{}.test", "a".repeat(64))), MALFORMED),
    case("a name of 253", |w| dns(w, &of_length(253)), ok(201)),
    case("a name of 254", |w| dns(w, &of_length(254)), MALFORMED),
    case("a name of a megabyte less", |w| dns(w, &"a.".repeat(10_000)), MALFORMED),
    case("an empty name", |w| dns(w, ""), MALFORMED),
    case("a dot", |w| dns(w, "."), MALFORMED),
    case("a dot at the end", |w| dns(w, "a.test."), MALFORMED),
    case("a dot in front", |w| dns(w, ".a.test"), MALFORMED),
    case("two dots", |w| dns(w, "a..test"), MALFORMED),
    case("a hyphen in front", |w| dns(w, "-a.test"), MALFORMED),
    case("a hyphen at the end", |w| dns(w, "a-.test"), MALFORMED),
    case("an underscore", |w| dns(w, "a_b.test"), MALFORMED),
    case("a space", |w| dns(w, "a b.test"), MALFORMED),
    case("a space at the end", |w| dns(w, "a.test "), MALFORMED),
    case("a NUL", |w| dns(w, "a.test\0.evil.test"), MALFORMED),
    case("a line break", |w| dns(w, "a.test\nb.test"), MALFORMED),
    case("a comma", |w| dns(w, "a.test,b.test"), MALFORMED),
    case("a slash", |w| dns(w, "a/b.test"), MALFORMED),
    case("a port", |w| dns(w, "a.test:80"), MALFORMED),
    case("a URL", |w| dns(w, "https://a.test"), MALFORMED),
    case("an e-mail address", |w| dns(w, "a@a.test"), MALFORMED),
    case("an IPv4 address", |w| dns(w, "10.0.0.1"), MALFORMED),
    case("an IPv6 address", |w| dns(w, "2001:db8::1"), MALFORMED),
    case("a number at the end", |w| dns(w, "1.2.3"), MALFORMED),
    case("a hexadecimal number at the end", |w| dns(w, "a.0x7f"), MALFORMED),
];

const LABELS: &[Case] = &[
    case("an A-label", |w| dns(w, "xn--bcher-kva.test"), ok(201)),
    case("a U-label", |w| dns(w, "bücher.test"), MALFORMED),
    case("hyphens in the third and fourth place", |w| dns(w, "ab--c.test"), MALFORMED),
    case(
        "an A-label in capitals",
        |w| dns(w, "XN--BCHER-KVA.test"),
        ok(201).and(&[Is("/identifiers/0/value", "xn--bcher-kva.test")]),
    ),
    case("a full stop of another script", |w| dns(w, "a\u{3002}test"), MALFORMED),
    case("letters that look alike", |w| dns(w, "\u{430}.test"), MALFORMED),
];

const WILDCARDS: &[Case] = &[
    case("a wildcard", |w| dns(w, "*.wild.test"), ok(201).and(&[Is("/identifiers/0/value", "*.wild.test")])),
    case("a wildcard alone", |w| dns(w, "*"), MALFORMED),
    case("a wildcard of nothing", |w| dns(w, "*."), MALFORMED),
    case("two wildcards", |w| dns(w, "*.*.test"), MALFORMED),
    case("a wildcard in the middle", |w| dns(w, "a.*.test"), MALFORMED),
    case("a part of a label", |w| dns(w, "a*.test"), MALFORMED),
    case("a label that begins with it", |w| dns(w, "*a.test"), MALFORMED),
    case("a wildcard of an address", |w| dns(w, "*.10.0.0.1"), MALFORMED),
    case("a wildcard as an address", |w| w.identifier("ip", "*"), MALFORMED),
];

const POLICY: &[Case] = &[
    case("a wildcard where none are allowed", |w| narrow(w, &["*.wild.test"]), REJECTED),
    case("a name that the operator denies", |w| dns(w, "denied.test"), REJECTED),
    case("a name below one that the operator denies", |w| dns(w, "a.b.denied.test"), REJECTED),
    case("a wildcard below a name that the operator denies", |w| dns(w, "*.denied.test"), REJECTED),
    case("an address in a network that the operator denies", |w| w.identifier("ip", "10.66.1.2"), REJECTED),
    case("a name that only ends alike", |w| dns(w, "notdenied.test"), ok(201)),
    case("more names than the operator allows", |w| narrow(w, &["a.test", "b.test", "c.test"]), MALFORMED),
];

fn narrow(w: &mut World, names: &[&str]) -> Reply {
    let at = |url: String| url.replace("/acme/acme/", "/acme/narrow/");
    let mut client = w.stranger();
    let answer = client.post(&at(client.endpoint("newAccount")), "{}").unwrap();
    client.kid = answer.header("location").map(str::to_owned);
    let url = at(client.endpoint("newOrder"));
    super::world::reply(client.post(&url, &json!({"identifiers": identifiers(names)}).to_string()))
}

fn ip(w: &mut World, address: &str) -> Reply {
    w.identifier("ip", address)
}

const ADDRESSES: &[Case] = &[
    case(
        "IPv4",
        |w| ip(w, "10.1.2.3"),
        ok(201).and(&[Is("/identifiers/0/type", "ip"), Is("/identifiers/0/value", "10.1.2.3")]),
    ),
    case("IPv6", |w| ip(w, "2001:db8::1"), ok(201).and(&[Is("/identifiers/0/value", "2001:db8::1")])),
    case("IPv6 in capitals", |w| ip(w, "2001:DB8::1"), MALFORMED),
    case("IPv6 written out", |w| ip(w, "2001:db8:0:0:0:0:0:1"), MALFORMED),
    case("IPv6 with leading zeros", |w| ip(w, "2001:0db8::1"), MALFORMED),
    case("IPv6 in brackets", |w| ip(w, "[::1]"), MALFORMED),
    case("IPv6 with a zone", |w| ip(w, "fe80::1%eth0"), MALFORMED),
    case("IPv4 in IPv6", |w| ip(w, "::ffff:10.0.0.1"), MALFORMED),
    case("IPv4 in IPv6, hexadecimal", |w| ip(w, "::ffff:a00:1"), MALFORMED),
    case("IPv4 with leading zeros", |w| ip(w, "010.0.0.1"), MALFORMED),
    case("IPv4 out of range", |w| ip(w, "10.0.0.256"), MALFORMED),
    case("IPv4 of three parts", |w| ip(w, "10.0.1"), MALFORMED),
    case("a number", |w| ip(w, "167772161"), MALFORMED),
    case("a network", |w| ip(w, "10.0.0.0/8"), MALFORMED),
    case("a port", |w| ip(w, "10.0.0.1:80"), MALFORMED),
    case("a name", |w| ip(w, "a.test"), MALFORMED),
    case("nothing", |w| ip(w, ""), MALFORMED),
    case("a space in front", |w| ip(w, " 10.0.0.1"), MALFORMED),
];

fn challenges(w: &mut World, name: &str) -> Reply {
    let order = w.alice.order(&[name]).unwrap();
    let url = authorizations(&order).remove(0);
    w.read(&url)
}

fn no_dns(reply: &Reply) -> Result<(), String> {
    let object = reply.json();
    let list = object["challenges"].as_array().ok_or("no challenges")?;
    let kinds: Vec<_> = list.iter().filter_map(|c| c["type"].as_str()).collect();
    (kinds == ["http-01", "tls-alpn-01"]).then_some(()).ok_or(format!("{kinds:?}"))
}

const ADDRESS_CHALLENGES: &[Case] = &[
    case(
        "no dns-01 for IPv4",
        |w| challenges(w, "127.0.0.9"),
        ok(200).and(&[That(no_dns), Is("/identifier/type", "ip"), Is("/identifier/value", "127.0.0.9")]),
    ),
    case("no dns-01 for IPv6", |w| challenges(w, "2001:db8::9"), ok(200).and(&[That(no_dns)])),
    case(
        "IPv4 by http-01",
        |w| {
            let pem = w.alice.issue(&w.web, &["127.0.0.1"]).unwrap();
            w.read(&pem.url)
        },
        ok(200),
    ),
    case(
        "IPv6 by http-01",
        |w| {
            let pem = w.alice.issue(&w.web, &["::1"]).unwrap();
            w.read(&pem.url)
        },
        ok(200),
    ),
];
