//! One key's way to its token.

use std::sync::Arc;

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use super::module::Module;
use super::pin::login;
use super::sessions::{Ready, Sessions};
use super::{Pkcs11Error, object};
use crate::authority::key_source::{PasswordSource, Pkcs11Uri};

/// A key, by sessions that all keys of its token share.
pub(super) struct Pool {
    sessions: Arc<Sessions>,
    uri: Pkcs11Uri,
    pin: Option<PasswordSource>,
}

impl Pool {
    /// Finds the token; opens no session yet.
    pub(super) fn new(uri: &Pkcs11Uri, pin: Option<&PasswordSource>) -> Result<Self, Pkcs11Error> {
        let module = Module::load(&uri.module_path)?;
        let generation = module.enter()?.generation;
        let sessions = match module.sessions(uri) {
            Err(lost) if lost.is_lost() => {
                module.restart(generation)?;
                module.sessions(uri)
            }
            other => other,
        };
        Ok(Self {
            sessions: sessions?,
            uri: uri.clone(),
            pin: uri.pin_source.clone().map(PasswordSource::File).or(pin.cloned()),
        })
    }

    /// Does something with the key. If the token has lost the session, once more with a session opened
    /// anew, and then with the module started anew.
    pub(super) fn with_key<T>(
        &self,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, Pkcs11Error>,
    ) -> Result<T, Pkcs11Error> {
        let (first, _) = self.once(&work)?;
        let Err(lost) = first else { return first };
        if !lost.is_lost() {
            return Err(lost);
        }
        tracing::warn!(error = %lost, "the token has lost a session; opening it anew");
        let (second, generation) = self.once(&work)?;
        match second {
            Err(lost) if lost.is_lost() => {
                self.sessions.module.restart(generation)?;
                self.once(&work)?.0
            }
            other => other,
        }
    }

    /// Also returns which start of the module it was tried under.
    fn once<T>(
        &self,
        work: &impl Fn(&Session, ObjectHandle) -> Result<T, Pkcs11Error>,
    ) -> Result<(Result<T, Pkcs11Error>, u64), Pkcs11Error> {
        let visit = self.sessions.module.enter()?;
        let generation = visit.generation;
        let done = self.sessions.checkout(generation, || self.connect()).and_then(|mut ready| {
            let done = self.key(&mut ready).and_then(|key| work(&ready.session, key));
            match &done {
                Ok(_) | Err(Pkcs11Error::NoKey(_) | Pkcs11Error::SeveralKeys { .. }) => {
                    self.sessions.give_back(ready);
                }
                Err(error) => self.sessions.discard(ready, error.is_lost(), generation),
            }
            done
        });
        Ok((done, generation))
    }

    /// The key's handle in a session.
    fn key(&self, ready: &mut Ready) -> Result<ObjectHandle, Pkcs11Error> {
        let name = object::described(&self.uri);
        if let Some((_, key)) = ready.keys.iter().find(|(known, _)| *known == name) {
            return Ok(*key);
        }
        let key = object::private_key(&ready.session, &self.uri)?;
        ready.keys.push((name, key));
        Ok(key)
    }

    fn connect(&self) -> Result<Session, Pkcs11Error> {
        let module = &self.sessions.module;
        let slot = module.slot(&self.uri)?;
        // Not closed when dropped: see `Sessions::checkout`.
        let session = module.context().open_ro_session_no_drop(slot)?;
        match login(module, slot, &session, self.pin.as_ref()) {
            Ok(()) => Ok(session),
            Err(error) => {
                let _ = session.close();
                Err(error)
            }
        }
    }
}
