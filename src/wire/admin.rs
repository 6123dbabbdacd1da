//! The admin socket's objects, as the server writes them and the commands read them. Times are RFC 3339.

mod campaign;
mod fleet;
mod notify;
mod rotation;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::campaign::{
    AskForPreview, Campaign, CampaignPreview, CampaignSelector, Campaigns, CurvePoint, NewCampaign, Reaction,
    Unanswered, UnansweredPage,
};
pub use self::fleet::{Failed, Fleet, Horizon, Identities, Identity, Moment, Retire};
pub use self::notify::{Receiver, ReceiverTest, ReceiverTests, Receivers};
pub use self::rotation::{Rotation, RotationIssuer, RotationStep, Rotations};

/// `POST /v1/eab-keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewEabKey {
    /// The provisioner's name.
    pub provisioner: String,
    /// Name rules; none: whatever the provisioner allows.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Seconds for which it registers accounts.
    pub lifetime: u64,
    /// How many accounts it registers.
    pub max_uses: u32,
    /// What to call it.
    #[serde(default)]
    pub label: String,
    /// Whether its names need no validation.
    #[serde(default)]
    pub trust_names: bool,
}

/// One key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EabKey {
    /// Its id.
    pub kid: String,
    /// `active`, `used-up`, `expired` or `revoked`.
    pub state: String,
    /// The provisioner's name.
    pub provisioner: String,
    /// Name rules.
    pub allow: Vec<String>,
    /// Whether its names need no validation.
    pub trust_names: bool,
    /// What it is called.
    pub label: String,
    /// Accounts registered.
    pub uses: u32,
    /// Accounts it registers.
    pub max_uses: u32,
    /// When it was made.
    pub created: String,
    /// Until when it registers accounts.
    pub expires: String,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// Answer to `POST /v1/eab-keys`: the only one that shows the secret, so without Debug.
#[derive(Clone, Serialize, Deserialize)]
pub struct CreatedEabKey {
    /// The key.
    #[serde(flatten)]
    pub key: EabKey,
    /// Its secret, base64url, as clients take it.
    pub hmac_key: String,
    /// The ACME directory to use it at.
    pub directory: String,
}

/// `GET /v1/eab-keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EabKeys {
    /// One page.
    pub keys: Vec<EabKey>,
    /// If there may be more: what to ask for as `?after=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `POST /v1/blocked-keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockKeys {
    /// SHA-256 of each key's SubjectPublicKeyInfo, 64 hexadecimal digits.
    pub keys: Vec<String>,
    /// Why, in one line.
    pub reason: String,
}

/// Answer to `POST /v1/blocked-keys`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysBlocked {
    /// Blocked now.
    pub blocked: usize,
    /// Blocked before; they keep their reason.
    pub known: usize,
}

/// One blocked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedKey {
    /// SHA-256 of its SubjectPublicKeyInfo, hexadecimal.
    pub key: String,
    /// When it was blocked.
    pub at: String,
    /// Why.
    pub reason: String,
    /// The certificate whose revocation blocked it; absent if the operator did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
}

/// `GET /v1/blocked-keys`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockedKeys {
    /// One page.
    pub keys: Vec<BlockedKey>,
    /// If there may be more: what to ask for as `?after=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `about:blank`: the status says what kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong.
    pub detail: String,
}

/// One certificate of the inventory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its serial number, lower-case hex.
    pub serial: String,
    /// `valid`, `expired` or `revoked`.
    pub state: String,
    /// Its names and addresses; none for a CA's certificate.
    pub names: Vec<String>,
    /// When it begins.
    pub not_before: String,
    /// When it ends.
    pub not_after: String,
    /// When it was signed.
    pub issued: String,
    /// SHA-256 of its SubjectPublicKeyInfo, lower-case hex.
    pub key_sha256: String,
    /// The issuer's key identifier, lower-case hex.
    pub issuer: String,
    /// Through which door it was asked for: `acme`, `auto-renewal` (RFC 8739), `own` (this server's
    /// listener) or `ceremony` (the founding of the hierarchy).
    pub door: String,
    /// The provisioner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioner: Option<String>,
    /// The ACME account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The ACME order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The EAB key that the account is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab_key: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The request's User-Agent, its first 120 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The serial of what it replaces, as the client said (RFC 9773).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The serial of what has replaced it, as the client said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// The number of the configuration that was in force, whose policies allowed it; `/v1/configurations` has
    /// those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<u64>,
    /// If it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// The authority, if it is one of today's that this issuer belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// What was not recorded yet when it was issued: `profile`, `eab_key`. Of these, none is unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<String>,
    /// The certificate, PEM; in lists if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

