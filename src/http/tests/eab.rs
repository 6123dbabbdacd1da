//! External account binding (RFC 8555 §7.3.4), and names that it vouches for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::*;
use super::races::{MANY, posting, signed, storm};
use crate::audit::Event;
use crate::http::App;
use crate::jose::base64url;
use crate::jose::mac::MacAlgorithm;
use crate::provisioner::eab::{EabAsk, EabKey, EabMode};
use crate::service::eab::ListedKey;
use crate::service::stand::{HOUR, Stand};
use crate::storage::Table;

const DAY: Duration = Duration::from_secs(86_400);

async fn stand() -> Stand {
    Stand::with(|terms| terms.eab = EabMode::Required).await
}

async fn trusting() -> Stand {
    Stand::with(|terms| {
        terms.eab = EabMode::Required;
        terms.eab_trusts_names = true;
    })
    .await
}

pub(super) async fn key(stand: &Stand, allow: &[&str], max_uses: u32, trusts_names: bool) -> EabKey {
    let ask = EabAsk {
        provisioner: "acme".into(),
        allow: allow.iter().map(|rule| (*rule).to_owned()).collect(),
        lifetime: DAY,
        max_uses,
        label: String::new(),
        trusts_names,
    };
    stand.service.create_eab_key(ask, None).await.unwrap()
}

pub(super) async fn uses(stand: &Stand, key: &EabKey) -> u32 {
    let listed: Vec<ListedKey> = stand.service.eab_keys(None).await.unwrap();
    listed.iter().find(|listed| listed.key.kid == key.kid).unwrap().uses
}

/// A binding of any header and payload.
fn mac(key: &EabKey, algorithm: MacAlgorithm, header: &Value, payload: &str) -> Value {
    let (protected, payload) = (base64url(header.to_string().as_bytes()), base64url(payload.as_bytes()));
    let mac = algorithm.sign(key.secret.as_bytes(), format!("{protected}.{payload}").as_bytes());
    json!({ "protected": protected, "payload": payload, "signature": base64url(&mac) })
}

fn header(client: &Client, key: &EabKey) -> Value {
    json!({ "alg": "HS256", "kid": key.kid.to_string(), "url": client.url("new-account") })
}

pub(super) fn binding(client: &Client, key: &EabKey) -> Value {
    mac(key, MacAlgorithm::Hs256, &header(client, key), &client.key.jwk.to_string())
}

pub(super) async fn register(client: &Client, binding: &Value) -> Reply {
    client.register(&json!({ "externalAccountBinding": binding })).await
}

pub(super) async fn bound(app: &Arc<App>, key: &EabKey) -> Client {
    let mut client = Client::stranger(app);
    client.kid = register(&client, &binding(&client, key)).await.expect(201).location();
    client
}

#[tokio::test]
async fn the_directory_tells_and_who_has_no_key_is_refused() {
    let stand = stand().await;
    let app = app(&stand);
    for (mode, required) in [(EabMode::Required, true), (EabMode::Optional, false), (EabMode::Off, false)] {
        stand.reload(|terms| terms.eab = mode);
        let meta = get(&app, "/acme/acme/directory").await.expect(200).json();
        assert_eq!(meta["meta"]["externalAccountRequired"], required, "{mode:?}");
        let stranger = Client::stranger(&app);
        for payload in [json!({}), json!({ "externalAccountBinding": null })] {
            let reply = stranger.register(&payload).await;
            if required {
                reply.refused(403, "externalAccountRequired");
            } else {
                assert!(matches!(reply.status.as_u16(), 200 | 201));
                assert!(reply.json().get("externalAccountBinding").is_none());
            }
        }
        // Nobody is made to look for what is not there.
        let existing = Client::stranger(&app).register(&json!({ "onlyReturnExisting": true })).await;
        existing.refused(400, "accountDoesNotExist");
    }
}

