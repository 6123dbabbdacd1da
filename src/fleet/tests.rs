//! Single turns.

use super::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_secs(1_793_318_400);

fn id(names: &[&str]) -> IdentityId {
    let names: Vec<Identifier> = names.iter().map(|name| Identifier::parse_dns(name).unwrap()).collect();
    IdentityId::of(names.iter()).unwrap()
}

fn issuance(identity: IdentityId, issued: Timestamp, random: u8) -> Issuance {
    let not_after = issued + 24 * HOUR;
    Issuance {
        identity,
        serial: Serial::new(not_after, [random; 16]),
        issued,
        not_before: issued - Duration::from_secs(60),
        not_after,
        revoked: false,
        automatic: false,
        provisioner: 0,
    }
}

fn state(fleet: &Fleet, identity: &IdentityId) -> Option<State> {
    fleet.identity(identity).map(|identity| identity.state)
}

#[test]
fn an_identity_is_a_set_of_names() {
    assert_eq!(id(&["a.test", "b.test"]), id(&["b.test", "a.test", "b.test"]));
    assert_ne!(id(&["a.test", "b.test"]), id(&["a.test"]));
    assert_ne!(id(&["a.test"]), id(&["*.a.test"]));
    assert_eq!(IdentityId::of([].iter()), None);
}

#[test]
fn a_day_without_renewal() {
    let (mut fleet, web) = (Fleet::default(), id(&["a.test"]));
    fleet.advance(START, &mut |_| ());
    fleet.learn(&issuance(web, START, 1), &mut |_| ());
    let mut told = Vec::new();
    for minutes in 0..(24 + 8 * 24) * 60 {
        fleet.advance(START + Duration::from_secs(60 * minutes), &mut |change| {
            told.push((minutes, change.to))
        });
    }
    let kinds: Vec<_> = told.iter().map(|(_, to)| *to).collect();
    assert_eq!(kinds, [Some(State::Due), Some(State::Overdue), Some(State::Expired), None]);
    assert!((16 * 60..18 * 60).contains(&told[0].0) && (20 * 60..=21 * 60).contains(&told[1].0), "{told:?}");
    assert_eq!((told[2].0, told[3].0), (24 * 60, 8 * 24 * 60));
    assert_eq!(fleet.summary(), Summary::default());
}

#[test]
fn retirement_and_revocation_do_not_alarm_and_a_new_certificate_ends_them() {
    let (mut fleet, web) = (Fleet::default(), id(&["a.test"]));
    fleet.advance(START, &mut |_| ());
    assert_eq!(fleet.retire(&web, START, &mut |_| ()), Retired::Unknown);
    let first = issuance(web, START, 1);
    fleet.learn(&first, &mut |_| ());
    assert_eq!(fleet.retire(&web, START + HOUR, &mut |_| ()), Retired::Now);
    assert_eq!(state(&fleet, &web), Some(State::Retired));
    assert_eq!(fleet.summary().horizon, None, "it is not missed");
    fleet.advance(START + 30 * HOUR, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Retired));
    let second = issuance(web, START + 30 * HOUR, 2);
    fleet.learn(&second, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Healthy));
    // One that was replaced is revoked as a matter of course.
    fleet.revoked(&web, &first.serial, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Healthy));
    fleet.revoked(&web, &second.serial, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Retired));
}

#[test]
fn failures_are_counted_by_cause_until_the_next_certificate() {
    let (mut fleet, web) = (Fleet::default(), id(&["a.test"]));
    fleet.advance(START, &mut |_| ());
    fleet.failed(&web, Cause::Dns, START, &mut |_| ());
    fleet.learn(&issuance(web, START, 1), &mut |_| ());
    for minutes in 0..300 {
        fleet.failed(&web, Cause::Dns, START + Duration::from_secs(60 * minutes), &mut |_| ());
    }
    fleet.failed(&web, Cause::Policy, START + 6 * HOUR, &mut |_| ());
    let shown = fleet.identity(&web).unwrap();
    assert_eq!((shown.failures[Cause::Dns as usize], shown.failures[Cause::Policy as usize]), (255, 1));
    assert_eq!(shown.last_failure, Some((START + 6 * HOUR, Cause::Policy)));
    assert_eq!(fleet.summary().failing[Cause::Policy as usize], 1);
    fleet.learn(&issuance(web, START + 7 * HOUR, 2), &mut |_| ());
    assert_eq!(fleet.summary().failing, [0; Cause::COUNT]);
    assert_eq!(fleet.identity(&web).unwrap().last_failure, None);
}

