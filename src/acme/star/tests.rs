use proptest::prelude::*;

use super::*;
use crate::acme::error::ErrorKind;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const DAY: u64 = 86_400;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn offer() -> Offer {
    Offer { min_lifetime: secs(3600), max_duration: secs(365 * DAY), allow_certificate_get: true }
}

fn ask() -> Ask {
    Ask {
        start: None,
        end: T0 + secs(30 * DAY),
        lifetime: DAY,
        lifetime_adjust: 0,
        allow_certificate_get: false,
    }
}

fn accept(ask: Ask) -> Result<AutoRenewal, Refusal> {
    ask.accept(Some(&offer()), secs(7 * DAY), T0 + secs(200 * DAY), T0)
}

/// The table of RFC 8739 §3.5.1.
#[test]
fn the_example_of_the_rfc() {
    let start = at("2016-01-10T00:00:00Z");
    let ask = Ask {
        start: Some(start),
        end: at("2016-01-20T00:00:00Z"),
        lifetime: 345_600,
        lifetime_adjust: 259_200,
        allow_certificate_get: false,
    };
    let agreed = ask.accept(Some(&offer()), secs(7 * DAY), T0, start - secs(DAY)).unwrap();
    assert_eq!(agreed.lifetime_adjust, 259_200, "3 days: more than the server's own padding");
    let first = agreed.first(start - secs(3600));
    let rows = [
        ("2016-01-10T00:00:00Z", "2016-01-14T00:00:00Z"),
        ("2016-01-11T00:00:00Z", "2016-01-18T00:00:00Z"),
        ("2016-01-15T00:00:00Z", "2016-01-20T00:00:00Z"),
    ];
    for (index, (not_before, not_after)) in (0..).zip(rows) {
        let period = agreed.period(first, index).unwrap();
        assert_eq!((period.not_before, period.not_after), (at(not_before), at(not_after)), "{index}");
        // The value of notBefore is also the time of publication.
        assert_eq!(agreed.published(first, index), Some(at(not_before)), "{index}");
    }
    assert_eq!(agreed.period(first, 3), None);
}

#[test]
fn what_is_accepted_and_how_it_is_reflected() {
    // Asked lifetime and adjustment, agreed adjustment.
    let rows = [(DAY, 0, 57_600), (DAY, 57_601, 57_601), (DAY, u64::MAX, DAY), (3601, 1, 2401)];
    for (lifetime, lifetime_adjust, want) in rows {
        let agreed = accept(Ask { lifetime, lifetime_adjust, ..ask() }).unwrap();
        assert_eq!(agreed.lifetime_adjust, want, "{lifetime} {lifetime_adjust}");
        assert_eq!(agreed.effective_lifetime(), secs(lifetime + want));
    }
    // Unauthenticated GET: only where both want it (§3.4).
    for (asked, offered) in [(false, false), (false, true), (true, false), (true, true)] {
        let ask = Ask { allow_certificate_get: asked, ..ask() };
        let offer = Offer { allow_certificate_get: offered, ..offer() };
        let agreed = ask.accept(Some(&offer), secs(7 * DAY), T0 + secs(200 * DAY), T0).unwrap();
        assert_eq!(agreed.allow_certificate_get, asked && offered);
    }
}

