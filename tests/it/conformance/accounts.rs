//! Accounts: made, found, changed, closed.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §7.1.2", cases: OBJECT },
    Group { section: "RFC 8555 §7.3", cases: NEW },
    Group { section: "RFC 8555 §7.3.1", cases: FIND },
    Group { section: "RFC 8555 §7.3.2", cases: UPDATE },
    Group { section: "RFC 8555 §7.3.6", cases: CLOSE },
];

const OBJECT: &[Case] = &[
    case(
        "status",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "valid"), Header("content-type", "application/json")]),
    ),
    case(
        "contact",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[Length("/contact", 1), Is("/contact/0", "mailto:test@example.test")]),
    ),
    case(
        "termsOfServiceAgreed",
        |w| {
            let url = w.account();
            w.read(&url)
        },
        ok(200).and(&[True("/termsOfServiceAgreed")]),
    ),
    case(
        "no contact where none was given",
        |w| w.new_account(&json!({"termsOfServiceAgreed": true})),
        ok(201).and(&[Lacks("/contact")]),
    ),
    case(
        "of somebody else",
        |w| {
            let url = w.account();
            w.bob_reads(&url)
        },
        refused(403, "unauthorized"),
    ),
    case(
        "of nobody",
        |w| {
            let url = w.server.url("/acme/acme/account/AAAAAAAAAAAAAAAAAAAAAA");
            w.read(&url)
        },
        refused(403, "unauthorized"),
    ),
];

fn contact(w: &mut World, contact: Value) -> Reply {
    w.new_account(&json!({"termsOfServiceAgreed": true, "contact": contact}))
}

