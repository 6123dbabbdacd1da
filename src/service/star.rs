//! Orders that are renewed automatically (RFC 8739): the first certificate, the next ones, their
//! reading, and cancelling.
//!
//! Certificates are issued ahead of time by a task ([`Service::renew_due`]) that reads a table of what
//! is due, in the order of time; and by whoever reads a certificate that is due and not there yet, so
//! that a task that lags, or a clock that jumped, is never seen from outside. Both do the same under
//! one claim, and both leave the order due at a later time, so that a failure is not repeated by
//! every reader. What was missed is not made up for: the certificate of now is issued.

use std::time::Duration;

use super::account::KnownAccount;
use super::gate::{self, Gated};
use super::objects::LoadedOrder;
use super::{Error, Service, audited};
use crate::acme::account::AccountStatus;
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::order::{Finish, Order, Slot, name_of};
use crate::acme::star::{AutoRenewal, Current, Move, Period, Renewing};
use crate::audit::Event;
use crate::authority::certificate::CertificateRecord;
use crate::authority::sign::Issued;
use crate::id::{AccountId, OrderId};
use crate::provisioner::Grant;
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, StoreError, Table, Version};
use crate::time::Timestamp;
use crate::x509::csr::Csr;

/// Rows looked at in one step.
const STEP: usize = 64;

/// How far behind the time a step begins to look. A row that was on its way into the store when the
/// step before went by is found; rows that are gone are not walked over for longer.
const LAG: Duration = Duration::from_secs(120);

/// How often a step begins at the very beginning all the same.
const WHOLE: Duration = Duration::from_secs(3600);

/// When to look again at an order that does not read.
const UNREADABLE: Duration = Duration::from_secs(3600);

/// Tries to cancel against renewals that come first.
const CANCELS: usize = 4;

/// Where the renewals stand.
#[derive(Debug)]
pub struct RenewalCursor {
    /// When the last step was.
    at: Timestamp,
    /// The key behind which the next one begins.
    from: Vec<u8>,
    /// When one last began at the beginning.
    whole: Timestamp,
}

impl Default for RenewalCursor {
    fn default() -> Self {
        Self { at: Timestamp::EPOCH, from: Vec::new(), whole: Timestamp::EPOCH }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// Rows dealt with.
    pub handled: usize,
    /// Whether more may be due.
    pub more: bool,
}

/// What the URL of a rolling certificate has to offer.
#[derive(Clone, Debug)]
pub enum StarCertificate {
    /// This certificate; look for the next one at `fresh_until`.
    Here {
        /// The certificate.
        record: Box<CertificateRecord>,
        /// Not after the certificate's own end.
        fresh_until: Timestamp,
    },
    /// None yet; the first one comes at that time, or when the order is finalized.
    NotYet(Option<Timestamp>),
    /// It is not to be had without a signature.
    SignedOnly,
}

/// The row of the table of renewals for an order that is due then.
pub(super) fn due_row(due: Timestamp, id: OrderId) -> Vec<u8> {
    [&due.as_secs().to_be_bytes()[..], id.as_bytes()].concat()
}

fn of_due_row(key: &[u8]) -> Option<(Timestamp, OrderId)> {
    let (secs, id) = key.split_first_chunk::<8>()?;
    Some((Timestamp::from_secs(u64::from_be_bytes(*secs)), OrderId::from_key(id)?))
}

/// Puts the order's row where it is due next, and says so in the order.
fn due_at(batch: Batch, id: OrderId, agreed: &mut AutoRenewal, due: Timestamp) -> Batch {
    let (old, new) = (due_row(agreed.due, id), due_row(due, id));
    agreed.due = due;
    if old == new {
        return batch;
    }
    batch.delete(Table::Renewals, old).put(Table::Renewals, new, Vec::new())
}

/// Why a renewal ends before its time.
enum NotIssued {
    /// What it rests on was given up, for good.
    Ended(&'static str),
    /// Not allowed now; it may be again.
    Refused(Refusal),
    /// A fault of ours.
    Fault(Error),
}

impl From<Error> for NotIssued {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::Refused(refusal),
            Error::Deactivated => Self::Ended("the account is deactivated"),
            other @ (Error::NotFound
            | Error::KeyInUse(_)
            | Error::Busy(_)
            | Error::Store(_)
            | Error::Internal(_)) => Self::Fault(other),
        }
    }
}

