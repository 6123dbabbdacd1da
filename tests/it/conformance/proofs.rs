//! Proof by DNS beside dns-01, and who may issue at all.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "draft-ietf-acme-dns-account-label §3", cases: ACCOUNT },
    Group { section: "draft-ietf-acme-dns-persist §3", cases: PERSIST },
    Group { section: "RFC 8659 §4", cases: CAA },
    Group { section: "RFC 8657 §3", cases: CAA_ACCOUNT },
    Group { section: "RFC 8657 §4", cases: CAA_METHOD },
];

/// alice answers a challenge at `full` for a fresh order of `name` after `prepare` has set the stage with
/// her URL and the key authorization; the authorization as it ends.
fn prove(w: &mut World, name: &str, kind: &str, prepare: impl FnOnce(&World, &str, &str)) -> Reply {
    let client = w.at("full");
    let (account, thumbprint) = (client.kid.clone().unwrap(), client.key.thumbprint());
    let order = client.order(&[name]).unwrap();
    let url = authorizations(&order).remove(0);
    let object = client.fetch(&url).unwrap().json();
    let challenge = challenge(&object, kind);
    let answer = challenge["token"].as_str().map(|token| format!("{token}.{thumbprint}")).unwrap_or_default();
    prepare(w, &account, &answer);
    if kind == "http-01" {
        w.web.set(challenge["token"].as_str().unwrap(), &answer);
    }
    let client = w.at("full");
    client.post(challenge["url"].as_str().unwrap(), "{}").unwrap();
    client.settle(&url, &["pending", "processing"]).unwrap();
    reply(client.fetch(&url))
}

/// A fresh authorization of alice's at `full`.
fn fresh(w: &mut World) -> Reply {
    let name = w.name();
    let client = w.at("full");
    let order = client.order(&[&name]).unwrap();
    reply(client.fetch(&authorizations(&order)[0]))
}

fn offers(reply: &Reply, kind: &str) -> Result<Value, String> {
    let object = reply.json();
    let list = object["challenges"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|one| one["type"] == kind).ok_or_else(|| format!("no {kind} in {object}"))
}

/// `_LABEL._acme-challenge.NAME`: the first ten bytes of the digest of the account's URL, in base 32.
fn label(account: &str, name: &str) -> String {
    let bits: String = sha256(account)[..10].iter().map(|byte| format!("{byte:08b}")).collect();
    let text: String = (0..16)
        .map(|at| u8::from_str_radix(&bits[at * 5..at * 5 + 5], 2).unwrap())
        .map(|five| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(five)]))
        .collect();
    format!("_{text}._acme-challenge.{name}")
}

const ACCOUNT: &[Case] = &[
    case("is offered", fresh, ok(200).and(&[That(|reply| offers(reply, "dns-account-01").map(drop))])),
    case(
        "its record proves",
        |w| {
            let name = w.name();
            prove(w, &name, "dns-account-01", |w, account, answer| {
                w.server.dns.add_txt(&label(account, &name), &b64(sha256(answer)));
            })
        },
        ok(200).and(&[Is("/status", "valid"), Is("/challenges/0/type", "dns-account-01")]),
    ),
    case(
        "dns-01's name does not",
        |w| {
            let name = w.name();
            prove(w, &name, "dns-account-01", |w, _, answer| {
                w.server.dns.add_txt(&format!("_acme-challenge.{name}"), &b64(sha256(answer)));
            })
        },
        ok(200).and(&[Is("/status", "invalid"), Has("/challenges/0/error/type")]),
    ),
    case(
        "another account's name does not",
        |w| {
            let name = w.name();
            prove(w, &name, "dns-account-01", |w, account, answer| {
                w.server.dns.add_txt(&label(&format!("{account}x"), &name), &b64(sha256(answer)));
            })
        },
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "another value does not",
        |w| {
            let name = w.name();
            prove(w, &name, "dns-account-01", |w, account, _| {
                w.server.dns.add_txt(&label(account, &name), &b64(sha256("x")));
            })
        },
        ok(200).and(&[Is("/status", "invalid")]),
    ),
];

