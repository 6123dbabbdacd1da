//! Where private keys live, behind [`crate::authority::signer::Signer`].

pub mod file;
pub mod kms;
pub mod password;
mod pbes2;
pub mod pkcs11;
pub mod sealed;

use std::path::PathBuf;
use std::sync::Arc;

use self::file::{FileKey, KeyFileError};
use self::kms::{KmsError, KmsKey};
use self::password::Password;
use self::pkcs11::{Pkcs11Error, TokenKey};
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::authority::signer::Signer;

/// Why a key cannot be used. Names its place, and never shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The password, or a token's PIN.
    #[error("{0}")]
    Password(KeyFileError),
    /// A key file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// A key in a token.
    #[error("{key}: {error}")]
    Pkcs11 {
        /// Its URI.
        key: String,
        /// Why.
        error: Pkcs11Error,
    },
    /// A sealed key file.
    #[error(
        "{} is sealed by {with}: {reason}; if that key is lost, put the unsealed key back from its copy and seal \
         it anew (mayfly key seal)", path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The URI of the key that it is sealed by.
        with: String,
        /// Why it does not open.
        reason: String,
    },
    /// A key in a KMS.
    #[error("{key}: {error}")]
    Kms {
        /// Its URI.
        key: String,
        /// Why.
        error: KmsError,
    },
}

/// Opens a key wherever it is; `password` is a key file's, or the PIN of the token that has the key or
/// that it is sealed by. What is returned has
/// signed once, or is known by its public half only until it does ([`crate::authority::issuer::Issuer`]
/// holds that against the certificate). Blocks: call it at a start, or off the reactor.
pub fn open(source: &KeySource, password: Option<&PasswordSource>) -> Result<Arc<dyn Signer>, KeystoreError> {
    match source {
        KeySource::File(path) => {
            if let Some(plain) = sealed::open(path, password)? {
                return Ok(Arc::new(FileKey::of_pkcs8(path, &plain)?));
            }
            let password = password.map(Password::open).transpose().map_err(KeystoreError::Password)?;
            Ok(Arc::new(FileKey::load(path, password.as_ref())?))
        }
        KeySource::Pkcs11(uri) => match TokenKey::open(uri, password) {
            Ok(key) => Ok(Arc::new(key)),
            Err(Pkcs11Error::PinSource(error)) if uri.pin_source.is_none() => {
                Err(KeystoreError::Password(error))
            }
            Err(error) => Err(KeystoreError::Pkcs11 { key: uri.to_string(), error }),
        },
        KeySource::AwsKms(uri) => match KmsKey::open(uri) {
            Ok(key) => Ok(Arc::new(key)),
            Err(error) => Err(KeystoreError::Kms { key: uri.to_string(), error }),
        },
    }
}
