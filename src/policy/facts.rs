//! What a certificate is judged by, read from its DER.
//!
//! Reading is by a parser that is not the builder, of the very bytes that are to be signed. Whatever
//! is not understood is an error, and an error is a refusal.

use std::net::IpAddr;
use std::time::Duration;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, TbsCertificate, X509Certificate};
use x509_parser::x509::X509Name;

use super::names::{self, ANY};
use super::value::{
    Attribute, DnsValue, Email, Key, Lasting, Named, Uri, parse_dns, parse_email, parse_uri, shorten,
};
use crate::acme::identifier::Identifier;
use crate::provisioner::profile::KeyType;
use crate::time::Timestamp;
use crate::x509::spki::{PublicKey, Spki, bits};
use crate::x509::{ip_of, permanent};

/// Why a certificate cannot be judged: which part of it is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct NotUnderstood {
    /// The field of the certificate.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

fn odd(field: &'static str, why: impl Into<String>) -> NotUnderstood {
    NotUnderstood { field, why: why.into() }
}

/// The values of a certificate. `None`: nothing is known of that field, as of a request that does not
/// say it; a certificate leaves nothing unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields carry the names of what they hold")]
pub struct Facts {
    pub dns: Option<Vec<DnsValue>>,
    pub ip: Option<Vec<IpAddr>>,
    pub uri: Option<Vec<Uri>>,
    pub email: Option<Vec<Email>>,
    /// Permanent identifiers (RFC 4043).
    pub devices: Option<Vec<String>>,
    /// The subject's common names.
    pub principals: Option<Vec<String>>,
    pub subject: Option<Vec<Attribute>>,
    pub keys: Option<Vec<Key>>,
    /// As the lifetimes of profiles count: from the start, or the moment of issuance if that is later, to
    /// the end. RFC 5280 §4.1.2.5 counts from the start alone, so a [`Facts::backdate`] besides, and the
    /// last second too.
    pub lifetime: Option<Vec<Lasting>>,
    /// How far the start lies before the moment of issuance.
    pub backdate: Option<Vec<Lasting>>,
    pub eku: Option<Vec<Named>>,
    pub key_usage: Option<Vec<Named>>,
    pub ca: Option<bool>,
    pub signatures: Option<Vec<Named>>,
    pub issuers: Option<Vec<String>>,
    pub extensions: Option<Vec<Named>>,
}

