//! newOrder (RFC 8555 §7.4): one read per identifier, one commit.

use std::borrow::Cow;
use std::time::Duration;

use super::account::KnownAccount;
use super::objects::LoadedOrder;
use super::star::due_row;
use super::subdomains::Naming;
use super::sweep_accounts::alive_until;
use super::{Error, Provisioner, Service, audited};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, Challenge, ChallengeState, Finish, Order, OrderDetails, RawIdentifier, Slot, TOKEN_BYTES,
    check_validity, read_identifiers,
};
use crate::acme::renewal::CertId;
use crate::acme::star::{self, AutoRenewal, KEPT_AFTER_END};
use crate::acme::subdomain::{asked_as, read_ancestors};
use crate::audit::Event;
use crate::authority::certificate::Client;
use crate::id::{AccountId, OrderId};
use crate::limits::Source;
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::EabKey;
use crate::storage::codec::{HeldAuthorization, Record, held_row, order_row};
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
    /// `replaces`
    pub replaces: Option<CertId>,
    /// `profile`
    pub profile: Option<String>,
    /// Where the request comes from.
    pub from: Source,
    /// `auto-renewal` (RFC 8739)
    pub auto_renewal: Option<star::Ask>,
    /// Who sends it, as far as it is known.
    pub client: Option<Client>,
}

/// A held authorization is used again only if it holds for a while yet: the client still has to
/// finalize.
const REUSE_MARGIN: std::time::Duration = std::time::Duration::from_secs(120);

/// What the audit log is told of names that need no challenge. Unlike an order as such, this decides
/// something.
fn trusted(order: &Order, id: OrderId, key: &EabKey) -> Option<Event> {
    let trusted = |slot: &&Slot| matches!(slot, Slot::Trusted { .. });
    let identifiers: Vec<Identifier> =
        order.slots.iter().filter(trusted).map(|slot| slot.identifier().clone()).collect();
    let event = Event::NamesTrusted { account: order.account, order: id, kid: key.kid, identifiers };
    order.slots.iter().any(|slot| trusted(&slot)).then_some(event)
}

impl Service {
    /// Opens an order.
    pub async fn new_order(
        &self,
        terms: &Provisioner,
        known: &KnownAccount,
        ask: NewOrder,
    ) -> Result<LoadedOrder, Error> {
        let opened = self.open_order(terms, known, &ask).await;
        if let Err(error) = &opened {
            self.order_refused((terms, known.account.id), &ask, error);
        }
        self.heard(&ask, opened)
    }

