//! The gate: what is let through, what is refused, and how.

use serde_json::{Value, json};

use super::client::*;
use crate::service::stand::Stand;

#[tokio::test]
async fn content_types() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let path = path_of(&client.kid);
    for (value, accepted) in [
        ("application/jose+json", true),
        ("Application/JOSE+JSON", true),
        ("application/jose+json; charset=utf-8", true),
        ("application/jose+json ;x=y", true),
        ("application/json", false),
        ("application/jose", false),
        ("application/jose+json, application/json", false),
        ("text/plain", false),
        ("", false),
    ] {
        let body = client.key.jws(&client.header(&client.kid).await, b"").to_string();
        let reply = send(&client.app, "POST", &path, &[("content-type", value)], body).await;
        assert_eq!(reply.status, if accepted { 200 } else { 415 }, "{value}");
        assert!(reply.header("replay-nonce").is_some());
    }
    let body = client.key.jws(&client.header(&client.kid).await, b"").to_string();
    send(&client.app, "POST", &path, &[], body.clone()).await.refused(415, "malformed");
    send(&client.app, "POST", &path, &[JOSE, JOSE], body.clone()).await.refused(415, "malformed");
    // Its nonce was not used up by any of that.
    send(&client.app, "POST", &path, &[JOSE], body).await.expect(200);
}

/// One row per way to be wrong: what to change in a good header, and the refusal.
#[tokio::test]
async fn protected_headers() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let mut foreign = Client::stranger(&app);
    foreign.base = format!("{BASE}/acme/other");
    foreign.kid = foreign.register(&json!({})).await.expect(201).location();
    let kid = client.kid.clone();
    let id = kid.rsplit('/').next().unwrap().to_owned();
    let used = client.header(&kid).await["nonce"].clone();
    client
        .signed(&kid, &json!({ "alg": "ES256", "nonce": used, "url": kid, "kid": kid }), b"")
        .await
        .expect(200);
    let elsewhere = {
        let other = Stand::new().await;
        Client::new(&super::client::app(&other)).await.nonce().await
    };
    let rows: Vec<(&str, Value, u16, &str)> = vec![
        ("url", json!(kid.replace("ca.test", "evil.test")), 401, "unauthorized"),
        ("url", json!(kid.replace("https:", "http:")), 401, "unauthorized"),
        ("url", json!(format!("{kid}/")), 401, "unauthorized"),
        ("url", json!(format!("{kid}?x=1")), 401, "unauthorized"),
        ("url", json!(format!("{kid}#x")), 401, "unauthorized"),
        ("url", json!(kid.replace("ca.test", "ca.test:443")), 401, "unauthorized"),
        ("url", json!(kid.replace("ca.test", "CA.test")), 401, "unauthorized"),
        ("url", json!(path_of(&kid)), 401, "unauthorized"),
        ("url", json!(client.url("new-order")), 401, "unauthorized"),
        ("url", json!(""), 401, "unauthorized"),
        ("url", json!(7), 400, "malformed"),
        ("url", Value::Null, 400, "malformed"),
        ("nonce", Value::Null, 400, "badNonce"),
        ("nonce", json!(""), 400, "badNonce"),
        ("nonce", json!("x"), 400, "badNonce"),
        ("nonce", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), 400, "badNonce"),
        ("nonce", used, 400, "badNonce"),
        ("nonce", json!(elsewhere), 400, "badNonce"),
        ("nonce", json!([]), 400, "malformed"),
        ("alg", json!("none"), 400, "badSignatureAlgorithm"),
        ("alg", json!("HS256"), 400, "badSignatureAlgorithm"),
        ("alg", json!("ES512"), 400, "badSignatureAlgorithm"),
        ("alg", json!("es256"), 400, "badSignatureAlgorithm"),
        ("alg", json!("PS256"), 400, "badSignatureAlgorithm"),
        ("alg", json!("ES384"), 400, "malformed"),
        ("alg", json!("RS256"), 400, "malformed"),
        ("alg", json!("EdDSA"), 400, "malformed"),
        ("alg", Value::Null, 400, "malformed"),
        ("kid", Value::Null, 400, "malformed"),
        ("kid", json!(""), 400, "accountDoesNotExist"),
        ("kid", json!(id), 400, "accountDoesNotExist"),
        ("kid", json!(path_of(&kid)), 400, "accountDoesNotExist"),
        ("kid", json!(kid.replace("https:", "http:")), 400, "accountDoesNotExist"),
        ("kid", json!(kid.replace("ca.test", "evil.test")), 400, "accountDoesNotExist"),
        ("kid", json!(format!("{kid}/")), 400, "accountDoesNotExist"),
        ("kid", json!(client.url("account/AAAAAAAAAAAAAAAAAAAAAA")), 400, "accountDoesNotExist"),
        ("kid", json!(foreign.kid), 400, "accountDoesNotExist"),
        (
            "kid",
            json!(client.url(&format!("account/{}", foreign.kid.rsplit('/').next().unwrap()))),
            400,
            "accountDoesNotExist",
        ),
        ("jwk", client.key.jwk.clone(), 400, "malformed"),
        ("crit", json!(["exp"]), 400, "malformed"),
        ("b64", json!(false), 400, "malformed"),
    ];
    for (member, value, status, kind) in rows {
        let mut header = client.header(&kid).await;
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(member)),
            ref value => header[member] = value.clone(),
        }
        let reply = client.signed(&kid, &header, b"").await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (status, kind),
            "{member}: {value}: {}",
            reply.text()
        );
        if kind == "badSignatureAlgorithm" {
            assert_eq!(reply.json()["algorithms"], json!(["ES256", "ES384", "EdDSA", "RS256"]));
        }
    }
    // Members that mean nothing are let be.
    let mut header = client.header(&kid).await;
    header["typ"] = json!("x");
    client.signed(&kid, &header, b"").await.expect(200);
    // Somebody else's signature under this account's name.
    let url = kid.clone();
    let body = foreign.key.jws(&client.header(&url).await, b"").to_string();
    client.raw(&url, body).await.refused(400, "malformed");
    // A query is part of the URL.
    let with_query = format!("{kid}?x=1");
    client.read(&with_query).await.expect(200);
}

