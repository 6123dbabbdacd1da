use std::time::Duration;

use hickory_resolver::proto::rr::RecordType::{A, AAAA};
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::acme::challenge::ChallengeKind::Http01;
use crate::validation::fake_dns::{FakeDns, addresses_of};
use crate::validation::fakes::{
    KEY_AUTH, Responder, TOKEN, ask, elsewhere, failed, ok, redirect, rules, server_config, thread_time,
};
use crate::validation::{Outcome, Rules};

async fn validate(rules: Rules, identifier: &str) -> Outcome {
    Validator::new(rules).unwrap().validate(&ask(Http01, identifier)).await
}

/// One responder on 127.0.0.1, and a.test pointing to it.
async fn answered(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> (Outcome, Responder) {
    let responder = Responder::http("127.0.0.1:0", answer).await;
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let outcome = validate(rules(dns.addr, responder.addr.port()), "a.test").await;
    (outcome, responder)
}

#[tokio::test]
async fn the_request_is_as_the_rfc_has_it() {
    let (outcome, responder) = answered(|_| ok(KEY_AUTH.as_bytes())).await;
    assert_eq!(outcome, Outcome::Proved);
    let requests = responder.requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let lower = request.to_ascii_lowercase();
    assert!(
        request.starts_with(&format!("GET /.well-known/acme-challenge/{TOKEN} HTTP/1.1\r\n")),
        "{request}"
    );
    assert!(lower.contains(&format!("\r\nhost: a.test:{}\r\n", responder.addr.port())), "{request}");
    assert!(lower.contains("\r\nuser-agent: mayfly/"), "{request}");
    assert!(
        lower.contains("\r\naccept: */*\r\n") && lower.contains("\r\nconnection: close\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn whitespace_at_the_end_is_ignored_and_nowhere_else() {
    for tail in ["\n", "\r\n", "  ", "\t\r\n\n "] {
        let body = format!("{KEY_AUTH}{tail}");
        let (outcome, _) = answered(move |_| ok(body.as_bytes())).await;
        assert_eq!(outcome, Outcome::Proved, "{tail:?}");
    }
    for body in [format!(" {KEY_AUTH}"), format!("{KEY_AUTH} x"), String::new(), TOKEN.to_owned()] {
        let (outcome, _) = answered(move |_| ok(body.as_bytes())).await;
        failed(outcome, FailureKind::Unauthorized);
    }
}

#[tokio::test]
async fn bodies_may_be_chunked_or_end_with_the_connection() {
    let (head, tail) = KEY_AUTH.split_at(10);
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
        tail.len()
    );
    for answer in [chunked, format!("HTTP/1.0 200 OK\r\n\r\n{KEY_AUTH}")] {
        let (outcome, _) = answered(move |_| answer.clone().into_bytes()).await;
        assert_eq!(outcome, Outcome::Proved);
    }
}

#[tokio::test]
async fn wrong_answers_are_told_apart() {
    use FailureKind::*;
    let many_fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200));
    let big_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    let long = |n: usize| String::from_utf8(ok(&vec![b'x'; n])).unwrap();
    let rows = [
        ("404", "HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), Unauthorized, "status 404"),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Unauthorized, "status 204"),
        ("500", "HTTP/1.1 500 Oops\r\n\r\n".to_owned(), Unauthorized, "status 500"),
        ("304", "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(), Unauthorized, "status 304"),
        ("other", String::from_utf8(ok(b"<html>\x07")).unwrap(), Unauthorized, "\"<html>.\""),
        ("1 KiB", long(1024), Unauthorized, "\"xxx"),
        ("over 1 KiB", long(1025), IncorrectResponse, "more than 1024 bytes"),
        ("ssh", "SSH-2.0-OpenSSH_9.9\r\n".to_owned(), IncorrectResponse, "HTTP/1.1"),
        ("many fields", many_fields, IncorrectResponse, "HTTP/1.1"),
        ("big head", big_head, IncorrectResponse, "HTTP/1.1"),
        ("nothing", String::new(), Connection, "broke off"),
        ("half", "HTTP/1.1 200 OK\r\nContent-Length: 87\r\n\r\nhalf".to_owned(), Connection, "broke off"),
        ("no location", "HTTP/1.1 302 Found\r\n\r\n".to_owned(), IncorrectResponse, "no Location"),
        (
            "two locations",
            "HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n".to_owned(),
            IncorrectResponse,
            "no Location header, or more",
        ),
    ];
    for (label, answer, kind, hint) in rows {
        let (outcome, _) = answered(move |_| answer.clone().into_bytes()).await;
        let detail = failed(outcome, kind);
        assert!(detail.contains(hint), "{label}: {detail}");
    }
}

#[tokio::test]
async fn an_echo_of_the_key_authorization_is_not_quoted() {
    let (outcome, _) = answered(|_| ok(format!("key: {KEY_AUTH}!").as_bytes())).await;
    let detail = failed(outcome, FailureKind::Unauthorized);
    assert!(detail.contains("key: [the expected value]!"), "{detail}");
}

#[tokio::test]
async fn nobody_listening_is_refused_with_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let detail = failed(validate(rules(dns.addr, free.port()), "a.test").await, FailureKind::Connection);
    assert!(
        detail.contains(&format!("connection to {free} refused")) && detail.contains("http-01"),
        "{detail}"
    );
}

#[tokio::test]
async fn addresses_need_no_resolver() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    for (identifier, listen, host) in [("127.0.0.1", "127.0.0.1:0", "127.0.0.1"), ("::1", "[::1]:0", "[::1]")]
    {
        if std::net::TcpListener::bind(listen).is_err() {
            continue; // A machine without IPv6.
        }
        let responder = Responder::http(listen, |_| ok(KEY_AUTH.as_bytes())).await;
        let port = responder.addr.port();
        assert_eq!(validate(rules(nowhere, port), identifier).await, Outcome::Proved);
        let request = responder.requests().remove(0).to_ascii_lowercase();
        assert!(request.contains(&format!("\r\nhost: {host}:{port}\r\n")), "{request}");
    }
}

