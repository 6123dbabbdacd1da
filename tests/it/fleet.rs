//! Rotation health of a real server: by the commands, the admin API and the metrics, over a restart.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::acme::{Client, csr};
use crate::support::process::until;
use crate::support::server::{Server, binary, provisioner};
use crate::support::web::Web;

/// The rest of the minute that is running, and some patience.
const LATE: Duration = Duration::from_secs(90);

/// A command against the server: whether it succeeded, and what it said.
fn mayfly(server: &Server, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    let out = command.args(arguments).arg("--config").arg(server.config()).output().unwrap();
    (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

fn said(server: &Server, arguments: &[&str]) -> String {
    let (good, said) = mayfly(server, arguments);
    assert!(good, "{arguments:?}: {said}");
    said
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[arguments, &["--json"]].concat())).unwrap()
}

/// The fleet, once the inventory has been read.
fn fleet(server: &Server) -> Value {
    let complete = || Some(json(server, &["fleet"])).filter(|fleet| fleet["complete"] == true);
    until("the fleet", Duration::from_secs(30), complete)
}

fn state(server: &Server, names: &[&str]) -> String {
    json(server, &[&["fleet", "show"], names].concat())["state"].as_str().unwrap().to_owned()
}

/// A row of the metrics.
fn metric(server: &Server, row: &str) -> Option<f64> {
    let page = server.https().get("/metrics").unwrap().text();
    let line = page.lines().find(|line| line.strip_prefix(row).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn who_renews_who_is_late_and_who_need_not() {
    let mut server = Server::start_with(|config| {
        let short = {
            let mut short = provisioner(config).clone();
            short.insert("name".into(), "short".into());
            for key in ["default_ttl", "max_ttl"] {
                short.insert(key.into(), "1m".into());
            }
            short.insert("min_ttl".into(), "1m".into());
            short
        };
        config["provisioner"].as_array_mut().unwrap().push(short.into());
    });
    let web = Web::start(server.http_port);
    fleet(&server);
    let mut client = Client::registered(&server);
    for names in [&["fresh.test"][..], &["failing.test"], &["old.test", "www.old.test"]] {
        client.issue(&web, names).unwrap();
    }
    let revoked = client.issue(&web, &["revoked.test"]).unwrap();
    client.revoke(&revoked.pem, None).unwrap();

    // Tries, and fails.
    let order = client.order(&["failing.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    client.finalize(&order, &csr(&["other.test"]).1).unwrap_err();
    let shown = json(&server, &["fleet", "show", "failing.test"]);
    assert_eq!(shown["failures"]["policy"], 1, "{shown}");
    assert_eq!(shown["last_failure"]["cause"], "policy", "{shown}");
    let id = shown["id"].as_str().unwrap();
    assert_eq!(json(&server, &["fleet", "show", id])["names"][0], "failing.test");

    // Some of its names are not enough, and the error says which there are.
    let (good, why) = mayfly(&server, &["certs", "retire", "old.test"]);
    assert!(!good && why.contains("old.test www.old.test"), "{why}");
    let (good, why) = mayfly(&server, &["fleet", "show", "nobody.test"]);
    assert!(!good && why.contains("mayfly certs search"), "{why}");
    let retired = said(&server, &["certs", "retire", "www.old.test", "old.test"]);
    assert!(retired.starts_with("Retired www.old.test, old.test: "), "{retired}");

    let before = fleet(&server);
    assert_eq!(before["identities"], 4, "{before}");
    assert_eq!((&before["states"]["healthy"], &before["states"]["retired"]), (&2.into(), &2.into()));
    assert_eq!(before["failing"]["policy"], 1);
    let text = said(&server, &["fleet", "status"]);
    assert!(text.contains("If the CA died now, the first certificate expires in "), "{text}");
    assert!(text.contains("latest attempt: policy 1\n"), "{text}");
    assert_eq!(metric(&server, "mayfly_fleet_complete"), Some(1.0));
    assert_eq!(metric(&server, "mayfly_fleet_identities{state=\"retired\"}"), Some(2.0));
    assert_eq!(metric(&server, "mayfly_fleet_expiring_identities{within=\"+Inf\"}"), Some(2.0));

    // What follows from the inventory is the same after a restart.
    server.stop();
    server.serve();
    let mut client = client.again();
    let after = fleet(&server);
    assert_eq!((&after["identities"], &after["states"]), (&before["identities"], &before["states"]));
    assert_eq!(state(&server, &["old.test", "www.old.test"]), "retired");

    // A certificate of a minute, which should have been followed by another at once, and then silence.
    let mut silent = Client::at(&server, &server.directory_of("short"));
    silent.register().unwrap();
    silent.issue(&web, &["silent.test"]).unwrap();
    // Retirement is undone by a certificate of a later second.
    std::thread::sleep(Duration::from_millis(1100));
    client.issue(&web, &["old.test", "www.old.test"]).unwrap();
    assert_eq!(state(&server, &["old.test", "www.old.test"]), "healthy");
    until("the silent one to be late", LATE, || {
        (state(&server, &["silent.test"]) == "overdue").then_some(())
    });
    let list = json(&server, &["fleet", "list", "--state", "overdue"]);
    assert_eq!(list["identities"][0]["names"][0], "silent.test", "{list}");
    assert_eq!(list["identities"][0]["provisioner"], "short", "{list}");
    assert_eq!(list["identities"].as_array().unwrap().len(), 1, "{list}");
    assert!(said(&server, &["fleet"]).contains("silent.test"));
    until("the log's word of it", Duration::from_secs(20), || {
        server.log().contains("an identity has not renewed").then_some(())
    });
    assert_eq!(metric(&server, "mayfly_fleet_identities{state=\"overdue\"}"), Some(1.0));
    // And it comes back, under another account.
    let mut again = Client::registered(&server);
    again.issue(&web, &["silent.test"]).unwrap();
    assert_eq!(state(&server, &["silent.test"]), "healthy");
    assert!(said(&server, &["fleet", "list", "--state", "overdue"]).contains("No identity is overdue."));
    server.stop();
}