#[tokio::test]
async fn bodies() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let url = client.kid.clone();
    let good = client.key.jws(&client.header(&url).await, b"");
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body.to_string()
    };
    let text = good.to_string();
    for body in [
        String::new(),
        "null".into(),
        "[]".into(),
        "{}".into(),
        text[..text.len() - 1].to_owned(),
        format!("{text}{text}"),
        with("header", json!({})),
        with("signatures", json!([])),
        with("payload", json!("=")),
        with("payload", Value::Null),
        with("payload", json!({})),
        with("protected", json!("")),
        with("protected", json!("e30")),
        with("protected", json!("////")),
        "[".repeat(60_000),
    ] {
        client.raw(&url, body).await.refused(400, "malformed");
    }
    client.raw(&url, vec![0xff; 100]).await.refused(400, "malformed");
    for signature in ["", "AA"] {
        let mut body = client.key.jws(&client.header(&url).await, b"");
        body["signature"] = json!(signature);
        client.raw(&url, body.to_string()).await.refused(400, "malformed");
    }
    // The payload is not the one that was signed. (The nonce goes with this one.)
    client.raw(&url, with("payload", json!("e30"))).await.refused(400, "malformed");
    client.raw(&url, text).await.refused(400, "badNonce");

    let reply = client.raw(&url, vec![b' '; MAX_BODY + 1]).await;
    reply.refused(413, "malformed");
    client.raw(&url, vec![b' '; MAX_BODY]).await.refused(400, "malformed");
}

