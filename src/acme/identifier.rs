//! Identifiers (RFC 8555 §9.7.7, RFC 8738, draft-ietf-acme-device-attest): parsed once, normal form
//! only.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::x509::permanent;

/// Longest DNS name, bytes.
const MAX_NAME: usize = 253;

/// A DNS name in lower case without a trailing dot, letters, digits and hyphens only, never a
/// wildcard; at most 253 bytes, labels of 1 to 63.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DnsName(String);

impl DnsName {
    /// Parses and normalises (lower case).
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let name = text.to_ascii_lowercase();
        if name.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if !name.is_ascii() {
            return Err(IdentifierError::NotAscii);
        }
        if name.ends_with('.') {
            return Err(IdentifierError::TrailingDot);
        }
        if name.len() > MAX_NAME {
            return Err(IdentifierError::TooLong);
        }
        if name.parse::<IpAddr>().is_ok() {
            return Err(IdentifierError::AddressAsDns);
        }
        for label in name.split('.') {
            check_label(label)?;
        }
        // A name whose last label is a number (of hexadecimal digits after `0x`, be there none) would
        // be read as an IPv4 address by URL parsers and C libraries.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hexadecimal =
            last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(IdentifierError::NumericTld);
        }
        Ok(Self(name))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_label(label: &str) -> Result<(), IdentifierError> {
    let bytes = label.as_bytes();
    match bytes {
        [] => return Err(IdentifierError::EmptyLabel),
        _ if bytes.len() > 63 => return Err(IdentifierError::LabelTooLong),
        [b'*', ..] => return Err(IdentifierError::Wildcard),
        [b'-', ..] | [.., b'-'] => return Err(IdentifierError::HyphenAtEdge),
        _ => {}
    }
    if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
        return Err(IdentifierError::Character);
    }
    // RFC 5891 §4.2.3.1: hyphens in the third and fourth place are kept for A-labels.
    if bytes.len() >= 4 && &bytes[2..4] == b"--" && &bytes[..2] != b"xn" {
        return Err(IdentifierError::ReservedLabel);
    }
    Ok(())
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest permanent identifier, bytes; serial numbers and the like have a few dozen.
const MAX_DEVICE: usize = 255;

/// A device's permanent identifier (draft-ietf-acme-device-attest §3.1): `VALUE`, or `VALUE/ASSIGNER`
/// with an object identifier; octet for octet as the client wrote it, no control characters, at most
/// 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PermanentId(String);

