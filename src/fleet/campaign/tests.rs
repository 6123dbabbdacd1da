use proptest::prelude::*;

use super::*;
use crate::acme::renewal::{begin, renewal};

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn serial(n: u64) -> Serial {
    let mut random = [0; 16];
    random[8..].copy_from_slice(&n.to_be_bytes());
    Serial::new(T0 + DAY, random)
}

fn campaign(selector: Selector) -> Campaign {
    Campaign {
        selector,
        created: T0,
        start: T0,
        over: 2 * HOUR,
        reason: String::new(),
        explanation: None,
        drill: false,
        cancelled: None,
    }
}

fn names(texts: &[&str]) -> Vec<Identifier> {
    texts.iter().map(|text| Identifier::parse_dns(text).unwrap()).collect()
}

fn candidate<'a>(serial: &'a Serial, names: &'a [Identifier], issued: Timestamp) -> Candidate<'a> {
    Candidate {
        serial,
        issuer: &[7; 20],
        authority: Some("default"),
        account: AccountId::new([1; 16]),
        provisioner: "acme",
        profile: Some("web"),
        names,
        key_type: Some("ec-p256"),
        issued,
    }
}

#[test]
fn conditions_are_all_to_hold() {
    let (serial, names) = (serial(1), names(&["a.web.test", "b.test"]));
    let it = candidate(&serial, &names, T0 - HOUR);
    let dns = |text| DnsName::parse(text).unwrap();
    let name = |text| Identifier::parse_dns(text).unwrap();
    let text = |text: &str| Some(text.to_owned());
    let all = Selector::default();
    let met = Selector {
        authority: text("default"),
        issuer: Some([7; 20]),
        account: Some(AccountId::new([1; 16])),
        provisioner: text("acme"),
        profile: text("web"),
        suffix: Some(dns("web.test")),
        name: Some(name("b.test")),
        key_type: text("ec-p256"),
        serial: Some(serial),
        issued_before: Some(T0),
    };
    assert!(all.is_all() && all.selects(&it) && !met.is_all() && met.selects(&it));
    let missed = [
        Selector { authority: text("other"), ..met.clone() },
        Selector { issuer: Some([8; 20]), ..met.clone() },
        Selector { account: Some(AccountId::new([2; 16])), ..met.clone() },
        Selector { provisioner: text("acm"), ..met.clone() },
        Selector { profile: text("job"), ..met.clone() },
        Selector { suffix: Some(dns("eb.test")), ..met.clone() },
        Selector { name: Some(name("web.test")), ..met.clone() },
        Selector { key_type: text("rsa"), ..met.clone() },
        Selector { serial: Some(super::tests::serial(2)), ..met.clone() },
        Selector { issued_before: Some(T0 - HOUR), ..met.clone() },
    ];
    for selector in missed {
        assert!(!selector.is_all() && !selector.selects(&it), "{selector:?}");
    }
    let bare = Candidate { authority: None, profile: None, key_type: None, ..it };
    for selector in [
        Selector { authority: text("default"), ..Selector::default() },
        Selector { profile: text("web"), ..Selector::default() },
        Selector { key_type: text("rsa"), ..Selector::default() },
    ] {
        assert!(!selector.selects(&bare), "{selector:?}");
    }
}

#[test]
fn what_is_below_a_suffix() {
    for (suffix, name, want) in [
        ("web.test", "web.test", true),
        ("web.test", "a.b.web.test", true),
        ("web.test", "*.web.test", true),
        ("web.test", "xweb.test", false),
        ("web.test", "test", false),
        ("test", "web.test", true),
    ] {
        let (suffix, name) = (DnsName::parse(suffix).unwrap(), Identifier::parse_dns(name).unwrap());
        assert_eq!(is_below(&suffix, &name), want, "{suffix:?} {name}");
    }
    assert!(!is_below(&DnsName::parse("test").unwrap(), &Identifier::parse_ip("10.0.0.1").unwrap()));
}

