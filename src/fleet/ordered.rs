//! Slots in the order in which their certificates end. A third of a fleet may be in trouble at once, millions,
//! many of them in each minute: one costs four bytes here and some spare room then, and twenty in a set of the
//! standard library's.

use std::collections::BTreeMap;

use super::entries::Slot;

/// Slots of a piece: what is moved in memory at most to put one in or take one out is 2 KiB.
const MOST: usize = 512;

/// Slots, each under the minute of an end, in this order.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// By an end, and a slot that none of the piece is below and all of the former piece are. None is empty.
    pieces: BTreeMap<(u32, Slot), Vec<Slot>>,
    len: usize,
}

impl Ordered {
    /// Puts one in; nothing if it is there.
    pub(super) fn insert(&mut self, end: u32, slot: Slot) {
        let first = self.piece_of(end, slot).unwrap_or((end, Slot::MIN));
        let piece = self.pieces.entry(first).or_default();
        let Err(place) = piece.binary_search(&slot) else { return };
        self.len += 1;
        if piece.len() == MOST {
            // Most come in their order: pieces that are left behind are full then.
            let mut upper = piece.split_off(if place == MOST { MOST } else { MOST / 2 });
            match place.checked_sub(piece.len()) {
                Some(place) => put(&mut upper, place, slot),
                None => put(piece, place, slot),
            }
            piece.shrink_to_fit();
            if let Some(first) = upper.first() {
                self.pieces.insert((end, *first), upper);
            }
        } else {
            put(piece, place, slot);
        }
    }

    /// Takes one out, if it is there.
    pub(super) fn remove(&mut self, end: u32, slot: Slot) {
        let Some(first) = self.piece_of(end, slot) else { return };
        let Some(piece) = self.pieces.get_mut(&first) else { return };
        let Ok(place) = piece.binary_search(&slot) else { return };
        self.len -= 1;
        piece.remove(place);
        if piece.is_empty() {
            self.pieces.remove(&first);
        } else if piece.len() < piece.capacity() / 2 {
            piece.shrink_to(piece.len() + piece.len() / 4);
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Those behind `after`, each with its end.
    pub(super) fn behind(&self, after: Option<(u32, Slot)>) -> impl Iterator<Item = (u32, Slot)> {
        let first = after.map(|(end, slot)| self.piece_of(end, slot).unwrap_or((end, slot)));
        let pieces = self.pieces.range(first.unwrap_or_default()..);
        pieces
            .flat_map(|((end, _), slots)| slots.iter().map(|slot| (*end, *slot)))
            .skip_while(move |place| after.is_some_and(|after| *place <= after))
    }

    /// The piece that has it, or would.
    fn piece_of(&self, end: u32, slot: Slot) -> Option<(u32, Slot)> {
        self.pieces.range((end, Slot::MIN)..=(end, slot)).next_back().map(|(first, _)| *first)
    }
}

fn put(piece: &mut Vec<Slot>, place: usize, slot: Slot) {
    make_room(piece);
    piece.insert(place, slot);
}

/// Makes room for one more. Lists of slots are among the largest things here: long ones grow by an eighth, so
/// that little of them is spare room.
pub(super) fn make_room(slots: &mut Vec<Slot>) {
    if slots.len() == slots.capacity() {
        slots.reserve_exact(slots.len() / 8 + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn check(ordered: &Ordered, model: &BTreeSet<(u32, Slot)>) {
        assert_eq!(ordered.len(), model.len());
        assert!(ordered.behind(None).eq(model.iter().copied()));
        for ((end, first), piece) in &ordered.pieces {
            assert!((1..=MOST).contains(&piece.len()) && piece[0] >= *first, "{end} {first}");
        }
    }

    proptest! {
        /// Against the standard library's set, with slots dense enough that pieces fill, split and go.
        #[test]
        fn is_a_set_in_order(
            steps in prop::collection::vec((0..4u8, 0..3u32, 0..1500u32, 1..700u32), 1..40),
            after in (0..4u32, 0..1500u32),
        ) {
            let (mut ordered, mut model) = (Ordered::default(), BTreeSet::new());
            for (kind, end, slot, count) in steps {
                let slots: Vec<Slot> = match kind {
                    0 | 1 => (slot..slot + count).collect(),
                    2 => (slot..slot + count).rev().collect(),
                    _ => (slot..slot + count).step_by(3).collect(),
                };
                for slot in slots {
                    if kind == 1 {
                        ordered.remove(end, slot);
                        model.remove(&(end, slot));
                    } else {
                        ordered.insert(end, slot);
                        model.insert((end, slot));
                    }
                }
            }
            check(&ordered, &model);
            prop_assert!(ordered.behind(Some(after)).eq(model.iter().copied().filter(|place| *place > after)));
            for (end, slot) in std::mem::take(&mut model) {
                ordered.remove(end, slot);
            }
            check(&ordered, &model);
        }
    }

    #[test]
    fn in_their_order_they_fill_their_pieces() {
        let mut ordered = Ordered::default();
        let many = 10 * MOST as u32;
        (0..many).for_each(|slot| ordered.insert(7, slot));
        assert_eq!((ordered.pieces.len(), ordered.len()), (10, many as usize));
        let room: usize = ordered.pieces.values().map(Vec::capacity).sum();
        assert!(room <= ordered.len() * 9 / 8, "{room}");
        // And what is left of a piece has no more room than it needs.
        (0..many).filter(|slot| slot % 8 != 0).for_each(|slot| ordered.remove(7, slot));
        let room: usize = ordered.pieces.values().map(Vec::capacity).sum();
        assert!(room <= ordered.len() * 2, "{room}");
    }
}