#[tokio::test]
async fn the_other_family_is_tried_when_one_refuses() {
    let responder = Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())).await;
    let dns = FakeDns::of(&["::1", "127.0.0.1"]).await;
    assert_eq!(validate(rules(dns.addr, responder.addr.port()), "a.test").await, Outcome::Proved);
}

#[tokio::test]
async fn redirects_are_followed_each_with_its_own_resolution() {
    for status in [301, 302, 303, 307, 308] {
        let responder = Responder::http("127.0.0.1:0", move |head| match head {
            head if head.starts_with("GET /.well-known/") => redirect(status, "/next?x=1"),
            head if head.starts_with("GET /next?x=1 ") => {
                let port = head.split_once("a.test:").unwrap().1.split_once("\r\n").unwrap().0;
                redirect(status, &format!("http://b.test:{port}/last"))
            }
            head if head.starts_with("GET /last ") && head.contains("b.test") => ok(KEY_AUTH.as_bytes()),
            _ => ok(b"lost"),
        })
        .await;
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        assert_eq!(validate(rules(dns.addr, responder.addr.port()), "a.test").await, Outcome::Proved);
        assert_eq!((dns.count("a.test", A), dns.count("b.test", A)), (2, 1));
    }
}

#[tokio::test]
async fn ten_redirects_are_followed_and_eleven_are_not() {
    for (hops, proved) in [(10, true), (11, false)] {
        let (outcome, responder) = answered(move |head| {
            let path = head.split(' ').nth(1).unwrap();
            match path.strip_prefix("/hop/").map_or(0, |n| n.parse::<u32>().unwrap()) {
                n if n == hops => ok(KEY_AUTH.as_bytes()),
                n => redirect(302, &format!("/hop/{}", n + 1)),
            }
        })
        .await;
        assert_eq!(outcome == Outcome::Proved, proved, "{outcome:?}");
        assert_eq!(responder.connections(), 11);
    }
}

#[tokio::test]
async fn a_loop_of_redirects_ends() {
    let (outcome, responder) = answered(|head| redirect(301, head.split(' ').nth(1).unwrap())).await;
    let detail = failed(outcome, FailureKind::IncorrectResponse);
    assert!(detail.contains("more than 10 redirects"), "{detail}");
    assert_eq!(responder.connections(), 11);
}

#[tokio::test]
async fn redirects_to_elsewhere_are_not_followed() {
    for (location, hint) in [
        ("ftp://b.test/x", "neither http nor https"),
        ("http://b.test:22/x", "port 22"),
        ("http://user:pw@b.test/x", "user name"),
        ("http://[::1", "not a URL"),
    ] {
        let (outcome, _) = answered(move |_| redirect(302, location)).await;
        let detail = failed(outcome, FailureKind::IncorrectResponse);
        assert!(detail.contains(hint), "{location}: {detail}");
    }
}

