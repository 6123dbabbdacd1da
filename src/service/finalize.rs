//! Finalization (RFC 8555 §7.4): the order's CSR, through the gate.
//!
//! With a quick signer the order is valid, durably, when the reply leaves. With a slow one the
//! order is committed as processing together with its CSR, a task signs, and the reply waits for it
//! only a little. A task that a crash ends is begun anew when the client polls.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::gate::{self, Gated};
use super::objects::LoadedOrder;
use super::{Error, Service, Work, audited};
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::order::{Finish, Order, OrderStatus, Slot};
use crate::audit::Event;
use crate::authority::policy;
use crate::authority::signer::Cost;
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::x509::csr::Csr;

/// How long a reply waits for a slow signer.
const PATIENCE: Duration = Duration::from_secs(2);

fn csr_digest(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, der).as_ref());
    out
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
        let guard = self.locks.of(id.as_bytes()).await;
        let loaded = self.load_own_order(terms, account, id).await?;
        match &loaded.order.finish {
            // Clients repeat a request whose answer they lost; the answer is the same.
            Finish::Issued { csr: known, .. } if *known == csr_digest(csr) => return Ok(loaded),
            Finish::Processing(known) if known == csr => {
                drop(guard);
                self.resume_finalize(id);
                return Ok(loaded);
            }
            Finish::Open | Finish::Issued { .. } | Finish::Processing(_) | Finish::Failed(_) => {}
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
            Cost::Quick => self.issue_order(terms, &loaded, &csr).await,
            Cost::Slow => {
                self.check_held(&loaded.order).await?;
                // Refuses what is to be refused before the order is bound to this CSR.
                let known = self.account(terms, account).await?.ok_or(Error::NotFound)?;
                let _ = terms.grant(id, &loaded.order, &csr, known.key.spki(), self.now())?;
                self.commit_finish(&loaded, Finish::Processing(csr.der().to_vec())).await?;
                drop(guard);
                let work = self.resume_finalize(id);
                if let Some(work) = work {
                    let _ = tokio::time::timeout(PATIENCE, work).await;
                }
                self.load_own_order(terms, account, id).await
            }
        }
    }

    /// Signs and commits; the order's lock is held.
    async fn issue_order(
        &self,
        terms: &Terms,
        loaded: &LoadedOrder,
        csr: &Csr,
    ) -> Result<LoadedOrder, Error> {
        let (id, order) = (loaded.id, &loaded.order);
        let now = self.now();
        self.check_held(order).await?;
        let known = self.account(terms, order.account).await?.ok_or(Error::NotFound)?;
        let grant = terms.grant(id, order, csr, known.key.spki(), now)?;
        let mut finished = order.clone();
        let also = |issued: &crate::authority::sign::Issued| {
            finished.finish = Finish::Issued { serial: issued.serial, csr: csr_digest(csr.der()) };
            Batch::new().expect(Table::Orders, *id.as_bytes(), Expect::Is(loaded.version)).put(
                Table::Orders,
                *id.as_bytes(),
                finished.encode(),
            )
        };
        match gate::issue(&*self.store, &*self.entropy, &self.issuer, grant, now, also).await? {
            Gated::Issued(issued) => {
                let names: Vec<String> = order.identifiers().map(ToString::to_string).collect();
                tracing::info!(
                    serial = %issued.serial, order = %id, account = %order.account, names = names.join(","),
                    not_after = %issued.not_after, key = csr.key().key().label(), "certificate issued"
                );
                Ok(LoadedOrder { id, order: finished, version: loaded.version })
            }
            Gated::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Authorizations proved in other orders must still be held: their owner may have given one up.
    async fn check_held(&self, order: &Order) -> Result<(), Error> {
        let now = self.now();
        for slot in &order.slots {
            let Slot::Reused { identifier, order: keeper, index, .. } = slot else { continue };
            let authorization = self.load_order(*keeper).await;
            let valid = match &authorization {
                Ok(kept) => kept.order.own(*index).is_some_and(|authorization| {
                    authorization.status(now) == crate::acme::order::AuthorizationStatus::Valid
                }),
                Err(Error::NotFound) => false,
                Err(error) => return Err(error.clone()),
            };
            if !valid {
                let detail =
                    format!("the authorization for {identifier} is no longer valid: open a new order");
                return Err(Refusal::unauthorized(detail).into());
            }
        }
        Ok(())
    }

    async fn commit_finish(&self, loaded: &LoadedOrder, finish: Finish) -> Result<(), Error> {
        let mut order = loaded.order.clone();
        let key = *loaded.id.as_bytes();
        let mut batch = Batch::new();
        if let Finish::Failed(problem) = &finish {
            let event =
                Event::IssuanceRefused { account: order.account, order: loaded.id, error: problem.kind };
            batch = audited(batch, self.now(), event);
        }
        order.finish = finish;
        let batch = batch.expect(Table::Orders, key, Expect::Is(loaded.version)).put(
            Table::Orders,
            key,
            order.encode(),
        );
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => Ok(()),
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Goes on with an order committed as processing, if nobody is at it.
    pub(super) fn resume_finalize(self: &Arc<Self>, id: OrderId) -> Option<tokio::task::JoinHandle<()>> {
        let claim = self.running.claim(Work::Finalize(id))?;
        let service = self.clone();
        Some(tokio::spawn(async move {
            if let Err(error) = service.finish_processing(id).await {
                tracing::warn!(order = %id, %error, "an accepted order could not be finished yet");
            }
            drop(claim);
        }))
    }

    async fn finish_processing(&self, id: OrderId) -> Result<(), Error> {
        let _guard = self.locks.of(id.as_bytes()).await;
        let loaded = self.load_order(id).await?;
        let Finish::Processing(der) = &loaded.order.finish else { return Ok(()) };
        let issued = match (Csr::parse(der), self.provisioner(&loaded.order.provisioner)) {
            (Ok(csr), Some(terms)) => self.issue_order(&terms, &loaded, &csr).await.map(drop),
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
            other => other,
        }
    }
}
