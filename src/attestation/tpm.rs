//! `tpm`: TPM 2.0 (WebAuthn §8.3), key attestation by TPM2_Certify.
//!
//! The first certificate is that of an attestation key (AK), issued by an authority that knows the
//! TPM and names the device in it (PermanentIdentifier, RFC 4043). `certInfo` is what the AK
//! signed: it names `pubArea`, the public area of the key to certify, and carries the digest of the
//! key authorization. Structures as in TPM 2.0 Library Part 2.

use aws_lc_rs::digest::{self, digest};
use x509_parser::extensions::{GeneralName, ParsedExtension};

use super::chain::Leaf;
use super::cose::Algorithm;
use super::object::Object;
use super::{Ask, Evidence, Refused};
use crate::x509::spki::{PublicKey, Spki, bits};
use crate::x509::{der, permanent};

/// tcg-kp-AIKCertificate, 2.23.133.8.3
pub(super) const AIK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];
/// tcg-at-tpmManufacturer, tcg-at-tpmModel, tcg-at-tpmVersion: 2.23.133.2.1 to .3
pub(super) const TPM_DETAILS: [&[u8]; 3] =
    [&[0x67, 0x81, 0x05, 0x02, 0x01], &[0x67, 0x81, 0x05, 0x02, 0x02], &[0x67, 0x81, 0x05, 0x02, 0x03]];

const TPM_GENERATED_VALUE: u32 = 0xff54_4347;
const TPM_ST_ATTEST_CERTIFY: u16 = 0x8017;
const TPM_ALG_RSA: u16 = 0x0001;
const TPM_ALG_SHA256: u16 = 0x000b;
const TPM_ALG_SHA384: u16 = 0x000c;
const TPM_ALG_SHA512: u16 = 0x000d;
const TPM_ALG_NULL: u16 = 0x0010;
const TPM_ALG_RSASSA: u16 = 0x0014;
const TPM_ALG_ECDSA: u16 = 0x0018;
const TPM_ALG_ECC: u16 = 0x0023;

/// TPMA_OBJECT: fixedTPM, fixedParent, sensitiveDataOrigin, sign.
const BOUND: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 18;
/// TPMA_OBJECT: restricted. Such a key signs what the TPM made only, no certification request.
const RESTRICTED: u32 = 1 << 16;

pub(super) fn verify(object: &Object, leaf: &Leaf<'_>, ask: &Ask<'_>) -> Result<Evidence, Refused> {
    if object.text("ver")? != "2.0" {
        return Err(Refused::Member("ver: \"2.0\""));
    }
    let algorithm = Algorithm::of(object.algorithm()?, leaf.key.key())?;
    let devices = check_ak(leaf)?;
    let (info, area) = (object.bytes("certInfo")?, object.bytes("pubArea")?);
    let signature = signature(object.bytes("sig")?, &leaf.key, algorithm.hash)?;
    algorithm.verify(&leaf.key, info, &signature)?;
    let certified = certify_info(info)?;
    if certified.extra != digest(algorithm.hash, ask.key_authorization.as_bytes()).as_ref() {
        return Err(Refused::Freshness);
    }
    let public = public_area(area)?;
    if certified.name != [&area[2..4], digest(public.name_hash, area).as_ref()].concat() {
        return Err(Refused::KeyProperty("is not the one that certInfo names"));
    }
    if public.attributes & BOUND != BOUND {
        return Err(Refused::KeyProperty("is not a signing key that was made in the TPM and stays there"));
    }
    if public.attributes & RESTRICTED != 0 {
        return Err(Refused::KeyProperty("is restricted: it cannot sign a CSR"));
    }
    // A point off its curve and the like are found in parsing.
    let key = Spki::parse(Spki::from_key(public.key).der())?;
    Ok(Evidence { key, devices })
}

/// What WebAuthn §8.3.1 asks of an AK certificate (webpki refused CA certificates already), and the
/// devices it names.
fn check_ak(leaf: &Leaf<'_>) -> Result<Vec<String>, Refused> {
    if leaf.certificate.subject().iter_rdn().next().is_some() {
        return Err(Refused::Leaf("has a subject; that of an attestation key is empty"));
    }
    let usage = leaf.certificate.extended_key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.other.iter().any(|oid| oid.as_bytes() == AIK_CERTIFICATE)) {
        return Err(Refused::Leaf("lacks the extended key usage tcg-kp-AIKCertificate (2.23.133.8.3)"));
    }
    let mut names = leaf.certificate.extensions().iter().filter_map(|e| match e.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => Some(san),
        _ => None,
    });
    let (Some(names), None) = (names.next(), names.next()) else {
        return Err(Refused::Leaf("has no subjectAltName"));
    };
    let (mut details, mut devices) = ([false; 3], Vec::new());
    for name in &names.general_names {
        match name {
            GeneralName::DirectoryName(directory) => {
                for attribute in directory.iter_attributes() {
                    let at = TPM_DETAILS.iter().position(|oid| attribute.attr_type().as_bytes() == *oid);
                    if let Some(at) = at
                        && !attribute.attr_value().data.is_empty()
                    {
                        details[at] = true;
                    }
                }
            }
            GeneralName::OtherName(oid, value) if oid.as_bytes() == permanent::PERMANENT_IDENTIFIER => {
                let device = permanent::parse_other_name(value);
                devices.push(device.ok_or(Refused::Structure("the certificate's PermanentIdentifier"))?);
            }
            _ => {}
        }
    }
    if details != [true; 3] {
        return Err(Refused::Leaf("does not name the TPM's manufacturer, model and version"));
    }
    Ok(devices)
}

