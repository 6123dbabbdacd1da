//! Where the rotation of an authority's issuer stands: a function of the configuration in force and of what
//! was noted and counted. Nothing of it is stored.
//!
//! published (`next` is in the bundle and signs nothing) → signing → former (signs no more, its leaves are
//! alive) → gone.

use std::fmt;
use std::time::Duration;

use super::leaves::Live;
use crate::time::Timestamp;
use crate::x509::hex;

/// One issuer of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerFacts {
    /// Its key identifier.
    pub key_id: [u8; 20],
    /// Its subject, for people.
    pub subject: String,
    /// When it, or what is above it in its chain, ends first.
    pub not_after: Timestamp,
    /// Since when it is in the bundle; `None` if it was there before anybody noted it.
    pub published: Option<Timestamp>,
    /// How many chains are served with its leaves: one, and those that are offered besides.
    pub chains: usize,
    /// Its live leaves; `None` as long as they are not all counted.
    pub live: Option<Live>,
    /// Whether requests that began under it may still be signed.
    pub in_use: bool,
    /// Whether this server's own certificate is under it.
    pub own: bool,
}

/// What a rotation's standing follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The one that is to sign next.
    pub next: Option<IssuerFacts>,
    /// The one that signs.
    pub signing: IssuerFacts,
    /// Those that sign no more.
    pub former: Vec<IssuerFacts>,
    /// Since when `signing` signs; `None` if it is the first that was noted.
    pub switched: Option<Timestamp>,
    /// How long the next one is in the bundle before it signs.
    pub overlap: Duration,
    /// Over how long clients are called over.
    pub handover: Duration,
}

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One issuer, nothing to do.
    Steady,
    /// The next one is in the bundle, and clients are still to fetch it.
    Overlap,
    /// The next one may sign.
    Ready,
    /// Another one signs; the former one's leaves are not counted yet.
    Counting,
    /// Another one signs; clients are being called over.
    HandingOver,
    /// All clients were called; some have not come.
    Draining,
    /// A former one has no live leaf any more.
    Drained,
}

impl Stage {
    /// Each with its name.
    pub const TABLE: [(Self, &'static str); 7] = [
        (Self::Steady, "steady"),
        (Self::Overlap, "overlap"),
        (Self::Ready, "ready"),
        (Self::Counting, "counting"),
        (Self::HandingOver, "handing-over"),
        (Self::Draining, "draining"),
        (Self::Drained, "drained"),
    ];
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::TABLE.iter().find(|(stage, _)| stage == self).map_or("", |(_, name)| name))
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `mayfly rotation start`, whenever that is wanted.
    Start,
    /// `mayfly rotation advance`.
    Advance,
    /// `mayfly rotation retire` of that issuer.
    Retire([u8; 20]),
}

/// Where a rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far it is.
    pub stage: Stage,
    /// What comes next.
    pub step: Step,
    /// From when on; `None` if that cannot be known yet.
    pub from: Option<Timestamp>,
}

/// Why a step may not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// It is not known here.
    #[error("there is no authority of that name")]
    NoAuthority,
    /// Nothing was started.
    #[error("no next issuer is in force: begin with `mayfly rotation start`")]
    NoNext,
    /// The issuer is no former one.
    #[error("the issuer {} signs no former certificates here: it cannot be retired", hex::encode(.0))]
    NotFormer([u8; 20]),
    /// The bundle is too young.
    #[error(
        "the next issuer is in the bundle since {since}, and its overlap lasts until {until}: clients that have \
         not fetched the bundle since may refuse what it signs (`advance --now` does not wait)"
    )]
    Overlap {
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// That the next one is in the bundle was not noted yet.
    #[error("it is not noted yet since when the next issuer is in the bundle: try again in a few seconds")]
    NotNoted,
    /// Its leaves are not counted.
    #[error("the issuer's certificates are still being counted: try again when that is done")]
    Counting,
    /// It has leaves.
    #[error("{count} certificates of the {role} issuer are alive, the last until {last}")]
    Live {
        /// What it is.
        role: Role,
        /// How many.
        count: u64,
        /// Until when.
        last: Timestamp,
    },
    /// It may still sign.
    #[error(
        "requests that began under the issuer are not finished: try again in a few seconds, or, if its key hangs, \
         after a restart"
    )]
    InUse,
    /// It has signed what this server shows.
    #[error(
        "this server's own certificate is still under the issuer: it follows the signing one within seconds"
    )]
    Own,
}

