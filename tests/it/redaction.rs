//! No secret stands in a log line, at any level, or in a span.
//!
//! A whole issuance at level trace, with what may go wrong on the way; every secret that takes part in it
//! is looked for, in every way in which bytes are likely to be printed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::hmac;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::acme::{Client, Key, authorizations, b64, challenge, csr_for};
use crate::support::otlp::Collector;
use crate::support::process::{self, run, until};
use crate::support::server::{Server, binary, provisioner, section};
use crate::support::web::Web;
use crate::tokens::{PIN, Token};

const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "wrong-horse-battery";
const WRONG_PIN: &str = "basalt-0815";
const HEADER: &str = "Bearer collector-hush-hush";
const BEARER: &str = "client-sent-this-bearer";
const HOOK_TOKEN: &str = "receiver-token-hush";
const HOOK_SECRET: &str = "receiver-secret-hush";

/// What must not be shown.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn text(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 8, "{what}: {text:?} would be found anywhere");
        self.0.push((what, text.to_owned()));
        self.0.push((what, b64(text)));
    }

    /// Bytes, as base64 (either alphabet), as hex and as `Debug` has them.
    fn bytes(&mut self, what: &'static str, bytes: &[u8]) {
        assert!(bytes.len() >= 16, "{what}");
        let url = b64(bytes);
        let hex = |upper: bool| -> String {
            let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            bytes[..16].iter().map(digits).collect()
        };
        let list: Vec<_> = bytes[..12].iter().map(u8::to_string).collect();
        let standard = url.replace('-', "+").replace('_', "/");
        // Not to their ends: padding, and lines of PEM, break them there.
        let cut = url.len().min(40);
        for text in [&url[..cut], &standard[..cut], &hex(false), &hex(true), &list.join(", ")] {
            self.0.push((what, text.to_owned()));
        }
    }

    /// Of every request of a client's: the JWS, and the nonces that went to and fro.
    fn record(&mut self, client: &mut Client) {
        for (body, reply) in client.record.take().unwrap() {
            if let Some(nonce) = reply.header("replay-nonce") {
                self.text("a nonce", nonce);
            }
            let Ok(jws) = serde_json::from_slice::<Value>(&body) else { continue };
            for member in ["protected", "payload", "signature"] {
                let text = jws[member].as_str().unwrap_or_default();
                if text.len() >= 24 {
                    self.text("a part of a JWS", text);
                }
            }
        }
    }

    fn look(&self, place: &str, haystack: &[u8]) {
        let text = String::from_utf8_lossy(haystack);
        for (what, secret) in &self.0 {
            if let Some(at) = text.find(secret.as_str()) {
                let from = text[..at].rfind('\n').map_or(0, |line| line + 1);
                let line = text[from..].lines().next().unwrap_or_default();
                panic!("{place} shows {what}: {line:.2000}");
            }
        }
    }
}

