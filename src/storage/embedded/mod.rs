//! Engines that keep their data in a directory of this machine.

pub mod fjall;
mod room;
#[cfg(feature = "sled")]
pub mod sled;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::StoreError;

/// Creates the directory if need be, for its owner alone, so that its name survives a power cut.
fn prepare(path: &Path, foreign: &[&str]) -> Result<(), StoreError> {
    create(path).map_err(|error| at(path, &format!("cannot be created: {error}")))?;
    // Another engine would see nothing of its own there and start an empty store beside it.
    if foreign.iter().all(|name| path.join(name).exists()) {
        return Err(at(path, "holds the files of another engine"));
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// An error that names the directory.
fn at(path: &Path, what: &str) -> StoreError {
    StoreError::Failed(format!("{} {what}", path.display()))
}
