//! Encrypted PKCS#8 (RFC 5958, PBES2 of RFC 8018): the structures are the `pkcs5` crate's, the
//! cryptography is AWS-LC's.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2::{self, derive};
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode, Encode, ErrorKind, Reader, SliceReader};
use pkcs8::pkcs5::EncryptionScheme as Scheme;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, PBES2_OID, Parameters, Pbkdf2Params, Pbkdf2Prf};
use pkcs8::{AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, ObjectIdentifier};
use zeroize::Zeroizing;

use super::password::Password;
use crate::entropy::Entropy;

/// PBKDF2-HMAC-SHA256 rounds of the files we write (OWASP's recommendation of 2023).
pub(super) const ITERATIONS: u32 = 600_000;

/// Rounds beyond this (some ten seconds) are taken for a damaged file.
const MOST_ITERATIONS: u32 = 20_000_000;

/// Why a file could not be decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DecryptError {
    /// Not an EncryptedPrivateKeyInfo.
    Malformed(String),
    /// A scheme we do not read.
    Unsupported(String),
    /// The padding is wrong: the password is, most likely.
    WrongPassword,
}

/// Encrypts a PrivateKeyInfo; the result is the DER of an EncryptedPrivateKeyInfo.
pub(super) fn encrypt(plain: &[u8], password: &Password, entropy: &dyn Entropy) -> Result<Vec<u8>, String> {
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    entropy.fill(&mut salt);
    entropy.fill(&mut iv);
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ITERATIONS, &salt, iv)
        .map_err(|error| error.to_string())?;
    let Kdf::Pbkdf2(kdf) = &parameters.kdf else { return Err("the parameters are not PBKDF2's".to_owned()) };
    let key = derive_key(kdf, &AES_256, 32, password).map_err(|error| format!("{error:?}"))?;
    // Room for the padding, so that the plain text is never moved and left behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
    buffer.extend_from_slice(plain);
    PaddedBlockEncryptingKey::cbc_pkcs7(key)
        .and_then(|key| key.less_safe_encrypt(&mut *buffer, EncryptionContext::Iv128(FixedLength::from(iv))))
        .map_err(|_| "AES-256-CBC failed".to_owned())?;
    let data = OctetStringRef::new(&buffer).map_err(|error| error.to_string())?;
    EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data: data }
        .to_der()
        .map_err(|error| error.to_string())
}

/// Decrypts the DER of an EncryptedPrivateKeyInfo. What comes out is not checked to be a key: about
/// one wrong password in 256 ends here with noise.
pub(super) fn decrypt(der: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| match error.kind() {
        ErrorKind::OidUnknown { oid } => DecryptError::Unsupported(format!("algorithm {oid}")),
        _ => match scheme(der) {
            Some(oid) if oid != PBES2_OID => DecryptError::Unsupported(format!("algorithm {oid}")),
            _ => DecryptError::Malformed(error.to_string()),
        },
    })?;
    let parameters = match &info.encryption_algorithm {
        Scheme::Pbes2(parameters) => parameters,
        _ => return Err(DecryptError::Unsupported("PBES1, which is broken".to_owned())),
    };
    let kdf = match &parameters.kdf {
        Kdf::Pbkdf2(kdf) => kdf,
        Kdf::Scrypt(_) => return Err(DecryptError::Unsupported("scrypt".to_owned())),
        _ => return Err(DecryptError::Unsupported("a key derivation other than PBKDF2".to_owned())),
    };
    let (algorithm, length, iv) = match &parameters.encryption {
        EncryptionScheme::Aes128Cbc { iv } => (&AES_128, 16, iv),
        EncryptionScheme::Aes192Cbc { iv } => (&AES_192, 24, iv),
        EncryptionScheme::Aes256Cbc { iv } => (&AES_256, 32, iv),
        _ => return Err(DecryptError::Unsupported("a cipher other than AES-CBC".to_owned())),
    };
    let key = derive_key(kdf, algorithm, length, password)?;
    let mut buffer = Zeroizing::new(info.encrypted_data.as_bytes().to_vec());
    let length = PaddedBlockDecryptingKey::cbc_pkcs7(key)
        .and_then(|key| {
            let context = DecryptionContext::Iv128(FixedLength::from(iv));
            key.decrypt(&mut buffer, context).map(|plain| plain.len())
        })
        .map_err(|_| DecryptError::WrongPassword)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// The encryption algorithm's identifier alone, for those schemes that the full parser refuses.
fn scheme(der: &[u8]) -> Option<ObjectIdentifier> {
    let body = AnyRef::from_der(der).ok()?;
    let algorithm: AlgorithmIdentifierRef<'_> = SliceReader::new(body.value()).ok()?.decode().ok()?;
    Some(algorithm.oid)
}

fn derive_key(
    kdf: &Pbkdf2Params,
    algorithm: &'static Algorithm,
    length: usize,
    password: &Password,
) -> Result<UnboundCipherKey, DecryptError> {
    let prf = match kdf.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(DecryptError::Unsupported(format!("PBKDF2 with PRF {}", other.oid()))),
    };
    if kdf.key_length.is_some_and(|given| usize::from(given) != length) {
        return Err(DecryptError::Malformed("the key length does not fit the cipher".to_owned()));
    }
    let rounds = NonZeroU32::new(kdf.iteration_count)
        .ok_or_else(|| DecryptError::Malformed("the iteration count is zero".to_owned()))?;
    if rounds.get() > MOST_ITERATIONS {
        return Err(DecryptError::Unsupported(format!("PBKDF2 with {rounds} iterations")));
    }
    let mut key = Zeroizing::new(vec![0_u8; length]);
    derive(prf, rounds, kdf.salt.as_bytes(), password.bytes(), &mut key);
    UnboundCipherKey::new(algorithm, &key).map_err(|_| DecryptError::Malformed("the key length".to_owned()))
}
