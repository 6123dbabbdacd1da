//! Keys that are never certified again, and that no account may use, whichever authority is asked.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Longest reason, bytes.
pub const LONGEST_REASON: usize = 200;

/// That, when and why a key was blocked. It is kept under the key's hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedKey {
    /// When.
    pub at: Timestamp,
    /// In the operator's words, or ours; at most [`LONGEST_REASON`] bytes.
    pub reason: String,
    /// Whose doing.
    pub by: Blocker,
}

/// What a key was blocked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocker {
    /// The operator's command.
    Operator,
    /// The revocation of that certificate for keyCompromise (RFC 8555 §7.6).
    Revocation(Serial),
}

/// A reason as it may be kept: one line, not empty, not too long.
pub fn check_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("give a reason, in one line without control characters".to_owned());
    }
    if text.len() > LONGEST_REASON {
        return Err(format!("is longer than {LONGEST_REASON} bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        assert_eq!(check_reason(" found in a repository ").unwrap(), "found in a repository");
        assert!(check_reason(&"x".repeat(LONGEST_REASON)).is_ok());
        for bad in ["", "  ", "a\nb", "a\u{7}", &"x".repeat(LONGEST_REASON + 1)] {
            assert!(check_reason(bad).is_err(), "{bad:?}");
        }
    }
}