#[tokio::test]
async fn every_algorithm_binds_and_the_account_shows_it() {
    let stand = stand().await;
    let app = app(&stand);
    let key = key(&stand, &[], 10, false).await;
    for (done, (algorithm, name)) in (1_u32..).zip(MacAlgorithm::TABLE) {
        let mut client = Client::stranger(&app);
        let mut header = header(&client, &key);
        header["alg"] = json!(name);
        let binding = mac(&key, *algorithm, &header, &client.key.jwk.to_string());
        let created = register(&client, &binding).await.expect(201);
        assert_eq!(created.json()["externalAccountBinding"], binding, "{name}");
        client.kid = created.location();
        assert_eq!(client.read(&client.kid).await.expect(200).json()["externalAccountBinding"], binding);
        assert_eq!(uses(&stand, &key).await, done);
        // The same key again is the same account and no further use.
        let again = register(&client, &binding).await.expect(200);
        assert_eq!((again.location(), uses(&stand, &key).await), (client.kid.clone(), done));
        let unbound = client.register(&json!({})).await.expect(200);
        assert_eq!(unbound.json()["externalAccountBinding"], binding);
        // It is not the client's to change.
        let update = json!({ "contact": ["mailto:a@b.test"], "externalAccountBinding": {} });
        let updated = client.post(&client.kid, &update).await.expect(200);
        assert_eq!(updated.json()["externalAccountBinding"], binding);
    }
    let events = stand.events().await;
    let told =
        events.iter().filter(|event| matches!(event, Event::AccountBound { kid, .. } if *kid == key.kid));
    assert_eq!(told.count(), 3);
}

#[tokio::test]
async fn bindings_that_are_not_right_are_refused() {
    let stand = stand().await;
    let app = app(&stand);
    let good = key(&stand, &[], 1, false).await;
    let other = key(&stand, &[], 1, false).await;
    let client = Client::stranger(&app);
    let jwk = client.key.jwk.to_string();
    let made = |header: Value, payload: &str| mac(&good, MacAlgorithm::Hs256, &header, payload);
    let with = |name: &str, value: Value| {
        let mut header = header(&client, &good);
        header[name] = value;
        made(header, &jwk)
    };
    let without = |name: &str| {
        let mut header = header(&client, &good);
        header.as_object_mut().unwrap().remove(name);
        made(header, &jwk)
    };
    let spoilt = |name: &str, value: Value| {
        let mut binding = binding(&client, &good);
        binding[name] = value;
        binding
    };
    let stranger = Key::new().jwk.to_string();
    let rows = [
        ("alg none", with("alg", json!("none")), 400, "malformed"),
        ("alg of a signature", with("alg", json!("ES256")), 400, "malformed"),
        ("no alg", without("alg"), 400, "malformed"),
        ("another MAC than alg says", with("alg", json!("HS512")), 403, "unauthorized"),
        ("a nonce", with("nonce", json!(client.nonce().await)), 400, "malformed"),
        ("an empty nonce", with("nonce", json!("")), 400, "malformed"),
        ("another url", with("url", json!(client.url("new-order"))), 400, "malformed"),
        (
            "another provisioner's url",
            with("url", json!("https://ca.test/acme/other/new-account")),
            400,
            "malformed",
        ),
        ("no url", without("url"), 400, "malformed"),
        ("no kid", without("kid"), 400, "malformed"),
        ("a jwk", with("jwk", client.key.jwk.clone()), 400, "malformed"),
        ("crit", with("crit", json!(["x"])), 400, "malformed"),
        (
            "an unknown kid",
            with("kid", json!(crate::id::EabKid::new([9; 16]).to_string())),
            403,
            "unauthorized",
        ),
        ("a kid that is none of ours", with("kid", json!("../../etc/passwd")), 403, "unauthorized"),
        ("another key's kid", with("kid", json!(other.kid.to_string())), 403, "unauthorized"),
        ("another account's key", made(header(&client, &good), &stranger), 400, "malformed"),
        ("no key", made(header(&client, &good), "{}"), 400, "malformed"),
        ("an empty payload", made(header(&client, &good), ""), 400, "malformed"),
        ("no MAC", spoilt("signature", json!("")), 403, "unauthorized"),
        ("half a MAC", spoilt("signature", json!(base64url(&[0; 16]))), 403, "unauthorized"),
        ("not base64url", spoilt("signature", json!("=")), 400, "malformed"),
        ("one member more", spoilt("header", json!({})), 400, "malformed"),
        ("a list", json!([]), 400, "malformed"),
        ("a text", json!("x"), 400, "malformed"),
        ("nothing in it", json!({}), 400, "malformed"),
    ];
    for (what, binding, status, kind) in rows {
        let reply = register(&client, &binding).await;
        assert_eq!(
            (reply.status.as_u16(), reply.problem().as_str()),
            (status, kind),
            "{what}: {}",
            reply.text()
        );
        let secret = good.secret.reveal();
        assert!(!reply.text().contains(&secret), "{what}");
    }
    assert_eq!((uses(&stand, &good).await, uses(&stand, &other).await), (0, 0));
    assert_eq!(stand.rows(Table::Accounts).await, 0);
    // And the one that is right is.
    register(&client, &binding(&client, &good)).await.expect(201);
}

