//! Campaigns: certificates that are called over before their time.

use serde::{Deserialize, Serialize};

/// Which certificates: all conditions that are given hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CampaignSelector {
    /// Every certificate; then there is no condition.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Of this authority's issuers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// Of the issuer with this key identifier, lower-case hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Issued to this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Issued by this provisioner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioner: Option<String>,
    /// Issued under this profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// With this DNS name or one below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// With this very name, wildcard or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For a key of this type, as profiles name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<String>,
    /// With this serial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Signed before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_before: Option<String>,
}

/// `POST /v1/fleet/campaigns`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// Which certificates.
    pub selector: CampaignSelector,
    /// When the first window begins; at once if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Over how many seconds windows begin.
    pub over: u64,
    /// What for.
    pub reason: String,
    /// A page that tells clients' operators more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
    /// Whether it is a drill.
    #[serde(default)]
    pub drill: bool,
}

/// `POST /v1/fleet/campaigns/preview`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskForPreview {
    /// What would be begun.
    pub campaign: NewCampaign,
    /// `next` of the part before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// A part of what a campaign would come to; the parts add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignPreview {
    /// Certificates that would be called over.
    pub certificates: u64,
    /// Of these, those whose window has begun by the start anyway.
    pub due: u64,
    /// Certificates that were renewed already, and so are not counted.
    pub superseded: u64,
    /// Windows that begin in each part of the campaign's time.
    pub windows: Vec<u64>,
    /// Seconds after which these clients ask again, at most, if they keep to what they are told.
    pub longest_pause: u64,
    /// Whether certificates from before there was an index may be missing.
    pub incomplete: bool,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A campaign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its number.
    pub id: u64,
    /// `planned`, `calling`, `lingering`, `over` or `cancelled`.
    pub standing: String,
    /// Which certificates.
    pub selector: CampaignSelector,
    /// When it was begun: from then on clients hear of it.
    pub created: String,
    /// When the first window begins.
    pub start: String,
    /// Over how many seconds windows begin.
    pub over: u64,
    /// Until when it holds on for who asks late.
    pub until: String,
    /// What for.
    pub reason: String,
    /// A page that tells clients' operators more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
    /// Whether it is a drill.
    pub drill: bool,
    /// When it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<String>,
    /// What has come of it; none before its start, and none of one that was over or gave way to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<Reaction>,
}

/// `GET /v1/fleet/campaigns`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaigns {
    /// The latest first.
    pub campaigns: Vec<Campaign>,
}

/// What has come of a campaign, in identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// Whether all that are called are counted; until then there are more.
    pub complete: bool,
    /// That it calls, those that came included.
    pub members: u64,
    /// Whose window has begun by now.
    pub called: u64,
    /// That asked for renewal information since it was begun.
    pub asked: u64,
    /// That renewed.
    pub renewed: u64,
    /// That renewed and are not known to have asked.
    pub renewed_unasked: u64,
    /// That were retired or revoked.
    pub excused: u64,
    /// That are waited for.
    pub missing: u64,
    /// Who asked before is not known.
    pub asking_known_since: String,
    /// The reaction curve; in a list of campaigns it is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
}

/// What happened from a time on, up to the next point's, or as long as the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// From when on.
    pub from: String,
    /// Windows that begin.
    pub called: u32,
    /// Identities that asked for the first time.
    pub asked: u32,
    /// Identities that renewed.
    pub renewed: u32,
}

/// `GET /v1/fleet/campaigns/{id}/unanswered`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnansweredPage {
    /// One page; it may be short, or empty, and yet not be the last one.
    pub identities: Vec<Unanswered>,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An identity that was called and has not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// Its id.
    pub id: String,
    /// How it stands: `healthy`, `due`, `overdue` or `expired`.
    pub state: String,
    /// Its names; empty if its certificate is kept no more.
    pub names: Vec<String>,
    /// Its latest certificate.
    pub serial: String,
    /// When that ends.
    pub not_after: String,
    /// When its window began, or begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// `failed`, `asked-and-stayed`, `asked-before`, `never-asked`; or `not-yet`, as long as its window has not
    /// begun.
    pub reaction: String,
    /// When it last asked for its renewal information, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// Why its latest attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The provisioner that its certificate is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioner: Option<String>,
    /// The account that it was issued to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Where it was asked for from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    /// With what program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
}