impl PermanentId {
    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let (value, assigner) = match text.split_once('/') {
            Some((value, assigner)) => (value, Some(assigner)),
            None => (text, None),
        };
        if value.is_empty() {
            return Err(IdentifierError::Empty);
        }
        if text.len() > MAX_DEVICE {
            return Err(IdentifierError::DeviceTooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(IdentifierError::DeviceControl);
        }
        if assigner.is_some_and(|oid| permanent::oid_content(oid).is_none()) {
            return Err(IdentifierError::Assigner);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text form without the assigner.
    pub fn value(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

/// What stands in front of a device's identifier where people write it.
const DEVICE: &str = "permanent-identifier:";

/// What an authorization can prove control of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Identifier {
    /// One DNS name.
    Dns(DnsName),
    /// All names one label below this one (`*.` is not part of the stored name).
    Wildcard(DnsName),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A device.
    Permanent(PermanentId),
}

impl Identifier {
    /// Parses `{"type": kind, "value": value}` as newOrder carries it.
    pub fn parse(kind: &str, value: &str) -> Result<Self, IdentifierError> {
        match kind {
            "dns" => Self::parse_dns(value),
            "ip" => Self::parse_ip(value),
            "permanent-identifier" => PermanentId::parse(value).map(Self::Permanent),
            _ => Err(IdentifierError::UnsupportedType),
        }
    }

    /// Parses a DNS name that may be a wildcard.
    pub fn parse_dns(value: &str) -> Result<Self, IdentifierError> {
        match value.strip_prefix("*.") {
            // `*.` counts: a name that it stands for is at least as long.
            Some(_) if value.len() > MAX_NAME => Err(IdentifierError::TooLong),
            Some(base) => DnsName::parse(base).map(Self::Wildcard),
            None => DnsName::parse(value).map(Self::Dns),
        }
    }

    /// Parses an address in its canonical text form (RFC 8738 §3: RFC 5952 for IPv6).
    pub fn parse_ip(value: &str) -> Result<Self, IdentifierError> {
        let ip: IpAddr = value.parse().map_err(|_| IdentifierError::NotAnAddress)?;
        if ip.to_string() != value {
            return Err(IdentifierError::NotCanonicalAddress);
        }
        Self::from_ip(ip)
    }

    /// An address that a certificate may name.
    pub fn from_ip(ip: IpAddr) -> Result<Self, IdentifierError> {
        if let IpAddr::V6(v6) = ip
            && v6.to_ipv4_mapped().is_some()
        {
            return Err(IdentifierError::MappedAddress);
        }
        Ok(Self::Ip(ip))
    }

    /// As people write it: a DNS name, a wildcard, an address in any of its spellings, or
    /// `permanent-identifier:` and a device's.
    pub fn parse_written(text: &str) -> Result<Self, IdentifierError> {
        if let Some(device) = text.strip_prefix(DEVICE) {
            return PermanentId::parse(device).map(Self::Permanent);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) => Self::from_ip(ip),
            Err(_) => Self::parse_dns(text),
        }
    }

    /// As [`Identifier::parse_written`] takes it.
    pub fn written(&self) -> String {
        match self {
            Self::Permanent(device) => format!("{DEVICE}{}", device.as_str()),
            Self::Dns(_) | Self::Wildcard(_) | Self::Ip(_) => self.to_string(),
        }
    }

    /// The ACME type: `dns`, `ip` or `permanent-identifier`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) | Self::Wildcard(_) => "dns",
            Self::Ip(_) => "ip",
            Self::Permanent(_) => "permanent-identifier",
        }
    }

    /// The value as an order shows it: a wildcard with its `*.`.
    pub fn order_value(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) => name.as_str().into(),
            Self::Wildcard(name) => format!("*.{name}").into(),
            Self::Ip(ip) => ip.to_string().into(),
            Self::Permanent(device) => device.as_str().into(),
        }
    }

    /// The value as an authorization shows it: a wildcard without its `*.` (RFC 8555 §7.1.4).
    pub fn authorization_value(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => name.as_str().into(),
            Self::Ip(ip) => ip.to_string().into(),
            Self::Permanent(device) => device.as_str().into(),
        }
    }

    /// Whether this names a device and no host.
    pub fn is_device(&self) -> bool {
        matches!(self, Self::Permanent(_))
    }

    /// Whether this is a wildcard.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Wildcard(_))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.order_value())
    }
}

