use std::net::{TcpListener, UdpSocket};

use super::fake_dns::{Answer, FakeDns};
use super::fakes::{KEY_AUTH, Responder, ask, failed, ok, rules};
use super::*;

#[test]
fn quotes_are_short_printable_and_without_the_secret() {
    let rows: &[(&[u8], &str)] = &[
        (b"plain", "plain"),
        (b"a\r\n\tb\x00\xff", "a...b.."),
        (b"<b>\"x\"", "<b>\"x\""),
        ("é".as_bytes(), "."),
        (b"say secret twice: secret", "say [the expected value] twice: [the expected value]"),
        (b"", ""),
    ];
    for (sent, want) in rows {
        assert_eq!(quote(sent, "secret"), *want);
    }
    assert_eq!(quote(&[b'x'; 64], "s"), "x".repeat(64));
    assert_eq!(quote(&[b'x'; 65], "s"), format!("{}...", "x".repeat(64)));
    assert!(!quote(format!("{}{KEY_AUTH}", "x".repeat(30)).as_bytes(), KEY_AUTH).contains(&KEY_AUTH[..20]));
    assert_eq!(quote(b"abc", ""), "abc");
}

#[test]
fn timeouts_are_bounded() {
    for timeout in [Duration::ZERO, Duration::MAX, Duration::from_secs(601)] {
        let rules = Rules { timeout, ..rules("127.0.0.1:53".parse().unwrap(), 80) };
        assert!(matches!(Validator::new(rules), Err(Error::Timeout(_))), "{timeout:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_proved_fails_without_a_packet() {
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let validator = Validator::new(rules(dns.addr, 9)).unwrap();
    let rows = [
        ask(ChallengeKind::Http01, "*.a.test"),
        ask(ChallengeKind::TlsAlpn01, "*.a.test"),
        ask(ChallengeKind::Dns01, "127.0.0.1"),
        ask(ChallengeKind::DnsAccount01, "127.0.0.1"),
        ask(ChallengeKind::DnsPersist01, "127.0.0.1"),
        Ask { token: "../x".to_owned(), ..ask(ChallengeKind::Http01, "a.test") },
        Ask { token: "a b".to_owned(), ..ask(ChallengeKind::Http01, "a.test") },
        Ask { token: String::new(), ..ask(ChallengeKind::Http01, "a.test") },
    ];
    for ask in rows {
        failed(validator.validate(&ask).await, FailureKind::Unauthorized);
    }
    assert_eq!(dns.asked(), []);
}

/// A resolver out of reach says nothing about the client: the challenge stays retryable
/// (an outage elsewhere ended hours of validations by a resolver's upgrade).
#[tokio::test]
async fn field_17_a_dead_resolver_is_inconclusive_and_named() {
    // Closed ports, a bound socket that never answers, and a server that only drops.
    let closed = {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.local_addr().unwrap()
    };
    let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = FakeDns::start(|_, _, _| Answer::Silence).await;
    for resolver in [closed, mute.local_addr().unwrap(), silent.addr] {
        let validator =
            Validator::new(Rules { timeout: Duration::from_millis(500), ..rules(resolver, 9) }).unwrap();
        let attempt = async |challenge| {
            let begun = Instant::now();
            let outcome = validator.validate(&ask(challenge, "a.test")).await;
            let Outcome::Inconclusive(failure) = outcome else { panic!("{outcome:?}") };
            assert_eq!(failure.kind, FailureKind::Dns);
            assert!(failure.detail.contains(&resolver.to_string()), "{}", failure.detail);
            assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
        };
        tokio::join!(
            attempt(ChallengeKind::Http01),
            attempt(ChallengeKind::Dns01),
            attempt(ChallengeKind::DnsAccount01),
            attempt(ChallengeKind::DnsPersist01),
            attempt(ChallengeKind::TlsAlpn01)
        );
    }
}

/// A signature, or an answer, of one account's must be of no use to another (A. Ayer, 2015): what
/// each challenge compares has the account's thumbprint or URL in it.
#[tokio::test]
async fn field_10_an_answer_is_one_account_s_only() {
    use base64::Engine;
    let responder = Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())).await;
    let published = {
        let persist = ask(ChallengeKind::DnsPersist01, "a.test").account_url;
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha256(KEY_AUTH));
        move |name: &str, kind: hickory_resolver::proto::rr::RecordType, _: usize| {
            let value = match name.split('.').next() {
                Some("_validation-persist") => format!("ca.test; accounturi={persist}"),
                _ => digest.clone(),
            };
            match super::fake_dns::txt(&[&value]) {
                data if kind == data.record_type() => Answer::Records(vec![(name.to_owned(), data)]),
                _ => super::fake_dns::addresses_of(name, kind, &["127.0.0.1"]),
            }
        }
    };
    let dns = FakeDns::start(published).await;
    let validator = Validator::new(rules(dns.addr, responder.addr.port())).unwrap();
    let by_dns = [ChallengeKind::Dns01, ChallengeKind::DnsAccount01, ChallengeKind::DnsPersist01];
    for challenge in [ChallengeKind::Http01].into_iter().chain(by_dns) {
        let own = ask(challenge, "a.test");
        assert_eq!(validator.validate(&own).await, Outcome::Proved, "{}", challenge.name());
        // The same token, the same answers, another key and so another account.
        let thumbprint = "A".repeat(43);
        let other = Ask {
            key_authorization: format!("{}.{thumbprint}", own.token),
            account_url: format!("{}B", own.account_url),
            persist: own.persist.clone().map(|persist| Persist { thumbprint, ..persist }),
            ..own
        };
        failed(validator.validate(&other).await, FailureKind::Unauthorized);
    }
}

