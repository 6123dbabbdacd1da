//! What a certificate holds, value by value, in the one form that rules are compared with.
//!
//! A text that has no such form (a name with a NUL in it, a URI with dot segments) is no value: what
//! is not understood cannot be judged, and is refused.

use std::fmt;
use std::time::Duration;

use crate::acme::identifier::Identifier;
use crate::provisioner::profile::KeyType;

/// A DNS name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsValue {
    /// As in the certificate, in lower case.
    pub text: String,
    /// Whether it begins with `*.`.
    pub wildcard: bool,
}

impl DnsValue {
    /// The name without the star.
    pub fn base(&self) -> &str {
        self.text.strip_prefix("*.").unwrap_or(&self.text)
    }
}

impl fmt::Display for DnsValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parses a DNS name that may be a wildcard.
pub fn parse_dns(text: &str) -> Result<DnsValue, String> {
    let parsed = Identifier::parse_dns(text).map_err(|error| error.to_string())?;
    Ok(DnsValue { text: parsed.order_value().into_owned(), wildcard: parsed.is_wildcard() })
}

/// A URI in its normal form (RFC 3986 §6.2.2), without user information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// In lower case.
    pub scheme: String,
    /// Host and port, in lower case; `None`: the URI has no `//`.
    pub authority: Option<String>,
    /// What follows, query and fragment included.
    pub path: String,
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.authority {
            Some(authority) => write!(f, "{}://{authority}{}", self.scheme, self.path),
            None => write!(f, "{}:{}", self.scheme, self.path),
        }
    }
}

/// Longest URI, bytes (that of SPIFFE IDs).
const MAX_URI: usize = 2048;

/// Parses a URI that is in its normal form already; a verifier that normalises must see the same.
pub fn parse_uri(text: &str) -> Result<Uri, String> {
    let odd = |b: u8| !b.is_ascii_graphic() || b"\"<>\\^`{|}".contains(&b);
    if text.is_empty() || text.len() > MAX_URI || text.bytes().any(odd) {
        return Err("the URI is empty, too long or has characters that no URI has".into());
    }
    let (scheme, rest) = text.split_once(':').ok_or("the URI has no scheme")?;
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(letters) {
        return Err("the URI's scheme must be of lower-case letters, digits and +-.".into());
    }
    check_escapes(rest)?;
    let Some(after) = rest.strip_prefix("//") else {
        return match rest {
            "" => Err("the URI has nothing behind its scheme".into()),
            rest => Ok(Uri { scheme: scheme.to_owned(), authority: None, path: rest.to_owned() }),
        };
    };
    let (authority, path) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    check_authority(authority)?;
    let segments = path.split(['?', '#']).next().unwrap_or_default();
    if segments.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("the URI's path has dot segments".into());
    }
    Ok(Uri { scheme: scheme.to_owned(), authority: Some(authority.to_owned()), path: path.to_owned() })
}

fn check_authority(authority: &str) -> Result<(), String> {
    if authority.contains('@') {
        return Err("the URI has user information in front of its host".into());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Err("the URI's port is not a number".into());
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    let good = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == ip),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    if good { Ok(()) } else { Err("the URI's host must be a name in lower case or an address".into()) }
}

/// RFC 3986 §6.2.2: upper-case digits, and only for what has to be escaped; never for what would be read
/// as part of the path's form.
fn check_escapes(text: &str) -> Result<(), String> {
    for after in text.split('%').skip(1) {
        let digits = after
            .get(..2)
            .filter(|two| two.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b.is_ascii_control() || b"-._~/\\".contains(&b);
        if byte.is_none_or(plain) {
            return Err("the URI has percent-encoding that its normal form does not have".into());
        }
    }
    Ok(())
}

/// An email address (RFC 5280 §4.2.1.6: an ASCII mailbox).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// In front of the `@`.
    pub local: String,
    /// Behind it, in lower case.
    pub domain: String,
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// Splits an address at its one `@`; quoted local parts are not understood.
pub fn split_email(text: &str) -> Result<(&str, &str), String> {
    let (local, domain) = text.split_once('@').ok_or("the address has no @")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
    if local.len() > 64 || !local.bytes().all(plain) || domain.contains('@') {
        return Err("the address has more than a plain local part, one @ and a domain".into());
    }
    Ok((local, domain))
}

/// Parses an address.
pub fn parse_email(text: &str) -> Result<Email, String> {
    let (local, domain) = split_email(text)?;
    if local.is_empty() || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("the address has a local part that is empty or has dots at its ends".into());
    }
    let domain = parse_dns(domain).map_err(|error| format!("the address's domain: {error}"))?;
    if domain.wildcard {
        return Err("the address's domain is a wildcard".into());
    }
    Ok(Email { local: local.to_owned(), domain: domain.text })
}

/// One attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Dotted object identifier.
    pub oid: String,
    /// Its value.
    pub text: String,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", super::names::name_of(super::names::ATTRIBUTES, &self.oid), shorten(&self.text))
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its type.
    pub kind: KeyType,
    /// Its size, if it is of RSA; zero otherwise.
    pub bits: usize,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KeyType::TABLE.iter().find(|(_, kind)| *kind == self.kind).map_or("?", |(name, _)| *name);
        match self.bits {
            0 => f.write_str(name),
            bits => write!(f, "{name}:{bits}"),
        }
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting(pub Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_secs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// Something with an object identifier, or a key usage's bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Dotted object identifier.
    pub oid: String,
    /// Its name, or the identifier again.
    pub name: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// At most a few dozen characters, without control characters.
pub fn shorten(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
