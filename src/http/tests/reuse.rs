//! Suppression of duplicate certificates.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::*;
use crate::acme::order::Lifetimes;
use crate::audit::Event;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::{LeafRules, Profile, Rules};
use crate::service::stand::{Fault, HOUR, START, Stand};
use crate::service::sweep::Cursors;
use crate::storage::{Batch, Table};

const WINDOW: Duration = Duration::from_secs(600);

fn on(terms: &mut Terms) {
    terms.reuse_certificates = Some(WINDOW);
    let lifetimes = Lifetimes { default: HOUR * 24, min: HOUR, max: HOUR * 24 };
    let rules = Rules { lifetimes, leaf: LeafRules::usual() };
    terms
        .profiles
        .offered
        .insert("same".into(), Profile { description: "d".into(), rules, restraints: Default::default() });
}

/// Orders, proves and finalizes; the certificate's URL.
async fn obtain(client: &Client, names: &[&str], more: Value, key: &rcgen::KeyPair) -> String {
    let mut payload = json!({ "identifiers": identifiers(names) });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let order = client.post(&client.url("new-order"), &payload).await.expect(201);
    let order = client.prove(&order).await;
    client.finalize(&order, &csr(names, key)).await.expect(200);
    until(client, &order, "valid").await.at("/certificate")
}

#[tokio::test]
async fn the_same_again_is_the_same_certificate() {
    for slow in [false, true] {
        let stand = Stand::with(on).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Client::new(&app(&stand)).await;
        let key = leaf_key();
        let first = obtain(&client, &["a.test", "10.0.0.1"], json!({}), &key).await;
        let signed = stand.signer.signed.load(Ordering::SeqCst);
        for names in [["a.test", "10.0.0.1"], ["10.0.0.1", "A.test"]] {
            stand.clock.advance(Duration::from_secs(200));
            assert_eq!(obtain(&client, &names, json!({}), &key).await, first);
        }
        assert_eq!(stand.signer.signed.load(Ordering::SeqCst), signed, "nothing was signed");
        assert_eq!(stand.certificates().await.len(), 1);
        client.download(&first).await;
        let events = stand.events().await;
        let reused = |event: &&Event| matches!(event, Event::CertificateReused { serial, .. } if first.ends_with(&serial.to_string()));
        assert_eq!(events.iter().filter(reused).count(), 2);
        // The window counts from the signature, not from the last time it was asked for.
        stand.clock.advance(Duration::from_secs(200));
        assert_ne!(obtain(&client, &["a.test", "10.0.0.1"], json!({}), &key).await, first);
        assert_eq!(stand.certificates().await.len(), 2);
    }
}

#[tokio::test]
async fn anything_else_is_another_certificate() {
    let stand = Stand::with(on).await;
    let app = app(&stand);
    let (client, stranger) = (Client::new(&app).await, Client::new(&app).await);
    let key = leaf_key();
    let names = ["a.test", "b.test"];
    let first = obtain(&client, &names, json!({}), &key).await;
    let after = (START + HOUR).to_rfc3339();
    let begin = (START + Duration::from_secs(60)).to_rfc3339();
    let rows: [(&Client, &[&str], Value, &rcgen::KeyPair); 8] = [
        (&client, &names, json!({}), &leaf_key()),
        (&client, &["a.test"], json!({}), &key),
        (&client, &["a.test", "b.test", "c.test"], json!({}), &key),
        (&client, &["a.test", "*.b.test"], json!({}), &key),
        (&client, &names, json!({ "notAfter": after }), &key),
        (&client, &names, json!({ "notBefore": begin }), &key),
        (&client, &names, json!({ "profile": "same" }), &key),
        (&stranger, &names, json!({}), &key),
    ];
    let mut seen = vec![first.clone()];
    for (who, names, more, key) in rows {
        let url = obtain(who, names, more.clone(), key).await;
        assert!(!seen.contains(&url), "{names:?} {more}");
        // Each has a place of its own.
        assert_eq!(obtain(who, names, more, key).await, url);
        seen.push(url);
    }
    assert_eq!(obtain(&client, &names, json!({}), &key).await, first);

    // One that is to be replaced is not given instead of the new one.
    let der = client.download(&first).await.remove(0);
    let record = stand.certificates().await.into_iter().find(|record| record.der == der).unwrap();
    let serial = first.rsplit('/').next().unwrap();
    let serial = crate::x509::serial::Serial::parse(serial).unwrap();
    let id = crate::acme::renewal::CertId { issuer: record.issuer, serial };
    let second = obtain(&client, &names, json!({ "replaces": id.to_string() }), &key).await;
    assert_ne!(second, first);
    // And neither is given once it was replaced, or revoked.
    let third = obtain(&client, &names, json!({}), &key).await;
    assert!(third != first && third != second);
    let der = client.download(&third).await.remove(0);
    client.revoke(&der, None).await.expect(200);
    assert_ne!(obtain(&client, &names, json!({}), &key).await, third);
}

#[tokio::test]
async fn without_opting_in_each_order_gets_its_own() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let first = obtain(&client, &["a.test"], json!({}), &key).await;
    assert_ne!(obtain(&client, &["a.test"], json!({}), &key).await, first);
    assert_eq!(stand.rows(Table::Reuse).await, 0);
}

