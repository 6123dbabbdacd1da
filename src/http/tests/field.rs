//! What went wrong with validation elsewhere, seen from a client of this CA: named by the rows of the
//! field's list of failures.

use serde_json::json;

use super::client::*;
use crate::service::stand::{Stand, Step, inconclusive};

/// A resolver's upgrade once stopped a CA for hours (2025-07-21): here it stops only what needs it,
/// ends nothing, and what was begun goes on.
#[tokio::test(start_paused = true)]
async fn field_17_without_a_resolver_renewals_continue_and_orders_wait() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    client.obtain(&["a.test"], &leaf_key()).await;
    // Three attempts a response.
    (0..6).for_each(|_| stand.script.next("b.test", Step::Say(inconclusive())));
    let waiting = client.order(&["b.test"]).await.expect(201);
    let challenge = client.challenge(&waiting.at("/authorizations/0"), "http-01").await;
    for _ in 0..2 {
        client.post(&challenge, &json!({})).await.expect(200);
        let shown = until(&client, &challenge, "pending").await;
        assert_eq!(shown.at("/error/type"), "urn:ietf:params:acme:error:dns");
        client.obtain(&["a.test"], &leaf_key()).await;
    }
    assert_eq!(stand.script.calls("a.test"), 1, "proved once");
    assert_eq!(client.read(&waiting.location()).await.expect(200).state(), "pending");
    // The same order, once the resolver is back.
    client.post(&challenge, &json!({})).await.expect(200);
    until(&client, &waiting.location(), "ready").await;
    client.finalize(&waiting.location(), &csr(&["b.test"], &leaf_key())).await.expect(200);
}

/// What clients write for names is read one way only: what is stored, proved and issued is the same
/// name, and what is not one is refused before anything is stored.
#[tokio::test]
async fn field_31_odd_names_are_refused_or_normal() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let bad = ["*.*.test", "a.*.test", "*", "b\u{fc}cher.test", "a.test.", "a..test", "a\0.test", "a,b.test"];
    let long = [format!("{}.test", "a".repeat(64)), format!("*.{}test", "abcdefgh.".repeat(28))];
    for name in bad.into_iter().chain(long.iter().map(String::as_str)) {
        let refused = client.order(&[name]).await;
        assert_eq!(refused.status, 400, "{name:?}: {}", refused.text());
    }
    assert_eq!(stand.orders().await.len(), 0);
    // Of several spellings of one name, and its wildcard, one authorization each.
    let order = client.order(&["A.Test", "a.test", "*.A.test"]).await.expect(201);
    assert_eq!(order.json()["identifiers"].as_array().unwrap().len(), 2);
    let wild = client.read(&order.at("/authorizations/1")).await.expect(200).json();
    assert_eq!((&wild["identifier"]["value"], &wild["wildcard"]), (&json!("a.test"), &json!(true)));
    let kinds: Vec<_> = wild["challenges"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
    assert_eq!(kinds, ["dns-01"], "nothing else proves a wildcard");
}
