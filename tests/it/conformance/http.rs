//! What belongs to HTTP: methods, hosts, headers, nonces, problem documents, the directory.

use serde_json::json;

use super::world::{World, remove};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §6.3", cases: READS },
    Group { section: "RFC 8555 §6.4", cases: URLS },
    Group { section: "RFC 8555 §6.5", cases: NONCES },
    Group { section: "RFC 8555 §6.7", cases: PROBLEMS },
    Group { section: "RFC 8555 §6.7.1", cases: SUBPROBLEMS },
    Group { section: "RFC 8555 §7.1", cases: RESOURCES },
    Group { section: "RFC 8555 §7.1.1", cases: DIRECTORY },
    Group { section: "RFC 8555 §7.2", cases: NEW_NONCE },
    Group { section: "RFC 9112 §3.2", cases: HOSTS },
    Group { section: "RFC 9110 §15.5", cases: STATUSES },
];

const READ_ONLY_BY_POST: super::Want = refused(405, "malformed").and(&[Header("allow", "POST")]);

fn of_order(w: &mut World, part: &str) -> String {
    let order = w.for_refusals();
    match part {
        "finalize" => order.object["finalize"].as_str().unwrap().to_owned(),
        "authorization" => authorizations(&order).remove(0),
        "challenge" => {
            let (_, object) = w.authorization_of(&order);
            object["challenges"][0]["url"].as_str().unwrap().to_owned()
        }
        _ => order.url,
    }
}

