//! Software keys sealed by a key in a token or a KMS: the file has the key encrypted under a data key, and
//! the data key encrypted by the other. A process that may use the other starts unattended, and a copy of
//! the file is worth nothing elsewhere.
//!
//! The PEM text `MAYFLY SEALED PRIVATE KEY` holds a version byte and `Sealed` by postcard. The key is a
//! PrivateKeyInfo (RFC 5958) under AES-256-GCM, with all that stands before it as additional data. The
//! data key is under RSAES-OAEP in tokens (RFC 8017 §7.1; with SHA-1, the one digest that all tokens have,
//! and whose collisions do not matter there), and under the service's own `Encrypt` in a KMS.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::KeystoreError;
use super::file::{Audience, FileKey, KeyFileError, read_plain, read_secret, write_secret};
use super::kms;
use super::password::Password;
use super::pkcs11;
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::entropy::Entropy;

const LABEL: &str = "MAYFLY SEALED PRIVATE KEY";
const VERSION: u8 = 1;

/// The largest key is one of RSA-4096, of 2.4 kB.
const LARGEST_KEY: usize = 16 * 1024;

/// What is authenticated with the key but not secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    /// The URI of the key that the data key is encrypted by.
    with: String,
    /// The data key, encrypted.
    wrapped: Vec<u8>,
    nonce: [u8; NONCE_LEN],
}

/// A sealed key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    header: Header,
    /// With its tag.
    key: Vec<u8>,
}

impl Sealed {
    /// Encrypts a PrivateKeyInfo under `data`, which `wrapped` is.
    fn close(
        plain: &[u8],
        with: &KeySource,
        data: &[u8; 32],
        wrapped: Vec<u8>,
        entropy: &dyn Entropy,
    ) -> Option<Self> {
        let header = Header { with: with.to_string(), wrapped, nonce: entropy.bytes() };
        // Room for the tag, so that the plain text is never moved and left behind.
        let mut key = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
        key.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(header.nonce);
        let cipher = cipher(data)?;
        cipher.seal_in_place_append_tag(nonce, Aad::from(header.aad()?), &mut *key).ok()?;
        Some(Self { header, key: key.to_vec() })
    }

    /// The PrivateKeyInfo; nothing if the data key is another, or anything was changed.
    fn decrypt(&self, data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut key = Zeroizing::new(self.key.clone());
        let nonce = Nonce::assume_unique_for_key(self.header.nonce);
        let cipher = cipher(data)?;
        let length = cipher.open_in_place(nonce, Aad::from(self.header.aad()?), &mut key).ok()?.len();
        key.truncate(length);
        Some(key)
    }

    /// As PEM.
    fn encode(&self) -> Option<String> {
        let body = postcard::to_allocvec(self).ok()?;
        let bytes = [&[VERSION][..], &body].concat();
        pem_rfc7468::encode_string(LABEL, pem_rfc7468::LineEnding::LF, &bytes).ok()
    }

    /// Nothing if the text is a key of another form.
    fn parse(text: &[u8]) -> Option<Result<Self, String>> {
        // The label first: a plain key is not to be decoded into memory that nobody wipes.
        if pem_rfc7468::decode_label(text).ok()? != LABEL {
            return None;
        }
        let Ok((_, bytes)) = pem_rfc7468::decode_vec(text) else {
            return Some(Err("it is damaged".to_owned()));
        };
        let Some((&VERSION, body)) = bytes.split_first() else {
            return Some(Err("it is of a later version of mayfly".to_owned()));
        };
        match postcard::take_from_bytes::<Self>(body) {
            Ok((sealed, [])) if sealed.key.len() <= LARGEST_KEY => Some(Ok(sealed)),
            Ok(_) | Err(_) => Some(Err("it is damaged".to_owned())),
        }
    }
}

impl Header {
    fn aad(&self) -> Option<Vec<u8>> {
        Some([LABEL.as_bytes(), &[VERSION], &postcard::to_allocvec(self).ok()?].concat())
    }
}

fn cipher(data: &[u8]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, data).ok()?))
}

fn failed(path: &Path, with: &str, reason: impl Into<String>) -> KeystoreError {
    KeystoreError::Sealed { path: path.to_owned(), with: with.to_owned(), reason: reason.into() }
}

/// The data key, encrypted.
fn wrap(with: &KeySource, pin: Option<&PasswordSource>, data: &[u8]) -> Result<Vec<u8>, KeystoreError> {
    match with {
        KeySource::Pkcs11(uri) => pkcs11::wrap(uri, pin, data)
            .map_err(|error| KeystoreError::Pkcs11 { key: uri.to_string(), error }),
        KeySource::AwsKms(uri) => {
            kms::wrap(uri, data).map_err(|error| KeystoreError::Kms { key: uri.to_string(), error })
        }
        KeySource::File(path) => Err(not_by_file(path)),
    }
}

fn unwrap(
    with: &KeySource,
    pin: Option<&PasswordSource>,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    match with {
        KeySource::Pkcs11(uri) => pkcs11::unwrap(uri, pin, wrapped)
            .map_err(|error| KeystoreError::Pkcs11 { key: uri.to_string(), error }),
        KeySource::AwsKms(uri) => {
            kms::unwrap(uri, wrapped).map_err(|error| KeystoreError::Kms { key: uri.to_string(), error })
        }
        KeySource::File(path) => Err(not_by_file(path)),
    }
}

