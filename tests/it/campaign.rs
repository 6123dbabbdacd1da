//! `mayfly fleet renew` and `mayfly fleet drill` at a running CA: a client that comes when it is called, one
//! that only asks, and one that does neither.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::acme::{Client, id_of};
use crate::support::clients::{Ask, Challenge, Lego};
use crate::support::openssl::KeyKind;
use crate::support::process::until;
use crate::support::server::{Server, binary};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(60);

/// Whether a command succeeded, and what it said.
fn fleet(server: &Server, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    let command = command.arg("fleet").args(arguments).arg("--config").arg(server.config());
    let out = command.output().unwrap();
    (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

#[track_caller]
fn said(server: &Server, arguments: &[&str]) -> String {
    let (good, said) = fleet(server, arguments);
    assert!(good, "{arguments:?}: {said}");
    said
}

fn json(server: &Server, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(server, &[arguments, &["--json"]].concat())).unwrap()
}

/// The groups of those who have not come: reaction, account and how many.
fn groups(report: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let group = |one: &Value| {
        (text(&one["reaction"]), text(&one["account"]), one["identities"].as_u64().unwrap_or_default())
    };
    let mut all: Vec<_> = report["unanswered"].as_array().unwrap().iter().map(group).collect();
    all.sort();
    all
}

fn account_of(client: &Client) -> String {
    client.kid.as_ref().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[test]
fn who_is_called_comes_or_is_named() {
    let mut server = Server::start();
    let (mut asks, mut silent) = (Client::registered(&server), Client::registered(&server));
    let info = {
        let web = Web::start(server.http_port);
        silent.issue(&web, &["one.silent.test"]).unwrap();
        silent.issue(&web, &["two.silent.test"]).unwrap();
        let issued = asks.issue(&web, &["asks.test"]).unwrap();
        format!("{}/{}", asks.endpoint("renewalInfo"), id_of(&issued.pem))
    };
    let ask = Ask::new(&["lego.test"], Challenge::Http, KeyKind::Ecdsa);
    let lego = Lego::released(&server);
    let first = lego.issue(ask).serial();
    assert_eq!(lego.renew_if_due(ask).serial(), first, "nobody has called");

    let all =
        ["renew", "--suffix", "test", "--key-type", "ec-p256", "--over", "10s", "--reason", "a new root"];
    let dry = until("the fleet", LIMIT, || {
        let (good, said) = fleet(&server, &[&all[..], &["--dry-run", "--json"]].concat());
        good.then(|| serde_json::from_str::<Value>(&said).unwrap())
    });
    assert_eq!((dry["certificates"].as_u64(), dry["longest_pause"].as_u64()), (Some(4), Some(21_600)));
    let told = said(&server, &[&all[..], &["--dry-run"]].concat());
    assert!(told.contains("about 0 % of them ask in time") && told.contains("Nothing was begun"), "{told}");
    assert_eq!(said(&server, &["renew", "--list"]), "There was no campaign yet.\n");
    for (arguments, words) in [
        (&["renew", "--suffix", "nobody.test", "--over", "1h", "--reason", "x"][..], "no certificate meets"),
        (&["renew", "--over", "1h", "--reason", "x"], "or --all if every certificate is meant"),
        (&["renew", "--all", "--reason", "x"], "--over is missing"),
        (&["renew", "--issuer", "nope", "--over", "1h", "--reason", "x"], "or one of: default"),
        (&["renew", "--cancel", "7"], "there is no campaign 7"),
    ] {
        let (good, said) = fleet(&server, arguments);
        assert!(!good && said.contains(words), "{arguments:?}: {said}");
    }

    let told = said(&server, &all);
    assert!(told.contains("Campaign 1 is begun") && told.contains("mayfly fleet drill 1"), "{told}");
    let renewed = until("the renewal", LIMIT, || {
        Some(lego.renew_if_due(ask).serial()).filter(|serial| *serial != first)
    });
    assert_eq!(lego.renew_if_due(ask).serial(), renewed, "it is not called again");
    assert_eq!(server.https().get(&info).unwrap().status, 200);
    // Until all windows have begun.
    let told = said(&server, &["drill", "1", "--interval", "1s"]);
    assert!(told.contains("called 4/4") && told.contains("renewed 1  not yet 3"), "{told}");
    let report = json(&server, &["drill", "1", "--for", "0s"]);
    let missing = [
        ("asked-and-stayed".to_owned(), account_of(&asks), 1),
        ("never-asked".to_owned(), account_of(&silent), 2),
    ];
    assert_eq!(groups(&report), missing);
    let reaction = &report["campaign"]["reaction"];
    for (field, want) in
        [("members", 4), ("asked", 2), ("renewed", 1), ("renewed_unasked", 0), ("missing", 3)]
    {
        assert_eq!(reaction[field], want, "{field}: {reaction}");
    }

    // All but who asked is known after a crash, and windows are where they were.
    let moved = server.https().get(&info).unwrap().json();
    server.kill();
    server.serve();
    assert_eq!(server.https().get(&info).unwrap().json(), moved);
    let report = until("the members", LIMIT, || {
        let report = json(&server, &["drill", "1", "--for", "0s"]);
        Some(report).filter(|report| report["campaign"]["reaction"]["complete"] == true)
    });
    assert_eq!((&report["campaign"]["reaction"]["renewed"], groups(&report)), (&1.into(), missing.to_vec()));
    said(&server, &["renew", "--cancel", "1"]);
    assert!(said(&server, &["renew", "--list"]).contains("cancelled"));
    let usual = server.https().get(&info).unwrap().json();
    assert!(usual["suggestedWindow"]["start"].as_str() > moved["suggestedWindow"]["start"].as_str());
    server.stop();
}
