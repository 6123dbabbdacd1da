//! What is kept in mind of one identity: small, since there may be millions.

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

/// One identity.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: IdentityId,
    /// Of the latest issuance.
    pub(super) serial: Serial,
    /// The latest issuances, earliest first; zeros in front.
    recent: [Held; RECENT],
    /// The end of the renewal window of the latest.
    window_end: u32,
    /// When the operator retired it; zero: never.
    retired: u32,
    /// When it last failed since the latest issuance; zero: never.
    failed: u32,
    failures: [u8; Cause::COUNT],
    last_cause: Cause,
    revoked: bool,
    automatic: bool,
    /// When it last asked for its latest certificate's renewal information; zero: never, as far as known.
    pub(super) asked: u32,
    /// The campaigns that call it, and it has not come.
    pub(super) calls: u32,
    /// The campaigns that called it, and it has come, or need not.
    pub(super) answered: u32,
    provisioner: u16,
    /// The state that the lists and counts have it under.
    pub(super) state: State,
    /// The minute that it is to be looked at again.
    pub(super) next: u32,
}

impl Entry {
    pub(super) fn new(first: &Issuance) -> Self {
        let mut new = Self {
            id: first.identity,
            serial: first.serial,
            recent: [Held::default(); RECENT],
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
            next: 0,
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
            // What it gave when it was issued, whatever became of it.
            let window = renewal(
                issuance.not_before,
                issuance.not_after,
                &issuance.serial,
                None,
                None,
                issuance.not_before,
            );
            self.window_end = secs(window.end);
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

    /// The state in a minute, and the next minute in which it may be another; `None` once it is to be
    /// forgotten.
    pub(super) fn at(&self, minute: u32) -> Option<(State, u32)> {
        let gone = self.gone();
        if minute >= gone {
            return None;
        }
        if self.revoked || (self.retired != 0 && self.retired >= self.issued()) {
            return Some((State::Retired, gone));
        }
        // That the CA does not renew it any more is no failure of anybody's, unless it tried and failed.
        let by_itself = self.automatic && self.failed == 0;
        if minute >= self.end() {
            return Some((if by_itself { State::Retired } else { State::Expired }, gone));
        }
        if by_itself {
            return Some((State::Healthy, self.end()));
        }
        let Deadlines { due, overdue, .. } = self.deadlines();
        let (due, overdue) = (minute_of(due), minute_of(overdue));
        Some(if minute >= overdue {
            (State::Overdue, self.end())
        } else if minute >= due {
            (State::Due, overdue)
        } else {
            (State::Healthy, due)
        })
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

    pub(super) fn is_automatic(&self) -> bool {
        self.automatic
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
