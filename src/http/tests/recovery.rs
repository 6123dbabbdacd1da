//! Restarts, and signers that take their time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::client::*;
use crate::audit::Event;
use crate::service::stand::{Stand, Step};
use crate::validation::Outcome;

async fn ready_order(client: &Client, names: &[&str]) -> String {
    let order = client.order(names).await.expect(201);
    client.prove(&order).await
}

#[tokio::test]
async fn a_validation_cut_short_goes_on_after_a_restart() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    stand.script.next("a.test", Step::After(Duration::from_secs(3600), Outcome::Proved));
    assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "processing");
    stand.restart();
    let client = client.moved(&app(&stand));
    // Any look at it will do; what is stored says processing, and nobody is at it.
    client.read(&challenge).await.expect(200);
    until(&client, &authorization, "valid").await;
    assert_eq!(client.read(&order.location()).await.expect(200).state(), "ready");
    assert_eq!(stand.script.calls("a.test"), 2);
    // The other service's task, if it ended yet, would find it settled.
    stand.check_held_rows().await.unwrap();
}

#[tokio::test]
async fn nonces_of_another_life_are_refused() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let old = client.header(&client.kid).await;
    stand.restart();
    let client = client.moved(&app(&stand));
    client.signed(&client.kid, &old, b"").await.refused(400, "badNonce");
    // The nonce that came with the refusal is good.
    client.read(&client.kid).await.expect(200);
}

#[tokio::test]
async fn a_finalization_cut_short_goes_on_after_a_restart() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    // The signer is away, so the order stays as accepted.
    stand.signer.broken.store(true, Ordering::SeqCst);
    let csr = csr(&["a.test"], &leaf_key());
    let accepted = client.finalize(&order, &csr).await.expect(200);
    assert_eq!(accepted.state(), "processing");
    assert_eq!((accepted.location(), accepted.header("retry-after")), (order.clone(), Some("1")));
    stand.restart();
    stand.signer.broken.store(false, Ordering::SeqCst);
    let client = client.moved(&app(&stand));
    let done = until(&client, &order, "valid").await;
    assert_eq!(client.finalize(&order, &csr).await.expect(200).at("/certificate"), done.at("/certificate"));
    assert_eq!(stand.certificates().await.len(), 1);
    assert_eq!(client.download(&done.at("/certificate")).await.len(), 2);
}

#[tokio::test]
async fn a_slow_signer_answers_processing_and_then_valid() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    // Within the patience of a reply: valid at once.
    let first = client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(first.state(), "valid");

    let order = ready_order(&client, &["a.test"]).await;
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(2500);
    let csr = csr(&["a.test"], &leaf_key());
    let accepted = client.finalize(&order, &csr).await.expect(200);
    assert_eq!(accepted.state(), "processing");
    assert_eq!((accepted.location(), accepted.header("retry-after")), (order.clone(), Some("1")));
    // The same CSR again, another CSR, a poll: none of them signs again.
    assert_eq!(client.finalize(&order, &csr).await.expect(200).state(), "processing");
    let other = super::client::csr(&["a.test"], &leaf_key());
    client.finalize(&order, &other).await.refused(403, "orderNotReady");
    until(&client, &order, "valid").await;
    assert_eq!(stand.certificates().await.len(), 2);
}

/// While a slow signer works, nobody else waits: neither the same order's polls nor other orders
/// that happen to share a lock.
#[tokio::test]
async fn a_slow_signature_holds_no_lock() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    *stand.signer.delay.lock().unwrap() = Duration::from_secs(4);
    client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    // A change of the same order needs its lock.
    let authorization = client.read(&order).await.expect(200).at("/authorizations/0");
    let payload = json!({ "status": "deactivated" });
    let change = client.post(&authorization, &payload);
    let reply = tokio::time::timeout(Duration::from_millis(1500), change).await.expect("nobody waits");
    reply.expect(200);
    // And what was given up before the signature counts for nothing.
    let failed = until(&client, &order, "invalid").await;
    assert_eq!(failed.at("/error/type"), "urn:ietf:params:acme:error:unauthorized");
    assert!(stand.certificates().await.is_empty());
}

#[tokio::test]
async fn a_refusal_after_acceptance_ends_the_order() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    stand.signer.broken.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    assert_eq!(
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200).state(),
        "processing"
    );
    // Meanwhile the operator denies the name.
    stand.reload(|terms| terms.deny.push(crate::provisioner::acme::NameRule::Exact("a.test".into())));
    stand.signer.broken.store(false, Ordering::SeqCst);
    let ended = until(&client, &order, "invalid").await;
    assert_eq!(ended.at("/error/type"), "urn:ietf:params:acme:error:rejectedIdentifier");
    assert_eq!(ended.header("retry-after"), None);
    assert!(stand.events().await.iter().any(|e| matches!(e, Event::IssuanceRefused { .. })));
    assert!(stand.certificates().await.is_empty());
}

#[tokio::test]
async fn an_account_closed_meanwhile_gets_no_certificate() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(2500);
    assert_eq!(
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200).state(),
        "processing"
    );
    client.post(&client.kid, &json!({ "status": "deactivated" })).await.expect(200);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(stand.certificates().await.is_empty());
}

#[tokio::test]
async fn signer_errors_are_ours_and_are_tried_again() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    // A quick one: the order stays ready.
    stand.signer.broken.store(true, Ordering::SeqCst);
    let order = ready_order(&client, &["a.test"]).await;
    let csr = csr(&["a.test"], &leaf_key());
    let reply = client.finalize(&order, &csr).await;
    reply.refused(500, "serverInternal");
    assert!(!reply.text().contains("secret"));
    assert_eq!(client.read(&order).await.expect(200).state(), "ready");
    // A slow one: it stays processing, poll after poll, until it works again.
    stand.signer.slow.store(true, Ordering::SeqCst);
    assert_eq!(client.finalize(&order, &csr).await.expect(200).state(), "processing");
    for _ in 0..5 {
        assert_eq!(client.read(&order).await.expect(200).state(), "processing");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stand.signer.broken.store(false, Ordering::SeqCst);
    until(&client, &order, "valid").await;
    assert_eq!(stand.certificates().await.len(), 1);
}