#[test]
fn what_is_refused_names_the_field_and_the_rule() {
    let on = |days: u64| T0 + secs(days * DAY);
    let rows = [
        (Ask { lifetime: 3599, ..ask() }, "auto-renewal.lifetime: must be at least 3600 seconds"),
        (Ask { lifetime: 0, ..ask() }, "auto-renewal.lifetime: must be at least 3600 seconds"),
        // Seven days are the most, with two thirds or more on top.
        (Ask { lifetime: 5 * DAY, ..ask() }, "auto-renewal.lifetime: with what"),
        (
            Ask { lifetime: 4 * DAY, lifetime_adjust: 3 * DAY + 1, ..ask() },
            "auto-renewal.lifetime: with what",
        ),
        (Ask { lifetime: u64::MAX, ..ask() }, "auto-renewal.lifetime: with what"),
        (Ask { lifetime: u64::MAX, lifetime_adjust: u64::MAX, ..ask() }, "auto-renewal.lifetime: with what"),
        (Ask { start: Some(T0 - secs(301)), ..ask() }, "auto-renewal.start-date: lies more than 5 minutes"),
        (
            Ask { start: Some(on(365) + secs(1)), end: on(366), ..ask() },
            "auto-renewal.start-date: lies more than",
        ),
        (Ask { end: T0, ..ask() }, "auto-renewal.end-date: must lie ahead"),
        (Ask { end: T0 - secs(1), ..ask() }, "auto-renewal.end-date: must lie ahead"),
        (Ask { start: Some(on(10)), end: on(10), ..ask() }, "auto-renewal.end-date: must lie ahead"),
        (Ask { start: Some(on(10)), end: on(9), ..ask() }, "auto-renewal.end-date: must lie ahead"),
        (Ask { end: on(365) + secs(1), ..ask() }, "auto-renewal.end-date: must lie at most"),
        (Ask { end: Timestamp::from_millis(u64::MAX), ..ask() }, "auto-renewal.end-date: must lie at most"),
        (Ask { end: on(200) + secs(1), ..ask() }, "auto-renewal.end-date: lies beyond the issuer's"),
    ];
    for (ask, words) in rows {
        let refusal = accept(ask).unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Malformed, "{ask:?}");
        assert!(refusal.detail.starts_with(words), "{ask:?}: {}", refusal.detail);
    }
    let refusal = ask().accept(None, secs(7 * DAY), on(200), T0).unwrap_err();
    assert!(refusal.kind == ErrorKind::Malformed && refusal.detail.contains("not offered"));
    // The bounds themselves are good.
    for ask in [
        Ask { lifetime: 3600, ..ask() },
        Ask { lifetime: 4 * DAY, lifetime_adjust: 3 * DAY, ..ask() },
        Ask { start: Some(T0 - secs(300)), ..ask() },
        Ask { end: T0 + secs(1), ..ask() },
        Ask { end: on(200), ..ask() },
    ] {
        assert!(accept(ask).is_ok(), "{ask:?}");
    }
}

fn renewing(first: Timestamp, index: Option<u64>) -> Renewing {
    let current = index.map(|index| Current { index, serial: Serial::new(T0, [1; 16]), not_after: T0 });
    Renewing { csr: Vec::new(), first, current, failures: 0, refused: None, canceled: None }
}

#[test]
fn what_is_to_be_done_when() {
    // Certificates of nine hours, six of them pre-dated, for a day and a half: nrd 0, 9, 18, 27.
    const HOUR: u64 = 3600;
    let hours = |n: u64| T0 + secs(n * HOUR);
    let agreed = accept(Ask {
        start: Some(hours(0)),
        end: hours(36),
        lifetime: 9 * HOUR,
        lifetime_adjust: 0,
        ..ask()
    })
    .unwrap();
    let issue = |index: u64, not_before: u64, not_after: u64| {
        Move::Issue(Period { index, not_before: hours(not_before), not_after: hours(not_after) })
    };
    let first = hours(0);
    let before = first - secs(1);
    let rows = [
        // Nothing issued yet.
        (before, None, Move::Wait(first)),
        (first, None, issue(0, 0, 9)),
        (hours(2), None, issue(0, 0, 9)),
        (hours(3), None, issue(1, 3, 18)),
        (hours(35), None, issue(3, 21, 36)),
        (hours(36), None, Move::Rest),
        // The first one is out: the next one comes when a third of its nominal life is over.
        (first, Some(0), Move::Wait(hours(3))),
        (hours(3) - secs(1), Some(0), Move::Wait(hours(3))),
        (hours(3), Some(0), issue(1, 3, 18)),
        (hours(3), Some(1), Move::Wait(hours(12))),
        // Two were missed: only the one of now is made.
        (hours(22), Some(0), issue(3, 21, 36)),
        (hours(22), Some(3), Move::Rest),
        (hours(36), Some(0), Move::Rest),
        // The clock was set back.
        (hours(1), Some(3), Move::Rest),
        (hours(1), Some(2), Move::Wait(hours(21))),
        (before, Some(1), Move::Wait(first)),
    ];
    for (now, index, want) in rows {
        let state = renewing(first, index);
        assert_eq!(state.next_move(&agreed, now), want, "{now} {index:?}");
        assert!(state.due(&agreed, now) > now, "{now} {index:?}");
        let canceled = Renewing { canceled: Some(T0), ..state };
        assert_eq!(canceled.next_move(&agreed, now), Move::Rest, "{now} {index:?}");
    }
}

