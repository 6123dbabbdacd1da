//! Opening a store by name of its engine.

use std::path::Path;
use std::sync::Arc;

use super::group::GroupCommit;
use super::memory::Memory;
use super::{Store, StoreError, embedded};

/// The engines there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The default.
    Fjall,
    /// Experimental; only in builds with the cargo feature `sled`.
    Sled,
    /// Keeps nothing; for tests and trials. The path is not looked at.
    Memory,
}

/// Opens the store in the directory `path`, creating both as needed (mode 0700).
///
/// # Errors
///
/// [`StoreError::Failed`] says that another process holds the directory, that it has another
/// engine's or another format's files, or what the engine says; [`StoreError::NoSpace`] that the
/// file system is too full to begin a new store.
pub fn open(backend: Backend, path: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match backend {
        Backend::Memory => Arc::new(GroupCommit::start(Memory::default())?),
        Backend::Fjall => Arc::new(GroupCommit::start(embedded::fjall::Fjall::open(path)?)?),
        #[cfg(feature = "sled")]
        Backend::Sled => Arc::new(GroupCommit::start(embedded::sled::Sled::open(path)?)?),
        #[cfg(not(feature = "sled"))]
        Backend::Sled => {
            return Err(StoreError::Failed("this build is without the sled engine".into()));
        }
    })
}
