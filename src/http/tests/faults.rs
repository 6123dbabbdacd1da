//! A store that fails at every possible moment, provers and signers that fall over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::client::*;
use crate::limits::Source;
use crate::service::stand::{Fault, Stand, Step, failed, inconclusive};

/// What a client does about each kind of reply: try again when told that it is not its fault.
async fn insist<F: Future<Output = Reply>>(stand: &Stand, fault: Fault, ask: impl Fn() -> F) -> Reply {
    for _ in 0..5 {
        let reply = ask().await;
        if !reply.status.is_server_error() {
            return reply;
        }
        assert!(!reply.text().contains("secret"), "{}", reply.text());
        assert_eq!(reply.problem(), "serverInternal");
        let busy = matches!(fault, Fault::Busy | Fault::NoSpace | Fault::Conflict);
        assert_eq!(reply.status, if busy { 503 } else { 500 }, "{fault:?}");
        assert_eq!(reply.header("retry-after").is_some(), busy);
        assert!(stand.store.struck());
    }
    panic!("it never went through");
}

/// The whole flow with one fault at the nth commit: with retries and the same order it ends well,
/// and nothing that was acknowledged is gone.
async fn flow_with(fault: Fault, at: usize) -> bool {
    let stand = Stand::new().await;
    let app = app(&stand);
    stand.store.fail(at, fault);
    let mut client = Client::stranger(&app);
    let account = insist(&stand, fault, || async { client.register(&json!({})).await }).await;
    client.kid = account.location();
    let names = ["a.test", "b.test"];
    let order = insist(&stand, fault, || client.order(&names)).await.expect(201);
    let url = order.location();
    for authorization in order.json()["authorizations"].as_array().unwrap() {
        let authorization = authorization.as_str().unwrap();
        let challenge = client.challenge(authorization, "http-01").await;
        for _ in 0..20 {
            insist(&stand, fault, || async { client.post(&challenge, &json!({})).await }).await.expect(200);
            let state = client.read(authorization).await.expect(200).state();
            if state == "valid" {
                break;
            }
            assert_eq!(state, "pending");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(client.read(&url).await.expect(200).state(), "ready", "{fault:?} at {at}");
    let csr = csr(&names, &leaf_key());
    let done = insist(&stand, fault, || client.finalize(&url, &csr)).await.expect(200);
    assert_eq!(done.state(), "valid");
    let der = client.download(&done.at("/certificate")).await.remove(0);
    assert_eq!(stand.certificates().await.len(), 1);
    let revoked = insist(&stand, fault, || client.revoke(&der, None)).await;
    assert!(revoked.status == 200 || revoked.problem() == "alreadyRevoked");
    assert!(stand.certificates().await[0].revocation.is_some());
    client.read(&client.kid).await.expect(200);
    stand.check_held_rows().await.unwrap();
    !stand.store.struck()
}

#[tokio::test]
async fn every_fault_at_every_commit() {
    for fault in
        [Fault::Busy, Fault::NoSpace, Fault::Conflict, Fault::Failed, Fault::FailedAfter, Fault::TooLarge]
    {
        let mut at = 0;
        while !flow_with(fault, at).await {
            at += 1;
        }
        assert!(at >= 6, "{fault:?}: {at} commits");
    }
}

#[tokio::test]
async fn account_changes_that_fail_are_not_believed() {
    for fault in [Fault::Busy, Fault::Conflict, Fault::Failed, Fault::FailedAfter] {
        let stand = Stand::new().await;
        let client = Client::new(&app(&stand)).await;
        stand.store.fail(0, fault);
        client.post(&client.kid, &json!({ "status": "deactivated" })).await;
        let after = client.read(&client.kid).await;
        // What the store has is what is shown.
        assert_eq!(after.status, if fault == Fault::FailedAfter { 401 } else { 200 }, "{fault:?}");
    }
}

#[tokio::test]
async fn a_dead_store_says_nothing_of_itself() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.store.down.store(true, Ordering::SeqCst);
    let reply = client.order(&["a.test"]).await;
    reply.refused(500, "serverInternal");
    assert!(!reply.text().contains("secret"));
    assert!(reply.text().contains(reply.header("x-request-id").unwrap()));
    stand.store.down.store(false, Ordering::SeqCst);
    client.order(&["a.test"]).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn inconclusive_attempts_never_end_a_challenge() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    for round in 1..=5 {
        (0..3).for_each(|_| stand.script.next("a.test", Step::Say(inconclusive())));
        // The paused clock may have run past all attempts by the time the reply is made.
        let state = client.post(&challenge, &json!({})).await.expect(200).state();
        assert!(matches!(state.as_str(), "processing" | "pending"), "{state}");
        let shown = until(&client, &challenge, "pending").await;
        assert_eq!(shown.at("/error/detail"), "the resolver is silent");
        assert_eq!(client.read(&authorization).await.expect(200).state(), "pending");
        assert_eq!(stand.script.calls("a.test"), 3 * round);
    }
    // One attempt with a result is enough for one, whatever the others said.
    stand.script.next("a.test", Step::Say(inconclusive()));
    client.post(&challenge, &json!({})).await.expect(200);
    until(&client, &order.location(), "ready").await;

    let order = client.order(&["b.test"]).await.expect(201);
    let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
    [failed(), inconclusive(), inconclusive()]
        .into_iter()
        .for_each(|o| stand.script.next("b.test", Step::Say(o)));
    client.post(&challenge, &json!({})).await.expect(200);
    until(&client, &challenge, "invalid").await;
}

#[tokio::test(start_paused = true)]
async fn a_prover_that_panics_leaves_nothing_stuck() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    // Before anything was stored.
    stand.script.next("a.test", Step::Panic);
    client.post(&challenge, &json!({})).await.refused(500, "serverInternal");
    assert_eq!(client.read(&challenge).await.expect(200).state(), "pending");
    // After it was stored as processing.
    stand.script.next("a.test", Step::After(Duration::from_secs(3), failed()));
    stand.script.next("a.test", Step::Panic);
    assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "processing");
    while stand.script.calls("a.test") < 3 {
        pause().await;
    }
    // The poll sets it going again.
    until(&client, &authorization, "valid").await;
    assert_eq!(stand.script.calls("a.test"), 4);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_could_not_be_stored_is_found_again() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    for fault in [Fault::Busy, Fault::Conflict, Fault::Failed] {
        let name = format!("{fault:?}.test").to_lowercase();
        let order = client.order(&[&name]).await.expect(201);
        let authorization = order.at("/authorizations/0");
        let challenge = client.challenge(&authorization, "http-01").await;
        stand.script.next(&name, Step::After(Duration::from_secs(3), crate::validation::Outcome::Proved));
        // Processing is stored, the result is not.
        stand.store.fail(1, fault);
        assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "processing");
        while !stand.store.struck() {
            pause().await;
        }
        until(&client, &authorization, "valid").await;
        assert_eq!(client.read(&order.location()).await.expect(200).state(), "ready");
        // Processing is not stored: the client hears so, and the challenge is as it was.
        let order = client.order(&[&format!("x{name}")]).await.expect(201);
        let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
        stand.script.next(
            &format!("x{name}"),
            Step::After(Duration::from_secs(3), crate::validation::Outcome::Proved),
        );
        stand.store.fail(0, fault);
        assert!(client.post(&challenge, &json!({})).await.status.is_server_error());
        assert_eq!(client.read(&challenge).await.expect(200).state(), "pending");
        client.post(&challenge, &json!({})).await.expect(200);
        until(&client, &order.location(), "ready").await;
    }
}

