//! Issuers whose keys are in a KMS: moto's, which speaks AWS's protocol and signs for real.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::acme::{Client, b64, csr};
use super::support::clients;
use super::support::ports;
use super::support::process::{Running, output, until};
use super::support::server::{Server, binary, provisioner, section, support_file};
use super::support::web::Web;

const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI-EXAMPLEKEY")];

/// moto, and a way to it that can be cut.
struct Kms {
    port: u16,
    way: u16,
    cut: Arc<AtomicBool>,
    _running: Running,
    _home: tempfile::TempDir,
}

impl Kms {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = ports::free();
        let mut command = Command::new(clients::installed("py/bin/python"));
        command
            .arg(support_file("moto_digest.py"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(home.path());
        let running = Running::start(&mut command, &home.path().join("moto.log"));
        until("moto", Duration::from_secs(60), || TcpStream::connect(("127.0.0.1", port)).ok());
        let cut = Arc::new(AtomicBool::new(false));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let way = listener.local_addr().unwrap().port();
        let closed = cut.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let closed = closed.clone();
                thread::spawn(move || pass(stream, port, &closed));
            }
        });
        Self { port, way, cut, _running: running, _home: home }
    }

    /// A request as any SDK makes it; moto does not check signatures.
    fn call(&self, action: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: kms.eu-west-1.amazonaws.com\r\nConnection: close\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: TrentService.{action}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/kms/aws4_request, \
             SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap_or_else(|_| panic!("{answer}"))
    }

    fn key(&self, spec: &str, usage: &str) -> String {
        let made = self.call("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage }));
        made["KeyMetadata"]["KeyId"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }

    fn uri(&self, key: &str) -> String {
        format!("awskms:key-id={key};region=eu-west-1;endpoint=http://127.0.0.1:{}", self.way)
    }

    fn ca(&self, key: &str) -> Server {
        Server::init_with(&["--key", &self.uri(key)], &CREDENTIALS, |config| {
            provisioner(config).insert("authorization_ttl".into(), "8h".into());
        })
    }
}

/// Bytes both ways, until the way is cut.
fn pass(near: TcpStream, port: u16, cut: &Arc<AtomicBool>) {
    if cut.load(Ordering::SeqCst) {
        return;
    }
    let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let (one, other, watched) = (near.try_clone().unwrap(), far.try_clone().unwrap(), cut.clone());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        while !watched.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = (one.shutdown(Shutdown::Both), other.shutdown(Shutdown::Both));
    });
    let (mut far, mut near) = (far, near);
    let _ = io::copy(&mut far, &mut near);
}

fn check(config: &std::path::Path, variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(binary());
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    command.env("HOME", "/nonexistent").arg("check-config").arg(config).envs(variables.iter().copied());
    let out = command.output().unwrap();
    let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    assert!(!said.contains(CREDENTIALS[1].1) && !said.contains("panicked"), "{said}");
    (out.status.success(), said)
}

fn verify(server: &Server, pem: &str) {
    let leaf = server.scratch("verify").join("leaf.pem");
    fs::write(&leaf, pem).unwrap();
    let mut command = Command::new("openssl");
    output(command.arg("verify").arg("-CAfile").arg(server.root()).arg("-untrusted").arg(&leaf).arg(&leaf));
}

#[test]
fn keys_of_every_kind_issue() {
    let kms = Kms::start();
    for spec in ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"] {
        let mut server = kms.ca(&kms.key(spec, "SIGN_VERIFY"));
        server.serve();
        let web = Web::start(server.http_port);
        let mut client = Client::registered(&server);
        for _ in 0..3 {
            verify(&server, &client.issue(&web, &["kms.test"]).unwrap().pem);
        }
        assert!(!server.log().contains(CREDENTIALS[1].1));
        server.stop();
    }
}

