//! The targets: one function each, and what must hold of whatever it accepts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use crate::acme::identifier::Identifier;
use crate::config;
use crate::jose::jwk::Jwk;
use crate::jose::jws::{KeyRef, Unverified};
use crate::jose::{base64url, from_base64url};
use crate::validation::fuzz as answers;
use crate::x509::csr::Csr;

/// One target.
pub(super) struct Target {
    /// Its directory in `testdata/fuzz`.
    pub(super) name: &'static str,
    /// Other directories whose files are inputs too.
    pub(super) also: &'static [&'static str],
    /// What its inputs are made of.
    pub(super) words: &'static [&'static str],
    /// Whether the input is accepted.
    pub(super) run: fn(&[u8]) -> bool,
    /// Inputs to begin from, by name.
    pub(super) seeds: fn() -> Vec<(String, Vec<u8>)>,
}

const HEADER_WORDS: &[&str] = &[
    "\"alg\":",
    "\"nonce\":",
    "\"url\":",
    "\"kid\":",
    "\"jwk\":",
    "\"crit\":",
    "\"b64\":false",
    "\"ES256\"",
    "\"none\"",
    "\"HS256\"",
    "\"RS256\"",
    "\"EdDSA\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "1e999",
    "\\u0000",
    "\\ud800",
    "\"kty\":\"RSA\"",
    "\"d\":\"AQAB\"",
];

pub(super) static JWS: Target = Target {
    name: "jws",
    also: &[],
    words: &[
        "\"protected\":",
        "\"payload\":",
        "\"signature\":",
        "\"header\":{}",
        "\"signatures\":[]",
        "{",
        "}",
        "\"",
        "=",
        ".",
        "\\u0061",
        "null",
    ],
    run: envelope,
    seeds: || {
        let headers = header_seeds();
        headers.into_iter().map(|(name, header)| (name, sealed(&header))).collect()
    },
};

pub(super) static JWS_HEADER: Target = Target {
    name: "jws-header",
    also: &[],
    words: HEADER_WORDS,
    run: |header| envelope(&sealed(header)),
    seeds: header_seeds,
};

/// An envelope around this protected header.
fn sealed(header: &[u8]) -> Vec<u8> {
    let (protected, payload, signature) = (base64url(header), base64url(b"{}"), base64url(&[1; 64]));
    format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#).into_bytes()
}

fn envelope(body: &[u8]) -> bool {
    let Ok(parsed) = Unverified::parse(body) else { return false };
    // A second opinion, of a reader that is not ours.
    let outer: Value = serde_json::from_slice(body).expect("an accepted envelope is JSON");
    let members = outer.as_object().expect("an object");
    assert_eq!(members.len(), 3, "members that nobody has looked at");
    let header = from_base64url(members["protected"].as_str().unwrap()).unwrap();
    let Ok(header) = serde_json::from_slice::<Value>(&header) else {
        // Numbers beyond all bounds and the like, in members that are skipped.
        return true;
    };
    assert_eq!(header["url"], parsed.url);
    assert_eq!(header["nonce"].as_str(), parsed.nonce.as_deref());
    assert!(header.get("crit").is_none() && header.get("b64").is_none(), "an extension passes");
    match &parsed.key {
        KeyRef::Kid(kid) => assert!(header["kid"] == **kid && header.get("jwk").is_none_or(Value::is_null)),
        KeyRef::Jwk(unparsed) => {
            assert!(header.get("kid").is_none_or(Value::is_null), "both");
            if let Ok(key) = unparsed.parse() {
                // One key, one text, one thumbprint.
                let again = Jwk::parse(&key.to_json()).expect("what is printed is read");
                assert!(again == key && again.thumbprint().0 == key.thumbprint().0);
                assert!(parsed.signed.clone().verify(&key).is_none(), "nobody has signed this");
            }
        }
    }
    true
}