/// A file that only its owner may read.
fn closed(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn start(collector: &Collector, format: &str, secrets: &mut Secrets) -> Server {
    let home = tempfile::tempdir().unwrap();
    closed(&home.path().join("password"), PASSWORD);
    let password = home.path().join("password").to_str().unwrap().to_owned();
    let server = Server::init_with(&["--password-file", &password], &[], |config| {
        provisioner(config).insert("eab".into(), "required".into());
        section(config, "validation").insert("attempts".into(), 1.into());
        section(config, "log").insert("level".into(), "trace".into());
        section(config, "log").insert("format".into(), format.into());
        let traces = section(config, "traces");
        traces.insert("otlp_endpoint".into(), collector.endpoint().into());
        traces.insert("interval".into(), "100ms".into());
        traces.insert("headers_file".into(), "headers".into());
        section(config, "authority").insert("password_file".into(), "password".into());
        // A receiver that is away: what is sent to it fails, and is told of.
        let receiver = format!(
            "name = \"hook\"\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{}/\"\ntimeout = \"2s\"\n\
             token_file = \"hook_token\"\nsecret_file = \"hook_secret\"\n",
            crate::support::ports::free()
        );
        config.insert("notify".into(), vec![receiver.parse::<toml::Table>().unwrap()].into());
    });
    closed(&server.dir().join("password"), WRONG);
    closed(&server.dir().join("headers"), &format!("authorization: {HEADER}\n"));
    closed(&server.dir().join("hook_token"), HOOK_TOKEN);
    closed(&server.dir().join("hook_secret"), HOOK_SECRET);
    for (what, text) in [
        ("a receiver's token", HOOK_TOKEN),
        ("a receiver's secret", HOOK_SECRET),
        ("a password", PASSWORD),
        ("a wrong password", WRONG),
        ("a header of the collector's", HEADER),
        ("a header of a client's", BEARER),
    ] {
        secrets.text(what, text);
    }
    for key in fs::read_dir(server.dir().join("secrets")).unwrap() {
        let pem = fs::read_to_string(key.unwrap().path()).unwrap();
        for line in pem.lines().filter(|line| !line.starts_with("-----") && line.len() >= 16) {
            secrets.text("a key file", line);
        }
    }
    // What a start says that does not come to its end.
    let mut serve = Command::new(binary());
    serve.arg("serve").arg("--config").arg(server.config());
    let failed = run(&mut serve, &server.scratch("wrong").join("log"), Duration::from_secs(60));
    assert!(!failed.status.success() && failed.output.contains("does not open"), "{}", failed.output);
    secrets.look("a failed start", failed.output.as_bytes());
    closed(&server.dir().join("password"), PASSWORD);
    server
}

/// An outer account key, its bytes known.
fn account_key(secrets: &mut Secrets) -> Key {
    let pair = KeyPair::generate().unwrap();
    let der = pair.serialize_der();
    secrets.bytes("an account key", &der);
    // The scalar itself: PKCS#8 of P-256 has it there.
    secrets.bytes("an account key", &der[36..68]);
    Key::from_pkcs8(&der)
}

fn decoded(text: &str) -> Vec<u8> {
    let standard = text.replace('-', "+").replace('_', "/");
    let padded = format!("{standard}{}", "=".repeat((4 - standard.len() % 4) % 4));
    let output = Command::new("python3")
        .args(["-c", "import base64,sys;sys.stdout.buffer.write(base64.b64decode(sys.argv[1]))", &padded])
        .output()
        .unwrap();
    output.stdout
}

/// Registers with a binding; a wrong secret first.
fn register(server: &Server, client: &mut Client, secrets: &mut Secrets) {
    let key = server.eab_key(&[]);
    let text = key["hmac_key"].as_str().unwrap();
    secrets.text("an EAB secret", text);
    let secret = decoded(text);
    secrets.bytes("an EAB secret", &secret);
    let url = client.endpoint("newAccount");
    let mut ask = |secret: &[u8]| {
        let header = json!({"alg": "HS256", "kid": key["kid"], "url": url});
        let (protected, payload) = (b64(header.to_string()), b64(client.key.jwk().to_string()));
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, secret),
            format!("{protected}.{payload}").as_bytes(),
        );
        secrets.bytes("the MAC of a binding", mac.as_ref());
        let binding = json!({"protected": protected, "payload": payload, "signature": b64(mac.as_ref())});
        let ask = json!({"termsOfServiceAgreed": true, "externalAccountBinding": binding});
        client.post(&url, &ask.to_string())
    };
    ask(b"not the secret at all").unwrap_err();
    let made = ask(&secret).unwrap();
    client.kid = Some(made.header("location").unwrap().to_owned());
}