#[test]
fn what_does_not_open_says_why() {
    let kms = Kms::start();
    let right = kms.key("ECC_NIST_P256", "SIGN_VERIFY");
    let server = kms.ca(&right);
    let text = fs::read_to_string(server.config()).unwrap();
    let rows = [
        (right.clone(), None),
        (kms.key("ECC_NIST_P256", "SIGN_VERIFY"), Some("is not the certificate of the key in awskms:")),
        (kms.key("ECC_NIST_P521", "SIGN_VERIFY"), Some("it is P-521; use P-256")),
        (kms.key("RSA_2048", "ENCRYPT_DECRYPT"), Some("not SIGN_VERIFY")),
        ("00000000-0000-4000-8000-000000000000".to_owned(), Some("the KMS refuses: NotFoundException")),
    ];
    for (key, want) in rows {
        fs::write(server.config(), text.replace(&right, &key)).unwrap();
        let (good, said) = check(&server.config(), &CREDENTIALS);
        assert_eq!(good, want.is_none(), "{key}: {said}");
        assert!(want.is_none_or(|want| said.contains(want)), "{key}: {said}");
    }
    fs::write(server.config(), &text).unwrap();
    let (good, said) = check(&server.config(), &[]);
    assert!(!good && said.contains("AWS_SHARED_CREDENTIALS_FILE"), "{said}");
    let shared = server.scratch("aws").join("credentials");
    fs::write(&shared, "[default]\naws_access_key_id = A\naws_secret_access_key = B\n").unwrap();
    let file = [("AWS_SHARED_CREDENTIALS_FILE", shared.to_str().unwrap())];
    let (good, said) = check(&server.config(), &file);
    assert!(!good && said.contains("open to others"), "{said}");
    output(Command::new("chmod").arg("600").arg(&shared));
    let (good, said) = check(&server.config(), &file);
    assert!(good, "{said}");
    // A container's role, by an endpoint as ECS and EKS have it.
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/role", web.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let (mut stream, _) = web.accept().unwrap();
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).unwrap();
        let body = r#"{"AccessKeyId":"A","SecretAccessKey":"S","Token":"T"}"#;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    let role =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod")];
    let (good, said) = check(&server.config(), &role);
    assert!(good, "{said}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("GET /role ") && asked.contains("authorization: pod"), "{asked}");
    // Gone, it is named without the path, which is a secret where ECS has it.
    let (good, said) = check(&server.config(), &role);
    let host = url.strip_suffix("/role").unwrap();
    assert!(
        !good && said.contains(&format!("{host} cannot be reached")) && !said.contains("/role"),
        "{said}"
    );
    kms.cut.store(true, Ordering::SeqCst);
    let (good, said) = check(&server.config(), &CREDENTIALS);
    assert!(!good && said.contains("cannot be reached"), "{said}");
}

/// A key file that the KMS opens, and nobody without it.
#[test]
fn a_key_file_sealed_by_a_kms() {
    let kms = Kms::start();
    let right = kms.key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
    let mut server = Server::init_with(&[], &CREDENTIALS, |config| {
        section(config, "authority").insert("key".into(), "secrets/sealed".into());
    });
    let secrets = server.dir().join("secrets");
    let (file, sealed) = (secrets.join("intermediate_ca_key"), secrets.join("sealed"));
    let seal = |key: &str| {
        let mut command = Command::new(binary());
        command.args(["key", "seal", "--with", &kms.uri(key)]).arg(&file).arg("--out").arg(&sealed);
        let out = command.envs(CREDENTIALS).output().unwrap();
        (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
    };
    let (good, said) = seal("00000000-0000-4000-8000-000000000000");
    assert!(!good && !sealed.exists() && said.contains("NotFoundException"), "{said}");
    let (good, said) = seal(&right);
    assert!(good, "{said}");
    fs::remove_file(&file).unwrap();
    server.serve();
    let web = Web::start(server.http_port);
    verify(&server, &Client::registered(&server).issue(&web, &["sealed.test"]).unwrap().pem);
    server.stop();

    kms.cut.store(true, Ordering::SeqCst);
    let (good, said) = check(&server.config(), &CREDENTIALS);
    assert!(!good && said.contains("is sealed by awskms:") && said.contains("cannot be reached"), "{said}");
}

/// A server's fault while the KMS is away, never the client's; and no restart when it is back.
#[test]
fn a_kms_that_goes_away_and_comes_back() {
    let kms = Kms::start();
    let mut server = kms.ca(&kms.key("ECC_NIST_P256", "SIGN_VERIFY"));
    server.serve();
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    verify(&server, &client.issue(&web, &["before.test"]).unwrap().pem);

    kms.cut.store(true, Ordering::SeqCst);
    let order = client.order(&["before.test"]).unwrap();
    let payload = json!({ "csr": b64(&csr(&["before.test"]).1) }).to_string();
    let reply = client.post(order.object["finalize"].as_str().unwrap(), &payload).unwrap();
    assert_eq!(reply.json()["status"], "processing", "{}", reply.text());
    until("the server's unreadiness", Duration::from_secs(30), || {
        (server.https().get("/readyz").ok()?.status == 503).then_some(())
    });
    until("word of it", Duration::from_secs(30), || {
        server.log().contains("could not be finished yet").then_some(())
    });

    kms.cut.store(false, Ordering::SeqCst);
    until("the KMS's return", Duration::from_secs(30), || {
        (server.https().get("/readyz").ok()?.status == 200).then_some(())
    });
    let finished = client.settle(&order.url, &["processing"]).unwrap();
    assert_eq!(finished["status"], "valid", "{finished}");
    verify(&server, &client.fetch(finished["certificate"].as_str().unwrap()).unwrap().text());
    server.stop();
}
