//! All entries, each in as few bytes as it takes: there may be millions, and of most of them there is only
//! one fresh certificate to be known. What many have alike (how long their certificates live, whose
//! provisioner they are) is kept once, and what few have (former certificates, failures, calls of campaigns)
//! is kept apart. An [`Entry`] is what they are put together to, for as long as it is looked at.

use std::collections::BTreeMap;

use super::entry::{Entry, time, window_end};
use super::kinds::{Kind, Kinds};
use super::pieces::{PIECE, Pieces, Place};
use super::rules::{Held, RECENT};
use super::{Cause, IdentityId, State};
use crate::x509::serial::Serial;

/// Which entry.
pub(super) type Slot = Place;

/// Entries by slot.
#[derive(Debug, Default)]
pub(super) struct Entries {
    packed: Pieces<Packed>,
    past: Pieces<Past>,
    setbacks: BTreeMap<Slot, Setbacks>,
    kinds: Kinds,
    /// Those whose serial does not begin with the hour in which their certificate ends, as far as 32 bits know
    /// it, or for whose kind there was no place.
    odd: BTreeMap<Slot, (Serial, Kind)>,
    /// By slot; pieces in which nobody was called are not there.
    marks: Vec<Option<Box<[Marks]>>>,
}

/// What every entry has. Of bytes, so that none is lost to alignment.
#[derive(Clone, Copy, Debug)]
struct Packed {
    id: IdentityId,
    /// The serial, without the hour that it begins with.
    random: [u8; Serial::RANDOM],
    issued: [u8; 4],
    /// The place of its past, or [`NONE`].
    past: [u8; 4],
    /// The number of its kind, unless it is odd.
    kind: [u8; 2],
    /// The state's place among all, or [`VACANT`], and the bits below.
    flags: u8,
}

const NONE: Place = Place::MAX;
const STATE: u8 = 0b111;
const VACANT: u8 = 0b111;
const REVOKED: u8 = 1 << 3;
const SETBACKS: u8 = 1 << 4;
const ODD: u8 = 1 << 5;

/// Former certificates: when each was signed and ended.
type Past = [(u32, u32); RECENT - 1];

/// That it was retired, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setbacks {
    retired: u32,
    failed: u32,
    failures: [u8; Cause::COUNT],
    last_cause: Cause,
}

/// What campaigns have to do with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Marks {
    asked: u32,
    calls: u32,
    answered: u32,
    called: [u32; RECENT],
}

impl Entries {
    /// Adds one; its slot.
    pub(super) fn insert(&mut self, entry: &Entry) -> Slot {
        let vacant = Packed {
            id: entry.id,
            random: [0; Serial::RANDOM],
            issued: [0; 4],
            past: NONE.to_ne_bytes(),
            kind: [0; 2],
            flags: VACANT,
        };
        let slot = self.packed.insert(vacant);
        self.put(slot, entry);
        slot
    }

    /// Forgets one. Its slot is vacant until it is another one's.
    pub(super) fn remove(&mut self, slot: Slot) {
        let packed = *self.packed.get(slot);
        let past = Place::from_ne_bytes(packed.past);
        if past != NONE {
            self.past.free(past);
        }
        self.leave_kind(&packed);
        self.packed.at(slot).flags = VACANT;
        self.setbacks.remove(&slot);
        self.odd.remove(&slot);
        self.put_marks(slot, Marks::default());
        self.packed.free(slot);
    }

    /// Whose it is.
    pub(super) fn id(&self, slot: Slot) -> &IdentityId {
        &self.packed.get(slot).id
    }

    /// How many slots there are, vacant ones included.
    pub(super) fn slots(&self) -> usize {
        self.packed.len()
    }

    /// One of those that are not vacant.
    pub(super) fn find(&self, slot: Slot) -> Option<Entry> {
        (self.packed.get(slot).flags & STATE != VACANT).then(|| self.get(slot))
    }

    /// One that is not vacant.
    pub(super) fn get(&self, slot: Slot) -> Entry {
        let packed = self.packed.get(slot);
        let has = |flag: u8| packed.flags & flag != 0;
        let issued = u32::from_ne_bytes(packed.issued);
        let odd = has(ODD).then(|| self.odd.get(&slot).copied()).flatten();
        let (serial, kind) = odd.unwrap_or_else(|| {
            let kind = self.kinds.get(u16::from_ne_bytes(packed.kind));
            (Serial::new(time(issued.wrapping_add(kind.life)), packed.random), kind)
        });
        let (not_before, expired) = (issued.wrapping_sub(kind.backdate), issued.wrapping_add(kind.life));
        let setbacks = has(SETBACKS).then(|| self.setbacks.get(&slot).copied()).flatten();
        let setbacks = setbacks.unwrap_or(Setbacks::NONE);
        let marks = self.marks(slot);
        let past = Place::from_ne_bytes(packed.past);
        let past = if past == NONE { Past::default() } else { *self.past.get(past) };
        let mut recent = [Held::default(); RECENT];
        let all = past.into_iter().chain([(issued, expired)]);
        for ((held, (issued, expired)), called) in recent.iter_mut().zip(all).zip(marks.called) {
            *held = Held { issued, expired, called };
        }
        Entry {
            id: packed.id,
            serial,
            recent,
            not_before,
            window_end: window_end(not_before, expired, &serial),
            retired: setbacks.retired,
            failed: setbacks.failed,
            failures: setbacks.failures,
            last_cause: setbacks.last_cause,
            revoked: has(REVOKED),
            automatic: kind.automatic,
            asked: marks.asked,
            calls: marks.calls,
            answered: marks.answered,
            provisioner: kind.provisioner,
            state: State::ALL.get(usize::from(packed.flags & STATE)).copied().unwrap_or(State::Retired),
        }
    }

