//! Challenges beyond RFC 8555's own, and CAA, as clients see them.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::*;
use crate::acme::challenge::ChallengeKind::{DnsAccount01, DnsPersist01, Http01};
use crate::provisioner::acme::Terms;
use crate::service::stand::{HOUR, START, Stand, Step};
use crate::validation::{Consent, Outcome};

fn with_kinds(terms: &mut Terms) {
    terms.challenges = vec![Http01, DnsAccount01, DnsPersist01];
    terms.issuer_domains = vec!["ca.test".to_owned()];
}

async fn meta(client: &Client) -> Value {
    get(&client.app, &path_of(&client.url("directory"))).await.expect(200).json()["meta"].clone()
}

#[tokio::test]
async fn a_challenge_without_a_token_says_whom_to_name_instead() {
    let stand = Stand::with(with_kinds).await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = client.read(&order.at("/authorizations/0")).await.expect(200).json();
    let challenges = authorization["challenges"].as_array().unwrap();
    let kinds: Vec<_> = challenges.iter().map(|challenge| challenge["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["http-01", "dns-account-01", "dns-persist-01"]);
    let tokens: Vec<_> = challenges.iter().map(|challenge| challenge["token"].is_string()).collect();
    assert_eq!(tokens, [true, true, false]);
    let persist = challenges[2].as_object().unwrap();
    let members: Vec<_> = persist.keys().map(String::as_str).collect();
    // By the name of the current draft, and by that of the earlier ones.
    assert_eq!(members, ["issuer-domain-names", "issuerDomainNames", "status", "type", "url"]);
    assert_eq!(persist["issuerDomainNames"], json!(["ca.test"]));
    assert_eq!(persist["issuer-domain-names"], json!(["ca.test"]));
    assert!(challenges[..2].iter().all(|challenge| challenge.get("issuerDomainNames").is_none()));

    let url = persist["url"].as_str().unwrap();
    assert_eq!(client.read(url).await.expect(200).json(), challenges[2]);
    let answered = client.post(url, &json!({})).await.expect(200).json();
    assert_eq!(answered["status"], "valid");
    assert!(answered.get("token").is_none());
}

#[tokio::test]
async fn the_directory_tells_what_records_are_to_say() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    assert_eq!(meta(&client).await, json!({ "externalAccountRequired": false }), "nothing unless asked for");
    stand.reload(|terms| {
        with_kinds(terms);
        terms.caa = true;
        terms.caa_identities = vec!["ca.test".to_owned(), "b.test".to_owned()];
    });
    let want = json!({
        "externalAccountRequired": false,
        "caaIdentities": ["ca.test", "b.test"],
        "issuerDomainNames": ["ca.test"],
        "accountHashPrefix": format!("{BASE}/acme/acme/account-hash/"),
        "keyRotationPeriod": 0,
    });
    assert_eq!(meta(&client).await, want);
}

/// To the letter: the label of dns-account-01, hashed URIs and CAA all hang on it.
#[tokio::test]
async fn validation_has_the_account_s_url_as_the_client_has_it() {
    let stand = Stand::with(with_kinds).await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "dns-persist-01").await;
    client.post(&challenge, &json!({})).await.expect(200);
    let asks = stand.script.asks();
    let [ask] = asks.as_slice() else { panic!("{asks:?}") };
    assert_eq!(ask.account_url, client.kid);
    let persist = ask.persist.as_ref().unwrap();
    assert_eq!(ask.key_authorization, format!("{}.{}", ask.token, persist.thumbprint));
    assert_eq!(persist.account_hash_prefix, meta(&client).await["accountHashPrefix"]);
    assert_eq!(ask.now, START);

    let mut foreign = Client::stranger(&client.app);
    foreign.base = format!("{BASE}/acme/other");
    foreign.kid = foreign.register(&json!({})).await.expect(201).location();
    let order = foreign.order(&["a.test"]).await.expect(201);
    foreign.prove(&order).await;
    let asks = stand.script.asks();
    assert_eq!((&asks[1].account_url, &asks[1].persist), (&foreign.kid, &None));
}

