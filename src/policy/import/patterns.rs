//! Globs of systems whose stars stand for anything, as globs of ours, whose stars stay within their part.

use std::time::Duration;

use super::Bearing;
use crate::policy::glob::Glob;

/// Stars of one glob over addresses: each is an entry as long as the glob.
const MOST_STARS: usize = 4;

/// The `email` entries that match what `glob` matches, held against the whole address; if there are none,
/// why not.
///
/// An address has one `@`. Where the glob has it too, both mean the same; where it has none, a star has to
/// take it, and whichever star does, what is in front of the `@` and what is behind are known.
pub(super) fn emails(glob: &str) -> Result<Vec<String>, (Bearing, &'static str)> {
    let glob = Glob::new(glob);
    let glob = glob.as_str();
    // An entry that begins so is everybody there, and the glob is nobody.
    if glob.starts_with('@') {
        return Err((
            Bearing::Nothing,
            "is no address and no star takes what is in front of its @; left out",
        ));
    }
    if glob.contains('@') {
        return Ok(vec![glob.to_owned()]);
    }
    let stars = || glob.match_indices('*');
    match stars().count() {
        0 => Err((Bearing::Nothing, "is no address, for it has no @, and no star that takes it; left out")),
        1..=MOST_STARS => {
            Ok(stars().map(|(at, _)| format!("{}*@*{}", &glob[..at], &glob[at + 1..])).collect())
        }
        _ => Err((
            Bearing::Narrower,
            "has more than four stars for the @ to be in, and is left out for addresses",
        )),
    }
}

/// The `uri` entries for `glob`, and whether they match all that it does. A star at the end of a host reaches
/// on into the path, which takes a second entry; one in front of the end could run over the whole host and
/// more, and is held to the host.
pub(super) fn uris(glob: &str) -> (Vec<String>, bool) {
    let (before, rest) = match glob.split_once("://") {
        None => {
            return (
                vec![glob.to_owned()],
                glob == "*" || !glob.split(':').next().unwrap_or_default().contains('*'),
            );
        }
        Some(parts) => parts,
    };
    let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let mut entries = vec![glob.to_owned()];
    let mut exact = !before.contains('*');
    if host.len() == rest.len() && host.ends_with('*') {
        entries.push(format!("{glob}/*"));
        exact &= !host[..host.len() - 1].contains('*');
    } else {
        exact &= !host.contains('*');
    }
    (entries, exact)
}

/// The `ip` entries for a glob over an address as text; `None` if no block is that.
pub(super) fn addresses(glob: &str) -> Option<Vec<String>> {
    if glob == "*" {
        return Some(vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()]);
    }
    let Some(front) = glob.strip_suffix(".*") else {
        return glob.parse::<std::net::IpAddr>().ok().map(|ip| vec![ip.to_string()]);
    };
    let parts: Vec<u8> = front.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let spelled = parts.iter().map(u8::to_string).collect::<Vec<_>>().join(".") == front;
    let bits = 8 * parts.len();
    let whole = [parts, vec![0; 4]].concat();
    (spelled && bits <= 24)
        .then(|| vec![format!("{}.{}.{}.{}/{bits}", whole[0], whole[1], whole[2], whole[3])])
}

/// The `keys` entry for RSA keys of some sizes; `None` if no size is among them that rules may name.
pub(super) fn rsa(least: u64, most: u64) -> Option<String> {
    let (least, most) = (if least < 512 { 0 } else { least }, if most > 65_536 { u64::MAX } else { most });
    match (least, most) {
        (least, _) if least > 65_536 => None,
        (_, most) if most < 512 => None,
        (least, most) if least > most => None,
        (0, u64::MAX) => Some("rsa".to_owned()),
        (0, most) => Some(format!("rsa:..{most}")),
        (least, u64::MAX) => Some(format!("rsa:{least}..")),
        (least, most) => Some(format!("rsa:{least}..{most}")),
    }
}

/// The curves that rules know, with their sizes.
pub(super) const CURVES: &[(&str, u64)] = &[("ec-p256", 256), ("ec-p384", 384), ("ec-p521", 521)];

