//! Serial numbers (RFC 5280 §4.1.2.2).
//!
//! A serial is 19 bytes: the hour of notAfter since 1970 (3 bytes) and 128 random bits. The random
//! part alone makes it unguessable and unique; the hour in front makes the certificate table sort
//! by expiry, so that removing the expired, listing what expires next and finding one certificate
//! all work on the one table without an index. The first byte is below 0x80 until the year 2927 and
//! never zero, so the encoding is always 19 bytes and positive.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hex;
use crate::time::Timestamp;

/// A certificate's serial number, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial([u8; Serial::LEN]);

impl Serial {
    /// Bytes of a serial.
    pub const LEN: usize = 19;

    /// Random bytes of a serial, its last ones.
    pub const RANDOM: usize = 16;

    /// A serial from its certificate's notAfter and fresh randomness.
    pub fn new(not_after: Timestamp, random: [u8; Self::RANDOM]) -> Self {
        let hour = u32::try_from(not_after.as_secs() / 3600).unwrap_or(u32::MAX).min(0x7f_ffff);
        let mut bytes = [0; Self::LEN];
        bytes[..3].copy_from_slice(&hour.to_be_bytes()[1..]);
        bytes[3..].copy_from_slice(&random);
        Self(bytes)
    }

    /// The number's bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The random part.
    pub fn random(&self) -> [u8; Self::RANDOM] {
        let mut random = [0; Self::RANDOM];
        random.copy_from_slice(&self.0[Self::LEN - Self::RANDOM..]);
        random
    }

    /// From the bytes of a certificate of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From lower-case hex without separators, as URLs carry it.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::LEN * 2];
        f.write_str(hex::encode_into(&self.0, &mut text).ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, SystemEntropy};

    #[test]
    fn text_round_trip_and_refusals() {
        let serial = Serial::new(Timestamp::from_secs(1_793_318_400), [0xab; 16]);
        assert_eq!(Serial::parse(&serial.to_string()), Some(serial));
        let text = serial.to_string();
        for bad in [&text[1..], &text.to_uppercase(), "", &text.replace('a', "g")] {
            assert_eq!(Serial::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sorts_by_expiry_and_is_positive() {
        let early = Serial::new(Timestamp::from_secs(1_793_318_400), [0xff; 16]);
        let late = Serial::new(Timestamp::from_secs(1_793_318_400 + 3600), [0; 16]);
        assert!(early < late);
        assert!((1..0x80).contains(&early.as_bytes()[0]));
        let same_hour = Serial::new(Timestamp::from_secs(1_793_318_401), [0; 16]);
        assert_eq!(early.as_bytes()[..3], same_hour.as_bytes()[..3]);
    }

    #[test]
    fn a_million_serials_are_distinct_and_their_bits_are_fair() {
        let source: &dyn Entropy = &SystemEntropy::default();
        let (count, mut ones) = (1_000_000u64, [0u64; 128]);
        let mut seen = std::collections::HashSet::with_capacity(count as usize);
        for _ in 0..count {
            let serial = Serial::new(Timestamp::EPOCH, source.bytes());
            let random = u128::from_be_bytes(serial.as_bytes()[3..].try_into().unwrap());
            for (bit, n) in ones.iter_mut().enumerate() {
                *n += (random >> bit & 1) as u64;
            }
            assert!(seen.insert(random));
        }
        // Six standard deviations of a fair coin: 6 * sqrt(n)/2.
        for (bit, n) in ones.iter().enumerate() {
            assert!(n.abs_diff(count / 2) < 3000, "bit {bit} was set {n} times");
        }
    }
}
