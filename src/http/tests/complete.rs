//! What RFC 8555 has beside the straight way to a certificate.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::*;
use crate::acme::order::{ChallengeState, Finish};
use crate::provisioner::acme::NameRule;
use crate::service::account_orders::PAGE;
use crate::service::stand::{HOUR, Stand, Step, inconclusive};
use crate::service::sweep::Cursors;
use crate::storage::Table;
use crate::validation::{Failure, FailureKind, Outcome};

/// The URL of a `Link` with that relation.
fn link(reply: &Reply, relation: &str) -> Option<String> {
    links(reply, relation).pop()
}

fn links(reply: &Reply, relation: &str) -> Vec<String> {
    let all = reply.headers.get_all("link").iter().map(|link| link.to_str().unwrap());
    let end = format!(">;rel=\"{relation}\"");
    all.filter_map(|link| Some(link.strip_suffix(&end)?.strip_prefix('<')?.to_owned())).collect()
}

fn listed(page: &Reply) -> Vec<String> {
    let orders = page.json()["orders"].as_array().unwrap().clone();
    orders.iter().map(|url| url.as_str().unwrap().to_owned()).collect()
}

async fn sweep_all(stand: &Stand) {
    let mut cursors = Cursors::default();
    while stand.service.sweep(&mut cursors, HOUR).await.unwrap().more {}
}

#[tokio::test]
async fn orders_are_listed_a_page_at_a_time() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (client, other) = (Client::new(&app).await, Client::new(&app).await);
    let url = client.read(&client.kid).await.expect(200).at("/orders");
    assert_eq!(listed(&client.read(&url).await.expect(200)), Vec::<String>::new());
    other.order(&["other.test"]).await.expect(201);
    let mut want = BTreeSet::new();
    for n in 0..2 * PAGE + 30 {
        want.insert(client.order(&[&format!("n{n}.test")]).await.expect(201).location());
    }
    // Proved and issued ones are listed too, an invalid one is not.
    let order = client.order(&["issued.test"]).await.expect(201);
    let order = client.prove(&order).await;
    client.finalize(&order, &csr(&["issued.test"], &leaf_key())).await.expect(200);
    want.insert(order);
    let gone = client.order(&["gone.test"]).await.expect(201);
    let authorization = gone.at("/authorizations/0");
    client.post(&authorization, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(client.read(&gone.location()).await.expect(200).state(), "invalid");

    let (mut seen, mut pages, mut next) = (BTreeSet::new(), 0, Some(url.clone()));
    while let Some(page) = next {
        let page = client.read(&page).await.expect(200);
        let orders = listed(&page);
        assert!(orders.len() <= PAGE);
        for order in orders {
            assert!(seen.insert(order), "once each");
        }
        assert!(link(&page, "index").is_some());
        next = link(&page, "next");
        pages += 1;
    }
    assert_eq!((seen, pages), (want, 3));

    other.read(&url).await.refused(403, "unauthorized");
    client.post(&url, &json!({})).await.refused(400, "malformed");
    get(&client.app, &path_of(&url)).await.refused(405, "malformed");
    client.read(&format!("{url}/x")).await.refused(404, "malformed");

    // Nothing but invalid ones: empty pages, each of bounded work, up to the end.
    stand.clock.advance(3 * HOUR);
    let first = client.read(&url).await.expect(200);
    let before = stand.store.reads.load(Ordering::SeqCst);
    let second = client.read(&link(&first, "next").unwrap()).await.expect(200);
    assert!(stand.store.reads.load(Ordering::SeqCst) - before <= PAGE + 1);
    assert_eq!(listed(&second), Vec::<String>::new());
    // And they go with their orders.
    stand.clock.advance(8 * HOUR);
    sweep_all(&stand).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::AccountOrders).await), (0, 0));
    assert_eq!(link(&client.read(&url).await.expect(200), "next"), None);
}

async fn new_authorization(client: &Client, payload: Value) -> Reply {
    client.post(&client.url("new-authz"), &payload).await
}

