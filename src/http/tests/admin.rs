//! The admin socket, as commands use it.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::app;
use crate::audit::Event;
use crate::client::admin::{AdminError, call};
use crate::http::admin::socket::{self, AdminSocket};
use crate::provisioner::eab::EabMode;
use crate::service::eab::PAGE;
use crate::service::stand::{Fault, Stand};
use crate::wire::admin as wire;
use crate::wire::admin::{CreatedEabKey, EabKey, EabKeys, Problem};

pub(super) struct Running {
    _home: tempfile::TempDir,
    pub(super) path: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

pub(super) fn serve(stand: &Stand) -> Running {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("admin.sock");
    let (stop, stopping) = watch::channel(false);
    let socket = AdminSocket::bind(&path).unwrap();
    let task = tokio::spawn(socket::serve(socket, app(stand), Duration::from_secs(5), stopping));
    Running { _home: home, path, stop, task }
}

async fn stand() -> Stand {
    Stand::with(|terms| {
        terms.eab = EabMode::Required;
        terms.eab_trusts_names = true;
    })
    .await
}

impl Running {
    async fn post<T: serde::de::DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, AdminError> {
        call(&self.path, Method::POST, path, Some(body)).await
    }

    async fn create(&self, body: &Value) -> Result<CreatedEabKey, AdminError> {
        self.post("/v1/eab-keys", body).await
    }

    async fn list(&self, query: &str) -> Result<EabKeys, AdminError> {
        call(&self.path, Method::GET, &format!("/v1/eab-keys{query}"), None::<&()>).await
    }

