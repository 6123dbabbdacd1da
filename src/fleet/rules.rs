//! When an identity should have renewed.
//!
//! - Without a habit: at two thirds of the life, or at the end of the window that renewal information
//!   (RFC 9773) gave, whichever is later.
//! - With one, it is the latest point of life at which it renewed, of the last three times that count: at
//!   that point if that is later still, and if it is earlier, at half as much again.
//! - It is late a sixth of a life after that, with a habit a twelfth, and in any case an eighth of a life
//!   before the end, so that there is time to do something.
//!
//! A campaign ([`super::campaign`]) changes none of this: who is called over and does not come is late when
//! it would have been anyway. Whoever does come renews early because it was asked to, and that makes no
//! habit.
//!
//! A habit takes two renewals. One within the first twentieth of a life is none (a second host, or a
//! client that tries again), nor is one in the last tenth or later (an accident). Habits are learned from
//! certificates that live up to 60 hours, for those that do as well: that far the inventory, which is
//! read back from [`KEPT`] ago at a start, has all that they are made of.

use std::time::Duration;

/// Certificates that live longer make no habit, seconds.
pub const LEARNED: u32 = 60 * 3600;

/// For how long an identity is kept in mind after its certificate has expired.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// From how many failed attempts on, since the latest issuance, somebody should be told.
pub const PERSISTENT: u32 = 3;

/// How many issuances are kept in mind of each identity: one more than renewals.
pub const RECENT: usize = 4;

/// An issuance that is kept in mind, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// When it was signed.
    pub issued: u32,
    /// When it ends.
    pub expired: u32,
    /// Since when it is called over before its time; zero: it is not.
    pub called: u32,
}

/// When the moments of one certificate come, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Expected to renew.
    pub due: u32,
    /// Late.
    pub overdue: u32,
    /// The certificate ends.
    pub expired: u32,
}

/// The deadlines of the last of `recent`, earliest first. `window_end` is the
/// end of the window that renewal information gives for it.
pub fn deadlines(recent: &[Held], window_end: u32) -> Deadlines {
    let Some(Held { issued, expired, .. }) = recent.last().copied() else {
        return Deadlines { due: 0, overdue: 0, expired: 0 };
    };
    let life = u64::from(expired.saturating_sub(issued));
    let usual = (life * 2 / 3).max(u64::from(window_end.saturating_sub(issued)));
    let (expected, patience) = match habit(recent) {
        None => (usual, life / 6),
        Some((after, of)) => {
            let point = life * u64::from(after) / u64::from(of.max(1));
            (point.max(usual.min(point * 3 / 2)), life / 12)
        }
    };
    let grace = patience.clamp(60, 86_400);
    let reserve = (life / 8).max(60);
    let overdue = (expected + grace).min(life.saturating_sub(reserve));
    let at = |offset: u64| issued.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX));
    Deadlines { due: at(expected.min(overdue)), overdue: at(overdue), expired }
}

/// The latest point of life at which it renewed, as seconds of seconds.
fn habit(recent: &[Held]) -> Option<(u32, u32)> {
    if recent.last().is_none_or(|held| held.expired.saturating_sub(held.issued) > LEARNED) {
        return None;
    }
    let renewals = recent.windows(2).filter_map(|pair| {
        let [Held { issued, expired, called }, Held { issued: next, .. }] = pair else { return None };
        let (after, life) = (next - issued, expired.saturating_sub(*issued));
        let counts = (*called == 0 || next < called)
            && life <= LEARNED
            && u64::from(after) * 20 >= u64::from(life)
            && u64::from(after) * 10 <= u64::from(life) * 9;
        counts.then_some((after, life))
    });
    let renewals: Vec<(u32, u32)> = renewals.collect();
    if renewals.len() < 2 {
        return None;
    }
    // a/b < c/d is ad < cb.
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    renewals.into_iter().max_by(|(a, b), (c, d)| product(*a, *d).cmp(&product(*c, *b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 86_400;
    const HOUR: u32 = 3600;

    /// Hours since the last issuance.
    fn hours(recent: &[Held], window_end: u32) -> (f64, f64) {
        let found = deadlines(recent, window_end);
        let issued = recent.last().unwrap().issued;
        let since = |at: u32| f64::from(at - issued) / f64::from(HOUR);
        (since(found.due), since(found.overdue))
    }

    /// Issuances of a life of a day at these hours.
    fn at(hours: &[u32]) -> Vec<Held> {
        hours.iter().map(|hour| held(1_000_000 + hour * HOUR, DAY)).collect()
    }

    fn held(issued: u32, life: u32) -> Held {
        Held { issued, expired: issued + life, called: 0 }
    }

    #[test]
    fn by_rule_and_by_habit() {
        let rows: [(&[u32], u32, (f64, f64)); 9] = [
            // Two thirds of a day and four hours; and by the window, when that is later.
            (&[0], 0, (16.0, 20.0)),
            (&[0], 17, (17.0, 21.0)),
            // One renewal is no habit.
            (&[0, 8], 0, (16.0, 20.0)),
            // At a third of life, as always: half as much again.
            (&[0, 8, 16], 0, (12.0, 14.0)),
            (&[0, 7, 15, 16], 0, (12.0, 14.0)),
            // Later than told, as always.
            (&[0, 18, 36], 17, (18.0, 20.0)),
            // So late that it is too late.
            (&[0, 21, 42], 0, (21.0, 21.0)),
            // Within minutes, or after the end: says nothing.
            (&[0, 1, 2, 3], 0, (16.0, 20.0)),
            (&[0, 30, 60], 0, (16.0, 20.0)),
        ];
        for (issued, window, (due, overdue)) in rows {
            let recent = at(issued);
            let end = recent.last().unwrap().issued + window * HOUR;
            let (found_due, found_overdue) = hours(&recent, end);
            assert!(
                (found_due - due).abs() < 0.01 && (found_overdue - overdue).abs() < 0.01,
                "{issued:?} {window}: {found_due} {found_overdue}"
            );
        }
    }

    /// Three campaigns in a row: nobody's habit is to renew within hours.
    #[test]
    fn who_comes_since_it_was_called_makes_no_habit() {
        let mut recent = at(&[0, 2, 4, 6]);
        let (due, _) = hours(&recent, 0);
        assert!(due < 4.0, "as a habit: {due}");
        for held in &mut recent {
            held.called = held.issued + HOUR;
        }
        assert_eq!(hours(&recent, 0), (16.0, 20.0));
        // It came before it was called.
        for held in &mut recent {
            held.called = held.issued + 3 * HOUR;
        }
        assert_eq!(hours(&recent, 0).0, due);
    }

    #[test]
    fn however_short_or_long_the_order_of_moments_holds() {
        for life in [1, 30, 60, 61, 120, 300, 3600, DAY, 90 * DAY, 20 * 365 * DAY] {
            for window in [0, life / 2, life, u32::MAX] {
                let found = deadlines(&[held(1000, life)], window);
                assert!(found.due <= found.overdue && found.overdue <= found.expired, "{life}: {found:?}");
                assert!(found.due >= 1000);
            }
        }
    }
}
