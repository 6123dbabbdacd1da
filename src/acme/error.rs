//! The error vocabulary of RFC 8555 §6.7, and refusals made of it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::identifier::Identifier;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// An ACME error type. The order of variants is part of the record format: add at the end.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ErrorKind { $($(#[$doc])* $name),+ }

        impl ErrorKind {
            /// Every kind, in a fixed order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The last part of `urn:ietf:params:acme:error:…`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

kinds! {
    /// No account for that key or URL.
    AccountDoesNotExist = "accountDoesNotExist",
    /// The certificate is revoked already.
    AlreadyRevoked = "alreadyRevoked",
    /// The CSR is not acceptable.
    BadCsr = "badCSR",
    /// The nonce is unknown or used.
    BadNonce = "badNonce",
    /// The account key is not acceptable.
    BadPublicKey = "badPublicKey",
    /// The revocation reason is not allowed.
    BadRevocationReason = "badRevocationReason",
    /// The JWS algorithm is not accepted.
    BadSignatureAlgorithm = "badSignatureAlgorithm",
    /// The validation target could not be connected to.
    Connection = "connection",
    /// A DNS query of a validation failed.
    Dns = "dns",
    /// A validation's answer was not the expected one.
    IncorrectResponse = "incorrectResponse",
    /// A contact URL is malformed.
    InvalidContact = "invalidContact",
    /// The request is malformed.
    Malformed = "malformed",
    /// The order cannot be finalized now.
    OrderNotReady = "orderNotReady",
    /// Too many requests.
    RateLimited = "rateLimited",
    /// The identifier may not be asked for here.
    RejectedIdentifier = "rejectedIdentifier",
    /// Our own fault.
    ServerInternal = "serverInternal",
    /// A validation's TLS was not the expected one.
    Tls = "tls",
    /// The client may not do that.
    Unauthorized = "unauthorized",
    /// The contact's scheme is not supported.
    UnsupportedContact = "unsupportedContact",
    /// The identifier's type is not supported.
    UnsupportedIdentifier = "unsupportedIdentifier",
    /// Visit the instance URL.
    UserActionRequired = "userActionRequired",
    /// The account needs an external account binding.
    ExternalAccountRequired = "externalAccountRequired",
    /// CAA records forbid issuance (RFC 8659).
    Caa = "caa",
    /// The certificate was replaced by an order already (RFC 9773 §5).
    AlreadyReplaced = "alreadyReplaced",
    /// The profile is not offered, or not for these identifiers (draft-ietf-acme-profiles).
    InvalidProfile = "invalidProfile",
    /// The automatic renewal was cancelled (RFC 8739 §3.1.2).
    AutoRenewalCanceled = "autoRenewalCanceled",
    /// The automatic renewal has come to its end (RFC 8739 §3.1.1).
    AutoRenewalExpired = "autoRenewalExpired",
    /// The order cannot be cancelled (RFC 8739 §3.1.2).
    AutoRenewalCancellationInvalid = "autoRenewalCancellationInvalid",
    /// Automatically renewed certificates are not revoked but cancelled (RFC 8739 §3.1.3).
    AutoRenewalRevocationNotSupported = "autoRenewalRevocationNotSupported",
    /// The attestation statement does not verify (draft-acme-device-attest).
    BadAttestationStatement = "badAttestationStatement",
}

/// A typed refusal of a client's request; knows no HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub kind: ErrorKind,
    /// Which field broke which rule, and what to do.
    pub detail: Cow<'static, str>,
    /// One per identifier at fault (RFC 8555 §6.7.1).
    pub subproblems: Vec<Subproblem>,
}

/// A refusal of one identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subproblem {
    /// What kind.
    pub kind: ErrorKind,
    /// Which rule.
    pub detail: String,
    /// `type` and `value` as the client wrote them.
    pub identifier: (String, String),
}

impl Refusal {
    /// A refusal without subproblems.
    pub fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), subproblems: Vec::new() }
    }

    /// [`ErrorKind::Malformed`].
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Malformed, detail)
    }

    /// [`ErrorKind::Unauthorized`].
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unauthorized, detail)
    }
}

/// A problem kept with a challenge or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredProblem {
    /// What kind.
    pub kind: ErrorKind,
    /// For people.
    pub detail: String,
    /// The identifier it is about.
    pub identifier: Option<Identifier>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_camel_case() {
        let names: std::collections::BTreeSet<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
        assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_alphabetic())));
    }
}