#[tokio::test]
async fn an_authorization_that_ended_is_validated_no_more() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    for deactivate in [true, false] {
        let name = format!("{deactivate}.test");
        let order = client.order(&[&name]).await.expect(201);
        let authorization = order.at("/authorizations/0");
        let challenge = client.challenge(&authorization, "http-01").await;
        stand.script.next(&name, Step::After(Duration::from_secs(3), crate::validation::Outcome::Proved));
        assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "processing");
        if deactivate {
            client.post(&authorization, &json!({ "status": "deactivated" })).await.expect(200);
        } else {
            stand.clock.advance(Duration::from_secs(3 * 3600));
        }
        tokio::time::sleep(Duration::from_millis(1200)).await;
        for _ in 0..5 {
            client.read(&authorization).await.expect(200);
            client.read(&challenge).await.expect(200);
            client.post(&challenge, &json!({})).await.expect(200);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let state = client.read(&authorization).await.expect(200).state();
        assert_eq!(state, if deactivate { "deactivated" } else { "expired" });
        assert_eq!(stand.script.calls(&name), 1, "polling sets nothing going");
        assert_eq!(client.read(&order.location()).await.expect(200).state(), "invalid");
    }
}

/// An order and its account may share a lock's stripe; reading the account while the order is held
/// must not wait for itself.
#[tokio::test]
async fn finalize_with_a_cold_account_does_not_lock_itself_out() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let account = crate::id::AccountId::parse(client.kid.rsplit('/').next().unwrap()).unwrap();
    let stripe = |id: &[u8; 16]| u16::from_be_bytes([id[14], id[15]]) % 1024;
    let order = client.order(&["a.test"]).await.expect(201);
    client.prove(&order).await;
    let order = loop {
        let order = client.order(&["a.test"]).await.expect(201).location();
        let id = crate::id::OrderId::parse(order.rsplit('/').next().unwrap()).unwrap();
        if stripe(id.as_bytes()) == stripe(account.as_bytes()) {
            break id;
        }
    };
    stand.service.forget_account(account);
    let terms = stand.service.provisioner("acme").unwrap();
    let csr = csr(&["a.test"], &leaf_key());
    let done = stand.service.finalize(&terms, account, order, &csr, Source::default());
    tokio::time::timeout(Duration::from_secs(5), done).await.expect("no deadlock").unwrap();
}

#[tokio::test]
async fn a_crowded_server_finishes_what_it_began() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let begun = client.order(&["a.test"]).await.expect(201);
    let most = u32::try_from(app.limits.under_way / 2 + 1).unwrap();
    let crowd = app.under_way.clone().acquire_many_owned(most).await.unwrap();
    let refused = client.order(&["b.test"]).await;
    refused.refused(503, "serverInternal");
    assert_eq!(refused.header("retry-after"), Some("2"));
    Client::stranger(&app).register(&json!({})).await.refused(503, "serverInternal");
    let order = client.prove(&begun).await;
    client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    drop(crowd);
    client.order(&["b.test"]).await.expect(201);
}