    /// Puts one in the place of what was in its slot.
    pub(super) fn put(&mut self, slot: Slot, entry: &Entry) {
        let Entry { id, serial, recent, revoked, state, .. } = *entry;
        let [former @ .., latest] = recent;
        let random = serial.random();
        let kind = Kind::of(entry);
        let usual = Serial::new(time(latest.expired), random) == serial;
        self.leave_kind(&{ *self.packed.get(slot) });
        let number = usual.then(|| self.kinds.enter(kind)).flatten();
        let odd = number.is_none().then_some((serial, kind));
        let setbacks = Setbacks::of(entry);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let flags = state as u8
            | flag(revoked, REVOKED)
            | flag(setbacks != Setbacks::NONE, SETBACKS)
            | flag(odd.is_some(), ODD);
        let past = self.put_past(slot, former.map(|held| (held.issued, held.expired)));
        self.put_setbacks(slot, setbacks);
        self.put_odd(slot, odd);
        self.put_marks(slot, Marks::of(entry));
        *self.packed.at(slot) = Packed {
            id,
            random,
            issued: latest.issued.to_ne_bytes(),
            past: past.to_ne_bytes(),
            kind: number.unwrap_or_default().to_ne_bytes(),
            flags,
        };
    }

    fn put_past(&mut self, slot: Slot, past: Past) -> Place {
        let place = Place::from_ne_bytes(self.packed.get(slot).past);
        match (place, past == Past::default()) {
            (NONE, true) => NONE,
            (NONE, false) => self.past.insert(past),
            (place, true) => {
                self.past.free(place);
                NONE
            }
            (place, false) => {
                *self.past.at(place) = past;
                place
            }
        }
    }

    fn put_setbacks(&mut self, slot: Slot, setbacks: Setbacks) {
        if setbacks != Setbacks::NONE {
            self.setbacks.insert(slot, setbacks);
        } else if self.packed.get(slot).has(SETBACKS) {
            self.setbacks.remove(&slot);
        }
    }

    fn leave_kind(&mut self, packed: &Packed) {
        if packed.flags & STATE != VACANT && !packed.has(ODD) {
            self.kinds.leave(u16::from_ne_bytes(packed.kind));
        }
    }

    fn put_odd(&mut self, slot: Slot, odd: Option<(Serial, Kind)>) {
        if let Some(odd) = odd {
            self.odd.insert(slot, odd);
        } else if self.packed.get(slot).has(ODD) {
            self.odd.remove(&slot);
        }
    }

    fn put_marks(&mut self, slot: Slot, marks: Marks) {
        let (piece, within) = (slot as usize / PIECE, slot as usize % PIECE);
        if let Some(Some(there)) = self.marks.get_mut(piece) {
            there[within] = marks;
        } else if marks != Marks::default() {
            if self.marks.len() <= piece {
                self.marks.resize_with(piece + 1, || None);
            }
            let mut fresh = vec![Marks::default(); PIECE].into_boxed_slice();
            fresh[within] = marks;
            self.marks[piece] = Some(fresh);
        }
    }

    fn marks(&self, slot: Slot) -> Marks {
        let piece = self.marks.get(slot as usize / PIECE).and_then(Option::as_ref);
        piece.map_or_else(Marks::default, |piece| piece[slot as usize % PIECE])
    }

    /// The campaigns that call it, and it has not come.
    pub(super) fn calls(&self, slot: Slot) -> u32 {
        self.marks(slot).calls
    }

    /// Takes these campaigns' marks off all entries.
    pub(super) fn unmark(&mut self, campaigns: u32) {
        for piece in &mut self.marks {
            let Some(marks) = piece else { continue };
            for one in marks.iter_mut() {
                one.calls &= !campaigns;
                one.answered &= !campaigns;
            }
            if marks.iter().all(|one| *one == Marks::default()) {
                *piece = None;
            }
        }
    }
}

impl Packed {
    fn has(&self, flag: u8) -> bool {
        self.flags & STATE != VACANT && self.flags & flag != 0
    }
}

impl Setbacks {
    const NONE: Self = Self { retired: 0, failed: 0, failures: [0; Cause::COUNT], last_cause: Cause::Other };

    fn of(entry: &Entry) -> Self {
        let Entry { retired, failed, failures, last_cause, .. } = *entry;
        // Without a failure there is no cause that anybody asks for.
        let last_cause = if failed == 0 { Cause::Other } else { last_cause };
        Self { retired, failed, failures, last_cause }
    }
}

impl Marks {
    fn of(entry: &Entry) -> Self {
        let Entry { asked, calls, answered, recent, .. } = *entry;
        Self { asked, calls, answered, called: recent.map(|held| held.called) }
    }
}

#[cfg(test)]
mod tests;
