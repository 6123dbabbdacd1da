//! How many orders of an account are open: opened within an order's life and not finished.
//!
//! Counted by the time of opening, in eighths of an order's life, so that an order that nobody finishes
//! stops counting when it has run out (up to an eighth later), without a timer and without a list. Where
//! the count can be wrong, it is too high.

use std::time::Duration;

use super::keyed::State;
use crate::time::Timestamp;

/// Slices of an order's life.
const SLICES: u64 = 8;
/// The slice that runs, and those in which an order may have been opened that has not run out.
const KEPT: usize = SLICES as usize + 1;

/// The count of one account; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Milliseconds of a slice.
    slice: u64,
    /// The number, since the epoch, of the newest slice.
    newest: u64,
    /// From the newest slice backwards.
    counts: [u32; KEPT],
}

impl Open {
    fn sum(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Drops the slices whose orders have run out.
    fn advance(&mut self, life: Duration, now: Timestamp) {
        let slice = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).div_ceil(SLICES).max(1);
        let number = now.as_millis() / slice;
        if self.slice != slice {
            // Orders live for another time now: what was counted stays as if it were new.
            let all = u32::try_from(self.sum()).unwrap_or(u32::MAX);
            *self = Self { slice, newest: number, counts: [0; KEPT] };
            self.counts[0] = all;
        } else if number > self.newest {
            let by = usize::try_from(number - self.newest).unwrap_or(KEPT).min(KEPT);
            self.counts.rotate_right(by);
            self.counts[..by].fill(0);
            self.newest = number;
        }
    }

    /// The place of the slice in which an order was opened.
    fn place(&self, opened: Timestamp) -> Option<usize> {
        let back = self.newest.saturating_sub(opened.as_millis() / self.slice.max(1));
        usize::try_from(back).ok().filter(|back| *back < KEPT)
    }

    /// How many there are now.
    pub fn now(&mut self, life: Duration, now: Timestamp) -> u64 {
        self.advance(life, now);
        self.sum()
    }

    /// Counts one more, or says how long until there is room under `most`.
    pub fn open(&mut self, most: u32, life: Duration, now: Timestamp) -> Result<(), Duration> {
        self.advance(life, now);
        let mut left = self.sum();
        if left < u64::from(most) {
            self.counts[0] = self.counts[0].saturating_add(1);
            return Ok(());
        }
        // The oldest go first.
        let mut back = KEPT;
        while back > 0 && left >= u64::from(most) {
            back -= 1;
            left -= u64::from(self.counts[back]);
        }
        let end =
            self.newest.saturating_sub(back as u64).saturating_add(KEPT as u64).saturating_mul(self.slice);
        Err(Duration::from_millis(end.saturating_sub(now.as_millis()).max(1)))
    }

    /// Counts an order that is there whatever the limit.
    pub fn count(&mut self, life: Duration, opened: Timestamp, now: Timestamp) {
        self.advance(life, now);
        if let Some(place) = self.place(opened) {
            self.counts[place] = self.counts[place].saturating_add(1);
        }
    }

    /// An order has been finished.
    pub fn close(&mut self, life: Duration, opened: Timestamp, now: Timestamp) {
        self.advance(life, now);
        if let Some(place) = self.place(opened) {
            self.counts[place] = self.counts[place].saturating_sub(1);
        }
    }
}

impl State for Open {
    fn is_idle(&self, now: Timestamp) -> bool {
        let end = self.newest.saturating_add(KEPT as u64).saturating_mul(self.slice);
        self.sum() == 0 || now.as_millis() >= end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: Duration = Duration::from_secs(80);
    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

    fn at(secs: u64) -> Timestamp {
        T0 + Duration::from_secs(secs)
    }

    #[test]
    fn places_come_back_when_orders_finish_or_run_out() {
        let mut open = Open::default();
        for _ in 0..2 {
            open.open(3, LIFE, at(0)).unwrap();
        }
        open.open(3, LIFE, at(15)).unwrap();
        // The first two, of the slice 0 to 10 s, have run out for sure at 90 s.
        assert_eq!(open.open(3, LIFE, at(20)), Err(Duration::from_secs(70)));
        open.close(LIFE, at(15), at(20));
        open.open(3, LIFE, at(20)).unwrap();
        assert_eq!(open.open(3, LIFE, at(89)), Err(Duration::from_secs(1)));
        for _ in 0..2 {
            open.open(3, LIFE, at(90)).unwrap();
        }
        assert_eq!(open.open(3, LIFE, at(90)), Err(Duration::from_secs(20)));
        // A lower limit waits for as many as it takes.
        assert_eq!(open.open(1, LIFE, at(90)), Err(Duration::from_secs(90)));
        assert!(!open.is_idle(at(179)) && open.is_idle(at(180)));
    }

    #[test]
    fn closing_what_was_not_counted_gives_nothing() {
        let mut open = Open::default();
        open.close(LIFE, at(0), at(1));
        open.open(1, LIFE, at(1)).unwrap();
        assert!(open.open(1, LIFE, at(1)).is_err());
        open.close(LIFE, at(0) - LIFE * 3, at(1));
        assert!(open.open(1, LIFE, at(1)).is_err());
        assert!(open.open(1, LIFE, at(0) - LIFE).is_err(), "a clock set back frees nothing");
        open.open(2, LIFE, at(0) - LIFE).unwrap();
    }

    #[test]
    fn another_life_keeps_the_count() {
        let mut open = Open::default();
        open.open(2, LIFE, at(0)).unwrap();
        open.open(2, LIFE, at(70)).unwrap();
        assert!(open.open(2, LIFE * 2, at(71)).is_err());
        assert!(open.open(2, LIFE * 2, at(71) + LIFE * 3).is_ok());
    }

    proptest! {
        /// Never more open at once than the limit; and a wait that was told is long enough.
        #[test]
        fn the_limit_holds(most in 1u32..6, steps in prop::collection::vec((0u64..30_000, any::<bool>()), 1..300)) {
            let (mut open, mut now, mut orders) = (Open::default(), T0, Vec::<Timestamp>::new());
            for (step, finish) in steps {
                now = now + Duration::from_millis(step);
                orders.retain(|opened| now.since(*opened) < LIFE);
                if finish && !orders.is_empty() {
                    open.close(LIFE, orders.remove(0), now);
                    continue;
                }
                match open.open(most, LIFE, now) {
                    Ok(()) => orders.push(now),
                    Err(wait) => {
                        let mut later = open;
                        prop_assert!(later.open(most, LIFE, now + wait).is_ok());
                        prop_assert!(wait <= LIFE + LIFE / 8);
                    }
                }
                prop_assert!(orders.len() <= most as usize);
            }
        }
    }
}
