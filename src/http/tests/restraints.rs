//! Fresh keys, and budgets of certificates.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::client::*;
use crate::limits::gcra::Quota;
use crate::provisioner::acme::Terms;
use crate::service::stand::{Fault, HOUR, Stand};
use crate::service::sweep::Cursors;
use crate::storage::Table;

fn fresh(terms: &mut Terms) {
    terms.restraints.fresh_keys = true;
}

fn budget(terms: &mut Terms) {
    terms.restraints.issue_budget = Quota::new(2, HOUR * 24);
}

async fn ready(client: &Client, names: &[&str]) -> String {
    let order = client.order(names).await.expect(201);
    client.prove(&order).await
}

#[tokio::test]
async fn a_key_is_certified_once_where_fresh_keys_are_asked_for() {
    for slow in [false, true] {
        let mut stand = Stand::with(fresh).await;
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