#[tokio::test]
async fn an_https_hop_may_show_any_certificate() {
    // The certificate is for another name, self-signed, and long expired.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let cert = params.self_signed(&key).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (config, names) = server_config(cert.der().clone(), &key, &[b"http/1.1"], &[version]);
        let secure = Responder::tls("127.0.0.1:0", config, |_| ok(KEY_AUTH.as_bytes())).await;
        let port = secure.addr.port();
        let plain =
            Responder::http("127.0.0.1:0", move |_| redirect(301, &format!("https://b.test:{port}/x"))).await;
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        let rules = Rules { tls_alpn_port: port, ..rules(dns.addr, plain.addr.port()) };
        assert_eq!(validate(rules, "a.test").await, Outcome::Proved);
        assert_eq!(*names.lock().unwrap(), [Some("b.test".to_owned())]);
    }
}

#[tokio::test]
async fn an_https_hop_without_tls_is_a_tls_failure() {
    let plain = Responder::http("127.0.0.1:0", |_| ok(b"")).await;
    let port = plain.addr.port();
    let first =
        Responder::http("127.0.0.1:0", move |_| redirect(301, &format!("https://b.test:{port}/x"))).await;
    let dns = FakeDns::of(&["127.0.0.1"]).await;
    let rules =
        Rules { tls_alpn_port: port, timeout: Duration::from_secs(1), ..rules(dns.addr, first.addr.port()) };
    let Outcome::Failed(failure) = validate(rules, "a.test").await else { panic!("not failed") };
    assert!(matches!(failure.kind, FailureKind::Tls | FailureKind::Connection), "{failure:?}");
}

/// SSRF: forbidden first hops, redirects to forbidden addresses, the CA's own ports, rebinding,
/// endless and slow answers.
mod field_20_ssrf {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn forbidden_addresses_are_not_connected_to() {
        let victim = Responder::http("127.0.0.2:0", |_| ok(KEY_AUTH.as_bytes())).await;
        let port = victim.addr.port();
        let dns = FakeDns::of(&["127.0.0.2"]).await;
        for identifier in ["a.test", "127.0.0.2"] {
            let detail = failed(validate(rules(dns.addr, port), identifier).await, FailureKind::Forbidden);
            assert!(detail.contains(&format!("127.0.0.2:{port}")), "{detail}");
            assert!(detail.contains("127.0.0.0/8") && detail.contains("validation.allow"), "{detail}");
        }
        let metadata = FakeDns::of(&["169.254.169.254"]).await;
        failed(validate(rules(metadata.addr, port), "a.test").await, FailureKind::Forbidden);
        failed(validate(rules(metadata.addr, port), "169.254.169.254").await, FailureKind::Forbidden);
        assert_eq!(victim.connections(), 0);
    }

    #[tokio::test]
    async fn a_redirect_to_a_forbidden_address_is_not_followed() {
        for by_name in [true, false] {
            let victim = Responder::http("127.0.0.2:0", |_| ok(KEY_AUTH.as_bytes())).await;
            let port = victim.addr.port();
            let host = if by_name { "evil.test" } else { "127.0.0.2" };
            let first = Responder::http(&format!("127.0.0.1:{port}"), move |_| {
                redirect(302, &format!("http://{host}:{port}/"))
            })
            .await;
            let dns = FakeDns::start(|name, kind, _| match name {
                "evil.test" => addresses_of(name, kind, &["127.0.0.2"]),
                _ => addresses_of(name, kind, &["127.0.0.1"]),
            })
            .await;
            failed(validate(rules(dns.addr, port), "a.test").await, FailureKind::Forbidden);
            assert_eq!((first.connections(), victim.connections()), (1, 0));
        }
    }