impl NotYet {
    /// Whether an operator may go on all the same, at the price that it names.
    pub fn may_be_forced(&self) -> bool {
        match self {
            Self::Overlap { .. } | Self::NotNoted | Self::Live { .. } => true,
            // At a price that nobody knows, nothing is forced.
            Self::Counting
            | Self::NoAuthority
            | Self::NoNext
            | Self::NotFormer(_)
            | Self::InUse
            | Self::Own => false,
        }
    }
}

/// What an issuer is to its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is to sign next.
    Next,
    /// It signs.
    Signing,
    /// It signs no more.
    Former,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Former => "former",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Facts {
    /// Every issuer, and what it is.
    pub fn issuers(&self) -> impl Iterator<Item = (Role, &IssuerFacts)> {
        let former = self.former.iter().map(|issuer| (Role::Former, issuer));
        let next = self.next.iter().map(|issuer| (Role::Next, issuer));
        next.chain([(Role::Signing, &self.signing)]).chain(former)
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: Timestamp) -> Standing {
        if let Some(next) = &self.next {
            let from = next.published.map(|since| since + self.overlap);
            let ready = from.is_some_and(|from| from <= now);
            let stage = if ready { Stage::Ready } else { Stage::Overlap };
            return Standing { stage, step: Step::Advance, from };
        }
        let Some(oldest) = self.former.first() else {
            return Standing { stage: Stage::Steady, step: Step::Start, from: Some(now) };
        };
        let drained = self.former.iter().find(|one| self.may_retire(&one.key_id).is_ok());
        if let Some(drained) = drained {
            let step = Step::Retire(drained.key_id);
            return Standing { stage: Stage::Drained, step, from: Some(now) };
        }
        // The one that is done with first.
        let first = self.former.iter().min_by_key(|one| one.live.map_or(Some(Timestamp::EPOCH), |l| l.last));
        let first = first.unwrap_or(oldest);
        let handing = self.switched.is_some_and(|since| now < since + self.handover);
        let stage = match first.live {
            None => Stage::Counting,
            Some(_) if handing => Stage::HandingOver,
            Some(_) => Stage::Draining,
        };
        let from = first.live.and_then(|live| live.last);
        Standing { stage, step: Step::Retire(first.key_id), from }
    }

    /// Whether the next one may sign at `now`.
    pub fn may_advance(&self, now: Timestamp) -> Result<(), NotYet> {
        let next = self.next.as_ref().ok_or(NotYet::NoNext)?;
        let since = next.published.ok_or(NotYet::NotNoted)?;
        let until = since + self.overlap;
        if now < until { Err(NotYet::Overlap { since, until }) } else { Ok(()) }
    }

    /// Whether a former one may go.
    pub fn may_retire(&self, issuer: &[u8; 20]) -> Result<(), NotYet> {
        let found = self.former.iter().find(|one| one.key_id == *issuer);
        may_go(Role::Former, found.ok_or(NotYet::NotFormer(*issuer))?)
    }

    /// Whether the next one may go: it has signed nothing, or nothing that lives. It may have, where an older
    /// configuration was put into force again.
    pub fn may_abort(&self) -> Result<(), NotYet> {
        may_go(Role::Next, self.next.as_ref().ok_or(NotYet::NoNext)?)
    }
}

/// Whether an issuer may go that does not sign.
fn may_go(role: Role, found: &IssuerFacts) -> Result<(), NotYet> {
    // What nobody can force comes first: whoever forces hears of it too.
    if found.in_use {
        return Err(NotYet::InUse);
    }
    if found.own {
        return Err(NotYet::Own);
    }
    match found.live {
        None => Err(NotYet::Counting),
        Some(Live { count: 0, .. }) => Ok(()),
        Some(Live { count, last }) => {
            Err(NotYet::Live { role, count, last: last.unwrap_or(found.not_after) })
        }
    }
}

#[cfg(test)]
mod tests;
