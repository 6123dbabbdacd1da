//! What holds for everything that one authority signs, whichever of its issuers does.

use std::time::Duration;

use crate::id::AuthorityName;
use crate::policy::Pair;

/// An authority's own settings; every issuer of its carries them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realm {
    /// Its name; grants carry the same one.
    pub name: AuthorityName,
    /// The longest lifetime of a leaf; `None`: what the provisioners say.
    pub max_ttl: Option<Duration>,
    /// What its certificates are judged by, besides the provisioner's own.
    pub policy: Pair,
}