fn not_by_file(path: &Path) -> KeystoreError {
    let reason = "a key is sealed by one in a keystore: pkcs11:… or awskms:…".to_owned();
    KeystoreError::File(KeyFileError::Malformed { path: path.to_owned(), reason })
}

/// Seals the key in a file into a new file, by the key at `with`. It is opened again before it is written.
pub fn seal(
    path: &Path,
    password: Option<&Password>,
    with: &KeySource,
    pin: Option<&PasswordSource>,
    out: &Path,
    entropy: &dyn Entropy,
) -> Result<FileKey, KeystoreError> {
    let plain = read_plain(path, password)?;
    let key = FileKey::of_pkcs8(path, &plain)?;
    let data = Zeroizing::new(entropy.bytes::<32>());
    let wrapped = wrap(with, pin, data.as_slice())?;
    let name = with.to_string();
    let crypto = || KeystoreError::File(KeyFileError::Crypto("the key could not be sealed".to_owned()));
    let sealed = Sealed::close(&plain, with, &data, wrapped, entropy).ok_or_else(crypto)?;
    let again = unwrap(with, pin, &sealed.header.wrapped)?;
    if sealed.decrypt(&again).is_none_or(|again| *again != *plain) {
        return Err(failed(path, &name, "what it encrypts it does not decrypt; nothing was written"));
    }
    write_secret(out, sealed.encode().ok_or_else(crypto)?.as_bytes())?;
    Ok(key)
}

/// Whether a file holds a sealed key.
pub fn is_sealed(path: &Path) -> Result<bool, KeystoreError> {
    let text = read_secret(path, Audience::Owner)?;
    Ok(pem_rfc7468::decode_label(&text).is_ok_and(|label| label == LABEL))
}

/// The PrivateKeyInfo of a sealed file; nothing if the file is no sealed one. `pin` opens the token whose
/// key it is sealed by.
pub fn open(path: &Path, pin: Option<&PasswordSource>) -> Result<Option<Zeroizing<Vec<u8>>>, KeystoreError> {
    let text = read_secret(path, Audience::Owner)?;
    let malformed = |reason| KeyFileError::Malformed { path: path.to_owned(), reason };
    let Some(sealed) = Sealed::parse(&text) else { return Ok(None) };
    let sealed = sealed.map_err(malformed)?;
    let name = &sealed.header.with;
    let base = path.parent().unwrap_or(Path::new(""));
    let with = KeySource::parse(name, base).map_err(|error| malformed(error.to_string()))?;
    let data = unwrap(&with, pin, &sealed.header.wrapped)
        .map_err(|error| failed(path, name, format!("that key does not open it: {error}")))?;
    match sealed.decrypt(&data) {
        Some(plain) => Ok(Some(plain)),
        None => Err(failed(path, name, "it was changed, or sealed by another key of the same name")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SeededEntropy;

    fn sealed(plain: &[u8]) -> Sealed {
        let with = "awskms:key-id=alias/seal;region=eu-west-1";
        let with = KeySource::parse(with, Path::new("")).unwrap();
        Sealed::close(plain, &with, &[7; 32], vec![1, 2, 3], &SeededEntropy::new(1)).unwrap()
    }

    #[test]
    fn what_was_changed_anywhere_does_not_open() {
        let good = sealed(b"a private key");
        assert_eq!(good.decrypt(&[7; 32]).unwrap().as_slice(), b"a private key");
        assert!(good.decrypt(&[8; 32]).is_none() && good.decrypt(&[7; 16]).is_none());
        let changes: [fn(&mut Sealed); 5] = [
            |sealed| sealed.header.with.push('x'),
            |sealed| sealed.header.wrapped.push(4),
            |sealed| sealed.header.nonce[0] ^= 1,
            |sealed| sealed.key[0] ^= 1,
            |sealed| sealed.key.truncate(sealed.key.len() - 1),
        ];
        for change in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(bad.decrypt(&[7; 32]).is_none());
        }
    }

    #[test]
    fn other_forms_and_later_versions() {
        assert!(Sealed::parse(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_none());
        assert!(Sealed::parse(b"no PEM").is_none());
        let pem =
            |bytes: &[u8]| pem_rfc7468::encode_string(LABEL, pem_rfc7468::LineEnding::LF, bytes).unwrap();
        let said = |bytes: &[u8]| Sealed::parse(pem(bytes).as_bytes()).unwrap().unwrap_err();
        assert!(said(&[2, 0, 0]).contains("later version"));
        assert!(said(&[VERSION, 0xff]).contains("damaged"));
        let odd = format!("-----BEGIN {LABEL}-----\nA\n-----END {LABEL}-----\n");
        assert!(Sealed::parse(odd.as_bytes()).unwrap().unwrap_err().contains("damaged"));
    }

    proptest! {
        #[test]
        fn files_read_back(plain in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let sealed = sealed(&plain);
            let text = sealed.encode().unwrap();
            let again = Sealed::parse(text.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(again.decrypt(&[7; 32]).unwrap().to_vec(), plain);
            prop_assert_eq!(again, sealed);
        }
    }
}