#[tokio::test]
async fn keys_where_accounts_belong_and_the_other_way_round() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let (url, authorization) = (order.location(), order.at("/authorizations/0"));
    let challenge = client.challenge(&authorization, "http-01").await;
    for url in
        [&url, &authorization, &challenge, &client.kid, &client.url("new-order"), &client.url("key-change")]
    {
        client.signed(url, &client.bare_header(url).await, b"{}").await.refused(400, "malformed");
    }
    let url = client.url("new-account");
    client.post(&url, &json!({})).await.refused(400, "malformed");
    // A header with neither, or with a private key.
    let mut header = client.bare_header(&url).await;
    header["jwk"]["d"] = json!("AAAA");
    client.signed(&url, &header, b"{}").await.refused(400, "badPublicKey");
    let mut header = client.bare_header(&url).await;
    header["jwk"]["x"] = header["jwk"]["y"].clone();
    client.signed(&url, &header, b"{}").await.refused(400, "badPublicKey");
    // What the url and the nonce are is seen before the key is looked at, which costs much more.
    let refused = header;
    client.signed(&url, &refused, b"{}").await.refused(400, "badNonce");
    let mut header = refused.clone();
    header["url"] = json!(client.url("new-order"));
    client.signed(&url, &header, b"{}").await.refused(401, "unauthorized");
    // A key that did not sign.
    let mut header = client.bare_header(&url).await;
    header["jwk"] = Key::new().jwk;
    client.signed(&url, &header, b"{}").await.refused(400, "malformed");
}

#[tokio::test]
async fn methods_and_paths() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    let finalize = order.at("/finalize");
    let certificate = client.url(&format!("cert/{}", "0a".repeat(19)));
    let resources = [
        &client.url("new-account"),
        &client.url("new-order"),
        &client.url("revoke-cert"),
        &client.url("key-change"),
        &client.kid,
        &order.location(),
        &authorization,
        &challenge,
        &finalize,
        &certificate,
    ];
    for url in resources {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
            let reply = send(&client.app, method, &path_of(url), &[], "").await;
            assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{method} {url}");
        }
    }
    for path in ["directory", "new-nonce"] {
        for method in ["PUT", "DELETE"] {
            let reply = send(&client.app, method, &path_of(&client.url(path)), &[], "").await;
            reply.refused(405, "malformed");
            assert_eq!(reply.header("allow"), Some("GET, HEAD, POST"), "{method}");
        }
    }
    let head = send(&client.app, "HEAD", &path_of(&client.url("new-nonce")), &[], "").await.expect(200);
    let nonce = get(&client.app, &path_of(&client.url("new-nonce"))).await.expect(204);
    for reply in [head, nonce] {
        assert!(reply.header("replay-nonce").is_some() && reply.body.is_empty());
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("content-type"), None);
        assert!(reply.header("link").unwrap().ends_with("rel=\"index\""));
    }
    // RFC 8555 §6.3: both are to be had by POST-as-GET too.
    client.read(&client.url("directory")).await.expect(200).at("/newOrder");
    client.read(&client.url("new-nonce")).await.expect(204);
    client.post(&client.url("directory"), &json!({})).await.refused(400, "malformed");

    for path in [
        "/acme/nobody/directory",
        "/acme/acme",
        "/acme/acme/",
        "/acme//directory",
        "/acme/acme/directory/",
        "/acme/acme/Directory",
        "/acme/acme/order",
        "/acme/acme/order/",
        "/acme/acme/order/x",
        "/acme/acme/cert/00",
        "/acme/acme/%64irectory",
        "/acme/acme/../acme/directory",
        "/ACME/acme/directory",
        "/acme/acme/authz/x/0",
    ] {
        get(&client.app, path).await.refused(404, "malformed");
        // Without a nonce from elsewhere a client has none left to try again with.
        if path.starts_with("/acme/") {
            client.raw(path, "").await.refused(404, "malformed");
        }
    }
}

