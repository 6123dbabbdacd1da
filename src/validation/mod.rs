//! Validation reaches outward and returns an [`Outcome`]; it stores nothing and decides nothing
//! about orders.

use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;

/// One challenge to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is to be proved.
    pub identifier: Identifier,
    /// By which challenge.
    pub challenge: ChallengeKind,
    /// The challenge's token (base64url text).
    pub token: String,
    /// `token.thumbprint` (RFC 8555 §8.1).
    pub key_authorization: String,
}

/// What kind of failure, in the terms of RFC 8555 §6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// Resolution failed.
    Dns,
    /// No connection to the target, or it broke off, or it took too long.
    Connection,
    /// The target's TLS is not what tls-alpn-01 asks for.
    Tls,
    /// The target answered, but refuses or does not have the proof.
    Unauthorized,
    /// The target answered with something else than the proof.
    IncorrectResponse,
    /// The target's address is one that this CA does not connect to.
    Forbidden,
}

/// One failed validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// In RFC 8555's terms.
    pub kind: FailureKind,
    /// What was tried, what was seen, what to do; shown to the client. Never carries the key
    /// authorization, and quotes at most a few dozen printable characters of what a target sent.
    pub detail: String,
}

/// The result of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// Control is proved.
    Proved,
    /// The attempt failed through what the target said or did not have.
    Failed(Failure),
    /// The attempt failed through this CA's own means (its resolver is out of reach): says nothing
    /// about the client, and must never end a challenge.
    Inconclusive(Failure),
}
