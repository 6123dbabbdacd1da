//! Fresh keys, and budgets of certificates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::client::*;
use crate::acme::order::Lifetimes;
use crate::acme::star::Offer;
use crate::limits::gcra::Quota;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::{LeafRules, Profile, Restraints, Rules};
use crate::service::stand::{Fault, HOUR, START, Stand};
use crate::service::star::RenewalCursor;
use crate::service::sweep::Cursors;
use crate::storage::{Batch, CommitOutcome, Table, inventory};

fn fresh(terms: &mut Terms) {
    terms.restraints.fresh_keys = true;
}

fn budget(terms: &mut Terms) {
    terms.restraints.issue_budget = Quota::new(2, HOUR * 24);
}

/// The certificate index of a start is complete: until then, fresh keys are not told from others.
async fn indexed(stand: &Stand) {
    while stand.service.build_index().await.unwrap() {}
}

async fn ready(client: &Client, names: &[&str]) -> String {
    let order = client.order(names).await.expect(201);
    client.prove(&order).await
}

#[tokio::test]
async fn a_key_is_certified_once_where_fresh_keys_are_asked_for() {
    for slow in [false, true] {
        let mut stand = Stand::with(fresh).await;
        indexed(&stand).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Client::new(&app(&stand)).await;
        let key = leaf_key();
        let first = ready(&client, &["a.test"]).await;
        let request = csr(&["a.test"], &key);
        client.finalize(&first, &request).await.expect(200);
        until(&client, &first, "valid").await;
        // The same request once more is answered as before.
        client.finalize(&first, &request).await.expect(200);
        stand.restart();
        indexed(&stand).await;
        let client = client.moved(&app(&stand));
        // Another order, other names: refused, and open for another key.
        let second = ready(&client, &["b.test"]).await;
        let no = client.finalize(&second, &csr(&["b.test"], &key)).await;
        no.refused(400, "badCSR");
        assert!(no.text().contains("make a new key"), "{}", no.text());
        client.finalize(&second, &csr(&["b.test"], &leaf_key())).await.expect(200);
        until(&client, &second, "valid").await;
        // A provisioner that does not ask for it takes the key; what it certified counts all the same.
        let mut other = Client::stranger(&client.app);
        other.base = format!("{BASE}/acme/other");
        other.kid = other.register(&json!({})).await.expect(201).location();
        let elsewhere = leaf_key();
        for key in [&key, &elsewhere] {
            let order = ready(&other, &["c.test"]).await;
            other.finalize(&order, &csr(&["c.test"], key)).await.expect(200);
            until(&other, &order, "valid").await;
        }
        let third = ready(&client, &["d.test"]).await;
        client.finalize(&third, &csr(&["d.test"], &elsewhere)).await.refused(400, "badCSR");
    }
}

#[tokio::test]
async fn of_many_that_race_with_one_key_one_wins() {
    for slow in [false, true] {
        let stand = Stand::with(fresh).await;
        indexed(&stand).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Arc::new(Client::new(&app(&stand)).await);
        let key = leaf_key();
        let mut orders = Vec::new();
        for n in 0..8 {
            let name = format!("n{n}.test");
            orders.push((ready(&client, &[&name]).await, csr(&[&name], &key)));
        }
        *stand.store.commit_delay.lock().unwrap() = Duration::from_millis(20);
        let mut finalizing = JoinSet::new();
        for (order, csr) in orders.clone() {
            let client = client.clone();
            finalizing.spawn(async move { client.finalize(&order, &csr).await });
        }
        let replies = finalizing.join_all().await;
        *stand.store.commit_delay.lock().unwrap() = Duration::ZERO;
        for reply in replies {
            assert!([200, 400].contains(&reply.status.as_u16()), "{}", reply.text());
        }
        for (order, _) in &orders {
            while client.read(order).await.expect(200).state() == "processing" {
                pause().await;
            }
        }
        assert_eq!(stand.certificates().await.len(), 1, "slow: {slow}");
    }
}

#[tokio::test]
async fn a_certificate_given_again_heeds_neither() {
    let stand = Stand::with(|terms| {
        fresh(terms);
        budget(terms);
        terms.reuse_certificates = Some(Duration::from_secs(600));
    })
    .await;
    indexed(&stand).await;
    for slow in [false, true] {
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Client::new(&app(&stand)).await;
        let key = leaf_key();
        let der = client.obtain(&["a.test"], &key).await;
        for _ in 0..4 {
            assert_eq!(client.obtain(&["a.test"], &key).await, der);
        }
        // Signed for another key, it counts; the third does not come about, and the first still does.
        client.obtain(&["a.test"], &leaf_key()).await;
        let order = ready(&client, &["a.test"]).await;
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.refused(429, "rateLimited");
        assert_eq!(client.obtain(&["a.test"], &key).await, der);
    }
}

