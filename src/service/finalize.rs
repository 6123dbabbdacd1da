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
use super::keepers::{AsRead, Keepers};
use super::metered::Issuance;
use super::objects::LoadedOrder;
use super::{Error, Provisioner, Service, audited};
use crate::acme::account::AccountStatus;
use crate::acme::error::{ErrorKind, Refusal, StoredProblem};
use crate::acme::identifier::Identifier;
use crate::acme::order::{AuthorizationStatus, Finish, Order, OrderStatus, Slot};
use crate::audit::Event;
use crate::authority::certificate::{Client, Provenance};
use crate::authority::policy;
use crate::authority::signer::Cost;
use crate::fleet::Cause;
use crate::id::{AccountId, OrderId};
use crate::limits::Source;
use crate::provisioner::Grant;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::Restraints;
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version};
use crate::telemetry::trace;
use crate::time::Timestamp;
use crate::x509::csr::{Csr, CsrError};
use crate::x509::serial::Serial;

/// How long a reply waits for a slow signer.
const PATIENCE: Duration = Duration::from_secs(2);

fn csr_digest(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, der).as_ref());
    out
}

/// Names of devices are accepted for orders of devices only.
pub(super) fn parse_csr(order: &Order, der: &[u8]) -> Result<Csr, CsrError> {
    if order.identifiers().any(Identifier::is_device) { Csr::parse_for_device(der) } else { Csr::parse(der) }
}

fn names_of(order: &Order) -> String {
    let names: Vec<String> = order.identifiers().map(ToString::to_string).collect();
    names.join(",")
}

/// Who sends a request: what its limits count by, and what the inventory keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Where it comes from.
    pub source: Source,
    /// Who, as far as it is known.
    pub client: Option<Client>,
}

impl From<Source> for Caller {
    fn from(source: Source) -> Self {
        Self { source, client: None }
    }
}

impl Service {
    /// Finalizes an order of the account's with a DER-encoded CSR.
    pub async fn finalize(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: AccountId,
        id: OrderId,
        csr: &[u8],
        by: impl Into<Caller>,
    ) -> Result<LoadedOrder, Error> {
        let mut meter = Issuance::at(&terms.name);
        let by = by.into();
        let outcome = self.finalize_order(terms, account, id, csr, &by, &mut meter).await;
        let outcome = meter.ended(outcome);
        self.heard_of(terms, account, (id, csr, by.client.as_ref()), outcome).await
    }

