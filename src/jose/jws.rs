//! Flattened JWS (RFC 7515 §7.2.2) under ACME's rules (RFC 8555 §6.2): strict about every member.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::from_base64url;
use super::jwk::{Algorithm, Jwk, JwkError};

/// Why a JWS is refused before its signature is looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not that JSON, or a member breaks a rule; says which.
    #[error("the JWS is malformed: {0}")]
    Malformed(Cow<'static, str>),
    /// `alg` is none we verify (or `none`, or a MAC).
    #[error("the JWS algorithm is not accepted")]
    Algorithm,
    /// The key in `jwk`.
    #[error("{0}")]
    Key(#[from] JwkError),
}

pub(super) fn malformed<T>(rule: &'static str) -> Result<T, JwsError> {
    Err(JwsError::Malformed(rule.into()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flattened<'a> {
    #[serde(borrow)]
    pub(super) protected: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) payload: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) signature: Cow<'a, str>,
}

/// How a request names the key it is signed with: exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRef {
    /// The key itself.
    Jwk(UnparsedKey),
    /// The account's URL.
    Kid(String),
}

/// A `jwk` member as it came. To read it takes checks of the key that cost far more than all others;
/// so who can refuse the request without them does that first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnparsedKey {
    json: Box<str>,
    algorithm: Algorithm,
}

impl UnparsedKey {
    /// Reads and checks the key; it must be one for the header's `alg`.
    pub fn parse(&self) -> Result<Jwk, JwsError> {
        let key = Jwk::parse(&self.json)?;
        if key.algorithm() != self.algorithm {
            return malformed("protected header: alg does not fit the key in jwk");
        }
        Ok(key)
    }
}

/// A parsed JWS whose signature has not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified {
    /// `nonce`, if present.
    pub nonce: Option<String>,
    /// `url`.
    pub url: String,
    /// `jwk` or `kid`.
    pub key: KeyRef,
    /// What the signature is over, apart from the key so that either can be taken out.
    pub signed: Signed,
}

/// The signed part of an [`Unverified`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    algorithm: Algorithm,
    payload: Vec<u8>,
    signing_input: Vec<u8>,
    signature: Vec<u8>,
}

impl Unverified {
    /// Parses the body of a request.
    pub fn parse(body: &[u8]) -> Result<Self, JwsError> {
        // serde would take an array for a struct, member by member.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return malformed("it is not a JSON object");
        }
        let outer: Flattened<'_> =
            serde_json::from_slice(body).map_err(|error| JwsError::Malformed(describe(&error).into()))?;
        let Some(header) = from_base64url(&outer.protected) else {
            return malformed("protected is not base64url");
        };
        let Some(payload) = from_base64url(&outer.payload) else {
            return malformed("payload is not base64url");
        };
        let Some(signature) = from_base64url(&outer.signature) else {
            return malformed("signature is not base64url");
        };
        let header: Header<'_> = serde_json::from_slice(&header)
            .map_err(|error| JwsError::Malformed(format!("protected header: {}", describe(&error)).into()))?;
        let algorithm = Algorithm::parse(&header.alg).ok_or(JwsError::Algorithm)?;
        let key = match (header.jwk, header.kid) {
            (Some(jwk), None) => KeyRef::Jwk(UnparsedKey { json: jwk.get().into(), algorithm }),
            (None, Some(kid)) => KeyRef::Kid(kid.into_owned()),
            (Some(_), Some(_)) => return malformed("protected header: give jwk or kid, not both"),
            (None, None) => return malformed("protected header: jwk or kid is missing"),
        };
        let signing_input = [outer.protected.as_bytes(), b".", outer.payload.as_bytes()].concat();
        let url = header.url.into_owned();
        let nonce = header.nonce.map(Cow::into_owned);
        let signed = Signed { algorithm, payload, signing_input, signature };
        Ok(Self { nonce, url, key, signed })
    }

    /// [`Signed::verify`].
    pub fn verify(self, key: &Jwk) -> Option<Vec<u8>> {
        self.signed.verify(key)
    }
}