/// Why a text is not an identifier we issue for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Neither `dns` nor `ip`.
    #[error("the identifier type is not supported: use \"dns\" or \"ip\"")]
    UnsupportedType,
    /// Empty text.
    #[error("the name is empty")]
    Empty,
    /// Outside ASCII.
    #[error("the name has characters outside ASCII: give internationalised names as A-labels (xn--…)")]
    NotAscii,
    /// `example.com.`
    #[error("the name ends in a dot")]
    TrailingDot,
    /// Over 253 bytes.
    #[error("the name is longer than 253 bytes")]
    TooLong,
    /// An address where a name belongs.
    #[error("the name is an IP address: use identifier type \"ip\"")]
    AddressAsDns,
    /// Two dots in a row, or one in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label over 63 bytes.
    #[error("a label of the name is longer than 63 bytes")]
    LabelTooLong,
    /// `*` anywhere but as the whole first label.
    #[error("a wildcard is allowed only as the whole leftmost label")]
    Wildcard,
    /// `-a` or `a-`.
    #[error("a label of the name begins or ends with a hyphen")]
    HyphenAtEdge,
    /// Anything else than letters, digits, hyphens.
    #[error("the name has a character other than letters, digits, hyphens and dots")]
    Character,
    /// `ab--c`.
    #[error("a label of the name has hyphens in its third and fourth place but is not an A-label")]
    ReservedLabel,
    /// `1.2.3`.
    #[error("the last label of the name is a number")]
    NumericTld,
    /// Not an address.
    #[error("the value is not an IP address")]
    NotAnAddress,
    /// Not in the one text form.
    #[error("the address is not in its canonical text form (RFC 5952)")]
    NotCanonicalAddress,
    /// `::ffff:1.2.3.4`
    #[error("the address is an IPv4-mapped IPv6 address: give the IPv4 address")]
    MappedAddress,
    /// Over 255 bytes.
    #[error("the permanent identifier is longer than 255 bytes")]
    DeviceTooLong,
    /// Control characters.
    #[error("the permanent identifier has control characters")]
    DeviceControl,
    /// Behind the slash is no object identifier.
    #[error("the permanent identifier's assigner is not a dotted-decimal object identifier")]
    Assigner,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_31_wildcards_idn_and_long_labels() {
        use IdentifierError::*;
        let long_device = "d".repeat(256);
        let long_label = format!("{}.test", "a".repeat(64));
        let long_name = format!("{}test", "abcdefgh.".repeat(28));
        // 253 bytes is the most, and `*.` counts: one label must still fit in its place.
        let (most, most_wild) = (&long_name[long_name.len() - 253..], &long_name[long_name.len() - 251..]);
        let (wild_252, wild_251) =
            (format!("*.{}", &long_name[long_name.len() - 252..]), format!("*.{most_wild}"));
        let rows: &[(&str, &str, Result<&str, IdentifierError>)] = &[
            ("dns", "example.test", Ok("example.test")),
            ("dns", "Example.TEST", Ok("example.test")),
            ("dns", "localhost", Ok("localhost")),
            ("dns", "*.Example.test", Ok("*.example.test")),
            ("dns", "xn--bcher-kva.test", Ok("xn--bcher-kva.test")),
            ("dns", "", Err(Empty)),
            ("dns", "*.", Err(Empty)),
            ("dns", "bücher.test", Err(NotAscii)),
            ("dns", "example.test.", Err(TrailingDot)),
            ("dns", &long_name, Err(TooLong)),
            ("dns", most, Ok(most)),
            ("dns", &wild_251, Ok(&wild_251)),
            ("dns", &wild_252, Err(TooLong)),
            ("dns", &long_label, Err(LabelTooLong)),
            ("dns", "10.0.0.1", Err(AddressAsDns)),
            ("dns", "::1", Err(AddressAsDns)),
            ("dns", "a..test", Err(EmptyLabel)),
            ("dns", ".test", Err(EmptyLabel)),
            ("dns", "*.*.test", Err(Wildcard)),
            ("dns", "a.*.test", Err(Wildcard)),
            ("dns", "*", Err(Wildcard)),
            ("dns", "*a.test", Err(Wildcard)),
            ("dns", "a*.test", Err(Character)),
            ("dns", "-a.test", Err(HyphenAtEdge)),
            ("dns", "a-.test", Err(HyphenAtEdge)),
            ("dns", "a_b.test", Err(Character)),
            ("dns", "a b.test", Err(Character)),
            ("dns", "a\0.test", Err(Character)),
            ("dns", "a,b.test", Err(Character)),
            ("dns", "ab--c.test", Err(ReservedLabel)),
            ("dns", "1.2.3", Err(NumericTld)),
            ("dns", "*.1", Err(NumericTld)),
            // Address parsers of browsers and C libraries read these as IPv4.
            ("dns", "0x7f000001", Err(NumericTld)),
            ("dns", "127.0X1", Err(NumericTld)),
            ("dns", "a.0x", Err(NumericTld)),
            ("dns", "*.0x7f", Err(NumericTld)),
            ("dns", "0x7f.test", Ok("0x7f.test")),
            ("dns", "a.0xg", Ok("a.0xg")),
            ("dns", "a.x0", Ok("a.x0")),
            ("dns", "a.0", Err(NumericTld)),
            ("dns", "XN--Bcher-kva.test", Ok("xn--bcher-kva.test")),
            ("dns", "xn--", Err(HyphenAtEdge)),
            ("dns", "*.xn--bcher-kva.test", Ok("*.xn--bcher-kva.test")),
            ("dns", "*.bücher.test", Err(NotAscii)),
            ("dns", "a\u{ff0e}test", Err(NotAscii)),
            ("dns", "a\n.test", Err(Character)),
            ("dns", "a/b.test", Err(Character)),
            ("dns", "a:80", Err(Character)),
            ("dns", "*.10.0.0.1", Err(AddressAsDns)),
            ("dns", "*.a.test.", Err(TrailingDot)),
            ("ip", "", Err(NotAnAddress)),
            ("ip", "*", Err(NotAnAddress)),
            ("ip", "[::1]", Err(NotAnAddress)),
            ("ip", "10.0.0.1 ", Err(NotAnAddress)),
            ("ip", "127.1", Err(NotAnAddress)),
            ("ip", "0x7f.0.0.1", Err(NotAnAddress)),
            ("ip", "::", Ok("::")),
            ("ip", "::10.0.0.1", Err(NotCanonicalAddress)),
            ("ip", "::a00:1", Ok("::a00:1")),
            ("ip", "10.0.0.1", Ok("10.0.0.1")),
            ("ip", "2001:db8::1", Ok("2001:db8::1")),
            ("ip", "2001:DB8::1", Err(NotCanonicalAddress)),
            ("ip", "2001:db8:0::1", Err(NotCanonicalAddress)),
            ("ip", "010.0.0.1", Err(NotAnAddress)),
            ("ip", "fe80::1%eth0", Err(NotAnAddress)),
            ("ip", "::ffff:10.0.0.1", Err(MappedAddress)),
            ("ip", "10.0.0.0/8", Err(NotAnAddress)),
            ("permanent-identifier", "ABCDEF123456", Ok("ABCDEF123456")),
            ("permanent-identifier", "ABCdef 12/1.2.3.4", Ok("ABCdef 12/1.2.3.4")),
            ("permanent-identifier", &long_label, Ok(&long_label)),
            ("permanent-identifier", "", Err(Empty)),
            ("permanent-identifier", "/1.2.3", Err(Empty)),
            ("permanent-identifier", "A/", Err(Assigner)),
            ("permanent-identifier", "A/1.2/3", Err(Assigner)),
            ("permanent-identifier", "A/1.40", Err(Assigner)),
            ("permanent-identifier", "A/one", Err(Assigner)),
            ("permanent-identifier", "A\nB", Err(DeviceControl)),
            ("permanent-identifier", &long_device, Err(DeviceTooLong)),
            ("hardware-module", "ABCD/1.2.3.4", Err(UnsupportedType)),
            ("email", "a@example.test", Err(UnsupportedType)),
            ("DNS", "example.test", Err(UnsupportedType)),
        ];
        for (kind, value, want) in rows {
            let got = Identifier::parse(kind, value).map(|id| id.order_value().into_owned());
            assert_eq!(got.as_deref(), want.as_deref(), "{kind} {value}");
        }
    }

    proptest::proptest! {
        /// One normal form: what parses prints as what parses to the same.
        #[test]
        fn the_normal_form_is_stable(kind in "dns|ip", text in "(\\*\\.)?[a-zA-Z0-9.:x*-]{0,20}") {
            if let Ok(id) = Identifier::parse(&kind, &text) {
                let printed = id.order_value();
                proptest::prop_assert!(printed.eq_ignore_ascii_case(&text));
                proptest::prop_assert_eq!(Identifier::parse_written(&id.written()), Ok(id.clone()));
                proptest::prop_assert_eq!(Identifier::parse(id.kind(), &printed), Ok(id));
            }
        }

        #[test]
        fn parsing_never_panics(kind in "dns|ip|x", text in "\\PC*") {
            let _ = Identifier::parse(&kind, &text);
        }
    }
}
