//! The one door for time: everything else is handed a [`Timestamp`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Arithmetic saturates: a clock at either end of the range never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The same instant without its fraction of a second: X.509 and ACME know whole seconds only.
    pub const fn whole_seconds(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// The first instant from this one on that has no fraction of a second.
    pub const fn next_whole_second(self) -> Self {
        Self(self.0.saturating_add(999)).whole_seconds()
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with whole seconds, as ACME objects carry it.
    pub fn to_rfc3339(self) -> String {
        let at = self.to_utc();
        let (year, month, day) = at.to_calendar_date();
        let mut text = *b"0000-00-00T00:00:00Z";
        // `to_utc` knows the years 1970 to 9999.
        let year = year.unsigned_abs();
        let pairs = [year / 100, year % 100, u32::from(u8::from(month)), u32::from(day)];
        let clock = [at.hour(), at.minute(), at.second()].map(u32::from);
        for (place, value) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(pairs.into_iter().chain(clock)) {
            text[place] = b'0' + (value / 10 % 10) as u8;
            text[place + 1] = b'0' + (value % 10) as u8;
        }
        text.iter().map(|digit| char::from(*digit)).collect()
    }

    /// Parses RFC 3339 with any offset; `None` if malformed or before 1970.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        u64::try_from(at.unix_timestamp()).ok().map(Self::from_secs)
    }

    /// The calendar form that the X.509 builder takes, whole seconds, UTC.
    pub fn to_utc(self) -> OffsetDateTime {
        let secs = i64::try_from(self.as_secs()).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(secs).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Where shells read the time.
pub trait Clock: Send + Sync {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one door")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that tests hold in their hand; clones share it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub struct ManualClock(std::sync::Arc<std::sync::atomic::AtomicU64>);

#[cfg(test)]
impl ManualClock {
    /// A clock standing at `at`.
    pub fn new(at: Timestamp) -> Self {
        Self(std::sync::Arc::new(std::sync::atomic::AtomicU64::new(at.0)))
    }
    /// Sets the clock, back too.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, std::sync::atomic::Ordering::SeqCst);
    }
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trip_and_offsets() {
        let at = Timestamp::from_secs(1_793_318_400);
        assert_eq!(Timestamp::parse_rfc3339(&at.to_rfc3339()), Some(at));
        assert_eq!(
            Timestamp::parse_rfc3339("2026-11-22T03:00:00+02:00"),
            Timestamp::parse_rfc3339("2026-11-22T01:00:00Z"),
        );
        for bad in ["", "2026-11-22", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn rfc3339_is_what_the_time_crate_writes() {
        let same = |at: Timestamp| assert_eq!(at.to_rfc3339(), at.to_utc().format(&Rfc3339).unwrap());
        // The days of one whole cycle of leap years, then some to the last year with four digits; each
        // at another time of day.
        let (cycle, last) = (400 * 366 * 86_400, 253_402_300_799);
        let days = (0..cycle).step_by(86_400 - 1_009).chain((cycle..last).step_by(97 * 86_400 + 4_999));
        for secs in days {
            same(Timestamp::from_secs(secs));
        }
        let edges = [0, 59, 60, 951_782_399, 951_782_400, 951_868_800, 4_107_542_400, last, last + 1];
        for secs in edges {
            same(Timestamp::from_secs(secs));
        }
        same(Timestamp::from_millis(1_793_318_400_999));
        same(Timestamp::from_millis(u64::MAX));
    }

    #[test]
    fn whole_seconds_before_and_after() {
        let millis = Timestamp::from_millis;
        for (at, before, after) in [(0, 0, 0), (1, 0, 1000), (999, 0, 1000), (1000, 1000, 1000)] {
            assert_eq!(millis(at).whole_seconds(), millis(before), "{at}");
            assert_eq!(millis(at).next_whole_second(), millis(after), "{at}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::EPOCH - Duration::from_secs(1), Timestamp::EPOCH);
        assert_eq!(Timestamp(u64::MAX) + Duration::from_secs(1), Timestamp(u64::MAX));
        assert_eq!(Timestamp::EPOCH.since(Timestamp::from_secs(5)), Duration::ZERO);
    }
}
