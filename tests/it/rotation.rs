//! `mayfly rotation` at a running CA, with clients that notice nothing of it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;

use crate::support::acme::{Key, bearer};
use crate::support::clients::{Ask, Certbot, Challenge, Lego, installed};
use crate::support::https::Https;
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::ports;
use crate::support::process::{Finished, Running, must, output, run, until, until_or_explain};
use crate::support::server::{Server, binary, provisioner, section};

const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "one.test";

fn rotation(server: &Server, args: &[&str]) -> Finished {
    let mut command = command(server, args);
    run(&mut command, &server.scratch("cli").join("out"), LIMIT)
}

fn command(server: &Server, args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("rotation").args(args).arg("--config").arg(server.config());
    command.current_dir(server.scratch("cli"));
    command
}

#[track_caller]
fn said(finished: &Finished, success: bool, words: &[&str]) {
    assert_eq!(finished.status.success(), success, "{}", finished.output);
    for word in words {
        assert!(finished.output.contains(word), "{word}: {}", finished.output);
    }
}

fn status(server: &Server) -> Value {
    let finished = rotation(server, &["status", "--json"]);
    let all: Value =
        serde_json::from_str(&finished.output).unwrap_or_else(|e| panic!("{e}: {}", finished.output));
    all["rotations"][0].clone()
}

/// The live certificates of the issuers of that role.
fn live(status: &Value, role: &str) -> Option<u64> {
    let mut issuers = status["issuers"].as_array().unwrap().iter();
    issuers.find(|issuer| issuer["role"] == role)?["live"].as_u64()
}

fn wait_for_stage(server: &Server, stage: &str) -> Value {
    let explain = || rotation(server, &["status"]).output;
    let probe = || Some(status(server)).filter(|status| status["stage"] == stage);
    until_or_explain(stage, LIMIT, probe, explain)
}

/// As an administrator has it: with remarks.
fn annotated(server: &Server) {
    let text = fs::read_to_string(server.config()).unwrap();
    let text = text.replace("[authority]\n", "# Mind the fire door.\n[authority] # ours\n");
    fs::write(server.config(), text).unwrap();
}

fn quick(table: &mut toml::Table) {
    let authority = section(table, "authority");
    authority.insert("bundle_overlap".into(), "2s".into());
    authority.insert("handover".into(), "2s".into());
}

/// OpenSSL finds a way from the certificate to these roots.
fn path_holds(roots: &Path, untrusted: Option<&Path>, certificate: &Path) {
    let mut command = Command::new("openssl");
    command.args(["verify", "-x509_strict", "-CAfile"]).arg(roots);
    if let Some(untrusted) = untrusted {
        command.arg("-untrusted").arg(untrusted);
    }
    assert!(output(command.arg(certificate)).trim_end().ends_with(": OK"));
}

fn trusting(pem: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// One handshake with the site; the key that names its certificate's issuer.
fn handshake(port: u16, config: &Arc<ClientConfig>) -> Result<Vec<u8>, String> {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|e| e.to_string())?;
    tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut tls = ClientConnection::new(config.clone(), NAME.try_into().unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).map_err(|e| e.to_string())?;
    }
    Ok(tls.peer_certificates().unwrap()[0].to_vec())
}

/// Clients of the site: they trust the bundle as they have last fetched it, and shake hands all the time.
struct Visitors {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Visitors {
    fn start(server: &Server) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let (port, site) = (server.port, server.tls_alpn_port);
        let trust = server.scratch("visitors").join("roots.pem");
        fs::copy(server.root(), &trust).unwrap();
        let shared = (stop.clone(), count.clone(), failures.clone());
        let thread = thread::spawn(move || {
            let (stop, count, failures) = shared;
            let mut fetched = Instant::now() - LIMIT;
            let mut config = trusting(&fs::read(&trust).unwrap());
            while !stop.load(Ordering::SeqCst) {
                if fetched.elapsed() > Duration::from_millis(500) {
                    fetched = Instant::now();
                    // From the CA itself, whose own certificate goes over as well. While it restarts they
                    // keep what they have.
                    if let Ok(reply) = Https::new(port, &trust).get("/roots.pem") {
                        fs::write(&trust, &reply.body).unwrap();
                        config = trusting(&reply.body);
                    }
                }
                match handshake(site, &config) {
                    Ok(_) => drop(count.fetch_add(1, Ordering::SeqCst)),
                    Err(why) => failures.lock().unwrap().push(why),
                }
                thread::sleep(Duration::from_millis(15));
            }
        });
        Self { stop, count, failures, thread: Some(thread) }
    }

    fn came(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// How many handshakes there were; none has failed.
    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
        self.came()
    }
}

/// A Caddy that serves files which somebody else renews.
struct Site {
    dir: PathBuf,
    _running: Running,
}

