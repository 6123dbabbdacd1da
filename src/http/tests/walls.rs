//! The walls between authorities: every credential of one, at every door of another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::client::*;
use super::eab;
use crate::http::App;
use crate::provisioner::eab::EabMode;
use crate::service::stand::Stand;
use crate::storage::Table;

/// What must not change while somebody tries the doors.
async fn standing(stand: &Stand) -> (Vec<usize>, usize, usize) {
    let mut rows = Vec::new();
    for table in Table::ALL {
        rows.push(stand.rows(*table).await);
    }
    let second = stand.second.as_ref().unwrap();
    (rows, stand.signer.signed.load(Ordering::SeqCst), second.1.signed.load(Ordering::SeqCst))
}

/// What an account of the first authority's provisioner has.
struct Holdings {
    client: Client,
    /// A pending order, one that is ready, and one with a certificate.
    pending: Reply,
    ready: String,
    challenge: String,
    certificate_url: String,
    certificate: Vec<u8>,
    key: rcgen::KeyPair,
    id: String,
}

async fn holdings(client: Client) -> Holdings {
    let key = leaf_key();
    let done = client.order(&["a.test"]).await.expect(201);
    let url = client.prove(&done).await;
    let done = client.finalize(&url, &csr(&["a.test"], &key)).await.expect(200);
    let certificate_url = done.at("/certificate");
    let certificate = client.download(&certificate_url).await.remove(0);
    let ready = client.prove(&client.order(&["b.test"]).await.expect(201)).await;
    let pending = client.order(&["c.test"]).await.expect(201);
    let challenge = client.challenge(&pending.at("/authorizations/0"), "http-01").await;
    let id = super::renewal::id_of(&certificate);
    Holdings { client, pending, ready, challenge, certificate_url, certificate, key, id }
}

/// The same resource at the other provisioner's door.
fn there(url: &str) -> String {
    url.replace("/acme/acme/", "/acme/other/")
}

/// Every door of the other provisioner, with what would open it if the wall were not there.
fn doors(held: &Holdings) -> Vec<(&'static str, String, Value)> {
    let order = there(&held.pending.location());
    let request = json!({ "csr": crate::jose::base64url(&csr(&["b.test"], &leaf_key())) });
    let door = |name: &str| there(&held.client.url(name));
    let names = json!({ "identifiers": identifiers(&["a.test"]) });
    vec![
        ("new-order", door("new-order"), names.clone()),
        (
            "replaces",
            door("new-order"),
            json!({ "identifiers": identifiers(&["a.test"]), "replaces": held.id }),
        ),
        ("new-authz", door("new-authz"), json!({ "identifier": identifiers(&["a.test"])[0] })),
        ("account", there(&held.client.kid), json!({ "contact": ["mailto:a@b.test"] })),
        ("deactivation", there(&held.client.kid), json!({ "status": "deactivated" })),
        ("orders", format!("{}/orders", there(&held.client.kid)), Value::Null),
        ("order", order, Value::Null),
        ("authorization", there(&held.pending.at("/authorizations/0")), Value::Null),
        ("challenge", there(&held.challenge), json!({})),
        ("finalize", format!("{}/finalize", there(&held.ready)), request),
        ("certificate", there(&held.certificate_url), Value::Null),
        ("key-change", door("key-change"), json!({})),
        ("revocation", door("revoke-cert"), revocation(&held.certificate, None)),
    ]
}

async fn knock(by: &Client, header: Value, url: &str, payload: &Value) -> Reply {
    let body = if payload.is_null() { Vec::new() } else { payload.to_string().into_bytes() };
    by.signed(url, &header, &body).await
}

#[tokio::test]
async fn no_credential_of_one_authority_opens_a_door_of_another() {
    let mut stand = Stand::new().await;
    stand.wall_off_other().await;
    let app = app(&stand);
    let held = holdings(Client::new(&app).await).await;
    let native = try_every_door(&stand, &app, &held).await;

    // The doors are no walls to those who belong there, and each signer signs its own.
    let before = standing(&stand).await;
    native.obtain(&["a.test"], &leaf_key()).await;
    let after = standing(&stand).await;
    assert_eq!((after.1, after.2), (before.1, before.2 + 1));
    held.client.finalize(&held.ready, &csr(&["b.test"], &leaf_key())).await.expect(200);
    let after = standing(&stand).await;
    assert_eq!((after.1, after.2), (before.1 + 1, before.2 + 1));
}

