//! How a record lies on disk, and how it is read back.
//!
//! A value is the record's version (8 bytes, big-endian) and its payload. A payload of more than
//! [`INLINE_MAX`] bytes is cut into chunks in a space of their own, because the default engine
//! wants values of 3 KiB or less; the value then has the version's top bit set and says where the
//! chunks are. Chunk keys carry the version, so chunks are written once and never changed: a reader
//! sees the old record whole or the new one whole, and a missing chunk means that the record has
//! moved on.

use super::engine::{Engine, RawRow, Space, Span, Write};
use super::{Row, StoreError, Table, Version, Versioned};

/// The largest payload kept beside its version, in bytes.
pub const INLINE_MAX: usize = 3000;

/// Payload bytes of one chunk.
const CHUNK: usize = 3000;

/// Marks a value whose payload is in chunks. Versions count commits and never come near it.
const CHUNKED: u64 = 1 << 63;

/// A value as the engine holds it, before its chunks are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// The payload is here.
    Inline(Versioned),
    /// The payload is in chunks.
    Chunked(Version, Chunks),
}

/// Where a record's chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Distinguishes records of one version.
    ordinal: u32,
    /// Payload bytes in all.
    len: u32,
}

impl Head {
    /// Reads a value; [`StoreError::Corrupt`] if it is not one.
    pub fn decode(table: Table, raw: &[u8]) -> Result<Self, StoreError> {
        let (mark, rest) = raw.split_first_chunk::<8>().ok_or_else(|| corrupt(table, "no version"))?;
        let mark = u64::from_be_bytes(*mark);
        let version = Version(mark & !CHUNKED);
        if mark & CHUNKED == 0 {
            return Ok(Self::Inline(Versioned { version, value: rest.to_vec() }));
        }
        match rest {
            [a, b, c, d, e, f, g, h] => Ok(Self::Chunked(
                version,
                Chunks {
                    ordinal: u32::from_be_bytes([*a, *b, *c, *d]),
                    len: u32::from_be_bytes([*e, *f, *g, *h]),
                },
            )),
            _ => Err(corrupt(table, "a malformed reference to chunks")),
        }
    }

    /// The record's version.
    pub const fn version(&self) -> Version {
        match self {
            Self::Inline(record) => record.version,
            Self::Chunked(version, _) => *version,
        }
    }
}

impl Chunks {
    /// The keys of the chunks, in the payload's order.
    pub fn keys(self, table: Table, version: Version) -> impl Iterator<Item = Vec<u8>> {
        (0u32..).take((self.len as usize).div_ceil(CHUNK)).map(move |index| {
            let mut key = chunk_prefix(table);
            key.extend(version.0.to_be_bytes());
            key.extend(self.ordinal.to_be_bytes());
            key.extend(index.to_be_bytes());
            key
        })
    }
}

/// What the keys of all chunks of `table` start with.
pub fn chunk_prefix(table: Table) -> Vec<u8> {
    [table.name().as_bytes(), &[0]].concat()
}

/// Adds the writes that store a record. `ordinal` is unique among the records of one group.
///
/// Returns whether the payload was chunked.
pub fn encode(
    table: Table,
    key: Vec<u8>,
    record: &Versioned,
    ordinal: u32,
    writes: &mut Vec<Write>,
) -> Result<bool, StoreError> {
    let payload = &record.value;
    if payload.len() <= INLINE_MAX {
        let value = [&record.version.0.to_be_bytes(), payload.as_slice()].concat();
        writes.push(Write::Put(Space::Table(table), key, value));
        return Ok(false);
    }
    let len = u32::try_from(payload.len())
        .map_err(|_| StoreError::TooLarge(format!("a value of {} bytes", payload.len())))?;
    let chunks = Chunks { ordinal, len };
    let mut value = (record.version.0 | CHUNKED).to_be_bytes().to_vec();
    value.extend(ordinal.to_be_bytes());
    value.extend(len.to_be_bytes());
    writes.push(Write::Put(Space::Table(table), key, value));
    for (key, chunk) in chunks.keys(table, record.version).zip(payload.chunks(CHUNK)) {
        writes.push(Write::Put(Space::Chunks, key, chunk.to_vec()));
    }
    Ok(true)
}

/// Reads the head of a record.
pub fn head(engine: &impl Engine, table: Table, key: &[u8]) -> Result<Option<Head>, StoreError> {
    engine.get(Space::Table(table), key)?.map(|raw| Head::decode(table, &raw)).transpose()
}

/// Reads a record whole.
pub fn read(engine: &impl Engine, table: Table, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
    let mut last = None;
    loop {
        let (version, chunks) = match head(engine, table, key)? {
            None => return Ok(None),
            Some(Head::Inline(record)) => return Ok(Some(record)),
            Some(Head::Chunked(version, chunks)) => (version, chunks),
        };
        if let Some(record) = join(engine, table, version, chunks)? {
            return Ok(Some(record));
        }
        // Replaced between the two reads, and then the head differs by now; or truly broken.
        if last == Some(version) {
            return Err(corrupt(table, "chunks are missing"));
        }
        last = Some(version);
    }
}

