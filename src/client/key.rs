//! Account keys and the JWS they sign (RFC 8555 §6.2).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};

use crate::jose::base64url;
use crate::jose::jwk::{Jwk, Thumbprint};
use crate::x509::spki::PublicKey;

/// Kinds of keys, of accounts and of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl KeyKind {
    /// One row per kind: the kind and its name on the command line.
    pub const TABLE: &[(Self, &'static str)] =
        &[(Self::P256, "p256"), (Self::P384, "p384"), (Self::Ed25519, "ed25519"), (Self::Rsa2048, "rsa2048")];

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, text)| *text == name).map(|(kind, _)| *kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// `alg` of a JWS signed with such a key.
    fn jws_algorithm(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::Ed25519 => "EdDSA",
            Self::Rsa2048 => "RS256",
        }
    }
}

/// The library could not make or use a key.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the key cannot be made or used: {0}")]
pub struct KeyError(pub String);

pub(crate) fn key_error(error: impl std::fmt::Display) -> KeyError {
    KeyError(error.to_string())
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// An account's key.
pub struct AccountKey {
    kind: KeyKind,
    pair: Pair,
    random: SystemRandom,
    jwk: String,
    thumbprint: Thumbprint,
}

/// Whom a request says it is from.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// The bare key (`jwk`): newAccount only.
    Key,
    /// The account's URL (`kid`).
    Account(&'a str),
}

impl AccountKey {
    /// A fresh key.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let (pair, public) = match kind {
            KeyKind::P256 => ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING), PublicKey::EcP256)?,
            KeyKind::P384 => ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING), PublicKey::EcP384)?,
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(key_error)?;
                let public = PublicKey::Ed25519(pair.public_key().as_ref().to_vec());
                (Pair::Ed25519(pair), public)
            }
            KeyKind::Rsa2048 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(key_error)?;
                let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                let e = pair.public_key().exponent().big_endian_without_leading_zero().to_vec();
                (Pair::Rsa(Box::new(pair)), PublicKey::Rsa { n, e })
            }
        };
        let public = Jwk::from_key(public).map_err(key_error)?;
        let (jwk, thumbprint) = (public.to_json(), public.thumbprint());
        Ok(Self { kind, pair, random: SystemRandom::new(), jwk, thumbprint })
    }

    /// Its SHA-256 thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// A flattened JWS over `payload` (empty for POST-as-GET), ready to be sent.
    pub fn jws(&self, from: Sender<'_>, nonce: &str, url: &str, payload: &str) -> Result<String, KeyError> {
        let alg = self.kind.jws_algorithm();
        let (url_json, nonce_json) = (json_string(url), json_string(nonce));
        let header = match from {
            Sender::Key => {
                format!(r#"{{"alg":"{alg}","jwk":{},"nonce":{nonce_json},"url":{url_json}}}"#, self.jwk)
            }
            Sender::Account(kid) => {
                let kid = json_string(kid);
                format!(r#"{{"alg":"{alg}","kid":{kid},"nonce":{nonce_json},"url":{url_json}}}"#)
            }
        };
        let protected = base64url(header.as_bytes());
        let payload = base64url(payload.as_bytes());
        let signature = base64url(&self.sign(format!("{protected}.{payload}").as_bytes())?);
        Ok(format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(match &self.pair {
            Pair::Ec(pair) => pair.sign(&self.random, message).map_err(key_error)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature).map_err(key_error)?;
                signature
            }
        })
    }
}

fn ec(
    pair: Result<EcdsaKeyPair, aws_lc_rs::error::Unspecified>,
    public: fn(Vec<u8>) -> PublicKey,
) -> Result<(Pair, PublicKey), KeyError> {
    let pair = pair.map_err(key_error)?;
    let point = pair.public_key().as_ref().to_vec();
    Ok((Pair::Ec(pair), public(point)))
}

/// A JSON string.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccountKey({}, {})", self.kind.name(), self.thumbprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jws::{KeyRef, Unverified};

    #[test]
    fn our_own_reader_verifies_what_every_kind_signs() {
        for (kind, name) in KeyKind::TABLE {
            assert_eq!(KeyKind::parse(name), Some(*kind));
            assert_eq!(kind.name(), *name);
            let key = AccountKey::generate(*kind).unwrap();
            let body = key.jws(Sender::Key, "n-1", "https://a.test/x", "{}").unwrap();
            let parsed = Unverified::parse(body.as_bytes()).unwrap();
            assert_eq!((parsed.nonce.as_deref(), parsed.url.as_str()), (Some("n-1"), "https://a.test/x"));
            let KeyRef::Jwk(jwk) = &parsed.key else { panic!("no jwk") };
            let jwk = jwk.parse().unwrap();
            assert_eq!(jwk.thumbprint(), key.thumbprint());
            assert_eq!(parsed.verify(&jwk), Some(b"{}".to_vec()));
            let body = key.jws(Sender::Account("k\"id"), "n", "u", "").unwrap();
            let parsed = Unverified::parse(body.as_bytes()).unwrap();
            assert_eq!(parsed.key, KeyRef::Kid("k\"id".into()));
            assert_eq!(parsed.verify(&jwk), Some(Vec::new()));
        }
        assert_eq!(KeyKind::parse("rsa"), None);
    }
}
