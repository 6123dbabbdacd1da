//! Logging in. A token locks after a few wrong PINs, three with many: one that it has refused is not
//! sent to it again by this process, whoever asks and however often.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use aws_lc_rs::digest::{Context, SHA256};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::Pkcs11Error;
use super::module::{Module, identity};
use crate::authority::key_source::PasswordSource;
use crate::keystore::password::Password;

/// PINs that tokens have refused, each known by a hash with its token, and the token's word.
#[derive(Default)]
pub(super) struct Refused(BTreeMap<[u8; 32], String>);

impl Refused {
    fn key(token: &str, pin: &[u8]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(token.as_bytes());
        context.update(&[0xff]);
        context.update(pin);
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }

    /// Has a PIN tried, unless it was refused before.
    fn attempt(
        &mut self,
        token: &str,
        pin: &[u8],
        send: impl FnOnce() -> Result<(), Pkcs11Error>,
    ) -> Result<(), Pkcs11Error> {
        let key = Self::key(token, pin);
        if let Some(word) = self.0.get(&key) {
            return Err(Pkcs11Error::WrongPin(word.clone()));
        }
        let done = send();
        if let Err(Pkcs11Error::WrongPin(word)) = &done {
            self.0.insert(key, word.clone());
        }
        done
    }
}

/// Logs the process in as the token's user, unless it is or need not be: all sessions of a process with
/// one token are logged in together (PKCS #11 v2.40 §5.6).
pub(super) fn login(
    module: &Module,
    slot: Slot,
    session: &Session,
    pin: Option<&PasswordSource>,
) -> Result<(), Pkcs11Error> {
    // One at a time: a second wrong PIN is a step towards a locked token.
    let mut refused = module.refused.lock().unwrap_or_else(PoisonError::into_inner);
    let info = module.context().get_token_info(slot)?;
    let already =
        matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser);
    if already || !info.login_required() {
        return Ok(());
    }
    let token = identity(&info);
    match pin {
        // The PIN is typed at the device.
        None if info.protected_authentication_path() => {
            refused.attempt(&token, &[], || answer(session.login(UserType::User, None)))
        }
        None => Err(Pkcs11Error::NoPin),
        Some(source) => {
            let pin = Password::open(source).map_err(Pkcs11Error::PinSource)?;
            refused.attempt(&token, pin.bytes(), || {
                let pin = RawAuthPin::new(Box::new(pin.bytes().to_vec()));
                answer(session.login_with_raw(UserType::User, &pin))
            })
        }
    }
}

fn answer(done: Result<(), Error>) -> Result<(), Pkcs11Error> {
    match done {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(
            code @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked),
            _,
        )) => Err(Pkcs11Error::WrongPin(format!("{code:?}"))),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_is_sent_once() {
        let (mut refused, mut sent) = (Refused::default(), Vec::new());
        let mut attempt = |token: &'static str, pin: &'static str, good: bool| {
            let done = refused.attempt(token, pin.as_bytes(), || {
                sent.push((token, pin));
                if good { Ok(()) } else { Err(Pkcs11Error::WrongPin("PinIncorrect".to_owned())) }
            });
            done.is_ok()
        };
        assert!(!attempt("a", "1", false) && !attempt("a", "1", true), "not even if it were right now");
        assert!(!attempt("b", "1", false), "another token");
        assert!(!attempt("a", "2", false) && attempt("a", "3", true) && attempt("a", "3", true));
        assert!(!attempt("a", "1", true), "after others too");
        assert_eq!(sent, [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3"), ("a", "3")]);
    }

    #[test]
    fn a_token_that_fails_is_asked_again() {
        let mut refused = Refused::default();
        for _ in 0..2 {
            let lost = Error::Pkcs11(RvError::DeviceRemoved, cryptoki::context::Function::Login);
            let done = refused.attempt("a", b"1", || answer(Err(lost)));
            assert!(matches!(done, Err(Pkcs11Error::Call(_))));
        }
        assert!(refused.attempt("a", b"1", || Ok(())).is_ok());
    }
}