    #[tokio::test]
    async fn the_cas_own_listeners_are_not_connected_to() {
        let own = Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())).await;
        let port = own.addr.port();
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        for listener in
            [own.addr, format!("0.0.0.0:{port}").parse().unwrap(), format!("[::]:{port}").parse().unwrap()]
        {
            let rules = Rules { own_listeners: vec![listener], ..rules(dns.addr, port) };
            let detail = failed(validate(rules, "a.test").await, FailureKind::Forbidden);
            assert!(detail.contains(&listener.to_string()), "{detail}");
        }
        assert_eq!(own.connections(), 0);
    }

    /// The second answer of the resolver would lead to a forbidden (and listening) address.
    #[tokio::test]
    async fn rebinding_finds_one_resolution_and_the_judged_address() {
        let victim = Responder::http("127.0.0.2:0", |_| ok(b"secret of the inside")).await;
        let port = victim.addr.port();
        let client = Responder::http(&format!("127.0.0.1:{port}"), |_| ok(KEY_AUTH.as_bytes())).await;
        let dns = FakeDns::start(|name, kind, before| match before {
            0 => addresses_of(name, kind, &["127.0.0.1"]),
            _ => addresses_of(name, kind, &["127.0.0.2"]),
        })
        .await;
        assert_eq!(validate(rules(dns.addr, port), "a.test").await, Outcome::Proved);
        assert_eq!((dns.count("a.test", A), dns.count("a.test", AAAA)), (1, 1));
        assert_eq!((client.connections(), victim.connections()), (1, 0));
        // And the next attempt, which asks anew, judges anew.
        let validator = Validator::new(rules(dns.addr, port)).unwrap();
        failed(validator.validate(&ask(Http01, "a.test")).await, FailureKind::Forbidden);
        assert_eq!(victim.connections(), 0);
    }

    /// A server that writes `piece` for ever, with `pause` between.
    async fn endless(head: &'static str, piece: &'static [u8], pause: Duration) -> Outcome {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(head.as_bytes()).await;
            while stream.write_all(piece).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        });
        let dns = FakeDns::of(&["127.0.0.1"]).await;
        let rules = Rules { timeout: Duration::from_secs(1), ..rules(dns.addr, port) };
        let begun = Instant::now();
        let outcome = validate(rules, "a.test").await;
        assert!(begun.elapsed() < Duration::from_millis(1300), "{:?}", begun.elapsed());
        server.abort();
        outcome
    }

    #[tokio::test]
    async fn an_endless_body_is_cut() {
        let outcome = endless("HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 512], Duration::ZERO).await;
        failed(outcome, FailureKind::IncorrectResponse);
        let outcome =
            endless("HTTP/1.1 200 OK\r\n", "X: y\r\n".repeat(100).leak().as_bytes(), Duration::ZERO).await;
        failed(outcome, FailureKind::IncorrectResponse);
    }

    #[tokio::test]
    async fn a_slow_responder_is_cut_off() {
        for head in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\n\r\n"] {
            let detail =
                failed(endless(head, b"x", Duration::from_millis(50)).await, FailureKind::Connection);
            assert!(detail.contains("in time"), "{detail}");
        }
    }

    #[tokio::test]
    async fn a_resolver_lost_between_hops_is_inconclusive() {
        let first = Responder::http("127.0.0.1:0", |_| redirect(302, "http://b.test/")).await;
        let dns = FakeDns::start(|name, kind, _| match name {
            "a.test" => addresses_of(name, kind, &["127.0.0.1"]),
            _ => crate::validation::fake_dns::SERV_FAIL,
        })
        .await;
        let outcome = validate(rules(dns.addr, first.addr.port()), "a.test").await;
        assert!(matches!(outcome, Outcome::Inconclusive(_)), "{outcome:?}");
    }
}

/// Not a test but a measurement of connection and fetch; the responder's time is not in it.
#[tokio::test]
#[ignore = "a measurement, to be run alone: cargo test -- --ignored --nocapture what_a_fetch_costs"]
async fn what_a_fetch_costs() {
    let responder = elsewhere(|| Responder::http("127.0.0.1:0", |_| ok(KEY_AUTH.as_bytes())));
    let rules = rules("127.0.0.1:1".parse().unwrap(), responder.addr.port());
    let validator = Validator::new(rules).unwrap();
    let ask = ask(Http01, "127.0.0.1");
    for _ in 0..4 {
        const FETCHES: u32 = 2500;
        let (begun, wall) = (thread_time(), Instant::now());
        for _ in 0..FETCHES {
            assert_eq!(validator.validate(&ask).await, Outcome::Proved);
        }
        println!(
            "one fetch: {:?} of this thread, {:?} in all",
            (thread_time() - begun) / FETCHES,
            wall.elapsed() / FETCHES
        );
    }
}