#[tokio::test]
async fn empty_payloads_and_others() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let challenge = client.challenge(&authorization, "http-01").await;
    let url = order.location();
    // POST-as-GET with a payload.
    client.post(&url, &json!({})).await.refused(400, "malformed");
    let certificate = client.url(&format!("cert/{}", "0a".repeat(19)));
    client.post(&certificate, &json!({})).await.refused(400, "malformed");
    client.read(&certificate).await.refused(404, "malformed");
    client.post(&authorization, &json!({})).await.refused(400, "malformed");
    // "" reads a challenge, {} answers it, anything that is no object is neither.
    client.read(&challenge).await.expect(200);
    for payload in [&b"null"[..], b"[]", b"\"\"", b"1", b"{", b" "] {
        client.signed(&challenge, &client.header(&challenge).await, payload).await.refused(400, "malformed");
    }
    assert_eq!(stand.script.calls("a.test"), 0);
    // Clients of the drafts say more than {}.
    client.post(&challenge, &json!({ "keyAuthorization": "x", "resource": "challenge" })).await.expect(200);
    assert_eq!(stand.script.calls("a.test"), 1);
    // One that is not offered for this identifier.
    let order = client.order(&["*.a.test"]).await.expect(201);
    let dns = client.challenge(&order.at("/authorizations/0"), "dns-01").await;
    client.post(&dns.replace("dns-01", "http-01"), &json!({})).await.refused(404, "malformed");
    client.read(&dns.replace("dns-01", "tls-alpn-01")).await.refused(404, "malformed");
    client.read(&dns.replace("dns-01", "dns-02")).await.refused(404, "malformed");
}

#[tokio::test]
async fn accounts() {
    let stand = Stand::with(|terms| terms.terms_of_service = Some("https://ca.test/terms".into())).await;
    let app = app(&stand);
    let mut client = Client::stranger(&app);
    let directory = get(&app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.at("/meta/termsOfService"), "https://ca.test/terms");
    client.register(&json!({ "onlyReturnExisting": true })).await.refused(400, "accountDoesNotExist");
    client.register(&json!({})).await.refused(400, "malformed");
    client.register(&json!({ "termsOfServiceAgreed": false })).await.refused(400, "malformed");
    let agreed = |contact: Value| json!({ "termsOfServiceAgreed": true, "contact": contact });
    client.register(&agreed(json!(["tel:+1"]))).await.refused(400, "unsupportedContact");
    client.register(&agreed(json!(["mailto:nobody"]))).await.refused(400, "invalidContact");
    client.register(&agreed(json!("mailto:a@b.test"))).await.refused(400, "malformed");
    let created = client.register(&agreed(json!(["mailto:a@b.test"]))).await.expect(201);
    assert_eq!(created.json()["termsOfServiceAgreed"], true);
    client.kid = created.location();
    for found in [json!({ "onlyReturnExisting": true }), json!({}), agreed(json!(["mailto:z@b.test"]))] {
        let found = client.register(&found).await.expect(200);
        assert_eq!(found.location(), client.kid);
        assert_eq!(found.json()["contact"], json!(["mailto:a@b.test"]), "newAccount changes nothing");
    }
    let kid = client.kid.clone();
    let changed = client.post(&kid, &json!({ "contact": ["mailto:c@d.test"] })).await.expect(200);
    assert_eq!(changed.json()["contact"], json!(["mailto:c@d.test"]));
    assert_eq!(client.read(&kid).await.expect(200).json(), changed.json());
    client.post(&kid, &json!({})).await.expect(200);
    client.post(&kid, &json!({ "status": "valid" })).await.expect(200);
    // RFC 8555 §7.3.2: these are not for the client to change, and ignored.
    let ignored = json!({ "status": "revoked", "orders": "x", "termsOfServiceAgreed": false, "x": 1 });
    assert_eq!(client.post(&kid, &ignored).await.expect(200).json(), changed.json());
    client.post(&kid, &json!({ "contact": ["x"] })).await.refused(400, "unsupportedContact");
    client
        .post(&kid, &json!({ "contact": vec!["mailto:a@b.test"; 11] }))
        .await
        .refused(400, "invalidContact");
    client.post(&kid, &json!([])).await.refused(400, "malformed");
    // No contacts at all is a change as well.
    let bare = client.post(&kid, &json!({ "contact": [] })).await.expect(200);
    assert_eq!(bare.json().get("contact"), None);
    client.post(&kid, &json!({ "status": "deactivated" })).await.expect(200);
    client.read(&kid).await.refused(401, "unauthorized");
    client.register(&json!({ "onlyReturnExisting": true })).await.refused(401, "unauthorized");
}

