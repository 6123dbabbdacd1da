//! A small ACME client of the tests' own, that can also misbehave where a real one never would.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, ParsedExtension, parse_x509_certificate};
use x509_parser::public_key::RSAPublicKey;

use super::https::{Https, Reply};
use super::server::Server;
use super::web::Web;

pub const JOSE: &str = "application/jose+json";
/// How long an object may stay pending or processing.
const SETTLE: Duration = Duration::from_secs(60);

pub fn sha256(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A signing key: ES256 for accounts as a rule, the others where it matters.
#[derive(Clone)]
pub enum Key {
    P256(Arc<EcdsaKeyPair>),
    P384(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
    Rsa(Arc<rsa::KeyPair>),
}

impl Key {
    pub fn generate() -> Self {
        Self::P256(Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()))
    }

    pub fn p384() -> Self {
        Self::P384(Arc::new(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()))
    }

    pub fn ed25519() -> Self {
        Self::Ed25519(Arc::new(Ed25519KeyPair::generate().unwrap()))
    }

    /// Of 2048 bits.
    pub fn rsa() -> Self {
        Self::Rsa(Arc::new(rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap()))
    }

    /// From PKCS#8, of either kind.
    pub fn from_pkcs8(der: &[u8]) -> Self {
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            Ok(key) => Self::P256(Arc::new(key)),
            Err(_) => Self::Rsa(Arc::new(rsa::KeyPair::from_pkcs8(der).unwrap())),
        }
    }

    /// From a client's key file, whatever its form.
    pub fn from_file(path: &Path) -> Self {
        let out = Command::new("openssl")
            .args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in"])
            .arg(path)
            .output()
            .unwrap();
        Self::from_pkcs8(&out.stdout)
    }

    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Ed25519(_) => "EdDSA",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public key, members in the order that RFC 7638 wants.
    pub fn jwk(&self) -> Value {
        match self {
            Self::P256(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({"crv": "P-256", "kty": "EC", "x": b64(&point[..32]), "y": b64(&point[32..])})
            }
            Self::P384(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({"crv": "P-384", "kty": "EC", "x": b64(&point[..48]), "y": b64(&point[48..])})
            }
            Self::Ed25519(key) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": b64(key.public_key().as_ref())})
            }
            Self::Rsa(key) => {
                let der = key.public_key().as_ref().to_vec();
                let (_, public) = RSAPublicKey::from_der(&der).unwrap();
                // DER's integers may begin with a zero octet for the sign; JWK's must not.
                let unsigned = |n: &[u8]| b64(&n[n.iter().take_while(|octet| **octet == 0).count()..]);
                json!({"e": unsigned(public.exponent), "kty": "RSA", "n": unsigned(public.modulus)})
            }
        }
    }

    pub fn thumbprint(&self) -> String {
        b64(digest(&SHA256, self.jwk().to_string().as_bytes()))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) | Self::P384(key) => {
                key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
            }
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// A flattened JWS in the making; every part may be spoilt before it is sent.
#[derive(Clone)]
pub struct Jws {
    pub protected: Value,
    pub payload: String,
    pub key: Key,
}

impl Jws {
    /// The request body.
    pub fn body(&self) -> Vec<u8> {
        self.signed().to_string().into_bytes()
    }

    /// The three members.
    pub fn signed(&self) -> Value {
        let (protected, payload) = (b64(self.protected.to_string()), b64(&self.payload));
        let signature = b64(self.key.sign(format!("{protected}.{payload}").as_bytes()));
        json!({"protected": protected, "payload": payload, "signature": signature})
    }
}

