//! Issuers that follow each other, as clients and the operator see it.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::admin::{refused, serve};
use super::client::*;
use super::renewal::{id_of, info_path, window};
use crate::authority::rotation::{NotYet, Stage};
use crate::client::admin::call;
use crate::http::App;
use crate::limits::Source;
use crate::service::rotation::Taken;
use crate::service::stand::{HOUR, Stand};
use crate::wire::admin as wire;
use crate::x509::hex;

async fn count(stand: &Stand) {
    let mut cursor = Some(stand.service.begin_count());
    while let Some(after) = cursor {
        cursor = stand.service.count_leaves(&after).await.unwrap();
    }
}

/// The live certificates of the one that signs, and of the former ones.
fn live(stand: &Stand) -> (Option<u64>, Vec<Option<u64>>) {
    let rotation = stand.service.rotations().remove(0);
    let of = |issuer: &crate::authority::rotation::IssuerFacts| issuer.live.map(|live| live.count);
    (of(&rotation.facts.signing), rotation.facts.former.iter().map(of).collect())
}

#[tokio::test]
async fn live_certificates_are_counted_over_restarts_revocations_and_time() {
    let mut stand = Stand::new().await;
    let first = app(&stand);
    let client = Client::new(&first).await;
    let kept = client.obtain(&["a.test"], &leaf_key()).await;
    assert_eq!(live(&stand), (None, vec![]), "not counted yet");
    count(&stand).await;
    assert_eq!(live(&stand), (Some(1), vec![]));
    let revoked = client.obtain(&["b.test"], &leaf_key()).await;
    assert_eq!(live(&stand), (Some(2), vec![]));
    client.revoke(&revoked, None).await.expect(200);
    assert_eq!(live(&stand), (Some(1), vec![]));

    // What another process has signed and revoked, and this one revokes while it counts.
    client.obtain(&["c.test"], &leaf_key()).await;
    stand.restart();
    let app = app(&stand);
    let client = client.moved(&app);
    assert_eq!(live(&stand), (None, vec![]));
    let after = stand.service.begin_count();
    client.revoke(&kept, None).await.expect(200);
    assert_eq!(stand.service.count_leaves(&after).await.unwrap(), None);
    assert_eq!(live(&stand), (Some(1), vec![]));
    client.revoke(&kept, None).await.refused(400, "alreadyRevoked");
    assert_eq!(live(&stand), (Some(1), vec![]));
    stand.clock.advance(24 * HOUR + Duration::from_secs(60));
    assert_eq!(live(&stand), (Some(0), vec![]));
}

