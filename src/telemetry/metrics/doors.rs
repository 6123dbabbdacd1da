//! What is counted by door and provisioner: requests, issuances, revocations, validations.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::NONE;
use super::cells::{Count, Histogram, LIFETIMES, Level};
use super::vocabulary::{Operation, Reason, Result};
use crate::acme::challenge::ChallengeKind;
use crate::time::Timestamp;

/// Reasons of revocation by their code (RFC 5280 §5.3.1), and the one for none given.
pub const REVOCATIONS: [&str; 12] = [
    "unspecified",
    "keyCompromise",
    "cACompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "unused",
    "removeFromCRL",
    "privilegeWithdrawn",
    "aACompromise",
    NONE,
];

/// The counts of one door and one provisioner behind it.
#[derive(Debug)]
pub struct Door {
    pub(super) door: &'static str,
    pub(super) provisioner: String,
    authority: Mutex<Arc<str>>,
    pub(super) requests: [[Count; Result::ALL.len()]; Operation::ALL.len()],
    pub(super) refusals: [Count; Reason::COUNT],
    pub(super) revoked: [Count; REVOCATIONS.len()],
    pub(super) not_revoked: [Count; Reason::COUNT],
    pub(super) revoking_nanos: Count,
    /// By challenge: valid, invalid for which cause, inconclusive for which cause.
    pub(super) validations: [Validations; ChallengeKind::TABLE.len()],
    profiles: RwLock<Vec<Arc<Profile>>>,
    pub(super) last_issuance: Level,
}

/// How the validations of one challenge ended.
#[derive(Debug, Default)]
pub(super) struct Validations {
    pub(super) valid: Count,
    pub(super) invalid: [Count; Reason::COUNT],
    pub(super) inconclusive: [Count; Reason::COUNT],
}

/// The counts of one profile.
#[derive(Debug)]
pub struct Profile {
    pub(super) name: String,
    /// First certificates, and those that follow others.
    pub(super) issuances: Issuances,
    pub(super) renewals: Issuances,
    pub(super) lifetimes: Histogram,
}

/// How issuances ended.
#[derive(Debug, Default)]
pub(super) struct Issuances {
    pub(super) issued: Count,
    pub(super) reused: Count,
    pub(super) refused: [Count; Reason::COUNT],
    pub(super) nanos: Count,
}

/// How one issuance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issuance {
    /// A certificate was signed.
    Issued,
    /// One that was there already was given again.
    Reused,
    /// There is none.
    Refused(Reason),
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Profile {
    /// Counts an issuance; one that renews counts among the renewals too.
    pub fn ended(&self, renewal: bool, end: Issuance, took: Duration) {
        for of in [Some(&self.issuances), renewal.then_some(&self.renewals)].into_iter().flatten() {
            of.nanos.add(nanos(took));
            match end {
                Issuance::Issued => of.issued.add(1),
                Issuance::Reused => of.reused.add(1),
                Issuance::Refused(reason) => of.refused[reason.place()].add(1),
            }
        }
    }
}

impl Door {
    pub(super) fn new(door: &'static str, provisioner: &str) -> Self {
        Self {
            door,
            provisioner: provisioner.to_owned(),
            authority: Mutex::new("default".into()),
            requests: Default::default(),
            refusals: std::array::from_fn(|_| Count::default()),
            revoked: Default::default(),
            not_revoked: std::array::from_fn(|_| Count::default()),
            revoking_nanos: Count::default(),
            validations: Default::default(),
            profiles: RwLock::default(),
            last_issuance: Level::default(),
        }
    }

    pub(super) fn is(&self, door: &str, provisioner: &str) -> bool {
        self.provisioner == provisioner && self.door == door
    }

    /// Which authority the provisioner belongs to, as the configuration in force has it.
    pub fn under(&self, authority: &str) {
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = authority.into();
    }

    /// The counts of a profile, by its name in the configuration.
    pub fn profile(&self, name: Option<&str>) -> Arc<Profile> {
        let name = name.unwrap_or(NONE);
        let find = |known: &[Arc<Profile>]| known.iter().find(|profile| profile.name == name).cloned();
        let known = find(&self.profiles.read().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_else(|| {
            let mut profiles = self.profiles.write().unwrap_or_else(PoisonError::into_inner);
            find(&profiles).unwrap_or_else(|| {
                let made = Arc::new(Profile {
                    name: name.to_owned(),
                    issuances: Issuances::default(),
                    renewals: Issuances::default(),
                    lifetimes: Histogram::new(LIFETIMES),
                });
                profiles.push(made.clone());
                made
            })
        })
    }

    /// A certificate of that lifetime is durable.
    pub fn issued(&self, profile: Option<&str>, lifetime: Duration, at: Timestamp) {
        self.profile(profile).lifetimes.add(lifetime.as_secs());
        self.last_issuance.set(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn answered(&self, operation: Operation, refused: Option<Reason>) {
        let result = refused.map_or(Result::Ok, Reason::result);
        self.requests[operation as usize][result as usize].add(1);
        if let Some(reason) = refused {
            self.refused(reason);
        }
    }

    /// Something was refused.
    pub fn refused(&self, reason: Reason) {
        self.refusals[reason.place()].add(1);
    }

    /// A certificate was revoked, for a reason or none.
    pub fn revoked(&self, reason: Option<u8>, took: Duration) {
        self.revoking_nanos.add(nanos(took));
        let place = reason.map_or(REVOCATIONS.len() - 1, usize::from);
        self.revoked[place.min(REVOCATIONS.len() - 1)].add(1);
    }

    /// One was not.
    pub fn not_revoked(&self, reason: Reason, took: Duration) {
        self.revoking_nanos.add(nanos(took));
        self.not_revoked[reason.place()].add(1);
    }

    /// A challenge was proved.
    pub fn valid(&self, kind: ChallengeKind) {
        self.validations[kind as usize].valid.add(1);
    }

    /// A challenge was not proved; `conclusive` if it is not by a fault of ours.
    pub fn not_valid(&self, kind: ChallengeKind, cause: Reason, conclusive: bool) {
        let of = &self.validations[kind as usize];
        let counts = if conclusive { &of.invalid } else { &of.inconclusive };
        counts[cause.place()].add(1);
    }

    pub(super) fn authority(&self) -> Arc<str> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn profiles(&self) -> Vec<Arc<Profile>> {
        self.profiles.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
