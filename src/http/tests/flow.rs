//! From account to certificate, as it should go.

use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::client::*;
use crate::audit::Event;
use crate::jose::base64url;
use crate::service::stand::{HOUR, START, Stand, Step, failed};
use crate::storage::Table;

/// The names in a certificate.
fn names_of(der: &[u8]) -> Vec<String> {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let san = parsed.subject_alternative_name().unwrap().unwrap();
    let mut names: Vec<String> = san
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(octets) => crate::x509::ip_of(octets).unwrap().to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    names.sort();
    names
}

fn seconds(at: x509_parser::time::ASN1Time) -> u64 {
    u64::try_from(at.timestamp()).unwrap()
}

#[tokio::test]
async fn account_to_certificate() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let directory = get(&app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.header("link"), None);
    let client = Client::stranger(&app);
    assert_eq!(directory.at("/newAccount"), client.url("new-account"));

    let mut client = client;
    let created = client.register(&json!({ "contact": ["mailto:ops@a.test"] })).await.expect(201);
    assert_eq!(created.state(), "valid");
    assert_eq!(created.json()["contact"], json!(["mailto:ops@a.test"]));
    client.kid = created.location();

    // Mixed case and repeated: clients do that.
    let order = client.order(&["B.test", "a.test", "b.TEST"]).await.expect(201);
    assert_eq!(order.state(), "pending");
    assert_eq!(order.json()["identifiers"], identifiers(&["b.test", "a.test"]));
    assert_eq!(order.header("link").unwrap(), format!("<{}>;rel=\"index\"", client.url("directory")));
    let authorizations = order.json()["authorizations"].clone();
    for (authorization, name) in authorizations.as_array().unwrap().iter().zip(["b.test", "a.test"]) {
        let url = authorization.as_str().unwrap();
        let object = client.read(url).await.expect(200);
        assert_eq!(object.json()["identifier"], json!({ "type": "dns", "value": name }));
        let kinds: Vec<_> =
            object.json()["challenges"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(kinds, ["http-01", "dns-01", "tls-alpn-01"]);
        let challenge = client.challenge(url, "http-01").await;
        let answered = client.post(&challenge, &json!({})).await.expect(200);
        let up = format!("<{url}>;rel=\"up\"");
        assert!(answered.headers.get_all("link").iter().any(|link| link.to_str().unwrap() == up));
        assert_eq!(answered.state(), "valid");
        assert!(answered.json()["validated"].is_string());
        let settled = client.read(url).await.expect(200).json();
        assert_eq!(settled["status"], "valid");
        assert_eq!(settled["challenges"].as_array().unwrap().len(), 1, "only the one that settled it");
        // A second answer to a settled challenge is answered with what it is.
        client.post(&challenge, &json!({})).await.expect(200);
    }
    let url = order.location();
    assert_eq!(client.read(&url).await.expect(200).state(), "ready");

    let csr = csr(&["a.test", "B.test"], &leaf_key());
    let done = client.finalize(&url, &csr).await.expect(200);
    assert_eq!((done.state().as_str(), done.location()), ("valid", url.clone()));
    // The same again: the same answer.
    let again = client.finalize(&url, &csr).await.expect(200);
    assert_eq!(again.at("/certificate"), done.at("/certificate"));
    let chain = client.download(&done.at("/certificate")).await;
    assert_eq!(chain.len(), 2);
    assert_eq!(names_of(&chain[0]), ["a.test", "b.test"]);
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let (_, issuer) = X509Certificate::from_der(&chain[1]).unwrap();
    leaf.verify_signature(Some(issuer.public_key())).unwrap();
    assert_eq!(seconds(leaf.validity().not_before), START.as_secs() - 60);
    assert_eq!(seconds(leaf.validity().not_after), START.as_secs() + 86_400);
    assert_eq!(stand.certificates().await.len(), 1);
    stand.check_held_rows().await.unwrap();

    let events = stand.events().await;
    let has = |test: fn(&Event) -> bool| events.iter().filter(|event| test(event)).count();
    assert_eq!(has(|e| matches!(e, Event::AccountCreated { .. })), 1);
    assert_eq!(has(|e| matches!(e, Event::AuthorizationValid { .. })), 2);
    assert_eq!(has(|e| matches!(e, Event::CertificateIssued { .. })), 3, "root, intermediate, leaf");
}

