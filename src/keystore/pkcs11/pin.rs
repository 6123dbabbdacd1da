//! Logging in. A token locks after a few wrong PINs, three with many: one that it has refused is not
//! sent to it again by this process, whoever asks and however often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::Pkcs11Error;
use super::module::{Module, PATIENCE, identity};
use crate::authority::key_source::PasswordSource;
use crate::keystore::password::Password;

/// Logins at the tokens of a module: one at a time at each, for a second wrong PIN is a step towards a locked
/// token. One that hangs keeps its own token.
#[derive(Default)]
pub(super) struct Logins {
    state: Mutex<State>,
    over: Condvar,
}

#[derive(Default)]
struct State {
    /// Tokens at which somebody logs in.
    taken: BTreeSet<String>,
    /// PINs that tokens have refused, each known by a hash with its token, and the token's word.
    refused: BTreeMap<[u8; 32], String>,
}

/// A turn at a token.
struct Turn<'a> {
    logins: &'a Logins,
    token: &'a str,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.logins.state().taken.remove(self.token);
        self.logins.over.notify_all();
    }
}

impl Logins {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn at a token, `patience` at most.
    fn turn<'a>(&'a self, token: &'a str, patience: Duration) -> Result<Turn<'a>, Pkcs11Error> {
        let taken = |state: &mut State| state.taken.contains(token);
        let waited = self.over.wait_timeout_while(self.state(), patience, taken);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(Pkcs11Error::Busy(patience.as_secs()));
        }
        state.taken.insert(token.to_owned());
        Ok(Turn { logins: self, token })
    }
}

impl Turn<'_> {
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
    fn attempt(&self, pin: &[u8], send: impl FnOnce() -> Result<(), Pkcs11Error>) -> Result<(), Pkcs11Error> {
        let key = Self::key(self.token, pin);
        let before = self.logins.state().refused.get(&key).cloned();
        if let Some(word) = before {
            return Err(Pkcs11Error::WrongPin(word));
        }
        let done = send();
        if let Err(Pkcs11Error::WrongPin(word)) = &done {
            self.logins.state().refused.insert(key, word.clone());
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
    let token = identity(&module.context().get_token_info(slot)?);
    let turn = module.logins.turn(&token, PATIENCE)?;
    // As whoever was before has left it.
    let info = module.context().get_token_info(slot)?;
    let already =
        matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser);
    if already || !info.login_required() {
        return Ok(());
    }
    match pin {
        // The PIN is typed at the device.
        None if info.protected_authentication_path() => {
            turn.attempt(&[], || answer(session.login(UserType::User, None)))
        }
        None => Err(Pkcs11Error::NoPin),
        Some(source) => {
            let pin = Password::open(source).map_err(Pkcs11Error::PinSource)?;
            turn.attempt(pin.bytes(), || {
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
        let (logins, mut sent) = (Logins::default(), Vec::new());
        let mut attempt = |token: &'static str, pin: &'static str, good: bool| {
            let done = logins.turn(token, Duration::ZERO).unwrap().attempt(pin.as_bytes(), || {
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
        let logins = Logins::default();
        let turn = logins.turn("a", Duration::ZERO).unwrap();
        for _ in 0..2 {
            let lost = Error::Pkcs11(RvError::DeviceRemoved, cryptoki::context::Function::Login);
            let done = turn.attempt(b"1", || answer(Err(lost)));
            assert!(matches!(done, Err(Pkcs11Error::Call(_))));
        }
        assert!(turn.attempt(b"1", || Ok(())).is_ok());
    }

    #[test]
    fn a_login_that_hangs_keeps_its_own_token_and_nobody_waiting_for_ever() {
        let logins = Logins::default();
        let hanging = logins.turn("a", Duration::ZERO).unwrap();
        let second = logins.turn("a", Duration::from_millis(20)).err();
        assert!(matches!(second, Some(Pkcs11Error::Busy(_))));
        assert!(logins.turn("b", Duration::ZERO).is_ok());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| logins.turn("a", Duration::from_secs(10)).is_ok());
            drop(hanging);
            assert!(waiting.join().unwrap(), "it comes free");
        });
    }
}
