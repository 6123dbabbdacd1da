//! A module, loaded and initialized once in this process however many keys are behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::Slot;

use super::Pkcs11Error;
use crate::authority::key_source::Pkcs11Uri;

/// A token that is gone is not looked for more often, or every request would start its module anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

/// What a module was last started as.
pub(super) struct Life {
    /// Counts the starts; sessions of an earlier one are void.
    pub generation: u64,
    restarted: Option<Instant>,
}

/// A PKCS#11 module.
pub(super) struct Module {
    path: PathBuf,
    context: Pkcs11,
    /// Held for reading while the module works, for writing while it starts anew.
    life: RwLock<Life>,
}

impl Module {
    /// The module of that file.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        if cfg!(target_feature = "crt-static") {
            return Err(Pkcs11Error::Static);
        }
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(path) {
            return Ok(module.clone());
        }
        let context = Pkcs11::new(path).map_err(|error| {
            let reason = match error {
                Error::LibraryLoading(error) => error.to_string(),
                other => format!("it is no PKCS#11 module ({other})"),
            };
            Pkcs11Error::Load { path: path.to_owned(), reason }
        })?;
        initialize(&context)?;
        let life = RwLock::new(Life { generation: 0, restarted: None });
        let module = Arc::new(Self { path: path.to_owned(), context, life });
        modules.insert(path.to_owned(), module.clone());
        Ok(module)
    }

    pub(super) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    /// Keeps the module from being started anew while it is used.
    pub(super) fn enter(&self) -> RwLockReadGuard<'_, Life> {
        self.life.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends and initializes the module, if nobody has since `seen`: some recover a lost connection
    /// only so. All its sessions are void afterwards.
    pub(super) fn restart(&self, seen: u64) -> Result<(), Pkcs11Error> {
        let mut life = self.life.write().unwrap_or_else(PoisonError::into_inner);
        let recent = life.restarted.is_some_and(|at| at.elapsed() < RESTART_PAUSE);
        if life.generation != seen || recent {
            return Ok(());
        }
        life.generation += 1;
        life.restarted = Some(Instant::now());
        tracing::warn!(module = %self.path.display(), "the token is lost; its module is started anew");
        // One that is not initialized says so, and is about to be.
        if let Err(error) = self.context.clone().finalize() {
            tracing::debug!(%error, "C_Finalize");
        }
        initialize(&self.context)
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
