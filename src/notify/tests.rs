use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::fleet::notices::{End, Key, Sample};
use crate::fleet::{Cause, IdentityId, Trouble};
use crate::id::AccountId;
use crate::x509::serial::Serial;

const NOW: Timestamp = Timestamp::from_secs(1_793_318_400);
const HOUR: Duration = Duration::from_secs(3600);
const CA: &str = "https://ca.test:9443";

fn id() -> IdentityId {
    IdentityId::from_key(&[0xab; 12]).unwrap()
}

fn alert() -> Alert {
    let serial = Serial::new(NOW, [7; 16]);
    let sample = Sample {
        id: id(),
        names: vec!["a.test".into(), "b.test".into()],
        names_total: 12,
        account: Some(AccountId::new([1; 16])),
        serial,
        not_after: NOW + 3 * HOUR,
        due: NOW - 5 * HOUR,
        failures: vec![(Cause::Dns, 4)],
    };
    Alert {
        key: Key::Identity(Trouble::Overdue, id()),
        cause: Some(Cause::Dns),
        provisioner: "acme".into(),
        since: NOW - HOUR,
        serial: Some(serial),
        identities: 1,
        samples: vec![sample],
        told: 0,
        acknowledged: None,
        told_identities: 0,
        attempted: true,
        ended: None,
    }
}

fn group() -> Alert {
    let samples = alert().samples;
    let key = Key::Group(Trouble::Expired, None, "acme".into());
    Alert { key, cause: None, serial: None, identities: 490, samples, ..alert() }
}

fn hook(alert: &Alert) -> Value {
    let notice = Notice::Alert(Box::new(alert.clone()));
    serde_json::to_value(webhook::Body::of(&notice, CA, NOW)).unwrap()
}

fn posted(alert: &Alert) -> Value {
    let notice = Notice::Alert(Box::new(alert.clone()));
    serde_json::to_value(alertmanager::posted(&notice, CA, Duration::from_secs(60), NOW)).unwrap()
}

#[test]
fn a_webhook_s_body() {
    let body = hook(&alert());
    let mut want = json!({
        "version": 1,
        "event": "firing",
        "id": body["id"],
        "ca": CA,
        "sent_at": NOW.to_rfc3339(),
        "summary": body["summary"],
        "key": format!("overdue/identity/{}", id()),
        "trouble": "overdue",
        "severity": "warning",
        "cause": "dns",
        "provisioner": "acme",
        "advice": body["advice"],
        "since": (NOW - HOUR).to_rfc3339(),
        "told_before": 0,
        "identities_total": 1,
        "identities": [{
            "identity": id().to_string(),
            "names": ["a.test", "b.test"],
            "names_total": 12,
            "account": AccountId::new([1; 16]).to_string(),
            "serial": Serial::new(NOW, [7; 16]).to_string(),
            "not_after": (NOW + 3 * HOUR).to_rfc3339(),
            "renewal_expected_at": (NOW - 5 * HOUR).to_rfc3339(),
            "failures": { "dns": 4 },
        }],
    });
    assert_eq!(body, want);
    assert!(body["summary"].as_str().unwrap().starts_with("a.test (and 11 more names) has not renewed"));
    let ended = hook(&Alert { ended: Some((NOW, End::Renewed)), ..alert() });
    want["event"] = "resolved".into();
    want["ended_at"] = NOW.to_rfc3339().into();
    want["ended_because"] = "renewed".into();
    want["id"] = ended["id"].clone();
    assert_eq!(ended, want);
    let group = hook(&group());
    assert_eq!((&group["identities_total"], &group["cause"]), (&json!(490), &json!("silent")));
    assert_eq!(group["key"], "expired/group/silent/acme");
    let test = serde_json::to_value(webhook::Body::of(&Notice::Test, CA, NOW)).unwrap();
    assert_eq!((&test["event"], &test["key"], &test["version"]), (&json!("test"), &Value::Null, &json!(1)));
}

