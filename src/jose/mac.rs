//! MACs over flattened JWS (RFC 7518 §3.2), as external account binding has them (RFC 8555 §7.3.4).

use aws_lc_rs::hmac;

use super::from_base64url;
use super::jws::{Flattened, Header, JwsError, describe, malformed};

/// MAC algorithms of JWS that are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl MacAlgorithm {
    /// One row per algorithm: the variant and its `alg` (RFC 7518 §3.1).
    pub const TABLE: &[(Self, &'static str)] =
        &[(Self::Hs256, "HS256"), (Self::Hs384, "HS384"), (Self::Hs512, "HS512")];

    /// The algorithm of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, text)| *text == name).map(|(algorithm, _)| *algorithm)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
        }
    }

    /// The MAC of a message.
    pub fn sign(self, secret: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), secret), message).as_ref().to_vec()
    }
}

/// Longest member of a JWS of this kind, bytes: more than the JWK of an RSA key of 4096 bits takes.
pub const MAX_MEMBER: usize = 4096;

/// A JWS with a MAC that was not verified. Its members are kept as they came, because whoever accepts
/// it is to show it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedMac {
    /// `kid`.
    pub kid: String,
    /// `url`.
    pub url: String,
    /// Whether there is a `nonce`.
    pub has_nonce: bool,
    /// What the MAC is over.
    pub payload: Vec<u8>,
    /// `protected`, `payload` and `signature` as they came.
    pub members: [String; 3],
    algorithm: MacAlgorithm,
    mac: Vec<u8>,
}

impl UnverifiedMac {
    /// Parses a JWS whose header has a MAC algorithm and a `kid`, and no `jwk`.
    pub fn parse(json: &str) -> Result<Self, JwsError> {
        // serde would take an array for a struct, member by member.
        if !json.trim_start().starts_with('{') {
            return malformed("it is not a JSON object");
        }
        let outer: Flattened<'_> =
            serde_json::from_str(json).map_err(|error| JwsError::Malformed(describe(&error).into()))?;
        let Flattened { protected, payload, signature } = outer;
        if [&protected, &payload, &signature].iter().any(|member| member.len() > MAX_MEMBER) {
            return malformed("a member is longer than 4096 bytes");
        }
        let Some(header) = from_base64url(&protected) else {
            return malformed("protected is not base64url");
        };
        let Some(decoded) = from_base64url(&payload) else {
            return malformed("payload is not base64url");
        };
        let Some(mac) = from_base64url(&signature) else {
            return malformed("signature is not base64url");
        };
        let header: Header<'_> = serde_json::from_slice(&header)
            .map_err(|error| JwsError::Malformed(format!("protected header: {}", describe(&error)).into()))?;
        let algorithm = MacAlgorithm::parse(&header.alg).ok_or(JwsError::Algorithm)?;
        if header.jwk.is_some() {
            return malformed("protected header: takes kid, not jwk");
        }
        let Some(kid) = header.kid else { return malformed("protected header: kid is missing") };
        Ok(Self {
            kid: kid.into_owned(),
            url: header.url.into_owned(),
            has_nonce: header.nonce.is_some(),
            payload: decoded,
            algorithm,
            mac,
            members: [protected.into_owned(), payload.into_owned(), signature.into_owned()],
        })
    }

    /// Whether the MAC was made with that secret; compared in constant time, and whole.
    pub fn verify(&self, secret: &[u8]) -> bool {
        let [protected, payload, _] = &self.members;
        let message = [protected.as_bytes(), b".", payload.as_bytes()].concat();
        hmac::verify(&hmac::Key::new(self.algorithm.hmac(), secret), &message, &self.mac).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::base64url;

    const SECRET: &[u8] = &[7; 64];

    fn jws(algorithm: MacAlgorithm, header: &str, payload: &str) -> String {
        let (protected, payload) = (base64url(header.as_bytes()), base64url(payload.as_bytes()));
        let mac = algorithm.sign(SECRET, format!("{protected}.{payload}").as_bytes());
        let signature = base64url(&mac);
        format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signature}"}}"#)
    }

