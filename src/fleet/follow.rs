//! What comes of a campaign: which identities were called, which asked, which renewed, and when.
//!
//! An identity holds one bit for each campaign that is followed, so that what is kept does not grow with
//! their number, and the reaction curve is of a fixed number of points. What was asked is known since this
//! process runs; who was called and who renewed follows from the inventory, and so is known again after a
//! restart.

use std::collections::HashMap;

use super::entries::Slot;
use super::entry::{Entry, secs, time};
use super::watch::Fleet;
use super::{Change, Identity, IdentityId, Issuance, State};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Points of a curve, at most.
const POINTS: usize = 240;

/// Renewals that are kept in mind while members are looked for: some 10 MB, and more than come in the minutes
/// that ten million identities take. Whoever comes beyond that is not known to have asked.
const MOST_CAME: usize = 400_000;

/// Identities that one page of [`Fleet::unanswered`] walks over.
const WALK: usize = 50_000;

/// What happened within one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Windows that began.
    pub called: u32,
    /// Identities that asked for renewal information for the first time since the campaign was begun.
    pub asked: u32,
    /// Identities that renewed.
    pub renewed: u32,
}

/// A certificate that a campaign calls over.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its names.
    pub identity: IdentityId,
    /// Its serial.
    pub serial: Serial,
    /// When it was signed.
    pub issued: Timestamp,
    /// When its window begins.
    pub begin: Timestamp,
}

/// A campaign that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Its number.
    pub campaign: u64,
    /// When it was begun.
    pub created: Timestamp,
    /// When its first window begins.
    pub start: Timestamp,
    /// Whether all that it calls are known to be; until then there are more than it says.
    pub complete: bool,
    /// Identities that it calls, those that came included.
    pub members: u64,
    /// Of these, those that have asked since it was begun, as far as this process knows.
    pub asked: u64,
    /// Of these, those that have renewed.
    pub renewed: u64,
    /// Of those that have renewed, those that are not known to have asked.
    pub unasked: u64,
    /// Members that were retired or revoked: nobody waits for them.
    pub excused: u64,
    /// Seconds of a point.
    width: u64,
    points: Vec<Point>,
}

/// An identity that was called and has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Which.
    pub identity: Identity,
    /// When it last asked for its certificate's renewal information while a campaign was followed, as far as
    /// this process knows.
    pub asked: Option<Timestamp>,
}

impl Followed {
    /// A campaign that nobody is known to be called by yet.
    pub fn new(campaign: u64, created: Timestamp, start: Timestamp) -> Self {
        Self {
            campaign,
            created,
            start,
            complete: false,
            members: 0,
            asked: 0,
            renewed: 0,
            unasked: 0,
            excused: 0,
            width: 1,
            points: Vec::new(),
        }
    }

    /// Members that have not come and are waited for.
    pub fn missing(&self) -> u64 {
        self.members.saturating_sub(self.renewed + self.excused)
    }

    /// The reaction curve: spans from [`Followed::created`] on, each of so many seconds.
    pub fn curve(&self) -> (u64, &[Point]) {
        (self.width, &self.points)
    }

    fn at(&mut self, at: Timestamp) -> &mut Point {
        let since = at.since(self.created).as_secs();
        while since / self.width >= POINTS as u64 {
            self.width *= 2;
            let halves = self.points.chunks(2).map(|two| {
                two.iter().fold(Point::default(), |sum, one| Point {
                    called: sum.called + one.called,
                    asked: sum.asked + one.asked,
                    renewed: sum.renewed + one.renewed,
                })
            });
            self.points = halves.collect();
        }
        let place = usize::try_from(since / self.width).unwrap_or(POINTS - 1);
        if self.points.len() <= place {
            self.points.resize(place + 1, Point::default());
        }
        &mut self.points[place]
    }

    fn renewed(&mut self, at: Timestamp, asked: u32) {
        self.renewed += 1;
        if asked < secs(self.created) {
            self.unasked += 1;
        }
        self.at(at).renewed += 1;
    }

    fn asked(&mut self, at: u32) {
        self.asked += 1;
        self.at(time(at)).asked += 1;
    }
}

impl Fleet {
    /// That campaigns are to be followed that are not yet, and when the first of them starts: then who asks is
    /// noted.
    pub fn expect_campaign(&mut self, start: Option<Timestamp>) {
        if self.expects != start {
            self.expects = start;
            self.forget_who_came();
        }
    }

