use hickory_resolver::proto::rr::RecordType::TXT;

use super::*;
use crate::acme::challenge::ChallengeKind::Dns01;
use crate::validation::Outcome;
use crate::validation::fake_dns::{Answer, FakeDns, NO_DATA, NX_DOMAIN, SERV_FAIL, alias, txt};
use crate::validation::fakes::{KEY_AUTH, ask, failed, rules};

async fn validate(dns: &FakeDns, identifier: &str) -> Outcome {
    Validator::new(rules(dns.addr, 9)).unwrap().validate(&ask(Dns01, identifier)).await
}

fn record(name: &str, strings: &[&str]) -> (String, hickory_resolver::proto::rr::RData) {
    (name.to_owned(), txt(strings))
}

#[test]
fn the_value_is_the_digest_in_base64url() {
    // printf '' | openssl dgst -sha256 -binary | basenc --base64url | tr -d =
    assert_eq!(expected(""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    assert_eq!(expected(KEY_AUTH).len(), 43);
}

#[tokio::test]
async fn the_right_record_proves() {
    let dns = FakeDns::start(|name, _, _| Answer::Records(vec![record(name, &[&expected(KEY_AUTH)])])).await;
    assert_eq!(validate(&dns, "a.test").await, Outcome::Proved);
    assert_eq!(dns.count("_acme-challenge.a.test", TXT), 1);
}

#[tokio::test]
async fn a_wildcard_asks_at_its_base() {
    let dns = FakeDns::start(|name, _, _| Answer::Records(vec![record(name, &[&expected(KEY_AUTH)])])).await;
    assert_eq!(validate(&dns, "*.a.test").await, Outcome::Proved);
    assert_eq!(dns.count("_acme-challenge.a.test", TXT), 1);
    assert_eq!(dns.asked().len(), 1);
}

#[tokio::test]
async fn one_of_several_records_in_several_strings_behind_an_alias_proves() {
    let dns = FakeDns::start(|name, _, _| match name {
        "_acme-challenge.a.test" => Answer::Records(vec![(name.to_owned(), alias("a.acme.test"))]),
        _ => {
            let value = expected(KEY_AUTH);
            let (head, tail) = value.split_at(20);
            Answer::Records(vec![record(name, &["older"]), record(name, &[head, tail])])
        }
    })
    .await;
    assert_eq!(validate(&dns, "a.test").await, Outcome::Proved);
}

#[tokio::test]
async fn a_truncated_answer_is_read_over_tcp() {
    let dns =
        FakeDns::start(|name, _, _| Answer::Truncated(vec![record(name, &[&expected(KEY_AUTH)])])).await;
    assert_eq!(validate(&dns, "a.test").await, Outcome::Proved);
    assert!(dns.asked().iter().any(|asked| asked.tcp) && dns.asked().iter().any(|asked| !asked.tcp));
}

#[tokio::test]
async fn other_records_are_unauthorized_and_quoted_in_part() {
    let long = "x".repeat(200);
    let dns = FakeDns::start(move |name, _, _| {
        let near = format!("{} ", expected(KEY_AUTH));
        let records =
            [long.as_str(), "tab\there", near.as_str(), KEY_AUTH].map(|value| record(name, &[value]));
        Answer::Records(records.to_vec())
    })
    .await;
    let detail = failed(validate(&dns, "a.test").await, FailureKind::Unauthorized);
    assert!(detail.contains("4 TXT records of _acme-challenge.a.test"), "{detail}");
    assert!(!detail.contains(&"x".repeat(65)), "{detail}");
    assert!(!detail.contains('\t'), "{detail}");
}

#[tokio::test]
async fn absence_is_a_dns_failure() {
    for (answer, hint) in [(NX_DOMAIN, "does not exist"), (NO_DATA, "no TXT record")] {
        let dns = FakeDns::start(move |_, _, _| answer.clone()).await;
        let detail = failed(validate(&dns, "a.test").await, FailureKind::Dns);
        assert!(detail.contains(hint) && detail.contains("_acme-challenge.a.test"), "{detail}");
    }
}

#[tokio::test]
async fn a_resolver_that_fails_is_inconclusive() {
    for answer in [SERV_FAIL, Answer::Code(hickory_proto::op::ResponseCode::Refused)] {
        let dns = FakeDns::start(move |_, _, _| answer.clone()).await;
        let outcome = validate(&dns, "a.test").await;
        assert!(matches!(&outcome, Outcome::Inconclusive(f) if f.kind == FailureKind::Dns), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_earlier_absence_is_forgotten() {
    let dns = FakeDns::start(|name, _, before| match before {
        0 => NX_DOMAIN,
        _ => Answer::Records(vec![record(name, &[&expected(KEY_AUTH)])]),
    })
    .await;
    let validator = Validator::new(rules(dns.addr, 9)).unwrap();
    failed(validator.validate(&ask(Dns01, "a.test")).await, FailureKind::Dns);
    assert_eq!(validator.validate(&ask(Dns01, "a.test")).await, Outcome::Proved);
}
