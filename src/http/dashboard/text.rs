//! Times and spans as people read them. All times are UTC.

use std::time::Duration;

use maud::{Markup, html};

use crate::time::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;
const YEAR: u64 = 31_557_600;
/// From here on hours are not worth a word, and from there on days.
const MANY: u64 = 60 * DAY;
const YEARS: u64 = 2 * YEAR;

/// `7 h 12 m`: two units at most, rounded down.
pub(super) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let two = |large: u64, of: &str, small: u64, and: &str| match small {
        0 => format!("{large}\u{a0}{of}"),
        _ => format!("{large}\u{a0}{of} {small}\u{a0}{and}"),
    };
    match secs {
        0..MINUTE => "less than a minute".to_owned(),
        MINUTE..HOUR => format!("{}\u{a0}m", secs / MINUTE),
        HOUR..172_800 => two(secs / HOUR, "h", secs % HOUR / MINUTE, "m"),
        YEARS.. => two(secs / YEAR, "y", secs % YEAR / (YEAR / 12), "mo"),
        MANY.. => format!("{}\u{a0}d", secs / DAY),
        _ => two(secs / DAY, "d", secs % DAY / HOUR, "h"),
    }
}

/// `in 7 h 12 m`, or `7 h 12 m ago`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", span(at.since(now))) } else { format!("{} ago", span(now.since(at))) }
}

/// `17:04`, on another day `28 Nov 17:04`, in another year `28 Nov 2026`.
pub(super) fn clock(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (at.to_utc(), now.to_utc());
    let month = at.month().to_string();
    let month = month.get(..3).unwrap_or(&month);
    if at.year() != now.year() {
        format!("{} {month} {}", at.day(), at.year())
    } else if at.ordinal() != now.ordinal() {
        format!("{} {month} {:02}:{:02}", at.day(), at.hour(), at.minute())
    } else {
        format!("{:02}:{:02}", at.hour(), at.minute())
    }
}

/// A moment, for people and for programs.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Markup {
    let whole = at.whole_seconds().to_rfc3339();
    html! { time datetime=(whole) title=(whole) { (clock(at, now)) } }
}

/// A moment with its day, whichever that is.
pub(super) fn dated(at: Timestamp) -> Markup {
    let utc = at.to_utc();
    let month = utc.month().to_string();
    let whole = at.whole_seconds().to_rfc3339();
    let short = month.get(..3).unwrap_or(&month);
    html! {
        time datetime=(whole) title=(whole) {
            (format!("{} {short} {} {:02}:{:02}", utc.day(), utc.year(), utc.hour(), utc.minute()))
        }
    }
}

/// A moment, and how far away it is.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    html! { span.moment { span.far { (relative(at, now)) } " " span.at { (time(at, now)) } } }
}

/// `12 345`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 identity`, `2 identities`.
pub(super) fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_times() {
        for (secs, want) in [
            (0, "less than a minute"),
            (59, "less than a minute"),
            (60, "1 m"),
            (3599, "59 m"),
            (3600, "1 h"),
            (25_920, "7 h 12 m"),
            (172_799, "47 h 59 m"),
            (172_800, "2 d"),
            (200_000, "2 d 7 h"),
            (8_640_000, "100 d"),
            (157_788_000, "5 y"),
            (155_000_000, "4 y 10 mo"),
        ] {
            assert_eq!(span(Duration::from_secs(secs)).replace('\u{a0}', " "), want, "{secs}");
        }
        let now = Timestamp::from_secs(1_795_860_240);
        assert_eq!(clock(now, now), "10:04");
        assert_eq!(clock(now + Duration::from_secs(86_400), now), "29 Nov 10:04");
        assert_eq!(clock(now + Duration::from_secs(366 * 86_400), now), "29 Nov 2027");
        assert_eq!(relative(now + Duration::from_secs(120), now), "in 2\u{a0}m");
        assert_eq!(relative(now, now + Duration::from_secs(120)), "2\u{a0}m ago");
        assert_eq!((number(999), number(1_234_567)), ("999".into(), "1\u{202f}234\u{202f}567".into()));
        assert_eq!(count(1, "identity", "identities"), "1 identity");
    }
}
