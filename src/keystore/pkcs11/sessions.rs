//! Sessions with one token, shared by all its keys: opened when there is work for them, a few at most,
//! kept for the next work, and opened anew when the token has lost them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cryptoki::error::{Error, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::Pkcs11Error;
use super::module::{Module, PATIENCE};

/// Most sessions with one token, whatever number of keys and of configurations there is. Tokens have 16
/// or more, and cannot work on many at once.
const MOST_SESSIONS: usize = 8;

/// A session that is logged in, and the handles of keys that were found by it.
pub(super) struct Ready {
    pub session: Session,
    /// By the names that the keys' URIs have for them.
    pub keys: Vec<(String, ObjectHandle)>,
    pub generation: u64,
}

#[derive(Default)]
struct State {
    idle: Vec<Ready>,
    /// Idle or at work.
    open: usize,
}

/// The sessions of one token.
pub(super) struct Sessions {
    pub module: Arc<Module>,
    state: Mutex<State>,
    freed: Condvar,
}

impl Sessions {
    pub(super) fn new(module: Arc<Module>) -> Self {
        Self { module, state: Mutex::default(), freed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle session, or one that `connect` opens, or one that comes free in time.
    pub(super) fn checkout(
        &self,
        generation: u64,
        connect: impl Fn() -> Result<Session, Pkcs11Error>,
    ) -> Result<Ready, Pkcs11Error> {
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
                let error = match connect() {
                    Ok(session) => return Ok(Ready { session, keys: Vec::new(), generation }),
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

    pub(super) fn give_back(&self, ready: Ready) {
        self.lock().idle.push(ready);
        self.freed.notify_one();
    }

    /// Closes a session that failed; if the token has lost it, the idle ones too.
    pub(super) fn discard(&self, ready: Ready, lost: bool, generation: u64) {
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
}

impl Drop for Sessions {
    fn drop(&mut self) {
        // A module that hangs keeps its sessions; the process ends them.
        let Ok(visit) = self.module.enter() else { return };
        let idle = std::mem::take(&mut self.lock().idle);
        for ready in idle.into_iter().filter(|ready| ready.generation == visit.generation) {
            let _ = ready.session.close();
        }
    }
}
