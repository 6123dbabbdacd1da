//! Rotation health at work: what the verbs tell the fleet, how it is read back from the inventory at a
//! start, and who is retired.

mod failures;
mod list;
mod metered;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) use self::failures::news_of;
pub use self::list::{IdentityPage, KnownIdentity, Place};
use super::leaves::{self, Scanned};
use super::{Error, Service, audited_by};
use crate::acme::error::Refusal;
use crate::acme::identifier::Identifier;
use crate::audit::{Actor, Event};
use crate::authority::certificate::{CertificateRecord, Content};
use crate::authority::sign::Issued;
use crate::fleet::recent::{Happening, MINUTES, Minute, Recent};
use crate::fleet::rules::KEPT;
use crate::fleet::{Cause, Change, Fleet, Identity, IdentityId, Issuance, State, Summary};
use crate::provisioner::{Purpose, Requester};
use crate::storage::codec::{Record, RetiredIdentity};
use crate::storage::{Batch, CommitOutcome, Table};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Certificates read in one step of [`Service::read_fleet`].
const STEP: usize = 256;

/// Identities that are logged one by one, of those that are late in one step of time.
const TOLD: usize = 20;

/// Changes kept for whoever fetches them; beyond that the oldest are forgotten.
const CHANGES: usize = 16_384;

/// The fleet of a running server.
#[derive(Debug, Default)]
pub struct Watch {
    inner: Mutex<Inner>,
    /// Whether the inventory has been read.
    complete: AtomicBool,
    /// Whether it had been read before what came of it was forgotten.
    read: AtomicBool,
    /// How often all was forgotten.
    forgotten: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    fleet: Fleet,
    recent: Recent,
    changes: VecDeque<Change>,
    /// The provisioners' names, by the number that the fleet has for each.
    provisioners: Vec<String>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the fleet. Changes that come of it are for [`Watch::take_changes`], once the
    /// inventory has been read: until then they are none.
    pub(super) fn with<T>(&self, what: impl FnOnce(&mut Fleet, &mut dyn FnMut(Change)) -> T) -> T {
        let complete = self.is_complete();
        let Inner { fleet, changes, .. } = &mut *self.lock();
        what(fleet, &mut |change| {
            if complete {
                if changes.len() == CHANGES {
                    changes.pop_front();
                }
                changes.push_back(change);
            }
        })
    }

    /// Whether it knows the whole inventory; until then there is more than it says.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// The fleet at a glance, as of the last [`Watch::advance`].
    pub fn summary(&self) -> Summary {
        self.lock().fleet.summary()
    }

    /// How many certificates end when; see [`Fleet::expiring`].
    pub fn expiring(&self, spans: &[u32]) -> (Vec<u64>, u64) {
        self.lock().fleet.expiring(spans)
    }

    /// Up to `limit` identities in a state, what expires first in front; see [`Fleet::list`].
    pub fn list(&self, state: State, after: Option<(u32, u32)>, limit: usize) -> Vec<(Identity, (u32, u32))> {
        self.lock().fleet.list(state, after, limit)
    }

    /// One identity.
    pub fn identity(&self, id: &IdentityId) -> Option<Identity> {
        self.lock().fleet.identity(id)
    }

    /// How many live certificates expire when; see [`Fleet::expiries`].
    pub fn expiries(&self, first: Timestamp, step: u32, cells: usize) -> (Vec<u64>, u64) {
        self.lock().fleet.expiries(first, step, cells)
    }

    /// What has happened last, the newest in front, and how much in each minute of the last hour.
    pub fn recent(&self, now: Timestamp) -> (Vec<Happening>, [Minute; MINUTES]) {
        let inner = self.lock();
        (inner.recent.last(), inner.recent.minutes(now))
    }

    /// Lets the time pass. When the clock was set back, what it has made of the fleet is forgotten, and the
    /// inventory is to be read again: [`Watch::is_to_be_read`].
    pub fn advance(&self, now: Timestamp) {
        let mut inner = self.lock();
        if inner.fleet.is_ahead_of(now) {
            self.complete.store(false, Ordering::Release);
            self.forgotten.fetch_add(1, Ordering::AcqRel);
            (inner.fleet, inner.changes) = (Fleet::default(), VecDeque::new());
            drop(inner);
            tracing::warn!("the clock was set back; the fleet is read from the inventory again");
            return;
        }
        drop(inner);
        self.with(|fleet, changed| fleet.advance(now, changed));
    }

    /// Whether the inventory is to be read once more.
    pub fn is_to_be_read(&self) -> bool {
        self.read.load(Ordering::Acquire) && !self.is_complete()
    }

