//! An ACME client without sockets: real JWS in, whole responses out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};

use crate::http::{App, RequestLimits};
use crate::jose::base64url;
use crate::jose::jwk::Jwk;
use crate::service::stand::Stand;
use crate::x509::pem;
use crate::x509::spki::PublicKey;

pub(super) const BASE: &str = "https://ca.test";
pub(super) const MAX_BODY: usize = 64 * 1024;
pub(super) const BODY_TIME: Duration = Duration::from_millis(700);

pub(super) fn app(stand: &Stand) -> Arc<App> {
    let body = RequestLimits { bytes: MAX_BODY, time: BODY_TIME, under_way: 256, headers: 64, url: 2048 };
    Arc::new(App::new(stand.service.clone(), BASE.into(), body, 0xabcd))
}

/// A response, read completely.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
    pub(super) fn location(&self) -> String {
        self.header("location").expect("a Location").to_owned()
    }
    /// A member of the JSON body that is a string.
    pub(super) fn at(&self, pointer: &str) -> String {
        let json = self.json();
        json.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("{pointer} in {json}"))
            .to_owned()
    }
    /// `status` of an object.
    pub(super) fn state(&self) -> String {
        self.at("/status")
    }
    /// The last part of a problem's type.
    pub(super) fn problem(&self) -> String {
        self.at("/type").trim_start_matches("urn:ietf:params:acme:error:").to_owned()
    }
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
    #[track_caller]
    pub(super) fn refused(&self, status: u16, kind: &str) {
        assert_eq!((self.status.as_u16(), self.problem().as_str()), (status, kind), "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.json()["status"], status);
    }
}

/// Sends any request.
pub(super) async fn send(
    app: &Arc<App>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    // In a task of its own, as the listener does it.
    let app = app.clone();
    let response = tokio::spawn(async move { app.answer(request, &app.request_id()).await }).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: parts.status, headers: parts.headers, body }
}

pub(super) async fn get(app: &Arc<App>, path: &str) -> Reply {
    send(app, "GET", path, &[], "").await
}

pub(super) const JOSE: (&str, &str) = ("content-type", "application/jose+json");

/// A key that signs JWS.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    pub(super) jwk: Value,
}

impl Key {
    pub(super) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self::of(pair)
    }
    fn of(pair: EcdsaKeyPair) -> Self {
        let jwk = Jwk::from_key(PublicKey::EcP256(pair.public_key().as_ref().to_vec())).unwrap();
        let jwk = serde_json::from_str(&jwk.to_json()).unwrap();
        Self { pair, jwk }
    }
    /// The key of a certificate, to revoke with.
    pub(super) fn of_certificate(key: &rcgen::KeyPair) -> Self {
        let der = key.serialize_der();
        Self::of(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap())
    }
    pub(super) fn jws(&self, header: &Value, payload: &[u8]) -> Value {
        self.jws_over(&header.to_string(), payload)
    }
    /// Under a header of that very text.
    pub(super) fn jws_over(&self, header: &str, payload: &[u8]) -> Value {
        let protected = base64url(header.as_bytes());
        let payload = base64url(payload);
        let signature =
            self.pair.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes()).unwrap();
        json!({ "protected": protected, "payload": payload, "signature": base64url(signature.as_ref()) })
    }
}

/// A client of one provisioner.
pub(super) struct Client {
    pub(super) app: Arc<App>,
    pub(super) base: String,
    pub(super) key: Key,
    pub(super) kid: String,
    nonces: Mutex<Vec<String>>,
}

impl Client {
    /// Without an account.
    pub(super) fn stranger(app: &Arc<App>) -> Self {
        let nonces = Mutex::default();
        Self {
            app: app.clone(),
            base: format!("{BASE}/acme/acme"),
            key: Key::new(),
            kid: String::new(),
            nonces,
        }
    }

    /// With an account.
    pub(super) async fn new(app: &Arc<App>) -> Self {
        let mut client = Self::stranger(app);
        client.kid = client.register(&json!({})).await.expect(201).location();
        client
    }

    /// The same account, talking to another process.
    pub(super) fn moved(self, app: &Arc<App>) -> Self {
        Self { app: app.clone(), nonces: Mutex::default(), ..self }
    }

