//! Orders: opened, read, finalized; and the states they go through.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, Want, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 8555 §7.1.3", cases: OBJECT },
    Group { section: "RFC 8555 §7.1.6", cases: STATES },
    Group { section: "RFC 8555 §7.4", cases: NEW },
    Group { section: "RFC 8555 §7.4", cases: TIMES },
    Group { section: "RFC 8555 §7.4", cases: FINALIZE },
];

fn three(w: &mut World) -> Reply {
    w.new_order(&json!({"identifiers": identifiers(&["b.three.test", "a.three.test", "c.three.test"])}))
}

fn seconds_left(reply: &Reply) -> Result<i64, String> {
    use time::format_description::well_known::Rfc3339;
    let object = reply.json();
    let text = object["expires"].as_str().ok_or("no expires")?;
    let at = time::OffsetDateTime::parse(text, &Rfc3339).map_err(|e| format!("{text}: {e}"))?;
    Ok((at - time::OffsetDateTime::now_utc()).whole_seconds())
}

const OBJECT: &[Case] = &[
    case(
        "status",
        three,
        ok(201).and(&[Is("/status", "pending"), Header("content-type", "application/json")]),
    ),
    case(
        "expires, two hours ahead",
        three,
        ok(201).and(&[That(|reply| match seconds_left(reply)? {
            7000..=7200 => Ok(()),
            other => Err(format!("{other} s")),
        })]),
    ),
    case(
        "identifiers in the order asked for",
        three,
        ok(201).and(&[
            Length("/identifiers", 3),
            Is("/identifiers/0/value", "b.three.test"),
            Is("/identifiers/2/value", "c.three.test"),
        ]),
    ),
    case("an authorization for each", three, ok(201).and(&[Length("/authorizations", 3)])),
    case("finalize", three, ok(201).and(&[Has("/finalize")])),
    case("no certificate while it is pending", three, ok(201).and(&[Lacks("/certificate")])),
    case("no error while nothing is wrong", three, ok(201).and(&[Lacks("/error")])),
    case(
        "no times where none were asked for",
        three,
        ok(201).and(&[Lacks("/notBefore"), Lacks("/notAfter")]),
    ),
    case(
        "a certificate when it is valid",
        |w| {
            let url = w.issued().order.url.clone();
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "valid"), Has("/certificate")]),
    ),
    case(
        "read again it is the same",
        |w| {
            let order = w.pending();
            let again = w.read(&order.url);
            assert_eq!(again.json(), order.object);
            again
        },
        ok(200).and(&[HasHeader("location")]),
    ),
];

fn failed_order(w: &mut World) -> Reply {
    let name = w.name();
    let order = w.alice.order(&[&name]).unwrap();
    let (url, object) = w.authorization_of(&order);
    let challenge = challenge(&object, "http-01");
    w.web.set(challenge["token"].as_str().unwrap(), "something else");
    w.post(challenge["url"].as_str().unwrap(), &json!({}));
    w.alice.settle(&url, &["pending"]).unwrap();
    w.read(&order.url)
}

