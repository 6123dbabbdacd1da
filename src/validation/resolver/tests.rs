use hickory_resolver::proto::rr::RecordType::{A, AAAA, CNAME};

use super::*;
use crate::validation::fake_dns::{
    Answer, FakeDns, NO_DATA, NX_DOMAIN, SERV_FAIL, addresses_of, alias, rdata, txt,
};
use crate::validation::fakes::{elsewhere, thread_time};

const TOTAL: Duration = Duration::from_secs(3);

fn soon() -> Instant {
    Instant::now() + TOTAL
}

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

fn client(servers: &[SocketAddr]) -> Lookups {
    Lookups::new(servers, TOTAL).unwrap()
}

async fn look_up(server: &FakeDns, host: &str) -> Result<Vec<IpAddr>, Trouble> {
    client(&[server.addr]).addresses(&name(host), soon()).await
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[tokio::test]
async fn both_families_are_asked_once_each() {
    let dns = FakeDns::of(&["10.0.0.1", "10.0.0.2", "fd00::1"]).await;
    assert_eq!(look_up(&dns, "a.test").await, Ok(ips(&["fd00::1", "10.0.0.1", "10.0.0.2"])));
    assert_eq!((dns.count("a.test", A), dns.count("a.test", AAAA)), (1, 1));
    assert_eq!(dns.asked().len(), 2);
}

#[tokio::test]
async fn answers_are_told_from_missing_answers() {
    let refused = Answer::Code(ResponseCode::Refused);
    let rows = [
        ("nothing", NX_DOMAIN, NX_DOMAIN, Err("name")),
        ("empty", NO_DATA, NO_DATA, Err("data")),
        ("half nothing", NX_DOMAIN, SERV_FAIL, Err("name")),
        ("half empty", NO_DATA, SERV_FAIL, Err("answer")),
        ("servfail", SERV_FAIL, SERV_FAIL, Err("answer")),
        ("refused", refused.clone(), refused, Err("answer")),
        ("v4 only", addresses_of("a.test", A, &["10.0.0.1"]), SERV_FAIL, Ok(())),
        ("v6 only", NO_DATA, addresses_of("a.test", AAAA, &["fd00::1"]), Ok(())),
    ];
    for (label, v4, v6, want) in rows {
        let dns = FakeDns::start(move |_, kind, _| if kind == A { v4.clone() } else { v6.clone() }).await;
        let got = look_up(&dns, "a.test").await.map(drop).map_err(|trouble| match trouble {
            Trouble::Missing => "name",
            Trouble::Empty => "data",
            Trouble::Unanswered(_) => "answer",
        });
        assert_eq!(got, want, "{label}");
    }
}

#[tokio::test]
async fn an_answer_that_says_all_is_not_asked_for_twice() {
    let texts = |owner: &str| Answer::Records(vec![(owner.to_owned(), txt(&["own"]))]);
    let foreign = Answer::Records(vec![("a.test".to_owned(), alias("b.test"))]);
    for (label, answer, once) in [
        ("found", texts("a.test"), true),
        ("no name", NX_DOMAIN, true),
        ("no data", NO_DATA, true),
        ("failure", SERV_FAIL, false),
        ("of another name", texts("b.test"), false),
        ("an alias that leads on", foreign, false),
    ] {
        let dns = FakeDns::start(move |_, _, _| answer.clone()).await;
        let _ = client(&[dns.addr]).texts("a.test", soon()).await;
        assert_eq!(dns.asked().len() == 1, once, "{label}: {:?}", dns.asked());
    }
}

#[tokio::test]
async fn a_silent_second_family_does_not_use_up_the_time() {
    let dns = FakeDns::start(|name, kind, _| match kind {
        A => addresses_of(name, kind, &["10.0.0.1"]),
        _ => Answer::Silence,
    })
    .await;
    let begun = Instant::now();
    assert_eq!(look_up(&dns, "a.test").await, Ok(ips(&["10.0.0.1"])));
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_second_answer_that_gets_lost_is_asked_for_again() {
    let dns = FakeDns::start(|name, kind, before| match (kind, before) {
        (A, 0) => Answer::Silence,
        _ => addresses_of(name, kind, &["fd00::1", "10.0.0.1"]),
    })
    .await;
    let begun = Instant::now();
    assert_eq!(look_up(&dns, "a.test").await, Ok(ips(&["fd00::1", "10.0.0.1"])));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nothing_is_cached_not_even_absence() {
    let dns = FakeDns::start(|name, kind, before| match before {
        0 => NX_DOMAIN,
        1 => addresses_of(name, kind, &["10.0.0.1"]),
        _ => addresses_of(name, kind, &["10.0.0.2"]),
    })
    .await;
    let client = client(&[dns.addr]);
    assert_eq!(client.addresses(&name("a.test"), soon()).await, Err(Trouble::Missing));
    assert_eq!(client.addresses(&name("a.test"), soon()).await, Ok(ips(&["10.0.0.1"])));
    assert_eq!(client.addresses(&name("a.test"), soon()).await, Ok(ips(&["10.0.0.2"])));
    assert_eq!(dns.count("a.test", A), 3);
}

#[tokio::test]
async fn truncated_answers_come_over_tcp() {
    let dns = FakeDns::start(|name, _, _| Answer::Truncated(vec![(name.to_owned(), txt(&["whole"]))])).await;
    let texts = client(&[dns.addr]).texts("_acme-challenge.a.test", soon()).await;
    assert_eq!(texts, Ok(vec![b"whole".to_vec()]));
    assert_eq!(dns.asked().iter().map(|q| q.tcp).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn strings_of_one_record_are_joined_and_records_kept_apart() {
    let dns = FakeDns::start(|name, _, _| {
        let owner = || name.to_owned();
        Answer::Records(vec![(owner(), txt(&["ab", "cd"])), (owner(), txt(&["ef"]))])
    })
    .await;
    let mut texts = client(&[dns.addr]).texts("a.test", soon()).await.unwrap();
    texts.sort();
    assert_eq!(texts, [b"abcd".to_vec(), b"ef".to_vec()]);
}

#[tokio::test]
async fn aliases_are_followed_within_and_across_answers() {
    let dns = FakeDns::start(|name, kind, _| match (name, kind) {
        ("a.test", _) => Answer::Records(vec![("a.test".to_owned(), alias("b.test"))]),
        ("b.test", _) => {
            let chain = vec![("b.test".to_owned(), alias("c.test")), ("c.test".to_owned(), alias("d.test"))];
            Answer::Records(chain)
        }
        ("d.test", A) => addresses_of("d.test", A, &["10.0.0.4"]),
        _ => NO_DATA,
    })
    .await;
    assert_eq!(look_up(&dns, "a.test").await, Ok(ips(&["10.0.0.4"])));
    assert_eq!(dns.count("a.test", CNAME), 0);
}

#[tokio::test]
async fn a_circle_of_aliases_ends() {
    let dns = FakeDns::start(|name, _, _| {
        let target = if name == "a.test" { "b.test" } else { "a.test" };
        Answer::Records(vec![(name.to_owned(), alias(target))])
    })
    .await;
    assert_eq!(look_up(&dns, "a.test").await, Err(Trouble::Empty));
    assert!(dns.asked().len() < 50, "{}", dns.asked().len());
}

#[tokio::test]
async fn records_of_other_owners_prove_nothing() {
    let dns = FakeDns::start(|name, _, _| {
        Answer::Records(vec![(name.to_owned(), txt(&["own"])), ("other.test".to_owned(), txt(&["foreign"]))])
    })
    .await;
    assert_eq!(client(&[dns.addr]).texts("a.test", soon()).await, Ok(vec![b"own".to_vec()]));
    let dns =
        FakeDns::start(|_, _, _| Answer::Records(vec![("other.test".to_owned(), rdata("10.0.0.1"))])).await;
    assert!(look_up(&dns, "a.test").await.is_err());
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails_and_then_stays_first() {
    for bad in [SERV_FAIL, Answer::Silence] {
        let broken = FakeDns::start(move |_, _, _| bad.clone()).await;
        let good = FakeDns::of(&["10.0.0.1"]).await;
        let client = client(&[broken.addr, good.addr]);
        assert_eq!(client.addresses(&name("a.test"), soon()).await, Ok(ips(&["10.0.0.1"])));
        let asked = broken.asked().len();
        assert_eq!(client.addresses(&name("b.test"), soon()).await, Ok(ips(&["10.0.0.1"])));
        assert_eq!(broken.asked().len(), asked);
    }
}

#[tokio::test]
async fn names_are_absolute_and_localhost_needs_no_server() {
    let dns = FakeDns::start(|_, _, _| NX_DOMAIN).await;
    assert_eq!(look_up(&dns, "short").await, Err(Trouble::Missing));
    assert!(dns.asked().iter().all(|q| q.name == "short."), "{:?}", dns.asked());
    assert_eq!(look_up(&dns, "localhost").await, Ok(ips(&["::1", "127.0.0.1"])));
    let long = format!("_acme-challenge.{}", "a.".repeat(125));
    assert_eq!(client(&[dns.addr]).texts(&long, soon()).await, Err(Trouble::Missing));
}

#[tokio::test]
async fn the_hosts_file_is_the_systems_only() {
    // Any name but localhost that this machine's hosts file has; without one there is nothing to
    // compare.
    let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let known = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut words = line.split_whitespace();
        words.next()?.parse::<IpAddr>().ok()?;
        words.filter_map(|word| DnsName::parse(word).ok()).find(|name| !name.as_str().contains("localhost"))
    });
    let Some(known) = known else { return };
    let absolute = absolute(known.as_str()).unwrap();
    assert!(from_hosts_file(&absolute).await.is_some());
    let dns = FakeDns::start(|_, _, _| NX_DOMAIN).await;
    assert_eq!(look_up(&dns, known.as_str()).await, Err(Trouble::Missing));
}

#[tokio::test]
async fn localhost_works_with_the_systems_configuration() {
    // A machine without a resolv.conf has no system configuration to test.
    let Ok(client) = Lookups::new(&[], TOTAL) else { return };
    let found = client.addresses(&name("localhost"), soon()).await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
}

/// Not a test but a measurement; the server's time is not in it.
#[tokio::test]
#[ignore = "a measurement, to be run alone: cargo test -- --ignored --nocapture what_a_lookup_costs"]
async fn what_a_lookup_costs() {
    let server = elsewhere(|| FakeDns::of(&["10.0.0.1"]));
    let client = client(&[server.addr]);
    for round in 0..4 {
        const LOOKUPS: u32 = 2500;
        let (begun, wall) = (thread_time(), Instant::now());
        for n in 0..LOOKUPS {
            let host = name(&format!("h{n}-{round}.test"));
            assert_eq!(client.addresses(&host, soon()).await, Ok(ips(&["10.0.0.1"])));
        }
        println!(
            "one lookup: {:?} of this thread, {:?} in all",
            (thread_time() - begun) / LOOKUPS,
            wall.elapsed() / LOOKUPS
        );
    }
}