#[test]
fn an_event_s_id_is_that_of_its_attempts_and_of_no_other_event() {
    let first = alert();
    let id = |alert: &Alert| hook(alert)["id"].clone();
    let again = Alert { identities: 5, samples: Vec::new(), ..first.clone() };
    assert_eq!(id(&first), id(&again), "what it is known by has not changed");
    let ended = Alert { ended: Some((NOW, End::Retired)), told: 3, ..first.clone() };
    let mut seen = vec![
        id(&first),
        id(&Alert { told: 1, ..first.clone() }),
        id(&Alert { since: NOW, ..first.clone() }),
        id(&Alert { serial: None, ..first.clone() }),
        id(&ended),
        id(&group()),
    ];
    assert_eq!(id(&ended), id(&Alert { ended: Some((NOW + HOUR, End::Retired)), told: 4, ..first }));
    let all = seen.len();
    seen.sort_by_key(Value::to_string);
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn alertmanager_s_alerts() {
    let one = posted(&alert());
    let labels = json!({
        "alertname": "MayflyIdentityOverdue",
        "severity": "warning",
        "cause": "dns",
        "provisioner": "acme",
        "ca": "ca.test:9443",
        "identity": id().to_string(),
    });
    assert_eq!(one["labels"], labels);
    assert_eq!(one["startsAt"], (NOW - HOUR).to_rfc3339());
    assert_eq!(one["endsAt"], (NOW + Duration::from_secs(240)).to_rfc3339());
    assert_eq!(one["generatorURL"], CA);
    assert_eq!(one["annotations"]["names"], "a.test, b.test");
    assert_eq!(one["annotations"]["failures"], "dns: 4");
    let ended = posted(&Alert { ended: Some((NOW, End::Renewed)), ..alert() });
    assert_eq!((&ended["labels"], &ended["endsAt"]), (&labels, &json!(NOW.to_rfc3339())));
    let many = posted(&group());
    assert_eq!(many["labels"]["identity"], "several");
    assert_eq!(many["labels"]["severity"], "critical");
    assert_eq!(many["annotations"]["identities"], "490");
    assert!(
        many["annotations"]["summary"].as_str().unwrap().starts_with("490 identities of acme have expired")
    );
}

#[test]
fn every_trouble_and_cause_has_its_words() {
    for cause in Cause::ALL.iter().copied().map(Some).chain([None]) {
        for trouble in Trouble::ALL {
            let one = Alert { key: Key::Identity(*trouble, id()), cause, ..alert() };
            let many = Alert { key: Key::Group(*trouble, cause, "acme".into()), ..one.clone() };
            let bare = Alert { samples: Vec::new(), ..one.clone() };
            for alert in [one, many, bare] {
                assert!(!hook(&alert)["summary"].as_str().unwrap().is_empty());
                assert!(hook(&alert)["advice"].as_str().unwrap().len() > 20);
            }
        }
    }
}

fn secret(dir: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn signatures_are_github_s() {
    let home = tempfile::tempdir().unwrap();
    // The example of GitHub's documentation.
    let path = secret(home.path(), "secret", "It's a Secret to Everybody\n", 0o600);
    let signed = webhook::signature(&path, b"Hello, World!").unwrap();
    assert_eq!(signed, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

fn place(url: String) -> Place {
    Place {
        name: "ops".into(),
        kind: Kind::Webhook,
        url,
        ca: None,
        token_file: None,
        secret_file: None,
        timeout: Duration::from_millis(500),
    }
}

const TERMS: Terms = Terms { repeat: HOUR, send_resolved: true, individual: 10 };

#[test]
fn credentials_are_closed_to_others_and_shown_to_nobody() {
    let home = tempfile::tempdir().unwrap();
    let open = secret(home.path(), "open", "hunter2", 0o644);
    let closed = secret(home.path(), "closed", "hunter2", 0o600);
    let refused = |place: Place| Receiver::new(&place, TERMS, CA).map(drop).unwrap_err();
    let base = || place("http://127.0.0.1:9/hunter2".into());
    let why = refused(Place { token_file: Some(open.clone()), ..base() });
    assert!(why.starts_with("token_file: ") && !why.contains("hunter2"), "{why}");
    let why = refused(Place { secret_file: Some(open), ..base() });
    assert!(why.starts_with("secret_file: "), "{why}");
    let why = refused(Place { ca: Some(closed.clone()), ..base() });
    assert!(why.starts_with("ca: ") && why.contains("no certificate"), "{why}");
    let good = Place { token_file: Some(closed.clone()), secret_file: Some(closed), ..base() };
    let good = Receiver::new(&good, TERMS, CA).unwrap();
    assert!(!format!("{good:?}").contains("hunter2"), "{good:?}");
}

/// Answers each connection with one of these, if with anything, and passes on what was asked.
async fn server(answers: Vec<&'static str>) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?x=hunter2", listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                let mut buffer = [0; 4096];
                let read = socket.read(&mut buffer).await.unwrap();
                assert!(read > 0);
                asked.extend_from_slice(&buffer[..read]);
            }
            tell.send(String::from_utf8(asked).unwrap()).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                kept.push(socket);
            }
        }
        std::future::pending::<()>().await;
    });
    (url, told)
}

