//! RFC 8739 as a client sees it.

use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::*;
use crate::acme::star::{KEPT_AFTER_END, Offer};
use crate::service::stand::{HOUR, START, Stand};
use crate::service::star::RenewalCursor;
use crate::x509::pem;

const NINE_HOURS: u64 = 9 * 3600;

async fn stand(get: bool) -> Stand {
    Stand::with(|terms| {
        let offer = Offer {
            min_lifetime: Duration::from_secs(3600),
            max_duration: 100 * 24 * HOUR,
            allow_certificate_get: get,
        };
        terms.auto_renewal = Some(offer);
    })
    .await
}

fn days(n: u32) -> String {
    (START + n * 24 * HOUR).to_rfc3339()
}

async fn ask(client: &Client, names: &[&str], auto_renewal: Value) -> Reply {
    let payload = json!({ "identifiers": identifiers(names), "auto-renewal": auto_renewal });
    client.post(&client.url("new-order"), &payload).await
}

/// An order that is being renewed, as its finalization shows it.
async fn begin(client: &Client, auto_renewal: Value) -> Reply {
    let order = ask(client, &["a.test"], auto_renewal).await.expect(201);
    let url = client.prove(&order).await;
    client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200)
}

/// What the leaf of a chain says of its validity, in the words of HTTP headers.
fn headers_of(reply: &Reply) -> (String, String) {
    let leaf = pem::parse_certificates(&reply.body).unwrap().remove(0);
    let (_, parsed) = X509Certificate::from_der(&leaf).unwrap();
    let text = |at: x509_parser::time::ASN1Time| {
        let at = at.to_datetime();
        let (day, month) = (at.weekday().to_string(), at.month().to_string());
        let clock = format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
        format!("\"{}, {:02} {} {} {clock} GMT\"", &day[..3], at.day(), &month[..3], at.year())
    };
    (text(parsed.validity().not_before), text(parsed.validity().not_after))
}

#[tokio::test]
async fn the_directory_says_what_is_offered() {
    for (get, want) in [
        (true, json!({ "min-lifetime": 3600, "max-duration": 8_640_000, "allow-certificate-get": true })),
        (false, json!({ "min-lifetime": 3600, "max-duration": 8_640_000 })),
    ] {
        let stand = stand(get).await;
        let directory = self::get(&app(&stand), "/acme/acme/directory").await.expect(200).json();
        assert_eq!(directory["meta"]["auto-renewal"], want);
        let other = self::get(&app(&stand), "/acme/other/directory").await.expect(200).json();
        assert_eq!(other["meta"].get("auto-renewal"), None);
    }
}

