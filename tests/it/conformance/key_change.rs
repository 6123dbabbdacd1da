//! Key changes: the outer envelope is the account's, the inner one the new key's.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[Group { section: "RFC 8555 §7.3.5", cases: CASES }];

/// The inner request, ready to be spoilt.
struct Inner {
    protected: Value,
    payload: Value,
    key: Key,
}

/// A change of an account of its own to a new key, in whatever way it was spoilt. The answer is the
/// server's; a change that was refused must have left the old key in force.
fn change(w: &mut World, spoil: impl FnOnce(&mut Inner, &Client)) -> Reply {
    let mut client = Client::registered(&w.server);
    let (url, account, key) = (client.endpoint("keyChange"), client.kid.clone().unwrap(), Key::generate());
    let mut inner = Inner {
        protected: json!({"alg": key.algorithm(), "jwk": key.jwk(), "url": url}),
        payload: json!({"account": account, "oldKey": client.key.jwk()}),
        key: key.clone(),
    };
    spoil(&mut inner, &client);
    let (protected, payload) = (b64(inner.protected.to_string()), b64(inner.payload.to_string()));
    let signature = b64(inner.key.sign(format!("{protected}.{payload}").as_bytes()));
    let body = json!({"protected": protected, "payload": payload, "signature": signature});
    let answer = reply(client.post(&url, &body.to_string()));
    if answer.status == 200 {
        let old = reply(client.fetch(&account));
        assert_eq!(
            (old.status, problem(&old).1.as_str()),
            (400, "malformed"),
            "the old key is good for nothing"
        );
        client.key = inner.key;
    }
    assert_eq!(reply(client.fetch(&account)).status, 200, "one key is in force");
    answer
}

fn to(w: &mut World, key: Key) -> Reply {
    change(w, |inner, _| {
        inner.protected["alg"] = json!(key.algorithm());
        inner.protected["jwk"] = key.jwk();
        inner.key = key;
    })
}

/// What stands in the place of the inner envelope.
fn instead(w: &mut World, payload: &str) -> Reply {
    let url = w.url("keyChange");
    w.text(&url, payload)
}

fn without(object: &mut Value, member: &str) {
    object.as_object_mut().unwrap().remove(member);
}