const STATES: &[Case] = &[
    case(
        "an order is pending until it is proved",
        |w| {
            let url = w.pending().url;
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "pending")]),
    ),
    case(
        "an order of two names is pending while one is not proved",
        |w| {
            let (a, b) = (w.name(), w.name());
            w.ready(&[&a]);
            w.new_order(&json!({"identifiers": identifiers(&[&a, &b])}))
        },
        ok(201).and(&[Is("/status", "pending")]),
    ),
    case(
        "an order is ready when all is proved",
        |w| {
            let name = w.name();
            let url = w.ready(&[&name]).url;
            w.read(&url)
        },
        ok(200).and(&[Is("/status", "ready")]),
    ),
    case(
        "an order of what was proved before is ready at once",
        |w| {
            let name = w.name();
            w.ready(&[&name]);
            w.identifier("dns", &name)
        },
        ok(201).and(&[Is("/status", "ready")]),
    ),
    case(
        "an order is valid when it is finalized",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            w.finalize(&order, &csr(&[&name]).1)
        },
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case(
        "an order is invalid when a proof failed, and says why",
        failed_order,
        ok(200).and(&[
            Is("/status", "invalid"),
            Is("/error/type", "urn:ietf:params:acme:error:unauthorized"),
            Has("/error/detail"),
            Has("/error/identifier/value"),
        ]),
    ),
    case(
        "an order is invalid when an authorization was given up",
        |w| {
            let order = w.pending();
            let url = authorizations(&order).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.read(&order.url)
        },
        ok(200).and(&[Is("/status", "invalid")]),
    ),
    case(
        "an invalid order is not finalized",
        |w| {
            let order = w.pending();
            let url = authorizations(&order).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.finalize(&order, &csr(&["a.test"]).1)
        },
        refused(403, "orderNotReady"),
    ),
    case(
        "a ready order falls with its authorization",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            let url = authorizations(&order).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.finalize(&order, &csr(&[&name]).1)
        },
        refused(403, "orderNotReady"),
    ),
    case(
        "an order that reuses a proof falls with it",
        |w| {
            let name = w.name();
            w.ready(&[&name]);
            let second = w.alice.order(&[&name]).unwrap();
            let url = authorizations(&second).remove(0);
            w.text(&url, r#"{"status":"deactivated"}"#);
            w.finalize(&second, &csr(&[&name]).1)
        },
        refused(403, "unauthorized"),
    ),
    case(
        "a valid order stays valid when the proof is given up",
        |w| {
            let issued = w.issue();
            let url = authorizations(&issued.order).remove(0);
            assert_eq!(w.text(&url, r#"{"status":"deactivated"}"#).status, 200);
            w.read(&issued.order.url)
        },
        ok(200).and(&[Is("/status", "valid")]),
    ),
];

fn ask(w: &mut World, payload: Value) -> Reply {
    w.new_order(&payload)
}

const MALFORMED: Want = refused(400, "malformed");

const NEW: &[Case] = &[
    case(
        "opened",
        |w| w.identifier("dns", "new.test"),
        ok(201).and(&[
            HasHeader("location"),
            Link("index"),
            HasHeader("replay-nonce"),
            Header("cache-control", "no-store"),
        ]),
    ),
    case(
        "the same name twice counts once",
        |w| ask(w, json!({"identifiers": identifiers(&["x.test", "x.test"])})),
        ok(201).and(&[Length("/identifiers", 1), Length("/authorizations", 1)]),
    ),
    case(
        "the same name in other letters counts once",
        |w| ask(w, json!({"identifiers": identifiers(&["x.test", "X.TEST"])})),
        ok(201).and(&[Length("/identifiers", 1)]),
    ),
    case(
        "a name and its wildcard are two",
        |w| ask(w, json!({"identifiers": identifiers(&["w.test", "*.w.test"])})),
        ok(201).and(&[Length("/authorizations", 2)]),
    ),
    case(
        "members that nobody knows",
        |w| ask(w, json!({"identifiers": identifiers(&["x.test"]), "more": {}})),
        ok(201).and(&[Lacks("/more")]),
    ),
    case(
        "a hundred names",
        |w| {
            let names: Vec<String> = (0..100).map(|n| format!("n{n}.many.test")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            ask(w, json!({"identifiers": identifiers(&names)}))
        },
        ok(201).and(&[Length("/authorizations", 100)]),
    ),
    case(
        "a hundred and one names",
        |w| {
            let names: Vec<String> = (0..101).map(|n| format!("n{n}.many.test")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            ask(w, json!({"identifiers": identifiers(&names)}))
        },
        MALFORMED,
    ),
    case("no names", |w| ask(w, json!({"identifiers": []})), MALFORMED),
    case("no identifiers", |w| ask(w, json!({})), MALFORMED),
    case("identifiers null", |w| ask(w, json!({"identifiers": null})), MALFORMED),
    case(
        "identifiers no list",
        |w| ask(w, json!({"identifiers": {"type": "dns", "value": "a.test"}})),
        MALFORMED,
    ),
    case("identifiers a text", |w| ask(w, json!({"identifiers": "a.test"})), MALFORMED),
    case(
        "an unknown order",
        |w| {
            let url = w.server.url("/acme/acme/order/AAAAAAAAAAAAAAAAAAAAAA");
            w.read(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "somebody else's order",
        |w| {
            let url = w.pending().url;
            w.bob_reads(&url)
        },
        refused(404, "malformed"),
    ),
    case(
        "an order at another provisioner",
        |w| {
            let url = w.pending().url.replace("/acme/acme/", "/acme/narrow/");
            w.read(&url)
        },
        refused(400, "accountDoesNotExist"),
    ),
    case(
        "an order is not deleted",
        |w| {
            let url = w.pending().url;
            w.plain("DELETE", &url)
        },
        refused(405, "malformed"),
    ),
    case(
        "a proof of one account does not serve another",
        |w| {
            let name = w.name();
            w.ready(&[&name]);
            let url = w.bob.endpoint("newOrder");
            reply(w.bob.post(&url, &json!({"identifiers": identifiers(&[&name])}).to_string()))
        },
        ok(201).and(&[Is("/status", "pending")]),
    ),
];

/// An order with these times, `+N` being seconds from now.
fn times(w: &mut World, not_before: Option<&str>, not_after: Option<&str>) -> Reply {
    use time::format_description::well_known::Rfc3339;
    let at = |text: &str| match text.parse::<i64>() {
        Ok(seconds) if text.starts_with(['+', '-']) => {
            (time::OffsetDateTime::now_utc().replace_nanosecond(0).unwrap()
                + time::Duration::seconds(seconds))
            .format(&Rfc3339)
            .unwrap()
        }
        _ => text.to_owned(),
    };
    let name = w.name();
    let mut payload = json!({"identifiers": identifiers(&[&name])});
    if let Some(text) = not_before {
        payload["notBefore"] = json!(at(text));
    }
    if let Some(text) = not_after {
        payload["notAfter"] = json!(at(text));
    }
    w.new_order(&payload)
}

const TIMES: &[Case] = &[
    case(
        "notAfter within limits",
        |w| times(w, None, Some("+3600")),
        ok(201).and(&[Has("/notAfter"), Lacks("/notBefore")]),
    ),
    case(
        "notBefore and notAfter within limits",
        |w| times(w, Some("+60"), Some("+3660")),
        ok(201).and(&[Has("/notAfter"), Has("/notBefore")]),
    ),
    case("notBefore just past", |w| times(w, Some("-100"), None), ok(201)),
    case(
        "notBefore long past",
        |w| times(w, Some("-3600"), None),
        MALFORMED.and(&[Contains("/detail", "notBefore")]),
    ),
    case("notBefore far ahead", |w| times(w, Some("+999999"), None), MALFORMED),
    case("notAfter past", |w| times(w, None, Some("-60")), MALFORMED.and(&[Contains("/detail", "notAfter")])),
    case("notAfter before notBefore", |w| times(w, Some("+3600"), Some("+1800")), MALFORMED),
    case("too short a life", |w| times(w, None, Some("+60")), MALFORMED),
    case("too long a life", |w| times(w, None, Some("+90000")), MALFORMED),
    case("notAfter in a hundred years", |w| times(w, None, Some("2126-01-01T00:00:00Z")), MALFORMED),
    case("notAfter that is no time", |w| times(w, None, Some("tomorrow")), MALFORMED),
    case("notAfter without a zone", |w| times(w, None, Some("2026-12-01T00:00:00")), MALFORMED),
    case("notAfter that is no day", |w| times(w, None, Some("2026-02-30T00:00:00Z")), MALFORMED),
    case("notAfter before 1970", |w| times(w, None, Some("1960-01-01T00:00:00Z")), MALFORMED),
    case("notBefore empty", |w| times(w, Some(""), None), MALFORMED),
    case(
        "notAfter a number",
        |w| ask(w, json!({"identifiers": identifiers(&["x.test"]), "notAfter": 7})),
        MALFORMED,
    ),
    case(
        "the certificate ends when it was asked to",
        |w| {
            let name = w.name();
            let order = times(w, None, Some("+3600"));
            let not_after = order.json()["notAfter"].as_str().unwrap().to_owned();
            let order = Order { url: order.header("location").unwrap().to_owned(), object: order.json() };
            let _ = name;
            w.alice.authorize(&w.web, &order).unwrap();
            let ordered = order.object["identifiers"][0]["value"].as_str().unwrap().to_owned();
            let done = w.alice.finalize(&order, &csr(&[&ordered]).1).unwrap();
            let answer = w.read(done.certificate().unwrap());
            let der = leaf(&answer.text());
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            let wanted =
                time::OffsetDateTime::parse(&not_after, &time::format_description::well_known::Rfc3339)
                    .unwrap();
            assert_eq!(certificate.validity().not_after.timestamp(), wanted.unix_timestamp());
            answer
        },
        ok(200),
    ),
];

/// alice finalizes a ready order for a.test with this payload.
fn finalize(w: &mut World, payload: &Value) -> Reply {
    let order = w.for_refusals();
    let answer = w.post(order.object["finalize"].as_str().unwrap(), payload);
    assert_eq!(w.read(&order.url).json()["status"], "ready", "a refused request leaves the order as it was");
    answer
}

fn names(w: &mut World, names: &[&str]) -> Reply {
    finalize(w, &json!({"csr": b64(csr(names).1)}))
}

const BAD_CSR: Want = refused(400, "badCSR").and(&[Has("/detail")]);

const FINALIZE: &[Case] = &[
    case(
        "finalized",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            w.finalize(&order, &csr(&[&name]).1)
        },
        ok(200).and(&[Is("/status", "valid"), Has("/certificate"), HasHeader("location")]),
    ),
    case(
        "the names in another order",
        |w| {
            let (a, b) = (w.name(), w.name());
            let order = w.ready(&[&a, &b]);
            w.finalize(&order, &csr(&[&b, &a]).1)
        },
        ok(200),
    ),
    case(
        "the names in capitals",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            w.finalize(&order, &csr(&[&name.to_uppercase()]).1)
        },
        ok(200),
    ),
    case(
        "the same request again is answered the same",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            let request = csr(&[&name]).1;
            let first = w.finalize(&order, &request).json();
            let second = w.finalize(&order, &request);
            assert_eq!(second.json(), first);
            second
        },
        ok(200).and(&[Is("/status", "valid")]),
    ),
    case(
        "another request for a valid order",
        |w| {
            let name = w.name();
            let order = w.ready(&[&name]);
            w.finalize(&order, &csr(&[&name]).1);
            w.finalize(&order, &csr(&[&name]).1)
        },
        refused(403, "orderNotReady"),
    ),
    case(
        "before it is ready",
        |w| {
            let order = w.pending();
            w.finalize(&order, &csr(&["a.test"]).1)
        },
        refused(403, "orderNotReady"),
    ),
    case(
        "finalizing somebody else's order",
        |w| {
            let order = w.for_refusals();
            reply(w.bob.post(
                order.object["finalize"].as_str().unwrap(),
                &json!({"csr": b64(csr(&["a.test"]).1)}).to_string(),
            ))
        },
        refused(404, "malformed"),
    ),
    case(
        "an order that there is not",
        |w| {
            let url = w.server.url("/acme/acme/order/AAAAAAAAAAAAAAAAAAAAAA/finalize");
            w.post(&url, &json!({"csr": "AAAA"}))
        },
        refused(404, "malformed"),
    ),
    case("a name more", |w| names(w, &["a.test", "b.test"]), BAD_CSR),
    case("another name", |w| names(w, &["b.test"]), BAD_CSR),
    case("the wildcard of the name", |w| names(w, &["*.a.test"]), BAD_CSR),
    case("a name below", |w| names(w, &["www.a.test"]), BAD_CSR),
    case("an address more", |w| names(w, &["a.test", "127.0.0.1"]), BAD_CSR),
    case("no name", |w| names(w, &[]), BAD_CSR),
    case(
        "a name less",
        |w| {
            let (a, b) = (w.name(), w.name());
            let order = w.ready(&[&a, &b]);
            w.finalize(&order, &csr(&[&a]).1)
        },
        BAD_CSR,
    ),
    case("no csr", |w| finalize(w, &json!({})), MALFORMED),
    case("csr null", |w| finalize(w, &json!({"csr": null})), MALFORMED),
    case("csr a number", |w| finalize(w, &json!({"csr": 1})), MALFORMED),
    case("csr empty", |w| finalize(w, &json!({"csr": ""})), BAD_CSR),
    case(
        "csr as PEM",
        |w| {
            finalize(
                w,
                &json!({"csr": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"}),
            )
        },
        BAD_CSR,
    ),
    case("csr in plain base64", |w| finalize(w, &json!({"csr": "+/+/"})), BAD_CSR),
    case("csr with padding", |w| finalize(w, &json!({"csr": b64(csr(&["a.test"]).1) + "="})), BAD_CSR),
    case("csr of rubbish", |w| finalize(w, &json!({"csr": b64("rubbish")})), BAD_CSR),
    case(
        "a certificate for a csr",
        |w| {
            let der = leaf(&w.issued().pem);
            finalize(w, &json!({"csr": b64(der)}))
        },
        BAD_CSR,
    ),
    case(
        "one byte more",
        |w| {
            let mut der = csr(&["a.test"]).1;
            der.push(0);
            finalize(w, &json!({"csr": b64(der)}))
        },
        BAD_CSR,
    ),
    case(
        "one byte less",
        |w| {
            let mut der = csr(&["a.test"]).1;
            der.pop();
            finalize(w, &json!({"csr": b64(der)}))
        },
        BAD_CSR,
    ),
    case(
        "a signature that does not hold",
        |w| {
            let mut der = csr(&["a.test"]).1;
            *der.last_mut().unwrap() ^= 1;
            finalize(w, &json!({"csr": b64(der)}))
        },
        BAD_CSR,
    ),
    case(
        "the account's own key",
        |w| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let mut client = w.stranger();
            client.key = Key::from_pkcs8(&pair.serialize_der());
            client.register().unwrap();
            let name = w.name();
            let order = client.order(&[&name]).unwrap();
            client.authorize(&w.web, &order).unwrap();
            let request = csr_for(&[&name], &pair);
            reply(
                client.post(
                    order.object["finalize"].as_str().unwrap(),
                    &json!({"csr": b64(request)}).to_string(),
                ),
            )
        },
        BAD_CSR.and(&[Contains("/detail", "account key")]),
    ),
];
