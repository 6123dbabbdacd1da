//! `/metrics` of a real server, judged by Prometheus' own tools.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::support::acme::{Client, Key, csr};
use crate::support::ports;
use crate::support::server::{Server, section};
use crate::support::web::Web;

/// `GET /metrics` over plain HTTP.
pub(crate) fn plain(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// What `promtool check metrics` has to say.
pub(crate) fn promtool(page: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    assert!(done.status.success(), "{}\n{page}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()
}

/// Series by their text.
fn series(page: &str) -> BTreeMap<String, f64> {
    let rows = page.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    })
    .collect()
}

/// The sum over the series of a name that have all these labels.
fn sum(series: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let rows = series.iter().filter(|(text, _)| text.split('{').next() == Some(name));
    rows.filter(|(text, _)| labels.iter().all(|label| text.contains(label))).map(|(_, value)| value).sum()
}

#[test]
fn a_flow_shows_and_promtool_has_nothing_to_say() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let page = || server.https().get("/metrics").unwrap().text();
    let fresh = series(&page());
    assert_eq!(sum(&fresh, "mayfly_issuances_total", &["provisioner=\"acme\""]), 0.0);
    assert!(fresh.keys().any(|text| text.starts_with("mayfly_issuances_total{")), "at zero from the start");

    let mut client = Client::registered(&server);
    let issued = client.issue(&web, &["a.test"]).unwrap();
    client.revoke(&issued.pem, Some(1)).unwrap();
    client.revoke(&issued.pem, Some(1)).unwrap_err();
    let failing = client.order(&["nobody.test"]).unwrap();
    client.finalize(&failing, &csr(&["nobody.test"]).1).unwrap_err();
    client.order(&["not a name"]).unwrap_err();
    // A challenge that nothing answers.
    client.authorize(&Web::start(ports::free()), &failing).unwrap_err();

    let text = page();
    let now = series(&text);
    let acme = |name: &str, labels: &[&str]| sum(&now, name, &[&["provisioner=\"acme\""], labels].concat());
    assert_eq!(acme("mayfly_issuances_total", &["result=\"issued\""]), 1.0);
    assert_eq!(acme("mayfly_issuances_total", &["result=\"refused\"", "reason=\"orderNotReady\""]), 1.0);
    assert_eq!(acme("mayfly_revocations_total", &["reason=\"keyCompromise\"", "result=\"revoked\""]), 1.0);
    assert_eq!(acme("mayfly_revocations_total", &["reason=\"alreadyRevoked\""]), 1.0);
    assert_eq!(acme("mayfly_validations_total", &["challenge=\"http-01\"", "result=\"valid\""]), 1.0);
    assert_eq!(acme("mayfly_validations_total", &["challenge=\"http-01\"", "result=\"invalid\""]), 1.0);
    assert_eq!(acme("mayfly_requests_total", &["operation=\"finalize\"", "result=\"ok\""]), 1.0);
    assert_eq!(acme("mayfly_refusals_total", &["reason=\"orderNotReady\""]), 1.0);
    assert_eq!(acme("mayfly_certificate_lifetime_seconds_count", &[]), 1.0);
    for stage in ["verify", "policy", "sign", "commit", "validate"] {
        let stage = format!("stage=\"{stage}\"");
        assert!(sum(&now, "mayfly_stage_duration_seconds_count", &[&stage]) > 0.0, "{stage}");
    }
    for name in [
        "mayfly_store_commits_total",
        "mayfly_store_group_transactions_count",
        "mayfly_store_sync_duration_seconds_sum",
        "mayfly_sweeper_last_success_timestamp_seconds",
        "mayfly_nonces_issued_total",
        "mayfly_issuer_not_after_timestamp_seconds",
        "mayfly_ca_certificate_not_after_timestamp_seconds",
        "mayfly_orders_open",
        "mayfly_process_resident_memory_bytes",
        "mayfly_process_start_time_seconds",
        "mayfly_process_open_fds",
        "mayfly_process_cpu_seconds_total",
    ] {
        assert!(sum(&now, name, &[]) > 0.0, "{name}\n{text}");
    }
    // Once they are counted; the only one was revoked.
    let live = text.lines().find(|line| line.starts_with("mayfly_issuer_live_certificates{"));
    assert!(live.is_some_and(|line| line.contains("role=\"signing\"")), "{live:?}");
    assert_eq!(promtool(&text), "");
}

#[test]
fn on_a_listener_of_its_own_and_only_there() {
    let port = ports::free();
    let server = Server::start_with(|config| {
        let metrics = section(config, "metrics");
        metrics.insert("address".into(), format!("127.0.0.1:{port}").into());
        metrics.insert("vault_aliases".into(), true.into());
    });
    assert_eq!(server.https().get("/metrics").unwrap().status, 404);
    let reply = plain(port, "/metrics");
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("vault_pki_sign_count{"), "{reply}");
    assert!(plain(port, "/readyz").starts_with("HTTP/1.1 404"));
    assert!(plain(port, "/acme/acme/directory").starts_with("HTTP/1.1 404"));
}

/// However many clients, names and mistakes there are.
#[test]
fn series_stay_as_many() {
    let server = Server::start();
    let web = Web::start(server.http_port);
    let page = || series(&server.https().get("/metrics").unwrap().text());
    let round = |names: &[&str]| {
        let mut client = Client::new(&server);
        client.register().unwrap();
        for name in names {
            client.issue(&web, &[name]).unwrap();
            client.order(&[&format!("bad name {name}")]).unwrap_err();
        }
        server.https().get(&format!("/no/{}", names[0])).unwrap();
        Key::generate()
    };
    round(&["first.test"]);
    let before = page();
    for number in 0..8 {
        round(&[&format!("a{number}.test"), &format!("b{number}.test")]);
    }
    let after = page();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert!(after.len() < 700, "{} series", after.len());
}
