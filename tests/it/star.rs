//! Orders that are renewed automatically (RFC 8739), by the process and over a kill -9.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::acme::{Client, Order, csr, identifiers, leaf, problem};
use crate::support::process::until;
use crate::support::server::{Server, provisioner};
use crate::support::web::Web;

const SOON: Duration = Duration::from_secs(30);

/// RFC 3339, an hour from now.
fn in_an_hour() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = time::OffsetDateTime::from_unix_timestamp(now.as_secs() as i64 + 3600).unwrap();
    at.format(&time::format_description::well_known::Rfc3339).unwrap()
}

#[test]
fn a_series_goes_on_by_itself_and_after_a_kill() {
    let mut server = Server::start_with(|config| {
        let mut offer = toml::Table::new();
        offer.insert("min_lifetime".into(), "1m".into());
        offer.insert("max_duration".into(), "1d".into());
        offer.insert("allow_certificate_get".into(), true.into());
        provisioner(config).insert("auto_renewal".into(), offer.into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let meta = &client.directory["meta"]["auto-renewal"];
    assert_eq!(*meta, json!({"min-lifetime": 60, "max-duration": 86400, "allow-certificate-get": true}));
    // Pre-dated by a whole lifetime, so that the second certificate is due as soon as there is a first.
    let payload = json!({
        "identifiers": identifiers(&["star.test"]),
        "auto-renewal": {
            "end-date": in_an_hour(), "lifetime": 60, "lifetime-adjust": 60, "allow-certificate-get": true,
        },
    });
    let reply = client.post(&client.endpoint("newOrder"), &payload.to_string()).unwrap();
    let url = reply.header("location").unwrap().to_owned();
    let order = Order { url: url.clone(), object: reply.json() };
    client.authorize(&web, &order).unwrap();
    let done = client.finalize(&order, &csr(&["star.test"]).1).unwrap();
    server.kill();
    let star = done.object["star-certificate"].as_str().expect("a star-certificate").to_owned();
    let path = star.strip_prefix(&server.url("")).unwrap().to_owned();
    thread::sleep(Duration::from_millis(1200));
    server.serve();
    // Nobody asks for it.
    until("the second certificate", SOON, || server.log().contains("index=1").then_some(()));
    let bare = server.https().get(&path).unwrap();
    assert_eq!(bare.status, 200);
    let cache = bare.header("cache-control").unwrap().to_owned();
    let fresh = cache.strip_prefix("max-age=").and_then(|rest| rest.strip_suffix(", must-revalidate"));
    assert!((1..=60).contains(&fresh.unwrap().parse::<u64>().unwrap()), "{cache}");
    for name in ["cert-not-before", "cert-not-after"] {
        assert!(
            bare.header(name).is_some_and(|at| at.starts_with('"') && at.ends_with(" GMT\"")),
            "{bare:?}"
        );
    }
    let der = leaf(&bare.text());
    let mut again = Client::new(&server);
    (again.key, again.kid) = (client.key.clone(), client.kid.clone());
    assert_eq!(leaf(&again.fetch(&star).unwrap().text()), der);
    let refused = again.revoke(&bare.text(), None).unwrap_err().problem();
    assert_eq!(refused, (403, "autoRenewalRevocationNotSupported".to_owned()));
    let canceled = again.post(&url, &json!({"status": "canceled"}).to_string()).unwrap().json();
    assert_eq!(canceled["status"], "canceled");
    let gone = problem(&server.https().get(&path).unwrap());
    assert_eq!(gone, (403, "autoRenewalCanceled".to_owned()));
    server.stop();
}