    async fn finalize_order(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: AccountId,
        id: OrderId,
        csr: &[u8],
        by: &Caller,
        meter: &mut Issuance,
    ) -> Result<LoadedOrder, Error> {
        let (from, client) = (by.source, by.client.clone());
        let consented = self.consent_to_finalize(terms, account, id).await?;
        let guard = self.order_locks.of(id.as_bytes()).await;
        let loaded = self.load_ordered(terms, account, id).await?;
        meter.about(&loaded.order);
        match &loaded.order.finish {
            // Clients repeat a request whose answer they lost; the answer is the same.
            Finish::Issued { csr: known, .. } if *known == csr_digest(csr) => return Ok(loaded),
            Finish::Processing(known) if known == csr => {
                drop(guard);
                self.resume_finalize(id, client);
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
        if !consented {
            return Err(Error::Busy("the order has only just become ready"));
        }
        let csr = parse_csr(&loaded.order, csr)
            .map_err(|error| Refusal::new(ErrorKind::BadCsr, error.to_string()))?;
        policy::check_key(csr.key().key())
            .map_err(|error| Refusal::new(ErrorKind::BadCsr, format!("the CSR's key: {error}")))?;
        self.check_certifiable(csr.key()).await?;
        self.admit_attempt(account, from, self.now())?;
        match terms.issuer().signer().cost() {
            Cost::Quick => {
                let one = self.admit_certificate(&loaded.order, from, self.now())?;
                let issued = self.issue_order(terms, loaded, &csr, client, meter).await?;
                one.used();
                Ok(issued)
            }
            Cost::Slow => {
                // Refuses what is to be refused before the order is bound to this CSR.
                self.check_proved(&loaded.order, self.now()).await?;
                let known = self.account_in_standing(terms, account).await?;
                let bound = self.bound_key(&known.account).await?;
                let eab = bound.as_ref().map(|bound| &bound.key);
                let now = self.now();
                let grant = terms.grant(id, &loaded.order, &csr, known.key.spki(), eab, now)?;
                self.check_restraints(terms, &loaded.order, grant, now).await?;
                let one = self.admit_certificate(&loaded.order, from, self.now())?;
                self.commit_finish(&loaded, Finish::Processing(csr.der().to_vec())).await?;
                one.used();
                drop(guard);
                if let Some(work) = self.resume_finalize(id, client) {
                    let _ = tokio::time::timeout(PATIENCE, work).await;
                }
                self.load_own_order(terms, account, id).await
            }
        }
    }

    /// Signs and commits, if order and account are still as they were read.
    async fn issue_order(
        &self,
        terms: &Provisioner,
        loaded: LoadedOrder,
        csr: &Csr,
        client: Option<Client>,
        meter: &mut Issuance,
    ) -> Result<LoadedOrder, Error> {
        // One time for all that is decided: a proof that runs out between two looks at the clock would
        // hold by the one and be signed for by the other.
        let now = self.now();
        let keepers = self.check_proved(&loaded.order, now).await?;
        let known = self.account_in_standing(terms, loaded.order.account).await?;
        if loaded.order.details.auto_renewal.is_some() {
            let begun = Box::pin(self.begin_renewal(terms, &loaded, csr, &keepers, &known, now)).await?;
            if matches!(&begun.order.finish, Finish::Renewing(state) if state.current.is_some()) {
                meter.issued();
            }
            let order = &begun.order;
            self.limits.close(order.account.as_bytes(), terms.order_ttl, order.created, now);
            return Ok(begun);
        }
        let LoadedOrder { id, mut order, version } = loaded;
        let bound = self.bound_key(&known.account).await?;
        let eab = bound.as_ref().map(|bound| &bound.key);
        let grant = terms.grant(id, &order, csr, known.key.spki(), eab, now)?;
        let depending =
            bound.iter().fold(keepers.unchanged(Batch::new()), |batch, bound| bound.unchanged(batch));
        let replaced = self.replaced(id, order.details.replaces).await?;
        let twin = self.twin(terms, &order, &grant, now).await?;
        if let Some(found) = twin.as_ref().and_then(|twin| twin.found) {
            drop(grant);
            let loaded = LoadedOrder { id, order, version };
            let given = self.give_again(loaded, depending, known.version, found, csr).await?;
            meter.reused();
            self.limits.close(given.order.account.as_bytes(), terms.order_ttl, given.order.created, now);
            return Ok(given);
        }
        let restraints = terms.restraints(order.details.profile.as_deref());
        let spending = self.spend(&restraints, &order, now).await?;
        let fresh = self.fresh_key(&restraints, csr.key()).await?;
        let depending = spending.spent(depending);
        let provenance = Provenance {
            client,
            eab: eab.map(|key| key.kid),
            replaces: order.details.replaces.map(|old| old.serial),
            configuration: terms.configuration(),
        };
        let also = |issued: &crate::authority::sign::Issued| {
            order.finish = Finish::Issued { serial: issued.serial, csr: csr_digest(csr.der()) };
            order.details.reuse_row = twin.as_ref().map(|twin| twin.digest);
            let batch = depending
                .expect(Table::Accounts, *order.account.as_bytes(), Expect::Is(known.version))
                .expect(Table::Orders, *id.as_bytes(), Expect::Is(version))
                .put(Table::Orders, *id.as_bytes(), order.encode());
            let batch = match &twin {
                None => batch,
                Some(twin) => twin.noted(batch, issued.serial, id, now),
            };
            match replaced {
                None => batch,
                Some(predecessor) => predecessor.replaced_by(id, Some(issued.serial), batch),
            }
        };
        let gated = gate::issue(self.desk(), terms.issuer(), grant, now, provenance, also).await;
        // Their turns end with the commit.
        drop((spending, fresh));
        match gated? {
            Gated::Issued(issued) => {
                meter.issued();
                self.limits.close(order.account.as_bytes(), terms.order_ttl, order.created, now);
                tracing::info!(
                    serial = %issued.serial, order = %id, account = %order.account, names = names_of(&order),
                    not_after = %issued.not_after, key = csr.key().key().label(),
                    profile = order.details.profile,
                    replaces = order.details.replaces.map(|old| tracing::field::display(old.serial)),
                    "certificate issued"
                );
                Ok(LoadedOrder { id, order, version })
            }
            Gated::Refused(refusal) => Err(self.refused_by_policy(order.account, refusal, now)),
            Gated::Conflict => Err(Error::Busy("another change of the order or its account came first")),
        }
    }

    /// The same for an order that was accepted a while ago.
    async fn issue_accepted(
        &self,
        terms: &Provisioner,
        loaded: LoadedOrder,
        csr: &Csr,
        client: Option<Client>,
    ) -> Result<LoadedOrder, Error> {
        let mut meter = Issuance::at(&terms.name).by(&loaded.order);
        let outcome = self.issue_order(terms, loaded, csr, client, &mut meter).await;
        meter.ended(outcome)
    }

    /// Refuses what [`Service::issue_order`] would refuse for its key or its budget; an order that gets a
    /// certificate again heeds neither.
    async fn check_restraints(
        &self,
        terms: &Provisioner,
        order: &Order,
        grant: Grant,
        now: Timestamp,
    ) -> Result<(), Error> {
        let restraints = terms.restraints(order.details.profile.as_deref());
        let series = order.details.auto_renewal.is_some();
        if restraints == Restraints::default()
            || !series && self.twin(terms, order, &grant, now).await?.is_some_and(|twin| twin.found.is_some())
        {
            return Ok(());
        }
        self.check_budget(&restraints, order, now).await?;
        self.check_fresh_key(&restraints, grant.key()).await
    }

    /// Finishes an order with a certificate that its account has already; nothing is signed.
    async fn give_again(
        &self,
        mut loaded: LoadedOrder,
        depending: Batch,
        account: Version,
        found: (Serial, Version),
        csr: &Csr,
    ) -> Result<LoadedOrder, Error> {
        let (id, owner, serial) = (loaded.id, loaded.order.account, found.0);
        loaded.order.finish = Finish::Issued { serial, csr: csr_digest(csr.der()) };
        let batch =
            Self::unchanged(depending, found).expect(Table::Accounts, *owner.as_bytes(), Expect::Is(account));
        let event = Event::CertificateReused { serial, account: owner, order: id };
        match self.store.commit(audited(loaded.stored_by(batch), self.now(), event)).await? {
            CommitOutcome::Committed(_) => {
                tracing::info!(%serial, order = %id, account = %owner, "certificate given again");
                Ok(loaded)
            }
            CommitOutcome::Conflict => {
                Err(Error::Busy("another change of the order, its account or the certificate came first"))
            }
        }
    }

    /// A closed account gets nothing more, not even what was under way (RFC 8555 §7.3.6).
    pub(super) async fn account_in_standing(
        &self,
        terms: &Terms,
        id: AccountId,
    ) -> Result<Arc<KnownAccount>, Error> {
        let known = self.account(terms, id).await?.ok_or(Error::NotFound)?;
        match known.account.status {
            AccountStatus::Valid => Ok(known),
            AccountStatus::Deactivated => Err(Error::Deactivated),
        }
    }

    /// Every authorization must hold at `now`: one proved in another order, or one of an order that
    /// waits for its signature, may have been given up or have run out. The orders that keep such
    /// proofs are returned as they were read, for the commit to depend on.
    async fn check_proved(&self, order: &Order, now: Timestamp) -> Result<AsRead, Error> {
        let mut keepers = Keepers::new(self);
        for slot in &order.slots {
            let status = match slot {
                Slot::Own(_) | Slot::Trusted { .. } => Some(slot.status(now)),
                Slot::Reused { order: keeper, index, .. } => {
                    keepers.proof(*keeper, *index).await?.map(|authorization| authorization.status(now))
                }
            };
            if status != Some(AuthorizationStatus::Valid) {
                let identifier = slot.identifier();
                let detail =
                    format!("the authorization for {identifier} is no longer valid: open a new order");
                return Err(Refusal::unauthorized(detail).into());
            }
        }
        Ok(keepers.into_read())
    }

    async fn commit_finish(&self, loaded: &LoadedOrder, finish: Finish) -> Result<(), Error> {
        let mut loaded = loaded.clone();
        let mut batch = Batch::new();
        if let Finish::Failed(problem) = &finish {
            if let Some(cause) = Cause::of_refusal(problem.kind) {
                self.fleet.failed(loaded.order.identifiers(), cause, self.now());
            }
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

    /// Goes on with an order committed as processing, if nobody is at it. `client` is who asked, where that
    /// is still known.
    pub(super) fn resume_finalize(
        self: &Arc<Self>,
        id: OrderId,
        client: Option<Client>,
    ) -> Option<tokio::task::JoinHandle<()>> {
        let claim = self.finishing.claim(id, ())?;
        let service = self.clone();
        Some(tokio::spawn(trace::carried(async move {
            if let Err(error) = service.finish_processing(id, client).await {
                tracing::warn!(order = %id, %error, "an accepted order could not be finished yet");
            }
            drop(claim);
        })))
    }

    /// Without the order's lock, which others would wait for as long as the signer takes: the claim
    /// keeps a second one away, and a change meanwhile shows as a conflict, to begin anew from.
    async fn finish_processing(&self, id: OrderId, client: Option<Client>) -> Result<(), Error> {
        let loaded = self.load_order(id).await?;
        let Finish::Processing(der) = &loaded.order.finish else { return Ok(()) };
        let (parsed, terms) = (parse_csr(&loaded.order, der), self.provisioner(&loaded.order.provisioner));
        let key = parsed.as_ref().ok().map(|csr| csr.key().hash());
        let issued = match (parsed, &terms) {
            // Accepted a while ago, perhaps by a process that is no more.
            (Ok(csr), Some(terms)) => match self.check_consent(terms, &loaded.order).await {
                Ok(()) => match self.issue_accepted(terms, loaded.clone(), &csr, client.clone()).await {
                    // Perhaps because the account was closed meanwhile: then nobody comes to ask again.
                    Err(busy @ Error::Busy(_)) => {
                        self.account_in_standing(terms, loaded.order.account).await.and(Err(busy))
                    }
                    other => other.map(drop),
                },
                Err(error) => Err(error),
            },
            (Err(error), _) => Err(Error::Internal(format!("a stored CSR does not parse: {error}"))),
            (_, None) => Err(Refusal::unauthorized("the provisioner is gone").into()),
        };
        if let (Err(error), Some(terms)) = (&issued, &terms) {
            let of = (&**terms, loaded.order.account);
            self.certificate_refused(of, (id, &loaded.order), (key, client.as_ref()), error);
        }
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
            // Another order took the budget's last certificate meanwhile: when there is one again is said,
            // and a new order asks for it.
            Err(Error::Limited(refused)) => {
                let detail = refused.to_string();
                let problem = StoredProblem { kind: ErrorKind::RateLimited, detail, identifier: None };
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
