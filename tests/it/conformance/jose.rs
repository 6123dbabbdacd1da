//! The signed envelope: JWS, its header, its keys, its algorithms.

use serde_json::{Value, json};

use super::world::{World, remove};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §6.2", cases: ALGORITHMS },
    Group { section: "RFC 8555 §6.2", cases: KEYS_AND_ACCOUNTS },
    Group { section: "RFC 8555 §6.2", cases: CONTENT_TYPES },
    Group { section: "RFC 7515 §7.2.2", cases: SERIALIZATION },
    Group { section: "RFC 7515 §4", cases: HEADER },
    Group { section: "RFC 7515 §4.1.11", cases: CRITICAL },
    Group { section: "RFC 7515 §5.2", cases: SIGNATURES },
    Group { section: "RFC 7517 §4", cases: KEYS },
    Group { section: "RFC 7518 §6.2", cases: EC_KEYS },
    Group { section: "RFC 7518 §6.3", cases: RSA_KEYS },
    Group { section: "RFC 8037 §2", cases: OKP_KEYS },
];

fn algorithm(w: &mut World, name: &'static str) -> Reply {
    let url = w.account();
    let mut jws = w.alice.jws(&url, "").unwrap();
    jws.protected["alg"] = json!(name);
    w.alice.send(&url, &jws.body()).unwrap()
}

const NO_ALGORITHM: super::Want = refused(400, "badSignatureAlgorithm").and(&[
    Contains("/algorithms", "ES256"),
    Contains("/algorithms", "ES384"),
    Contains("/algorithms", "EdDSA"),
    Contains("/algorithms", "RS256"),
    HasHeader("replay-nonce"),
]);

const ALGORITHMS: &[Case] = &[
    case("an account of an ES256 key", |w| w.new_account_of(Key::generate()), ok(201)),
    case("an account of an ES384 key", |w| w.new_account_of(Key::p384()), ok(201)),
    case("an account of an EdDSA key", |w| w.new_account_of(Key::ed25519()), ok(201)),
    case("an account of an RS256 key", |w| w.new_account_of(Key::rsa()), ok(201)),
    case("alg none", |w| algorithm(w, "none"), NO_ALGORITHM),
    case("alg None", |w| algorithm(w, "None"), NO_ALGORITHM),
    case("alg HS256, a MAC", |w| algorithm(w, "HS256"), NO_ALGORITHM),
    case("alg HS512, a MAC", |w| algorithm(w, "HS512"), NO_ALGORITHM),
    case("alg ES256K", |w| algorithm(w, "ES256K"), NO_ALGORITHM),
    case("alg ES512", |w| algorithm(w, "ES512"), NO_ALGORITHM),
    case("alg PS256", |w| algorithm(w, "PS256"), NO_ALGORITHM),
    case("alg RS1", |w| algorithm(w, "RS1"), NO_ALGORITHM),
    case("alg in lower case", |w| algorithm(w, "es256"), NO_ALGORITHM),
    case("alg empty", |w| algorithm(w, ""), NO_ALGORITHM),
    case("alg missing", |w| w.spoilt(|jws| remove(jws, "alg")), refused(400, "malformed")),
    case("alg a number", |w| w.spoilt(|jws| jws.protected["alg"] = json!(7)), refused(400, "malformed")),
    case("alg null", |w| w.spoilt(|jws| jws.protected["alg"] = Value::Null), refused(400, "malformed")),
    case("alg RS256 for a P-256 account", |w| algorithm(w, "RS256"), refused(400, "malformed")),
    case("alg ES384 for a P-256 account", |w| algorithm(w, "ES384"), refused(400, "malformed")),
    case("alg EdDSA for a P-256 account", |w| algorithm(w, "EdDSA"), refused(400, "malformed")),
    case(
        "alg ES384 with a P-256 jwk",
        |w| w.new_account_with("ES384", Key::generate().jwk()),
        refused(400, "malformed"),
    ),
    case(
        "alg RS256 with a P-256 jwk",
        |w| w.new_account_with("RS256", Key::generate().jwk()),
        refused(400, "malformed"),
    ),
    case(
        "alg ES256 with an RSA jwk",
        |w| w.new_account_with("ES256", Key::rsa().jwk()),
        refused(400, "malformed"),
    ),
    case(
        "alg HS256 with a public key as the secret",
        |w| w.new_account_with("HS256", Key::rsa().jwk()),
        NO_ALGORITHM,
    ),
];

