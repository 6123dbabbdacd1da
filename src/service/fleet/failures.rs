//! Which refusals are failed attempts to renew, and whose.

use super::super::finalize::parse_csr;
use super::super::new_order::NewOrder;
use super::super::objects::LoadedOrder;
use super::super::{Error, Provisioner, Service};
use crate::acme::identifier::Identifier;
use crate::acme::order::{ChallengeState, Order, Slot};
use crate::authority::certificate::Client;
use crate::fleet::Cause;
use crate::id::{AccountId, OrderId};

impl Error {
    /// Why an attempt failed that ended so; `None` if it was none, or failed through a fault of ours.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            Self::Refused(refusal) => Cause::of_refusal(refusal.kind),
            Self::Limited(_) => Some(Cause::Limits),
            Self::Deactivated => Some(Cause::Policy),
            Self::NotFound
            | Self::KeyInUse(_)
            | Self::Busy(_)
            | Self::Store(_)
            | Self::IssuerNotValid(_)
            | Self::Internal(_) => None,
        }
    }
}

/// Why this authorization's validation failed, if that is not known of the order already: a host whose
/// names all fail alike has failed once.
pub(in crate::service) fn news_of(order: &Order, index: u16) -> Option<Cause> {
    let failed = |slot: &Slot| match slot {
        Slot::Own(authorization) => authorization.challenges.iter().find_map(|done| match &done.state {
            ChallengeState::Invalid(problem) => Cause::of_validation(problem.kind),
            ChallengeState::Pending(_) | ChallengeState::Processing | ChallengeState::Valid(_) => None,
        }),
        Slot::Reused { .. } | Slot::Trusted { .. } => None,
    };
    let cause = failed(order.slots.get(usize::from(index))?)?;
    let mut others = order.slots.iter().enumerate().filter(|(place, _)| *place != usize::from(index));
    if others.any(|(_, slot)| failed(slot) == Some(cause)) { None } else { Some(cause) }
}

impl Service {
    /// Notes a newOrder that was refused, as an attempt of the identity that it names.
    pub(in crate::service) fn heard<T>(&self, ask: &NewOrder, opened: Result<T, Error>) -> Result<T, Error> {
        if let Some(cause) = opened.as_ref().err().and_then(Error::cause) {
            let names = ask.identifiers.iter().map(|raw| Identifier::parse(&raw.kind, &raw.value));
            // What does not read is in no certificate.
            if let Ok(names) = names.collect::<Result<Vec<_>, _>>() {
                self.fleet.refused(names.iter(), cause, self.now());
            }
        }
        opened
    }

    /// Notes a finalization that was refused, with what was sent for it. The order is read again for that; so
    /// those that succeed pay nothing.
    pub(in crate::service) async fn heard_of<T>(
        &self,
        terms: &Provisioner,
        account: AccountId,
        (id, csr, client): (OrderId, &[u8], Option<&Client>),
        finalized: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(error) = &finalized
            && error.is_refusal()
            && let Ok(LoadedOrder { order, .. }) = self.load_own_order(terms, account, id).await
        {
            if let Some(cause) = error.cause() {
                self.fleet.refused(order.identifiers(), cause, self.now());
            }
            let key = parse_csr(&order, csr).ok().map(|csr| csr.key().hash());
            self.certificate_refused((terms, account), (id, &order), (key, client), error);
        }
        finalized
    }
}
