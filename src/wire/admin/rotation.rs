//! The rotation of issuers.

use serde::{Deserialize, Serialize};

/// A step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationStep {
    /// `start`, `advance`, `retire` or `abort`.
    pub step: String,
    /// The authority's name.
    pub authority: String,
    /// The issuer that is retired: its key identifier, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Whether to take it although it is early.
    #[serde(default)]
    pub force: bool,
}

/// `GET /v1/rotations`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotations {
    /// One for each authority.
    pub rotations: Vec<Rotation>,
}

/// Where an authority's rotation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The authority's name.
    pub authority: String,
    /// `steady`, `overlap`, `ready`, `counting`, `handing-over`, `draining` or `drained`.
    pub stage: String,
    /// What comes next: `start`, `advance` or `retire`.
    pub next_step: String,
    /// The issuer that this concerns: its key identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_issuer: Option<String>,
    /// From when on; none if that cannot be known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_from: Option<String>,
    /// Since when the signing issuer signs; none if it is the first that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<String>,
    /// Until when clients with certificates of the one before are called over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_until: Option<String>,
    /// The next one if there is one, the one that signs, former ones.
    pub issuers: Vec<RotationIssuer>,
}

/// One issuer of an authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationIssuer {
    /// `next`, `signing` or `former`.
    pub role: String,
    /// Its key identifier, lower-case hex.
    pub key_id: String,
    /// Its subject.
    pub subject: String,
    /// When it, or what is above it in its chain, ends first.
    pub not_after: String,
    /// How many chains are served with its certificates; more than one if it is cross-signed.
    pub chains: usize,
    /// Since when it is in the bundle; none if it was before that was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// How many of its certificates are neither expired nor revoked; none until they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<u64>,
    /// By when the last of them has expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_expiry: Option<String>,
    /// Of a former one: why it may not be retired yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_because: Option<String>,
}
