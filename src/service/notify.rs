//! Telling the receivers of `[[notify]]` what is wrong in the fleet: one round after the other for each,
//! beside the requests. What is to be told, [`crate::fleet::notices`] decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Error, Service};
use crate::authority::certificate::CertificateRecord;
use crate::fleet::Identity;
use crate::fleet::notices::{Alert, Key, Ledger, NAMES, Prepared, Sample};
use crate::notify::{Kind, Notice, Receiver, ReceiverId};
use crate::provisioner::Requester;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, StoreError, Table};
use crate::telemetry::metrics::metrics;
use crate::time::Timestamp;

/// Rows read, or written, in one step.
const STEP: usize = 100;

/// Requests of one round.
const REQUESTS: usize = 20;

/// Answers of one round that are no acknowledgements, after which the receiver is given time.
const REFUSALS: u32 = 3;

/// Names that are told of each identity of a group.
const NAMES_OF_MANY: usize = 3;

/// What the receivers have been told.
#[derive(Default)]
pub(super) struct Notifier(Mutex<HashMap<ReceiverId, Arc<Desk>>>);

/// One receiver's.
#[derive(Default)]
struct Desk {
    /// Held for a round; nothing until it is read back.
    ledger: tokio::sync::Mutex<Option<Ledger>>,
    standing: Mutex<Standing>,
}

/// How a receiver stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Alerts that go on.
    pub alerts: usize,
    /// Identities that they are of.
    pub identities: u64,
    /// Alerts and ends that it has not acknowledged.
    pub waiting: usize,
    /// When it last acknowledged something, since this process started.
    pub delivered: Option<Timestamp>,
    /// The last failure since then, and when it was.
    pub failed: Option<(Timestamp, String)>,
}

/// What came of a test at one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tested {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Scheme, host and port.
    pub origin: String,
    /// Why it was not acknowledged, if it was not.
    pub failure: Option<String>,
}

impl Notifier {
    fn desk(&self, id: &ReceiverId) -> Arc<Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(*id).or_default().clone()
    }

    /// Forgets what nobody is told any more.
    fn keep(&self, ids: &[ReceiverId]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
    }
}

impl Desk {
    fn note(&self, ledger: &Ledger, receiver: &Receiver) {
        let (alerts, identities) = ledger.firing();
        let waiting = ledger.waiting();
        metrics().receiver(&receiver.name, receiver.kind.name()).waits(waiting);
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        *standing = Standing { alerts, identities, waiting, ..standing.clone() };
    }

    fn delivered(&self, now: Timestamp) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        (standing.delivered, standing.failed) = (Some(now), None);
    }

    fn failed(&self, now: Timestamp, reason: &str) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.failed = Some((now, reason.to_owned()));
    }
}

fn row(receiver: &ReceiverId, key: &Key) -> Vec<u8> {
    [&receiver[..], key.to_string().as_bytes()].concat()
}

impl Service {
    /// Tells a receiver what it does not know: one round of a bounded number of requests. True if there is
    /// more to tell at once. Nothing before the inventory is read: until then everybody seems to be gone.
    pub async fn tell(&self, receiver: &Receiver) -> Result<bool, Error> {
        if !self.fleet.is_complete() {
            return Ok(false);
        }
        let desk = self.notifier.desk(&receiver.id);
        let mut held = desk.ledger.lock().await;
        let ledger = match held.take() {
            Some(ledger) => held.insert(ledger),
            None => held.insert(self.read_ledger(&receiver.id).await?),
        };
        self.fleet.look(|fleet, name| ledger.reconcile(fleet, name, &receiver.terms, self.now()));
        let told = self.round(receiver, &desk, ledger).await;
        let written = self.write_ledger(&receiver.id, ledger).await;
        desk.note(ledger, receiver);
        told.and_then(|more| written.map(|()| more))
    }