#[tokio::test]
async fn a_budget_says_when_it_has_the_next_and_survives_restarts() {
    for slow in [false, true] {
        let mut stand = Stand::with(budget).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Client::new(&app(&stand)).await;
        // Opened before the budget is used up.
        let early = ready(&client, &["a.test", "b.test"]).await;
        for _ in 0..2 {
            client.obtain(&["b.test", "a.test"], &leaf_key()).await;
        }
        stand.restart();
        let client = client.moved(&app(&stand));
        let no = client.order(&["a.test", "b.test"]).await;
        no.refused(429, "rateLimited");
        let wait: u64 = no.header("retry-after").unwrap().parse().unwrap();
        assert!((43_000..=43_200).contains(&wait), "12 h: {wait}");
        for words in ["issue_budget", "2 per 24 h", "the same names"] {
            assert!(no.text().contains(words), "{words}: {}", no.text());
        }
        client.finalize(&early, &csr(&["a.test", "b.test"], &leaf_key())).await.refused(429, "rateLimited");
        // Other names and other accounts have budgets of their own.
        client.obtain(&["a.test"], &leaf_key()).await;
        Client::new(&client.app).await.obtain(&["a.test", "b.test"], &leaf_key()).await;
        stand.clock.advance(Duration::from_secs(wait));
        client.obtain(&["a.test", "b.test"], &leaf_key()).await;
        client.order(&["a.test", "b.test"]).await.refused(429, "rateLimited");
        // Rows go when the budgets are whole again.
        assert_eq!(stand.rows(Table::IssueBudgets).await, 3);
        let (mut cursors, day) = (Cursors::default(), HOUR * 24);
        stand.service.sweep(&mut cursors, day * 90).await.unwrap();
        assert_eq!(stand.rows(Table::IssueBudgets).await, 1);
        stand.clock.advance(day);
        stand.service.sweep(&mut cursors, day * 90).await.unwrap();
        assert_eq!(stand.rows(Table::IssueBudgets).await, 0);
    }
}

#[tokio::test]
async fn what_fails_is_not_spent() {
    let stand = Stand::with(budget).await;
    let client = Client::new(&app(&stand)).await;
    for fault in [Fault::Busy, Fault::Conflict] {
        let order = ready(&client, &["a.test"]).await;
        stand.store.fail(0, fault);
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(503);
        assert!(stand.store.struck());
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    }
    client.order(&["a.test"]).await.refused(429, "rateLimited");
    assert_eq!(stand.certificates().await.len(), 2);
}

#[tokio::test]
async fn fresh_keys_wait_for_the_index_of_old_certificates() {
    for slow in [false, true] {
        let mut stand = Stand::with(fresh).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        indexed(&stand).await;
        let client = Client::new(&app(&stand)).await;
        let key = leaf_key();
        client.obtain(&["a.test"], &key).await;
        // A store from before there was an index: nobody knows yet which keys were certified.
        let mut batch = Batch::new();
        for table in [Table::CertificateIndex, Table::Meta] {
            for (row, _) in stand.store.inner.scan(table, &[], None, 1000).await.unwrap() {
                if table == Table::CertificateIndex || row == inventory::STATE_KEY {
                    batch = batch.delete(table, row);
                }
            }
        }
        assert!(matches!(stand.store.inner.commit(batch).await.unwrap(), CommitOutcome::Committed(_)));
        stand.restart();
        let client = client.moved(&app(&stand));
        let order = ready(&client, &["b.test"]).await;
        for unknown in [csr(&["b.test"], &key), csr(&["b.test"], &leaf_key())] {
            let later = client.finalize(&order, &unknown).await.expect(503);
            assert!(later.header("retry-after").is_some(), "{}", later.text());
        }
        indexed(&stand).await;
        client.finalize(&order, &csr(&["b.test"], &key)).await.refused(400, "badCSR");
        client.finalize(&order, &csr(&["b.test"], &leaf_key())).await.expect(200);
        until(&client, &order, "valid").await;
    }
}