#[test]
fn a_campaign_comes_to_its_end_by_itself() {
    let planned = Campaign { start: T0 + HOUR, ..campaign(Selector::default()) };
    let end = T0 + 3 * HOUR + LINGER;
    for (at, want, counts) in [
        (T0, Standing::Planned, true),
        (T0 + HOUR, Standing::Calling, true),
        (T0 + 3 * HOUR, Standing::Lingering, true),
        (end - Duration::from_secs(1), Standing::Lingering, true),
        (end, Standing::Over, false),
    ] {
        assert_eq!((planned.standing(at), planned.is_in_force(at)), (want, counts));
        let cancelled = Campaign { cancelled: Some(T0), ..planned.clone() };
        assert_eq!((cancelled.standing(at), cancelled.is_in_force(at)), (Standing::Cancelled, false));
    }
    for (standing, name) in Standing::TABLE {
        assert_eq!(standing.name(), name);
    }
}

#[test]
fn who_has_renewed_is_not_called_again_and_the_first_window_counts() {
    let (serial, names) = (serial(1), names(&["a.test"]));
    let slow = Campaign { over: 10 * HOUR, ..campaign(Selector::default()) };
    let quick = campaign(Selector::default());
    let before = candidate(&serial, &names, T0 - HOUR);
    let all = [slow.clone(), quick.clone()];
    assert_eq!(called(all.iter(), &before, T0), Some(&quick));
    assert_eq!(called(all[..1].iter(), &before, T0), Some(&slow));
    assert_eq!(called(all.iter(), &before, T0 + 3 * HOUR + LINGER), Some(&slow), "the other is over");
    for issued in [T0, T0 + HOUR] {
        assert_eq!(called(all.iter(), &candidate(&serial, &names, issued), T0), None);
    }
}

/// 10,000 certificates of a day, issued at one moment and called over two hours: as many in each minute
/// as chance allows and no more, and all windows end within a twentieth more.
#[test]
fn the_load_is_flat() {
    const FLEET: u64 = 10_000;
    let call = campaign(Selector::default()).call();
    let mut minutes = [0_u64; 120];
    for n in 0..FLEET {
        let moved = renewal(T0 - HOUR, T0 + 23 * HOUR, &serial(n), None, Some(call), T0);
        minutes[usize::try_from(moved.start.since(T0).as_secs() / 60).unwrap()] += 1;
        assert!(moved.end <= T0 + 2 * HOUR + Duration::from_secs(6 * 60));
    }
    let mean = FLEET as f64 / 120.0;
    let chi: f64 = minutes.iter().map(|n| (*n as f64 - mean).powi(2) / mean).sum();
    // 119 degrees of freedom: 173 has a chance of 1 in 1000, and the serials are always the same.
    assert!((70.0..173.0).contains(&chi), "chi squared is {chi}");
    let (least, most) = (minutes.iter().min().unwrap(), minutes.iter().max().unwrap());
    assert!(*least > 50 && *most < 120, "{least} to {most} a minute, of {mean:.1}");
}

proptest! {
    /// Never later than usual; never when it was not selected; never of a certificate from behind the start.
    #[test]
    fn windows_move_forward_only(
        n: u64, age in 0u64..100_000, life in 60u64..10_000_000, over in 10u64..2_592_000,
        now in 0u64..20_000_000, selected: bool, ahead in 0u64..100_000
    ) {
        let secs = Duration::from_secs;
        let (serial, not_before) = (serial(n), T0 - secs(age));
        let selector = Selector { provisioner: (!selected).then(|| "other".to_owned()), ..Selector::default() };
        let start = T0 - secs(50_000) + secs(ahead);
        let campaign = Campaign { start, over: secs(over), ..campaign(selector) };
        let names = names(&["a.test"]);
        let it = candidate(&serial, &names, not_before);
        let now = T0 + secs(now);
        let call = called([&campaign].into_iter(), &it, now).map(Campaign::call);
        let at = |call| renewal(not_before, not_before + secs(life), &serial, None, call, now);
        let (moved, usual) = (at(call), at(None));
        prop_assert!(moved.start <= usual.start && moved.end <= usual.end);
        prop_assert_eq!(usual.start, begin(not_before, not_before + secs(life), &serial).whole_seconds());
        let counts = selected && not_before < start && campaign.is_in_force(now);
        prop_assert_eq!(call.is_some(), counts);
        if !counts {
            prop_assert_eq!(moved, usual);
        } else if moved != usual {
            prop_assert!(moved.start >= start.whole_seconds() && moved.start <= start + secs(over));
        }
    }
}
