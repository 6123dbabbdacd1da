//! Keys in tokens behind PKCS#11 modules (OASIS PKCS #11 v2.40 and later): HSMs, smart cards, SoftHSM,
//! and TPMs by `libtpm2_pkcs11`. The key is made in the token and never leaves it.
//!
//! A token may restart under a running server: `pool` opens its sessions anew then, and logs in
//! again. The PIN is read from its place each time; kept is a hash of one that was refused.

mod generate;
mod module;
mod object;
mod pin;
mod pool;
mod seal;
mod sessions;

use std::fmt;
use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};

pub use generate::{Kind, Use, generate};
pub use module::never_load;
use pool::Pool;
pub use seal::{unwrap, wrap};

use super::file::KeyFileError;
use crate::authority::key_source::{PasswordSource, Pkcs11Uri};
use crate::authority::sign::check_signature;
use crate::authority::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::x509::der;
use crate::x509::spki::{PublicKey, Spki, bits};

/// Why a token's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Pkcs11Error {
    /// A static binary loads nothing.
    #[error(
        "this mayfly is a static binary, as in the container image, and can load no PKCS#11 module; use a \
         dynamically linked build (cargo build --release), or a key in a KMS"
    )]
    Static,
    /// The module's file.
    #[error("the PKCS#11 module {} cannot be loaded: {reason}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's word.
        reason: String,
    },
    /// No token fits.
    #[error("no token is {wanted}; {} has {found}", path.display())]
    NoToken {
        /// The module.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// More than one token fits.
    #[error("{count} tokens of {} are {wanted}; add serial=", path.display())]
    SeveralTokens {
        /// The module.
        path: PathBuf,
        /// What was looked for.
        wanted: String,
        /// How many.
        count: usize,
    },
    /// The PIN's place.
    #[error("the PIN of the token: {0}")]
    PinSource(KeyFileError),
    /// There is no PIN.
    #[error(
        "the token wants a PIN: write it to a file of mode 0600 and name that with pin-source= in the URI \
         or with password_file, or use password_env or password_credential"
    )]
    NoPin,
    /// The token refused the PIN; it is not sent again, because tokens lock after a few wrong ones.
    #[error(
        "the token refuses the PIN ({0}); this process does not send that PIN again, but each start and each \
         `mayfly check-config` does, and tokens lock after a few: put the right one in its place first"
    )]
    WrongPin(String),
    /// No key fits.
    #[error("the token has no private key with {0}; `mayfly key generate` makes one")]
    NoKey(String),
    /// More than one key fits.
    #[error("{count} private keys of the token have {wanted}; name one by both object= and id=")]
    SeveralKeys {
        /// What was looked for.
        wanted: String,
        /// How many.
        count: usize,
    },
    /// A new key's name is taken.
    #[error("the token has a key with {0} already; nothing was changed")]
    Exists(String),
    /// The key is not of a kind that this CA signs with, or its public half is not to be had.
    #[error("the token's key cannot be used: {0}")]
    Key(String),
    /// Every session is in use, for longer than is waited.
    #[error("no session with the token came free in {0} s")]
    Busy(u64),
    /// The module is being started anew, or cannot be because of calls that do not return.
    #[error("the token's module did not come free in {0} s; if this stays so, restart mayfly")]
    Restarting(u64),
    /// A call of the module's failed.
    #[error("{}", call(.0))]
    Call(#[from] Error),
}

/// The function and the code's name; the standard's explanation of the code is a paragraph.
fn call(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("the token's module failed: {function} says {code:?}"),
        other => format!("the token's module failed: {other}"),
    }
}

impl Pkcs11Error {
    /// Whether sessions opened anew, or a module initialized anew, may help: what is seen when a token
    /// restarts, is taken out, or its connection breaks.
    fn is_lost(&self) -> bool {
        match self {
            Self::NoToken { .. } => true,
            Self::Call(Error::Pkcs11(code, _)) => matches!(
                code,
                RvError::SessionHandleInvalid
                    | RvError::SessionClosed
                    | RvError::ObjectHandleInvalid
                    | RvError::KeyHandleInvalid
                    | RvError::DeviceRemoved
                    | RvError::DeviceError
                    | RvError::TokenNotPresent
                    | RvError::TokenNotRecognized
                    | RvError::SlotIdInvalid
                    | RvError::UserNotLoggedIn
                    | RvError::CryptokiNotInitialized
                    | RvError::GeneralError
                    | RvError::FunctionFailed
            ),
            Self::Static
            | Self::Load { .. }
            | Self::SeveralTokens { .. }
            | Self::PinSource(_)
            | Self::NoPin
            | Self::WrongPin(_)
            | Self::NoKey(_)
            | Self::SeveralKeys { .. }
            | Self::Exists(_)
            | Self::Key(_)
            | Self::Busy(_)
            | Self::Restarting(_)
            | Self::Call(_) => false,
        }
    }
}

