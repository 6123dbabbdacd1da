//! newOrder (RFC 8555 §7.4): one read per identifier, one commit.

use aws_lc_rs::digest::{SHA256, digest};

use super::objects::LoadedOrder;
use super::star::due_row;
use super::{Error, Service};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, Challenge, ChallengeState, Finish, Order, OrderDetails, RawIdentifier, Slot, TOKEN_BYTES,
    check_validity, read_identifiers,
};
use crate::acme::star::{self, AutoRenewal, KEPT_AFTER_END};
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::storage::codec::{HeldAuthorization, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;

/// newOrder's payload.
#[derive(Clone, Debug, Default)]
pub struct NewOrder {
    /// `identifiers`
    pub identifiers: Vec<RawIdentifier>,
    /// `notBefore`
    pub not_before: Option<Timestamp>,
    /// `notAfter`
    pub not_after: Option<Timestamp>,
    /// `auto-renewal` (RFC 8739)
    pub auto_renewal: Option<star::Ask>,
}

/// A held authorization is used again only if it holds for a while yet: the client still has to
/// finalize.
const REUSE_MARGIN: std::time::Duration = std::time::Duration::from_secs(120);

/// The row that tells where an account's valid authorization for an identifier is kept.
pub(super) fn held_row(account: AccountId, identifier: &Identifier) -> Vec<u8> {
    let text = format!("{}:{}", identifier.kind(), identifier.order_value());
    [&account.as_bytes()[..], digest(&SHA256, text.as_bytes()).as_ref()].concat()
}

impl Service {
    /// Opens an order.
    pub async fn new_order(
        &self,
        terms: &Terms,
        account: AccountId,
        ask: NewOrder,
    ) -> Result<LoadedOrder, Error> {
        let now = self.now();
        let identifiers = read_identifiers(&ask.identifiers, terms.max_names, |id| terms.allows(id))?;
        check_validity(ask.not_before, ask.not_after, terms.lifetimes, now)?;
        if ask.not_after.is_some_and(|end| end > self.issuer.not_after()) {
            let detail = format!("notAfter: lies beyond the issuer's own end, {}", self.issuer.not_after());
            return Err(Refusal::malformed(detail).into());
        }
        if now >= self.issuer.not_after() {
            return Err(Error::Internal("the issuer's certificate has expired".into()));
        }
        let mut auto_renewal = self.accept_renewal(terms, &ask, now)?;
        let mut expires = (now + terms.order_ttl).whole_seconds();
        if let Some(agreed) = &auto_renewal {
            expires = expires.min(agreed.end);
        }
        let mut slots = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            let slot = self.slot(terms, account, identifier, now).await?;
            if let Slot::Reused { expires: held, .. } = &slot {
                expires = expires.min(*held);
            }
            slots.push(slot);
        }
        // Kept until the last authorization that may be proved in it has run out.
        let mut purge = now + terms.order_ttl + terms.authorization_ttl;
        if let Some(agreed) = &mut auto_renewal {
            // Looked at then, and removed unless it was finalized; if it was, this is the last that it can
            // be there.
            agreed.keep = purge.whole_seconds();
            agreed.due = agreed.keep;
            purge = purge.max(agreed.end + KEPT_AFTER_END);
        }
        let id = OrderId::new(purge, self.entropy.bytes());
        for slot in &mut slots {
            if let Slot::Own(authorization) = slot {
                authorization.expires = expires;
            }
        }
        let order = Order {
            account,
            provisioner: terms.name.clone(),
            created: now,
            expires,
            not_before: ask.not_before,
            not_after: ask.not_after,
            slots,
            finish: Finish::Open,
            details: OrderDetails { auto_renewal },
        };
        let batch = match &order.details.auto_renewal {
            None => Batch::new(),
            Some(agreed) => Batch::new().put(Table::Renewals, due_row(agreed.due, id), Vec::new()),
        };
        let batch = batch.expect(Table::Orders, *id.as_bytes(), Expect::Absent).put(
            Table::Orders,
            *id.as_bytes(),
            order.encode(),
        );
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(version) => Ok(LoadedOrder { id, order, version }),
            CommitOutcome::Conflict => Err(Error::Busy("a fresh order id was taken")),
        }
    }

    /// What is agreed with an order that is to be renewed automatically (RFC 8739 §3.1.1).
    fn accept_renewal(
        &self,
        terms: &Terms,
        ask: &NewOrder,
        now: Timestamp,
    ) -> Result<Option<AutoRenewal>, Error> {
        let Some(asked) = ask.auto_renewal else { return Ok(None) };
        if ask.not_before.is_some() || ask.not_after.is_some() {
            let detail = "notBefore, notAfter: must be absent beside auto-renewal, which has its own dates";
            return Err(Refusal::malformed(detail).into());
        }
        let (longest, issuer_end) = (terms.lifetimes.max, self.issuer.not_after());
        Ok(Some(asked.accept(terms.auto_renewal.as_ref(), longest, issuer_end, now)?))
    }

    async fn slot(
        &self,
        terms: &Terms,
        account: AccountId,
        identifier: Identifier,
        now: Timestamp,
    ) -> Result<Slot, Error> {
        if !terms.authorization_ttl.is_zero()
            && let Some(held) = self.held(account, &identifier).await?
            && held.expires > now + REUSE_MARGIN
        {
            let HeldAuthorization { order, index, expires } = held;
            return Ok(Slot::Reused { identifier, order, index, expires });
        }
        let offered: Vec<ChallengeKind> =
            terms.challenges.iter().copied().filter(|kind| kind.can_prove(&identifier)).collect();
        if offered.is_empty() {
            let detail = format!("no challenge offered here can prove control of {identifier}");
            return Err(Refusal::new(ErrorKind::RejectedIdentifier, detail).into());
        }
        let challenges = offered
            .into_iter()
            .map(|kind| Challenge {
                kind,
                token: self.entropy.bytes::<TOKEN_BYTES>(),
                state: ChallengeState::Pending(None),
            })
            .collect();
        // The order's own end is set once all slots are known.
        Ok(Slot::Own(Authorization { identifier, expires: now, deactivated: false, challenges }))
    }

    /// Where the account's valid authorization for an identifier is kept.
    pub(super) async fn held(
        &self,
        account: AccountId,
        identifier: &Identifier,
    ) -> Result<Option<HeldAuthorization>, Error> {
        let row = self.store.get(Table::Grants, &held_row(account, identifier)).await?;
        Ok(row.and_then(|row| {
            // Proving anew replaces a row that does not read; failing here would refuse the name
            // for ever.
            HeldAuthorization::decode(&row.value)
                .inspect_err(
                    |error| tracing::error!(%account, %identifier, %error, "proof is to be given anew"),
                )
                .ok()
        }))
    }
}