    async fn open_order(
        &self,
        terms: &Provisioner,
        known: &KnownAccount,
        ask: &NewOrder,
    ) -> Result<LoadedOrder, Error> {
        let (now, account) = (self.now(), known.account.id);
        let bound = self.bound_key(&known.account).await?;
        let eab = bound.as_ref().map(|bound| &bound.key);
        if let Some(key) = eab {
            key.check_standing()?;
        }
        let allowed = |id: &Identifier| {
            match eab {
                Some(key) => key.allows(terms, id),
                None => terms.allows(id),
            }?;
            // The lint says the same of the certificate; a client is better told before it proves anything.
            terms.issuer().constraints().check_identifier(id).map_err(|violation| violation.to_string())
        };
        let vouched = |id: &Identifier| {
            let key = eab.filter(|key| key.vouches_for(terms, id))?;
            Some(Slot::Trusted { identifier: id.clone(), expires: now, deactivated: false, by: key.kid })
        };
        let identifiers = read_identifiers(&ask.identifiers, terms.max_names, allowed)
            .map_err(|refusal| terms.unsupported(refusal))?;
        let allowed = |ancestor: &Identifier| terms.allows_below(ancestor);
        let ancestors = read_ancestors(&ask.identifiers, terms.subdomains.then_some(&allowed as _))?;
        let profile = terms.profiles.chosen(ask.profile.clone())?;
        let rules = terms.rules(profile.as_deref())?;
        rules.check_names(&identifiers)?;
        let mut auto_renewal = self.accept_renewal(terms, ask, rules.lifetimes.max, now)?;
        check_validity(ask.not_before, ask.not_after, rules.lifetimes, now)?;
        if now >= terms.issuer().not_after() {
            return Err(Error::IssuerNotValid(terms.authority.clone()));
        }
        if ask.not_after.is_some_and(|end| end > terms.issuer().not_after()) {
            let detail =
                format!("notAfter: lies beyond the issuer's own end, {}", terms.issuer().not_after());
            return Err(Refusal::malformed(detail).into());
        }
        let key = eab.map(|key| key.kid);
        self.check_policy(terms, account, key, profile.as_deref(), &identifiers, auto_renewal.is_some())?;
        let replaced = match ask.replaces {
            None => None,
            Some(old) => Some(self.predecessor(terms, account, old, &identifiers).await?),
        };
        let (mut slots, details) = if terms.subdomains {
            let named = Naming { ancestors: &ancestors, vouched: &vouched };
            self.slots_with_ancestors(terms, account, identifiers, named, now).await?
        } else {
            let mut slots = Vec::with_capacity(identifiers.len());
            for identifier in identifiers {
                slots.push(match vouched(&identifier) {
                    Some(trusted) => trusted,
                    None => self.slot(terms, account, identifier, now).await?,
                });
            }
            (slots, OrderDetails::default())
        };
        let mut expires = (now + terms.order_ttl).whole_seconds();
        if let Some(agreed) = &auto_renewal {
            expires = expires.min(agreed.end);
        }
        for slot in &slots {
            if let Slot::Reused { expires: held, .. } = slot {
                expires = expires.min(*held);
            }
        }
        // Kept until the last authorization that may be proved in it has run out, and as long as its
        // certificate may be given again.
        let kept = terms.authorization_ttl.max(terms.reuse_certificates.unwrap_or_default());
        let mut purge = now + terms.order_ttl + kept;
        if let Some(agreed) = &mut auto_renewal {
            // Looked at then, and removed unless it was finalized; if it was, this is the last that it can
            // be there.
            agreed.keep = purge.whole_seconds();
            agreed.due = agreed.keep;
            purge = purge.max(agreed.end + KEPT_AFTER_END);
        }
        let id = OrderId::new(purge, self.entropy.bytes());
        for slot in &mut slots {
            match slot {
                Slot::Own(authorization) => authorization.expires = expires,
                Slot::Trusted { expires: end, .. } => *end = expires,
                Slot::Reused { .. } => {}
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
            details: OrderDetails { replaces: ask.replaces, profile, auto_renewal, ..details },
        };
        let restraints = terms.restraints(order.details.profile.as_deref());
        // Where a certificate may be given again, the CSR's key has to be seen first.
        let certain = terms.reuse_certificates.is_none()
            || order.details.replaces.is_some()
            || order.details.auto_renewal.is_some();
        if certain {
            self.check_budget(&restraints, &order, now).await?;
        }
        self.admit_order(terms, account, order.identifiers(), ask.from, now)?;
        let batch = Batch::new()
            .expect(Table::Orders, *id.as_bytes(), Expect::Absent)
            .put(Table::Orders, *id.as_bytes(), order.encode())
            .put(Table::AccountOrders, order_row(account, id), Vec::new());
        let batch = match &order.details.auto_renewal {
            None => batch,
            Some(agreed) => batch.put(Table::Renewals, due_row(agreed.due, id), Vec::new()),
        };
        let batch = match eab.and_then(|key| trusted(&order, id, key)) {
            Some(event) => audited(batch, now, event),
            None => batch,
        };
        let batch = match replaced {
            None => batch,
            Some(predecessor) => predecessor.replaced_by(id, None, batch),
        };
        let (batch, used) = match &order.details.auto_renewal {
            None => self.note_use(batch, terms, account, alive_until(terms, now), now).await?,
            // However often the account was used today: this one is alive for long.
            Some(_) => self.note_long_use(batch, known, purge, now).await?,
        };
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(version) => {
                used.stored();
                Ok(LoadedOrder { id, order, version })
            }
            CommitOutcome::Conflict => {
                if let Some(old) = ask.replaces {
                    let identifiers: Vec<_> = order.identifiers().cloned().collect();
                    // Says so if another order came first.
                    self.predecessor(terms, account, old, &identifiers).await?;
                }
                let detail = "the account or the certificate to replace was just changed, or a fresh order \
                              id was taken";
                Err(Error::Busy(detail))
            }
        }
    }

    /// What is agreed with an order that is to be renewed automatically (RFC 8739 §3.1.1).
    fn accept_renewal(
        &self,
        terms: &Provisioner,
        ask: &NewOrder,
        longest: Duration,
        now: Timestamp,
    ) -> Result<Option<AutoRenewal>, Error> {
        let Some(asked) = ask.auto_renewal else { return Ok(None) };
        if ask.not_before.is_some() || ask.not_after.is_some() {
            let detail = "notBefore, notAfter: must be absent beside auto-renewal, which has its own dates";
            return Err(Refusal::malformed(detail).into());
        }
        let issuer_end = terms.issuer().not_after();
        Ok(Some(asked.accept(terms.auto_renewal.as_ref(), longest, issuer_end, now)?))
    }

    async fn slot(
        &self,
        terms: &Terms,
        account: AccountId,
        identifier: Identifier,
        now: Timestamp,
    ) -> Result<Slot, Error> {
        if let Some(held) = self.reusable(terms, account, &identifier, now).await? {
            let HeldAuthorization { order, index, expires, .. } = held;
            return Ok(Slot::Reused { identifier, order, index, expires });
        }
        self.own_slot(terms, identifier, false, now)
    }

    /// A proof of the account's that may be used again, if the provisioner lets it.
    pub(super) async fn reusable(
        &self,
        terms: &Terms,
        account: AccountId,
        identifier: &Identifier,
        now: Timestamp,
    ) -> Result<Option<HeldAuthorization>, Error> {
        // A device is attested for one key, so for one order.
        if terms.authorization_ttl.is_zero() || identifier.is_device() {
            return Ok(None);
        }
        let held = self.held(account, identifier).await?;
        Ok(held.filter(|held| held.expires > now + REUSE_MARGIN))
    }

    /// A pending authorization; one that is to count for the names below as well (`subdomains`) is
    /// offered only what can prove all of those.
    pub(super) fn own_slot(
        &self,
        terms: &Terms,
        identifier: Identifier,
        subdomains: bool,
        now: Timestamp,
    ) -> Result<Slot, Error> {
        let asked = if subdomains { Cow::Owned(asked_as(&identifier)) } else { Cow::Borrowed(&identifier) };
        let offered: Vec<ChallengeKind> =
            terms.challenges.iter().copied().filter(|kind| kind.can_prove(&asked)).collect();
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