#[test]
fn what_a_reader_has_made_first() {
    let agreed = |due| AutoRenewal { due, ..accept(ask()).unwrap() };
    let day = |n: u64| T0 + secs(n * DAY);
    // Now, due, failures, canceled.
    let rows = [
        (day(1), day(1), 0, None, true),
        (day(1), day(0), 0, None, true),
        // Put off by a clock that was wrong.
        (day(1), day(9), 0, None, true),
        // Put off after a failure.
        (day(1), day(9), 1, None, false),
        (day(1), day(1), 1, None, true),
        // The first one is the one of now.
        (T0, T0, 0, None, false),
        (day(30), day(1), 0, None, false),
        (day(1), day(1), 0, Some(T0), false),
    ];
    for (now, due, failures, canceled, want) in rows {
        let state = Renewing { failures, canceled, ..renewing(T0, Some(0)) };
        assert_eq!(state.is_overdue(&agreed(due), now), want, "{now} {due} {failures} {canceled:?}");
    }
}

#[test]
fn ended_orders_are_kept_for_a_while() {
    let end = ask().end;
    let keep = |keep| AutoRenewal { keep, ..accept(ask()).unwrap() };
    let with = |canceled, not_after| {
        let mut state = renewing(T0, Some(0));
        state.canceled = canceled;
        if let Some(current) = &mut state.current {
            current.not_after = not_after;
        }
        state
    };
    let day = |n: u64| T0 + secs(n * DAY);
    let rows = [
        (keep(T0), with(None, day(1)), end + KEPT_AFTER_END),
        (keep(T0), with(Some(day(1)), day(2)), day(2) + KEPT_AFTER_END),
        (keep(T0), with(Some(day(3)), day(2)), day(3) + KEPT_AFTER_END),
        // Authorizations proved in it hold for longer than that.
        (keep(day(90)), with(Some(day(1)), day(2)), day(90)),
    ];
    for (agreed, state, want) in rows {
        assert_eq!(agreed.removal(&state), want, "{state:?}");
    }
}

#[test]
fn failures_are_tried_again_less_and_less_often() {
    let pauses = |lifetime: u64| {
        let agreed = AutoRenewal { lifetime, ..accept(ask()).unwrap() };
        let pause =
            |failures| Renewing { failures, ..renewing(T0, Some(0)) }.retry(&agreed, T0).since(T0).as_secs();
        [0, 1, 2, 5, 10, u32::MAX].map(pause)
    };
    assert_eq!(pauses(10 * DAY), [5, 10, 20, 160, 600, 600]);
    assert_eq!(pauses(3600), [5, 10, 20, 150, 150, 150]);
    assert_eq!(pauses(60), [2, 2, 2, 2, 2, 2]);
    assert_eq!(pauses(1), [1, 1, 1, 1, 1, 1]);
}

prop_compose! {
    /// Anything that is accepted, with the moment it is finalized.
    fn agreements()(
        start in prop::option::of(0u64..20 * DAY),
        duration in 1u64..60 * DAY,
        lifetime in 60u64..4 * DAY,
        lifetime_adjust in prop_oneof![Just(0), 0u64..8 * DAY, Just(u64::MAX)],
        late in 0u64..3 * DAY,
        millis in 0u64..1000,
    ) -> (AutoRenewal, Timestamp) {
        let start = start.map(|start| T0 + secs(start));
        let end = start.unwrap_or(T0) + secs(duration);
        let ask = Ask { start, end, lifetime, lifetime_adjust, allow_certificate_get: false };
        let offer = Offer { min_lifetime: secs(60), ..offer() };
        let agreed = ask.accept(Some(&offer), secs(8 * DAY), T0 + secs(100 * DAY), T0).unwrap();
        (agreed, T0 + secs(late) + Duration::from_millis(millis))
    }
}

