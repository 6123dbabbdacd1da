//! Public keys as JSON (RFC 7517, RFC 7518 §6, RFC 8037), and their thumbprints (RFC 7638).

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

use super::{base64url, from_base64url};
use crate::x509::der::{sequence, unsigned_integer};
use crate::x509::spki::{PublicKey, Spki, bits};
use crate::x509::weak::{self, Weakness};

/// Signature algorithms of JWS that this server verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// One row per algorithm: the variant and its `alg` (RFC 7518 §3.1, RFC 8037 §3.1).
    pub const TABLE: &[(Self, &'static str)] =
        &[(Self::Es256, "ES256"), (Self::Es384, "ES384"), (Self::EdDsa, "EdDSA"), (Self::Rs256, "RS256")];

    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, text)| *text == name).map(|(algorithm, _)| *algorithm)
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &signature::ECDSA_P256_SHA256_ASN1,
            Self::Es384 => &signature::ECDSA_P384_SHA384_ASN1,
            Self::EdDsa => &signature::ED25519,
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        }
    }

    /// A signature of JWS as the verification takes it: for ECDSA, r and s of fixed length (RFC 7518 §3.4)
    /// become a SEQUENCE (RFC 3279 §2.2.3). aws-lc-rs can do that too, at ten times the cost.
    /// `None` if it has another length.
    fn signature(self, fixed: &[u8]) -> Option<Cow<'_, [u8]>> {
        let half = match self {
            Self::Es256 => 32,
            Self::Es384 => 48,
            Self::EdDsa | Self::Rs256 => return Some(Cow::Borrowed(fixed)),
        };
        if fixed.len() != 2 * half {
            return None;
        }
        let (r, s) = fixed.split_at(half);
        Some(Cow::Owned(sequence(&[&unsigned_integer(r), &unsigned_integer(s)])))
    }
}

/// Why a JWK is not an acceptable account key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Members missing, doubled, or not base64url of the right length.
    #[error("the JWK is malformed: {0}")]
    Malformed(&'static str),
    /// Unknown `kty` or `crv`.
    #[error("the JWK's key type is not supported: use EC P-256, EC P-384, OKP Ed25519 or RSA")]
    Unsupported,
    /// Private or symmetric members.
    #[error("the JWK carries a private or symmetric key: never send it; make a new key now")]
    Private,
    /// Not a point of its curve, even modulus, and the like.
    #[error("the JWK is not a valid key of its type")]
    Invalid,
    /// Size out of bounds.
    #[error("the RSA key has {0} bits: 2048 to 4096 are accepted")]
    RsaSize(usize),
    /// No secret.
    #[error("{0}")]
    Weak(Weakness),
}

/// A public account key, checked and parsed once.
#[derive(Clone)]
pub struct Jwk {
    spki: Spki,
    algorithm: Algorithm,
    verifier: ParsedPublicKey,
}

#[derive(Deserialize)]
struct Raw {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    k: Option<serde::de::IgnoredAny>,
}

impl Jwk {
    /// Parses the JSON of a public key.
    pub fn parse(json: &str) -> Result<Self, JwkError> {
        // serde would take an array for a struct, member by member.
        if !json.trim_start().starts_with('{') {
            return Err(JwkError::Malformed("it is not a JSON object"));
        }
        let raw: Raw =
            serde_json::from_str(json).map_err(|_| JwkError::Malformed("a member is missing or doubled"))?;
        if raw.d.is_some() || raw.k.is_some() {
            return Err(JwkError::Private);
        }
        let key = match (raw.kty.as_str(), raw.crv.as_deref()) {
            ("EC", Some("P-256")) => PublicKey::EcP256(point(&raw, 32)?),
            ("EC", Some("P-384")) => PublicKey::EcP384(point(&raw, 48)?),
            ("OKP", Some("Ed25519")) => PublicKey::Ed25519(member(raw.x.as_deref(), "x", Some(32))?),
            ("RSA", _) => {
                PublicKey::Rsa { n: number(raw.n.as_deref(), "n")?, e: number(raw.e.as_deref(), "e")? }
            }
            _ => return Err(JwkError::Unsupported),
        };
        if let PublicKey::Rsa { n, e } = &key {
            let size = bits(n);
            if !(2048..=4096).contains(&size) {
                return Err(JwkError::RsaSize(size));
            }
            weak::check_rsa(n, e).map_err(JwkError::Weak)?;
        }
        if let PublicKey::Ed25519(point) = &key {
            weak::check_ed25519(point).map_err(JwkError::Weak)?;
        }
        Self::from_key(key)
    }

    /// A key whose policy was checked before (read back from the store).
    pub fn from_key(key: PublicKey) -> Result<Self, JwkError> {
        let algorithm = match key {
            PublicKey::EcP256(_) => Algorithm::Es256,
            PublicKey::EcP384(_) => Algorithm::Es384,
            PublicKey::Ed25519(_) => Algorithm::EdDsa,
            PublicKey::Rsa { .. } => Algorithm::Rs256,
            PublicKey::EcP521(_) | PublicKey::MlDsa(..) => return Err(JwkError::Unsupported),
        };
        let spki = Spki::from_key(key);
        let verifier = spki.parsed(algorithm.verification()).map_err(|_| JwkError::Invalid)?;
        Ok(Self { spki, algorithm, verifier })
    }

