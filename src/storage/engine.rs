//! What the group commit asks of an engine: point reads, bounded scans, and one durable, atomic
//! write at a time.

use std::ops::Bound;

use super::{StoreError, Table};

/// A key space of the engine: the users' tables, and two that no user of the store sees.
///
/// The order is the order of writes within a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// One of the store's tables.
    Table(Table),
    /// Pieces of records too large for one value.
    Chunks,
    /// The store's own bookkeeping: format, last version, sequence numbers. Apart from
    /// [`Table::Meta`], so that no batch can overwrite it and no export carries it along.
    System,
}

impl Space {
    /// How many there are.
    pub const COUNT: usize = Table::ALL.len() + 2;

    /// Every space, in the order of [`Space::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        Table::ALL.iter().copied().map(Self::Table).chain([Self::Chunks, Self::System])
    }

    /// Position in memory; not for the disk, since a new table shifts it.
    pub const fn index(self) -> usize {
        match self {
            Self::Table(table) => table as usize,
            Self::Chunks => Table::ALL.len(),
            Self::System => Table::ALL.len() + 1,
        }
    }

    /// The name on disk; never changes once released.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table(table) => table.name(),
            Self::Chunks => "chunks",
            Self::System => "system",
        }
    }
}

/// One change as the engine stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Create or replace; the value is at most 3 KiB.
    Put(Space, Vec<u8>, Vec<u8>),
    /// Remove; no error if absent.
    Delete(Space, Vec<u8>),
}

impl Write {
    /// Where it goes.
    pub fn target(&self) -> (Space, &[u8]) {
        match self {
            Self::Put(space, key, _) | Self::Delete(space, key) => (*space, key),
        }
    }
}

/// Key and value as the engine holds them.
pub type RawRow = (Vec<u8>, Vec<u8>);

/// A range of keys that is never inverted: `BTreeMap::range`, for one, panics on those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where to start.
    pub from: Bound<Vec<u8>>,
    /// Where to stop.
    pub to: Bound<Vec<u8>>,
}

impl Span {
    /// Keys that start with `prefix` and sort after `after`; `None` if no key can.
    ///
    /// Starting at the cursor, instead of skipping up to it, is what keeps a sweep from reading
    /// the tombstones of what it has already removed.
    pub fn new(prefix: &[u8], after: Option<&[u8]>) -> Option<Self> {
        let to = successor(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(prefix.to_vec()),
        };
        let past_end = match (&from, &to) {
            (Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        (!past_end).then_some(Self { from, to })
    }
}

/// The first key after every key that starts with `prefix`; `None` if there is no such key.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

/// What a group is for, of which depends how much room it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New data.
    Data,
    /// Removal, which is what gives a full disk its room back.
    Removal,
}

/// An ordered key-value engine, used by one writer and many readers.
///
/// Reads see a call of [`Engine::apply`] entirely or not at all, and only once it is durable.
/// [`StoreError::Failed`] means that the engine cannot be relied on any more.
pub trait Engine: Send + Sync + 'static {
    /// Reads one value.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Reads up to `limit` rows of `span`, in key order, starting at the span's start.
    fn scan(&self, space: Space, span: &Span, limit: usize) -> Result<Vec<RawRow>, StoreError>;

    /// Refuses with [`StoreError::NoSpace`] when there is too little room for a group of `bytes`.
    fn room(&self, bytes: usize, purpose: Purpose) -> Result<(), StoreError> {
        let _ = (bytes, purpose);
        Ok(())
    }

    /// Applies `writes`, sorted by space and key without repetition, atomically across spaces;
    /// durable when it returns.
    fn apply(&self, writes: Vec<Write>) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_and_names_are_distinct() {
        for (index, space) in Space::all().enumerate() {
            assert_eq!(space.index(), index);
        }
        let mut names: Vec<_> = Space::all().map(Space::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Space::COUNT);
    }

    #[test]
    fn spans_end_where_the_prefix_does() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"", None),
            (b"a", Some(b"b")),
            (b"\xff\xff", None),
            (b"a\xff", Some(b"b")),
            (b"az", Some(b"a{")),
        ];
        for (prefix, next) in table {
            assert_eq!(successor(prefix).as_deref(), *next, "{prefix:?}");
        }
        assert_eq!(Span::new(b"a", Some(b"b")), None);
        assert_eq!(Span::new(b"a", Some(b"c")), None);
        assert!(Span::new(b"\xff", Some(b"\xff\xff")).is_some());
        assert_eq!(Span::new(b"b", Some(b"a")).unwrap().from, Bound::Included(b"b".to_vec()));
        assert_eq!(Span::new(b"b", Some(b"b")).unwrap().from, Bound::Excluded(b"b".to_vec()));
    }
}
