//! What a receiver is to be told of the fleet, and what it has been told.
//!
//! Nothing is queued. A [`Ledger`] holds the alerts of one receiver: at each step [`Ledger::reconcile`]
//! holds them against the fleet as it is, begins some and ends others, and [`Ledger::due`] says which the
//! receiver has not acknowledged. So nothing is lost while a receiver is away, however long, and what is
//! kept is bounded by what is wrong at the moment, not by what has happened.
//!
//! - An alert is of one identity and one trouble. Where more identities get into the same trouble, for the
//!   same reason and with the same provisioner, than are told one by one, the alert is of the group: with
//!   their number and the first of them. A group stays one until nobody is left in it.
//! - What an alert is recognized by ([`Key`]), its cause and its beginning stay as they were when it
//!   began, whatever becomes known later; so does what it is made of over a restart ([`Alert`] is a
//!   record), and an attempt that is repeated is the same attempt.
//! - An alert that the receiver has acknowledged, or may have taken in, is ended once: when the identity
//!   has renewed, is retired, forgotten, or in worse trouble. One that never arrived is dropped.

mod pace;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::pace::Pace;
use super::{Cause, Fleet, Group, Identity, IdentityId, State, Trouble};
use crate::id::AccountId;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Alerts of single identities that one receiver has at once.
const MOST_ALONE: usize = 500;
/// Alerts that one receiver has at once; what is beyond waits until some have ended.
const MOST: usize = 2000;
/// Identities that are named of a group.
pub const SAMPLES: usize = 10;
/// Names that are told of an identity.
pub const NAMES: usize = 10;
/// For so long a group that grows is not told of again.
const GROWTH: Duration = Duration::from_secs(60);
/// What is repeated more often than this need not be known after a restart.
const RARE: Duration = Duration::from_secs(600);

/// What an alert is recognized by: one, at one receiver, as long as it lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A trouble of one identity.
    Identity(Trouble, IdentityId),
    /// A trouble of several, for this reason, with the provisioner of this name.
    Group(Trouble, Option<Cause>, String),
}

impl Key {
    /// The trouble.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Identity(trouble, _) | Self::Group(trouble, ..) => *trouble,
        }
    }
}

/// What output calls the reason of a trouble.
pub fn cause_name(cause: Option<Cause>) -> &'static str {
    cause.map_or("silent", Cause::name)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(trouble, id) => write!(f, "{}/identity/{id}", trouble.name()),
            Self::Group(trouble, cause, provisioner) => {
                write!(f, "{}/group/{}/{provisioner}", trouble.name(), cause_name(*cause))
            }
        }
    }
}

/// Why an alert has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// There is a new certificate.
    Renewed,
    /// It is not expected to renew any more.
    Retired,
    /// Its certificate expired so long ago that nothing is kept of it.
    Forgotten,
    /// It was failing, and is late by now.
    Overdue,
    /// It was late, and its certificate has expired.
    Expired,
    /// Nobody is left in the group.
    Cleared,
    /// It is not late any more with the certificate that it has: this CA is not to renew it by itself.
    Recovered,
}

impl End {
    /// As output has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Retired => "retired",
            Self::Forgotten => "forgotten",
            Self::Overdue => "overdue",
            Self::Expired => "expired",
            Self::Cleared => "cleared",
            Self::Recovered => "recovered",
        }
    }
}

/// An identity as an alert has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Which.
    pub id: IdentityId,
    /// Its names, up to [`NAMES`] of them; empty if the inventory has them no more.
    pub names: Vec<String>,
    /// How many there are.
    pub names_total: u32,
    /// The account that asked for its latest certificate.
    pub account: Option<AccountId>,
    /// That certificate.
    pub serial: Serial,
    /// When it ends.
    pub not_after: Timestamp,
    /// When it was expected to be renewed.
    pub due: Timestamp,
    /// Failed attempts since it was issued.
    pub failures: Vec<(Cause, u8)>,
}