    /// The key.
    pub fn spki(&self) -> &Spki {
        &self.spki
    }

    /// The one algorithm this key is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies a JWS signature (ECDSA: r and s, fixed length).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let signature = self.algorithm.signature(signature);
        signature.is_some_and(|signature| self.verifier.verify_sig(message, &signature).is_ok())
    }

    /// The canonical JSON (RFC 7638 §3): required members only, in lexicographic order.
    pub fn to_json(&self) -> String {
        fn halves(point: &[u8]) -> (String, String) {
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            (base64url(x), base64url(y))
        }
        match self.spki.key() {
            PublicKey::EcP256(point) => {
                let (x, y) = halves(point);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            PublicKey::EcP384(point) | PublicKey::EcP521(point) => {
                let (x, y) = halves(point);
                format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            PublicKey::Ed25519(x) => {
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(x))
            }
            PublicKey::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(e), base64url(n))
            }
            // No account has one: `from_key` refuses it.
            PublicKey::MlDsa(set, raw) => {
                format!(r#"{{"alg":"{}","kty":"AKP","pub":"{}"}}"#, set.label(), base64url(raw))
            }
        }
    }

    /// SHA-256 thumbprint (RFC 7638).
    pub fn thumbprint(&self) -> Thumbprint {
        let mut out = [0; 32];
        out.copy_from_slice(digest(&SHA256, self.to_json().as_bytes()).as_ref());
        Thumbprint(out)
    }
}

impl PartialEq for Jwk {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for Jwk {}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jwk({:?})", self.algorithm)
    }
}

/// An account key's SHA-256 thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 32]);

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url(&self.0))
    }
}

fn member(text: Option<&str>, name: &'static str, length: Option<usize>) -> Result<Vec<u8>, JwkError> {
    let bytes = text.and_then(from_base64url).ok_or(JwkError::Malformed(name))?;
    match length {
        Some(length) if bytes.len() != length => Err(JwkError::Malformed(name)),
        _ => Ok(bytes),
    }
}

fn number(text: Option<&str>, name: &'static str) -> Result<Vec<u8>, JwkError> {
    let bytes = member(text, name, None)?;
    // Base64urlUInt has no leading zeros (RFC 7518 §2): one key, one thumbprint.
    if bytes.first().is_none_or(|first| *first == 0) { Err(JwkError::Malformed(name)) } else { Ok(bytes) }
}

