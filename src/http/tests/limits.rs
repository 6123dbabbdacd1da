//! Limits as a client sees them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use serde_json::json;

use super::client::*;
use crate::http::{App, Peer};
use crate::limits::gcra::Quota;
use crate::limits::{Limit, Rules};
use crate::service::stand::{Stand, no_limits};

fn only(limit: Limit, count: u32) -> Rules {
    let mut rules = no_limits();
    rules.set(limit, Quota::new(count, Duration::from_secs(3600)));
    rules
}

/// A request from an address.
async fn from(app: &Arc<App>, peer: &str, path: &str) -> (u16, serde_json::Value, Option<String>) {
    let mut request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
    request.extensions_mut().insert(Peer(peer.parse::<IpAddr>().unwrap()));
    let response = app.answer(request, &app.request_id()).await;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, retry, id) = (response.status().as_u16(), header("retry-after"), header("x-request-id"));
    assert!(id.is_some());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    if status >= 400 {
        assert_eq!(json["requestId"].as_str().map(str::to_owned), id, "{json}");
    }
    (status, json, retry)
}

#[tokio::test]
async fn requests_of_a_network() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let mut rules = only(Limit::NetworkRequests, 3);
    rules.exempt = vec!["192.0.2.0/24".parse().unwrap()];
    stand.service.limits().reload(rules);
    let nonce = "/acme/acme/new-nonce";
    for _ in 0..3 {
        assert_eq!(from(&app, "10.0.0.1", nonce).await.0, 204);
    }
    for path in [nonce, "/acme/acme/directory", "/roots.pem", "/nothing", "/acme/acme/new-order"] {
        let (status, json, retry) = from(&app, "::ffff:10.0.0.1", path).await;
        assert_eq!((status, retry.as_deref()), (429, Some("1200")), "{path}: {json}");
        assert_eq!(json["type"], "urn:ietf:params:acme:error:rateLimited");
        let detail = json["detail"].as_str().unwrap();
        assert!(detail.starts_with("network_requests: 3 per 1 h") && detail.contains("1200 s"), "{detail}");
    }
    // Probes are not counted, nor are other networks, nor those that are exempt.
    assert_eq!(from(&app, "10.0.0.1", "/health").await.0, 200);
    assert_eq!(from(&app, "10.0.0.2", nonce).await.0, 204);
    for _ in 0..9 {
        assert_eq!(from(&app, "192.0.2.9", nonce).await.0, 204);
    }
    stand.clock.advance(Duration::from_secs(1199));
    assert_eq!(from(&app, "10.0.0.1", nonce).await.2.as_deref(), Some("1"));
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(from(&app, "10.0.0.1", nonce).await.0, 204);
    assert_eq!(from(&app, "10.0.0.1", nonce).await.0, 429);
}

#[tokio::test]
async fn new_accounts_and_changes_of_accounts() {
    let stand = Stand::new().await;
    let app = app(&stand);
    stand.service.limits().reload(only(Limit::NetworkAccounts, 2));
    let client = Client::new(&app).await;
    Client::new(&app).await;
    let third = Client::stranger(&app).register(&json!({})).await;
    third.refused(429, "rateLimited");
    assert_eq!(third.header("retry-after"), Some("1800"));
    // Who has an account finds it; who looks for one is told the truth.
    client.register(&json!({})).await.expect(200);
    let none = Client::stranger(&app).register(&json!({ "onlyReturnExisting": true })).await;
    none.refused(400, "accountDoesNotExist");
    stand.service.limits().reload(only(Limit::AccountChanges, 1));
    let contact = json!({ "contact": ["mailto:a@b.test"] });
    client.post(&client.kid, &contact).await.expect(200);
    client.post(&client.kid, &contact).await.refused(429, "rateLimited");
    client.read(&client.kid).await.expect(200);
}

#[tokio::test]
async fn requests_of_an_account_are_its_own() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (client, other) = (Client::new(&app).await, Client::new(&app).await);
    stand.service.limits().reload(only(Limit::AccountRequests, 2));
    // Who signs with another key, in this account's name, takes nothing from it.
    let mut forger = Client::stranger(&app);
    forger.kid = client.kid.clone();
    for _ in 0..5 {
        forger.order(&["a.test"]).await.refused(400, "malformed");
    }
    for _ in 0..2 {
        client.order(&["a.test"]).await.expect(201);
    }
    let refused = client.order(&["a.test"]).await;
    refused.refused(429, "rateLimited");
    assert_eq!(refused.header("retry-after"), Some("1800"));
    assert!(refused.header("replay-nonce").is_some());
    other.order(&["a.test"]).await.expect(201);
}

#[tokio::test]
async fn an_account_that_was_swept_does_not_exist() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    stand.clock.advance(Duration::from_secs(91 * 86_400));
    let retention = Duration::from_secs(90 * 86_400);
    stand.service.sweep_accounts(&mut None, retention).await.unwrap();
    client.order(&["a.test"]).await.refused(400, "accountDoesNotExist");
    client.register(&json!({})).await.expect(201);
}

#[tokio::test]
async fn paths_and_headers_have_an_end() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let long = format!("/{}", "x".repeat(2047));
    assert_eq!(send(&app, "GET", &long, &[], "").await.status, 404);
    send(&app, "GET", &format!("{long}x"), &[], "").await.refused(414, "malformed");
    send(&app, "GET", &format!("/health?{}", "x".repeat(2048)), &[], "").await.refused(414, "malformed");
    let many = |n| (0..n).map(|_| ("x-a", "b")).collect::<Vec<_>>();
    send(&app, "GET", "/health", &many(64), "").await.expect(200);
    send(&app, "GET", "/health", &many(65), "").await.refused(431, "malformed");
}