/// Knocks with all that an account of the first authority has; an account of the second's.
async fn try_every_door(stand: &Stand, app: &Arc<App>, held: &Holdings) -> Client {
    // Somebody with an account there, under a key that also has one here.
    let mut native = Client::stranger(app);
    native.base = there(&native.url(""));
    native.base.pop();
    native.key = Key::new();
    native.kid = native.register(&json!({})).await.expect(201).location();
    let before = standing(stand).await;
    for (name, url, payload) in doors(held) {
        // The account by its own URL, by the URL it would have there, and its key.
        let own = held.client.header(&url).await;
        let mut moved = held.client.header(&url).await;
        moved["kid"] = json!(there(&held.client.kid));
        let bare = held.client.bare_header(&url).await;
        for (credential, header) in [("account", own), ("account there", moved), ("account key", bare)] {
            let reply = knock(&held.client, header, &url, &payload).await;
            assert!(
                reply.status.is_client_error(),
                "{credential} at {name}: {} {}",
                reply.status,
                reply.text()
            );
            assert_eq!(standing(stand).await, before, "{credential} at {name}");
        }
        // The certificate's key opens the first authority's revocation only.
        let mut bearer = Client::stranger(app);
        bearer.key = Key::of_certificate(&held.key);
        let reply = knock(&bearer, bearer.bare_header(&url).await, &url, &payload).await;
        assert!(reply.status.is_client_error(), "certificate key at {name}: {}", reply.text());
        assert_eq!(standing(stand).await, before, "certificate key at {name}");
        // What belongs to the first authority is nothing to an account of the second; its own orders are.
        if !matches!(name, "new-order" | "new-authz") {
            let reply = knock(&native, native.header(&url).await, &url, &payload).await;
            assert!(reply.status.is_client_error(), "an account of its own at {name}: {}", reply.text());
            assert_eq!(standing(stand).await, before, "an account of its own at {name}");
        }
    }
    get(app, &format!("/acme/other/renewal-info/{}", held.id)).await.expect(404);
    get(app, &format!("/acme/acme/renewal-info/{}", held.id)).await.expect(200);
    native
}

/// An EAB key is one provisioner's: it registers nobody elsewhere, and vouches for no names there.
#[tokio::test]
async fn no_eab_key_of_one_authority_opens_a_door_of_another() {
    let mut stand = Stand::with(|terms| {
        terms.eab = EabMode::Required;
        terms.eab_trusts_names = true;
    })
    .await;
    stand.wall_off_other().await;
    let app = app(&stand);
    let key = eab::key(&stand, &[], 10, false).await;
    let held = holdings(eab::bound(&app, &key).await).await;
    try_every_door(&stand, &app, &held).await;
    assert_eq!(eab::uses(&stand, &key).await, 1);
    // One that vouches for names, too.
    let trusting = eab::key(&stand, &["a.test"], 10, true).await;
    for mode in [EabMode::Optional, EabMode::Required] {
        stand.other_eab = mode;
        stand.reload(|_| ());
        let before = standing(&stand).await;
        let mut stranger = Client::stranger(&app);
        // Made for the door here, and for the one there.
        let here = eab::binding(&stranger, &key);
        stranger.base = there(&stranger.url(""));
        stranger.base.pop();
        for binding in [here, eab::binding(&stranger, &key), eab::binding(&stranger, &trusting)] {
            let reply = eab::register(&stranger, &binding).await;
            assert!(reply.status.is_client_error(), "{mode:?}: {}", reply.text());
            assert_eq!(standing(&stand).await, before, "{mode:?}");
        }
        assert_eq!((eab::uses(&stand, &key).await, eab::uses(&stand, &trusting).await), (1, 0));
    }
    // They are as good as before where they belong.
    eab::bound(&app, &key).await;
    eab::bound(&app, &trusting).await.obtain(&["a.test"], &leaf_key()).await;
    assert_eq!((eab::uses(&stand, &key).await, eab::uses(&stand, &trusting).await), (2, 1));
}

#[tokio::test]
async fn an_order_that_waits_while_its_authority_changes_gets_the_new_one_s_signature_alone() {
    let mut stand = Stand::new().await;
    let app = app(&stand);
    let mut client = Client::stranger(&app);
    client.base = there(&client.url(""));
    client.base.pop();
    client.kid = client.register(&json!({})).await.expect(201).location();
    let ready = client.prove(&client.order(&["a.test"]).await.expect(201)).await;
    stand.wall_off_other().await;
    let before = stand.signer.signed.load(Ordering::SeqCst);
    let done = client.finalize(&ready, &csr(&["a.test"], &leaf_key())).await.expect(200);
    let chain = client.download(&done.at("/certificate")).await;
    let (made, signer) = stand.second.as_ref().unwrap();
    assert_eq!(chain[1], made.intermediate_der, "its chain is the new issuer's");
    assert_eq!(stand.signer.signed.load(Ordering::SeqCst), before);
    assert_eq!(signer.signed.load(Ordering::SeqCst), 1);
    let issuer = x509_parser::parse_x509_certificate(&made.intermediate_der).unwrap().1.subject().to_string();
    assert_eq!(x509_parser::parse_x509_certificate(&chain[0]).unwrap().1.issuer().to_string(), issuer);
}
