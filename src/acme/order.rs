//! Orders, authorizations and challenges (RFC 8555 §7.1.3 to §7.1.6).
//!
//! Facts are stored; every status is derived from them and `now`. An order holds its own
//! authorizations, so that opening one, answering a challenge and finalizing are one record each.
//! An authorization that the account proved before is referred to, not copied
//! ([`Slot::Reused`]): its URL stays the one it was born with.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::challenge::ChallengeKind;
use super::error::{ErrorKind, Refusal, StoredProblem, Subproblem};
use super::identifier::{Identifier, IdentifierError};
use super::renewal::CertId;
use super::star::{AutoRenewal, Renewing};
use super::subdomain::Named;
use crate::id::{AccountId, EabKid, OrderId};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Bytes of randomness in a token (RFC 8555 §8.1 asks for 128 bits at least).
pub const TOKEN_BYTES: usize = 16;

/// An order and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whose.
    pub account: AccountId,
    /// At which provisioner.
    pub provisioner: String,
    /// When opened.
    pub created: Timestamp,
    /// When it ends if it is not finalized.
    pub expires: Timestamp,
    /// As asked for.
    pub not_before: Option<Timestamp>,
    /// As asked for.
    pub not_after: Option<Timestamp>,
    /// One per identifier, in the client's order, unless [`OrderDetails::names`] has it otherwise.
    pub slots: Vec<Slot>,
    /// How far finalization has come.
    pub finish: Finish,
    /// What later versions added.
    pub details: OrderDetails,
}

/// What an order may hold besides; the default says nothing. Grows at its end only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDetails {
    /// No order, but what keeps an authorization that was asked for ahead of any (RFC 8555 §7.4.1).
    pub pre_authorization: bool,
    /// The slots whose authorizations count for the names below theirs too (RFC 9444).
    pub subdomains: Vec<u16>,
    /// The identifiers in the client's order, each with its slot; empty if they are the slots' own.
    pub names: Vec<Named>,
    /// The keys that devices were attested to hold, at most one for each of the order's own
    /// authorizations.
    pub attested: Vec<AttestedKey>,
    /// The certificate that the order's is to replace (RFC 9773 §5).
    pub replaces: Option<CertId>,
    /// The profile asked for, or the provisioner's default one.
    pub profile: Option<String>,
    /// The row that leads from the account, names and key to this order's certificate, if there is
    /// one: it goes with the order.
    pub reuse_row: Option<[u8; 32]>,
    /// Of an order that is renewed automatically (RFC 8739): what was agreed.
    pub auto_renewal: Option<AutoRenewal>,
    /// Of an order that is being renewed automatically: how the proofs that other orders keep were given.
    /// Those orders go long before this one.
    pub proved_by: Vec<ProvedBy>,
}

/// How the proof of a [`Slot::Reused`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedBy {
    /// The slot's place in the order.
    pub slot: u16,
    /// By which challenge.
    pub kind: ChallengeKind,
}

/// The key that device-attest-01 proved an identifier with: the only one that may be certified for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedKey {
    /// The authorization's place in the order.
    pub slot: u16,
    /// The key's [`crate::x509::spki::Spki::hash`].
    pub key: [u8; 32],
}

/// The authorization of one identifier of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Slot {
    /// Opened with this order and kept in it.
    Own(Authorization),
    /// Proved earlier, kept in another order.
    Reused {
        /// For what.
        identifier: Identifier,
        /// The order that keeps it.
        order: OrderId,
        /// Its place there.
        index: u16,
        /// Until when it holds.
        expires: Timestamp,
    },
    /// Valid without a challenge: the account's external account binding vouches for it. Kept with
    /// this order and good for no other. That the key still does is asked again on finalize.
    Trusted {
        /// For what.
        identifier: Identifier,
        /// Until when it holds.
        expires: Timestamp,
        /// Given up by the client.
        deactivated: bool,
        /// Which key vouches.
        by: EabKid,
    },
}

impl Slot {
    /// What it is for.
    pub fn identifier(&self) -> &Identifier {
        match self {
            Self::Own(authorization) => &authorization.identifier,
            Self::Reused { identifier, .. } | Self::Trusted { identifier, .. } => identifier,
        }
    }

