//! Where each authority's rotation stands, and whether its next step may be taken.

use super::Service;
use crate::authority::authorities::Authority;
use crate::authority::rotation::{Facts, IssuerFacts, NotYet, Standing};
use crate::id::AuthorityName;

/// An authority's rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The authority.
    pub authority: AuthorityName,
    /// What is known.
    pub facts: Facts,
    /// What follows from it.
    pub standing: Standing,
}

/// A step of a rotation that is about to be put into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Another issuer into the bundle.
    Start,
    /// It signs from now on.
    Advance,
    /// The former one of that key identifier goes.
    Retire([u8; 20]),
    /// The next one goes.
    Abort,
}

impl Service {
    /// All of them, in the configuration's order.
    pub fn rotations(&self) -> Vec<Rotation> {
        let now = self.now();
        let one = |authority: &Authority| {
            let facts = self.rotation_facts(authority);
            let standing = facts.standing(now);
            Rotation { authority: authority.name().clone(), facts, standing }
        };
        self.live().authorities.iter().map(|authority| one(authority)).collect()
    }

    /// Whether a step may be taken; with `force`, whether it may be although it is early.
    pub fn permits(&self, authority: &str, step: Taken, force: bool) -> Result<(), NotYet> {
        let live = self.live();
        let Some(authority) = live.authorities.get(authority) else { return Err(NotYet::NoAuthority) };
        let facts = self.rotation_facts(authority);
        let permitted = match step {
            Taken::Start => Ok(()),
            Taken::Abort => facts.may_abort(),
            Taken::Advance => facts.may_advance(self.now()),
            Taken::Retire(issuer) => facts.may_retire(&issuer),
        };
        match permitted {
            Err(refused) if force && refused.may_be_forced() => Ok(()),
            other => other,
        }
    }

    fn rotation_facts(&self, authority: &Authority) -> Facts {
        let now = self.now();
        let mut facts = authority.rotation_facts();
        facts.switched = self.issuing.since(authority.name());
        let fill = |issuer: &mut IssuerFacts| {
            issuer.published = self.issuing.published(authority.name(), &issuer.key_id);
            issuer.live = self.leaves.of(&issuer.key_id, now);
            issuer.in_use = self.leaves.in_use(&issuer.key_id);
            issuer.own = self.leaves.shown(&issuer.key_id);
        };
        facts.next.iter_mut().for_each(fill);
        facts.former.iter_mut().for_each(fill);
        fill(&mut facts.signing);
        facts
    }
}