    /// RFC 7515 §A.1.1.
    #[test]
    fn the_example_of_the_rfc() {
        let secret = from_base64url(
            "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        )
        .unwrap();
        let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let mac = MacAlgorithm::Hs256.sign(&secret, message.as_bytes());
        assert_eq!(base64url(&mac), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn every_algorithm_verifies_and_notices_any_change() {
        for (algorithm, name) in MacAlgorithm::TABLE {
            let header = format!(r#"{{"alg":"{name}","kid":"k","url":"u"}}"#);
            let parsed = UnverifiedMac::parse(&jws(*algorithm, &header, "{}")).unwrap();
            assert_eq!((parsed.kid.as_str(), parsed.url.as_str(), parsed.has_nonce), ("k", "u", false));
            assert_eq!(parsed.payload, b"{}");
            assert!(parsed.verify(SECRET), "{name}");
            assert!(
                !parsed.verify(&[8; 64]) && !parsed.verify(&SECRET[..63]) && !parsed.verify(b""),
                "{name}"
            );
            let mut other = parsed.clone();
            other.members[1] = base64url(b"[]");
            assert!(!other.verify(SECRET), "{name}");
            for end in 0..parsed.mac.len() {
                let cut = UnverifiedMac { mac: parsed.mac[..end].to_vec(), ..parsed.clone() };
                assert!(!cut.verify(SECRET), "{name}: a MAC of {end} bytes");
            }
        }
        // One algorithm's MAC is not another's.
        let header = r#"{"alg":"HS256","kid":"k","url":"u"}"#;
        assert!(!UnverifiedMac::parse(&jws(MacAlgorithm::Hs512, header, "{}")).unwrap().verify(SECRET));
    }

    #[test]
    fn refusals() {
        let of = |header: &str| UnverifiedMac::parse(&jws(MacAlgorithm::Hs256, header, "{}")).unwrap_err();
        for alg in ["none", "ES256", "RS256", "hs256", "HS1", ""] {
            let header = format!(r#"{{"alg":"{alg}","kid":"k","url":"u"}}"#);
            assert_eq!(of(&header), JwsError::Algorithm, "{alg}");
        }
        let rows = [
            (r#"{"alg":"HS256","url":"u"}"#, "kid is missing"),
            (r#"{"alg":"HS256","kid":"k"}"#, "url"),
            (r#"{"kid":"k","url":"u"}"#, "alg"),
            (r#"{"alg":"HS256","kid":"k","url":"u","jwk":{}}"#, "not jwk"),
            (r#"{"alg":"HS256","kid":"k","kid":"k","url":"u"}"#, "doubled"),
            (r#"{"alg":"HS256","kid":"k","url":"u","crit":["x"]}"#, "crit"),
            (r#"{"alg":"HS256","kid":"k","url":"u","b64":false}"#, "b64"),
            (r#"{"alg":"HS256","kid":7,"url":"u"}"#, "invalid type"),
        ];
        for (header, part) in rows {
            let text = of(header).to_string();
            assert!(text.contains(part), "{header}: {text}");
        }
        let good = jws(MacAlgorithm::Hs256, r#"{"alg":"HS256","kid":"k","url":"u"}"#, "{}");
        let long = "A".repeat(MAX_MEMBER + 4);
        let bodies = [
            good.replacen('{', r#"{"header":{},"#, 1),
            good.replacen(r#""payload":"e30""#, r#""payload":"e30=""#, 1),
            good.replacen(r#""payload":"e30""#, r#""payload":null"#, 1),
            good.replacen(r#""payload":"e30""#, r#""payload":"e30","payload":"e30""#, 1),
            good.replacen(r#""payload":"e30""#, &format!(r#""payload":"{long}""#), 1),
            r#"["e30","e30","e30"]"#.into(),
            "true".into(),
            String::new(),
        ];
        for body in bodies {
            assert!(matches!(UnverifiedMac::parse(&body), Err(JwsError::Malformed(_))), "{body}");
        }
        assert!(UnverifiedMac::parse(&good).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(json in "\\PC*", header in "\\PC*") {
            let _ = UnverifiedMac::parse(&json);
            let _ = UnverifiedMac::parse(&jws(MacAlgorithm::Hs256, &header, ""));
        }
    }
}
