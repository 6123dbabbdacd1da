//! The extensions and the subject of a leaf, written a second time.

use super::super::urls::LeafUrls;
use super::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID,
};
use crate::acme::identifier::Identifier;
use crate::provisioner::Grant;
use crate::provisioner::profile::contents::Contents;
use crate::provisioner::profile::usages::{Usage, Usages};
use crate::x509::der::{sequence, tlv};
use crate::x509::permanent;

/// Content bytes of object identifiers.
pub(crate) const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 31];
pub(crate) const NO_REV_AVAIL: &[u8] = &[0x55, 0x1d, 56];
pub(crate) const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];

const OCSP: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 1];
const CA_ISSUERS: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];

/// Object identifier and criticality of every extension that the leaf has, in no order.
pub(crate) fn expected<'a>(
    grant: &'a Grant,
    urls: LeafUrls<'_>,
    no_rev_avail: bool,
) -> Vec<(&'a [u8], bool)> {
    let mut all = vec![
        (SUBJECT_KEY_ID, false),
        (AUTHORITY_KEY_ID, false),
        (KEY_USAGE, true),
        (BASIC_CONSTRAINTS, true),
        // RFC 5280 §4.2.1.6: critical if the subject is empty.
        (SUBJECT_ALT_NAME, grant.contents().subject().is_empty()),
        (EXTENDED_KEY_USAGE, grant.usages().critical()),
    ];
    all.extend(urls.crl.map(|_| (CRL_DISTRIBUTION_POINTS, false)));
    all.extend(urls.has_access().then_some((AUTHORITY_INFO_ACCESS, false)));
    all.extend(no_rev_avail.then_some((NO_REV_AVAIL, false)));
    all.extend(grant.contents().extensions().iter().map(|own| (own.oid.content(), own.critical)));
    all
}

/// The value of a leaf's extension; `None` if it is not of its profile.
pub(super) fn value(oid: &[u8], names: &[Identifier], grant: &Grant, urls: LeafUrls<'_>) -> Option<Vec<u8>> {
    let contents = grant.contents();
    match oid {
        KEY_USAGE => {
            let byte = grant.leaf().key_usage_of(grant.key().key())?.byte();
            // BIT STRING: unused bits, then the bits.
            let unused = u8::try_from(byte.trailing_zeros()).ok()?;
            Some(vec![0x03, 0x02, unused, byte])
        }
        BASIC_CONSTRAINTS => Some(sequence(&[])),
        SUBJECT_ALT_NAME => subject_alt_name(names, contents),
        EXTENDED_KEY_USAGE => Some(extended_key_usage(grant.usages())),
        NO_REV_AVAIL => Some(vec![0x05, 0x00]),
        CRL_DISTRIBUTION_POINTS => {
            let uri = tlv(0x86, &[urls.crl?.as_bytes()]);
            Some(sequence(&[&sequence(&[&tlv(0xa0, &[&tlv(0xa0, &[&uri])])])]))
        }
        AUTHORITY_INFO_ACCESS => Some(authority_info_access(urls)),
        _ => contents.extensions().iter().find(|own| own.oid.content() == oid).map(|own| own.value.clone()),
    }
}

/// The subject.
pub(super) fn subject(contents: &Contents) -> Vec<u8> {
    let mut parts = Vec::new();
    for (attribute, text) in contents.subject() {
        let tag = if attribute.printable() { 0x13 } else { 0x0c };
        let kind = tlv(0x06, &[&[0x55, 0x04, attribute.number()]]);
        parts.extend(tlv(0x31, &[&sequence(&[&kind, &tlv(tag, &[text.as_bytes()])])]));
    }
    sequence(&[&parts])
}

/// The value of authorityInfoAccess.
pub(crate) fn authority_info_access(urls: LeafUrls<'_>) -> Vec<u8> {
    let of = |method: &[u8], url: &str| sequence(&[method, &tlv(0x86, &[url.as_bytes()])]);
    let ocsp = urls.ocsp.map(|url| of(OCSP, url)).unwrap_or_default();
    let ca_issuers = urls.ca_issuers.map(|url| of(CA_ISSUERS, url)).unwrap_or_default();
    sequence(&[&ocsp, &ca_issuers])
}

/// The value of extKeyUsage.
pub(crate) fn extended_key_usage(usages: &Usages) -> Vec<u8> {
    let mut all = Vec::new();
    for usage in usages.iter() {
        let pkix = |number: u8| tlv(0x06, &[&[0x2b, 6, 1, 5, 5, 7, 3, number]]);
        all.extend(match usage {
            Usage::ServerAuth => pkix(1),
            Usage::ClientAuth => pkix(2),
            Usage::CodeSigning => pkix(3),
            Usage::EmailProtection => pkix(4),
            Usage::TimeStamping => pkix(8),
            Usage::Other(oid) => tlv(0x06, &[oid.content()]),
        });
    }
    sequence(&[&all])
}

/// The value of subjectAltName: the order's names, then the profile's URIs and mailboxes; `None` if a
/// device's assigner is no object identifier.
pub(crate) fn subject_alt_name(names: &[Identifier], contents: &Contents) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for name in names {
        all.extend(general_name(name)?);
    }
    contents.uris().iter().for_each(|uri| all.extend(tlv(0x86, &[uri.as_bytes()])));
    contents.emails().iter().for_each(|email| all.extend(tlv(0x81, &[email.as_bytes()])));
    Some(sequence(&[&all]))
}

fn general_name(name: &Identifier) -> Option<Vec<u8>> {
    Some(match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => tlv(0x82, &[name.order_value().as_bytes()]),
        Identifier::Ip(std::net::IpAddr::V4(ip)) => tlv(0x87, &[&ip.octets()]),
        Identifier::Ip(std::net::IpAddr::V6(ip)) => tlv(0x87, &[&ip.octets()]),
        Identifier::Permanent(device) => return permanent::general_name(device.as_str()),
    })
}
