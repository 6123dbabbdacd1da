//! What the responders say: the key authorizations of the challenges under way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use crate::acme::challenge::ChallengeKind;
use crate::jose::base64url;
use crate::jose::jwk::Thumbprint;

/// Shared by the clients, who put challenges in place, and the responders.
#[derive(Debug, Default)]
pub struct Answers {
    http: Mutex<HashMap<String, String>>,
    txt: Mutex<HashMap<String, Vec<String>>>,
}

/// A challenge in place until it is removed.
#[derive(Debug)]
pub enum Placed {
    /// At this token.
    Http(String),
    /// This value at this name.
    Txt(String, String),
    /// Nothing was needed.
    Nothing,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Puts a challenge in place; `None` if there is no responder for its kind.
    pub fn place(&self, kind: ChallengeKind, name: &str, token: &str, by: Thumbprint) -> Option<Placed> {
        let key_authorization = format!("{token}.{by}");
        match kind {
            ChallengeKind::Http01 => {
                lock(&self.http).insert(token.to_owned(), key_authorization);
                Some(Placed::Http(token.to_owned()))
            }
            ChallengeKind::Dns01 => {
                let value = base64url(digest(&SHA256, key_authorization.as_bytes()).as_ref());
                let owner = format!("_acme-challenge.{}", name.trim_start_matches("*."));
                lock(&self.txt).entry(owner.clone()).or_default().push(value.clone());
                Some(Placed::Txt(owner, value))
            }
            ChallengeKind::TlsAlpn01
            | ChallengeKind::DnsAccount01
            | ChallengeKind::DnsPersist01
            | ChallengeKind::DeviceAttest01 => None,
        }
    }

    /// Takes it away again.
    pub fn remove(&self, placed: Placed) {
        match placed {
            Placed::Http(token) => drop(lock(&self.http).remove(&token)),
            Placed::Txt(owner, value) => {
                let mut txt = lock(&self.txt);
                if let Some(values) = txt.get_mut(&owner) {
                    values.retain(|other| *other != value);
                    if values.is_empty() {
                        txt.remove(&owner);
                    }
                }
            }
            Placed::Nothing => {}
        }
    }

    /// The body at an http-01 token.
    pub fn http(&self, token: &str) -> Option<String> {
        lock(&self.http).get(token).cloned()
    }

    /// The TXT values at a name, lower case.
    pub fn txt(&self, owner: &str) -> Vec<String> {
        lock(&self.txt).get(owner).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placed_and_removed() {
        let answers = Answers::default();
        let by = Thumbprint([0; 32]);
        let http = answers.place(ChallengeKind::Http01, "a.test", "tok", by).unwrap();
        assert_eq!(answers.http("tok").unwrap(), format!("tok.{by}"));
        // A name and its wildcard have their values side by side.
        let first = answers.place(ChallengeKind::Dns01, "a.test", "one", by).unwrap();
        let second = answers.place(ChallengeKind::Dns01, "*.a.test", "two", by).unwrap();
        assert_eq!(answers.txt("_acme-challenge.a.test").len(), 2);
        assert!(answers.place(ChallengeKind::TlsAlpn01, "a.test", "t", by).is_none());
        for placed in [http, first, second, Placed::Nothing] {
            answers.remove(placed);
        }
        assert_eq!(answers.http("tok"), None);
        assert!(answers.txt("_acme-challenge.a.test").is_empty());
    }
}
