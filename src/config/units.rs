//! Durations and sizes as the file writes them: always with a unit, so that nobody has to know
//! which one a bare number would have meant.

use std::time::Duration;

/// Units of durations, largest first: name and milliseconds.
const DURATION_UNITS: &[(&str, u64)] =
    &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of sizes, largest first: name and bytes.
const SIZE_UNITS: &[(&str, u64)] =
    &[("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024), ("B", 1)];

/// Why a text is not a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Nothing there.
    #[error("the text is empty")]
    Empty,
    /// Something that is neither a number nor a unit.
    #[error("{0:?} is not a whole number followed by a unit")]
    Malformed(String),
    /// A number alone.
    #[error("{0} has no unit")]
    NoUnit(String),
    /// A unit we do not know.
    #[error("{0:?} is not a unit")]
    UnknownUnit(String),
    /// `30m1h` or `1h1h`.
    #[error("units go from the largest to the smallest, each once")]
    Order,
    /// Beyond 64 bits.
    #[error("the value is too large")]
    TooLarge,
}

/// Parses `90s`, `24h`, `1h30m`: whole numbers with `d`, `h`, `m`, `s` or `ms`.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Parses `64KiB`, `1MiB`: whole numbers with `B`, `KiB`, `MiB` or `GiB`; the result is in bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZE_UNITS)
}

/// The shortest text that [`parse_duration`] reads back; fractions of a millisecond are dropped.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format(millis, DURATION_UNITS, "0s")
}

/// The shortest text that [`parse_size`] reads back.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZE_UNITS, "0B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let mut rest = text;
    let mut total = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (digits, after) = split(rest, |c| !c.is_ascii_digit());
        let (unit, next) = split(after, |c| c.is_ascii_digit());
        if digits.is_empty() {
            return Err(UnitError::Malformed(text.to_owned()));
        }
        if unit.is_empty() {
            return Err(UnitError::NoUnit(text.to_owned()));
        }
        let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
            return Err(match unit.bytes().all(|b| b.is_ascii_alphabetic()) {
                true => UnitError::UnknownUnit(unit.to_owned()),
                false => UnitError::Malformed(text.to_owned()),
            });
        };
        if *factor >= smallest {
            return Err(UnitError::Order);
        }
        smallest = *factor;
        let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
        total = number
            .checked_mul(*factor)
            .and_then(|part| total.checked_add(part))
            .ok_or(UnitError::TooLarge)?;
        rest = next;
    }
    Ok(total)
}

fn split(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn format(mut value: u64, units: &[(&str, u64)], zero: &str) -> String {
    let mut out = String::new();
    for (name, factor) in units {
        if value / factor > 0 {
            out.push_str(&format!("{}{name}", value / factor));
            value %= factor;
        }
    }
    if out.is_empty() { zero.to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        use UnitError::*;
        let rows: &[(&str, Result<u64, UnitError>)] = &[
            ("90s", Ok(90_000)),
            ("24h", Ok(86_400_000)),
            ("1h30m", Ok(5_400_000)),
            ("1d2h3m4s5ms", Ok(93_784_005)),
            ("250ms", Ok(250)),
            ("0s", Ok(0)),
            ("", Err(Empty)),
            ("90", Err(NoUnit("90".into()))),
            ("1h30", Err(NoUnit("1h30".into()))),
            ("h", Err(Malformed("h".into()))),
            ("1.5h", Err(Malformed("1.5h".into()))),
            ("-1h", Err(Malformed("-1h".into()))),
            (" 1h", Err(Malformed(" 1h".into()))),
            ("1 h", Err(Malformed("1 h".into()))),
            ("1H", Err(UnknownUnit("H".into()))),
            ("1w", Err(UnknownUnit("w".into()))),
            ("10min", Err(UnknownUnit("min".into()))),
            ("30m1h", Err(Order)),
            ("1h1h", Err(Order)),
            ("99999999999999999999s", Err(TooLarge)),
            ("18446744073709551615d", Err(TooLarge)),
            ("٣h", Err(Malformed("٣h".into()))),
        ];
        for (text, want) in rows {
            assert_eq!(parse_duration(text), want.clone().map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes() {
        use UnitError::*;
        let rows: &[(&str, Result<u64, UnitError>)] = &[
            ("64KiB", Ok(65_536)),
            ("1MiB512KiB", Ok(1_572_864)),
            ("100B", Ok(100)),
            ("65536", Err(NoUnit("65536".into()))),
            ("64KB", Err(UnknownUnit("KB".into()))),
            ("64k", Err(UnknownUnit("k".into()))),
        ];
        for (text, want) in rows {
            assert_eq!(parse_size(text), *want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in any::<u64>(), bytes in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