/// A private key in a token.
pub struct TokenKey {
    pool: Pool,
    spki: Spki,
    algorithm: SignatureAlgorithm,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Finds the key, reads its public half from the token, and has it sign once.
    pub fn open(uri: &Pkcs11Uri, pin: Option<&PasswordSource>) -> Result<Self, Pkcs11Error> {
        let pool = Pool::new(uri, pin)?;
        let (public, secrecy) = pool.with_key(|session, key| {
            Ok((object::public_key(session, key)?, object::secrecy(session, key)?))
        })?;
        if !secrecy.kept {
            tracing::warn!(key = %uri, "this key can be taken out of its token; `mayfly key generate` makes one that cannot");
        }
        let algorithm = algorithm(&public)?;
        let key = Self { pool, spki: Spki::from_key(public), algorithm };
        const TEXT: &[u8] = b"mayfly: do the halves of this key belong together?";
        let signature = key.signature(TEXT)?;
        check_signature(&key, TEXT, &signature).map_err(|error| Pkcs11Error::Key(error.0))?;
        Ok(key)
    }

    fn signature(&self, tbs: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
        let (mechanism, data) = match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => (Mechanism::Ecdsa, digest(&SHA256, tbs).as_ref().to_vec()),
            SignatureAlgorithm::EcdsaP384Sha384 => (Mechanism::Ecdsa, digest(&SHA384, tbs).as_ref().to_vec()),
            SignatureAlgorithm::Ed25519 => {
                (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), tbs.to_vec())
            }
            SignatureAlgorithm::RsaPkcs1Sha256 => {
                (Mechanism::RsaPkcs, [SHA256_DIGEST_INFO, digest(&SHA256, tbs).as_ref()].concat())
            }
            // CKM_ML_DSA is of PKCS #11 v3.2; `algorithm` lets no such key in.
            SignatureAlgorithm::MlDsa(_) => {
                return Err(Pkcs11Error::Key("ML-DSA keys in tokens are not supported".to_owned()));
            }
        };
        let raw = self.pool.with_key(|session, key| Ok(session.sign(&mechanism, key, &data)?))?;
        match self.algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => ecdsa_der(&raw, 32),
            SignatureAlgorithm::EcdsaP384Sha384 => ecdsa_der(&raw, 48),
            SignatureAlgorithm::Ed25519
            | SignatureAlgorithm::RsaPkcs1Sha256
            | SignatureAlgorithm::MlDsa(_) => Ok(raw),
        }
    }
}

impl Signer for TokenKey {
    fn public_key(&self) -> &Spki {
        &self.spki
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn cost(&self) -> Cost {
        Cost::Slow
    }
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signature(tbs).map_err(|error| SignError(error.to_string()))
    }
}

/// The DigestInfo of a SHA-256 digest up to the digest itself (RFC 8017 §9.2, note 1).
const SHA256_DIGEST_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// Tokens give r and s one after the other (PKCS #11 v2.40 §2.3.1); certificates have an
/// ECDSA-Sig-Value.
fn ecdsa_der(raw: &[u8], half: usize) -> Result<Vec<u8>, Pkcs11Error> {
    if raw.len() != 2 * half {
        return Err(Pkcs11Error::Key(format!(
            "its signature has {} bytes instead of {}",
            raw.len(),
            2 * half
        )));
    }
    let (r, s) = raw.split_at(half);
    Ok(der::sequence(&[&der::unsigned_integer(r), &der::unsigned_integer(s)]))
}

/// How a key of this kind signs.
pub(super) fn algorithm(key: &PublicKey) -> Result<SignatureAlgorithm, Pkcs11Error> {
    match key {
        PublicKey::EcP256(_) => Ok(SignatureAlgorithm::EcdsaP256Sha256),
        PublicKey::EcP384(_) => Ok(SignatureAlgorithm::EcdsaP384Sha384),
        PublicKey::Ed25519(_) => Ok(SignatureAlgorithm::Ed25519),
        PublicKey::Rsa { n, .. } if (2048..=4096).contains(&bits(n)) => {
            Ok(SignatureAlgorithm::RsaPkcs1Sha256)
        }
        PublicKey::EcP521(_) | PublicKey::Rsa { .. } | PublicKey::MlDsa(..) => {
            Err(Pkcs11Error::Key(format!(
                "it is {}; this CA signs by tokens with P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits",
                key.label()
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_become_der() {
        let mut raw = [0; 64];
        raw[31] = 1;
        raw[32] = 0x80;
        let der = ecdsa_der(&raw, 32).unwrap();
        assert_eq!(der[..8], [0x30, 38, 2, 1, 1, 2, 33, 0]);
        assert!(ecdsa_der(&raw[1..], 32).is_err() && ecdsa_der(&raw, 48).is_err());
    }

    #[test]
    fn what_cannot_be_loaded_says_so() {
        let uri = |path: &str| Pkcs11Uri { module_path: path.into(), ..Pkcs11Uri::default() };
        for path in ["/no/such/module.so", "/etc/passwd"] {
            let error = TokenKey::open(&uri(path), None).unwrap_err();
            assert!(matches!(error, Pkcs11Error::Load { .. } | Pkcs11Error::Static), "{error}");
            assert!(error.to_string().contains(path) || matches!(error, Pkcs11Error::Static), "{error}");
        }
    }
}
