//! Campaigns: the operator calls certificates over before their time, by renewal information (RFC 9773).
//!
//! A campaign moves the windows of the certificates that it selects into `over`, evenly, none to later than
//! it was; see [`Call`]. It counts for certificates from before its start, so that who has renewed is not
//! called again, and it holds on for [`LINGER`] after that, since a client hears of it only when it asks.
//! Nobody has to come: an identity that does not is late when it would have been anyway, and
//! [`super::Followed`] tells who.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acme::identifier::{DnsName, Identifier};
use crate::acme::renewal::Call;
use crate::id::AccountId;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Campaigns in force at once, at most: each renewal information is held against all of them.
pub const MOST_IN_FORCE: usize = 32;

/// Campaigns that are kept, at most, those that are over included.
pub const MOST_KEPT: usize = 200;

/// For how long a campaign holds on once its windows are over: whoever asks once a day hears of it.
pub const LINGER: Duration = Duration::from_secs(7 * 86_400);

/// The shortest and the longest time that certificates may be called over in.
pub const OVER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30 * 86_400));

/// How far ahead a campaign may be planned.
pub const AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// Which certificates are called over: all conditions that are given hold. The default has none, and so
/// is all certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// The authority that its issuer belongs to.
    pub authority: Option<String>,
    /// Its issuer's key identifier.
    pub issuer: Option<[u8; 20]>,
    /// The account that it was issued to.
    pub account: Option<AccountId>,
    /// The provisioner's name.
    pub provisioner: Option<String>,
    /// The profile's name.
    pub profile: Option<String>,
    /// This name, or one below it, is in it.
    pub suffix: Option<DnsName>,
    /// This very name is in it.
    pub name: Option<Identifier>,
    /// The type of its key, as profiles name it.
    pub key_type: Option<String>,
    /// Its serial.
    pub serial: Option<Serial>,
    /// It was signed before.
    pub issued_before: Option<Timestamp>,
}

/// What is to be known of a certificate.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "fields carry the names of what they hold")]
pub struct Candidate<'a> {
    pub serial: &'a Serial,
    pub issuer: &'a [u8; 20],
    /// If the issuer belongs to one.
    pub authority: Option<&'a str>,
    pub account: AccountId,
    pub provisioner: &'a str,
    pub profile: Option<&'a str>,
    pub names: &'a [Identifier],
    pub key_type: Option<&'a str>,
    pub issued: Timestamp,
}

impl Selector {
    /// Whether a certificate meets every condition.
    pub fn selects(&self, it: &Candidate<'_>) -> bool {
        let Self {
            authority,
            issuer,
            account,
            provisioner,
            profile,
            suffix,
            name,
            key_type,
            serial,
            issued_before,
        } = self;
        issuer.is_none_or(|issuer| issuer == *it.issuer)
            && account.is_none_or(|account| account == it.account)
            && serial.is_none_or(|serial| serial == *it.serial)
            && issued_before.is_none_or(|before| it.issued < before)
            && is(authority, it.authority)
            && is(provisioner, Some(it.provisioner))
            && is(profile, it.profile)
            && is(key_type, it.key_type)
            && name.as_ref().is_none_or(|name| it.names.contains(name))
            && suffix.as_ref().is_none_or(|suffix| it.names.iter().any(|name| is_below(suffix, name)))
    }

    /// Whether it has no condition.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }
}

fn is(wanted: &Option<String>, found: Option<&str>) -> bool {
    wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
}

fn is_below(suffix: &DnsName, name: &Identifier) -> bool {
    match name {
        Identifier::Dns(base) | Identifier::Wildcard(base) => {
            let rest = base.as_str().strip_suffix(suffix.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        Identifier::Ip(_) | Identifier::Permanent(_) => false,
    }
}

/// A campaign, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Which certificates.
    pub selector: Selector,
    /// When it was begun: from then on clients hear of it.
    pub created: Timestamp,
    /// When the first window begins; certificates that are signed later are not called.
    pub start: Timestamp,
    /// Over how long the windows begin.
    pub over: Duration,
    /// What for, for people.
    pub reason: String,
    /// A page that tells clients' operators more (RFC 9773 §4.2).
    pub explanation: Option<String>,
    /// Whether it is a drill.
    pub drill: bool,
    /// When it was cancelled.
    pub cancelled: Option<Timestamp>,
}

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Clients that ask hear of it already; no window has begun.
    Planned,
    /// Windows begin.
    Calling,
    /// All windows have begun; who asks only now is called all the same.
    Lingering,
    /// It is over.
    Over,
    /// It was cancelled.
    Cancelled,
}

impl Standing {
    /// All, each with its name in output.
    pub const TABLE: [(Self, &'static str); 5] = [
        (Self::Planned, "planned"),
        (Self::Calling, "calling"),
        (Self::Lingering, "lingering"),
        (Self::Over, "over"),
        (Self::Cancelled, "cancelled"),
    ];

    /// As output has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Calling => "calling",
            Self::Lingering => "lingering",
            Self::Over => "over",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Campaign {
    /// Until when it counts, unless it is cancelled.
    pub fn until(&self) -> Timestamp {
        self.start + self.over + LINGER
    }

    /// Where it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if self.cancelled.is_some() {
            Standing::Cancelled
        } else if now < self.start {
            Standing::Planned
        } else if now < self.start + self.over {
            Standing::Calling
        } else if now < self.until() {
            Standing::Lingering
        } else {
            Standing::Over
        }
    }

    /// Whether it counts.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        match self.standing(now) {
            Standing::Planned | Standing::Calling | Standing::Lingering => true,
            Standing::Over | Standing::Cancelled => false,
        }
    }

    /// Whether a certificate is called over by it, in force or not.
    pub fn calls(&self, candidate: &Candidate<'_>) -> bool {
        candidate.issued < self.start && self.selector.selects(candidate)
    }

    /// Its call.
    pub fn call(&self) -> Call {
        Call { since: self.start, over: self.over }
    }
}

/// Of the campaigns in force that call a certificate, the one whose window begins first, and its place
/// among `all`.
pub fn called<'a>(
    all: impl Iterator<Item = &'a Campaign>,
    candidate: &Candidate<'_>,
    now: Timestamp,
) -> Option<&'a Campaign> {
    all.filter(|campaign| campaign.is_in_force(now) && campaign.calls(candidate))
        .min_by_key(|campaign| campaign.call().begin(candidate.serial))
}

#[cfg(test)]
mod tests;
