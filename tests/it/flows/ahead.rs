//! Proof ahead of an order, proof for all names below one, and the list of an account's orders.

use serde_json::json;

use super::refused;
use crate::support::acme::*;
use crate::support::server::{self, Server};
use crate::support::web::Web;

fn keeps_proofs(config: &mut toml::Table) {
    server::provisioner(config).insert("authorization_ttl".into(), "8h".into());
}

fn order_of(client: &mut Client, identifiers: serde_json::Value) -> Order {
    let url = client.endpoint("newOrder");
    let made = client.post(&url, &json!({ "identifiers": identifiers }).to_string()).unwrap();
    assert_eq!(made.status, 201);
    Order { url: made.header("location").unwrap().to_owned(), object: made.json() }
}

#[test]
fn a_name_is_proved_ahead_and_its_orders_are_listed() {
    let server = Server::start_with(keeps_proofs);
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let ask = json!({ "identifier": { "type": "dns", "value": "ahead.test" } }).to_string();
    let url = client.endpoint("newAuthz");
    let made = client.post(&url, &ask).unwrap();
    assert_eq!(made.status, 201);
    let authorization = made.header("location").unwrap().to_owned();
    let as_order = Order { url: String::new(), object: json!({ "authorizations": [authorization] }) };
    client.authorize(&web, &as_order).unwrap();
    let order = client.order(&["ahead.test"]).unwrap();
    assert_eq!(order.status(), "ready");
    assert_eq!(authorizations(&order), std::slice::from_ref(&authorization));
    let (_, csr) = csr(&["ahead.test"]);
    assert_eq!(client.finalize(&order, &csr).unwrap().status(), "valid");
    let again = client.post(&url, &ask).unwrap();
    assert_eq!((again.status, again.header("location")), (200, Some(authorization.as_str())));
    // The one order is listed, what keeps the authorization is not.
    let kid = client.kid.clone().unwrap();
    let orders = client.fetch(&kid).unwrap().json()["orders"].as_str().unwrap().to_owned();
    assert_eq!(client.fetch(&orders).unwrap().json(), json!({ "orders": [order.url] }));
    // Without proofs that are kept there is none ahead of an order.
    let server = Server::start();
    let mut client = Client::registered(&server);
    let unknown = client.post(&server.url("/acme/acme/new-authz"), &ask);
    assert_eq!(refused(unknown), (404, "malformed".to_owned()));
}

#[test]
fn one_record_in_dns_is_proof_for_all_names_below() {
    let server = Server::start_with(|config| {
        keeps_proofs(config);
        server::provisioner(config).insert("subdomain_authorizations".into(), true.into());
    });
    let mut client = Client::registered(&server);
    let below = |name: &str| json!({ "type": "dns", "value": name, "ancestorDomain": "zone.test" });
    let order = order_of(&mut client, json!([below("a.zone.test"), below("*.b.zone.test")]));
    let urls = authorizations(&order);
    assert_eq!(urls.len(), 1);
    let authorization = client.fetch(&urls[0]).unwrap().json();
    assert_eq!(authorization["identifier"]["value"], "zone.test");
    assert_eq!(authorization["subdomainAuthAllowed"], true);
    let object = challenge(&authorization, "dns-01");
    let token = object["token"].as_str().unwrap();
    let proof = format!("{token}.{}", client.key.thumbprint());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, proof.as_bytes());
    server.dns.add_txt("_acme-challenge.zone.test", &b64(digest));
    client.post(object["url"].as_str().unwrap(), "{}").unwrap();
    let settled = client.settle(&urls[0], &["pending", "processing"]).unwrap();
    assert_eq!(settled["status"], "valid", "{settled}");
    let (_, request) = csr(&["a.zone.test", "*.b.zone.test"]);
    assert_eq!(client.finalize(&order, &request).unwrap().status(), "valid");
    let later = client.order(&["c.zone.test"]).unwrap();
    assert_eq!(later.status(), "ready");
    let (_, request) = csr(&["c.zone.test"]);
    assert_eq!(client.finalize(&later, &request).unwrap().status(), "valid");
    assert_eq!(client.order(&["zones.test"]).unwrap().status(), "pending");
}

#[test]
fn browsers_are_let_in() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let url = client.endpoint("newNonce");
    let ask = [("Origin", "https://app.test"), ("Access-Control-Request-Method", "HEAD")];
    let reply = client.https.send("OPTIONS", &url, &ask, None).unwrap();
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("*")));
    let nonce = client.https.send("HEAD", &url, &[("Origin", "https://app.test")], None).unwrap();
    assert!(nonce.header("access-control-expose-headers").is_some_and(|all| all.contains("Replay-Nonce")));
    let health = server.https().get("/health").unwrap();
    assert_eq!(health.header("access-control-allow-origin"), None);
}