/// The order with another state of its renewal and another time to look at it, and the batch that
/// stores both.
fn changed(loaded: &LoadedOrder, state: Renewing, due: Timestamp, batch: Batch) -> (LoadedOrder, Batch) {
    let mut next = loaded.clone();
    next.order.finish = Finish::Renewing(Box::new(state));
    let batch = match &mut next.order.details.auto_renewal {
        Some(agreed) => due_at(batch, next.id, agreed, due),
        None => batch,
    };
    let batch = next.stored_by(batch);
    (next, batch)
}

fn renewal_of(order: &Order) -> Option<(&AutoRenewal, &Renewing)> {
    match (&order.details.auto_renewal, &order.finish) {
        (Some(agreed), Finish::Renewing(state)) => Some((agreed, state)),
        _ => None,
    }
}

impl Service {
    /// Accepts a ready order with its CSR. The first certificate is issued at once, or at the
    /// start-date if that lies ahead. `keepers` are the orders whose proofs it rests on, as read.
    pub(super) async fn begin_renewal(
        &self,
        terms: &Terms,
        loaded: &LoadedOrder,
        csr: &Csr,
        keepers: &[(OrderId, Version)],
        known: &KnownAccount,
    ) -> Result<LoadedOrder, Error> {
        let (id, now) = (loaded.id, self.now());
        let Some(agreed) = &loaded.order.details.auto_renewal else {
            return Err(Error::Internal("an order to renew has no terms of renewal".into()));
        };
        let mut period = agreed.first_period(now)?;
        period.not_after = period.not_after.min(self.issuer.not_after());
        // Also if nothing is signed yet: what is to be refused is refused now.
        let grant = terms.grant_period(id, &loaded.order, csr, known.key.spki(), &period, now)?;
        let account = loaded.order.account;
        let unchanged = |batch: Batch, (keeper, read): &(OrderId, Version)| {
            batch.expect(Table::Orders, *keeper.as_bytes(), Expect::Is(*read))
        };
        let batch = keepers.iter().fold(Batch::new(), unchanged).expect(
            Table::Accounts,
            *account.as_bytes(),
            Expect::Is(known.version),
        );
        let batch = audited(batch, now, Event::AutoRenewalBegun { account, order: id, end: agreed.end });
        let state = Renewing {
            csr: csr.der().to_vec(),
            first: agreed.first(now),
            current: None,
            failures: 0,
            refused: None,
            canceled: None,
        };
        let mut loaded = loaded.clone();
        loaded.order.expires = agreed.end;
        tracing::info!(order = %id, %account, end = %agreed.end, "automatic renewal begun");
        if state.first > now {
            let due = state.due(agreed, now);
            return self.store_renewal(&loaded, state, due, batch).await;
        }
        self.issue_period(&loaded, &state, period.index, grant, batch, now).await
    }

