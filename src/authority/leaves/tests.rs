use proptest::prelude::*;

use super::*;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const OLD: [u8; 20] = [1; 20];
const NEW: [u8; 20] = [2; 20];

fn leaf(issuer: [u8; 20], n: u8, life: u64) -> Leaf {
    let not_after = T0 + Duration::from_secs(life);
    Leaf { serial: Serial::new(not_after, [n; 16]), issuer, not_after }
}

fn after(secs: u64) -> Timestamp {
    T0 + Duration::from_secs(secs)
}

#[test]
fn nothing_is_known_until_all_is_counted() {
    let mut leaves = Leaves::default();
    assert_eq!((leaves.of(&OLD, T0), leaves.counting()), (None, Some(0)), "not begun");
    leaves.issued(&leaf(OLD, 1, 90));
    leaves.begin(T0);
    leaves.scanned(&leaf(OLD, 2, 300), T0 - MARGIN * 2, false, T0);
    assert_eq!((leaves.of(&OLD, T0), leaves.counting()), (None, Some(1)));
    leaves.finish(T0);
    assert_eq!(leaves.counting(), None);
    assert_eq!(leaves.of(&OLD, T0), Some(Live { count: 1, last: Some(after(300)) }));
    assert_eq!(leaves.of(&NEW, T0), Some(Live::default()), "an issuer that has signed nothing");
}

#[test]
fn what_expires_falls_out_and_never_early() {
    let mut leaves = Leaves::default();
    leaves.begin(T0);
    leaves.finish(T0);
    for (n, life) in [(1, 59), (2, 60), (3, 61), (4, 600)] {
        leaves.issued(&leaf(OLD, n, life));
    }
    let rows = [(0, 4), (59, 4), (60, 2), (119, 2), (120, 1), (599, 1), (600, 0)];
    for (secs, count) in rows {
        let live = leaves.of(&OLD, after(secs)).unwrap();
        assert_eq!((live.count, live.last.is_some()), (count, count > 0), "after {secs} s");
    }
}

#[test]
fn a_revocation_counts_once_from_either_side() {
    let one = leaf(OLD, 1, 600);
    // Before the scan comes by, after it, between the commit and the scan's end, and after all.
    for place in 0..4 {
        let mut leaves = Leaves::default();
        leaves.begin(T0);
        let told = |leaves: &mut Leaves, when| {
            if place == when {
                leaves.revoked(&one, T0)
            }
        };
        told(&mut leaves, 0);
        leaves.scanned(&one, T0 - MARGIN * 2, place < 2, T0);
        leaves.scanned(&leaf(OLD, 2, 600), T0 - MARGIN * 2, false, T0);
        told(&mut leaves, 1);
        leaves.finish(T0);
        told(&mut leaves, 2);
        told(&mut leaves, 3);
        assert_eq!(leaves.of(&OLD, T0).unwrap().count, 1, "told at {place}");
        // Told of again, as the scan and the commit may do both.
        leaves.revoked(&one, T0);
        assert_eq!(leaves.of(&OLD, T0).unwrap().count, 1, "told at {place}");
    }
}

#[test]
fn a_revocation_may_be_told_of_before_its_issuance() {
    let mut leaves = Leaves::default();
    leaves.begin(T0);
    leaves.finish(T0);
    leaves.issued(&leaf(OLD, 1, 600));
    leaves.revoked(&leaf(OLD, 2, 600), T0);
    leaves.issued(&leaf(OLD, 2, 600));
    assert_eq!(leaves.of(&OLD, T0).unwrap(), Live { count: 1, last: Some(after(600)) });
}

/// What may happen to one certificate while the inventory is scanned.
#[derive(Clone, Copy, Debug)]
struct Course {
    issuer: [u8; 20],
    life: u64,
    /// Committed before the scan began, by an earlier process or this one.
    old: Option<bool>,
    /// Steps at which its issuance is told of, the scan comes by, and its revocation is committed and told of.
    told: u8,
    scanned: u8,
    revoked: Option<(u8, u8)>,
}

fn course() -> impl Strategy<Value = Course> {
    let revoked = proptest::option::of((0u8..10, 0u8..10));
    let parts = (any::<bool>(), 1u64..400, proptest::option::of(any::<bool>()), 0u8..10, 0u8..8, revoked);
    parts.prop_map(|(new, life, old, told, scanned, revoked)| Course {
        issuer: if new { NEW } else { OLD },
        life,
        old,
        told,
        scanned,
        revoked: revoked.map(|(at, later)| (at, at.saturating_add(later))),
    })
}

proptest! {
    /// Whatever the order in which scan, issuances and revocations are told of: in the end every
    /// certificate that is neither expired nor revoked counts once, and nothing else does.
    #[test]
    fn the_count_is_that_of_the_inventory(courses in proptest::collection::vec(course(), 0..40), at in 0u64..400) {
        let mut leaves = Leaves::default();
        let of = |n: usize, course: &Course| leaf(course.issuer, n as u8, course.life);
        leaves.begin(T0);
        for step in 0..20u8 {
            for (n, course) in courses.iter().enumerate() {
                let one = of(n, course);
                // Only what an earlier process has signed is not told of.
                let told = course.old != Some(false) && step == course.told;
                // The scan sees what was committed, which it is before it is told of.
                let issued = if course.old == Some(false) { T0 - MARGIN * 3 } else { T0 };
                let seen = step == course.scanned && (course.old.is_some() || course.scanned >= course.told);
                let is_revoked = course.revoked.is_some_and(|(committed, _)| committed <= step);
                if seen {
                    leaves.scanned(&one, issued, is_revoked, T0);
                }
                if told {
                    leaves.issued(&one);
                }
                if course.revoked.is_some_and(|(_, told)| told == step) {
                    leaves.revoked(&one, T0);
                }
            }
            if step == 8 {
                leaves.finish(T0);
            }
        }
        let now = after(at);
        for issuer in [OLD, NEW] {
            let want = courses.iter().filter(|course| {
                course.issuer == issuer && course.revoked.is_none() && minute(after(course.life)) > running(now)
            });
            prop_assert_eq!(leaves.of(&issuer, now).unwrap().count, want.count() as u64);
        }
    }
}
