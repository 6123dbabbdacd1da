//! The generic cell rate algorithm (ITU-T I.371, as a virtual schedule): a few bytes a key, and no
//! timer.
//!
//! The state is the time at which the bucket is full again, were nothing more taken. Whoever takes one
//! moves it on by one interval; it never lies further ahead than the whole bucket takes to fill.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// So many at once, coming back evenly over a time: `300 per 3h` is 300 at once and then one every 36 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    count: u32,
    per: Duration,
}

/// What is remembered of one key: nanoseconds since the epoch. The default says that nothing was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket(u64);

fn nanos(at: Timestamp) -> u64 {
    at.as_millis().saturating_mul(1_000_000)
}

impl Bucket {
    /// Whether it is full: as good as one that was never taken from.
    pub fn is_full(self, now: Timestamp) -> bool {
        self.0 <= nanos(now)
    }
}

impl Quota {
    /// `None` if either is zero: that would be no limit, or no way through at all.
    pub const fn new(count: u32, per: Duration) -> Option<Self> {
        if count == 0 || per.is_zero() { None } else { Some(Self { count, per }) }
    }

    /// How many at once.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// The time over which as many come back.
    pub const fn per(self) -> Duration {
        self.per
    }

    /// Nanoseconds until one comes back; rounded up, so that never more come back than were said.
    fn interval(self) -> u64 {
        u64::try_from(self.per.as_nanos()).unwrap_or(u64::MAX).div_ceil(u64::from(self.count))
    }

    /// Nanoseconds until an empty bucket is full.
    fn whole(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.count))
    }

    /// The state, within what it can be at `now`: a clock that was set back, or a smaller quota put into
    /// force, leaves nobody waiting longer than an empty bucket would.
    fn bounded(self, bucket: Bucket, now: u64) -> u64 {
        bucket.0.clamp(now, now.saturating_add(self.whole()))
    }

    /// What is to be kept of a bucket from which none could be taken: the wait that was said is true only
    /// if the bucket is not bounded anew, and further on, at every try.
    pub fn settled(self, bucket: Bucket, now: Timestamp) -> Bucket {
        Bucket(bucket.0.min(nanos(now).saturating_add(self.whole())))
    }

    /// Takes one, or says how long to wait for it; then [`Quota::settled`] says what to keep.
    pub fn take(self, bucket: Bucket, now: Timestamp) -> Result<Bucket, Duration> {
        let now = nanos(now);
        let next = self.bounded(bucket, now).saturating_add(self.interval());
        match (next - now).checked_sub(self.whole()) {
            None | Some(0) => Ok(Bucket(next)),
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }

    /// Takes one even if there is none, for what has happened already; the bucket is empty at worst.
    pub fn charge(self, bucket: Bucket, now: Timestamp) -> Bucket {
        let now = nanos(now);
        let next = self.bounded(bucket, now).saturating_add(self.interval());
        Bucket(next.min(now.saturating_add(self.whole())))
    }

    /// Gives one back that was just taken.
    pub fn give_back(self, bucket: Bucket) -> Bucket {
        Bucket(bucket.0.saturating_sub(self.interval()))
    }
}

