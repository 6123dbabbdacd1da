//! All identities, by name set, by next moment of change, and by state where there is something to say.

use std::collections::{BTreeMap, HashMap};

use hashbrown::HashTable;

use super::campaign::MOST_IN_FORCE;
use super::entries::{Entries, Slot};
use super::entry::{Entry, secs};
use super::follow::Followed;
use super::horizon::Ends;
use super::ordered::{Ordered, make_room};
use super::{Cause, Change, Group, Identity, IdentityId, Issuance, State, Summary, Trouble};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Whether an identity was retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It is now.
    Now,
    /// There is none of these names.
    Unknown,
}

/// Rotation health of every identity. See the module's doc.
#[derive(Debug, Default)]
pub struct Fleet {
    pub(super) entries: Entries,
    /// In [`SHARDS`], by a byte of the id: one table would be there twice whenever it grows.
    by_id: Vec<HashTable<Slot>>,
    /// Slots to be looked at in a minute. One that was moved since is still there, and passed over.
    queue: BTreeMap<u32, Vec<Slot>>,
    /// Those that are due or retired. (Others are healthy, or in trouble.)
    listed: BTreeMap<State, Ordered>,
    /// Those in trouble.
    troubled: BTreeMap<Group, Ordered>,
    ends: Ends,
    states: [u64; State::COUNT],
    failing: [u64; Cause::COUNT],
    /// The minute up to which time has passed.
    now: u32,
    /// A campaign's place is its bit in each entry.
    pub(super) followed: [Option<Followed>; MOST_IN_FORCE],
    /// The earliest start of a campaign that is about to be followed.
    pub(super) expects: Option<Timestamp>,
    /// Renewals since the start of a campaign whose members are not all known yet, whose and when: when it had
    /// asked before.
    pub(super) came: HashMap<(IdentityId, u32), u32>,
}

/// Tables by id.
const SHARDS: usize = 256;

fn shard(id: &IdentityId) -> usize {
    id.as_bytes().last().map_or(0, |byte| usize::from(*byte))
}

fn hash(id: &IdentityId) -> u64 {
    // They are digests already.
    id.as_bytes().first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight))
}

/// The minute that is running.
fn minute(at: Timestamp) -> u32 {
    secs(at) / 60
}

/// Whether identities in this state hold a certificate that will be missed.
fn is_live(state: State) -> bool {
    match state {
        State::Healthy | State::Due | State::Overdue => true,
        State::Expired | State::Retired => false,
    }
}

fn is_listed(state: State) -> bool {
    match state {
        State::Healthy | State::Overdue | State::Expired => false,
        State::Due | State::Retired => true,
    }
}

impl Fleet {
    /// Takes an issuance in: a new identity, a renewal, or, while the inventory is read, one of long ago.
    pub fn learn(&mut self, issuance: &Issuance, changed: &mut dyn FnMut(Change)) {
        match self.slot(&issuance.identity) {
            Some(slot) => {
                let mut before = None;
                self.change(slot, changed, |entry| {
                    before = Some(*entry);
                    entry.learn(issuance);
                });
                if let Some(before) = before.filter(|before| before.calls != 0 || before.asked != 0)
                    && self.entries.find(slot).is_some_and(|entry| entry.serial != before.serial)
                {
                    self.came(&before, issuance);
                    if before.calls != 0 {
                        self.answered(slot, (before.calls, before.asked), issuance.issued);
                    }
                }
            }
            None => {
                let mut entry = Entry::new(issuance);
                let Some(state) = entry.at(self.now) else { return };
                entry.state = state;
                let slot = self.insert(&entry);
                self.count(slot, &entry);
                self.enqueue(entry.next(), slot);
            }
        }
    }

    /// Takes a failed attempt in; one of an identity that never had a certificate is none of these.
    pub fn failed(
        &mut self,
        identity: &IdentityId,
        cause: Cause,
        at: Timestamp,
        changed: &mut dyn FnMut(Change),
    ) {
        if let Some(slot) = self.slot(identity) {
            self.change(slot, changed, |entry| entry.fail(cause, at));
        }
    }