impl Sample {
    /// Of an identity, without what only the inventory knows.
    pub fn of(identity: &Identity) -> Self {
        let failures = Cause::ALL.iter().copied().zip(identity.failures);
        Self {
            id: identity.id,
            names: Vec::new(),
            names_total: 0,
            account: None,
            serial: identity.serial,
            not_after: identity.not_after,
            due: identity.due,
            failures: failures.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// An alert of one receiver, with what that receiver was told of it; a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is recognized by.
    pub key: Key,
    /// Why the latest attempt had failed when it began.
    pub cause: Option<Cause>,
    /// The provisioner's name.
    pub provisioner: String,
    /// When it began.
    pub since: Timestamp,
    /// The certificate that it is about; none for a group.
    pub serial: Option<Serial>,
    /// How many identities it is of.
    pub identities: u64,
    /// The first of them.
    pub samples: Vec<Sample>,
    /// How often the receiver has acknowledged it.
    pub told: u32,
    /// When it last did.
    pub acknowledged: Option<Timestamp>,
    /// Of how many identities it was then.
    pub told_identities: u64,
    /// Whether the receiver may know of it.
    pub attempted: bool,
    /// When it ended, and why.
    pub ended: Option<(Timestamp, End)>,
}

impl Alert {
    fn new(key: Key, group: &Group, provisioner: String, since: Timestamp) -> Self {
        Self {
            key,
            cause: group.cause,
            provisioner,
            since,
            serial: None,
            identities: 1,
            samples: Vec::new(),
            told: 0,
            acknowledged: None,
            told_identities: 0,
            attempted: false,
            ended: None,
        }
    }
}

/// How one receiver wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// After which time an alert that goes on is told again; never zero.
    pub repeat: Duration,
    /// Whether it is told of ends.
    pub send_resolved: bool,
    /// How many identities of a group are told one by one; never zero.
    pub individual: usize,
}

/// What is known of something that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver may have taken it in.
    Uncertain,
    /// Nothing has reached it.
    NotSent,
}

#[derive(Clone, Debug)]
struct Entry {
    alert: Alert,
    /// Those of it that are told of, as they are now.
    current: Vec<Identity>,
    /// Attempts at this one that the receiver has answered with anything but an acknowledgement.
    pace: Pace,
}

/// What one receiver is to be told, and has been.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Key, Entry>,
    /// What is to be written down, or removed.
    unwritten: BTreeSet<Key>,
    /// How many of them are of single identities.
    alone: usize,
    /// Groups that were told before a restart with the reason why they are late. What had failed is forgotten
    /// with a restart, so that their members seem to be silent, until they try again.
    restored: BTreeSet<Key>,
    /// When to try again.
    pub pace: Pace,
}

/// Whether an alert of an identity goes on.
fn goes_on(alert: &Alert, identity: Option<&Identity>) -> Result<(), End> {
    let identity = identity.ok_or(End::Forgotten)?;
    let same = alert.serial == Some(identity.serial);
    match (identity.state, alert.key.trouble()) {
        (State::Retired, _) => Err(End::Retired),
        // Perhaps late once more: that is another alert.
        _ if !same => Err(End::Renewed),
        (State::Overdue, Trouble::Overdue) | (State::Expired, Trouble::Expired) => Ok(()),
        // What failed is forgotten over a restart; that it is to renew is not.
        (State::Healthy | State::Due, Trouble::Failing) => Ok(()),
        (State::Overdue, Trouble::Failing | Trouble::Expired) => Err(End::Overdue),
        (State::Expired, Trouble::Failing | Trouble::Overdue) => Err(End::Expired),
        (State::Healthy | State::Due, Trouble::Overdue | Trouble::Expired) => Err(End::Recovered),
    }
}

/// When a trouble of an identity began.
fn began(identity: &Identity, trouble: Trouble, now: Timestamp) -> Timestamp {
    let at = match trouble {
        Trouble::Failing => identity.last_failure.map_or(now, |(at, _)| at),
        Trouble::Overdue => identity.overdue,
        Trouble::Expired => identity.not_after,
    };
    at.min(now)
}

impl Ledger {
    /// From what was written down.
    pub fn restored(alerts: impl IntoIterator<Item = Alert>) -> Self {
        let mut ledger = Self::default();
        for alert in alerts {
            ledger.insert(alert, Vec::new());
        }
        ledger.unwritten.clear();
        let late = |key: &Key| match key {
            Key::Group(Trouble::Overdue | Trouble::Expired, Some(_), _) => true,
            Key::Group(Trouble::Failing, ..) | Key::Group(_, None, _) | Key::Identity(..) => false,
        };
        ledger.restored = ledger.going_groups().filter(|key| late(key)).cloned().collect();
        ledger
    }

    /// How many alerts go on, and how many identities they are of.
    pub fn firing(&self) -> (usize, u64) {
        let going = self.entries.values().filter(|entry| entry.alert.ended.is_none());
        going.fold((0, 0), |(alerts, of), entry| (alerts + 1, of + entry.alert.identities))
    }

    /// Alerts, and ends of some, that the receiver has not acknowledged.
    pub fn waiting(&self) -> usize {
        let waits = |entry: &&Entry| entry.alert.ended.is_some() || entry.alert.told == 0;
        self.entries.values().filter(waits).count()
    }

    fn insert(&mut self, alert: Alert, current: Vec<Identity>) {
        self.alone += usize::from(matches!(alert.key, Key::Identity(..)));
        self.unwritten.insert(alert.key.clone());
        self.entries.insert(alert.key.clone(), Entry { alert, current, pace: Pace::default() });
    }