    pub(super) fn url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.base)
    }

    pub(super) async fn nonce(&self) -> String {
        if let Some(kept) = self.nonces.lock().unwrap().pop() {
            return kept;
        }
        let reply = send(&self.app, "HEAD", &path_of(&self.url("new-nonce")), &[], "").await.expect(200);
        reply.header("replay-nonce").unwrap().to_owned()
    }

    /// A protected header as it should be, by account.
    pub(super) async fn header(&self, url: &str) -> Value {
        json!({ "alg": "ES256", "nonce": self.nonce().await, "url": url, "kid": self.kid })
    }

    /// A protected header as it should be, by key.
    pub(super) async fn bare_header(&self, url: &str) -> Value {
        json!({ "alg": "ES256", "nonce": self.nonce().await, "url": url, "jwk": self.key.jwk })
    }

    /// Posts a body that is what it is.
    pub(super) async fn raw(&self, url: &str, body: impl Into<Bytes>) -> Reply {
        let reply = send(&self.app, "POST", &path_of(url), &[JOSE], body).await;
        let nonce = reply.header("replay-nonce").expect("every reply to a POST has a nonce").to_owned();
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.header("x-request-id").is_some());
        self.nonces.lock().unwrap().push(nonce);
        reply
    }

    /// Posts under a header of the caller's.
    pub(super) async fn signed(&self, url: &str, header: &Value, payload: &[u8]) -> Reply {
        self.raw(url, self.key.jws(header, payload).to_string()).await
    }

    pub(super) async fn post(&self, url: &str, payload: &Value) -> Reply {
        self.signed(url, &self.header(url).await, payload.to_string().as_bytes()).await
    }

    /// POST-as-GET.
    pub(super) async fn read(&self, url: &str) -> Reply {
        self.signed(url, &self.header(url).await, b"").await
    }

    pub(super) async fn register(&self, payload: &Value) -> Reply {
        let url = self.url("new-account");
        self.signed(&url, &self.bare_header(&url).await, payload.to_string().as_bytes()).await
    }

    pub(super) async fn order(&self, names: &[&str]) -> Reply {
        self.post(&self.url("new-order"), &json!({ "identifiers": identifiers(names) })).await
    }

    /// The URL of a challenge of that type.
    pub(super) async fn challenge(&self, authorization: &str, kind: &str) -> String {
        let object = self.read(authorization).await.expect(200).json();
        let all = object["challenges"].as_array().unwrap();
        let found = all.iter().find(|challenge| challenge["type"] == kind);
        found.unwrap_or_else(|| panic!("{kind} in {object}"))["url"].as_str().unwrap().to_owned()
    }

    /// Answers a challenge of every pending authorization of an order, whose URL comes back.
    pub(super) async fn prove(&self, order: &Reply) -> String {
        for authorization in order.json()["authorizations"].as_array().unwrap() {
            let url = authorization.as_str().unwrap();
            let object = self.read(url).await.expect(200).json();
            if object["status"] != "pending" {
                continue;
            }
            let challenge = object["challenges"][0]["url"].as_str().unwrap().to_owned();
            self.post(&challenge, &json!({})).await.expect(200);
        }
        order.location()
    }

    pub(super) async fn finalize(&self, order: &str, csr: &[u8]) -> Reply {
        self.post(&format!("{order}/finalize"), &json!({ "csr": base64url(csr) })).await
    }

    /// The whole way to a certificate's DER.
    pub(super) async fn obtain(&self, names: &[&str], key: &rcgen::KeyPair) -> Vec<u8> {
        let order = self.order(names).await.expect(201);
        let order = self.prove(&order).await;
        let done = self.finalize(&order, &csr(names, key)).await.expect(200);
        self.download(&done.at("/certificate")).await.remove(0)
    }

    /// The chain, DER, leaf first.
    pub(super) async fn download(&self, url: &str) -> Vec<Vec<u8>> {
        let reply = self.read(url).await.expect(200);
        assert_eq!(reply.header("content-type"), Some("application/pem-certificate-chain"));
        pem::parse_certificates(&reply.body).unwrap()
    }

    pub(super) async fn revoke(&self, certificate: &[u8], reason: Option<u64>) -> Reply {
        self.post(&self.url("revoke-cert"), &revocation(certificate, reason)).await
    }
}

/// Polls until the object is in that state. Where time stands still, the wait is for the store's
/// own thread, which knows nothing of that.
pub(super) async fn until(client: &Client, url: &str, state: &str) -> Reply {
    for _ in 0..2000 {
        let reply = client.read(url).await.expect(200);
        if reply.state() == state {
            return reply;
        }
        pause().await;
    }
    panic!("{url} is {} and not {state}", client.read(url).await.state());
}

pub(super) async fn pause() {
    std::thread::sleep(Duration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(20)).await;
}

pub(super) fn revocation(certificate: &[u8], reason: Option<u64>) -> Value {
    match reason {
        None => json!({ "certificate": base64url(certificate) }),
        Some(reason) => json!({ "certificate": base64url(certificate), "reason": reason }),
    }
}

pub(super) fn path_of(url: &str) -> String {
    url.strip_prefix(BASE).unwrap_or(url).to_owned()
}

pub(super) fn identifiers(names: &[&str]) -> Value {
    let one = |name: &&str| {
        let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
        json!({ "type": kind, "value": name })
    };
    names.iter().map(one).collect()
}

pub(super) fn leaf_key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate().unwrap()
}

pub(super) fn csr(names: &[&str], key: &rcgen::KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(key).unwrap().der().to_vec()
}
