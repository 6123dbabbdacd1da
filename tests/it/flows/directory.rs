//! Directory, nonces, methods, and the pages beside ACME.

use serde_json::json;

use crate::support::acme::*;
use crate::support::server::Server;

#[test]
fn the_directory_names_its_tree() {
    let server = Server::start();
    let reply = server.https().get(&server.directory()).unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("application/json"));
    let directory = reply.json();
    for name in ["newNonce", "newAccount", "newOrder", "revokeCert"] {
        assert!(
            directory[name].as_str().unwrap().starts_with(&server.url("/acme/acme/")),
            "{name}: {directory}"
        );
    }
}

#[test]
fn nonces_are_fresh_and_uncacheable() {
    let server = Server::start();
    let mut client = Client::new(&server);
    let url = client.endpoint("newNonce");
    let mut seen = std::collections::BTreeSet::new();
    for (method, status) in [("HEAD", 200), ("GET", 204), ("HEAD", 200), ("GET", 204)] {
        let reply = client.https.send(method, &url, &[], None).unwrap();
        assert_eq!(reply.status, status, "{method}");
        assert!(reply.header("cache-control").is_some_and(|v| v.contains("no-store")), "{reply:?}");
        assert_eq!(reply.link("index"), Some(server.directory().as_str()));
        let nonce = reply.header("replay-nonce").unwrap().to_owned();
        assert!(nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(seen.insert(nonce), "a nonce twice");
    }
}

#[test]
fn resources_are_not_for_get() {
    let server = Server::start();
    let mut client = Client::registered(&server);
    let order = client.order(&["get.test"]).unwrap();
    let authorization = authorizations(&order).remove(0);
    let object = client.fetch(&authorization).unwrap().json();
    let challenge = challenge(&object, "http-01")["url"].as_str().unwrap().to_owned();
    let urls = [
        client.kid.clone().unwrap(),
        client.endpoint("newAccount"),
        client.endpoint("newOrder"),
        client.endpoint("revokeCert"),
        order.url.clone(),
        order.object["finalize"].as_str().unwrap().to_owned(),
        authorization,
        challenge,
    ];
    for url in urls {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = client.https.send(method, &url, &[], None).unwrap();
            assert_eq!(reply.status, 405, "{method} {url}");
            assert_eq!(problem(&reply).1, "malformed");
            assert!(reply.header("allow").is_some_and(|allow| allow.contains("POST")), "{reply:?}");
        }
    }
}

#[test]
fn other_pages_answer() {
    let server = Server::start();
    let mut https = server.https();
    let health = https.get("/health").unwrap();
    assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
    for path in ["/livez", "/readyz"] {
        assert_eq!(https.get(path).unwrap().status, 200, "{path}");
    }
    let root = std::fs::read_to_string(server.root()).unwrap();
    let intermediate = std::fs::read_to_string(server.intermediate()).unwrap();
    assert_eq!(leaf(&https.get("/roots.pem").unwrap().text()), leaf(&root));
    assert_eq!(leaf(&https.get("/intermediates.pem").unwrap().text()), leaf(&intermediate));
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf(&root));
    let hex: String = fingerprint.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    let found = https.get(&format!("/root/{hex}")).unwrap();
    assert_eq!(found.status, 200);
    assert_eq!(https.get(&format!("/root/{}", "0".repeat(64))).unwrap().status, 404);
    assert_eq!(https.get("/no/such/page").unwrap().status, 404);
    assert_eq!(https.get("/acme/other/directory").unwrap().status, 404);
}
