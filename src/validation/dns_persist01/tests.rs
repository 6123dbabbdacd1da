use super::*;
use crate::acme::challenge::ChallengeKind::DnsPersist01;
use crate::validation::Outcome;
use crate::validation::fake_dns::{Answer, FakeDns, NX_DOMAIN, SERV_FAIL, txt};
use crate::validation::fakes::{ACCOUNT_URL, HASH_PREFIX, NOW, ask, failed, rules};

fn wanted<'a>(ask: &'a Ask, place: &'a str, broad: bool) -> Wanted<'a> {
    Wanted { ask, persist: ask.persist.as_ref().unwrap(), place, broad }
}

/// draft-ietf-acme-dns-persist-02 §10.2, and what the same account has for any domain.
#[test]
fn the_hashes_of_the_draft() {
    let mut ask = ask(DnsPersist01, "example.com");
    ask.account_url = "https://ca.example/acct/123".to_owned();
    ask.persist = Some(Persist {
        issuer_domains: vec!["authority.example".to_owned()],
        account_hash_prefix: "https://ca.example/account-hash/".to_owned(),
        thumbprint: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned(),
    });
    let wanted = wanted(&ask, "example.com", false);
    let prefix = "https://ca.example/account-hash/sha-256/";
    assert_eq!(wanted.hashed("example.com"), format!("{prefix}5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"));
    assert_eq!(wanted.hashed("*"), format!("{prefix}NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"));
}

#[test]
fn what_a_record_must_say() {
    let ask = ask(DnsPersist01, "a.test");
    let own = wanted(&ask, "a.test", false);
    let hash = own.hashed("a.test");
    let (other_domain, any_domain) = (own.hashed("b.test"), own.hashed("*"));
    let other_account = Ask { account_url: format!("{ACCOUNT_URL}B"), ..ask.clone() };
    let other_account = wanted(&other_account, "a.test", false).hashed("a.test");
    let mut other_key = ask.clone();
    other_key.persist.as_mut().unwrap().thumbprint = "A".repeat(43);
    let other_key = wanted(&other_key, "a.test", false).hashed("a.test");
    let other_prefix = hash.replace(HASH_PREFIX, "https://ca.example/account-hash/");
    let now = NOW.as_secs();
    let at = |secs| Some(Timestamp::from_secs(secs));

    // A record for the name itself, and whether it would do for a wildcard or a name below.
    let rows: Vec<(String, Option<Option<Timestamp>>, bool)> = vec![
        (format!("ca.test; accounturi={hash}"), Some(None), false),
        (format!("ca.test;accounturi={hash}"), Some(None), false),
        (format!(" CA.Test ; accounturi = {hash} "), Some(None), false),
        (format!("ca.example; accounturi={hash}"), Some(None), false),
        (format!("ca.test; accounturi={any_domain}"), Some(None), false),
        (format!("ca.test; accounturi={ACCOUNT_URL}"), Some(None), false),
        (format!("ca.test; accounturi={hash}; unknown=x"), Some(None), false),
        (format!("ca.test; accounturi={hash}; policy=wildcard"), Some(None), true),
        (format!("ca.test; policy=WildCard; accounturi={hash}"), Some(None), true),
        (format!("ca.test; accounturi={hash}; policy=wildcards"), Some(None), false),
        (format!("ca.test; accounturi={hash}; policy="), Some(None), false),
        (format!("ca.test; accounturi={hash}; persistUntil={}", now + 1), Some(at(now + 1)), false),
        (format!("ca.test; accounturi={hash}; persistuntil={}", now + 1), Some(at(now + 1)), false),
        (
            format!("ca.test; accounturi={hash}; policy=wildcard; persistUntil={}", now + 9),
            Some(at(now + 9)),
            true,
        ),
        (format!("ca.test; accounturi={hash}; persistUntil={}", "9".repeat(40)), Some(at(FOREVER)), false),
        (format!("ca.test; accounturi={hash}; persistUntil={now}"), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil=0"), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil="), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil=+{}", now + 1), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil=-{}", now + 1), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil={}.5", now + 1), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil=0x{:x}", now + 1), None, false),
        (format!("ca.test; accounturi={hash}; persistUntil=2126-11-22T00:00:00Z"), None, false),
        (
            format!("ca.test; accounturi={hash}; persistUntil={}; persistUntil={}", now + 1, now + 2),
            None,
            false,
        ),
        (format!("ca.test; accounturi={hash}; accounturi={hash}"), None, false),
        (format!("ca.test; accounturi={hash}; policy=wildcard; policy=wildcard"), None, false),
        (format!("ca.test; accounturi={other_domain}"), None, false),
        (format!("ca.test; accounturi={other_account}"), None, false),
        (format!("ca.test; accounturi={other_key}"), None, false),
        (format!("ca.test; accounturi={other_prefix}"), None, false),
        (format!("ca.test; accounturi={}", hash.replace("sha-256/", "sha-512/")), None, false),
        (format!("ca.test; accounturi={hash}="), None, false),
        (format!("ca.test; accounturi={}", hash.to_uppercase()), None, false),
        (format!("ca.test; accounturi={ACCOUNT_URL}/"), None, false),
        (format!("ca.test; accounturi={}", ACCOUNT_URL.replace("https", "http")), None, false),
        ("ca.test; accounturi=".to_owned(), None, false),
        ("ca.test; policy=wildcard".to_owned(), None, false),
        ("ca.test".to_owned(), None, false),
        (format!("other.test; accounturi={hash}"), None, false),
        (format!("sub.ca.test; accounturi={hash}"), None, false),
        (format!("ca.test.; accounturi={hash}"), None, false),
        (format!("; accounturi={hash}"), None, false),
        (format!("accounturi={hash}"), None, false),
        (format!("ca.test accounturi={hash}"), None, false),
        (format!("ca.test; accounturi={hash};"), None, false),
        (format!("ca.test, accounturi={hash}"), None, false),
        (format!("v=1 ca.test; accounturi={hash}"), None, false),
        (String::new(), None, false),
    ];
    for (text, want, broad) in rows {
        assert_eq!(own.fits(text.as_bytes()).ok(), want, "{text}");
        let wider = wanted(&ask, "a.test", true).fits(text.as_bytes());
        assert_eq!(wider.is_ok(), broad, "{text}: {wider:?}");
    }
}

