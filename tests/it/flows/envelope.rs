//! The signed envelope: whatever is spoilt in it is refused, with a fresh nonce.

use serde_json::{Value, json};

use super::assert_kind;
use crate::support::acme::*;
use crate::support::server::Server;

/// A way to spoil a newOrder request, and what must come of it.
struct Spoilt {
    what: &'static str,
    spoil: fn(&mut Jws),
    statuses: &'static [u16],
    kind: &'static str,
}

const SPOILT: &[Spoilt] = &[
    Spoilt {
        what: "signed by another key",
        spoil: |jws| jws.key = Key::generate(),
        statuses: &[400, 401, 403],
        kind: "malformed|unauthorized",
    },
    Spoilt {
        what: "for another URL",
        spoil: |jws| jws.protected["url"] = json!("https://localhost/elsewhere"),
        statuses: &[401, 403],
        kind: "unauthorized",
    },
    Spoilt { what: "without URL", spoil: |jws| remove(jws, "url"), statuses: &[400], kind: "malformed" },
    Spoilt {
        what: "without nonce",
        spoil: |jws| remove(jws, "nonce"),
        statuses: &[400],
        kind: "badNonce|malformed",
    },
    Spoilt {
        what: "with an invented nonce",
        spoil: |jws| jws.protected["nonce"] = json!(b64([7; 24])),
        statuses: &[400],
        kind: "badNonce",
    },
    Spoilt {
        what: "with a nonce that is no base64url",
        spoil: |jws| jws.protected["nonce"] = json!("not/base+64=="),
        statuses: &[400],
        kind: "badNonce|malformed",
    },
    Spoilt {
        what: "with jwk beside kid",
        spoil: |jws| jws.protected["jwk"] = jws.key.jwk(),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "with neither jwk nor kid",
        spoil: |jws| remove(jws, "kid"),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "with jwk where kid belongs",
        spoil: |jws| {
            remove(jws, "kid");
            jws.protected["jwk"] = jws.key.jwk();
        },
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "of an unknown account",
        spoil: |jws| {
            let kid = jws.protected["kid"].as_str().unwrap();
            // Of the same shape, so that only the look-up can tell.
            let (head, id) = kid.rsplit_once('/').unwrap();
            jws.protected["kid"] = json!(format!("{head}/{}", id.chars().rev().collect::<String>()));
        },
        statuses: &[400],
        kind: "accountDoesNotExist|malformed",
    },
    Spoilt {
        what: "with alg none",
        spoil: |jws| jws.protected["alg"] = json!("none"),
        statuses: &[400],
        kind: "badSignatureAlgorithm",
    },
    Spoilt {
        what: "with alg HS256",
        spoil: |jws| jws.protected["alg"] = json!("HS256"),
        statuses: &[400],
        kind: "badSignatureAlgorithm",
    },
    Spoilt {
        what: "with an algorithm of another kind of key",
        spoil: |jws| jws.protected["alg"] = json!("RS256"),
        statuses: &[400, 401, 403],
        kind: "malformed|badSignatureAlgorithm|unauthorized",
    },
    Spoilt {
        what: "without alg",
        spoil: |jws| remove(jws, "alg"),
        statuses: &[400],
        kind: "malformed|badSignatureAlgorithm",
    },
    Spoilt {
        what: "with an unknown critical extension",
        spoil: |jws| jws.protected["crit"] = json!(["exp"]),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "with a payload that is no JSON",
        spoil: |jws| jws.payload = "{".into(),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt {
        what: "with an array for a payload",
        spoil: |jws| jws.payload = "[]".into(),
        statuses: &[400],
        kind: "malformed",
    },
    Spoilt { what: "with no payload", spoil: |jws| jws.payload.clear(), statuses: &[400], kind: "malformed" },
];

fn remove(jws: &mut Jws, member: &str) {
    jws.protected.as_object_mut().unwrap().remove(member);
}

#[test]
fn spoilt_envelopes_are_refused() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    let payload = json!({"identifiers": identifiers(&["spoilt.test"])}).to_string();
    for case in SPOILT {
        let mut jws = client.jws(&url, &payload).unwrap();
        (case.spoil)(&mut jws);
        let reply = client.send(&url, &jws.body()).unwrap();
        assert_kind(&reply, case.statuses, case.kind, case.what);
        assert!(reply.header("replay-nonce").is_some(), "{}: a problem brings a fresh nonce", case.what);
        assert_eq!(reply.link("index"), Some(server.directory().as_str()), "{}", case.what);
        // And the fresh nonce is good.
        assert_eq!(client.fetch(&client.kid.clone().unwrap()).unwrap().status, 200, "{}", case.what);
    }
}