const NEW: &[Case] = &[
    case(
        "made",
        |w| w.new_account(&json!({"termsOfServiceAgreed": true})),
        ok(201).and(&[HasHeader("location"), Is("/status", "valid"), Link("index")]),
    ),
    case(
        "one contact",
        |w| contact(w, json!(["mailto:ops@example.test"])),
        ok(201).and(&[Is("/contact/0", "mailto:ops@example.test")]),
    ),
    case(
        "two contacts",
        |w| contact(w, json!(["mailto:a@example.test", "mailto:b@example.test"])),
        ok(201).and(&[Length("/contact", 2)]),
    ),
    case("an empty list of contacts", |w| contact(w, json!([])), ok(201)),
    case(
        "members that nobody knows",
        |w| w.new_account(&json!({"termsOfServiceAgreed": true, "orders": "x", "more": 1})),
        ok(201).and(&[Lacks("/more")]),
    ),
    case(
        "a status that the client wishes for",
        |w| w.new_account(&json!({"termsOfServiceAgreed": true, "status": "deactivated"})),
        ok(201).and(&[Is("/status", "valid")]),
    ),
    case(
        "the terms not agreed to",
        |w| w.new_account(&json!({"termsOfServiceAgreed": false})),
        refused(400, "malformed").and(&[Contains("/detail", "https://ca.test/terms")]),
    ),
    case("the terms not spoken of", |w| w.new_account(&json!({})), refused(400, "malformed")),
    case(
        "no terms to agree to",
        |w| {
            let url = w.url("newAccount").replace("/acme/acme/", "/acme/narrow/");
            reply(w.stranger().post(&url, "{}"))
        },
        ok(201),
    ),
    case(
        "terms agreed to with a text",
        |w| w.new_account(&json!({"termsOfServiceAgreed": "yes"})),
        refused(400, "malformed"),
    ),
    case(
        "a contact that is a phone",
        |w| contact(w, json!(["tel:+123"])),
        refused(400, "unsupportedContact"),
    ),
    case(
        "a contact that is a web page",
        |w| contact(w, json!(["https://example.test/"])),
        refused(400, "unsupportedContact"),
    ),
    case(
        "a contact without a scheme",
        |w| contact(w, json!(["ops@example.test"])),
        refused(400, "unsupportedContact"),
    ),
    case("an empty contact", |w| contact(w, json!([""])), refused(400, "unsupportedContact")),
    case(
        "a contact with two addresses",
        |w| contact(w, json!(["mailto:a@example.test,b@example.test"])),
        refused(400, "invalidContact"),
    ),
    case(
        "a contact with header fields",
        |w| contact(w, json!(["mailto:a@example.test?subject=x"])),
        refused(400, "invalidContact"),
    ),
    case("a contact without a host", |w| contact(w, json!(["mailto:a"])), refused(400, "invalidContact")),
    case(
        "a contact with a space",
        |w| contact(w, json!(["mailto:a b@example.test"])),
        refused(400, "invalidContact"),
    ),
    case(
        "a contact with a line break",
        |w| contact(w, json!(["mailto:a@example.test\r\nBcc: x@example.test"])),
        refused(400, "invalidContact"),
    ),
    case(
        "a contact outside ASCII",
        |w| contact(w, json!(["mailto:ü@example.test"])),
        refused(400, "invalidContact"),
    ),
    case(
        "a contact of 400 bytes",
        |w| contact(w, json!([format!("mailto:{}@example.test", "a".repeat(400))])),
        refused(400, "invalidContact"),
    ),
    case(
        "a hundred contacts",
        |w| contact(w, json!(vec!["mailto:a@example.test"; 100])),
        refused(400, "invalidContact"),
    ),
    case(
        "one good contact and one bad",
        |w| contact(w, json!(["mailto:a@example.test", "tel:1"])),
        refused(400, "unsupportedContact"),
    ),
    case("contact no list", |w| contact(w, json!("mailto:a@example.test")), refused(400, "malformed")),
    case("contact a list of numbers", |w| contact(w, json!([1])), refused(400, "malformed")),
    case(
        "no payload",
        |w| {
            let url = w.url("newAccount");
            reply(w.stranger().post(&url, ""))
        },
        refused(400, "malformed"),
    ),
    case(
        "the payload a list",
        |w| {
            let url = w.url("newAccount");
            reply(w.stranger().post(&url, "[[],true,false]"))
        },
        refused(400, "malformed"),
    ),
    case(
        "a refusal makes no account",
        |w| {
            let url = w.url("newAccount");
            let mut stranger = w.stranger();
            assert_eq!(
                reply(stranger.post(&url, r#"{"contact":["tel:1"],"termsOfServiceAgreed":true}"#)).status,
                400
            );
            reply(stranger.post(&url, r#"{"onlyReturnExisting":true}"#))
        },
        refused(400, "accountDoesNotExist"),
    ),
];

/// The key of an account that is there asks again.
fn again(w: &mut World, payload: &str) -> Reply {
    let url = w.url("newAccount");
    let mut same = w.alice.again();
    same.kid = None;
    let found = reply(same.post(&url, payload));
    if found.status == 200 {
        assert_eq!(found.header("location"), w.alice.kid.as_deref());
    }
    found
}

const FIND: &[Case] = &[
    case(
        "the same key again is the same account",
        |w| again(w, r#"{"termsOfServiceAgreed":true}"#),
        ok(200).and(&[HasHeader("location")]),
    ),
    case(
        "the same key with other contacts changes nothing",
        |w| again(w, r#"{"termsOfServiceAgreed":true,"contact":["mailto:other@example.test"]}"#),
        ok(200).and(&[Is("/contact/0", "mailto:test@example.test")]),
    ),
    case(
        "onlyReturnExisting",
        |w| again(w, r#"{"onlyReturnExisting":true}"#),
        ok(200).and(&[HasHeader("location"), Is("/status", "valid")]),
    ),
    case(
        "onlyReturnExisting of an unknown key",
        |w| w.new_account(&json!({"onlyReturnExisting": true})),
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "onlyReturnExisting that is no truth value",
        |w| w.new_account(&json!({"onlyReturnExisting": "yes"})),
        refused(400, "malformed"),
    ),
    case(
        "the same key at another provisioner is nobody",
        |w| {
            let url = w.url("newAccount").replace("/acme/acme/", "/acme/narrow/");
            let mut same = w.alice.again();
            same.kid = None;
            reply(same.post(&url, r#"{"onlyReturnExisting":true}"#))
        },
        refused(400, "accountDoesNotExist"),
    ),
];

/// An account of its own changes itself, and says what it is then.
fn update(w: &mut World, payload: &str) -> Reply {
    let mut client = Client::registered(&w.server);
    let url = client.kid.clone().unwrap();
    let answer = reply(client.post(&url, payload));
    if answer.status >= 400 { answer } else { reply(client.fetch(&url)) }
}

const UPDATE: &[Case] = &[
    case(
        "contacts",
        |w| update(w, r#"{"contact":["mailto:new@example.test"]}"#),
        ok(200).and(&[Length("/contact", 1), Is("/contact/0", "mailto:new@example.test")]),
    ),
    case("no contacts any more", |w| update(w, r#"{"contact":[]}"#), ok(200).and(&[Lacks("/contact")])),
    case("nothing", |w| update(w, "{}"), ok(200).and(&[Is("/contact/0", "mailto:test@example.test")])),
    case(
        "members that cannot be changed",
        |w| update(w, r#"{"orders":"x","termsOfServiceAgreed":false,"more":1}"#),
        ok(200).and(&[True("/termsOfServiceAgreed")]),
    ),
    case("status valid", |w| update(w, r#"{"status":"valid"}"#), ok(200).and(&[Is("/status", "valid")])),
    case(
        "status revoked is not the client's to give, and ignored",
        |w| update(w, r#"{"status":"revoked"}"#),
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case("status a number", |w| update(w, r#"{"status":1}"#), refused(400, "malformed")),
    case("a bad contact", |w| update(w, r#"{"contact":["mailto:"]}"#), refused(400, "invalidContact")),
    case(
        "a contact of another scheme",
        |w| update(w, r#"{"contact":["tel:1"]}"#),
        refused(400, "unsupportedContact"),
    ),
    case(
        "contact no list",
        |w| update(w, r#"{"contact":"mailto:a@example.test"}"#),
        refused(400, "malformed"),
    ),
    case(
        "of somebody else",
        |w| {
            let url = w.account();
            reply(w.bob.post(&url, r#"{"contact":[]}"#))
        },
        refused(403, "unauthorized"),
    ),
];

fn gone(w: &mut World, url: impl Fn(&Client, &Order) -> String, payload: &str) -> Reply {
    let (client, order) = w.gone();
    let url = url(client, &order);
    reply(client.post(&url, payload))
}

const GONE: super::Want = refused(401, "unauthorized").and(&[HasHeader("replay-nonce")]);

const CLOSE: &[Case] = &[
    case(
        "closed",
        |w| {
            let mut client = Client::registered(&w.server);
            let url = client.kid.clone().unwrap();
            reply(client.post(&url, r#"{"status":"deactivated"}"#))
        },
        ok(200).and(&[Is("/status", "deactivated")]),
    ),
    case(
        "by somebody else",
        |w| {
            let url = w.account();
            reply(w.bob.post(&url, r#"{"status":"deactivated"}"#))
        },
        refused(403, "unauthorized"),
    ),
    case("then the account answers nobody", |w| gone(w, |c, _| c.kid.clone().unwrap(), ""), GONE),
    case(
        "then it is not opened again",
        |w| gone(w, |c, _| c.kid.clone().unwrap(), r#"{"status":"valid"}"#),
        GONE,
    ),
    case(
        "then no new order",
        |w| gone(w, |c, _| c.endpoint("newOrder"), r#"{"identifiers":[{"type":"dns","value":"a.test"}]}"#),
        GONE,
    ),
    case("then no old order", |w| gone(w, |_, o| o.url.clone(), ""), GONE),
    case("then no authorization", |w| gone(w, |_, o| authorizations(o).remove(0), ""), GONE),
    case(
        "then no challenge",
        |w| gone(w, |_, o| authorizations(o).remove(0).replace("/authz/", "/chall/") + "/http-01", "{}"),
        GONE,
    ),
    case(
        "then nothing is finalized",
        |w| gone(w, |_, o| o.object["finalize"].as_str().unwrap().to_owned(), r#"{"csr":"AAAA"}"#),
        GONE,
    ),
    case(
        "then nothing is revoked",
        |w| gone(w, |c, _| c.endpoint("revokeCert"), r#"{"certificate":"AAAA"}"#),
        GONE,
    ),
    case("then no other key", |w| gone(w, |c, _| c.endpoint("keyChange"), "{}"), GONE),
    case(
        "then its key makes no new account",
        |w| {
            let (client, _) = w.gone();
            let mut same = client.again();
            reply(same.register())
        },
        GONE,
    ),
    case(
        "then its key finds no account",
        |w| {
            let url = w.url("newAccount");
            let (client, _) = w.gone();
            let mut same = client.again();
            same.kid = None;
            reply(same.post(&url, r#"{"onlyReturnExisting":true}"#))
        },
        GONE,
    ),
];