    /// Signs one certificate of a series; the order is due again for the next one.
    async fn issue_period(
        &self,
        loaded: &LoadedOrder,
        state: &Renewing,
        index: u64,
        grant: Grant,
        batch: Batch,
        now: Timestamp,
    ) -> Result<LoadedOrder, Error> {
        let id = loaded.id;
        let mut next = None;
        let also = |issued: &Issued| {
            let current = Some(Current { index, serial: issued.serial, not_after: issued.not_after });
            let state = Renewing { current, failures: 0, refused: None, ..state.clone() };
            let agreed = loaded.order.details.auto_renewal.as_ref();
            let due = agreed.map_or(now, |agreed| state.due(agreed, now));
            let (order, batch) = changed(loaded, state, due, batch);
            next = Some(order);
            batch
        };
        match gate::issue(&*self.store, &*self.entropy, &self.issuer, grant, now, also).await? {
            Gated::Issued(issued) => {
                tracing::info!(
                    serial = %issued.serial, order = %id, account = %loaded.order.account, index,
                    not_before = %issued.not_before, not_after = %issued.not_after,
                    "certificate of a series issued"
                );
                next.ok_or_else(|| Error::Internal("the gate did not store the order".into()))
            }
            Gated::Conflict => Err(Error::Busy("another change of the order or its account came first")),
        }
    }

