//! Who may read `/metrics`, and what the requests of a flow leave there.

use std::net::IpAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::Request;

use super::client::*;
use crate::http::metrics::Access;
use crate::http::{App, Peer};
use crate::service::stand::Stand;

async fn get_from(app: &Arc<App>, from: &str, path: &str, accept: &str) -> Reply {
    let mut request =
        Request::get(path).header("accept", accept).body(Full::<bytes::Bytes>::default()).unwrap();
    request.extensions_mut().insert(Peer(from.parse::<IpAddr>().unwrap()));
    let (parts, body) = app.answer(request, "id").await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

#[tokio::test]
async fn for_this_machine_and_the_networks_that_are_named() {
    let stand = Stand::new().await;
    let plain = app(&stand);
    let page = get_from(&plain, "127.0.0.1", "/metrics", "*/*").await.expect(200);
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(page.text().contains("mayfly_build_info{version="), "{}", page.text());
    let open = get_from(&plain, "::1", "/metrics", "application/openmetrics-text").await.expect(200);
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.text().ends_with("# EOF\n"));
    assert!(!open.text().contains("vault_"));
    let refused = get_from(&plain, "10.1.2.3", "/metrics", "*/*").await;
    refused.refused(403, "unauthorized");
    assert!(refused.text().contains("[metrics]"), "{}", refused.text());
    send(&plain, "GET", "/metrics", &[], "").await.refused(403, "unauthorized");

    let with = |access| {
        let app = Arc::into_inner(app(&stand)).unwrap();
        Arc::new(app.with_metrics(access))
    };
    let allow = vec!["10.1.0.0/16".parse().unwrap()];
    let allowed = with(Access { allow, vault_aliases: true, ..Access::default() });
    let page = get_from(&allowed, "10.1.2.3", "/metrics", "*/*").await.expect(200);
    assert!(page.text().contains("vault_core_in_flight_requests"), "{}", page.text());
    get_from(&allowed, "10.2.2.3", "/metrics", "*/*").await.refused(403, "unauthorized");
    let elsewhere = with(Access { elsewhere: true, ..Access::default() });
    get_from(&elsewhere, "127.0.0.1", "/metrics", "*/*").await.refused(404, "malformed");
}
