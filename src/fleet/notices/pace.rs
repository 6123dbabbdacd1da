//! When a receiver that does not take what it is sent is tried again.

use std::time::Duration;

use crate::time::Timestamp;

/// After the first attempt that failed; doubled with each further one.
const FIRST: Duration = Duration::from_secs(5);
/// At most.
const LONGEST: Duration = Duration::from_secs(300);

/// Attempts that failed, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    failures: u32,
    /// When the last one failed, and the time it is given.
    pause: Option<(Timestamp, Duration)>,
}

impl Pace {
    /// It took something.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not. `chance` is of 0 to `u32::MAX`: receivers that went away together are not tried
    /// together.
    pub fn failed(&mut self, now: Timestamp, chance: u32) {
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let part = f64::from(chance) / f64::from(u32::MAX);
        self.pause = Some((now, longest.mul_f64(0.5 + part / 2.0)));
    }

    /// Whether it may be tried; a clock that was set back makes nobody wait longer.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.pause.is_none_or(|(since, pause)| now < since || now.since(since) >= pause)
    }

    /// Failures without a success in between.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        let now = Timestamp::from_secs(1_793_318_400);
        let mut pace = Pace::default();
        assert!(pace.is_ready(now));
        for want in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
            let (mut early, mut late) = (pace, pace);
            early.failed(now, 0);
            late.failed(now, u32::MAX);
            let second = Duration::from_secs(1);
            let half = Duration::from_millis(want * 500);
            assert!(!early.is_ready(now + half - second) && early.is_ready(now + half), "{want}");
            let whole = Duration::from_secs(want);
            assert!(!late.is_ready(now + whole - second) && late.is_ready(now + whole), "{want}");
            assert!(late.is_ready(now - Duration::from_secs(3600)), "the clock was set back");
            pace = late;
        }
        pace.succeeded();
        assert!(pace.is_ready(now) && pace.failures() == 0);
    }
}
