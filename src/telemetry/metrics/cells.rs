//! The numbers themselves: atomics, added to without a lock. Readers see each of them as it is, and two
//! of them perhaps not as of the same instant, as Prometheus allows.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// Sets it.
    pub fn set(&self, to: i64) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more, until the guard is dropped.
    pub fn enter(&self) -> Within<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Within(self)
    }
}

/// One of those that a [`Level`] counts.
#[derive(Debug)]
pub struct Within<'a>(&'a Level);

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The upper ends of a histogram's buckets, and how many of their unit make one of the page's.
#[derive(Debug)]
pub struct Scale {
    ends: &'static [u64],
    unit: f64,
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;
const SECOND: u64 = 1_000 * MILLI;
const HOUR: u64 = 3_600;

/// From a signature to a validation that times out; nanoseconds, shown as seconds.
pub const SECONDS: Scale = Scale {
    ends: &[
        50 * MICRO,
        100 * MICRO,
        250 * MICRO,
        500 * MICRO,
        MILLI,
        MILLI * 5 / 2,
        5 * MILLI,
        10 * MILLI,
        25 * MILLI,
        50 * MILLI,
        100 * MILLI,
        250 * MILLI,
        500 * MILLI,
        SECOND,
        SECOND * 5 / 2,
        5 * SECOND,
        10 * SECOND,
        30 * SECOND,
    ],
    unit: 1e9,
};

/// Of groups of transactions.
pub const SIZES: Scale = Scale { ends: &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048], unit: 1.0 };

/// Lifetimes of certificates, seconds: an hour to the longest that the public web knows.
pub const LIFETIMES: Scale = Scale {
    ends: &[
        HOUR,
        6 * HOUR,
        12 * HOUR,
        24 * HOUR,
        48 * HOUR,
        7 * 24 * HOUR,
        30 * 24 * HOUR,
        90 * 24 * HOUR,
        398 * 24 * HOUR,
    ],
    unit: 1.0,
};

/// How many values fell into which bucket.
#[derive(Debug)]
pub struct Histogram {
    scale: Scale,
    /// One for each end, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram as it is read.
#[derive(Debug, PartialEq)]
pub struct Read {
    /// Of all values.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// The upper end of each bucket, and how many fell into this one alone.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// An empty one.
    pub fn new(scale: Scale) -> Self {
        let buckets = (0..=scale.ends.len()).map(|_| AtomicU64::new(0)).collect();
        Self { scale, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts a value in the scale's own unit.
    pub fn add(&self, value: u64) {
        let bucket = self.scale.ends.partition_point(|end| *end < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts a time, over a scale of nanoseconds.
    pub fn observe(&self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What it has come to.
    pub fn read(&self) -> Read {
        let Scale { ends, unit } = &self.scale;
        let ends = ends.iter().map(|end| *end as f64 / unit).chain([f64::INFINITY]);
        let buckets: Vec<_> =
            ends.zip(&self.buckets).map(|(end, bucket)| (end, bucket.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        Read { sum: self.sum.load(Ordering::Relaxed) as f64 / unit, count, buckets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_belongs_to_its_bucket() {
        for scale in [SECONDS, SIZES, LIFETIMES] {
            assert!(scale.ends.is_sorted());
        }
        let sizes = Histogram::new(SIZES);
        for value in [0, 1, 2, 3, 4, 2048, 2049, 9000] {
            sizes.add(value);
        }
        let read = sizes.read();
        assert_eq!((read.count, read.sum), (8, 13_107.0));
        let counts: Vec<u64> = read.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        let times = Histogram::new(SECONDS);
        times.observe(Duration::from_micros(2_500));
        times.observe(Duration::MAX);
        assert_eq!(times.read().buckets[5], (0.0025, 1));
        assert_eq!(times.read().buckets.last(), Some(&(f64::INFINITY, 1)));
    }

    #[test]
    fn a_level_comes_back() {
        let level = Level::default();
        let (one, two) = (level.enter(), level.enter());
        assert_eq!(level.get(), 2);
        drop(one);
        assert_eq!(level.get(), 1);
        drop(two);
        assert_eq!(level.get(), 0);
    }
}
