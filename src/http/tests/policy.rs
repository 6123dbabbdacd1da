//! Policy at the gate, as clients and the operator see it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::client::*;
use crate::acme::star::Offer;
use crate::audit::Event;
use crate::client::admin::{AdminError, call};
use crate::jose::from_base64url;
use crate::limits::Limit;
use crate::limits::gcra::Quota;
use crate::policy::{Facts, Pair, document};
use crate::service::stand::{HOUR, START, Stand, no_limits};
use crate::service::star::RenewalCursor;
use crate::storage::Table;
use crate::time::Timestamp;
use crate::wire::admin::PolicyRefusals;

fn pair(enforced: Option<&str>, audit: Option<&str>) -> Pair {
    let parsed = |text: &str, name| Arc::new(document::parse(text, name).unwrap());
    Pair { enforced: enforced.map(|text| parsed(text, "now")), audit: audit.map(|text| parsed(text, "next")) }
}

#[tokio::test]
async fn names_are_refused_before_anything_is_proved() {
    let deny = "[[allow]]\nname = \"web\"\ndns = \"*.a.test\"\n";
    let stand = Stand::with(|terms| terms.policy = pair(Some(deny), None)).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let order = json!({ "identifiers": identifiers(&["x.a.test", "b.test"]) });
    let refused = client.post(&client.url("new-order"), &order).await;
    let problem = refused.json();
    refused.refused(400, "rejectedIdentifier");
    assert_eq!(problem["subproblems"].as_array().unwrap().len(), 1);
    assert_eq!(problem["subproblems"][0]["identifier"]["value"], "b.test");
    assert!(problem["detail"].as_str().unwrap().contains("\"web\" (line 1)"), "{problem}");
    assert_eq!(stand.rows(Table::Orders).await, 0);
}

#[tokio::test]
async fn the_authority_s_policy_counts_too_and_is_known_to_conditions() {
    let elsewhere = "[[deny]]\ndns = \"*\"\nunless.authority = \"default\"\n";
    let mut stand = Stand::with(|terms| terms.policy = pair(Some(elsewhere), None)).await;
    stand.authority_policy = pair(Some("[[allow]]\ndns = \"*.a.test\"\n"), None);
    stand.restart();
    let app = app(&stand);
    let client = Client::new(&app).await;
    let order = |name: &str| json!({ "identifiers": identifiers(&[name]) });
    let refused = client.post(&client.url("new-order"), &order("b.test")).await;
    refused.refused(400, "rejectedIdentifier");
    let opened = client.post(&client.url("new-order"), &order("x.a.test")).await.expect(201);
    let url = client.prove(&opened).await;
    client.finalize(&url, &csr(&["x.a.test"], &leaf_key())).await.expect(200);

    // One that changes while the order is open is the gate's to heed.
    let opened = client.post(&client.url("new-order"), &order("y.a.test")).await.expect(201);
    let url = client.prove(&opened).await;
    stand.authority_policy = pair(Some("[[allow]]\ndns = \"x.a.test\"\n"), None);
    stand.reload(|_| ());
    client.finalize(&url, &csr(&["y.a.test"], &leaf_key())).await.refused(400, "rejectedIdentifier");
}

#[tokio::test]
async fn what_is_refused_at_the_gate_is_recorded_and_not_signed() {
    let short = "[[deny]]\nname = \"short only\"\nlifetime = \"1h..\"\n";
    let stand = Stand::with(|terms| terms.policy = pair(Some(short), None)).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let before = stand.certificates().await.len();
    let opened =
        client.post(&client.url("new-order"), &json!({ "identifiers": identifiers(&["a.test"]) })).await;
    let opened = opened.expect(201);
    let url = client.prove(&opened).await;
    let refused = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await;
    let problem = refused.json();
    refused.refused(403, "unauthorized");
    assert!(problem["detail"].as_str().unwrap().contains("rule \"short only\" (line 1)"), "{problem}");
    assert_eq!(stand.certificates().await.len(), before, "nothing was signed");
    assert_eq!(stand.rows(Table::PolicyRefusals).await, 1);
    let told = |event: &Event| matches!(event, Event::PolicyRefused { reasons, .. } if reasons.len() == 1);
    assert!(stand.events().await.iter().any(told));
    the_refusal_is_listed(&stand).await;

    // The policy is lifted: the order is as good as before.
    stand.reload(|terms| terms.policy = Pair::default());
    client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(stand.certificates().await.len(), before + 1);
}