impl Signed {
    /// Verifies the signature and yields the payload; `None` if it does not hold.
    pub fn verify(self, key: &Jwk) -> Option<Vec<u8>> {
        let holds = key.algorithm() == self.algorithm && key.verify(&self.signing_input, &self.signature);
        holds.then_some(self.payload)
    }
}

/// serde's message without its position: the position is inside an encoded member.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.find(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[derive(Debug)]
pub(super) struct Header<'a> {
    pub(super) alg: Cow<'a, str>,
    pub(super) url: Cow<'a, str>,
    pub(super) nonce: Option<Cow<'a, str>>,
    pub(super) kid: Option<Cow<'a, str>>,
    pub(super) jwk: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

/// Most members of a protected header; ACME knows five.
const MAX_MEMBERS: usize = 32;

/// A string that borrows from the input where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// By hand, since a derived shape would let unknown members repeat.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
        use serde::de::Error;
        let (mut alg, mut url, mut nonce, mut kid, mut jwk) = (None, None, None, None, None);
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(8);
        while let Some(Text(name)) = map.next_key()? {
            if seen.len() == MAX_MEMBERS {
                return Err(A::Error::custom("too many members"));
            }
            if seen.contains(&name) {
                return Err(A::Error::custom(format_args!("member {:?} is doubled", shown(&name))));
            }
            match name.as_ref() {
                "alg" => alg = Some(map.next_value::<Text<'_>>()?.0),
                "url" => url = Some(map.next_value::<Text<'_>>()?.0),
                "nonce" => nonce = Some(map.next_value::<Text<'_>>()?.0),
                "kid" => kid = Some(map.next_value::<Text<'_>>()?.0),
                "jwk" => jwk = Some(map.next_value::<&RawValue>()?),
                // No critical extension is understood here (RFC 7515 §4.1.11).
                "crit" => return Err(A::Error::custom("crit names an extension that is not supported")),
                "b64" => return Err(A::Error::custom("b64 is not supported")),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.push(name);
        }
        let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
        let url = url.ok_or_else(|| A::Error::missing_field("url"))?;
        Ok(Header { alg, url, nonce, kid, jwk })
    }
}

fn shown(name: &str) -> String {
    name.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::base64url;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use proptest::prelude::*;

    struct Client(EcdsaKeyPair);

    impl Client {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }
        fn jwk(&self) -> Jwk {
            Jwk::from_key(PublicKey::EcP256(self.0.public_key().as_ref().to_vec())).unwrap()
        }
        fn sign(&self, header: &str, payload: &str) -> String {
            let protected = base64url(header.as_bytes());
            let payload = base64url(payload.as_bytes());
            let input = format!("{protected}.{payload}");
            let signature = self.0.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
            let signature = base64url(signature.as_ref());
            format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#)
        }
    }

    use crate::x509::spki::PublicKey;

    #[test]
    fn verifies_and_notices_any_change() {
        let client = Client::new();
        let jwk = client.jwk();
        let header = format!(r#"{{"alg":"ES256","nonce":"n","url":"https://a/b","jwk":{}}}"#, jwk.to_json());
        let body = client.sign(&header, "{}");
        let parsed = Unverified::parse(body.as_bytes()).unwrap();
        let KeyRef::Jwk(key) = &parsed.key else { panic!("no key") };
        assert_eq!(key.parse(), Ok(jwk.clone()));
        assert_eq!((parsed.url.as_str(), parsed.nonce.as_deref()), ("https://a/b", Some("n")));
        assert_eq!(parsed.clone().verify(&jwk), Some(b"{}".to_vec()));
        assert_eq!(parsed.clone().verify(&Client::new().jwk()), None);
        let mut other = parsed.clone();
        other.signed.signature[5] ^= 1;
        assert_eq!(other.verify(&jwk), None);
        let mut other = parsed;
        other.signed.signing_input[5] ^= 1;
        assert_eq!(other.verify(&jwk), None);
    }

    #[test]
    fn refusals() {
        let client = Client::new();
        let jwk = client.jwk().to_json();
        let with = |header: &str| match Unverified::parse(client.sign(header, "").as_bytes()) {
            Ok(Unverified { key: KeyRef::Jwk(key), .. }) => key.parse().unwrap_err(),
            other => other.unwrap_err(),
        };
        for alg in ["none", "HS256", "ES512", "RS1", "PS256", "es256", ""] {
            let header = format!(r#"{{"alg":"{alg}","url":"u","kid":"k"}}"#);
            assert_eq!(with(&header), JwsError::Algorithm, "{alg}");
        }
        let rows = [
            (format!(r#"{{"alg":"ES256","url":"u","kid":"k","jwk":{jwk}}}"#), "not both"),
            (r#"{"alg":"ES256","url":"u"}"#.into(), "jwk or kid is missing"),
            (format!(r#"{{"alg":"ES384","url":"u","jwk":{jwk}}}"#), "alg does not fit"),
            (r#"{"alg":"ES256","kid":"k"}"#.into(), "url"),
            (r#"{"url":"u","kid":"k"}"#.into(), "alg"),
            (r#"{"alg":"ES256","alg":"ES256","url":"u","kid":"k"}"#.into(), "doubled"),
            (r#"{"alg":"ES256","x":1,"x":2,"url":"u","kid":"k"}"#.into(), "doubled"),
            (r#"{"alg":"ES256","url":"u","kid":"k","crit":["b64"]}"#.into(), "crit"),
            (r#"{"alg":"ES256","url":"u","kid":"k","b64":false}"#.into(), "b64"),
            (r#"{"alg":"ES256","url":7,"kid":"k"}"#.into(), "invalid type"),
            ("[]".into(), "an object"),
        ];
        for (header, part) in rows {
            let text = with(&header).to_string();
            assert!(text.contains(part), "{header}: {text}");
        }
        // Each name is compared with those before it: their number is bounded.
        let padded = |count| {
            let many = (3..count).map(|n| format!(r#""{n}":1,"#)).collect::<String>();
            let body = client.sign(&format!(r#"{{{many}"alg":"ES256","url":"u","kid":"k"}}"#), "");
            Unverified::parse(body.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(padded(MAX_MEMBERS), Ok(()));
        for count in [MAX_MEMBERS + 1, 6000] {
            assert!(padded(count).unwrap_err().contains("too many members"), "{count}");
        }
        // Members that mean nothing to us are skipped without recursion, however deep.
        let deep =
            format!(r#"{{"alg":"ES256","url":"u","kid":"k","d":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(Unverified::parse(client.sign(&deep, "").as_bytes()).is_ok());
        let good = client.sign(r#"{"alg":"ES256","url":"u","kid":"k"}"#, "");
        let bodies = [
            good.replacen('{', r#"{"header":{},"#, 1),
            good.replacen('{', r#"{"signatures":[],"#, 1),
            good.replacen("\"payload\":\"\"", "\"payload\":\"\",\"payload\":\"\"", 1),
            good.replacen("\"payload\":\"\"", "\"payload\":\"=\"", 1),
            good.replacen("\"payload\":\"\"", "\"payload\":null", 1),
            format!("{good}x"),
            good[..good.len() - 1].to_owned(),
            ".".repeat(1_000_000),
            String::new(),
            r#"["e30","",""]"#.into(),
        ];
        for body in bodies {
            assert!(matches!(Unverified::parse(body.as_bytes()), Err(JwsError::Malformed(_))));
        }
        assert!(Unverified::parse(good.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn never_panics(body: Vec<u8>, header in "\\PC*") {
            let _ = Unverified::parse(&body);
            let _ = Unverified::parse(format!(r#"{{"protected":"{}","payload":"","signature":""}}"#, base64url(header.as_bytes())).as_bytes());
        }
    }
}