async fn status(running: &super::admin::Running) -> wire::Rotation {
    let all: wire::Rotations = call(&running.path, Method::GET, "/v1/rotations", None::<&()>).await.unwrap();
    all.rotations.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_former_issuer_goes_with_its_last_certificate() {
    let mut stand = Stand::new().await;
    stand.service.note_issuers().await.unwrap();
    count(&stand).await;
    let app = app(&stand);
    let running = serve(&stand);
    assert_eq!(status(&running).await.stage, "steady");
    let client = Client::new(&app).await;
    let leaf = client.obtain(&["a.test"], &leaf_key()).await;
    let before = stand.rotate().await;
    stand.service.note_issuers().await.unwrap();

    let told = status(&running).await;
    assert_eq!((told.stage.as_str(), told.next_step.as_str()), ("handing-over", "retire"));
    assert_eq!(told.next_issuer.as_deref(), Some(hex::encode(&before).as_str()));
    let roles: Vec<_> = told.issuers.iter().map(|one| (one.role.as_str(), one.live)).collect();
    assert_eq!(roles, [("signing", Some(0)), ("former", Some(1))]);
    assert_eq!(told.next_from, told.issuers[1].last_expiry);
    assert!(told.issuers[1].kept_because.as_ref().unwrap().contains("1 certificates"));
    assert!(told.issuers[0].published.is_some() && told.issuers[1].published.is_none());
    let retire = |force: bool| {
        let rotation = json!({
            "step": "retire", "authority": "default", "issuer": hex::encode(&before), "force": force,
        });
        json!({ "rotation": rotation, "text_sha256": "0".repeat(64) })
    };
    let ask = async |body: Value| {
        let answer = call::<Value>(&running.path, Method::POST, "/v1/configurations", Some(&body)).await;
        refused(answer)
    };
    let early = ask(retire(false)).await;
    assert_eq!(early.status, 409);
    assert!(early.detail.contains("1 certificates of the former issuer are alive"), "{}", early.detail);
    // To ask is to be told the same.
    let only = async |force: bool| {
        let body = retire(force)["rotation"].clone();
        call::<Value>(&running.path, Method::POST, "/v1/rotations", Some(&body)).await
    };
    assert_eq!(refused(only(false).await).detail, early.detail);
    assert!(only(true).await.is_ok());
    let mut blind = retire(true);
    blind.as_object_mut().unwrap().remove("text_sha256");
    assert_eq!(ask(blind).await.status, 400, "of which text?");
    // Permitted, and then there is nobody here to read a file.
    assert_eq!(ask(retire(true)).await.status, 500);
    client.revoke(&leaf, None).await.expect(200);
    assert_eq!(status(&running).await.stage, "drained");
    assert_eq!(ask(retire(false)).await.status, 500);

    // A count that is not done permits nothing, by no force.
    stand.restart();
    for force in [false, true] {
        let step = Taken::Retire(before);
        assert_eq!(stand.service.permits("default", step, force), Err(NotYet::Counting));
    }
    assert_eq!(stand.service.rotations()[0].standing.stage, Stage::Counting);

    let rows = [
        (json!({ "step": "begin", "authority": "default" }), 400, "rotation.step"),
        (json!({ "step": "advance", "authority": "default" }), 409, "no next issuer"),
        (json!({ "step": "advance", "authority": "default", "force": true }), 409, "no next issuer"),
        (json!({ "step": "advance", "authority": "other" }), 404, "no authority"),
        (json!({ "step": "advance", "authority": "default", "issuer": hex::encode(&before) }), 400, "issuer"),
        (json!({ "step": "retire", "authority": "default" }), 400, "rotation.issuer"),
        (json!({ "step": "retire", "authority": "default", "issuer": "AB" }), 400, "40 lower-case hex"),
        (
            json!({ "step": "retire", "authority": "default", "issuer": "ab".repeat(20) }),
            409,
            "cannot be retired",
        ),
    ];
    for (step, status, words) in rows {
        let problem = ask(json!({ "rotation": step, "text_sha256": "0".repeat(64) })).await;
        assert_eq!(problem.status, status, "{step}: {}", problem.detail);
        assert!(problem.detail.contains(words), "{step}: {}", problem.detail);
    }
    let both =
        ask(json!({ "rollback_to": 1, "rotation": { "step": "start", "authority": "default" } })).await;
    assert_eq!(both.status, 400);
}

/// A request that holds the settings of before may still be signed by the issuer of before.
#[tokio::test]
async fn no_issuer_goes_while_a_request_holds_it() {
    let mut stand = Stand::new().await;
    count(&stand).await;
    let held = stand.service.provisioner("acme").unwrap();
    let before = stand.rotate().await;
    let permitted = |stand: &Stand| stand.service.permits("default", Taken::Retire(before), true);
    assert_eq!(permitted(&stand), Err(NotYet::InUse));
    drop(held);
    assert_eq!(permitted(&stand), Ok(()));
}

#[tokio::test]
async fn former_issuers_certificates_are_served_with_their_own_chain() {
    let mut stand = Stand::new().await;
    stand.cross_sign(24 * 1000 * HOUR).await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let order = client.order(&["a.test"]).await.expect(201);
    let url = client.prove(&order).await;
    let old = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200).at("/certificate");
    let chain = client.download(&old).await;
    assert_eq!(chain[1], stand.hierarchy.intermediate_der);
    assert!(
        client
            .read(&old)
            .await
            .headers
            .get_all("link")
            .iter()
            .any(|link| { link.to_str().unwrap().contains("rel=\"alternate\"") })
    );

    stand.rotate().await;
    assert_eq!(client.download(&old).await, chain, "the certificate's own chain, not today's issuer's");
    // What stood in the place of that one's chain does not stand in this one's.
    let links = client.read(&old).await;
    assert!(!links.headers.get_all("link").iter().any(|l| l.to_str().unwrap().contains("alternate")));
    client.read(&format!("{old}/1")).await.refused(404, "malformed");
    let order = client.order(&["a.test"]).await.expect(201);
    let url = client.prove(&order).await;
    let new = client.finalize(&url, &csr(&["a.test"], &leaf_key())).await.expect(200).at("/certificate");
    assert_eq!(client.download(&new).await[1], stand.hierarchy.intermediate_der);
}

