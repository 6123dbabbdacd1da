//! Name constraints (RFC 5280 §4.2.1.10): what a CA may certify, as its own certificate says.
//!
//! They are read from the certificates of the issuer's chain when the issuer is made, and from
//! nowhere else; so what is refused here and what relying parties refuse cannot drift apart.

mod matching;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use x509_parser::asn1_rs::{Any, Class, FromDer};
use x509_parser::extensions::GeneralName;

use crate::acme::identifier::Identifier;
use crate::x509::der::{sequence, tlv};

/// Content bytes of id-ce-nameConstraints, 2.5.29.30.
pub(super) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];

/// Names that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// This name and all below it; the names below only if it begins with a dot; all if it is empty.
    Dns(String),
    /// A mailbox, all mailboxes of a host, or (with a leading dot) of all hosts below a domain.
    Email(String),
    /// URIs of this host, or (with a leading dot) of all hosts below it.
    Uri(String),
    /// A network.
    Ip(IpNet),
    /// Names below this one; DER of a Name.
    Directory(Vec<u8>),
    /// A form that is not understood here: its tag. Names of that form are all refused.
    Other(u32),
}

/// The constraints of one CA certificate; the default constrains nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Where a form of names is listed, names of that form must be under one of these.
    pub permitted: Vec<Subtree>,
    /// Wins over `permitted`.
    pub excluded: Vec<Subtree>,
}

/// A name as it stands in a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// dNSName; may be a wildcard.
    Dns(&'a str),
    /// rfc822Name.
    Email(&'a str),
    /// uniformResourceIdentifier.
    Uri(&'a str),
    /// iPAddress.
    Ip(IpAddr),
    /// A distinguished name, DER.
    Directory(&'a [u8]),
    /// Any other form: its tag.
    Other(u32),
}

/// Why a name may not be certified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Under none of the permitted subtrees of its form.
    #[error("{0} is outside the names that the issuer's certificate permits ({1})")]
    NotPermitted(String, String),
    /// Under an excluded one.
    #[error("{0} is among the names that the issuer's certificate excludes ({1})")]
    Excluded(String, Subtree),
    /// There are constraints on its form and it cannot be held against them.
    #[error("{0} cannot be held against the name constraints of the issuer's certificate")]
    Unprocessable(String),
}

/// Why an extension is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the nameConstraints extension is malformed, or uses minimum, maximum or a mask that is no prefix")]
pub struct ConstraintsError;

impl NameConstraints {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    /// The extension's value.
    pub fn encode(&self) -> Vec<u8> {
        let part = |tag, subtrees: &[Subtree]| {
            let all: Vec<u8> = subtrees.iter().flat_map(|subtree| sequence(&[&subtree.base()])).collect();
            if all.is_empty() { Vec::new() } else { tlv(tag, &[&all]) }
        };
        sequence(&[&part(0xa0, &self.permitted), &part(0xa1, &self.excluded)])
    }

    /// Reads the extension's value. What RFC 5280 forbids to write is refused and not guessed at.
    pub fn parse(value: &[u8]) -> Result<Self, ConstraintsError> {
        let mut out = Self::default();
        let body = only(value, 0x30)?;
        let mut last = None;
        for part in elements(body)? {
            let tag = context(&part)?;
            // At least one, each at most once, in their order.
            if tag > 1 || last.is_some_and(|last| last >= tag) || !part.header.is_constructed() {
                return Err(ConstraintsError);
            }
            last = Some(tag);
            let subtrees = elements(part.data)?.iter().map(subtree).collect::<Result<Vec<_>, _>>()?;
            if subtrees.is_empty() {
                return Err(ConstraintsError);
            }
            match tag {
                0 => out.permitted = subtrees,
                _ => out.excluded = subtrees,
            }
        }
        if last.is_none() { Err(ConstraintsError) } else { Ok(out) }
    }

    /// Whether `name` may be certified.
    pub fn check(&self, name: Name<'_>) -> Result<(), Violation> {
        matching::check(self, name)
    }
}

impl Subtree {
    /// Its GeneralName.
    fn base(&self) -> Vec<u8> {
        match self {
            Self::Email(text) => tlv(0x81, &[text.as_bytes()]),
            Self::Dns(text) => tlv(0x82, &[text.as_bytes()]),
            Self::Uri(text) => tlv(0x86, &[text.as_bytes()]),
            // A CHOICE is tagged explicitly.
            Self::Directory(name) => tlv(0xa4, &[name]),
            Self::Ip(IpNet::V4(net)) => tlv(0x87, &[&net.network().octets(), &net.netmask().octets()]),
            Self::Ip(IpNet::V6(net)) => tlv(0x87, &[&net.network().octets(), &net.netmask().octets()]),
            // Read from certificates only, never written.
            Self::Other(_) => Vec::new(),
        }
    }
}

/// A GeneralSubtree: a base, and nothing behind it (RFC 5280: minimum zero, which DER leaves out,
/// and no maximum).
fn subtree(any: &Any<'_>) -> Result<Subtree, ConstraintsError> {
    if any.header.class() != Class::Universal || any.tag().0 != 16 {
        return Err(ConstraintsError);
    }
    let [base] = elements(any.data)?.try_into().map_err(|_| ConstraintsError)?;
    let text = || {
        let text = std::str::from_utf8(base.data).ok().filter(|text| text.is_ascii());
        text.map(str::to_owned).ok_or(ConstraintsError)
    };
    Ok(match context(&base)? {
        1 => Subtree::Email(text()?),
        2 => Subtree::Dns(text()?),
        4 => Subtree::Directory(base.data.to_vec()),
        6 => Subtree::Uri(text()?),
        7 => Subtree::Ip(network(base.data).ok_or(ConstraintsError)?),
        other => Subtree::Other(other),
    })
}

fn network(octets: &[u8]) -> Option<IpNet> {
    let half = octets.len() / 2;
    let (address, mask) = (crate::x509::ip_of(&octets[..half])?, crate::x509::ip_of(&octets[half..])?);
    IpNet::with_netmask(address, mask).ok().map(|net| net.trunc())
}

fn context(any: &Any<'_>) -> Result<u32, ConstraintsError> {
    if any.header.class() == Class::ContextSpecific { Ok(any.tag().0) } else { Err(ConstraintsError) }
}

/// The elements in a row.
fn elements(mut bytes: &[u8]) -> Result<Vec<Any<'_>>, ConstraintsError> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (rest, any) = Any::from_der(bytes).map_err(|_| ConstraintsError)?;
        out.push(any);
        bytes = rest;
    }
    Ok(out)
}

