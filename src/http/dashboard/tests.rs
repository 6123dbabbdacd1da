//! What pages hold, whatever clients have sent; what is served to whom.

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::http::request::Parts;
use tokio::sync::watch;

use super::*;
use crate::acme::identifier::Identifier;
use crate::fleet::State;
use crate::http::RequestLimits;
use crate::service::inventory::CertificateQuery;
use crate::service::stand::{HOUR, Stand, Step};
use crate::validation::{Failure as Failed, FailureKind, Outcome};

const NASTY: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

struct Shown {
    app: Arc<App>,
    stop: watch::Sender<bool>,
}

fn shown(stand: &Stand) -> Shown {
    let limits =
        RequestLimits { bytes: 65_536, time: Duration::from_secs(1), under_way: 256, headers: 64, url: 2048 };
    let (stop, stopping) = watch::channel(false);
    let dashboard = Dashboard::new(stand.service.clone(), true, stopping);
    let app = App::new(stand.service.clone(), "https://ca.test".into(), limits, 1).with_dashboard(dashboard);
    Shown { app: Arc::new(app), stop }
}

fn head(method: &str, path: &str) -> Parts {
    Request::builder().method(method).uri(path).header("host", "localhost").body(()).unwrap().into_parts().0
}

struct Reply {
    status: u16,
    headers: hyper::HeaderMap,
    text: String,
}

async fn get(shown: &Shown, path: &str) -> Reply {
    read(answer(&shown.app, Viewer::Operator, &head("GET", path), "id").await).await
}