    /// Whether it is noted who asks.
    pub fn notes_asking(&self) -> bool {
        self.expects.is_some() || self.followed.iter().any(Option::is_some)
    }

    /// Follows a campaign; false if no more can be.
    pub fn follow(&mut self, campaign: Followed) -> bool {
        if self.place(campaign.campaign).is_some() {
            return true;
        }
        match self.followed.iter_mut().find(|place| place.is_none()) {
            Some(free) => {
                *free = Some(campaign);
                true
            }
            None => false,
        }
    }

    /// Follows a campaign no more. Costs a look at each identity near one that was called.
    pub fn unfollow(&mut self, campaign: u64) {
        let Some(place) = self.place(campaign) else { return };
        self.followed[place] = None;
        self.entries.unmark(1 << place);
        self.forget_who_came();
    }

    /// The campaigns that are followed.
    pub fn following(&self) -> Vec<u64> {
        self.followed.iter().flatten().map(|followed| followed.campaign).collect()
    }

    /// Notes that all members are known.
    pub fn enrolled(&mut self, campaign: u64) {
        if let Some(place) = self.place(campaign)
            && let Some(followed) = &mut self.followed[place]
        {
            followed.complete = true;
        }
        self.forget_who_came();
    }

    /// Notes who renews before it is known whether a campaign has called it, and when it had asked; `before` is
    /// what it was before that.
    pub(super) fn came(&mut self, before: &Entry, issuance: &Issuance) {
        let (asked, issued) = (before.asked, secs(issuance.issued));
        // Of a renewal of long ago that is only read now, an ask of today says nothing.
        if asked == 0 || asked > issued || self.came.len() >= MOST_CAME {
            return;
        }
        let expected = self.expects.is_some_and(|start| start <= issuance.issued);
        let mut followed = self.followed.iter().enumerate();
        let unreached = followed.any(|(place, followed)| {
            followed.as_ref().is_some_and(|followed| {
                !followed.complete
                    && followed.start <= issuance.issued
                    && asked >= secs(followed.created)
                    && (before.calls | before.answered) & (1 << place) == 0
            })
        });
        if expected || unreached {
            self.came.entry((issuance.identity, issued)).or_insert(asked);
        }
    }

    /// Keeps what a campaign may still ask for.
    fn forget_who_came(&mut self) {
        match self.unknown_since() {
            Some(start) => self.came.retain(|(_, issued), _| *issued >= secs(start)),
            None => self.came = HashMap::new(),
        }
    }

    /// The earliest start of a campaign of which not all members are known.
    fn unknown_since(&self) -> Option<Timestamp> {
        let followed = self.followed.iter().flatten().filter(|followed| !followed.complete);
        followed.map(|followed| followed.start).chain(self.expects).min()
    }

    /// What has come of a campaign so far; `None` if it is not followed.
    pub fn reaction(&self, campaign: u64) -> Option<&Followed> {
        self.followed[self.place(campaign)?].as_ref()
    }

    /// Takes in that a campaign calls a certificate; again, nothing changes. The certificate that an identity
    /// has renewed since the start counts as well, but not one that it had renewed by then.
    pub fn enrol(&mut self, campaign: u64, member: &Member, changed: &mut dyn FnMut(Change)) {
        let (Some(place), Some(slot)) = (self.place(campaign), self.slot(&member.identity)) else { return };
        let Some(followed) = &mut self.followed[place] else { return };
        let mut entry = self.entries.get(slot);
        if (entry.calls | entry.answered) & (1 << place) != 0 {
            return;
        }
        let renewed = if entry.serial == member.serial {
            None
        } else {
            match entry.first_after(member.issued) {
                Some(after) if after >= followed.start => Some(after),
                Some(_) | None => return,
            }
        };
        followed.members += 1;
        followed.at(member.begin.max(followed.start)).called += 1;
        match renewed {
            Some(at) => {
                let asked = self.came.get(&(member.identity, secs(at))).copied().unwrap_or(0);
                if asked >= secs(followed.created) {
                    followed.asked(asked);
                }
                followed.renewed(at, asked);
            }
            None if entry.asked >= secs(followed.created) => followed.asked(entry.asked),
            None => {}
        }
        if renewed.is_some() {
            entry.answered |= 1 << place;
        } else if entry.state == State::Retired {
            followed.excused += 1;
            entry.answered |= 1 << place;
        } else {
            entry.calls |= 1 << place;
        }
        let start = followed.start;
        self.entries.put(slot, &entry);
        self.called(&member.identity, member.issued, start, changed);
    }

