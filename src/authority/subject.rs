//! Distinguished names of CAs.

use rcgen::{DistinguishedName, DnType, DnValue};
use x509_parser::asn1_rs::Tag;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Name};

use crate::x509::der::{sequence, tlv};

/// The longest common name (X.520, ub-common-name), characters.
pub const LONGEST_COMMON_NAME: usize = 64;

/// A CA's name: not empty, one attribute per part, each kind of attribute once; DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Vec<u8>);

/// Why a name is not one for a CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Length or characters.
    #[error("a CA's common name has 1 to 64 printable characters, none of the outer ones a space")]
    CommonName,
    /// No name in DER.
    #[error("the subject is not a distinguished name in DER")]
    Malformed,
    /// Nothing in it.
    #[error("the subject is empty: a CA has a name")]
    Empty,
    /// The builder cannot write it.
    #[error("the subject uses a form of name that is not supported: one attribute per part, each kind once")]
    Form,
}

impl Subject {
    /// A common name and nothing else.
    pub fn common_name(text: &str) -> Result<Self, SubjectError> {
        let length = text.chars().count();
        let printable = !text.chars().any(char::is_control) && text.trim() == text;
        if !(1..=LONGEST_COMMON_NAME).contains(&length) || !printable {
            return Err(SubjectError::CommonName);
        }
        let pair = sequence(&[&tlv(0x06, &[&[0x55, 4, 3]]), &tlv(0x0c, &[text.as_bytes()])]);
        Ok(Self(sequence(&[&tlv(0x31, &[&pair])])))
    }

    /// Any name that the builder can write the same way again.
    pub fn parse(der: &[u8]) -> Result<Self, SubjectError> {
        let subject = Self(der.to_vec());
        let Ok(([], name)) = X509Name::from_der(der) else { return Err(SubjectError::Malformed) };
        if name.iter().next().is_none() {
            return Err(SubjectError::Empty);
        }
        let mut kinds = std::collections::BTreeSet::new();
        for part in name.iter() {
            let mut attributes = part.iter();
            let (Some(one), None) = (attributes.next(), attributes.next()) else {
                return Err(SubjectError::Form);
            };
            if !kinds.insert(one.attr_type().as_bytes()) || value(one).is_none() {
                return Err(SubjectError::Form);
            }
        }
        Ok(subject)
    }

    /// The DER of the Name.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// For people.
    pub fn text(&self) -> String {
        text_of(&self.0)
    }

    /// As the builder wants it.
    pub(super) fn to_builder(&self) -> DistinguishedName {
        let mut out = DistinguishedName::new();
        let Ok((_, name)) = X509Name::from_der(&self.0) else { return out };
        for attribute in name.iter_attributes() {
            let oid: Vec<u64> = attribute.attr_type().iter().map(Iterator::collect).unwrap_or_default();
            if let Some(value) = value(attribute) {
                out.push(DnType::from_oid(&oid), value);
            }
        }
        out
    }
}

/// A string in one of the forms that both sides write alike.
fn value(attribute: &AttributeTypeAndValue<'_>) -> Option<DnValue> {
    let text = std::str::from_utf8(attribute.attr_value().data).ok()?;
    match attribute.attr_value().tag() {
        Tag::Utf8String => Some(DnValue::Utf8String(text.to_owned())),
        Tag::PrintableString => text.try_into().ok().map(DnValue::PrintableString),
        Tag::Ia5String => text.try_into().ok().map(DnValue::Ia5String),
        _ => None,
    }
}

/// A Name's DER for people.
pub(super) fn text_of(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok(([], name)) => name.to_string(),
        _ => "(malformed)".to_owned(),
    }
}

/// Whether `name` begins with all parts of `base` (RFC 5280 §7.1, with strings folded in case and
/// space); `None` if one of them does not read.
pub(super) fn is_below(name: &[u8], base: &[u8]) -> Option<bool> {
    let (name, base) = (parts(name)?, parts(base)?);
    Some(name.starts_with(&base))
}

type Part = Vec<(Vec<u8>, Vec<u8>)>;

fn parts(der: &[u8]) -> Option<Vec<Part>> {
    let Ok(([], name)) = X509Name::from_der(der) else { return None };
    let attribute = |one: &AttributeTypeAndValue<'_>| {
        let kind = one.attr_type().as_bytes().to_vec();
        match one.as_str() {
            Ok(text) => {
                let folded = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
                (kind, folded.into_bytes())
            }
            Err(_) => (kind, one.attr_value().data.to_vec()),
        }
    };
    Some(
        name.iter()
            .map(|part| {
                let mut part: Part = part.iter().map(attribute).collect();
                part.sort();
                part
            })
            .collect(),
    )
}
