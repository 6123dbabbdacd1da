//! What a profile puts into a leaf by itself: parts of the subject, URIs, mailboxes, extensions.
//!
//! [`Templates`] say how; [`Templates::fill`] gives the [`Contents`] of one certificate, each value
//! checked by the rules of its field. A field is one value: nothing in it can begin another one.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::Value;

use super::san::{check_emails, check_uris};
use super::template::{Place, Template, broken_text_rule};
use crate::acme::identifier::Identifier;
use crate::time::Timestamp;
use crate::x509::der::tlv;
use crate::x509::oid::Oid;

/// Most URIs, and most mailboxes, of one profile.
pub const MOST_NAMES: usize = 10;
/// Most extensions of one profile.
pub const MOST_EXTENSIONS: usize = 20;
/// Longest value of an extension, bytes.
const LONGEST_EXTENSION: usize = 4096;

/// A part of a subject (X.520), in the order in which they stand there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Attribute {
    Country,
    Province,
    Locality,
    Organization,
    OrganizationalUnit,
    CommonName,
    SerialNumber,
}

impl Attribute {
    /// Every attribute: its name in the configuration, its number under 2.5.4, and the most characters
    /// that it has (RFC 5280, appendix A.1).
    pub const TABLE: &[(&'static str, Self, u8, usize)] = &[
        ("country", Self::Country, 6, 2),
        ("province", Self::Province, 8, 128),
        ("locality", Self::Locality, 7, 128),
        ("organization", Self::Organization, 10, 64),
        ("organizational_unit", Self::OrganizationalUnit, 11, 64),
        ("common_name", Self::CommonName, 3, 64),
        ("serial_number", Self::SerialNumber, 5, 64),
    ];

    fn row(self) -> (&'static str, u8, usize) {
        let row = Self::TABLE.iter().find(|(_, attribute, ..)| *attribute == self);
        row.map_or(("", 0, 0), |(name, _, number, most)| (name, *number, *most))
    }

    /// Its number under 2.5.4.
    pub fn number(self) -> u8 {
        self.row().1
    }

    /// Whether its text is a PrintableString; else it is a UTF8String (RFC 5280 §4.1.2.4).
    pub fn printable(self) -> bool {
        match self {
            Self::Country | Self::SerialNumber => true,
            Self::Province
            | Self::Locality
            | Self::Organization
            | Self::OrganizationalUnit
            | Self::CommonName => false,
        }
    }

    /// The rule that a value breaks. `names` are the certificate's: a common name that reads as a host's
    /// name is one of them, since there are readers that take it for one.
    pub fn check(self, text: &str, names: &[Identifier]) -> Result<(), String> {
        let most = self.row().2;
        if let Some(rule) = broken_text_rule(text) {
            return Err(rule.into());
        }
        if text.trim() != text {
            return Err("begins or ends with a space".into());
        }
        let length = text.chars().count();
        if length == 0 || length > most {
            return Err(format!("has {length} characters; 1 to {most} may be"));
        }
        let printable = |b: u8| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b);
        if self.printable() && !text.bytes().all(printable) {
            return Err("has characters that a PrintableString has not".into());
        }
        match self {
            Self::Country if length != 2 || !text.bytes().all(|b| b.is_ascii_uppercase()) => {
                Err("is no country code of two capital letters (ISO 3166)".into())
            }
            Self::CommonName if !is_own_name(text, names) => {
                Err("reads as a host name and is none of the certificate's names".into())
            }
            Self::Country
            | Self::Province
            | Self::Locality
            | Self::Organization
            | Self::OrganizationalUnit
            | Self::CommonName
            | Self::SerialNumber => Ok(()),
        }
    }
}

/// Whether a common name is one of the names, or nothing that a reader would take for a host's.
fn is_own_name(text: &str, names: &[Identifier]) -> bool {
    let folded = text.to_ascii_lowercase();
    let host = folded.contains('*') || folded.contains('.') && !folded.contains([' ', '@', '/', ':']);
    !host || names.iter().any(|name| !name.is_device() && name.order_value() == folded)
}

/// How an extension's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A text, that becomes a UTF8String.
    Utf8,
    /// DER in hexadecimal.
    Hex,
    /// DER in base64.
    Base64,
}

