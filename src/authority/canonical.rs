//! The one encoding of what was granted, written a second time and without the builder.
//!
//! A reader of DER passes over much: unknown members, bytes behind a value, forms that are not DER.
//! The lint therefore compares the draft with these bytes in the end, so that nothing is in a
//! certificate that no rule looked at. Only the order of the extensions is the builder's.

use super::constraints::NAME_CONSTRAINTS;
use super::draft::{Draft, key_id};
use super::issuer::Issuer;
use crate::acme::identifier::Identifier;
use crate::provisioner::profile::Usages;
use crate::provisioner::{Grant, Purpose};
use crate::time::Timestamp;
use crate::x509::der::{sequence, tlv, unsigned_integer};
use crate::x509::permanent;
use crate::x509::spki::PublicKey;

/// Content bytes of the object identifiers (2.5.29.N).
pub(super) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
pub(super) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

const SERVER_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
const CLIENT_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];

/// The to-be-signed certificate, with extensions in the order of `oids`; `None` if one of them is
/// not of the profile.
pub(super) fn tbs(draft: &Draft, issuer: &Issuer, algorithm: &[u8], oids: &[&[u8]]) -> Option<Vec<u8>> {
    let Draft { serial, not_before, not_after, grant, .. } = draft;
    let subject = match grant.purpose() {
        Purpose::Leaf(_) => sequence(&[]),
        Purpose::Root(spec) | Purpose::Intermediate(spec) => spec.subject.der().to_vec(),
    };
    // A root in the making has no subject yet but the one that it is about to get.
    let above = if issuer.subject().is_empty() { subject.as_slice() } else { issuer.subject() };
    let extensions = oids.iter().map(|oid| extension(oid, grant, issuer)).collect::<Option<Vec<_>>>()?;
    Some(sequence(&[
        &[0xa0, 0x03, 0x02, 0x01, 0x02],
        // A serial's first byte is below 0x80 and not zero.
        &tlv(0x02, &[serial.as_bytes()]),
        algorithm,
        above,
        &sequence(&[&time(*not_before), &time(*not_after)]),
        &subject,
        grant.key().der(),
        &tlv(0xa3, &[&sequence(&extensions.iter().map(Vec::as_slice).collect::<Vec<_>>())]),
    ]))
}

/// RFC 5280 §4.1.2.5.
fn time(at: Timestamp) -> Vec<u8> {
    let at = at.to_utc();
    let (year, month) = (at.year(), u8::from(at.month()));
    let rest = format!("{month:02}{:02}{:02}{:02}{:02}Z", at.day(), at.hour(), at.minute(), at.second());
    if year < 2050 {
        tlv(0x17, &[format!("{:02}", year % 100).as_bytes(), rest.as_bytes()])
    } else {
        tlv(0x18, &[format!("{year:04}").as_bytes(), rest.as_bytes()])
    }
}

fn extension(oid: &[u8], grant: &Grant, issuer: &Issuer) -> Option<Vec<u8>> {
    let (critical, value) = match (oid, grant.purpose()) {
        (SUBJECT_KEY_ID, _) => (false, tlv(0x04, &[&key_id(grant)])),
        (AUTHORITY_KEY_ID, _) => (false, sequence(&[&tlv(0x80, &[issuer.key_id()])])),
        (KEY_USAGE, purpose) => (true, key_usage(purpose, grant.key().key()).to_vec()),
        (BASIC_CONSTRAINTS, Purpose::Leaf(_)) => (true, sequence(&[])),
        (BASIC_CONSTRAINTS, Purpose::Root(spec) | Purpose::Intermediate(spec)) => {
            let path = spec.path_len.map(|below| unsigned_integer(&[below])).unwrap_or_default();
            (true, sequence(&[&[0x01, 0x01, 0xff], &path]))
        }
        (NAME_CONSTRAINTS, Purpose::Root(spec) | Purpose::Intermediate(spec)) => {
            (true, spec.constraints.encode())
        }
        (SUBJECT_ALT_NAME, Purpose::Leaf(names)) => (true, subject_alt_name(names)?),
        (EXTENDED_KEY_USAGE, Purpose::Leaf(_)) => {
            let usages: &[&[u8]] = match grant.usages() {
                Usages::Both => &[SERVER_AUTH, CLIENT_AUTH],
                Usages::Server => &[SERVER_AUTH],
                Usages::Client => &[CLIENT_AUTH],
            };
            (false, sequence(usages))
        }
        _ => return None,
    };
    let mark: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    Some(sequence(&[&tlv(0x06, &[oid]), mark, &tlv(0x04, &[&value])]))
}

/// BIT STRING: unused bits, then digitalSignature (0x80), keyEncipherment (0x20), or keyCertSign
/// (0x04) and cRLSign (0x02).
fn key_usage(purpose: &Purpose, key: &PublicKey) -> [u8; 4] {
    match (purpose, key) {
        (Purpose::Root(_) | Purpose::Intermediate(_), _) => [0x03, 0x02, 0x01, 0x06],
        (Purpose::Leaf(_), PublicKey::Rsa { .. }) => [0x03, 0x02, 0x05, 0xa0],
        (Purpose::Leaf(_), _) => [0x03, 0x02, 0x07, 0x80],
    }
}

/// The value of subjectAltName; `None` if a device's assigner is no object identifier.
pub(super) fn subject_alt_name(names: &[Identifier]) -> Option<Vec<u8>> {
    let names = names.iter().map(general_name).collect::<Option<Vec<_>>>()?;
    Some(sequence(&names.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn general_name(name: &Identifier) -> Option<Vec<u8>> {
    Some(match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => tlv(0x82, &[name.order_value().as_bytes()]),
        Identifier::Ip(std::net::IpAddr::V4(ip)) => tlv(0x87, &[&ip.octets()]),
        Identifier::Ip(std::net::IpAddr::V6(ip)) => tlv(0x87, &[&ip.octets()]),
        Identifier::Permanent(device) => return permanent::general_name(device.as_str()),
    })
}
