//! Which keys may be certified.

use crate::x509::spki::{PublicKey, bits};
use crate::x509::weak::{self, Weakness};

/// Why a key may not be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Size out of bounds.
    #[error("the RSA key has {0} bits: 2048 to 8192 are accepted")]
    RsaSize(usize),
    /// The key that would sign it.
    #[error("it is the issuer's own key")]
    Issuer,
    /// No secret.
    #[error("{0}")]
    Weak(#[from] Weakness),
}

/// Checks a key: P-256, P-384, P-521, Ed25519, ML-DSA, or RSA of 2048 to 8192 bits that is not
/// known to be weak.
pub fn check_key(key: &PublicKey) -> Result<(), KeyRefusal> {
    match key {
        PublicKey::EcP256(_) | PublicKey::EcP384(_) | PublicKey::EcP521(_) | PublicKey::MlDsa(..) => Ok(()),
        PublicKey::Ed25519(point) => Ok(weak::check_ed25519(point)?),
        PublicKey::Rsa { n, e } => {
            let size = bits(n);
            if !(2048..=8192).contains(&size) {
                return Err(KeyRefusal::RsaSize(size));
            }
            Ok(weak::check_rsa(n, e)?)
        }
    }
}
