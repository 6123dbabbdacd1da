//! What a rule lists: one type per kind of value, parsed once, with its text for explanations.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::glob::Glob;
use super::names;
use super::value::{Attribute, DnsValue, Email, Key, Uri, parse_dns, parse_uri, split_email};
use crate::acme::identifier::Identifier;
use crate::provisioner::names::parse_network;
use crate::provisioner::profile::KeyType;

/// One entry of a rule's list, over values of type `V`.
pub trait Pattern<V: ?Sized>: fmt::Display {
    /// Whether an allow rule that lists it permits `value`.
    fn covers(&self, value: &V) -> bool;

    /// Whether a deny rule that lists it refuses `value`: at least whenever it covers it.
    fn touches(&self, value: &V) -> bool {
        self.covers(value)
    }
}

/// `dns`: a name, or a glob of names whose stars may stand for several labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsPattern {
    glob: Glob,
    /// Whether it covers wildcard names.
    wildcards: bool,
}

impl DnsPattern {
    /// Parses an entry. `wildcards`: whether it is to cover wildcard names too.
    pub fn parse(text: &str, wildcards: bool) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower.parse::<IpAddr>().is_ok() {
            return Err("is an IP address; it belongs in `ip`".to_owned());
        }
        if !lower.is_ascii() {
            return Err(
                "has characters outside ASCII; give internationalised names as A-labels (xn--…)".into()
            );
        }
        // With the stars taken for a letter it must be a name.
        let plain = lower.replace('*', "x");
        match parse_dns(&plain) {
            Ok(_) => Ok(Self { glob: Glob::new(&lower), wildcards }),
            Err(error) => Err(format!(
                "{error}; write a name such as \"a.example.internal\", or \"*.example.internal\" for all \
                 names below one"
            )),
        }
    }
}

impl fmt::Display for DnsPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.glob.as_str())
    }
}

impl Pattern<DnsValue> for DnsPattern {
    fn covers(&self, value: &DnsValue) -> bool {
        // A wildcard must match as it is written: `*.a.test` is below a.test, and nothing but a star
        // covers the star.
        (self.wildcards || !value.wildcard) && self.glob.matches(&value.text)
    }

    fn touches(&self, value: &DnsValue) -> bool {
        self.glob.matches(&value.text) || (value.wildcard && self.glob.matches_below(value.base()))
    }
}

/// `ip`: an address or a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPattern(IpNet);

impl IpPattern {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let net = parse_network(text)?;
        // Certificates have no such addresses: the entry would seem to say something.
        if let Err(error) = Identifier::from_ip(net.addr()) {
            return Err(format!("{error}; write the IPv4 block itself"));
        }
        Ok(Self(net))
    }
}

impl fmt::Display for IpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Pattern<IpAddr> for IpPattern {
    fn covers(&self, value: &IpAddr) -> bool {
        self.0.contains(value)
    }
}

/// `uri`: scheme, host and path, each with stars that stay within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriPattern {
    text: String,
    scheme: Glob,
    /// Host and port; `None`: a URI without.
    authority: Option<Glob>,
    path: Glob,
    /// `*` alone: any URI.
    any: bool,
}

impl UriPattern {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            let star = || Glob::new("*");
            return Ok(Self {
                text: text.to_owned(),
                scheme: star(),
                authority: None,
                path: star(),
                any: true,
            });
        }
        // With the stars taken for a letter it must be a URI.
        parse_uri(&text.replace('*', "x")).map_err(|error| {
            format!("{error}; write for example \"spiffe://example.internal/web/*\", or \"*\" for any URI")
        })?;
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                (Some(Glob::new(authority)), path)
            }
            None => (None, rest),
        };
        let (scheme, path) = (Glob::new(scheme), Glob::new(path));
        Ok(Self { text: text.to_owned(), scheme, authority, path, any: false })
    }
}

