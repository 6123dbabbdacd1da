//! The store: a narrow, transactional key-value contract and its backends.
//!
//! A [`Store`] reads single records and bounded ranges, and commits [`Batch`]es. A batch is atomic
//! across tables, checks the versions it expects, and is **durable when [`Store::commit`] returns**.
//! A lost race is a value ([`CommitOutcome::Conflict`]), not an error. The embedded engines share
//! one group-commit writer ([`group`]); every backend passes one behaviour suite
//! (`conformance.rs`).

pub mod embedded;
pub mod engine;
pub mod group;
pub mod inventory;
pub mod limits;
pub mod memory;
mod open;
mod record;

#[cfg(test)]
mod conformance;

pub use self::open::{Backend, open};

pub mod codec;

use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that `dyn Store` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// A named key space. Short-lived kinds have tables of their own so that their churn
        /// never touches the certificates' (`storage.md`: sweeping tombstones).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Table { $($(#[$doc])* $name),+ }

        impl Table {
            /// Every table, in a fixed order.
            pub const ALL: &[Table] = &[$(Table::$name),+];

            /// The name on disk; never changes once released.
            pub const fn name(self) -> &'static str {
                match self { $(Table::$name => $text),+ }
            }
        }
    };
}

tables! {
    /// Account id → account.
    Accounts = "accounts",
    /// Provisioner and key thumbprint → account id.
    AccountKeys = "account_keys",
    /// Account id → when it was last used, and until when it may have something alive.
    AccountUses = "account_uses",
    /// Order id → order with its authorizations and challenges. Ids sort by the time of removal.
    Orders = "orders",
    /// Account and identifier → the valid authorization it holds.
    Grants = "grants",
    /// Serial number → certificate. Serials sort by expiry.
    Certificates = "certificates",
    /// Sequence number → audit event; append-only.
    Audit = "audit",
    /// Second of the next look (8 bytes, big-endian) and order id → nothing: one row for every order
    /// that is renewed automatically, from its opening to its removal.
    Renewals = "renewals",
    /// Small facts about the authority as a whole. What the store notes about itself (its format, the
    /// last version) lies in a space that no batch can reach.
    Meta = "meta",
    /// Account id and order id → nothing; which orders an account has (RFC 8555 §7.1.2.1).
    AccountOrders = "account_orders",
    /// Key id → key for external account binding. Changes when the key is revoked, and only then.
    EabKeys = "eab_keys",
    /// Key id → how many accounts were registered with the key. Apart from the key, so that a
    /// registration is no change to those who depend on the key's standing.
    EabUses = "eab_uses",
    /// Account and everything that decides over a certificate → the one that may be given again. Goes
    /// with the order that it was issued for.
    Reuse = "reuse",
    /// SHA-256 of a SubjectPublicKeyInfo → that nobody is to use that key. There as long as it is blocked.
    BlockedKeys = "blocked_keys",
    /// Digest of an account and a set of names → what is left of its budget of certificates. There only
    /// where a budget is set, until it is whole again.
    IssueBudgets = "issue_budgets",
    /// What certificates are looked up by, and serial → nothing; see [`inventory`].
    CertificateIndex = "certificate_index",
    /// Sequence number → certificate that policy refused; append-only, bounded by age and number.
    PolicyRefusals = "policy_refusals",
    /// Number (8 bytes, big-endian) → a configuration that was put into force. The last number lies in
    /// [`Table::Meta`].
    Configurations = "configurations",
    /// Identity (12 bytes of a digest over a set of names) → that the operator retired it.
    Retired = "retired",
    /// Number (8 bytes, big-endian, from 1) → campaign; the last [`crate::fleet::campaign::MOST_KEPT`].
    Campaigns = "campaigns",
    /// Receiver (8 bytes) and what the alert is recognized by, as text → the alert, and what that receiver
    /// was told of it. There as long as it goes on, or its end is to be told.
    Notices = "notices",
    /// Number (8 bytes, big-endian, from 1) → request that was refused, or several that are alike; written
    /// in batches behind the answers, bounded by age and number.
    RefusedRequests = "refused_requests",
}

/// Version of a stored record: unique over the store's life, so that a record deleted and created
/// again never shows an old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A record as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// What to expect when changing it.
    pub version: Version,
    /// The record's bytes.
    pub value: Vec<u8>,
}

/// What a commit requires of a key before any of its operations apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record there.
    Absent,
    /// Exactly this version there.
    Is(Version),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create or replace.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Remove; no error if absent.
    Delete(Table, Vec<u8>),
    /// Add under the table's next sequence number (8 bytes big-endian, from 1, without gaps; the
    /// count goes on after a delete). A table that is appended to is not put to as well: the numbers
    /// do not look at keys put by hand.
    Append(Table, Vec<u8>),
}

/// An atomic set of checks and changes.
///
/// A key is to be changed at most once in a batch; the last change wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// All must hold, or nothing happens.
    pub checks: Vec<(Table, Vec<u8>, Expect)>,
    /// Applied together.
    pub ops: Vec<Op>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a check.
    pub fn expect(mut self, table: Table, key: impl Into<Vec<u8>>, expect: Expect) -> Self {
        self.checks.push((table, key.into(), expect));
        self
    }
    /// Adds a put.
    pub fn put(mut self, table: Table, key: impl Into<Vec<u8>>, value: Vec<u8>) -> Self {
        self.ops.push(Op::Put(table, key.into(), value));
        self
    }
    /// Adds a delete.
    pub fn delete(mut self, table: Table, key: impl Into<Vec<u8>>) -> Self {
        self.ops.push(Op::Delete(table, key.into()));
        self
    }
    /// Adds an append.
    pub fn append(mut self, table: Table, value: Vec<u8>) -> Self {
        self.ops.push(Op::Append(table, value));
        self
    }
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// Applied and durable; every record put has this version.
    Committed(Version),
    /// A check did not hold; nothing was applied.
    Conflict,
}

/// Why the store could not answer. None of these is the client's fault.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The commit queue is full; nothing was applied; try again shortly.
    #[error("the store's commit queue is full")]
    Busy,
    /// The batch breaks a fixed limit of the store; nothing was applied.
    #[error("the batch is too large: {0}")]
    TooLarge(String),
    /// Too little free space for new data; nothing was applied.
    #[error("the store refuses writes: {0}")]
    NoSpace(String),
    /// The engine failed or is closed; whether the batch was applied is unknown, and the store
    /// answers no more until it is opened again. Also: why a store does not open.
    #[error("the store has failed: {0}")]
    Failed(String),
    /// A record does not read as what was written.
    #[error("a stored record is corrupt: {0}")]
    Corrupt(String),
}

/// Key and record, as a scan returns them.
pub type Row = (Vec<u8>, Versioned);

/// The contract every backend keeps. See the module's doc.
pub trait Store: Send + Sync {
    /// Reads one record. Sees every commit that has returned; never one that is not durable.
    fn get<'a>(&'a self, table: Table, key: &'a [u8])
    -> BoxFuture<'a, Result<Option<Versioned>, StoreError>>;

    /// Reads up to `limit` records whose keys start with `prefix` and sort after `after` (from the
    /// beginning if `None`), in key order. Fewer than `limit` means the end was reached.
    fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreError>>;

    /// Applies a batch; durable when it returns `Committed`. A caller that stops waiting leaves it
    /// open whether the batch is applied, never applied by half.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<CommitOutcome, StoreError>>;

    /// Proves that the store can still write durably (commits a small record), for `/readyz`.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Stops accepting commits, waits for those under way, releases the files.
    fn close(&self) -> BoxFuture<'_, ()>;
}
