//! `mayfly eab`, and the socket of a running CA.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::acme::Client;
use crate::support::process::{Finished, run};
use crate::support::server::{Server, binary, provisioner};

const LIMIT: Duration = Duration::from_secs(60);

fn eab(server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(binary());
    command.arg("eab").args(args).arg("--config").arg(server.config()).current_dir(server.scratch("cli"));
    run(&mut command, &server.scratch("cli").join("out"), LIMIT)
}

fn required() -> Server {
    Server::start_with(|config| {
        provisioner(config).insert("eab".into(), "required".into());
    })
}

#[track_caller]
fn said(finished: &Finished, success: bool, words: &[&str]) {
    assert_eq!(finished.status.success(), success, "{}", finished.output);
    for word in words {
        assert!(finished.output.contains(word), "{word}: {}", finished.output);
    }
}

#[test]
fn keys_from_the_command_line() {
    let server = required();
    said(&eab(&server, &["list"]), true, &["no EAB keys"]);
    let label = ["--label", "web", "--allow", "*.web.test", "--uses", "3", "--expires", "1h"];
    let created = eab(&server, &[&["create", "--provisioner", "acme"], &label[..]].concat());
    let flags =
        ["--eab-kid ", "--eab-hmac-key ", "--eab", "--kid ", "--hmac ", "acme_eab", "key_id ", "mac_key "];
    said(&created, true, &flags);
    assert_eq!(created.output.matches(&server.directory()).count(), 3, "{}", created.output);
    let after = |word: &str| {
        let rest = created.output.split(word).nth(1).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (kid, secret) = (after("--eab-kid "), after("--eab-hmac-key "));

    let listed = eab(&server, &["list"]);
    said(&listed, true, &[&kid, "active", "0/3", "*.web.test", "# web"]);
    let json: Value = serde_json::from_str(&eab(&server, &["list", "--json"]).output).unwrap();
    assert_eq!(json["keys"][0]["kid"], kid.as_str());
    assert!(!listed.output.contains(&secret) && !json.to_string().contains(&secret));

    said(&eab(&server, &["revoke", &kid]), true, &["Revoked", &kid]);
    said(&eab(&server, &["list"]), true, &["revoked"]);
    said(&eab(&server, &["create", "--provisioner", "none"]), false, &["error: ", "there are: acme"]);
    let trusting = ["create", "--provisioner", "acme", "--allow", "a.test", "--trust-names"];
    said(&eab(&server, &trusting), false, &["eab_trusts_names = true"]);
    assert!(!server.log().contains(&secret), "the log has the secret");
    // Nor is it to be read from the outside.
    let mut stranger = Client::new(&server);
    assert_eq!(stranger.register().unwrap_err().problem(), (403, "externalAccountRequired".to_owned()));
    assert_eq!(server.https().get("/v1/eab-keys").unwrap().status, 404);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_socket_comes_and_goes_with_the_process() {
    let mut server = required();
    let socket = server.dir().join("admin.sock");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(mode(&socket), 0o600);
    server.eab_key(&[]);

    server.stop();
    assert!(!socket.exists());
    said(&eab(&server, &["list"]), false, &["no CA answers at", "admin.sock", "mayfly serve --config"]);

    // What a crash leaves behind is in nobody's way, and what was made is there.
    server.serve();
    server.kill();
    assert!(socket.exists());
    said(&eab(&server, &["list"]), false, &["no CA answers at"]);
    server.serve();
    said(&eab(&server, &["list"]), true, &["0/1"]);
    server.stop();
}

#[test]
fn a_second_ca_does_not_take_the_socket_over() {
    let server = required();
    let socket = server.dir().join("admin.sock");
    let second = Server::init_only(|config| {
        let admin = crate::support::server::section(config, "admin");
        admin.insert("socket".into(), socket.to_str().unwrap().into());
    });
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(second.config());
    let ended = run(&mut command, &second.scratch("second").join("out"), LIMIT);
    said(&ended, false, &["another mayfly answers at", "[admin]"]);
    said(&eab(&server, &["list"]), true, &["no EAB keys"]);
}

#[test]
fn without_a_ca_a_command_says_which_one_it_wants() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["eab", "list"]).current_dir(home.path());
    let ended = run(&mut command, &home.path().join("out"), LIMIT);
    said(&ended, false, &["which CA?", "./mayfly-dev", "--config FILE", "--dir DIR"]);
}