    async fn round(&self, receiver: &Receiver, desk: &Desk, ledger: &mut Ledger) -> Result<bool, Error> {
        let due = ledger.due(&receiver.terms, self.now());
        let (mut acknowledged, mut refused) = (false, 0);
        for (request, keys) in due.chunks(receiver.deliver.at_once().max(1)).enumerate() {
            if request == REQUESTS {
                return Ok(true);
            }
            let sent = self.prepare(ledger, keys).await?;
            // Written first: whatever becomes of this process, what may have arrived is known. But a full disk,
            // which keeps everybody from renewing, is to keep nobody from hearing of that.
            match self.write_ledger(&receiver.id, ledger).await {
                Err(Error::Store(StoreError::NoSpace(why))) => {
                    tracing::error!(
                        receiver = receiver.name,
                        why,
                        "what a receiver is told cannot be written down"
                    );
                }
                other => other?,
            }
            match self.deliver(receiver, desk, ledger, &sent).await {
                Ok(()) => acknowledged = true,
                Err(answered) => {
                    refused += 1;
                    if !answered || (refused >= REFUSALS && !acknowledged) {
                        ledger.pace.failed(self.now(), u32::from_be_bytes(self.entropy.bytes()));
                        return Ok(false);
                    }
                }
            }
        }
        if acknowledged {
            ledger.pace.succeeded();
        }
        Ok(false)
    }

    /// Sends one request, and settles what it was for. `Err` with whether there was an answer.
    async fn deliver(
        &self,
        receiver: &Receiver,
        desk: &Desk,
        ledger: &mut Ledger,
        sent: &[Prepared],
    ) -> Result<(), bool> {
        let notices: Vec<Notice> =
            sent.iter().map(|one| Notice::Alert(Box::new(one.alert.clone()))).collect();
        let delivered = receiver.deliver.deliver(&notices, self.now()).await;
        let (now, counts) = (self.now(), metrics().receiver(&receiver.name, receiver.kind.name()));
        match delivered {
            Ok(()) => {
                sent.iter().for_each(|one| ledger.acknowledge(one, &receiver.terms, now));
                counts.delivered(sent.len());
                desk.delivered(now);
                tracing::debug!(receiver = receiver.name, notices = sent.len(), "a receiver was told");
                Ok(())
            }
            Err(failure) => {
                let chance = || u32::from_be_bytes(self.entropy.bytes());
                for one in sent {
                    ledger.refuse(one, failure.delivery, failure.answered.then(chance), now);
                }
                counts.failed(sent.len());
                desk.failed(now, &failure.reason);
                let (receiver, notices) = (&receiver.name, sent.len());
                tracing::warn!(
                    receiver,
                    notices,
                    reason = failure.reason,
                    "a receiver was not told; trying on"
                );
                Err(failure.answered)
            }
        }
    }

    /// Looks up whom the alerts name.
    async fn prepare(&self, ledger: &mut Ledger, keys: &[Key]) -> Result<Vec<Prepared>, Error> {
        let mut prepared = Vec::with_capacity(keys.len());
        for key in keys {
            let names = match key {
                Key::Identity(..) => NAMES,
                Key::Group(..) => NAMES_OF_MANY,
            };
            let mut samples = Vec::new();
            for identity in ledger.current(key) {
                samples.push(self.sample(identity, names).await?);
            }
            prepared.extend(ledger.prepare(key, samples));
        }
        Ok(prepared)
    }

    async fn sample(&self, identity: &Identity, names: usize) -> Result<Sample, Error> {
        let mut sample = Sample::of(identity);
        let Some(record) = self.readable_of(identity).await? else { return Ok(sample) };
        sample.account = account(&record);
        if let Some(content) = record.content() {
            let all = &content.identifiers;
            sample.names = all.iter().take(names).map(ToString::to_string).collect();
            sample.names_total = u32::try_from(all.len()).unwrap_or(u32::MAX);
        }
        Ok(sample)
    }

