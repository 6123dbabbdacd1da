//! Rotation health: for every identity that the CA has certified, whether it renews as it should.
//!
//! An identity is a set of names. Whoever gets a certificate for exactly these names renews it: another
//! key, another account, another provisioner count, since what expires unnoticed is the name. (So of
//! several hosts that share a set of names, one that goes silent is covered by the others.)
//!
//! [`rules`] says when an identity should have renewed, from its own latest issuances; [`Fleet`] holds
//! every identity under its next moment of change, so that the passing of time costs what changes and a
//! question costs what it answers, never a walk over all. What it knows depends on the set of issuances
//! alone, not on the order in which it hears of them: it is the same after a restart, when it is read back
//! from the inventory.

pub mod campaign;
mod entries;
mod entry;
mod follow;
mod horizon;
mod kinds;
pub mod notices;
mod ordered;
mod pieces;
pub mod recent;
pub mod rules;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

pub use self::follow::{Followed, Member, Point, Unanswered};
pub use self::horizon::Horizon;
pub use self::watch::{Fleet, Retired};
use crate::acme::error::ErrorKind;
use crate::acme::identifier::Identifier;
use crate::time::Timestamp;
use crate::x509::hex;
use crate::x509::serial::Serial;

/// A set of names, as it is known: the first 12 bytes of a digest over them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityId([u8; Self::LEN]);

impl IdentityId {
    /// Bytes of an id.
    pub const LEN: usize = 12;

