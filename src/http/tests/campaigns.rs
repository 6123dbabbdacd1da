//! Campaigns: on the admin socket, and what ACME clients hear of them.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::admin::{refused, serve};
use super::client::*;
use super::renewal::{id_of, info_path, window};
use crate::client::admin::{AdminError, call};
use crate::service::campaigns::EnrolCursor;
use crate::service::fleet::FleetCursor;
use crate::service::stand::{HOUR, Stand};
use crate::time::Clock;
use crate::wire::admin as wire;

const PATH: &str = "/v1/fleet/campaigns";

fn wanted(selector: &Value) -> Value {
    json!({ "selector": selector, "over": 7200, "reason": "drill", "explanation_url": "https://wiki.test/",
            "drill": true })
}

async fn know(stand: &Stand) {
    let mut cursor = FleetCursor::default();
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
    let mut cursor = EnrolCursor::default();
    while stand.service.follow_campaigns(&mut cursor).await.unwrap() {}
}

#[tokio::test]
async fn a_campaign_from_its_preview_to_its_end() {
    let stand = Stand::new().await;
    let (app, running) = (app(&stand), serve(&stand));
    let client = Client::new(&app).await;
    let der = client.obtain(&["a.web.test"], &leaf_key()).await;
    let info = info_path(&id_of(&der));
    let usual = window(&get(&app, &info).await.expect(200));
    stand.clock.advance(HOUR);
    know(&stand).await;
    let asked = wanted(&json!({ "suffix": "web.test", "key_type": "ec-p256" }));
    let preview = json!({ "campaign": asked });
    let preview: wire::CampaignPreview =
        call(&running.path, Method::POST, &format!("{PATH}/preview"), Some(&preview)).await.unwrap();
    assert_eq!((preview.certificates, preview.longest_pause, preview.next), (1, 21_600, None));
    assert_eq!(window(&get(&app, &info).await.expect(200)), usual, "nothing was begun");

    let begun: wire::Campaign = call(&running.path, Method::POST, PATH, Some(&asked)).await.unwrap();
    assert_eq!((begun.id, begun.standing.as_str(), begun.reaction.as_ref()), (1, "calling", None));
    assert_eq!(begun.selector.suffix.as_deref(), Some("web.test"));
    let told = get(&app, &info).await.expect(200);
    let (start, end) = window(&told);
    assert!(start < usual.0 && start >= stand.clock.now().whole_seconds());
    assert!(end <= stand.clock.now() + 2 * HOUR + Duration::from_secs(360));
    assert_eq!(told.at("/explanationURL"), "https://wiki.test/");
    assert_eq!(told.header("cache-control"), Some("public, max-age=60"));

    know(&stand).await;
    stand.clock.advance(2 * HOUR);
    let one = format!("{PATH}/1");
    let shown: wire::Campaign = call(&running.path, Method::GET, &one, None::<&()>).await.unwrap();
    let reaction = shown.reaction.unwrap();
    assert_eq!((reaction.members, reaction.called, reaction.asked, reaction.missing), (1, 1, 1, 1));
    assert!(reaction.complete && reaction.curve.iter().map(|point| point.called).sum::<u32>() == 1);
    let page: wire::UnansweredPage =
        call(&running.path, Method::GET, &format!("{one}/unanswered?limit=5"), None::<&()>).await.unwrap();
    let silent = &page.identities[0];
    assert_eq!((page.next.as_deref(), page.identities.len()), (None, 1));
    assert_eq!(
        (silent.reaction.as_str(), silent.names.as_slice()),
        ("asked-and-stayed", &["a.web.test".to_owned()][..])
    );
    assert_eq!(silent.account.as_deref(), client.kid.rsplit('/').next());
    // Who has renewed is not called again.
    let renewed = client.obtain(&["a.web.test"], &leaf_key()).await;
    let after = get(&app, &info_path(&id_of(&renewed))).await.expect(200);
    assert!(window(&after).0 > stand.clock.now() + 12 * HOUR && after.json()["explanationURL"].is_null());
    let listed: wire::Campaigns = call(&running.path, Method::GET, PATH, None::<&()>).await.unwrap();
    let reaction = listed.campaigns[0].reaction.as_ref().unwrap();
    assert_eq!((reaction.renewed, reaction.renewed_unasked, reaction.missing), (1, 0, 0));
    assert!(reaction.curve.is_empty(), "a list has none");

    let cancel = format!("{one}/cancel");
    let ended: wire::Campaign = call(&running.path, Method::POST, &cancel, None::<&()>).await.unwrap();
    assert!(ended.standing == "cancelled" && ended.cancelled.is_some());
    assert_eq!(window(&get(&app, &info).await.expect(200)), usual);
    let again: Result<wire::Campaign, AdminError> =
        call(&running.path, Method::POST, &cancel, None::<&()>).await;
    assert_eq!(refused(again).status, 400);
}

#[tokio::test]
async fn what_is_no_campaign_is_refused_by_its_field() {
    let stand = Stand::new().await;
    let running = serve(&stand);
    let with = |field: &str, value: Value| {
        let mut asked = wanted(&json!({ "suffix": "test" }));
        asked[field] = value;
        asked
    };
    for (asked, words) in [
        (wanted(&json!({})), "selector: has no condition"),
        (wanted(&json!({ "suffix": "*.test" })), "selector.suffix"),
        (wanted(&json!({ "issuer": "ab" })), "selector.issuer"),
        (wanted(&json!({ "account": "x" })), "selector.account"),
        (wanted(&json!({ "serial": "x" })), "selector.serial"),
        (wanted(&json!({ "name": "a_b" })), "selector.name"),
        (wanted(&json!({ "issued_before": "today" })), "selector.issued_before"),
        (wanted(&json!({ "sufix": "test" })), "body: unknown field"),
        (with("over", json!(5)), "over"),
        (with("over", json!("2h")), "body: "),
        (with("start", json!("now")), "start"),
        (with("explanation_url", json!("x")), "explanation_url"),
        (with("reason", json!("a\nb")), "reason"),
    ] {
        let tried: Result<wire::Campaign, AdminError> =
            call(&running.path, Method::POST, PATH, Some(&asked)).await;
        let problem = refused(tried);
        assert!(problem.status == 400 && problem.detail.starts_with(words), "{words}: {problem:?}");
    }
    let preview = json!({ "campaign": wanted(&json!({ "suffix": "test" })), "after": "AAAA" });
    let path = format!("{PATH}/preview");
    let early: Result<wire::CampaignPreview, AdminError> =
        call(&running.path, Method::POST, &path, Some(&preview)).await;
    assert_eq!(refused(early).status, 503, "the fleet is being read");
    know(&stand).await;
    let odd: Result<wire::CampaignPreview, AdminError> =
        call(&running.path, Method::POST, &path, Some(&preview)).await;
    assert!(refused(odd).detail.starts_with("after: "));
    for (method, path, status) in [
        (Method::GET, "/1", 404),
        (Method::POST, "/1/cancel", 404),
        (Method::GET, "/1/unanswered", 404),
        (Method::GET, "/1/unanswered?after=-1", 400),
        (Method::GET, "/1/unanswered?limit=501", 400),
        (Method::GET, "/1?x=1", 400),
        (Method::GET, "/preview", 405),
        (Method::GET, "/1/cancel", 405),
        (Method::POST, "/1", 405),
    ] {
        let tried: Result<Value, AdminError> =
            call(&running.path, method, &format!("{PATH}{path}"), None::<&()>).await;
        assert_eq!(refused(tried).status, status, "{path}");
    }
}