    async fn read_ledger(&self, id: &ReceiverId) -> Result<Ledger, Error> {
        let (mut after, mut alerts): (Option<Vec<u8>>, Vec<Alert>) = (None, Vec::new());
        loop {
            let rows = self.store.scan(Table::Notices, id, after.as_deref(), STEP).await?;
            let more = rows.len() == STEP;
            for (key, row) in rows {
                match Alert::decode(&row.value) {
                    Ok(alert) => alerts.push(alert),
                    // Better told twice than not at all.
                    Err(error) => tracing::error!(%error, "what a receiver was told does not read"),
                }
                after = Some(key);
            }
            if !more {
                return Ok(Ledger::restored(alerts));
            }
        }
    }

    async fn write_ledger(&self, id: &ReceiverId, ledger: &mut Ledger) -> Result<(), Error> {
        let unwritten = ledger.take_unwritten();
        for some in unwritten.chunks(STEP) {
            let batch = some.iter().fold(Batch::new(), |batch, (key, alert)| match alert {
                Some(alert) => batch.put(Table::Notices, row(id, key), alert.encode()),
                None => batch.delete(Table::Notices, row(id, key)),
            });
            let failed = match self.store.commit(batch).await {
                Ok(CommitOutcome::Committed(_)) => continue,
                Ok(CommitOutcome::Conflict) => {
                    Error::Internal("a batch without checks met a conflict".into())
                }
                Err(error) => error.into(),
            };
            ledger.give_back(unwritten);
            return Err(failed);
        }
        Ok(())
    }

    /// Removes what is kept of receivers that are not in force any more.
    pub async fn forget_receivers(&self) -> Result<(), Error> {
        let ids: Vec<ReceiverId> = self.live().receivers.iter().map(|receiver| receiver.id).collect();
        self.notifier.keep(&ids);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.store.scan(Table::Notices, &[], after.as_deref(), STEP).await?;
            let more = rows.len() == STEP;
            let of_others = |key: &&Vec<u8>| !ids.iter().any(|id| key.starts_with(id));
            let keys: Vec<Vec<u8>> = rows.into_iter().map(|(key, _)| key).collect();
            let gone: Vec<&Vec<u8>> = keys.iter().filter(of_others).collect();
            if !gone.is_empty() {
                let delete = |batch: Batch, key: &&Vec<u8>| batch.delete(Table::Notices, key.as_slice());
                let _ = self.store.commit(gone.iter().fold(Batch::new(), delete)).await?;
            }
            if !more {
                return Ok(());
            }
            after = keys.last().cloned();
        }
    }

    /// The receivers in force, and how they stand.
    pub fn receivers(&self) -> Vec<(Arc<Receiver>, Standing)> {
        let of = |receiver: &Arc<Receiver>| {
            let desk = self.notifier.desk(&receiver.id);
            let standing = desk.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (receiver.clone(), standing)
        };
        self.live().receivers.iter().map(of).collect()
    }

    /// Sends each receiver a test, all at once.
    pub async fn test_receivers(&self) -> Vec<Tested> {
        let mut tests = tokio::task::JoinSet::new();
        for (place, receiver) in self.live().receivers.iter().cloned().enumerate() {
            let now = self.now();
            tests.spawn(async move {
                let delivered = receiver.deliver.deliver(&[Notice::Test], now).await;
                let Receiver { name, kind, origin, .. } = &*receiver;
                let failure = delivered.err().map(|failure| failure.reason);
                (place, Tested { name: name.clone(), kind: *kind, origin: origin.clone(), failure })
            });
        }
        let mut tested = tests.join_all().await;
        tested.sort_by_key(|(place, _)| *place);
        tested.into_iter().map(|(_, tested)| tested).collect()
    }
}

fn account(record: &CertificateRecord) -> Option<crate::id::AccountId> {
    match &record.requester {
        Requester::Acme { account, .. } | Requester::AutoRenewal { account, .. } => Some(*account),
        Requester::Own | Requester::Ceremony => None,
    }
}

#[cfg(test)]
mod tests;