    /// A request byte by byte, and all that comes back.
    async fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(&self.path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    }
}

pub(super) fn refused<T>(result: Result<T, AdminError>) -> Problem {
    match result.map(drop) {
        Err(AdminError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

fn ask() -> Value {
    json!({ "provisioner": "acme", "lifetime": 3600, "max_uses": 3 })
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked() {
    let stand = stand().await;
    let running = serve(&stand);
    assert_eq!(running.list("").await.unwrap(), EabKeys { keys: vec![], next: None });
    let mut wanted = ask();
    wanted["allow"] = json!(["A.test", ".b.test", "10.0.0.1"]);
    wanted["label"] = json!("web");
    wanted["trust_names"] = json!(true);
    let created = running.create(&wanted).await.unwrap();
    assert_eq!(created.directory, "https://ca.test/acme/acme/directory");
    assert_eq!(crate::jose::from_base64url(&created.hmac_key).unwrap().len(), 64);
    let key = created.key;
    assert_eq!((key.state.as_str(), key.uses, key.max_uses), ("active", 0, 3));
    assert_eq!(key.allow, ["a.test", "*.b.test", "10.0.0.1/32"]);
    assert!(key.trust_names && key.label == "web" && key.revoked.is_none());

    assert_eq!(running.list("").await.unwrap().keys, std::slice::from_ref(&key));
    let raw = running.raw("GET /v1/eab-keys HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        raw.starts_with("HTTP/1.1 200") && raw.contains("no-store") && raw.contains("x-request-id"),
        "{raw}"
    );
    assert!(!raw.contains(&created.hmac_key) && !raw.contains("secret"), "{raw}");

    let path = format!("/v1/eab-keys/{}/revoke", key.kid);
    let gone: EabKey = call(&running.path, Method::POST, &path, None::<&()>).await.unwrap();
    assert_eq!(gone.state, "revoked");
    // Again is as good as once.
    let again: EabKey = call(&running.path, Method::POST, &path, None::<&()>).await.unwrap();
    assert_eq!(again, gone);
    let events = stand.events().await;
    let told = |event: &&Event| {
        matches!(event, Event::EabKeyCreated { trusts_names: true, .. } | Event::EabKeyRevoked { .. })
    };
    assert_eq!(events.iter().filter(told).count(), 2, "{events:?}");
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let stand = stand().await;
    let running = serve(&stand);
    let mut made = std::collections::BTreeSet::new();
    for _ in 0..PAGE + 2 {
        made.insert(running.create(&ask()).await.unwrap().key.kid);
    }
    let first = running.list("").await.unwrap();
    assert_eq!(first.keys.len(), PAGE);
    let second = running.list(&format!("?after={}", first.next.unwrap())).await.unwrap();
    assert_eq!((second.keys.len(), second.next), (2, None));
    let listed: std::collections::BTreeSet<_> =
        first.keys.into_iter().chain(second.keys).map(|key| key.kid).collect();
    assert_eq!(listed, made);
}

#[tokio::test]
async fn refusals_are_problems() {
    let stand = stand().await;
    let running = serve(&stand);
    let with = |name: &str, value: Value| {
        let mut body = ask();
        body[name] = value;
        body
    };
    let rows = [
        (with("provisioner", json!("none")), "there are: acme, other"),
        (with("provisioner", json!("other")), "takes no external account bindings"),
        (with("allow", json!(["a_b"])), "allow: "),
        (with("trust_names", json!(true)), "at least one allow rule"),
        (with("lifetime", json!(0)), "expires: give"),
        (with("max_uses", json!(0)), "uses: give"),
        (with("max_uses", json!(-1)), "invalid value"),
        (with("secret", json!("mine")), "unknown field"),
        (json!({ "provisioner": "acme" }), "missing field"),
        (json!(["acme", [], 60, 1, "", false]), "must be a JSON object"),
    ];
    for (body, want) in rows {
        let problem = refused(running.create(&body).await);
        assert_eq!((problem.status, problem.title.as_str()), (400, "Bad Request"), "{body}");
        assert!(problem.detail.contains(want), "{body}: {}", problem.detail);
    }
    assert_eq!(stand.rows(crate::storage::Table::EabKeys).await, 0);
    let stranger = crate::id::EabKid::new([1; 16]);
    let path = format!("/v1/eab-keys/{stranger}/revoke");
    assert_eq!(refused(running.post::<EabKey>(&path, &json!({})).await).status, 404);
    assert_eq!(refused(running.post::<EabKey>("/v1/nothing", &json!({})).await).status, 404);
    assert_eq!(refused(running.list("?page=2").await).status, 400);
    assert_eq!(refused(running.post::<EabKey>("/v1/eab-keys?after=x", &ask()).await).status, 400);
    let rows = [
        ("PUT /v1/eab-keys HTTP/1.1\r\nhost: x\r\n\r\n", "405", "allow: GET, POST"),
        ("PUT /v1/eab-keys?limit=1 HTTP/1.1\r\nhost: x\r\n\r\n", "405", "allow: GET, POST"),
        ("TRACE /v1/certificates?limit=1 HTTP/1.1\r\nhost: x\r\n\r\n", "405", "allow: GET"),
        ("POST /v1/eab-keys HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}", "415", "application/json"),
        ("nonsense\r\n\r\n", "400", ""),
    ];
    for (request, status, part) in rows {
        let reply = running.raw(request).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")) && reply.contains(part), "{reply}");
    }
    let large = "x".repeat(70_000);
    assert_eq!(refused(running.create(&with("label", json!(large))).await).status, 413);
}

#[tokio::test]
async fn faults_of_ours_are_told_as_such_and_no_more() {
    let stand = stand().await;
    let running = serve(&stand);
    for (fault, status) in
        [(Fault::Busy, 503), (Fault::NoSpace, 503), (Fault::Conflict, 503), (Fault::Failed, 500)]
    {
        stand.store.fail(0, fault);
        let problem = refused(running.create(&ask()).await);
        assert_eq!(problem.status, status, "{fault:?}");
        assert!(
            !problem.detail.contains("secret") && problem.detail.contains("0000abcd-"),
            "{}",
            problem.detail
        );
    }
    running.create(&ask()).await.unwrap();
}

#[tokio::test]
async fn a_drain_ends_it_and_lets_the_last_command_finish() {
    let stand = stand().await;
    let Running { _home, path, stop, task } = serve(&stand);
    // One that has said nothing yet, and one in the middle of its request.
    let idle = UnixStream::connect(&path).await.unwrap();
    let mut busy = UnixStream::connect(&path).await.unwrap();
    let body = ask().to_string();
    let head = format!(
        "POST /v1/eab-keys HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    busy.write_all(head.as_bytes()).await.unwrap();
    // Until it has been read, so that it is under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(true).unwrap();
    while path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let nobody = call::<EabKeys>(&path, Method::GET, "/v1/eab-keys", None::<&()>).await.unwrap_err();
    assert!(matches!(nobody, AdminError::NotRunning(_)), "{nobody}");
    busy.write_all(body.as_bytes()).await.unwrap();
    let mut reply = String::new();
    busy.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
    tokio::time::timeout(Duration::from_secs(4), task).await.expect("it ends").unwrap();
    drop(idle);
}

#[tokio::test]
async fn another_user_is_refused_whatever_is_asked() {
    let stand = stand().await;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("admin.sock");
    let (_stop, stopping) = watch::channel(false);
    let socket = AdminSocket::bind(&path).unwrap();
    let nobody = |_: u32| false;
    tokio::spawn(socket::serve_those(socket, app(&stand), Duration::from_secs(5), stopping, nobody));
    for (method, resource) in
        [(Method::POST, "/v1/eab-keys"), (Method::GET, "/v1/eab-keys"), (Method::GET, "/x")]
    {
        let problem = refused(call::<Value>(&path, method, resource, Some(&ask())).await);
        assert_eq!(problem.status, 403, "{resource}");
    }
    assert_eq!(stand.rows(crate::storage::Table::EabKeys).await, 0);
}

#[tokio::test]
async fn certificates_are_listed_and_shown() {
    let stand = Stand::new().await;
    let client = super::client::Client::new(&app(&stand)).await;
    let der = client.obtain(&["a.test", "b.a.test"], &rcgen::KeyPair::generate().unwrap()).await;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let serial = crate::x509::hex::encode(parsed.raw_serial());
    let running = serve(&stand);
    let get = async |query: &str| -> Result<wire::Certificates, AdminError> {
        call(&running.path, Method::GET, &format!("/v1/certificates{query}"), None::<&()>).await
    };
    let listed = get("?suffix=a.test&state=valid").await.unwrap();
    let [only] = listed.certificates.as_slice() else { panic!("{listed:?}") };
    assert_eq!((only.serial.as_str(), only.door.as_str(), only.state.as_str()), (&*serial, "acme", "valid"));
    assert_eq!(only.names, ["a.test", "b.a.test"]);
    assert!(only.pem.is_none() && listed.next.is_none());
    let path = format!("/v1/certificates/{serial}");
    let shown: wire::Certificate = call(&running.path, Method::GET, &path, None::<&()>).await.unwrap();
    assert!(shown.pem.as_ref().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(wire::Certificate { pem: None, ..shown }, *only);
    assert_eq!((only.authority.as_deref(), only.unrecorded.len()), (Some("default"), 0));
    let whole = get(&format!("?suffix=a.test&pem=true&issued_from={}", only.issued)).await.unwrap();
    assert!(whole.certificates[0].pem.as_ref().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(get("?issued_from=2999-01-01T00:00:00Z").await.unwrap().certificates.is_empty());
    // The root and the intermediate are in it as well, page by page.
    let first = get("?limit=1").await.unwrap();
    let second = get(&format!("?limit=1&after={}", first.next.unwrap())).await.unwrap();
    assert_ne!(first.certificates, second.certificates);
    for (query, word) in [
        ("?state=good", "state"),
        ("?limit=0", "limit"),
        ("?limit=501", "limit"),
        ("?after=!", "after"),
        ("?name=a.test&name=b.test", "name"),
        ("?nane=a.test", "nane"),
        ("?expires_from=today", "expires_from"),
        ("?issued_from=today", "issued_from"),
        ("?pem=yes", "pem"),
    ] {
        let problem = refused(get(query).await);
        assert!(problem.status == 400 && problem.detail.starts_with(word), "{query}: {problem:?}");
    }
    let none = format!("/v1/certificates/{}", "00".repeat(19));
    let gone: Result<wire::Certificate, _> = call(&running.path, Method::GET, &none, None::<&()>).await;
    assert_eq!(refused(gone).status, 404);
    let described: Value = call(&running.path, Method::GET, "/openapi.json", None::<&()>).await.unwrap();
    assert!(described["openapi"].as_str().unwrap().starts_with("3."));
}
