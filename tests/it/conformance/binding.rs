//! External account binding, with keys as the operator makes them.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[Group { section: "RFC 8555 §7.3.4", cases: BINDING }];

/// What a binding is made of, to be spoilt before its MAC is computed.
struct Binding {
    header: Value,
    payload: Value,
    secret: Vec<u8>,
}

impl Binding {
    fn signed(&self) -> Value {
        let (protected, payload) = (b64(self.header.to_string()), b64(self.payload.to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mac = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
        json!({"protected": protected, "payload": payload, "signature": b64(mac.as_ref())})
    }
}

fn secret(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
    for byte in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte).expect("base64url");
        (bits, held) = ((bits << 6 | value as u32) & 0xffff, held + 6);
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

/// Somebody new at `bound`, and a proper binding of their key with a key of these flags.
fn proper(w: &World, flags: &[&str]) -> (Client, Binding) {
    let key = w.server.eab_key_at("bound", flags);
    let client = w.new_at("bound");
    let header = json!({"alg": "HS256", "kid": key["kid"], "url": client.endpoint("newAccount")});
    let secret = secret(key["hmac_key"].as_str().unwrap());
    let payload = client.key.jwk();
    (client, Binding { header, payload, secret })
}

fn register(client: &mut Client, binding: &Value) -> Reply {
    let url = client.endpoint("newAccount");
    let payload = json!({"termsOfServiceAgreed": true, "externalAccountBinding": binding});
    reply(client.post(&url, &payload.to_string()))
}

fn spoilt(w: &World, spoil: impl FnOnce(&mut Binding)) -> Reply {
    let (mut client, mut binding) = proper(w, &[]);
    spoil(&mut binding);
    register(&mut client, &binding.signed())
}

const BINDING: &[Case] = &[
    case(
        "the directory says that it is required",
        |w| {
            let url = w.server.url("/acme/bound/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[True("/meta/externalAccountRequired")]),
    ),
    case("none", |w| reply(w.new_at("bound").register()), refused(403, "externalAccountRequired")),
    case(
        "a proper one",
        |w| spoilt(w, |_| ()),
        ok(201).and(&[Is("/status", "valid"), Has("/externalAccountBinding/signature")]),
    ),
    case("another secret", |w| spoilt(w, |b| b.secret = vec![7; 64]), refused(403, "unauthorized")),
    case(
        "a key nobody made",
        |w| spoilt(w, |b| b.header["kid"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
        refused(403, "unauthorized"),
    ),
    case(
        "for another account key",
        |w| spoilt(w, |b| b.payload = Key::generate().jwk()),
        refused(400, "malformed"),
    ),
    case(
        "for another URL",
        |w| spoilt(w, |b| b.header["url"] = json!("https://localhost/acme/bound/new-account")),
        refused(400, "malformed"),
    ),
    case(
        "with a nonce",
        |w| spoilt(w, |b| b.header["nonce"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
        refused(400, "malformed"),
    ),
    case("alg none", |w| spoilt(w, |b| b.header["alg"] = json!("none")), refused(400, "malformed")),
    case("alg ES256", |w| spoilt(w, |b| b.header["alg"] = json!("ES256")), refused(400, "malformed")),
    case(
        "no kid",
        |w| spoilt(w, |b| drop(b.header.as_object_mut().unwrap().remove("kid"))),
        refused(400, "malformed"),
    ),
    case(
        "no object",
        |w| {
            let mut client = w.new_at("bound");
            register(&mut client, &json!("binding"))
        },
        refused(400, "malformed"),
    ),
    case(
        "a key that is used up",
        |w| {
            let (mut client, mut binding) = proper(w, &[]);
            assert_eq!(register(&mut client, &binding.signed()).status, 201);
            let mut other = w.new_at("bound");
            binding.payload = other.key.jwk();
            register(&mut other, &binding.signed())
        },
        refused(403, "unauthorized"),
    ),
    case(
        "not looked at where it is off",
        |w| w.new_account(&json!({"termsOfServiceAgreed": true, "externalAccountBinding": {"more": 1}})),
        ok(201).and(&[Lacks("/externalAccountBinding")]),
    ),
    case(
        "a name outside the key's scope",
        |w| {
            let (mut client, binding) = proper(w, &["--allow", "*.web.test"]);
            let made = register(&mut client, &binding.signed());
            client.kid = made.header("location").map(str::to_owned);
            reply(client.order(&["a.test"]).map(|_| unreachable!("it was not allowed")))
        },
        refused(400, "rejectedIdentifier"),
    ),
];
