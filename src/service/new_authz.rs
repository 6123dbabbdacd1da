//! newAuthz (RFC 8555 §7.4.1): proof ahead of any order.
//!
//! An authorization is kept in an order's record, so a pre-authorization is such a record with one
//! slot, marked as no order: nobody reads it as one, lists it or finalizes it, and the sweeper removes
//! it like one. Once proved, new orders find it where they find every proof.

use super::account::KnownAccount;
use super::objects::LoadedAuthorization;
use super::sweep_accounts::alive_until;
use super::{Error, Provisioner, Service};
use crate::acme::error::Refusal;
use crate::acme::order::{Finish, Order, OrderDetails, RawIdentifier, Slot, read_identifiers};
use crate::authority::certificate::Client;
use crate::id::{AccountId, OrderId};
use crate::limits::Source;
use crate::provisioner::acme::Terms;
use crate::storage::codec::{HeldAuthorization, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table};

/// newAuthz's payload.
#[derive(Clone, Debug, Default)]
pub struct NewAuthorization {
    /// `identifier`
    pub identifier: RawIdentifier,
    /// `subdomainAuthAllowed` (RFC 9444 §4.2)
    pub subdomains: bool,
    /// Where the request comes from.
    pub from: Source,
    /// Who sends it, as far as it is known.
    pub client: Option<Client>,
}

impl Service {
    /// An authorization for an identifier: one that the account holds already, or a new one (then
    /// `true`).
    pub async fn new_authorization(
        &self,
        terms: &Provisioner,
        known: &KnownAccount,
        ask: NewAuthorization,
    ) -> Result<(LoadedAuthorization, bool), Error> {
        let opened = self.open_authorization(terms, known, &ask).await;
        opened.inspect_err(|error| self.authorization_refused((terms, known.account.id), &ask, error))
    }

    async fn open_authorization(
        &self,
        terms: &Provisioner,
        known: &KnownAccount,
        ask: &NewAuthorization,
    ) -> Result<(LoadedAuthorization, bool), Error> {
        if !terms.offers_pre_authorization() {
            return Err(Error::NotFound);
        }
        let (now, account) = (self.now(), known.account.id);
        let bound = self.bound_key(&known.account).await?;
        if let Some(bound) = &bound {
            bound.key.check_standing()?;
        }
        let subdomains = ask.subdomains;
        let mut identifiers = read_identifiers(std::slice::from_ref(&ask.identifier), 1, |id| {
            match &bound {
                Some(bound) => bound.key.allows(terms, id)?,
                None => terms.allows(id)?,
            }
            if subdomains {
                // Of the names below it, some may be ones that the issuer's constraints permit.
                return terms.allows_below(id);
            }
            terms.issuer().constraints().check_identifier(id).map_err(|violation| violation.to_string())
        })
        .map_err(|refusal| terms.unsupported(refusal))?;
        let identifier = identifiers.pop().ok_or_else(|| Refusal::malformed("identifier: is missing"))?;
        if identifier.is_wildcard() {
            let detail = "identifier: a wildcard cannot be authorized ahead of its order";
            return Err(Refusal::malformed(detail).into());
        }
        if identifier.is_device() {
            // Its proof would be of no use: it counts for the order that it is given in alone.
            let detail = "identifier: a device is attested for the key of one order; open that order";
            return Err(Refusal::malformed(detail).into());
        }
        if let Some(held) = self.reusable(terms, account, &identifier, now).await?
            && (held.subdomains || !subdomains)
        {
            match self.held_authorization(terms, account, held).await {
                Ok(kept) => return Ok((kept, false)),
                // Swept with its order: a new one is to be proved.
                Err(Error::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let expires = (now + terms.order_ttl).whole_seconds();
        let Slot::Own(mut authorization) = self.own_slot(terms, identifier, subdomains, now)? else {
            return Err(Error::Internal("an authorization of an order's own is not its own".into()));
        };
        authorization.expires = expires;
        let id = OrderId::new(now + terms.order_ttl + terms.authorization_ttl, self.entropy.bytes());
        let order = Order {
            account,
            provisioner: terms.name.clone(),
            created: now,
            expires,
            not_before: None,
            not_after: None,
            slots: vec![Slot::Own(authorization.clone())],
            finish: Finish::Open,
            details: OrderDetails {
                pre_authorization: true,
                subdomains: if subdomains { vec![0] } else { Vec::new() },
                ..OrderDetails::default()
            },
        };
        self.admit_order(terms, account, order.identifiers(), ask.from, now)?;
        let key = *id.as_bytes();
        let batch =
            Batch::new().expect(Table::Orders, key, Expect::Absent).put(Table::Orders, key, order.encode());
        let (batch, used) = self.note_use(batch, terms, account, alive_until(terms, now), now).await?;
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {
                used.stored();
                Ok((
                    LoadedAuthorization { order: id, index: 0, authorization, subdomains, trusted: false },
                    true,
                ))
            }
            CommitOutcome::Conflict => {
                Err(Error::Busy("the account was just changed, or a fresh order id was taken"))
            }
        }
    }

    async fn held_authorization(
        &self,
        terms: &Terms,
        account: AccountId,
        held: HeldAuthorization,
    ) -> Result<LoadedAuthorization, Error> {
        let HeldAuthorization { order, index, .. } = held;
        let kept = self.load_own_order(terms, account, order).await?;
        let authorization = kept.order.own(index).ok_or(Error::NotFound)?.clone();
        let subdomains = kept.order.details.counts_below(index);
        Ok(LoadedAuthorization { order, index, authorization, subdomains, trusted: false })
    }
}