    /// The status at `now`; see [`Order::status`] for [`Slot::Reused`].
    pub fn status(&self, now: Timestamp) -> AuthorizationStatus {
        match self {
            Self::Own(authorization) => authorization.status(now),
            Self::Trusted { deactivated: true, .. } => AuthorizationStatus::Deactivated,
            Self::Trusted { expires, .. } | Self::Reused { expires, .. } if now < *expires => {
                AuthorizationStatus::Valid
            }
            Self::Trusted { .. } | Self::Reused { .. } => AuthorizationStatus::Expired,
        }
    }
}

/// Proof, or the lack of it, that an account controls an identifier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// For what.
    pub identifier: Identifier,
    /// While pending: until when it may be proved. Once proved: until when it holds.
    pub expires: Timestamp,
    /// Given up by the client.
    pub deactivated: bool,
    /// The ways to prove it.
    pub challenges: Vec<Challenge>,
}

/// One way to prove control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Which way.
    pub kind: ChallengeKind,
    /// Random; its base64url text is the token.
    pub token: [u8; TOKEN_BYTES],
    /// How far it has come.
    pub state: ChallengeState,
}

/// A challenge's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChallengeState {
    /// Not tried, or tried without a result (then with the reason); may be (re)tried.
    Pending(Option<StoredProblem>),
    /// Under validation.
    Processing,
    /// Proved.
    Valid(Timestamp),
    /// Failed, for good.
    Invalid(StoredProblem),
}

/// Finalization's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finish {
    /// Not begun.
    Open,
    /// Accepted, waiting for a slow signer; the CSR's DER, so that a restart can go on.
    Processing(Vec<u8>),
    /// Done.
    Issued {
        /// The certificate.
        serial: Serial,
        /// SHA-256 of the CSR, to know a repeated request.
        csr: [u8; 32],
    },
    /// Refused after the CSR was accepted.
    Failed(StoredProblem),
    /// Accepted, and certificates are issued one after the other (RFC 8739).
    Renewing(Box<Renewing>),
}

/// RFC 8555 §7.1.6, RFC 8739 §3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFCs' own words")]
pub enum OrderStatus {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Canceled,
}

/// RFC 8555 §7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum AuthorizationStatus {
    Pending,
    Valid,
    Invalid,
    Deactivated,
    Expired,
}

impl Authorization {
    /// The status at `now`.
    pub fn status(&self, now: Timestamp) -> AuthorizationStatus {
        let any = |test: fn(&ChallengeState) -> bool| self.challenges.iter().any(|c| test(&c.state));
        if self.deactivated {
            AuthorizationStatus::Deactivated
        } else if any(|state| matches!(state, ChallengeState::Invalid(_))) {
            AuthorizationStatus::Invalid
        } else if now >= self.expires {
            AuthorizationStatus::Expired
        } else if any(|state| matches!(state, ChallengeState::Valid(_))) {
            AuthorizationStatus::Valid
        } else {
            AuthorizationStatus::Pending
        }
    }

    /// The challenge of that kind.
    pub fn challenge(&self, kind: ChallengeKind) -> Option<&Challenge> {
        self.challenges.iter().find(|challenge| challenge.kind == kind)
    }

    fn challenge_mut(&mut self, kind: ChallengeKind) -> Option<&mut Challenge> {
        self.challenges.iter_mut().find(|challenge| challenge.kind == kind)
    }

    /// Whether a validation by that challenge may be begun, or begun anew after a crash: the
    /// authorization is pending and no other challenge of it is under validation (one would
    /// settle against the other).
    pub fn awaits(&self, kind: ChallengeKind, now: Timestamp) -> bool {
        let other = |c: &Challenge| c.kind != kind && c.state == ChallengeState::Processing;
        self.status(now) == AuthorizationStatus::Pending
            && self.challenge(kind).is_some()
            && !self.challenges.iter().any(other)
    }

    /// Takes the client's word that the challenge is in place. `true` if validation is to start;
    /// `false` if the authorization is settled or under validation, and stays as it is.
    pub fn respond(&mut self, kind: ChallengeKind, now: Timestamp) -> bool {
        // Two challenges of one authorization at a time would let one settle against the other.
        let busy = self.challenges.iter().any(|c| c.state == ChallengeState::Processing);
        if self.status(now) != AuthorizationStatus::Pending || busy {
            return false;
        }
        match self.challenge_mut(kind) {
            Some(challenge) => {
                challenge.state = ChallengeState::Processing;
                true
            }
            None => false,
        }
    }