#[test]
fn of_several_records_any_one_and_the_longest_counts() {
    let ask = ask(DnsPersist01, "a.test");
    let wanted = wanted(&ask, "a.test", false);
    let record = |until: Option<u64>| {
        let until = until.map(|secs| format!("; persistUntil={}", NOW.as_secs() + secs)).unwrap_or_default();
        format!("ca.test; accounturi={}{until}", wanted.hashed("a.test")).into_bytes()
    };
    let other = b"other.test; accounturi=x".to_vec();
    let until = |secs| Some(Timestamp::from_secs(NOW.as_secs() + secs));
    let rows = [
        (vec![other.clone(), record(None)], Some(None)),
        (vec![record(Some(5)), other.clone(), record(Some(9)), record(Some(7))], Some(until(9))),
        (vec![record(Some(5)), record(None)], Some(None)),
        (vec![record(None), record(Some(5))], Some(None)),
        (vec![record(Some(0)), record(Some(3))], Some(until(3))),
        (vec![record(Some(0)), other], None),
        (vec![], None),
    ];
    for (texts, want) in rows {
        assert_eq!(wanted.among(&texts).ok(), want, "{texts:?}");
    }
}

#[test]
fn names_that_may_answer() {
    let rows: &[(&str, &[&str])] = &[
        ("a.b.corp.test", &["a.b.corp.test", "b.corp.test", "corp.test"]),
        ("corp.test", &["corp.test"]),
        ("localhost", &["localhost"]),
    ];
    for (name, want) in rows {
        assert_eq!(places(&DnsName::parse(name).unwrap()), *want, "{name}");
    }
    let deep = DnsName::parse(&format!("{}test", "a.".repeat(40))).unwrap();
    assert_eq!(places(&deep).len(), 1 + MOST_ABOVE);
}

/// A zone with one record, made for the place where it is, and its parameters after the account.
async fn zone(at: &'static str, more: &'static str) -> FakeDns {
    FakeDns::start(move |name, _, _| {
        if name != format!("_validation-persist.{at}") {
            return NX_DOMAIN;
        }
        let ask = ask(DnsPersist01, at);
        let value = format!("ca.test; accounturi={}{more}", wanted(&ask, at, false).hashed(at));
        // As zone files have it: in several strings.
        let (head, tail) = value.split_at(20);
        Answer::Records(vec![
            (name.to_owned(), txt(&["of something else"])),
            (name.to_owned(), txt(&[head, tail])),
        ])
    })
    .await
}

