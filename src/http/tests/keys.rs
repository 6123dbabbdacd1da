//! Blocked keys, at every door that takes a key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Method;
use rcgen::PublicKeyData;
use serde_json::json;

use super::admin::{refused, serve};
use super::client::*;
use crate::audit::Event;
use crate::authority::blocked::Blocker;
use crate::client::admin::call;
use crate::service::keys::PAGE;
use crate::service::stand::{Fault, Stand};
use crate::storage::Table;
use crate::wire::admin::{BlockedKey, BlockedKeys, KeysBlocked};
use crate::x509::key_hash::KeyHash;
use crate::x509::spki::Spki;

fn hash(key: &rcgen::KeyPair) -> KeyHash {
    KeyHash::of(&key.subject_public_key_info())
}

async fn ready(client: &Client, names: &[&str]) -> String {
    let order = client.order(names).await.expect(201);
    client.prove(&order).await
}

#[tokio::test]
async fn a_blocked_key_gets_no_certificate_and_an_unblocked_one_does() {
    let mut stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    stand.service.block_keys(&[hash(&key)], "leaked", None).await.unwrap();
    let order = ready(&client, &["a.test"]).await;
    let no = client.finalize(&order, &csr(&["a.test"], &key)).await;
    no.refused(400, "badCSR");
    assert!(no.text().contains("make a new key"), "{}", no.text());
    // Nor after a restart.
    stand.restart();
    let client = client.moved(&app(&stand));
    client.finalize(&order, &csr(&["a.test"], &key)).await.refused(400, "badCSR");
    // The order is as good as before.
    stand.service.unblock_key(hash(&key), None).await.unwrap();
    client.finalize(&order, &csr(&["a.test"], &key)).await.expect(200);
    let events = stand.events().await;
    assert!(events.contains(&Event::KeyBlocked { key: hash(&key), by: Blocker::Operator }));
    assert!(events.contains(&Event::KeyUnblocked { key: hash(&key) }));
}

#[tokio::test]
async fn accounts_do_not_take_blocked_keys() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let mut stranger = Client::stranger(&app);
    let of = |key: &Key| {
        let jwk = crate::jose::jwk::Jwk::parse(&key.jwk.to_string()).unwrap();
        jwk.spki().hash()
    };
    stand.service.block_keys(&[of(&stranger.key)], "leaked", None).await.unwrap();
    stranger.register(&json!({})).await.refused(400, "badPublicKey");
    assert_eq!(stand.rows(Table::Accounts).await, 0);

    let client = Client::new(&app).await;
    let url = client.url("key-change");
    let inner_header = json!({ "alg": "ES256", "jwk": stranger.key.jwk, "url": url });
    let inner = json!({ "account": client.kid, "oldKey": client.key.jwk });
    let change = stranger.key.jws(&inner_header, inner.to_string().as_bytes());
    client.post(&url, &change).await.refused(400, "badPublicKey");
    stand.service.unblock_key(of(&stranger.key), None).await.unwrap();
    client.post(&url, &change).await.expect(200);
    stranger.kid = client.kid.clone();
    stranger.order(&["a.test"]).await.expect(201);
}

#[tokio::test]
async fn a_block_that_comes_while_the_signer_works_wins() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let key = leaf_key();
    stand.signer.slow.store(true, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(500);
    let order = ready(&client, &["a.test"]).await;
    let request = csr(&["a.test"], &key);
    let (reply, ()) = tokio::join!(client.finalize(&order, &request), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stand.service.block_keys(&[hash(&key)], "leaked", None).await.unwrap();
    });
    reply.expect(200);
    let ended = until(&client, &order, "invalid").await;
    assert!(ended.at("/error/type").ends_with(":badCSR"), "{}", ended.text());
    assert_eq!(stand.certificates().await, []);
    // At the gate alone, a conflict tells what it was.
    *stand.signer.delay.lock().unwrap() = Duration::ZERO;
    stand.signer.slow.store(false, Ordering::SeqCst);
    let other = ready(&client, &["b.test"]).await;
    stand.store.fail(0, Fault::Conflict);
    client.finalize(&other, &csr(&["b.test"], &leaf_key())).await.expect(503);
}

