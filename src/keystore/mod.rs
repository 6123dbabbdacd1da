//! Where private keys live, behind [`crate::authority::signer::Signer`].

pub mod file;
pub mod password;
mod pbes2;

use std::sync::Arc;

use self::file::{FileKey, KeyFileError};
use self::password::Password;
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
    /// A kind of keystore that this binary is without.
    #[error("{0}: this mayfly has no such keystore built in")]
    NotBuiltIn(String),
}

/// Opens a key wherever it is; `password` is a key file's, or a token's PIN. What is returned has
/// signed once, or is known by its public half only until it does ([`crate::authority::issuer::Issuer`]
/// holds that against the certificate). Blocks: call it at a start, or off the reactor.
pub fn open(source: &KeySource, password: Option<&PasswordSource>) -> Result<Arc<dyn Signer>, KeystoreError> {
    let password = password.map(Password::open).transpose().map_err(KeystoreError::Password)?;
    match source {
        KeySource::File(path) => Ok(Arc::new(FileKey::load(path, password.as_ref())?)),
        KeySource::Pkcs11(_) | KeySource::AwsKms(_) => Err(KeystoreError::NotBuiltIn(source.to_string())),
    }
}
