//! What is kept in mind of one identity.

use super::horizon::minute_of;
use super::rules::{self, Deadlines, Held, KEPT, PERSISTENT, RECENT};
use super::{Cause, Group, Identity, IdentityId, Issuance, State, Trouble};
use crate::acme::renewal::renewal;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Seconds since 1970; enough until 2106.
pub(super) fn secs(at: Timestamp) -> u32 {
    u32::try_from(at.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn time(secs: u32) -> Timestamp {
    Timestamp::from_secs(u64::from(secs))
}

/// The end of the window that renewal information gave when a certificate was issued, whatever became of it.
pub(super) fn window_end(not_before: u32, expired: u32, serial: &Serial) -> u32 {
    let not_before = time(not_before);
    secs(renewal(not_before, time(expired), serial, None, None, not_before).end)
}

/// One identity, as it is looked at; [`super::entries`] has how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: IdentityId,
    /// Of the latest issuance.
    pub(super) serial: Serial,
    /// The latest issuances, earliest first; zeros in front.
    pub(super) recent: [Held; RECENT],
    /// When the latest begins.
    pub(super) not_before: u32,
    /// The end of its renewal window.
    pub(super) window_end: u32,
    /// When the operator retired it; zero: never.
    pub(super) retired: u32,
    /// When it last failed since the latest issuance; zero: never.
    pub(super) failed: u32,
    pub(super) failures: [u8; Cause::COUNT],
    pub(super) last_cause: Cause,
    pub(super) revoked: bool,
    pub(super) automatic: bool,
    /// When it last asked for its latest certificate's renewal information, while a campaign was followed;
    /// zero: never, as far as known.
    pub(super) asked: u32,
    /// The campaigns that call it, and it has not come.
    pub(super) calls: u32,
    /// The campaigns that called it, and it has come, or need not.
    pub(super) answered: u32,
    pub(super) provisioner: u16,
    /// The state that the lists and counts have it under.
    pub(super) state: State,
}

impl Entry {
    pub(super) fn new(first: &Issuance) -> Self {
        let mut new = Self {
            id: first.identity,
            serial: first.serial,
            recent: [Held::default(); RECENT],
            not_before: 0,
            window_end: 0,
            retired: 0,
            failed: 0,
            failures: [0; Cause::COUNT],
            last_cause: Cause::Other,
            revoked: false,
            automatic: false,
            asked: 0,
            calls: 0,
            answered: 0,
            provisioner: 0,
            state: State::Healthy,
        };
        new.learn(first);
        new
    }

    /// Takes an issuance in, be it old or known. What follows depends on which issuances were taken in,
    /// not on their order.
    pub(super) fn learn(&mut self, issuance: &Issuance) {
        let held = Held { issued: secs(issuance.issued), expired: secs(issuance.not_after), called: 0 };
        let latest = (self.issued(), self.serial);
        let new = self.is_blank() || (held.issued, issuance.serial) > latest;
        if new {
            self.serial = issuance.serial;
            self.revoked = issuance.revoked;
            self.automatic = issuance.automatic;
            self.provisioner = issuance.provisioner;
            self.not_before = secs(issuance.not_before);
            self.give_up();
            self.asked = 0;
        } else if issuance.serial == self.serial {
            self.revoked |= issuance.revoked;
        }
        let is = |known: &Held| (known.issued, known.expired) == (held.issued, held.expired);
        if !self.recent.iter().any(is) && held > self.recent[0] {
            self.recent[0] = held;
            self.recent.sort_unstable();
        }
        // Of two that were signed in one second, the one that ends later is the last of these, whichever has
        // the greater serial.
        self.window_end = window_end(self.not_before, self.recent[RECENT - 1].expired, &self.serial);
    }

    fn is_blank(&self) -> bool {
        self.recent[RECENT - 1] == Held::default()
    }

    fn issued(&self) -> u32 {
        self.recent[RECENT - 1].issued
    }

    fn deadlines(&self) -> Deadlines {
        let known = self.recent.iter().position(|held| *held != Held::default()).unwrap_or(RECENT - 1);
        rules::deadlines(&self.recent[known..], self.window_end)
    }

    /// The minute in which the certificate ends.
    pub(super) fn end(&self) -> u32 {
        minute_of(self.recent[RECENT - 1].expired)
    }

    /// The minute from which nothing is kept of it.
    fn gone(&self) -> u32 {
        self.end().saturating_add(minute_of(secs(Timestamp::EPOCH + KEPT)))
    }

    /// The state in a minute; `None` once it is to be forgotten.
    pub(super) fn at(&self, minute: u32) -> Option<State> {
        if minute >= self.gone() {
            return None;
        }
        if self.revoked || (self.retired != 0 && self.retired >= self.issued()) {
            return Some(State::Retired);
        }
        if minute >= self.end() {
            return Some(if self.is_by_itself() { State::Retired } else { State::Expired });
        }
        if self.is_by_itself() {
            return Some(State::Healthy);
        }
        let Deadlines { due, overdue, .. } = self.deadlines();
        Some(if minute >= minute_of(overdue) {
            State::Overdue
        } else if minute >= minute_of(due) {
            State::Due
        } else {
            State::Healthy
        })
    }

    /// The minute in which it may be in another state than the one that it is kept under.
    pub(super) fn next(&self) -> u32 {
        match self.state {
            State::Healthy if self.is_by_itself() => self.end(),
            State::Healthy => minute_of(self.deadlines().due),
            State::Due => minute_of(self.deadlines().overdue),
            State::Overdue => self.end(),
            State::Expired | State::Retired => self.gone(),
        }
    }

    /// That the CA does not renew it any more is no failure of anybody's, unless it tried and failed.
    fn is_by_itself(&self) -> bool {
        self.automatic && self.failed == 0
    }

    /// Takes in that it was retired; not undone by an earlier word.
    pub(super) fn retire(&mut self, at: Timestamp) {
        self.retired = self.retired.max(secs(at));
    }

    /// Takes in that its certificate of `issued` was called over from `start` on.
    pub(super) fn called(&mut self, issued: Timestamp, start: Timestamp) {
        let (issued, start) = (secs(issued), secs(start));
        for held in self.recent.iter_mut().filter(|held| held.issued == issued && issued != 0) {
            held.called = if held.called == 0 { start } else { held.called.min(start) };
        }
    }

    /// When the first certificate after one of `issued` was signed, of those that are kept in mind.
    pub(super) fn first_after(&self, issued: Timestamp) -> Option<Timestamp> {
        self.recent.iter().map(|held| held.issued).find(|other| *other > secs(issued)).map(time)
    }

    pub(super) fn revoke(&mut self) {
        self.revoked = true;
    }

    pub(super) fn fail(&mut self, cause: Cause, at: Timestamp) {
        let at = secs(at);
        if at < self.issued() {
            return;
        }
        let count = &mut self.failures[cause as usize];
        *count = count.saturating_add(1);
        if at >= self.failed {
            self.failed = at;
            self.last_cause = cause;
        }
    }

    /// Takes in that nothing is tried any more, and so what has failed means nothing.
    pub(super) fn give_up(&mut self) {
        self.failures = [0; Cause::COUNT];
        self.failed = 0;
    }

    /// The cause of the latest failure since the latest issuance.
    pub(super) fn failing(&self) -> Option<Cause> {
        (self.failed != 0).then_some(self.last_cause)
    }

    /// What somebody should be told of. One attempt that fails is nothing: the next one comes.
    pub(super) fn trouble(&self) -> Option<Group> {
        let failures: u32 = self.failures.iter().copied().map(u32::from).sum();
        let trouble = match self.state {
            State::Overdue => Trouble::Overdue,
            State::Expired => Trouble::Expired,
            State::Healthy | State::Due if failures >= PERSISTENT => Trouble::Failing,
            State::Healthy | State::Due | State::Retired => return None,
        };
        Some(Group { trouble, cause: self.failing(), provisioner: self.provisioner })
    }

    pub(super) fn shown(&self) -> Identity {
        let deadlines = self.deadlines();
        Identity {
            id: self.id,
            state: self.state,
            serial: self.serial,
            issued: time(self.issued()),
            not_after: time(deadlines.expired),
            due: time(deadlines.due),
            overdue: time(deadlines.overdue),
            failures: self.failures,
            last_failure: self.failing().map(|cause| (time(self.failed), cause)),
            trouble: self.trouble(),
        }
    }
}