/// Go's durations: `1h30m`, `2160h0m0s`, `1.5h`, `500ms`; days as well. To nanoseconds; `None` if it is none
/// or longer than a thousand years.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const MOST: u128 = 1000 * 366 * 86_400 * 1_000_000_000;
    let (mut rest, mut total) = (text, 0_u128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, more) = rest.split_at(end);
        let unit_end = more.find(|c: char| c.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(unit_end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || whole.len() > 20 || part.len() > 15 || part.contains('.')
        {
            return None;
        }
        let of = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
        let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
        total += of(whole)?.checked_mul(unit)? + of(part)? * unit / scale;
        if total > MOST {
            return None;
        }
        rest = more;
    }
    let nanos = u32::try_from(total % 1_000_000_000).ok()?;
    (!text.is_empty()).then_some(Duration::new(u64::try_from(total / 1_000_000_000).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_that_take_the_at() {
        for (glob, entries) in [
            ("*.a.test", &["*@*.a.test"][..]),
            ("web*.a.test", &["web*@*.a.test"]),
            ("a*b*c", &["a*@*b*c", "a*b*@*c"]),
            ("a**b", &["a*@*b"]),
            ("*@a.test", &["*@a.test"]),
            ("*", &["*@*"]),
        ] {
            assert_eq!(emails(glob).unwrap(), entries, "{glob}");
        }
        // An entry that begins with @ is everybody there; the glob is nobody.
        for (glob, bearing) in [
            ("a.test", Bearing::Nothing),
            ("", Bearing::Nothing),
            ("@a.test", Bearing::Nothing),
            ("@*.a.test", Bearing::Nothing),
            ("a*b*c*d*e*f", Bearing::Narrower),
        ] {
            assert_eq!(emails(glob).unwrap_err().0, bearing, "{glob}");
        }
    }

    #[test]
    fn stars_over_the_end_of_a_host() {
        for (glob, entries, exact) in [
            ("spiffe://a.test/web/*", &["spiffe://a.test/web/*"][..], true),
            ("spiffe://*", &["spiffe://*", "spiffe://*/*"], true),
            ("spiffe://a*", &["spiffe://a*", "spiffe://a*/*"], true),
            ("spiffe://*.a.test/x", &["spiffe://*.a.test/x"], false),
            ("spiffe://*a*", &["spiffe://*a*", "spiffe://*a*/*"], false),
            ("*://a.test/", &["*://a.test/"], false),
            ("*", &["*"], true),
            ("urn:x:*", &["urn:x:*"], true),
            ("u*", &["u*"], false),
        ] {
            assert_eq!(uris(glob), (entries.iter().map(|e| (*e).to_owned()).collect(), exact), "{glob}");
        }
    }

    #[test]
    fn blocks_keys_and_durations() {
        let one = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(addresses("10.*"), one("10.0.0.0/8"));
        assert_eq!(addresses("10.1.2.*"), one("10.1.2.0/24"));
        assert_eq!(addresses("10.1.2.3"), one("10.1.2.3"));
        assert_eq!(addresses("::1"), one("::1"));
        for none in ["10.1*", "10.01.*", "1.2.3.4.*", "*.1", "10.0.0.0/8", "", "fe80:*", "+1.*"] {
            assert_eq!(addresses(none), None, "{none}");
        }
        for (least, most, want) in [
            (0, u64::MAX, Some("rsa")),
            (2048, u64::MAX, Some("rsa:2048..")),
            (0, 4096, Some("rsa:..4096")),
            (2048, 2048, Some("rsa:2048..2048")),
            (3000, 2000, None),
            (0, 256, None),
            (70_000, u64::MAX, None),
        ] {
            assert_eq!(rsa(least, most).as_deref(), want, "{least} {most}");
        }
        let secs = |text: &str| duration(text).map(|d| d.as_secs_f64());
        assert_eq!(secs("2160h0m0s"), Some(7_776_000.0));
        assert_eq!(secs("1.5h"), Some(5400.0));
        assert_eq!(secs("1h30m500ms"), Some(5400.5));
        assert_eq!(secs("30d"), Some(2_592_000.0));
        for bad in ["", "5", "h", ".h", "1.2.3h", "1y", "-1h", "99999999999999999999h", "1e3s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
