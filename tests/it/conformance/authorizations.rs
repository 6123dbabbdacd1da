//! Authorizations and challenges: read, answered, given up.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::world::{World, reply};
use super::{Case, Check::*, Group, Want, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;
use crate::support::tls_alpn::{Proof, TlsAlpn};

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §7.1.4", cases: OBJECT },
    Group { section: "RFC 8555 §7.5", cases: READ },
    Group { section: "RFC 8555 §7.5.1", cases: RESPOND },
    Group { section: "RFC 8555 §7.5.2", cases: GIVE_UP },
    Group { section: "RFC 8555 §8", cases: CHALLENGES },
    Group { section: "RFC 8555 §8.1", cases: TOKENS },
    Group { section: "RFC 8555 §8.3", cases: HTTP_01 },
    Group { section: "RFC 8555 §8.4", cases: DNS_01 },
    Group { section: "RFC 8737 §3", cases: TLS_ALPN_01 },
    Group { section: "RFC 8738 §6", cases: TLS_ALPN_01_ADDRESSES },
];

fn fresh(w: &mut World) -> Reply {
    let (url, _) = w.authorization();
    w.read(&url)
}

fn of(w: &mut World, name: &str) -> Reply {
    let order = w.alice.order(&[name]).unwrap();
    let (url, _) = w.authorization_of(&order);
    w.read(&url)
}

const OBJECT: &[Case] = &[
    case(
        "status",
        fresh,
        ok(200).and(&[Is("/status", "pending"), Header("content-type", "application/json")]),
    ),
    case("expires", fresh, ok(200).and(&[Has("/expires")])),
    case("identifier", fresh, ok(200).and(&[Is("/identifier/type", "dns"), Has("/identifier/value")])),
    case("three challenges for a name", fresh, ok(200).and(&[Length("/challenges", 3)])),
    case("no wildcard for a name", fresh, ok(200).and(&[Lacks("/wildcard")])),
    case(
        "a wildcard shows its base",
        |w| of(w, "*.base.test"),
        ok(200).and(&[Is("/identifier/value", "base.test"), True("/wildcard")]),
    ),
    case(
        "a wildcard is for dns-01 alone",
        |w| of(w, "*.base.test"),
        ok(200).and(&[Length("/challenges", 1), Is("/challenges/0/type", "dns-01")]),
    ),
    case(
        "a valid one shows the challenge that proved it",
        proved,
        ok(200).and(&[
            Is("/status", "valid"),
            Length("/challenges", 1),
            Is("/challenges/0/status", "valid"),
            Has("/challenges/0/validated"),
            Lacks("/challenges/0/error"),
        ]),
    ),
    case(
        "an invalid one shows the challenge that failed",
        |w| {
            let name = w.name();
            w.prove(&name, "http-01", |w, token, _| w.web.set(token, "x"))
        },
        ok(200).and(&[
            Is("/status", "invalid"),
            Length("/challenges", 1),
            Is("/challenges/0/status", "invalid"),
            Has("/challenges/0/error/detail"),
        ]),
    ),
];

fn proved(w: &mut World) -> Reply {
    let name = w.name();
    w.prove(&name, "http-01", |w, token, answer| w.web.set(token, answer))
}