/// Why a request brought nothing.
#[derive(Debug)]
pub enum Failure {
    /// The connection: nobody knows whether the request was carried out.
    Io(#[allow(dead_code, reason = "read through Debug")] io::Error),
    /// The server said no.
    Problem(Reply),
    /// An object did not become what it should.
    Stuck(#[allow(dead_code, reason = "read through Debug")] String),
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl Failure {
    /// Status and type of a problem, without the URN.
    pub fn problem(&self) -> (u16, String) {
        match self {
            Self::Problem(reply) => problem(reply),
            other => panic!("no problem document: {other:?}"),
        }
    }
}

/// Status and type of a problem document, which must be one in all its parts.
pub fn problem(reply: &Reply) -> (u16, String) {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    let document = reply.json();
    assert!(document["detail"].is_string(), "{document}");
    if let Some(status) = document["status"].as_u64() {
        assert_eq!(status, u64::from(reply.status));
    }
    let kind = document["type"].as_str().unwrap();
    (reply.status, kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind).to_owned())
}

/// An order as this client knows it.
#[derive(Debug, Clone)]
pub struct Order {
    pub url: String,
    pub object: Value,
}

impl Order {
    pub fn status(&self) -> &str {
        self.object["status"].as_str().unwrap_or_default()
    }

    pub fn certificate(&self) -> Option<&str> {
        self.object["certificate"].as_str()
    }
}

/// One account (or none yet) over one connection.
pub struct Client {
    pub https: Https,
    pub directory: Value,
    pub key: Key,
    pub kid: Option<String>,
    /// Every request and its reply, for those who ask for it.
    pub record: Option<Vec<(Vec<u8>, Reply)>>,
    nonce: Option<String>,
}

impl Client {
    /// A client with a new key and no account.
    pub fn new(server: &Server) -> Self {
        Self::at(server, &server.directory())
    }

    /// As [`Client::new`], at a directory of the caller's.
    pub fn at(server: &Server, directory: &str) -> Self {
        let mut https = server.https();
        let directory = https.get(directory).unwrap().json();
        Self { https, directory, key: Key::generate(), kid: None, record: None, nonce: None }
    }

    /// A client with an account.
    pub fn registered(server: &Server) -> Self {
        let mut client = Self::new(server);
        client.register().unwrap();
        client
    }

    /// The same account over a connection of its own.
    pub fn again(&self) -> Self {
        Self {
            https: self.https.another(),
            directory: self.directory.clone(),
            key: self.key.clone(),
            kid: self.kid.clone(),
            record: None,
            nonce: None,
        }
    }

    pub fn endpoint(&self, name: &str) -> String {
        self.directory[name].as_str().unwrap_or_else(|| panic!("no {name} in the directory")).to_owned()
    }

    /// A nonce nobody has used.
    pub fn nonce(&mut self) -> io::Result<String> {
        let url = self.endpoint("newNonce");
        let reply = self.https.send("HEAD", &url, &[], None)?;
        let nonce = reply.header("replay-nonce").ok_or_else(|| io::Error::other("no nonce"))?;
        Ok(nonce.to_owned())
    }

    /// A proper request, ready to be sent or spoilt: by account when there is one.
    pub fn jws(&mut self, url: &str, payload: &str) -> io::Result<Jws> {
        let nonce = match self.nonce.take() {
            Some(nonce) => nonce,
            None => self.nonce()?,
        };
        let mut protected = json!({"alg": self.key.algorithm(), "nonce": nonce, "url": url});
        match &self.kid {
            Some(kid) => protected["kid"] = json!(kid),
            None => protected["jwk"] = self.key.jwk(),
        }
        Ok(Jws { protected, payload: payload.to_owned(), key: self.key.clone() })
    }

    /// Sends a body as it is, once.
    pub fn send(&mut self, url: &str, body: &[u8]) -> io::Result<Reply> {
        let reply = self.https.send("POST", url, &[("Content-Type", JOSE)], Some(body))?;
        self.nonce = reply.header("replay-nonce").map(str::to_owned);
        if let Some(record) = &mut self.record {
            record.push((body.to_owned(), reply.clone()));
        }
        Ok(reply)
    }

    /// Sends a request of this account; a stale nonce is replaced once.
    pub fn post(&mut self, url: &str, payload: &str) -> Result<Reply, Failure> {
        let mut reply = self.post_once(url, payload)?;
        if reply.status == 400 && problem(&reply).1 == "badNonce" {
            reply = self.post_once(url, payload)?;
        }
        if reply.status < 400 { Ok(reply) } else { Err(Failure::Problem(reply)) }
    }

    fn post_once(&mut self, url: &str, payload: &str) -> io::Result<Reply> {
        let body = self.jws(url, payload)?.body();
        self.send(url, &body)
    }

    /// POST-as-GET.
    pub fn fetch(&mut self, url: &str) -> Result<Reply, Failure> {
        self.post(url, "")
    }

    /// A new account, or the one this key has.
    pub fn register(&mut self) -> Result<Reply, Failure> {
        self.kid = None;
        let payload = json!({"termsOfServiceAgreed": true, "contact": ["mailto:test@example.test"]});
        let reply = self.post(&self.endpoint("newAccount"), &payload.to_string())?;
        self.kid = Some(reply.header("location").expect("the account's URL").to_owned());
        Ok(reply)
    }

    pub fn order(&mut self, names: &[&str]) -> Result<Order, Failure> {
        let payload = json!({"identifiers": identifiers(names)});
        let reply = self.post(&self.endpoint("newOrder"), &payload.to_string())?;
        let url = reply.header("location").expect("the order's URL").to_owned();
        Ok(Order { url, object: reply.json() })
    }

    /// Shows control of every name by http-01.
    pub fn authorize(&mut self, web: &Web, order: &Order) -> Result<(), Failure> {
        for url in authorizations(order) {
            let authorization = self.fetch(&url)?.json();
            if authorization["status"] == "valid" {
                continue;
            }
            let challenge = challenge(&authorization, "http-01");
            let token = challenge["token"].as_str().unwrap();
            web.set(token, &format!("{token}.{}", self.key.thumbprint()));
            self.post(challenge["url"].as_str().unwrap(), "{}")?;
            let settled = self.settle(&url, &["pending", "processing"])?;
            if settled["status"] != "valid" {
                return Err(Failure::Stuck(settled.to_string()));
            }
        }
        Ok(())
    }

    /// Asks until the object has left the states in `moving`.
    pub fn settle(&mut self, url: &str, moving: &[&str]) -> Result<Value, Failure> {
        let start = Instant::now();
        loop {
            let object = self.fetch(url)?.json();
            if !moving.iter().any(|status| object["status"] == *status) {
                return Ok(object);
            }
            if start.elapsed() > SETTLE {
                return Err(Failure::Stuck(object.to_string()));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Finalizes with this request and waits for the certificate's URL.
    pub fn finalize(&mut self, order: &Order, csr: &[u8]) -> Result<Order, Failure> {
        let payload = json!({"csr": b64(csr)}).to_string();
        let reply = self.post(order.object["finalize"].as_str().unwrap(), &payload)?;
        let mut object = reply.json();
        if object["status"] == "processing" {
            object = self.settle(&order.url, &["processing"])?;
        }
        if object["status"] != "valid" {
            return Err(Failure::Stuck(object.to_string()));
        }
        Ok(Order { url: order.url.clone(), object })
    }

    /// The whole way, with a key of its own for the certificate.
    pub fn issue(&mut self, web: &Web, names: &[&str]) -> Result<Issued, Failure> {
        let order = self.order(names)?;
        self.authorize(web, &order)?;
        let (key, csr) = csr(names);
        let order = self.finalize(&order, &csr)?;
        let url = order.certificate().expect("the certificate's URL").to_owned();
        let pem = self.fetch(&url)?.text();
        Ok(Issued { order, url, pem, key })
    }

    /// Revokes, signed by this client's account (or bare key).
    pub fn revoke(&mut self, pem: &str, reason: Option<u32>) -> Result<Reply, Failure> {
        let mut payload = json!({"certificate": b64(leaf(pem))});
        if let Some(reason) = reason {
            payload["reason"] = json!(reason);
        }
        self.post(&self.endpoint("revokeCert"), &payload.to_string())
    }
}

/// A certificate and how it was come by.
pub struct Issued {
    pub order: Order,
    pub url: String,
    pub pem: String,
    pub key: Key,
}

/// A stranger without an account who holds only this key.
pub fn bearer(server: &Server, key: Key) -> Client {
    let mut client = Client::new(server);
    client.key = key;
    client
}

/// Names and addresses as ACME identifiers.
pub fn identifiers(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| {
            let kind = if name.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
            json!({"type": kind, "value": name})
        })
        .collect()
}

/// URLs of the order's authorizations.
pub fn authorizations(order: &Order) -> Vec<String> {
    let list = order.object["authorizations"].as_array().expect("authorizations");
    list.iter().map(|url| url.as_str().unwrap().to_owned()).collect()
}

/// The challenge of this type.
pub fn challenge<'a>(authorization: &'a Value, kind: &str) -> &'a Value {
    let list = authorization["challenges"].as_array().expect("challenges");
    list.iter().find(|c| c["type"] == kind).unwrap_or_else(|| panic!("no {kind} in {authorization}"))
}

/// A new key and a request for these names, without a subject.
pub fn csr(names: &[&str]) -> (Key, Vec<u8>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    (Key::from_pkcs8(&pair.serialize_der()), csr_for(names, &pair))
}

/// A request for these names with this key.
pub fn csr_for(names: &[&str], pair: &rcgen::KeyPair) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = rcgen::CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(pair).unwrap().der().to_vec()
}

/// DER of the first certificate.
pub fn leaf(pem: &str) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate").to_vec()
}

/// The identifier of RFC 9773 §4.1, made of the certificate alone.
pub fn id_of(pem: &str) -> String {
    let der = leaf(pem);
    let (_, certificate) = parse_x509_certificate(&der).unwrap();
    let key = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|key| key.0.to_vec()),
        _ => None,
    });
    format!("{}.{}", b64(key.unwrap()), b64(certificate.raw_serial()))
}
