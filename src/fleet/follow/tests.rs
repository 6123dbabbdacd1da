use std::time::Duration;

use super::*;
use crate::acme::identifier::Identifier;
use crate::fleet::Issuance;
use crate::fleet::campaign::MOST_IN_FORCE;

const HOUR: Duration = Duration::from_secs(3600);
const START: Timestamp = Timestamp::from_secs(1_793_318_400);

fn id(n: u32) -> IdentityId {
    IdentityId::of([Identifier::parse_dns(&format!("h{n}.test")).unwrap()].iter()).unwrap()
}

fn issuance(n: u32, issued: Timestamp, random: u8) -> Issuance {
    let not_after = issued + 24 * HOUR;
    let mut bytes = [random; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Issuance {
        identity: id(n),
        serial: Serial::new(not_after, bytes),
        issued,
        not_before: issued,
        not_after,
        revoked: false,
        automatic: false,
        provisioner: 0,
    }
}

fn member(issuance: &Issuance, begin: Timestamp) -> Member {
    Member { identity: issuance.identity, serial: issuance.serial, issued: issuance.issued, begin }
}

fn learn(fleet: &mut Fleet, issuance: &Issuance) {
    fleet.learn(issuance, &mut |_| ());
}

/// Of four hosts that are called one asks and renews, one renews unasked, one asks only, one is silent; a
/// fifth is retired.
fn called() -> (Fleet, Vec<Issuance>) {
    let mut fleet = Fleet::default();
    fleet.advance(START, &mut |_| ());
    let all: Vec<Issuance> = (0..5).map(|n| issuance(n, START, 1)).collect();
    all.iter().for_each(|issuance| learn(&mut fleet, issuance));
    let begun = START + HOUR;
    assert!(fleet.follow(Followed::new(7, begun, begun)));
    for (n, one) in all.iter().enumerate() {
        fleet.enrol(7, &member(one, begun + HOUR / 4 * n as u32), &mut |_| ());
    }
    fleet.enrolled(7);
    (fleet, all)
}

#[test]
fn the_reaction_is_counted_once_each() {
    let (mut fleet, all) = called();
    let at = |minutes: u64| START + HOUR + Duration::from_secs(60 * minutes);
    for minutes in [3, 5] {
        fleet.asked(&all[0].identity, &all[0].serial, at(minutes));
        fleet.asked(&all[2].identity, &all[2].serial, at(minutes + 1));
    }
    let renewals = [issuance(0, at(10), 2), issuance(1, at(20), 2)];
    for renewal in renewals.iter().chain(&renewals) {
        learn(&mut fleet, renewal);
    }
    fleet.retire(&all[4].identity, at(30), &mut |_| ());
    // Again, as after a restart: nothing is counted twice.
    for one in all.iter().chain(&renewals) {
        fleet.enrol(7, &member(one, at(0)), &mut |_| ());
    }
    let reaction = fleet.reaction(7).unwrap();
    let Followed { members, asked, renewed, unasked, excused, complete, .. } = *reaction;
    assert_eq!((members, asked, renewed, unasked, excused, complete), (5, 2, 2, 1, 1, true));
    assert_eq!(reaction.missing(), 2);
    let (width, points) = reaction.curve();
    let sum = |of: fn(&Point) -> u32| points.iter().map(of).sum::<u32>();
    assert_eq!((sum(|p| p.called), sum(|p| p.asked), sum(|p| p.renewed)), (5, 2, 2));
    let place = |minutes: u64| usize::try_from(minutes * 60 / width).unwrap();
    assert_eq!((points[place(3)].asked, points[place(10)].renewed, points[place(45)].called), (1, 1, 1));

    let mut found = Vec::new();
    let mut after = None;
    loop {
        let (page, next) = fleet.unanswered(7, after, 1);
        found.extend(page.iter().map(|one| (one.identity.id, one.asked)));
        match next {
            Some(_) => after = next,
            None => break,
        }
    }
    assert_eq!(found, [(id(2), Some(at(6))), (id(3), None)]);
    // What comes later is no news to anybody else's campaign, and then to none.
    fleet.unfollow(7);
    assert_eq!((fleet.reaction(7), fleet.unanswered(7, None, 9).0.len()), (None, 0));
    let slots = 0..u32::try_from(fleet.entries.slots()).unwrap();
    let marked =
        slots.filter_map(|slot| fleet.entries.find(slot)).any(|entry| entry.calls | entry.answered != 0);
    assert!(!marked);
}

/// What is read back from the inventory is what was known, but for who asked.
#[test]
fn after_a_restart_all_is_known_but_who_asked() {
    let begun = START + HOUR;
    let (first, renewed) = (issuance(0, START, 1), issuance(0, begun + HOUR, 2));
    // Renewed before it began: its older certificate is none of the campaign's.
    let (older, newer) = (issuance(1, START, 1), issuance(1, START + HOUR / 2, 2));
    let silent = issuance(2, START, 1);
    let all = [first, older, newer, renewed, silent];
    let mut fleet = Fleet::default();
    fleet.advance(begun + 2 * HOUR, &mut |_| ());
    all.iter().for_each(|issuance| learn(&mut fleet, issuance));
    assert!(fleet.follow(Followed::new(1, begun, begun)));
    for one in [first, older, newer, silent] {
        fleet.enrol(1, &member(&one, begun), &mut |_| ());
    }
    let Followed { members, asked, renewed, unasked, .. } = *fleet.reaction(1).unwrap();
    assert_eq!((members, asked, renewed, unasked), (3, 0, 1, 1));
    let (page, _) = fleet.unanswered(1, None, 9);
    let page: Vec<_> = page.iter().map(|one| one.identity.id).collect();
    assert_eq!(page, [id(1), id(2)]);
}

#[test]
fn a_curve_and_the_number_of_campaigns_are_bounded() {
    let mut followed = Followed::new(1, START, START);
    for minutes in 0..100_000_u64 {
        followed.renewed(START + Duration::from_secs(60 * minutes), 0);
    }
    let (width, points) = followed.curve();
    assert!(points.len() <= POINTS && width >= 100_000 * 60 / POINTS as u64);
    assert_eq!(points.iter().map(|point| point.renewed).sum::<u32>(), 100_000);
    let mut fleet = Fleet::default();
    for n in 0..MOST_IN_FORCE as u64 {
        assert!(fleet.follow(Followed::new(n, START, START)));
    }
    assert!(!fleet.follow(Followed::new(99, START, START)));
    assert!(fleet.follow(Followed::new(5, START, START)), "that one is followed already");
    fleet.unfollow(5);
    assert!(fleet.follow(Followed::new(99, START, START)));
}

/// Who hears of it at once is not forgotten, and who asks when nobody calls is not noted.
#[test]
fn who_asks_between_the_beginning_and_the_following_is_known() {
    for expected in [true, false] {
        let (mut fleet, one) = (Fleet::default(), issuance(0, START, 1));
        fleet.advance(START, &mut |_| ());
        learn(&mut fleet, &one);
        fleet.expect_campaign(expected.then_some(START + HOUR));
        fleet.asked(&one.identity, &one.serial, START + HOUR);
        assert!(fleet.follow(Followed::new(1, START + HOUR, START + HOUR)));
        fleet.enrol(1, &member(&one, START + HOUR), &mut |_| ());
        assert_eq!(fleet.reaction(1).unwrap().asked, u64::from(expected));
    }
}

/// Between the start of a campaign and the moment in which its members are known, whoever is called may have
/// come already.
#[test]
fn who_asks_and_renews_before_it_is_followed_has_asked() {
    let begun = START + HOUR;
    let later = begun + Duration::from_secs(2);
    for (asks, renews, counted) in [
        (Some(begun), later, (1, 1, 1, 0)),
        (None, later, (1, 0, 1, 1)),
        // Before it began: that is no answer, and the new certificate is called as well.
        (Some(begun - Duration::from_secs(2)), begun - Duration::from_secs(1), (1, 0, 0, 0)),
    ] {
        let mut fleet = Fleet::default();
        fleet.advance(START, &mut |_| ());
        let (first, second) = (issuance(0, START, 1), issuance(0, renews, 2));
        learn(&mut fleet, &first);
        fleet.expect_campaign(Some(begun));
        if let Some(at) = asks {
            fleet.asked(&first.identity, &first.serial, at);
        }
        learn(&mut fleet, &second);
        assert!(fleet.follow(Followed::new(1, begun, begun)));
        fleet.expect_campaign(None);
        // While it is followed, and before this one is reached.
        for one in [&first, &second, &first].into_iter().filter(|one| one.issued < begun) {
            fleet.enrol(1, &member(one, begun), &mut |_| ());
        }
        fleet.enrolled(1);
        let Followed { members, asked, renewed, unasked, .. } = *fleet.reaction(1).unwrap();
        assert_eq!((members, asked, renewed, unasked), counted);
        assert!(fleet.came.is_empty(), "kept for as long as it is needed");
    }
}

/// What was asked of another certificate than the one that is called, or after it was renewed, is no answer.
#[test]
fn an_ask_counts_for_the_renewal_that_it_came_before() {
    let begun = START + HOUR;
    let at = |seconds: u64| begun + Duration::from_secs(seconds);
    let (first, second, third) = (issuance(0, START, 1), issuance(0, at(2), 2), issuance(0, at(10), 3));
    enum Step {
        Learn(Issuance),
        Ask(Issuance, u64),
    }
    use Step::{Ask, Learn};
    for (steps, unasked) in [
        // Asked, came, asked of the new one, renewed again.
        (vec![Learn(first), Ask(first, 1), Learn(second), Ask(second, 3), Learn(third)], 0),
        // The same, but for the first time.
        (vec![Learn(first), Learn(second), Ask(second, 3), Learn(third)], 1),
        // After a restart a renewal of before is read, once somebody has asked of the old one.
        (vec![Learn(first), Ask(first, 60), Learn(second)], 1),
    ] {
        let mut fleet = Fleet::default();
        fleet.advance(START, &mut |_| ());
        fleet.expect_campaign(Some(begun));
        for step in &steps {
            match step {
                Learn(one) => learn(&mut fleet, one),
                Ask(one, seconds) => fleet.asked(&one.identity, &one.serial, at(*seconds)),
            }
        }
        assert!(fleet.follow(Followed::new(1, begun, begun)));
        fleet.expect_campaign(None);
        fleet.enrol(1, &member(&first, begun), &mut |_| ());
        let Followed { members, asked, renewed, unasked: found, .. } = *fleet.reaction(1).unwrap();
        assert_eq!((members, asked, renewed, found), (1, 1 - unasked, 1, unasked));
    }
}

/// A campaign that is planned for later keeps nothing of those before it.
#[test]
fn who_came_is_kept_for_the_campaign_it_came_for() {
    let begun = START + HOUR;
    let mut fleet = Fleet::default();
    fleet.advance(START, &mut |_| ());
    let all: Vec<Issuance> = (0..3).map(|n| issuance(n, START, 1)).collect();
    all.iter().for_each(|one| learn(&mut fleet, one));
    assert!(fleet.follow(Followed::new(1, begun, begun)));
    fleet.expect_campaign(Some(begun + 24 * HOUR));
    // One that is known to be a member needs no note.
    fleet.enrol(1, &member(&all[0], begun), &mut |_| ());
    for one in &all[..2] {
        fleet.asked(&one.identity, &one.serial, begun);
        learn(
            &mut fleet,
            &Issuance { issued: begun + HOUR, serial: Serial::new(one.not_after, [7; 16]), ..*one },
        );
    }
    assert_eq!(fleet.came.len(), 1);
    fleet.enrol(1, &member(&all[1], begun), &mut |_| ());
    fleet.enrolled(1);
    assert!(fleet.came.is_empty());
    fleet.asked(&all[2].identity, &all[2].serial, begun);
    learn(
        &mut fleet,
        &Issuance { issued: begun + HOUR, serial: Serial::new(all[2].not_after, [7; 16]), ..all[2] },
    );
    assert!(fleet.came.is_empty(), "all that were called are known");
    let Followed { members, asked, renewed, unasked, .. } = *fleet.reaction(1).unwrap();
    assert_eq!((members, asked, renewed, unasked), (2, 2, 2, 0));
}

#[test]
#[ignore = "measures time: cargo test --release --lib -- --ignored a_million_that_are_called --nocapture"]
fn a_million_that_are_called() {
    let mut fleet = Fleet::default();
    fleet.advance(START, &mut |_| ());
    let all: Vec<Issuance> = (0..1_000_000).map(|n| issuance(n, START, 1)).collect();
    all.iter().for_each(|issuance| learn(&mut fleet, issuance));
    let begun = std::time::Instant::now();
    assert!(fleet.follow(Followed::new(1, START, START)));
    for (n, one) in all.iter().enumerate() {
        fleet.enrol(1, &member(one, START + Duration::from_millis(n as u64 * 7)), &mut |_| ());
    }
    let enrolled = begun.elapsed();
    let begun = std::time::Instant::now();
    all.iter().for_each(|one| fleet.asked(&one.identity, &one.serial, START + HOUR));
    let asked = begun.elapsed();
    for one in all.iter().skip(100) {
        let renewed =
            Issuance { issued: START + HOUR, serial: Serial::new(one.not_after + HOUR, [9; 16]), ..*one };
        learn(&mut fleet, &renewed);
    }
    let (begun, mut found, mut pages, mut after) = (std::time::Instant::now(), 0, 0, None);
    loop {
        let (page, next) = fleet.unanswered(1, after, 500);
        (found, pages, after) = (found + page.len(), pages + 1, next);
        if next.is_none() {
            break;
        }
    }
    let listed = begun.elapsed();
    let begun = std::time::Instant::now();
    fleet.unfollow(1);
    println!(
        "enrolled in {enrolled:?}, asked in {asked:?}, {found} of {pages} pages in {listed:?}, left in {:?}",
        begun.elapsed()
    );
    assert_eq!(found, 100);
}