#[tokio::test]
async fn what_an_answer_means() {
    let close = "Connection: close\r\nContent-Length: ";
    type Want = Option<(Delivery, bool, &'static str)>;
    let rows: [(String, Want); 7] = [
        (format!("HTTP/1.1 200 OK\r\n{close}0\r\n\r\n"), None),
        (format!("HTTP/1.1 202 Accepted\r\n{close}2\r\n\r\nok"), None),
        (
            format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n{close}0\r\n\r\n"),
            Some((Delivery::Uncertain, true, "redirects are not followed")),
        ),
        (
            format!("HTTP/1.1 401 Unauthorized\r\n{close}0\r\n\r\n"),
            Some((Delivery::Uncertain, true, "see to token_file")),
        ),
        (
            format!("HTTP/1.1 500 Oops\r\n{close}12\r\n\r\nno \x1b[31mdisk\n"),
            Some((Delivery::Uncertain, true, "500 Internal Server Error: no [31mdisk")),
        ),
        ("nonsense\r\n\r\n".to_owned(), Some((Delivery::Uncertain, false, "http://127.0.0.1:"))),
        (String::new(), Some((Delivery::Uncertain, false, "no answer within 500ms"))),
    ];
    let answers: Vec<&'static str> = rows.iter().map(|(answer, _)| &*answer.clone().leak()).collect();
    let (url, mut told) = server(answers).await;
    let home = tempfile::tempdir().unwrap();
    let token = secret(home.path(), "token", "hunter3\n", 0o600);
    let place = Place { token_file: Some(token.clone()), secret_file: Some(token), ..place(url) };
    let receiver = Receiver::new(&place, TERMS, CA).unwrap();
    let notice = [Notice::Alert(Box::new(alert()))];
    for (answer, want) in rows {
        let outcome = receiver.deliver.deliver(&notice, NOW).await;
        let asked = told.recv().await.unwrap().to_lowercase();
        assert!(asked.starts_with("post /hook?x=hunter2 http/1.1"), "{asked}");
        for header in ["authorization: bearer hunter3", "x-mayfly-event: firing", "idempotency-key: "] {
            assert!(asked.contains(header), "{header}: {asked}");
        }
        let (_, body) = asked.split_once("\r\n\r\n").unwrap();
        assert!(
            serde_json::from_str::<Value>(body).is_ok() && asked.contains("x-mayfly-signature-256: sha256=")
        );
        match (outcome, want) {
            (Ok(()), None) => {}
            (Err(failure), Some((delivery, answered, reason))) => {
                assert_eq!((failure.delivery, failure.answered), (delivery, answered), "{answer}");
                assert!(failure.reason.contains(reason), "{}", failure.reason);
                assert!(!failure.reason.contains("hunter"), "{}", failure.reason);
                assert!(!failure.reason.contains('\x1b'));
            }
            (outcome, want) => panic!("{answer}: {outcome:?}, not {want:?}"),
        }
    }
}

#[tokio::test]
async fn where_nobody_listens_nothing_has_arrived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let receiver = Receiver::new(&place(url), TERMS, CA).unwrap();
    let failure = receiver.deliver.deliver(&[Notice::Test], NOW).await.unwrap_err();
    assert_eq!((failure.delivery, failure.answered), (Delivery::NotSent, false), "{failure:?}");
}

/// A server of TLS that acknowledges what comes, and its own CA certificate.
async fn tls_server() -> (String, String) {
    use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut buffer = [0; 4096];
            let _ = socket.read(&mut buffer).await;
            let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
            let _ = socket.shutdown().await;
        }
    });
    (url, crate::x509::pem::certificate(cert.der()))
}

#[tokio::test]
async fn a_receiver_is_known_by_its_ca_file_and_an_unknown_one_gets_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (url, pem) = tls_server().await;
    let (_, other) = tls_server().await;
    let [right, wrong] = [("right", pem), ("wrong", other)].map(|(name, pem)| {
        let place = Place {
            ca: Some(secret(home.path(), name, &pem, 0o644)),
            timeout: Duration::from_secs(10),
            ..place(url.clone())
        };
        Receiver::new(&place, TERMS, CA).unwrap()
    });
    assert_eq!(right.deliver.deliver(&[Notice::Test], NOW).await, Ok(()));
    let failure = wrong.deliver.deliver(&[Notice::Test], NOW).await.unwrap_err();
    assert_eq!(failure.delivery, Delivery::NotSent, "{failure:?}");
    assert!(failure.reason.contains("certificate"), "{}", failure.reason);
}
