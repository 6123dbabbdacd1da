//! Passwords of key files.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::{Audience, KeyFileError, read_secret, read_small};
use crate::authority::key_source::PasswordSource;

/// Where systemd says that a service's credentials are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

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

    /// From where a configuration says that it is.
    pub fn open(source: &PasswordSource) -> Result<Self, KeyFileError> {
        match source {
            PasswordSource::File(path) => Self::read(path),
            PasswordSource::Env(name) => Self::from_variable(name, std::env::var_os(name)),
            PasswordSource::Credential(name) => {
                Self::from_credential(name, std::env::var_os(CREDENTIALS).map(PathBuf::from))
            }
        }
    }

    fn from_variable(name: &str, value: Option<OsString>) -> Result<Self, KeyFileError> {
        let bad = |reason: &str| KeyFileError::BadPassword {
            place: format!("the environment variable {name}"),
            reason: reason.to_owned(),
        };
        let value = Zeroizing::new(value.ok_or_else(|| bad("is not set"))?.into_vec());
        if value.len() > LONGEST {
            return Err(bad("is longer than 1024 bytes"));
        }
        Self::new(value.as_slice()).ok_or_else(|| bad("is empty"))
    }

    fn from_credential(name: &str, directory: Option<PathBuf>) -> Result<Self, KeyFileError> {
        let Some(directory) = directory else {
            return Err(KeyFileError::BadPassword {
                place: format!("the credential {name}"),
                reason: format!(
                    "is not there: {CREDENTIALS} is not set; put LoadCredential={name}:/PATH into the unit"
                ),
            });
        };
        Self::first_line(&directory.join(name), Audience::Service)
    }

    /// The first line of a file, without its line end, as openssl's `-passin file:` reads it. The
    /// file must be readable by its owner only.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::first_line(path, Audience::Owner)
    }

    /// A token that a platform puts into a container, in a file of any mode: the platform's, not ours.
    pub(super) fn token(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
        let bad = |reason: String| KeyFileError::BadPasswordFile { path: path.to_owned(), reason };
        let bytes = read_small(path).map_err(|error| bad(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is not UTF-8".to_owned()))?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    fn first_line(path: &Path, audience: Audience) -> Result<Self, KeyFileError> {
        let text = read_secret(path, audience)?;
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

    /// What it is.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn variables() {
        let read = |value: Option<&str>| Password::from_variable("CA_PASSWORD", value.map(OsString::from));
        assert_eq!(read(Some("two\nlines")).unwrap().bytes(), b"two\nlines");
        for (value, want) in
            [(None, "is not set"), (Some(""), "is empty"), (Some("x".repeat(1025).as_str()), "longer")]
        {
            let error = read(value).unwrap_err().to_string();
            assert!(
                error.contains(want) && error.contains("CA_PASSWORD") && !error.contains("xxx"),
                "{error}"
            );
        }
        let source = PasswordSource::Env("MAYFLY_TEST_NO_SUCH_VARIABLE".into());
        assert!(matches!(Password::open(&source), Err(KeyFileError::BadPassword { .. })));
    }

    #[test]
    fn tokens_are_small_files() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("good"), " t.o.k\n").unwrap();
        assert_eq!(Password::token(&path("good")).unwrap().as_str(), "t.o.k");
        fs::write(path("large"), "x".repeat(65 * 1024)).unwrap();
        fs::write(path("noise"), [0xff, 0xfe]).unwrap();
        // Nobody writes into it: whoever waits for that waits for ever.
        mknodat(CWD, path("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
        for (name, why) in
            [("large", "64 KiB"), ("noise", "UTF-8"), ("fifo", "not a file"), ("none", "No such file")]
        {
            let error = Password::token(&path(name)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(matches!(Password::read(&path("fifo")), Err(KeyFileError::Read { .. })));
    }

    /// systemd gives access by an ACL where it cannot by ownership: its mask shows as the group's bits.
    #[test]
    fn credentials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca");
        fs::write(&path, "right\n").unwrap();
        let read = || Password::from_credential("ca", Some(dir.path().to_owned()));
        for (mode, good) in [
            (0o400, true),
            (0o440, true),
            (0o600, true),
            (0o444, false),
            (0o404, false),
            (0o460, false),
            (0o450, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            match (read(), good) {
                (Ok(password), true) => assert_eq!(password.bytes(), b"right"),
                (Err(KeyFileError::TooOpen { .. }), false) => {}
                (other, _) => panic!("{mode:o}: {other:?}"),
            }
        }
        let none = Password::from_credential("ca", None).unwrap_err().to_string();
        assert!(none.contains("LoadCredential=ca:"), "{none}");
        let other = Password::from_credential("b", Some(dir.path().to_owned())).unwrap_err();
        assert!(matches!(other, KeyFileError::Read { .. }), "{other}");
    }
}
