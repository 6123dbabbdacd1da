//! What OpenSSL, which shares no code with the server, says about an issued certificate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::process::output;
use super::server::Server;

/// Key kinds the tests ask clients for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Ecdsa,
    Rsa,
}

/// An issued certificate in the client's own files: PEM, leaf first.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub chain: std::path::PathBuf,
    pub key: std::path::PathBuf,
}

impl Certificate {
    pub fn new(chain: impl Into<std::path::PathBuf>, key: impl Into<std::path::PathBuf>) -> Self {
        Self { chain: chain.into(), key: key.into() }
    }

    /// The serial number, as OpenSSL prints it.
    pub fn serial(&self) -> String {
        x509(&self.chain, &["-noout", "-serial"]).trim().to_owned()
    }
}

/// Chain, purpose, names, lifetime and key: everything a relying party would look at.
pub fn verify(server: &Server, certificate: &Certificate, names: &[&str], kind: KeyKind) {
    verify_under((&server.root(), &server.intermediate()), certificate, names, kind);
}

/// The same under another root and the issuer below it.
pub fn verify_under(
    (root, issuer): (&Path, &Path),
    certificate: &Certificate,
    names: &[&str],
    kind: KeyKind,
) {
    let Certificate { chain, key } = certificate;
    let said = output(
        Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"])
            .arg(root)
            .arg("-untrusted")
            .arg(issuer)
            .arg(chain),
    );
    assert!(said.trim_end().ends_with(": OK"), "{said}");

    let wanted: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(subject_alternative_names(chain), wanted);

    // 24 hours from now, and neither minutes more nor less, whatever the backdating.
    assert!(expires_within(chain, 24 * 3600 + 60), "lives longer than a day");
    assert!(!expires_within(chain, 24 * 3600 - 600), "lives shorter than a day");

    let public = |args: &[&str], file: &Path| output(Command::new("openssl").args(args).arg(file));
    assert_eq!(
        public(&["x509", "-noout", "-pubkey", "-in"], chain),
        public(&["pkey", "-pubout", "-in"], key),
        "the certificate is for another key"
    );
    let algorithm = match kind {
        KeyKind::Ecdsa => "Public Key Algorithm: id-ecPublicKey",
        KeyKind::Rsa => "Public Key Algorithm: rsaEncryption",
    };
    assert!(x509(chain, &["-noout", "-text"]).contains(algorithm), "not {kind:?}");
}

/// The client was given the intermediate too, and not the root.
pub fn verify_full_chain(chain: &Path) {
    let pem = fs::read_to_string(chain).unwrap();
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2, "{}", chain.display());
}

/// Names and addresses in the certificate.
pub fn subject_alternative_names(chain: &Path) -> BTreeSet<String> {
    x509(chain, &["-noout", "-ext", "subjectAltName"])
        .split([',', '\n'])
        .filter_map(|part| {
            let part = part.trim();
            part.strip_prefix("DNS:").or_else(|| part.strip_prefix("IP Address:"))
        })
        .map(str::to_lowercase)
        .collect()
}

/// The purposes in the certificate, as OpenSSL calls them, comma-separated.
pub fn extended_key_usage(chain: &Path) -> String {
    x509(chain, &["-noout", "-ext", "extendedKeyUsage"]).lines().skip(1).map(str::trim).collect()
}

fn expires_within(chain: &Path, seconds: u32) -> bool {
    !Command::new("openssl")
        .args(["x509", "-noout", "-checkend", &seconds.to_string(), "-in"])
        .arg(chain)
        .output()
        .unwrap()
        .status
        .success()
}

fn x509(chain: &Path, args: &[&str]) -> String {
    output(Command::new("openssl").args(["x509", "-in"]).arg(chain).args(args))
}

/// A key and a request for these names, for clients that bring neither.
pub fn request(dir: &Path, names: &[&str]) -> (std::path::PathBuf, std::path::PathBuf) {
    let (key, csr) = (dir.join("domain.key"), dir.join("domain.csr"));
    let san: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
    output(
        Command::new("openssl")
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/", "-addext", &format!("subjectAltName={}", san.join(","))])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&csr),
    );
    (key, csr)
}