/// Reads up to `limit` whole records that start with `prefix` and sort after `after`; fewer mean
/// that there are no more.
pub fn scan(
    engine: &impl Engine,
    table: Table,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let mut cursor = after.map(<[u8]>::to_vec);
    while rows.len() < limit {
        let Some(span) = Span::new(prefix, cursor.as_deref()) else { break };
        let asked = limit - rows.len();
        let page = engine.scan(Space::Table(table), &span, asked)?;
        let ended = page.len() < asked;
        cursor = page.last().map(|(key, _)| key.clone());
        for raw in page {
            rows.extend(resolve(engine, table, raw)?);
        }
        // Records deleted under the scan leave it short without being its end: then go on.
        if ended {
            break;
        }
    }
    Ok(rows)
}

fn resolve(engine: &impl Engine, table: Table, (key, raw): RawRow) -> Result<Option<Row>, StoreError> {
    let record = match Head::decode(table, &raw)? {
        Head::Inline(record) => Some(record),
        Head::Chunked(version, chunks) => match join(engine, table, version, chunks)? {
            Some(record) => Some(record),
            None => read(engine, table, &key)?,
        },
    };
    Ok(record.map(|record| (key, record)))
}

/// Puts a payload together; `None` if a chunk is gone.
fn join(
    engine: &impl Engine,
    table: Table,
    version: Version,
    chunks: Chunks,
) -> Result<Option<Versioned>, StoreError> {
    let mut value = Vec::new();
    for key in chunks.keys(table, version) {
        let Some(chunk) = engine.get(Space::Chunks, &key)? else { return Ok(None) };
        value.extend(chunk);
    }
    if value.len() != chunks.len as usize {
        return Err(corrupt(table, "chunks of the wrong length"));
    }
    Ok(Some(Versioned { version, value }))
}

fn corrupt(table: Table, what: &str) -> StoreError {
    StoreError::Corrupt(format!("{}: {what}", table.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_decode_strictly() {
        let table = Table::Orders;
        assert!(matches!(Head::decode(table, b""), Err(StoreError::Corrupt(_))));
        assert!(matches!(Head::decode(table, &[0; 7]), Err(StoreError::Corrupt(_))));
        assert_eq!(Head::decode(table, &[0, 0, 0, 0, 0, 0, 0, 9]).unwrap().version(), Version(9));
        let mut reference = CHUNKED.to_be_bytes().to_vec();
        reference.extend([0; 7]);
        assert!(matches!(Head::decode(table, &reference), Err(StoreError::Corrupt(_))));
        reference.push(1);
        assert_eq!(
            Head::decode(table, &reference).unwrap(),
            Head::Chunked(Version(0), Chunks { ordinal: 0, len: 1 })
        );
    }

    /// The format on disk, byte for byte: a change here is a new format of the store.
    #[test]
    fn golden_bytes() {
        let encoded = |value: &[u8]| {
            let mut writes = Vec::new();
            let record = Versioned { version: Version(0x0102), value: value.to_vec() };
            encode(Table::Orders, b"k".to_vec(), &record, 5, &mut writes).unwrap();
            writes
        };
        let inline = vec![0, 0, 0, 0, 0, 0, 1, 2, b'v'];
        assert_eq!(encoded(b"v"), [Write::Put(Space::Table(Table::Orders), b"k".to_vec(), inline)]);
        let reference = vec![0x80, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 0, 0, 0x0b, 0xb9];
        let chunk =
            |index| [b"orders\0".as_slice(), &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 5, 0, 0, 0, index]].concat();
        assert_eq!(
            encoded(&[7; 3001]),
            [
                Write::Put(Space::Table(Table::Orders), b"k".to_vec(), reference),
                Write::Put(Space::Chunks, chunk(0), vec![7; 3000]),
                Write::Put(Space::Chunks, chunk(1), vec![7]),
            ]
        );
    }

    #[test]
    fn every_stored_value_is_at_most_three_kib() {
        for len in [0, 1, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 2 * CHUNK, 2 * CHUNK + 1, 1 << 20] {
            let record = Versioned { version: Version(7), value: vec![7; len] };
            let mut writes = Vec::new();
            let chunked = encode(Table::Orders, b"k".to_vec(), &record, 3, &mut writes).unwrap();
            assert_eq!(chunked, len > INLINE_MAX);
            assert_eq!(writes.len(), 1 + if chunked { len.div_ceil(CHUNK) } else { 0 });
            for write in writes {
                let Write::Put(_, _, value) = write else { panic!("only puts") };
                assert!(value.len() <= 3072, "{}", value.len());
            }
        }
    }
}