/// The request as somebody who brings a key where an account belongs.
fn keyed(w: &mut World, url: &str, payload: &str) -> Reply {
    w.spoilt_to(url, payload, |jws| {
        remove(jws, "kid");
        jws.protected["jwk"] = jws.key.jwk();
    })
}

fn kid(w: &mut World, change: fn(String) -> String) -> Reply {
    let url = w.account();
    let mut jws = w.alice.jws(&url, "").unwrap();
    jws.protected["kid"] = json!(change(url.clone()));
    w.alice.send(&url, &jws.body()).unwrap()
}

const KEYS_AND_ACCOUNTS: &[Case] = &[
    case(
        "jwk beside kid",
        |w| w.spoilt(|jws| jws.protected["jwk"] = jws.key.jwk()),
        refused(400, "malformed"),
    ),
    case("neither jwk nor kid", |w| w.spoilt(|jws| remove(jws, "kid")), refused(400, "malformed")),
    case(
        "kid at newAccount",
        |w| {
            let url = w.url("newAccount");
            w.text(&url, r#"{"termsOfServiceAgreed":true}"#)
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at the account",
        |w| {
            let url = w.account();
            keyed(w, &url, "")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at newOrder",
        |w| {
            let url = w.url("newOrder");
            keyed(w, &url, r#"{"identifiers":[{"type":"dns","value":"a.test"}]}"#)
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at keyChange",
        |w| {
            let url = w.url("keyChange");
            keyed(w, &url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at the order",
        |w| {
            let url = w.pending().url;
            keyed(w, &url, "")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at finalize",
        |w| {
            let order = w.for_refusals();
            let url = order.object["finalize"].as_str().unwrap().to_owned();
            keyed(w, &url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at the authorization",
        |w| {
            let (url, _) = w.authorization();
            keyed(w, &url, "")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at the challenge",
        |w| {
            let (_, object) = w.authorization();
            let url = challenge(&object, "http-01")["url"].as_str().unwrap().to_owned();
            keyed(w, &url, "{}")
        },
        refused(400, "malformed"),
    ),
    case(
        "jwk at the certificate",
        |w| {
            let url = w.issued().url.clone();
            keyed(w, &url, "")
        },
        refused(400, "malformed"),
    ),
    case(
        "kid of nobody",
        |w| {
            kid(w, |url| {
                let (head, id) = url.rsplit_once('/').unwrap();
                format!("{head}/{}", id.chars().rev().collect::<String>())
            })
        },
        refused(400, "accountDoesNotExist").and(&[HasHeader("replay-nonce")]),
    ),
    case("kid empty", |w| kid(w, |_| String::new()), refused(400, "accountDoesNotExist")),
    case(
        "kid as a path",
        |w| kid(w, |url| url[url.find("/acme/").unwrap()..].to_owned()),
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "kid as the bare id",
        |w| kid(w, |url| url.rsplit('/').next().unwrap().to_owned()),
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "kid of another scheme",
        |w| kid(w, |url| url.replace("https:", "http:")),
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "kid of another host",
        |w| kid(w, |url| url.replace("localhost", "ca.test")),
        refused(400, "accountDoesNotExist"),
    ),
    case("kid with a slash more", |w| kid(w, |url| url + "/"), refused(400, "accountDoesNotExist")),
    case("kid with a query", |w| kid(w, |url| url + "?x"), refused(400, "accountDoesNotExist")),
    case(
        "kid of another provisioner",
        |w| kid(w, |url| url.replace("/acme/acme/", "/acme/narrow/")),
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "kid of another kind of object",
        |w| kid(w, |url| url.replace("/account/", "/order/")),
        refused(400, "accountDoesNotExist"),
    ),
    case("kid a number", |w| w.spoilt(|jws| jws.protected["kid"] = json!(1)), refused(400, "malformed")),
    case(
        "an account of this provisioner at another",
        |w| {
            let url = w.url("newOrder").replace("/acme/acme/", "/acme/narrow/");
            w.text(&url, r#"{"identifiers":[{"type":"dns","value":"a.test"}]}"#)
        },
        refused(400, "accountDoesNotExist"),
    ),
];

const JOSE_TYPE: &str = "Content-Type";

const CONTENT_TYPES: &[Case] = &[
    case("the content type of JOSE", |w| w.headers(&[(JOSE_TYPE, JOSE)]), ok(200)),
    case("the content type in capitals", |w| w.headers(&[(JOSE_TYPE, "Application/JOSE+JSON")]), ok(200)),
    case(
        "the content type with a parameter",
        |w| w.headers(&[(JOSE_TYPE, "application/jose+json; charset=utf-8")]),
        ok(200),
    ),
    case("no content type", |w| w.headers(&[]), refused(415, "malformed").and(&[HasHeader("replay-nonce")])),
    case("an empty content type", |w| w.headers(&[(JOSE_TYPE, "")]), refused(415, "malformed")),
    case("application/json", |w| w.headers(&[(JOSE_TYPE, "application/json")]), refused(415, "malformed")),
    case(
        "application/jose, the compact form",
        |w| w.headers(&[(JOSE_TYPE, "application/jose")]),
        refused(415, "malformed"),
    ),
    case(
        "a form",
        |w| w.headers(&[(JOSE_TYPE, "application/x-www-form-urlencoded")]),
        refused(415, "malformed"),
    ),
    case(
        "two content types in one",
        |w| w.headers(&[(JOSE_TYPE, "application/jose+json, text/plain")]),
        refused(415, "malformed"),
    ),
    case(
        "the content type twice",
        |w| w.headers(&[(JOSE_TYPE, JOSE), (JOSE_TYPE, JOSE)]),
        refused(415, "malformed"),
    ),
];

fn edit(mut jws: Value, member: &str, change: impl Fn(String) -> String) -> Vec<u8> {
    jws[member] = json!(change(jws[member].as_str().unwrap().to_owned()));
    jws.to_string().into_bytes()
}

fn without(mut jws: Value, member: &str) -> Vec<u8> {
    jws.as_object_mut().unwrap().remove(member);
    jws.to_string().into_bytes()
}

fn with(mut jws: Value, member: &str, value: Value) -> Vec<u8> {
    jws[member] = value;
    jws.to_string().into_bytes()
}

const NO_JWS: super::Want = refused(400, "malformed").and(&[HasHeader("replay-nonce")]);

const SERIALIZATION: &[Case] = &[
    case("the flattened form", |w| w.body(|jws| jws.to_string().into_bytes()), ok(200)),
    case(
        "the flattened form, printed prettily",
        |w| w.body(|jws| serde_json::to_vec_pretty(&jws).unwrap()),
        ok(200),
    ),
    case("no body", |w| w.body(|_| Vec::new()), NO_JWS),
    case("no JSON", |w| w.body(|_| b"hello".to_vec()), NO_JWS),
    case(
        "JSON that is no object",
        |w| {
            w.body(|jws| json!([jws["protected"], jws["payload"], jws["signature"]]).to_string().into_bytes())
        },
        NO_JWS,
    ),
    case("an empty object", |w| w.body(|_| b"{}".to_vec()), NO_JWS),
    case("something after the object", |w| w.body(|jws| (jws.to_string() + "x").into_bytes()), NO_JWS),
    case(
        "bytes that are no UTF-8",
        |w| w.body(|jws| [jws.to_string().into_bytes(), vec![0xff]].concat()),
        NO_JWS,
    ),
    case(
        "a byte order mark",
        |w| w.body(|jws| [b"\xef\xbb\xbf".to_vec(), jws.to_string().into_bytes()].concat()),
        NO_JWS,
    ),
    case(
        "the compact form",
        |w| {
            w.body(|jws| {
                ["protected", "payload", "signature"]
                    .map(|part| jws[part].as_str().unwrap().to_owned())
                    .join(".")
                    .into_bytes()
            })
        },
        NO_JWS,
    ),
    case(
        "the general form",
        |w| {
            w.body(|jws| json!({"payload": jws["payload"], "signatures": [{"protected": jws["protected"], "signature": jws["signature"]}]}).to_string().into_bytes())
        },
        NO_JWS,
    ),
    case("signatures beside a signature", |w| w.body(|jws| with(jws, "signatures", json!([]))), NO_JWS),
    case("an unprotected header", |w| w.body(|jws| with(jws, "header", json!({"alg": "ES256"}))), NO_JWS),
    case("an empty unprotected header", |w| w.body(|jws| with(jws, "header", json!({}))), NO_JWS),
    case("a member that JWS does not have", |w| w.body(|jws| with(jws, "more", json!(1))), NO_JWS),
    case("no protected", |w| w.body(|jws| without(jws, "protected")), NO_JWS),
    case("no payload", |w| w.body(|jws| without(jws, "payload")), NO_JWS),
    case("no signature", |w| w.body(|jws| without(jws, "signature")), NO_JWS),
    case("payload null", |w| w.body(|jws| with(jws, "payload", Value::Null)), NO_JWS),
    case("payload an object", |w| w.body(|jws| with(jws, "payload", json!({}))), NO_JWS),
    case("protected an object", |w| w.body(|jws| with(jws, "protected", json!({"alg": "ES256"}))), NO_JWS),
    case("protected with padding", |w| w.body(|jws| edit(jws, "protected", |v| v + "=")), NO_JWS),
    case("payload with padding", |w| w.body(|jws| edit(jws, "payload", |v| v + "=")), NO_JWS),
    case("signature with padding", |w| w.body(|jws| edit(jws, "signature", |v| v + "==")), NO_JWS),
    case(
        "the alphabet of plain base64",
        |w| w.body(|jws| edit(jws, "protected", |v| format!("+/{v}"))),
        NO_JWS,
    ),
    case("a line break in a member", |w| w.body(|jws| edit(jws, "signature", |v| v + "\n")), NO_JWS),
    case(
        "a member twice",
        |w| w.body(|jws| jws.to_string().replacen('{', r#"{"payload":"","#, 1).into_bytes()),
        NO_JWS,
    ),
    case("a million dots", |w| w.body(|_| vec![b'.'; 60_000]), NO_JWS),
    case("a thousand brackets", |w| w.body(|_| vec![b'['; 1000]), NO_JWS),
];

const HEADER: &[Case] = &[
    case("members that nobody knows", |w| w.spoilt(|jws| jws.protected["typ"] = json!("JWT")), ok(200)),
    case(
        "a member twice",
        |w| w.header_text(r#"{"alg":"ES256","alg":"ES256","kid":"KID","nonce":"NONCE","url":"URL"}"#),
        refused(400, "malformed"),
    ),
    case(
        "url twice",
        |w| w.header_text(r#"{"alg":"ES256","kid":"KID","nonce":"NONCE","url":"URL","url":"URL"}"#),
        refused(400, "malformed"),
    ),
    case(
        "a member twice, once in escapes",
        |w| w.header_text(r#"{"alg":"ES256","\u0061lg":"ES256","kid":"KID","nonce":"NONCE","url":"URL"}"#),
        refused(400, "malformed"),
    ),
    case(
        "an unknown member twice",
        |w| w.header_text(r#"{"x":1,"x":1,"alg":"ES256","kid":"KID","nonce":"NONCE","url":"URL"}"#),
        refused(400, "malformed"),
    ),
    case("no object", |w| w.header_text("[]"), refused(400, "malformed")),
    case("no JSON", |w| w.header_text("alg"), refused(400, "malformed")),
    case("nothing", |w| w.header_text(""), refused(400, "malformed")),
    case(
        "JSON and more",
        |w| w.header_text(r#"{"alg":"ES256","kid":"KID","nonce":"NONCE","url":"URL"} x"#),
        refused(400, "malformed"),
    ),
    case(
        "many members",
        |w| w.spoilt(|jws| (0..100).for_each(|n| jws.protected[format!("x{n}")] = json!(n))),
        refused(400, "malformed"),
    ),
    case(
        "a chain of certificates, which proves nothing",
        |w| w.spoilt(|jws| jws.protected["x5c"] = json!(["AAAA"])),
        ok(200),
    ),
];

const CRITICAL: &[Case] = &[
    case(
        "an extension that nobody knows",
        |w| {
            w.spoilt(|jws| {
                jws.protected["crit"] = json!(["exp"]);
                jws.protected["exp"] = json!(1)
            })
        },
        refused(400, "malformed"),
    ),
    case("an empty list", |w| w.spoilt(|jws| jws.protected["crit"] = json!([])), refused(400, "malformed")),
    case(
        "members of ACME",
        |w| w.spoilt(|jws| jws.protected["crit"] = json!(["url", "nonce"])),
        refused(400, "malformed"),
    ),
    case("no list", |w| w.spoilt(|jws| jws.protected["crit"] = json!("exp")), refused(400, "malformed")),
    case(
        "b64 (RFC 7797), critical",
        |w| {
            w.spoilt(|jws| {
                jws.protected["crit"] = json!(["b64"]);
                jws.protected["b64"] = json!(false)
            })
        },
        refused(400, "malformed"),
    ),
    case(
        "b64 (RFC 7797), not critical",
        |w| w.spoilt(|jws| jws.protected["b64"] = json!(false)),
        refused(400, "malformed"),
    ),
    case("b64 true", |w| w.spoilt(|jws| jws.protected["b64"] = json!(true)), refused(400, "malformed")),
];

fn bits(mut jws: Value, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    use base64::Engine;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut signature = engine.decode(jws["signature"].as_str().unwrap()).unwrap();
    change(&mut signature);
    jws["signature"] = json!(b64(signature));
    jws.to_string().into_bytes()
}

const SIGNATURES: &[Case] = &[
    case("of another key", |w| w.spoilt(|jws| jws.key = Key::generate()), refused(400, "malformed")),
    case(
        "of another account",
        |w| {
            let key = w.bob.key.clone();
            let url = w.account();
            let mut jws = w.alice.jws(&url, "").unwrap();
            jws.key = key;
            w.alice.send(&url, &jws.body()).unwrap()
        },
        refused(400, "malformed"),
    ),
    case("empty", |w| w.body(|jws| bits(jws, Vec::clear)), refused(400, "malformed")),
    case("one bit of it changed", |w| w.body(|jws| bits(jws, |s| s[9] ^= 1)), refused(400, "malformed")),
    case("cut off", |w| w.body(|jws| bits(jws, |s| s.truncate(63))), refused(400, "malformed")),
    case("one byte more", |w| w.body(|jws| bits(jws, |s| s.push(0))), refused(400, "malformed")),
    case("all zero", |w| w.body(|jws| bits(jws, |s| s.fill(0))), refused(400, "malformed")),
    case(
        "in the form of X.509",
        |w| w.body(|jws| bits(jws, |s| *s = [&[0x30, 68, 2, 32][..], &s[..32], &[2, 32], &s[32..]].concat())),
        refused(400, "malformed"),
    ),
    case(
        "over another payload",
        |w| w.body(|jws| edit(jws, "payload", |_| b64("{}"))),
        refused(400, "malformed"),
    ),
    case(
        "over another header",
        |w| {
            let url = w.account();
            let one = w.alice.jws(&url, "").unwrap().signed();
            let mut other = w.alice.jws(&url, "").unwrap().signed();
            other["signature"] = one["signature"].clone();
            w.alice.send(&url, other.to_string().as_bytes()).unwrap()
        },
        refused(400, "malformed"),
    ),
];

const KEYS: &[Case] = &[
    case(
        "members that do not matter",
        |w| {
            let url = w.url("newAccount");
            let mut stranger = w.stranger();
            let mut jws = stranger.jws(&url, r#"{"termsOfServiceAgreed":true}"#).unwrap();
            jws.protected["jwk"]["use"] = json!("sig");
            jws.protected["jwk"]["kid"] = json!("1");
            stranger.send(&url, &jws.body()).unwrap()
        },
        ok(201),
    ),
    case("a string", |w| w.new_account_with("ES256", json!("key")), refused(400, "badPublicKey")),
    case("null", |w| w.new_account_with("ES256", Value::Null), refused(400, "badPublicKey")),
    case("an array", |w| w.new_account_with("ES256", json!(["EC", "P-256"])), refused(400, "badPublicKey")),
    case("an empty object", |w| w.new_account_with("ES256", json!({})), refused(400, "badPublicKey")),
    case(
        "an unknown kty",
        |w| w.new_account_with("ES256", json!({"kty": "XX"})),
        refused(400, "badPublicKey"),
    ),
    case(
        "kty in lower case",
        |w| w.new_account_with("ES256", json!({"kty": "ec", "crv": "P-256"})),
        refused(400, "badPublicKey"),
    ),
    case(
        "a symmetric key",
        |w| w.new_account_with("ES256", json!({"kty": "oct", "k": b64([1; 32])})),
        refused(400, "badPublicKey"),
    ),
    case(
        "a private key",
        |w| {
            let mut jwk = Key::generate().jwk();
            jwk["d"] = json!(b64([1; 32]));
            w.new_account_with("ES256", jwk)
        },
        refused(400, "badPublicKey").and(&[Contains("/detail", "private")]),
    ),
    case(
        "a private RSA key",
        |w| {
            let mut jwk = Key::rsa().jwk();
            jwk["d"] = json!("AQAB");
            w.new_account_with("RS256", jwk)
        },
        refused(400, "badPublicKey"),
    ),
];

fn ec(w: &mut World, curve: &str, x: Vec<u8>, y: Vec<u8>) -> Reply {
    w.new_account_with("ES256", json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)}))
}

fn own(w: &mut World, change: fn(&mut Value)) -> Reply {
    let mut jwk = Key::generate().jwk();
    change(&mut jwk);
    w.new_account_with("ES256", jwk)
}

const EC_KEYS: &[Case] = &[
    case("a point off the curve", |w| ec(w, "P-256", vec![1; 32], vec![1; 32]), refused(400, "badPublicKey")),
    case("the point at zero", |w| ec(w, "P-256", vec![0; 32], vec![0; 32]), refused(400, "badPublicKey")),
    case(
        "coordinates that are too large",
        |w| ec(w, "P-256", vec![0xff; 32], vec![0xff; 32]),
        refused(400, "badPublicKey"),
    ),
    case("a short coordinate", |w| ec(w, "P-256", vec![1; 31], vec![1; 32]), refused(400, "badPublicKey")),
    case("a long coordinate", |w| ec(w, "P-256", vec![1; 33], vec![1; 32]), refused(400, "badPublicKey")),
    case(
        "P-384 coordinates called P-256",
        |w| ec(w, "P-256", vec![1; 48], vec![1; 48]),
        refused(400, "badPublicKey"),
    ),
    case(
        "no y",
        |w| {
            own(w, |jwk| {
                jwk.as_object_mut().unwrap().remove("y");
            })
        },
        refused(400, "badPublicKey"),
    ),
    case(
        "y with padding",
        |w| own(w, |jwk| jwk["y"] = json!(format!("{}=", jwk["y"].as_str().unwrap()))),
        refused(400, "badPublicKey"),
    ),
    case(
        "x and y exchanged",
        |w| {
            own(w, |jwk| {
                let x = jwk["x"].take();
                jwk["x"] = jwk["y"].take();
                jwk["y"] = x;
            })
        },
        refused(400, "badPublicKey"),
    ),
    case("P-224", |w| ec(w, "P-224", vec![1; 28], vec![1; 28]), refused(400, "badPublicKey")),
    case("P-521", |w| ec(w, "P-521", vec![1; 66], vec![1; 66]), refused(400, "badPublicKey")),
    case("secp256k1", |w| ec(w, "secp256k1", vec![1; 32], vec![1; 32]), refused(400, "badPublicKey")),
    case(
        "no curve",
        |w| {
            own(w, |jwk| {
                jwk.as_object_mut().unwrap().remove("crv");
            })
        },
        refused(400, "badPublicKey"),
    ),
];

fn rsa(w: &mut World, change: fn(&mut Value)) -> Reply {
    let mut jwk = Key::rsa().jwk();
    change(&mut jwk);
    w.new_account_with("RS256", jwk)
}

/// A number of this many bits that ends in a one.
fn number(bits: usize) -> String {
    let mut bytes = vec![0xa5; bits / 8];
    bytes[0] = 0x80;
    *bytes.last_mut().unwrap() = 1;
    b64(bytes)
}

const RSA_KEYS: &[Case] = &[
    case(
        "1024 bits",
        |w| rsa(w, |jwk| jwk["n"] = json!(number(1024))),
        refused(400, "badPublicKey").and(&[Contains("/detail", "1024 bits")]),
    ),
    case("2040 bits", |w| rsa(w, |jwk| jwk["n"] = json!(number(2040))), refused(400, "badPublicKey")),
    case("8192 bits", |w| rsa(w, |jwk| jwk["n"] = json!(number(8192))), refused(400, "badPublicKey")),
    case(
        "an even modulus",
        |w| {
            rsa(w, |jwk| {
                let mut n = vec![0xa5; 256];
                n[255] = 2;
                jwk["n"] = json!(b64(n))
            })
        },
        refused(400, "badPublicKey"),
    ),
    case("exponent 1", |w| rsa(w, |jwk| jwk["e"] = json!("AQ")), refused(400, "badPublicKey")),
    case("exponent 3", |w| rsa(w, |jwk| jwk["e"] = json!("Aw")), refused(400, "badPublicKey")),
    case("an even exponent", |w| rsa(w, |jwk| jwk["e"] = json!("AQAA")), refused(400, "badPublicKey")),
    case(
        "an exponent of 256 bytes",
        |w| rsa(w, |jwk| jwk["e"] = json!(number(2048))),
        refused(400, "badPublicKey"),
    ),
    case(
        "a zero before the modulus",
        |w| {
            rsa(w, |jwk| {
                use base64::Engine;
                let n = base64::engine::general_purpose::URL_SAFE_NO_PAD
                    .decode(jwk["n"].as_str().unwrap())
                    .unwrap();
                jwk["n"] = json!(b64([vec![0], n].concat()))
            })
        },
        refused(400, "badPublicKey"),
    ),
    case(
        "no modulus",
        |w| {
            rsa(w, |jwk| {
                jwk.as_object_mut().unwrap().remove("n");
            })
        },
        refused(400, "badPublicKey"),
    ),
    case(
        "a modulus of two close primes",
        |w| rsa(w, |jwk| jwk["n"] = json!(b64(close_primes()))),
        refused(400, "badPublicKey"),
    ),
];

/// The product of two odd numbers that lie side by side: Fermat's method parts them at once, be they prime
/// or not.
fn close_primes() -> Vec<u8> {
    let p = (num_bigint::BigUint::from(1u8) << 1023u32) + num_bigint::BigUint::from(0x30_0000_0003u64);
    let q = &p + num_bigint::BigUint::from(2u8);
    (p * q).to_bytes_be()
}

const OKP_KEYS: &[Case] = &[
    case(
        "X25519, which cannot sign",
        |w| w.new_account_with("EdDSA", json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])})),
        refused(400, "badPublicKey"),
    ),
    case(
        "Ed448",
        |w| w.new_account_with("EdDSA", json!({"kty": "OKP", "crv": "Ed448", "x": b64([9; 57])})),
        refused(400, "badPublicKey"),
    ),
    case(
        "a short point",
        |w| w.new_account_with("EdDSA", json!({"kty": "OKP", "crv": "Ed25519", "x": b64([9; 31])})),
        refused(400, "badPublicKey"),
    ),
    case(
        "a point of small order",
        |w| {
            let mut x = [0; 32];
            x[0] = 1;
            w.new_account_with("EdDSA", json!({"kty": "OKP", "crv": "Ed25519", "x": b64(x)}))
        },
        refused(400, "badPublicKey"),
    ),
    case(
        "an Ed25519 point called EC",
        |w| w.new_account_with("EdDSA", json!({"kty": "EC", "crv": "Ed25519", "x": b64([9; 32])})),
        refused(400, "badPublicKey"),
    ),
];