/// What is read of a TPMS_ATTEST of TPM2_Certify.
struct Certified<'a> {
    extra: &'a [u8],
    name: &'a [u8],
}

fn certify_info(bytes: &[u8]) -> Result<Certified<'_>, Refused> {
    let mut reader = Reader { rest: bytes, what: "certInfo" };
    let (magic, kind) = (reader.u32()?, reader.u16()?);
    if magic != TPM_GENERATED_VALUE || kind != TPM_ST_ATTEST_CERTIFY {
        return Err(Refused::NotCertified);
    }
    let _qualified_signer = reader.sized()?;
    let extra = reader.sized()?;
    // clockInfo (clock, resetCount, restartCount, safe) and firmwareVersion.
    let _ = reader.take(8 + 4 + 4 + 1 + 8)?;
    let name = reader.sized()?;
    let _qualified_name = reader.sized()?;
    reader.end()?;
    Ok(Certified { extra, name })
}

/// What is read of a TPMT_PUBLIC.
struct Public {
    key: PublicKey,
    name_hash: &'static digest::Algorithm,
    attributes: u32,
}

fn public_area(bytes: &[u8]) -> Result<Public, Refused> {
    let mut reader = Reader { rest: bytes, what: "pubArea" };
    let (kind, name_algorithm, attributes) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let name_hash = hash(name_algorithm).ok_or(Refused::Structure("pubArea: nameAlg"))?;
    let _auth_policy = reader.sized()?;
    // A storage key has a symmetric algorithm; one that signs has none.
    if reader.u16()? != TPM_ALG_NULL {
        return Err(Refused::KeyProperty("is a storage key"));
    }
    // The scheme, with its hash.
    if reader.u16()? != TPM_ALG_NULL {
        let _hash = reader.u16()?;
    }
    let key = match kind {
        TPM_ALG_RSA => {
            let (key_bits, exponent) = (reader.u16()?, reader.u32()?);
            let n = trimmed(reader.sized()?);
            if bits(&n) != usize::from(key_bits) {
                return Err(Refused::Structure("pubArea"));
            }
            // Zero stands for the default.
            let e = if exponent == 0 { 65_537 } else { exponent };
            PublicKey::Rsa { n, e: trimmed(&e.to_be_bytes()) }
        }
        TPM_ALG_ECC => {
            let curve = reader.u16()?;
            if reader.u16()? != TPM_ALG_NULL {
                return Err(Refused::Structure("pubArea: kdf"));
            }
            let (x, y) = (reader.sized()?, reader.sized()?);
            let point = |bytes: usize| {
                let padded = |part: &[u8]| {
                    let part = trimmed(part);
                    (part.len() <= bytes).then(|| [vec![0; bytes - part.len()], part].concat())
                };
                let (x, y) = padded(x).zip(padded(y)).ok_or(Refused::Structure("pubArea"))?;
                Ok::<_, Refused>([vec![4], x, y].concat())
            };
            match curve {
                0x0003 => PublicKey::EcP256(point(32)?),
                0x0004 => PublicKey::EcP384(point(48)?),
                0x0005 => PublicKey::EcP521(point(66)?),
                _ => return Err(Refused::Key(crate::x509::spki::SpkiError::Unsupported)),
            }
        }
        _ => return Err(Refused::Key(crate::x509::spki::SpkiError::Unsupported)),
    };
    reader.end()?;
    Ok(Public { key, name_hash, attributes })
}

/// The signature in a TPMT_SIGNATURE, as the library verifies it: its algorithm must be the
/// statement's.
fn signature(bytes: &[u8], key: &Spki, wanted: &'static digest::Algorithm) -> Result<Vec<u8>, Refused> {
    let mut reader = Reader { rest: bytes, what: "sig" };
    let (scheme, by) = (reader.u16()?, reader.u16()?);
    if hash(by) != Some(wanted) {
        return Err(Refused::Algorithm);
    }
    let rsa = matches!(key.key(), PublicKey::Rsa { .. });
    let signature = match (scheme, rsa) {
        (TPM_ALG_RSASSA, true) => reader.sized()?.to_vec(),
        (TPM_ALG_ECDSA, false) => {
            let (r, s) = (reader.sized()?, reader.sized()?);
            der::sequence(&[&der::unsigned_integer(r), &der::unsigned_integer(s)])
        }
        _ => return Err(Refused::Algorithm),
    };
    reader.end()?;
    Ok(signature)
}

fn hash(algorithm: u16) -> Option<&'static digest::Algorithm> {
    match algorithm {
        TPM_ALG_SHA256 => Some(&digest::SHA256),
        TPM_ALG_SHA384 => Some(&digest::SHA384),
        TPM_ALG_SHA512 => Some(&digest::SHA512),
        _ => None,
    }
}

fn trimmed(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

/// Big-endian fields, one after the other.
struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Refused::Structure(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, Refused> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Refused> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A TPM2B: its length, then its bytes.
    fn sized(&mut self) -> Result<&'a [u8], Refused> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    fn end(&self) -> Result<(), Refused> {
        if self.rest.is_empty() { Ok(()) } else { Err(Refused::Structure(self.what)) }
    }
}
