//! Finalization (RFC 8555 §7.4): the order's CSR, through the gate.
//!
//! With a quick signer the order is valid, durably, when the reply leaves. With a slow one the
//! order is committed as processing together with its CSR, a task signs, and the reply waits for it
//! only a little. A task that a crash ends is begun anew when the client polls.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::account::KnownAccount;
use super::gate::{self, Gated};
use super::objects::LoadedOrder;
use super::{Error, Service, audited};
use crate::acme::account::AccountStatus;
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::order::{AuthorizationStatus, Finish, Order, OrderStatus, Slot};
use crate::audit::Event;
use crate::authority::policy;
use crate::authority::signer::Cost;
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version};
use crate::x509::csr::Csr;

/// How long a reply waits for a slow signer.
const PATIENCE: Duration = Duration::from_secs(2);

fn csr_digest(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, der).as_ref());
    out
}

fn names_of(order: &Order) -> String {
    let names: Vec<String> = order.identifiers().map(ToString::to_string).collect();
    names.join(",")
}

impl Service {
    /// Finalizes an order of the account's with a DER-encoded CSR.
    pub async fn finalize(
        self: &Arc<Self>,
        terms: &Arc<Terms>,
        account: AccountId,
        id: OrderId,
        csr: &[u8],
    ) -> Result<LoadedOrder, Error> {
        let guard = self.order_locks.of(id.as_bytes()).await;
        let loaded = self.load_own_order(terms, account, id).await?;
        match &loaded.order.finish {
            // Clients repeat a request whose answer they lost; the answer is the same.
            Finish::Issued { csr: known, .. } if *known == csr_digest(csr) => return Ok(loaded),
            Finish::Processing(known) if known == csr => {
                drop(guard);
                self.resume_finalize(id);
                return Ok(loaded);
            }
            Finish::Renewing(state) if state.csr == csr => return Ok(loaded),
            Finish::Open
            | Finish::Issued { .. }
            | Finish::Processing(_)
            | Finish::Failed(_)
            | Finish::Renewing(_) => {}
        }
        let status = loaded.order.status(self.now());
        if status != OrderStatus::Ready {
            let detail = format!("the order is {}, not ready", crate::acme::order::name_of(status));
            return Err(Refusal::new(ErrorKind::OrderNotReady, detail).into());
        }
        let csr = Csr::parse(csr).map_err(|error| Refusal::new(ErrorKind::BadCsr, error.to_string()))?;
        policy::check_key(csr.key().key())
            .map_err(|error| Refusal::new(ErrorKind::BadCsr, format!("the CSR's key: {error}")))?;
        match self.issuer.signer().cost() {
            Cost::Quick => self.issue_order(terms, loaded, &csr).await,
            Cost::Slow => {
                // Refuses what is to be refused before the order is bound to this CSR.
                self.check_proved(&loaded.order).await?;
                let known = self.account_in_standing(terms, account).await?;
                let _ = terms.grant(id, &loaded.order, &csr, known.key.spki(), self.now())?;
                self.commit_finish(&loaded, Finish::Processing(csr.der().to_vec())).await?;
                drop(guard);
                if let Some(work) = self.resume_finalize(id) {
                    let _ = tokio::time::timeout(PATIENCE, work).await;
                }
                self.load_own_order(terms, account, id).await
            }
        }
    }

    /// Signs and commits, if order and account are still as they were read.
    async fn issue_order(&self, terms: &Terms, loaded: LoadedOrder, csr: &Csr) -> Result<LoadedOrder, Error> {
        let keepers = self.check_proved(&loaded.order).await?;
        let known = self.account_in_standing(terms, loaded.order.account).await?;
        if loaded.order.details.auto_renewal.is_some() {
            return self.begin_renewal(terms, &loaded, csr, &keepers, &known).await;
        }
        let LoadedOrder { id, mut order, version } = loaded;
        let now = self.now();
        let grant = terms.grant(id, &order, csr, known.key.spki(), now)?;
        let also = |issued: &crate::authority::sign::Issued| {
            order.finish = Finish::Issued { serial: issued.serial, csr: csr_digest(csr.der()) };
            let unchanged = |batch: Batch, (keeper, read): &(OrderId, Version)| {
                batch.expect(Table::Orders, *keeper.as_bytes(), Expect::Is(*read))
            };
            keepers
                .iter()
                .fold(Batch::new(), unchanged)
                .expect(Table::Accounts, *order.account.as_bytes(), Expect::Is(known.version))
                .expect(Table::Orders, *id.as_bytes(), Expect::Is(version))
                .put(Table::Orders, *id.as_bytes(), order.encode())
        };
        match gate::issue(&*self.store, &*self.entropy, &self.issuer, grant, now, also).await? {
            Gated::Issued(issued) => {
                tracing::info!(
                    serial = %issued.serial, order = %id, account = %order.account, names = names_of(&order),
                    not_after = %issued.not_after, key = csr.key().key().label(), "certificate issued"
                );
                Ok(LoadedOrder { id, order, version })
            }
            Gated::Conflict => Err(Error::Busy("another change of the order or its account came first")),
        }
    }

