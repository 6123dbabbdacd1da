use hickory_resolver::proto::rr::RecordType::CAA;

use super::*;
use crate::validation::fake_dns::{Answer, FakeDns, NO_DATA, NX_DOMAIN, SERV_FAIL, alias, caa, txt};
use crate::validation::fakes::{ACCOUNT_URL, KEY_AUTH, ask as challenge, failed, rules};
use crate::validation::{Outcome, sha256};

const PERMITTED: bool = true;
const FORBIDDEN: bool = false;

fn ask(identifier: &str) -> CaaAsk {
    CaaAsk {
        identifier: challenge(ChallengeKind::Dns01, identifier).identifier,
        method: Some(ChallengeKind::Dns01),
        account_url: ACCOUNT_URL.to_owned(),
        identities: vec!["ca.test".to_owned(), "ca.example".to_owned()],
    }
}

fn properties(records: &[(u8, &str, &str)]) -> Vec<Property> {
    let property = |(flags, tag, value): &(u8, &str, &str)| Property {
        critical: flags & 0x80 != 0,
        tag: tag.to_ascii_lowercase(),
        value: value.as_bytes().to_vec(),
    };
    records.iter().map(property).collect()
}

#[test]
fn what_records_say_of_a_name_and_of_its_wildcard() {
    type Rows<'a> = &'a [(&'a [(u8, &'a str, &'a str)], bool, bool)];
    let rows: Rows<'_> = &[
        // RFC 8659 §4.2: without `issue`, anybody may.
        (&[(0, "iodef", "mailto:a@a.test")], PERMITTED, PERMITTED),
        (&[(0, "issue", "ca.test")], PERMITTED, PERMITTED),
        (&[(0, "ISSUE", "CA.Test")], PERMITTED, PERMITTED),
        (&[(0, "issue", "ca.example")], PERMITTED, PERMITTED),
        (&[(128, "issue", "ca.test")], PERMITTED, PERMITTED),
        (&[(0, "issue", "other.test")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", "sub.ca.test")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", "test")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", ";")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", "")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", ";"), (0, "issue", "ca.test")], PERMITTED, PERMITTED),
        (&[(0, "issue", "other.test"), (0, "issue", "ca.test")], PERMITTED, PERMITTED),
        // §4.3: `issuewild` is for wildcards alone, and there it counts alone.
        (&[(0, "issuewild", "ca.test")], PERMITTED, PERMITTED),
        (&[(0, "issuewild", "other.test")], PERMITTED, FORBIDDEN),
        (&[(0, "issuewild", ";")], PERMITTED, FORBIDDEN),
        (&[(0, "issue", ";"), (0, "issuewild", "ca.test")], FORBIDDEN, PERMITTED),
        (&[(0, "issue", "ca.test"), (0, "issuewild", ";")], PERMITTED, FORBIDDEN),
        // §4.1: a critical property that is unknown forbids, one that is not critical does nothing.
        (&[(128, "future", "x"), (0, "issue", "ca.test")], FORBIDDEN, FORBIDDEN),
        (&[(255, "future", "x")], FORBIDDEN, FORBIDDEN),
        (&[(0, "future", "x"), (0, "issue", "ca.test")], PERMITTED, PERMITTED),
        (&[(127, "future", "x")], PERMITTED, PERMITTED),
        (&[(128, "iodef", "mailto:a@a.test")], PERMITTED, PERMITTED),
        (&[(128, "issuemail", "ca.test")], FORBIDDEN, FORBIDDEN),
        // What cannot be read permits nobody.
        (&[(0, "issue", "ca.test; a")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", "%%%")], FORBIDDEN, FORBIDDEN),
        (&[(0, "issue", "%%%"), (0, "issue", "ca.test")], PERMITTED, PERMITTED),
        // An unknown parameter is not for us to judge (RFC 8659 §4.2).
        (&[(0, "issue", "ca.test; policy=ev")], PERMITTED, PERMITTED),
    ];
    for (records, name, wildcard) in rows {
        let found = properties(records);
        assert_eq!(judge(&found, &ask("a.test")).is_ok(), *name, "{records:?}");
        assert_eq!(judge(&found, &ask("*.a.test")).is_ok(), *wildcard, "*. {records:?}");
    }
}

#[test]
fn accounts_and_methods_of_rfc_8657() {
    let account = format!("accounturi={ACCOUNT_URL}");
    let rows = [
        (account.clone(), PERMITTED),
        (format!("ACCOUNTURI={ACCOUNT_URL}"), PERMITTED),
        (format!("{account}B"), FORBIDDEN),
        (account.replace("https", "HTTPS"), FORBIDDEN),
        (account.replace("ca.test", "CA.test"), FORBIDDEN),
        ("accounturi=".to_owned(), FORBIDDEN),
        (format!("{account}; {account}"), FORBIDDEN),
        (format!("accounturi=x; {account}"), FORBIDDEN),
        ("validationmethods=dns-01".to_owned(), PERMITTED),
        ("validationmethods=http-01,dns-01".to_owned(), PERMITTED),
        ("validationmethods=dns-01,ca-own-01".to_owned(), PERMITTED),
        ("validationmethods=http-01".to_owned(), FORBIDDEN),
        ("validationmethods=DNS-01".to_owned(), FORBIDDEN),
        ("validationmethods=".to_owned(), FORBIDDEN),
        ("validationmethods=dns-01,".to_owned(), FORBIDDEN),
        ("validationmethods=dns_01,dns-01".to_owned(), FORBIDDEN),
        ("validationmethods=dns-01; validationmethods=dns-01".to_owned(), FORBIDDEN),
        (format!("{account}; validationmethods=dns-01"), PERMITTED),
        (format!("{account}; validationmethods=http-01"), FORBIDDEN),
        ("accounturi=x; validationmethods=dns-01".to_owned(), FORBIDDEN),
    ];
    for (parameters, want) in rows {
        let value = format!("ca.test; {parameters}");
        let found = properties(&[(0, "issue", &value)]);
        assert_eq!(judge(&found, &ask("a.test")).is_ok(), want, "{value}");
        // Beside a record without conditions, one with some takes nothing away.
        let found = properties(&[(0, "issue", &value), (0, "issue", "ca.test")]);
        assert!(judge(&found, &ask("a.test")).is_ok(), "{value}");
    }
    let by = |method| CaaAsk { method, ..ask("a.test") };
    for (kind, name) in ChallengeKind::TABLE {
        let value = format!("ca.test; validationmethods={name}");
        let found = properties(&[(0, "issue", &value)]);
        assert!(judge(&found, &by(Some(*kind))).is_ok(), "{name}");
        assert!(judge(&found, &by(None)).is_err(), "proved by no challenge");
        let other = ChallengeKind::TABLE.iter().find(|(other, _)| other != kind).unwrap().0;
        assert!(judge(&found, &by(Some(other))).is_err(), "{name}");
    }
    assert!(judge(&properties(&[(0, "issue", "ca.test")]), &by(None)).is_ok());
}

/// A zone of CAA records, one per name; other names are not there.
async fn zone(records: &'static [(&'static str, &'static str)]) -> FakeDns {
    FakeDns::start(move |name, kind, _| {
        let found: Vec<_> = records
            .iter()
            .filter(|(owner, _)| *owner == name && kind == CAA)
            .map(|(owner, value)| ((*owner).to_owned(), caa(0, "issue", value)))
            .collect();
        match found.as_slice() {
            [] if name.starts_with("empty") => NO_DATA,
            [] => NX_DOMAIN,
            _ => Answer::Records(found),
        }
    })
    .await
}

async fn look_up(dns: &FakeDns, identifier: &str) -> Consent {
    Validator::new(rules(dns.addr, 9)).unwrap().consent(&ask(identifier)).await
}

#[tokio::test]
async fn the_nearest_records_upwards_count_and_no_others() {
    let dns = zone(&[("corp.test", "ca.test"), ("closed.corp.test", ";"), ("test", ";")]).await;
    let rows = [
        ("corp.test", PERMITTED),
        ("a.b.corp.test", PERMITTED),
        ("*.corp.test", PERMITTED),
        ("empty.corp.test", PERMITTED),
        ("a.empty.corp.test", PERMITTED),
        ("closed.corp.test", FORBIDDEN),
        ("*.closed.corp.test", FORBIDDEN),
        ("a.closed.corp.test", FORBIDDEN),
        ("other.test", FORBIDDEN),
        ("test", FORBIDDEN),
        ("a.example", PERMITTED),
        ("xcorp.test", FORBIDDEN),
    ];
    for (identifier, want) in rows {
        match look_up(&dns, identifier).await {
            Consent::Permitted => assert!(want, "{identifier}"),
            Consent::Forbidden(_) => assert!(!want, "{identifier}"),
            Consent::Unknown(why) => panic!("{identifier}: {why}"),
        }
    }
    let asked = dns.asked().len();
    assert_eq!(look_up(&dns, "127.0.0.1").await, Consent::Permitted);
    assert_eq!(dns.asked().len(), asked, "addresses have no CAA records");
    // Upwards to the top level, which is asked, and not beyond; each once.
    let dns = zone(&[]).await;
    assert_eq!(look_up(&dns, "a.b.test").await, Consent::Permitted);
    let asked: Vec<_> = dns.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(asked, ["a.b.test.", "b.test.", "test."]);
}

#[tokio::test]
async fn an_alias_s_records_count_and_the_climb_stays_with_the_name() {
    let dns = FakeDns::start(|name, _, _| match name {
        "a.corp.test" => Answer::Records(vec![(name.to_owned(), alias("b.elsewhere.test"))]),
        "b.elsewhere.test" => Answer::Records(vec![(name.to_owned(), caa(0, "issue", "other.test"))]),
        "c.corp.test" => Answer::Records(vec![(name.to_owned(), alias("d.elsewhere.test"))]),
        "corp.test" => Answer::Records(vec![(name.to_owned(), caa(0, "issue", "ca.test"))]),
        // Above an alias's target nothing counts (RFC 8659 §3).
        "elsewhere.test" => Answer::Records(vec![(name.to_owned(), caa(0, "issue", ";"))]),
        _ => NX_DOMAIN,
    })
    .await;
    assert!(matches!(look_up(&dns, "a.corp.test").await, Consent::Forbidden(_)));
    assert_eq!(look_up(&dns, "c.corp.test").await, Consent::Permitted);
    assert_eq!(dns.count("elsewhere.test", CAA), 0);
}

#[tokio::test]
async fn details_say_what_is_missing() {
    let dns = zone(&[("corp.test", "other.test")]).await;
    let Consent::Forbidden(detail) = look_up(&dns, "a.corp.test").await else { panic!() };
    for part in ["CAA records of corp.test", "a.corp.test", "other.test", "ca.test or ca.example"] {
        assert!(detail.contains(part), "{detail}");
    }
}

/// RFC 8659 §6: a lookup that fails is no permission; and no fault of the client's either.
#[tokio::test]
async fn a_failed_lookup_anywhere_on_the_way_is_unknown() {
    for at in ["a.b.test", "b.test", "test"] {
        let dns = FakeDns::start(move |name, _, _| if name == at { SERV_FAIL } else { NX_DOMAIN }).await;
        let Consent::Unknown(detail) = look_up(&dns, "a.b.test").await else { panic!("{at}") };
        assert!(detail.contains(&dns.addr.to_string()), "{detail}");
    }
    let dns = FakeDns::start(|_, _, _| Answer::Silence).await;
    let timeout = std::time::Duration::from_millis(300);
    let validator = Validator::new(crate::validation::Rules { timeout, ..rules(dns.addr, 9) }).unwrap();
    assert!(matches!(validator.consent(&ask("a.test")).await, Consent::Unknown(_)));
}

#[tokio::test]
async fn truncated_records_are_read_over_tcp() {
    let dns = FakeDns::start(|name, _, _| match name {
        "a.test" => Answer::Truncated(vec![(name.to_owned(), caa(0, "issue", ";"))]),
        _ => NX_DOMAIN,
    })
    .await;
    assert!(matches!(look_up(&dns, "a.test").await, Consent::Forbidden(_)));
    assert!(dns.asked().iter().any(|asked| asked.tcp), "{:?}", dns.asked());
}

/// At the time of validation, records are looked at once control is proved, and only where asked for.
#[tokio::test]
async fn validation_looks_at_them_too() {
    type Holds = fn(Outcome) -> bool;
    let rows: &[(&str, Holds)] = &[
        ("ca.test", |outcome| outcome == Outcome::Proved),
        ("ca.test; validationmethods=dns-01", |outcome| outcome == Outcome::Proved),
        ("ca.test; validationmethods=http-01", |outcome| {
            failed(outcome, FailureKind::Caa).contains("validationmethods")
        }),
        ("other.test", |outcome| failed(outcome, FailureKind::Caa).contains("other.test")),
        ("SERVFAIL", |outcome| matches!(outcome, Outcome::Inconclusive(_))),
    ];
    for (value, holds) in rows {
        let dns = FakeDns::start(|name, kind, _| match (name, kind) {
            ("_acme-challenge.a.test", _) => {
                let proof = crate::jose::base64url(&sha256(KEY_AUTH));
                Answer::Records(vec![(name.to_owned(), txt(&[&proof]))])
            }
            ("a.test", CAA) if *value == "SERVFAIL" => SERV_FAIL,
            ("a.test", CAA) => Answer::Records(vec![(name.to_owned(), caa(0, "issue", value))]),
            _ => NX_DOMAIN,
        })
        .await;
        let validator = Validator::new(rules(dns.addr, 9)).unwrap();
        let plain = challenge(ChallengeKind::Dns01, "a.test");
        assert_eq!(validator.validate(&plain).await, Outcome::Proved);
        assert_eq!(dns.count("a.test", CAA), 0, "not asked for");
        let with = crate::validation::Ask { caa: Some(vec!["ca.test".to_owned()]), ..plain };
        assert!(holds(validator.validate(&with).await), "{value}");
    }
}
