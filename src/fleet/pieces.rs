//! Values by place, in pieces of a fixed size: one vector would be copied whenever it grows, and the fleet be
//! in memory twice meanwhile. What is removed leaves its place to the next one.

/// Values of a piece.
pub(super) const PIECE: usize = 4096;

/// A value's place.
pub(super) type Place = u32;

/// Values by place.
#[derive(Debug)]
pub(super) struct Pieces<T> {
    pieces: Vec<Vec<T>>,
    free: Vec<Place>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: Vec::new() }
    }
}

impl<T: Copy> Pieces<T> {
    /// Adds one; its place.
    pub(super) fn insert(&mut self, value: T) -> Place {
        if let Some(place) = self.free.pop() {
            *self.at(place) = value;
            return place;
        }
        if self.pieces.last().is_none_or(|last| last.len() == PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let place = self.len();
        if let Some(last) = self.pieces.last_mut() {
            last.push(value);
        }
        Place::try_from(place).unwrap_or(Place::MAX)
    }

    /// The one at a place that [`Pieces::insert`] gave.
    pub(super) fn get(&self, place: Place) -> &T {
        let place = place as usize;
        &self.pieces[place / PIECE][place % PIECE]
    }

    pub(super) fn at(&mut self, place: Place) -> &mut T {
        let place = place as usize;
        &mut self.pieces[place / PIECE][place % PIECE]
    }

    /// The place may be given to another from now on; what is there is left as it is.
    pub(super) fn free(&mut self, place: Place) {
        self.free.push(place);
    }

    /// One more than the last place, free ones included.
    pub(super) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_at_its_place() {
        let mut pieces = Pieces::default();
        let most = 2 * PIECE + 3;
        for n in 0..most {
            assert_eq!((pieces.len(), pieces.insert(n) as usize), (n, n));
        }
        for n in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, most - 1] {
            assert_eq!(*pieces.get(Place::try_from(n).unwrap()), n);
        }
        for place in [7, 4096] {
            pieces.free(place);
        }
        assert_eq!([pieces.insert(70), pieces.insert(71), pieces.insert(72)], [4096, 7, 8195]);
        assert_eq!((*pieces.get(7), *pieces.get(4096), pieces.len()), (71, 70, most + 1));
    }
}