#[tokio::test]
async fn a_proved_authorization_is_used_again() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let first = client.order(&["a.test"]).await.expect(201);
    client.prove(&first).await;
    let second = client.order(&["a.test"]).await.expect(201);
    assert_eq!(second.state(), "ready", "at once");
    assert_eq!(second.json()["authorizations"], first.json()["authorizations"], "under its own URL");
    client.finalize(&second.location(), &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(stand.script.calls("a.test"), 1);

    // Of another account it is not.
    let other = Client::new(&client.app).await;
    assert_eq!(other.order(&["a.test"]).await.expect(201).state(), "pending");

    // With one new name, only that one is to prove.
    let mixed = client.order(&["a.test", "b.test"]).await.expect(201);
    assert_eq!(mixed.state(), "pending");
    assert_eq!(mixed.json()["authorizations"][0], first.json()["authorizations"][0]);
    let mixed = client.prove(&mixed).await;
    client.finalize(&mixed, &csr(&["a.test", "b.test"], &leaf_key())).await.expect(200);
    assert_eq!((stand.script.calls("a.test"), stand.script.calls("b.test")), (1, 1));
    stand.check_held_rows().await.unwrap();
}

#[tokio::test]
async fn reuse_ends_before_the_authorization_does() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let first = client.order(&["a.test"]).await.expect(201);
    client.prove(&first).await;
    // Proved at START, it holds for 8 hours.
    stand.clock.advance(8 * HOUR - Duration::from_secs(121));
    let late = client.order(&["a.test"]).await.expect(201);
    assert_eq!(late.state(), "ready");
    assert_eq!(late.at("/expires"), (START + 8 * HOUR).to_rfc3339(), "no later than what it rests on");
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending", "too short to be of use");
    stand.clock.advance(Duration::from_secs(120));
    assert_eq!(client.read(&late.location()).await.expect(200).state(), "invalid");
    client.finalize(&late.location(), &csr(&["a.test"], &leaf_key())).await.refused(403, "orderNotReady");
    assert_eq!(client.read(&first.at("/authorizations/0")).await.expect(200).state(), "expired");
}

#[tokio::test]
async fn a_deactivated_authorization_is_no_longer_used() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let first = client.order(&["a.test"]).await.expect(201);
    client.prove(&first).await;
    let second = client.order(&["a.test"]).await.expect(201);
    let authorization = first.at("/authorizations/0");
    let gone = client.post(&authorization, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(gone.state(), "deactivated");
    client.post(&authorization, &json!({ "status": "deactivated" })).await.refused(400, "malformed");
    client.finalize(&second.location(), &csr(&["a.test"], &leaf_key())).await.refused(403, "unauthorized");
    assert_eq!(client.read(&first.location()).await.expect(200).state(), "invalid");
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending");
    assert!(stand.certificates().await.is_empty());
    assert_eq!(stand.rows(Table::Grants).await, 0);
    assert!(stand.events().await.iter().any(|e| matches!(e, Event::AuthorizationDeactivated { .. })));
    client.post(&authorization, &json!({ "status": "valid" })).await.refused(400, "malformed");
}

