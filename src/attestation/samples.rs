//! For tests: authorities and devices in software that attest as the real ones do.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use ciborium::Value;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, PublicKeyData, SubjectPublicKeyInfo,
};

use super::android::KEY_DESCRIPTION;
use super::apple::{FRESHNESS, SERIAL_NUMBER, UDID};
use super::tpm::TPM_DETAILS;
use crate::time::Timestamp;
use crate::x509::der::{sequence, tlv};
use crate::x509::permanent;

/// When everything here is valid.
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_793_318_400);

/// The lifetime of everything here: a day before and after [`NOW`].
const DAY: u64 = 86_400;

/// A vendor's authority.
pub(crate) struct Authority {
    pub(crate) der: Vec<u8>,
    params: CertificateParams,
    key: KeyPair,
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = Timestamp::from_secs(NOW.as_secs() - DAY).to_utc();
    params.not_after = Timestamp::from_secs(NOW.as_secs() + DAY).to_utc();
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = params();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Authority {
    /// A root.
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = (ca(name), KeyPair::generate().unwrap());
        Self { der: params.self_signed(&key).unwrap().der().to_vec(), params, key }
    }

    /// An intermediate of this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = (ca(name), KeyPair::generate().unwrap());
        Self { der: self.sign(&params, &key.subject_public_key_info()), params, key }
    }

    fn sign(&self, params: &CertificateParams, spki: &[u8]) -> Vec<u8> {
        let spki = SubjectPublicKeyInfo::from_der(spki).unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        params.signed_by(&spki, &issuer).unwrap().der().to_vec()
    }

    /// A certificate for a key, as `change` has it.
    pub(crate) fn leaf(&self, spki: &[u8], change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = params();
        change(&mut params);
        self.sign(&params, spki)
    }

    /// The certificate of an attestation key of `device`, as WebAuthn §8.3.1 has it but for what
    /// `change` changes.
    pub(crate) fn ak(
        &self,
        spki: &[u8],
        device: Option<&str>,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<u8> {
        self.leaf(spki, |params| {
            params.is_ca = IsCa::ExplicitNoCa;
            params.extended_key_usages = vec![aik()];
            params.custom_extensions = vec![ak_names(device, &TPM_DETAILS)];
            change(params);
        })
    }

    /// Apple's certificate for a key: nonce, serial number and UDID, each if it is there.
    pub(crate) fn apple(&self, spki: &[u8], values: [Option<&[u8]>; 3]) -> Vec<u8> {
        self.leaf(spki, |params| {
            params.distinguished_name.push(DnType::CommonName, "0e7bd4fc");
            params.is_ca = IsCa::ExplicitNoCa;
            for (oid, value) in [FRESHNESS, SERIAL_NUMBER, UDID].into_iter().zip(values) {
                params.custom_extensions.extend(value.map(|value| extension(oid, value.to_vec())));
            }
        })
    }

    /// A certificate of Android's keystore with that key description.
    pub(crate) fn android(&self, spki: &[u8], description: &[u8]) -> Vec<u8> {
        self.leaf(spki, |params| {
            params.distinguished_name.push(DnType::CommonName, "Android Keystore Key");
            params.custom_extensions = vec![extension(KEY_DESCRIPTION, description.to_vec())];
        })
    }
}

/// tcg-kp-AIKCertificate.
pub(crate) fn aik() -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 3])
}

