//! Hierarchies whose keys are in tokens, and key files that a token or a KMS opens.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::acme::Client;
use super::support::process::output;
use super::support::server::{Server, binary};
use super::support::web::Web;
use super::tokens::Token;

/// `mayfly …` with a token's configuration: whether it succeeded, and what it said.
fn mayfly(token: &Token, arguments: &[&str]) -> (bool, String) {
    let out = token.mayfly().args(arguments).output().unwrap();
    (out.status.success(), String::from_utf8([out.stdout, out.stderr].concat()).unwrap())
}

fn done(token: &Token, arguments: &[&str]) -> String {
    let (good, said) = mayfly(token, arguments);
    assert!(good, "{arguments:?}: {said}");
    said
}

fn verified(ca: &Path, untrusted: Option<&Path>, certificate: &Path) {
    let mut command = Command::new("openssl");
    command.args(["verify", "-CAfile"]).arg(ca);
    if let Some(untrusted) = untrusted {
        command.arg("-untrusted").arg(untrusted);
    }
    output(command.arg(certificate));
}

fn issue(server: &Server, name: &str) {
    let web = Web::start(server.http_port);
    let issued = Client::registered(server).issue(&web, &[name]).unwrap();
    let leaf = server.scratch("verify").join(format!("{name}.pem"));
    fs::write(&leaf, issued.pem).unwrap();
    verified(&server.root(), Some(&leaf), &leaf);
}

/// The company case: the root is a file on a machine of its own, the issuing key is made in the HSM and
/// stays there; and the server that takes over issues under that root.
#[test]
fn an_offline_root_in_a_file_and_the_issuing_key_in_the_token() {
    let token = Token::new();
    token.made("issuer", "ec-p256");
    let uri = token.uri("issuer");
    let at = |name: &str| token.path(name).display().to_string();
    let (root, ca, certificate) = (at("root"), at("ca"), at("intermediate.crt"));
    done(&token, &["ca", "create-root", "--dir", &root, "--name", "Corp Root CA"]);
    let said = done(
        &token,
        &["ca", "create-intermediate", "--dir", &ca, "--name", "Corp Issuing CA", "--key", &uri],
    );
    assert!(said.contains("--key 'pkcs11:token=Team%20CA;object=issuer"), "{said}");
    assert!(!token.path("ca/secrets/intermediate_ca_key").exists());
    let csr = at("ca/intermediate_ca.csr");
    done(&token, &["ca", "sign-intermediate", "--dir", &root, "--csr", &csr, "--out", &certificate]);
    let root_certificate = at("root/certs/root_ca.crt");
    let import = [
        "ca",
        "import-intermediate",
        "--dir",
        &ca,
        "--certificate",
        &certificate,
        "--root",
        &root_certificate,
    ];
    let (good, said) = mayfly(&token, &import);
    assert!(!good && said.contains("intermediate_ca_key is not there"), "{said}");
    let said = done(&token, &[&import[..], &["--key", &uri]].concat());
    assert!(said.contains("key = \"pkcs11:token=Team%20CA;object=issuer"), "{said}");

    let mut server = token.ca(&uri, &[]);
    fs::copy(token.path("ca/certs/root_ca.crt"), server.root()).unwrap();
    fs::copy(token.path("ca/certs/intermediate_ca.crt"), server.intermediate()).unwrap();
    server.serve();
    issue(&server, "company.test");
    server.stop();
}

#[test]
fn a_root_in_the_token_signs_and_cross_signs() {
    let token = Token::new();
    token.made("root", "ec-p384");
    token.made("other", "ec-p384");
    let (uri, other) = (token.uri("root"), token.uri("other"));
    let at = |name: &str| token.path(name).display().to_string();
    let (root, new, ca) = (at("root"), at("new"), at("ca"));
    done(&token, &["ca", "create-root", "--dir", &root, "--name", "Token Root", "--key", &uri]);
    done(&token, &["ca", "create-root", "--dir", &new, "--name", "New Root"]);
    let step = ["ca", "create-intermediate", "--dir", &ca, "--name", "Below", "--root-dir", &root];
    let (good, said) = mayfly(&token, &[&step[..], &["--root-key", &other]].concat());
    assert!(!good && said.contains("does not belong to"), "{said}");
    done(&token, &[&step[..], &["--root-key", &uri]].concat());
    let root_certificate = token.path("root/certs/root_ca.crt");
    verified(&root_certificate, None, &token.path("ca/certs/intermediate_ca.crt"));

    let (new_certificate, cross) = (at("new/certs/root_ca.crt"), at("cross.crt"));
    let cross_sign = ["ca", "cross-sign", "--dir", &root, "--certificate", &new_certificate, "--out", &cross];
    done(&token, &[&cross_sign[..], &["--key", &uri]].concat());
    verified(&root_certificate, None, Path::new(&cross));
}

/// A key file that opens where the token is, unattended, and nowhere else.
#[test]
fn a_key_file_sealed_by_a_token() {
    let token = Token::new();
    let uri = token.uri("seal");
    let (good, said) = token.key(&["generate", &uri, "--for-sealing"]);
    assert!(!good && said.contains("rsa-2048"), "{said}");
    let (good, said) = token.key(&["generate", &uri, "--for-sealing", "--kind", "rsa-2048"]);
    assert!(good, "{said}");
    token.made("signs", "rsa-2048");
    let conf = token.path("conf");
    let mut server = Server::init_with(&[], &[("SOFTHSM2_CONF", conf.to_str().unwrap())], |config| {
        let authority = super::support::server::section(config, "authority");
        authority.insert("key".into(), "secrets/sealed".into());
    });
    let (file, sealed) =
        (server.dir().join("secrets/intermediate_ca_key"), server.dir().join("secrets/sealed"));
    let (file_text, sealed_text) = (file.to_str().unwrap(), sealed.to_str().unwrap());
    let seal = |with: &str| token.key(&["seal", file_text, "--with", with, "--out", sealed_text]);
    let (good, said) = seal(&token.uri("signs"));
    assert!(!good && !sealed.exists(), "a key that only signs seals nothing: {said}");
    let (good, said) = seal(&uri);
    assert!(good && said.contains("opened again"), "{said}");
    let (good, said) = seal(&uri);
    assert!(!good && said.contains("exists"), "{said}");
    assert_eq!(token.key(&["show", file_text]), token.key(&["show", sealed_text]));
    fs::remove_file(&file).unwrap();
    for name in ["first.test", "second.test"] {
        server.serve();
        issue(&server, name);
        server.stop();
    }

    // Another key under the same name, and none.
    let check = || mayfly(&token, &["check-config", server.config().to_str().unwrap()]);
    assert!(check().0, "{}", check().1);
    for class in ["privkey", "pubkey"] {
        token.tool(&["--delete-object", "--type", class, "--label", "seal"]);
    }
    let (good, said) = check();
    assert!(!good && said.contains("no private key with object=\"seal\""), "{said}");
    assert!(said.contains("is sealed by pkcs11:") && said.contains("mayfly key seal"), "{said}");
    let (good, said) = token.key(&["generate", &uri, "--for-sealing", "--kind", "rsa-2048"]);
    assert!(good, "{said}");
    let (good, said) = check();
    assert!(!good && said.contains("is sealed by pkcs11:") && !said.contains("panicked"), "{said}");
    // Elsewhere.
    let out = Command::new(binary()).args(["key", "show", sealed_text]).output().unwrap();
    assert!(!out.status.success());
}