const CASES: &[Case] = &[
    case("to a new key of the same kind", |w| change(w, |_, _| {}), ok(200).and(&[Is("/status", "valid")])),
    case("to P-384", |w| to(w, Key::p384()), ok(200)),
    case("to Ed25519", |w| to(w, Key::ed25519()), ok(200)),
    case("to RSA", |w| to(w, Key::rsa()), ok(200)),
    case(
        "to another account's key",
        |w| {
            let key = w.bob.key.clone();
            to(w, key)
        },
        refused(409, "malformed").and(&[HasHeader("location")]),
    ),
    case(
        "the conflict names the other account",
        |w| {
            let (key, account) = (w.bob.key.clone(), w.bob.kid.clone());
            let answer = to(w, key);
            assert_eq!(answer.header("location"), account.as_deref());
            answer
        },
        refused(409, "malformed"),
    ),
    case(
        "to the key that it has",
        |w| {
            change(w, |inner, client| {
                inner.protected["jwk"] = client.key.jwk();
                inner.key = client.key.clone();
            })
        },
        refused(409, "malformed").and(&[HasHeader("location")]),
    ),
    case(
        "back and forth",
        |w| {
            let mut client = Client::registered(&w.server);
            let keys = [Key::generate(), client.key.clone()];
            let (url, account) = (client.endpoint("keyChange"), client.kid.clone().unwrap());
            let mut last = None;
            for key in keys {
                let inner = Jws {
                    protected: json!({"alg": "ES256", "jwk": key.jwk(), "url": url}),
                    payload: json!({"account": account, "oldKey": client.key.jwk()}).to_string(),
                    key: key.clone(),
                };
                last = Some(reply(client.post(&url, &inner.signed().to_string())));
                client.key = key;
            }
            last.unwrap()
        },
        ok(200),
    ),
    case(
        "the account's orders stay its own",
        |w| {
            let mut client = Client::registered(&w.server);
            let name = w.name();
            let order = client.order(&[&name]).unwrap();
            let (key, url) = (Key::generate(), client.endpoint("keyChange"));
            let inner = Jws {
                protected: json!({"alg": "ES256", "jwk": key.jwk(), "url": url}),
                payload: json!({"account": client.kid, "oldKey": client.key.jwk()}).to_string(),
                key: key.clone(),
            };
            client.post(&url, &inner.signed().to_string()).unwrap();
            client.key = key;
            reply(client.fetch(&order.url))
        },
        ok(200).and(&[Is("/status", "pending")]),
    ),
    case(
        "the inner url is another",
        |w| change(w, |inner, client| inner.protected["url"] = json!(client.endpoint("newOrder"))),
        refused(400, "malformed").and(&[Contains("/detail", "url")]),
    ),
    case(
        "the inner url is missing",
        |w| change(w, |inner, _| without(&mut inner.protected, "url")),
        refused(400, "malformed"),
    ),
    case(
        "an inner nonce",
        |w| change(w, |inner, _| inner.protected["nonce"] = json!("AAAA")),
        refused(400, "malformed").and(&[Contains("/detail", "nonce")]),
    ),
    case(
        "an inner nonce that is good",
        |w| {
            let nonce = w.alice.nonce().unwrap();
            change(w, |inner, _| inner.protected["nonce"] = json!(nonce))
        },
        refused(400, "malformed"),
    ),
    case(
        "an inner kid",
        |w| {
            change(w, |inner, client| {
                without(&mut inner.protected, "jwk");
                inner.protected["kid"] = json!(client.kid)
            })
        },
        refused(400, "malformed"),
    ),
    case(
        "an inner kid beside the jwk",
        |w| change(w, |inner, client| inner.protected["kid"] = json!(client.kid)),
        refused(400, "malformed"),
    ),
    case(
        "an inner alg that is none",
        |w| change(w, |inner, _| inner.protected["alg"] = json!("none")),
        refused(400, "badSignatureAlgorithm").and(&[Contains("/algorithms", "ES256")]),
    ),
    case(
        "an inner alg of another kind of key",
        |w| change(w, |inner, _| inner.protected["alg"] = json!("RS256")),
        refused(400, "malformed"),
    ),
    case(
        "an inner crit",
        |w| change(w, |inner, _| inner.protected["crit"] = json!(["x"])),
        refused(400, "malformed"),
    ),
    case(
        "a new key that is weak",
        |w| {
            change(w, |inner, _| {
                inner.protected["alg"] = json!("RS256");
                inner.protected["jwk"] = json!({"kty": "RSA", "n": b64([0xa5; 128]), "e": "AQAB"})
            })
        },
        refused(400, "badPublicKey"),
    ),
    case(
        "a new key that is symmetric",
        |w| change(w, |inner, _| inner.protected["jwk"] = json!({"kty": "oct", "k": "AAAA"})),
        refused(400, "badPublicKey"),
    ),
    case(
        "signed with the old key only",
        |w| change(w, |inner, client| inner.key = client.key.clone()),
        refused(400, "malformed"),
    ),
    case(
        "signed with a third key",
        |w| change(w, |inner, _| inner.key = Key::generate()),
        refused(400, "malformed"),
    ),
    case(
        "no account",
        |w| change(w, |inner, _| without(&mut inner.payload, "account")),
        refused(400, "malformed"),
    ),
    case(
        "somebody else's account",
        |w| {
            let other = w.bob.kid.clone();
            change(w, |inner, _| inner.payload["account"] = json!(other))
        },
        refused(400, "malformed").and(&[Contains("/detail", "account")]),
    ),
    case(
        "no old key",
        |w| change(w, |inner, _| without(&mut inner.payload, "oldKey")),
        refused(400, "malformed"),
    ),
    case(
        "another old key",
        |w| change(w, |inner, _| inner.payload["oldKey"] = Key::generate().jwk()),
        refused(400, "malformed").and(&[Contains("/detail", "oldKey")]),
    ),
    case(
        "the new key as the old key",
        |w| change(w, |inner, _| inner.payload["oldKey"] = inner.key.jwk()),
        refused(400, "malformed"),
    ),
    case(
        "an old key that is no key",
        |w| change(w, |inner, _| inner.payload["oldKey"] = json!({})),
        refused(400, "malformed"),
    ),
    case(
        "the old key dressed otherwise",
        |w| change(w, |inner, _| inner.payload["oldKey"]["use"] = json!("sig")),
        ok(200),
    ),
    case("no inner envelope", |w| instead(w, ""), refused(400, "malformed")),
    case("an empty object", |w| instead(w, "{}"), refused(400, "malformed")),
    case(
        "the old shape of the drafts",
        |w| instead(w, r#"{"account":"x","newKey":{}}"#),
        refused(400, "malformed"),
    ),
    case(
        "the same change twice",
        |w| {
            let mut client = Client::registered(&w.server);
            let (key, url) = (Key::generate(), client.endpoint("keyChange"));
            let inner = Jws {
                protected: json!({"alg": "ES256", "jwk": key.jwk(), "url": url}),
                payload: json!({"account": client.kid, "oldKey": client.key.jwk()}).to_string(),
                key: key.clone(),
            };
            let inner = inner.signed().to_string();
            client.post(&url, &inner).unwrap();
            client.key = key;
            reply(client.post(&url, &inner))
        },
        refused(400, "malformed"),
    ),
];
