//! What is replayed, without a CA.

use serde_json::{Value, json};

use super::*;

#[test]
fn how_far_back() {
    assert_eq!(since("7d"), Ok(Since::Ago(std::time::Duration::from_secs(604_800))));
    assert_eq!(since("1970-01-01T00:00:01Z"), Ok(Since::At(Timestamp::from_secs(1))));
    assert!(since("yesterday").is_err() && since("").is_err() && since("7").is_err());
}

fn replay(policy: &str, more: &[&str], certificates: &[Certificate]) -> (String, String) {
    use clap::Parser;
    let words = ["mayfly", "policy", "what-if", "p.toml"].into_iter().chain(more.iter().copied());
    let cli = crate::cli::Cli::try_parse_from(words).unwrap();
    let crate::cli::Command::Policy(super::super::Args { command: super::super::Command::WhatIf(args) }) =
        cli.command
    else {
        panic!("another command")
    };
    let policy = crate::policy::document::parse(policy, "next").unwrap();
    let mut out = Vec::new();
    let asks = policy.conditions();
    let mut replay = Replay { asks, policy: &policy, args: &args, out: &mut out, tally: Tally::default() };
    for certificate in certificates {
        replay.certificate(certificate).unwrap();
    }
    let told = replay.tally.told("next", Timestamp::EPOCH, args.limit);
    (String::from_utf8(out).unwrap(), told)
}

fn recorded(authority: Option<&str>, profile: Option<&str>, unrecorded: &[&str]) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    Certificate {
        configuration: None,
        serial: "00".repeat(19),
        state: "valid".into(),
        names: vec!["a.test".into()],
        not_before: "2030-01-01T00:00:00Z".into(),
        not_after: "2030-01-02T00:00:00Z".into(),
        issued: "2030-01-01T00:01:00Z".into(),
        key_sha256: String::new(),
        issuer: String::new(),
        door: "acme".into(),
        provisioner: Some("acme".into()),
        account: None,
        order: None,
        profile: profile.map(str::to_owned),
        eab_key: None,
        client_address: None,
        user_agent: None,
        replaces: None,
        replaced_by: None,
        revocation: None,
        authority: authority.map(str::to_owned),
        unrecorded: unrecorded.iter().map(|name| (*name).to_owned()).collect(),
        pem: Some(crate::x509::pem::certificate(params.self_signed(&key).unwrap().der())),
    }
}

/// A verdict is open only if the policy asks for what is not known.
#[test]
fn what_is_not_recorded_leaves_a_verdict_open() {
    let profile = "[[deny]]\ndns = \"a.test\"\nwhen.profile = \"long\"\n";
    let authority = "[[deny]]\ndns = \"a.test\"\nunless.authority = \"dev\"\n";
    let all = [
        recorded(Some("dev"), Some("long"), &[]),
        recorded(Some("dev"), None, &[]),
        recorded(Some("dev"), None, &["profile", "eab_key"]),
        recorded(None, Some("short"), &["eab_key"]),
    ];
    let (out, told) = replay(profile, &[], &all);
    assert!(out.starts_with("would be refused: 0000") && out.lines().count() == 2, "{out}");
    assert!(told.contains("4 issued: 2 still allowed, 1 would be refused"), "{told}");
    assert!(told.contains(", 1 undecidable (profile not recorded)\n"), "{told}");
    assert!(told.contains("1 by DNS name: rule \"deny[0]\" (line 1)"), "{told}");
    let (_, told) = replay(authority, &[], &all);
    assert!(told.contains("4 issued: 3 still allowed, 0 would be refused"), "{told}");
    assert!(told.contains(", 1 undecidable (authority not recorded)\n"), "{told}");
    // Which authority it was of is not known: it is told of, not counted.
    let (_, told) = replay(profile, &["--authority", "dev"], &all);
    assert!(told.contains("3 issued: ") && told.contains("\n  1 by issuers that are no"), "{told}");
    let (out, _) = replay(profile, &["--json"], &all);
    let line: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&line["verdict"], &line["names"][0]), (&json!("would be refused"), &json!("a.test")));
    assert_eq!(line["reasons"][0]["rule"], "rule \"deny[0]\" (line 1)", "{line}");
    let broken = Certificate { pem: Some("x".into()), ..recorded(None, None, &[]) };
    let (_, told) = replay(profile, &[], &[broken]);
    assert!(told.contains(", 1 that do not read"), "{told}");
}
