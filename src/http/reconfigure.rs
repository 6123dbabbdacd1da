//! Putting the configuration file into force again: asked for here, done by the daemon, which alone knows
//! files and settings.

use std::sync::Arc;

use crate::audit::Actor;
use crate::audit::configuration::How;
use crate::authority::rotation::NotYet;
use crate::service;
use crate::storage::BoxFuture;

/// A configuration is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub version: u64,
    /// Sections that have changed and take effect at the next start only.
    pub restart: Vec<String>,
}

/// A configuration was not put into force; what was in force still is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotApplied {
    /// Everything that is wrong with it, each with its place.
    #[error("the configuration is not valid")]
    Invalid(Vec<String>),
    /// A rotation's step may not be taken yet.
    #[error(transparent)]
    NotYet(NotYet),
    /// A fault of ours.
    #[error(transparent)]
    Failed(#[from] service::Error),
}

/// A look at the text of the file, when nothing else can come between it and its being put into force.
pub type Check = Box<dyn FnOnce(&str) -> Result<(), NotApplied> + Send>;

/// Reads the configuration file and puts it into force, all of it or nothing.
pub trait Reconfigure: Send + Sync {
    /// Does so, to the end also if nobody waits any more; of several that ask at once one is served after
    /// the other.
    fn reconfigure(
        self: Arc<Self>,
        how: How,
        by: Option<Actor>,
        check: Check,
    ) -> BoxFuture<'static, Result<Applied, NotApplied>>;
}
