//! Passwords of key files.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::file::{KeyFileError, read_secret};

/// The longest first line taken for a password; openssl's limit is the same.
const LONGEST: usize = 1024;

/// A key file's password; wiped when dropped, never shown.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// From bytes in hand; `None` if there are none.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes.into());
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    /// The first line of a file, without its line end, as openssl's `-passin file:` reads it. The
    /// file must be readable by its owner only.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = read_secret(path)?;
        let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > LONGEST {
            let reason = format!("its first line is longer than {LONGEST} bytes");
            return Err(KeyFileError::BadPasswordFile { path: path.to_owned(), reason });
        }
        Self::new(line).ok_or_else(|| KeyFileError::BadPasswordFile {
            path: path.to_owned(),
            reason: "its first line is empty".to_owned(),
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
