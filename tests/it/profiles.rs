//! Profiles that say much, with the real binary: what others' linters and readers make of every one.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::linters::{ZLINT_ACCEPTED, pkilint, zlint};
use crate::support::acme::{Client, Order, csr_for, identifiers};
use crate::support::process::output;
use crate::support::server::{Server, provisioner};
use crate::support::web::Web;

/// Every profile, and the object identifiers and texts that OpenSSL shows of its certificates.
const PROFILES: &str = r#"
[server]
usages = ["serverAuth"]

[client]
usages = ["clientAuth"]

[both]

[spiffe]
usages = ["serverAuth", "clientAuth"]
uris = ["spiffe://example.internal/ns/{{ provisioner }}/sa/{{ name }}"]

[uri]
uris = ["https://example.internal/of/{{ account }}"]

[email]
usages = ["emailProtection"]
emails = ["{{ profile }}@{{ name }}"]
key_usage = ["digitalSignature", "nonRepudiation"]

[code]
usages = ["codeSigning"]
subject = { organization = "Example", common_name = "Example release signing" }

[stamp]
usages = ["timeStamping"]

[long]
default_ttl = "90d"
max_ttl = "90d"
backdate = "5m"

[subject]
[subject.subject]
country = "DE"
province = "Bayern"
locality = "München"
organization = "Beispiel, O=Other"
organizational_unit = "{{ account }}"
common_name = "{{ name }}"
serial_number = "A-{{ names | length }}"

[extension]
usages = ["clientAuth", "1.3.6.1.4.1.32473.5"]
[[extension.extensions]]
oid = "1.3.6.1.4.1.32473.1"
utf8 = "{{ account }} at {{ time }}"
[[extension.extensions]]
oid = "1.3.6.1.5.5.7.1.24"
hex = "3003020105"
"#;

/// By profile: what OpenSSL shows.
const SHOWN: &[(&str, &[&str])] = &[
    ("server", &["Subject: \n", "TLS Web Server Authentication\n", "Alternative Name: critical"]),
    ("client", &["TLS Web Client Authentication\n"]),
    ("both", &["TLS Web Server Authentication, TLS Web Client Authentication\n"]),
    ("spiffe", &["DNS:one.test, URI:spiffe://example.internal/ns/acme/sa/one.test\n"]),
    ("uri", &["URI:https://example.internal/of/"]),
    ("email", &["DNS:one.test, email:email@one.test\n", "E-mail Protection\n", "Non Repudiation\n"]),
    ("code", &["Code Signing\n", "O = Example, CN = Example release signing\n", "Alternative Name: \n"]),
    ("stamp", &["Extended Key Usage: critical\n", "Time Stamping\n"]),
    ("long", &["TLS Web Server Authentication"]),
    (
        "subject",
        &[
            "C = DE, ST = Bayern, L = M\\C3\\BCnchen, O = \"Beispiel, O=Other\"",
            "CN = one.test, serialNumber = A-1\n",
        ],
    ),
    ("extension", &["1.3.6.1.4.1.32473.1:", "1.3.6.1.4.1.32473.5\n", "status_request\n"]),
];

fn server() -> Server {
    Server::start_with(|config| {
        provisioner(config).insert("profiles".into(), PROFILES.parse::<toml::Table>().unwrap().into());
    })
}

struct Stand {
    server: Server,
    web: Web,
    client: Client,
}

impl Stand {
    fn new() -> Self {
        let server = server();
        let web = Web::start(server.http_port);
        let client = Client::registered(&server);
        Self { server, web, client }
    }

    /// The certificate of a profile, alone in a file.
    fn issue(&mut self, profile: &str, key: &rcgen::KeyPair, what: &str) -> PathBuf {
        let order = ready(&mut self.client, &self.web, profile);
        let done = self.client.finalize(&order, &csr_for(&["one.test"], key)).unwrap();
        let pem = self.client.fetch(done.certificate().unwrap()).unwrap().text();
        let dir = self.server.scratch("profiles");
        let (chain, alone) = (dir.join("chain.pem"), dir.join(format!("{profile}-{what}.pem")));
        fs::write(&chain, pem).unwrap();
        output(Command::new("openssl").args(["x509", "-in"]).arg(&chain).arg("-out").arg(&alone));
        alone
    }
}

/// An order of that profile, proved.
fn ready(client: &mut Client, web: &Web, profile: &str) -> Order {
    let payload = json!({"identifiers": identifiers(&["one.test"]), "profile": profile});
    let reply = client.post(&client.endpoint("newOrder"), &payload.to_string()).unwrap();
    let order = Order { url: reply.header("location").unwrap().to_owned(), object: reply.json() };
    client.authorize(web, &order).unwrap();
    order
}

