//! The founding of a hierarchy: a root and its first intermediate, by the operator's own hand
//! (`mayfly init`, `mayfly dev`), before any server runs.

use std::time::Duration;

use super::profile::LeafRules;
use super::{Grant, Purpose, Requester};
use crate::x509::spki::Spki;

fn grant(purpose: Purpose, key: Spki, lifetime: Duration) -> Grant {
    Grant {
        purpose,
        key,
        not_before: None,
        not_after: None,
        lifetime,
        longest: lifetime,
        leaf: LeafRules::default(),
        profile: None,
        requester: Requester::Ceremony,
    }
}

/// The grant for a root.
pub fn root(common_name: String, key: Spki, lifetime: Duration) -> Grant {
    grant(Purpose::Root(common_name), key, lifetime)
}

/// The grant for an intermediate.
pub fn intermediate(common_name: String, key: Spki, lifetime: Duration) -> Grant {
    grant(Purpose::Intermediate(common_name), key, lifetime)
}
