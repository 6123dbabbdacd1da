//! A module, loaded and initialized once in this process however many keys are behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::{Slot, TokenInfo};

use super::Pkcs11Error;
use super::pin::Logins;
use super::sessions::Sessions;
use crate::authority::key_source::Pkcs11Uri;

/// A token that is gone is not looked for more often, or every request would start its module anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for a session, for the module while it is started anew, and for those at work in it
/// before it is.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// By their files; nothing while one is being initialized, which may hang.
static MODULES: Mutex<BTreeMap<PathBuf, Option<Arc<Module>>>> = Mutex::new(BTreeMap::new());

/// One is initialized, or could not be.
static LOADED: Condvar = Condvar::new();

/// Whether the binary around this library is static.
static STATIC: AtomicBool = AtomicBool::new(false);

/// To be called at the start of a static binary, whose loader would fail in words that help nobody:
/// modules are refused with [`Pkcs11Error::Static`] from then on.
pub fn never_load() {
    STATIC.store(true, Ordering::Relaxed);
}

/// What a module was last started as, and who is at work in it.
#[derive(Default)]
struct Life {
    /// Counts the starts; sessions of an earlier one are void.
    generation: u64,
    restarted: Option<Instant>,
    restarting: bool,
    visits: usize,
}

/// Keeps the module from being started anew.
pub(super) struct Visit<'a> {
    module: &'a Module,
    /// The start that is worked under.
    pub generation: u64,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.module.life().visits -= 1;
        self.module.turn.notify_all();
    }
}

/// A PKCS#11 module.
pub(super) struct Module {
    path: PathBuf,
    context: Pkcs11,
    life: Mutex<Life>,
    /// A restart is over, or somebody has left.
    turn: Condvar,
    pub(super) logins: Logins,
    tokens: Mutex<BTreeMap<String, Weak<Sessions>>>,
}