    async fn store_renewal(
        &self,
        loaded: &LoadedOrder,
        state: Renewing,
        due: Timestamp,
        batch: Batch,
    ) -> Result<LoadedOrder, Error> {
        let (next, batch) = changed(loaded, state, due, batch);
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(version) => Ok(LoadedOrder { version, ..next }),
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Ends the renewal of an order of the account's (RFC 8739 §3.1.2).
    pub async fn cancel_order(
        &self,
        terms: &Terms,
        account: AccountId,
        id: OrderId,
    ) -> Result<LoadedOrder, Error> {
        let _guard = self.order_locks.of(id.as_bytes()).await;
        for _ in 0..CANCELS {
            let loaded = self.load_own_order(terms, account, id).await?;
            let now = self.now();
            let invalid =
                |detail| Err(Refusal::new(ErrorKind::AutoRenewalCancellationInvalid, detail).into());
            if loaded.order.details.auto_renewal.is_none() {
                return invalid("the order is not renewed automatically".to_owned());
            }
            let Some((agreed, state)) = renewal_of(&loaded.order).filter(|(_, s)| s.canceled.is_none())
            else {
                let status = name_of(loaded.order.status(now));
                return invalid(format!("the order is {status}; only a valid one can be canceled"));
            };
            let event = Event::AutoRenewalCanceled { account, order: id };
            match self.end_renewal(&loaded, agreed, state, event, now).await {
                // A renewal came first. There is none after this.
                Err(Error::Busy(_)) => {}
                Ok(ended) => {
                    tracing::info!(order = %id, %account, "automatic renewal canceled");
                    return Ok(ended);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Busy("other changes of the order came first"))
    }

    /// No certificate more. The order expires with the last one that there is.
    async fn end_renewal(
        &self,
        loaded: &LoadedOrder,
        agreed: &AutoRenewal,
        state: &Renewing,
        event: Event,
        now: Timestamp,
    ) -> Result<LoadedOrder, Error> {
        let state = Renewing { canceled: Some(now), ..state.clone() };
        let due = state.due(agreed, now);
        let mut ended = loaded.clone();
        let last = state.current.as_ref().map(|current| current.not_after);
        ended.order.expires = last.map_or(now, |last| last.max(now)).whole_seconds();
        self.store_renewal(&ended, state, due, audited(Batch::new(), now, event)).await
    }

    /// The certificate of an order of the account's, or, without a signature, of one that allows that
    /// (RFC 8739 §3.3, §3.4). One that is due is issued first.
    pub async fn star_certificate(
        &self,
        terms: &Terms,
        asker: Option<AccountId>,
        id: OrderId,
    ) -> Result<StarCertificate, Error> {
        let mut loaded = self.load_order(id).await?;
        let own = asker.is_none_or(|account| account == loaded.order.account);
        let Some(agreed) = &loaded.order.details.auto_renewal else { return Err(Error::NotFound) };
        if !own || loaded.order.provisioner != terms.name {
            return Err(Error::NotFound);
        }
        if asker.is_none() {
            let offered = terms.auto_renewal.as_ref().is_some_and(|offer| offer.allow_certificate_get);
            if !offered || !agreed.allow_certificate_get {
                return Ok(StarCertificate::SignedOnly);
            }
            let known = self.account(terms, loaded.order.account).await?;
            if known.is_none_or(|known| known.account.status != AccountStatus::Valid) {
                return Err(canceled().into());
            }
        }
        let now = self.now();
        if renewal_of(&loaded.order).is_some_and(|(agreed, state)| state.is_overdue(agreed, now)) {
            if let Err(error) = self.renew(&loaded).await {
                tracing::warn!(order = %id, %error, "a certificate that is due was not issued yet");
            }
            loaded = self.load_order(id).await?;
        }
        self.current_certificate(&loaded).await
    }

    async fn current_certificate(&self, loaded: &LoadedOrder) -> Result<StarCertificate, Error> {
        let Some((agreed, state)) = renewal_of(&loaded.order) else {
            return Ok(StarCertificate::NotYet(None));
        };
        let now = self.now();
        if state.canceled.is_some() {
            return Err(canceled().into());
        }
        if now >= agreed.end {
            let detail = "the order's end-date has passed: open a new order";
            return Err(Refusal::new(ErrorKind::AutoRenewalExpired, detail).into());
        }
        match &state.current {
            Some(current) if now < current.not_after => {
                let row = self.store.get(Table::Certificates, current.serial.as_bytes()).await?;
                let row =
                    row.ok_or_else(|| Error::Internal(format!("{} left the inventory", current.serial)))?;
                let record = Box::new(CertificateRecord::decode(&row.value)?);
                Ok(StarCertificate::Here { record, fresh_until: agreed.due.min(current.not_after) })
            }
            Some(_) | None => match &state.refused {
                Some(problem) => Err(Refusal::new(problem.kind, problem.detail.clone()).into()),
                None if now < state.first => Ok(StarCertificate::NotYet(Some(state.first))),
                None => Err(Error::Busy("the next certificate is not issued yet")),
            },
        }
    }

    /// One bounded step over what is due.
    pub async fn renew_due(&self, cursor: &mut RenewalCursor) -> Result<Renewed, Error> {
        let now = self.now();
        if now < cursor.at || now >= cursor.whole + WHOLE {
            // The clock was set, or it has been long: nothing is left behind for ever.
            (cursor.from, cursor.whole) = (Vec::new(), now);
        }
        cursor.at = now;
        // Without an id it sorts before every row of its second.
        let second = |at: Timestamp| at.as_secs().to_be_bytes().to_vec();
        let after = Some(cursor.from.as_slice()).filter(|key| !key.is_empty());
        let rows = self.store.scan(Table::Renewals, &[], after, STEP).await?;
        let mut step = Renewed { handled: 0, more: rows.len() == STEP };
        let (mut last, mut left) = (None, None);
        for (key, row) in rows {
            let due = of_due_row(&key);
            if due.is_some_and(|(due, _)| due > now) {
                step.more = false;
                break;
            }
            match self.renew_row(&key, due, row.version).await {
                Ok(()) => step.handled += 1,
                // Somebody else is at it; it is looked at again.
                Err(Error::Busy(_)) => left = left.or(due.map(|(due, _)| due)),
                Err(error) => return Err(error),
            }
            last = Some(key);
        }
        cursor.from = match (left, last) {
            (Some(left), _) => second(left.min(now - LAG)),
            (None, Some(last)) if step.more => last,
            (None, _) => second(now - LAG),
        };
        Ok(step)
    }

    async fn renew_row(
        &self,
        key: &[u8],
        due: Option<(Timestamp, OrderId)>,
        version: Version,
    ) -> Result<(), Error> {
        let gone =
            Batch::new().expect(Table::Renewals, key, Expect::Is(version)).delete(Table::Renewals, key);
        let Some((due, id)) = due else {
            tracing::error!("a row of the renewals does not read; it is removed");
            return self.apply(gone).await;
        };
        let loaded = match self.load_order(id).await {
            Ok(loaded) => loaded,
            Err(Error::NotFound) => {
                return self.apply(gone.expect(Table::Orders, *id.as_bytes(), Expect::Absent)).await;
            }
            Err(Error::Store(StoreError::Corrupt(error))) => {
                tracing::error!(order = %id, %error, "an order to renew does not read");
                let later = due_row(self.now() + UNREADABLE, id);
                return self.apply(gone.put(Table::Renewals, later, Vec::new())).await;
            }
            Err(error) => return Err(error),
        };
        let agreed = match &loaded.order.details.auto_renewal {
            Some(agreed) if agreed.due == due => agreed,
            // Not the order's row any more.
            Some(_) | None => {
                return self
                    .apply(gone.expect(Table::Orders, *id.as_bytes(), Expect::Is(loaded.version)))
                    .await;
            }
        };
        match &loaded.order.finish {
            Finish::Renewing(_) => self.renew(&loaded).await,
            // Never finalized: it goes when any other order would, and not at its end-date.
            Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_) => {
                if self.now() >= agreed.keep {
                    return self.remove_order(&loaded, due).await;
                }
                let mut kept = loaded.clone();
                let batch = match &mut kept.order.details.auto_renewal {
                    Some(agreed) => due_at(Batch::new(), id, agreed, agreed.keep),
                    None => Batch::new(),
                };
                self.apply(kept.stored_by(batch)).await
            }
        }
    }

    async fn apply(&self, batch: Batch) -> Result<(), Error> {
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => Ok(()),
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Removes an order with its row and those of its authorizations, as the sweeper does.
    async fn remove_order(&self, loaded: &LoadedOrder, due: Timestamp) -> Result<(), Error> {
        let key = *loaded.id.as_bytes();
        let held = self.held_in(loaded.id, &loaded.order.encode()).await?;
        let batch = held.into_iter().fold(Batch::new(), |batch, (row, version)| {
            batch.expect(Table::Grants, row.clone(), Expect::Is(version)).delete(Table::Grants, row)
        });
        let batch = batch
            .expect(Table::Orders, key, Expect::Is(loaded.version))
            .delete(Table::Orders, key)
            .delete(Table::Renewals, due_row(due, loaded.id));
        self.apply(batch).await
    }

    /// Does what the order is due for, if nobody is at it.
    async fn renew(&self, loaded: &LoadedOrder) -> Result<(), Error> {
        let Some((agreed, state)) = renewal_of(&loaded.order) else { return Ok(()) };
        let Some(claim) = self.finishing.claim(loaded.id, ()) else {
            return Err(Error::Busy("the next certificate is being issued"));
        };
        let now = self.now();
        let done = match state.next_move(agreed, now) {
            Move::Issue(period) => match self.issue_next(loaded, state, period, now).await {
                Ok(_) => Ok(()),
                Err(why) => self.note_not_issued(loaded, agreed, state, why, now).await,
            },
            Move::Rest if now >= agreed.removal(state) => self.remove_order(loaded, agreed.due).await,
            Move::Wait(_) | Move::Rest => {
                let due = state.due(agreed, now);
                self.store_renewal(loaded, state.clone(), due, Batch::new()).await.map(drop)
            }
        };
        drop(claim);
        done
    }

    async fn issue_next(
        &self,
        loaded: &LoadedOrder,
        state: &Renewing,
        mut period: Period,
        now: Timestamp,
    ) -> Result<LoadedOrder, NotIssued> {
        let order = &loaded.order;
        let gone = |what| NotIssued::Refused(Refusal::unauthorized(what));
        let terms = self.provisioner(&order.provisioner).ok_or(gone("the provisioner is gone"))?;
        let known = self.account(&terms, order.account).await?.ok_or(gone("the account is gone"))?;
        match known.account.status {
            AccountStatus::Valid => {}
            AccountStatus::Deactivated => return Err(Error::Deactivated.into()),
        }
        if self.is_given_up(order).await? {
            return Err(NotIssued::Ended("an authorization of the order was given up"));
        }
        let csr = Csr::parse(&state.csr)
            .map_err(|error| Error::Internal(format!("a stored CSR does not parse: {error}")))?;
        // An issuer that was put in meanwhile may end sooner than the order.
        period.not_after = period.not_after.min(self.issuer.not_after());
        let grant = terms
            .grant_period(loaded.id, order, &csr, known.key.spki(), &period, now)
            .map_err(NotIssued::Refused)?;
        let batch =
            Batch::new().expect(Table::Accounts, *order.account.as_bytes(), Expect::Is(known.version));
        Ok(self.issue_period(loaded, state, period.index, grant, batch, now).await?)
    }

    /// Whether an authorization that the order rests on was deactivated. That it has run out since, or
    /// left the store, does not count: control is proved once (RFC 8739 §2.1).
    async fn is_given_up(&self, order: &Order) -> Result<bool, Error> {
        let mut last: Option<LoadedOrder> = None;
        for slot in &order.slots {
            let given_up = match slot {
                Slot::Own(authorization) => authorization.deactivated,
                Slot::Reused { order: keeper, index, .. } => {
                    if last.as_ref().is_none_or(|kept| kept.id != *keeper) {
                        last = match self.load_order(*keeper).await {
                            Ok(kept) => Some(kept),
                            Err(Error::NotFound) => None,
                            Err(error) => return Err(error),
                        };
                    }
                    let proof = last.as_ref().and_then(|kept| kept.order.own(*index));
                    proof.is_some_and(|authorization| authorization.deactivated)
                }
            };
            if given_up {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Records why there is no next certificate, and when it is tried again, if it is.
    async fn note_not_issued(
        &self,
        loaded: &LoadedOrder,
        agreed: &AutoRenewal,
        state: &Renewing,
        why: NotIssued,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (id, account) = (loaded.id, loaded.order.account);
        let due = state.retry(agreed, now);
        let failures = state.failures.saturating_add(1);
        match why {
            NotIssued::Ended(detail) => {
                tracing::warn!(order = %id, %account, detail, "automatic renewal stopped");
                let event = Event::AutoRenewalStopped { account, order: id, error: ErrorKind::Unauthorized };
                self.end_renewal(loaded, agreed, state, event, now).await.map(drop)
            }
            NotIssued::Refused(refusal) => {
                tracing::warn!(
                    order = %id, %account, detail = %refusal.detail, next = %due, "a renewal was refused"
                );
                let problem = StoredProblem {
                    kind: refusal.kind,
                    detail: refusal.detail.into_owned(),
                    identifier: None,
                };
                let event = Event::AutoRenewalRefused { account, order: id, error: problem.kind };
                let known = state.refused.as_ref() == Some(&problem);
                let batch = if known { Batch::new() } else { audited(Batch::new(), now, event) };
                let state = Renewing { failures, refused: Some(problem), ..state.clone() };
                self.store_renewal(loaded, state, due, batch).await.map(drop)
            }
            // Nothing could be noted either, or somebody else has changed the order.
            NotIssued::Fault(
                error @ (Error::Busy(_)
                | Error::Store(StoreError::Busy | StoreError::NoSpace(_) | StoreError::Failed(_))),
            ) => Err(error),
            NotIssued::Fault(
                error @ (Error::Refused(_)
                | Error::NotFound
                | Error::Deactivated
                | Error::KeyInUse(_)
                | Error::Store(StoreError::TooLarge(_) | StoreError::Corrupt(_))
                | Error::Internal(_)),
            ) => {
                tracing::error!(order = %id, %account, %error, failures, next = %due, "a renewal failed");
                let state = Renewing { failures, ..state.clone() };
                self.store_renewal(loaded, state, due, Batch::new()).await.map(drop)
            }
        }
    }
}

fn canceled() -> Refusal {
    Refusal::new(ErrorKind::AutoRenewalCanceled, "the automatic renewal of this certificate has ended")
}