/// "A CA MUST NOT … reuse validation data previously obtained from it": the proof ends with the record.
#[tokio::test]
async fn a_record_s_end_is_the_authorization_s() {
    let stand = Stand::with(with_kinds).await;
    let client = Client::new(&app(&stand)).await;
    stand.script.next("a.test", Step::Say(Outcome::ProvedUntil(START + HOUR)));
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "dns-persist-01").await;
    client.post(&challenge, &json!({})).await.expect(200);
    let shown = client.read(&authorization).await.expect(200);
    assert_eq!((shown.state().as_str(), shown.at("/expires")), ("valid", (START + HOUR).to_rfc3339()));
    let again = client.order(&["a.test"]).await.expect(201);
    assert_eq!((again.state().as_str(), again.at("/expires")), ("ready", (START + HOUR).to_rfc3339()));

    stand.clock.advance(HOUR);
    assert_eq!(client.read(&order.location()).await.expect(200).state(), "invalid");
    let csr = csr(&["a.test"], &leaf_key());
    for order in [order, again] {
        client.finalize(&order.location(), &csr).await.refused(403, "orderNotReady");
    }
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending");
    assert_eq!(stand.certificates().await.len(), 0);
}

#[tokio::test]
async fn caa_refusals_have_a_type_of_their_own() {
    let stand = Stand::with(|terms| {
        terms.caa = true;
        terms.caa_identities = vec!["ca.test".to_owned()];
    })
    .await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test", "b.test"]).await.expect(201);
    let order = client.prove(&order).await;
    let csr = csr(&["a.test", "b.test"], &leaf_key());
    stand.script.caa_says("b.test", Consent::Forbidden("b.test is closed".into()));
    let refused = client.finalize(&order, &csr).await;
    refused.refused(403, "caa");
    assert_eq!(refused.at("/subproblems/0/identifier/value"), "b.test");
    assert_eq!(refused.at("/subproblems/0/detail"), "b.test is closed");
    stand.script.caa_says("b.test", Consent::Unknown("silent".into()));
    let put_off = client.finalize(&order, &csr).await;
    assert_eq!(put_off.status, 503);
    assert!(put_off.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
    assert_eq!(client.read(&order).await.expect(200).state(), "ready");
    stand.script.caa_says("b.test", Consent::Permitted);
    client.finalize(&order, &csr).await.expect(200);
}

/// CAA that forbids at the time of validation ends the challenge at once, without further attempts.
#[tokio::test]
async fn caa_at_validation_is_a_caa_problem() {
    use crate::validation::{Failure, FailureKind};
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let closed = Failure { kind: FailureKind::Caa, detail: "closed".into() };
    stand.script.next("a.test", Step::After(Duration::from_millis(1), Outcome::Failed(closed)));
    let order = client.order(&["a.test"]).await.expect(201);
    let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
    let answered = client.post(&challenge, &json!({})).await.expect(200);
    assert_eq!(answered.state(), "invalid");
    assert_eq!(answered.at("/error/type"), "urn:ietf:params:acme:error:caa");
    assert_eq!(stand.script.calls("a.test"), 1);
}

/// What the issuer's own chain forbids is refused when the order is opened, and what was proved before
/// the chain changed is refused when it is signed.
#[tokio::test]
async fn name_constraints_of_the_issuer() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let early = client.order(&["b.test"]).await.expect(201);
    client.prove(&early).await;
    stand.constrain(&["a.test"]);
    let client = client.moved(&app(&stand));
    for names in [&["b.test"][..], &["x.a.test", "b.test"], &["*.test"]] {
        let refused = client.order(names).await;
        refused.refused(400, "rejectedIdentifier");
        let problem = refused.json();
        assert_eq!(problem["subproblems"].as_array().unwrap().len(), 1, "{problem}");
        let detail = problem["subproblems"][0]["detail"].as_str().unwrap();
        assert!(detail.contains("issuer's certificate permits (DNS a.test)"), "{detail}");
    }
    // Ahead of any order as well.
    for (name, status) in [("b.test", 400), ("x.a.test", 201)] {
        let ask = json!({ "identifier": { "type": "dns", "value": name } });
        let answered = client.post(&client.url("new-authz"), &ask).await;
        assert_eq!(answered.status.as_u16(), status, "{name}");
        if status == 400 {
            answered.refused(400, "rejectedIdentifier");
            let detail = answered.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("issuer's certificate permits (DNS a.test)"), "{detail}");
        }
    }
    client.obtain(&["a.test", "*.x.a.test"], &leaf_key()).await;
    let late = client.finalize(&early.location(), &csr(&["b.test"], &leaf_key())).await;
    late.refused(400, "rejectedIdentifier");
    assert_eq!(stand.certificates().await.len(), 1);
}