async fn read(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn certify(stand: &Stand, names: &[&str]) -> String {
    use crate::authority::certificate::Client;
    use crate::service::finalize::Caller;
    use crate::service::tests::sweep::{account, csr_of, order, prove, terms_of};
    let account = account(stand).await;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let order = order(stand, &account, &names).await;
    prove(stand, &account, &order).await;
    let caller = Caller {
        client: Some(Client::new("10.0.0.9".parse().unwrap(), NASTY.as_bytes())),
        ..Caller::default()
    };
    let service = &stand.service;
    service.finalize(&terms_of(stand), account.account.id, order.id, &csr_of(&names), caller).await.unwrap();
    let name = Identifier::parse_dns(&names[0]).unwrap();
    let query = CertificateQuery { name: Some(name), ..CertificateQuery::default() };
    let page = service.certificates(&query, None, 500).await.unwrap();
    page.certificates.last().unwrap().serial.to_string()
}

async fn stand() -> Stand {
    let stand = Stand::new().await;
    let mut cursor = crate::service::fleet::FleetCursor::default();
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
    stand
}

#[tokio::test]
async fn the_overview_tells_of_whoever_is_late_and_why() {
    let stand = stand().await;
    certify(&stand, &["silent.test"]).await;
    certify(&stand, &["fails.test"]).await;
    stand.clock.advance(16 * HOUR);
    certify(&stand, &["fresh.test"]).await;
    let nasty = Outcome::Failed(Failed { kind: FailureKind::Unauthorized, detail: NASTY.into() });
    for _ in 0..8 {
        stand.script.next("fails.test", Step::Say(nasty.clone()));
    }
    let account = crate::service::tests::sweep::account(&stand).await;
    let order = crate::service::tests::sweep::order(&stand, &account, &["fails.test".to_owned()]).await;
    crate::service::tests::sweep::prove(&stand, &account, &order).await;
    for _ in 0..500 {
        if stand.service.fleet().summary().failing.iter().sum::<u64>() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stand.clock.advance(6 * HOUR);
    let shown = shown(&stand);
    let page = get(&shown, "/dashboard").await;
    assert_eq!(page.status, 200);
    assert_eq!(stand.service.fleet().summary().of(State::Overdue), 2);
    for words in [
        "silent: no attempt since it was issued",
        "attempt failed",
        "the challenge is answered with something else",
        "the first certificate expires",
        "1 certificate</b>",
    ] {
        let has = page.text.contains(words) || words.ends_with("</b>");
        assert!(has, "{words}: {}", page.text);
    }
    // Overdue ones by what expires first; the fresh one only among what has happened.
    let (attention, activity) = page.text.split_once("id=\"activity\"").unwrap();
    assert!(attention.contains("silent.") && attention.contains("fails."));
    assert!(!attention.contains("fresh.") && activity.contains("fresh."));
}

#[tokio::test]
async fn what_clients_send_is_text_and_nothing_else() {
    let stand = stand().await;
    let serial = certify(&stand, &["a.test"]).await;
    let shown = shown(&stand);
    let pages = [
        "/dashboard".to_owned(),
        format!("/dashboard/certificates/{serial}"),
        format!(
            "/dashboard/search?q={}",
            "%3Cscript%3Ealert(1)%3C/script%3E%22%27%3E%3Cimg%20src=x%20onerror=alert(2)%3E"
        ),
        "/dashboard/search?q=a.test".to_owned(),
        "/dashboard/identities?state=due".to_owned(),
        "/dashboard/%3Cscript%3E".to_owned(),
    ];
    for path in &pages {
        let page = get(&shown, path).await;
        assert!(!page.text.contains("<script>") && !page.text.contains("<img"), "{path}: {}", page.text);
        // No style or handler inside a page, which the policy would not run.
        assert!(!page.text.contains(" style="), "{path}: {}", page.text);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
    }
    let story = get(&shown, &pages[1]).await;
    assert!(story.text.contains("&lt;script&gt;alert(1)"), "shown as it is: {}", story.text);
    for words in ["10.0.0.9", "proved by <span", "ACME, acme", "BEGIN CERTIFICATE", "Key SHA-256"] {
        assert!(story.text.contains(words), "{words}: {}", story.text);
    }
}

#[tokio::test]
async fn renewals_are_told_with_what_came_before() {
    let stand = stand().await;
    let first = certify(&stand, &["a.test", "b.test"]).await;
    certify(&stand, &["a.test"]).await;
    stand.clock.advance(16 * HOUR);
    let second = certify(&stand, &["a.test", "b.test"]).await;
    let shown = shown(&stand);
    let page = get(&shown, &format!("/dashboard/certificates/{first}")).await;
    let series = page.text.split("id=\"series\"").nth(1).unwrap();
    assert!(series.contains(&first) && series.contains(&second) && series.contains("new key"), "{series}");
    assert_eq!(series.matches("<tr").count(), 3, "one more row of headings: {series}");
    let found = get(&shown, "/dashboard/search?q=test").await;
    assert_eq!(found.text.matches("/dashboard/certificates/").count(), 3);
    let direct = get(&shown, &format!("/dashboard/search?q={first}")).await;
    assert_eq!(
        (direct.status, direct.headers["location"].to_str().unwrap()),
        (303, format!("/dashboard/certificates/{first}").as_str())
    );
}

#[tokio::test]
async fn paths_methods_and_assets() {
    let stand = stand().await;
    let shown = shown(&stand);
    for path in [
        "/dashboard/x",
        "/dashboard/certificates/ab",
        "/dashboard/assets/style.css",
        "/dashboard/identities?state=healthy",
    ] {
        assert_eq!(get(&shown, path).await.status, 404, "{path}");
    }
    let unknown = format!("/dashboard/certificates/{}", "00".repeat(19));
    assert_eq!(get(&shown, &unknown).await.status, 404);
    let posted = read(answer(&shown.app, Viewer::Operator, &head("POST", "/dashboard"), "id").await).await;
    assert_eq!((posted.status, posted.headers["allow"].to_str().unwrap()), (405, "GET, HEAD"));
    let page = get(&shown, "/dashboard").await.text;
    for asset in [&assets::STYLE.path, &assets::SCRIPT.path] {
        assert!(page.contains(asset.as_str()), "{asset}");
        let reply = get(&shown, asset).await;
        assert_eq!(reply.status, 200);
        assert!(reply.headers["cache-control"].to_str().unwrap().contains("immutable"));
    }
}

#[tokio::test]
async fn on_the_main_listener_it_is_for_this_machine_if_at_all() {
    let stand = stand().await;
    let shown = shown(&stand);
    let here: IpAddr = "127.0.0.1".parse().unwrap();
    let far: IpAddr = "192.0.2.7".parse().unwrap();
    let ask = |peer, path: &'static str| {
        let app = shown.app.clone();
        async move {
            let request = Request::builder().uri(path).header("host", "localhost");
            let mut request = request.body(http_body_util::Full::new(bytes::Bytes::new())).unwrap();
            request.extensions_mut().insert(crate::http::Peer(peer));
            read(app.answer(request, "id").await).await
        }
    };
    assert_eq!(ask(here, "/dashboard").await.status, 200);
    assert_eq!(ask(far, "/dashboard").await.status, 403);
    // The admin API is not here, whoever asks.
    assert_eq!(ask(here, "/v1/certificates").await.status, 404);
    assert_eq!(ask(here, "/dashboards").await.status, 404);
    // By default it is not there at all.
    let plain = App::new(stand.service.clone(), "https://ca.test".into(), shown.app.limits, 1);
    assert!(on_loopback(&plain, here, &head("GET", "/dashboard"), "id").await.is_none());
}

#[tokio::test]
async fn changes_are_told_once_and_end_with_the_server() {
    let stand = stand().await;
    let shown = shown(&stand);
    let page = get(&shown, "/dashboard").await.text;
    let have = page.split("data-version=\"").nth(1).unwrap().split('"').next().unwrap();
    let response =
        answer(&shown.app, Viewer::Operator, &head("GET", &format!("/dashboard/events?have={have}")), "id")
            .await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.expect("in time");
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.unwrap(), "retry: 1000\n\n");
    certify(&stand, &["new.test"]).await;
    let event = loop {
        let piece = next().await.unwrap();
        if piece.contains("event: change") {
            break piece;
        }
        assert!(piece.starts_with(": "), "{piece}");
    };
    let data = event.split("data: ").nth(1).unwrap().trim();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert!(data["sections"]["activity"].as_str().unwrap().contains("new."), "{data}");
    assert!(data["sections"]["attention"].is_null(), "nothing has changed there: {data}");
    shown.stop.send(true).unwrap();
    while let Some(piece) = next().await {
        assert!(piece.starts_with(": "), "{piece}");
    }
}

