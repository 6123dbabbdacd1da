//! Rotation health on the admin socket.

use hyper::Method;
use serde_json::{Value, json};

use super::admin::{Running, refused, serve};
use super::client::{Client, app};
use crate::client::admin::{AdminError, call};
use crate::fleet::{Cause, IdentityId, State};
use crate::service::fleet::FleetCursor;
use crate::service::stand::{HOUR, Stand};
use crate::storage::{Batch, Store, Table};
use crate::wire::admin as wire;

async fn get<T: serde::de::DeserializeOwned>(running: &Running, path: &str) -> Result<T, AdminError> {
    call(&running.path, Method::GET, path, None::<&()>).await
}

async fn retire(running: &Running, names: &[&str]) -> Result<wire::Identity, AdminError> {
    let body = json!({ "names": names });
    call(&running.path, Method::POST, "/v1/fleet/retire", Some(&body)).await
}

async fn filled() -> Stand {
    let stand = Stand::new().await;
    let client = Client::new(&app(&stand)).await;
    for names in [&["a.test"][..], &["b.test", "c.test"], &["d.test"]] {
        client.obtain(names, &rcgen::KeyPair::generate().unwrap()).await;
        stand.clock.advance(HOUR / 2);
    }
    stand
}

#[tokio::test]
async fn the_fleet_as_it_is_asked_for() {
    let stand = filled().await;
    let running = serve(&stand);
    let fleet: wire::Fleet = get(&running, "/v1/fleet").await.unwrap();
    assert!(!fleet.complete);
    let early = refused(retire(&running, &["a.test"]).await);
    assert_eq!(early.status, 503, "{early:?}");
    let none = "/v1/fleet/identities/000000000000000000000000";
    assert_eq!(refused(get::<wire::Identity>(&running, none).await).status, 503, "nobody knows yet");
    while stand.service.read_fleet(&mut FleetCursor::default()).await.unwrap() {}
    let fleet: wire::Fleet = get(&running, "/v1/fleet").await.unwrap();
    assert!(fleet.complete);
    assert_eq!((fleet.identities, fleet.states["healthy"]), (3, 3));
    assert_eq!((fleet.states.len(), fleet.failing.len()), (State::COUNT, Cause::COUNT));
    let horizon = fleet.horizon.unwrap();
    let left = 24 * 3600 - 3 * 1800;
    assert!(horizon.first.seconds_left.abs_diff(left) <= 120, "{horizon:?}");
    assert_eq!(horizon.first, horizon.twentieth, "one is more than one of twenty of three");
    assert!(horizon.half.seconds_left > horizon.first.seconds_left);
    assert_eq!(refused(get::<wire::Identity>(&running, none).await).status, 404);
    // Not all names, and then all.
    let some = refused(retire(&running, &["b.test"]).await);
    assert!(some.status == 400 && some.detail.contains("exactly these names"), "{some:?}");
    let retired = retire(&running, &["c.test", "b.test"]).await.unwrap();
    assert_eq!(
        (retired.state.as_str(), &retired.names[..]),
        ("retired", &["b.test", "c.test"].map(str::to_owned)[..])
    );
    stand.clock.advance(20 * HOUR);
    let late: wire::Identities = get(&running, "/v1/fleet/identities?state=overdue&limit=1").await.unwrap();
    let [first] = late.identities.as_slice() else { panic!("{late:?}") };
    assert_eq!((first.state.as_str(), &first.names[..]), ("overdue", &["a.test".to_owned()][..]));
    assert!(first.account.is_some() && first.door.as_deref() == Some("acme") && first.overdue > first.due);
    assert_eq!(first.provisioner.as_deref(), Some("acme"));
    let shown: wire::Identity = get(&running, &format!("/v1/fleet/identities/{}", first.id)).await.unwrap();
    assert_eq!(shown, *first);
    let path = format!("/v1/fleet/identities?state=overdue&limit=1&after={}", late.next.unwrap());
    let next: wire::Identities = get(&running, &path).await.unwrap();
    assert_eq!(next.identities[0].names, ["d.test"]);
    let path = format!("/v1/fleet/identities?state=overdue&limit=1&after={}", next.next.unwrap());
    let last: wire::Identities = get(&running, &path).await.unwrap();
    assert!(last.identities.is_empty() && last.next.is_none());
}

/// What was swept from the inventory is still known by its id and its times.
#[tokio::test]
async fn a_swept_certificate_leaves_what_is_known() {
    let stand = filled().await;
    let running = serve(&stand);
    stand.clock.advance(30 * HOUR);
    let expired = || get::<wire::Identities>(&running, "/v1/fleet/identities?state=expired");
    let all = expired().await.unwrap();
    assert_eq!(all.identities.len(), 3);
    for (key, _) in stand.store.scan(Table::Certificates, &[], None, 100).await.unwrap() {
        let _ = stand.store.commit(Batch::new().delete(Table::Certificates, key)).await.unwrap();
    }
    let swept = expired().await.unwrap();
    for (swept, known) in swept.identities.iter().zip(&all.identities) {
        assert!(swept.names.is_empty() && swept.account.is_none(), "{swept:?}");
        assert_eq!((&swept.id, &swept.not_after), (&known.id, &known.not_after));
    }
}

#[tokio::test]
async fn what_does_not_read() {
    let running = serve(&Stand::new().await);
    for (path, word) in [
        ("/v1/fleet/identities", "state"),
        ("/v1/fleet/identities?state=late", "state"),
        ("/v1/fleet/identities?state=healthy", "state"),
        ("/v1/fleet/identities?state=due&limit=0", "limit"),
        ("/v1/fleet/identities?state=due&after=AAAA", "after"),
        ("/v1/fleet/identities?state=due&name=a.test", "name"),
        ("/v1/fleet?state=due", "query"),
    ] {
        let problem = refused(get::<Value>(&running, path).await);
        assert!(problem.status == 400 && problem.detail.starts_with(word), "{path}: {problem:?}");
    }
    let problem = refused(retire(&running, &["a.test", "a_b"]).await);
    assert!(problem.status == 400 && problem.detail.starts_with("names[1]: "), "{problem:?}");
    assert!(IdentityId::parse("AB").is_none());
    let posted = call::<Value>(&running.path, Method::POST, "/v1/fleet", Some(&json!({}))).await;
    assert_eq!(refused(posted).status, 405);
    assert_eq!(refused(get::<Value>(&running, "/v1/fleet/retire").await).status, 405);
}
