//! Orders at a provisioner that takes subdomain authorizations (RFC 9444): which proof counts for
//! which name.

use std::collections::BTreeMap;

use super::{Error, Service};
use crate::acme::identifier::Identifier;
use crate::acme::order::{OrderDetails, Slot};
use crate::acme::subdomain::{Named, ancestors};
use crate::id::AccountId;
use crate::provisioner::acme::Terms;
use crate::storage::codec::HeldAuthorization;
use crate::time::Timestamp;

/// The slots of an order in the making.
#[derive(Default)]
struct Making {
    slots: Vec<Slot>,
    details: OrderDetails,
    /// Where the authorization of an ancestor is that counts for the names below.
    above: BTreeMap<Identifier, u16>,
}

impl Making {
    fn add(&mut self, slot: Slot) -> u16 {
        self.slots.push(slot);
        u16::try_from(self.slots.len() - 1).unwrap_or(u16::MAX)
    }

    fn add_above(&mut self, ancestor: &Identifier, slot: Slot) -> u16 {
        let at = self.add(slot);
        self.details.subdomains.push(at);
        self.above.insert(ancestor.clone(), at);
        at
    }
}

fn reused(identifier: Identifier, held: HeldAuthorization) -> Slot {
    let HeldAuthorization { order, index, expires, .. } = held;
    Slot::Reused { identifier, order, index, expires }
}

/// What an order says of its names.
#[derive(Clone, Copy)]
pub(super) struct Naming<'a> {
    /// The ancestors that the client asks to prove.
    pub ancestors: &'a BTreeMap<Identifier, Identifier>,
    /// The slot of a name that the account's binding vouches for.
    pub vouched: &'a (dyn Fn(&Identifier) -> Option<Slot> + Sync),
}

impl Service {
    /// One slot for each identifier, or for several that one ancestor stands for. A name that needs no
    /// proof goes first; then a proof at hand goes before a new one: of the name itself, then of the
    /// nearest ancestor.
    pub(super) async fn slots_with_ancestors(
        &self,
        terms: &Terms,
        account: AccountId,
        identifiers: Vec<Identifier>,
        naming: Naming<'_>,
        now: Timestamp,
    ) -> Result<(Vec<Slot>, OrderDetails), Error> {
        let named = naming.ancestors;
        let mut making = Making::default();
        let mut names = Vec::with_capacity(identifiers.len());
        // What was looked for in vain, for the names that follow.
        let mut nothing_above = Vec::new();
        for identifier in identifiers {
            let slot = if let Some(trusted) = (naming.vouched)(&identifier) {
                making.add(trusted)
            } else if let Some(at) = making.above.get(&identifier) {
                *at
            } else if let Some(held) = self.reusable(terms, account, &identifier, now).await? {
                let slot = reused(identifier.clone(), held);
                if held.subdomains { making.add_above(&identifier, slot) } else { making.add(slot) }
            } else if let Some(at) =
                self.held_above(terms, account, &identifier, now, &mut making, &mut nothing_above).await?
            {
                at
            } else if let Some(ancestor) =
                named.get(&identifier).or_else(|| named.values().find(|ancestor| **ancestor == identifier))
            {
                match making.above.get(ancestor) {
                    Some(at) => *at,
                    None => {
                        let slot = self.own_slot(terms, ancestor.clone(), true, now)?;
                        making.add_above(ancestor, slot)
                    }
                }
            } else {
                let slot = self.own_slot(terms, identifier.clone(), false, now)?;
                making.add(slot)
            };
            names.push(Named { identifier, slot });
        }
        let Making { slots, mut details, .. } = making;
        // The usual case is not to be written down: every name has its own slot, in the same order.
        let own = names.len() == slots.len()
            && names.iter().zip(&slots).enumerate().all(|(at, (named, slot))| {
                usize::from(named.slot) == at && named.identifier == *slot.identifier()
            });
        if !own {
            details.names = names;
        }
        Ok((slots, details))
    }

    /// The slot of the nearest ancestor that the account holds a proof of.
    async fn held_above(
        &self,
        terms: &Terms,
        account: AccountId,
        identifier: &Identifier,
        now: Timestamp,
        making: &mut Making,
        nothing: &mut Vec<Identifier>,
    ) -> Result<Option<u16>, Error> {
        for ancestor in ancestors(identifier) {
            if let Some(at) = making.above.get(&ancestor) {
                return Ok(Some(*at));
            }
            // A proof given under other rules does not count under these.
            if nothing.contains(&ancestor) || terms.allows_below(&ancestor).is_err() {
                continue;
            }
            match self.reusable(terms, account, &ancestor, now).await? {
                Some(held) if held.subdomains => {
                    return Ok(Some(making.add_above(&ancestor, reused(ancestor.clone(), held))));
                }
                Some(_) | None => nothing.push(ancestor),
            }
        }
        Ok(None)
    }

    /// Whether the account holds a proof that speaks for `identifier` now: of itself or, where the
    /// provisioner takes that, of a name above it.
    pub(super) async fn holds_proof(
        &self,
        terms: &Terms,
        account: AccountId,
        identifier: &Identifier,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if self.held(account, identifier).await?.is_some_and(|held| held.expires > now) {
            return Ok(true);
        }
        if !terms.subdomains {
            return Ok(false);
        }
        for ancestor in ancestors(identifier) {
            let held = self.held(account, &ancestor).await?;
            if held.is_some_and(|held| held.subdomains && held.expires > now) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