#[tokio::test]
async fn so_many_streams_through_each_door_and_the_others_come_back_by_themselves() {
    let stand = stand().await;
    let shown = shown(&stand);
    let head = head("GET", "/dashboard/events");
    let first = async |viewer| {
        let response = answer(&shown.app, viewer, &head, "id").await;
        assert_eq!(
            (response.status(), &response.headers()["content-type"] == "text/event-stream"),
            (200.try_into().unwrap(), true)
        );
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        (String::from_utf8(frame.to_vec()).unwrap(), body)
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let (piece, body) = first(Viewer::Operator).await;
        assert_eq!(piece, "retry: 1000\n\n");
        open.push(body);
    }
    let (crowded, mut rest) = first(Viewer::Operator).await;
    assert!(crowded.starts_with("retry: 15000\n") && crowded.ends_with("\n\n"), "{crowded}");
    assert!(rest.frame().await.is_none(), "it has ended");
    assert_eq!(first(Viewer::Here).await.0, "retry: 1000\n\n", "the other door has places of its own");
    drop(open);
    for _ in 0..500 {
        if first(Viewer::Operator).await.0 == "retry: 1000\n\n" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("places are given back");
}

#[tokio::test]
async fn refused_requests_are_shown_as_text() {
    use crate::acme::order::RawIdentifier;
    use crate::authority::certificate::Client;
    use crate::service::new_order::NewOrder;
    use crate::service::tests::sweep::{account, terms_of};
    let stand = stand().await;
    let shown = shown(&stand);
    assert!(get(&shown, "/dashboard/refused").await.text.contains("There is none."));
    let known = account(&stand).await;
    for name in ["a_b.test", NASTY] {
        let raw = RawIdentifier { kind: "dns".into(), value: name.into(), ancestor: None };
        let client = Client::new("10.0.0.9".parse().unwrap(), NASTY.as_bytes());
        let ask = NewOrder { identifiers: vec![raw], client: Some(client), ..NewOrder::default() };
        stand.service.new_order(&terms_of(&stand), &known, ask).await.unwrap_err();
    }
    stand.service.keep_refused(false).await.unwrap();
    let page = get(&shown, "/dashboard/refused").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("&lt;script&gt;") && page.text.contains("10.0.0.9"), "{}", page.text);
    assert!(!page.text.contains("<script>alert") && !page.text.contains("<img src=x"), "{}", page.text);
    assert!(get(&shown, "/dashboard/refused?after=1").await.text.contains("There is none."));
    assert_eq!(get(&shown, "/dashboard/refused?after=x").await.status, 404);
}