    /// What has changed since this was last asked.
    pub fn take_changes(&self) -> Vec<Change> {
        self.lock().changes.drain(..).collect()
    }

    /// Looks at the fleet, and at the names of its provisioners.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Fleet, &dyn Fn(u16) -> String) -> T) -> T {
        let Inner { fleet, provisioners, .. } = &*self.lock();
        look(fleet, &|number| provisioners.get(usize::from(number)).cloned().unwrap_or_default())
    }

    /// The number of a provisioner; names are those that the configuration has, or once had.
    fn number(&self, provisioner: &str) -> u16 {
        let provisioners = &mut self.lock().provisioners;
        let place = provisioners.iter().position(|known| known == provisioner).unwrap_or_else(|| {
            if provisioners.len() < usize::from(u16::MAX) {
                provisioners.push(provisioner.to_owned());
            }
            provisioners.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// Takes in an attempt that failed.
    pub(super) fn failed<'a>(
        &self,
        names: impl Iterator<Item = &'a Identifier>,
        cause: Cause,
        at: Timestamp,
    ) {
        if let Some(id) = self.noted(names, cause, at) {
            self.with(|fleet, changed| fleet.failed(&id, cause, at, changed));
        }
    }

    /// Takes in a client's request that was refused.
    pub(super) fn refused<'a>(
        &self,
        names: impl Iterator<Item = &'a Identifier>,
        cause: Cause,
        at: Timestamp,
    ) {
        if let Some(id) = self.noted(names, cause, at) {
            self.with(|fleet, changed| fleet.refused(&id, cause, at, changed));
        }
    }

    fn noted<'a>(
        &self,
        names: impl Iterator<Item = &'a Identifier>,
        cause: Cause,
        at: Timestamp,
    ) -> Option<IdentityId> {
        let names: Vec<&Identifier> = names.collect();
        self.lock().recent.failed(names.iter().copied(), cause, at);
        IdentityId::of(names.into_iter())
    }

    /// Takes in that these names are not renewed automatically any more.
    pub(super) fn ended<'a>(&self, names: impl Iterator<Item = &'a Identifier>) {
        if let Some(id) = IdentityId::of(names) {
            self.with(|fleet, changed| fleet.ended(&id, changed));
        }
    }

    fn asked(&self, serial: &Serial, content: &Content, at: Timestamp) {
        if let Some(id) = IdentityId::of(content.identifiers.iter()) {
            self.with(|fleet, _| fleet.asked(&id, serial, at));
        }
    }

    /// Takes in a certificate that was just committed.
    pub(super) fn issued(&self, issued: &Issued, now: Timestamp) {
        let grant = issued.grant();
        let Purpose::Leaf(names) = grant.purpose() else { return };
        let (Some(identity), Some((automatic, provisioner))) =
            (IdentityId::of(names.iter()), renews(grant.requester()))
        else {
            return;
        };
        let issuance = Issuance {
            identity,
            serial: issued.serial,
            issued: now,
            not_before: issued.not_before,
            not_after: issued.not_after,
            revoked: false,
            automatic,
            provisioner: self.number(provisioner),
        };
        self.with(|fleet, changed| fleet.learn(&issuance, changed));
        self.lock().recent.issued(issued.serial, now);
    }

    /// Takes in that a certificate was revoked.
    pub(super) fn revoked(&self, serial: &Serial, content: &Content) {
        if let Some(id) = IdentityId::of(content.identifiers.iter()) {
            self.with(|fleet, changed| fleet.revoked(&id, serial, changed));
        }
    }
}

/// Whether a requester's certificates are renewed by this server itself, and through which provisioner;
/// `None` if they are of no fleet.
fn renews(requester: &Requester) -> Option<(bool, &str)> {
    match requester {
        Requester::Acme { provisioner, .. } => Some((false, provisioner)),
        Requester::AutoRenewal { provisioner, .. } => Some((true, provisioner)),
        // The listener's own is renewed by the process that serves it, or is not needed.
        Requester::Own | Requester::Ceremony => None,
    }
}

fn issuance_of(watch: &Watch, serial: Serial, record: &CertificateRecord) -> Option<Issuance> {
    let (automatic, provisioner) = renews(&record.requester)?;
    let content = record.content()?;
    Some(Issuance {
        identity: IdentityId::of(content.identifiers.iter())?,
        serial,
        issued: record.issued,
        not_before: content.not_before,
        not_after: record.not_after,
        revoked: record.revocation.is_some(),
        automatic,
        provisioner: watch.number(provisioner),
    })
}