    /// Takes in that the certificate which an identity got at `issued` was called over from `start` on: what
    /// it does then is no habit.
    pub fn called(
        &mut self,
        identity: &IdentityId,
        issued: Timestamp,
        start: Timestamp,
        changed: &mut dyn FnMut(Change),
    ) {
        if let Some(slot) = self.slot(identity) {
            self.change(slot, changed, |entry| entry.called(issued, start));
        }
    }

    /// Takes in that somebody asked when a certificate is to be renewed.
    pub fn asked(&mut self, identity: &IdentityId, serial: &Serial, at: Timestamp) {
        if !self.notes_asking() {
            return;
        }
        let Some(slot) = self.slot(identity) else { return };
        let mut entry = self.entries.get(slot);
        if entry.serial != *serial {
            return;
        }
        let (before, at) = (entry.asked, secs(at));
        entry.asked = at;
        self.entries.put(slot, &entry);
        for followed in marked(&mut self.followed, entry.calls) {
            if before < secs(followed.created) {
                followed.asked(at);
            }
        }
    }

    /// The identities that a campaign has called and that have not come, from behind `after`, a place as
    /// returned with the page before. A page may be short, or empty, and yet not be the last one: then it
    /// has a place to go on from.
    pub fn unanswered(
        &self,
        campaign: u64,
        after: Option<u32>,
        limit: usize,
    ) -> (Vec<Unanswered>, Option<u32>) {
        let Some(place) = self.place(campaign) else { return (Vec::new(), None) };
        let first = after.map_or(0, |after| after as usize + 1);
        let mut found = Vec::new();
        for (walked, slot) in (first..self.entries.slots()).enumerate() {
            let slot = Slot::try_from(slot).unwrap_or(Slot::MAX);
            if self.entries.calls(slot) & (1 << place) != 0 {
                let entry = self.entries.get(slot);
                let asked = (entry.asked != 0).then(|| time(entry.asked));
                found.push(Unanswered { identity: entry.shown(), asked });
            }
            if found.len() >= limit || walked >= WALK {
                return (found, Some(slot));
            }
        }
        (found, None)
    }

    /// Its latest certificate is another one since `at`; before that it was called by `calls` and had last
    /// asked at `asked`.
    pub(super) fn answered(&mut self, slot: Slot, (calls, asked): (u32, u32), at: Timestamp) {
        if let Some(mut entry) = self.entries.find(slot) {
            entry.calls &= !calls;
            entry.answered |= calls;
            self.entries.put(slot, &entry);
        }
        for followed in marked(&mut self.followed, calls) {
            followed.renewed(at, asked);
        }
    }

    /// Nobody waits for it any more, if it was retired.
    pub(super) fn excuse(&mut self, slot: Slot) {
        let Some(mut entry) = self.entries.find(slot).filter(|entry| entry.state == State::Retired) else {
            return;
        };
        let calls = std::mem::take(&mut entry.calls);
        entry.answered |= calls;
        self.entries.put(slot, &entry);
        for followed in marked(&mut self.followed, calls) {
            followed.excused += 1;
        }
    }

    /// Nobody waits any more for one that is about to be forgotten.
    pub(super) fn let_go(&mut self, entry: &Entry) {
        for followed in marked(&mut self.followed, entry.calls) {
            followed.excused += 1;
        }
    }

    fn place(&self, campaign: u64) -> Option<usize> {
        let is = |known: &Option<Followed>| known.as_ref().is_some_and(|known| known.campaign == campaign);
        self.followed.iter().position(is)
    }
}

/// The campaigns that have their bit in `calls`.
fn marked(all: &mut [Option<Followed>], calls: u32) -> impl Iterator<Item = &mut Followed> {
    let all = all.iter_mut().enumerate().filter(move |(place, _)| calls & (1 << place) != 0);
    all.filter_map(|(_, followed)| followed.as_mut())
}

#[cfg(test)]
mod tests;
