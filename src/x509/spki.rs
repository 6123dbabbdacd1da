//! Public keys as SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), parsed once.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::der;
use super::key_hash::KeyHash;
use super::ml_dsa::ParameterSet;

/// A public key of a kind we know, together with its DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Spki {
    der: Vec<u8>,
    key: PublicKey,
    /// Of the DER: it is asked for more than once in an issuance.
    hash: KeyHash,
}

/// The kinds of keys that appear in certificates here.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PublicKey {
    /// Uncompressed point, 65 bytes.
    EcP256(Vec<u8>),
    /// Uncompressed point, 97 bytes.
    EcP384(Vec<u8>),
    /// Uncompressed point, 133 bytes.
    EcP521(Vec<u8>),
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// Modulus and exponent, big-endian without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The public exponent.
        e: Vec<u8>,
    },
    /// As FIPS 204 encodes it; 1312, 1952 or 2592 bytes.
    MlDsa(ParameterSet, Vec<u8>),
}

/// Why a SubjectPublicKeyInfo is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpkiError {
    /// Not DER of that shape.
    #[error("the public key is malformed")]
    Malformed,
    /// A kind of key this CA does not handle.
    #[error("the key type is not supported: use P-256, P-384, P-521, Ed25519, RSA or ML-DSA")]
    Unsupported,
    /// The point is not on its curve, the modulus is even, and the like.
    #[error("the public key is not a valid key of its type")]
    Invalid,
}

const OID_EC: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
const OID_ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const OID_RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const NULL: &[u8] = &[0x05, 0x00];

impl Spki {
    /// Builds the SubjectPublicKeyInfo of a key.
    pub fn from_key(key: PublicKey) -> Self {
        let der = encode(&key);
        let hash = KeyHash::of(&der);
        Self { der, key, hash }
    }

    /// Parses a SubjectPublicKeyInfo and checks that the key is one of its kind. Only the one DER
    /// encoding is accepted.
    pub fn parse(spki_der: &[u8]) -> Result<Self, SpkiError> {
        Self::parse_to_verify(spki_der, |key| Ok(default_verification(key))).map(|(spki, _)| spki)
    }

    /// [`Spki::parse`] together with [`Spki::parsed`], for the algorithm that `with` chooses: the
    /// check that the key is one of its kind and its use are one and the same work.
    pub fn parse_to_verify<E: From<SpkiError>>(
        spki_der: &[u8],
        with: impl FnOnce(&PublicKey) -> Result<&'static dyn VerificationAlgorithm, E>,
    ) -> Result<(Self, ParsedPublicKey), E> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(spki_der).map_err(|_| SpkiError::Malformed)?;
        if !rest.is_empty() {
            return Err(SpkiError::Malformed.into());
        }
        let key = read(&info)?;
        let spki = Self::from_key(key);
        if spki.der != spki_der {
            return Err(SpkiError::Malformed.into());
        }
        let parsed = spki.parsed(with(&spki.key)?)?;
        Ok((spki, parsed))
    }

    /// The DER of the whole SubjectPublicKeyInfo.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The key itself.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 over the DER: what key blocks and inventories compare.
    pub fn hash(&self) -> KeyHash {
        self.hash
    }

    /// The key in the form that aws-lc-rs verifies with; fails if the key is not valid.
    pub fn parsed(&self, with: &'static dyn VerificationAlgorithm) -> Result<ParsedPublicKey, SpkiError> {
        let bytes = match &self.key {
            PublicKey::EcP256(b) | PublicKey::EcP384(b) | PublicKey::EcP521(b) | PublicKey::Ed25519(b) => {
                b.clone()
            }
            PublicKey::Rsa { n, e } => rsa_public_key(n, e),
            PublicKey::MlDsa(_, raw) => raw.clone(),
        };
        ParsedPublicKey::new(with, bytes).map_err(|_| SpkiError::Invalid)
    }
}

fn default_verification(key: &PublicKey) -> &'static dyn VerificationAlgorithm {
    match key {
        PublicKey::EcP256(_) => &signature::ECDSA_P256_SHA256_ASN1,
        PublicKey::EcP384(_) => &signature::ECDSA_P384_SHA384_ASN1,
        PublicKey::EcP521(_) => &signature::ECDSA_P521_SHA512_ASN1,
        PublicKey::Ed25519(_) => &signature::ED25519,
        PublicKey::Rsa { .. } => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        PublicKey::MlDsa(set, _) => set.verification(),
    }
}

impl PublicKey {
    /// Of a SubjectPublicKeyInfo that was parsed; whether the key is valid is not looked at.
    pub fn of(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, SpkiError> {
        read(info)
    }

    /// How people call it: `P-256`, `RSA-2048`, …
    pub fn label(&self) -> String {
        match self {
            Self::EcP256(_) => "P-256".into(),
            Self::EcP384(_) => "P-384".into(),
            Self::EcP521(_) => "P-521".into(),
            Self::Ed25519(_) => "Ed25519".into(),
            Self::Rsa { n, .. } => format!("RSA-{}", bits(n)),
            Self::MlDsa(set, _) => set.label().into(),
        }
    }
}

impl std::fmt::Debug for Spki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spki({})", self.key.label())
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.label())
    }
}

/// Length in bits of a big-endian number.
pub fn bits(number: &[u8]) -> usize {
    match number.iter().position(|b| *b != 0) {
        Some(at) => (number.len() - at) * 8 - number[at].leading_zeros() as usize,
        None => 0,
    }
}

fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, SpkiError> {
    let raw = info.subject_public_key.data.as_ref();
    let oid = info.algorithm.algorithm.as_bytes();
    let is = |known: &[u8]| oid == &known[2..];
    if is(OID_EC) {
        let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
        let curve = curve.ok_or(SpkiError::Unsupported)?;
        let (length, make): (usize, fn(Vec<u8>) -> PublicKey) = match curve.as_bytes() {
            c if c == &OID_P256[2..] => (65, PublicKey::EcP256),
            c if c == &OID_P384[2..] => (97, PublicKey::EcP384),
            c if c == &OID_P521[2..] => (133, PublicKey::EcP521),
            _ => return Err(SpkiError::Unsupported),
        };
        // Compressed and hybrid points are legal X9.62 but no client sends them; one form only.
        if raw.len() != length || raw[0] != 4 {
            return Err(SpkiError::Invalid);
        }
        Ok(make(raw.to_vec()))
    } else if is(OID_ED25519) {
        if raw.len() != 32 {
            return Err(SpkiError::Invalid);
        }
        Ok(PublicKey::Ed25519(raw.to_vec()))
    } else if is(OID_RSA) {
        let (rest, rsa) =
            x509_parser::public_key::RSAPublicKey::from_der(raw).map_err(|_| SpkiError::Malformed)?;
        if !rest.is_empty() {
            return Err(SpkiError::Malformed);
        }
        let trim = |number: &[u8]| -> Vec<u8> {
            let start = number.iter().position(|b| *b != 0).unwrap_or(number.len());
            number[start..].to_vec()
        };
        Ok(PublicKey::Rsa { n: trim(rsa.modulus), e: trim(rsa.exponent) })
    } else if let Some(set) = ParameterSet::of_oid(oid) {
        if raw.len() != set.public_key_bytes() {
            return Err(SpkiError::Invalid);
        }
        Ok(PublicKey::MlDsa(set, raw.to_vec()))
    } else {
        Err(SpkiError::Unsupported)
    }
}

/// RSAPublicKey (RFC 8017 A.1.1).
pub fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::unsigned_integer(n), &der::unsigned_integer(e)])
}

fn encode(key: &PublicKey) -> Vec<u8> {
    let (algorithm, bits) = match key {
        PublicKey::EcP256(point) => (der::sequence(&[OID_EC, OID_P256]), der::bit_string(point)),
        PublicKey::EcP384(point) => (der::sequence(&[OID_EC, OID_P384]), der::bit_string(point)),
        PublicKey::EcP521(point) => (der::sequence(&[OID_EC, OID_P521]), der::bit_string(point)),
        PublicKey::Ed25519(raw) => (der::sequence(&[OID_ED25519]), der::bit_string(raw)),
        PublicKey::Rsa { n, e } => (der::sequence(&[OID_RSA, NULL]), der::bit_string(&rsa_public_key(n, e))),
        PublicKey::MlDsa(set, raw) => (set.algorithm_der().to_vec(), der::bit_string(raw)),
    };
    der::sequence(&[&algorithm, &bits])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::PublicKeyData;

    #[test]
    fn every_kind_round_trips_through_an_independent_encoder() {
        for algorithm in [
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
            &rcgen::PKCS_ECDSA_P521_SHA512,
            &rcgen::PKCS_ED25519,
            &rcgen::PKCS_RSA_SHA256,
            &rcgen::PKCS_ML_DSA_44,
            &rcgen::PKCS_ML_DSA_65,
            &rcgen::PKCS_ML_DSA_87,
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let der = key.subject_public_key_info();
            let spki = Spki::parse(&der).unwrap();
            assert_eq!(spki.der(), der);
            assert_eq!(Spki::from_key(spki.key().clone()), spki);
        }
    }

    #[test]
    fn refuses_points_off_the_curve_and_junk() {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut der = key.subject_public_key_info();
        assert_eq!(Spki::parse(&der[..der.len() - 1]), Err(SpkiError::Malformed));
        let mut longer = der.clone();
        longer.push(0);
        assert_eq!(Spki::parse(&longer), Err(SpkiError::Malformed));
        *der.last_mut().unwrap() ^= 1;
        assert_eq!(Spki::parse(&der), Err(SpkiError::Invalid));
        assert_eq!(Spki::parse(b"junk"), Err(SpkiError::Malformed));
        // The all-zero point, and P-224.
        let zero = Spki::from_key(PublicKey::EcP256([vec![4], vec![0; 64]].concat()));
        assert_eq!(Spki::parse(zero.der()), Err(SpkiError::Invalid));
        let p224 = der::sequence(&[
            &der::sequence(&[OID_EC, &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x21]]),
            &der::bit_string(&[4; 57]),
        ]);
        assert_eq!(Spki::parse(&p224), Err(SpkiError::Unsupported));
    }

    #[test]
    fn ml_dsa_keys_have_no_parameters_and_one_length() {
        for set in ParameterSet::ALL {
            let raw = vec![0x5a; set.public_key_bytes()];
            let spki = Spki::from_key(PublicKey::MlDsa(set, raw.clone()));
            assert_eq!(Spki::parse(spki.der()), Ok(spki.clone()));
            assert_eq!(spki.key().label(), set.label());
            for length in [0, 1312, 1952, 2592, raw.len() - 1, raw.len() + 1] {
                if length != raw.len() {
                    let other = Spki::from_key(PublicKey::MlDsa(set, vec![0x5a; length]));
                    assert_eq!(Spki::parse(other.der()), Err(SpkiError::Invalid), "{set:?} {length}");
                }
            }
            let with_null = der::sequence(&[&set.algorithm_der()[2..], NULL]);
            let der = der::sequence(&[&with_null, &der::bit_string(&raw)]);
            assert_eq!(Spki::parse(&der), Err(SpkiError::Malformed));
        }
    }

    #[test]
    fn bit_lengths() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 1]), 1);
        assert_eq!(bits(&[0x80, 0]), 16);
        assert_eq!(bits(&[1, 0, 1]), 17);
    }
}