fn point(raw: &Raw, length: usize) -> Result<Vec<u8>, JwkError> {
    let x = member(raw.x.as_deref(), "x", Some(length))?;
    let y = member(raw.y.as_deref(), "y", Some(length))?;
    Ok([&[4][..], &x, &y].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638 §3.1.
    const RFC7638: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
    /// RFC 8037 appendix A.
    const RFC8037: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn thumbprints_of_the_rfcs() {
        let rsa = Jwk::parse(RFC7638).unwrap();
        assert_eq!(rsa.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let ed = Jwk::parse(RFC8037).unwrap();
        assert_eq!(ed.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        for key in [rsa, ed] {
            assert_eq!(Jwk::parse(&key.to_json()).unwrap(), key);
            assert_eq!(Jwk::from_key(key.spki().key().clone()).unwrap(), key);
        }
    }

    #[test]
    fn refusals() {
        let x = base64url(&[1; 32]);
        let rows = [
            (r#"{"kty":"oct","k":"AA"}"#.to_owned(), JwkError::Private),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}","d":"{x}"}}"#), JwkError::Private),
            (format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}}"#), JwkError::Invalid),
            (format!(r#"{{"kty":"EC","crv":"P-521","x":"{x}","y":"{x}"}}"#), JwkError::Unsupported),
            (format!(r#"{{"kty":"EC","crv":"P-224","x":"{x}","y":"{x}"}}"#), JwkError::Unsupported),
            (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned(), JwkError::Malformed("x")),
            (format!(r#"{{"kty":"EC","crv":"P-384","x":"{x}","y":"{x}"}}"#), JwkError::Malformed("x")),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(), JwkError::RsaSize(17)),
            (r#"{"kty":"RSA","n":"AAEB","e":"AQAB"}"#.to_owned(), JwkError::Malformed("n")),
            (RFC7638.replace("AQAB", "AQ"), JwkError::Weak(Weakness::Exponent)),
            (RFC7638.replace("\"e\":\"AQAB\"", "\"e\":\"AQAB=\""), JwkError::Malformed("e")),
        ];
        for (json, want) in rows {
            assert_eq!(Jwk::parse(&json).unwrap_err(), want, "{json}");
        }
        for json in [
            "",
            "[]",
            r#"["OKP","Ed25519","11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",null,null,null,null,null]"#,
            "{}",
            r#"{"kty":"RSA","kty":"RSA"}"#,
        ] {
            assert!(matches!(Jwk::parse(json), Err(JwkError::Malformed(_))), "{json}");
        }
    }

    /// A point of small order has signatures that anyone can write: with the identity as the key,
    /// R = identity and S = 0 sign every message.
    #[test]
    fn ed25519_keys_of_small_order_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = [identity, [0; 32]].concat();
        let key = Jwk::from_key(PublicKey::Ed25519(identity.to_vec())).unwrap();
        assert!(key.verify(b"anything", &forged), "this is what it is about");
        assert_eq!(Jwk::parse(&key.to_json()), Err(JwkError::Weak(Weakness::SmallOrder)));
    }

    #[test]
    fn rsa_exponents_have_an_upper_bound() {
        for len in [9, 33, 256] {
            let e = base64url(&[&[1][..], &vec![0; len - 2], &[1]].concat());
            assert_eq!(Jwk::parse(&RFC7638.replace("AQAB", &e)), Err(JwkError::Invalid), "{len} bytes");
        }
    }

    #[test]
    fn thumbprints_tell_keys_apart_and_forms_not() {
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let key = Jwk::parse(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#)).unwrap();
        let dressed = format!(
            r#"{{ "y":"{y}", "use":"sig", "crv":"P-256", "alg":"ES256", "kid":"1", "x":"{x}", "\u006bty":"EC" }}"#
        );
        assert_eq!(Jwk::parse(&dressed).unwrap().thumbprint(), key.thumbprint());
        // Other texts of the same bytes are not accepted, so no key has two thumbprints.
        let stray = y.replace("5a0", "5a1");
        for bad in [stray.as_str(), &format!("{y}="), &y.replace('_', "/"), &format!("AA{y}")] {
            let json = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{bad}"}}"#);
            assert_eq!(Jwk::parse(&json), Err(JwkError::Malformed("y")), "{bad}");
        }
        // The negated point is another key.
        let PublicKey::EcP256(point) = key.spki().key() else { panic!() };
        let p = num_bigint::BigUint::parse_bytes(
            b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
            16,
        );
        let negated = p.unwrap() - num_bigint::BigUint::from_bytes_be(&point[33..]);
        let other = [&point[..33], &negated.to_bytes_be()].concat();
        let other = Jwk::from_key(PublicKey::EcP256(other)).unwrap();
        assert_ne!(other.thumbprint(), key.thumbprint());
    }

    /// Every signature holds or not exactly as aws-lc-rs itself says of r and s of fixed length.
    #[test]
    fn signatures_of_fixed_length() {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
        let rows = [
            (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &signature::ECDSA_P256_SHA256_FIXED, 32),
            (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &signature::ECDSA_P384_SHA384_FIXED, 48),
        ];
        for (signing, verification, half) in rows {
            let pair = EcdsaKeyPair::generate(signing).unwrap();
            let point = pair.public_key().as_ref();
            let key =
                if half == 32 { PublicKey::EcP256(point.into()) } else { PublicKey::EcP384(point.into()) };
            let key = Jwk::from_key(key).unwrap();
            let other = UnparsedPublicKey::new(verification, point);
            let check = |message: &[u8], signature: &[u8], want: bool| {
                assert_eq!(key.verify(message, signature), want, "{signature:02x?}");
                assert_eq!(other.verify(message, signature).is_ok(), want, "{signature:02x?}");
            };
            // Enough that some r or s begins with a zero, and some with a set bit.
            for n in 0..600u16 {
                let good = pair.sign(&SystemRandom::new(), &n.to_be_bytes()).unwrap();
                assert!(key.verify(&n.to_be_bytes(), good.as_ref()), "{:02x?}", good.as_ref());
            }
            let good = pair.sign(&SystemRandom::new(), b"message").unwrap().as_ref().to_vec();
            check(b"message", &good, true);
            check(b"massage", &good, false);
            let (r, s) = good.split_at(half);
            let (zero, most) = (vec![0; half], vec![0xff; half]);
            let bad = [
                &[][..],
                &[r, s, &[0]].concat(),
                &[&[0], r, s].concat(),
                &[&[0], r, &[0], s].concat(),
                &good[..2 * half - 1],
                &good[..half],
                &[s, r].concat(),
                &[r, &zero].concat(),
                &[&zero[..], s].concat(),
                &[&zero[..], &zero].concat(),
                &[&most[..], s].concat(),
                &[r, &most].concat(),
                &sequence(&[&unsigned_integer(r), &unsigned_integer(s)]),
            ];
            bad.iter().for_each(|signature| check(b"message", signature, false));
        }
    }

    #[test]
    fn keys_that_acme_has_no_algorithm_for() {
        use rcgen::PublicKeyData;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let spki = Spki::parse(&key.subject_public_key_info()).unwrap();
        assert_eq!(Jwk::from_key(spki.key().clone()), Err(JwkError::Unsupported));
    }
}