/// How far the inventory was read.
#[derive(Debug, Default)]
pub struct FleetCursor {
    after: Option<Vec<u8>>,
    certificates: u64,
    started: Option<Timestamp>,
    count: Count,
    /// How often all had been forgotten when this was begun.
    forgotten: u64,
}

/// Whether the live leaves are counted by the same walk.
#[derive(Debug, Default)]
enum Count {
    #[default]
    Not,
    /// All that comes behind this key.
    Along(Vec<u8>),
    /// No further than to this key: what comes behind it does not read.
    Cut(Vec<u8>),
}

impl FleetCursor {
    /// To count the live leaves along with it, of what comes behind a key; see [`Service::begin_count`].
    pub fn counting(after: Vec<u8>) -> Self {
        Self { count: Count::Along(after), ..Self::default() }
    }

    /// To begin again if what was read so far is forgotten. The live leaves are counted by themselves then.
    fn keep_up(&mut self, forgotten: u64) {
        if self.forgotten != forgotten {
            if let Count::Along(from) = &self.count {
                self.count = Count::Cut(self.after.as_ref().unwrap_or(from).clone());
            }
            (self.forgotten, self.after, self.certificates) = (forgotten, None, 0);
        }
    }

    /// From where the live leaves are still to be counted, if that was cut off.
    pub fn uncounted(&self) -> Option<&[u8]> {
        match &self.count {
            Count::Not | Count::Along(_) => None,
            Count::Cut(after) => Some(after),
        }
    }

    /// A certificate at that key, which may not read.
    fn came_by(&mut self, key: &[u8], record: Option<&CertificateRecord>, found: &mut Vec<Scanned>) {
        if let Count::Along(from) = &self.count
            && key > from.as_slice()
        {
            match (Serial::from_bytes(key), record) {
                (Some(serial), Some(record)) => found.extend(leaves::scanned(serial, record)),
                (None, _) => {}
                // As long as it is not known, no count is.
                (Some(_), None) => {
                    let after = self.after.as_ref().unwrap_or(from).clone();
                    self.count = Count::Cut(after);
                }
            }
        }
        self.certificates += 1;
        self.after = Some(key.to_vec());
    }
}

impl Service {
    /// Rotation health.
    pub fn fleet(&self) -> &Watch {
        &self.fleet
    }

    /// One bounded step of reading the inventory at a start; false once the fleet is complete.
    /// Certificates issued meanwhile may be read again. One that does not read is in no fleet, but it ends
    /// the count of the live leaves: [`FleetCursor::uncounted`].
    pub async fn read_fleet(&self, cursor: &mut FleetCursor) -> Result<bool, Error> {
        let now = self.now();
        self.fleet.advance(now);
        cursor.keep_up(self.fleet.forgotten.load(Ordering::Acquire));
        self.fleet.advance(now);
        cursor.started = cursor.started.or(Some(now));
        // Shorter than any key of that hour, and so in front of them all.
        let first = || Serial::new(now - KEPT, [0; 16]).as_bytes()[..3].to_vec();
        let after = cursor.after.clone().unwrap_or_else(first);
        let rows = self.store.scan(Table::Certificates, &[], Some(&after), STEP).await?;
        let more = rows.len() == STEP;
        let mut found = Vec::new();
        for (key, row) in rows {
            let record = CertificateRecord::decode(&row.value).ok();
            if let (Some(serial), Some(record)) = (Serial::from_bytes(&key), &record)
                && let Some(issuance) = self.learn(serial, record)
            {
                // What was issued since the start has been told already.
                if issuance.issued < cursor.started.unwrap_or(now) {
                    self.fleet.lock().recent.issued(serial, issuance.issued);
                }
            }
            cursor.came_by(&key, record.as_ref(), &mut found);
        }
        self.leaves.walked(&found, !more && matches!(cursor.count, Count::Along(_)), now);
        if more {
            return Ok(true);
        }
        self.read_retired().await?;
        if self.fleet.forgotten.load(Ordering::Acquire) != cursor.forgotten {
            return Ok(true);
        }
        self.fleet.complete.store(true, Ordering::Release);
        self.fleet.read.store(true, Ordering::Release);
        let summary = self.fleet.summary();
        tracing::info!(
            certificates = cursor.certificates,
            identities = summary.identities(),
            overdue = summary.of(State::Overdue),
            expired = summary.of(State::Expired),
            "the fleet is known"
        );
        Ok(false)
    }

    /// Takes a certificate of the inventory in, if it is of a fleet; again, nothing changes.
    fn learn(&self, serial: Serial, record: &CertificateRecord) -> Option<Issuance> {
        let issuance = issuance_of(&self.fleet, serial, record)?;
        let called = self.called_since(&serial, record);
        self.fleet.with(|fleet, changed| {
            fleet.learn(&issuance, changed);
            if let Some(start) = called {
                fleet.called(&issuance.identity, issuance.issued, start, changed);
            }
        });
        Some(issuance)
    }

