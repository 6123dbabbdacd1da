//! What was refused is in the inventory: with who, what and why, over a crash and over a stop.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::acme::{Client, csr, identifiers};
use crate::support::process::until;
use crate::support::server::{Server, binary, provisioner};
use crate::support::web::Web;

fn refused(server: &Server, conditions: &[&str]) -> String {
    let mut command = Command::new(binary());
    command.args(["certs", "refused"]).args(conditions).arg("--config").arg(server.config());
    let out = command.output().unwrap();
    let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    assert!(out.status.success(), "{said}");
    said
}

fn rows(server: &Server, conditions: &[&str]) -> Vec<Value> {
    let said = refused(server, &[conditions, &["--json"]].concat());
    serde_json::from_str::<Value>(&said).unwrap()["refused"].as_array().unwrap().clone()
}

#[test]
fn refusals_are_kept_with_who_and_why() {
    let mut server = Server::init_only(|table| {
        let acme = provisioner(table);
        acme.insert("policy".into(), "now.toml".into());
        acme.insert("authorization_ttl".into(), "1h".into());
        acme.insert("pre_authorization".into(), true.into());
    });
    fs::write(server.dir().join("now.toml"), "[[deny]]\nname = \"secret ones\"\ndns = \"*.secret.test\"\n")
        .unwrap();
    server.serve();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let mut other = Client::registered(&server);
    for _ in 0..3 {
        client.order(&["a.secret.test", "b.test"]).unwrap_err();
    }
    other.order(&["c.test", "d.secret.test"]).unwrap_err();
    let endpoint = client.endpoint("newOrder");
    let profile = json!({ "identifiers": identifiers(&["b.test"]), "profile": "nope" });
    client.post(&endpoint, &profile.to_string()).unwrap_err();
    let endpoint = client.endpoint("newAuthz");
    let authz = json!({ "identifier": { "type": "dns", "value": "*.b.test" } });
    client.post(&endpoint, &authz.to_string()).unwrap_err();
    let order = client.order(&["e.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    client.finalize(&order, &csr(&["f.test"]).1).unwrap_err();
    let issued = client.issue(&web, &["e.test"]).unwrap();
    assert!(issued.pem.contains("BEGIN CERTIFICATE"));

    let all = until("the refusals", Duration::from_secs(20), || {
        Some(rows(&server, &[])).filter(|rows| rows.len() == 5)
    });
    let of = |asked: &str, name: &str| {
        let found = all.iter().find(|row| row["asked"] == asked && row["names"][0] == name);
        found.unwrap_or_else(|| panic!("{asked} {name}: {all:?}"))
    };
    let repeated = of("order", "a.secret.test");
    assert_eq!((&repeated["times"], &repeated["names"][1]), (&3.into(), &"b.test".into()));
    assert_eq!(repeated["error"], "rejectedIdentifier");
    assert!(repeated["detail"].as_str().unwrap().contains("secret ones"), "{repeated}");
    assert_eq!((&repeated["provisioner"], &repeated["authority"]), (&"acme".into(), &"default".into()));
    assert_eq!(repeated["client_address"], "127.0.0.1");
    assert_eq!(of("order", "c.test")["times"], 1);
    assert_eq!(
        (&of("order", "b.test")["error"], &of("order", "b.test")["profile"]),
        (&"invalidProfile".into(), &"nope".into())
    );
    assert_eq!(of("authorization", "*.b.test")["error"], "malformed");
    let finalized = of("certificate", "e.test");
    assert_eq!(
        (finalized["error"].as_str(), finalized["key_sha256"].as_str().unwrap().len()),
        (Some("badCSR"), 64)
    );

    // By each condition.
    let account = of("order", "c.test")["account"].as_str().unwrap().to_owned();
    assert_eq!(rows(&server, &["--account", &account]).len(), 1);
    assert_eq!(rows(&server, &["--name", "b.test"]).len(), 2);
    assert_eq!(rows(&server, &["--error", "badCSR"]).len(), 1);
    assert_eq!(rows(&server, &["--client", "192.0.2.1"]).len(), 0);
    assert_eq!(rows(&server, &["--provisioner", "acme", "--limit", "2"]).len(), 2);
    let told = refused(&server, &["--name", "a.secret.test"]);
    assert!(told.contains("order for a.secret.test,b.test  3 times since "), "{told}");
    assert!(refused(&server, &["--since", "2999-01-01T00:00:00Z"]).contains("No such request was refused."));

    // They are there after a crash, and the last ones after a stop.
    server.kill();
    server.serve();
    let mut client = client.again();
    until("the record", Duration::from_secs(20), || (rows(&server, &[]).len() == 5).then_some(()));
    client.order(&["g.secret.test"]).unwrap_err();
    server.stop();
    server.serve();
    let last = until("the record", Duration::from_secs(20), || rows(&server, &[]).into_iter().next());
    assert_eq!(last["names"][0], "g.secret.test", "{last}");
    assert_eq!(rows(&server, &[]).len(), 6);
    server.stop();
}