fn keys() -> [(&'static str, rcgen::KeyPair); 5] {
    [
        ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("p521", &rcgen::PKCS_ECDSA_P521_SHA512),
        ("ed25519", &rcgen::PKCS_ED25519),
        ("rsa", &rcgen::PKCS_RSA_SHA256),
    ]
    .map(|(what, algorithm)| (what, rcgen::KeyPair::generate_for(algorithm).unwrap()))
}

#[test]
fn what_a_profile_says_is_what_openssl_reads() {
    let mut stand = Stand::new();
    let (_, key) = &keys()[0];
    let told: BTreeSet<&str> = SHOWN.iter().map(|(profile, _)| *profile).collect();
    let table: toml::Table = PROFILES.parse().unwrap();
    assert_eq!(told, table.keys().map(String::as_str).collect(), "every profile is looked at");
    for (profile, parts) in SHOWN {
        let file = stand.issue(profile, key, "p256");
        let text = output(Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&file));
        for part in *parts {
            assert!(text.contains(part), "{profile}: {part:?} is not in {text}");
        }
        // RFC 9608: what lives a week at most is not asked about.
        let short = text.contains("2.5.29.56") || text.contains("No Revocation Available");
        assert_eq!(short, *profile != "long", "{profile}: {text}");
        let mut verify = Command::new("openssl");
        verify.args(["verify", "-x509_strict", "-CAfile"]).arg(stand.server.root());
        output(verify.arg("-untrusted").arg(stand.server.intermediate()).arg(&file));
    }
}

/// pkilint knows the schemes of the web only, and so no SPIFFE ID.
const PKILINT_ACCEPTED: (&str, &str) = ("spiffe", "pkix.invalid_uri_syntax");

/// Rules of the public web's Baseline Requirements besides those of [`ZLINT_ACCEPTED`].
const PROFILES_ACCEPTED: &[&str] = &[
    // BR 7.1.3.1: keys of RSA and the NIST curves only, no Ed25519.
    "e_algorithm_identifier_improper_encoding",
    // BR 7.1.2.7.12 and 7.1.4: no URIs among the names, no organizational unit.
    "e_ext_san_uniform_resource_identifier_present",
    "e_organizational_unit_name_prohibited",
    // The rules for public S/MIME: their policy identifiers, and a revocation list, which noRevAvail
    // rules out (RFC 9608 §4).
    "e_exactly_one_smime_policy",
    "e_missing_crl_distrib_point",
];

#[test]
fn linters_find_no_error_in_any_profile() {
    let mut stand = Stand::new();
    let keys = keys();
    let intermediate = stand.server.intermediate();
    let mut found = BTreeSet::new();
    for (profile, _) in SHOWN {
        // Each profile with one kind of key, and one with each.
        let count = if *profile == "subject" { keys.len() } else { 1 };
        for (what, key) in &keys[..count] {
            let file = stand.issue(profile, key, what);
            let (special, code) = PKILINT_ACCEPTED;
            let wanted = BTreeSet::from_iter((special == *profile).then(|| code.to_owned()));
            assert_eq!(pkilint("lint_pkix_cert", &[&file]), wanted, "{profile} {what}");
            let chain = pkilint("lint_pkix_signer_signee_cert_chain", &[&intermediate, &file]);
            assert_eq!(chain, BTreeSet::new(), "{profile} {what}");
            let lints = zlint(&file).into_iter().map(|(lint, _)| lint);
            found.extend(lints.filter(|lint| !ZLINT_ACCEPTED.contains(&lint.as_str())));
        }
    }
    assert_eq!(found, PROFILES_ACCEPTED.iter().map(|&lint| lint.to_owned()).collect());
}

#[test]
fn a_csr_asks_for_no_more_than_the_order() {
    let mut stand = Stand::new();
    let order = ready(&mut stand.client, &stand.web, "spiffe");
    let uri = rcgen::SanType::URI("spiffe://example.internal/root".try_into().unwrap());
    let mailbox = rcgen::SanType::Rfc822Name("boss@one.test".try_into().unwrap());
    for (extra, kind) in [(uri, "uniformResourceIdentifier"), (mailbox, "rfc822Name")] {
        let mut params = rcgen::CertificateParams::new(vec!["one.test".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names.push(extra);
        let csr = params.serialize_request(&keys()[0].1).unwrap();
        let failed = stand.client.finalize(&order, csr.der()).expect_err("a refusal");
        let (status, problem) = failed.problem();
        assert_eq!((status, problem.as_str()), (400, "badCSR"), "{kind}");
    }
}

#[test]
fn a_template_that_cannot_be_filled_in_is_a_refusal() {
    let server = Server::start_with(|config| {
        let profiles = "[team]\nsubject = { organization = \"{{ eab.label }}\" }\n";
        provisioner(config).insert("profiles".into(), profiles.parse::<toml::Table>().unwrap().into());
    });
    let web = Web::start(server.http_port);
    let mut client = Client::registered(&server);
    let order = ready(&mut client, &web, "team");
    let failed = client.finalize(&order, &csr_for(&["one.test"], &keys()[0].1)).expect_err("a refusal");
    assert_eq!(failed.problem().0, 403);
}