#[tokio::test]
async fn key_changes() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (mut client, other) = (Client::new(&app).await, Client::new(&app).await);
    let url = client.url("key-change");
    let new = Key::new();
    let header = json!({ "alg": "ES256", "jwk": new.jwk, "url": url });
    let payload = json!({ "account": client.kid, "oldKey": client.key.jwk });
    let changed = |of: &Value, member: &str, value: Value| {
        let mut of = of.clone();
        match value {
            Value::Null => drop(of.as_object_mut().unwrap().remove(member)),
            value => of[member] = value,
        }
        of
    };
    let kid_header = changed(&changed(&header, "jwk", Value::Null), "kid", json!(client.kid));
    let rows = [
        (changed(&header, "nonce", json!("x")), payload.clone()),
        (changed(&header, "url", json!(client.kid)), payload.clone()),
        (changed(&header, "url", Value::Null), payload.clone()),
        (changed(&header, "alg", json!("ES384")), payload.clone()),
        (changed(&header, "jwk", other.key.jwk.clone()), payload.clone()),
        (changed(&header, "jwk", Value::Null), payload.clone()),
        (kid_header, payload.clone()),
        (header.clone(), changed(&payload, "account", json!(other.kid))),
        (header.clone(), changed(&payload, "account", Value::Null)),
        (header.clone(), changed(&payload, "oldKey", other.key.jwk.clone())),
        (header.clone(), changed(&payload, "oldKey", new.jwk.clone())),
        (header.clone(), changed(&payload, "oldKey", json!("x"))),
        (header.clone(), changed(&payload, "oldKey", Value::Null)),
        (header.clone(), json!([])),
    ];
    for (header, payload) in rows {
        let inner = new.jws(&header, payload.to_string().as_bytes());
        let reply = client.post(&url, &inner).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (400, "malformed"),
            "{header} {payload}"
        );
    }
    client.post(&url, &json!({})).await.refused(400, "malformed");
    client.signed(&url, &client.header(&url).await, b"").await.refused(400, "malformed");
    // Another account's key.
    let taken = changed(&header, "jwk", other.key.jwk.clone());
    let inner = other.key.jws(&taken, payload.to_string().as_bytes());
    let conflict = client.post(&url, &inner).await;
    conflict.refused(409, "malformed");
    assert_eq!(conflict.location(), other.kid);
    // Nothing of that changed anything.
    client.read(&client.kid).await.expect(200);

    let inner = new.jws(&header, payload.to_string().as_bytes());
    client.post(&url, &inner).await.expect(200);
    client.read(&client.kid).await.refused(400, "malformed");
    let old = std::mem::replace(&mut client.key, new);
    client.read(&client.kid).await.expect(200);
    assert_eq!(
        client.register(&json!({ "onlyReturnExisting": true })).await.expect(200).location(),
        client.kid
    );
    // The old key is free, and is nobody.
    let mut stranger = Client::stranger(&app);
    stranger.key = old;
    stranger.register(&json!({ "onlyReturnExisting": true })).await.refused(400, "accountDoesNotExist");
    assert_ne!(stranger.register(&json!({})).await.expect(201).location(), client.kid);
}

#[tokio::test]
async fn request_ids_are_distinct() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let mut seen = std::collections::BTreeSet::new();
    for path in
        ["/health", "/nothing", "/acme/acme/directory", "/acme/acme/new-nonce", "/acme/acme/new-order"]
    {
        assert!(seen.insert(get(&app, path).await.header("x-request-id").unwrap().to_owned()));
    }
}

/// Nonces live in memory: neither to hand one out nor to take it back writes anything.
#[tokio::test]
async fn nonces_cost_the_store_nothing() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let before = stand.store.commits.load(std::sync::atomic::Ordering::SeqCst);
    for _ in 0..20 {
        client.nonce().await;
        let used = client.header(&client.kid).await;
        client.signed(&client.kid, &used, b"").await.expect(200);
        client.signed(&client.kid, &used, b"").await.refused(400, "badNonce");
    }
    assert_eq!(stand.store.commits.load(std::sync::atomic::Ordering::SeqCst), before);
}