    /// Shows a validation that has begun and is not recorded yet.
    pub fn show_processing(&mut self, kind: ChallengeKind) {
        if let Some(challenge) = self.challenge_mut(kind)
            && matches!(challenge.state, ChallengeState::Pending(_))
        {
            challenge.state = ChallengeState::Processing;
        }
    }

    /// Records a validation's result. `false` if the authorization was settled meanwhile, or another
    /// of its challenges is recorded as under validation; it then stays as it is.
    #[must_use]
    pub fn settle(&mut self, kind: ChallengeKind, verdict: Verdict, now: Timestamp, keep: Duration) -> bool {
        let other = |c: &Challenge| c.kind != kind && c.state == ChallengeState::Processing;
        if self.status(now) != AuthorizationStatus::Pending || self.challenges.iter().any(other) {
            return false;
        }
        let Some(challenge) = self.challenge_mut(kind) else { return false };
        match verdict {
            Verdict::Proved => {
                challenge.state = ChallengeState::Valid(now);
                // Long enough for the order at hand, and as long as reuse allows.
                self.expires = self.expires.max(now + keep);
            }
            Verdict::ProvedUntil(end) => {
                challenge.state = ChallengeState::Valid(now);
                self.expires = self.expires.max(now + keep).min(end);
            }
            Verdict::Failed(problem) => challenge.state = ChallengeState::Invalid(problem),
            Verdict::Inconclusive(problem) => challenge.state = ChallengeState::Pending(Some(problem)),
        }
        true
    }

    /// The challenge whose validation is recorded as under way, if the result would still count: what
    /// a crash may have cut short.
    pub fn under_validation(&self, now: Timestamp) -> Option<ChallengeKind> {
        let processing = self.challenges.iter().find(|c| c.state == ChallengeState::Processing)?;
        (self.status(now) == AuthorizationStatus::Pending).then_some(processing.kind)
    }

    /// Why it failed, if it did.
    pub fn problem(&self) -> Option<&StoredProblem> {
        self.challenges.iter().find_map(|challenge| match &challenge.state {
            ChallengeState::Invalid(problem) => Some(problem),
            _ => None,
        })
    }
}

/// What validation found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Control is proved.
    Proved,
    /// Control is proved, by what may not be relied on from then on.
    ProvedUntil(Timestamp),
    /// It is not, and asking again will not help.
    Failed(StoredProblem),
    /// Nothing was found out, through no fault of the client; it may ask again.
    Inconclusive(StoredProblem),
}

impl Verdict {
    /// The same, its problem (if it has one about an identifier) about this one: an authorization that
    /// counts for subdomains is asked for by another name than its own.
    pub fn about(self, identifier: &Identifier) -> Self {
        let about = |problem: StoredProblem| StoredProblem {
            identifier: problem.identifier.map(|_| identifier.clone()),
            ..problem
        };
        match self {
            Self::Proved => Self::Proved,
            Self::ProvedUntil(end) => Self::ProvedUntil(end),
            Self::Failed(problem) => Self::Failed(about(problem)),
            Self::Inconclusive(problem) => Self::Inconclusive(about(problem)),
        }
    }
}

impl Order {
    /// The status at `now`. A [`Slot::Reused`] counts as valid until it expires; that its original
    /// was not deactivated meanwhile is checked where it matters, on finalize.
    pub fn status(&self, now: Timestamp) -> OrderStatus {
        match &self.finish {
            Finish::Issued { .. } => return OrderStatus::Valid,
            Finish::Failed(_) => return OrderStatus::Invalid,
            Finish::Processing(_) => return OrderStatus::Processing,
            // RFC 8739 §3.1.1, §3.3: valid, also when the renewal has come to its end.
            Finish::Renewing(state) if state.canceled.is_none() => return OrderStatus::Valid,
            Finish::Renewing(_) => return OrderStatus::Canceled,
            Finish::Open => {}
        }
        if now >= self.expires {
            return OrderStatus::Invalid;
        }
        let mut all_valid = true;
        for slot in &self.slots {
            match slot.status(now) {
                AuthorizationStatus::Valid => {}
                AuthorizationStatus::Pending => all_valid = false,
                AuthorizationStatus::Invalid
                | AuthorizationStatus::Deactivated
                | AuthorizationStatus::Expired => return OrderStatus::Invalid,
            }
        }
        if all_valid { OrderStatus::Ready } else { OrderStatus::Pending }
    }