impl Site {
    fn start(server: &Server, certificate: &Certificate) -> Self {
        let dir = server.scratch("site");
        let (http, https) = (ports::free(), server.tls_alpn_port);
        let (home, chain, key) = (dir.display(), certificate.chain.display(), certificate.key.display());
        let config = format!(
            "{{\n admin unix/{home}/admin.sock\n http_port {http}\n https_port {https}\n storage file_system {home}/storage\n \
             auto_https off\n default_bind 127.0.0.1\n}}\nhttps://{NAME}:{https} {{\n tls {chain} {key}\n respond \"hello\"\n}}\n"
        );
        fs::write(dir.join("Caddyfile"), config).unwrap();
        let mut caddy = Self::command(&dir, &["run"]);
        let running = Running::start(&mut caddy, &dir.join("out"));
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, https)).ok().map(drop);
        until_or_explain("Caddy", LIMIT, listens, || running.output());
        Self { dir, _running: running }
    }

    fn command(dir: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(installed("debian/usr/bin/caddy"));
        command.args(args).args(["--adapter", "caddyfile", "--config"]).arg(dir.join("Caddyfile"));
        command.env("HOME", dir).current_dir(dir);
        command
    }

    /// Takes over what the files hold now.
    fn reload(&self) {
        let mut command = Self::command(&self.dir, &["reload", "--force"]);
        command.arg("--address").arg(format!("unix/{}/admin.sock", self.dir.display()));
        must(&mut command, &self.dir.join("reload"), LIMIT);
    }
}

/// A new root and a new issuer take over from the old ones, while clients renew when they are told to, servers
/// serve, and visitors come; no handshake fails.
#[test]
fn a_rotation_that_nobody_notices() {
    // A window for renewal is a fiftieth of the life, and certbot asks again when it is over.
    let mut server = Server::init_only(|table| {
        quick(table);
        provisioner(table).insert("default_ttl".into(), "10m".into());
    });
    annotated(&server);
    server.serve();
    let old_root = fs::read(server.root()).unwrap();
    let ask = Ask::new(&[NAME], Challenge::Http, KeyKind::Ecdsa);
    let certificate = Lego::released(&server).issue(ask);
    let (first, first_pem) = (certificate.serial(), fs::read_to_string(&certificate.chain).unwrap());
    let first_key = Key::from_file(&certificate.key);
    let other_ask = Ask::new(&["two.test"], Challenge::Http, KeyKind::Ecdsa);
    let other = Certbot::pypi(&server).issue(other_ask);
    let (other_first, other_pem) = (other.serial(), fs::read_to_string(&other.chain).unwrap());
    let other_key = Key::from_file(&other.key);
    let site = Site::start(&server, &certificate);
    let visitors = Visitors::start(&server);
    wait_for_stage(&server, "steady");

    let started = rotation(&server, &["start", "--new-root"]);
    said(&started, true, &["Version 2 is in force", "Mayfly Test Intermediate CA 2", "secrets/root_2_key"]);
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains("# Mind the fire door.\n[authority] # ours\n"), "{text}");
    let dir = server.dir().join("certs");
    let certs = |name: &str| dir.join(name);
    let (issuer, crossed) = (certs("issuer_2.crt"), certs("issuer_2_cross.crt"));
    path_holds(&certs("root_2.crt"), None, &issuer);
    path_holds(&server.root(), Some(&crossed), &issuer);
    path_holds(&certs("roots_2.crt"), None, &issuer);
    let bundle = server.https().get("/roots.pem").unwrap().body;
    assert_eq!(bundle, fs::read(certs("roots_2.crt")).unwrap(), "both roots are in the bundle");
    said(&rotation(&server, &["advance"]), false, &["overlap lasts until"]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), text, "what is refused leaves no trace");
    // It signs nothing yet, and is where it was when the server comes back from the dead.
    assert_eq!(live(&status(&server), "next"), Some(0));
    let since = status(&server)["issuers"][0]["published"].clone();
    server.kill();
    server.serve();
    assert_eq!(status(&server)["issuers"][0]["published"], since);
    wait_for_stage(&server, "ready");

    said(&rotation(&server, &["advance"]), true, &["The next issuer signs"]);
    server.kill();
    server.serve();
    let handed = wait_for_stage(&server, "handing-over");
    assert_eq!((live(&handed, "signing"), live(&handed, "former")), (Some(0), Some(2)));
    said(&rotation(&server, &["retire"]), false, &["issuer"]);
    // The renewal information calls the client over, long before its certificate's time.
    let renewed = until("the renewal", LIMIT, || {
        Some(Lego::released(&server).renew_if_due(ask)).filter(|renewed| renewed.serial() != first)
    });
    let other_renewed = until("certbot's renewal", LIMIT, || {
        Some(Certbot::pypi(&server).renew_if_due()).filter(|renewed| renewed.serial() != other_first)
    });
    site.reload();
    let came = visitors.came();
    until("some visitors", LIMIT, || (visitors.came() > came + 10).then_some(()));
    // Who knows the old root only is served too, by the cross certificate; and who knows the new one only.
    let new_root = fs::read(certs("root_2.crt")).unwrap();
    for root in [&old_root, &new_root] {
        let leaf = handshake(server.tls_alpn_port, &trusting(root)).unwrap();
        assert_eq!(leaf, CertificateDer::from_pem_file(&renewed.chain).unwrap().to_vec());
    }
    path_holds(&server.root(), Some(&renewed.chain), &renewed.chain);
    for chain in [&renewed.chain, &other_renewed.chain] {
        path_holds(&certs("root_2.crt"), Some(chain), chain);
    }

    let told = status(&server);
    assert_eq!((live(&told, "signing"), live(&told, "former")), (Some(2), Some(2)), "{told}");
    said(&rotation(&server, &["retire"]), false, &["2 certificates of the former issuer are alive"]);
    bearer(&server, first_key).revoke(&first_pem, Some(4)).unwrap();
    bearer(&server, other_key).revoke(&other_pem, Some(4)).unwrap();
    wait_for_stage(&server, "drained");
    said(&rotation(&server, &["retire"]), true, &["is retired"]);
    assert_eq!(status(&server)["stage"], "steady");
    let bundle = server.https().get("/roots.pem").unwrap().body;
    assert_eq!(bundle, new_root, "the old root is out of the bundle");
    let came = visitors.came();
    until("some more visitors", LIMIT, || (visitors.came() > came + 40).then_some(()));
    assert!(visitors.end() > 100);
    let text = fs::read_to_string(server.config()).unwrap();
    assert!(text.contains("# Mind the fire door.\n[authority] # ours\n") && !text.contains("next"), "{text}");
    let log = rotation_history(&server);
    assert_eq!(log, ["start", "rotation start", "rotation advance", "rotation retire"]);
    // The next one after that is under the new root.
    said(&rotation(&server, &["start"]), true, &["Intermediate CA 3", "Mayfly Test Root CA 2"]);
    path_holds(&certs("root_2.crt"), None, &certs("issuer_3.crt"));
    said(&rotation(&server, &["abort"]), true, &["it has signed nothing"]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), text);
    server.stop();
}