impl fmt::Display for UriPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern<Uri> for UriPattern {
    fn covers(&self, value: &Uri) -> bool {
        if self.any {
            return true;
        }
        let authority = match (&self.authority, &value.authority) {
            (None, None) => true,
            (Some(glob), Some(authority)) => glob.matches(authority),
            (None, Some(_)) | (Some(_), None) => false,
        };
        authority && self.scheme.matches(&value.scheme) && self.path.matches(&value.path)
    }
}

/// `email`: local part and domain, each with stars that stay within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailPattern {
    local: Glob,
    domain: Glob,
}

impl EmailPattern {
    /// Parses an entry; `@DOMAIN` is everybody there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let advice = "write \"somebody@example.internal\", or \"@example.internal\" for everybody there";
        let (local, domain) = split_email(text).map_err(|error| format!("{error}; {advice}"))?;
        let domain = domain.to_ascii_lowercase();
        parse_dns(&domain.replace('*', "x")).map_err(|error| format!("{error}; {advice}"))?;
        let local = if local.is_empty() { "*" } else { local };
        Ok(Self { local: Glob::new(local), domain: Glob::new(&domain) })
    }
}

impl fmt::Display for EmailPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local.as_str(), self.domain.as_str())
    }
}

impl Pattern<Email> for EmailPattern {
    fn covers(&self, value: &Email) -> bool {
        self.local.matches(&value.local) && self.domain.matches(&value.domain)
    }

    /// Mail systems take local parts in any case, so a denied one is denied in any.
    fn touches(&self, value: &Email) -> bool {
        let lower = Glob::new(&self.local.as_str().to_ascii_lowercase());
        self.domain.matches(&value.domain)
            && (self.local.matches(&value.local) || lower.matches(&value.local.to_ascii_lowercase()))
    }
}

/// `principals`, `devices`, `issuers`: a text with stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextPattern(Glob);

impl TextPattern {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("is empty; write a text, in which * stands for anything".to_owned()),
            text if text.chars().any(char::is_control) => Err("has control characters".to_owned()),
            text => Ok(Self(Glob::new(text))),
        }
    }
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Pattern<str> for TextPattern {
    fn covers(&self, value: &str) -> bool {
        self.0.matches(value)
    }

    /// A denied text is denied in any case.
    fn touches(&self, value: &str) -> bool {
        self.covers(value) || Glob::new(&self.0.as_str().to_lowercase()).matches(&value.to_lowercase())
    }
}

impl Pattern<String> for TextPattern {
    fn covers(&self, value: &String) -> bool {
        Pattern::<str>::covers(self, value)
    }

    fn touches(&self, value: &String) -> bool {
        Pattern::<str>::touches(self, value)
    }
}

/// `subject`: `O=Example`, an attribute and its value with stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributePattern {
    /// Dotted object identifier; `None`: any.
    oid: Option<String>,
    value: TextPattern,
    text: String,
}

impl AttributePattern {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let advice = "write for example \"O=Example\" or \"OU=*\"";
        let (name, value) = text.split_once('=').ok_or_else(|| format!("has no =; {advice}"))?;
        let oid = match name {
            "*" => None,
            name => Some(names::oid_of(names::ATTRIBUTES, name).ok_or_else(|| {
                format!("{name:?} is no attribute; {} or an object identifier", names::all(names::ATTRIBUTES))
            })?),
        };
        let value = TextPattern::parse(value).map_err(|error| format!("the value {error}; {advice}"))?;
        Ok(Self { oid, value, text: text.to_owned() })
    }
}

impl fmt::Display for AttributePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern<Attribute> for AttributePattern {
    fn covers(&self, value: &Attribute) -> bool {
        self.oid.as_ref().is_none_or(|oid| *oid == value.oid) && self.value.covers(value.text.as_str())
    }

    fn touches(&self, value: &Attribute) -> bool {
        self.oid.as_ref().is_none_or(|oid| *oid == value.oid) && self.value.touches(value.text.as_str())
    }
}

/// `keys`: a type, for RSA with bounds of its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    kind: KeyType,
    bits: Option<(usize, usize)>,
    text: String,
}