/// The content of the one element, which begins with this byte.
fn only(bytes: &[u8], first: u8) -> Result<&[u8], ConstraintsError> {
    match Any::from_der(bytes) {
        Ok(([], any)) if bytes.first() == Some(&first) => Ok(any.data),
        _ => Err(ConstraintsError),
    }
}

impl<'a> Name<'a> {
    /// Of a name in a certificate; `None` if it is malformed.
    pub fn of(name: &GeneralName<'a>) -> Option<Self> {
        Some(match name {
            GeneralName::OtherName(..) => Self::Other(0),
            GeneralName::RFC822Name(text) => Self::Email(text),
            GeneralName::DNSName(text) => Self::Dns(text),
            GeneralName::X400Address(_) => Self::Other(3),
            GeneralName::DirectoryName(name) => Self::Directory(name.as_raw()),
            GeneralName::EDIPartyName(_) => Self::Other(5),
            GeneralName::URI(text) => Self::Uri(text),
            GeneralName::IPAddress(octets) => Self::Ip(crate::x509::ip_of(octets)?),
            GeneralName::RegisteredID(_) => Self::Other(8),
            GeneralName::Invalid(..) => return None,
        })
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) => write!(f, "the DNS name {text}"),
            Self::Email(text) => write!(f, "the mail address {text}"),
            Self::Uri(text) => write!(f, "the URI {text}"),
            Self::Ip(ip) => write!(f, "the address {ip}"),
            Self::Directory(name) => write!(f, "the name {}", super::subject::text_of(name)),
            Self::Other(_) => f.write_str("a name of its form"),
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) if text.is_empty() => f.write_str("all DNS names"),
            Self::Dns(text) => write!(f, "DNS {text}"),
            Self::Email(text) => write!(f, "email {text}"),
            Self::Uri(text) => write!(f, "URI host {text}"),
            Self::Ip(net) => write!(f, "IP {net}"),
            Self::Directory(name) => write!(f, "directory {}", super::subject::text_of(name)),
            Self::Other(tag) => write!(f, "names of form [{tag}]"),
        }
    }
}

/// The constraints of a whole chain: a name must keep to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainConstraints(Vec<NameConstraints>);

impl ChainConstraints {
    /// Adds a certificate's.
    pub(super) fn push(&mut self, constraints: NameConstraints) {
        if !constraints.is_empty() && !self.0.contains(&constraints) {
            self.0.push(constraints);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of each certificate that has some, the issuer's own first.
    pub fn each(&self) -> &[NameConstraints] {
        &self.0
    }

    /// Whether `name` may be certified.
    pub fn check(&self, name: Name<'_>) -> Result<(), Violation> {
        self.0.iter().try_for_each(|constraints| constraints.check(name))
    }

    /// Whether a CA below may say that it permits these names: names at the subtree's edges must be
    /// permitted here. A subtree of a form that cannot be probed passes: it widens nothing.
    pub(super) fn check_subtree(&self, subtree: &Subtree) -> Result<(), Violation> {
        match subtree {
            Subtree::Dns(base) if base.is_empty() => Ok(()),
            Subtree::Dns(base) => self.check(Name::Dns(base.trim_start_matches('.'))),
            Subtree::Ip(net) => {
                self.check(Name::Ip(net.network()))?;
                self.check(Name::Ip(net.broadcast()))
            }
            Subtree::Directory(base) => self.check(Name::Directory(base)),
            Subtree::Email(_) | Subtree::Uri(_) | Subtree::Other(_) => Ok(()),
        }
    }

    /// Whether a certificate for this identifier may exist.
    pub fn check_identifier(&self, identifier: &Identifier) -> Result<(), Violation> {
        match identifier {
            Identifier::Dns(_) | Identifier::Wildcard(_) => self.check(Name::Dns(&identifier.order_value())),
            Identifier::Ip(ip) => self.check(Name::Ip(*ip)),
            Identifier::Permanent(_) => self.check(Name::Other(0)),
        }
    }
}
