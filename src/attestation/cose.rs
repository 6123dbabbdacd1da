//! Signature algorithms by their COSE numbers (RFC 9053, RFC 8812). SHA-1 is not among them.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, VerificationAlgorithm};

use super::Refused;
use crate::x509::spki::{PublicKey, Spki};

/// An algorithm that fits its key.
pub(super) struct Algorithm {
    verification: &'static dyn VerificationAlgorithm,
    /// Its hash.
    pub(super) hash: &'static digest::Algorithm,
}

impl Algorithm {
    /// The algorithm of that number, if it is one of the key.
    pub(super) fn of(number: i64, key: &PublicKey) -> Result<Self, Refused> {
        let (verification, hash): (&'static dyn VerificationAlgorithm, _) = match (number, key) {
            (-7, PublicKey::EcP256(_)) => (&signature::ECDSA_P256_SHA256_ASN1, &digest::SHA256),
            (-35, PublicKey::EcP384(_)) => (&signature::ECDSA_P384_SHA384_ASN1, &digest::SHA384),
            (-36, PublicKey::EcP521(_)) => (&signature::ECDSA_P521_SHA512_ASN1, &digest::SHA512),
            (-257, PublicKey::Rsa { .. }) => (&signature::RSA_PKCS1_2048_8192_SHA256, &digest::SHA256),
            (-258, PublicKey::Rsa { .. }) => (&signature::RSA_PKCS1_2048_8192_SHA384, &digest::SHA384),
            (-259, PublicKey::Rsa { .. }) => (&signature::RSA_PKCS1_2048_8192_SHA512, &digest::SHA512),
            _ => return Err(Refused::Algorithm),
        };
        Ok(Self { verification, hash })
    }

    /// Whether `key` made `signature` (ECDSA: in DER) over `message`.
    pub(super) fn verify(&self, key: &Spki, message: &[u8], signature: &[u8]) -> Result<(), Refused> {
        let key = key.parsed(self.verification)?;
        key.verify_sig(message, signature).map_err(|_| Refused::Signature)
    }
}
