//! Subdomain authorizations (RFC 9444).

use serde_json::{Value, json};

use super::client::*;
use crate::provisioner::acme::{NameRule, Terms};
use crate::service::stand::{HOUR, Stand, Step, failed};
use crate::storage::Table;

fn opted_in(terms: &mut Terms) {
    terms.subdomains = true;
}

/// Identifiers, some with an ancestor.
fn under(names: &[(&str, Option<&str>)]) -> Value {
    let one = |(name, ancestor): &(&str, Option<&str>)| match ancestor {
        Some(ancestor) => json!({ "type": "dns", "value": name, "ancestorDomain": ancestor }),
        None => json!({ "type": "dns", "value": name }),
    };
    json!({ "identifiers": names.iter().map(one).collect::<Value>() })
}

async fn order(client: &Client, names: &[(&str, Option<&str>)]) -> Reply {
    client.post(&client.url("new-order"), &under(names)).await
}

async fn new_authorization(client: &Client, payload: Value) -> Reply {
    client.post(&client.url("new-authz"), &payload).await
}

#[tokio::test]
async fn one_proof_of_an_ancestor_for_all_names_below() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    let directory = get(&client.app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.json()["meta"]["subdomainAuthAllowed"], true);
    let ancestor = Some("example.test");
    let names = ["b.a.example.test", "*.example.test", "example.test", "alone.test"];
    let made = order(
        &client,
        &[(names[0], ancestor), (names[1], Some("Example.TEST")), (names[2], None), (names[3], None)],
    )
    .await
    .expect(201);
    assert_eq!(made.json()["identifiers"], identifiers(&names), "as they were asked for");
    assert_eq!(made.json()["authorizations"].as_array().unwrap().len(), 2);
    let object = client.read(&made.at("/authorizations/0")).await.expect(200).json();
    assert_eq!(object["identifier"], json!({ "type": "dns", "value": "example.test" }));
    assert_eq!((&object["subdomainAuthAllowed"], object.get("wildcard")), (&json!(true), None));
    let kinds: Vec<_> = object["challenges"].as_array().unwrap().iter().map(|c| &c["type"]).collect();
    assert_eq!(kinds, ["dns-01"], "what speaks for one host speaks for no other");
    let alone = client.read(&made.at("/authorizations/1")).await.expect(200).json();
    assert_eq!(alone.get("subdomainAuthAllowed"), None);

    let url = client.prove(&made).await;
    assert_eq!((stand.script.calls("*.example.test"), stand.script.calls("example.test")), (1, 0));
    let key = leaf_key();
    client.finalize(&url, &csr(&names[..3], &key)).await.refused(400, "badCSR");
    client.finalize(&url, &csr(&["x.example.test"], &key)).await.refused(400, "badCSR");
    client.finalize(&url, &csr(&names, &key)).await.expect(200);

    // Held from now on for whatever is below, asked for or not, and for the name itself.
    let again = ["x.example.test", "*.y.example.test", "*.example.test", "example.test"];
    let made = client.order(&again).await.expect(201);
    assert_eq!(made.state(), "ready");
    assert_eq!(made.json()["authorizations"].as_array().unwrap().len(), 1);
    client.finalize(&made.location(), &csr(&again, &key)).await.expect(200);
    assert_eq!(order(&client, &[("z.example.test", ancestor)]).await.expect(201).state(), "ready");
    for apart in ["xexample.test", "test", "*.test", "example.test.alone.test"] {
        assert_eq!(client.order(&[apart]).await.expect(201).state(), "pending", "{apart}");
    }
    // The account's own, and with an end.
    let other = Client::new(&client.app).await;
    assert_eq!(other.order(&["x.example.test"]).await.expect(201).state(), "pending");
    stand.check_held_rows().await.unwrap();
    stand.clock.advance(9 * HOUR);
    assert_eq!(client.order(&["x.example.test"]).await.expect(201).state(), "pending");
}

#[tokio::test]
async fn a_plain_proof_counts_for_its_own_name_only() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    let first = client.order(&["example.test"]).await.expect(201);
    client.prove(&first).await;
    assert_eq!(client.order(&["a.example.test"]).await.expect(201).state(), "pending");
    // To count below it is to be proved anew, by what can speak for all names below.
    let made = order(&client, &[("a.example.test", Some("example.test"))]).await.expect(201);
    assert_eq!(made.state(), "pending");
    let url = client.prove(&made).await;
    assert_eq!(client.read(&url).await.expect(200).state(), "ready");
    stand.check_held_rows().await.unwrap();
}

