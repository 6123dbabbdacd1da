//! ACME profiles (draft-ietf-acme-profiles).

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::*;
use crate::acme::order::Lifetimes;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::usages::{Usage, Usages};
use crate::provisioner::profile::{KeyType, KeyTypes, LeafRules, Profile, Rules};
use crate::service::stand::{HOUR, START, Stand};

fn offer(terms: &mut Terms, name: &str, hours: u32, leaf: LeafRules) {
    let lifetimes = Lifetimes { default: HOUR * hours, min: HOUR, max: HOUR * hours };
    let profile = Profile {
        description: format!("about {name}"),
        rules: Rules { lifetimes, leaf: leaf.into() },
        restraints: Default::default(),
    };
    terms.profiles.offered.insert(name.into(), profile);
}

/// `server`: two hours, serverAuth; `client`: 48 hours, clientAuth, Ed25519 only.
fn two(terms: &mut Terms) {
    offer(
        terms,
        "server",
        2,
        LeafRules { usages: Usages::of([Usage::ServerAuth]).unwrap(), ..LeafRules::default() },
    );
    let key_types = KeyTypes::of(&[KeyType::Ed25519]).unwrap();
    offer(
        terms,
        "client",
        48,
        LeafRules { usages: Usages::client_only().clone(), key_types, ..LeafRules::default() },
    );
}

async fn order(client: &Client, more: Value) -> Reply {
    let mut payload = json!({ "identifiers": identifiers(&["a.test"]) });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post(&client.url("new-order"), &payload).await
}

fn ed25519() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

/// serverAuth, clientAuth, and the lifetime from the moment of issuance, seconds.
fn facts(der: &[u8]) -> (bool, bool, u64) {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap();
    (usage.server_auth, usage.client_auth, end - START.as_secs())
}

#[tokio::test]
async fn without_profiles_nothing_is_offered() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let directory = get(&app, "/acme/acme/directory").await.expect(200).json();
    assert_eq!(directory["meta"]["profiles"], Value::Null);
    order(&client, json!({ "profile": "server" })).await.refused(400, "invalidProfile");
    for plain in [json!({}), json!({ "profile": null })] {
        assert_eq!(order(&client, plain).await.expect(201).json()["profile"], Value::Null);
    }
    order(&client, json!({ "profile": 7 })).await.refused(400, "malformed");
}

#[tokio::test]
async fn a_profile_decides_over_the_certificate() {
    let stand = Stand::with(two).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let directory = get(&app, "/acme/acme/directory").await.expect(200).json();
    let offered = json!({ "server": "about server", "client": "about client" });
    assert_eq!(directory["meta"]["profiles"], offered);
    order(&client, json!({ "profile": "other" })).await.refused(400, "invalidProfile");

    let rows = [
        (Value::Null, leaf_key(), (true, true, 24)),
        (json!("server"), leaf_key(), (true, false, 2)),
        (json!("client"), ed25519(), (false, true, 48)),
    ];
    for (profile, key, (server, client_auth, hours)) in rows {
        let opened = order(&client, json!({ "profile": profile })).await.expect(201);
        assert_eq!(opened.json()["profile"], profile);
        let url = client.prove(&opened).await;
        assert_eq!(client.read(&url).await.expect(200).json()["profile"], profile);
        let done = client.finalize(&url, &csr(&["a.test"], &key)).await.expect(200);
        assert_eq!(done.json()["profile"], profile);
        let der = client.download(&done.at("/certificate")).await.remove(0);
        assert_eq!(facts(&der), (server, client_auth, hours * 3600), "{profile}");
        let kept = stand.certificates().await.into_iter().find(|record| record.der == der).unwrap();
        assert_eq!(kept.details.profile.as_deref(), profile.as_str());
    }
}

#[tokio::test]
async fn lifetimes_asked_for_are_the_profile_s() {
    let stand = Stand::with(two).await;
    let client = Client::new(&app(&stand)).await;
    let after = |hours: u32| (START + HOUR * hours).to_rfc3339();
    let rows = [
        (json!({ "notAfter": after(24) }), 201),
        (json!({ "notAfter": after(25) }), 400),
        (json!({ "notAfter": after(2), "profile": "server" }), 201),
        (json!({ "notAfter": after(3), "profile": "server" }), 400),
        (json!({ "notAfter": after(48), "profile": "client" }), 201),
        (json!({ "notAfter": after(49), "profile": "client" }), 400),
        (json!({ "notAfter": (START + HOUR / 2).to_rfc3339(), "profile": "client" }), 400),
    ];
    for (more, status) in rows {
        assert_eq!(order(&client, more.clone()).await.status.as_u16(), status, "{more}");
    }
}

#[tokio::test]
async fn a_default_profile_stands_in() {
    let stand = Stand::with(|terms| {
        two(terms);
        terms.profiles.default = Some("server".into());
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let opened = order(&client, json!({})).await.expect(201);
    assert_eq!(opened.at("/profile"), "server");
    let url = client.prove(&opened).await;
    let done = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(facts(&client.download(&done.at("/certificate")).await[0]), (true, false, 7200));
    assert_eq!(order(&client, json!({ "profile": "client" })).await.expect(201).at("/profile"), "client");
}

#[tokio::test]
async fn another_key_type_is_refused_and_the_order_stays() {
    let stand = Stand::with(two).await;
    let client = Client::new(&app(&stand)).await;
    for slow in [false, true] {
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let opened = order(&client, json!({ "profile": "client" })).await.expect(201);
        let url = client.prove(&opened).await;
        let refused = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await;
        refused.refused(400, "badCSR");
        assert!(refused.at("/detail").contains("P-256 is not of the profile's types: ed25519"));
        assert_eq!(client.read(&url).await.expect(200).state(), "ready");
        client.finalize(&url, &csr(&["a.test"], &ed25519())).await.expect(200);
        until(&client, &url, "valid").await;
    }
}

#[tokio::test]
async fn a_profile_that_is_gone_is_no_profile() {
    let stand = Stand::with(two).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let opened = order(&client, json!({ "profile": "server" })).await.expect(201);
    let url = client.prove(&opened).await;
    stand.reload(|terms| drop(terms.profiles.offered.remove("server")));
    let request = csr(&["a.test"], &leaf_key());
    for slow in [false, true] {
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let refused = client.finalize(&url, &request).await;
        refused.refused(400, "invalidProfile");
        assert!(refused.at("/detail").contains("server, is not offered any more"));
        assert_eq!(client.read(&url).await.expect(200).state(), "ready");
    }
    stand.signer.slow.store(false, Ordering::SeqCst);
    order(&client, json!({ "profile": "server" })).await.refused(400, "invalidProfile");
    // Back, with other rules: those of the day count.
    let both = LeafRules::default();
    stand.reload(|terms| offer(terms, "server", 3, both));
    let done = client.finalize(&url, &request).await.expect(200);
    assert_eq!(facts(&client.download(&done.at("/certificate")).await[0]), (true, true, 3 * 3600));
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(client.read(&url).await.expect(200).at("/profile"), "server");
}
