//! How many live leaves each issuer has: neither expired nor revoked. Counted by the minute in which they
//! end, so that what expires falls out by itself.
//!
//! Fed from two sides at once, in whatever order: by a scan of the inventory, and by every issuance and
//! revocation after its commit. Each certificate counts once. Until the scan is through nothing is known,
//! and [`Leaves::of`] says so instead of a number.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// What the scan finds of certificates this much older than itself cannot have been told of by an issuance;
/// the rest is remembered by serial number while it lasts. Far more than a clock is set back by.
const MARGIN: Duration = Duration::from_secs(3600);

/// Minutes between two looks for what need not be remembered any more: longer than a request lasts.
const CLEARED: u64 = 10;

/// One certificate, as it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its serial number.
    pub serial: Serial,
    /// The key identifier of its issuer.
    pub issuer: [u8; 20],
    /// When it expires.
    pub not_after: Timestamp,
}

/// The live leaves of an issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// How many there are.
    pub count: u64,
    /// By when the last of them has expired, to the minute; `None` if there is none.
    pub last: Option<Timestamp>,
}

/// A scan under way.
#[derive(Debug)]
struct Scan {
    /// Certificates signed since then are remembered below.
    since: Timestamp,
    counted: HashSet<Serial>,
    looked: u64,
}

/// The count. See the module's doc.
#[derive(Debug, Default)]
pub struct Leaves {
    /// By issuer, by the minute at whose beginning they are gone. A revocation that is told of before its
    /// issuance makes a number negative for a moment.
    ends: HashMap<[u8; 20], BTreeMap<u64, i64>>,
    /// `None` once the inventory is counted.
    scan: Option<Scan>,
    /// Whether there ever was a scan.
    begun: bool,
    /// What the last scan has remembered: an issuance may be told of when it is through.
    counted: HashSet<Serial>,
    /// What was revoked before its end, with its issuer and minute. While a scan lasts nothing was taken
    /// off for it.
    revoked: HashMap<Serial, ([u8; 20], u64)>,
    /// Up to which minute `revoked` was cleared of what has expired.
    cleared: u64,
}

/// The first minute in which a certificate that ends then is not valid any more.
fn minute(not_after: Timestamp) -> u64 {
    not_after.as_millis().div_ceil(60_000)
}

/// The minute that is running.
fn running(now: Timestamp) -> u64 {
    now.as_millis() / 60_000
}

impl Leaves {
    /// Begins to count the inventory, from nothing: the scan must see all that was committed before.
    pub fn begin(&mut self, now: Timestamp) {
        let scan = Scan { since: now - MARGIN, counted: HashSet::new(), looked: 0 };
        *self = Self { scan: Some(scan), begun: true, ..Self::default() };
    }

    /// A certificate was committed.
    pub fn issued(&mut self, leaf: &Leaf) {
        let fresh = match &mut self.scan {
            Some(scan) => scan.counted.insert(leaf.serial),
            None => !self.counted.remove(&leaf.serial),
        };
        if fresh {
            self.add(leaf.issuer, minute(leaf.not_after), 1);
        }
    }

    /// The scan has come by a certificate, signed at `issued`.
    pub fn scanned(&mut self, leaf: &Leaf, issued: Timestamp, revoked: bool, now: Timestamp) {
        let Some(scan) = &mut self.scan else { return };
        scan.looked += 1;
        let end = minute(leaf.not_after);
        if end <= running(now) {
            return;
        }
        if revoked {
            self.revoked.insert(leaf.serial, (leaf.issuer, end));
        }
        if issued < scan.since || scan.counted.insert(leaf.serial) {
            self.add(leaf.issuer, end, 1);
        }
    }

    /// The scan is through.
    pub fn finish(&mut self, now: Timestamp) {
        self.cleared = running(now);
        if let Some(scan) = self.scan.take() {
            self.counted = scan.counted;
            let revoked: Vec<_> = self.revoked.values().copied().collect();
            for (issuer, end) in revoked {
                self.add(issuer, end, -1);
            }
        }
    }

    /// A revocation was committed.
    pub fn revoked(&mut self, leaf: &Leaf, now: Timestamp) {
        self.clear(now);
        let end = minute(leaf.not_after);
        let fresh = self.revoked.insert(leaf.serial, (leaf.issuer, end)).is_none();
        if fresh && self.scan.is_none() {
            self.add(leaf.issuer, end, -1);
        }
    }

    /// The live leaves of an issuer at `now`; `None` as long as they are not all counted.
    pub fn of(&mut self, issuer: &[u8; 20], now: Timestamp) -> Option<Live> {
        self.clear(now);
        if !self.begun || self.scan.is_some() {
            return None;
        }
        let Some(ends) = self.ends.get_mut(issuer) else { return Some(Live::default()) };
        *ends = ends.split_off(&(running(now) + 1));
        let count = ends.values().sum::<i64>();
        let last = ends.iter().rev().find(|(_, count)| **count > 0);
        let last = last.map(|(end, _)| Timestamp::from_secs(end * 60));
        Some(Live { count: u64::try_from(count).unwrap_or(0), last })
    }

    /// How many certificates the scan has looked at; `None` if none is under way.
    pub fn counting(&self) -> Option<u64> {
        match &self.scan {
            Some(scan) => Some(scan.looked),
            None if self.begun => None,
            None => Some(0),
        }
    }

    fn add(&mut self, issuer: [u8; 20], end: u64, by: i64) {
        let ends = self.ends.entry(issuer).or_default();
        let count = ends.entry(end).or_default();
        *count += by;
        if *count == 0 {
            ends.remove(&end);
        }
    }

    fn clear(&mut self, now: Timestamp) {
        let now = running(now);
        // While a scan lasts each of them is still to be taken off.
        if self.scan.is_none() && now > self.cleared + CLEARED {
            self.revoked.retain(|_, (_, end)| *end > now);
            self.counted = HashSet::new();
            self.cleared = now;
        }
    }
}

#[cfg(test)]
mod tests;
