//! The alert rules and the dashboard: by promtool, and over a real Prometheus that scrapes a real server and
//! tells a real Alertmanager.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::metrics::{plain, promtool};
use crate::support::acme::{Client, csr};
use crate::support::ports;
use crate::support::process::{Running, output, until_or_explain};
use crate::support::server::{Server, binary, provisioner, section};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(60);

fn shipped(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// A query parameter.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// GET of JSON over plain HTTP; `None` while nobody is there.
fn get(port: u16, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    serde_json::from_str(reply.split_once("\r\n\r\n")?.1).ok()
}

#[test]
fn rules_fire_when_they_should_and_lead_to_the_readme() {
    let dir = shipped("prometheus");
    output(Command::new("promtool").args(["test", "rules", "tests.yml"]).current_dir(&dir));
    let rules = fs::read_to_string(dir.join("alerts.yml")).unwrap();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let anchors: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("#### "))
        .map(|heading| format!("README.md#{}", heading.to_lowercase()))
        .collect();
    let (mut alerts, mut led) = (0, 0);
    for line in rules.lines().map(str::trim) {
        alerts += usize::from(line.starts_with("- alert: "));
        if let Some(anchor) = line.strip_prefix("runbook_url: ") {
            led += 1;
            assert!(anchors.contains(anchor), "{anchor} is no heading of README.md");
        }
    }
    assert!(alerts > 10 && alerts == led, "{alerts} alerts, {led} of them with a runbook");
}

#[test]
fn prometheus_scrapes_the_dashboard_has_data_and_alertmanager_hears() {
    let (own, prometheus, alertmanager) = (ports::free(), ports::free(), ports::free());
    let server = Server::start_with(|config| {
        section(config, "metrics").insert("address".into(), format!("127.0.0.1:{own}").into());
        let acme = provisioner(config);
        acme.insert("max_ttl".into(), "30d".into());
        acme.insert("default_ttl".into(), "30d".into());
        let receiver =
            format!("name = \"am\"\ntype = \"alertmanager\"\nurl = \"http://127.0.0.1:{alertmanager}\"");
        let receiver: toml::Table = receiver.parse().unwrap();
        config.insert("notify".into(), toml::Value::Array(vec![receiver.into()]));
    });
    let web = Web::start(server.http_port);
    let home = server.scratch("monitoring");
    let rules = shipped("prometheus/alerts.yml");
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [\"{}\"]\n\
         alerting: {{ alertmanagers: [ {{ static_configs: [ {{ targets: [\"127.0.0.1:{alertmanager}\"] }} ] }} ] }}\n\
         scrape_configs: [ {{ job_name: mayfly, static_configs: [ {{ targets: [\"127.0.0.1:{own}\"] }} ] }} ]\n",
        rules.display()
    );
    fs::write(home.join("prometheus.yml"), config).unwrap();
    fs::write(home.join("alertmanager.yml"), "route: { receiver: none }\nreceivers: [ { name: none } ]\n")
        .unwrap();
    let listens = |port: u16| format!("--web.listen-address=127.0.0.1:{port}");
    let _alertmanager = Running::start(
        Command::new("prometheus-alertmanager")
            .args(["--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address="])
            .arg(listens(alertmanager))
            .current_dir(&home),
        &home.join("alertmanager.log"),
    );
    let running = Running::start(
        Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(listens(prometheus))
            .current_dir(&home),
        &home.join("prometheus.log"),
    );
    let query = |expression: &str| -> Vec<Value> {
        let reply = get(prometheus, &format!("/api/v1/query?query={}", encoded(expression)));
        reply.and_then(|reply| reply["data"]["result"].as_array().cloned()).unwrap_or_default()
    };
    let explain = || running.output();
    let first = || (!query("mayfly_build_info").is_empty()).then_some(());
    until_or_explain("the first scrape", LIMIT, first, explain);

    let mut client = Client::registered(&server);
    client.issue(&web, &["long.test"]).unwrap();
    let order = client.order(&["early.test"]).unwrap();
    client.finalize(&order, &csr(&["early.test"]).1).unwrap_err();
    let mut drill = Command::new(binary());
    drill.args(["fleet", "drill", "--all", "--over", "1m", "--reason", "a test", "--config"]);
    output(drill.arg(server.config()));
    let heard = || {
        let alerts = get(alertmanager, "/api/v2/alerts")?;
        let named = |alert: &Value| alert["labels"]["alertname"] == "MayflyLongLivedCertificate";
        alerts.as_array()?.iter().any(named).then_some(())
    };
    until_or_explain("the alert at Alertmanager", LIMIT, heard, explain);

    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(shipped("grafana/mayfly.json")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries = 0;
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        let expression = expression.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let data = || (!query(&expression).is_empty()).then_some(());
        until_or_explain(&expression, LIMIT, data, explain);
        queries += 1;
    }
    assert!(queries > 25, "{queries}");
    let page = plain(own, "/metrics");
    let (_, page) = page.split_once("\r\n\r\n").unwrap();
    assert!(page.contains("mayfly_campaign_members{campaign=\"1\"} 1"), "{page}");
    assert_eq!(promtool(page), "");
}
