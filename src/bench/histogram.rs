//! A log-linear histogram of durations: counts per bucket, each at most 1/128 wide of its value.

use std::time::Duration;

/// Linear buckets per power of two, as a power of two itself.
const BITS: u32 = 7;
const PER_OCTAVE: usize = 1 << BITS;
/// Values are capped at 2^32 µs, some 71 minutes.
const MAX_BITS: u32 = 32;
const BUCKETS: usize = (MAX_BITS - BITS + 1) as usize * PER_OCTAVE;

/// Durations in microseconds, from 1 µs to 71 minutes, with 0.8 % resolution.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum: 0, max: 0 }
    }
}

/// The bucket of a value: below 128 the value itself, above it 128 buckets per power of two.
fn bucket(value: u64) -> usize {
    let value = value.min((1 << MAX_BITS) - 1);
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    let mantissa = usize::try_from(value >> shift).unwrap_or_default();
    shift as usize * PER_OCTAVE + mantissa
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    let shift = (bucket / PER_OCTAVE).saturating_sub(1);
    let mantissa = (bucket - shift * PER_OCTAVE) as u64;
    ((mantissa + 1) << shift) - 1
}

impl Histogram {
    /// Adds a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (to, from) in self.counts.iter_mut().zip(&other.counts) {
            *to += from;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The largest, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max)
    }

    /// The mean, exactly; zero if there are none.
    pub fn mean(&self) -> Duration {
        Duration::from_micros(self.sum.checked_div(self.count).unwrap_or_default())
    }

    /// The value that the given share (0 to 1) of all do not exceed; zero if there are none. Never
    /// too small, and too large by 1/128 at most.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(top(index).min(self.max));
            }
        }
        self.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.max(), empty.mean()), (0, Duration::ZERO, Duration::ZERO));
        assert_eq!(empty.quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn buckets_are_contiguous_to_the_end() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(top(index)), index);
            assert_eq!(bucket(top(index) + 1), (index + 1).min(BUCKETS - 1));
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn a_bucket_is_narrow(value in 0u64..1 << MAX_BITS) {
            let top = top(bucket(value));
            prop_assert!(top >= value && top - value <= value / 128, "{value} {top}");
        }

        #[test]
        fn quantiles_are_close_to_the_sorted_values(
            mut values in proptest::collection::vec(0u64..100_000_000, 1..300),
            share in 0.0f64..=1.0,
        ) {
            let mut whole = Histogram::default();
            let (mut left, mut right) = (Histogram::default(), Histogram::default());
            for (index, value) in values.iter().enumerate() {
                let value = Duration::from_micros(*value);
                whole.record(value);
                if index % 2 == 0 { left.record(value) } else { right.record(value) }
            }
            values.sort_unstable();
            let rank = ((values.len() as f64 * share).ceil() as usize).max(1);
            let exact = values[rank - 1];
            let found = u64::try_from(whole.quantile(share).as_micros()).unwrap();
            prop_assert!(found >= exact && found - exact <= exact / 128, "{exact} {found}");
            prop_assert_eq!(u128::from(values[values.len() - 1]), whole.max().as_micros());
            left.merge(&right);
            prop_assert_eq!(left.quantile(share), whole.quantile(share));
            prop_assert_eq!((left.count(), left.mean()), (whole.count(), whole.mean()));
        }
    }
}
