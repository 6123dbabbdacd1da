//! `apple`: Managed Device Attestation, as iOS 16, macOS 14 and later answer device-attest-01.
//!
//! The statement is a chain and nothing else. Apple signs a certificate for the key that the device
//! made, with the device's serial number and UDID (not on devices that their users enrolled) and
//! the freshness code in extensions whose values are raw bytes.
//!
//! Apple's authority signs before the account key is known to it, so that the freshness code is the
//! SHA-256 of the token alone (draft §5, second bullet). That of the key authorization, which binds
//! more, is taken as well.

use super::chain::Leaf;
use super::{Ask, Evidence, Refused, sha256};

/// 1.2.840.113635.100.8.11.1
pub(super) const FRESHNESS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x63, 0x64, 0x08, 0x0b, 0x01];
/// 1.2.840.113635.100.8.9.1
pub(super) const SERIAL_NUMBER: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x63, 0x64, 0x08, 0x09, 0x01];
/// 1.2.840.113635.100.8.9.2
pub(super) const UDID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x63, 0x64, 0x08, 0x09, 0x02];

pub(super) fn verify(leaf: &Leaf<'_>, ask: &Ask<'_>) -> Result<Evidence, Refused> {
    let freshness = leaf.extension(FRESHNESS)?.ok_or(Refused::Leaf("has no freshness code"))?;
    if freshness != sha256(ask.token.as_bytes()) && freshness != sha256(ask.key_authorization.as_bytes()) {
        return Err(Refused::Freshness);
    }
    let mut devices = Vec::new();
    for oid in [SERIAL_NUMBER, UDID] {
        if let Some(value) = leaf.extension(oid)? {
            let text = std::str::from_utf8(value).map_err(|_| Refused::Structure("a device identifier"))?;
            devices.push(text.to_owned());
        }
    }
    Ok(Evidence { key: leaf.key.clone(), devices })
}
