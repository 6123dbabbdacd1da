//! What is due: the task that issues the next certificates, and what it does when it cannot.

use std::time::Duration;

use super::super::finalize::parse_csr;
use super::super::keepers::{AsRead, Keepers};
use super::super::metered::Issuance;
use super::super::objects::LoadedOrder;
use super::super::{Error, Service, audited};
use super::{due_at, due_row, renewal_of};
use crate::acme::account::AccountStatus;
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::order::{Finish, Order, Slot};
use crate::acme::star::{AutoRenewal, Move, Period, Renewing};
use crate::audit::Event;
use crate::fleet::Cause;
use crate::id::OrderId;
use crate::storage::codec::order_row;
use crate::storage::{Batch, CommitOutcome, Expect, StoreError, Table, Version};
use crate::telemetry::trace::Span;
use crate::time::Timestamp;

/// Rows looked at in one step.
const STEP: usize = 64;

/// How far behind the time a step begins to look. A row that was on its way into the store when the
/// step before went by is found; rows that are gone are not walked over for longer.
const LAG: Duration = Duration::from_secs(120);

/// How often a step begins at the very beginning all the same.
const WHOLE: Duration = Duration::from_secs(3600);

/// When to look again at an order that does not read.
const UNREADABLE: Duration = Duration::from_secs(3600);

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

fn of_due_row(key: &[u8]) -> Option<(Timestamp, OrderId)> {
    let (secs, id) = key.split_first_chunk::<8>()?;
    Some((Timestamp::from_secs(u64::from_be_bytes(*secs)), OrderId::from_key(id)?))
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
            | Error::Limited(_)
            | Error::Store(_)
            | Error::IssuerNotValid(_)
            | Error::Internal(_)) => Self::Fault(other),
        }
    }
}

impl Service {
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
        let held = self.held_in(loaded.id, &loaded.order).await?;
        let batch = held.into_iter().fold(Batch::new(), |batch, (table, row, version)| {
            batch.expect(table, row.clone(), Expect::Is(version)).delete(table, row)
        });
        let batch = batch
            .expect(Table::Orders, key, Expect::Is(loaded.version))
            .delete(Table::Orders, key)
            .delete(Table::AccountOrders, order_row(loaded.order.account, loaded.id))
            .delete(Table::Renewals, due_row(due, loaded.id));
        self.apply(batch).await
    }

    /// Does what the order is due for, if nobody is at it.
    pub(super) async fn renew(&self, loaded: &LoadedOrder) -> Result<(), Error> {
        let Some((agreed, state)) = renewal_of(&loaded.order) else { return Ok(()) };
        let Some(claim) = self.finishing.claim(loaded.id, ()) else {
            return Err(Error::Busy("the next certificate is being issued"));
        };
        let span = Span::of_background("automatic renewal");
        span.note("mayfly.order", loaded.id);
        span.note("mayfly.account", loaded.order.account);
        span.note("mayfly.provisioner", &loaded.order.provisioner);
        let work = span.work();
        let done = work.within(Box::pin(self.move_on(loaded, agreed, state))).await;
        drop(claim);
        done
    }

    async fn move_on(
        &self,
        loaded: &LoadedOrder,
        agreed: &AutoRenewal,
        state: &Renewing,
    ) -> Result<(), Error> {
        let now = self.now();
        match state.next_move(agreed, now) {
            Move::Issue(period) => match self.issue_counted(loaded, state, period, now).await {
                Ok(_) => Ok(()),
                Err(why) => self.note_not_issued(loaded, agreed, state, why, now).await,
            },
            Move::Rest if now >= agreed.removal(state) => self.remove_order(loaded, agreed.due).await,
            Move::Wait(_) | Move::Rest => {
                let due = state.due(agreed, now);
                self.store_renewal(loaded, state.clone(), due, Batch::new()).await.map(drop)
            }
        }
    }

    async fn issue_counted(
        &self,
        loaded: &LoadedOrder,
        state: &Renewing,
        period: Period,
        now: Timestamp,
    ) -> Result<LoadedOrder, NotIssued> {
        let mut meter = Issuance::at(&loaded.order.provisioner).by(&loaded.order);
        let outcome = self.issue_next(loaded, state, period, now).await;
        let counted = match &outcome {
            Ok(_) => {
                meter.issued();
                Ok(())
            }
            Err(NotIssued::Ended(_)) => Err(Error::Deactivated),
            Err(NotIssued::Refused(refusal)) => Err(Error::Refused(refusal.clone())),
            Err(NotIssued::Fault(error)) => Err(error.clone()),
        };
        let _ = meter.ended(counted);
        outcome
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
        let Some(keepers) = self.not_given_up(order).await? else {
            return Err(NotIssued::Ended("an authorization of the order was given up"));
        };
        self.check_consent(&terms, order).await?;
        let csr = parse_csr(order, &state.csr)
            .map_err(|error| Error::Internal(format!("a stored CSR does not parse: {error}")))?;
        // An issuer that was put in meanwhile may end sooner than the order.
        period.not_after = period.not_after.min(terms.issuer().not_after());
        let bound = self.bound_key(&known.account).await?;
        let eab = bound.as_ref().map(|bound| &bound.key);
        let grant = terms
            .grant_period(loaded.id, order, &csr, known.key.spki(), eab, &period, now)
            .map_err(NotIssued::Refused)?;
        // The key of a series is certified once for all of it.
        let _fresh = match &state.current {
            None => self.fresh_key(&terms.restraints(order.details.profile.as_deref()), csr.key()).await?,
            Some(_) => None,
        };
        let batch = bound.iter().fold(keepers.unchanged(Batch::new()), |batch, bound| bound.unchanged(batch));
        let batch = batch.expect(Table::Accounts, *order.account.as_bytes(), Expect::Is(known.version));
        let grant = (grant, eab.map(|key| key.kid));
        Ok(self.issue_period(&terms, (loaded, state), period.index, grant, batch, now).await?)
    }

    /// The orders that keep proofs of this one, as read; `None` if an authorization that it rests on was
    /// deactivated. That one has run out since, or left the store, does not count: control is proved once
    /// (RFC 8739 §2.1).
    async fn not_given_up(&self, order: &Order) -> Result<Option<AsRead>, Error> {
        let mut keepers = Keepers::new(self);
        for slot in &order.slots {
            let given_up = match slot {
                Slot::Own(authorization) => authorization.deactivated,
                Slot::Trusted { deactivated, .. } => *deactivated,
                Slot::Reused { order: keeper, index, .. } => {
                    let proof = keepers.proof(*keeper, *index).await?;
                    proof.is_some_and(|authorization| authorization.deactivated)
                }
            };
            if given_up {
                return Ok(None);
            }
        }
        Ok(Some(keepers.into_read()))
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
                let cause = Cause::of_refusal(problem.kind).unwrap_or(Cause::Other);
                self.fleet.failed(loaded.order.identifiers(), cause, now);
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
                | Error::Limited(_)
                | Error::Store(StoreError::TooLarge(_) | StoreError::Corrupt(_))
                | Error::IssuerNotValid(_)
                | Error::Internal(_)),
            ) => {
                tracing::error!(order = %id, %account, %error, failures, next = %due, "a renewal failed");
                // Nobody else tries: our own faults are all that there can be.
                self.fleet.failed(loaded.order.identifiers(), Cause::Other, now);
                let state = Renewing { failures, ..state.clone() };
                self.store_renewal(loaded, state, due, Batch::new()).await.map(drop)
            }
        }
    }
}