    fn remove(&mut self, key: &Key) {
        if self.entries.remove(key).is_some() {
            self.alone -= usize::from(matches!(key, Key::Identity(..)));
            self.unwritten.insert(key.clone());
        }
    }

    fn end(&mut self, key: &Key, why: End, terms: &Terms, now: Timestamp) {
        match self.entries.get_mut(key) {
            Some(entry) if entry.alert.attempted && terms.send_resolved => {
                entry.alert.ended = Some((now.max(entry.alert.since), why));
                entry.pace.succeeded();
                self.unwritten.insert(key.clone());
            }
            Some(_) => self.remove(key),
            None => {}
        }
    }

    /// Holds the alerts against the fleet, which is to know the whole inventory. `name` is of the
    /// provisioner of a number.
    pub fn reconcile(&mut self, fleet: &Fleet, name: &dyn Fn(u16) -> String, terms: &Terms, now: Timestamp) {
        self.end_alone(fleet, terms, now);
        let alone = self.told_alone(fleet);
        let mut gone: BTreeSet<Key> = self.going_groups().cloned().collect();
        self.restored.retain(|key| gone.contains(key));
        let mut filled: BTreeMap<Key, (Group, usize, Vec<Identity>)> = BTreeMap::new();
        for (group, count, members) in fleet.troubled() {
            let here = alone.get(&group).copied().unwrap_or(0);
            let provisioner = name(group.provisioner);
            let key = self.told_as(&group, &provisioner);
            let others = count.saturating_sub(here);
            let free = terms.individual.saturating_sub(here).min(MOST_ALONE.saturating_sub(self.alone));
            let others_first: Vec<Identity> = members
                .filter(|one| !self.entries.contains_key(&Key::Identity(group.trouble, one.id)))
                .take(others.min(free.max(SAMPLES)))
                .collect();
            if !self.entries.contains_key(&key) && others <= free {
                for identity in others_first {
                    self.begin_alone(&group, provisioner.clone(), identity, now);
                }
            } else if others > 0 {
                gone.remove(&key);
                let (_, count, first) = filled.entry(key).or_insert((group, 0, Vec::new()));
                *count += others;
                first.extend(others_first);
            }
        }
        for (key, (group, count, first)) in filled {
            self.fill_group(key, &group, (count, first), now);
        }
        for key in gone {
            self.end(&key, End::Cleared, terms, now);
        }
    }

    /// The alert of a group: of one that seems to be silent, that which its members were told of before a
    /// restart, as long as that goes on.
    fn told_as(&self, group: &Group, provisioner: &str) -> Key {
        let own = Key::Group(group.trouble, group.cause, provisioner.to_owned());
        if group.cause.is_some() || self.entries.contains_key(&own) {
            return own;
        }
        let mut before = self.restored.iter();
        let same = |key: &&Key| matches!(key, Key::Group(trouble, _, of) if *trouble == group.trouble && of == provisioner);
        before.find(same).cloned().unwrap_or(own)
    }

