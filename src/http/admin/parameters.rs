//! Query parameters: each at most once, none that is not known.

use std::net::IpAddr;

use url::form_urlencoded;

use super::problem::Failure;
use crate::acme::identifier::{DnsName, Identifier};
use crate::id::{AccountId, EabKid};
use crate::time::Timestamp;
use crate::x509::hex;
use crate::x509::key_hash::KeyHash;

/// Bytes of a value.
const MAX_VALUE: usize = 1024;

/// What stands in a request's query and was not taken yet.
pub(super) struct Parameters(Vec<(String, String)>);

fn malformed(name: &str, why: &str) -> Failure {
    Failure::Malformed(format!("{name}: {why}"))
}

impl Parameters {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Failure> {
        let mut found: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if found.iter().any(|(known, _)| *known == name) {
                return Err(malformed(&name, "is given twice"));
            }
            if value.len() > MAX_VALUE {
                return Err(malformed(&name, "is too long"));
            }
            found.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(found))
    }

    /// The parameter of that name, if it is given, as `read` reads it.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Failure> {
        let Some(place) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.swap_remove(place);
        read(&value).map(Some).map_err(|why| malformed(name, why))
    }

    /// Whatever is left is not known.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(malformed(name, "there is no such parameter; see /openapi.json")),
        }
    }
}

/// A DNS name, a wildcard, an address, or `permanent-identifier:` and a device's.
pub(super) fn name(text: &str) -> Result<Identifier, &'static str> {
    Identifier::parse_written(text).map_err(|_| {
        if text.starts_with("permanent-identifier:") {
            "is not a device's permanent identifier"
        } else {
            "is neither a DNS name nor an address"
        }
    })
}

/// A DNS name, that and all below it.
pub(super) fn suffix(text: &str) -> Result<DnsName, &'static str> {
    DnsName::parse(text).map_err(|_| "is not a DNS name")
}

pub(super) fn key(text: &str) -> Result<KeyHash, &'static str> {
    KeyHash::parse(text).ok_or("is not a SHA-256: give 64 hexadecimal digits")
}

pub(super) fn issuer(text: &str) -> Result<[u8; 20], &'static str> {
    hex::decode(text).ok_or("is not a key identifier in 40 characters of lower-case hex")
}

pub(super) fn account(text: &str) -> Result<AccountId, &'static str> {
    AccountId::parse(text).ok_or("is not an account's id: the last part of its URL")
}

pub(super) fn eab_key(text: &str) -> Result<EabKid, &'static str> {
    EabKid::parse(text).ok_or("is not an EAB key's id; `mayfly eab list` shows them")
}

pub(super) fn address(text: &str) -> Result<IpAddr, &'static str> {
    text.parse::<IpAddr>().map(|ip| ip.to_canonical()).map_err(|_| "is not an address")
}

pub(super) fn text(text: &str) -> Result<String, &'static str> {
    // Longer than any name in a configuration, and short enough for a key of the index.
    if (1..=128).contains(&text.len()) { Ok(text.to_owned()) } else { Err("must have 1 to 128 bytes") }
}

pub(super) fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("is not a time such as 2030-01-31T12:00:00Z (RFC 3339)")
}

pub(super) fn flag(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

pub(super) fn number(text: &str) -> Result<u64, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or("is not a cursor; take `next` of the page before")
}

pub(super) fn limit(text: &str, most: usize) -> Result<usize, &'static str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<usize>().ok().filter(|number| digits && (1..=most).contains(number));
    number.ok_or("is not a number from 1 to 500")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_and_given_once() {
        let mut two = Parameters::parse(Some("name=a.test&limit=5")).unwrap();
        assert_eq!(two.take("limit", |text| limit(text, 500)).unwrap(), Some(5));
        assert_eq!(two.take("after", text).unwrap(), None);
        assert_eq!(two.take("name", name).unwrap(), Some(Identifier::parse_dns("a.test").unwrap()));
        two.finish().unwrap();
        assert!(Parameters::parse(None).unwrap().finish().is_ok());
        for query in ["a=1&a=2", &format!("a={}", "x".repeat(1025))] {
            assert!(matches!(Parameters::parse(Some(query)), Err(Failure::Malformed(_))), "{query}");
        }
        for query in ["nane=a.test", "x", "&name"] {
            assert!(Parameters::parse(Some(query)).unwrap().finish().is_err(), "{query}");
        }
    }

    #[test]
    fn values() {
        for bad in ["0", "501", "-1", "+5", "", "x", "99999999999999999999999"] {
            assert!(limit(bad, 500).is_err(), "{bad}");
        }
        for good in ["a.test", "*.a.test", "10.0.0.1", "2001:DB8::0:1", "permanent-identifier:C02/1.2.3"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "a_b", "*.*.test", "permanent-identifier:"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(suffix("*.a.test").is_err() && suffix("test").is_ok());
        assert!(key(&"ab".repeat(32)).is_ok() && key("ab").is_err());
        assert!(issuer(&"ab".repeat(20)).is_ok() && issuer("").is_err());
        assert!(text("").is_err() && text(&"x".repeat(129)).is_err() && text("acme").is_ok());
    }
}