impl Facts {
    /// Of names alone, for an order that is not more yet.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a Identifier>) -> Self {
        let (mut dns, mut ip, mut devices) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            match name {
                Identifier::Dns(_) | Identifier::Wildcard(_) => {
                    dns.push(DnsValue { text: name.order_value().into_owned(), wildcard: name.is_wildcard() })
                }
                Identifier::Ip(address) => ip.push(*address),
                Identifier::Permanent(device) => devices.push(device.as_str().to_owned()),
            }
        }
        Self { dns: Some(dns), ip: Some(ip), devices: Some(devices), ..Self::default() }
    }

    /// Of the bytes that are to be signed at `at`.
    pub fn of_tbs(der: &[u8], at: Timestamp) -> Result<Self, NotUnderstood> {
        let (rest, tbs) =
            TbsCertificate::from_der(der).map_err(|_| odd("tbsCertificate", "does not parse"))?;
        if !rest.is_empty() {
            return Err(odd("tbsCertificate", "is followed by other bytes"));
        }
        Self::read(&tbs, at)
    }

    /// Of a certificate that was signed at `at`.
    pub fn of_certificate(der: &[u8], at: Timestamp) -> Result<Self, NotUnderstood> {
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| odd("certificate", "does not parse"))?;
        if !rest.is_empty() {
            return Err(odd("certificate", "is followed by other bytes"));
        }
        Self::read(&certificate.tbs_certificate, at)
    }

    /// When a certificate begins, for judging it as if it were issued then.
    pub fn start_of(der: &[u8]) -> Result<Timestamp, NotUnderstood> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| odd("certificate", "does not parse"))?;
        Ok(time(certificate.validity().not_before))
    }

    /// Of a certification request: its subject, names and key; nothing else of it gets into a
    /// certificate.
    pub fn of_request(der: &[u8]) -> Result<Self, NotUnderstood> {
        let (_, request) =
            X509CertificationRequest::from_der(der).map_err(|_| odd("request", "does not parse"))?;
        let info = &request.certification_request_info;
        let mut facts = Self::named_none();
        facts.add_subject(&info.subject)?;
        facts.keys = Some(vec![key_of(info.subject_pki.raw)?]);
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    names.general_names.iter().try_for_each(|name| facts.add_name(name))?;
                }
                ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. } => {
                    return Err(odd("request", "has an extension that does not parse"));
                }
                // Ignored by the authority as well.
                _ => {}
            }
        }
        Ok(facts)
    }

    fn named_none() -> Self {
        Self {
            dns: Some(Vec::new()),
            ip: Some(Vec::new()),
            uri: Some(Vec::new()),
            email: Some(Vec::new()),
            devices: Some(Vec::new()),
            principals: Some(Vec::new()),
            subject: Some(Vec::new()),
            ..Self::default()
        }
    }

    fn read(tbs: &TbsCertificate<'_>, at: Timestamp) -> Result<Self, NotUnderstood> {
        let (begin, end) = (time(tbs.validity.not_before), time(tbs.validity.not_after));
        if end < begin {
            return Err(odd("validity", "ends before it begins"));
        }
        let oid = tbs.signature.algorithm.to_id_string();
        let mut facts = Self {
            keys: Some(vec![key_of(tbs.subject_pki.raw)?]),
            lifetime: Some(vec![Lasting(end.since(begin.max(at.whole_seconds())))]),
            backdate: Some(vec![Lasting(Duration::from_secs(at.since(begin).as_secs()))]),
            eku: Some(vec![named(names::EXTENDED_KEY_USAGES, any_usage())]),
            key_usage: Some(vec![named(names::KEY_USAGES, "none".into())]),
            ca: Some(false),
            signatures: Some(vec![named(names::SIGNATURES, oid)]),
            issuers: Some(vec![name_text(&tbs.issuer)?]),
            extensions: Some(Vec::new()),
            ..Self::named_none()
        };
        facts.add_subject(&tbs.subject)?;
        let mut seen = Vec::new();
        for extension in tbs.extensions() {
            let oid = extension.oid.to_id_string();
            if seen.contains(&oid) {
                return Err(odd("extensions", format!("{oid} is there twice")));
            }
            facts.add_extension(extension)?;
            seen.push(oid);
        }
        facts.extensions = Some(seen.into_iter().map(|oid| named(names::EXTENSIONS, oid)).collect());
        Ok(facts)
    }

    fn add_extension(&mut self, extension: &X509Extension<'_>) -> Result<(), NotUnderstood> {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(san) => {
                san.general_names.iter().try_for_each(|name| self.add_name(name))?;
            }
            ParsedExtension::BasicConstraints(constraints) => self.ca = Some(constraints.ca),
            ParsedExtension::KeyUsage(usage) => {
                // Bits beyond the ninth mean nothing that anybody knows.
                let held = (0..16u32).filter(|bit| usage.flags & (1 << bit) != 0);
                self.key_usage = Some(held.map(|bit| named(names::KEY_USAGES, bit.to_string())).collect());
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let flags = [
                    (usage.server_auth, 0),
                    (usage.client_auth, 1),
                    (usage.code_signing, 2),
                    (usage.email_protection, 3),
                    (usage.time_stamping, 7),
                    (usage.ocsp_signing, 8),
                ];
                let mut held: Vec<Named> = flags
                    .iter()
                    .filter(|(held, _)| *held)
                    .map(|(_, row)| {
                        named(names::EXTENDED_KEY_USAGES, names::EXTENDED_KEY_USAGES[*row].1.into())
                    })
                    .collect();
                if usage.any {
                    held.push(named(names::EXTENDED_KEY_USAGES, any_usage()));
                }
                let other = usage.other.iter().map(|oid| oid.to_id_string());
                held.extend(other.map(|oid| named(names::EXTENDED_KEY_USAGES, oid)));
                if held.is_empty() {
                    return Err(odd("extKeyUsage", "is an empty list"));
                }
                self.eku = Some(held);
            }
            ParsedExtension::ParseError { .. } => {
                return Err(odd("extensions", format!("{} does not parse", extension.oid.to_id_string())));
            }
            // Names of the subject, in a place where no rule would look for them.
            ParsedExtension::IssuerAlternativeName(_) => {
                return Err(odd("extensions", "issuerAltName is not known to policies"));
            }
            // Judged by their identifiers; what they hold is the profile's, and the lint compares it byte
            // for byte.
            ParsedExtension::UnsupportedExtension { .. }
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::NameConstraints(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::IssuingDistributionPoint(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::AuthorityInfoAccess(_)
            | ParsedExtension::NSCertType(_)
            | ParsedExtension::NsCertComment(_)
            | ParsedExtension::CRLNumber(_)
            | ParsedExtension::ReasonCode(_)
            | ParsedExtension::InvalidityDate(_)
            | ParsedExtension::SCT(_)
            | ParsedExtension::SubjectInfoAccess(_)
            | ParsedExtension::Unparsed => {}
        }
        Ok(())
    }

    fn add_name(&mut self, name: &GeneralName<'_>) -> Result<(), NotUnderstood> {
        const FIELD: &str = "subjectAltName";
        let of = |kind: &str, text: &str, error: String| {
            odd(FIELD, format!("{kind} {:?}: {error}", shorten(text)))
        };
        match name {
            GeneralName::DNSName(text) => {
                let value = parse_dns(text).map_err(|error| of("dNSName", text, error))?;
                self.dns.get_or_insert_default().push(value);
            }
            GeneralName::IPAddress(octets) => {
                let ip = ip_of(octets).and_then(|ip| Identifier::from_ip(ip).is_ok().then_some(ip));
                let ip = ip.ok_or_else(|| odd(FIELD, "iPAddress: is neither IPv4 nor plain IPv6"))?;
                self.ip.get_or_insert_default().push(ip);
            }
            GeneralName::URI(text) => {
                let value = parse_uri(text).map_err(|error| of("uniformResourceIdentifier", text, error))?;
                self.uri.get_or_insert_default().push(value);
            }
            GeneralName::RFC822Name(text) => {
                let value = parse_email(text).map_err(|error| of("rfc822Name", text, error))?;
                self.email.get_or_insert_default().push(value);
            }
            GeneralName::OtherName(oid, value) if oid.as_bytes() == permanent::PERMANENT_IDENTIFIER => {
                let device = permanent::parse_other_name(value)
                    .ok_or_else(|| odd(FIELD, "permanentIdentifier: does not parse"))?;
                self.devices.get_or_insert_default().push(device);
            }
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::RegisteredID(_)
            | GeneralName::Invalid(..) => {
                return Err(odd(FIELD, "has a kind of name that policies do not know"));
            }
        }
        Ok(())
    }

    fn add_subject(&mut self, subject: &X509Name<'_>) -> Result<(), NotUnderstood> {
        for attribute in subject.iter_attributes() {
            let oid = attribute.attr_type().to_id_string();
            let text = attribute
                .as_str()
                .map_err(|_| odd("subject", format!("{oid} is no text that policies read")))?;
            self.add_attribute(&oid, text)?;
        }
        Ok(())
    }

    /// Adds an attribute, and what software takes it for besides: a common name for a host name, if it
    /// looks like one with a dot in it, and an email attribute for an address.
    pub(super) fn add_attribute(&mut self, oid: &str, text: &str) -> Result<(), NotUnderstood> {
        if text.chars().any(char::is_control) {
            return Err(odd("subject", format!("{oid} has control characters")));
        }
        if oid == names::ATTRIBUTES[0].1 {
            self.principals.get_or_insert_default().push(text.to_owned());
            if let Ok(ip) = text.parse::<IpAddr>() {
                self.ip.get_or_insert_default().push(ip);
            } else if text.contains('.')
                && let Ok(name) = parse_dns(text)
            {
                self.dns.get_or_insert_default().push(name);
            }
        }
        if oid == names::ATTRIBUTES[14].1 {
            let email =
                parse_email(text).map_err(|error| odd("subject", format!("emailAddress: {error}")))?;
            self.email.get_or_insert_default().push(email);
        }
        let attribute = Attribute { oid: oid.to_owned(), text: text.to_owned() };
        self.subject.get_or_insert_default().push(attribute);
        Ok(())
    }
}

