//! Who may ask, for what: provisioners turn a request that met their conditions into a [`Grant`].
//!
//! A grant is the only thing the issuing core accepts. Its fields are private and it has one
//! constructor per kind of provisioner, each in its own file and each demanding the proof that this
//! kind stands for; so a credential of one kind can never reach the signer through another.

pub mod acme;
pub mod ceremony;
pub mod eab;
pub mod names;
pub mod operator;
pub mod outward;
pub mod own;
pub mod profile;
pub mod star;

use std::sync::Arc;
use std::time::Duration;

use profile::LeafRules;
use profile::contents::Contents;
use profile::usages::Usages;
use serde::{Deserialize, Serialize};

use crate::acme::identifier::Identifier;
use crate::authority::ca::CaSpec;
use crate::id::{AccountId, AuthorityName, EabKid, OrderId};
use crate::policy::Pair;
use crate::time::Timestamp;
use crate::x509::spki::Spki;

/// In whose name a certificate is asked for; kept with the certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requester {
    /// An ACME account, by an order.
    Acme {
        /// The provisioner's name.
        provisioner: String,
        /// The account.
        account: AccountId,
        /// The order.
        order: OrderId,
    },
    /// This server, for its own listener.
    Own,
    /// The founding of the hierarchy.
    Ceremony,
    /// This server, for an ACME account, by an order that is renewed automatically (RFC 8739).
    AutoRenewal {
        /// The provisioner's name.
        provisioner: String,
        /// The account.
        account: AccountId,
        /// The order.
        order: OrderId,
    },
}

/// What kind of certificate a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A TLS certificate for these names and addresses, in this order (clients take the first one for
    /// the main one), none twice.
    Leaf(Vec<Identifier>),
    /// A self-signed root.
    Root(CaSpec),
    /// A CA below another.
    Intermediate(CaSpec),
}

/// Permission to have one certificate signed.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Grant {
    authority: Option<AuthorityName>,
    purpose: Purpose,
    key: Spki,
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    lifetime: Duration,
    longest: Duration,
    leaf: Arc<LeafRules>,
    contents: Contents,
    profile: Option<String>,
    requester: Requester,
    eab_key: Option<EabKid>,
    policy: Pair,
}

impl Grant {
    /// The same with other rules, for tests of what is held against them.
    #[cfg(test)]
    pub(crate) fn with_leaf(self, leaf: LeafRules) -> Self {
        Self { leaf: leaf.into(), ..self }
    }
    /// The same with other contents.
    #[cfg(test)]
    pub(crate) fn with_contents(self, contents: Contents) -> Self {
        Self { contents, ..self }
    }

    /// The same under other policies, for tests.
    #[cfg(test)]
    pub(crate) fn under(self, policy: Pair) -> Self {
        Self { policy, ..self }
    }

    /// The authority that it was granted for: no other one's issuer signs for it. `None` for the founding
    /// of a hierarchy, which is before any authority.
    pub fn authority(&self) -> Option<&AuthorityName> {
        self.authority.as_ref()
    }
    /// What for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }
    /// For which key.
    pub fn key(&self) -> &Spki {
        &self.key
    }
    /// The start that was asked for.
    pub fn not_before(&self) -> Option<Timestamp> {
        self.not_before
    }
    /// The end that was asked for.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }
    /// The lifetime when no end was asked for.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }
    /// The longest lifetime permitted.
    pub fn longest(&self) -> Duration {
        self.longest
    }
    /// What else a leaf has to keep to.
    pub fn leaf(&self) -> &LeafRules {
        &self.leaf
    }
    /// What the profile puts into a leaf by itself.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }
    /// The extended key usages of the certificate: devices alone are clients, whatever the rules say.
    pub fn usages(&self) -> &Usages {
        match &self.purpose {
            Purpose::Leaf(names) if names.iter().all(Identifier::is_device) => Usages::client_only(),
            Purpose::Leaf(_) | Purpose::Root(_) | Purpose::Intermediate(_) => &self.leaf.usages,
        }
    }
    /// The ACME profile that these rules come from.
    pub fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }
    /// In whose name.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }
    /// The key that the account is bound to.
    pub fn eab_key(&self) -> Option<EabKid> {
        self.eab_key
    }
    /// The provisioner's policies.
    pub fn policy(&self) -> &Pair {
        &self.policy
    }
}