#[tokio::test]
async fn wildcard_address_and_many_names() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test", "*.a.test"]).await.expect(201);
    let wildcard = client.read(&order.at("/authorizations/1")).await.expect(200).json();
    assert_eq!(wildcard["identifier"], json!({ "type": "dns", "value": "a.test" }));
    assert_eq!(wildcard["wildcard"], true);
    assert_eq!(wildcard["challenges"].as_array().unwrap().len(), 1);
    assert_eq!(wildcard["challenges"][0]["type"], "dns-01");
    assert_eq!(client.read(&order.at("/authorizations/0")).await.expect(200).json().get("wildcard"), None);
    let key = leaf_key();
    let der = client.obtain(&["a.test", "*.a.test"], &key).await;
    assert_eq!(names_of(&der), ["*.a.test", "a.test"]);

    let order = client.order(&["10.0.0.7"]).await.expect(201);
    let address = client.read(&order.at("/authorizations/0")).await.expect(200).json();
    let kinds: Vec<_> = address["challenges"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(kinds, ["http-01", "tls-alpn-01"]);
    assert_eq!(names_of(&client.obtain(&["10.0.0.7", "fd00::7"], &key).await), ["10.0.0.7", "fd00::7"]);

    let many: Vec<String> = (0..100).map(|n| format!("n{n:03}.many.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(names_of(&client.obtain(&many, &key).await), many);
    assert!(many.iter().all(|name| stand.script.calls(name) == 1), "each name once");
    let mut more = many.clone();
    more.push("one.too.many.test");
    client.order(&more).await.refused(400, "malformed");
}

#[tokio::test]
async fn identifiers_are_refused_each_by_name() {
    let stand = Stand::with(|terms| {
        terms.deny = vec![crate::provisioner::acme::NameRule::Under("secret.test".into())];
        terms.wildcards = false;
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let url = client.url("new-order");
    let reply = client.order(&["good.test", "x.secret.test", "*.a.test"]).await;
    reply.refused(400, "rejectedIdentifier");
    let named: Vec<Value> = reply.json()["subproblems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["identifier"]["value"].clone())
        .collect();
    assert_eq!(named, ["x.secret.test", "*.a.test"]);
    for (identifier, kind) in [
        (json!({ "type": "email", "value": "a@b.test" }), "unsupportedIdentifier"),
        (json!({ "type": "dns", "value": "a_b.-test" }), "malformed"),
        (json!({ "type": "dns", "value": "10.0.0.1" }), "malformed"),
        (json!({ "type": "ip", "value": "10.0.0.256" }), "malformed"),
        (json!({ "type": "dns", "value": "" }), "malformed"),
        (json!({ "type": "dns" }), "malformed"),
    ] {
        client.post(&url, &json!({ "identifiers": [identifier] })).await.refused(400, kind);
    }
    client.post(&url, &json!({ "identifiers": [] })).await.refused(400, "malformed");
    client.post(&url, &json!({})).await.refused(400, "malformed");
    assert!(stand.orders().await.is_empty());
}

#[tokio::test]
async fn a_validity_that_was_asked_for() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let url = client.url("new-order");
    let ask = |from: Option<Duration>, to: Duration| {
        let mut ask =
            json!({ "identifiers": identifiers(&["a.test"]), "notAfter": (START + to).to_rfc3339() });
        if let Some(from) = from {
            ask["notBefore"] = (START + from).to_rfc3339().into();
        }
        ask
    };
    let order = client.post(&url, &ask(Some(HOUR), 3 * HOUR)).await.expect(201);
    assert_eq!(order.at("/notAfter"), (START + 3 * HOUR).to_rfc3339());
    let order = client.prove(&order).await;
    let done = client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    let der = client.download(&done.at("/certificate")).await.remove(0);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(seconds(leaf.validity().not_before), (START + HOUR).as_secs());
    assert_eq!(seconds(leaf.validity().not_after), (START + 3 * HOUR).as_secs());
    for (from, to) in [
        (None, 25 * HOUR),
        (None, Duration::from_secs(299)),
        (Some(2 * HOUR), HOUR),
        (Some(25 * HOUR), 26 * HOUR),
        (None, Duration::ZERO),
    ] {
        client.post(&url, &ask(from, to)).await.refused(400, "malformed");
    }
    for text in ["tomorrow", "2026-13-01T00:00:00Z", ""] {
        let ask = json!({ "identifiers": identifiers(&["a.test"]), "notAfter": text });
        client.post(&url, &ask).await.refused(400, "malformed");
    }
    // What Go programs write for a time that is not set.
    let unset = "0001-01-01T00:00:00Z";
    let whatever = json!({ "identifiers": identifiers(&["a.test"]), "notBefore": unset, "notAfter": unset });
    let order = client.post(&url, &whatever).await.expect(201).json();
    assert!(order.get("notBefore").is_none() && order.get("notAfter").is_none(), "{order}");
    // An end that comes before the finalization does.
    let order = client.post(&url, &ask(None, Duration::from_secs(301))).await.expect(201);
    stand.clock.advance(Duration::from_secs(400));
    let refused = client.finalize(&order.location(), &csr(&["a.test"], &leaf_key())).await;
    refused.refused(400, "malformed");
}

#[tokio::test]
async fn finalize_takes_only_what_was_ordered() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let pending = client.order(&["p.test"]).await.expect(201).location();
    client.finalize(&pending, &csr(&["p.test"], &key)).await.refused(403, "orderNotReady");
    let order = client.order(&["a.test", "b.test"]).await.expect(201);
    let order = client.prove(&order).await;
    for names in [&["a.test"][..], &["a.test", "b.test", "c.test"], &["a.test", "*.b.test"]] {
        client.finalize(&order, &csr(names, &key)).await.refused(400, "badCSR");
    }
    let mut broken = csr(&["a.test", "b.test"], &key);
    *broken.last_mut().unwrap() ^= 1;
    client.finalize(&order, &broken).await.refused(400, "badCSR");
    client.finalize(&order, b"").await.refused(400, "badCSR");
    let url = format!("{order}/finalize");
    for csr in ["-----BEGIN CERTIFICATE REQUEST-----", "AA==", "a+b/"] {
        client.post(&url, &json!({ "csr": csr })).await.refused(400, "badCSR");
    }
    client.post(&url, &json!({})).await.refused(400, "malformed");
    // Refusals change nothing.
    assert_eq!(client.read(&order).await.expect(200).state(), "ready");
    client.finalize(&order, &csr(&["b.test", "a.test"], &key)).await.expect(200);
    client.finalize(&order, &csr(&["b.test", "a.test"], &leaf_key())).await.refused(403, "orderNotReady");
    assert_eq!(stand.certificates().await.len(), 1);
}

#[tokio::test]
async fn the_account_key_is_not_certified() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let leaf = leaf_key();
    let mut client = Client::stranger(&app);
    client.key = Key::of_certificate(&leaf);
    client.kid = client.register(&json!({})).await.expect(201).location();
    let order = client.order(&["a.test"]).await.expect(201);
    let order = client.prove(&order).await;
    client.finalize(&order, &csr(&["a.test"], &leaf)).await.refused(400, "badCSR");
}

#[tokio::test(start_paused = true)]
async fn a_failed_validation_ends_authorization_and_order() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    (0..3).for_each(|_| stand.script.next("a.test", Step::Say(failed())));
    let order = client.order(&["a.test", "b.test"]).await.expect(201);
    let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
    let answered = client.post(&challenge, &json!({})).await.expect(200);
    // The paused clock may have run past all attempts by the time the reply is made.
    let wait = (answered.state() == "processing").then_some("1");
    assert_eq!(answered.header("retry-after"), wait);
    assert!(wait.is_some() || answered.state() == "invalid");
    let failed = until(&client, &challenge, "invalid").await;
    assert_eq!(stand.script.calls("a.test"), 3, "bounded retries");
    assert_eq!(failed.at("/error/type"), "urn:ietf:params:acme:error:unauthorized");
    assert_eq!(failed.at("/error/identifier/value"), "a.test");
    let order = client.read(&order.location()).await.expect(200);
    assert_eq!(order.state(), "invalid");
    assert_eq!(order.at("/error/detail"), "other content");
    assert!(stand.events().await.iter().any(|e| matches!(e, Event::AuthorizationInvalid { .. })));
    // Answering again asks nobody anything.
    client.post(&challenge, &json!({})).await.expect(200);
    assert_eq!(stand.script.calls("a.test"), 3);
}

#[tokio::test]
async fn other_accounts_objects_are_not_there() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (client, other) = (Client::new(&app).await, Client::new(&app).await);
    let mut foreign = Client::stranger(&app);
    foreign.base = format!("{BASE}/acme/other");
    foreign.kid = foreign.register(&json!({})).await.expect(201).location();
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "dns-01").await;
    let done = client.prove(&order).await;
    let csr = csr(&["a.test"], &leaf_key());
    let certificate = client.finalize(&done, &csr).await.expect(200).at("/certificate");
    for url in [&done, &authorization, &challenge, &certificate] {
        client.read(url).await.expect(200);
        other.read(url).await.refused(404, "malformed");
        foreign.read(&url.replace("/acme/acme/", "/acme/other/")).await.refused(404, "malformed");
    }
    other.post(&challenge, &json!({})).await.refused(404, "malformed");
    other.post(&authorization, &json!({ "status": "deactivated" })).await.refused(404, "malformed");
    other.finalize(&done, &csr).await.refused(404, "malformed");
    other.read(&client.kid).await.refused(403, "unauthorized");
    // Of the right account, but not there.
    for rest in ["order/AAAAAAAAAAAAAAAAAAAAAA", "authz/AAAAAAAAAAAAAAAAAAAAAA/0"] {
        client.read(&client.url(rest)).await.refused(404, "malformed");
    }
    client.read(&authorization.replace("/0", "/1")).await.refused(404, "malformed");
}

#[tokio::test]
async fn deactivation_of_an_account_ends_its_orders() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let order = client.prove(&order).await;
    let reply = client.post(&client.kid, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(reply.state(), "deactivated");
    client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.refused(401, "unauthorized");
    for url in [&client.kid, &order] {
        client.read(url).await.refused(401, "unauthorized");
    }
    client.order(&["b.test"]).await.refused(401, "unauthorized");
    client.register(&json!({})).await.refused(401, "unauthorized");
    let payload = json!({ "csr": base64url(&csr(&["a.test"], &leaf_key())) });
    client.post(&format!("{order}/finalize"), &payload).await.refused(401, "unauthorized");
    assert!(stand.certificates().await.is_empty());
}
