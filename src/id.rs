//! Identifiers of stored objects, as they stand in URLs and keys.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The bytes, as they stand in keys.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// From the 22 base64url characters that URLs carry; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; 16];
                if text.len() != 22 {
                    return None;
                }
                let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
                (written == 16).then_some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 22];
                let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text[..written]).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// An account's id: 128 random bits.
    AccountId
);

id!(
    /// An order's id: the second in which it may be removed (5 bytes), then 88 random bits, so that
    /// the order table sorts by removal and the sweeper reads it from the front.
    OrderId
);

id!(
    /// The name of a key for external account binding: 127 random bits.
    EabKid
);

impl EabKid {
    /// From fresh randomness, of which the top bit is dropped: the text then begins with a letter, as
    /// the value of a command-line flag should.
    pub fn new(mut random: [u8; 16]) -> Self {
        random[0] &= 0x7f;
        Self(random)
    }
}

impl AccountId {
    /// From fresh randomness.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl OrderId {
    /// An order that may be removed at `purge`.
    pub fn new(purge: Timestamp, random: [u8; 11]) -> Self {
        let mut bytes = [0; 16];
        // A time beyond is as good as never.
        let secs = purge.as_secs().min((1 << 40) - 1);
        bytes[..5].copy_from_slice(&secs.to_be_bytes()[3..]);
        bytes[5..].copy_from_slice(&random);
        Self(bytes)
    }

    /// When the order may be removed.
    pub fn purge(&self) -> Timestamp {
        let mut secs = [0; 8];
        secs[3..].copy_from_slice(&self.0[..5]);
        Timestamp::from_secs(u64::from_be_bytes(secs))
    }

    /// From a key of the order table.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }
}

/// The name of an issuing authority. Copies share its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityName(std::sync::Arc<str>);

impl AuthorityName {
    /// Of a text that the configuration has checked.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What the only authority is called if it has no other name.
impl Default for AuthorityName {
    fn default() -> Self {
        Self::new("default")
    }
}

impl fmt::Display for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AuthorityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn orders_sort_by_removal() {
        let at = Timestamp::from_secs(1_793_318_400);
        let first = OrderId::new(at, [0xff; 11]);
        let second = OrderId::new(Timestamp::from_secs(at.as_secs() + 1), [0; 11]);
        assert!(first < second);
        assert_eq!(first.purge(), at);
        // A time that 5 bytes do not hold is the last of all, not one long past.
        let never = OrderId::new(Timestamp::from_millis(u64::MAX), [0; 11]);
        assert!(never > second && never.purge() > at);
        let late = OrderId::new(Timestamp::from_secs((1 << 40) + 1), [0; 11]);
        assert_eq!(late.purge(), Timestamp::from_secs((1 << 40) - 1));
    }

    proptest! {
        #[test]
        fn a_kid_begins_with_a_letter(bytes: [u8; 16]) {
            let kid = EabKid::new(bytes);
            prop_assert!(kid.to_string().starts_with(|c: char| c.is_ascii_alphabetic()), "{kid}");
            prop_assert_eq!(EabKid::parse(&kid.to_string()), Some(kid));
        }

        #[test]
        fn text_round_trip(bytes: [u8; 16]) {
            let id = AccountId::new(bytes);
            prop_assert_eq!(AccountId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn parsing_accepts_only_what_printing_makes(text in ".{0,30}") {
            if let Some(id) = AccountId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