#[tokio::test]
async fn revocation_for_key_compromise_blocks_the_key_in_its_commit() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    for by_key in [false, true] {
        let key = leaf_key();
        let der = client.obtain(&["a.test"], &key).await;
        let before = stand.rows(Table::BlockedKeys).await;
        // A commit that fails leaves neither.
        stand.store.fail(0, Fault::Busy);
        client.revoke(&der, Some(1)).await.expect(503);
        assert_eq!(stand.rows(Table::BlockedKeys).await, before);
        match by_key {
            false => {
                client.revoke(&der, Some(1)).await.expect(200);
            }
            true => {
                let mut bare = Client::stranger(&app);
                bare.key = Key::of_certificate(&key);
                let url = bare.url("revoke-cert");
                let payload = revocation(&der, Some(1)).to_string();
                bare.signed(&url, &bare.bare_header(&url).await, payload.as_bytes()).await.expect(200);
            }
        }
        let order = ready(&client, &["a.test"]).await;
        client.finalize(&order, &csr(&["a.test"], &key)).await.refused(400, "badCSR");
    }
    let by = |event: &&Event| matches!(event, Event::KeyBlocked { by: Blocker::Revocation(_), .. });
    assert_eq!(stand.events().await.iter().filter(by).count(), 2);
    // For another reason, the key stays good; and one that is blocked already is not blocked again.
    let key = leaf_key();
    let (first, second) = (client.obtain(&["a.test"], &key).await, client.obtain(&["a.test"], &key).await);
    client.revoke(&first, Some(4)).await.expect(200);
    client.obtain(&["a.test"], &key).await;
    stand.service.block_keys(&[hash(&key)], "by hand", None).await.unwrap();
    client.revoke(&second, Some(1)).await.expect(200);
    let rows = stand.service.blocked_keys(None).await.unwrap();
    let row = rows.iter().find(|(known, _)| *known == hash(&key)).unwrap();
    assert_eq!((row.1.reason.as_str(), row.1.by), ("by hand", Blocker::Operator));
}

#[tokio::test]
async fn the_cas_own_keys_are_not_certified() {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    let own = leaf_key();
    let names = [crate::acme::identifier::Identifier::parse_dns("ca.test").unwrap()];
    let spki = Spki::parse(&own.subject_public_key_info()).unwrap();
    let _ = stand.service.issue_own(&names, spki).await.unwrap();
    let order = ready(&client, &["a.test"]).await;
    let no = client.finalize(&order, &csr(&["a.test"], &own)).await;
    no.refused(400, "badCSR");
    assert!(no.text().contains("this CA's own"), "{}", no.text());
    client.finalize(&order, &csr(&["a.test"], &leaf_key())).await.expect(200);
}

#[tokio::test]
async fn over_the_socket() {
    let stand = Stand::new().await;
    let running = serve(&stand);
    let list = async |query: &str| -> Result<BlockedKeys, _> {
        call(&running.path, Method::GET, &format!("/v1/blocked-keys{query}"), None::<&()>).await
    };
    assert_eq!(list("").await.unwrap(), BlockedKeys { keys: vec![], next: None });
    let hash = |n: usize| {
        let mut bytes = [0xee; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_be_bytes());
        KeyHash(bytes)
    };
    let block = async |keys: Vec<String>, reason: &str| -> Result<KeysBlocked, _> {
        let body = json!({ "keys": keys, "reason": reason });
        call(&running.path, Method::POST, "/v1/blocked-keys", Some(&body)).await
    };
    let some = |range: std::ops::Range<usize>| range.map(|n| hash(n).to_string()).collect::<Vec<_>>();
    assert_eq!(block(some(0..3), "one").await.unwrap(), KeysBlocked { blocked: 3, known: 0 });
    // Some known, some twice.
    let mixed = [some(2..250), some(240..250)].concat();
    assert_eq!(block(mixed, "two").await.unwrap(), KeysBlocked { blocked: 247, known: 1 });
    for start in [250, 500] {
        block(some(start..start + 250), "three").await.unwrap();
    }
    let first = list("").await.unwrap();
    assert_eq!(first.keys.len(), PAGE);
    let rest = list(&format!("?after={}", first.next.unwrap())).await.unwrap();
    assert_eq!((rest.keys.len(), rest.next), (750 - PAGE, None));
    assert_eq!((first.keys[2].reason.as_str(), first.keys[3].reason.as_str()), ("one", "two"));

    let unblock = async |key: KeyHash| -> Result<BlockedKey, _> {
        call(&running.path, Method::POST, &format!("/v1/blocked-keys/{key}/unblock"), None::<&()>).await
    };
    assert_eq!(unblock(hash(0)).await.unwrap().reason, "one");
    assert_eq!(refused(unblock(hash(0)).await).status, 404);
    for (keys, reason, words) in [
        (vec!["zz".to_owned()], "r", "keys[0]"),
        (vec![], "r", "give 1 to"),
        (some(0..300), "r", "give 1 to"),
        (some(0..1), " ", "reason"),
    ] {
        let problem = refused(block(keys, reason).await);
        assert_eq!(problem.status, 400);
        assert!(problem.detail.contains(words), "{}", problem.detail);
    }
    assert_eq!(refused(list("?after=x").await).status, 400);
    assert_eq!(stand.rows(Table::BlockedKeys).await, 749);
}
