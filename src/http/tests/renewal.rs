//! Renewal information and replacement (RFC 9773).

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::client::*;
use crate::jose::base64url;
use crate::service::stand::{Fault, HOUR, START, Stand};
use crate::service::sweep::Cursors;
use crate::storage::Table;
use crate::time::{Clock, Timestamp};

/// The identifier that a client makes of a certificate (RFC 9773 §4.1).
pub(super) fn id_of(der: &[u8]) -> String {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    let key = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|key| key.0.to_vec()),
        _ => None,
    });
    format!("{}.{}", base64url(&key.unwrap()), base64url(parsed.raw_serial()))
}

pub(super) fn info_path(id: &str) -> String {
    format!("/acme/acme/renewal-info/{id}")
}

pub(super) fn window(reply: &Reply) -> (Timestamp, Timestamp) {
    let at = |pointer| Timestamp::parse_rfc3339(&reply.at(pointer)).unwrap();
    (at("/suggestedWindow/start"), at("/suggestedWindow/end"))
}

fn pause_of(reply: &Reply) -> u64 {
    reply.header("retry-after").unwrap().parse().unwrap()
}

async fn replacing(client: &Client, names: &[&str], replaces: impl Into<Value>) -> Reply {
    let payload = json!({ "identifiers": identifiers(names), "replaces": replaces.into() });
    client.post(&client.url("new-order"), &payload).await
}

async fn finish(client: &Client, order: &Reply, names: &[&str]) -> Reply {
    let order = client.prove(order).await;
    client.finalize(&order, &csr(names, &leaf_key())).await
}

