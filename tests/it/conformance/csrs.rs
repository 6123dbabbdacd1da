//! One row per certification request of the corpus in `testdata/csrs`, and what makes two requests one.

use std::fs;
use std::path::Path;

use super::world::World;
use super::{Case, Check::*, Group, Want, case, ok, refused};
use crate::support::https::Reply;

pub const GROUPS: &[Group] = &[
    Group { section: "RFC 2986 §4", cases: KEYS_AND_SIGNATURES },
    Group { section: "RFC 8555 §7.4", cases: NAMES },
    Group { section: "RFC 5280 §4.2", cases: EXTENSIONS },
];

fn read(file: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/csrs/{file}.der"))).unwrap()
}

/// A ready order for these names is finalized with the request in this file.
fn issue(w: &mut World, names: &[&str], file: &str) -> Reply {
    let order = w.ready(names);
    w.finalize(&order, &read(file))
}

/// An order for a.test is finalized with the request in this file, which it refuses.
fn refuse(w: &mut World, file: &str) -> Reply {
    let order = w.for_refusals();
    w.finalize(&order, &read(file))
}

const A: &[&str] = &["a.test"];
const ISSUED: Want = ok(200).and(&[Is("/status", "valid"), Has("/certificate")]);
const BAD: Want = refused(400, "badCSR").and(&[Has("/detail")]);

const KEYS_AND_SIGNATURES: &[Case] = &[
    case("P-256", |w| issue(w, A, "p256"), ISSUED),
    case("P-384", |w| issue(w, A, "p384"), ISSUED),
    case("P-521", |w| issue(w, A, "p521"), ISSUED),
    case("Ed25519", |w| issue(w, A, "ed25519"), ISSUED),
    case("RSA of 2048 bits", |w| issue(w, A, "rsa-2048"), ISSUED),
    case("RSA with SHA-384", |w| issue(w, A, "rsa-2048-sha384"), ISSUED),
    case("RSA with SHA-512", |w| issue(w, A, "rsa-2048-sha512"), ISSUED),
    case("P-256 with SHA-512", |w| issue(w, A, "p256-sha512"), ISSUED),
    case("RSA of 1024 bits", |w| refuse(w, "rsa-1024"), BAD),
    case("RSA with exponent 3", |w| refuse(w, "rsa-2048-e3"), BAD),
    case("RSA with MD5", |w| refuse(w, "rsa-2048-md5"), BAD),
    case("RSA with SHA-1", |w| refuse(w, "rsa-2048-sha1"), BAD),
    case("RSA with a PSS signature", |w| refuse(w, "rsa-2048-pss-signature"), BAD),
    case("an RSA-PSS key", |w| refuse(w, "rsa-pss-key"), BAD),
    case("P-224", |w| refuse(w, "p224"), BAD),
    case("secp256k1", |w| refuse(w, "secp256k1"), BAD),
    case("Ed448", |w| refuse(w, "ed448"), BAD),
    case("P-256 with SHA-1", |w| refuse(w, "p256-sha1"), BAD),
    case("P-256 with SHA-224", |w| refuse(w, "p256-sha224"), BAD),
    case("P-256 with a compressed point", |w| refuse(w, "p256-compressed-point"), BAD),
    case("P-256 with explicit parameters", |w| refuse(w, "p256-explicit-parameters"), BAD),
    case("attributes that mean nothing here", |w| issue(w, A, "attributes"), ISSUED),
];

const NAMES: &[Case] = &[
    case(
        "names and addresses that are not proved yet",
        |w| {
            let order = w.alice.order(&["a.test", "*.b.test", "10.0.0.1", "2001:db8::1"]).unwrap();
            w.finalize(&order, &read("names-dns-ip"))
        },
        refused(403, "orderNotReady"),
    ),
    case("names that the order does not have", |w| refuse(w, "names-dns-ip"), BAD),
    case("the name as the common name alone", |w| issue(w, A, "cn-only"), ISSUED),
    case("the name as the common name too", |w| issue(w, A, "cn-in-san"), ISSUED),
    case("an address as the common name alone", |w| refuse(w, "cn-ip-only"), BAD),
    case("a common name that is not ordered", |w| refuse(w, "cn-not-in-san"), BAD),
    case("a common name outside ASCII", |w| refuse(w, "cn-utf8"), BAD),
    case("two common names", |w| refuse(w, "cn-two"), BAD),
    case("an empty common name and nothing else", |w| refuse(w, "cn-empty-no-san"), BAD),
    case("an organization and no name", |w| refuse(w, "no-names"), BAD),
    case("an e-mail address", |w| refuse(w, "san-email"), BAD),
    case("a URI", |w| refuse(w, "san-uri"), BAD),
    case("an otherName", |w| refuse(w, "san-othername"), BAD),
    case("a directory name", |w| refuse(w, "san-dirname"), BAD),
    case("a registered id", |w| refuse(w, "san-registered-id"), BAD),
    case("an address of five bytes", |w| refuse(w, "san-ip-5-octets"), BAD),
    case("an empty subjectAltName", |w| refuse(w, "san-empty"), BAD),
];

const EXTENSIONS: &[Case] = &[
    case("a request for a CA", |w| refuse(w, "ca-true"), BAD),
    case("a request for no CA", |w| issue(w, A, "ca-false"), ISSUED),
    case("must-staple is not heard", |w| issue(w, A, "must-staple"), ISSUED),
    case("an empty key usage", |w| refuse(w, "key-usage-empty"), BAD),
    case("an empty extended key usage", |w| issue(w, A, "eku-empty"), ISSUED),
    case("an empty authority key identifier", |w| issue(w, A, "aki-empty"), ISSUED),
    case(
        "wishes are not heard: no use but TLS, no CA",
        |w| {
            let done = issue(w, A, "wishes");
            let answer = w.read(done.json()["certificate"].as_str().unwrap());
            let der = crate::support::acme::leaf(&answer.text());
            let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
            let usage = certificate.key_usage().unwrap().unwrap().value;
            assert!(!usage.key_cert_sign() && !usage.crl_sign());
            let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
            assert!(!purposes.any && !purposes.code_signing && purposes.server_auth);
            assert!(certificate.name_constraints().unwrap().is_none());
            assert!(certificate.extensions().iter().all(|e| e.oid.to_id_string() != "1.2.3.4"));
            answer
        },
        ok(200),
    ),
];

/// Every file of the corpus has a row.
#[test]
fn the_corpus_is_all_there() {
    let text = include_str!("csrs.rs");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/csrs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "der") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(text.contains(&format!("\"{name}\"")), "{name} has no row");
        }
    }
}
