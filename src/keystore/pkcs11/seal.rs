//! Data keys under an RSA key of a token's: RSAES-OAEP, with SHA-1, which is all that some tokens have
//! (RFC 8017 §7.1: no collision matters there). Encrypted here, by the public half; decrypted in the token.

use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use zeroize::Zeroizing;

use super::pool::Pool;
use super::{Pkcs11Error, object};
use crate::authority::key_source::{PasswordSource, Pkcs11Uri};
use crate::x509::spki::{PublicKey, Spki, bits};

/// Encrypts a data key.
pub fn wrap(uri: &Pkcs11Uri, pin: Option<&PasswordSource>, data: &[u8]) -> Result<Vec<u8>, Pkcs11Error> {
    let public = Pool::new(uri, pin)?.with_key(object::public_key)?;
    match &public {
        PublicKey::Rsa { n, .. } if bits(n) >= 2048 => {}
        other => {
            return Err(Pkcs11Error::Key(format!(
                "it is {}; keys are sealed by RSA of 2048 bits or more: mayfly key generate URI --kind rsa-2048 \
                 --for-sealing",
                other.label()
            )));
        }
    }
    let failed = || Pkcs11Error::Key("the data key could not be encrypted by it".to_owned());
    let key = PublicEncryptingKey::from_der(Spki::from_key(public).der()).map_err(|_| failed())?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed())?;
    let mut wrapped = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, data, &mut wrapped, None).map_err(|_| failed())?.len();
    wrapped.truncate(length);
    Ok(wrapped)
}

/// Has the token decrypt a data key.
pub fn unwrap(
    uri: &Pkcs11Uri,
    pin: Option<&PasswordSource>,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Pkcs11Error> {
    let oaep = PkcsOaepParams::new(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, PkcsOaepSource::empty());
    let mechanism = Mechanism::RsaPkcsOaep(oaep);
    let pool = Pool::new(uri, pin)?;
    pool.with_key(|session, key| Ok(Zeroizing::new(session.decrypt(&mechanism, key, wrapped)?)))
}