/// Nothing outlives its issuer; and one that has expired signs nothing, which is the server's fault.
#[tokio::test]
async fn an_issuer_that_ends_signs_nothing_beyond() {
    let stand = Stand::new().await;
    let app = app(&stand);
    let client = Client::new(&app).await;
    let end = stand.service.live().authorities.get("default").unwrap().issuer().not_after();
    stand.clock.set(end - HOUR);
    let client = Client::new(&client.app).await;
    let leaf = client.obtain(&["a.test"], &leaf_key()).await;
    let (_, parsed) = X509Certificate::from_der(&leaf).unwrap();
    assert_eq!(
        parsed.validity().not_after.timestamp() as u64,
        end.as_secs(),
        "cut short to the issuer's end"
    );
    let order = client.order(&["b.test"]).await.expect(201);
    let url = client.prove(&order).await;
    stand.clock.set(end);
    client.finalize(&url, &csr(&["b.test"], &leaf_key())).await.refused(503, "serverInternal");
    client.order(&["c.test"]).await.refused(503, "serverInternal");
    assert_eq!(stand.certificates().await.len(), 1);
}

async fn starts(app: &Arc<App>, ids: &[String]) -> Vec<crate::time::Timestamp> {
    let mut found = Vec::new();
    for id in ids {
        found.push(
            window(&get(app, &info_path(id).replace("/acme/acme/", "/acme/other/")).await.expect(200)).0,
        );
    }
    found
}

/// What was begun before another issuer signs, and is signed just behind that, is called over too.
#[tokio::test]
async fn a_straggler_of_the_former_issuer_is_called_over() {
    let mut stand = Stand::new().await;
    stand.service.note_issuers().await.unwrap();
    let app = app(&stand);
    let client = Client::new(&app).await;
    let held = stand.service.provisioner("acme").unwrap();
    let order = client.order(&["a.test"]).await.expect(201);
    client.prove(&order).await;
    stand.rotate().await;
    stand.service.note_issuers().await.unwrap();
    let changed = stand.service.now();
    stand.clock.advance(Duration::from_secs(1));
    let last = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    let account = crate::id::AccountId::parse(&last(&client.kid)).unwrap();
    let id = crate::id::OrderId::parse(&last(&order.location())).unwrap();
    let request = csr(&["a.test"], &leaf_key());
    stand.service.finalize(&held, account, id, &request, Source::default()).await.unwrap();
    let leaf = stand.certificates().await.remove(0);
    assert!(leaf.issued > changed);
    let info = get(&app, &info_path(&id_of(&leaf.der))).await.expect(200);
    let over = stand.service.live().authorities.get("default").unwrap().rotation().handover;
    assert!(window(&info).0 <= changed + over, "{info:?}");
}

/// Certificates from before a provisioner moved to another authority are no predecessor's: they are renewed
/// at their time, though that authority has changed its issuer long ago.
#[tokio::test]
async fn a_provisioner_that_moves_calls_nobody_over() {
    let mut stand = Stand::new().await;
    stand.wall_off_other().await;
    stand.service.note_issuers().await.unwrap();
    // The authority that it will move to changes its issuer.
    stand.rotate().await;
    stand.service.note_issuers().await.unwrap();
    stand.clock.advance(48 * HOUR);
    let before = app(&stand);
    let mut client = Client::stranger(&before);
    client.base = format!("{BASE}/acme/other");
    client.kid = client.register(&json!({})).await.expect(201).location();
    let mut ids = Vec::new();
    for name in ["a.test", "b.test", "c.test"] {
        ids.push(id_of(&client.obtain(&[name], &leaf_key()).await));
    }
    let usual = starts(&before, &ids).await;
    // Whether the authority that it came from is still there, or not.
    let second = stand.second.take();
    stand.reload(|_| ());
    assert_eq!(starts(&before, &ids).await, usual);
    stand.move_other_back(second);
    assert_eq!(starts(&before, &ids).await, usual);
}
