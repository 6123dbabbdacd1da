//! `[limits]`: rates as `"300 per 3h"`, or `"off"`. Zero is refused: it would be no limit to one reader
//! and no way through to another.

use std::time::Duration;

use super::check::{DAY, SECOND, networks};
use super::file::{Field, Section, shorten};
use super::problem::Findings;
use super::units::{format_duration, parse_duration};
use crate::limits::gcra::Quota;
use crate::limits::{IPV4_PREFIX, IPV6_PREFIX, Limit, OPEN_ORDERS, Rules};

/// Switches a limit off.
const OFF: &str = "off";
const MOST: u32 = 1_000_000_000;
const TIMES: (Duration, Duration) = (SECOND, Duration::from_secs(31 * 86_400));
/// Connections of one network, unless the file says otherwise: half of the listener's, by default.
const NETWORK_CONNECTIONS: usize = 512;

/// Reads the section.
pub(super) fn rules(section: &Section<'_>, findings: &mut Findings) -> Rules {
    debug_assert!(TIMES.1 == 31 * DAY);
    let mut rules = Rules::default();
    for limit in Limit::ALL {
        let Some(field) = section.get(limit.name()) else { continue };
        match field.string(findings).map(read_quota) {
            Some(Ok(quota)) => rules.set(*limit, quota),
            Some(Err(why)) => field.error(findings, format!("{why}; write \"300 per 3h\", or \"{OFF}\"")),
            None => {}
        }
    }
    rules.open_orders = section.get("open_orders").map_or(Some(OPEN_ORDERS), |field| {
        count(&field, findings).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    });
    let mut prefix = |key, default: u8, range| {
        u8::try_from(section.integer(key, u64::from(default), range, findings)).unwrap_or(default)
    };
    rules.ipv4_prefix = prefix("ipv4_prefix", IPV4_PREFIX, (8, 32));
    rules.ipv6_prefix = prefix("ipv6_prefix", IPV6_PREFIX, (16, 128));
    rules.exempt = networks(section, "exempt", findings);
    for net in rules.exempt.iter().filter(|net| net.prefix_len() == 0) {
        let message = format!("{net} lifts every limit for everybody");
        findings.note(section.line, &section.path_of("exempt"), message);
    }
    rules
}

/// Connections of one network at once.
pub(super) fn network_connections(section: &Section<'_>, findings: &mut Findings) -> Option<usize> {
    section.get("network_connections").map_or(Some(NETWORK_CONNECTIONS), |field| {
        count(&field, findings).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    })
}

/// A whole number, or off.
fn count(field: &Field<'_>, findings: &mut Findings) -> Option<u64> {
    if !field.is_string() {
        return field.integer((1, u64::from(MOST)), findings);
    }
    if field.string(findings) != Some(OFF) {
        field.error(findings, format!("write a whole number without quotes, or \"{OFF}\""));
    }
    None
}

/// `COUNT per DURATION` or `off`.
pub(super) fn read_quota(text: &str) -> Result<Option<Quota>, String> {
    if text == OFF {
        return Ok(None);
    }
    let parts = text.split_once(" per ").map(|(count, per)| (count.trim(), per.trim()));
    let Some((count, per)) = parts.filter(|(count, _)| !count.is_empty()) else {
        return Err(format!("{:?} is not a count and a duration", shorten(text)));
    };
    let digits = count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse::<u32>().ok().filter(|count| digits && *count <= MOST);
    let count = count.ok_or_else(|| format!("the count in {:?} is not 1 to {MOST}", shorten(text)))?;
    let per = parse_duration(per).map_err(|error| format!("the duration in {:?}: {error}", shorten(text)))?;
    if count == 0 || per.is_zero() {
        return Err("zero does not switch a limit off here".to_owned());
    }
    if !(TIMES.0..=TIMES.1).contains(&per) {
        let (least, most) = (format_duration(TIMES.0), format_duration(TIMES.1));
        return Err(format!("{}: is out of range; give {least} to {most}", format_duration(per)));
    }
    Ok(Quota::new(count, per))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(count: u32, secs: u64) -> Result<Option<Quota>, ()> {
        Ok(Quota::new(count, Duration::from_secs(secs)))
    }

    #[test]
    fn quotas() {
        let rows = [
            ("300 per 3h", quota(300, 10_800)),
            ("1 per 1s", quota(1, 1)),
            ("1000000000 per 31d", quota(1_000_000_000, 31 * 86_400)),
            ("off", Ok(None)),
            ("0 per 3h", Err(())),
            ("300 per 0s", Err(())),
            ("300 per 500ms", Err(())),
            ("300 per 32d", Err(())),
            ("+1 per 1h", Err(())),
            ("-1 per 1h", Err(())),
            ("1000000001 per 1h", Err(())),
            ("300 per 3", Err(())),
            ("300 per", Err(())),
            (" per 3h", Err(())),
            ("300/3h", Err(())),
            ("300", Err(())),
            ("Off", Err(())),
            ("", Err(())),
        ];
        for (text, want) in rows {
            assert_eq!(read_quota(text).map_err(drop), want, "{text}");
        }
        assert!(read_quota("0 per 3h").unwrap_err().contains("zero does not switch"));
    }

    #[test]
    fn the_section_has_a_key_for_every_limit() {
        let keys = super::super::file::keys_of("limits");
        assert!(Limit::ALL.iter().all(|limit| keys.contains(&limit.name())));
    }
}