impl Module {
    /// The module of that file.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        if STATIC.load(Ordering::Relaxed) {
            return Err(Pkcs11Error::Static);
        }
        let modules = || MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let loading = |modules: &mut BTreeMap<_, _>| matches!(modules.get(path), Some(None));
        let waited = LOADED.wait_timeout_while(modules(), PATIENCE, loading);
        let (mut known, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(Pkcs11Error::Restarting(PATIENCE.as_secs()));
        }
        if let Some(Some(module)) = known.get(path) {
            return Ok(module.clone());
        }
        known.insert(path.to_owned(), None);
        drop(known);
        let module = Self::initialized(path);
        let mut known = modules();
        match &module {
            Ok(module) => known.insert(path.to_owned(), Some(module.clone())),
            Err(_) => known.remove(path),
        };
        LOADED.notify_all();
        module
    }

    fn initialized(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let context = Pkcs11::new(path).map_err(|error| {
            let reason = match error {
                Error::LibraryLoading(error) => error.to_string(),
                other => format!("it is no PKCS#11 module ({other})"),
            };
            Pkcs11Error::Load { path: path.to_owned(), reason }
        })?;
        initialize(&context)?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            context,
            life: Mutex::default(),
            turn: Condvar::new(),
            logins: Logins::default(),
            tokens: Mutex::default(),
        }))
    }

    pub(super) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, within [`PATIENCE`], for what others are to do first.
    fn wait_while(&self, held: impl Fn(&Life) -> bool) -> Result<MutexGuard<'_, Life>, Pkcs11Error> {
        let waited = self.turn.wait_timeout_while(self.life(), PATIENCE, |life| held(life));
        let (life, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match timeout.timed_out() {
            true => Err(Pkcs11Error::Restarting(PATIENCE.as_secs())),
            false => Ok(life),
        }
    }

    /// Keeps the module from being started anew while it is used.
    pub(super) fn enter(&self) -> Result<Visit<'_>, Pkcs11Error> {
        let mut life = self.wait_while(|life| life.restarting)?;
        life.visits += 1;
        Ok(Visit { module: self, generation: life.generation })
    }

    /// Ends and initializes the module, if nobody has since `seen`: some recover a lost connection
    /// only so. All its sessions are void afterwards. A call that hangs in the module keeps it from
    /// that: an error then, after [`PATIENCE`].
    pub(super) fn restart(&self, seen: u64) -> Result<(), Pkcs11Error> {
        let mut life = self.wait_while(|life| life.restarting)?;
        let recent = life.restarted.is_some_and(|at| at.elapsed() < RESTART_PAUSE);
        if life.generation != seen || recent {
            return Ok(());
        }
        life.restarting = true;
        drop(life);
        let alone = self.wait_while(|life| life.visits > 0).map(drop);
        let started = alone.and_then(|()| {
            tracing::warn!(module = %self.path.display(), "the token is lost; its module is started anew");
            // One that is not initialized says so, and is about to be.
            if let Err(error) = self.context.clone().finalize() {
                tracing::debug!(%error, "C_Finalize");
            }
            let started = initialize(&self.context);
            let mut life = self.life();
            life.generation += 1;
            life.restarted = Some(Instant::now());
            started
        });
        self.life().restarting = false;
        self.turn.notify_all();
        started
    }

    /// The sessions of the token that the URI names, shared by all its keys.
    pub(super) fn sessions(self: &Arc<Self>, uri: &Pkcs11Uri) -> Result<Arc<Sessions>, Pkcs11Error> {
        let visit = self.enter()?;
        let id = identity(&self.context.get_token_info(self.slot(uri)?)?);
        drop(visit);
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, sessions| sessions.strong_count() > 0);
        if let Some(sessions) = tokens.get(&id).and_then(Weak::upgrade) {
            return Ok(sessions);
        }
        let sessions = Arc::new(Sessions::new(self.clone()));
        tokens.insert(id, Arc::downgrade(&sessions));
        Ok(sessions)
    }

    /// The one slot whose token has all that the URI says of it.
    pub(super) fn slot(&self, uri: &Pkcs11Uri) -> Result<Slot, Pkcs11Error> {
        let fits = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end_matches([' ', '\0']))
        };
        let (mut fitting, mut labels) = (Vec::new(), Vec::new());
        for slot in self.context.get_slots_with_token()? {
            // A token may be taken out between the list and this.
            let Ok(info) = self.context.get_token_info(slot) else { continue };
            if fits(&uri.token, info.label())
                && fits(&uri.serial, info.serial_number())
                && fits(&uri.manufacturer, info.manufacturer_id())
                && fits(&uri.model, info.model())
            {
                fitting.push(slot);
            }
            if info.token_initialized() {
                labels.push(format!("{:?}", info.label().trim_end()));
            }
        }
        match fitting[..] {
            [slot] => Ok(slot),
            [] => Err(Pkcs11Error::NoToken {
                path: self.path.clone(),
                wanted: described(uri),
                found: if labels.is_empty() { "none".to_owned() } else { labels.join(", ") },
            }),
            _ => Err(Pkcs11Error::SeveralTokens {
                path: self.path.clone(),
                wanted: described(uri),
                count: fitting.len(),
            }),
        }
    }
}

fn initialize(context: &Pkcs11) -> Result<(), Pkcs11Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What tells a token from all others: the serial number alone is unique to its maker at most.
pub(super) fn identity(info: &TokenInfo) -> String {
    [info.manufacturer_id(), info.model(), info.serial_number(), info.label()].join("\0")
}

/// A token as the URI names it.
fn described(uri: &Pkcs11Uri) -> String {
    let parts = [
        ("token", &uri.token),
        ("serial", &uri.serial),
        ("manufacturer", &uri.manufacturer),
        ("model", &uri.model),
    ];
    let parts = parts.iter().filter_map(|(name, value)| Some(format!("{name}={:?}", value.as_ref()?)));
    parts.collect::<Vec<_>>().join(", ")
}
