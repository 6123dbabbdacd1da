//! The values that labels take.

use crate::acme::error::ErrorKind;

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$row:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$row])* $variant),+ }

        impl $name {
            /// Every value; each at the place of its own number.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the label has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

vocabulary! {
    /// What a request is for.
    Operation {
        /// The directory.
        Directory = "directory",
        /// A nonce.
        NewNonce = "new_nonce",
        /// newAccount.
        NewAccount = "new_account",
        /// newOrder.
        NewOrder = "new_order",
        /// newAuthz.
        NewAuthz = "new_authz",
        /// revokeCert.
        RevokeCert = "revoke_cert",
        /// keyChange.
        KeyChange = "key_change",
        /// An account.
        Account = "account",
        /// An account's orders.
        AccountOrders = "account_orders",
        /// An order.
        Order = "order",
        /// Finalization.
        Finalize = "finalize",
        /// An authorization.
        Authorization = "authorization",
        /// A challenge.
        Challenge = "challenge",
        /// A certificate.
        Certificate = "certificate",
        /// Renewal information (RFC 9773).
        RenewalInfo = "renewal_info",
        /// The current certificate of a series (RFC 8739).
        StarCertificate = "star_certificate",
        /// A command of the operator's.
        Command = "command",
        /// Whatever else.
        Other = "other",
    }
}

vocabulary! {
    /// How a request ended.
    Result {
        /// It was done.
        Ok = "ok",
        /// The client is to mend something.
        Refused = "refused",
        /// We could not.
        Failed = "failed",
    }
}

vocabulary! {
    /// Where the time goes.
    Stage {
        /// The line where signed requests wait for their turn; only of those that waited.
        Queue = "queue",
        /// The signature of a request.
        Verify = "verify",
        /// Draft, lint and policy of a certificate.
        Policy = "policy",
        /// The signature of a certificate, the wait for the signer included.
        Sign = "sign",
        /// A transaction, from its queueing until it is durable.
        Commit = "commit",
        /// One attempt of a validation.
        Validate = "validate",
    }
}

vocabulary! {
    /// How a transaction ended.
    CommitEnd {
        /// Durable.
        Committed = "committed",
        /// Something had changed; nothing was done.
        Conflict = "conflict",
        /// The queue was full, or the disk.
        Busy = "busy",
        /// The store failed.
        Failed = "failed",
    }
}

vocabulary! {
    /// What the sweeper removes.
    SweptTable {
        /// Orders.
        Orders = "orders",
        /// Certificates.
        Certificates = "certificates",
        /// Audit events.
        Audit = "audit",
        /// Accounts.
        Accounts = "accounts",
        /// Refusals by policy.
        PolicyRefusals = "policy_refusals",
        /// Requests that were refused.
        RefusedRequests = "refused_requests",
        /// Budgets of certificates that are whole again.
        IssueBudgets = "issue_budgets",
    }
}

vocabulary! {
    /// Where a span is lost that was to be exported.
    SpanLoss {
        /// The queue was full.
        Queue = "queue",
        /// The collector did not answer, or refused the batch.
        Export = "export",
        /// The collector took its batch without it.
        Rejected = "rejected",
        /// It ended when the server had stopped.
        Stopped = "stopped",
    }
}

/// Why something was refused or failed: the kinds of ACME's errors (RFC 8555 §6.7), and what of
/// `serverInternal` is worth telling apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As the problem document says.
    Kind(ErrorKind),
    /// More work than is taken at once, or another change came first.
    Busy,
    /// The store took no write.
    Store,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = ErrorKind::ALL.len() + 2;

    /// All, each at its [`Reason::place`].
    pub fn all() -> impl Iterator<Item = Self> {
        ErrorKind::ALL.iter().map(|kind| Self::Kind(*kind)).chain([Self::Busy, Self::Store])
    }

    /// Its number.
    pub fn place(self) -> usize {
        match self {
            Self::Kind(kind) => kind as usize,
            Self::Busy => ErrorKind::ALL.len(),
            Self::Store => ErrorKind::ALL.len() + 1,
        }
    }

    /// As the label has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.name(),
            Self::Busy => "busy",
            Self::Store => "store",
        }
    }

    /// Whose fault it is.
    pub fn result(self) -> Result {
        match self {
            Self::Kind(ErrorKind::ServerInternal) | Self::Busy | Self::Store => Result::Failed,
            Self::Kind(_) => Result::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn places_are_those_in_the_lists_and_names_are_distinct() {
        let names: BTreeSet<_> = Reason::all().map(Reason::name).collect();
        assert_eq!(names.len(), Reason::COUNT);
        assert!(Reason::all().enumerate().all(|(place, reason)| reason.place() == place));
        assert!(Operation::ALL.iter().enumerate().all(|(place, one)| *one as usize == place));
        assert!(Stage::ALL.iter().enumerate().all(|(place, one)| *one as usize == place));
    }
}
