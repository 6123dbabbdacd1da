//! CA certificates: made by the operator's own hand (`mayfly init`, `mayfly dev`, `mayfly ca …`), never
//! by a request.

use std::time::Duration;

use super::profile::LeafRules;
use super::profile::contents::Contents;
use super::{Grant, Purpose, Requester};
use crate::authority::ca::CaSpec;
use crate::policy::Pair;
use crate::x509::spki::Spki;

fn grant(purpose: Purpose, key: Spki, lifetime: Duration) -> Grant {
    Grant {
        authority: None,
        purpose,
        key,
        not_before: None,
        not_after: None,
        lifetime,
        longest: lifetime,
        leaf: LeafRules::usual(),
        contents: Contents::default(),
        profile: None,
        requester: Requester::Ceremony,
        eab_key: None,
        policy: Pair::default(),
    }
}

/// The grant for a root.
pub fn root(spec: CaSpec, key: Spki, lifetime: Duration) -> Grant {
    grant(Purpose::Root(spec), key, lifetime)
}

/// The grant for a CA below another, a cross certificate included.
pub fn intermediate(spec: CaSpec, key: Spki, lifetime: Duration) -> Grant {
    grant(Purpose::Intermediate(spec), key, lifetime)
}