#[tokio::test]
async fn anybody_hears_when_to_renew() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let directory = get(&app, "/acme/acme/directory").await.expect(200);
    assert_eq!(directory.at("/renewalInfo"), client.url("renewal-info"));

    let der = client.obtain(&["a.test"], &leaf_key()).await;
    let path = info_path(&id_of(&der));
    let (reads, commits) =
        (stand.store.reads.load(Ordering::SeqCst), stand.store.commits.load(Ordering::SeqCst));
    let info = get(&app, &path).await.expect(200);
    assert_eq!(stand.store.reads.load(Ordering::SeqCst), reads + 1, "one read");
    assert_eq!(stand.store.commits.load(Ordering::SeqCst), commits);
    assert_eq!(info.header("content-type"), Some("application/json"));
    assert_eq!(info.header("retry-after"), Some("21600"));
    assert_eq!(info.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(info.header("replay-nonce"), None);
    assert_eq!(info.header("link").unwrap(), format!("<{}>;rel=\"index\"", client.url("directory")));
    assert_eq!(info.json().as_object().unwrap().len(), 1, "no explanation of what needs none");
    let (start, end) = window(&info);
    let life = 24 * HOUR + Duration::from_secs(60);
    let begin = START - Duration::from_secs(60);
    assert!(start >= begin + life * 6 / 10 && end <= begin + life * 72 / 100 && start < end);
    let head = send(&app, "HEAD", &path, &[], "").await.expect(200);
    assert_eq!(head.header("retry-after"), Some("21600"));

    // The same from every process, and at every time; asked again just in time.
    stand.clock.advance(12 * HOUR);
    let later = get(&app, &path).await.expect(200);
    assert_eq!(window(&later), (start, end));
    assert!(stand.clock.now() + Duration::from_secs(pause_of(&later)) < end);
    stand.clock.set(start);
    assert!(pause_of(&get(&app, &path).await.expect(200)) <= end.since(start).as_secs());

    for method in ["POST", "PUT", "DELETE"] {
        let reply = send(&app, method, &path, &[JOSE], "{}").await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[tokio::test]
async fn short_lives_are_asked_for_sooner() {
    let stand = Stand::with(|terms| terms.lifetimes.default = Duration::from_secs(300)).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let der = client.obtain(&["a.test"], &leaf_key()).await;
    let info = get(&app, &info_path(&id_of(&der))).await.expect(200);
    assert_eq!(info.header("retry-after"), Some("90"));
    let (start, end) = window(&info);
    assert!(start.since(START) >= Duration::from_secs(155) && end.since(START) <= Duration::from_secs(200));
}

#[tokio::test]
async fn what_is_not_known_is_not_found_and_what_is_no_identifier_is_malformed() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let der = client.obtain(&["a.test"], &leaf_key()).await;
    let id = id_of(&der);
    let (issuer, serial) = id.split_once('.').unwrap();
    let other_issuer = base64url(&[7; 20]);
    let other_serial = base64url(&[7; 19]);
    let unknown = [
        info_path(&format!("{issuer}.{other_serial}")),
        info_path(&format!("{other_issuer}.{serial}")),
        info_path("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"),
        // The CA's own certificate was not issued to an account.
        info_path(&id_of(&stand.hierarchy.intermediate_der)),
        // Another provisioner's door.
        info_path(&id).replace("/acme/acme/", "/acme/other/"),
        "/acme/acme/renewal-info".to_owned(),
        format!("{}/", info_path(&id)),
    ];
    for path in unknown {
        get(&app, &path).await.refused(404, "malformed");
    }
    let malformed = [
        "x".to_owned(),
        issuer.to_owned(),
        format!("{issuer}."),
        format!(".{serial}"),
        format!("{issuer}={serial}"),
        format!("{issuer}=.{serial}"),
        format!("{id}="),
        format!("{id}.{serial}"),
        format!("{issuer}.gA"),
        format!("{issuer}.AAE"),
        format!("{issuer}%2E{serial}"),
    ];
    for text in malformed {
        get(&app, &info_path(&text)).await.refused(400, "malformed");
        replacing(&client, &["a.test"], text.as_str()).await.refused(400, "malformed");
    }
    for odd in [json!(7), json!([id]), json!({})] {
        replacing(&client, &["a.test"], odd).await.refused(400, "malformed");
    }
    stand.store.down.store(true, Ordering::SeqCst);
    get(&app, &info_path(&id)).await.refused(500, "serverInternal");
}

#[tokio::test]
async fn revocation_moves_the_window_at_once() {
    let page = "https://wiki.test/incident";
    let stand = Stand::with(|terms| terms.renewal_explanation = Some(page.into())).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let der = client.obtain(&["a.test"], &leaf_key()).await;
    let path = info_path(&id_of(&der));
    assert_eq!(get(&app, &path).await.expect(200).json()["explanationURL"], Value::Null);
    stand.clock.advance(HOUR);
    client.revoke(&der, Some(1)).await.expect(200);
    let info = get(&app, &path).await.expect(200);
    let (start, end) = window(&info);
    assert!(start < end && end <= stand.clock.now());
    assert_eq!(info.at("/explanationURL"), page);
    // It stays there.
    stand.clock.advance(9 * HOUR);
    assert_eq!(window(&get(&app, &path).await.expect(200)), (start, end));
}

#[tokio::test]
async fn a_certificate_is_replaced_once() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let names = ["a.test", "b.test"];
    let id = id_of(&client.obtain(&names, &leaf_key()).await);

    let order = replacing(&client, &["c.test", "b.test"], id.as_str()).await.expect(201);
    assert_eq!(order.at("/replaces"), id);
    let url = order.location();
    assert_eq!(client.read(&url).await.expect(200).at("/replaces"), id);
    // While that may still be finalized, no other.
    let taken = replacing(&client, &names, id.as_str()).await;
    taken.refused(409, "alreadyReplaced");
    // Without the mark as ever.
    assert_eq!(client.order(&names).await.expect(201).json()["replaces"], Value::Null);

    let done = finish(&client, &order, &["c.test", "b.test"]).await.expect(200);
    assert_eq!((done.state().as_str(), done.at("/replaces")), ("valid", id.clone()));
    replacing(&client, &names, id.as_str()).await.refused(409, "alreadyReplaced");
    let serial = done.at("/certificate").rsplit('/').next().unwrap().to_owned();
    let marks: Vec<_> = stand.certificates().await.into_iter().map(|c| c.details.replaced_by).collect();
    let made: Vec<_> = marks.into_iter().flatten().map(|mark| mark.serial.unwrap().to_string()).collect();
    assert_eq!(made, [serial]);

    // For good: also when the order is not there any more.
    stand.clock.advance(12 * HOUR);
    let mut cursors = Cursors::default();
    while stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap().more {}
    assert_eq!(stand.rows(Table::Orders).await, 0);
    replacing(&client, &names, id.as_str()).await.refused(409, "alreadyReplaced");
    // The new one in its turn.
    let next = id_of(&client.download(&done.at("/certificate")).await[0]);
    replacing(&client, &names, next.as_str()).await.expect(201);
}