    /// Takes in that a client's request was refused: of an identity that this CA renews by itself it says
    /// nothing, whoever sent it.
    pub fn refused(
        &mut self,
        identity: &IdentityId,
        cause: Cause,
        at: Timestamp,
        changed: &mut dyn FnMut(Change),
    ) {
        if self.slot(identity).is_some_and(|slot| !self.entries.get(slot).automatic) {
            self.failed(identity, cause, at, changed);
        }
    }

    /// Takes in that this CA does not renew an identity by itself any more, as was agreed or asked.
    pub fn ended(&mut self, identity: &IdentityId, changed: &mut dyn FnMut(Change)) {
        if let Some(slot) = self.slot(identity) {
            self.change(slot, changed, Entry::give_up);
        }
    }

    /// Takes in that a certificate was revoked; of one that was replaced nothing follows.
    pub fn revoked(&mut self, identity: &IdentityId, serial: &Serial, changed: &mut dyn FnMut(Change)) {
        if let Some(slot) = self.slot(identity)
            && self.entries.get(slot).serial == *serial
        {
            self.change(slot, changed, Entry::revoke);
            self.excuse(slot);
        }
    }

    /// Takes in that an identity is not to renew any more; until its next issuance.
    pub fn retire(
        &mut self,
        identity: &IdentityId,
        at: Timestamp,
        changed: &mut dyn FnMut(Change),
    ) -> Retired {
        match self.slot(identity) {
            Some(slot) => {
                self.change(slot, changed, |entry| entry.retire(at));
                self.excuse(slot);
                Retired::Now
            }
            None => Retired::Unknown,
        }
    }

    /// Whether it has let more time pass than there was: the clock was set back since, by more than clocks
    /// are kept right by. What it says is wrong then, and it is to be made anew.
    pub fn is_ahead_of(&self, now: Timestamp) -> bool {
        const MINUTES: u32 = 5;
        self.now > minute(now).saturating_add(MINUTES)
    }

    /// Lets the time pass, to the minute. A clock that was set back waits until it has caught up, but see
    /// [`Fleet::is_ahead_of`].
    pub fn advance(&mut self, now: Timestamp, changed: &mut dyn FnMut(Change)) {
        let now = minute(now);
        if now <= self.now {
            return;
        }
        self.now = now;
        while let Some(due) = self.queue.first_entry().filter(|due| *due.key() <= now) {
            let (at, slots) = due.remove_entry();
            for slot in slots {
                if self.entries.find(slot).is_some_and(|entry| entry.next() == at) {
                    self.change(slot, changed, |_| ());
                }
            }
        }
    }

    /// The fleet at a glance, as of the last [`Fleet::advance`].
    pub fn summary(&self) -> Summary {
        Summary { states: self.states, failing: self.failing, horizon: self.ends.horizon() }
    }

    /// How many certificates that are to be renewed end within these spans of now, minutes, the shortest
    /// first; and how many there are.
    pub fn expiring(&self, spans: &[u32]) -> (Vec<u64>, u64) {
        (self.ends.within(self.now, spans), self.ends.all())
    }

    /// How many live certificates expire in each of `cells` spans of `step` minutes from `first` on, and how
    /// many later.
    pub fn expiries(&self, first: Timestamp, step: u32, cells: usize) -> (Vec<u64>, u64) {
        self.ends.spread(minute(first), step, cells)
    }

    /// One identity.
    pub fn identity(&self, id: &IdentityId) -> Option<Identity> {
        self.slot(id).map(|slot| self.entries.get(slot).shown())
    }