#[test]
fn what_the_ca_renews_by_itself_is_never_late() {
    let (mut fleet, web) = (Fleet::default(), id(&["a.test"]));
    fleet.advance(START, &mut |_| ());
    fleet.learn(&Issuance { automatic: true, ..issuance(web, START, 1) }, &mut |_| ());
    fleet.advance(START + 23 * HOUR, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Healthy));
    fleet.advance(START + 24 * HOUR, &mut |_| ());
    assert_eq!(state(&fleet, &web), Some(State::Retired));
}

/// Its own failures are told of like anybody's, unless nobody wants the certificate any more.
#[test]
fn what_the_ca_fails_to_renew_by_itself_is_late() {
    let rows: [(u64, bool, [State; 3]); 3] = [
        (2, false, [State::Healthy, State::Overdue, State::Expired]),
        (22, false, [State::Healthy, State::Overdue, State::Expired]),
        (2, true, [State::Healthy, State::Healthy, State::Retired]),
    ];
    for (hours, ended, want) in rows {
        let (mut fleet, web) = (Fleet::default(), id(&["a.test"]));
        let mut told = Vec::new();
        let mut note = |change: Change| told.push(change.to.unwrap());
        fleet.advance(START, &mut note);
        fleet.learn(&Issuance { automatic: true, ..issuance(web, START, 1) }, &mut note);
        let failed = START + hours as u32 * HOUR;
        let mut found = Vec::new();
        for (from, to) in [(1, 3), (3, 23), (23, 24)] {
            for hour in from..=to {
                let now = START + hour * HOUR;
                fleet.advance(now, &mut note);
                if now == failed {
                    fleet.failed(&web, Cause::Policy, now, &mut note);
                }
            }
            if ended && to == 3 {
                fleet.ended(&web, &mut note);
            }
            found.push(state(&fleet, &web).unwrap());
        }
        assert_eq!(found, want, "failed after {hours} hours, {ended}");
        assert_eq!(*told.last().unwrap(), want[2]);
        assert_eq!(fleet.summary().failing.iter().sum::<u64>(), u64::from(!ended));
    }
}

/// Whatever they failed for, and through whichever provisioner.
#[test]
fn lists_are_in_the_order_of_ends_page_by_page() {
    let mut fleet = Fleet::default();
    fleet.advance(START, &mut |_| ());
    let ids: Vec<IdentityId> = (0..9).map(|n| id(&[&format!("h{n}.test")])).collect();
    for (n, one) in (0_u8..).zip(&ids) {
        let issued = START + u32::from(n) * HOUR / 60;
        fleet.learn(&Issuance { provisioner: u16::from(n) % 3, ..issuance(*one, issued, n) }, &mut |_| ());
        if n % 2 == 0 {
            fleet.failed(one, Cause::Dns, START + HOUR, &mut |_| ());
        }
    }
    for (hours, state) in [(17, State::Due), (22, State::Overdue), (25, State::Expired)] {
        fleet.advance(START + hours * HOUR, &mut |_| ());
        assert_eq!(fleet.summary().of(state), 9);
        for limit in [1, 2, 4, 9, 20] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = fleet.list(state, after, limit);
                found.extend(page.iter().map(|(identity, _)| identity.id));
                match page.last() {
                    Some((_, place)) if page.len() == limit => after = Some(*place),
                    _ => break,
                }
            }
            assert_eq!(found, ids, "{state:?} {limit}");
        }
    }
    for one in &ids {
        fleet.retire(one, START + 25 * HOUR, &mut |_| ());
    }
    assert_eq!(
        (fleet.list(State::Expired, None, 9).len(), fleet.list(State::Retired, None, 9).len()),
        (0, 9)
    );
}