proptest! {
    /// RFC 8739 §3.3, §3.5 to the letter, for every certificate of a series.
    #[test]
    fn every_certificate_is_as_the_rfc_computes_it((agreed, now) in agreements()) {
        let first = agreed.first(now);
        let (lifetime, adjust) = (agreed.lifetime, agreed.lifetime_adjust);
        prop_assert!(adjust * 2 >= lifetime && adjust <= lifetime, "f is half at least");
        let start = agreed.start.unwrap_or(first);
        prop_assert!(first >= start);
        let mut index = 0;
        let mut last: Option<Period> = None;
        while let Some(period) = agreed.period(first, index) {
            let nominal = first + secs(index * lifetime);
            prop_assert_eq!(period.not_after, (nominal + secs(lifetime)).min(agreed.end));
            prop_assert_eq!(period.not_before, (nominal - secs(adjust)).max(start));
            prop_assert!(period.not_before < period.not_after && period.not_after <= agreed.end);
            prop_assert!(period.not_after.since(period.not_before) <= agreed.effective_lifetime());
            let published = agreed.published(first, index).unwrap();
            prop_assert!(period.not_before <= published, "valid when it is published");
            if let Some(last) = last {
                // Halfway through the nominal lifetime of the one before, at the latest.
                prop_assert!(published + secs(lifetime / 2) <= last.not_after);
                prop_assert_eq!(published, period.not_before);
            }
            last = Some(period);
            index += 1;
            if index > 2000 { return Ok(()); }
        }
        let covered = last.map(|last| last.not_after);
        prop_assert_eq!(covered, (first < agreed.end).then_some(agreed.end), "to the end and no further");
        prop_assert_eq!(agreed.published(first, index), None);
    }

    /// There is no gap: at any moment of the series the one to have is valid.
    #[test]
    fn at_any_moment_a_certificate_is_valid((agreed, now) in agreements(), offset in 0u64..90 * DAY, millis in 0u64..1000) {
        let first = agreed.first(now);
        let moment = T0 + secs(offset) + Duration::from_millis(millis);
        match agreed.latest(first, moment) {
            Some(period) => {
                prop_assert!(first <= moment && moment < agreed.end);
                prop_assert!(period.not_before <= moment && moment < period.not_after);
                prop_assert_eq!(agreed.period(first, period.index), Some(period));
                let next = agreed.published(first, period.index + 1);
                prop_assert!(next.is_none_or(|next| next > moment), "no later one is out");
            }
            None => prop_assert!(moment < first || moment >= agreed.end),
        }
    }

    /// Whoever does what is due whenever it is due makes every certificate of the series once, in
    /// order, and comes to rest.
    #[test]
    fn following_the_schedule_comes_to_an_end((agreed, now) in agreements()) {
        prop_assume!(agreed.first(now) < agreed.end);
        let mut state = renewing(agreed.first(now), None);
        let mut now = now;
        for _ in 0..5000 {
            match state.next_move(&agreed, now) {
                Move::Rest => {
                    let last = state.current.unwrap().index;
                    prop_assert_eq!(agreed.period(state.first, last + 1), None);
                    prop_assert_eq!(state.due(&agreed, now), agreed.removal(&state).max(now.whole_seconds() + secs(1)));
                    return Ok(());
                }
                Move::Issue(period) => {
                    prop_assert!(state.current.is_none_or(|current| current.index < period.index));
                    let serial = Serial::new(T0, [1; 16]);
                    state.current = Some(Current { index: period.index, serial, not_after: period.not_after });
                }
                Move::Wait(_) => {}
            }
            now = state.due(&agreed, now);
        }
    }
}
