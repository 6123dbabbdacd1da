//! The server's own listener: the names come from its configuration, the key from its memory.

use std::time::Duration;

use super::profile::LeafRules;
use super::profile::contents::Contents;
use super::{Grant, Purpose, Requester};
use crate::acme::identifier::Identifier;
use crate::authority::realm::Realm;
use crate::policy::Pair;
use crate::x509::spki::Spki;

/// Lifetime of the listener's certificate, if its authority allows as much; renewed at two thirds of it.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The grant for the listener's certificate, by an authority.
pub fn grant(realm: &Realm, names: &[Identifier], key: Spki) -> Grant {
    let lifetime = realm.max_ttl.map_or(LIFETIME, |most| most.min(LIFETIME));
    Grant {
        authority: Some(realm.name.clone()),
        purpose: Purpose::Leaf(names.to_vec()),
        key,
        not_before: None,
        not_after: None,
        lifetime,
        longest: lifetime,
        leaf: LeafRules::usual(),
        contents: Contents::default(),
        profile: None,
        requester: Requester::Own,
        eab_key: None,
        policy: Pair::default(),
    }
}