/// By what each configuration came into force.
fn rotation_history(server: &Server) -> Vec<String> {
    let mut command = Command::new(binary());
    command.args(["config", "history", "--json", "--config"]).arg(server.config());
    let all: Value = serde_json::from_str(&output(&mut command)).unwrap();
    all["versions"].as_array().unwrap().iter().map(|one| one["how"].as_str().unwrap().to_owned()).collect()
}

/// Runs a step again and again, killed ever later, until it comes to its end; how often it was killed.
fn killed_until_done(server: &Server, args: &[&str], done: impl Fn(&Finished) -> bool) -> usize {
    let log = server.scratch("cli").join("killed");
    let mut pause = Duration::from_millis(5);
    for times in 0..28 {
        let _ = fs::remove_file(&log);
        let mut running = Running::start(&mut command(server, args), &log);
        thread::sleep(pause);
        pause = pause * 5 / 4 + Duration::from_millis(5);
        if running.ended().is_none() {
            running.kill();
            continue;
        }
        let status = running.wait(LIMIT);
        let finished = Finished { status, output: running.output() };
        assert!(done(&finished), "{}", finished.output);
        return times;
    }
    panic!("never done: {}", fs::read_to_string(&log).unwrap());
}

/// Whenever a step is cut short, the same command finishes it, and makes nothing twice.
#[test]
fn steps_that_are_cut_short_are_finished() {
    let server = Server::start_with(|table| {
        quick(table);
        section(table, "authority").insert("bundle_overlap".into(), "1s".into());
    });
    // Killed behind the end of what matters, a start finds it done.
    let killed = killed_until_done(&server, &["start"], |finished| {
        finished.status.success() || finished.output.contains("is in the bundle already")
    });
    assert!(killed > 0, "nothing was cut short");
    assert_eq!(status(&server)["issuers"][0]["role"], "next");
    assert!(server.dir().join("certs/issuer_2.crt").exists());
    assert!(!server.dir().join("secrets/issuer_3_key").exists(), "made twice");
    wait_for_stage(&server, "ready");
    let killed = killed_until_done(&server, &["advance"], |finished| {
        finished.status.success() || finished.output.contains("no next issuer")
    });
    assert!(killed > 0, "nothing was cut short");
    let advanced = status(&server);
    assert_eq!(advanced["issuers"][0]["role"], "signing");
    assert!(advanced["issuers"][0]["subject"].as_str().unwrap().ends_with("Intermediate CA 2"), "{advanced}");
    wait_for_stage(&server, "drained");
    killed_until_done(&server, &["retire"], |finished| {
        finished.status.success() || finished.output.contains("no former issuer")
    });
    assert_eq!(status(&server)["stage"], "steady");
    assert_eq!(rotation_history(&server), ["start", "rotation start", "rotation advance", "rotation retire"]);
    assert!(!server.dir().join("certs/issuer_2.pending").exists());
}