#[tokio::test]
async fn an_order_that_came_to_nothing_replaced_nothing() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let id = id_of(&client.obtain(&["a.test"], &leaf_key()).await);
    // Given up.
    let order = replacing(&client, &["a.test", "x.test"], id.as_str()).await.expect(201);
    let pending = order.at("/authorizations/1");
    client.post(&pending, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(client.read(&order.location()).await.expect(200).state(), "invalid");
    // Run out.
    let order = replacing(&client, &["a.test"], id.as_str()).await.expect(201);
    stand.clock.advance(3 * HOUR);
    assert_eq!(client.read(&order.location()).await.expect(200).state(), "invalid");
    // Run out and swept.
    replacing(&client, &["a.test"], id.as_str()).await.expect(201);
    stand.clock.advance(11 * HOUR);
    let mut cursors = Cursors::default();
    while stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap().more {}
    assert_eq!(stand.rows(Table::Orders).await, 0);
    // And a revoked one is replaced like any other.
    let der = stand.certificates().await.remove(0).der;
    client.revoke(&der, None).await.expect(200);
    let order = replacing(&client, &["a.test"], id.as_str()).await.expect(201);
    finish(&client, &order, &["a.test"]).await.expect(200);
    let record = stand.certificates().await.into_iter().find(|record| record.der == der).unwrap();
    assert!(record.revocation.is_some(), "the mark took nothing away");
    replacing(&client, &["a.test"], id.as_str()).await.refused(409, "alreadyReplaced");
}

#[tokio::test]
async fn what_may_not_be_replaced() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let (owner, stranger) = (Client::new(&app).await, Client::new(&app).await);
    let id = id_of(&owner.obtain(&["a.test"], &leaf_key()).await);
    let (issuer, serial) = id.split_once('.').unwrap();
    stranger.obtain(&["a.test"], &leaf_key()).await;
    let rows = [
        (&stranger, "a.test", id.clone(), (403, "unauthorized")),
        (&owner, "b.test", id.clone(), (400, "malformed")),
        (&owner, "*.a.test", id.clone(), (400, "malformed")),
        (&owner, "a.test", format!("{issuer}.{}", base64url(&[9; 19])), (400, "malformed")),
        (&owner, "a.test", format!("{}.{serial}", base64url(&[9; 20])), (400, "malformed")),
        (&owner, "a.test", id_of(&stand.hierarchy.intermediate_der), (400, "malformed")),
        (&owner, "a.test", "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".to_owned(), (400, "malformed")),
    ];
    let orders = stand.rows(Table::Orders).await;
    for (client, name, replaces, (status, kind)) in rows {
        replacing(client, &[name], replaces.as_str()).await.refused(status, kind);
    }
    let mut elsewhere = Client::stranger(&app);
    elsewhere.base = format!("{BASE}/acme/other");
    elsewhere.kid = elsewhere.register(&json!({})).await.expect(201).location();
    replacing(&elsewhere, &["a.test"], id.as_str()).await.refused(400, "malformed");
    assert_eq!(stand.rows(Table::Orders).await, orders, "nothing was opened");
    let none = json!({ "identifiers": identifiers(&["a.test"]), "replaces": null });
    owner.post(&owner.url("new-order"), &none).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_orders_one_replaces() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let url = client.url("new-order");
    for _ in 0..8 {
        let id = id_of(&client.obtain(&["a.test"], &leaf_key()).await);
        let payload = json!({ "identifiers": identifiers(&["a.test"]), "replaces": id }).to_string();
        let mut tasks = Vec::new();
        for _ in 0..16 {
            let body = client.key.jws(&client.header(&url).await, payload.as_bytes()).to_string();
            let (app, path) = (app.clone(), path_of(&url));
            tasks.push(tokio::spawn(async move { send(&app, "POST", &path, &[JOSE], body).await }));
        }
        let mut opened = 0;
        for task in tasks {
            let reply = task.await.unwrap();
            match reply.status.as_u16() {
                201 => opened += 1,
                _ => reply.refused(409, "alreadyReplaced"),
            }
        }
        assert_eq!(opened, 1);
        stand.clock.advance(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn faults_leave_no_mark_behind_that_counts() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let id = id_of(&client.obtain(&["a.test"], &leaf_key()).await);
    for (fault, status) in [(Fault::Busy, 503), (Fault::Conflict, 503), (Fault::Failed, 500)] {
        stand.store.fail(0, fault);
        replacing(&client, &["a.test"], id.as_str()).await.refused(status, "serverInternal");
    }
    let order = replacing(&client, &["a.test"], id.as_str()).await.expect(201);
    let url = order.location();
    let request = csr(&["a.test"], &leaf_key());
    stand.store.fail(0, Fault::Conflict);
    client.finalize(&url, &request).await.refused(503, "serverInternal");
    assert_eq!(client.read(&url).await.expect(200).state(), "ready");
    // Revoked between: another change of the certificate's record, and no loss of it.
    let der = stand.certificates().await.remove(0).der;
    client.revoke(&der, None).await.expect(200);
    client.finalize(&url, &request).await.expect(200);
    let record = stand.certificates().await.into_iter().find(|record| record.der == der).unwrap();
    assert!(record.revocation.is_some() && record.details.replaced_by.unwrap().serial.is_some());
}

#[tokio::test]
async fn behind_a_slow_signer_too() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let id = id_of(&client.obtain(&["a.test"], &leaf_key()).await);
    stand.signer.slow.store(true, Ordering::SeqCst);
    let order = replacing(&client, &["a.test"], id.as_str()).await.expect(201);
    finish(&client, &order, &["a.test"]).await.expect(200);
    until(&client, &order.location(), "valid").await;
    replacing(&client, &["a.test"], id.as_str()).await.refused(409, "alreadyReplaced");
}

