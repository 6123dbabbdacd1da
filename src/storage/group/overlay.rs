//! One group in the making: checks evaluated in arrival order, changes gathered for one write.

use std::collections::BTreeMap;

use crate::storage::engine::{Engine, Purpose, Space, Write};
use crate::storage::record::{self, Head};
use crate::storage::{Batch, CommitOutcome, Expect, Op, StoreError, Table, Version, Versioned};

/// What the writer remembers between groups. The engine holds the same after each group.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The last version given out.
    version: u64,
    /// The last sequence number of each table.
    appended: [u64; TABLES],
    /// Whether a table may hold chunked records, and a record replaced must therefore be looked at
    /// for chunks to remove. Most tables never do, which saves the writer a read per change.
    chunked: [bool; TABLES],
}

const TABLES: usize = Table::ALL.len();

/// What is written under [`FORMAT_KEY`]. To be raised when older programs must not read the store.
const FORMAT: &[u8] = b"mayfly store 1";
const FORMAT_KEY: &[u8] = b"format";
const VERSION_KEY: &[u8] = b"version";

impl Ledger {
    /// Reads the ledger, and marks a new store with its format.
    pub fn open(engine: &impl Engine) -> Result<Self, StoreError> {
        let version = counter(engine, VERSION_KEY)?;
        match engine.get(Space::System, FORMAT_KEY)? {
            Some(found) if found == FORMAT => {}
            Some(found) => {
                return Err(StoreError::Failed(format!(
                    "its format is \"{}\", and this program reads \"{}\"",
                    found.escape_ascii(),
                    FORMAT.escape_ascii()
                )));
            }
            None if version == 0 => {
                engine.room(FORMAT.len(), Purpose::Data)?;
                engine.apply(vec![Write::Put(Space::System, FORMAT_KEY.to_vec(), FORMAT.to_vec())])?;
            }
            None => return Err(StoreError::Corrupt("the store lacks its format".into())),
        }
        let mut ledger = Self { version, appended: [0; TABLES], chunked: [false; TABLES] };
        for table in Table::ALL.iter().copied() {
            ledger.appended[table as usize] = counter(engine, &appended_key(table))?;
            ledger.chunked[table as usize] = has_chunks(engine, table)?;
        }
        Ok(ledger)
    }
}

fn appended_key(table: Table) -> Vec<u8> {
    [b"appended/", table.name().as_bytes()].concat()
}

fn counter(engine: &impl Engine, key: &[u8]) -> Result<u64, StoreError> {
    let Some(raw) = engine.get(Space::System, key)? else { return Ok(0) };
    let raw = raw.try_into().map_err(|_| StoreError::Corrupt("a malformed counter".into()))?;
    Ok(u64::from_be_bytes(raw))
}

fn has_chunks(engine: &impl Engine, table: Table) -> Result<bool, StoreError> {
    use crate::storage::engine::Span;
    let Some(span) = Span::new(&record::chunk_prefix(table), None) else { return Ok(false) };
    Ok(!engine.scan(Space::Chunks, &span, 1)?.is_empty())
}

/// The changes of one group over the engine's state.
pub struct Overlay<'a, E> {
    engine: &'a E,
    ledger: &'a mut Ledger,
    changes: BTreeMap<(Table, Vec<u8>), Change>,
    appended: [bool; TABLES],
    /// Whether a batch of this group held; an empty one counts, since it proves durability.
    any: bool,
}

struct Change {
    /// The record put, or none for a delete.
    record: Option<Versioned>,
    /// Nothing can have been there before this group.
    fresh: bool,
}

impl<'a, E: Engine> Overlay<'a, E> {
    /// An empty group.
    pub fn new(engine: &'a E, ledger: &'a mut Ledger) -> Self {
        Self { engine, ledger, changes: BTreeMap::new(), appended: [false; TABLES], any: false }
    }

    /// Evaluates the checks; if all hold, the batch's changes join the group.
    pub fn add(&mut self, batch: Batch) -> Result<CommitOutcome, StoreError> {
        for (table, key, expect) in batch.checks {
            if !self.holds(table, key, expect)? {
                return Ok(CommitOutcome::Conflict);
            }
        }
        self.ledger.version += 1;
        self.any = true;
        let version = Version(self.ledger.version);
        for op in batch.ops {
            match op {
                Op::Put(table, key, value) => self.change(table, key, Some(Versioned { version, value })),
                Op::Delete(table, key) => self.change(table, key, None),
                Op::Append(table, value) => self.append(table, Versioned { version, value }),
            }
        }
        Ok(CommitOutcome::Committed(version))
    }

    fn holds(&self, table: Table, key: Vec<u8>, expect: Expect) -> Result<bool, StoreError> {
        let place = (table, key);
        let found = match self.changes.get(&place) {
            Some(change) => change.record.as_ref().map(|record| record.version),
            None => record::head(self.engine, table, &place.1)?.map(|head| head.version()),
        };
        Ok(match expect {
            Expect::Absent => found.is_none(),
            Expect::Is(version) => found == Some(version),
        })
    }

    fn change(&mut self, table: Table, key: Vec<u8>, record: Option<Versioned>) {
        self.changes
            .entry((table, key))
            .and_modify(|change| change.record.clone_from(&record))
            .or_insert(Change { record, fresh: false });
    }

    fn append(&mut self, table: Table, record: Versioned) {
        let next = &mut self.ledger.appended[table as usize];
        *next += 1;
        self.appended[table as usize] = true;
        let key = next.to_be_bytes().to_vec();
        self.changes.insert((table, key), Change { record: Some(record), fresh: true });
    }

    /// Applies the group; everything added is durable when it returns.
    pub fn apply(mut self) -> Result<(), StoreError> {
        if !self.any {
            return Ok(());
        }
        let mut writes = Vec::with_capacity(self.changes.len() + 2);
        for (ordinal, ((table, key), change)) in (0u32..).zip(std::mem::take(&mut self.changes)) {
            if !change.fresh && self.ledger.chunked[table as usize] {
                self.remove_chunks(table, &key, &mut writes)?;
            }
            match change.record {
                None => writes.push(Write::Delete(Space::Table(table), key)),
                Some(record) => {
                    let chunked = record::encode(table, key, &record, ordinal, &mut writes)?;
                    self.ledger.chunked[table as usize] |= chunked;
                }
            }
        }
        self.write_ledger(&mut writes);
        writes.sort_by(|a, b| a.target().cmp(&b.target()));
        self.engine.apply(writes)
    }

    /// Removes the chunks of the record that the engine holds under `key`.
    fn remove_chunks(&self, table: Table, key: &[u8], writes: &mut Vec<Write>) -> Result<(), StoreError> {
        match record::head(self.engine, table, key) {
            Ok(Some(Head::Chunked(version, chunks))) => {
                writes.extend(chunks.keys(table, version).map(|key| Write::Delete(Space::Chunks, key)));
                Ok(())
            }
            // A head that does not decode is being replaced or removed: that is its repair.
            Ok(_) | Err(StoreError::Corrupt(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write_ledger(&self, writes: &mut Vec<Write>) {
        let mut put = |key: Vec<u8>, value: u64| {
            writes.push(Write::Put(Space::System, key, value.to_be_bytes().to_vec()));
        };
        put(VERSION_KEY.to_vec(), self.ledger.version);
        for table in Table::ALL.iter().copied().filter(|table| self.appended[*table as usize]) {
            put(appended_key(table), self.ledger.appended[table as usize]);
        }
    }
}