fn whole_life(server: &Server, secrets: &mut Secrets) {
    let web = Web::start(server.http_port);
    let mut client = Client::new(server);
    client.key = account_key(secrets);
    client.record = Some(Vec::new());
    register(server, &mut client, secrets);

    // One validation that fails for want of the right answer, one that proves.
    for (name, right) in [("wrong.test", false), ("right.test", true)] {
        let order = client.order(&[name]).unwrap();
        let authorization = client.fetch(&authorizations(&order)[0]).unwrap().json();
        for offered in authorization["challenges"].as_array().unwrap() {
            let token = offered["token"].as_str().unwrap();
            secrets.text("a token", token);
            secrets.text("a key authorization", &format!("{token}.{}", client.key.thumbprint()));
        }
        if right {
            client.authorize(&web, &order).unwrap();
            let pair = KeyPair::generate().unwrap();
            secrets.bytes("a certificate's key", &pair.serialize_der());
            secrets.bytes("a certificate's key", &pair.serialize_der()[36..68]);
            client.finalize(&order, b"no CSR").unwrap_err();
            let csr = csr_for(&[name], &pair);
            secrets.bytes("a CSR", &csr);
            let done = client.finalize(&order, &csr).unwrap();
            let pem = client.fetch(done.certificate().unwrap()).unwrap().text();
            client.revoke(&pem, Some(1)).unwrap();
        } else {
            let token = challenge(&authorization, "http-01")["token"].as_str().unwrap();
            let thumbprint = Key::generate().thumbprint();
            web.set(token, &format!("{token}.{thumbprint}"));
            secrets.text("what a target answers", &thumbprint);
            let url = challenge(&authorization, "http-01")["url"].as_str().unwrap().to_owned();
            client.post(&url, "{}").unwrap();
            client.settle(&authorizations(&order)[0], &["pending", "processing"]).unwrap();
        }
    }
    spoilt(&mut client);
    secrets.record(&mut client);
    // Over HTTP/2 as well, whose libraries are others.
    let mut curl = Command::new("curl");
    curl.args(["-s", "--http2", "--cacert"]).arg(server.root());
    curl.args(["-H", &format!("Authorization: {BEARER}"), "-H", &format!("Cookie: {BEARER}")]);
    curl.arg(format!("{}?token={BEARER}", server.directory()));
    process::output(&mut curl);
}

/// Requests that are refused before and after their signature is looked at.
fn spoilt(client: &mut Client) {
    let url = client.endpoint("newOrder");
    let mut jws = client.jws(&url, "{\"identifiers\": \"of-the-wrong-shape\"}").unwrap();
    jws.protected["nonce"] = json!("bm90LW9uZS1vZi1vdXJz");
    assert_eq!(client.send(&url, &jws.body()).unwrap().status, 400);
    let mut jws = client.jws(&url, "{\"identifiers\": []}").unwrap().signed();
    jws["signature"] = json!(b64([7; 64]));
    client.send(&url, jws.to_string().as_bytes()).unwrap();
    client.post(&url, "{\"identifiers\": \"of-the-wrong-shape\"}").unwrap_err();
    client.send(&url, b"{\"protected\": \"bm90LWEtaGVhZGVy\", \"payload\": 1}").unwrap();
}

fn nothing_is_shown(format: &str) {
    let (collector, mut secrets) = (Collector::start(), Secrets::default());
    let mut server = start(&collector, format, &mut secrets);
    server.serve();
    whole_life(&server, &mut secrets);
    let mut test = Command::new(binary());
    test.args(["notify", "test", "--config"]).arg(server.config());
    let tested = run(&mut test, &server.scratch("notify").join("out"), Duration::from_secs(60));
    secrets.look("mayfly notify test", tested.output.as_bytes());
    until("the spans", Duration::from_secs(20), || {
        collector.spans().iter().any(|span| span.name.ends_with("/revoke-cert")).then_some(())
    });
    server.stop();
    let log = server.log();
    for told in ["certificate issued", "validation failed", "EAB key created", "certificate revoked"] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(log.contains("DEBUG") && secrets.0.len() > 100, "{} secrets", secrets.0.len());
    secrets.look("the log", log.as_bytes());
    for export in collector.exports() {
        secrets.look("a span", &export.bytes);
    }
    every_line_names_its_request(&log, format);
}

/// Whatever is said of a request, by whoever does something for it, carries its id.
fn every_line_names_its_request(log: &str, format: &str) {
    for told in ["certificate issued", "validation failed", "EAB key created", "certificate revoked"] {
        let line = log.lines().find(|line| line.contains(told)).unwrap();
        if format == "json" {
            let json: Value = serde_json::from_str(line).unwrap();
            assert!(json["request"].is_string() && json["trace"].is_string(), "{line}");
        } else {
            assert!(line.contains(" request=") && line.contains(" trace="), "{line}");
        }
    }
    for line in log.lines().filter(|_| format == "json") {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        // Libraries print requests whole at these levels.
        assert!(json["target"].as_str().unwrap().starts_with("mayfly"), "{line}");
        assert_eq!(line.matches("\"request\":").count(), usize::from(json["request"].is_string()), "{line}");
    }
}