const READS: &[Case] = &[
    case(
        "GET of an account",
        |w| {
            let url = w.account();
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of an order",
        |w| {
            let url = of_order(w, "order");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of finalize",
        |w| {
            let url = of_order(w, "finalize");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of an authorization",
        |w| {
            let url = of_order(w, "authorization");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of a challenge",
        |w| {
            let url = of_order(w, "challenge");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of a certificate",
        |w| {
            let url = w.issued().url.clone();
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of newAccount",
        |w| {
            let url = w.url("newAccount");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of newOrder",
        |w| {
            let url = w.url("newOrder");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of revokeCert",
        |w| {
            let url = w.url("revokeCert");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "GET of keyChange",
        |w| {
            let url = w.url("keyChange");
            w.plain("GET", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "POST-as-GET of the account",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case(
        "POST-as-GET of an order",
        |w| {
            let url = of_order(w, "order");
            w.read(&url)
        },
        ok(200).and(&[Has("/finalize")]),
    ),
    case(
        "POST-as-GET of an authorization",
        |w| {
            let url = of_order(w, "authorization");
            w.read(&url)
        },
        ok(200).and(&[Has("/identifier")]),
    ),
    case(
        "POST-as-GET of a challenge",
        |w| {
            let url = of_order(w, "challenge");
            w.read(&url)
        },
        ok(200).and(&[Has("/token")]),
    ),
    case(
        "POST-as-GET of the directory",
        |w| {
            let url = w.server.directory();
            w.read(&url)
        },
        ok(200).and(&[Has("/newNonce")]),
    ),
    case(
        "POST-as-GET of newNonce",
        |w| {
            let url = w.url("newNonce");
            w.read(&url)
        },
        ok(204).and(&[HasHeader("replay-nonce")]),
    ),
    case(
        "a payload for an order",
        |w| {
            let url = of_order(w, "order");
            w.text(&url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload for a certificate",
        |w| {
            let url = w.issued().url.clone();
            w.text(&url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload for the directory",
        |w| {
            let url = w.server.directory();
            w.text(&url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload for newNonce",
        |w| {
            let url = w.url("newNonce");
            w.text(&url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "POST-as-GET of newOrder",
        |w| {
            let url = w.url("newOrder");
            w.read(&url)
        },
        refused(400, "malformed"),
    ),
    case(
        "POST-as-GET of finalize",
        |w| {
            let url = of_order(w, "finalize");
            w.read(&url)
        },
        refused(400, "malformed"),
    ),
    case(
        "POST-as-GET of revokeCert",
        |w| {
            let url = w.url("revokeCert");
            w.read(&url)
        },
        refused(400, "malformed"),
    ),
];

fn signed_for(w: &mut World, change: fn(String) -> String) -> Reply {
    let url = w.account();
    let mut jws = w.alice.jws(&url, "").unwrap();
    jws.protected["url"] = json!(change(url.clone()));
    w.alice.send(&url, &jws.body()).unwrap()
}

const NOT_THIS_URL: super::Want = refused(401, "unauthorized").and(&[HasHeader("replay-nonce")]);

const URLS: &[Case] = &[
    case("missing", |w| w.spoilt(|jws| remove(jws, "url")), refused(400, "malformed")),
    case("a number", |w| w.spoilt(|jws| jws.protected["url"] = json!(1)), refused(400, "malformed")),
    case("empty", |w| signed_for(w, |_| String::new()), NOT_THIS_URL),
    case("another resource", |w| signed_for(w, |url| url.replace("/account/", "/order/")), NOT_THIS_URL),
    case("another scheme", |w| signed_for(w, |url| url.replace("https:", "http:")), NOT_THIS_URL),
    case("another host", |w| signed_for(w, |url| url.replace("localhost", "ca.test")), NOT_THIS_URL),
    case("another port", |w| signed_for(w, |url| url.replace("localhost:", "localhost:1")), NOT_THIS_URL),
    case(
        "the host in capitals",
        |w| signed_for(w, |url| url.replace("localhost", "LOCALHOST")),
        NOT_THIS_URL,
    ),
    case("a slash more", |w| signed_for(w, |url| url + "/"), NOT_THIS_URL),
    case("a query more", |w| signed_for(w, |url| url + "?x=1"), NOT_THIS_URL),
    case("a fragment more", |w| signed_for(w, |url| url + "#x"), NOT_THIS_URL),
    case(
        "the path alone",
        |w| signed_for(w, |url| url[url.find("/acme/").unwrap()..].to_owned()),
        NOT_THIS_URL,
    ),
    case("an escape in it", |w| signed_for(w, |url| url.replace("/account/", "/%61ccount/")), NOT_THIS_URL),
    case(
        "a query in the request only",
        |w| {
            let url = w.account();
            let jws = w.alice.jws(&url, "").unwrap();
            w.alice.send(&format!("{url}?x=1"), &jws.body()).unwrap()
        },
        NOT_THIS_URL,
    ),
];

fn nonce(w: &mut World, nonce: serde_json::Value) -> Reply {
    let url = w.account();
    let mut jws = w.alice.jws(&url, "").unwrap();
    jws.protected["nonce"] = nonce;
    w.alice.send(&url, &jws.body()).unwrap()
}

const BAD_NONCE: super::Want = refused(400, "badNonce").and(&[HasHeader("replay-nonce"), Link("index")]);

const NONCES: &[Case] = &[
    case("missing", |w| w.spoilt(|jws| remove(jws, "nonce")), BAD_NONCE),
    case("empty", |w| nonce(w, json!("")), BAD_NONCE),
    case("invented", |w| nonce(w, json!(b64([7; 24]))), BAD_NONCE),
    case("no base64url", |w| nonce(w, json!("not/base+64==")), BAD_NONCE),
    case("a long one", |w| nonce(w, json!("A".repeat(5000))), BAD_NONCE),
    case("a number", |w| nonce(w, json!(7)), refused(400, "malformed").and(&[HasHeader("replay-nonce")])),
    case(
        "one character of a good one changed",
        |w| {
            let mut good = w.alice.nonce().unwrap().into_bytes();
            good[3] = if good[3] == b'A' { b'B' } else { b'A' };
            nonce(w, json!(String::from_utf8(good).unwrap()))
        },
        BAD_NONCE,
    ),
    case(
        "a good one cut off",
        |w| {
            let good = w.alice.nonce().unwrap();
            nonce(w, json!(good[..good.len() - 1]))
        },
        BAD_NONCE,
    ),
    case(
        "used before",
        |w| {
            let url = w.account();
            let body = w.alice.jws(&url, "").unwrap().body();
            assert_eq!(w.alice.send(&url, &body).unwrap().status, 200);
            w.alice.send(&url, &body).unwrap()
        },
        BAD_NONCE,
    ),
    case(
        "the one that came with a refusal",
        |w| {
            assert_eq!(nonce(w, json!("x")).status, 400);
            let url = w.account();
            let jws = w.alice.jws(&url, "").unwrap();
            w.alice.send(&url, &jws.body()).unwrap()
        },
        ok(200),
    ),
    case(
        "the one that came with an answer",
        |w| {
            let url = w.account();
            w.read(&url);
            let jws = w.alice.jws(&url, "").unwrap();
            w.alice.send(&url, &jws.body()).unwrap()
        },
        ok(200).and(&[HasHeader("replay-nonce"), Header("cache-control", "no-store")]),
    ),
    case(
        "one of newNonce that others came after",
        |w| {
            let first = w.alice.nonce().unwrap();
            for _ in 0..20 {
                w.alice.nonce().unwrap();
            }
            nonce(w, json!(first))
        },
        ok(200),
    ),
    case(
        "used by a request that was refused for its url",
        |w| {
            let url = w.account();
            let mut jws = w.alice.jws(&url, "").unwrap();
            let fresh = jws.protected["nonce"].clone();
            jws.protected["url"] = json!("https://localhost/");
            assert_eq!(w.alice.send(&url, &jws.body()).unwrap().status, 401);
            nonce(w, fresh)
        },
        ok(200),
    ),
];

const PROBLEMS: &[Case] = &[
    case(
        "a path that leads nowhere",
        |w| w.plain("GET", "/acme/acme/nowhere"),
        refused(404, "malformed").and(&[Header("content-type", "application/problem+json")]),
    ),
    case(
        "a provisioner that there is not",
        |w| w.plain("GET", "/acme/nobody/directory"),
        refused(404, "malformed"),
    ),
    case(
        "a refusal is not to be cached",
        |w| w.spoilt(|jws| remove(jws, "url")),
        refused(400, "malformed").and(&[Header("cache-control", "no-store")]),
    ),
    case(
        "a refusal says which member is wrong",
        |w| {
            let url = w.url("newOrder");
            w.text(&url, r#"{"identifiers": 7}"#)
        },
        refused(400, "malformed").and(&[Contains("/detail", "payload")]),
    ),
    case(
        "no such account",
        |w| w.spoilt(|jws| jws.protected["kid"] = json!("x")),
        refused(400, "accountDoesNotExist")
            .and(&[Is("/type", "urn:ietf:params:acme:error:accountDoesNotExist")]),
    ),
    case(
        "a payload that is no JSON",
        |w| {
            let url = w.url("newOrder");
            w.text(&url, "{")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload that is a list",
        |w| {
            let url = w.url("newOrder");
            w.text(&url, "[]")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload that is a text",
        |w| {
            let url = w.url("newOrder");
            w.text(&url, "\"x\"")
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload with a member twice",
        |w| {
            let url = w.url("newOrder");
            w.text(&url, r#"{"identifiers":[],"identifiers":[]}"#)
        },
        refused(400, "malformed"),
    ),
    case(
        "a payload of a thousand brackets",
        |w| {
            let url = w.url("newOrder");
            let text = format!("{{\"identifiers\":{}", "[".repeat(1000));
            w.text(&url, &text)
        },
        refused(400, "malformed"),
    ),
];

fn names(w: &mut World, names: &[&str]) -> Reply {
    w.new_order(&json!({"identifiers": identifiers(names)}))
}

const SUBPROBLEMS: &[Case] = &[
    case(
        "two bad names of three",
        |w| names(w, &["good.test", "a..test", "*.*.test"]),
        refused(400, "malformed").and(&[
            Length("/subproblems", 2),
            Is("/subproblems/0/identifier/value", "a..test"),
            Is("/subproblems/0/identifier/type", "dns"),
            Is("/subproblems/0/type", "urn:ietf:params:acme:error:malformed"),
            Is("/subproblems/1/identifier/value", "*.*.test"),
            Has("/subproblems/1/detail"),
        ]),
    ),
    case(
        "two names that are denied",
        |w| names(w, &["denied.test", "x.denied.test"]),
        refused(400, "rejectedIdentifier").and(&[
            Length("/subproblems", 2),
            Is("/subproblems/1/type", "urn:ietf:params:acme:error:rejectedIdentifier"),
        ]),
    ),
    case(
        "two bad names for two reasons",
        |w| names(w, &["denied.test", "a..test"]),
        refused(400, "malformed").and(&[
            Length("/subproblems", 2),
            Is("/subproblems/0/type", "urn:ietf:params:acme:error:rejectedIdentifier"),
            Is("/subproblems/1/type", "urn:ietf:params:acme:error:malformed"),
        ]),
    ),
    case(
        "two types that there are not",
        |w| {
            w.new_order(
                &json!({"identifiers": [{"type": "email", "value": "a"}, {"type": "tel", "value": "1"}]}),
            )
        },
        refused(400, "unsupportedIdentifier")
            .and(&[Length("/subproblems", 2), Is("/subproblems/0/identifier/type", "email")]),
    ),
    case(
        "a refusal of anything else has none",
        |w| names(w, &[]),
        refused(400, "malformed").and(&[Lacks("/subproblems")]),
    ),
];

const RESOURCES: &[Case] = &[
    case(
        "an account leads to the directory",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Link("index")]),
    ),
    case(
        "an order leads to the directory",
        |w| {
            let url = of_order(w, "order");
            w.read(&url)
        },
        ok(200).and(&[Link("index")]),
    ),
    case(
        "an authorization leads to the directory",
        |w| {
            let url = of_order(w, "authorization");
            w.read(&url)
        },
        ok(200).and(&[Link("index")]),
    ),
    case(
        "a challenge leads to the directory",
        |w| {
            let url = of_order(w, "challenge");
            w.read(&url)
        },
        ok(200).and(&[Link("index")]),
    ),
    case(
        "a certificate leads to the directory",
        |w| {
            let url = w.issued().url.clone();
            w.read(&url)
        },
        ok(200).and(&[Link("index")]),
    ),
    case(
        "a refusal leads to the directory",
        |w| w.spoilt(|jws| remove(jws, "url")),
        refused(400, "malformed").and(&[Link("index")]),
    ),
    case(
        "the directory leads nowhere",
        |w| {
            let url = w.server.directory();
            w.plain("GET", &url)
        },
        ok(200).and(&[NoHeader("link")]),
    ),
];

fn directory(w: &mut World) -> Reply {
    let url = w.server.directory();
    w.plain("GET", &url)
}

fn all_urls_are_ours(reply: &Reply) -> Result<(), String> {
    let object = reply.json();
    let first = object["newNonce"].as_str().unwrap_or_default();
    let (base, _) = first.rsplit_once('/').ok_or("no newNonce")?;
    let members = object.as_object().ok_or("no object")?;
    members.iter().filter(|(name, _)| *name != "meta").try_for_each(|(name, url)| {
        url.as_str()
            .is_some_and(|url| url.starts_with("https://localhost:") && url.starts_with(base))
            .then_some(())
            .ok_or(format!("{name}: {url}"))
    })
}

const DIRECTORY: &[Case] = &[
    case("is JSON", directory, ok(200).and(&[Header("content-type", "application/json")])),
    case("newNonce", directory, ok(200).and(&[Has("/newNonce")])),
    case("newAccount", directory, ok(200).and(&[Has("/newAccount")])),
    case("newOrder", directory, ok(200).and(&[Has("/newOrder")])),
    case("revokeCert", directory, ok(200).and(&[Has("/revokeCert")])),
    case("keyChange", directory, ok(200).and(&[Has("/keyChange")])),
    case(
        "terms of service as configured",
        directory,
        ok(200).and(&[Is("/meta/termsOfService", "https://ca.test/terms")]),
    ),
    case("website as configured", directory, ok(200).and(&[Is("/meta/website", "https://ca.test/")])),
    case(
        "no terms of service where none are configured",
        |w| w.plain("GET", "/acme/narrow/directory"),
        ok(200).and(&[Lacks("/meta/termsOfService")]),
    ),
    case("every URL is one of this server", directory, ok(200).and(&[That(all_urls_are_ours)])),
    case(
        "HEAD",
        |w| {
            let url = w.server.directory();
            w.plain("HEAD", &url)
        },
        ok(200).and(&[Empty]),
    ),
    case(
        "PUT",
        |w| {
            let url = w.server.directory();
            w.plain("PUT", &url)
        },
        refused(405, "malformed").and(&[HasHeader("allow")]),
    ),
    case(
        "DELETE",
        |w| {
            let url = w.server.directory();
            w.plain("DELETE", &url)
        },
        refused(405, "malformed").and(&[HasHeader("allow")]),
    ),
    case("with a slash more", |w| w.plain("GET", "/acme/acme/directory/"), refused(404, "malformed")),
    case("with two slashes", |w| w.plain("GET", "/acme//acme/directory"), refused(404, "malformed")),
    case("in capitals", |w| w.plain("GET", "/acme/acme/DIRECTORY"), refused(404, "malformed")),
    case("with an escape", |w| w.plain("GET", "/acme/acme/%64irectory"), refused(404, "malformed")),
    case("by way of dots", |w| w.plain("GET", "/acme/x/../acme/directory"), refused(404, "malformed")),
];

fn new_nonce(w: &mut World, method: &str) -> Reply {
    let url = w.url("newNonce");
    w.plain(method, &url)
}

fn is_nonce(reply: &Reply) -> Result<(), String> {
    let nonce = reply.header("replay-nonce").ok_or("no nonce")?;
    let base64url = nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (base64url && nonce.len() >= 22).then_some(()).ok_or_else(|| nonce.to_owned())
}

const NEW_NONCE: &[Case] = &[
    case(
        "HEAD",
        |w| new_nonce(w, "HEAD"),
        ok(200).and(&[That(is_nonce), Header("cache-control", "no-store"), Link("index"), Empty]),
    ),
    case(
        "GET",
        |w| new_nonce(w, "GET"),
        ok(204).and(&[That(is_nonce), Header("cache-control", "no-store"), Link("index"), Empty]),
    ),
    case("PUT", |w| new_nonce(w, "PUT"), refused(405, "malformed").and(&[HasHeader("allow")])),
    case(
        "none twice",
        |w| {
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..50 {
                assert!(seen.insert(w.alice.nonce().unwrap()), "a nonce twice");
            }
            new_nonce(w, "HEAD")
        },
        ok(200),
    ),
    case(
        "one of another provisioner of the same server",
        |w| {
            let other = w.url("newNonce").replace("/acme/acme/", "/acme/narrow/");
            let fresh = w.plain("HEAD", &other).header("replay-nonce").unwrap().to_owned();
            nonce(w, json!(fresh))
        },
        ok(200),
    ),
];

fn raw(w: &World, head: &str) -> Reply {
    w.alice.https.another().raw(head.as_bytes()).unwrap()
}

const HOSTS: &[Case] = &[
    case("no Host", |w| raw(w, "GET /acme/acme/directory HTTP/1.1\r\n\r\n"), refused(400, "malformed")),
    case(
        "two Hosts",
        |w| raw(w, "GET /acme/acme/directory HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n"),
        refused(400, "malformed"),
    ),
    case(
        "the same Host twice",
        |w| raw(w, "GET /acme/acme/directory HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
        refused(400, "malformed"),
    ),
    case(
        "a foreign Host does not show in the directory",
        |w| raw(w, "GET /acme/acme/directory HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        ok(200).and(&[That(all_urls_are_ours)]),
    ),
    case(
        "X-Forwarded-Host does not show in the directory",
        |w| {
            raw(
                w,
                "GET /acme/acme/directory HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\n\r\n",
            )
        },
        ok(200).and(&[That(all_urls_are_ours)]),
    ),
    case(
        "a foreign Host does not show in links",
        |w| raw(w, "HEAD /acme/acme/new-nonce HTTP/1.1\r\nHost: evil.test\r\n\r\n"),
        ok(200).and(&[That(|reply| match reply.link("index") {
            Some(url) if url.starts_with("https://localhost:") => Ok(()),
            other => Err(format!("{other:?}")),
        })]),
    ),
];

const STATUSES: &[Case] = &[
    case(
        "405 names the methods of newNonce",
        |w| new_nonce(w, "DELETE"),
        refused(405, "malformed").and(&[Header("allow", "GET, HEAD, POST")]),
    ),
    case(
        "405 for a method nobody knows",
        |w| {
            let url = w.url("newOrder");
            w.plain("BREW", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "405 for TRACE",
        |w| {
            let url = w.url("newOrder");
            w.plain("TRACE", &url)
        },
        READ_ONLY_BY_POST,
    ),
    case(
        "404 for a POST to nowhere",
        |w| {
            let url = w.server.url("/acme/acme/nowhere");
            w.read(&url)
        },
        refused(404, "malformed").and(&[HasHeader("replay-nonce")]),
    ),
    case(
        "413 for a body over the limit",
        |w| {
            // One byte more than the limit: all of it is read before the answer, so that no answer is lost.
            let url = w.url("newOrder");
            w.alice.send(&url, &vec![b'a'; 64 * 1024 + 1]).unwrap()
        },
        refused(413, "malformed"),
    ),
    case(
        "404 for an order id that is none",
        |w| {
            let url = w.server.url("/acme/acme/order/x");
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "404 for an index that is none",
        |w| {
            let url = of_order(w, "authorization");
            let url = format!("{}/00", url.rsplit_once('/').unwrap().0);
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "404 for an index beyond the last",
        |w| {
            let url = of_order(w, "authorization");
            let url = format!("{}/9", url.rsplit_once('/').unwrap().0);
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
];
