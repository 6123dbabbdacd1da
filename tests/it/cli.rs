//! The commands, as a person at a terminal meets them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::https::Https;
use crate::support::ports;
use crate::support::process::{Finished, Running, must, run, until};
use crate::support::server::{Server, binary};

const LIMIT: Duration = Duration::from_secs(30);

fn mayfly(home: &Path, args: &[&str]) -> Finished {
    run(Command::new(binary()).args(args).current_dir(home), &home.join("out"), LIMIT)
}

fn init(home: &Path) -> Finished {
    mayfly(
        home,
        &["init", "--dir", "ca", "--name", "Mine", "--dns", "localhost", "--address", "127.0.0.1:9443"],
    )
}

#[test]
fn version_and_help_are_told() {
    let home = tempfile::tempdir().unwrap();
    let said = mayfly(home.path(), &["version"]);
    assert!(said.status.success() && said.output.contains(env!("CARGO_PKG_VERSION")), "{}", said.output);
    let said = mayfly(home.path(), &["--help"]);
    for command in ["dev", "init", "serve", "check-config", "version"] {
        assert!(said.output.contains(command), "{}", said.output);
    }
    assert!(!mayfly(home.path(), &["no-such-command"]).status.success());
}

#[test]
fn init_makes_a_ca_once_and_keeps_its_keys_closed() {
    let home = tempfile::tempdir().unwrap();
    let said = init(home.path());
    assert!(said.status.success(), "{}", said.output);
    assert!(said.output.contains("offline"), "what to do with the root key: {}", said.output);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let secrets = home.path().join("ca/secrets");
    assert_eq!(mode(&secrets), 0o700);
    for entry in fs::read_dir(&secrets).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }

    let root = fs::read(home.path().join("ca/certs/root_ca.crt")).unwrap();
    assert!(!init(home.path()).status.success(), "a second init");
    assert_eq!(fs::read(home.path().join("ca/certs/root_ca.crt")).unwrap(), root);
}

#[test]
fn check_config_names_every_error() {
    let home = tempfile::tempdir().unwrap();
    init(home.path());
    assert!(mayfly(home.path(), &["check-config", "ca/mayfly.toml"]).status.success());

    let file = home.path().join("ca/mayfly.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[nonsense]\nkey = 1\n[validation.more]\nwrong = true\n")).unwrap();
    let said = mayfly(home.path(), &["check-config", "ca/mayfly.toml"]);
    assert!(!said.status.success());
    assert!(said.output.contains("nonsense") && said.output.contains("more"), "{}", said.output);

    let with_sled = mayfly(home.path(), &["version"]).output.contains("sled");
    fs::write(&file, text.replacen("engine = \"fjall\"", "engine = \"sled\"", 1)).unwrap();
    let said = mayfly(home.path(), &["check-config", "ca/mayfly.toml"]);
    assert_eq!(said.status.success(), with_sled, "{}", said.output);
    assert_eq!(said.output.contains("--features sled"), !with_sled, "{}", said.output);
}

#[test]
fn dev_needs_nothing_and_keeps_everything() {
    let home = tempfile::tempdir().unwrap();
    let (port, log) = (ports::free(), home.path().join("log"));
    let mut roots = Vec::new();
    for _ in 0..2 {
        let mut command = Command::new(binary());
        command.args(["dev", "--address", &format!("127.0.0.1:{port}")]).current_dir(home.path());
        let _ = fs::remove_file(&log);
        let mut running = Running::start(&mut command, &log);
        let directory = format!("https://localhost:{port}/acme/acme/directory");
        until("dev's welcome", LIMIT, || running.output().contains(&directory).then_some(()));
        let said = running.output();
        assert!(said.contains("certbot") && said.contains("root_ca.crt"), "{said}");

        let root = home.path().join("mayfly-dev/certs/root_ca.crt");
        assert_eq!(Https::new(port, &root).get(&directory).unwrap().status, 200);
        let dashboard = format!("https://localhost:{port}/dashboard");
        assert!(said.contains(&dashboard), "{said}");
        let page = Https::new(port, &root).get("/dashboard").unwrap();
        assert!(page.status == 200 && page.text().contains("If the CA stopped now"), "{page:?}");
        let fingerprint = must(
            Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&root),
            &home.path().join("out"),
            LIMIT,
        );
        let hex: String = fingerprint.split('=').nth(1).unwrap().trim().replace(':', "").to_lowercase();
        assert!(said.replace(':', "").to_lowercase().contains(&hex), "the root's fingerprint: {said}");
        roots.push(hex);

        running.signal("TERM");
        assert!(running.wait(LIMIT).success(), "{}", running.output());
    }
    assert_eq!(roots[0], roots[1]);
}

/// What the listener speaks, as another implementation sees it.
#[test]
fn the_listener_speaks_http_1_and_2_over_tls_1_2_and_1_3() {
    let server = Server::start();
    let out = server.scratch("curl").join("out");
    for (http, tls, expected) in [
        ("--http1.1", ["--tlsv1.2", "--tls-max", "1.2"], "1.1"),
        ("--http2", ["--tlsv1.2", "--tls-max", "1.2"], "2"),
        ("--http1.1", ["--tlsv1.3", "--tls-max", "1.3"], "1.1"),
        ("--http2", ["--tlsv1.3", "--tls-max", "1.3"], "2"),
    ] {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null"])
            .args(["--write-out", "%{http_version}", http])
            .args(tls)
            .arg("--cacert")
            .arg(server.root())
            .arg(server.directory());
        assert_eq!(must(&mut curl, &out, LIMIT), expected, "{http} {tls:?}");
    }
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--noproxy",
        "*",
        "--tlsv1.0",
        "--tls-max",
        "1.1",
        "--ciphers",
        "DEFAULT@SECLEVEL=0",
    ])
    .arg("--cacert")
    .arg(server.root())
    .arg(server.directory());
    assert!(!run(&mut curl, &out, LIMIT).status.success(), "TLS 1.1");
}

#[test]
fn the_key_exchange_is_post_quantum() {
    let server = Server::start();
    let mut https = server.https();
    https.get("/livez").unwrap();
    assert_eq!(https.key_exchange(), Some(rustls::NamedGroup::X25519MLKEM768));
}