#[test]
fn secrets_are_in_no_line_of_text_and_in_no_span() {
    nothing_is_shown("text");
}

#[test]
fn secrets_are_in_no_line_of_json_and_in_no_span() {
    nothing_is_shown("json");
}

/// The token's PIN, and one that it refuses: at commands, at a start, in service, and at a reload.
#[test]
fn a_tokens_pin_is_in_no_line_and_in_no_span() {
    let (collector, mut secrets) = (Collector::start(), Secrets::default());
    secrets.text("a PIN", PIN);
    secrets.text("a wrong PIN", WRONG_PIN);
    let token = Token::new();
    token.made("issuer", "ec-p256");
    let conf = token.path("conf");
    let variables = [("SOFTHSM2_CONF", conf.to_str().unwrap())];
    let uri = token.uri("issuer");
    let mut server = Server::init_with(&["--key", &uri], &variables, |config| {
        section(config, "log").insert("level".into(), "trace".into());
        let traces = section(config, "traces");
        traces.insert("otlp_endpoint".into(), collector.endpoint().into());
        traces.insert("interval".into(), "100ms".into());
    });
    closed(&token.path("pin"), WRONG_PIN);
    let config = server.config();
    let config = config.to_str().unwrap();
    for arguments in [
        &["key", "show", &uri][..],
        &["key", "generate", &uri, "--kind", "ec-p256"],
        &["check-config", config],
        &["serve", "--config", config],
    ] {
        let mut command = token.mayfly();
        let failed =
            run(command.args(arguments), &server.scratch("wrong").join("log"), Duration::from_secs(60));
        assert!(!failed.status.success() && failed.output.contains("refuses the PIN"), "{}", failed.output);
        secrets.look(arguments[0], failed.output.as_bytes());
    }
    // The URI's own is refused before anything is done with it.
    let in_uri = uri.replace("pin-source=", &format!("pin-value={PIN}&pin-source="));
    let failed = token.mayfly().args(["key", "show", &in_uri]).output().unwrap();
    assert!(!failed.status.success());
    secrets.look("a URI with the PIN", &[failed.stdout, failed.stderr].concat());

    let text = fs::read_to_string(server.config()).unwrap();
    let with_pin = server.dir().join("with_pin.toml");
    fs::write(&with_pin, text.replace("pin-source=", &format!("pin-value={PIN}&pin-source="))).unwrap();
    let failed = token.mayfly().arg("check-config").arg(&with_pin).output().unwrap();
    assert!(!failed.status.success());
    secrets.look("a configuration with the PIN", &[failed.stdout, failed.stderr].concat());

    closed(&token.path("pin"), PIN);
    server.serve();
    let web = Web::start(server.http_port);
    Client::registered(&server).issue(&web, &["token.test"]).unwrap();
    until("the spans", Duration::from_secs(20), || {
        collector.spans().iter().any(|span| span.name == "sign").then_some(())
    });
    server.stop();
    let log = server.log();
    assert!(log.contains("certificate issued") && log.contains("DEBUG"), "{log}");
    secrets.look("the log", log.as_bytes());
    for export in collector.exports() {
        secrets.look("a span", &export.bytes);
    }

    // A running server that has not logged in yet, and meets the token at a reload.
    let mut server = Server::init_with(&[], &variables, |config| {
        section(config, "log").insert("level".into(), "trace".into());
    });
    server.serve();
    let (file, text) =
        ("key = \"secrets/intermediate_ca_key\"", fs::read_to_string(server.config()).unwrap());
    assert!(text.contains(file));
    fs::write(server.config(), text.replace(file, &format!("key = \"{uri}\""))).unwrap();
    closed(&token.path("pin"), WRONG_PIN);
    server.reload("refuses the PIN (PinIncorrect)");
    closed(&token.path("pin"), PIN);
    server.reload("is not the certificate of the key in pkcs11:");
    server.stop();
    secrets.look("the log of a reload", server.log().as_bytes());
}
