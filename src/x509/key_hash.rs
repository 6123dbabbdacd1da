//! What a public key is known by: the SHA-256 of its SubjectPublicKeyInfo.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// SHA-256 over the DER of a SubjectPublicKeyInfo; as text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// Of the DER of a SubjectPublicKeyInfo.
    pub fn of(spki_der: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, spki_der).as_ref());
        Self(hash)
    }

    /// The hash's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 hexadecimal digits, with colons between the bytes or none, as tools print them.
    pub fn parse(text: &str) -> Option<Self> {
        let plain: Vec<u8> = match text.len() {
            64 => text.bytes().collect(),
            95 => {
                let parts: Vec<&str> = text.split(':').collect();
                if parts.len() != 32 || parts.iter().any(|part| part.len() != 2) {
                    return None;
                }
                parts.concat().into_bytes()
            }
            _ => return None,
        };
        let mut hash = [0; 32];
        for (into, pair) in hash.iter_mut().zip(plain.chunks(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
            *into = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let hash = KeyHash(std::array::from_fn(|i| u8::try_from(i * 8).unwrap()));
        let plain = hash.to_string();
        assert_eq!(KeyHash::parse(&plain), Some(hash));
        assert_eq!(KeyHash::parse(&plain.to_uppercase()), Some(hash));
        let pairs: Vec<&str> = (0..32).map(|i| &plain[2 * i..2 * i + 2]).collect();
        assert_eq!(KeyHash::parse(&pairs.join(":")), Some(hash));
        let long = format!("{}0", pairs.concat());
        let odd = format!("{}:{}", &plain[..31], &plain[31..]) + &":".repeat(30);
        for bad in ["", &plain[1..], &long, &plain.replace('0', "g"), &pairs.join("-"), &odd, "é"] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_text_never_panics(text in "[0-9a-fA-F:é]{60,100}") {
            if let Some(hash) = KeyHash::parse(&text) {
                proptest::prop_assert_eq!(hash.to_string(), text.replace(':', "").to_lowercase());
            }
        }
    }
}