#[tokio::test]
async fn an_authorization_ahead_of_its_order() {
    let stand = Stand::with(|terms| terms.deny = vec![NameRule::Under("secret.test".into())]).await;
    let client = Client::new(&app(&stand)).await;
    let directory = get(&client.app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.at("/newAuthz"), client.url("new-authz"));
    let ask = |name: &str| json!({ "identifier": { "type": "dns", "value": name } });
    let made = new_authorization(&client, ask("A.test")).await.expect(201);
    let url = made.location();
    assert_eq!(made.state(), "pending");
    assert_eq!(made.json()["identifier"], json!({ "type": "dns", "value": "a.test" }));
    assert_eq!(made.json()["challenges"].as_array().unwrap().len(), 3);
    assert_eq!(client.read(&url).await.expect(200).json(), made.json());
    // What keeps it is no order.
    let id = url.rsplit('/').nth(1).unwrap();
    let as_order = client.url(&format!("order/{id}"));
    client.read(&as_order).await.refused(404, "malformed");
    client.finalize(&as_order, &csr(&["a.test"], &leaf_key())).await.refused(404, "malformed");
    assert_eq!(
        listed(&client.read(&format!("{}/orders", client.kid)).await.expect(200)),
        Vec::<String>::new()
    );
    // A pending one is of no use to an order; a proved one is.
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending");
    let challenge = client.challenge(&url, "http-01").await;
    assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "valid");
    client.read(&as_order).await.refused(404, "malformed");
    client.finalize(&as_order, &csr(&["a.test"], &leaf_key())).await.refused(404, "malformed");
    let order = client.order(&["a.test"]).await.expect(201);
    assert_eq!((order.state().as_str(), order.at("/authorizations/0")), ("ready", url.clone()));
    client.finalize(&order.location(), &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(stand.script.calls("a.test"), 1);
    // Asked for again, it is the same one.
    let again = new_authorization(&client, ask("a.test")).await.expect(200);
    assert_eq!((again.location(), again.state().as_str()), (url.clone(), "valid"));
    // Nobody else's.
    let other = Client::new(&client.app).await;
    other.read(&url).await.refused(404, "malformed");
    assert_eq!(new_authorization(&other, ask("a.test")).await.expect(201).state(), "pending");
    // Given up, it counts no more.
    client.post(&url, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending");
    stand.check_held_rows().await.unwrap();

    let address = json!({ "identifier": { "type": "ip", "value": "10.0.0.7" } });
    new_authorization(&client, address).await.expect(201);
    for (payload, kind) in [
        (ask("*.a.test"), "malformed"),
        (ask(""), "malformed"),
        (ask("x.secret.test"), "rejectedIdentifier"),
        (json!({ "identifier": { "type": "email", "value": "a@b.test" } }), "unsupportedIdentifier"),
        (json!({ "identifier": { "type": "dns" } }), "malformed"),
        (json!({ "identifier": [] }), "malformed"),
        (json!({}), "malformed"),
        (
            json!({ "identifier": { "type": "dns", "value": "a.test", "ancestorDomain": "test" } }),
            "malformed",
        ),
    ] {
        new_authorization(&client, payload).await.refused(400, kind);
    }
    client.read(&client.url("new-authz")).await.refused(400, "malformed");
    // It goes like an order, with the row of its proof.
    let made = new_authorization(&client, ask("b.test")).await.expect(201);
    let challenge = client.challenge(&made.location(), "dns-01").await;
    client.post(&challenge, &json!({})).await.expect(200);
    stand.clock.advance(11 * HOUR);
    sweep_all(&stand).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (0, 0));
}

#[tokio::test]
async fn no_authorization_ahead_where_no_proof_is_used_again() {
    for off in [true, false] {
        let stand = Stand::with(|terms| {
            if off {
                terms.pre_authorization = false;
            } else {
                terms.authorization_ttl = Duration::ZERO;
            }
        })
        .await;
        let client = Client::new(&app(&stand)).await;
        let directory = get(&client.app, "/acme/acme/directory").await.expect(200);
        assert_eq!(directory.json().get("newAuthz"), None);
        let ask = json!({ "identifier": { "type": "dns", "value": "a.test" } });
        new_authorization(&client, ask).await.refused(404, "malformed");
        assert_eq!(stand.rows(Table::Orders).await, 0);
    }
}

