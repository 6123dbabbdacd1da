//! Refusals that are the RFC's own, where another server might let things pass. The rest of them is in
//! `envelope` (headers, bodies, keys), `flow` (identifiers, CSRs against orders) and `complete` (closed
//! accounts, keys in use).

use serde_json::json;

use super::client::*;
use crate::service::stand::{Stand, Step};
use crate::validation::{Failure, FailureKind, Outcome};

/// Every request of the corpus that asks for what is not to be had, against a ready order.
#[tokio::test]
async fn csrs_that_are_refused_whatever_the_order() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let order = client.prove(&order).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/csrs");
    for name in [
        "p224",
        "p256-sha1",
        "rsa-2048-sha1",
        "rsa-2048-md5",
        "rsa-1024",
        "rsa-2048-e3",
        "secp256k1",
        "ed448",
        "san-email",
        "san-uri",
        "san-othername",
        "san-dirname",
        "san-registered-id",
        "san-ip-5-octets",
        "san-empty",
        "cn-not-in-san",
        "cn-two",
        "no-names",
        "ca-true",
        "p256-explicit-parameters",
    ] {
        let der = std::fs::read(folder.join(format!("{name}.der"))).unwrap();
        let reply = client.finalize(&order, &der).await;
        assert_eq!((reply.status.as_u16(), reply.problem().as_str()), (400, "badCSR"), "{name}");
    }
    assert_eq!(client.read(&order).await.expect(200).state(), "ready");
    assert!(stand.certificates().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_each_kind_has_its_own_error_type() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let rows = [
        (FailureKind::Dns, "dns", 400),
        (FailureKind::Connection, "connection", 400),
        (FailureKind::Tls, "tls", 400),
        (FailureKind::Unauthorized, "unauthorized", 403),
        (FailureKind::IncorrectResponse, "incorrectResponse", 403),
        (FailureKind::Forbidden, "unauthorized", 403),
    ];
    for (n, (kind, name, status)) in rows.into_iter().enumerate() {
        let host = format!("n{n}.test");
        for _ in 0..3 {
            let failure = Failure { kind, detail: "seen".into() };
            stand.script.next(&host, Step::Say(Outcome::Failed(failure)));
        }
        let order = client.order(&[&host]).await.expect(201);
        let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
        client.post(&challenge, &json!({})).await.expect(200);
        let shown = until(&client, &challenge, "invalid").await;
        assert_eq!(shown.at("/error/type"), format!("urn:ietf:params:acme:error:{name}"));
        assert_eq!(shown.json()["error"]["status"], status);
        // The order says why as well.
        let order = client.read(&order.location()).await.expect(200);
        assert_eq!(order.at("/error/type"), shown.at("/error/type"));
    }
}

#[tokio::test]
async fn bad_identifiers_are_told_one_by_one() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let url = client.url("new-order");
    let ask = |identifiers: serde_json::Value| json!({ "identifiers": identifiers });
    let bad = json!([
        { "type": "dns", "value": "good.test" },
        { "type": "dns", "value": "a..test" },
        { "type": "email", "value": "a@b.test" },
        { "type": "ip", "value": "::ffff:10.0.0.1" },
    ]);
    let reply = client.post(&url, &ask(bad)).await;
    // Of several kinds the whole is malformed; of one kind it is that one.
    reply.refused(400, "malformed");
    let told: Vec<_> = reply.json()["subproblems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            (p["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned(), p["identifier"].clone())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("malformed".to_owned(), json!({ "type": "dns", "value": "a..test" })),
            ("unsupportedIdentifier".to_owned(), json!({ "type": "email", "value": "a@b.test" })),
            ("malformed".to_owned(), json!({ "type": "ip", "value": "::ffff:10.0.0.1" })),
        ]
    );
    let alike = json!([{ "type": "email", "value": "a@b.test" }, { "type": "uri", "value": "x" }]);
    let reply = client.post(&url, &ask(alike)).await;
    reply.refused(400, "unsupportedIdentifier");
    assert_eq!(reply.json()["subproblems"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn doubled_members_are_refused_outside_and_inside() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let url = client.kid.clone();
    for member in ["payload", "protected", "signature"] {
        let body = client.key.jws(&client.header(&url).await, b"");
        let doubled = format!("{{\"{member}\":{},{}", body[member], &body.to_string()[1..]);
        client.raw(&url, doubled).await.refused(400, "malformed");
    }
    for (member, value) in [("nonce", "\"x\""), ("alg", "\"ES256\""), ("typ", "\"a\",\"typ\":\"b\"")] {
        let header = client.header(&url).await.to_string();
        let header = format!("{{\"{member}\":{value},{}", &header[1..]);
        client.raw(&url, client.key.jws_over(&header, b"").to_string()).await.refused(400, "malformed");
    }
    // In payloads too.
    let order = client.url("new-order");
    let payload = br#"{"identifiers":[],"identifiers":[{"type":"dns","value":"a.test"}]}"#;
    client.signed(&order, &client.header(&order).await, payload).await.refused(400, "malformed");
}