impl fmt::Display for Quota {
    /// As the configuration writes it, but for the unit, which is seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.per.as_secs();
        match secs {
            0 => write!(f, "{} per {} ms", self.count, self.per.as_millis()),
            _ if secs.is_multiple_of(3600) => write!(f, "{} per {} h", self.count, secs / 3600),
            _ if secs.is_multiple_of(60) => write!(f, "{} per {} min", self.count, secs / 60),
            _ => write!(f, "{} per {secs} s", self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

    fn quota(count: u32, secs: u64) -> Quota {
        Quota::new(count, Duration::from_secs(secs)).unwrap()
    }

    #[test]
    fn takes_and_waits() {
        // Quota, milliseconds at which one is taken, and the wait in milliseconds where it is refused.
        type Row = (Quota, &'static [(u64, Option<u64>)]);
        let rows: &[Row] = &[
            (
                quota(1, 10),
                &[(0, None), (0, Some(10_000)), (9_999, Some(1)), (10_000, None), (10_000, Some(10_000))],
            ),
            (
                quota(3, 30),
                &[(0, None), (0, None), (0, None), (0, Some(10_000)), (10_000, None), (10_001, Some(9_999))],
            ),
            // A refusal costs nothing: what was waited for is there.
            (
                quota(2, 2),
                &[(0, None), (0, None), (1, Some(999)), (2, Some(998)), (1000, None), (2000, None)],
            ),
            // After a long rest the whole burst is there, and not more.
            (quota(2, 2), &[(0, None), (90_000, None), (90_000, None), (90_000, Some(1000))]),
        ];
        for (quota, steps) in rows {
            let mut bucket = Bucket::default();
            for (at, want) in *steps {
                let now = T0 + Duration::from_millis(*at);
                match (quota.take(bucket, now), want) {
                    (Ok(next), None) => bucket = next,
                    (Err(wait), Some(want)) => {
                        assert_eq!(wait, Duration::from_millis(*want), "{quota} at {at}")
                    }
                    (got, want) => panic!("{quota} at {at}: {got:?}, not {want:?}"),
                }
            }
        }
    }

    #[test]
    fn who_waits_as_long_as_was_said_gets_one() {
        let (loose, strict) = (quota(12, 24 * 3600), quota(12, 3600));
        let full = (0..12).fold(Bucket::default(), |bucket, _| loose.take(bucket, T0).unwrap());
        // Another quota was put into force; the clock was set back by a day.
        for (quota, now) in [(strict, T0), (loose, T0 - Duration::from_secs(86_400))] {
            let wait = quota.take(full, now).unwrap_err();
            let kept = quota.settled(full, now);
            assert_eq!(quota.take(kept, now), Err(wait), "it says the same as before");
            assert!(quota.take(kept, now + wait).is_ok(), "{quota}");
            assert_eq!(quota.settled(kept, now), kept);
        }
        assert_eq!(loose.settled(Bucket::default(), T0), Bucket::default(), "a full one stays full");
    }

    #[test]
    fn zero_is_no_quota() {
        assert_eq!(Quota::new(0, Duration::from_secs(1)), None);
        assert_eq!(Quota::new(1, Duration::ZERO), None);
    }

    #[test]
    fn charges_giving_back_and_clocks_set_back() {
        let quota = quota(2, 20);
        let twice = quota.charge(quota.charge(Bucket::default(), T0), T0);
        assert_eq!(quota.charge(twice, T0), twice, "empty is as low as it gets");
        assert_eq!(quota.take(twice, T0), Err(Duration::from_secs(10)));
        assert!(quota.take(quota.give_back(twice), T0).is_ok());
        // An hour back: the wait is that of an empty bucket.
        let earlier = T0 - Duration::from_secs(3600);
        assert_eq!(quota.take(twice, earlier), Err(Duration::from_secs(10)));
        assert!(!twice.is_full(T0) && twice.is_full(T0 + Duration::from_secs(20)));
        // The end of time is no panic.
        let end = Timestamp::from_millis(u64::MAX);
        assert!(quota.take(Bucket(u64::MAX), end).is_ok() || quota.take(Bucket::default(), end).is_err());
    }

    proptest! {
        /// In any stretch of time no more are taken than the burst and what has come back in it; a wait
        /// is neither too short nor a millisecond too long.
        #[test]
        fn the_quota_holds(
            count in 1u32..50,
            per in 1u64..100_000,
            steps in prop::collection::vec(0u64..5_000, 1..200),
        ) {
            let quota = Quota::new(count, Duration::from_millis(per)).unwrap();
            let (mut now, mut bucket, mut taken) = (T0, Bucket::default(), Vec::new());
            for step in steps {
                now = now + Duration::from_millis(step);
                match quota.take(bucket, now) {
                    Ok(next) => {
                        bucket = next;
                        taken.push(now.as_millis());
                    }
                    Err(wait) => {
                        prop_assert!(wait <= Duration::from_nanos(quota.interval()));
                        let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap();
                        prop_assert!(quota.take(bucket, now + Duration::from_millis(millis)).is_ok());
                        prop_assert!(millis == 1 || quota.take(bucket, now + Duration::from_millis(millis - 1)).is_err());
                    }
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    let back = u128::from(to - from) * u128::from(count) / u128::from(per);
                    prop_assert!((j - i + 1) as u128 <= u128::from(count) + back, "{from}..{to}");
                }
            }
        }
    }
}
