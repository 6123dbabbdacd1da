//! Sessions with a token: opened when there is work for them, a few at most, kept for the next work,
//! and opened anew when the token has lost them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::RawAuthPin;

use super::module::Module;
use super::{Pkcs11Error, object};
use crate::authority::key_source::{PasswordSource, Pkcs11Uri};
use crate::keystore::password::Password;

/// Most sessions of one key. Tokens have 16 or more, and cannot work on many at once.
const MOST_SESSIONS: usize = 8;

/// Longest wait for a session.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session that is logged in, and the key's handle in it.
struct Ready {
    session: Session,
    key: ObjectHandle,
    generation: u64,
}

#[derive(Default)]
struct State {
    idle: Vec<Ready>,
    /// Idle or at work.
    open: usize,
    /// The token's word on a PIN that it has refused.
    refused: Option<String>,
}

/// The sessions of one key.
pub(super) struct Pool {
    module: Arc<Module>,
    uri: Pkcs11Uri,
    pin: Option<PasswordSource>,
    state: Mutex<State>,
    freed: Condvar,
}

impl Pool {
    /// Opens nothing yet but the module.
    pub(super) fn new(uri: &Pkcs11Uri, pin: Option<&PasswordSource>) -> Result<Self, Pkcs11Error> {
        Ok(Self {
            module: Module::load(&uri.module_path)?,
            uri: uri.clone(),
            pin: uri.pin_source.clone().map(PasswordSource::File).or(pin.cloned()),
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Does something with the key. If the token has lost the session, once more with a session opened
    /// anew, and then with the module started anew.
    pub(super) fn with_key<T>(
        &self,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let (first, _) = self.once(&work);
        let Err(lost) = first else { return first };
        if !lost.is_lost() {
            return Err(lost);
        }
        tracing::warn!(error = %lost, "the token has lost a session; opening it anew");
        let (second, generation) = self.once(&work);
        match second {
            Err(lost) if lost.is_lost() => {
                self.module.restart(generation)?;
                self.once(&work).0
            }
            other => other,
        }
    }

    /// Also returns which start of the module it was tried under.
    fn once<T>(
        &self,
        work: &impl Fn(&Session, ObjectHandle) -> Result<T, Pkcs11Error>,
    ) -> (Result<T, Pkcs11Error>, u64) {
        let life = self.module.enter();
        let generation = life.generation;
        let done = self.checkout(generation).and_then(|ready| {
            let done = work(&ready.session, ready.key);
            match &done {
                Ok(_) => self.give_back(ready),
                Err(error) => self.discard(ready, error.is_lost(), generation),
            }
            done
        });
        (done, generation)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn checkout(&self, generation: u64) -> Result<Ready, Pkcs11Error> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            while let Some(ready) = state.idle.pop() {
                if ready.generation == generation {
                    return Ok(ready);
                }
                // Its handle may by now be another session's: it is forgotten, not closed.
                state.open -= 1;
            }
            if state.open < MOST_SESSIONS {
                state.open += 1;
                drop(state);
                let error = match self.connect(generation) {
                    Ok(ready) => return Ok(ready),
                    Err(error) => error,
                };
                state = self.lock();
                state.open -= 1;
                self.freed.notify_one();
                let full = matches!(error, Pkcs11Error::Call(Error::Pkcs11(RvError::SessionCount, _)));
                // The token has fewer sessions than we would open: those that there are must do.
                if !full || state.open == 0 {
                    return Err(error);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Pkcs11Error::Busy(PATIENCE.as_secs()));
            }
            let waited = self.freed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, ready: Ready) {
        self.lock().idle.push(ready);
        self.freed.notify_one();
    }

    /// Closes a session that failed; if the token has lost it, the idle ones too.
    fn discard(&self, ready: Ready, lost: bool, generation: u64) {
        let mut state = self.lock();
        let mut gone = vec![ready];
        if lost {
            gone.append(&mut state.idle);
        }
        state.open -= gone.len();
        drop(state);
        for ready in gone.into_iter().filter(|ready| ready.generation == generation) {
            let _ = ready.session.close();
        }
        self.freed.notify_all();
    }

    fn connect(&self, generation: u64) -> Result<Ready, Pkcs11Error> {
        let context = self.module.context();
        let slot = self.module.slot(&self.uri)?;
        // Not closed when dropped: see `checkout`.
        let session = context.open_ro_session_no_drop(slot)?;
        let found = self.login(slot, &session).and_then(|()| object::private_key(&session, &self.uri));
        match found {
            Ok(key) => Ok(Ready { session, key, generation }),
            Err(error) => {
                let _ = session.close();
                Err(error)
            }
        }
    }

    /// All sessions of a process with one token are logged in together (PKCS #11 v2.40 §5.6).
    fn login(&self, slot: Slot, session: &Session) -> Result<(), Pkcs11Error> {
        // One at a time: a second wrong PIN is a step towards a locked token.
        let mut state = self.lock();
        if let Some(refused) = &state.refused {
            return Err(Pkcs11Error::WrongPin(refused.clone()));
        }
        let done = login(&self.module, slot, session, self.pin.as_ref());
        if let Err(Pkcs11Error::WrongPin(word)) = &done {
            state.refused = Some(word.clone());
        }
        done
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let life = self.module.enter();
        for ready in self.lock().idle.drain(..).filter(|ready| ready.generation == life.generation) {
            let _ = ready.session.close();
        }
    }
}

/// Logs the process in as the token's user, unless it is or need not be.
pub(super) fn login(
    module: &Module,
    slot: Slot,
    session: &Session,
    pin: Option<&PasswordSource>,
) -> Result<(), Pkcs11Error> {
    let info = module.context().get_token_info(slot)?;
    let already =
        matches!(session.get_session_info()?.session_state(), SessionState::RoUser | SessionState::RwUser);
    if already || !info.login_required() {
        return Ok(());
    }
    let done = match pin {
        // The PIN is typed at the device.
        None if info.protected_authentication_path() => session.login(UserType::User, None),
        None => return Err(Pkcs11Error::NoPin),
        Some(source) => {
            let pin = Password::open(source).map_err(Pkcs11Error::PinSource)?;
            session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.bytes().to_vec())))
        }
    };
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