#[tokio::test]
async fn an_account_that_policy_refuses_over_and_over_is_slowed_down() {
    let short = "[[deny]]\nlifetime = \"1h..\"\n";
    for slow in [false, true] {
        let stand = Stand::with(|terms| terms.policy = pair(Some(short), None)).await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let mut rules = no_limits();
        rules.set(Limit::AccountFailures, Quota::new(2, HOUR));
        stand.service.limits().reload(rules);
        let client = Client::new(&app(&stand)).await;
        let mut orders = Vec::new();
        for _ in 0..4 {
            let opened = client.order(&["a.test"]).await.expect(201);
            orders.push(client.prove(&opened).await);
        }
        let finalize = async |order: &String| client.finalize(order, &csr(&["a.test"], &leaf_key())).await;
        for (n, order) in orders.iter().enumerate() {
            let reply = finalize(order).await;
            match (n < 2, slow) {
                (true, false) => reply.refused(403, "unauthorized"),
                (true, true) => assert_eq!(reply.expect(200).state(), "invalid"),
                (false, _) => reply.refused(429, "rateLimited"),
            }
        }
        let rows = (stand.rows(Table::PolicyRefusals).await, stand.rows(Table::Audit).await);
        finalize(&orders[3]).await.refused(429, "rateLimited");
        assert_eq!((stand.rows(Table::PolicyRefusals).await, stand.rows(Table::Audit).await), rows);
        assert_eq!(rows.0, 2);
        // Another account is not concerned, and neither is this one for ever.
        let other = Client::new(&client.app).await;
        let opened = other.order(&["a.test"]).await.expect(201);
        let url = other.prove(&opened).await;
        let reply = other.finalize(&url, &csr(&["a.test"], &leaf_key())).await;
        assert_ne!(reply.status.as_u16(), 429, "{}", reply.text());
        stand.reload(|terms| terms.policy = Pair::default());
        let mut rules = no_limits();
        rules.set(Limit::AccountFailures, Quota::new(2, HOUR));
        stand.service.limits().reload(rules);
        stand.clock.advance(HOUR / 2);
        finalize(&orders[3]).await.expect(200);
    }
}