    fn end_alone(&mut self, fleet: &Fleet, terms: &Terms, now: Timestamp) {
        let mut ended = Vec::new();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.alert.ended.is_none()) {
            let Key::Identity(_, id) = key else { continue };
            let identity = fleet.identity(id);
            match goes_on(&entry.alert, identity.as_ref()) {
                Ok(()) => entry.current = identity.into_iter().collect(),
                Err(why) => ended.push((key.clone(), why)),
            }
        }
        for (key, why) in ended {
            self.end(&key, why, terms, now);
        }
    }

    /// How many of each group have alerts of their own, or ends of such that are still to be told.
    fn told_alone(&self, fleet: &Fleet) -> HashMap<Group, usize> {
        let mut alone = HashMap::new();
        for key in self.entries.keys() {
            let Key::Identity(trouble, id) = key else { continue };
            let group = fleet.identity(id).and_then(|identity| identity.trouble);
            if let Some(group) = group.filter(|group| group.trouble == *trouble) {
                *alone.entry(group).or_default() += 1;
            }
        }
        alone
    }

    fn going_groups(&self) -> impl Iterator<Item = &Key> {
        let going = self.entries.iter().filter(|(_, entry)| entry.alert.ended.is_none());
        going.map(|(key, _)| key).filter(|key| matches!(key, Key::Group(..)))
    }

    fn begin_alone(&mut self, group: &Group, provisioner: String, identity: Identity, now: Timestamp) {
        if self.entries.len() < MOST {
            let key = Key::Identity(group.trouble, identity.id);
            let mut alert = Alert::new(key, group, provisioner, began(&identity, group.trouble, now));
            alert.serial = Some(identity.serial);
            self.insert(alert, vec![identity]);
        }
    }

    fn fill_group(
        &mut self,
        key: Key,
        group: &Group,
        (count, mut first): (usize, Vec<Identity>),
        now: Timestamp,
    ) {
        first.truncate(SAMPLES);
        let full = self.entries.len() >= MOST;
        match self.entries.get_mut(&key) {
            Some(entry) if entry.alert.ended.is_none() => {
                entry.alert.identities = count as u64;
                entry.current = first;
            }
            // Its end is to be told first.
            Some(_) => {}
            None if !full => {
                let Key::Group(_, _, provisioner) = &key else { return };
                let mut alert = Alert::new(key.clone(), group, provisioner.clone(), now);
                alert.identities = count as u64;
                self.insert(alert, first);
            }
            None => {}
        }
    }

    /// What the receiver is to be told now, news first; nothing while it is given time.
    pub fn due(&self, terms: &Terms, now: Timestamp) -> Vec<Key> {
        if !self.pace.is_ready(now) {
            return Vec::new();
        }
        let mut due: Vec<(bool, u32, &Key)> = Vec::new();
        for (key, Entry { alert, pace, .. }) in &self.entries {
            if !pace.is_ready(now) {
                continue;
            }
            let again = match (alert.ended, alert.acknowledged) {
                (Some(_), _) | (None, None) => Some(false),
                (None, Some(at)) => {
                    let waited = now.since(at);
                    let grown = alert.identities >= alert.told_identities.saturating_mul(2).max(1)
                        && alert.identities > alert.told_identities
                        && waited >= GROWTH;
                    // A clock that was set back must not put it off for ever.
                    (waited >= terms.repeat || grown || at > now + terms.repeat).then_some(true)
                }
            };
            due.extend(again.map(|again| (again, pace.failures(), key)));
        }
        due.sort();
        due.into_iter().map(|(_, _, key)| key.clone()).collect()
    }

    /// Those whom an alert names, as they are now; none of one that has ended or is not there.
    pub fn current(&self, key: &Key) -> &[Identity] {
        let going = self.entries.get(key).filter(|entry| entry.alert.ended.is_none());
        going.map_or(&[], |entry| &entry.current)
    }

    /// Notes that an alert is about to be sent, and whom it names, if it goes on. Send it once this is
    /// written down.
    pub fn prepare(&mut self, key: &Key, samples: Vec<Sample>) -> Option<Prepared> {
        let entry = self.entries.get_mut(key)?;
        if entry.alert.ended.is_none() && !samples.is_empty() {
            entry.alert.samples = samples;
        }
        let known = entry.alert.attempted;
        if !known {
            entry.alert.attempted = true;
            self.unwritten.insert(key.clone());
        }
        Some(Prepared { alert: entry.alert.clone(), known })
    }

    /// Takes in that the receiver has acknowledged it.
    pub fn acknowledge(&mut self, sent: &Prepared, terms: &Terms, now: Timestamp) {
        let key = &sent.alert.key;
        let Some(entry) = self.entries.get_mut(key) else { return };
        if sent.alert.ended.is_some() {
            return self.remove(key);
        }
        let first = entry.alert.told == 0;
        entry.alert.told = entry.alert.told.saturating_add(1);
        entry.alert.acknowledged = Some(now);
        entry.alert.told_identities = sent.alert.identities;
        entry.pace.succeeded();
        if first || terms.repeat >= RARE {
            self.unwritten.insert(key.clone());
        }
    }

    /// Takes in that it has not. What was answered is given its own time, by `chance` as in
    /// [`Pace::failed`]: what the receiver does not like of one does not hold up the others.
    pub fn refuse(&mut self, sent: &Prepared, delivery: Delivery, answered: Option<u32>, now: Timestamp) {
        let key = &sent.alert.key;
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(chance) = answered {
            entry.pace.failed(now, chance);
        }
        match delivery {
            Delivery::NotSent if entry.alert.attempted != sent.known => {
                entry.alert.attempted = sent.known;
                self.unwritten.insert(key.clone());
            }
            Delivery::NotSent | Delivery::Uncertain => {}
        }
    }

    /// What is to be written down since this was last asked: alerts, and those that are no more.
    pub fn take_unwritten(&mut self) -> Vec<(Key, Option<Alert>)> {
        let keys = std::mem::take(&mut self.unwritten);
        let alert = |key: &Key| self.entries.get(key).map(|entry| entry.alert.clone());
        keys.into_iter().map(|key| (key.clone(), alert(&key))).collect()
    }

    /// It could not be written down: it is to be, still.
    pub fn give_back(&mut self, unwritten: Vec<(Key, Option<Alert>)>) {
        self.unwritten.extend(unwritten.into_iter().map(|(key, _)| key));
    }
}

/// An alert about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The alert.
    pub alert: Alert,
    /// Whether the receiver may have known of it before.
    known: bool,
}