/// Other people's changes of the file are neither lost nor put into force by the way; what was started can be
/// undone; what is brought from an offline root is taken; and what is forced says what it breaks.
#[test]
fn started_undone_brought_and_forced() {
    let home = tempfile::tempdir().unwrap();
    let password = home.path().join("password");
    fs::write(&password, "correct horse\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let password = password.to_str().unwrap();
    let mut server = Server::init_with(&["--password-file", password], &[], |table| {
        section(table, "authority").insert("bundle_overlap".into(), "1h".into());
    });
    server.serve();
    let start = ["start", "--root-password-file", password];
    let lego = Lego::released(&server);
    lego.issue(Ask::new(&[NAME], Challenge::Http, KeyKind::Ecdsa));
    let first = fs::read_to_string(server.config()).unwrap();
    said(&rotation(&server, &["start"]), false, &["password"]);
    fs::write(server.config(), first.replace("[log]", "# mine\n[log]") + "# mine too\n").unwrap();
    said(&rotation(&server, &start), false, &["mayfly config diff"]);
    said(&rotation(&server, &["status"]), true, &["steady", "is not what is in force"]);
    fs::write(server.config(), &first).unwrap();
    assert!(!server.dir().join("secrets/issuer_2_key").exists(), "something was made before it was refused");
    // Of a start that went further before it was cut short.
    fs::write(server.dir().join("secrets/issuer_2_key"), "of another").unwrap();
    said(&rotation(&server, &["start", "--new-root"]), false, &["with other options", "without --new-root"]);
    said(
        &rotation(&server, &["start", "--name", "Other"]),
        false,
        &["with other options", "--key-type p256"],
    );
    fs::remove_file(server.dir().join("certs/issuer_2.pending")).unwrap();

    said(&rotation(&server, &start), true, &["is in the bundle"]);
    // Sealed as the one before, and opened by the CA with the same password.
    let text = fs::read_to_string(server.config()).unwrap();
    assert_eq!(text.matches(password).count(), 2, "{text}");
    let made = fs::read_to_string(server.dir().join("secrets/issuer_3_key")).unwrap();
    assert!(made.contains("BEGIN ENCRYPTED PRIVATE KEY"));
    said(&rotation(&server, &start), false, &["in the bundle already", "abort"]);
    said(&rotation(&server, &["abort"]), true, &["it has signed nothing"]);
    assert_eq!(fs::read_to_string(server.config()).unwrap(), first);
    said(&rotation(&server, &["abort"]), false, &["no next issuer"]);

    // From an offline root that the CA does not know yet.
    let dir = |name: &str| server.scratch("offline").join(name);
    let ca = |args: &[&str]| {
        let mut command = Command::new(binary());
        output(command.arg("ca").args(args).current_dir(server.scratch("offline")))
    };
    ca(&["create-root", "--dir", "root", "--name", "Offline Root"]);
    ca(&["create-intermediate", "--dir", "ca", "--name", "Offline Issuing CA", "--root-dir", "root"]);
    let (issuer, key) = (dir("ca/certs/intermediate_ca.crt"), dir("ca/secrets/intermediate_ca_key"));
    let brought = ["start", "--issuer", issuer.to_str().unwrap(), "--key", key.to_str().unwrap()];
    said(&rotation(&server, &brought), false, &["leads to none of the roots"]);
    let root = dir("root/certs/root_ca.crt");
    let brought = [&brought[..], &["--root", root.to_str().unwrap()]].concat();
    said(&rotation(&server, &brought), true, &["Offline Issuing CA"]);
    said(&rotation(&server, &["advance"]), false, &["overlap lasts until"]);
    said(&rotation(&server, &["advance", "--now"]), true, &["The next issuer signs"]);
    // The server's own certificate follows by itself.
    until("its own certificate", LIMIT, || {
        let refused = rotation(&server, &["retire"]);
        assert!(!refused.status.success());
        refused.output.contains("1 certificates of the former issuer are alive").then_some(())
    });
    let forced = rotation(&server, &["retire", "--force"]);
    said(&forced, true, &["Forced: 1 certificates", "will not believe", NAME, "is retired"]);
    let bundle = server.https_trusting(&root).get("/roots.pem").unwrap().body;
    assert_eq!(bundle, fs::read(&root).unwrap());
}
