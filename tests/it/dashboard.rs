//! The dashboard in a real Chromium: on loopback, and over the network with a client certificate.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::operators::Holder;
use crate::support::acme::Client;
use crate::support::clients::installed;
use crate::support::ports;
use crate::support::process::{Running, run, until_or_explain};
use crate::support::server::{Server, section, support_file};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(90);

/// Opens the browser, issues a certificate once it looks, and waits for it to be content.
fn browse(server: &Server, url: &str, name: &str, holder: Option<&Holder>) {
    let home = server.scratch(name);
    let mut command = Command::new(installed("py/bin/python"));
    command.arg(support_file("dashboard.py")).arg(url).arg(&home).current_dir(&home);
    if let Some(holder) = holder {
        command.arg(&holder.cert).arg(&holder.key);
    }
    let mut running = Running::start(&mut command, &home.join("browser.log"));
    let explain = running_log(&home);
    until_or_explain("the page", LIMIT, || home.join("loaded").exists().then_some(()), &explain);
    issue(server, name);
    let beside = home.join("name.new");
    fs::write(&beside, name).unwrap();
    fs::rename(&beside, home.join("name")).unwrap();
    let status = running.wait(LIMIT);
    assert!(status.success() && running.output().ends_with("ok\n"), "{}", running.output());
}

fn running_log(home: &Path) -> impl Fn() -> String + use<> {
    let log = home.join("browser.log");
    move || fs::read_to_string(&log).unwrap_or_default()
}

fn issue(server: &Server, name: &str) {
    let web = Web::start(server.http_port);
    Client::registered(server).issue(&web, &[name]).unwrap();
}

/// A listener with little patience closes idle connections soon; to it, one with a stream is idle.
#[test]
fn dashboard_streams_end_before_the_listener_cuts_them() {
    let mut server = Server::init_only(|config| {
        section(config, "admin").insert("dashboard_on_loopback".into(), true.into());
        section(config, "server").insert("request_timeout".into(), "2s".into());
    });
    server.serve();
    for version in ["--http1.1", "--http2"] {
        let mut command = Command::new("curl");
        command.args(["-sSN", version, "--cacert"]).arg(server.root()).arg(server.url("/dashboard/events"));
        let finished = run(&mut command, &server.scratch("curl").join("out"), LIMIT);
        assert!(
            finished.status.success() && finished.output.contains("retry"),
            "{version}: {}",
            finished.output
        );
    }
    server.stop();
}

#[test]
fn an_operator_sees_the_fleet_in_a_browser() {
    let port = ports::free();
    let dir = tempfile::tempdir().unwrap();
    let operator = Holder::alone(dir.path(), "operator", |_| {});
    let mut server = Server::init_only(|config| {
        let admin = section(config, "admin");
        admin.insert("address".into(), format!("127.0.0.1:{port}").into());
        admin.insert("clients".into(), vec![operator.fingerprint()].into());
        admin.insert("dashboard_on_loopback".into(), true.into());
    });
    server.serve();
    browse(&server, &server.url(""), "first.test", None);
    browse(&server, &format!("https://localhost:{port}"), "second.test", Some(&operator));
    // A browser that still listens does not keep the server from stopping.
    let mut command = Command::new("curl");
    command.args(["-sSN", "--cacert"]).arg(server.root()).arg(server.url("/dashboard/events"));
    let mut listening = Running::start(&mut command, &server.scratch("curl").join("out"));
    until_or_explain("the stream", LIMIT, || listening.output().contains("retry").then_some(()), String::new);
    server.stop();
    assert!(listening.wait(LIMIT).success(), "it ended as it should: {}", listening.output());
}