    /// Up to `limit` identities in a state, what expires first in front, from behind `after`, an end and a
    /// place as returned with the last one. Of the healthy ones there is no list: the inventory has them.
    pub fn list(&self, state: State, after: Option<(u32, u32)>, limit: usize) -> Vec<(Identity, (u32, u32))> {
        let trouble = match state {
            State::Healthy | State::Due | State::Retired => None,
            State::Overdue => Some(Trouble::Overdue),
            State::Expired => Some(Trouble::Expired),
        };
        let groups = self.troubled.iter().filter(|(group, _)| Some(group.trouble) == trouble);
        let all = self.listed.get(&state).into_iter().chain(groups.map(|(_, members)| members));
        let mut places: Vec<(u32, Slot)> = all.flat_map(|some| some.behind(after).take(limit)).collect();
        places.sort_unstable();
        places.truncate(limit);
        places.into_iter().map(|place| (self.entries.get(place.1).shown(), place)).collect()
    }

    /// The groups of those in trouble, each with how many they are and who, what expires first in front.
    pub fn troubled(&self) -> impl Iterator<Item = (Group, usize, impl Iterator<Item = Identity>)> {
        self.troubled.iter().map(move |(group, members)| {
            let shown = members.behind(None).map(|(_, slot)| self.entries.get(slot).shown());
            (*group, members.len(), shown)
        })
    }

    pub(super) fn slot(&self, id: &IdentityId) -> Option<Slot> {
        self.by_id.get(shard(id))?.find(hash(id), |slot| self.entries.id(*slot) == id).copied()
    }

    fn insert(&mut self, entry: &Entry) -> Slot {
        let slot = self.entries.insert(entry);
        let entries = &self.entries;
        self.by_id.resize_with(SHARDS, HashTable::new);
        self.by_id[shard(&entry.id)].insert_unique(hash(&entry.id), slot, |slot| hash(entries.id(*slot)));
        slot
    }

    fn enqueue(&mut self, minute: u32, slot: Slot) {
        let queue = self.queue.entry(minute).or_default();
        make_room(queue);
        queue.push(slot);
    }

    /// Changes an entry and puts it where it belongs then.
    pub(super) fn change(
        &mut self,
        slot: Slot,
        changed: &mut dyn FnMut(Change),
        how: impl FnOnce(&mut Entry),
    ) {
        let mut entry = self.entries.get(slot);
        let (from, scheduled) = (entry.state, entry.next());
        self.leave(slot, &entry);
        how(&mut entry);
        let (identity, serial) = (entry.id, entry.serial);
        let to = entry.at(self.now);
        match to {
            Some(state) => {
                entry.state = state;
                self.entries.put(slot, &entry);
                self.count(slot, &entry);
                let next = entry.next();
                if next != scheduled {
                    self.enqueue(next, slot);
                }
            }
            None => {
                self.let_go(&entry);
                if let Ok(found) =
                    self.by_id[shard(&identity)].find_entry(hash(&identity), |other| *other == slot)
                {
                    found.remove();
                }
                self.entries.remove(slot);
            }
        }
        if to != Some(from) {
            changed(Change { identity, serial, from, to });
        }
    }

    fn count(&mut self, slot: Slot, entry: &Entry) {
        let (state, end) = (entry.state, entry.end());
        self.states[state as usize] += 1;
        if let Some(cause) = entry.failing() {
            self.failing[cause as usize] += 1;
        }
        if is_live(state) {
            self.ends.add(end);
        }
        if is_listed(state) {
            self.listed.entry(state).or_default().insert(end, slot);
        }
        if let Some(group) = entry.trouble() {
            self.troubled.entry(group).or_default().insert(end, slot);
        }
    }

    fn leave(&mut self, slot: Slot, entry: &Entry) {
        let (state, end) = (entry.state, entry.end());
        self.states[state as usize] -= 1;
        if let Some(cause) = entry.failing() {
            self.failing[cause as usize] -= 1;
        }
        if is_live(state) {
            self.ends.remove(end);
        }
        if let Some(members) = self.listed.get_mut(&state) {
            members.remove(end, slot);
        }
        if let Some(group) = entry.trouble()
            && let Some(members) = self.troubled.get_mut(&group)
        {
            members.remove(end, slot);
            if members.len() == 0 {
                self.troubled.remove(&group);
            }
        }
    }
}
