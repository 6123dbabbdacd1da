//! `mayfly config` against a running CA.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::acme::Client;
use crate::support::process::{Finished, output, run};
use crate::support::server::{Server, binary, provisioner, section};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(60);

fn config(server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("config").args(args).arg("--config").arg(server.config());
    command.current_dir(server.scratch("cli"));
    run(&mut command, &server.scratch("cli").join("out"), LIMIT)
}

#[track_caller]
fn said(finished: &Finished, success: bool, words: &[&str]) {
    assert_eq!(finished.status.success(), success, "{}", finished.output);
    for word in words {
        assert!(finished.output.contains(word), "{word}: {}", finished.output);
    }
}

fn versions(server: &Server) -> Vec<(u64, String)> {
    let json: Value = serde_json::from_str(&config(server, &["history", "--json"]).output).unwrap();
    let versions = json["versions"].as_array().unwrap().iter();
    versions.map(|one| (one["version"].as_u64().unwrap(), one["how"].as_str().unwrap().to_owned())).collect()
}

fn edit(server: &Server, change: impl FnOnce(&mut toml::Table)) -> String {
    let mut table: toml::Table = fs::read_to_string(server.config()).unwrap().parse().unwrap();
    change(&mut table);
    let text = toml::to_string(&table).unwrap();
    fs::write(server.config(), &text).unwrap();
    text
}

#[test]
fn applied_compared_and_rolled_back_without_a_restart() {
    let mut server = Server::start();
    let pid = server.pid();
    let first = fs::read_to_string(server.config()).unwrap();
    assert_eq!(versions(&server), [(1, "start".to_owned())]);
    assert_eq!(config(&server, &["show"]).output, first);
    said(&config(&server, &["diff"]), true, &["no difference between version 1 and the file"]);
    let status =
        |server: &Server, name: &str| server.https().get(&format!("/acme/{name}/directory")).unwrap().status;

    // A policy is part of the configuration, though in a file of its own.
    let policy = server.dir().join("web.toml");
    fs::write(&policy, "[[allow]]\ndns = [\"*.web.test\"]\n").unwrap();
    let second = edit(&server, |table| {
        provisioner(table).insert("name".into(), "web".into());
        provisioner(table).insert("policy".into(), "web.toml".into());
        section(table, "log").insert("level".into(), "debug".into());
    });
    said(
        &config(&server, &["diff"]),
        true,
        &["-name = \"acme\"", "+name = \"web\"", "+++ web.toml (the file)"],
    );
    assert_eq!((status(&server, "acme"), status(&server, "web")), (200, 404));
    let applied = config(&server, &["apply"]);
    said(&applied, true, &["Version 2 is in force.", "[log] differs", "the next start"]);
    assert_eq!((status(&server, "acme"), status(&server, "web")), (404, 200));
    // Once more is no other version.
    said(&config(&server, &["apply"]), true, &["Version 2 is in force."]);

    // What is not valid changes nothing, and every mistake is told of.
    fs::write(server.config(), format!("color = 1\nshape = 2\n{second}")).unwrap();
    said(&config(&server, &["apply"]), false, &["color", "shape", "mayfly check-config"]);
    let socket = format!("unix:{}", server.dir().join("admin.sock").display());
    let refused = config(&server, &["apply", "--url", &socket]);
    said(&refused, false, &["nothing was changed", "color", "shape"]);
    assert_eq!((status(&server, "acme"), status(&server, "web")), (404, 200));
    // A file that does not even say where the socket is can be rolled back all the same.
    said(&config(&server, &["rollback", "2", "--url", &socket]), true, &["Version 2 is in force."]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), second);

    fs::write(&policy, "[[allow]]\ndns = [\"*.other.test\"]\n").unwrap();
    said(&config(&server, &["apply"]), true, &["Version 3 is in force."]);
    said(
        &config(&server, &["diff", "2", "3"]),
        true,
        &["-dns = [\"*.web.test\"]", "+dns = [\"*.other.test\"]"],
    );

    let back = config(&server, &["rollback", "2"]);
    said(&back, true, &["Version 4 is in force.", "web.toml.before"]);
    assert_eq!(fs::read_to_string(&policy).unwrap(), "[[allow]]\ndns = [\"*.web.test\"]\n");
    said(&config(&server, &["rollback", "1"]), true, &["Version 5 is in force.", "mayfly.toml.before"]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), first);
    assert_eq!((status(&server, "acme"), status(&server, "web")), (200, 404));

    // What is called a rollback, and is none.
    let mut lie = Command::new("curl");
    lie.args(["--silent", "--json", r#"{"rollback_to": 2}"#, "--unix-socket"]);
    lie.arg(server.dir().join("admin.sock")).arg("http://localhost/v1/configurations");
    let lie = run(&mut lie, &server.scratch("cli").join("out"), LIMIT);
    said(&lie, true, &["rollback_to: ", "is not what version 2 has"]);
    assert_eq!(versions(&server).len(), 5);

    // One that cannot be put into force any more leaves the file as it is.
    let (root, away) = (server.root(), server.dir().join("root_ca.away"));
    fs::rename(&root, &away).unwrap();
    said(&config(&server, &["rollback", "2"]), false, &["nothing was changed", "root_ca.crt"]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), first);
    said(&config(&server, &["rollback", "99"]), false, &["there is none of that id"]);
    assert_eq!(server.pid(), pid);

    let hows = ["start", "apply", "apply", "rollback to 2", "rollback to 1"];
    let want: Vec<_> = (1..).zip(hows.map(str::to_owned)).collect();
    assert_eq!(versions(&server), want);
    // The record outlives the process.
    fs::rename(&away, &root).unwrap();
    server.kill();
    server.serve();
    assert_eq!(versions(&server), want);
}