/// From the three members of a good envelope to a body that is none.
type Spoiler = fn(Value) -> Vec<u8>;

#[test]
fn spoilt_bodies_are_refused() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    let payload = json!({"identifiers": identifiers(&["spoilt.test"])}).to_string();
    let spoil: [(&str, Spoiler); 8] = [
        ("no JSON", |_| b"hello".to_vec()),
        ("empty", |_| Vec::new()),
        ("padded", |jws| edit(jws, "payload", |v| v + "=")),
        ("not base64url", |jws| edit(jws, "protected", |v| format!("+/{v}"))),
        ("unprotected header", |mut jws| {
            jws["header"] = json!({"alg": "ES256"});
            jws.to_string().into_bytes()
        }),
        ("general serialization", |jws| {
            json!({"payload": jws["payload"], "signatures": [{"protected": jws["protected"], "signature": jws["signature"]}]})
                .to_string()
                .into_bytes()
        }),
        ("signature cut off", |jws| edit(jws, "signature", |v| v[..v.len() - 4].to_owned())),
        ("compact serialization", |jws| {
            let part = |name: &str| jws[name].as_str().unwrap().to_owned();
            [part("protected"), part("payload"), part("signature")].join(".").into_bytes()
        }),
    ];
    for (what, spoil) in spoil {
        let jws = client.jws(&url, &payload).unwrap().signed();
        let reply = client.send(&url, &spoil(jws)).unwrap();
        assert_kind(&reply, &[400, 401, 403], "malformed|unauthorized", what);
    }
}

fn edit(mut jws: Value, member: &str, change: fn(String) -> String) -> Vec<u8> {
    jws[member] = json!(change(jws[member].as_str().unwrap().to_owned()));
    jws.to_string().into_bytes()
}

#[test]
fn the_content_type_is_jose() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.kid.clone().unwrap();
    for kind in ["application/json", "text/plain", "application/jose"] {
        let body = client.jws(&url, "").unwrap().body();
        let reply = client.https.send("POST", &url, &[("Content-Type", kind)], Some(&body)).unwrap();
        assert_eq!(reply.status, 415, "{kind}");
        assert_eq!(problem(&reply).1, "malformed");
    }
    let body = client.jws(&url, "").unwrap().body();
    let reply = client.https.send("POST", &url, &[], Some(&body)).unwrap();
    assert_eq!(reply.status, 415, "none");
}

#[test]
fn a_body_without_end_is_cut_off() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.endpoint("newOrder");
    // The server may answer before it has read all, and close: either is a refusal.
    if let Ok(reply) = client.send(&url, &vec![b'a'; 4 << 20]) {
        assert!(matches!(reply.status, 400 | 413), "{reply:?}");
    }
    client.https.disconnect();
    client.order(&["small.test"]).unwrap();
}

#[test]
fn a_nonce_is_good_once() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let url = client.kid.clone().unwrap();
    let body = client.jws(&url, "").unwrap().body();
    assert_eq!(client.send(&url, &body).unwrap().status, 200);
    let replayed = client.send(&url, &body).unwrap();
    assert_eq!(problem(&replayed), (400, "badNonce".to_owned()));
    assert!(replayed.header("replay-nonce").is_some());
    // The nonce that came with the refusal serves the retry.
    assert_eq!(client.fetch(&url).unwrap().status, 200);
}
