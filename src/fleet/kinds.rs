//! Kinds of certificates: what most of a fleet have in common with thousands of others, kept once for all.

use std::collections::BTreeMap;

use super::entry::Entry;
use super::rules::RECENT;

/// What certificates of one kind have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// From the signing to the end, seconds modulo 2^32.
    pub(super) life: u32,
    /// From the beginning to the signing, seconds modulo 2^32.
    pub(super) backdate: u32,
    pub(super) provisioner: u16,
    pub(super) automatic: bool,
}

impl Kind {
    pub(super) fn of(entry: &Entry) -> Self {
        let Entry { not_before, provisioner, automatic, recent, .. } = *entry;
        let latest = recent[RECENT - 1];
        Self {
            life: latest.expired.wrapping_sub(latest.issued),
            backdate: latest.issued.wrapping_sub(not_before),
            provisioner,
            automatic,
        }
    }
}

/// Kinds by number, each with how many are of it. There is place for 65,536: clients may ask for any end.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    all: Vec<(Kind, u32)>,
    numbers: BTreeMap<Kind, u16>,
    /// Numbers of those that nobody is of any more.
    free: Vec<u16>,
}

impl Kinds {
    /// One more is of a kind: the kind's number, if there is place for it.
    pub(super) fn enter(&mut self, kind: Kind) -> Option<u16> {
        if let Some(number) = self.numbers.get(&kind) {
            self.all[usize::from(*number)].1 += 1;
            return Some(*number);
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.all[usize::from(number)] = (kind, 1);
                number
            }
            None => {
                let number = u16::try_from(self.all.len()).ok()?;
                self.all.push((kind, 1));
                number
            }
        };
        self.numbers.insert(kind, number);
        Some(number)
    }

    /// One less is of the kind of this number.
    pub(super) fn leave(&mut self, number: u16) {
        let (kind, count) = &mut self.all[usize::from(number)];
        *count -= 1;
        if *count == 0 {
            self.numbers.remove(kind);
            self.free.push(number);
        }
    }

    /// The kind of a number that was given out.
    pub(super) fn get(&self, number: u16) -> Kind {
        self.all[usize::from(number)].0
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(life: u32) -> Kind {
        Kind { life, backdate: 60, provisioner: 1, automatic: false }
    }

    #[test]
    fn there_is_place_for_so_many_and_for_others_once_they_are_gone() {
        let mut kinds = Kinds::default();
        for life in 0..=u32::from(u16::MAX) {
            assert_eq!(kinds.enter(kind(life)).map(u32::from), Some(life));
        }
        assert_eq!((kinds.enter(kind(70_000)), kinds.enter(kind(7))), (None, Some(7)));
        kinds.leave(7);
        assert_eq!((kinds.get(7), kinds.enter(kind(70_000))), (kind(7), None));
        kinds.leave(7);
        assert_eq!((kinds.enter(kind(70_000)), kinds.get(7)), (Some(7), kind(70_000)));
        assert_eq!(kinds.enter(kind(7)), None);
    }
}
