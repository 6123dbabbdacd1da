use proptest::prelude::*;

use super::*;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn serial(n: u64) -> Serial {
    let mut random = [0; 16];
    random[8..].copy_from_slice(&n.to_be_bytes());
    Serial::new(T0 + DAY, random)
}

#[test]
fn identifiers() {
    let issuer = base64url(&[0xab; 20]);
    let ours = Serial::new(T0, [0xcd; 16]);
    let good = format!("{issuer}.{}", base64url(ours.as_bytes()));
    let id = CertId::parse(&good).unwrap();
    assert_eq!(id, CertId { issuer: [0xab; 20], serial: ours });
    assert_eq!(id.to_string(), good);

    let malformed: &[(&str, &str)] = &[
        ("", "full stop"),
        (&issuer, "full stop"),
        (".", "key identifier"),
        (".AQ", "key identifier"),
        ("AQ.", "zero or missing"),
        ("AQ.AA", "zero or missing"),
        ("AQ.gA", "negative"),
        ("AQ._w", "negative"),
        ("AQ.AAE", "zero byte that DER"),
        ("AQ.AH8", "zero byte that DER"),
        ("AQ==.AQ", "key identifier"),
        ("AQ.AQ==", "serial number is not"),
        ("AR.AQ", "key identifier"),
        ("AQ.AR", "serial number is not"),
        ("A+.AQ", "key identifier"),
        ("AQ.A/", "serial number is not"),
        ("AQ .AQ", "key identifier"),
        ("AQ.AQ.AQ", "serial number is not"),
        ("AQ%2eAQ", "full stop"),
        ("AQ.\u{e9}", "serial number is not"),
    ];
    for (text, words) in malformed {
        match CertId::parse(text) {
            Err(CertIdError::Malformed(rule)) => assert!(rule.contains(words), "{text}: {rule}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    // The RFC's own example, and others that are none of ours: another length of key identifier or
    // serial number, one that begins with a zero byte as DER wants it.
    let serial = base64url(ours.as_bytes());
    let short = base64url(&[0xab; 19]);
    let long = base64url(&[0xab; 32]);
    for text in [
        "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".to_owned(),
        "AQ.AQ".to_owned(),
        "AQ.AIA".to_owned(),
        format!("{short}.{serial}"),
        format!("{long}.{serial}"),
        format!("{issuer}.{}", base64url(&[0x7f; 18])),
        format!("{issuer}.{}", base64url(&[&[0x7f], &ours.as_bytes()[..]].concat())),
    ] {
        assert_eq!(CertId::parse(&text), Err(CertIdError::Foreign), "{text}");
    }
}

/// 100,000 certificates issued in one moment come back evenly: the load of each hundredth of the
/// spread is what chance allows and no more.
#[test]
fn a_fleet_is_spread_evenly() {
    const FLEET: u64 = 100_000;
    const BUCKETS: usize = 100;
    let life = 90 * DAY;
    let span = life.as_secs() / SPREAD;
    let first = T0 + life / 10 * 6;
    let mut begun = [0u64; BUCKETS];
    for n in 0..FLEET {
        let Renewal { start, end, revoked, .. } = renewal(T0, T0 + life, &serial(n), None, None, T0);
        assert!(!revoked);
        assert_eq!(end.since(start), life / 50);
        let offset = start.since(first).as_secs();
        assert!(start >= first && offset < span, "{offset}");
        begun[usize::try_from(offset * BUCKETS as u64 / span).unwrap()] += 1;
    }
    let mean = FLEET as f64 / BUCKETS as f64;
    let chi: f64 = begun.iter().map(|n| (*n as f64 - mean).powi(2) / mean).sum();
    // 99 degrees of freedom: 149 has a chance of 1 in 1000, and the serials here are always the same.
    // Far too small would be no chance either.
    assert!((55.0..149.0).contains(&chi), "chi squared is {chi}");
    let most = *begun.iter().max().unwrap();
    assert!((most as f64) < mean * 1.15, "the worst hundredth has {most}");
}

/// Life, position of `now` in seconds after notBefore, whether revoked → pause in seconds at most and
/// at least.
#[test]
fn clients_come_back_in_time() {
    let rows: [(Duration, u64, (u64, u64)); 9] = [
        // Six hours, wherever life is long and the window far.
        (90 * DAY, 0, (21_600, 21_600)),
        (398 * DAY, 86_400 * 100, (21_600, 21_600)),
        // A day: 6 hours are a quarter of it; then as it fits before the window (14:24 to 16:48).
        (DAY, 0, (21_600, 21_600)),
        (DAY, 43_200, (8_640, 17_280)),
        (DAY, 14 * 3600, (60, 10_080)),
        // Five minutes: 75 seconds, then less, never none.
        (5 * MINUTE, 0, (75, 75)),
        (5 * MINUTE, 150, (30, 60)),
        (5 * MINUTE, 179, (1, 31)),
        // Past the window: not at every second.
        (5 * MINUTE, 299, (75, 75)),
    ];
    for (life, after, (least, most)) in rows {
        for n in 0..1000 {
            let now = T0 + Duration::from_secs(after);
            let pause = renewal(T0, T0 + life, &serial(n), None, None, now).ask_again.as_secs();
            assert!((least..=most).contains(&pause), "{life:?} {after}: {pause}");
        }
    }
}

/// A client that does nothing but what it is told comes into the window before it ends.
#[test]
fn who_asks_when_told_meets_the_window() {
    for life in [MINUTE, 5 * MINUTE, 6 * MINUTE, 60 * MINUTE, DAY, 7 * DAY, 90 * DAY] {
        for n in 0..200 {
            let (mut now, mut asked) = (T0 + Duration::from_millis(n * 7), 0);
            let met = loop {
                let Renewal { start, end, ask_again, .. } =
                    renewal(T0, T0 + life, &serial(n), None, None, now);
                asked += 1;
                if now >= start {
                    break now < end;
                }
                now = now + ask_again;
            };
            assert!(met, "{life:?} {n}");
            let steady = life.as_secs() / 21_600;
            assert!(asked <= steady + 5, "{life:?} {n}: asked {asked} times");
        }
    }
}

#[test]
fn revocation_moves_the_window_to_the_past() {
    for (now, revoked) in
        [(T0 + MINUTE, T0 + MINUTE), (T0 + DAY / 2, T0 + MINUTE), (T0, T0 + MINUTE), (T0 + 9 * DAY, T0)]
    {
        let info = renewal(T0, T0 + DAY, &serial(1), Some(revoked), None, now);
        assert!(info.revoked && info.end <= now && info.start < info.end, "{info:?}");
    }
}

/// After a change of issuer the fleet comes over evenly, none later than it would have anyway.
#[test]
fn another_issuer_pulls_the_fleet_over() {
    const FLEET: u64 = 10_000;
    let (life, since, over) = (90 * DAY, T0 + DAY, 10 * DAY);
    let mut days = [0_u64; 10];
    for n in 0..FLEET {
        let at = |call| renewal(T0, T0 + life, &serial(n), None, call, T0 + DAY);
        let moved = at(Some(Call { since, over }));
        let usual = at(None);
        assert!(moved.start >= since && moved.start < usual.start && moved.end < T0 + life);
        assert!(!moved.revoked && moved.end <= since + over + over / 20, "{moved:?}");
        days[usize::try_from(moved.start.since(since).as_secs() / DAY.as_secs()).unwrap()] += 1;
        // Changed late in its life, nothing moves.
        let late = Call { since: T0 + life / 10 * 8, over };
        assert_eq!(at(Some(late)), usual);
    }
    assert!(days.iter().all(|day| (850..1150).contains(day)), "{days:?}");
}

proptest! {
    #[test]
    fn whatever_the_times(
        not_before in 0u64..1 << 43, life in 0u64..1 << 40, now in 0u64..1 << 44,
        n: u64, revoked in prop::option::of(0u64..1 << 44),
        since in prop::option::of((0u64..1 << 44, 0u64..1 << 40))
    ) {
        let at = Timestamp::from_millis;
        let call = since.map(|(since, over)| Call { since: at(since), over: Duration::from_millis(over) });
        let info =
            renewal(at(not_before), at(not_before + life), &serial(n), revoked.map(at), call, at(now));
        prop_assert!(info.start < info.end);
        prop_assert_eq!((info.start.as_millis() % 1000, info.end.as_millis() % 1000), (0, 0));
        prop_assert!((1..=21_600).contains(&info.ask_again.as_secs()));
        prop_assert_eq!(info.ask_again.subsec_nanos(), 0);
        // RFC 3339 is what a client reads.
        prop_assert_eq!(Timestamp::parse_rfc3339(&info.end.to_rfc3339()), Some(info.end));
    }

    #[test]
    fn any_text_is_answered_and_one_spelling_is_known(text in ".{0,80}") {
        if let Ok(id) = CertId::parse(&text) {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn identifiers_round_trip(issuer: [u8; 20], random: [u8; 16]) {
        let id = CertId { issuer, serial: Serial::new(T0, random) };
        prop_assert_eq!(CertId::parse(&id.to_string()), Ok(id));
    }
}
