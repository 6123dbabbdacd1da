//! What others' linters say of the certificates: pkilint for RFC 5280, zlint for that and for the
//! rules of the public web.
//!
//! Every finding of level error is a failure, except for the few that are listed here with the reason
//! why they cannot apply; and one that is listed but never found is a failure too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::clients::{Ask, Challenge, Lego, installed};
use crate::support::openssl::KeyKind;
use crate::support::process::{output, run};
use crate::support::server::Server;

const LIMIT: Duration = Duration::from_secs(60);

/// pkilint's one finding: RFC 5280 §4.2.1.6 leaves wildcards to others, who do allow them (RFC 9525
/// §6.3); pkilint takes them for a mistake unless the rules of the public web are asked for.
const PKILINT_ACCEPTED: &[&str] = &["pkix.invalid_domain_name_syntax"];

/// Rules of the CA/Browser Forum's Baseline Requirements (BR) that a private CA cannot follow, or that
/// would make its certificates say what nobody reads.
pub const ZLINT_ACCEPTED: &[&str] = &[
    // BR 3.2.2.4 and 7.1.4.2.1: names and addresses that are of the Internet; a private CA certifies
    // names and addresses that are not.
    "e_dnsname_not_valid_tld",
    "e_ext_san_contains_reserved_ip",
    // BR 7.1.2.3, 7.1.2.2 and 7.1.2.10.5: the policy identifiers that say under which of the Forum's
    // rules a certificate was issued.
    "e_sub_cert_cert_policy_empty",
    "e_sub_cert_certificate_policies_missing",
    "e_sub_ca_certificate_policies_missing",
    "e_invalid_ca_certificate_policies",
    // BR 7.1.2.3: where to ask an OCSP responder; certificates that live a day are not asked about.
    "e_sub_cert_aia_missing",
    // BR 7.1.2.2: where the root, which is offline, would tell of a revoked intermediate.
    "e_sub_ca_crl_distribution_points_missing",
    // BR 7.1.2.10.2: country and organization of a company that was audited.
    "e_ca_country_name_missing",
    "e_ca_organization_name_missing",
];

/// One certificate alone, as a file of its own.
struct Subject {
    what: &'static str,
    file: PathBuf,
    issuer: PathBuf,
}

/// Leaves as clients get them, for every kind of name, and the CA's own two.
fn subjects(server: &Server) -> Vec<Subject> {
    let dir = server.scratch("linted");
    let alone = |what: &'static str, chain: &Path, issuer: PathBuf| {
        let file = dir.join(format!("{what}.pem"));
        output(Command::new("openssl").args(["x509", "-in"]).arg(chain).arg("-out").arg(&file));
        Subject { what, file, issuer }
    };
    let asks: [(&'static str, &[&str], Challenge, KeyKind); 5] = [
        ("leaf", &["one.test"], Challenge::Http, KeyKind::Ecdsa),
        ("leaf-rsa", &["two.test"], Challenge::Http, KeyKind::Rsa),
        ("wildcard", &["*.wild.test"], Challenge::Dns, KeyKind::Ecdsa),
        ("address", &["127.0.0.1"], Challenge::Http, KeyKind::Ecdsa),
        ("several", &["a.test", "b.deep.test", "127.0.0.1", "c.test"], Challenge::Http, KeyKind::Ecdsa),
    ];
    let lego = Lego::released(server);
    let mut all: Vec<_> = asks
        .into_iter()
        .map(|(what, names, challenge, key)| {
            let issued = lego.issue(Ask::new(names, challenge, key));
            alone(what, &issued.chain, server.intermediate())
        })
        .collect();
    all.push(alone("intermediate", &server.intermediate(), server.root()));
    all.push(alone("root", &server.root(), server.root()));
    all
}

/// The codes of level error or worse. The program ends with the number of findings.
pub fn pkilint(program: &str, files: &[&Path]) -> BTreeSet<String> {
    let mut command = Command::new(installed(&format!("py/bin/{program}")));
    command.args(["lint", "--severity", "ERROR", "--format", "JSON"]).args(files);
    let log = files[0].with_extension(program);
    let done = run(&mut command, &log, LIMIT);
    let said: Value = serde_json::from_str(&done.output).unwrap_or_else(|e| panic!("{e}: {}", done.output));
    let results = said["results"].as_array().unwrap();
    let findings = results.iter().flat_map(|result| result["finding_descriptions"].as_array().unwrap());
    let codes: BTreeSet<_> = findings.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.is_empty(), done.status.success(), "{}", done.output);
    codes
}

/// What is of level error, with what is said of it.
pub fn zlint(file: &Path) -> Vec<(String, Value)> {
    let said: Value =
        serde_json::from_str(&output(Command::new(installed("go/bin/zlint")).arg(file))).unwrap();
    let said = said.as_object().unwrap();
    let of = |level: &'static str| said.iter().filter(move |(_, found)| found["result"] == level);
    assert!(of("pass").count() > 20, "{}: it was looked at", file.display());
    assert_eq!(of("fatal").count(), 0, "{}", file.display());
    of("error").map(|(lint, finding)| (lint.clone(), finding.clone())).collect()
}

#[test]
fn pkilint_finds_no_error() {
    let server = Server::start();
    let mut found = BTreeSet::new();
    for Subject { what, file, issuer } in subjects(&server) {
        let codes = pkilint("lint_pkix_cert", &[&file]);
        if what == "wildcard" {
            found.extend(codes);
        } else {
            assert_eq!(codes, BTreeSet::new(), "{what}");
        }
        assert_eq!(
            pkilint("lint_pkix_signer_signee_cert_chain", &[&issuer, &file]),
            BTreeSet::new(),
            "{what}"
        );
    }
    assert_eq!(found, PKILINT_ACCEPTED.iter().map(|&code| code.to_owned()).collect());
}

#[test]
fn zlint_finds_no_error_that_is_not_the_public_webs() {
    let server = Server::start();
    let mut found = BTreeSet::new();
    for Subject { what, file, .. } in subjects(&server) {
        for (lint, finding) in zlint(&file) {
            assert!(ZLINT_ACCEPTED.contains(&lint.as_str()), "{what}: {lint} {finding}");
            found.insert(lint);
        }
    }
    assert_eq!(found, ZLINT_ACCEPTED.iter().map(|&lint| lint.to_owned()).collect());
}

/// The linters do find what is wrong: here a certificate beside one that did not sign it.
#[test]
fn the_linters_can_fail() {
    let server = Server::start();
    let dir = server.scratch("wrong");
    let leaf = dir.join("leaf.pem");
    fs::copy(server.intermediate(), &leaf).unwrap();
    let codes = pkilint("lint_pkix_signer_signee_cert_chain", &[&leaf, &leaf]);
    assert!(codes.contains("pkix.signature_verification_failed"), "{codes:?}");
}
