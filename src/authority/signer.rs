//! What a keystore offers to the issuing core.

use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::Spki;

/// Signature algorithms this CA signs with. The algorithm follows from the issuer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ecdsa-with-SHA256, key on P-256.
    EcdsaP256Sha256,
    /// ecdsa-with-SHA384, key on P-384.
    EcdsaP384Sha384,
    /// id-Ed25519.
    Ed25519,
    /// sha256WithRSAEncryption.
    RsaPkcs1Sha256,
    /// id-ml-dsa-44 and the like (RFC 9881).
    MlDsa(ParameterSet),
}

/// Whether a signature may be made on a reactor thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Tens of microseconds, in process.
    Quick,
    /// Milliseconds or out of process: never on a reactor thread, and the order is committed as
    /// processing first.
    Slow,
}

/// A private key that signs to-be-signed certificates. Implementations live in
/// [`crate::keystore`]; only [`crate::authority::sign`] calls [`Signer::sign`].
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &Spki;
    /// How it signs.
    fn algorithm(&self) -> SignatureAlgorithm;
    /// How long it takes.
    fn cost(&self) -> Cost;
    /// Signs the DER of a to-be-signed certificate; returns the signature as it stands in the
    /// certificate's BIT STRING (DER ECDSA-Sig-Value for ECDSA).
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// The key could not sign; a server fault, worth another try.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the signing key could not sign: {0}")]
pub struct SignError(pub String);
