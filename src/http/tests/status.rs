//! Health, readiness, trust anchors.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::client::*;
use crate::authority::bundle::fingerprint;
use crate::service::stand::Stand;
use crate::x509::pem;

#[tokio::test]
async fn health_and_trust() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let health = get(&app, "/health").await.expect(200);
    assert_eq!(health.json(), serde_json::json!({ "status": "ok" }));
    assert!(health.header("x-request-id").is_some());
    get(&app, "/livez").await.expect(200);
    get(&app, "/readyz").await.expect(200);
    let roots = get(&app, "/roots.pem").await.expect(200);
    assert_eq!(
        pem::parse_certificates(&roots.body).unwrap(),
        std::slice::from_ref(&stand.hierarchy.root_der)
    );
    let between = get(&app, "/intermediates.pem").await.expect(200);
    assert_eq!(
        pem::parse_certificates(&between.body).unwrap(),
        std::slice::from_ref(&stand.hierarchy.intermediate_der)
    );
    let hash = fingerprint(&stand.hierarchy.root_der);
    for path in [hash.clone(), hash.to_uppercase()] {
        let root = get(&app, &format!("/root/{path}")).await.expect(200);
        assert_eq!(
            pem::parse_certificates(root.at("/ca").as_bytes()).unwrap(),
            std::slice::from_ref(&stand.hierarchy.root_der)
        );
    }
    for path in ["/root/", "/root/00", &format!("/root/{hash}0"), "/", "", "/healthz", "/acme", "/acme/"] {
        let path = if path.is_empty() { "/%00" } else { path };
        get(&app, path).await.refused(404, "malformed");
    }
    for path in ["/health", "/livez", "/readyz", "/roots.pem", "/intermediates.pem"] {
        send(&app, "HEAD", path, &[], "").await.expect(200);
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = send(&app, method, path, &[], "").await;
            refused.refused(405, "malformed");
            assert_eq!(refused.header("allow"), Some("GET, HEAD"));
        }
    }
    let checked = stand.store.checks.load(Ordering::SeqCst);
    send(&app, "POST", "/readyz", &[], "").await;
    assert_eq!(stand.store.checks.load(Ordering::SeqCst), checked);
}

/// In real time: a paused clock runs ahead whenever the store's own thread is at work.
#[tokio::test]
async fn readiness_is_tried_for_real_and_seldom() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let checks = || stand.store.checks.load(Ordering::SeqCst);
    get(&app, "/readyz").await.expect(200);
    get(&app, "/readyz").await.expect(200);
    assert_eq!(checks(), 1);
    stand.store.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    let failed = get(&app, "/readyz").await.expect(503);
    assert!(failed.header("retry-after").is_some() && !failed.text().contains("secret"));
    stand.store.down.store(false, Ordering::SeqCst);
    get(&app, "/readyz").await.expect(503);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    get(&app, "/readyz").await.expect(200);

    stand.signer.broken.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    get(&app, "/readyz").await.expect(503);
    get(&app, "/livez").await.expect(200);
    stand.signer.broken.store(false, Ordering::SeqCst);

    // A hundred probes at once are one check.
    tokio::time::sleep(Duration::from_millis(1001)).await;
    *stand.store.check_delay.lock().unwrap() = Duration::from_millis(100);
    let before = checks();
    let probes: Vec<_> = (0..100)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/readyz").await.status })
        })
        .collect();
    for probe in probes {
        assert_eq!(probe.await.unwrap(), 200);
    }
    assert_eq!(checks(), before + 1);

    // A store that hangs is not ready.
    tokio::time::sleep(Duration::from_millis(1001)).await;
    *stand.store.check_delay.lock().unwrap() = Duration::from_secs(3600);
    get(&app, "/readyz").await.expect(503);
}

#[tokio::test]
async fn an_expired_issuer_is_not_ready() {
    let stand = Stand::new().await;
    let app = app(&stand);
    stand.clock.advance(Duration::from_secs(86_400 * 1825 + 1));
    get(&app, "/readyz").await.expect(503);
}

/// Of two authorities: everything together, or one of them by its name.
#[tokio::test]
async fn each_authority_s_certificates_are_to_be_had() {
    let mut stand = Stand::new().await;
    stand.wall_off_other().await;
    let app = app(&stand);
    let (first, second) = (stand.hierarchy.clone(), stand.second.as_ref().unwrap().0.clone());
    let (one, two) = (&first.root_der, &second.root_der);
    let (below_one, below_two) = (&first.intermediate_der, &second.intermediate_der);
    let rows = [
        ("/bundle", vec![one, two]),
        ("/bundle?authority=second", vec![two]),
        ("/roots.pem", vec![one, two]),
        ("/roots.pem?authority=default", vec![one]),
        ("/roots.pem?other=1", vec![one, two]),
        ("/authority/default/roots.pem", vec![one]),
        ("/authority/second/roots.pem", vec![two]),
        ("/authority/second/bundle", vec![two]),
        ("/intermediates.pem", vec![below_one, below_two]),
        ("/intermediates.pem?authority=second", vec![below_two]),
        ("/authority/default/intermediates.pem", vec![below_one]),
    ];
    for (path, want) in rows {
        let sent = get(&app, path).await.expect(200);
        let found = pem::parse_certificates(&sent.body).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), want, "{path}");
        assert_eq!(sent.header("content-type"), Some("application/x-pem-file"));
        assert_eq!(sent.header("cache-control"), Some("public, max-age=600"));
        let tag = sent.header("etag").unwrap().to_owned();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sent.body);
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(tag, format!("\"{hex}\""));
        let digest = sent.header("repr-digest").unwrap();
        assert!(digest.starts_with("sha-256=:") && digest.ends_with("=:"), "{digest}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let same = send(&app, "GET", path, &[("if-none-match", &known)], "").await.expect(304);
            assert!(same.body.is_empty() && same.header("etag") == Some(&tag));
        }
        send(&app, "GET", path, &[("if-none-match", "\"x\"")], "").await.expect(200);
        send(&app, "POST", path, &[], "").await.refused(405, "malformed");
    }
    for path in ["/authority/third/bundle", "/bundle?authority=third", "/authority/second/", "/authority"] {
        get(&app, path).await.refused(404, "malformed");
    }
    for root in [one, two] {
        get(&app, &format!("/root/{}", fingerprint(root))).await.expect(200);
    }
    get(&app, "/readyz").await.expect(200);
    // Any of them is needed.
    stand.second.as_ref().unwrap().1.broken.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1001)).await;
    get(&app, "/readyz").await.expect(503);
}