fn any_usage() -> String {
    names::oid_of(names::EXTENDED_KEY_USAGES, ANY).unwrap_or_default()
}

fn named(table: names::Table, oid: String) -> Named {
    Named { name: names::name_of(table, &oid), oid }
}

fn time(time: x509_parser::time::ASN1Time) -> Timestamp {
    Timestamp::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn key_of(spki: &[u8]) -> Result<Key, NotUnderstood> {
    let spki = Spki::parse(spki).map_err(|error| odd("subjectPublicKeyInfo", error.to_string()))?;
    Ok(key(spki.key()))
}

/// The key as rules see it.
pub fn key(key: &PublicKey) -> Key {
    let bits = match key {
        PublicKey::Rsa { n, .. } => bits(n),
        PublicKey::EcP256(_)
        | PublicKey::EcP384(_)
        | PublicKey::EcP521(_)
        | PublicKey::Ed25519(_)
        | PublicKey::MlDsa(..) => 0,
    };
    Key { kind: KeyType::of(key), bits }
}

/// `CN=…,O=…`, in the order of the certificate.
fn name_text(name: &X509Name<'_>) -> Result<String, NotUnderstood> {
    let mut out = String::new();
    for attribute in name.iter_attributes() {
        let oid = attribute.attr_type().to_id_string();
        let text = attribute.as_str().map_err(|_| odd("issuer", "has text that policies do not read"))?;
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(&format!("{}={}", names::name_of(names::ATTRIBUTES, &oid), text));
    }
    Ok(out)
}