#[tokio::test]
async fn a_resolver_that_comes_back_serves_the_next_attempt() {
    let responder = Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())).await;
    let dns = FakeDns::start(|name, kind, before| match before {
        0 => super::fake_dns::SERV_FAIL,
        _ => super::fake_dns::addresses_of(name, kind, &["127.0.0.1"]),
    })
    .await;
    let validator = Validator::new(rules(dns.addr, responder.addr.port())).unwrap();
    let ask = ask(ChallengeKind::Http01, "a.test");
    let mut outcome = validator.validate(&ask).await;
    // The DNS client asks again by itself, so this may be proved at once; never failed.
    if matches!(outcome, Outcome::Inconclusive(_)) {
        outcome = validator.validate(&ask).await;
    }
    assert_eq!(outcome, Outcome::Proved);
}

/// Accepts and then says nothing: every challenge ends by the deadline.
#[tokio::test]
async fn every_attempt_ends_in_time() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let timeout = Duration::from_millis(700);
    let validator =
        Validator::new(Rules { timeout, ..rules(dns.addr, mute.local_addr().unwrap().port()) }).unwrap();
    for challenge in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        let begun = Instant::now();
        let detail = failed(validator.validate(&ask(challenge, "a.test")).await, FailureKind::Connection);
        assert!(detail.contains("in time"), "{detail}");
        assert!(begun.elapsed() < timeout + Duration::from_millis(300), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn dropping_an_attempt_closes_its_connection() {
    use tokio::io::AsyncReadExt;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let validator = Validator::new(rules(dns.addr, listener.local_addr().unwrap().port())).unwrap();
    let ask = ask(ChallengeKind::Http01, "a.test");
    let mut attempt = Box::pin(validator.validate(&ask));
    let mut stream = tokio::select! {
        outcome = &mut attempt => panic!("{outcome:?}"),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    drop(attempt);
    let mut rest = Vec::new();
    // Ends, by whatever the closing looks like, and well before the attempt's own time.
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut rest)).await.unwrap();
}

/// The caller runs attempts on tasks of its own.
#[tokio::test]
async fn attempts_run_on_any_task_and_side_by_side() {
    let responder = Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())).await;
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let validator = std::sync::Arc::new(Validator::new(rules(dns.addr, responder.addr.port())).unwrap());
    let mut attempts = tokio::task::JoinSet::new();
    for n in 0..50 {
        let validator = validator.clone();
        attempts.spawn(async move {
            validator.validate(&ask(ChallengeKind::Http01, &format!("h{n}.test"))).await
        });
    }
    while let Some(outcome) = attempts.join_next().await {
        assert_eq!(outcome.unwrap(), Outcome::Proved);
    }
}

/// A fleet that starts at once: neither the DNS client's queues nor the resolver's socket give way.
#[tokio::test]
async fn a_burst_of_attempts_loses_no_answer() {
    for truncated in [false, true] {
        let dns = FakeDns::start(move |name, _, _| {
            let records = vec![(name.to_owned(), super::fake_dns::txt(&["another"]))];
            if truncated { Answer::Truncated(records) } else { Answer::Records(records) }
        })
        .await;
        let validator = std::sync::Arc::new(Validator::new(rules(dns.addr, 9)).unwrap());
        let mut attempts = tokio::task::JoinSet::new();
        for n in 0..1000 {
            let validator = validator.clone();
            attempts.spawn(async move {
                validator.validate(&ask(ChallengeKind::Dns01, &format!("h{n}.test"))).await
            });
        }
        while let Some(outcome) = attempts.join_next().await {
            failed(outcome.unwrap(), FailureKind::Unauthorized);
        }
    }
}