#[tokio::test]
async fn a_series_counts_as_one_certificate() {
    for slow in [false, true] {
        let stand = Stand::with(|terms| {
            budget(terms);
            terms.auto_renewal = Some(Offer {
                min_lifetime: HOUR,
                max_duration: 100 * 24 * HOUR,
                allow_certificate_get: false,
            });
        })
        .await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let client = Client::new(&app(&stand)).await;
        let series = json!({
            "identifiers": identifiers(&["a.test"]),
            "auto-renewal": { "end-date": (START + 48 * HOUR).to_rfc3339(), "lifetime": 9 * 3600 },
        });
        // Opened before the budget is used up.
        let early = client.post(&client.url("new-order"), &series).await.expect(201);
        let early = client.prove(&early).await;
        let first = client.post(&client.url("new-order"), &series).await.expect(201);
        let first = client.prove(&first).await;
        client.finalize(&first, &csr(&["a.test"], &leaf_key())).await.expect(200);
        until(&client, &first, "valid").await;
        client.obtain(&["a.test"], &leaf_key()).await;
        client.post(&client.url("new-order"), &series).await.refused(429, "rateLimited");
        client.finalize(&early, &csr(&["a.test"], &leaf_key())).await.refused(429, "rateLimited");
        assert_eq!(stand.certificates().await.len(), 2);
        // What was agreed goes on.
        stand.clock.advance(9 * HOUR);
        stand.service.renew_due(&mut RenewalCursor::default()).await.unwrap();
        assert_eq!(stand.certificates().await.len(), 3, "slow: {slow}");
    }
}

#[tokio::test]
async fn a_profile_with_a_budget_of_its_own_counts_for_itself_and_beside() {
    let profile = |restraints| {
        let lifetimes = Lifetimes { default: HOUR * 24, min: HOUR, max: HOUR * 24 };
        Profile { description: "d".into(), rules: Rules { lifetimes, leaf: LeafRules::usual() }, restraints }
    };
    let stand = Stand::with(|terms| {
        budget(terms);
        let shared = terms.restraints;
        let own = Restraints { profile_budget: Quota::new(1, HOUR), ..shared };
        let instead = Restraints { issue_budget: None, ..own };
        for (name, restraints) in [("plain", shared), ("both", own), ("instead", instead)] {
            terms.profiles.offered.insert(name.into(), profile(restraints));
        }
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let order = async |profile: &str| {
        let payload = json!({ "identifiers": identifiers(&["a.test"]), "profile": profile });
        client.post(&client.url("new-order"), &payload).await
    };
    let obtain = async |profile: &str| {
        let url = client.prove(&order(profile).await.expect(201)).await;
        client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    };
    obtain("instead").await;
    order("instead").await.refused(429, "rateLimited");
    obtain("both").await;
    let no = order("both").await;
    no.refused(429, "rateLimited");
    assert!(no.text().contains("1 per 1 h"), "{}", no.text());
    obtain("plain").await;
    // Two of the shared budget: the rest of "both" would be there in an hour.
    stand.clock.advance(HOUR);
    for profile in ["both", "plain"] {
        let no = order(profile).await;
        no.refused(429, "rateLimited");
        assert!(no.text().contains("2 per 24 h"), "{}", no.text());
    }
    obtain("instead").await;
    assert_eq!(stand.rows(Table::IssueBudgets).await, 3);
}

#[tokio::test]
async fn who_waits_as_long_as_was_said_gets_a_certificate_also_after_a_change_of_quota() {
    let stand = Stand::with(|terms| terms.restraints.issue_budget = Quota::new(2, HOUR * 240)).await;
    let client = Client::new(&app(&stand)).await;
    for _ in 0..2 {
        client.obtain(&["a.test"], &leaf_key()).await;
    }
    stand.reload(|terms| terms.restraints.issue_budget = Quota::new(2, HOUR));
    let no = client.order(&["a.test"]).await;
    no.refused(429, "rateLimited");
    let wait: u64 = no.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    stand.clock.advance(Duration::from_secs(wait));
    client.obtain(&["a.test"], &leaf_key()).await;
}

#[tokio::test]
async fn behind_a_slow_signer_the_loser_of_a_race_for_the_budget_fails() {
    let stand = Stand::with(|terms| terms.restraints.issue_budget = Quota::new(1, HOUR)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let client = Arc::new(Client::new(&app(&stand)).await);
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(ready(&client, &["a.test"]).await);
    }
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(300);
    let mut finalizing = JoinSet::new();
    for order in orders.clone() {
        let client = client.clone();
        finalizing
            .spawn(async move { client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200) });
    }
    // Nobody who asks early waits for the signer.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let begun = std::time::Instant::now();
    client.order(&["a.test"]).await.expect(201);
    assert!(begun.elapsed() < Duration::from_millis(200));
    let replies = finalizing.join_all().await;
    let states: Vec<String> = replies.iter().map(Reply::state).collect();
    let count = |state: &str| states.iter().filter(|each| *each == state).count();
    assert_eq!((count("valid"), count("invalid")), (1, 3), "{states:?}");
    let lost = replies.iter().find(|reply| reply.state() == "invalid").unwrap();
    assert!(lost.at("/error/type").ends_with(":rateLimited"), "{}", lost.text());
    assert_eq!(stand.certificates().await.len(), 1);
}
