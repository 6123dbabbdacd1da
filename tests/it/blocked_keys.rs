//! `mayfly keys`, against a running CA.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::acme::{Client, Failure, csr_for};
use crate::support::process::{Finished, run};
use crate::support::server::{Server, binary};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(60);

fn keys(server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("keys").args(args).arg("--config").arg(server.config()).current_dir(server.scratch("cli"));
    run(&mut command, &server.scratch("cli").join("out"), LIMIT)
}

#[track_caller]
fn said(finished: &Finished, success: bool, words: &[&str]) {
    assert_eq!(finished.status.success(), success, "{}", finished.output);
    for word in words {
        assert!(finished.output.contains(word), "{word}: {}", finished.output);
    }
}

fn obtain(client: &mut Client, web: &Web, key: &rcgen::KeyPair) -> Result<String, Failure> {
    let order = client.order(&["one.test"])?;
    client.authorize(web, &order)?;
    let order = client.finalize(&order, &csr_for(&["one.test"], key))?;
    Ok(client.fetch(order.certificate().unwrap())?.text())
}

#[test]
fn blocked_keys_from_the_command_line() {
    let mut server = Server::start();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    said(&keys(&server, &["list"]), true, &["No key is blocked"]);
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = obtain(&mut client, &web, &key).unwrap();
    let file = server.scratch("cli").join("leaf.crt");
    fs::write(&file, &pem).unwrap();
    let file = file.to_str().unwrap();

    let blocked = keys(&server, &["block", "--certificate", file, "--reason", "in a repository"]);
    said(&blocked, true, &["SHA-256 of the key: ", "Blocked 1 key."]);
    let hash = blocked.output.split_whitespace().find(|word| word.len() == 64).unwrap().to_owned();
    said(&keys(&server, &["list"]), true, &[&hash, "in a repository"]);
    assert_eq!(obtain(&mut client, &web, &key).unwrap_err().problem(), (400, "badCSR".to_owned()));
    // What was blocked stays so.
    server.stop();
    server.serve();
    let mut client = client.again();
    assert_eq!(obtain(&mut client, &web, &key).unwrap_err().problem(), (400, "badCSR".to_owned()));
    said(&keys(&server, &["unblock", &hash]), true, &["Unblocked", &hash, "in a repository"]);
    let pem = obtain(&mut client, &web, &key).unwrap();

    client.revoke(&pem, Some(1)).unwrap();
    let json: Value = serde_json::from_str(&keys(&server, &["list", "--json"]).output).unwrap();
    assert_eq!(json["keys"][0]["key"], hash.as_str());
    assert!(json["keys"][0]["revoked"].is_string(), "{json}");
    assert_eq!(obtain(&mut client, &web, &key).unwrap_err().problem(), (400, "badCSR".to_owned()));

    // A list longer than one request takes.
    let many: String = (0..1000).map(|n| format!("{n:064x}\n")).collect();
    let list = server.scratch("cli").join("hashes.txt");
    fs::write(&list, format!("# weak\n{hash}\n{many}")).unwrap();
    let list = list.to_str().unwrap();
    said(
        &keys(&server, &["block", "--file", list, "--reason", "weak"]),
        true,
        &["Blocked 1000 keys (1 blocked"],
    );
    let shown = keys(&server, &["list"]).output;
    assert_eq!(shown.lines().count(), 1002, "{shown}");
    fs::write(list, format!("{hash}\nno hash\n")).unwrap();
    said(
        &keys(&server, &["block", "--file", list, "--reason", "weak"]),
        false,
        &["line 2", "nothing was blocked"],
    );
    said(&keys(&server, &["block", "--csr", file, "--reason", "r"]), false, &["no certification request"]);
    said(&keys(&server, &["unblock", &"0".repeat(63).replace('0', "e")]), false, &["64 hexadecimal"]);
}
