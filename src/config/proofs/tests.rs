use std::path::Path;

use super::super::parse;
use super::super::settings::{Provisioner, Settings};
use crate::acme::challenge::ChallengeKind;
use crate::provisioner::acme::Terms;
use crate::provisioner::outward::Outward;

const SERVER: &str = "[server]\naddress = \"127.0.0.1:9443\"\ndns_names = [\"10.0.0.1\", \"ca.test\"]\n";

fn with(lines: &str) -> String {
    format!("{SERVER}[[provisioner]]\ntype = \"acme\"\nname = \"acme\"\n{lines}\n")
}

fn terms(text: &str) -> Terms {
    let settings: Settings =
        parse(text, Path::new(".")).settings.unwrap_or_else(|p| panic!("{text}: {p:#?}"));
    let [Provisioner::Acme(terms)] = settings.provisioners.as_slice() else { panic!("{text}") };
    terms.clone()
}

#[test]
fn names_of_the_ca() {
    const PERSIST: &str = "challenges = [\"dns-persist-01\"]\n";
    // What is set, the issuer domains, whether CAA is checked, its identities.
    let rows: &[(&str, &[&str], bool, &[&str])] = &[
        ("", &["ca.test"], false, &["ca.test"]),
        ("caa = false", &["ca.test"], false, &["ca.test"]),
        ("caa = true", &["ca.test"], true, &["ca.test"]),
        ("caa = true\ncaa_identities = [\"CA.example\"]", &["ca.example"], true, &["ca.example"]),
        (
            "issuer_domains = [\"CA.example\", \"b.test\"]",
            &["ca.example", "b.test"],
            false,
            &["ca.example", "b.test"],
        ),
        (
            "caa = true\nissuer_domains = [\"a.test\"]\ncaa_identities = [\"b.test\", \"a.test\"]",
            &["a.test"],
            true,
            &["b.test", "a.test"],
        ),
    ];
    for (lines, domains, caa, identities) in rows {
        let terms = terms(&with(&format!("{PERSIST}{lines}")));
        assert_eq!(
            (terms.issuer_domains.as_slice(), terms.caa),
            (&domains.map_to_owned()[..], *caa),
            "{lines}"
        );
        assert_eq!(terms.caa_identities, identities.map_to_owned(), "{lines}");
    }
}

trait MapToOwned {
    fn map_to_owned(&self) -> Vec<String>;
}

