//! fjall, the default engine: a log-structured tree with one journal for all its key spaces.
//!
//! A batch goes to the journal, the journal is synced, and only then the batch enters the tables
//! that readers see. After any error of its own it stays poisoned until it is opened again.

use std::path::Path;

use fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::room::Room;
use super::{at, prepare};
use crate::storage::StoreError;
use crate::storage::engine::{Engine, Purpose, RawRow, Space, Span, Write};

/// Bound of the sealed journals together, in bytes: of the disk they take, and of what the open after
/// a crash has to replay, at some 40 MB a second. The one being written adds up to 64 MiB to it, and the sealed
/// ones may exceed it for as long as tables are written out. It is the least that fjall allows.
const JOURNALS: u64 = 64 << 20;

/// Bound of a key space's table in memory. Smaller than fjall's 64 MiB, so that what is still to be
/// written out when the free space reaches its floor is of the floor's order, and because there are ten or
/// so of them under load: with 16 MiB each the process is 45 MB larger for the same CPU, with 4 it costs more.
const MEMTABLE: u64 = 8 << 20;

/// An open directory.
pub struct Fjall {
    // Dropped before the database, which waits for its threads.
    keyspaces: Vec<Keyspace>,
    database: Database,
    room: Room,
}

impl Fjall {
    /// Opens the directory, creating it if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_within(path, JOURNALS, MEMTABLE)
    }

    /// As [`Fjall::open`], with bounds of the caller's.
    pub(crate) fn open_within(path: &Path, journals: u64, memtable: u64) -> Result<Self, StoreError> {
        prepare(path, &["db", "conf"])?;
        // Not refused for want of space: a store that takes no writes still serves its reads. What fjall
        // itself writes here are tables of what a crash left in the journals, no more than `JOURNALS`
        // and the one being written.
        let database =
            Database::builder(path).max_journaling_size(journals).open().map_err(|error| match error {
                Error::Locked => at(path, "is in use by another process"),
                other => at(path, &format!("does not open: {other}")),
            })?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
        let keyspaces = Space::all()
            .map(|space| database.keyspace(space.name(), options))
            .collect::<Result<_, _>>()
            .map_err(|error| at(path, &format!("does not open: {error}")))?;
        Ok(Self { keyspaces, database, room: Room::new(path) })
    }

    fn keyspace(&self, space: Space) -> &Keyspace {
        &self.keyspaces[space.index()]
    }
}

impl Engine for Fjall {
    // Reads are of a snapshot: without one, they could see the first half of a batch that is
    // entering the tables, an index without its record.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.database.snapshot().get(self.keyspace(space), key).map_err(failed)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError> {
        let range = (span.from.clone(), span.to.clone());
        let rows = self.database.snapshot().range::<Vec<u8>, _>(self.keyspace(space), range);
        rows.take(limit)
            .map(|row| {
                let (key, value) = row.into_inner().map_err(failed)?;
                Ok((key.to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn room(&self, bytes: usize, purpose: Purpose) -> Result<(), StoreError> {
        self.room.check(bytes, purpose)
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for write in writes {
            match write {
                Write::Put(space, key, value) => batch.insert(self.keyspace(space), key, value),
                Write::Delete(space, key) => batch.remove(self.keyspace(space), key),
            }
        }
        batch.commit().map_err(failed)
    }
}

fn failed(error: Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