    /// Of these names, in whatever order; `None` of none.
    pub fn of<'a>(names: impl Iterator<Item = &'a Identifier>) -> Option<Self> {
        let mut texts: Vec<String> = names.map(|name| format!("{}\0{}\0", name.kind(), name)).collect();
        if texts.is_empty() {
            return None;
        }
        texts.sort_unstable();
        texts.dedup();
        digest(&SHA256, texts.concat().as_bytes()).as_ref().first_chunk().copied().map(Self)
    }

    /// The bytes, as they stand in keys.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// As it is displayed: 24 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }

    /// From a key of the store.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! named {
    ($(#[$top:meta])* $enum:ident { $($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)? }) => {
        $(#[$top])*
        // In records by their place: new ones go to the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $enum { $($(#[$doc])* $name),+ }

        impl $enum {
            /// All of them, in their order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// As output has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

named! {
    /// How an identity stands.
    State {
        /// Its certificate is fresh.
        Healthy = "healthy",
        /// It is about to renew, by its habit or by what it was told.
        Due = "due",
        /// It should have renewed, and has not.
        Overdue = "overdue",
        /// Its certificate has expired.
        Expired = "expired",
        /// It is not expected to renew: the operator said so, its certificate was revoked, or the order
        /// that renewed it automatically has ended.
        Retired = "retired",
    }
}

named! {
    /// What somebody should be told of.
    Trouble {
        /// Attempts to renew keep failing, and it is not late yet.
        Failing = "failing",
        /// It should have renewed, and has not.
        Overdue = "overdue",
        /// Its certificate has expired.
        Expired = "expired",
    }
}

/// Those in the same trouble for the same reason: when a pipeline dies, it takes all of them along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The trouble.
    pub trouble: Trouble,
    /// Why its latest attempt failed; `None` if it has made none.
    pub cause: Option<Cause>,
    /// The provisioner of its latest certificate, as whoever feeds the fleet numbers them.
    pub provisioner: u16,
}

named! {
    /// Why attempts to renew fail.
    Cause {
        /// DNS queries of the validation.
        Dns = "dns",
        /// The host could not be reached.
        Connection = "connection",
        /// The host, or DNS, answered with something else.
        Content = "content",
        /// The validation's TLS.
        Tls = "tls",
        /// CAA records.
        Caa = "caa",
        /// What the CA allows: names, keys, profiles, accounts.
        Policy = "policy",
        /// Too many requests.
        Limits = "limits",
        /// Anything else.
        Other = "other",
    }
}

impl Cause {
    /// Of a failed validation; see [`Cause::of_refusal`].
    pub fn of_validation(error: ErrorKind) -> Option<Self> {
        match error {
            // A well-known file or a TXT record with other content.
            ErrorKind::Unauthorized => Some(Self::Content),
            other => Self::of_refusal(other),
        }
    }

    /// Of a refused request; `None` of one that was no attempt, or failed through a fault of the CA's.
    pub fn of_refusal(error: ErrorKind) -> Option<Self> {
        Some(match error {
            // Of an order that failed before, or that is not proved yet: nothing new.
            ErrorKind::OrderNotReady | ErrorKind::ServerInternal => return None,
            ErrorKind::Dns => Self::Dns,
            ErrorKind::Connection => Self::Connection,
            ErrorKind::IncorrectResponse | ErrorKind::BadAttestationStatement => Self::Content,
            ErrorKind::Tls => Self::Tls,
            ErrorKind::Caa => Self::Caa,
            ErrorKind::RateLimited => Self::Limits,
            ErrorKind::BadCsr
            | ErrorKind::BadPublicKey
            | ErrorKind::RejectedIdentifier
            | ErrorKind::Unauthorized
            | ErrorKind::UnsupportedIdentifier
            | ErrorKind::UserActionRequired
            | ErrorKind::ExternalAccountRequired
            | ErrorKind::InvalidProfile => Self::Policy,
            ErrorKind::AccountDoesNotExist
            | ErrorKind::AlreadyRevoked
            | ErrorKind::BadNonce
            | ErrorKind::BadRevocationReason
            | ErrorKind::BadSignatureAlgorithm
            | ErrorKind::InvalidContact
            | ErrorKind::Malformed
            | ErrorKind::UnsupportedContact
            | ErrorKind::AlreadyReplaced
            | ErrorKind::AutoRenewalCanceled
            | ErrorKind::AutoRenewalExpired
            | ErrorKind::AutoRenewalCancellationInvalid
            | ErrorKind::AutoRenewalRevocationNotSupported => Self::Other,
        })
    }
}

/// What is to be known of an issuance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// Its names.
    pub identity: IdentityId,
    /// The certificate's serial.
    pub serial: Serial,
    /// When it was signed.
    pub issued: Timestamp,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Whether this CA renews it by itself (RFC 8739).
    pub automatic: bool,
    /// The provisioner, as whoever feeds the fleet numbers them.
    pub provisioner: u16,
}

/// That an identity's state is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub identity: IdentityId,
    /// Its certificate.
    pub serial: Serial,
    /// Its state before.
    pub from: State,
    /// Its state now; `None` if it is known no more: its certificate expired long ago.
    pub to: Option<State>,
}

/// An identity, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which.
    pub id: IdentityId,
    /// Its state.
    pub state: State,
    /// Its latest certificate; the inventory has the rest.
    pub serial: Serial,
    /// When that was signed.
    pub issued: Timestamp,
    /// When that ends.
    pub not_after: Timestamp,
    /// When it is expected to renew.
    pub due: Timestamp,
    /// When it is late.
    pub overdue: Timestamp,
    /// Failed attempts since the certificate was issued, by [`Cause`]; 255 is 255 or more.
    pub failures: [u8; Cause::COUNT],
    /// The latest of them: when and why.
    pub last_failure: Option<(Timestamp, Cause)>,
    /// What somebody should be told of, and whom it is told with.
    pub trouble: Option<Group>,
}

/// The fleet at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Identities by [`State`].
    pub states: [u64; State::COUNT],
    /// Identities whose attempts fail since their latest certificate, by the [`Cause`] of the latest failure.
    pub failing: [u64; Cause::COUNT],
    /// When certificates expire if none is issued any more; `None` without any.
    pub horizon: Option<Horizon>,
}

impl Summary {
    /// How many identities are in a state.
    pub fn of(&self, state: State) -> u64 {
        self.states[state as usize]
    }

    /// All identities.
    pub fn identities(&self) -> u64 {
        self.states.iter().sum()
    }
}
