//! Name rules as text: in the configuration, in commands and in records.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::acme::NameRule;
use crate::acme::identifier::DnsName;

/// Parses an address or a block without host bits.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    match text.parse::<IpNet>() {
        Ok(net) if net == net.trunc() => Ok(net),
        Ok(net) => Err(format!("{text} has bits set beyond its prefix; write \"{}\"", net.trunc())),
        Err(_) => Err(format!(
            "{:?} is not a network; write an address or a block such as \"10.0.0.0/8\" or \"fd00::/8\"",
            shorten(text)
        )),
    }
}

impl FromStr for NameRule {
    type Err = String;

    /// `a.test` is that name, `*.a.test` (or `.a.test`) every name under it, an address or a block the
    /// addresses in it; the error says which rule the text breaks and what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') || text.parse::<IpAddr>().is_ok() {
            return parse_network(text).map(Self::Net);
        }
        let under = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let name = DnsName::parse(under.unwrap_or(text)).map_err(|error| {
            format!(
                "{:?}: {error}; write a name, \"*.example.internal\" for all names under one, or a network",
                shorten(text)
            )
        })?;
        let name = name.as_str().to_owned();
        Ok(if under.is_some() { Self::Under(name) } else { Self::Exact(name) })
    }
}

impl fmt::Display for NameRule {
    /// The text that parses to the same rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(name) => write!(f, "*.{name}"),
            Self::Net(net) => write!(f, "{net}"),
        }
    }
}

impl Serialize for NameRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NameRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// At most a few dozen characters, without control characters.
fn shorten(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_rules() {
        let rows = [
            ("example.internal", Ok(NameRule::Exact("example.internal".into()))),
            ("*.Example.internal", Ok(NameRule::Under("example.internal".into()))),
            (".example.internal", Ok(NameRule::Under("example.internal".into()))),
            ("10.0.0.0/8", Ok(NameRule::Net("10.0.0.0/8".parse().unwrap()))),
            ("10.0.0.1", Ok(NameRule::Net("10.0.0.1/32".parse().unwrap()))),
            ("fd00::/8", Ok(NameRule::Net("fd00::/8".parse().unwrap()))),
            ("10.0.0.1/8", Err("\"10.0.0.0/8\"")),
            ("*", Err("wildcard")),
            ("", Err("empty")),
            ("*.*.a", Err("wildcard")),
        ];
        for (text, want) in rows {
            match (text.parse::<NameRule>(), want) {
                (Ok(got), Ok(want)) => {
                    assert_eq!(got, want, "{text}");
                    assert_eq!(got.to_string().parse(), Ok(want), "{text}");
                }
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
    }
}
