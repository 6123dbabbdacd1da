//! Rotation health.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// `GET /v1/fleet`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Whether the whole inventory has been read since the start; until then there is more than this.
    pub complete: bool,
    /// As of when.
    pub now: String,
    /// All identities: sets of names with a certificate, or with one that expired in the last 7 days.
    pub identities: u64,
    /// How many are `healthy`, `due`, `overdue`, `expired`, `retired`.
    pub states: BTreeMap<String, u64>,
    /// How many have failed since their latest certificate, by the cause of the latest failure: `dns`,
    /// `connection`, `content`, `tls`, `caa`, `policy`, `limits`, `other`.
    pub failing: BTreeMap<String, u64>,
    /// If no certificate were issued any more; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
}

/// When certificates expire if none is issued any more; retired identities do not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// The first of an identity.
    pub first: Moment,
    /// One of twenty.
    pub twentieth: Moment,
    /// Half of them.
    pub half: Moment,
}

/// A time to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, to the minute.
    pub at: String,
    /// Seconds until then.
    pub seconds_left: u64,
}

/// `GET /v1/fleet/identities`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identities {
    /// Whether the whole inventory has been read since the start; until then some may be missing.
    pub complete: bool,
    /// One page, what expires first in front.
    pub identities: Vec<Identity>,
    /// If there may be more: what to ask for as `after`, with the same state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A set of names that has had a certificate. What is known of the request is absent once the certificate
/// has been swept from the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// It: a digest of its names, 24 lower-case hexadecimal digits.
    pub id: String,
    /// `healthy`, `due`, `overdue`, `expired` or `retired`.
    pub state: String,
    /// Its names and addresses, and `permanent-identifier:` with a device's; none if they are not known.
    pub names: Vec<String>,
    /// The serial of its latest certificate.
    pub serial: String,
    /// When that was signed.
    pub issued: String,
    /// When that ends.
    pub not_after: String,
    /// When it is expected to renew.
    pub due: String,
    /// When it is late.
    pub overdue: String,
    /// Failed attempts since then, by cause; 255 is 255 or more.
    pub failures: BTreeMap<String, u8>,
    /// The latest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failed>,
    /// Through which door the certificate was asked for, as of certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// The provisioner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioner: Option<String>,
    /// The ACME account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The EAB key that the account is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab_key: Option<String>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The request's User-Agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: String,
    /// Why: one of the causes.
    pub cause: String,
}

/// `POST /v1/fleet/retire`: the identity of exactly these names is not expected to renew any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retire {
    /// All its names, as [`Identity::names`] has them.
    pub names: Vec<String>,
}
