//! fjall, the default engine: a log-structured tree with one journal for all its key spaces.
//!
//! A batch goes to the journal, the journal is synced, and only then the batch enters the tables
//! that readers see. After any error of its own it stays poisoned until it is opened again.
//!
//! When a key space's table in memory is to be written out is decided here. fjall 3.1 would ask its own
//! threads, through a bounded queue into which they send as well: where a table is too large every commit asks,
//! and where the journals are too long the threads do. Once all of them wait for room in that queue, nothing is
//! written out any more: journal and memory grow until the process is restarted, for minutes.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use fjall::compaction::Leveled;
use fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::room::Room;
use super::{at, prepare};
use crate::storage::StoreError;
use crate::storage::engine::{Engine, Purpose, RawRow, Space, Span, Write};

/// How far back the journals go, in bytes of rows: bounds the disk they take, and what the open after a crash
/// has to replay, at some 40 MB a second. A journal is one file of 64 MiB, which goes as a whole.
const JOURNALS: u64 = 64 << 20;

/// Bound of a key space's table in memory. Smaller than fjall's 64 MiB, so that what is still to be
/// written out when the free space reaches its floor is of the floor's order, and because there are ten or
/// so of them under load: with 16 MiB each the process is 45 MB larger for the same CPU, with 4 it costs more.
const MEMTABLE: u64 = 8 << 20;

/// Size of a table on disk, for stores that are made from now on. The first level takes four of these, and all
/// that overlaps is rewritten whenever four tables from memory, of 2 to 7 MB each, are merged into it.
const TABLE_ON_DISK: u64 = 8 << 20;

/// How many tables are kept open. fjall's 900 would take descriptors that are promised to connections; another
/// one is opened when it is read.
const OPEN_TABLES: usize = 128;

/// What a row takes beside its key and value, about.
const ROW: usize = 100;

/// An open directory.
pub struct Fjall {
    // Dropped before the database, which waits for its threads.
    keyspaces: Vec<Keyspace>,
    written: Mutex<Written>,
    bounds: Bounds,
    database: Database,
    room: Room,
}

/// When a table is written out.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// At so many bytes.
    table: u64,
    /// When so many were written since its first row: the journals go back to that one.
    journals: u64,
}

/// What was written since the start.
#[derive(Debug)]
struct Written {
    all: u64,
    tables: Vec<Memtable>,
}

/// What a table in memory holds.
#[derive(Clone, Copy, Debug, Default)]
struct Memtable {
    bytes: u64,
    /// What had been written when its first row came.
    since: u64,
}

impl Written {
    fn add(&mut self, write: &Write) {
        let (space, bytes) = match write {
            Write::Put(space, key, value) => (space, key.len() + value.len()),
            Write::Delete(space, key) => (space, key.len()),
        };
        let bytes = (bytes + ROW) as u64;
        let table = &mut self.tables[space.index()];
        if table.bytes == 0 {
            table.since = self.all;
        }
        table.bytes += bytes;
        self.all += bytes;
    }

    /// The tables that are to be written out now, and count from nothing again.
    fn full(&mut self, bounds: Bounds) -> Vec<usize> {
        let all = self.all;
        let is_full = |table: &Memtable| {
            table.bytes >= bounds.table || (table.bytes > 0 && all - table.since >= bounds.journals)
        };
        let tables = self.tables.iter_mut().enumerate();
        tables
            .filter(|(_, table)| is_full(table))
            .map(|(place, table)| (place, *table = Memtable::default()).0)
            .collect()
    }
}