/// An extension by the content bytes of its object identifier, of which the first is below 120.
pub(crate) fn extension(oid: &[u8], content: Vec<u8>) -> CustomExtension {
    let mut numbers = vec![u64::from(oid[0] / 40).min(2), 0];
    numbers[1] = u64::from(oid[0]) - 40 * numbers[0];
    let mut number = 0;
    for byte in &oid[1..] {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    CustomExtension::from_oid_content(&numbers, content)
}

/// subjectAltName of an attestation key's certificate.
pub(crate) fn ak_names(device: Option<&str>, details: &[&[u8]]) -> CustomExtension {
    let attribute = |oid: &&[u8]| {
        let pair = sequence(&[&tlv(0x06, &[oid]), &tlv(0x0c, &[b"id:12345678"])]);
        tlv(0x31, &[&pair])
    };
    let attributes: Vec<u8> = details.iter().flat_map(attribute).collect();
    let directory = tlv(0xa4, &[&sequence(&[&attributes])]);
    let device = device.map(|device| permanent::general_name(device).unwrap()).unwrap_or_default();
    let mut names = extension(&[0x55, 0x1d, 17], sequence(&[&directory, &device]));
    names.set_criticality(true);
    names
}

/// SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

fn b2(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// A TPM whose attestation key and certified key are P-256.
pub(crate) struct Tpm {
    pub(crate) ak: KeyPair,
    /// TPMA_OBJECT of the certified key.
    pub(crate) attributes: u32,
    /// The hash of the certified key's name.
    pub(crate) name_hash: u16,
    /// Of TPMS_ATTEST: magic and type.
    pub(crate) head: [u8; 6],
}

impl Tpm {
    pub(crate) fn new() -> Self {
        let head = [0xff, 0x54, 0x43, 0x47, 0x80, 0x17];
        Self { ak: KeyPair::generate().unwrap(), attributes: 0x0004_0072, name_hash: 0x000b, head }
    }

    /// TPMT_PUBLIC of a key.
    pub(crate) fn area(&self, key: &KeyPair) -> Vec<u8> {
        let point = key.der_bytes();
        [
            &[0x00, 0x23][..],
            &self.name_hash.to_be_bytes(),
            &self.attributes.to_be_bytes(),
            &b2(&[]),
            &[0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00, 0x10],
            &b2(&point[1..33]),
            &b2(&point[33..]),
        ]
        .concat()
    }

    /// The members `certInfo`, `pubArea` and `sig` for a key and extra data.
    pub(crate) fn certify(&self, key: &KeyPair, extra: &[u8]) -> [Vec<u8>; 3] {
        let area = self.area(key);
        let name = [&self.name_hash.to_be_bytes()[..], &hash(&area)].concat();
        let info = [&self.head[..], &b2(&[7; 34]), &b2(extra), &[0; 25], &b2(&name), &b2(&[8; 34])].concat();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.ak.serialize_der()).unwrap();
        let signed = pair.sign(&SystemRandom::new(), &info).unwrap();
        let (r, s) = signed.as_ref().split_at(32);
        let sig = [&[0x00, 0x18, 0x00, 0x0b][..], &b2(r), &b2(s)].concat();
        [info, area, sig]
    }
}

/// A statement of that format and these members.
pub(crate) fn object(format: &str, members: Vec<(&str, Value)>) -> Vec<u8> {
    let members = members.into_iter().map(|(name, value)| (Value::from(name), value)).collect();
    let object = vec![("fmt".into(), format.into()), ("attStmt".into(), Value::Map(members))];
    let mut out = Vec::new();
    ciborium::into_writer(&Value::Map(object), &mut out).unwrap();
    out
}

/// `x5c`.
pub(crate) fn x5c(certificates: &[&[u8]]) -> Value {
    Value::Array(certificates.iter().map(|der| Value::Bytes(der.to_vec())).collect())
}

/// A `tpm` statement.
pub(crate) fn tpm_object(algorithm: i64, [info, area, sig]: [Vec<u8>; 3], certificates: &[&[u8]]) -> Vec<u8> {
    let members = vec![
        ("ver", "2.0".into()),
        ("alg", algorithm.into()),
        ("x5c", x5c(certificates)),
        ("sig", Value::Bytes(sig)),
        ("certInfo", Value::Bytes(info)),
        ("pubArea", Value::Bytes(area)),
    ];
    object("tpm", members)
}

/// What a keystore says of a key.
pub(crate) struct Description {
    pub(crate) level: u8,
    pub(crate) challenge: Vec<u8>,
    pub(crate) origin: u8,
    pub(crate) purposes: Vec<u8>,
    pub(crate) all_applications: bool,
    pub(crate) locked: u8,
    pub(crate) boot: u8,
    /// attestationIdSerial, in hardware or in software.
    pub(crate) serial: Option<&'static str>,
    pub(crate) in_hardware: bool,
}

impl Description {
    pub(crate) fn good(challenge: Vec<u8>, serial: Option<&'static str>) -> Self {
        let purposes = vec![2, 3];
        let (level, origin, all_applications, locked, boot) = (1, 0, false, 0xff, 0);
        let in_hardware = true;
        Self { level, challenge, origin, purposes, all_applications, locked, boot, serial, in_hardware }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        // Tags above 30 take further bytes.
        let high = |tag: u16, inner: &[u8]| {
            let body = tlv(0, &[inner]);
            [&[0xbf, 0x80 | (tag >> 7) as u8, (tag & 0x7f) as u8][..], &body[1..]].concat()
        };
        let purposes: Vec<u8> = self.purposes.iter().flat_map(|purpose| [2, 1, *purpose]).collect();
        let serial = |here: bool| match self.serial {
            Some(serial) if here => high(713, &tlv(0x04, &[serial.as_bytes()])),
            _ => Vec::new(),
        };
        let all = if self.all_applications { high(600, &[5, 0]) } else { Vec::new() };
        let root_of_trust = sequence(&[
            &tlv(0x04, &[&[9; 32]]),
            &[1, 1, self.locked],
            &[10, 1, self.boot],
            &tlv(0x04, &[&[8; 32]]),
        ]);
        let software = sequence(&[&all, &high(701, &[2, 1, 1]), &serial(!self.in_hardware)]);
        let hardware = sequence(&[
            &tlv(0xa1, &[&tlv(0x31, &[&purposes])]),
            &high(702, &[2, 1, self.origin]),
            &high(704, &root_of_trust),
            &serial(self.in_hardware),
        ]);
        sequence(&[
            &[2, 2, 1, 0x90],
            &[10, 1, self.level],
            &[2, 2, 1, 0x90],
            &[10, 1, self.level],
            &tlv(0x04, &[&self.challenge]),
            &tlv(0x04, &[]),
            &software,
            &hardware,
        ])
    }
}

/// An `android-key` statement, signed by the attested key.
pub(crate) fn android_object(key: &KeyPair, signed: &[u8], certificates: &[&[u8]]) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
    let sig = pair.sign(&SystemRandom::new(), signed).unwrap();
    let members =
        vec![("alg", (-7).into()), ("sig", Value::Bytes(sig.as_ref().to_vec())), ("x5c", x5c(certificates))];
    object("android-key", members)
}
