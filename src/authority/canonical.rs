//! The one encoding of what was granted, written a second time and without the builder.
//!
//! A reader of DER passes over much: unknown members, bytes behind a value, forms that are not DER.
//! The lint therefore compares the draft with these bytes in the end, so that nothing is in a
//! certificate that no rule looked at. Only the order of the extensions is the builder's.

mod leaf;

use super::constraints::NAME_CONSTRAINTS;
use super::draft::{Draft, key_id};
use super::issuer::Issuer;
use super::urls::LeafUrls;
use crate::provisioner::{Grant, Purpose};
use crate::time::Timestamp;
use crate::x509::der::{sequence, tlv, unsigned_integer};

pub(super) use leaf::{NO_REV_AVAIL, authority_info_access, expected, extended_key_usage, subject_alt_name};

/// Content bytes of the object identifiers (2.5.29.N).
pub(super) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 14];
pub(super) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
pub(super) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
pub(super) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
pub(super) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 35];
pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];

/// The to-be-signed certificate, with extensions in the order of `oids`; `None` if one of them is
/// not of the profile.
pub(super) fn tbs(draft: &Draft, issuer: &Issuer, algorithm: &[u8], oids: &[&[u8]]) -> Option<Vec<u8>> {
    let Draft { serial, not_before, not_after, grant, .. } = draft;
    let subject = match grant.purpose() {
        Purpose::Leaf(_) => leaf::subject(grant.contents()),
        Purpose::Root(spec) | Purpose::Intermediate(spec) => spec.subject.der().to_vec(),
    };
    // A root in the making has no subject yet but the one that it is about to get.
    let above = if issuer.subject().is_empty() { subject.as_slice() } else { issuer.subject() };
    let no_rev_avail = grant.leaf().no_rev_avail(*not_before, *not_after);
    let urls = issuer.urls().of_leaf(no_rev_avail);
    let marks = match grant.purpose() {
        Purpose::Leaf(_) => expected(grant, urls, no_rev_avail),
        Purpose::Root(_) | Purpose::Intermediate(_) => Vec::new(),
    };
    let extension = |oid: &&[u8]| extension(oid, grant, issuer, urls, &marks);
    let extensions = oids.iter().map(extension).collect::<Option<Vec<_>>>()?;
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

/// `marks` are object identifier and criticality of a leaf's extensions.
fn extension(
    oid: &[u8],
    grant: &Grant,
    issuer: &Issuer,
    urls: LeafUrls<'_>,
    marks: &[(&[u8], bool)],
) -> Option<Vec<u8>> {
    let (critical, value) = match (oid, grant.purpose()) {
        (SUBJECT_KEY_ID, _) => (false, tlv(0x04, &[&key_id(grant)])),
        (AUTHORITY_KEY_ID, _) => (false, sequence(&[&tlv(0x80, &[issuer.key_id()])])),
        (oid, Purpose::Leaf(names)) => {
            let (_, critical) = marks.iter().find(|(known, _)| *known == oid)?;
            (*critical, leaf::value(oid, names, grant, urls)?)
        }
        // BIT STRING: unused bits, then keyCertSign (0x04) and cRLSign (0x02).
        (KEY_USAGE, Purpose::Root(_) | Purpose::Intermediate(_)) => (true, vec![0x03, 0x02, 0x01, 0x06]),
        (BASIC_CONSTRAINTS, Purpose::Root(spec) | Purpose::Intermediate(spec)) => {
            let path = spec.path_len.map(|below| unsigned_integer(&[below])).unwrap_or_default();
            (true, sequence(&[&[0x01, 0x01, 0xff], &path]))
        }
        (NAME_CONSTRAINTS, Purpose::Root(spec) | Purpose::Intermediate(spec)) => {
            (true, spec.constraints.encode())
        }
        _ => return None,
    };
    let mark: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    Some(sequence(&[&tlv(0x06, &[oid]), mark, &tlv(0x04, &[&value])]))
}
