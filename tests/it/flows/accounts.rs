//! Accounts and their keys.

use serde_json::json;

use super::{assert_kind, assert_refused, assert_unauthorized};
use crate::support::acme::*;
use crate::support::server::Server;

#[test]
fn accounts_are_made_found_updated_and_deactivated() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let new_account = client.endpoint("newAccount");

    let ask = json!({"onlyReturnExisting": true}).to_string();
    assert_refused(client.post(&new_account, &ask), 400, "accountDoesNotExist");

    let made = client.register().unwrap();
    assert_eq!(made.status, 201);
    assert_eq!(made.json()["status"], "valid");
    assert_eq!(made.json()["contact"], json!(["mailto:test@example.test"]));
    let kid = client.kid.clone().unwrap();

    // The same key again is the same account.
    let again = client.register().unwrap();
    assert_eq!((again.status, again.header("location")), (200, Some(kid.as_str())));
    client.kid = None;
    let found = client.post(&new_account, &ask).unwrap();
    assert_eq!((found.status, found.header("location")), (200, Some(kid.as_str())));

    client.kid = Some(kid.clone());
    let changed = client.post(&kid, r#"{"contact": ["mailto:other@example.test"]}"#).unwrap();
    assert_eq!(changed.json()["contact"], json!(["mailto:other@example.test"]));
    assert_eq!(client.fetch(&kid).unwrap().json()["contact"], json!(["mailto:other@example.test"]));

    // One account's URL is not another's.
    let mut stranger = Client::registered(&server);
    assert_unauthorized(stranger.fetch(&kid));
    assert_unauthorized(stranger.post(&kid, r#"{"status": "deactivated"}"#));

    let gone = client.post(&kid, r#"{"status": "deactivated"}"#).unwrap();
    assert_eq!(gone.json()["status"], "deactivated");
    assert_unauthorized(client.fetch(&kid));
    assert_unauthorized(client.order(&["gone.test"]));
    assert_unauthorized(client.register());
}

#[test]
fn weak_and_odd_account_keys_are_refused() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let url = client.endpoint("newAccount");
    let bad_keys = [
        ("off the curve", json!({"kty": "EC", "crv": "P-256", "x": b64([1; 32]), "y": b64([1; 32])})),
        ("short coordinate", json!({"kty": "EC", "crv": "P-256", "x": b64([1; 31]), "y": b64([1; 32])})),
        ("unknown curve", json!({"kty": "EC", "crv": "secp256k1", "x": b64([1; 32]), "y": b64([1; 32])})),
        ("symmetric", json!({"kty": "oct", "k": b64([1; 32])})),
    ];
    for (what, jwk) in bad_keys {
        let mut jws = client.jws(&url, "{}").unwrap();
        jws.protected["jwk"] = jwk;
        let reply = client.send(&url, &jws.body()).unwrap();
        assert_kind(&reply, &[400], "badPublicKey|malformed|badSignatureAlgorithm", what);
    }
}