/// Every certificate of a series is signed, and so judged by the policy of its day; one that is there is
/// given again whatever policy says by then, for nothing is signed.
#[tokio::test]
async fn a_stricter_policy_stops_a_series_and_takes_nothing_back() {
    let stand = Stand::with(|terms| {
        terms.reuse_certificates = Some(HOUR);
        terms.auto_renewal =
            Some(Offer { min_lifetime: HOUR, max_duration: 100 * 24 * HOUR, allow_certificate_get: true });
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    let der = client.obtain(&["b.test"], &key).await;
    let series = json!({
        "identifiers": identifiers(&["a.test"]),
        "auto-renewal": {
            "end-date": (START + 48 * HOUR).to_rfc3339(), "lifetime": 9 * 3600, "lifetime-adjust": 0,
        },
    });
    let order = client.post(&client.url("new-order"), &series).await.expect(201);
    let order = client.prove(&order).await;
    let request = csr(&["a.test"], &leaf_key());
    client.finalize(&order, &request).await.expect(200);
    let url = until(&client, &order, "valid").await.at("/star-certificate");
    let first = client.read(&url).await.expect(200).body;

    stand.reload(|terms| terms.policy = pair(Some("[[deny]]\nname = \"no EC\"\nkeys = \"ec-p256\"\n"), None));
    let signed = stand.signer.signed.load(Ordering::SeqCst);
    // Asked once more, and ordered once more: it is there.
    client.finalize(&order, &request).await.expect(200);
    assert_eq!(client.read(&url).await.expect(200).body, first);
    assert_eq!(client.obtain(&["b.test"], &key).await, der);
    stand.clock.advance(9 * HOUR);
    stand.service.renew_due(&mut RenewalCursor::default()).await.unwrap();
    let refused = client.read(&url).await;
    refused.refused(400, "badCSR");
    assert!(refused.text().contains("no EC"), "{}", refused.text());
    assert_eq!(stand.signer.signed.load(Ordering::SeqCst), signed, "nothing was signed");
    assert_eq!(stand.rows(Table::PolicyRefusals).await, 1);
    stand.reload(|terms| terms.policy = Pair::default());
    stand.clock.advance(9 * HOUR);
    assert_ne!(client.read(&url).await.expect(200).body, first);
}

/// A lifetime counts as TTLs do: from issuance, or from a later start.
#[tokio::test]
async fn lifetimes_count_from_issuance_or_a_later_start() {
    let deny = "[[deny]]\nlifetime = \"2h1s..\"\n[[deny]]\nbackdate = \"61s..\"\n";
    let stand = Stand::with(|terms| terms.policy = pair(Some(deny), None)).await;
    let client = Client::new(&app(&stand)).await;
    // The issuer began with the stand, and nothing begins before it.
    stand.clock.advance(HOUR);
    let now = START + HOUR;
    let at = |secs: u64| (now + Duration::from_secs(secs)).to_rfc3339();
    for (dates, want) in [
        (json!({ "notAfter": at(7200) }), 200),
        (json!({ "notAfter": at(7201) }), 403),
        (json!({ "notBefore": at(7200), "notAfter": at(14_400) }), 200),
        (json!({ "notBefore": at(7200), "notAfter": at(14_401) }), 403),
        (json!({ "notBefore": (now - Duration::from_secs(60)).to_rfc3339(), "notAfter": at(3600) }), 200),
        (json!({ "notBefore": (now - Duration::from_secs(61)).to_rfc3339(), "notAfter": at(3600) }), 403),
    ] {
        let mut ask = json!({ "identifiers": identifiers(&["a.test"]) });
        ask.as_object_mut().unwrap().extend(dates.as_object().unwrap().clone());
        let order = client.post(&client.url("new-order"), &ask).await.expect(201);
        let order = client.prove(&order).await;
        let reply = client.finalize(&order, &csr(&["a.test"], &leaf_key())).await;
        assert_eq!(reply.status.as_u16(), want, "{dates}: {}", reply.text());
    }
}

/// An order that policy refuses for its names takes nothing from what the account may open.
#[tokio::test]
async fn orders_that_policy_refuses_count_as_little_as_any_that_is_not_opened() {
    let deny = "[[allow]]\ndns = \"*.a.test\"\n";
    let stand = Stand::with(|terms| terms.policy = pair(Some(deny), None)).await;
    let mut rules = no_limits();
    rules.set(Limit::AccountOrders, Quota::new(2, HOUR));
    rules.open_orders = Some(2);
    stand.service.limits().reload(rules);
    let client = Client::new(&app(&stand)).await;
    let rows = stand.rows(Table::Audit).await;
    for _ in 0..4 {
        client.order(&["b.test"]).await.refused(400, "rejectedIdentifier");
    }
    assert_eq!((stand.rows(Table::Audit).await, stand.rows(Table::PolicyRefusals).await), (rows, 0));
    for _ in 0..2 {
        client.order(&["x.a.test"]).await.expect(201);
    }
    client.order(&["x.a.test"]).await.refused(429, "rateLimited");
}

/// The operator gets it back as it was judged.
async fn the_refusal_is_listed(stand: &Stand) {
    let running = super::admin::serve(stand);
    let get = async |query: &str| -> Result<PolicyRefusals, AdminError> {
        let path = format!("/v1/policy-refusals{query}");
        call(&running.path, hyper::Method::GET, &path, None::<&()>).await
    };
    let refusals = get("").await.unwrap().refusals;
    let [kept] = refusals.as_slice() else { panic!("{refusals:?}") };
    assert_eq!((kept.door.as_str(), kept.provisioner.as_deref()), ("acme", Some("acme")));
    assert!(kept.reasons[0].contains("rule \"short only\" (line 1)"), "{kept:?}");
    let tbs = from_base64url(&kept.tbs).unwrap();
    let judged = Facts::of_tbs(&tbs, stand.service.now()).unwrap();
    assert_eq!(judged.dns.unwrap()[0].text, "a.test");
    let after = Timestamp::parse_rfc3339(&kept.at).unwrap() + Duration::from_secs(1);
    assert!(get(&format!("?since={}", after.to_rfc3339())).await.unwrap().refusals.is_empty());
    assert!(get("?after=1").await.unwrap().refusals.is_empty());
    for bad in ["?after=x", "?since=now", "?limit=1"] {
        assert!(
            matches!(get(bad).await, Err(AdminError::Refused(problem)) if problem.status == 400),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_is_tried_changes_nothing_and_is_recorded() {
    let next = "[[allow]]\ndns = \"b.test\"\n";
    let stand = Stand::with(|terms| terms.policy = pair(None, Some(next))).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let order = json!({ "identifiers": identifiers(&["a.test"]) });
    let opened = client.post(&client.url("new-order"), &order).await.expect(201);
    let url = client.prove(&opened).await;
    client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(stand.rows(Table::PolicyRefusals).await, 0);
    let told = |event: &Event| match event {
        Event::PolicyDiffers { serial: Some(_), tried, .. } => tried[0].policy == "next",
        _ => false,
    };
    assert!(stand.events().await.iter().any(told));
}