#[tokio::test]
async fn changed_rules_and_old_age_make_a_new_one() {
    let stand = Stand::with(|terms| {
        on(terms);
        terms.lifetimes.default = Duration::from_secs(300);
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let first = obtain(&client, &["a.test"], json!({}), &key).await;
    // Its time of renewal has come before the ten minutes are over.
    stand.clock.advance(Duration::from_secs(120));
    assert_eq!(obtain(&client, &["a.test"], json!({}), &key).await, first);
    stand.clock.advance(Duration::from_secs(90));
    let second = obtain(&client, &["a.test"], json!({}), &key).await;
    assert_ne!(second, first);
    stand.reload(|terms| terms.lifetimes.default = Duration::from_secs(301));
    let third = obtain(&client, &["a.test"], json!({}), &key).await;
    assert_ne!(third, second);
    stand.reload(|terms| terms.reuse_certificates = None);
    assert_ne!(obtain(&client, &["a.test"], json!({}), &key).await, third);
}

#[tokio::test]
async fn the_order_must_be_ready_and_the_names_its_own() {
    let stand = Stand::with(on).await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    obtain(&client, &["a.test"], json!({}), &key).await;
    stand.clock.advance(Duration::from_secs(1));
    let pending = client.order(&["a.test", "new.test"]).await.expect(201).location();
    client.finalize(&pending, &csr(&["a.test"], &key)).await.refused(403, "orderNotReady");
    let ready = client.order(&["a.test"]).await.expect(201);
    client.finalize(&ready.location(), &csr(&["b.test"], &key)).await.refused(400, "badCSR");
    // A proof given up counts here as everywhere.
    client.post(&ready.at("/authorizations/0"), &json!({ "status": "deactivated" })).await.expect(200);
    client.finalize(&ready.location(), &csr(&["a.test"], &key)).await.refused(403, "unauthorized");
    assert!(!stand.events().await.iter().any(|event| matches!(event, Event::CertificateReused { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_is_signed_for() {
    let stand = Stand::with(on).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let key = leaf_key();
    let opened = client.order(&["a.test"]).await.expect(201);
    let mut orders = vec![client.prove(&opened).await];
    for _ in 1..16 {
        orders.push(client.order(&["a.test"]).await.expect(201).location());
    }
    let mut tasks = Vec::new();
    for order in &orders {
        let url = format!("{order}/finalize");
        // Each signs its request anew, as clients do.
        let payload = json!({ "csr": crate::jose::base64url(&csr(&["a.test"], &key)) }).to_string();
        let body = client.key.jws(&client.header(&url).await, payload.as_bytes()).to_string();
        let (app, path) = (app.clone(), path_of(&url));
        tasks.push(tokio::spawn(async move { send(&app, "POST", &path, &[JOSE], body).await }));
    }
    let mut urls = Vec::new();
    for task in tasks {
        let reply = task.await.unwrap();
        // The order that keeps the proof is changed by its own finalization meanwhile.
        match reply.status.as_u16() {
            200 => urls.push(reply.at("/certificate")),
            _ => reply.refused(503, "serverInternal"),
        }
    }
    urls.sort();
    urls.dedup();
    assert_eq!((urls.len(), stand.certificates().await.len()), (1, 1));
}

#[tokio::test]
async fn faults_and_unreadable_rows() {
    let stand = Stand::with(on).await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let first = obtain(&client, &["a.test"], json!({}), &key).await;
    let again = client.order(&["a.test"]).await.expect(201).location();
    let request = csr(&["a.test"], &key);
    for (fault, status) in [(Fault::Conflict, 503), (Fault::Busy, 503), (Fault::Failed, 500)] {
        stand.store.fail(0, fault);
        client.finalize(&again, &request).await.refused(status, "serverInternal");
        assert_eq!(client.read(&again).await.expect(200).state(), "ready");
    }
    let done = client.finalize(&again, &request).await.expect(200);
    assert_eq!(done.at("/certificate"), first);
    // The same request once more has the same answer.
    assert_eq!(client.finalize(&again, &request).await.expect(200).at("/certificate"), first);

    use crate::storage::Store;
    let rows = stand.store.inner.scan(Table::Reuse, &[], None, 10).await.unwrap();
    let [(row, _)] = rows.as_slice() else { panic!("one row") };
    let _ = stand.store.commit(Batch::new().put(Table::Reuse, row.clone(), vec![9, 9])).await.unwrap();
    let second = obtain(&client, &["a.test"], json!({}), &key).await;
    assert_ne!(second, first);
    assert_eq!(obtain(&client, &["a.test"], json!({}), &key).await, second, "and is mended");
}

#[tokio::test]
async fn rows_go_with_their_orders() {
    let stand = Stand::with(|terms| {
        on(terms);
        // Longer than anything else keeps an order.
        terms.reuse_certificates = Some(15 * HOUR);
        terms.authorization_ttl = Duration::ZERO;
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let first = obtain(&client, &["a.test"], json!({}), &key).await;
    obtain(&client, &["b.test"], json!({}), &key).await;
    let mut cursors = Cursors::default();
    stand.clock.advance(13 * HOUR);
    while stand.service.sweep(&mut cursors, 48 * HOUR).await.unwrap().more {}
    assert_eq!(stand.rows(Table::Reuse).await, 2);
    assert_eq!(obtain(&client, &["a.test"], json!({}), &key).await, first);
    // Replaced by a later one: that stays when the first order goes.
    stand.clock.advance(3 * HOUR);
    let second = obtain(&client, &["a.test"], json!({}), &key).await;
    assert_ne!(second, first);
    stand.clock.advance(2 * HOUR);
    while stand.service.sweep(&mut cursors, 48 * HOUR).await.unwrap().more {}
    assert_eq!(stand.rows(Table::Reuse).await, 1);
    assert_eq!(obtain(&client, &["a.test"], json!({}), &key).await, second);
    stand.clock.advance(40 * HOUR);
    while stand.service.sweep(&mut cursors, 48 * HOUR).await.unwrap().more {}
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Reuse).await), (0, 0));
}