fn header_seeds() -> Vec<(String, Vec<u8>)> {
    let named = |name: &str, text: String| (name.to_owned(), text.into_bytes());
    let (p256, p384) = (
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        {
            let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
            let spki = crate::x509::spki::Spki::parse(&rcgen::PublicKeyData::subject_public_key_info(&pair))
                .unwrap();
            Jwk::from_key(spki.key().clone()).unwrap().to_json()
        },
    );
    let ed25519 = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB"}"#;
    let with = |alg: &str, key: &str| {
        format!(
            r#"{{"alg":"{alg}","nonce":"AAAAAAAAAAAAAAAAAAAAAA","url":"https://ca.test/acme/acme/new-account","jwk":{key}}}"#
        )
    };
    vec![
        named("kid", r#"{"alg":"ES256","kid":"https://ca.test/acme/acme/account/1","nonce":"oFvnlFP1wIhRlYS2jTaXbA","url":"https://ca.test/acme/acme/new-order"}"#.into()),
        named("inner", format!(r#"{{"alg":"ES256","jwk":{p256},"url":"https://ca.test/acme/acme/key-change"}}"#)),
        named("p256", with("ES256", p256)),
        named("p384", with("ES384", &p384)),
        named("ed25519", with("EdDSA", ed25519)),
        named("rsa", with("RS256", rsa)),
        named("more", r#"{"alg":"ES256","typ":"JWT","x5c":["AAAA"],"x":{"y":[1,2.5e3,null,true]},"kid":"k","url":"u"}"#.into()),
    ]
}

/// The corpus of requests.
static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| super::corpus(&CSR).into_iter().collect());

pub(super) static CSR: Target = Target {
    name: "csr",
    also: &["testdata/csrs"],
    words: &[
        "\x06\x03\x55\x1d\x11",
        "\x06\x03\x55\x04\x03",
        "\x30\x00",
        "\x31\x00",
        "\x01\x01\x7f",
        "\x03\x01\x00",
        "\x05\x00",
        "a.test",
    ],
    run: |der| {
        let Ok(csr) = Csr::parse(der) else { return false };
        assert_eq!(csr.der(), der);
        assert!(!csr.names().is_empty(), "a request for nothing");
        // Nobody can sign what the corpus does not hold, so nothing else may be accepted.
        assert!(SIGNED.contains(der), "a request that its key has not signed");
        let again = Csr::parse(csr.der()).expect("what was accepted is accepted");
        assert!(again.names() == csr.names() && again.key() == csr.key());
        true
    },
    seeds: || {
        let mut params =
            rcgen::CertificateParams::new(vec!["a.test".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let request = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
        vec![("names".to_owned(), request.der().to_vec())]
    },
};

pub(super) static IDENTIFIER: Target = Target {
    name: "identifier",
    also: &[],
    words: &[
        "*.", ".", "-", "--", "xn--", "::", "::ffff:", "0x", "%", "[", "/", "\0", "é", "\u{3002}", "255",
        "ip ", "dns ",
    ],
    // The type, a space, the value.
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let (kind, value) = text.split_once(' ').unwrap_or(("dns", text));
        let Ok(identifier) = Identifier::parse(kind, value) else { return false };
        let printed = identifier.order_value();
        assert_eq!(Identifier::parse(identifier.kind(), &printed).as_ref(), Ok(&identifier), "{printed}");
        assert!(printed.eq_ignore_ascii_case(value), "{value} has become {printed}");
        match &identifier {
            Identifier::Dns(name) | Identifier::Wildcard(name) => {
                let name = name.as_str();
                assert!(printed.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())));
                assert!(
                    name.bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
                );
                assert!(name.parse::<std::net::IpAddr>().is_err(), "{name}");
                // What a URL parser makes of it is a name as well, and the same.
                match url::Host::parse(name) {
                    Ok(url::Host::Domain(same)) => assert_eq!(same, name),
                    Ok(other) => panic!("{name} is read as {other:?}"),
                    // An A-label that decodes to nothing; nobody resolves it.
                    Err(_) => assert!(name.contains("xn--"), "{name}"),
                }
            }
            Identifier::Ip(ip) => assert_eq!(ip.to_string(), *printed),
            Identifier::Permanent(device) => {
                assert!(!device.value().is_empty() && !printed.chars().any(char::is_control), "{printed:?}");
            }
        }
        true
    },
    seeds: || {
        let texts = [
            "dns example.test",
            "dns *.example.test",
            "dns XN--bcher-kva.test",
            "dns localhost",
            "dns a.0xg",
            "ip 10.0.0.1",
            "ip 2001:db8::1",
            "ip ::",
            "ip ::ffff:10.0.0.1",
            "dns 10.0.0.1",
            "email a@a.test",
            "dns a-b.c--d.test",
        ];
        texts.iter().enumerate().map(|(n, text)| (format!("text-{n}"), text.as_bytes().to_vec())).collect()
    },
};

pub(super) static HTTP01: Target = Target {
    name: "http01",
    also: &[],
    words: &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 302 x\r\n",
        "\r\n",
        "\r\n\r\n",
        "Location: ",
        "http://",
        "https://",
        "//",
        "..",
        "@",
        ":80",
        ":5002",
        "#",
        "?",
        "\\",
        "Content-Length: 99999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "ffffffffffffffff\r\n",
        "0\r\n\r\n",
    ],
    run: answers::http01_answer,
    seeds: || answers::seeds("http01"),
};

pub(super) static TLS_ALPN: Target = Target {
    name: "tls-alpn",
    also: &[],
    words: &[
        "\x06\x03\x55\x1d\x11",
        "\x2b\x06\x01\x05\x05\x07\x01\x1f",
        "\x04\x20",
        "\x30\x00",
        "\x01\x01\x7f",
        "a.test",
        "b.test",
    ],
    run: answers::tls_alpn01_certificate,
    seeds: || answers::seeds("tls-alpn"),
};

pub(super) static DNS: Target = Target {
    name: "dns",
    also: &[],
    words: &[
        "\x0f_acme-challenge\x01a\x04test\x00",
        "\x00\x10\x00\x01",
        "\x00\x05\x00\x01",
        "\x01b\x04test\x00",
        "\x00\x00",
    ],
    run: answers::dns_answer,
    seeds: || answers::seeds("dns"),
};

pub(super) static CONFIG: Target = Target {
    name: "config",
    also: &["config"],
    words: &[
        "[server]\n",
        "[[provisioner]]\n",
        "[limits]\n",
        "= 0\n",
        "= \"0s\"\n",
        "= -1\n",
        "= 99999999999999999999\n",
        "= []\n",
        "= {}\n",
        "= true\n",
        "\"\"",
        "'''",
        "\n",
        "inf",
        "\"1w\"",
        "\"10.0.0.0/33\"",
    ],
    run: |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        let report = config::parse(text, Path::new("/etc/mayfly"));
        let file = Path::new("mayfly.toml");
        assert!(report.notes.iter().all(|note| !note.render(file).is_empty()));
        match report.settings {
            Err(problems) => {
                assert!(!problems.is_empty(), "refused, and nobody says why");
                assert!(problems.iter().all(|problem| !problem.render(file).is_empty()));
                false
            }
            Ok(settings) => {
                // Zero never means that there is no limit.
                let server = &settings.server;
                assert!(server.max_body >= 4096 && server.max_requests > 0 && server.max_connections > 0);
                assert!(!server.request_timeout.is_zero() && !settings.validation.timeout.is_zero());
                assert!(settings.validation.attempts > 0 && !settings.provisioners.is_empty());
                for config::settings::Provisioner::Acme(terms) in &settings.provisioners {
                    assert!(
                        terms.max_names > 0 && !terms.challenges.is_empty() && !terms.order_ttl.is_zero()
                    );
                    let life = terms.lifetimes;
                    assert!(!life.min.is_zero() && life.min <= life.default && life.default <= life.max);
                }
                true
            }
        }
    },
    seeds: || {
        let least = "[server]\naddress = \"127.0.0.1:9443\"\ndns_names = [\"ca.test\", \"10.0.0.1\"]\n\n[[provisioner]]\ntype = \"acme\"\nname = \"acme\"\n";
        let more = "challenges = [\"dns-01\"]\nallow_names = [\"*.a.test\", \"10.0.0.0/8\"]\ndeny_names = [\"b.a.test\"]\nmax_names = 7\ndefault_ttl = \"12h\"\nwildcards = false\n[validation]\ntimeout = \"3s\"\nattempts = 2\nallow = [\"127.0.0.0/8\"]\n[log]\nlevel = \"warn\"\nformat = \"json\"\n";
        vec![
            ("least".to_owned(), least.as_bytes().to_vec()),
            ("more".to_owned(), format!("{least}{more}").into_bytes()),
        ]
    },
};