fn persists(w: &mut World, record: fn(&str) -> String) -> Reply {
    let name = w.name();
    prove(w, &name, "dns-persist-01", |w, account, _| {
        w.server.dns.add_txt(&format!("_validation-persist.{name}"), &record(account));
    })
}

const PERSIST: &[Case] = &[
    case(
        "is offered, with the CA's names and without a token",
        fresh,
        ok(200).and(&[That(|reply| {
            let challenge = offers(reply, "dns-persist-01")?;
            let good = challenge["issuerDomainNames"] == json!(["ca.test"]) && challenge["token"].is_null();
            if good { Ok(()) } else { Err(challenge.to_string()) }
        })]),
    ),
    case(
        "the directory says how accounts are named",
        |w| {
            let url = w.server.url("/acme/full/directory");
            w.plain("GET", &url)
        },
        ok(200).and(&[Is("/meta/issuerDomainNames/0", "ca.test"), Has("/meta/accountHashPrefix")]),
    ),
    case(
        "the account's URL as it is",
        |w| persists(w, |account| format!("ca.test; accounturi={account}")),
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case(
        "for another CA",
        |w| persists(w, |account| format!("other.test; accounturi={account}")),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "for another account",
        |w| persists(w, |account| format!("ca.test; accounturi={account}x")),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "for no account",
        |w| persists(w, |_| "ca.test".to_owned()),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "one that has expired",
        |w| persists(w, |account| format!("ca.test; accounturi={account}; persistUntil=1000000000")),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "a parameter twice",
        |w| persists(w, |account| format!("ca.test; accounturi={account}; accounturi={account}")),
        ok(200).and(&[Is("/status", "invalid")]),
    ),
];

/// An authorization by http-01 of a name with these CAA records, in which ACCOUNT is alice's URL.
fn caa(w: &mut World, records: &[&str]) -> Reply {
    let name = w.name();
    prove(w, &name, "http-01", |w, account, _| {
        let records: Vec<String> = records.iter().map(|record| record.replace("ACCOUNT", account)).collect();
        let records: Vec<&str> = records.iter().map(String::as_str).collect();
        w.server.dns.set_caa(&name, &records);
    })
}

const VALID: super::Want = ok(200).and(&[Is("/status", "valid")]);
const REFUSED: super::Want = ok(200)
    .and(&[Is("/status", "invalid"), Is("/challenges/0/error/type", "urn:ietf:params:acme:error:caa")]);

const CAA: &[Case] = &[
    case("no records", |w| caa(w, &[]), VALID),
    case("this CA", |w| caa(w, &["0 issue ca.test"]), VALID),
    case("this CA among others", |w| caa(w, &["0 issue other.test", "0 issue ca.test"]), VALID),
    case("another CA", |w| caa(w, &["0 issue other.test"]), REFUSED),
    case("nobody", |w| caa(w, &["0 issue ;"]), REFUSED),
    case("a critical tag nobody knows", |w| caa(w, &["0 issue ca.test", "128 future x"]), REFUSED),
    case("a tag nobody knows", |w| caa(w, &["0 future x"]), VALID),
    case("issuewild is not about a name", |w| caa(w, &["0 issuewild other.test"]), VALID),
    case(
        "those above a name hold for it",
        |w| {
            let name = w.name();
            w.server.dns.set_caa(&name, &["0 issue other.test"]);
            prove(w, &format!("www.{name}"), "http-01", |_, _, _| ())
        },
        REFUSED,
    ),
];

const CAA_ACCOUNT: &[Case] = &[
    case("this account", |w| caa(w, &["0 issue ca.test; accounturi=ACCOUNT"]), VALID),
    case("another account", |w| caa(w, &["0 issue ca.test; accounturi=ACCOUNTx"]), REFUSED),
];

const CAA_METHOD: &[Case] = &[
    case("this method", |w| caa(w, &["0 issue ca.test; validationmethods=dns-01,http-01"]), VALID),
    case("other methods", |w| caa(w, &["0 issue ca.test; validationmethods=dns-01"]), REFUSED),
];