    /// Whether every authorization of the order's own was proved and not given up since; asked when
    /// an order is signed for later than it was accepted, so time does not count. A
    /// [`Slot::Reused`] is kept elsewhere and not judged here.
    pub fn still_proved(&self) -> bool {
        self.slots.iter().all(|slot| match slot {
            Slot::Own(_) | Slot::Trusted { .. } => {
                slot.status(Timestamp::EPOCH) == AuthorizationStatus::Valid
            }
            Slot::Reused { .. } => true,
        })
    }

    /// The identifiers, in the client's order.
    pub fn identifiers(&self) -> impl Iterator<Item = &Identifier> {
        let names = &self.details.names;
        let own = self.slots.iter().filter(|_| names.is_empty()).map(Slot::identifier);
        names.iter().map(|named| &named.identifier).chain(own)
    }

    /// The identifiers, in the client's order, each with the slot that authorizes it; one without a slot
    /// is left out ([`Order::check_coverage`] refuses such an order).
    pub fn named(&self) -> impl Iterator<Item = (&Identifier, &Slot)> {
        let names = &self.details.names;
        let own = self.slots.iter().filter(|_| names.is_empty()).map(|slot| (slot.identifier(), slot));
        let named = names.iter().filter_map(|named| {
            self.slots.get(usize::from(named.slot)).map(|slot| (&named.identifier, slot))
        });
        named.chain(own)
    }

    /// Why it is invalid, if it is and a reason is known.
    pub fn problem(&self) -> Option<&StoredProblem> {
        match &self.finish {
            Finish::Failed(problem) => Some(problem),
            _ => self.slots.iter().find_map(|slot| match slot {
                Slot::Own(authorization) => authorization.problem(),
                Slot::Reused { .. } | Slot::Trusted { .. } => None,
            }),
        }
    }

    /// The fingerprint of the key that was attested for the order's own authorization at `index`.
    pub fn attested_key(&self, index: usize) -> Option<&[u8; 32]> {
        self.details.attested.iter().find(|held| usize::from(held.slot) == index).map(|held| &held.key)
    }

    /// By which challenge the proof at `index`, kept elsewhere, was given, if the order says so.
    pub fn proved_by(&self, index: usize) -> Option<ChallengeKind> {
        self.details.proved_by.iter().find(|proof| usize::from(proof.slot) == index).map(|proof| proof.kind)
    }

    /// The authorization at `index`, if this order keeps it.
    pub fn kept(&self, index: u16) -> Option<&Slot> {
        match self.slots.get(usize::from(index))? {
            slot @ (Slot::Own(_) | Slot::Trusted { .. }) => Some(slot),
            Slot::Reused { .. } => None,
        }
    }

    /// The order's own authorization at `index`, to be proved by challenges.
    pub fn own(&self, index: u16) -> Option<&Authorization> {
        match self.slots.get(usize::from(index)) {
            Some(Slot::Own(authorization)) => Some(authorization),
            _ => None,
        }
    }

    /// The order's own authorization at `index`, to change.
    pub fn own_mut(&mut self, index: u16) -> Option<&mut Authorization> {
        match self.slots.get_mut(usize::from(index)) {
            Some(Slot::Own(authorization)) => Some(authorization),
            _ => None,
        }
    }

    /// Takes one of the account's authorizations back.
    pub fn deactivate(&mut self, index: u16, now: Timestamp) -> Result<(), Refusal> {
        let settled = "status: the authorization is neither pending nor valid";
        let authorization = match self.slots.get_mut(usize::from(index)) {
            Some(Slot::Own(authorization)) => authorization,
            Some(Slot::Trusted { deactivated, expires, .. }) => {
                if *deactivated || now >= *expires {
                    return Err(Refusal::malformed(settled));
                }
                *deactivated = true;
                return Ok(());
            }
            Some(Slot::Reused { .. }) | None => {
                return Err(Refusal::malformed("there is no such authorization"));
            }
        };
        match authorization.status(now) {
            AuthorizationStatus::Pending | AuthorizationStatus::Valid => {
                authorization.deactivated = true;
                // Its validation, if one is under way, is of no use any more.
                for challenge in &mut authorization.challenges {
                    if challenge.state == ChallengeState::Processing {
                        challenge.state = ChallengeState::Pending(None);
                    }
                }
                Ok(())
            }
            _ => Err(Refusal::malformed(settled)),
        }
    }
}