#[tokio::test]
async fn an_order_and_its_certificates() {
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let asked = json!({
        "start-date": START.to_rfc3339(), "end-date": days(2), "lifetime": NINE_HOURS,
        "lifetime-adjust": 5, "allow-certificate-get": true,
    });
    // The server's own padding, two thirds, is reflected in the place of what was asked for.
    let reflected = json!({
        "start-date": START.to_rfc3339(), "end-date": days(2), "lifetime": NINE_HOURS,
        "lifetime-adjust": 6 * 3600, "allow-certificate-get": true,
    });
    let order = ask(&client, &["a.test", "*.a.test"], asked).await.expect(201);
    assert_eq!(order.json()["auto-renewal"], reflected);
    assert_eq!(order.json().get("star-certificate"), None);
    let url = client.prove(&order).await;
    let done = client.finalize(&url, &csr(&["a.test", "*.a.test"], &leaf_key())).await.expect(200);
    assert_eq!(done.state(), "valid");
    let body = done.json();
    assert_eq!((body.get("certificate"), &body["auto-renewal"]), (None, &reflected));
    assert_eq!(done.at("/expires"), days(2));

    let star = done.at("/star-certificate");
    let read = client.read(&star).await.expect(200);
    assert_eq!(pem::parse_certificates(&read.body).unwrap().len(), 2, "the leaf and its issuer");
    let bare = get(&app, &path_of(&star)).await.expect(200);
    assert_eq!(bare.body, read.body);
    for reply in [&read, &bare] {
        let (not_before, not_after) = headers_of(reply);
        assert_eq!(reply.header("cert-not-before"), Some(not_before.as_str()));
        assert_eq!(reply.header("cert-not-after"), Some(not_after.as_str()));
        assert_eq!(reply.header("content-type"), Some("application/pem-certificate-chain"));
        assert!(reply.header("link").unwrap().contains("rel=\"index\""));
    }
    // A cache may keep the open one until the next certificate is there, three hours from now.
    assert_eq!(bare.header("cache-control"), Some("max-age=10800, must-revalidate"));
    assert_eq!(bare.header("replay-nonce"), None);
    let head = send(&app, "HEAD", &path_of(&star), &[], "").await.expect(200);
    assert_eq!(head.header("cert-not-after"), bare.header("cert-not-after"));

    stand.clock.set(START + 3 * HOUR);
    let next = get(&app, &path_of(&star)).await.expect(200);
    assert_ne!(next.body, bare.body);
    stand.clock.set(START + 47 * HOUR);
    let last = get(&app, &path_of(&star)).await.expect(200);
    // With no next one it is stale when it ends.
    assert_eq!(last.header("cache-control"), Some("max-age=3600, must-revalidate"));
    stand.clock.set(START + 48 * HOUR);
    for reply in [get(&app, &path_of(&star)).await, client.read(&star).await] {
        reply.refused(403, "autoRenewalExpired");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    assert_eq!(client.read(&url).await.expect(200).state(), "valid");
    stand.clock.set(START + 48 * HOUR + KEPT_AFTER_END);
    stand.service.renew_due(&mut RenewalCursor::default()).await.unwrap();
    client.read(&star).await.refused(404, "malformed");
}

#[tokio::test]
async fn a_get_without_a_signature_needs_both_sides_consent() {
    for (offered, asked) in [(false, false), (false, true), (true, false), (true, true)] {
        let stand = stand(offered).await;
        let app = app(&stand);
        let client = Client::new(&app).await;
        let auto_renewal =
            json!({ "end-date": days(2), "lifetime": NINE_HOURS, "allow-certificate-get": asked });
        let order = begin(&client, auto_renewal).await;
        let (both, want) = (offered && asked, if offered && asked { Some(json!(true)) } else { None });
        assert_eq!(order.json()["auto-renewal"].get("allow-certificate-get"), want.as_ref());
        let star = order.at("/star-certificate");
        client.read(&star).await.expect(200);
        let bare = get(&app, &path_of(&star)).await;
        if both {
            bare.expect(200);
            // Nor is it open any more when the provisioner takes that back.
            stand.reload(|terms| {
                if let Some(offer) = &mut terms.auto_renewal {
                    offer.allow_certificate_get = false;
                }
            });
            get(&app, &path_of(&star)).await.refused(405, "malformed");
        } else {
            bare.refused(405, "malformed");
            assert_eq!(bare.header("allow"), Some("POST"));
        }
        client.read(&star).await.expect(200);
        // Nobody else's, signed; and no other method.
        Client::new(&app).await.read(&star).await.refused(404, "malformed");
        send(&app, "PUT", &path_of(&star), &[], "").await.refused(405, "malformed");
        client.post(&star, &json!({})).await.refused(400, "malformed");
        let mut foreign = Client::stranger(&app);
        foreign.base = format!("{BASE}/acme/other");
        foreign.kid = foreign.register(&json!({})).await.expect(201).location();
        foreign.read(&star.replace("/acme/acme/", "/acme/other/")).await.refused(404, "malformed");
    }
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    // Ordinary orders, and none, have no such URL.
    let order = client.order(&["a.test"]).await.expect(201).location();
    let star = order.replace("/order/", "/star/");
    client.read(&star).await.refused(404, "malformed");
    get(&app, &path_of(&star)).await.refused(404, "malformed");
}

#[tokio::test]
async fn before_there_is_a_certificate() {
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let asked = json!({
        "start-date": days(1), "end-date": days(2), "lifetime": NINE_HOURS, "allow-certificate-get": true,
    });
    let order = ask(&client, &["a.test"], asked).await.expect(201);
    let star = order.location().replace("/order/", "/star/");
    client.read(&star).await.refused(403, "orderNotReady");
    let url = client.prove(&order).await;
    let done = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!((done.state(), done.at("/star-certificate")), ("valid".into(), star.clone()));
    stand.clock.set(START + 23 * HOUR);
    for reply in [client.read(&star).await, get(&app, &path_of(&star)).await] {
        reply.refused(403, "orderNotReady");
        assert!(reply.text().contains(&days(1)));
        assert_eq!(reply.header("retry-after"), Some("3600"));
    }
    stand.clock.set(START + 24 * HOUR);
    client.read(&star).await.expect(200);
}

#[tokio::test]
async fn what_is_not_accepted() {
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let good = json!({ "end-date": days(2), "lifetime": NINE_HOURS });
    let with = |key: &str, value: Value| {
        let mut changed = good.clone();
        changed[key] = value;
        changed
    };
    let rows = [
        (json!({ "lifetime": NINE_HOURS }), "end-date"),
        (json!({ "end-date": days(2) }), "lifetime"),
        (json!([]), "auto-renewal: must be a JSON object"),
        (json!([null, days(2), NINE_HOURS, null, null]), "auto-renewal: must be a JSON object"),
        (json!("yes"), "auto-renewal: must be a JSON object"),
        (with("end-date", json!("tomorrow")), "auto-renewal.end-date"),
        (with("end-date", json!(START.to_rfc3339())), "auto-renewal.end-date"),
        (with("end-date", json!(days(101))), "auto-renewal.end-date"),
        (with("start-date", json!("now")), "auto-renewal.start-date"),
        (with("start-date", json!("2020-01-01T00:00:00Z")), "auto-renewal.start-date"),
        (with("lifetime", json!(3599)), "auto-renewal.lifetime"),
        (with("lifetime", json!(0)), "auto-renewal.lifetime"),
        (with("lifetime", json!(86_400)), "auto-renewal.lifetime"),
        (with("lifetime", json!(-1)), "auto-renewal"),
        (with("lifetime", json!("1d")), "auto-renewal"),
        (with("lifetime-adjust", json!(-1)), "auto-renewal"),
        (with("allow-certificate-get", json!("yes")), "auto-renewal"),
    ];
    for (auto_renewal, words) in rows {
        let reply = ask(&client, &["a.test"], auto_renewal.clone()).await;
        reply.refused(400, "malformed");
        assert!(reply.at("/detail").contains(words), "{auto_renewal}: {}", reply.text());
    }
    // Not beside dates of its own (§3.1.1).
    for key in ["notBefore", "notAfter"] {
        let payload = json!({
            "identifiers": identifiers(&["a.test"]), "auto-renewal": good,
            key: (START + 2 * HOUR).to_rfc3339(),
        });
        let reply = client.post(&client.url("new-order"), &payload).await;
        reply.refused(400, "malformed");
        assert!(reply.at("/detail").contains("auto-renewal"), "{}", reply.text());
    }
    assert!(stand.orders().await.is_empty());
    // A null is no wish; a name is allowed or not as in any order.
    assert_eq!(ask(&client, &["a.test"], Value::Null).await.expect(201).json().get("auto-renewal"), None);
    // Where it is not offered it is not passed over in silence.
    let mut other = Client::stranger(&app);
    other.base = format!("{BASE}/acme/other");
    other.kid = other.register(&json!({})).await.expect(201).location();
    let reply = ask(&other, &["a.test"], good).await;
    reply.refused(400, "malformed");
    assert!(reply.at("/detail").contains("not offered"), "{}", reply.text());
}

#[tokio::test]
async fn canceling_and_revoking() {
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let cancel = json!({ "status": "canceled" });
    let auto_renewal = json!({ "end-date": days(2), "lifetime": NINE_HOURS, "allow-certificate-get": true });
    // Not one that is not valid, and not one that is not renewed.
    let pending = ask(&client, &["b.test"], auto_renewal.clone()).await.expect(201).location();
    client.post(&pending, &cancel).await.refused(400, "autoRenewalCancellationInvalid");
    let plain = client.order(&["c.test"]).await.expect(201).location();
    client.post(&plain, &cancel).await.refused(400, "autoRenewalCancellationInvalid");

    let order = begin(&client, auto_renewal).await;
    let (url, star) = (order.location(), order.at("/star-certificate"));
    for payload in [json!({}), json!({ "status": "valid" }), json!({ "status": 1 }), json!(["canceled"])] {
        client.post(&url, &payload).await.refused(400, "malformed");
    }
    // Its certificates are not revoked, by the account or by their key (§3.1.2),
    let der = client.download(&star).await.remove(0);
    for reason in [None, Some(1)] {
        client.revoke(&der, reason).await.refused(403, "autoRenewalRevocationNotSupported");
    }
    let mut foreign = Client::stranger(&app);
    foreign.base = format!("{BASE}/acme/other");
    foreign.kid = foreign.register(&json!({})).await.expect(201).location();
    foreign.revoke(&der, None).await.refused(403, "unauthorized");
    // nor read at a URL that would outlive the cancellation.
    let serial = X509Certificate::from_der(&der).unwrap().1.raw_serial().to_vec();
    let serial = crate::x509::serial::Serial::from_bytes(&serial).unwrap();
    client.read(&client.url(&format!("cert/{serial}"))).await.refused(404, "malformed");

    Client::new(&app).await.post(&url, &cancel).await.refused(404, "malformed");
    let canceled = client.post(&url, &cancel).await.expect(200);
    assert_eq!(canceled.state(), "canceled");
    assert_eq!(canceled.json().get("star-certificate"), None);
    assert_eq!(canceled.at("/expires"), (START + 9 * HOUR).to_rfc3339());
    for _ in 0..2 {
        client.read(&star).await.refused(403, "autoRenewalCanceled");
        get(&app, &path_of(&star)).await.refused(403, "autoRenewalCanceled");
        assert_eq!(client.read(&url).await.expect(200).state(), "canceled");
        client.post(&url, &cancel).await.refused(400, "autoRenewalCancellationInvalid");
        client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.refused(403, "orderNotReady");
        stand.clock.set(START + 30 * HOUR);
        stand.service.renew_due(&mut RenewalCursor::default()).await.unwrap();
    }
    assert_eq!(stand.certificates().await.len(), 1);
}

#[tokio::test]
async fn a_closed_account_has_no_certificate_to_show() {
    let stand = stand(true).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let auto_renewal = json!({ "end-date": days(2), "lifetime": NINE_HOURS, "allow-certificate-get": true });
    let star = begin(&client, auto_renewal).await.at("/star-certificate");
    get(&app, &path_of(&star)).await.expect(200);
    client.post(&client.kid, &json!({ "status": "deactivated" })).await.expect(200);
    get(&app, &path_of(&star)).await.refused(403, "autoRenewalCanceled");
    client.read(&star).await.refused(401, "unauthorized");
}