    /// Takes in that somebody asked when a certificate is to be renewed.
    pub(super) fn asked(
        &self,
        serial: &Serial,
        record: &CertificateRecord,
        content: &Content,
        at: Timestamp,
    ) {
        // Whom the reading of the inventory has not reached yet is known from now on.
        if !self.fleet.is_complete() && self.fleet.with(|fleet, _| fleet.notes_asking()) {
            self.learn(*serial, record);
        }
        self.fleet.asked(serial, content, at);
    }

    async fn read_retired(&self) -> Result<(), Error> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.store.scan(Table::Retired, &[], after.as_deref(), STEP).await?;
            let more = rows.len() == STEP;
            let mut gone = Vec::new();
            for (key, row) in rows {
                let (id, retired) = (IdentityId::from_key(&key), RetiredIdentity::decode(&row.value));
                if let (Some(id), Ok(retired)) = (id, retired) {
                    use crate::fleet::Retired;
                    match self.fleet.with(|fleet, changed| fleet.retire(&id, retired.at, changed)) {
                        Retired::Now => {}
                        // Its last certificate expired long ago.
                        Retired::Unknown => gone.push(id),
                    }
                }
                after = Some(key);
            }
            self.forget_retired(&gone).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// An identity's latest certificate, which says its names, its account and what else the inventory
    /// knows; `None` if it is swept.
    pub async fn latest_of(&self, identity: &Identity) -> Result<Option<CertificateRecord>, Error> {
        let row = self.store.get(Table::Certificates, identity.serial.as_bytes()).await?;
        Ok(row.map(|row| CertificateRecord::decode(&row.value)).transpose()?)
    }

    /// Removes what is noted of identities that are known no more.
    pub async fn forget_retired(&self, gone: &[IdentityId]) -> Result<(), Error> {
        for some in gone.chunks(STEP) {
            let batch =
                some.iter().fold(Batch::new(), |batch, id| batch.delete(Table::Retired, *id.as_bytes()));
            let _ = self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Logs who is late and who is not any more, and forgets who is gone.
    pub async fn tell_changes(&self) -> Result<(), Error> {
        let (mut told, mut gone) = (0, Vec::new());
        for change in self.fleet.take_changes() {
            let Change { identity, serial, from, to } = change;
            match to {
                None if from == State::Retired => gone.push(identity),
                Some(State::Overdue | State::Expired) if told < TOLD => {
                    told += 1;
                    let why = self.fleet.identity(&identity).and_then(|identity| identity.last_failure);
                    let why = why.map_or("silent", |(_, cause)| cause.name());
                    let state = to.map(State::name);
                    tracing::warn!(%identity, %serial, state, why, "an identity has not renewed");
                }
                Some(State::Overdue | State::Expired) => told += 1,
                Some(State::Healthy) if matches!(from, State::Overdue | State::Expired) => {
                    tracing::info!(%identity, %serial, "an identity that was late has renewed");
                }
                Some(State::Healthy | State::Due | State::Retired) | None => {}
            }
        }
        if told > TOLD {
            tracing::warn!(identities = told - TOLD, "more identities have not renewed: see `mayfly fleet`");
        }
        self.forget_retired(&gone).await
    }

    /// Retires the identity of exactly these names: it is not expected to renew, until it does.
    pub async fn retire(&self, names: Vec<Identifier>, by: Option<&Actor>) -> Result<Identity, Error> {
        if !self.fleet.is_complete() {
            return Err(Error::Busy("the inventory is still being read"));
        }
        let id = IdentityId::of(names.iter()).filter(|id| self.fleet.identity(id).is_some());
        let Some(id) = id else {
            let detail = "names: no certificate of the last days is for exactly these names; give all names \
                          of one, as `mayfly certs search NAME` lists them";
            return Err(Refusal::malformed(detail).into());
        };
        let now = self.now();
        let event = Event::IdentityRetired { identifiers: names.clone() };
        let row = RetiredIdentity { at: now, names }.encode();
        let batch = audited_by(Batch::new().put(Table::Retired, *id.as_bytes(), row), now, event, by);
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {}
            CommitOutcome::Conflict => {
                return Err(Error::Internal("a batch without checks met a conflict".into()));
            }
        }
        self.fleet.with(|fleet, changed| fleet.retire(&id, now, changed));
        tracing::info!(identity = %id, "identity retired");
        self.fleet.identity(&id).ok_or(Error::NotFound)
    }
}