    /// A closed account gets nothing more, not even what was under way (RFC 8555 §7.3.6).
    async fn account_in_standing(&self, terms: &Terms, id: AccountId) -> Result<Arc<KnownAccount>, Error> {
        let known = self.account(terms, id).await?.ok_or(Error::NotFound)?;
        match known.account.status {
            AccountStatus::Valid => Ok(known),
            AccountStatus::Deactivated => Err(Error::Deactivated),
        }
    }

    /// Every authorization must hold now: one proved in another order, or one of an order that
    /// waits for its signature, may have been given up or have run out. The orders that keep such
    /// proofs are returned as they were read, for the commit to depend on.
    async fn check_proved(&self, order: &Order) -> Result<Vec<(OrderId, Version)>, Error> {
        let now = self.now();
        let mut keepers = Vec::new();
        // The last one read: proofs of one order come together as a rule.
        let mut last: Option<LoadedOrder> = None;
        for slot in &order.slots {
            let status = match slot {
                Slot::Own(authorization) => Some(authorization.status(now)),
                Slot::Reused { order: keeper, index, .. } => {
                    if last.as_ref().is_none_or(|kept| kept.id != *keeper) {
                        last = match self.load_order(*keeper).await {
                            Ok(kept) => Some(kept),
                            Err(Error::NotFound) => None,
                            Err(error) => return Err(error),
                        };
                        keepers.extend(last.iter().map(|kept| (kept.id, kept.version)));
                    }
                    let proof = last.as_ref().and_then(|kept| kept.order.own(*index));
                    proof.map(|authorization| authorization.status(now))
                }
            };
            if status != Some(AuthorizationStatus::Valid) {
                let identifier = slot.identifier();
                let detail =
                    format!("the authorization for {identifier} is no longer valid: open a new order");
                return Err(Refusal::unauthorized(detail).into());
            }
        }
        Ok(keepers)
    }

    async fn commit_finish(&self, loaded: &LoadedOrder, finish: Finish) -> Result<(), Error> {
        let mut loaded = loaded.clone();
        let mut batch = Batch::new();
        if let Finish::Failed(problem) = &finish {
            let event = Event::IssuanceRefused {
                account: loaded.order.account,
                order: loaded.id,
                error: problem.kind,
            };
            batch = audited(batch, self.now(), event);
        }
        loaded.order.finish = finish;
        match self.store.commit(loaded.stored_by(batch)).await? {
            CommitOutcome::Committed(_) => Ok(()),
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Goes on with an order committed as processing, if nobody is at it.
    pub(super) fn resume_finalize(self: &Arc<Self>, id: OrderId) -> Option<tokio::task::JoinHandle<()>> {
        let claim = self.finishing.claim(id, ())?;
        let service = self.clone();
        Some(tokio::spawn(async move {
            if let Err(error) = service.finish_processing(id).await {
                tracing::warn!(order = %id, %error, "an accepted order could not be finished yet");
            }
            drop(claim);
        }))
    }

    /// Without the order's lock, which others would wait for as long as the signer takes: the claim
    /// keeps a second one away, and a change meanwhile shows as a conflict, to begin anew from.
    async fn finish_processing(&self, id: OrderId) -> Result<(), Error> {
        let loaded = self.load_order(id).await?;
        let Finish::Processing(der) = &loaded.order.finish else { return Ok(()) };
        let issued = match (Csr::parse(der), self.provisioner(&loaded.order.provisioner)) {
            (Ok(csr), Some(terms)) => self.issue_order(&terms, loaded.clone(), &csr).await.map(drop),
            (Err(error), _) => Err(Error::Internal(format!("a stored CSR does not parse: {error}"))),
            (_, None) => Err(Refusal::unauthorized("the provisioner is gone").into()),
        };
        match issued {
            // Refused for good: say so on the order, or the client would poll for ever.
            Err(Error::Refused(refusal)) => {
                let problem = StoredProblem {
                    kind: refusal.kind,
                    detail: refusal.detail.into_owned(),
                    identifier: None,
                };
                self.commit_finish(&loaded, Finish::Failed(problem)).await
            }
            Err(error @ Error::Deactivated) => {
                let detail = error.to_string();
                let problem = StoredProblem { kind: ErrorKind::Unauthorized, detail, identifier: None };
                self.commit_finish(&loaded, Finish::Failed(problem)).await
            }
            other => other,
        }
    }
}
