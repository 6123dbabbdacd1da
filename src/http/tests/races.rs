//! Many requests at the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::*;
use crate::service::stand::{Stand, Step};
use crate::storage::Table;
use crate::validation::Outcome;

pub(super) const MANY: usize = 64;

/// Runs as many requests at once, each in its own task.
pub(super) async fn storm<F>(each: impl Fn(usize) -> F) -> Vec<Reply>
where
    F: Future<Output = Reply> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(MANY));
    let tasks: Vec<_> = (0..MANY)
        .map(|n| {
            let (start, work) = (start.clone(), each(n));
            tokio::spawn(async move {
                start.wait().await;
                work.await
            })
        })
        .collect();
    let mut replies = Vec::new();
    for task in tasks {
        replies.push(task.await.unwrap());
    }
    replies
}

/// Signs ahead, so that the storm is of requests and not of signatures.
pub(super) async fn signed(client: &Client, url: &str, payload: &serde_json::Value) -> String {
    client.key.jws(&client.header(url).await, payload.to_string().as_bytes()).to_string()
}

pub(super) fn posting(
    client: &Client,
    url: &str,
    body: String,
) -> impl Future<Output = Reply> + Send + 'static {
    let (app, path) = (client.app.clone(), path_of(url));
    async move { send(&app, "POST", &path, &[JOSE], body).await }
}

async fn finalize_race(rounds: usize, same: bool) {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let names = ["a.test"];
    let keys: Vec<_> = (0..MANY).map(|_| leaf_key()).collect();
    for round in 1..=rounds {
        let order = client.order(&names).await.expect(201);
        let order = client.prove(&order).await;
        let url = format!("{order}/finalize");
        let mut bodies = Vec::new();
        for key in &keys {
            let csr = csr(&names, if same { &keys[0] } else { key });
            let payload = json!({ "csr": crate::jose::base64url(&csr) });
            bodies.push(payload);
        }
        if same {
            // ECDSA signs differently each time: one request, sent by all.
            let one = bodies[0].clone();
            bodies.fill(one);
        }
        let mut ready = Vec::new();
        for payload in &bodies {
            ready.push(signed(&client, &url, payload).await);
        }
        let replies = storm(|n| posting(&client, &url, ready[n].clone())).await;
        let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
        let urls: BTreeSet<_> = won.iter().map(|reply| reply.at("/certificate")).collect();
        assert_eq!(urls.len(), 1, "one certificate, the same for all");
        assert_eq!(won.len(), if same { MANY } else { 1 });
        replies
            .iter()
            .filter(|reply| reply.status != 200)
            .for_each(|reply| reply.refused(403, "orderNotReady"));
        assert_eq!(stand.certificates().await.len(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn finalizes_with_the_same_csr_sign_once() {
    finalize_race(100, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn finalizes_with_different_csrs_sign_once() {
    finalize_race(100, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_accounts_with_one_key_are_one_account() {
    let stand = Stand::new().await;
    let app = app(&stand);
    for round in 1..=20 {
        let client = Client::stranger(&app);
        let url = client.url("new-account");
        let mut bodies = Vec::new();
        for _ in 0..MANY {
            bodies.push(client.key.jws(&client.bare_header(&url).await, b"{}").to_string());
        }
        let replies = storm(|n| posting(&client, &url, bodies[n].clone())).await;
        let urls: BTreeSet<_> = replies.iter().map(Reply::location).collect();
        assert_eq!(urls.len(), 1);
        assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
        assert_eq!(stand.rows(Table::Accounts).await, round);
        assert_eq!(stand.rows(Table::AccountKeys).await, round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn responses_to_one_challenge_validate_once() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    for round in 0..60 {
        let name = format!("n{round}.test");
        if round % 2 == 1 {
            stand.script.next(&name, Step::After(Duration::from_millis(2), Outcome::Proved));
        }
        let order = client.order(&[&name]).await.expect(201);
        let authorization = order.at("/authorizations/0");
        let challenge = client.challenge(&authorization, "http-01").await;
        let other = client.challenge(&authorization, "dns-01").await;
        let mut bodies = Vec::new();
        for n in 0..MANY {
            // Some of them by another challenge of the same authorization.
            let url = if n % 4 == 3 { &other } else { &challenge };
            bodies.push((url.clone(), signed(&client, url, &json!({})).await));
        }
        let replies = storm(|n| posting(&client, &bodies[n].0, bodies[n].1.clone())).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        let ready = async {
            while client.read(&order.location()).await.expect(200).state() != "ready" {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap();
        assert_eq!(stand.script.calls(&name), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_nonce_serves_one_request() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    for _ in 0..20 {
        let url = client.kid.clone();
        let header = client.header(&url).await;
        let bodies: Vec<_> = (0..MANY).map(|_| client.key.jws(&header, b"").to_string()).collect();
        let replies = storm(|n| posting(&client, &url, bodies[n].clone())).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        replies.iter().filter(|reply| reply.status != 200).for_each(|reply| reply.refused(400, "badNonce"));
        let fresh: BTreeSet<_> = replies.iter().map(|reply| reply.header("replay-nonce").unwrap()).collect();
        assert_eq!(fresh.len(), MANY);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deactivation_against_new_orders_and_finalizes() {
    let stand = Stand::new().await;
    let app = app(&stand);
    for _ in 0..20 {
        let client = Client::new(&app).await;
        let first = client.order(&["a.test"]).await.expect(201);
        let first = client.prove(&first).await;
        let (order, finalize) = (client.url("new-order"), format!("{first}/finalize"));
        let ask = json!({ "identifiers": identifiers(&["a.test"]) });
        let csr = json!({ "csr": crate::jose::base64url(&csr(&["a.test"], &leaf_key())) });
        let mut bodies = Vec::new();
        for n in 0..MANY {
            let (url, payload) = match n {
                32 => (&client.kid, &json!({ "status": "deactivated" })),
                33 => (&finalize, &csr),
                _ => (&order, &ask),
            };
            bodies.push((url.clone(), signed(&client, url, payload).await));
        }
        let before = stand.certificates().await.len();
        let replies = storm(|n| posting(&client, &bodies[n].0, bodies[n].1.clone())).await;
        for (n, reply) in replies.iter().enumerate() {
            match n {
                32 => assert_eq!(reply.state(), "deactivated"),
                // 503: the account changed under it; the same again would hear what became of it.
                33 => assert!(matches!(reply.status.as_u16(), 200 | 401 | 403 | 503), "{}", reply.text()),
                _ => assert!(matches!(reply.status.as_u16(), 201 | 401), "{}", reply.text()),
            }
        }
        let issued = usize::from(replies[33].status == 200);
        assert_eq!(stand.certificates().await.len(), before + issued);
        client.order(&["a.test"]).await.refused(401, "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn key_changes_to_one_key_have_one_winner() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let wanted = Key::new();
    let mut clients = Vec::new();
    let mut bodies = Vec::new();
    for _ in 0..MANY {
        let client = Client::new(&app).await;
        let url = client.url("key-change");
        let inner = wanted.jws(
            &json!({ "alg": "ES256", "jwk": wanted.jwk, "url": url }),
            json!({ "account": client.kid, "oldKey": client.key.jwk }).to_string().as_bytes(),
        );
        bodies.push(signed(&client, &url, &inner).await);
        clients.push(client);
    }
    let url = clients[0].url("key-change");
    let replies = storm(|n| posting(&clients[n], &url, bodies[n].clone())).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status.as_u16(), 200 | 409 | 503)));
    assert_eq!(stand.rows(Table::AccountKeys).await, MANY);
}