/// A CA whose own certificate its policy refuses would be gone within a day.
#[test]
fn certificates_say_under_which_configuration_they_were_allowed() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let allowed_by = |server: &Server, name: &str| {
        let mut command = Command::new(binary());
        command.args(["certs", "search", name, "--json", "--config"]).arg(server.config());
        let found: Value = serde_json::from_str(&output(&mut command)).unwrap();
        found["certificates"][0]["configuration"].as_u64()
    };
    client.issue(&web, &["a.test"]).unwrap();
    assert_eq!(allowed_by(&server, "a.test"), Some(1));
    fs::write(server.dir().join("web.toml"), "[[allow]]\ndns = [\"*.test\"]\n").unwrap();
    edit(&server, |table| {
        provisioner(table).insert("policy".into(), "web.toml".into());
    });
    said(&config(&server, &["apply"]), true, &["Version 2 is in force."]);
    client.issue(&web, &["b.test"]).unwrap();
    server.stop();
    server.serve();
    client.again().issue(&web, &["c.test"]).unwrap();
    let of = ["a.test", "b.test", "c.test"].map(|name| allowed_by(&server, name));
    assert_eq!(of, [Some(1), Some(2), Some(2)]);
    server.stop();
}

#[test]
fn a_policy_that_shuts_the_ca_itself_out_is_refused() {
    let mut server = Server::init_only(|table| {
        section(table, "authority").insert("policy".into(), "own.toml".into());
    });
    let own = server.dir().join("own.toml");
    let check = |server: &Server, command: &[&str]| {
        let mut check = Command::new(binary());
        check.args(command).arg(server.config());
        run(&mut check, &server.scratch("cli").join("out"), LIMIT)
    };
    let why = ["authority.policy: refuses this CA's own certificate, for localhost", "requester = \"own\""];
    fs::write(&own, "\n[[deny]]\nname = \"web only\"\neku = [\"serverAuth\"]\n").unwrap();
    for command in [&["check-config"] as &[&str], &["serve", "--config"]] {
        said(&check(&server, command), false, &[why[0], why[1], "rule \"web only\" (line 2)"]);
    }
    fs::write(&own, "[[allow]]\ndns = [\"localhost\"]\nip = [\"127.0.0.1\"]\n").unwrap();
    said(&check(&server, &["check-config"]), true, &[": ok"]);
    server.serve();
    fs::write(&own, "[[allow]]\nname = \"others\"\ndns = [\"*.web.test\"]\n").unwrap();
    said(&config(&server, &["apply"]), false, &["nothing was changed", why[0], "no allow rule"]);
    assert_eq!(versions(&server).len(), 1);

    // One that is tried is only told of.
    edit(&server, |table| {
        let authority = section(table, "authority");
        authority.remove("policy");
        authority.insert("policy_audit".into(), "own.toml".into());
    });
    said(
        &check(&server, &["check-config"]),
        true,
        &[": ok", "note: ", "authority.policy_audit: would refuse this CA's own certificate"],
    );
    said(&config(&server, &["apply"]), true, &["Version 2 is in force."]);
    assert!(server.log().contains("would refuse this CA's own certificate"), "{}", server.log());
}

/// A policy file that never ends stands for a token or a key service that hangs.
#[test]
fn a_reload_that_hangs_does_not_keep_the_server_from_stopping() {
    let mut server = Server::start();
    assert!(Command::new("mkfifo").arg(server.dir().join("hangs.toml")).status().unwrap().success());
    edit(&server, |table| {
        provisioner(table).insert("policy".into(), "hangs.toml".into());
    });
    let pid = server.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", pid.as_str()]).status().unwrap().success());
    std::thread::sleep(Duration::from_millis(500));
    assert!(!server.log().contains("SIGHUP"), "the reload has ended");
    server.stop();
}