impl MapToOwned for &[&str] {
    fn map_to_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn bad_names_of_the_ca() {
    let persist = |lines: &str| with(&format!("challenges = [\"dns-persist-01\"]\n{lines}"));
    let many = (0..11).map(|n| format!("\"ca{n}.test\"")).collect::<Vec<_>>().join(", ");
    let nameless = |text: String| text.replace(", \"ca.test\"", "");
    let rows = [
        (persist("issuer_domains = []"), "issuer_domains", "is empty"),
        (persist("issuer_domains = \"ca.test\""), "issuer_domains", "is a string"),
        (persist("issuer_domains = [\"ca.test\", \"CA.test\"]"), "issuer_domains[1]", "twice"),
        (persist("issuer_domains = [\"ca.test.\"]"), "issuer_domains[0]", "dot"),
        (persist("issuer_domains = [\"*.ca.test\"]"), "issuer_domains[0]", "wildcard"),
        (persist("issuer_domains = [\"10.0.0.1\"]"), "issuer_domains[0]", "IP address"),
        (persist("issuer_domains = [1]"), "issuer_domains[0]", "integer"),
        (persist(&format!("issuer_domains = [{many}]")), "issuer_domains", "at most 10"),
        (with("caa = true\ncaa_identities = []"), "caa_identities", "is empty"),
        (with("caa = \"yes\""), "caa", "true or false"),
        (nameless(persist("")), "issuer_domains", "addresses only"),
        (nameless(with("caa = true")), "caa_identities", "addresses only"),
        (
            persist("caa = true\nissuer_domains = [\"a.test\"]\ncaa_identities = [\"b.test\"]"),
            "issuer_domains",
            "a.test must be in caa_identities",
        ),
    ];
    for (text, key, message) in rows {
        let problems = parse(&text, Path::new(".")).settings.expect_err(&text);
        assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
        assert_eq!(problems[0].key, format!("provisioner[0].{key}"), "{text}");
        assert!(problems[0].message.contains(message) && problems[0].line.is_some(), "{text}: {problems:#?}");
    }
    let rows = [
        ("issuer_domains = [\"a.test\"]", "dns-persist-01 is not among"),
        ("caa_identities = [\"a.test\"]", "without `caa = true`"),
    ];
    for (line, message) in rows {
        let notes = parse(&with(line), Path::new(".")).notes;
        assert_eq!(notes.len(), 1, "{line}: {notes:#?}");
        assert!(notes[0].message.contains(message), "{notes:#?}");
    }
}

/// Clients that cannot read a challenge without a token have read the others by then.
#[test]
fn a_challenge_without_a_token_is_offered_last_and_only_if_listed() {
    use ChallengeKind::*;
    assert_eq!(terms(&with("")).challenges, [Http01, Dns01, TlsAlpn01]);
    let listed = terms(&with("challenges = [\"dns-persist-01\", \"dns-account-01\", \"http-01\"]"));
    assert_eq!(listed.challenges, [DnsAccount01, Http01, DnsPersist01]);
    for (kind, wildcards) in ChallengeKind::TABLE.iter().zip([false, true, false, true, true]) {
        let report = parse(&with(&format!("challenges = [\"{}\"]", kind.1)), Path::new("."));
        assert_eq!(report.notes.is_empty(), wildcards, "{}: {:#?}", kind.1, report.notes);
    }
}

#[test]
fn validation_of_one_provisioner() {
    let of = |lines: &str| terms(&with(&format!("[provisioner.validation]\n{lines}"))).outward;
    assert_eq!(terms(&with("")).outward, Outward::default());
    assert_eq!(of(""), Outward::default());
    assert_eq!(of("resolvers = [\"10.0.0.53:53\"]").resolvers, Some(vec!["10.0.0.53:53".parse().unwrap()]));
    assert_eq!(of("resolvers = []").resolvers, Some(Vec::new()), "the system's, whatever the server has");
    let ports = of("http_port = 8080\ntls_alpn_port = 8443");
    assert_eq!((ports.http_port, ports.tls_alpn_port), (Some(8080), Some(8443)));
    let nets = of("allow = [\"127.0.0.1\"]\ndeny = [\"10.0.0.0/8\"]");
    assert_eq!(nets.allow, Some(vec!["127.0.0.1/32".parse().unwrap()]));
    assert_eq!(nets.deny, Some(vec!["10.0.0.0/8".parse().unwrap()]));

    let inner = |line: &str| with(&format!("[provisioner.validation]\n{line}"));
    let rows = [
        (inner("resolvers = [\"10.0.0.53\"]"), "validation.resolvers[0]", "IP:PORT"),
        (inner("http_port = 0"), "validation.http_port", "1"),
        (inner("allow = [\"10.0.0.1/8\"]"), "validation.allow[0]", "10.0.0.0/8"),
        (inner("attempts = 3"), "validation.attempts", "it belongs in [validation]"),
        (inner("resolver = []"), "validation.resolver", "did you mean `resolvers`?"),
        (with("validation = 1"), "validation", "write a section [provisioner.validation]"),
    ];
    for (text, key, message) in rows {
        let problems = parse(&text, Path::new(".")).settings.expect_err(&text);
        assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
        assert_eq!(problems[0].key, format!("provisioner[0].{key}"), "{text}");
        assert!(problems[0].message.contains(message), "{text}: {problems:#?}");
    }
    // Not a section of the file's own.
    let quoted = format!("{}[\"provisioner.validation\"]\n", with(""));
    assert!(parse(&quoted, Path::new(".")).settings.is_err());
}