#[tokio::test]
async fn which_names_a_record_speaks_for() {
    const WILD: &str = "; policy=wildcard";
    let rows = [
        ("corp.test", "", "corp.test", Ok(())),
        ("corp.test", "", "*.corp.test", Err(FailureKind::Unauthorized)),
        ("corp.test", "", "a.corp.test", Err(FailureKind::Unauthorized)),
        ("corp.test", WILD, "corp.test", Ok(())),
        ("corp.test", WILD, "*.corp.test", Ok(())),
        ("corp.test", WILD, "a.corp.test", Ok(())),
        ("corp.test", WILD, "a.b.corp.test", Ok(())),
        ("corp.test", WILD, "*.b.corp.test", Ok(())),
        ("corp.test", WILD, "xcorp.test", Err(FailureKind::Dns)),
        ("corp.test", WILD, "test", Err(FailureKind::Dns)),
        ("a.corp.test", WILD, "corp.test", Err(FailureKind::Dns)),
        ("a.corp.test", WILD, "b.corp.test", Err(FailureKind::Dns)),
        // Nobody speaks for a whole top level.
        ("test", WILD, "a.test", Err(FailureKind::Dns)),
        ("test", WILD, "*.test", Ok(())),
    ];
    for (at, more, identifier, want) in rows {
        let dns = zone(at, more).await;
        let outcome =
            Validator::new(rules(dns.addr, 9)).unwrap().validate(&ask(DnsPersist01, identifier)).await;
        match want {
            Ok(()) => assert_eq!(outcome, Outcome::Proved, "{at}{more} for {identifier}"),
            Err(kind) => drop(failed(outcome, kind)),
        }
    }
}

#[tokio::test]
async fn a_record_s_end_goes_with_the_proof() {
    let dns = zone("a.test", "; persistUntil=1793318401").await;
    let validator = Validator::new(rules(dns.addr, 9)).unwrap();
    let outcome = validator.validate(&ask(DnsPersist01, "a.test")).await;
    assert_eq!(outcome, Outcome::ProvedUntil(Timestamp::from_secs(1_793_318_401)));
    let late = Ask { now: Timestamp::from_secs(1_793_318_401), ..ask(DnsPersist01, "a.test") };
    let detail = failed(validator.validate(&late).await, FailureKind::Unauthorized);
    assert!(detail.contains("expired"), "{detail}");
}

#[tokio::test]
async fn a_failure_says_what_to_publish() {
    let dns = zone("a.test", "").await;
    let validator = Validator::new(rules(dns.addr, 9)).unwrap();
    let ask = ask(DnsPersist01, "*.a.test");
    let detail = failed(validator.validate(&ask).await, FailureKind::Unauthorized);
    let hash = wanted(&ask, "a.test", true).hashed("a.test");
    let publish =
        format!("publish \"ca.test; accounturi={hash}; policy=wildcard\" at _validation-persist.a.test");
    assert!(detail.contains(&publish) && detail.contains("its own name only"), "{detail}");
}

#[tokio::test]
async fn a_lookup_that_fails_is_inconclusive_unless_another_proves() {
    let hash = wanted(&ask(DnsPersist01, "a.corp.test"), "corp.test", true).hashed("corp.test");
    for (above, want) in [(true, true), (false, false)] {
        let hash = hash.clone();
        let dns = FakeDns::start(move |name, _, _| match name {
            "_validation-persist.a.corp.test" => SERV_FAIL,
            "_validation-persist.corp.test" if above => {
                let value = format!("ca.test; accounturi={hash}; policy=wildcard");
                Answer::Records(vec![(name.to_owned(), txt(&[&value]))])
            }
            _ => NX_DOMAIN,
        })
        .await;
        let outcome =
            Validator::new(rules(dns.addr, 9)).unwrap().validate(&ask(DnsPersist01, "a.corp.test")).await;
        assert_eq!(outcome == Outcome::Proved, want, "{outcome:?}");
        assert!(want || matches!(outcome, Outcome::Inconclusive(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn without_a_name_of_the_ca_nothing_is_proved() {
    let dns = zone("a.test", "").await;
    let validator = Validator::new(rules(dns.addr, 9)).unwrap();
    let mut nameless = ask(DnsPersist01, "a.test");
    nameless.persist.as_mut().unwrap().issuer_domains.clear();
    for ask in [nameless, Ask { persist: None, ..ask(DnsPersist01, "a.test") }] {
        failed(validator.validate(&ask).await, FailureKind::Unauthorized);
    }
    assert_eq!(dns.asked(), []);
}

proptest::proptest! {
    /// Only a record that names the CA and the account fits.
    #[test]
    fn any_record_is_judged(text in "(ca\\.test)?[;a-z =./:-]{0,40}") {
        let ask = ask(DnsPersist01, "a.test");
        proptest::prop_assert!(wanted(&ask, "a.test", false).fits(text.as_bytes()).is_err());
    }
}