/// How a certificate was revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// When.
    pub at: String,
    /// The reason (RFC 5280 §5.3.1), if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<u8>,
    /// `owner`, `authorized` (another account with proofs for all its names) or `key`.
    pub by: String,
    /// The account that revoked it; none if its key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

/// `GET /v1/certificates`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// One page; it may be short, or empty, and yet not the last.
    pub certificates: Vec<Certificate>,
    /// If there may be more: what to ask for as `after`, with the same conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// While certificates from before there was an index are given theirs: how far that is. Until it is
    /// done, some that meet the conditions may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexing: Option<Indexing>,
}

/// How far an index is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Indexing {
    /// Certificates looked at.
    pub certificates: u64,
    /// All that expire before are in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
}

/// One certificate that policy refused at the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRefusal {
    /// When.
    pub at: String,
    /// Through which door it was asked for, as of certificates.
    pub door: String,
    /// The authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
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
    /// Why, of the policies then in force; some of very many.
    pub reasons: Vec<String>,
    /// What was to be signed: DER, base64url without padding.
    pub tbs: String,
}

/// `GET /v1/policy-refusals`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRefusals {
    /// One page, the oldest first; it may be empty and yet not the last.
    pub refusals: Vec<PolicyRefusal>,
    /// If there may be more: what to ask for as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One request for a certificate that was refused, or several that are alike: of what differs between
/// them, that of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// When it was refused first.
    pub first: String,
    /// When it was last.
    pub last: String,
    /// How often.
    pub times: u64,
    /// What was asked for: `order` (newOrder), `authorization` (newAuthz), `certificate` (finalize), or
    /// `others`: so many more than are kept one by one.
    pub asked: String,
    /// The provisioner's name.
    pub provisioner: String,
    /// The authority that it issues under.
    pub authority: String,
    /// The key identifier of the issuer that would have signed, lower-case hex.
    pub issuer: String,
    /// The ACME account; none of `others` that are several accounts'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The ACME order, of a `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// The first names, as they were asked for.
    pub names: Vec<String>,
    /// How many there were besides.
    pub others: u32,
    /// The profile that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, of a `certificate`; lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_sha256: Option<String>,
    /// The serial of what was to be replaced, as the client said (RFC 9773).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The ACME error (RFC 8555 §6.7) that it was answered with.
    pub error: String,
    /// Why, as the client was told.
    pub detail: String,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// The request's User-Agent, its first 120 printable characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}

/// `GET /v1/refused-requests`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequests {
    /// One page, the newest first; it may be short, or empty, and yet not the last.
    pub refused: Vec<RefusedRequest>,
    /// If there may be more: what to ask for as `after`, with the same conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One event of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: String,
    /// What: `certificate_issued`, `eab_key_revoked`, …
    pub event: String,
    /// Which operator did it: as `[admin] clients` lists them, or `uid N` on the admin socket; none if a
    /// client did, or this server by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// What is known of it.
    pub facts: BTreeMap<String, String>,
}

/// `GET /v1/audit-events`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvents {
    /// One page, the newest first; it may be short, or empty, and yet not the last.
    pub events: Vec<AuditEvent>,
    /// If there may be more: what to ask for as `after`, with the same conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One configuration that was put into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationSummary {
    /// Its number, from 1.
    pub version: u64,
    /// When it was put into force.
    pub at: String,
    /// By what: `start`, `SIGHUP`, `apply`, `rollback to N` or `rotation STEP`.
    pub how: String,
    /// SHA-256 of its mayfly.toml, lower-case hex.
    pub sha256: String,
}

/// `GET /v1/configurations`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configurations {
    /// Those that are kept, the oldest first; the last is in force.
    pub versions: Vec<ConfigurationSummary>,
}

/// `GET /v1/configurations/{version}`, or `current` for the one in force
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Which, when, how.
    #[serde(flatten)]
    pub summary: ConfigurationSummary,
    /// The text of mayfly.toml.
    pub text: String,
    /// The files with rules of their own that it names.
    pub files: Vec<NamedText>,
}

/// A file that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedText {
    /// Its path, as it stands in the configuration.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// `POST /v1/configurations`: put the file, as it is now, into force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyConfiguration {
    /// The version that the file was taken from, for the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<u64>,
    /// The step of a rotation that it is: refused where that may not be taken yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStep>,
    /// SHA-256 of the text that the file is to have, lower-case hex: refused where it has another. Required
    /// with `rotation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_sha256: Option<String>,
}

/// Answer to `POST /v1/configurations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedConfiguration {
    /// The version in force now.
    pub version: u64,
    /// Changes that take effect at the next start only, by section.
    pub restart: Vec<String>,
}
