//! Devices that attest their keys.

use serde_json::{Value, json};

use super::world::{World, reply};
use super::{Case, Check::*, Group, case, ok, refused};
use crate::support::acme::*;
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[Group { section: "draft-ietf-acme-device-attest §5", cases: DEVICES }];

fn order(w: &mut World, value: &str) -> Reply {
    let identifiers = json!([{"type": "permanent-identifier", "value": value}]);
    w.post_at("devices", "newOrder", &json!({"identifiers": identifiers}))
}

fn authorization(w: &mut World) -> (String, Value) {
    let url = order(w, "C02XG0FDH05Q").json()["authorizations"][0].as_str().unwrap().to_owned();
    let object = w.at("devices").fetch(&url).unwrap().json();
    (url, object)
}

/// The answer to a response.
fn respond(w: &mut World, payload: &Value) -> Reply {
    let object = authorization(w).1;
    let url = object["challenges"][0]["url"].as_str().unwrap().to_owned();
    reply(w.at("devices").post(&url, &payload.to_string()))
}

/// The challenge as it ends with this attestation object.
fn attest(w: &mut World, object: &[u8]) -> Reply {
    let (authorization, found) = authorization(w);
    let url = found["challenges"][0]["url"].as_str().unwrap().to_owned();
    let client = w.at("devices");
    let answer = reply(client.post(&url, &json!({"attObj": b64(object)}).to_string()));
    if answer.status != 200 {
        return answer;
    }
    client.settle(&authorization, &["pending", "processing"]).unwrap();
    reply(client.fetch(&authorization))
}

const BAD: super::Want = ok(200).and(&[
    Is("/status", "invalid"),
    Is("/challenges/0/error/type", "urn:ietf:params:acme:error:badAttestationStatement"),
]);

const DEVICES: &[Case] = &[
    case(
        "an order",
        |w| order(w, "C02XG0FDH05Q"),
        ok(201).and(&[
            Is("/identifiers/0/type", "permanent-identifier"),
            Is("/identifiers/0/value", "C02XG0FDH05Q"),
            Length("/authorizations", 1),
        ]),
    ),
    case(
        "its authorization has the one challenge",
        |w| {
            let url = authorization(w).0;
            reply(w.at("devices").fetch(&url))
        },
        ok(200).and(&[
            Length("/challenges", 1),
            Is("/challenges/0/type", "device-attest-01"),
            Has("/challenges/0/token"),
        ]),
    ),
    case("a device that is not allowed", |w| order(w, "X1"), refused(400, "rejectedIdentifier")),
    case("no device", |w| order(w, ""), refused(400, "malformed")),
    case(
        "where it is not offered",
        |w| w.identifier("permanent-identifier", "C02XG0FDH05Q"),
        refused(400, "unsupportedIdentifier"),
    ),
    case("a response without an attestation", |w| respond(w, &json!({})), refused(400, "malformed")),
    case("an attestation that is no text", |w| respond(w, &json!({"attObj": 7})), refused(400, "malformed")),
    case("one that is no base64url", |w| respond(w, &json!({"attObj": "a+b="})), refused(400, "malformed")),
    case("no CBOR", |w| attest(w, b"\xff\xff"), BAD),
    case(
        "a format that is not accepted",
        |w| attest(w, b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x40"),
        BAD,
    ),
    case(
        "a statement without a chain",
        |w| attest(w, b"\xa3\x63fmt\x65apple\x67attStmt\xa0\x68authData\x40"),
        BAD,
    ),
];
