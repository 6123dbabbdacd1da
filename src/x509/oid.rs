//! Object identifiers, as operators write them.

use std::fmt;
use std::str::FromStr;

use super::permanent::oid_content;

/// Most bytes of the content.
const MOST_BYTES: usize = 64;

/// An object identifier: at least two numbers, of at most 64 bytes in DER.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oid {
    numbers: Vec<u64>,
    content: Vec<u8>,
}

/// It is no object identifier in dotted decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no object identifier in dotted decimal, such as 1.3.6.1.4.1.311.20.2.2")]
pub struct OidError;

impl FromStr for Oid {
    type Err = OidError;

    fn from_str(text: &str) -> Result<Self, OidError> {
        let content = oid_content(text).filter(|content| content.len() <= MOST_BYTES).ok_or(OidError)?;
        let numbers = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| OidError)?;
        Ok(Self { numbers, content })
    }
}

impl Oid {
    /// The numbers.
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// The content bytes in DER, without tag and length.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, number) in self.numbers.iter().enumerate() {
            let dot = if i == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let oid: Oid = "1.2.840.113549".parse().unwrap();
        assert_eq!(
            (oid.numbers(), oid.content()),
            (&[1, 2, 840, 113_549][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d][..])
        );
        assert_eq!(oid.to_string(), "1.2.840.113549");
        for bad in [
            "",
            "1",
            "1.",
            "1.02",
            "3.1",
            "1.40",
            "serverAuth",
            "1.2.+3",
            " 1.2",
            &format!("1.2{}", ".5".repeat(70)),
        ] {
            assert_eq!(bad.parse::<Oid>(), Err(OidError), "{bad}");
        }
    }
}