impl KeyPattern {
    /// Parses an entry: `ec-p256`, `rsa`, `rsa:3072`, `rsa:3072..` or `rsa:2048..4096`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, size) = match text.split_once(':') {
            Some((name, size)) => (name, Some(size)),
            None => (text, None),
        };
        let Some((_, kind)) = KeyType::TABLE.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = KeyType::TABLE.iter().map(|(known, _)| *known).collect();
            return Err(format!("is no key type; there are {}, and rsa:MIN..MAX", known.join(", ")));
        };
        let bits = match size {
            None => None,
            Some(_) if *kind != KeyType::Rsa => return Err("only rsa has sizes; write the type alone".into()),
            Some(size) => Some(bits_of(size).ok_or("has no size in bits; write for example \"rsa:3072..\"")?),
        };
        Ok(Self { kind: *kind, bits, text: text.to_owned() })
    }
}

fn bits_of(text: &str) -> Option<(usize, usize)> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|bits| (512..=65_536).contains(bits));
    let (least, most) = match text.split_once("..") {
        None => (number(text)?, number(text)?),
        Some((least, "")) => (number(least)?, usize::MAX),
        Some(("", most)) => (0, number(most)?),
        Some((least, most)) => (number(least)?, number(most)?),
    };
    (least <= most).then_some((least, most))
}

impl fmt::Display for KeyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern<Key> for KeyPattern {
    fn covers(&self, value: &Key) -> bool {
        self.kind == value.kind && self.bits.is_none_or(|(least, most)| (least..=most).contains(&value.bits))
    }
}

/// `lifetime`, `backdate`: a span such as `5m..24h`, `..24h` or `24h..`, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    least: Duration,
    most: Option<Duration>,
    text: String,
}

impl Span {
    /// Parses an entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        let advice = "write for example \"..24h\", \"5m..24h\" or \"24h..\"";
        let end = |text: &str| match text {
            "" => Ok(None),
            text => duration_of(text).map(Some).ok_or_else(|| format!("{text:?} is no duration; {advice}")),
        };
        let (least, most) = text.split_once("..").ok_or_else(|| format!("is no span; {advice}"))?;
        match (end(least)?, end(most)?) {
            (None, None) => Err(format!("has no end; {advice}")),
            (Some(least), Some(most)) if least > most => Err(format!("ends before it begins; {advice}")),
            (least, most) => Ok(Self { least: least.unwrap_or_default(), most, text: text.to_owned() }),
        }
    }
}

/// `90s`, `1h30m`, `7d`: whole numbers, each with its unit.
pub fn duration_of(text: &str) -> Option<Duration> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, more) = rest.split_at(digits);
        let factor = match more.as_bytes().first()? {
            b'd' => 86_400,
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = number.parse::<u64>().ok()?.checked_mul(factor).and_then(|part| total.checked_add(part))?;
        rest = &more[1..];
    }
    (!text.is_empty()).then(|| Duration::from_secs(total))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern<super::value::Lasting> for Span {
    fn covers(&self, value: &super::value::Lasting) -> bool {
        self.least <= value.0 && self.most.is_none_or(|most| value.0 <= most)
    }
}

/// `eku`, `key_usage`, `extensions`, `signatures`: a name out of a table, or an object identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidPattern {
    oid: String,
    text: String,
}

impl OidPattern {
    /// Parses an entry by the names of `table`.
    pub fn parse(text: &str, table: names::Table) -> Result<Self, String> {
        let oid = names::oid_of(table, text).ok_or_else(|| {
            format!("is not known; there are {}, or an object identifier", names::all(table))
        })?;
        Ok(Self { oid, text: text.to_owned() })
    }

    /// As [`OidPattern::parse`], where no object identifiers stand.
    pub fn parse_named(text: &str, table: names::Table) -> Result<Self, String> {
        match table.iter().find(|(name, _)| *name == text) {
            Some((_, oid)) => Ok(Self { oid: (*oid).to_owned(), text: text.to_owned() }),
            None => Err(format!("is not known; there are {}", names::all(table))),
        }
    }
}

impl fmt::Display for OidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern<super::value::Named> for OidPattern {
    fn covers(&self, value: &super::value::Named) -> bool {
        self.oid == value.oid
    }
}
