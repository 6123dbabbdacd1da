//! CAA before issuance: the records of every name of the order are looked at once more when it is
//! finalized, whatever they said when the name was proved (RFC 8659 §3: they are to be checked
//! "prior to issuing"; a proof may be as old as `authorization_ttl`).
//!
//! Only where the provisioner says `caa = true`; elsewhere nothing here reads or waits.

use tokio::task::JoinSet;

use super::keepers::Keepers;
use super::{Error, Service};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal, Subproblem};
use crate::acme::identifier::Identifier;
use crate::acme::order::{Authorization, ChallengeState, Order, OrderStatus, ProvedBy, Slot};
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::telemetry::trace::{self, Kind, Span};
use crate::validation::{CaaAsk, Consent};

/// By which challenge an authorization was proved, if by any.
fn proved_by(authorization: &Authorization) -> Option<ChallengeKind> {
    let valid = |state: &ChallengeState| matches!(state, ChallengeState::Valid(_));
    authorization.challenges.iter().find(|challenge| valid(&challenge.state)).map(|challenge| challenge.kind)
}

impl Service {
    /// The check before a finalization, without the order's lock: lookups take their time, and what
    /// an order is for never changes. `true` if an order that is ready may be issued; `false` if it
    /// is not ready, and nothing was looked at.
    pub(super) async fn consent_to_finalize(
        &self,
        terms: &Terms,
        account: AccountId,
        id: OrderId,
    ) -> Result<bool, Error> {
        if !terms.caa {
            return Ok(true);
        }
        let loaded = self.load_ordered(terms, account, id).await?;
        if loaded.order.status(self.now()) != OrderStatus::Ready {
            return Ok(false);
        }
        self.check_consent(terms, &loaded.order).await?;
        Ok(true)
    }

    /// Asks for every name of an order, each once, side by side.
    pub(super) async fn check_consent(&self, terms: &Terms, order: &Order) -> Result<(), Error> {
        if !terms.caa {
            return Ok(());
        }
        let live = self.live();
        let Some(reach) = live.reach(&terms.name) else {
            return Err(Refusal::unauthorized("the provisioner is gone").into());
        };
        let account_url = reach.account_url(order.account);
        let mut lookups = JoinSet::new();
        for (place, (identifier, method)) in self.methods(order).await?.into_iter().enumerate() {
            let identities = terms.caa_identities.clone();
            let ask = CaaAsk { identifier, method, account_url: account_url.clone(), identities };
            let prover = reach.prover.clone();
            let span = Span::part("caa", Kind::Client);
            span.note("mayfly.identifier", &ask.identifier);
            lookups.spawn(trace::carried(async move {
                let consent = prover.consent(&ask).await;
                drop(span);
                (place, ask.identifier, consent)
            }));
        }
        let mut found = Vec::new();
        while let Some(ended) = lookups.join_next().await {
            found.push(ended.map_err(|error| Error::Internal(format!("a CAA lookup failed: {error}")))?);
        }
        found.sort_by_key(|(place, _, _)| *place);
        judge(found.into_iter().map(|(_, identifier, consent)| (identifier, consent)))
    }

    /// How each slot of an order was proved.
    async fn slot_methods(&self, order: &Order) -> Result<Vec<Option<ChallengeKind>>, Error> {
        let mut methods = Vec::with_capacity(order.slots.len());
        let mut keepers = Keepers::new(self);
        for (at, slot) in order.slots.iter().enumerate() {
            let method = match slot {
                Slot::Own(authorization) => proved_by(authorization),
                // Vouched for by a binding: by none of the methods.
                Slot::Trusted { .. } => None,
                Slot::Reused { order: keeper, index, .. } => match order.proved_by(at) {
                    Some(kind) => Some(kind),
                    // Without its keeper it is refused further on, in words of its own.
                    None => keepers.proof(*keeper, *index).await?.and_then(proved_by),
                },
            };
            methods.push(method);
        }
        Ok(methods)
    }

    /// How the proofs that an order does not keep itself were given, to be kept with it: it is to be
    /// looked at when they have left the store.
    pub(super) async fn proofs_elsewhere(&self, order: &Order) -> Result<Vec<ProvedBy>, Error> {
        let methods = self.slot_methods(order).await?;
        let elsewhere = (0..).zip(&order.slots).zip(methods).filter_map(|((slot, each), kind)| match each {
            Slot::Reused { .. } => Some(ProvedBy { slot, kind: kind? }),
            Slot::Own(_) | Slot::Trusted { .. } => None,
        });
        Ok(elsewhere.collect())
    }

    /// Every name of an order, and how it was proved.
    async fn methods(&self, order: &Order) -> Result<Vec<(Identifier, Option<ChallengeKind>)>, Error> {
        let methods = self.slot_methods(order).await?;
        let named = &order.details.names;
        if named.is_empty() {
            return Ok(order.slots.iter().map(Slot::identifier).cloned().zip(methods).collect());
        }
        // An ancestor's proof stands for several names; records are looked at for each.
        let method = |slot: u16| methods.get(usize::from(slot)).copied().flatten();
        Ok(named.iter().map(|named| (named.identifier.clone(), method(named.slot))).collect())
    }
}

/// One name that is forbidden forbids all; one that is unknown puts all off.
fn judge(found: impl Iterator<Item = (Identifier, Consent)>) -> Result<(), Error> {
    let (mut forbidden, mut unknown) = (Vec::new(), false);
    for (identifier, consent) in found {
        match consent {
            Consent::Permitted => {}
            Consent::Forbidden(detail) => {
                let value = identifier.order_value().into_owned();
                let identifier = (identifier.kind().to_owned(), value);
                forbidden.push(Subproblem { kind: ErrorKind::Caa, detail, identifier });
            }
            Consent::Unknown(detail) => {
                tracing::warn!(%identifier, detail, "CAA records could not be looked up");
                unknown = true;
            }
        }
    }
    match forbidden.as_slice() {
        [] if unknown => Err(Error::Busy("CAA records could not be looked up")),
        [] => Ok(()),
        [one] => {
            let detail = one.detail.clone();
            Err(Refusal { subproblems: forbidden, ..Refusal::new(ErrorKind::Caa, detail) }.into())
        }
        [_, _, ..] => {
            let detail = format!("CAA records forbid {} of the order's names", forbidden.len());
            Err(Refusal { subproblems: forbidden, ..Refusal::new(ErrorKind::Caa, detail) }.into())
        }
    }
}
