//! The admin listener: whose certificate is on the list, and nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};

use crate::support::acme::{Client, csr_for};
use crate::support::ports;
use crate::support::process::{Finished, run};
use crate::support::server::{Server, binary, section};
use crate::support::web::Web;

const LIMIT: Duration = Duration::from_secs(30);

/// Somebody's certificate and key.
pub(crate) struct Holder {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    der: Vec<u8>,
}

impl Holder {
    fn write(dir: &Path, name: &str, text: &str, der: &[u8], key: &KeyPair) -> Self {
        let holder = Self {
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
            der: der.to_vec(),
        };
        fs::write(&holder.cert, text).unwrap();
        fs::write(&holder.key, pem("PRIVATE KEY", &key.serialize_der())).unwrap();
        holder
    }

    /// As the configuration lists it.
    pub(crate) fn fingerprint(&self) -> String {
        let hex: String =
            digest(&SHA256, &self.der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// Signed by nobody else.
    pub(crate) fn alone(dir: &Path, name: &str, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        edit(&mut params);
        let made = params.self_signed(&key).unwrap();
        Self::write(dir, name, &pem("CERTIFICATE", made.der()), made.der(), &key)
    }

    fn under(dir: &Path, name: &str, ca: &CertifiedIssuer<'_, KeyPair>, sans: Vec<SanType>) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let made = params.signed_by(&key, ca).unwrap();
        Self::write(dir, name, &pem("CERTIFICATE", made.der()), made.der(), &key)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap()
}

fn ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn dns(name: &str) -> Vec<SanType> {
    vec![SanType::DnsName(name.to_owned().try_into().unwrap())]
}

fn curl(server: &Server, port: u16, holder: Option<&Holder>, args: &[&str], path: &str) -> Finished {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-w", "\n%{http_code}", "--cacert"]).arg(server.root()).args(args);
    if let Some(holder) = holder {
        command.arg("--cert").arg(&holder.cert).arg("--key").arg(&holder.key);
    }
    command.arg(format!("https://localhost:{port}{path}"));
    run(&mut command, &server.scratch("curl").join("out"), LIMIT)
}

#[track_caller]
fn answered(finished: &Finished, status: &str, word: &str) {
    assert!(finished.status.success(), "{}", finished.output);
    assert!(finished.output.trim_end().ends_with(status), "{}", finished.output);
    assert!(finished.output.contains(word), "{word}: {}", finished.output);
}

#[test]
fn only_listed_certificates_command_the_ca() {
    let (ours, theirs) = (ca(), ca());
    let port = ports::free();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    let email = vec![SanType::Rfc822Name("alice@example.com".to_owned().try_into().unwrap())];
    let alice = Holder::under(dir, "alice", &ours, email);
    let bob = Holder::under(dir, "bob", &ours, dns("bob.test"));
    let wild = Holder::under(dir, "wild", &ours, dns("*.ops.test"));
    let stranger = Holder::under(dir, "stranger", &theirs, dns("desk.ops.test"));
    let pinned = Holder::alone(dir, "pinned", |_| {});
    let stale = Holder::alone(dir, "stale", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let mut server = Server::init_only(|config| {
        let admin = section(config, "admin");
        admin.insert("address".into(), format!("127.0.0.1:{port}").into());
        admin.insert("client_ca".into(), dir.join("ca.pem").to_str().unwrap().into());
        let listed: Vec<toml::Value> = vec![
            "alice@example.com".into(),
            "desk.ops.test".into(),
            "agent.test".into(),
            pinned.fingerprint().into(),
            stale.fingerprint().into(),
        ];
        admin.insert("clients".into(), listed.into());
    });
    // Its own root too: an operator's certificate may be its own, and then can be revoked.
    let roots = format!("{}{}", pem("CERTIFICATE", ours.der()), fs::read_to_string(server.root()).unwrap());
    fs::write(dir.join("ca.pem"), roots).unwrap();
    server.serve();

    let ask = |holder: Option<&Holder>| curl(&server, port, holder, &[], "/v1/certificates");
    answered(&ask(Some(&alice)), "200", "\"certificates\"");
    answered(&ask(Some(&pinned)), "200", "\"certificates\"");
    answered(&ask(Some(&bob)), "403", "bob.test");
    answered(&ask(Some(&wild)), "403", "not on the list");
    for refused in [None, Some(&stranger), Some(&stale)] {
        let finished = ask(refused);
        assert!(!finished.status.success(), "{}", finished.output);
    }

    changes_are_refused_to_other_sites(&server, port, &alice);
    // What the file has now counts from the next start on, and a reload says so; not where it has the same.
    let replaced = "it takes effect at the next start section=\"[admin] client_ca\"";
    server.reload("receivers reloaded");
    assert!(!server.log().contains(replaced), "{}", server.log());
    fs::write(dir.join("ca.pem"), pem("CERTIFICATE", theirs.der())).unwrap();
    server.reload(replaced);
    answered(&ask(Some(&alice)), "200", "\"certificates\"");
    let log = server.log();
    assert!(log.contains("alice@example.com") && log.contains("admin command"), "{log}");
    let metrics = server.https().get("/metrics").unwrap().text();
    let counted = |line: &&str| line.contains("door=\"admin\"") && line.contains("unauthorized");
    let line = metrics.lines().find(counted).unwrap_or_else(|| panic!("{metrics}"));
    assert!(line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 4.0, "{line}");

    commands_go_there(&server, port, &alice, &stranger);
    revoked_ones_are_out(&server, port, dir);
    // Whoever knocks and knocks is counted, and fills no log.
    (0..12).for_each(|_| answered(&ask(Some(&bob)), "403", "bob.test"));
    let lines = server.log().matches("a request on the admin listener was refused").count();
    assert!((1..=10).contains(&lines), "{lines} lines");
    server.stop();
}

fn changes_are_refused_to_other_sites(server: &Server, port: u16, alice: &Holder) {
    let json = "content-type: application/json";
    let body = r#"{"key":"zz"}"#;
    let post = |headers: &[&str]| {
        let mut args = vec!["-X", "POST", "-d", body];
        args.extend(headers.iter().flat_map(|header| ["-H", *header]));
        curl(server, port, Some(alice), &args, "/v1/blocked-keys")
    };
    answered(&post(&[json, "origin: https://evil.test"]), "403", "another site");
    answered(&post(&[json, "sec-fetch-site: cross-site"]), "403", "another site");
    answered(&post(&["content-type: text/plain"]), "415", "application/json");
    // As a page of its own, or a program: what is refused is the body.
    answered(&post(&[json]), "400", "body");
    answered(&post(&[json, &format!("origin: https://localhost:{port}")]), "400", "body");
}

fn commands_go_there(server: &Server, port: u16, alice: &Holder, stranger: &Holder) {
    let command = |holder: &Holder, what: &[&str]| {
        let mut command = Command::new(binary());
        command.args(what).args(["--json", "--url", &format!("https://localhost:{port}")]);
        command.arg("--trust").arg(server.root()).arg("--client-cert").arg(&holder.cert);
        command.arg("--client-key").arg(&holder.key);
        run(&mut command, &server.scratch("cli").join("out"), LIMIT)
    };
    let listed = command(alice, &["certs", "list"]);
    assert!(listed.status.success() && listed.output.contains("\"certificates\""), "{}", listed.output);
    let refused = command(stranger, &["certs", "list"]);
    assert!(!refused.status.success() && refused.output.contains("error"), "{}", refused.output);

    // What operators do is recorded with who it was, whichever way they came.
    let hash = "5b".repeat(32);
    let blocked = command(alice, &["keys", "block", "--sha256", &hash, "--reason", "leaked"]);
    assert!(blocked.status.success(), "{}", blocked.output);
    let mut here = Command::new(binary());
    here.args(["keys", "unblock", &hash, "--config"]).arg(server.config());
    assert!(here.output().unwrap().status.success());
    let audit = command(alice, &["audit", "--operators"]);
    let events: serde_json::Value = serde_json::from_str(&audit.output).unwrap();
    let by: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| &event["operator"]).collect();
    let uid = format!("uid {}", fs::metadata(server.config()).unwrap().uid());
    assert_eq!(by, [uid.as_str(), "alice@example.com"], "{events}");
    assert_eq!(events["events"][0]["event"], "key_unblocked", "{events}");
    assert_eq!(events["events"][0]["facts"]["key"], hash.as_str(), "{events}");
}

fn revoked_ones_are_out(server: &Server, port: u16, dir: &Path) {
    let web = Web::start(server.http_port);
    let mut client = Client::registered(server);
    let order = client.order(&["agent.test"]).unwrap();
    client.authorize(&web, &order).unwrap();
    let key = KeyPair::generate().unwrap();
    let order = client.finalize(&order, &csr_for(&["agent.test"], &key)).unwrap();
    let pem = client.fetch(order.certificate().unwrap()).unwrap().text();
    let agent = Holder::write(dir, "agent", &pem, &[], &key);
    answered(&curl(server, port, Some(&agent), &[], "/v1/certificates"), "200", "agent.test");
    client.revoke(&pem, None).unwrap();
    answered(&curl(server, port, Some(&agent), &[], "/v1/certificates"), "403", "revoked");
}
