//! AWS credentials: from the environment, or from the shared credentials file. Read for each request,
//! so that what rotates them need not restart this process, and kept no longer.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KmsError;
use crate::keystore::file::{Audience, read_secret};

/// An access key.
#[derive(Clone)]
pub(super) struct Credentials {
    pub id: String,
    pub secret: Zeroizing<String>,
    /// Of temporary credentials.
    pub token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.id)
    }
}

fn bad(reason: impl Into<String>) -> KmsError {
    KmsError::Credentials(reason.into())
}

/// A variable of the environment's; an empty one is none.
pub(super) fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

/// What to do when there are none anywhere.
pub(super) fn none() -> KmsError {
    bad("there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a file of mode 0600 with \
         AWS_SHARED_CREDENTIALS_FILE, or give the container a role; the role of an EC2 instance is not asked for")
}

impl Credentials {
    /// Checks that they can stand in a header.
    pub(super) fn new(id: &str, secret: &str, token: Option<&str>) -> Result<Self, KmsError> {
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        if !plain(id) || !plain(secret) || token.is_some_and(|token| !plain(token)) {
            return Err(bad("they have characters that no credentials have, or none"));
        }
        Ok(Self {
            id: id.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            token: token.map(|token| Zeroizing::new(token.to_owned())),
        })
    }

    /// As the SDKs look for them, up to the shared file; nothing if there are none so far.
    pub(super) fn read() -> Result<Option<Self>, KmsError> {
        if let Some(id) = variable("AWS_ACCESS_KEY_ID") {
            let secret = variable("AWS_SECRET_ACCESS_KEY")
                .ok_or_else(|| bad("AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not"))?;
            let token = variable("AWS_SESSION_TOKEN");
            return Self::new(&id, &secret, token.as_ref().map(|token| token.as_str())).map(Some);
        }
        let home = || variable("HOME").map(|home| Path::new(home.as_str()).join(".aws/credentials"));
        let path = variable("AWS_SHARED_CREDENTIALS_FILE").map(|path| PathBuf::from(path.as_str()));
        let Some(path) = path.or_else(home).filter(|path| path.exists()) else {
            return Ok(None);
        };
        let text = read_secret(&path, Audience::Owner).map_err(|error| bad(error.to_string()))?;
        let text = std::str::from_utf8(&text).map_err(|_| bad(format!("{} is not UTF-8", path.display())))?;
        let profile = variable("AWS_PROFILE");
        let profile = profile.as_ref().map_or("default", |profile| profile.as_str());
        let found = Self::of_profile(text, profile)?;
        found.map(Some).ok_or_else(|| bad(format!("{} has no access key in [{profile}]", path.display())))
    }

    fn of_profile(text: &str, profile: &str) -> Result<Option<Self>, KmsError> {
        let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                inside = name.trim() == profile;
            } else if let Some((name, value)) = line.split_once('=').filter(|_| inside) {
                match name.trim() {
                    "aws_access_key_id" => id = Some(value.trim()),
                    "aws_secret_access_key" => secret = Some(value.trim()),
                    "aws_session_token" => token = Some(value.trim()),
                    // The file has settings of other programs too.
                    _ => {}
                }
            }
        }
        match (id, secret) {
            (Some(id), Some(secret)) => Self::new(id, secret, token).map(Some),
            (Some(_), None) | (None, Some(_)) | (None, None) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_the_shared_file() {
        let text = "# note\n[default]\naws_access_key_id = A\naws_secret_access_key=S\nregion = x\n\
                    [ca]\naws_access_key_id=B\naws_secret_access_key=T\naws_session_token=U\n[half]\naws_access_key_id=C\n";
        let read = |profile| Credentials::of_profile(text, profile).unwrap();
        let default = read("default").unwrap();
        assert_eq!((default.id.as_str(), default.secret.as_str()), ("A", "S"));
        assert!(default.token.is_none());
        assert_eq!(read("ca").unwrap().token.unwrap().as_str(), "U");
        assert!(read("half").is_none() && read("none").is_none());
        assert!(Credentials::new("A", "S\nx", None).is_err());
        assert_eq!(format!("{default:?}"), "Credentials(A, …)");
    }
}
