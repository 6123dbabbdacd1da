//! `android-key`: Android Key Attestation (WebAuthn §8.4).
//!
//! The first certificate is the attested key's own. Its extension says what the secure hardware
//! enforces; what software says counts for nothing here. The device's serial number, IMEI or MEID
//! are in it if a device owner asked for ID attestation.
//!
//! The key authorization stands where WebAuthn has authData and clientDataHash: the statement's
//! signature is over it, and the attestation challenge is its SHA-256, or itself (Android takes
//! up to 128 bytes).

use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

use super::chain::Leaf;
use super::cose::Algorithm;
use super::object::Object;
use super::{Ask, Evidence, Refused, sha256};

/// 1.3.6.1.4.1.11129.2.1.17
pub(super) const KEY_DESCRIPTION: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x01, 0x11];

const PURPOSE: u32 = 1;
const ALL_APPLICATIONS: u32 = 600;
const ORIGIN: u32 = 702;
const ROOT_OF_TRUST: u32 = 704;
/// attestationIdSerial, attestationIdImei, attestationIdMeid.
const DEVICE_IDS: [u32; 3] = [713, 714, 715];

const MALFORMED: Refused = Refused::Structure("the key description");

pub(super) fn verify(object: &Object, leaf: &Leaf<'_>, ask: &Ask<'_>) -> Result<Evidence, Refused> {
    let signed = ask.key_authorization.as_bytes();
    check(object, leaf, signed, &[&sha256(signed), signed])
}

/// As [`verify`], for what was signed and the challenges that may stand in the certificate.
pub(super) fn check(
    object: &Object,
    leaf: &Leaf<'_>,
    signed: &[u8],
    challenges: &[&[u8]],
) -> Result<Evidence, Refused> {
    let signature = object.bytes("sig")?;
    Algorithm::of(object.algorithm()?, leaf.key.key())?.verify(&leaf.key, signed, signature)?;
    let description = leaf.extension(KEY_DESCRIPTION)?.ok_or(Refused::Leaf("has no key description"))?;
    let fields = children(only(description)?.data)?;
    let [_, level, _, keystore_level, challenge, _, software, hardware] = fields.as_slice() else {
        return Err(MALFORMED);
    };
    let secure = |level: &Any<'_>| level.tag() == Tag::Enumerated && matches!(level.data, [1] | [2]);
    if !secure(level) || !secure(keystore_level) {
        return Err(Refused::KeyProperty("is not attested by secure hardware"));
    }
    if challenge.tag() != Tag::OctetString || !challenges.contains(&challenge.data) {
        return Err(Refused::Freshness);
    }
    let (software, hardware) = (list(software)?, list(hardware)?);
    if find(&software, ALL_APPLICATIONS)?.is_some() || find(&hardware, ALL_APPLICATIONS)?.is_some() {
        return Err(Refused::KeyProperty("may be used by every application"));
    }
    // KM_ORIGIN_GENERATED
    if find(&hardware, ORIGIN)?.is_none_or(|origin| origin.tag() != Tag::Integer || origin.data != [0]) {
        return Err(Refused::KeyProperty("was not generated in secure hardware"));
    }
    let purposes = find(&hardware, PURPOSE)?.ok_or(MALFORMED)?;
    // KM_PURPOSE_SIGN
    if !children(purposes.data)?.iter().any(|purpose| purpose.data == [2]) {
        return Err(Refused::KeyProperty("does not sign"));
    }
    check_boot(&find(&hardware, ROOT_OF_TRUST)?.ok_or(MALFORMED)?)?;
    let mut devices = Vec::new();
    for tag in DEVICE_IDS {
        if let Some(id) = find(&hardware, tag)? {
            let text = std::str::from_utf8(id.data).map_err(|_| MALFORMED)?;
            if id.tag() != Tag::OctetString || text.is_empty() {
                return Err(MALFORMED);
            }
            devices.push(text.to_owned());
        }
    }
    Ok(Evidence { key: leaf.key.clone(), devices })
}

/// RootOfTrust: verifiedBootKey, deviceLocked, verifiedBootState, and since version 3
/// verifiedBootHash.
fn check_boot(root_of_trust: &Any<'_>) -> Result<(), Refused> {
    let fields = children(root_of_trust.data)?;
    let [_, locked, state, ..] = fields.as_slice() else { return Err(MALFORMED) };
    let locked = locked.tag() == Tag::Boolean && locked.data == [0xff];
    let verified = state.tag() == Tag::Enumerated && state.data == [0];
    if locked && verified {
        Ok(())
    } else {
        Err(Refused::KeyProperty("is on a device that did not boot verified and locked"))
    }
}

fn only(bytes: &[u8]) -> Result<Any<'_>, Refused> {
    match Any::from_der(bytes) {
        Ok(([], any)) => Ok(any),
        Ok(_) | Err(_) => Err(MALFORMED),
    }
}

fn children(mut bytes: &[u8]) -> Result<Vec<Any<'_>>, Refused> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (rest, any) = Any::from_der(bytes).map_err(|_| MALFORMED)?;
        found.push(any);
        bytes = rest;
    }
    Ok(found)
}

/// An AuthorizationList: a SEQUENCE of `[TAG] EXPLICIT` values.
fn list<'a>(value: &Any<'a>) -> Result<Vec<Any<'a>>, Refused> {
    if value.tag() == Tag::Sequence { children(value.data) } else { Err(MALFORMED) }
}

/// The value under a tag; refused if the tag is there twice.
fn find<'a>(list: &[Any<'a>], tag: u32) -> Result<Option<Any<'a>>, Refused> {
    let mut found = list.iter().filter(|any| any.class() == Class::ContextSpecific && any.tag() == Tag(tag));
    let first = found.next().map(|any| only(any.data)).transpose()?;
    if found.next().is_some() { Err(MALFORMED) } else { Ok(first) }
}