#[tokio::test]
async fn browsers_may_call_acme_resources_and_nothing_else() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    let open = |reply: &Reply| {
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let exposed = reply.header("access-control-expose-headers").unwrap();
        for name in ["Replay-Nonce", "Link", "Location", "Retry-After"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    };
    open(&order);
    let resources = ["directory", "new-nonce", "new-account", "new-order", "new-authz", "revoke-cert"];
    let mut urls: Vec<String> = resources.iter().map(|rest| client.url(rest)).collect();
    urls.extend([client.kid.clone(), format!("{}/orders", client.kid), order.location(), authorization]);
    urls.extend([challenge, client.url("key-change"), order.at("/finalize")]);
    for url in &urls {
        let asking = [
            ("origin", "https://app.test"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type"),
        ];
        let reply = send(&client.app, "OPTIONS", &path_of(url), &asking, "").await.expect(204);
        open(&reply);
        assert!(reply.body.is_empty() && reply.header("content-type").is_none());
        assert!(reply.header("access-control-allow-methods").unwrap().ends_with("POST"), "{url}");
        assert_eq!(reply.header("access-control-allow-headers"), Some("Content-Type"));
        assert_eq!(reply.header("access-control-max-age"), Some("86400"));
        assert_eq!(reply.header("replay-nonce"), None, "a preflight uses up nothing");
        // Refusals are to be read too.
        open(&send(&client.app, "DELETE", &path_of(url), &[], "").await);
        open(&client.raw(url, "junk").await);
    }
    open(&get(&client.app, "/acme/acme/directory").await);
    for path in ["/health", "/roots.pem", "/acme/acme/nothing", "/nothing"] {
        let reply = get(&client.app, path).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
        assert!(matches!(send(&client.app, "OPTIONS", path, &[], "").await.status.as_u16(), 404 | 405));
    }
}

#[tokio::test]
async fn alternate_chains_are_linked_and_served() {
    let mut stand = Stand::new().await;
    let other = stand.cross_sign(1000 * HOUR).await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let order = client.prove(&order).await;
    let done = client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    let url = done.at("/certificate");
    let first = client.read(&url).await.expect(200);
    let alternate = format!("{url}/1");
    assert_eq!(links(&first, "alternate"), [alternate.as_str()]);
    assert_eq!(links(&first, "index"), [client.url("directory")]);
    let second = client.read(&alternate).await.expect(200);
    assert_eq!(links(&second, "alternate"), [url.as_str()]);
    let (ours, theirs) = (client.download(&url).await, client.download(&alternate).await);
    assert_eq!(ours[0], theirs[0], "the same certificate");
    assert_eq!(ours[1..], *std::slice::from_ref(&stand.hierarchy.intermediate_der));
    assert_eq!(theirs[1..], *std::slice::from_ref(&other.intermediate_der));
    let roots = std::slice::from_ref(&other.root_der);
    crate::authority::chain::check(&theirs[1..], roots, stand.service.now()).unwrap();
    for bad in ["/0", "/2", "/01", "/x", "/1/1"] {
        client.read(&format!("{url}{bad}")).await.refused(404, "malformed");
    }
    client.post(&alternate, &json!({})).await.refused(400, "malformed");
    Client::new(&client.app).await.read(&alternate).await.refused(404, "malformed");
    // A chain that has run out is no help to anybody.
    stand.clock.advance(1000 * HOUR);
    let late = client.read(&url).await.expect(200);
    assert_eq!(links(&late, "alternate"), Vec::<String>::new());
    client.read(&alternate).await.refused(404, "malformed");
}

/// In real time: a paused clock runs ahead while the store's own thread works.
#[tokio::test]
async fn clients_are_told_when_to_come_back() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let wait = |reply: &Reply| reply.header("retry-after").map(str::to_owned);
    let soon = Some("1".to_owned());
    let order = client.order(&["a.test"]).await.expect(201);
    assert_eq!(wait(&order), None, "it waits for its client");
    let (url, authorization) = (order.location(), order.at("/authorizations/0"));
    assert_eq!(wait(&client.read(&url).await), soon);
    assert_eq!(wait(&client.read(&authorization).await), None);
    let challenge = client.challenge(&authorization, "http-01").await;
    stand.script.next("a.test", Step::After(Duration::from_secs(4), inconclusive()));
    let answered = client.post(&challenge, &json!({})).await.expect(200);
    assert_eq!((answered.state().as_str(), wait(&answered)), ("processing", soon.clone()));
    for url in [&url, &authorization, &challenge] {
        assert_eq!(wait(&client.read(url).await), soon, "{url}");
    }
    // Nothing was found out: to be tried again.
    (0..2).for_each(|_| stand.script.next("a.test", Step::Say(inconclusive())));
    let shown = until(&client, &challenge, "pending").await;
    assert!(shown.json()["error"].is_object());
    assert_eq!(wait(&shown), soon);
    client.post(&challenge, &json!({})).await.expect(200);
    until(&client, &url, "ready").await;
    for url in [&url, &authorization, &challenge] {
        assert_eq!(wait(&client.read(url).await), None, "{url}");
    }
    // A failure is not waited for.
    let order = client.order(&["b.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    let forbidden = Failure { kind: FailureKind::Forbidden, detail: "not there".into() };
    stand.script.next("b.test", Step::Say(Outcome::Failed(forbidden)));
    client.post(&challenge, &json!({})).await.expect(200);
    let failed = until(&client, &order.location(), "invalid").await;
    assert_eq!(wait(&failed), None);
    assert_eq!(wait(&client.read(&authorization).await), None);
}

#[tokio::test]
async fn keys_in_use_are_told_with_their_account() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (client, closed) = (Client::new(&app).await, Client::new(&app).await);
    closed.post(&closed.kid, &json!({ "status": "deactivated" })).await.expect(200);
    let url = client.url("key-change");
    // Its own key, and one of an account that is closed: in use as well.
    for (key, owner) in [(&client.key, &client.kid), (&closed.key, &closed.kid)] {
        let header = json!({ "alg": "ES256", "jwk": key.jwk, "url": url });
        let payload = json!({ "account": client.kid, "oldKey": client.key.jwk });
        let reply = client.post(&url, &key.jws(&header, payload.to_string().as_bytes())).await;
        reply.refused(409, "malformed");
        assert_eq!(&reply.location(), owner);
    }
    // An algorithm that is not accepted is told with those that are, inside as outside.
    let header = json!({ "alg": "HS256", "jwk": client.key.jwk, "url": url });
    let reply = client.post(&url, &client.key.jws(&header, b"{}")).await;
    reply.refused(400, "badSignatureAlgorithm");
    assert_eq!(reply.json()["algorithms"], json!(["ES256", "ES384", "EdDSA", "RS256"]));
}

#[tokio::test]
async fn a_closed_account_is_closed_to_whatever_it_asks() {
    let stand = Stand::with(|terms| terms.terms_of_service = Some("https://ca.test/terms".into())).await;
    let mut client = Client::stranger(&app(&stand));
    client.kid = client.register(&json!({ "termsOfServiceAgreed": true })).await.expect(201).location();
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    let closed = json!({ "status": "deactivated", "contact": ["mailto:last@a.test"] });
    let reply = client.post(&client.kid, &closed).await.expect(200);
    assert_eq!(reply.json()["contact"], json!(["mailto:last@a.test"]));
    let resources = [
        client.url("new-order"),
        client.url("new-authz"),
        client.url("revoke-cert"),
        client.url("key-change"),
        client.url("directory"),
        client.kid.clone(),
        format!("{}/orders", client.kid),
        order.location(),
        order.at("/finalize"),
        authorization,
        challenge,
    ];
    for url in &resources {
        client.read(url).await.refused(401, "unauthorized");
        client.post(url, &json!({})).await.refused(401, "unauthorized");
    }
    for payload in [json!({ "onlyReturnExisting": true }), json!({}), json!({ "termsOfServiceAgreed": true })]
    {
        client.register(&payload).await.refused(401, "unauthorized");
    }
    // Only an account that is not there is looked for in vain, whatever else the payload says.
    let stranger = Client::stranger(&client.app);
    let ask = json!({ "onlyReturnExisting": true, "termsOfServiceAgreed": true, "contact": ["x"] });
    stranger.register(&ask).await.refused(400, "accountDoesNotExist");
    assert_eq!(stand.rows(Table::Accounts).await, 1);
}

#[tokio::test]
async fn a_validation_under_way_counts_for_nothing_once_its_account_is_closed() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let challenge = client.challenge(&order.at("/authorizations/0"), "http-01").await;
    stand.script.next("a.test", Step::After(Duration::from_secs(4), Outcome::Proved));
    assert_eq!(client.post(&challenge, &json!({})).await.expect(200).state(), "processing");
    client.post(&client.kid, &json!({ "status": "deactivated" })).await.expect(200);
    for round in 0..2 {
        tokio::time::sleep(Duration::from_secs(if round == 0 { 5 } else { 1 })).await;
        let orders = stand.orders().await;
        let state = &orders[0].1.own(0).unwrap().challenges[0].state;
        assert_eq!(*state, ChallengeState::Processing, "as it was stored before");
        assert_eq!((stand.rows(Table::Grants).await, stand.script.calls("a.test")), (0, 1));
        // A poll after a restart takes nothing up again either.
        if round == 0 {
            stand.restart();
            let moved = app(&stand);
            let body = client.key.jws(
                &json!({ "alg": "ES256", "nonce": stand.service.nonces().issue(), "url": challenge, "kid": client.kid }),
                b"",
            );
            let reply = send(&moved, "POST", &path_of(&challenge), &[JOSE], body.to_string()).await;
            reply.refused(401, "unauthorized");
        }
    }
}

#[tokio::test]
async fn a_finalization_under_way_is_not_completed_once_its_account_is_closed() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let order = client.prove(&order).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(3500);
    let accepted = client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(accepted.state(), "processing");
    client.post(&client.kid, &json!({ "status": "deactivated" })).await.expect(200);
    for _ in 0..500 {
        if let Finish::Failed(problem) = &stand.orders().await[0].1.finish {
            assert_eq!(problem.kind, crate::acme::error::ErrorKind::Unauthorized);
            assert!(stand.certificates().await.is_empty());
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the order was left as processing: {:?}", stand.orders().await[0].1.finish);
}