/// An identifier as the client wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawIdentifier {
    /// `type`.
    pub kind: String,
    /// `value`.
    pub value: String,
    /// `ancestorDomain` (RFC 9444 §4.3).
    pub ancestor: Option<String>,
}

/// Normalises, bounds and deduplicates what newOrder asks for. `allowed` is the provisioner's
/// verdict. Every bad identifier is reported, not only the first (RFC 8555 §6.7.1).
pub fn read_identifiers(
    raw: &[RawIdentifier],
    max: usize,
    allowed: impl Fn(&Identifier) -> Result<(), String>,
) -> Result<Vec<Identifier>, Refusal> {
    if raw.is_empty() {
        return Err(Refusal::malformed("identifiers: name at least one"));
    }
    if raw.len() > max {
        return Err(Refusal::malformed(format!("identifiers: at most {max} are accepted in one order")));
    }
    let (mut identifiers, mut problems) = (Vec::with_capacity(raw.len()), Vec::new());
    let mut seen = BTreeSet::new();
    for RawIdentifier { kind, value, .. } in raw {
        let subproblem = |error_kind, detail: String| Subproblem {
            kind: error_kind,
            detail,
            identifier: (kind.clone(), value.clone()),
        };
        match Identifier::parse(kind, value) {
            Err(error @ IdentifierError::UnsupportedType) => {
                problems.push(subproblem(ErrorKind::UnsupportedIdentifier, error.to_string()));
            }
            Err(error) => problems.push(subproblem(ErrorKind::Malformed, error.to_string())),
            Ok(identifier) => match allowed(&identifier) {
                Err(rule) => problems.push(subproblem(ErrorKind::RejectedIdentifier, rule)),
                // Clients repeat names; once is enough.
                Ok(()) => {
                    if seen.insert(identifier.clone()) {
                        identifiers.push(identifier);
                    }
                }
            },
        }
    }
    match problems.as_slice() {
        [] => Ok(identifiers),
        [only] => Err(Refusal {
            kind: only.kind,
            detail: format!("identifier {:?}: {}", only.identifier.1, only.detail).into(),
            subproblems: problems,
        }),
        [first, rest @ ..] => {
            let one_kind = rest.iter().all(|other| other.kind == first.kind);
            let kind = if one_kind { first.kind } else { ErrorKind::Malformed };
            let detail = format!("{} identifiers are not acceptable; see subproblems", problems.len()).into();
            Err(Refusal { kind, detail, subproblems: problems })
        }
    }
}

/// Lifetimes a provisioner grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// When the order names no notAfter.
    pub default: Duration,
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

/// How far in the past a requested notBefore may lie: clocks differ, and a client that asks for
/// "now" is late by the time it is heard.
pub const PAST_NOT_BEFORE: Duration = Duration::from_secs(300);

/// Checks requested notBefore and notAfter (RFC 8555 §7.4) against the provisioner's limits.
pub fn check_validity(
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    limits: Lifetimes,
    now: Timestamp,
) -> Result<(), Refusal> {
    if let Some(start) = not_before {
        if start < now - PAST_NOT_BEFORE {
            return Err(Refusal::malformed("notBefore: lies more than 5 minutes in the past"));
        }
        if start > now + limits.max {
            return Err(Refusal::malformed("notBefore: lies further ahead than the longest lifetime"));
        }
    }
    let Some(end) = not_after else { return Ok(()) };
    let start = not_before.unwrap_or(now);
    if end <= now || end <= start {
        return Err(Refusal::malformed("notAfter: must lie ahead, and after notBefore"));
    }
    let lifetime = end.since(start);
    if lifetime < limits.min {
        let least = limits.min.as_secs();
        return Err(Refusal::malformed(format!("notAfter: the lifetime must be at least {least} seconds")));
    }
    if lifetime > limits.max {
        let most = limits.max.as_secs();
        return Err(Refusal::malformed(format!("notAfter: the lifetime must be at most {most} seconds")));
    }
    Ok(())
}

/// The status as it stands in JSON.
pub fn name_of(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Ready => "ready",
        OrderStatus::Processing => "processing",
        OrderStatus::Valid => "valid",
        OrderStatus::Invalid => "invalid",
        OrderStatus::Canceled => "canceled",
    }
}

#[cfg(test)]
mod tests;
