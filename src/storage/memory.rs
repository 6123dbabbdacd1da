//! The engine that keeps nothing: for tests and trials.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::StoreError;
use super::engine::{Engine, RawRow, Space, Span, Write};

/// Ordered maps behind one lock, so that a group is seen whole or not at all.
#[derive(Debug, Default)]
pub struct Memory(RwLock<[BTreeMap<Vec<u8>, Vec<u8>>; Space::COUNT]>);

impl Engine for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let spaces = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Ok(spaces[space.index()].get(key).cloned())
    }

    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError> {
        let spaces = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let range = spaces[space.index()].range((span.from.clone(), span.to.clone()));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut spaces = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            match write {
                Write::Put(space, key, value) => spaces[space.index()].insert(key, value),
                Write::Delete(space, key) => spaces[space.index()].remove(&key),
            };
        }
        Ok(())
    }
}
