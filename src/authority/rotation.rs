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
         not fetched the bundle since may refuse what it signs"
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
    #[error("the former issuer's certificates are still being counted: try again when that is done")]
    Counting,
    /// It has leaves.
    #[error("{count} certificates of the former issuer are alive, the last until {last}")]
    Live {
        /// How many.
        count: u64,
        /// Until when.
        last: Timestamp,
    },
    /// It may still sign.
    #[error("requests that began under the former issuer are not finished: try again in a few seconds")]
    InUse,
    /// It has signed what this server shows.
    #[error("this server's own certificate is still under the former issuer: it follows within seconds")]
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
        let from = first.live.map(|live| live.last.unwrap_or(now));
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
        let found = found.ok_or(NotYet::NotFormer(*issuer))?;
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
            Some(Live { count, last }) => Err(NotYet::Live { count, last: last.unwrap_or(found.not_after) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
    const HOUR: Duration = Duration::from_secs(3600);

    fn issuer(n: u8, live: Option<u64>) -> IssuerFacts {
        let live = live.map(|count| Live { count, last: (count > 0).then_some(T0 + HOUR * 5) });
        IssuerFacts {
            key_id: [n; 20],
            subject: format!("CN={n}"),
            not_after: T0 + HOUR * 1000,
            published: None,
            chains: 1,
            live,
            in_use: false,
            own: false,
        }
    }

    fn facts() -> Facts {
        Facts {
            next: None,
            signing: issuer(1, Some(9)),
            former: Vec::new(),
            switched: None,
            overlap: HOUR * 24,
            handover: HOUR * 2,
        }
    }

    #[test]
    fn stages() {
        let published = |at| Some(IssuerFacts { published: at, ..issuer(2, Some(0)) });
        let former = |live| vec![issuer(0, live)];
        let retire = Step::Retire([0; 20]);
        let since = Some(T0 - HOUR);
        let rows = [
            ("steady", facts(), (Stage::Steady, Step::Start, Some(T0))),
            ("not noted", Facts { next: published(None), ..facts() }, (Stage::Overlap, Step::Advance, None)),
            (
                "fresh",
                Facts { next: published(since), ..facts() },
                (Stage::Overlap, Step::Advance, Some(T0 + HOUR * 23)),
            ),
            (
                "old enough",
                Facts { next: published(Some(T0 - HOUR * 24)), ..facts() },
                (Stage::Ready, Step::Advance, Some(T0)),
            ),
            (
                "the next one comes first, whatever is left of an earlier one",
                Facts { next: published(since), former: former(Some(3)), ..facts() },
                (Stage::Overlap, Step::Advance, Some(T0 + HOUR * 23)),
            ),
            (
                "not counted",
                Facts { former: former(None), switched: since, ..facts() },
                (Stage::Counting, retire, None),
            ),
            (
                "called over",
                Facts { former: former(Some(3)), switched: since, ..facts() },
                (Stage::HandingOver, retire, Some(T0 + HOUR * 5)),
            ),
            (
                "all were called",
                Facts { former: former(Some(3)), switched: Some(T0 - HOUR * 2), ..facts() },
                (Stage::Draining, retire, Some(T0 + HOUR * 5)),
            ),
            (
                "nobody knows when it was switched",
                Facts { former: former(Some(3)), ..facts() },
                (Stage::Draining, retire, Some(T0 + HOUR * 5)),
            ),
            (
                "none is left",
                Facts { former: former(Some(0)), switched: since, ..facts() },
                (Stage::Drained, retire, Some(T0)),
            ),
            (
                "of two one has none left",
                Facts { former: vec![issuer(7, Some(1)), issuer(0, Some(0))], ..facts() },
                (Stage::Drained, retire, Some(T0)),
            ),
        ];
        for (what, facts, (stage, step, from)) in rows {
            assert_eq!(facts.standing(T0), Standing { stage, step, from }, "{what}");
        }
    }

    #[test]
    fn steps_are_refused_until_their_time() {
        let next =
            |published| Facts { next: Some(IssuerFacts { published, ..issuer(2, Some(0)) }), ..facts() };
        let until = T0 + HOUR * 24;
        assert_eq!(facts().may_advance(T0), Err(NotYet::NoNext));
        assert_eq!(next(None).may_advance(T0), Err(NotYet::NotNoted));
        let early = next(Some(T0)).may_advance(until - Duration::from_secs(1));
        assert_eq!(early, Err(NotYet::Overlap { since: T0, until }));
        assert_eq!(next(Some(T0)).may_advance(until), Ok(()));

        let former = |one| Facts { former: vec![one], ..facts() };
        let none = issuer(0, Some(0));
        let rows = [
            (former(issuer(0, None)), Err(NotYet::Counting)),
            (former(issuer(0, Some(2))), Err(NotYet::Live { count: 2, last: T0 + HOUR * 5 })),
            (former(IssuerFacts { in_use: true, ..none.clone() }), Err(NotYet::InUse)),
            (former(IssuerFacts { own: true, ..none.clone() }), Err(NotYet::Own)),
            (former(IssuerFacts { own: true, live: None, ..none.clone() }), Err(NotYet::Own)),
            (former(none), Ok(())),
            (facts(), Err(NotYet::NotFormer([0; 20]))),
        ];
        for (facts, want) in rows {
            assert_eq!(facts.may_retire(&[0; 20]), want);
        }
        assert_eq!(facts().may_retire(&[1; 20]), Err(NotYet::NotFormer([1; 20])), "the one that signs");
    }

    #[test]
    fn what_may_be_forced() {
        let live = NotYet::Live { count: 1, last: T0 };
        let forced = [NotYet::Overlap { since: T0, until: T0 }, NotYet::NotNoted, live];
        assert!(forced.iter().all(NotYet::may_be_forced));
        let not_former = NotYet::NotFormer([0; 20]);
        let never = [NotYet::Counting, NotYet::NoNext, not_former, NotYet::InUse, NotYet::Own];
        assert!(!never.iter().any(NotYet::may_be_forced));
    }

    #[test]
    fn every_stage_has_its_name() {
        for (stage, name) in Stage::TABLE {
            assert_eq!(stage.to_string(), name);
        }
    }
}
