//! Orders that are renewed automatically (RFC 8739): the first certificate, the next ones, their
//! reading, and cancelling.
//!
//! Certificates are issued ahead of time by a task ([`Service::renew_due`]) that reads a table of what
//! is due, in the order of time; and by whoever reads a certificate that is due and not there yet, so
//! that a task that lags, or a clock that jumped, is never seen from outside. Both do the same under
//! one claim, and both leave the order due at a later time, so that a failure is not repeated by
//! every reader. What was missed is not made up for: the certificate of now is issued.

mod renewals;

pub use self::renewals::{RenewalCursor, Renewed};

use super::account::KnownAccount;
use super::gate::{self, Gated};
use super::keepers::AsRead;
use super::objects::LoadedOrder;
use super::{Error, Provisioner, Service, audited};
use crate::acme::account::AccountStatus;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::order::{Finish, Order, name_of};
use crate::acme::star::{AutoRenewal, Current, Renewing};
use crate::audit::Event;
use crate::authority::certificate::{CertificateRecord, Provenance};
use crate::authority::sign::Issued;
use crate::id::{AccountId, EabKid, OrderId};
use crate::provisioner::Grant;
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;
use crate::x509::csr::Csr;

/// Tries to cancel against renewals that come first.
const CANCELS: usize = 4;

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

/// Puts the order's row where it is due next, and says so in the order.
fn due_at(batch: Batch, id: OrderId, agreed: &mut AutoRenewal, due: Timestamp) -> Batch {
    let (old, new) = (due_row(agreed.due, id), due_row(due, id));
    agreed.due = due;
    if old == new {
        return batch;
    }
    batch.delete(Table::Renewals, old).put(Table::Renewals, new, Vec::new())
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
        terms: &Provisioner,
        loaded: &LoadedOrder,
        csr: &Csr,
        keepers: &AsRead,
        known: &KnownAccount,
        now: Timestamp,
    ) -> Result<LoadedOrder, Error> {
        let id = loaded.id;
        let Some(agreed) = &loaded.order.details.auto_renewal else {
            return Err(Error::Internal("an order to renew has no terms of renewal".into()));
        };
        let mut period = agreed.first_period(now)?;
        period.not_after = period.not_after.min(terms.issuer().not_after());
        // Also if nothing is signed yet: what is to be refused is refused now.
        let bound = self.bound_key(&known.account).await?;
        let eab = bound.as_ref().map(|bound| &bound.key);
        let grant = terms.grant_period(id, &loaded.order, csr, known.key.spki(), eab, &period, now)?;
        let account = loaded.order.account;
        let batch = bound.iter().fold(Batch::new(), |batch, bound| bound.unchanged(batch));
        let batch =
            keepers.unchanged(batch).expect(Table::Accounts, *account.as_bytes(), Expect::Is(known.version));
        let batch = audited(batch, now, Event::AutoRenewalBegun { account, order: id, end: agreed.end });
        let restraints = terms.restraints(loaded.order.details.profile.as_deref());
        // The series counts as one: how often it is renewed is agreed, and the server's doing.
        let spending = self.spend(&restraints, &loaded.order, now).await?;
        let _fresh = self.fresh_key(&restraints, csr.key()).await?;
        let batch = spending.spent(batch);
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
        loaded.order.details.proved_by = self.proofs_elsewhere(&loaded.order).await?;
        tracing::info!(order = %id, %account, end = %agreed.end, "automatic renewal begun");
        if state.first > now {
            let due = state.due(agreed, now);
            return self.store_renewal(&loaded, state, due, batch).await;
        }
        let grant = (grant, eab.map(|key| key.kid));
        self.issue_period(terms, (&loaded, &state), period.index, grant, batch, now).await
    }

    /// Signs one certificate of a series; the order is due again for the next one.
    async fn issue_period(
        &self,
        terms: &Provisioner,
        (loaded, state): (&LoadedOrder, &Renewing),
        index: u64,
        (grant, eab): (Grant, Option<EabKid>),
        batch: Batch,
        now: Timestamp,
    ) -> Result<LoadedOrder, Error> {
        let id = loaded.id;
        // The first certificate replaces what the order was opened to replace.
        let replaced = match &state.current {
            None => self.replaced(id, loaded.order.details.replaces).await?,
            Some(_) => None,
        };
        let replaces = replaced.as_ref().map(|predecessor| predecessor.serial);
        let provenance = Provenance { client: None, eab, replaces, configuration: terms.configuration() };
        let mut next = None;
        let also = |issued: &Issued| {
            let current = Some(Current { index, serial: issued.serial, not_after: issued.not_after });
            let state = Renewing { current, failures: 0, refused: None, ..state.clone() };
            let agreed = loaded.order.details.auto_renewal.as_ref();
            let due = agreed.map_or(now, |agreed| state.due(agreed, now));
            let (order, batch) = changed(loaded, state, due, batch);
            next = Some(order);
            match replaced {
                None => batch,
                Some(predecessor) => predecessor.replaced_by(id, Some(issued.serial), batch),
            }
        };
        match gate::issue(self.desk(), terms.issuer(), grant, now, provenance, also).await? {
            Gated::Issued(issued) => {
                tracing::info!(
                    serial = %issued.serial, order = %id, account = %loaded.order.account, index,
                    not_before = %issued.not_before, not_after = %issued.not_after,
                    "certificate of a series issued"
                );
                next.ok_or_else(|| Error::Internal("the gate did not store the order".into()))
            }
            Gated::Refused(refusal) => match loaded.order.finish {
                // Tried again at the server's own pace; the client asks for nothing.
                Finish::Renewing(_) => Err(refusal.into()),
                Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_) => {
                    Err(self.refused_by_policy(loaded.order.account, refusal, now))
                }
            },
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
            let loaded = self.load_ordered(terms, account, id).await?;
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
        let stored = self.store_renewal(&ended, state, due, audited(Batch::new(), now, event)).await?;
        self.fleet.ended(stored.order.identifiers());
        Ok(stored)
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
}

fn canceled() -> Refusal {
    Refusal::new(ErrorKind::AutoRenewalCanceled, "the automatic renewal of this certificate has ended")
}
