//! sled 0.34, for those who ask for it: experimental.
//!
//! Its own flush never syncs the data file (it calls `sync_file_range`), and acknowledged data was
//! lost in most power cuts tried; so this engine syncs the file itself. After a full disk it may
//! stay corrupt, which the guard of free space makes unlikely, not impossible.

use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::room::Room;
use super::{at, prepare};
use crate::storage::StoreError;
use crate::storage::engine::{Engine, Purpose, RawRow, Space, Span, Write};

/// Tries at a lock which a store closed a moment ago may still hold: sled releases it from a thread
/// of its own.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// An open directory.
///
/// All spaces are in one tree under prefixes, because a batch of sled's is atomic in one tree only.
pub struct Sled {
    /// Write-locked from the change until it is durable: sled itself shows a batch to readers before
    /// it is synced. Holds why the engine is not to be used any more, once that is so.
    durable: RwLock<Option<String>>,
    tree: sled::Db,
    file: File,
    room: Room,
}

impl Sled {
    /// Opens the directory, creating it if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        prepare(path, &["keyspaces", "version"])?;
        let room = Room::new(path);
        // Opening writes, and a full disk is what this engine does not survive.
        room.check(0, Purpose::Data)?;
        let config = sled::Config::new().path(path).flush_every_ms(None);
        let mut tries = 1;
        let tree = loop {
            match config.open() {
                Ok(tree) => break tree,
                Err(error) if !error.to_string().contains("could not acquire lock") => {
                    return Err(at(path, &format!("does not open: {error}")));
                }
                Err(_) if tries == LOCK_TRIES => return Err(at(path, "is in use by another process")),
                Err(_) => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
            }
        };
        let unsynced = |error| at(path, &format!("does not open: {error}"));
        let file = File::open(path.join("db")).map_err(unsynced)?;
        // The names of the files that sled has just created.
        File::open(path).and_then(|dir| dir.sync_all()).map_err(unsynced)?;
        Ok(Self { durable: RwLock::new(None), tree, file, room })
    }

    fn read<T>(&self, read: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
        let failed = self.durable.read().unwrap_or_else(PoisonError::into_inner);
        match failed.as_ref() {
            Some(reason) => Err(StoreError::Failed(reason.clone())),
            None => read().map_err(|error| StoreError::Failed(error.to_string())),
        }
    }

    fn write(&self, batch: sled::Batch) -> Result<(), String> {
        self.tree.apply_batch(batch).map_err(|error| error.to_string())?;
        self.tree.flush().map_err(|error| error.to_string())?;
        self.file.sync_data().map_err(|error| error.to_string())
    }
}

impl Engine for Sled {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|| Ok(self.tree.get(stored(space, key))?.map(|value| value.to_vec())))
    }

    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError> {
        let prefix = space.name().len() + 1;
        let from = span.from.as_ref().map(|key| stored(space, key));
        let to = match &span.to {
            Bound::Unbounded => Bound::Excluded([space.name().as_bytes(), &[1]].concat()),
            bound => bound.as_ref().map(|key| stored(space, key)),
        };
        self.read(|| {
            let rows = self.tree.range::<Vec<u8>, _>((from, to)).take(limit);
            rows.map(|row| row.map(|(key, value)| (key[prefix..].to_vec(), value.to_vec()))).collect()
        })
    }

    fn room(&self, bytes: usize, purpose: Purpose) -> Result<(), StoreError> {
        self.room.check(bytes, purpose)
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put(space, key, value) => batch.insert(stored(space, &key), value),
                Write::Delete(space, key) => batch.remove(stored(space, &key)),
            }
        }
        let mut failed = self.durable.write().unwrap_or_else(PoisonError::into_inner);
        self.write(batch).map_err(|reason| {
            *failed = Some(reason.clone());
            StoreError::Failed(reason)
        })
    }
}

/// The key in sled's one tree. No space's name is another's prefix up to the zero byte.
fn stored(space: Space, key: &[u8]) -> Vec<u8> {
    [space.name().as_bytes(), &[0], key].concat()
}
