//! All entries, in pieces of a fixed size: one vector would be copied whenever it grows, and the fleet be in
//! memory twice meanwhile.

use std::ops::{Index, IndexMut};

use super::entry::Entry;

/// Entries of a piece.
const PIECE: usize = 4096;

/// Entries by place.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<Vec<Entry>>);

impl Entries {
    /// Adds one; its place.
    pub(super) fn push(&mut self, entry: Entry) -> usize {
        if self.0.last().is_none_or(|last| last.len() == PIECE) {
            self.0.push(Vec::with_capacity(PIECE));
        }
        let before = (self.0.len() - 1) * PIECE;
        self.0.last_mut().map_or(before, |last| {
            last.push(entry);
            before + last.len() - 1
        })
    }

    /// From a place on, each with its place.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let (piece, within) = (first / PIECE, first % PIECE);
        self.0.iter().enumerate().skip(piece).flat_map(move |(number, entries)| {
            let skipped = if number == piece { within } else { 0 };
            entries
                .iter()
                .enumerate()
                .skip(skipped)
                .map(move |(place, entry)| (number * PIECE + place, entry))
        })
    }

    /// All of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.0.iter_mut().flatten()
    }
}

impl Index<usize> for Entries {
    type Output = Entry;

    fn index(&self, place: usize) -> &Entry {
        &self.0[place / PIECE][place % PIECE]
    }
}

impl IndexMut<usize> for Entries {
    fn index_mut(&mut self, place: usize) -> &mut Entry {
        &mut self.0[place / PIECE][place % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{IdentityId, Issuance};
    use crate::time::Timestamp;
    use crate::x509::serial::Serial;

    fn entry(n: usize) -> Entry {
        let at = Timestamp::from_secs(3600);
        let mut id = [0; IdentityId::LEN];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Entry::new(&Issuance {
            identity: IdentityId::from_key(&id).unwrap(),
            serial: Serial::new(at, [0; 16]),
            issued: at,
            not_before: at,
            not_after: at,
            revoked: false,
            automatic: false,
            provisioner: 0,
        })
    }

    #[test]
    fn each_is_at_its_place() {
        let mut entries = Entries::default();
        let most = 2 * PIECE + 3;
        for n in 0..most {
            assert_eq!(entries.push(entry(n)), n);
        }
        for n in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, most - 1] {
            assert_eq!(entries[n].id, entry(n).id);
            let places: Vec<usize> = entries.from(n).map(|(place, _)| place).collect();
            assert_eq!(places, (n..most).collect::<Vec<_>>());
            assert_eq!(entries.from(n).next().unwrap().1.id, entry(n).id);
        }
        assert_eq!((entries.from(most).count(), entries.from(9 * PIECE).count()), (0, 0));
        assert_eq!(entries.iter_mut().count(), most);
    }
}