impl Fjall {
    /// Opens the directory, creating it if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_within(path, JOURNALS, MEMTABLE)
    }

    /// As [`Fjall::open`], with bounds of the caller's.
    pub(crate) fn open_within(path: &Path, journals: u64, memtable: u64) -> Result<Self, StoreError> {
        prepare(path, &["db", "conf"])?;
        // Not refused for want of space: a store that takes no writes still serves its reads.
        // One thread: of several, one spins while another compacts, for it puts back what it does not take up.
        let database = Database::builder(path)
            .max_journaling_size(u64::MAX)
            .max_cached_files(Some(OPEN_TABLES))
            .worker_threads(1)
            .open()
            .map_err(|error| match error {
                Error::Locked => at(path, "is in use by another process"),
                other => at(path, &format!("does not open: {other}")),
            })?;
        let options = KeyspaceCreateOptions::default()
            .max_memtable_size(u64::MAX)
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_ON_DISK)));
        let keyspaces: Vec<Keyspace> = Space::all()
            .map(|space| database.keyspace(space.name(), || options.clone()))
            .collect::<Result<_, _>>()
            .map_err(|error| at(path, &format!("does not open: {error}")))?;
        // What is left in the journals from before was not counted: it is written out now, or, where there is no
        // room for that, once the journals have grown by their bound.
        let left = Memtable { bytes: 1, since: 0 };
        let mut written = Written { all: 0, tables: vec![left; keyspaces.len()] };
        let room = Room::new(path);
        if room.check(usize::try_from(2 * journals).unwrap_or(usize::MAX), Purpose::Data).is_ok() {
            keyspaces.iter().try_for_each(write_out)?;
            written.tables.fill(Memtable::default());
        }
        let written = Mutex::new(written);
        let bounds = Bounds { table: memtable, journals };
        Ok(Self { keyspaces, written, bounds, database, room })
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
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            written.add(&write);
            match write {
                Write::Put(space, key, value) => batch.insert(self.keyspace(space), key, value),
                Write::Delete(space, key) => batch.remove(self.keyspace(space), key),
            }
        }
        batch.commit().map_err(failed)?;
        let full = written.full(self.bounds);
        full.into_iter().try_for_each(|place| write_out(&self.keyspaces[place]))
    }
}

/// Has fjall's thread write a table out, if it has rows. What does it is not in fjall's documentation: there is
/// no other way, and the tests below would miss it.
fn write_out(keyspace: &Keyspace) -> Result<(), StoreError> {
    keyspace.rotate_memtable().map(|_| ()).map_err(failed)
}

fn failed(error: Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::{Entropy, SeededEntropy};
    use crate::storage::Table;

    #[test]
    fn tables_are_full_by_their_size_and_by_their_age() {
        let bounds = Bounds { table: 1000, journals: 2500 };
        let mut written = Written { all: 0, tables: vec![Memtable::default(); Space::COUNT] };
        let place = |table| Space::Table(table).index();
        let mut put = |table, value: usize| {
            written.add(&Write::Put(Space::Table(table), vec![0; 20], vec![0; value]));
            written.full(bounds)
        };
        assert!(put(Table::Meta, 80).is_empty());
        for _ in 0..2 {
            assert!(put(Table::Orders, 400).is_empty());
            assert_eq!(put(Table::Orders, 400), [place(Table::Orders)]);
        }
        // The row of 200 is 2,280 bytes back now; another moves nothing.
        assert!(put(Table::Meta, 80).is_empty());
        assert_eq!(put(Table::Accounts, 80), [place(Table::Meta)]);
        written.add(&Write::Delete(Space::Table(Table::Meta), vec![0; 900]));
        assert_eq!(written.full(bounds), [place(Table::Meta)]);
        assert!(written.full(bounds).is_empty());
    }

    /// What is written is written out and leaves the journals, however many key spaces are full at once. Left
    /// to fjall, its threads end up waiting for each other, within seconds of this load.
    #[test]
    fn tables_are_written_out_under_load() {
        const TABLE: u64 = 128 << 10;
        let home = tempfile::tempdir().unwrap();
        let engine = Fjall::open_within(home.path(), JOURNALS, TABLE).unwrap();
        let entropy: &dyn Entropy = &SeededEntropy::new(3);
        let noise: Vec<u8> = (0..256).flat_map(|_| entropy.bytes::<32>()).collect();
        for batch in 0..4_000_u32 {
            let write = |space: Space| {
                let from = batch as usize % 4096;
                let key = entropy.bytes::<16>().to_vec();
                Write::Put(space, key, noise[from..from + 4096].to_vec())
            };
            engine.apply(Space::all().map(write).collect()).unwrap();
        }
        let journals: u64 = std::fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "jnl"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert!(journals <= JOURNALS + (160 << 20), "{journals}");
    }

    /// Rows in their order make tables that are never merged, and each of them is read here.
    #[test]
    fn few_tables_are_kept_open() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().canonicalize().unwrap();
        let engine = Fjall::open_within(&path, JOURNALS, 1).unwrap();
        let space = Space::Table(Table::Audit);
        let mut rows = 0..100_000_u32;
        while engine.keyspace(space).table_count() <= 3 * OPEN_TABLES {
            let row = rows.next().unwrap();
            engine.apply(vec![Write::Put(space, row.to_be_bytes().to_vec(), vec![0; 16])]).unwrap();
        }
        (0..rows.start).for_each(|row| assert!(engine.get(space, &row.to_be_bytes()).unwrap().is_some()));
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let open = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let open = open.filter(|file| file.starts_with(&path)).count();
        assert!(open <= OPEN_TABLES + 32, "{open}");
    }
}
