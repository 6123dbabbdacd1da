//! Engines that keep their data in a directory of this machine.

pub mod fjall;
mod room;
#[cfg(feature = "sled")]
pub mod sled;

#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::StoreError;

/// Creates the directory if need be, for its owner alone, so that its name survives a power cut.
fn prepare(path: &Path, foreign: &[&str]) -> Result<(), StoreError> {
    create(path).map_err(|error| at(path, &format!("cannot be created: {error}")))?;
    close(path).map_err(|error| {
        at(path, &format!("is open to every user and cannot be closed ({error}); run: chmod o-rwx on it"))
    })?;
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

/// Takes a directory that somebody else made away from users at large: a store holds the secrets of
/// external account binding. A group's access is the operator's affair.
fn close(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o007 == 0 {
        return Ok(());
    }
    tracing::warn!(path = %path.display(), "the store's directory was open to every user; closing it");
    std::fs::set_permissions(path, Permissions::from_mode(mode & !0o007))
}

/// An error that names the directory.
fn at(path: &Path, what: &str) -> StoreError {
    StoreError::Failed(format!("{} {what}", path.display()))
}