impl Form {
    /// Every form, with its name in the configuration.
    pub const TABLE: &[(&'static str, Self)] =
        &[("utf8", Self::Utf8), ("hex", Self::Hex), ("base64", Self::Base64)];

    /// Where templates of that form stand.
    pub fn place(self) -> Place {
        match self {
            Self::Utf8 => Place::Text,
            Self::Hex | Self::Base64 => Place::Encoded,
        }
    }

    fn value(self, text: &str) -> Result<Vec<u8>, String> {
        let value = match self {
            Self::Utf8 => {
                if let Some(rule) = broken_text_rule(text) {
                    return Err(rule.into());
                }
                tlv(0x0c, &[text.as_bytes()])
            }
            Self::Hex => from_hex(text).ok_or("is no hexadecimal")?,
            Self::Base64 => STANDARD.decode(text).map_err(|_| "is no base64")?,
        };
        if value.len() > LONGEST_EXTENSION {
            return Err(format!("has more than {LONGEST_EXTENSION} bytes"));
        }
        if is_one_der_value(&value) { Ok(value) } else { Err("is not exactly one value in DER".into()) }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Whether the bytes are one value with shortest lengths throughout, and nothing behind it.
fn is_one_der_value(bytes: &[u8]) -> bool {
    fn inside(mut bytes: &[u8], deep: u8) -> bool {
        while !bytes.is_empty() {
            match one_value(bytes, deep) {
                Some(rest) => bytes = rest,
                None => return false,
            }
        }
        true
    }
    /// What is behind the first value.
    fn one_value(bytes: &[u8], deep: u8) -> Option<&[u8]> {
        let (tag, length, rest) = match bytes {
            [tag, length @ 0..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x81, length @ 0x80..=0xff, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x82, high @ 1..=0xff, low, rest @ ..] => {
                (*tag, usize::from(*high) << 8 | usize::from(*low), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        // Numbers of tags beyond 30 are written otherwise, and zero ends what has no length.
        let plain = tag & 0x1f != 0x1f && tag != 0;
        let good = tag & 0x20 == 0 || deep > 0 && inside(content, deep - 1);
        (plain && good).then_some(rest)
    }
    one_value(bytes, 16).is_some_and(<[u8]>::is_empty)
}

/// Extensions that Mayfly decides about itself, or that would give a leaf powers; one per line:
/// the arc, and whether what lies below it is meant as well.
const MANAGED: &[(&str, bool)] = &[
    // Everything of RFC 5280 but certificatePolicies, which is let through below.
    ("2.5.29", true),
    // authorityInfoAccess and subjectInfoAccess.
    ("1.3.6.1.5.5.7.1.1", false),
    ("1.3.6.1.5.5.7.1.11", false),
    // acmeIdentifier (RFC 8737): such a certificate answers tls-alpn-01 challenges.
    ("1.3.6.1.5.5.7.1.31", false),
    // Certificate Transparency: the poison and what logs sign.
    ("1.3.6.1.4.1.11129.2.4", true),
    // id-pkix-ocsp-nocheck belongs to OCSP responders.
    ("1.3.6.1.5.5.7.48.1.5", false),
    // Netscape's certificate type can say CA.
    ("2.16.840.1.113730.1", true),
];

/// certificatePolicies.
const POLICIES: &str = "2.5.29.32";

/// Whether a profile may add an extension of that object identifier.
pub fn may_add(oid: &Oid) -> bool {
    let text = oid.to_string();
    let below = |arc: &str| text.strip_prefix(arc).is_some_and(|rest| rest.starts_with('.'));
    text == POLICIES || !MANAGED.iter().any(|(arc, all)| text == *arc || *all && below(arc))
}

/// An extension of a profile's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionTemplate {
    /// Which.
    pub oid: Oid,
    /// Whether readers that do not know it must refuse the certificate.
    pub critical: bool,
    /// How the value is written.
    pub form: Form,
    /// The value.
    pub value: Template,
}

/// What a profile puts into a leaf by itself; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// The subject, each attribute at most once, in the order of [`Attribute::TABLE`].
    pub subject: Vec<(Attribute, Template)>,
    /// URIs.
    pub uris: Vec<Template>,
    /// Mailboxes.
    pub emails: Vec<Template>,
    /// Extensions, none twice.
    pub extensions: Vec<ExtensionTemplate>,
}

/// An extension of a profile's own, as it stands in the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Which.
    pub oid: Oid,
    /// Whether it is critical.
    pub critical: bool,
    /// DER.
    pub value: Vec<u8>,
}

/// What a profile puts into one certificate; made by [`Templates::fill`] only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    subject: Vec<(Attribute, String)>,
    uris: Vec<String>,
    emails: Vec<String>,
    extensions: Vec<Extension>,
}

impl Contents {
    /// The subject's attributes in their order; empty for an empty subject.
    pub fn subject(&self) -> &[(Attribute, String)] {
        &self.subject
    }
    /// URIs among the names.
    pub fn uris(&self) -> &[String] {
        &self.uris
    }
    /// Mailboxes among the names.
    pub fn emails(&self) -> &[String] {
        &self.emails
    }
    /// Further extensions.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }
}

/// A template that cannot be filled in, or gives what its field may not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {why}")]
pub struct FillError {
    /// Which field of the profile, such as `subject.organization` or `uris[0]`.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

/// What templates know of a certificate.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Its names, in their order.
    pub names: &'a [Identifier],
    /// For which account.
    pub account: String,
    /// By which authority.
    pub authority: &'a str,
    /// By which provisioner.
    pub provisioner: &'a str,
    /// By which profile.
    pub profile: &'a str,
    /// Id and label of the external account binding's key, if there is one.
    pub eab: Option<(String, &'a str)>,
    /// When the order was opened.
    pub ordered: Timestamp,
}

impl Facts<'_> {
    fn variables(&self) -> Value {
        let of = |wanted: fn(&Identifier) -> bool| -> Value {
            self.names
                .iter()
                .filter(|name| wanted(name))
                .map(|name| name.order_value().into_owned())
                .collect()
        };
        let eab = self
            .eab
            .iter()
            .flat_map(|(kid, label)| [("kid", Value::from(kid.as_str())), ("label", Value::from(*label))]);
        let first = self.names.first().map(|name| ("name", Value::from(name.order_value().into_owned())));
        let others = [
            ("names", of(|_| true)),
            ("dns", of(|name| matches!(name, Identifier::Dns(_) | Identifier::Wildcard(_)))),
            ("ip", of(|name| matches!(name, Identifier::Ip(_)))),
            ("device", of(Identifier::is_device)),
            ("account", Value::from(self.account.as_str())),
            ("authority", Value::from(self.authority)),
            ("provisioner", Value::from(self.provisioner)),
            ("profile", Value::from(self.profile)),
            ("eab", Value::from(eab.collect::<BTreeMap<_, _>>())),
            ("time", Value::from(self.ordered.to_rfc3339())),
        ];
        Value::from(first.into_iter().chain(others).collect::<BTreeMap<_, _>>())
    }
}

impl Templates {
    /// Whether there is nothing to fill in.
    pub fn is_empty(&self) -> bool {
        self.subject.is_empty()
            && self.uris.is_empty()
            && self.emails.is_empty()
            && self.extensions.is_empty()
    }

    /// What stands in the certificate of those facts. Parts of the subject that come out empty are left
    /// out, as is a common name that is an address: there are clients that cannot read such a
    /// certificate.
    pub fn fill(&self, facts: &Facts<'_>) -> Result<Contents, FillError> {
        if self.is_empty() {
            return Ok(Contents::default());
        }
        let variables = facts.variables();
        let render = |field: &str, template: &Template| {
            template.render(&variables).map_err(|why| FillError { field: field.to_owned(), why })
        };
        let mut contents = Contents::default();
        for (attribute, template) in &self.subject {
            let field = format!("subject.{}", attribute.row().0);
            let text = render(&field, template)?;
            let address = *attribute == Attribute::CommonName && text.parse::<std::net::IpAddr>().is_ok();
            if !text.is_empty() && !address {
                attribute.check(&text, facts.names).map_err(|why| FillError { field, why })?;
                contents.subject.push((*attribute, text));
            }
        }
        for (field, templates, texts) in
            [("uris", &self.uris, &mut contents.uris), ("emails", &self.emails, &mut contents.emails)]
        {
            for (i, template) in templates.iter().enumerate() {
                texts.push(render(&format!("{field}[{i}]"), template)?);
            }
        }
        let of = |field: &str| {
            let field = field.to_owned();
            |why| FillError { field, why }
        };
        check_uris(&contents.uris).map_err(of("uris"))?;
        check_emails(&contents.emails).map_err(of("emails"))?;
        for (i, extension) in self.extensions.iter().enumerate() {
            let field = format!("extensions[{i}]");
            let text = render(&field, &extension.value)?;
            let value = extension.form.value(&text).map_err(|why| FillError { field, why })?;
            let ExtensionTemplate { oid, critical, .. } = extension;
            contents.extensions.push(Extension { oid: oid.clone(), critical: *critical, value });
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests;
