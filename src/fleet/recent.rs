//! What has happened last: the newest issuances and failures one by one, those of the last hour by the minute.

use std::collections::{BTreeMap, VecDeque};

use super::Cause;
use crate::acme::identifier::Identifier;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Kept one by one.
pub const KEPT: usize = 40;

/// Minutes that are counted.
pub const MINUTES: usize = 60;

/// Names of a failed attempt that are kept.
const NAMES: usize = 3;

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub what: What,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A certificate; the inventory has the rest.
    Issued(Serial),
    /// None.
    Failed {
        /// The first few names that it was for.
        names: Vec<Identifier>,
        /// How many there are besides.
        others: usize,
        /// Why.
        cause: Cause,
    },
}

/// Issuances and failures of a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Certificates issued.
    pub issued: u32,
    /// Attempts that failed.
    pub failed: u32,
}

/// What is kept; of bounded size however much happens.
#[derive(Debug, Default)]
pub struct Recent {
    /// The oldest in front.
    last: VecDeque<Happening>,
    minutes: BTreeMap<u64, Minute>,
}

impl Recent {
    /// A certificate was issued; it may be told late, when the inventory is read.
    pub fn issued(&mut self, serial: Serial, at: Timestamp) {
        self.count(at, |minute| minute.issued = minute.issued.saturating_add(1));
        self.keep(Happening { at, what: What::Issued(serial) });
    }

    /// An attempt failed.
    pub fn failed<'a>(&mut self, names: impl Iterator<Item = &'a Identifier>, cause: Cause, at: Timestamp) {
        self.count(at, |minute| minute.failed = minute.failed.saturating_add(1));
        let (mut kept, mut others) = (Vec::new(), 0);
        for name in names {
            match kept.len() < NAMES {
                true => kept.push(name.clone()),
                false => others += 1,
            }
        }
        self.keep(Happening { at, what: What::Failed { names: kept, others, cause } });
    }

    /// The newest in front.
    pub fn last(&self) -> Vec<Happening> {
        self.last.iter().rev().cloned().collect()
    }

    /// The minutes up to `now`'s, which is the last.
    pub fn minutes(&self, now: Timestamp) -> [Minute; MINUTES] {
        let first = (now.as_secs() / 60).saturating_sub(MINUTES as u64 - 1);
        let mut minutes = [Minute::default(); MINUTES];
        for (at, minute) in self.minutes.range(first..) {
            if let Some(place) = usize::try_from(at - first).ok().and_then(|place| minutes.get_mut(place)) {
                *place = *minute;
            }
        }
        minutes
    }

    fn count(&mut self, at: Timestamp, how: impl FnOnce(&mut Minute)) {
        how(self.minutes.entry(at.as_secs() / 60).or_default());
        while self.minutes.len() > MINUTES {
            self.minutes.pop_first();
        }
    }

    fn keep(&mut self, happening: Happening) {
        let place = self.last.iter().rposition(|other| other.at <= happening.at).map_or(0, |place| place + 1);
        if self.last.len() == KEPT {
            if place == 0 {
                return;
            }
            self.last.pop_front();
            self.last.insert(place - 1, happening);
        } else {
            self.last.insert(place, happening);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_newest_are_kept_in_whatever_order_they_are_told() {
        let mut recent = Recent::default();
        let told = (0..200_u64).map(|n| n * 37 % 200);
        told.for_each(|n| recent.issued(Serial::new(at(n), [0; 16]), at(1_000_000 + n)));
        let times: Vec<u64> = recent.last().iter().map(|one| one.at.as_secs()).collect();
        assert_eq!(times, (1_000_160..1_000_200).rev().collect::<Vec<_>>());
    }

    #[test]
    fn an_hour_is_counted_by_the_minute() {
        let mut recent = Recent::default();
        let name = Identifier::parse_dns("a.test").unwrap();
        for minute in 0..200 {
            recent.issued(Serial::new(at(0), [0; 16]), at(minute * 60));
            recent.failed([&name; 5].into_iter(), Cause::Dns, at(minute * 60 + 59));
        }
        let now = recent.minutes(at(199 * 60));
        assert_eq!(now, [Minute { issued: 1, failed: 1 }; MINUTES]);
        let later = recent.minutes(at(229 * 60));
        assert_eq!(later.iter().filter(|minute| **minute == Minute::default()).count(), 30);
        let What::Failed { names, others, .. } = &recent.last()[0].what else {
            panic!("{:?}", recent.last()[0])
        };
        assert_eq!((names.len(), *others), (3, 2));
    }
}
