//! Records as they were last committed, so that whoever goes on with what has just been stored need not
//! look for it in the engine: a finalization reads the order that was opened a moment ago, and the
//! certificate is fetched right after.
//!
//! What is here is durable and the newest there is, because the writer alone changes it: it takes a record
//! out before the engine gets another, and puts the new one in when that is durable and before anybody
//! hears of it. In between, readers find nothing here and ask the engine. Readers put nothing in: what they
//! read may be older than what the writer has put meanwhile.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::storage::record::INLINE_MAX;
use crate::storage::{Table, Version, Versioned};

/// Bytes of all of it, roughly.
const BYTES: u64 = 8 << 20;
/// What a record takes besides its key and its value.
const OVERHEAD: u64 = 192;
/// How many there are: most have room for a kibibyte.
const USUAL: usize = (BYTES >> 10) as usize;

/// The records.
pub struct Recent(Cache<Place, Arc<Versioned>, Weight>);

/// Where a record is.
#[derive(Clone, PartialEq, Eq)]
struct Place(Table, Vec<u8>);

/// The same, of somebody else's key.
struct At<'a>(Table, &'a [u8]);

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        At(self.0, &self.1).hash(state);
    }
}

impl Hash for At<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(self.0 as u8);
        state.write(self.1);
    }
}

impl Equivalent<Place> for At<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        (self.0, self.1) == (place.0, place.1.as_slice())
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<Place, Arc<Versioned>> for Weight {
    fn weight(&self, place: &Place, record: &Arc<Versioned>) -> u64 {
        (place.1.len() + record.value.capacity()) as u64 + OVERHEAD
    }
}

impl Recent {
    /// Nothing yet.
    pub fn new() -> Self {
        Self(Cache::with_weighter(USUAL, BYTES, Weight))
    }

    /// Whether records of a table are read again soon.
    fn is_of_use(table: Table) -> bool {
        matches!(table, Table::Accounts | Table::Orders | Table::Grants | Table::Certificates)
    }

    fn found(&self, table: Table, key: &[u8]) -> Option<Arc<Versioned>> {
        if Self::is_of_use(table) { self.0.get(&At(table, key)) } else { None }
    }

    /// A record, if it is here.
    pub fn get(&self, table: Table, key: &[u8]) -> Option<Versioned> {
        self.found(table, key).map(|record| Versioned::clone(&record))
    }

    /// The version of a record, if it is here.
    pub fn version(&self, table: Table, key: &[u8]) -> Option<Version> {
        self.found(table, key).map(|record| record.version)
    }

    /// Whether to [`Recent::keep`] a record once it is durable.
    pub fn wants(table: Table, record: &Versioned) -> bool {
        Self::is_of_use(table) && record.value.len() <= INLINE_MAX
    }

    /// Before the engine is told of a change.
    pub fn forget(&self, table: Table, key: &[u8]) {
        if Self::is_of_use(table) {
            self.0.remove(&At(table, key));
        }
    }

    /// What is durable now.
    pub fn keep(&self, table: Table, key: Vec<u8>, record: Versioned) {
        self.0.insert(Place(table, key), Arc::new(record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_and_keeps_tables_apart() {
        let recent = Recent::new();
        let record = |n: u64| Versioned { version: Version(n), value: vec![1; 1000] };
        for n in 0..100_000u64 {
            recent.keep(Table::Orders, n.to_be_bytes().to_vec(), record(n));
        }
        assert!(recent.0.weight() <= BYTES && recent.0.weight() > BYTES / 2, "{}", recent.0.weight());
        let last = 99_999u64.to_be_bytes();
        assert_eq!(recent.get(Table::Orders, &last), Some(record(99_999)));
        assert_eq!(recent.version(Table::Orders, &last), Some(Version(99_999)));
        assert_eq!(recent.get(Table::Certificates, &last), None);
        recent.forget(Table::Certificates, &last);
        assert!(recent.get(Table::Orders, &last).is_some());
        recent.forget(Table::Orders, &last);
        assert_eq!(recent.get(Table::Orders, &last), None);
        assert!(!Recent::wants(Table::Audit, &record(1)), "nobody reads it soon");
        let large = Versioned { version: Version(1), value: vec![1; INLINE_MAX + 1] };
        assert!(Recent::wants(Table::Orders, &record(1)) && !Recent::wants(Table::Orders, &large));
    }
}