#[tokio::test]
async fn keys_run_out_expire_and_are_revoked() {
    let stand = stand().await;
    let app = app(&stand);
    let used = key(&stand, &[], 1, false).await;
    let first = bound(&app, &used).await;
    let late = Client::stranger(&app);
    let reply = register(&late, &binding(&late, &used)).await;
    reply.refused(403, "unauthorized");
    assert!(reply.text().contains("as many accounts"), "{}", reply.text());

    let expiring = key(&stand, &[], 5, false).await;
    let second = bound(&app, &expiring).await;
    let revoked = key(&stand, &[], 5, false).await;
    stand.service.revoke_eab_key(revoked.kid, None).await.unwrap();
    let reply = register(&late, &binding(&late, &revoked)).await;
    reply.refused(403, "unauthorized");
    assert!(reply.text().contains("revoked"), "{}", reply.text());
    stand.clock.advance(DAY + HOUR);
    let reply = register(&late, &binding(&late, &expiring)).await;
    reply.refused(403, "unauthorized");
    assert!(reply.text().contains("expired"), "{}", reply.text());

    // Neither count nor time ends those who are in.
    for client in [&first, &second] {
        client.obtain(&["a.test"], &leaf_key()).await;
    }
}

#[tokio::test]
async fn where_bindings_are_not_looked_at_they_are_not_shown() {
    let stand = Stand::new().await;
    let client = Client::stranger(&app(&stand));
    for nonsense in [json!({}), json!("x"), json!({ "protected": "e30", "payload": "e30", "signature": "" })]
    {
        let reply = register(&client, &nonsense).await;
        assert!(matches!(reply.status.as_u16(), 200 | 201), "{}", reply.text());
        assert!(reply.json().get("externalAccountBinding").is_none());
    }
}

#[tokio::test]
async fn accounts_may_ask_for_names_in_their_key_s_scope_only() {
    let stand = stand().await;
    let app = app(&stand);
    let client = bound(&app, &key(&stand, &["a.test", "*.b.test"], 1, false).await).await;
    client.obtain(&["a.test", "x.b.test"], &leaf_key()).await;
    client.order(&["c.test"]).await.refused(400, "rejectedIdentifier");
    let mixed = client.order(&["a.test", "c.test", "b.test"]).await;
    mixed.refused(400, "rejectedIdentifier");
    assert_eq!(mixed.json()["subproblems"].as_array().unwrap().len(), 2);
    // Not by way of what the provisioner does when bindings are switched off again.
    stand.reload(|terms| terms.eab = EabMode::Off);
    client.order(&["c.test"]).await.refused(400, "rejectedIdentifier");
    Client::new(&app).await.order(&["c.test"]).await.expect(201);
}