const READ: &[Case] = &[
    case(
        "somebody else's",
        |w| {
            let (url, _) = w.authorization();
            w.bob_reads(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "one that there is not",
        |w| {
            let url = w.server.url("/acme/acme/authz/AAAAAAAAAAAAAAAAAAAAAA/0");
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "an index beyond the last",
        |w| {
            let (url, _) = w.authorization();
            let url = url.replace("/0", "/1");
            let url = if url.ends_with("/1") { url } else { format!("{url}1") };
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "read twice it is the same",
        |w| {
            let (url, object) = w.authorization();
            let again = w.read(&url);
            assert_eq!(again.json(), object);
            again
        },
        ok(200),
    ),
];

/// A fresh http-01 challenge.
fn fresh_challenge(w: &mut World) -> (String, Value) {
    let (_, object) = w.authorization();
    let challenge = challenge(&object, "http-01").clone();
    (challenge["url"].as_str().unwrap().to_owned(), challenge)
}

/// alice answers a fresh challenge that is in place, with this payload.
fn respond(w: &mut World, payload: &str) -> Reply {
    let (url, object) = fresh_challenge(w);
    let token = object["token"].as_str().unwrap();
    w.web.set(token, &format!("{token}.{}", w.alice.key.thumbprint()));
    w.text(&url, payload)
}

const RESPOND: &[Case] = &[
    case(
        "an empty object",
        |w| respond(w, "{}"),
        ok(200).and(&[Link("up"), Link("index"), Is("/type", "http-01"), Has("/url")]),
    ),
    case(
        "a key authorization, as the drafts had it",
        |w| respond(w, r#"{"keyAuthorization":"x.y"}"#),
        ok(200),
    ),
    case("the payload a list", |w| respond(w, "[]"), refused(400, "malformed")),
    case("the payload a text", |w| respond(w, "\"{}\""), refused(400, "malformed")),
    case("the payload no JSON", |w| respond(w, "{"), refused(400, "malformed")),
    case(
        "read, it is not answered",
        |w| {
            let (url, _) = fresh_challenge(w);
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "pending"), Link("up")]),
    ),
    case(
        "answered twice",
        |w| {
            let name = w.name();
            let order = w.alice.order(&[&name]).unwrap();
            w.alice.authorize(&w.web, &order).unwrap();
            let (_, object) = w.authorization_of(&order);
            let url = object["challenges"][0]["url"].as_str().unwrap().to_owned();
            w.text(&url, "{}")
        },
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case(
        "another way once one has proved it",
        |w| {
            let name = w.name();
            let order = w.alice.order(&[&name]).unwrap();
            w.alice.authorize(&w.web, &order).unwrap();
            let url = authorizations(&order).remove(0).replace("/authz/", "/chall/") + "/dns-01";
            w.text(&url, "{}")
        },
        ok(200).and(&[Is("/type", "dns-01"), Is("/status", "pending")]),
    ),
    case(
        "a failed one is not tried again",
        |w| {
            let name = w.name();
            let object = w.prove(&name, "http-01", |w, token, _| w.web.set(token, "x")).json();
            let url = object["challenges"][0]["url"].as_str().unwrap().to_owned();
            let token = object["challenges"][0]["token"].as_str().unwrap();
            w.web.set(token, &format!("{token}.{}", w.alice.key.thumbprint()));
            w.text(&url, "{}")
        },
        ok(200).and(&[Is("/status", "invalid"), Has("/error/type")]),
    ),
    case(
        "somebody else's",
        |w| {
            let (url, _) = fresh_challenge(w);
            reply(w.bob.post(&url, "{}"))
        },
        refused(404, "malformed"),
    ),
    case(
        "a type that was not offered",
        |w| {
            let name = format!("*.{}", w.name());
            let order = w.alice.order(&[&name]).unwrap();
            let url = authorizations(&order).remove(0).replace("/authz/", "/chall/") + "/http-01";
            w.text(&url, "{}")
        },
        refused(404, "malformed"),
    ),
    case(
        "a type that there is not",
        |w| {
            let (url, _) = fresh_challenge(w);
            let url = url.replace("http-01", "tls-sni-01");
            w.text(&url, "{}")
        },
        refused(404, "malformed"),
    ),
    case(
        "a type in capitals",
        |w| {
            let (url, _) = fresh_challenge(w);
            let url = url.replace("http-01", "HTTP-01");
            w.text(&url, "{}")
        },
        refused(404, "malformed"),
    ),
    case(
        "of an order that there is not",
        |w| {
            let url = w.server.url("/acme/acme/chall/AAAAAAAAAAAAAAAAAAAAAA/0/http-01");
            w.text(&url, "{}")
        },
        refused(404, "malformed"),
    ),
];

fn give_up(w: &mut World, payload: &str) -> Reply {
    let (url, _) = w.authorization();
    w.text(&url, payload)
}

const GIVE_UP: &[Case] = &[
    case(
        "a pending one",
        |w| give_up(w, r#"{"status":"deactivated"}"#),
        ok(200).and(&[Is("/status", "deactivated")]),
    ),
    case(
        "a valid one",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            let url = authorizations(&order).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#)
        },
        ok(200).and(&[Is("/status", "deactivated")]),
    ),
    case(
        "one given up serves no new order",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            let url = authorizations(&order).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.identifier("dns", &name)
        },
        ok(201).and(&[Is("/status", "pending")]),
    ),
    case(
        "one given up is not proved any more",
        |w| {
            let (url, object) = w.authorization();
            w.text(&url, r#"{"status":"deactivated"}"#);
            let challenge = challenge(&object, "http-01");
            let token = challenge["token"].as_str().unwrap();
            w.web.set(token, &format!("{token}.{}", w.alice.key.thumbprint()));
            w.text(challenge["url"].as_str().unwrap(), "{}");
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "deactivated")]),
    ),
    case(
        "twice",
        |w| {
            let (url, _) = w.authorization();
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.text(&url, r#"{"status":"deactivated"}"#)
        },
        refused(400, "malformed"),
    ),
    case(
        "a failed one",
        |w| {
            let name = w.name();
            let order = w.alice.order(&[&name]).unwrap();
            let (url, object) = w.authorization_of(&order);
            let challenge = challenge(&object, "http-01");
            w.web.set(challenge["token"].as_str().unwrap(), "x");
            w.text(challenge["url"].as_str().unwrap(), "{}");
            w.alice.settle(&url, &["pending"]).unwrap();
            w.text(&url, r#"{"status":"deactivated"}"#)
        },
        refused(400, "malformed"),
    ),
    case(
        "somebody else's",
        |w| {
            let (url, _) = w.authorization();
            reply(w.bob.post(&url, r#"{"status":"deactivated"}"#))
        },
        refused(404, "malformed"),
    ),
    case("status valid", |w| give_up(w, r#"{"status":"valid"}"#), refused(400, "malformed")),
    case("status invalid", |w| give_up(w, r#"{"status":"invalid"}"#), refused(400, "malformed")),
    case("status in capitals", |w| give_up(w, r#"{"status":"Deactivated"}"#), refused(400, "malformed")),
    case("status null", |w| give_up(w, r#"{"status":null}"#), refused(400, "malformed")),
    case("no status", |w| give_up(w, "{}"), refused(400, "malformed")),
    case("the payload a list", |w| give_up(w, r#"["deactivated"]"#), refused(400, "malformed")),
];

const CHALLENGES: &[Case] = &[
    case(
        "type, url, status and token",
        fresh,
        ok(200).and(&[
            Is("/challenges/0/type", "http-01"),
            Has("/challenges/0/url"),
            Is("/challenges/0/status", "pending"),
            Has("/challenges/0/token"),
        ]),
    ),
    case(
        "in the order configured",
        fresh,
        ok(200).and(&[Is("/challenges/1/type", "dns-01"), Is("/challenges/2/type", "tls-alpn-01")]),
    ),
    case(
        "neither validated nor error while pending",
        fresh,
        ok(200).and(&[Lacks("/challenges/0/validated"), Lacks("/challenges/0/error")]),
    ),
    case(
        "its URL is itself",
        |w| {
            let (url, object) = fresh_challenge(w);
            let answer = w.read(&url);
            assert_eq!(answer.json()["url"], object["url"]);
            answer
        },
        ok(200),
    ),
    case(
        "up leads to its authorization",
        |w| {
            let (authorization, object) = w.authorization();
            let answer = w.read(challenge(&object, "dns-01")["url"].as_str().unwrap());
            assert_eq!(answer.link("up"), Some(authorization.as_str()));
            answer
        },
        ok(200),
    ),
];

fn tokens(reply: &Reply) -> Result<(), String> {
    let object = reply.json();
    let mut seen = std::collections::BTreeSet::new();
    for challenge in object["challenges"].as_array().ok_or("no challenges")? {
        let token = challenge["token"].as_str().ok_or("no token")?;
        // 128 bits in base64url.
        let fits =
            token.len() >= 22 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !fits || !seen.insert(token.to_owned()) {
            return Err(format!("token {token}"));
        }
    }
    Ok(())
}

const TOKENS: &[Case] = &[
    case("128 bits of base64url, none twice", fresh, ok(200).and(&[That(tokens)])),
    case(
        "another account's thumbprint proves nothing",
        |w| {
            let other = w.bob.key.thumbprint();
            let name = w.name();
            w.prove(&name, "http-01", |w, token, _| w.web.set(token, &format!("{token}.{other}")))
        },
        INVALID_UNAUTHORIZED,
    ),
    case(
        "another token proves nothing",
        |w| {
            let thumbprint = w.alice.key.thumbprint();
            let name = w.name();
            w.prove(&name, "http-01", |w, token, _| {
                w.web.set(token, &format!("{}.{thumbprint}", "A".repeat(22)))
            })
        },
        INVALID_UNAUTHORIZED,
    ),
];

const VALID: Want = ok(200).and(&[Is("/status", "valid")]);
const INVALID_UNAUTHORIZED: Want = ok(200).and(&[
    Is("/status", "invalid"),
    Is("/challenges/0/error/type", "urn:ietf:params:acme:error:unauthorized"),
    Has("/challenges/0/error/detail"),
]);
const INVALID_RESPONSE: Want = ok(200).and(&[
    Is("/status", "invalid"),
    Is("/challenges/0/error/type", "urn:ietf:params:acme:error:incorrectResponse"),
]);
const INVALID_DNS: Want = ok(200)
    .and(&[Is("/status", "invalid"), Is("/challenges/0/error/type", "urn:ietf:params:acme:error:dns")]);
const INVALID_CONNECTION: Want = ok(200).and(&[
    Is("/status", "invalid"),
    Is("/challenges/0/error/type", "urn:ietf:params:acme:error:connection"),
]);
const INVALID_TLS: Want = ok(200)
    .and(&[Is("/status", "invalid"), Is("/challenges/0/error/type", "urn:ietf:params:acme:error:tls")]);

fn by_http(w: &mut World, body: fn(&str) -> String) -> Reply {
    let name = w.name();
    w.prove(&name, "http-01", |w, token, answer| w.web.set(token, &body(answer)))
}

fn by_redirect(w: &mut World, to: fn(u16) -> String) -> Reply {
    let name = w.name();
    w.prove(&name, "http-01", |w, token, answer| {
        w.web.set("elsewhere", answer);
        w.web.redirect(token, &to(w.server.http_port));
    })
}

const HTTP_01: &[Case] = &[
    case("the key authorization", |w| by_http(w, str::to_owned), VALID),
    case("a line break behind it", |w| by_http(w, |answer| format!("{answer}\r\n")), VALID),
    case("a space before it", |w| by_http(w, |answer| format!(" {answer}")), INVALID_UNAUTHORIZED),
    case("something behind it", |w| by_http(w, |answer| format!("{answer}x")), INVALID_UNAUTHORIZED),
    case("nothing", |w| by_http(w, |_| String::new()), INVALID_UNAUTHORIZED),
    case("a web page", |w| by_http(w, |_| "<html>hello</html>".into()), INVALID_UNAUTHORIZED),
    case("a long body", |w| by_http(w, |answer| format!("{answer}{}", " ".repeat(5000))), INVALID_RESPONSE),
    case(
        "404",
        |w| {
            let name = w.name();
            w.prove(&name, "http-01", |_, _, _| ())
        },
        INVALID_UNAUTHORIZED,
    ),
    case(
        "a redirect",
        |w| by_redirect(w, |port| format!("http://other.test:{port}/.well-known/acme-challenge/elsewhere")),
        VALID,
    ),
    case(
        "a redirect to another port",
        |w| by_redirect(w, |_| "http://other.test:22/".into()),
        INVALID_RESPONSE,
    ),
    case(
        "a redirect to another scheme",
        |w| by_redirect(w, |_| "ftp://other.test/".into()),
        INVALID_RESPONSE,
    ),
    case("a redirect to a file", |w| by_redirect(w, |_| "file:///etc/passwd".into()), INVALID_RESPONSE),
    case(
        "a circle of redirects",
        |w| {
            let name = w.name();
            w.prove(&name, "http-01", |w, token, _| {
                let own =
                    format!("http://other.test:{}/.well-known/acme-challenge/{token}", w.server.http_port);
                w.web.redirect(token, &own);
            })
        },
        INVALID_RESPONSE,
    ),
    case("a name that there is not", |w| w.prove("a.none.test", "http-01", |_, _, _| ()), INVALID_DNS),
    case(
        "over IPv6 alone",
        |w| {
            let name = format!("{}.v6.test", w.name().replace(".test", ""));
            w.prove(&name, "http-01", |w, token, answer| w.web.set(token, answer))
        },
        VALID,
    ),
    case(
        "an address that nobody may ask about",
        |w| w.prove("169.254.169.254", "http-01", |_, _, _| ()),
        INVALID_UNAUTHORIZED,
    ),
];

fn digest(answer: &str) -> String {
    b64(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, answer.as_bytes()))
}

fn by_dns(w: &mut World, wildcard: bool, values: fn(&str) -> Vec<String>) -> Reply {
    let base = w.name();
    let name = if wildcard { format!("*.{base}") } else { base.clone() };
    w.prove(&name, "dns-01", |w, _, answer| {
        for value in values(answer) {
            w.server.dns.add_txt(&format!("_acme-challenge.{base}"), &value);
        }
    })
}

const DNS_01: &[Case] = &[
    case("the digest", |w| by_dns(w, false, |answer| vec![digest(answer)]), VALID),
    case("the digest for a wildcard", |w| by_dns(w, true, |answer| vec![digest(answer)]), VALID),
    case(
        "the digest among others",
        |w| by_dns(w, false, |answer| vec!["older".into(), digest(answer), "v=spf1".into()]),
        VALID,
    ),
    case(
        "the key authorization itself",
        |w| by_dns(w, false, |answer| vec![answer.to_owned()]),
        INVALID_UNAUTHORIZED,
    ),
    case("another digest", |w| by_dns(w, false, |_| vec![digest("x")]), INVALID_UNAUTHORIZED),
    case(
        "the digest with padding",
        |w| by_dns(w, false, |answer| vec![digest(answer) + "="]),
        INVALID_UNAUTHORIZED,
    ),
    case(
        "the digest in small letters",
        |w| by_dns(w, false, |answer| vec![digest(answer).to_lowercase()]),
        INVALID_UNAUTHORIZED,
    ),
    case("no record", |w| by_dns(w, false, |_| Vec::new()), INVALID_DNS),
    case("a name that there is not", |w| w.prove("b.none.test", "dns-01", |_, _, _| ()), INVALID_DNS),
    case(
        "the record at the name itself",
        |w| {
            let name = w.name();
            w.prove(&name.clone(), "dns-01", |w, _, answer| w.server.dns.add_txt(&name, &digest(answer)))
        },
        INVALID_DNS,
    ),
];

fn by_tls(w: &mut World, name: &str, change: fn(&mut Proof)) -> Reply {
    let mut responder = None;
    let answer = w.prove(name, "tls-alpn-01", |w, _, answer| {
        let mut proof = Proof::new(name, answer);
        change(&mut proof);
        let address = name.parse().unwrap_or(Ipv4Addr::LOCALHOST);
        responder = Some(TlsAlpn::start(address, w.server.tls_alpn_port, &proof));
    });
    drop(responder);
    answer
}

fn by_tls_fresh(w: &mut World, change: fn(&mut Proof)) -> Reply {
    let name = w.name();
    by_tls(w, &name, change)
}

const TLS_ALPN_01: &[Case] = &[
    case("the certificate", |w| by_tls_fresh(w, |_| {}), VALID),
    case(
        "nobody there",
        |w| {
            let name = w.name();
            w.prove(&name, "tls-alpn-01", |_, _, _| ())
        },
        INVALID_CONNECTION,
    ),
    case("another digest", |w| by_tls_fresh(w, |proof| proof.digest[0] ^= 1), INVALID_UNAUTHORIZED),
    case("no acmeIdentifier", |w| by_tls_fresh(w, |proof| proof.oid = vec![1, 2, 3]), INVALID_UNAUTHORIZED),
    case(
        "the acmeIdentifier of the drafts",
        |w| by_tls_fresh(w, |proof| proof.oid = vec![1, 3, 6, 1, 5, 5, 7, 1, 30, 1]),
        INVALID_UNAUTHORIZED,
    ),
    case(
        "an acmeIdentifier that is not critical",
        |w| by_tls_fresh(w, |proof| proof.critical = false),
        INVALID_UNAUTHORIZED,
    ),
    case(
        "another name",
        |w| by_tls_fresh(w, |proof| proof.names = vec!["other.test".into()]),
        INVALID_UNAUTHORIZED,
    ),
    case(
        "a name more",
        |w| by_tls_fresh(w, |proof| proof.names.push("other.test".into())),
        INVALID_UNAUTHORIZED,
    ),
    case("no name", |w| by_tls_fresh(w, |proof| proof.names.clear()), INVALID_UNAUTHORIZED),
    case("another protocol", |w| by_tls_fresh(w, |proof| proof.protocol = Some(b"h2".to_vec())), INVALID_TLS),
    case("no protocol", |w| by_tls_fresh(w, |proof| proof.protocol = None), INVALID_TLS),
];

const TLS_ALPN_01_ADDRESSES: &[Case] = &[
    case("the certificate for an address", |w| by_tls(w, "127.0.0.77", |_| {}), VALID),
    case(
        "a certificate for another address",
        |w| by_tls(w, "127.0.0.78", |proof| proof.names = vec!["127.0.0.3".into()]),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
];
