//! When certificates expire if none is issued any more.

use std::collections::BTreeMap;

use crate::time::Timestamp;

/// If the CA died now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The first certificate of an identity expires, to the minute.
    pub first: Timestamp,
    /// One of twenty has.
    pub twentieth: Timestamp,
    /// Half of them have.
    pub half: Timestamp,
}

/// How many certificates expire in which minute.
#[derive(Debug, Default)]
pub(super) struct Ends {
    minutes: BTreeMap<u32, u32>,
    all: u64,
}

impl Ends {
    pub(super) fn add(&mut self, minute: u32) {
        *self.minutes.entry(minute).or_default() += 1;
        self.all += 1;
    }

    pub(super) fn remove(&mut self, minute: u32) {
        if let Some(count) = self.minutes.get_mut(&minute) {
            *count -= 1;
            self.all -= 1;
            if *count == 0 {
                self.minutes.remove(&minute);
            }
        }
    }

    /// How many end within so many minutes of `now`, for each of these, in their order, the shortest first.
    /// Costs a step for each minute up to the last in which one ends.
    pub(super) fn within(&self, now: u32, spans: &[u32]) -> Vec<u64> {
        let mut ends = self.minutes.iter().peekable();
        let mut count = 0;
        let up_to = |span: &u32| {
            while let Some((_, more)) = ends.next_if(|(minute, _)| **minute <= now.saturating_add(*span)) {
                count += u64::from(*more);
            }
            count
        };
        spans.iter().map(up_to).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> u64 {
        self.all
    }

    /// How many expire in each of `cells` spans of `step` minutes from the minute `first`, and how many later.
    /// Costs a step for each minute that is covered.
    pub(super) fn spread(&self, first: u32, step: u32, cells: usize) -> (Vec<u64>, u64) {
        let mut spread = vec![0; cells];
        let end = first.saturating_add(step.saturating_mul(u32::try_from(cells).unwrap_or(u32::MAX)));
        let mut counted = self.minutes.range(..first).map(|(_, count)| u64::from(*count)).sum();
        for (minute, count) in self.minutes.range(first..end) {
            let cell = usize::try_from((minute - first) / step.max(1)).unwrap_or(usize::MAX);
            if let Some(cell) = spread.get_mut(cell) {
                *cell += u64::from(*count);
                counted += u64::from(*count);
            }
        }
        (spread, self.all.saturating_sub(counted))
    }

    /// Costs a step for each minute in which one of the first half expires.
    pub(super) fn horizon(&self) -> Option<Horizon> {
        let first = *self.minutes.first_key_value()?.0;
        let (twentieth, half) = (self.all.div_ceil(20), self.all.div_ceil(2));
        let (mut gone, mut at_twentieth) = (0, None);
        for (minute, count) in &self.minutes {
            gone += u64::from(*count);
            if gone >= twentieth {
                at_twentieth = at_twentieth.or(Some(*minute));
            }
            if gone >= half {
                return Some(Horizon {
                    first: of_minute(first),
                    twentieth: of_minute(at_twentieth.unwrap_or(*minute)),
                    half: of_minute(*minute),
                });
            }
        }
        None
    }
}

/// The minute that has come once `secs` has: rounded up.
pub(super) fn minute_of(secs: u32) -> u32 {
    secs.div_ceil(60)
}

/// The beginning of a minute.
pub(super) fn of_minute(minute: u32) -> Timestamp {
    Timestamp::from_secs(u64::from(minute) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_within() {
        let mut ends = Ends::default();
        for minute in [10, 10, 60, 61, 5000] {
            ends.add(minute);
        }
        assert_eq!(ends.within(0, &[5, 10, 60, 120]), [0, 2, 3, 4]);
        assert_eq!(ends.within(1, &[59, u32::MAX]), [3, 5]);
        assert_eq!((ends.within(0, &[]), ends.all()), (Vec::new(), 5));
        ends.remove(10);
        ends.remove(5000);
        assert_eq!((ends.within(0, &[10, 60]), ends.all()), (vec![1, 2], 3));
    }
}