#[tokio::test]
async fn a_revoked_key_ends_orders_and_finalizations_at_once() {
    for slow in [false, true] {
        let stand = stand().await;
        stand.signer.slow.store(slow, Ordering::SeqCst);
        let key = key(&stand, &[], 2, false).await;
        let client = bound(&app(&stand), &key).await;
        let certificate = client.obtain(&["old.test"], &leaf_key()).await;
        let order = client.order(&["a.test"]).await.expect(201);
        let order = client.prove(&order).await;
        stand.service.revoke_eab_key(key.kid, None).await.unwrap();
        client.order(&["a.test"]).await.refused(403, "unauthorized");
        client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.refused(403, "unauthorized");
        assert_eq!(stand.certificates().await.len(), 1);
        // What they have is theirs to look at, and to revoke.
        client.read(&client.kid).await.expect(200);
        client.revoke(&certificate, None).await.expect(200);
    }
}

#[tokio::test]
async fn a_revocation_reaches_an_order_that_waits_for_its_signature() {
    let stand = trusting().await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(300);
    let key = key(&stand, &["a.test"], 1, true).await;
    let client = bound(&app(&stand), &key).await;
    let order = client.order(&["a.test"]).await.expect(201).location();
    let payload = json!({ "csr": base64url(&csr(&["a.test"], &leaf_key())) });
    let url = format!("{order}/finalize");
    let body = signed(&client, &url, &payload).await;
    let finalizing = tokio::spawn(posting(&client, &url, body));
    until(&client, &order, "processing").await;
    stand.service.revoke_eab_key(key.kid, None).await.unwrap();
    let _ = finalizing.await.unwrap();
    let ended = until(&client, &order, "invalid").await;
    assert!(ended.at("/error/type").ends_with("unauthorized"), "{}", ended.text());
    assert_eq!(stand.certificates().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_registrations_as_many_succeed_as_the_key_has_uses() {
    let stand = stand().await;
    let app = app(&stand);
    for allowed in [1, 1, 1, 1, 1, 1, 1, 7, MANY] {
        let key = key(&stand, &[], u32::try_from(allowed).unwrap(), false).await;
        let before = stand.rows(Table::Accounts).await;
        let (mut clients, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..MANY {
            let client = Client::stranger(&app);
            let url = client.url("new-account");
            let payload = json!({ "externalAccountBinding": binding(&client, &key) }).to_string();
            bodies.push(client.key.jws(&client.bare_header(&url).await, payload.as_bytes()).to_string());
            clients.push(client);
        }
        let url = clients[0].url("new-account");
        let replies = storm(|n| posting(&clients[n], &url, bodies[n].clone())).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), allowed);
        let lost: Vec<_> = replies.iter().filter(|reply| reply.status != 201).collect();
        lost.iter().for_each(|reply| reply.refused(403, "unauthorized"));
        assert_eq!(uses(&stand, &key).await as usize, allowed);
        assert_eq!(stand.rows(Table::Accounts).await, before + allowed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_registration_sent_many_times_is_one_use_and_one_account() {
    let stand = stand().await;
    let app = app(&stand);
    for _ in 0..5 {
        let key = key(&stand, &[], 1, false).await;
        let client = Client::stranger(&app);
        let url = client.url("new-account");
        let payload = json!({ "externalAccountBinding": binding(&client, &key) }).to_string();
        let mut bodies = Vec::new();
        for _ in 0..MANY {
            bodies.push(client.key.jws(&client.bare_header(&url).await, payload.as_bytes()).to_string());
        }
        let replies = storm(|n| posting(&client, &url, bodies[n].clone())).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
        let again = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!((again, uses(&stand, &key).await), (MANY - 1, 1));
    }
}

#[tokio::test]
async fn a_new_account_key_does_not_loosen_the_binding() {
    let stand = stand().await;
    let key = key(&stand, &["a.test"], 1, false).await;
    let mut client = bound(&app(&stand), &key).await;
    let (url, fresh) = (client.url("key-change"), Key::new());
    let inner = json!({ "account": client.kid, "oldKey": client.key.jwk }).to_string();
    let inner = fresh.jws(&json!({ "alg": "ES256", "jwk": fresh.jwk, "url": url }), inner.as_bytes());
    let shown = client.post(&url, &inner).await.expect(200).json()["externalAccountBinding"].clone();
    client.key = fresh;
    assert_eq!(client.read(&client.kid).await.expect(200).json()["externalAccountBinding"], shown);
    client.order(&["b.test"]).await.refused(400, "rejectedIdentifier");
    stand.service.revoke_eab_key(key.kid, None).await.unwrap();
    client.order(&["a.test"]).await.refused(403, "unauthorized");
}

#[tokio::test]
async fn a_registration_whose_commit_failed_uses_nothing_up() {
    use crate::service::stand::Fault;
    let stand = stand().await;
    let app = app(&stand);
    let key = key(&stand, &[], 1, false).await;
    let client = Client::stranger(&app);
    for (fault, status) in [(Fault::Busy, 503), (Fault::NoSpace, 503), (Fault::Failed, 500)] {
        stand.store.fail(0, fault);
        assert_eq!(register(&client, &binding(&client, &key)).await.status, status, "{fault:?}");
        assert_eq!(uses(&stand, &key).await, 0);
    }
    // A lost race is run again.
    stand.store.fail(0, Fault::Conflict);
    register(&client, &binding(&client, &key)).await.expect(201);
    assert_eq!(uses(&stand, &key).await, 1);
    // Applied, and its reply lost: the client asks again, and is in.
    let key = self::key(&stand, &[], 1, false).await;
    let client = Client::stranger(&app);
    stand.store.fail(0, Fault::FailedAfter);
    assert_eq!(register(&client, &binding(&client, &key)).await.status, 500);
    register(&client, &binding(&client, &key)).await.expect(200);
    assert_eq!(uses(&stand, &key).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_gets_past_a_revocation_that_returned() {
    for round in 0..20_usize {
        let stand = trusting().await;
        let key = key(&stand, &["a.test"], 1, true).await;
        let client = bound(&app(&stand), &key).await;
        let (mut urls, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            let order = client.order(&["a.test"]).await.expect(201).location();
            let url = format!("{order}/finalize");
            let payload = json!({ "csr": base64url(&csr(&["a.test"], &leaf_key())) });
            bodies.push(signed(&client, &url, &payload).await);
            urls.push(url);
        }
        let tasks: Vec<_> = urls
            .iter()
            .zip(&bodies)
            .map(|(url, body)| tokio::spawn(posting(&client, url, body.clone())))
            .collect();
        if round % 2 == 1 {
            tokio::task::yield_now().await;
        }
        stand.service.revoke_eab_key(key.kid, None).await.unwrap();
        let at_return = stand.certificates().await.len();
        let mut won = 0;
        for task in tasks {
            let reply = task.await.unwrap();
            match reply.status.as_u16() {
                200 => won += 1,
                // 503: the key changed under it; the same again would hear what became of it.
                status => assert!(matches!(status, 403 | 503), "{}", reply.text()),
            }
        }
        assert_eq!((stand.certificates().await.len(), won), (at_return, at_return), "round {round}");
    }
}

#[tokio::test]
async fn trusted_names_need_no_challenge_and_leave_no_proof() {
    let stand = trusting().await;
    // Neither the wildcard nor the address could be proved by this.
    stand.reload(|terms| terms.challenges = vec![crate::acme::challenge::ChallengeKind::TlsAlpn01]);
    let key = key(&stand, &["*.a.test", "10.0.0.0/8"], 2, true).await;
    let client = bound(&app(&stand), &key).await;
    let names = ["x.a.test", "*.a.test", "10.0.0.1"];
    let order = client.order(&names).await.expect(201);
    assert_eq!(order.state(), "ready");
    for authorization in order.json()["authorizations"].as_array().unwrap() {
        let url = authorization.as_str().unwrap();
        let object = client.read(url).await.expect(200).json();
        assert_eq!((&object["status"], &object["challenges"]), (&json!("valid"), &json!([])), "{object}");
        assert_eq!(object["expires"], order.json()["expires"]);
        let challenge = url.replace("/authz/", "/chall/") + "/tls-alpn-01";
        assert_eq!(client.post(&challenge, &json!({})).await.status, 404);
    }
    let done = client.finalize(&order.location(), &csr(&names, &leaf_key())).await.expect(200);
    assert_eq!((done.state().as_str(), stand.certificates().await.len()), ("valid", 1));
    assert!(names.iter().all(|name| stand.script.calls(name) == 0));
    assert_eq!(stand.rows(Table::Grants).await, 0);
    let events = stand.events().await;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::NamesTrusted { kid, identifiers, .. } => Some((*kid, identifiers.len())),
            Event::AuthorizationValid { .. } => panic!("nothing was validated"),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(key.kid, 3)]);
    client.order(&["x.b.test"]).await.refused(400, "rejectedIdentifier");
}

#[tokio::test]
async fn trust_ends_when_key_provisioner_or_client_say_so() {
    let stand = trusting().await;
    let key = key(&stand, &["a.test"], 2, true).await;
    let client = bound(&app(&stand), &key).await;
    let csr = csr(&["a.test"], &leaf_key());

    // The client gives the authorization up.
    let order = client.order(&["a.test"]).await.expect(201);
    let authorization = order.at("/authorizations/0");
    let gone = client.post(&authorization, &json!({ "status": "deactivated" })).await.expect(200);
    assert_eq!(gone.state(), "deactivated");
    client.post(&authorization, &json!({ "status": "deactivated" })).await.refused(400, "malformed");
    assert_eq!(client.read(&order.location()).await.state(), "invalid");
    client.finalize(&order.location(), &csr).await.refused(403, "orderNotReady");

    // The provisioner trusts no more: orders that are ready are so no longer, new ones are validated.
    let order = client.order(&["a.test"]).await.expect(201).location();
    stand.reload(|terms| terms.eab_trusts_names = false);
    client.finalize(&order, &csr).await.refused(403, "unauthorized");
    assert_eq!(client.order(&["a.test"]).await.expect(201).state(), "pending");
    stand.reload(|terms| terms.eab_trusts_names = true);

    // The order runs out.
    let order = client.order(&["a.test"]).await.expect(201).location();
    stand.clock.advance(3 * HOUR);
    client.finalize(&order, &csr).await.refused(403, "orderNotReady");

    // The key is revoked.
    let order = client.order(&["a.test"]).await.expect(201).location();
    stand.service.revoke_eab_key(key.kid, None).await.unwrap();
    client.finalize(&order, &csr).await.refused(403, "unauthorized");
    client.order(&["a.test"]).await.refused(403, "unauthorized");
    assert_eq!(stand.certificates().await.len(), 0);
}

/// What an order costs in reads and commits, from newOrder to the certificate.
async fn cost(stand: &Stand, client: &Client) -> (usize, usize) {
    // Seen once, so that the account is in memory.
    client.obtain(&["warm.test"], &leaf_key()).await;
    let read = || (stand.store.reads.load(Ordering::SeqCst), stand.store.commits.load(Ordering::SeqCst));
    let before = read();
    client.obtain(&["a.test"], &leaf_key()).await;
    let after = read();
    (after.0 - before.0, after.1 - before.1)
}

#[tokio::test]
async fn an_account_that_is_not_bound_pays_nothing() {
    let plain = Stand::new().await;
    let base = cost(&plain, &Client::new(&app(&plain)).await).await;
    let stand = Stand::with(|terms| terms.eab = EabMode::Optional).await;
    let app = app(&stand);
    assert_eq!(cost(&stand, &Client::new(&app).await).await, base);
    // One that is: one read for newOrder, one for finalize.
    let key = key(&stand, &[], 1, false).await;
    let bound = bound(&app, &key).await;
    assert_eq!(cost(&stand, &bound).await, (base.0 + 2, base.1));
}