/// An order that uses none of it reads and writes what it always did.
#[tokio::test]
async fn ordinary_orders_cost_nothing_more() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let spent = || (stand.store.reads.load(Ordering::SeqCst), stand.store.commits.load(Ordering::SeqCst));
    let before = spent();
    let order = client.order(&["a.test"]).await.expect(201);
    assert_eq!(spent(), (before.0 + 1, before.1 + 1), "a read per identifier, one commit");
    let url = client.prove(&order).await;
    let before = spent();
    client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200);
    assert_eq!(spent(), (before.0 + 1, before.1 + 1), "the order, and one commit");
    assert_eq!(stand.rows(Table::Reuse).await, 0);
}

/// A change of the issuer calls the clients over, each at its own time and none later than it would have
/// come; it is kept over a restart, and recorded once.
#[tokio::test]
async fn another_issuer_calls_the_clients_over() {
    let mut stand = Stand::new().await;
    let before = app(&stand);
    stand.service.note_issuers().await.unwrap();
    let client = Client::new(&before).await;
    let mut ids = Vec::new();
    for name in ["a.test", "b.test", "c.test", "d.test", "e.test", "f.test"] {
        ids.push(id_of(&client.obtain(&[name], &leaf_key()).await));
    }
    let windows = async |app: &std::sync::Arc<crate::http::App>| {
        let mut found = Vec::new();
        for id in &ids {
            found.push(window(&get(app, &info_path(id)).await.expect(200)));
        }
        found
    };
    let usual = windows(&before).await;
    stand.clock.advance(HOUR);
    let changed = stand.clock.now();
    stand.replace_issuer().await;
    let after = app(&stand);
    assert_eq!(windows(&after).await, usual, "not yet noted");
    stand.service.note_issuers().await.unwrap();
    let moved = windows(&after).await;
    for ((start, _), (before, _)) in moved.iter().zip(&usual) {
        assert!(*start >= changed - Duration::from_secs(1) && start <= before);
    }
    assert!(moved.iter().zip(&usual).filter(|(moved, usual)| moved < usual).count() >= 2, "{moved:?}");
    // A later start finds it noted, and tells the same; what the new one signs is not called.
    stand.clock.advance(HOUR);
    stand.restart();
    stand.service.note_issuers().await.unwrap();
    stand.service.note_issuers().await.unwrap();
    let later = app(&stand);
    assert_eq!(windows(&later).await, moved);
    let client = client.moved(&later);
    let now = stand.clock.now();
    let (start, _) =
        window(&get(&later, &info_path(&id_of(&client.obtain(&["g.test"], &leaf_key()).await))).await);
    assert!(start >= now + 14 * HOUR);
    let events = stand.events().await;
    let changes = events.iter().filter(|e| matches!(e, crate::audit::Event::IssuerChanged { .. })).count();
    assert_eq!(changes, 1);
}
