//! `mayfly bench acme` against `mayfly serve`: two processes, real HTTP, DNS and validation.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

struct Server {
    process: Child,
    home: tempfile::TempDir,
    port: u16,
    http_port: u16,
    dns_port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Ports that were free a moment ago; the DNS one in UDP too.
fn ports() -> [u16; 3] {
    let held: Vec<_> = (0..3)
        .map(|_| {
            loop {
                let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
                if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                    break (tcp, udp);
                }
            }
        })
        .collect();
    [0, 1, 2].map(|index: usize| held[index].0.local_addr().unwrap().port())
}

fn start() -> Server {
    let home = tempfile::tempdir().unwrap();
    let [port, http_port, dns_port] = ports();
    let dir = home.path().join("ca");
    let address = format!("127.0.0.1:{port}");
    let init = ["init", "--name", "Bench", "--dns", "localhost", "--address", &address, "--dir"];
    let made = Command::new(crate::support::server::binary()).args(init).arg(&dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let config = dir.join("mayfly.toml");
    let validation = format!(
        "[validation]\nresolvers = [\"127.0.0.1:{dns_port}\"]\nhttp_port = {http_port}\n\
         allow = [\"127.0.0.0/8\"]\n"
    );
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("[validation]\n"));
    // The rate is measured, not limited.
    let text = text.replace("[limits]\n", "[limits]\nexempt = [\"127.0.0.0/8\"]\n");
    assert!(text.contains("exempt = [\"127.0.0.0/8\"]\n"));
    fs::write(&config, text.replace("[validation]\n", &validation)).unwrap();
    let mut process = Command::new(crate::support::server::binary())
        .args(["serve", "--config"])
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_it_serves(&mut process);
    Server { process, home, port, http_port, dns_port }
}

/// Reads the server's log to its end, so that it never blocks on a full pipe.
fn wait_until_it_serves(process: &mut Child) {
    let log = BufReader::new(process.stderr.take().unwrap());
    let (serves, served) = mpsc::channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            if line.contains("serving") {
                let _ = serves.send(());
            }
        }
    });
    served.recv_timeout(Duration::from_secs(60)).expect("the server starts");
}

impl Server {
    fn root(&self) -> std::path::PathBuf {
        self.home.path().join("ca/certs/root_ca.crt")
    }

    fn bench(&self, root: &Path, more: &[&str]) -> Output {
        let directory = format!("https://localhost:{}/acme/acme/directory", self.port);
        let (http, dns) = (self.http_port.to_string(), self.dns_port.to_string());
        Command::new(crate::support::server::binary())
            .args(["bench", "acme", "--quiet", "--json", "--duration", "1s", "--warmup", "200ms"])
            .args(["--directory", &directory, "--http-port", &http, "--dns-port", &dns, "--root"])
            .arg(root)
            .args(more)
            .output()
            .unwrap()
    }

    /// The report of a run without errors.
    fn clean(&self, more: &[&str]) -> serde_json::Value {
        let output = self.bench(&self.root(), more);
        let said = String::from_utf8_lossy(&output.stderr);
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{more:?}: {said}{report}");
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert!(report["issued"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["errors"], 0, "{report}");
        report
    }
}

#[test]
fn loads_a_server_and_tells_what_it_found() {
    let server = start();
    let pid = server.process.id().to_string();
    let report = server.clean(&["--clients", "4", "--pid", &pid]);
    let requests = report["requests_per_issuance"].as_f64().unwrap();
    assert!((5.0..=7.5).contains(&requests), "{requests}");
    for step in ["newAccount", "newOrder", "authorization", "challenge", "finalize", "download", "issuance"] {
        assert!(report["steps"][step]["count"].as_u64().unwrap() > 0, "{step}: {report}");
    }
    assert!(report["server"]["cpu_ms_per_issuance"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["server"]["peak_kib"].as_u64().unwrap() > 1000, "{report}");

    let report = server.clean(&["--clients", "2", "--reuse-authorizations", "--http2"]);
    assert_eq!(report["issued"], report["reused"], "{report}");
    let requests = report["requests_per_issuance"].as_f64().unwrap();
    assert!((3.0..3.5).contains(&requests), "{requests}");

    let open = ["--rate", "20", "--clients", "8", "--challenge", "dns-01", "--names", "2"];
    let report = server.clean(&[&open[..], &["--fresh-connections", "--account-key", "ed25519"]].concat());
    let rate = report["issued_per_s"].as_f64().unwrap();
    assert!((5.0..25.0).contains(&rate), "{report}");
}

#[test]
fn refuses_and_fails_as_it_should() {
    let server = start();
    // Nothing is put in place, so every validation fails.
    let output = server.bench(&server.root(), &["--challenge", "none", "--clients", "2"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing was issued"), "{said}");
    // A root that is not the server's.
    let other = server.home.path().join("other.pem");
    let made = rcgen_root();
    fs::write(&other, made).unwrap();
    let output = server.bench(&other, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("TLS handshake failed"), "{said}");
}

/// Some other CA's root.
fn rcgen_root() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let der = params.self_signed(&key).unwrap().der().to_vec();
    mayfly::x509::pem::certificate(&der)
}
