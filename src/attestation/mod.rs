//! Device attestation (draft-ietf-acme-device-attest-10): pure checks of attestation statements.
//!
//! | file | what it does |
//! |---|---|
//! | `object` | the CBOR attestation object (WebAuthn §6.5.4), read strictly |
//! | `chain` | from the statement's certificates to a configured root |
//! | `cose` | signature algorithms by their COSE numbers |
//! | `tpm` | TPM 2.0: TPM2_Certify by an attestation key (WebAuthn §8.3) |
//! | `apple` | Managed Device Attestation |
//! | `android` | Android Key Attestation (WebAuthn §8.4) |
//!
//! What is proved: a device that a configured root vouches for, and that has the identifier asked
//! for, holds the returned key and made the statement for this challenge. Nothing is fetched:
//! vendors' revocation lists are not looked at.
//!
//! No detail of a refusal names what a statement attests: it is shown to the client and stored.

mod android;
mod apple;
mod chain;
mod cose;
mod object;
#[cfg(test)]
pub(crate) mod samples;
mod tpm;

use crate::time::Timestamp;
use crate::x509::spki::{Spki, SpkiError};

pub use chain::{RootError, parse_roots};

/// The attestation formats (WebAuthn Attestation Statement Format Identifiers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `tpm`
    Tpm,
    /// `apple`
    Apple,
    /// `android-key`
    AndroidKey,
}

impl Format {
    /// One row per format: the format and its name in statements and in the configuration.
    pub const TABLE: &[(Self, &'static str)] =
        &[(Self::Tpm, "tpm"), (Self::Apple, "apple"), (Self::AndroidKey, "android-key")];

    /// The name in statements and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Apple => "apple",
            Self::AndroidKey => "android-key",
        }
    }

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, text)| *text == name).map(|(format, _)| *format)
    }
}

/// Which statements a provisioner takes, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Formats taken.
    pub formats: Vec<Format>,
    /// DER of the certificates that vouch for devices; none are built in.
    pub roots: Vec<Vec<u8>>,
    /// Devices that may be asked for; empty: any that a root vouches for.
    pub devices: Vec<DeviceRule>,
}

impl Policy {
    /// Whether a certificate may be asked for that names this device.
    pub fn allows(&self, device: &str) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|rule| rule.covers(device))
    }
}

/// One rule over permanent identifiers, octet for octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceRule {
    /// This identifier.
    Exact(String),
    /// Every identifier that begins so.
    Prefix(String),
}

impl DeviceRule {
    fn covers(&self, device: &str) -> bool {
        match self {
            Self::Exact(text) => device == text,
            Self::Prefix(text) => device.starts_with(text.as_str()),
        }
    }
}

/// What a statement has to be about.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The challenge's token (base64url text).
    pub token: &'a str,
    /// `token.thumbprint` (RFC 8555 §8.1).
    pub key_authorization: &'a str,
    /// The permanent identifier in its text form.
    pub device: &'a str,
}

/// What a statement proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// By which format.
    pub format: Format,
    /// The key that the device holds: the only one to certify.
    pub key: Spki,
}

/// Why a statement proves nothing; each is `badAttestationStatement`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not the CBOR of an attestation object.
    #[error("the attestation object is malformed: {0}")]
    Object(&'static str),
    /// A member of the statement is absent or of another type.
    #[error("the attestation statement has no usable {0}")]
    Member(&'static str),
    /// The format is unknown, or not taken here.
    #[error("the attestation format is not accepted by this provisioner")]
    Format,
    /// A certificate does not parse.
    #[error("x5c: a certificate is malformed")]
    Certificate,
    /// The chain does not lead to a configured root, at this time.
    #[error("x5c: the certificates do not verify: {0}")]
    Chain(String),
    /// The first certificate is not what the format asks for.
    #[error("x5c: the first certificate {0}")]
    Leaf(&'static str),
    /// A structure inside the statement does not parse.
    #[error("{0} is malformed")]
    Structure(&'static str),
    /// `certInfo` is something else that a TPM signed, or that somebody made for it to sign.
    #[error("certInfo is not a certification made by a TPM")]
    NotCertified,
    /// The algorithm is unknown, weak, or not one of the key.
    #[error("alg: the signature algorithm is not accepted, or is not one of the attesting key")]
    Algorithm,
    /// A signature does not verify.
    #[error("sig: the signature does not verify")]
    Signature,
    /// Made for something else than this challenge.
    #[error("the attestation was not made for this challenge and account")]
    Freshness,
    /// The key is not bound to the device as it has to be.
    #[error("the attested key {0}")]
    KeyProperty(&'static str),
    /// The key is of no kind that is certified here.
    #[error("the attested key: {0}")]
    Key(#[from] SpkiError),
    /// No identifier in the statement.
    #[error("the attestation does not name the device")]
    NoDevice,
    /// Another one than asked for.
    #[error("the attestation names another device than the identifier")]
    OtherDevice,
}

/// What a format's own rules found.
struct Evidence {
    key: Spki,
    /// The device's identifiers in text form, as far as the statement carries any.
    devices: Vec<String>,
}

/// Checks an attestation object at `now`.
pub fn verify(object: &[u8], ask: &Ask<'_>, policy: &Policy, now: Timestamp) -> Result<Attested, Refused> {
    let object = object::Object::parse(object)?;
    let format = Format::parse(object.format()).filter(|format| policy.formats.contains(format));
    let format = format.ok_or(Refused::Format)?;
    let certificates = object.certificates()?;
    let leaf = chain::verify(&certificates, &policy.roots, now)?;
    let evidence = match format {
        Format::Tpm => tpm::verify(&object, &leaf, ask)?,
        Format::Apple => apple::verify(&leaf, ask)?,
        Format::AndroidKey => android::verify(&object, &leaf, ask)?,
    };
    if evidence.devices.is_empty() {
        return Err(Refused::NoDevice);
    }
    if !evidence.devices.iter().any(|device| device == ask.device) {
        return Err(Refused::OtherDevice);
    }
    Ok(Attested { format, key: evidence.key })
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests;