#[tokio::test]
async fn the_policy_is_for_both_names() {
    let stand = Stand::with(|terms| {
        opted_in(terms);
        terms.allow = vec![NameRule::Under("corp.test".into()), NameRule::Exact("top.test".into())];
        terms.deny = vec![NameRule::Under("secret.corp.test".into()), NameRule::Exact("no.corp.test".into())];
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    // Not allowed themselves: the ancestor, or the name.
    for (name, ancestor) in [
        ("a.corp.test", "corp.test"),
        ("a.no.corp.test", "no.corp.test"),
        ("a.top.test", "top.test"),
        ("a.secret.corp.test", "secret.corp.test"),
        ("x.a.secret.corp.test", "a.secret.corp.test"),
    ] {
        let refused = order(&client, &[(name, Some(ancestor))]).await;
        refused.refused(400, "rejectedIdentifier");
        assert_eq!(refused.json()["subproblems"][0]["identifier"]["value"], name);
    }
    let made = order(&client, &[("b.a.corp.test", Some("a.corp.test"))]).await.expect(201);
    client.prove(&made).await;
    assert_eq!(client.order(&["c.a.corp.test"]).await.expect(201).state(), "ready");
    // Denied afterwards: what is held above no longer helps, and what is ready is not signed.
    let ready = client.order(&["d.a.corp.test"]).await.expect(201).location();
    stand.reload(|terms| terms.deny.push(NameRule::Exact("d.a.corp.test".into())));
    let csr = csr(&["d.a.corp.test"], &leaf_key());
    client.finalize(&ready, &csr).await.refused(400, "rejectedIdentifier");
    stand.reload(|terms| terms.deny = vec![NameRule::Exact("a.corp.test".into())]);
    assert_eq!(client.order(&["e.a.corp.test"]).await.expect(201).state(), "pending");
}

#[tokio::test]
async fn ancestors_that_are_none_are_refused_by_name() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    let bad = [
        ("a.example.test", Some("a.example.test")),
        ("a.example.test", Some("other.test")),
        ("a.example.test", Some("*.example.test")),
        ("a.example.test", Some("ample.test")),
        ("a.example.test", Some("")),
    ];
    for name in bad {
        order(&client, &[name]).await.refused(400, "malformed");
    }
    let several = order(&client, &[("good.test", None), bad[0], ("b.test", Some("x.test"))]).await;
    several.refused(400, "malformed");
    assert_eq!(several.json()["subproblems"].as_array().unwrap().len(), 2);
    let address = json!({ "type": "ip", "value": "10.0.0.1", "ancestorDomain": "test" });
    let url = client.url("new-order");
    client.post(&url, &json!({ "identifiers": [address] })).await.refused(400, "malformed");
    assert_eq!(stand.rows(Table::Orders).await, 0);
}

#[tokio::test]
async fn without_the_option_nothing_of_it_counts() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let directory = get(&client.app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.json()["meta"].get("subdomainAuthAllowed"), None);
    let below = [("a.example.test", Some("example.test"))];
    order(&client, &below).await.refused(400, "rejectedIdentifier");
    let ask = json!({
        "identifier": { "type": "dns", "value": "example.test" }, "subdomainAuthAllowed": true,
    });
    new_authorization(&client, ask.clone()).await.refused(400, "rejectedIdentifier");
    // What was proved while it was on.
    stand.reload(opted_in);
    let made = order(&client, &below).await.expect(201);
    let ready = client.prove(&made).await;
    stand.reload(|terms| terms.subdomains = false);
    assert_eq!(client.order(&["b.example.test"]).await.expect(201).state(), "pending");
    let refused = client.finalize(&ready, &csr(&["a.example.test"], &leaf_key())).await;
    refused.refused(403, "unauthorized");
    assert!(stand.certificates().await.is_empty());
    // Of the name itself it is proof all the same.
    assert_eq!(client.order(&["example.test"]).await.expect(201).state(), "ready");
}

#[tokio::test]
async fn an_ancestor_ahead_of_its_orders_and_given_up() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    let inside = json!({
        "identifier": { "type": "dns", "value": "in.test", "subdomainAuthAllowed": true },
    });
    let beside = json!({ "identifier": { "type": "dns", "value": "by.test" }, "subdomainAuthAllowed": true });
    for (payload, name) in [(inside, "in.test"), (beside, "by.test")] {
        let made = new_authorization(&client, payload.clone()).await.expect(201);
        assert_eq!(made.json()["subdomainAuthAllowed"], true);
        let url = made.location();
        let challenge = client.challenge(&url, "dns-01").await;
        client.post(&challenge, &json!({})).await.expect(200);
        let below = format!("a.{name}");
        let ready = client.order(&[&below]).await.expect(201);
        assert_eq!((ready.state().as_str(), ready.at("/authorizations/0")), ("ready", url.clone()));
        assert_eq!(new_authorization(&client, payload).await.expect(200).location(), url);
        client.post(&url, &json!({ "status": "deactivated" })).await.expect(200);
        client.finalize(&ready.location(), &csr(&[&below], &leaf_key())).await.refused(403, "unauthorized");
        assert_eq!(client.order(&[&below]).await.expect(201).state(), "pending");
    }
    assert!(stand.certificates().await.is_empty());
    assert_eq!(stand.rows(Table::Grants).await, 0);
    let address = json!({
        "identifier": { "type": "ip", "value": "10.0.0.1" }, "subdomainAuthAllowed": true,
    });
    new_authorization(&client, address).await.refused(400, "rejectedIdentifier");
}

#[tokio::test(start_paused = true)]
async fn a_failed_proof_is_told_by_the_ancestors_name() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    (0..3).for_each(|_| stand.script.next("*.example.test", Step::Say(failed())));
    let made = order(&client, &[("a.example.test", Some("example.test"))]).await.expect(201);
    let challenge = client.challenge(&made.at("/authorizations/0"), "dns-01").await;
    client.post(&challenge, &json!({})).await.expect(200);
    let shown = until(&client, &challenge, "invalid").await;
    assert_eq!(shown.at("/error/identifier/value"), "example.test");
    assert_eq!(client.read(&made.location()).await.expect(200).state(), "invalid");
}

/// RFC 8555 §7.6: who holds the authorizations for all of a certificate's names may revoke it.
#[tokio::test]
async fn who_holds_the_ancestor_may_revoke() {
    let stand = Stand::with(opted_in).await;
    let client = Client::new(&app(&stand)).await;
    let der = client.obtain(&["a.example.test"], &leaf_key()).await;
    let other = Client::new(&client.app).await;
    other.revoke(&der, None).await.refused(403, "unauthorized");
    let made = order(&other, &[("z.example.test", Some("example.test"))]).await.expect(201);
    other.prove(&made).await;
    stand.reload(|terms| terms.subdomains = false);
    other.revoke(&der, None).await.refused(403, "unauthorized");
    stand.reload(opted_in);
    other.revoke(&der, None).await.expect(200);
}
