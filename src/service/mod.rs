//! One file per verb: load a snapshot, let the core decide, commit one batch, return values.
//!
//! A verb knows neither HTTP nor JSON. Read-modify-write of an order or an account runs under a
//! lock of its own in this process (so that of 64 racing finalizes one signs and the others find
//! the order valid) and, whatever locks do, commits against the version it read.

pub mod account;
pub mod account_orders;
pub mod attest;
mod caa;
pub mod campaigns;
pub mod ceremony;
pub mod configuration;
pub mod eab;
pub mod events;
pub mod finalize;
pub mod fleet;
pub mod gate;
mod handover;
pub mod health;
pub mod inventory;
mod judgement;
mod keepers;
pub mod keys;
mod lane;
pub mod leaves;
mod limits;
mod live;
pub mod metered;
pub mod new_authz;
pub mod new_order;
pub mod notify;
pub mod objects;
pub mod own_certificate;
pub mod reach;
pub mod refusals;
pub mod refused;
pub mod renewal;
pub mod respond;
mod restraints;
pub mod resume;
mod reuse;
pub mod revoke;
pub mod rotation;
pub(crate) mod slots;
#[cfg(test)]
pub(crate) mod stand;
pub mod star;
pub mod story;
mod subdomains;
pub mod sweep;
pub mod sweep_accounts;
pub mod sweep_refusals;
#[cfg(test)]
pub(crate) mod tests;
mod turns;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::MutexGuard;

pub use live::{Live, NoSuchAuthority, Provisioner};
pub use reach::{Prove, Reach};

use self::turns::Turns;
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::Refusal;
use crate::acme::nonce::Nonces;
use crate::audit::{Actor, AuditRecord, Event};
use crate::entropy::Entropy;
use crate::id::{AuthorityName, OrderId};
use crate::limits::{Limiter, Refused};
use crate::storage::codec::Record;
use crate::storage::{Batch, Store, StoreError, Table};
use crate::time::{Clock, Timestamp};
use crate::x509::key_hash::KeyHash;

/// Why a verb did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The client's to mend.
    #[error("{}", .0.detail)]
    Refused(Refusal),
    /// There is no such object, or not for this account.
    #[error("not found")]
    NotFound,
    /// The account is closed (RFC 8555 §7.3.6).
    #[error("the account is deactivated")]
    Deactivated,
    /// The key of a key change belongs to this account already (RFC 8555 §7.3.5).
    #[error("the key is in use by another account")]
    KeyInUse(crate::id::AccountId),
    /// More work than the server takes at once; the client's request was not acted on.
    #[error("the server is busy: {0}")]
    Busy(&'static str),
    /// The client asked for more than `[limits]` allows it; it was not acted on.
    #[error("{0}")]
    Limited(Refused),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The issuer's certificate is not valid now: nothing can be signed until there is another.
    #[error("the certificate of the authority {0}'s issuer is not valid now")]
    IssuerNotValid(AuthorityName),
    /// Any other fault of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Limited(refused)
    }
}

/// What the verbs work with.
pub struct Service {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    nonces: Nonces,
    live: RwLock<Arc<Live>>,
    accounts: account::Cache,
    /// Apart, because who holds an order may look at its account. Never the other way round.
    account_locks: Locks,
    order_locks: Locks,
    /// Registrations under one key for external account binding take turns. Taken before an account's.
    eab_locks: Locks,
    /// At certificates that may be given again; taken behind an order's lock, never the other way round.
    reuse_turns: Turns,
    /// At budgets, and then at keys that are to be fresh; taken behind those above.
    budget_turns: Turns,
    key_turns: Turns,
    /// Keys of this server's own certificate, the last ones first.
    own_keys: Mutex<VecDeque<KeyHash>>,
    any_blocked: keys::AnyBlocked,
    /// Authorizations under validation in this process, and by which challenge.
    validating: Running<(OrderId, u16), ChallengeKind>,
    /// Orders being signed in this process, behind a slow signer.
    finishing: Running<OrderId, ()>,
    slots: Arc<slots::Slots>,
    limits: Limiter,
    /// How far the certificate index is; nothing once it is complete. Until it is known, it is not.
    index: Mutex<Option<inventory::Indexed>>,
    issuing: handover::Issuing,
    leaves: leaves::LiveLeaves,
    fleet: fleet::Watch,
    campaigns: campaigns::Campaigns,
    /// When this process began.
    started: Timestamp,
    notifier: notify::Notifier,
    refused: refused::Refused,
}

impl Service {
    /// Joins the parts.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, live: Live) -> Self {
        let nonces = Nonces::new(entropy.bytes());
        metered::announce(&live);
        let started = clock.now();
        Self {
            store,
            clock,
            entropy,
            nonces,
            limits: Limiter::new(live.limits.clone()),
            live: RwLock::new(Arc::new(live)),
            accounts: account::cache(),
            account_locks: Locks::new(),
            order_locks: Locks::new(),
            eab_locks: Locks::new(),
            reuse_turns: Turns::default(),
            budget_turns: Turns::default(),
            key_turns: Turns::default(),
            own_keys: Mutex::default(),
            any_blocked: keys::AnyBlocked::default(),
            validating: Running::default(),
            finishing: Running::default(),
            slots: Arc::new(slots::Slots::new()),
            index: Mutex::new(Some(inventory::Indexed::default())),
            issuing: handover::Issuing::default(),
            leaves: leaves::LiveLeaves::default(),
            fleet: fleet::Watch::default(),
            campaigns: campaigns::Campaigns::default(),
            started,
            notifier: notify::Notifier::default(),
            refused: refused::Refused::default(),
        }
    }

    /// The settings in force.
    pub fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other settings into force.
    pub fn reload(&self, live: Live) {
        self.limits.reload(live.limits.clone());
        metered::announce(&live);
        let mut now = self.live.write().unwrap_or_else(PoisonError::into_inner);
        self.leaves.replaced(&now);
        *now = Arc::new(live);
        drop(now);
        // What is known of an account's use was reckoned with the old lifetimes.
        self.accounts.clear();
    }

    /// What the gate works with.
    fn desk(&self) -> gate::Desk<'_> {
        let followers = gate::Followers { leaves: &self.leaves, fleet: &self.fleet };
        gate::Desk { store: &*self.store, entropy: &*self.entropy, followers: Some(followers) }
    }

    /// The provisioner of that name.
    pub fn provisioner(&self, name: &str) -> Option<Arc<Provisioner>> {
        self.live().provisioners.get(name).cloned()
    }

    /// Replay nonces.
    pub fn nonces(&self) -> &Nonces {
        &self.nonces
    }

    /// How much clients may ask for, and have asked.
    pub fn limits(&self) -> &Limiter {
        &self.limits
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A future in a box, made there: `Box::pin` has it made on the stack first, and copies kilobytes of room
/// for what it has not come to yet.
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

/// Adds an audit event to a batch.
pub(crate) fn audited(batch: Batch, at: Timestamp, event: Event) -> Batch {
    audited_by(batch, at, event, None)
}

/// Adds an audit event of what an operator does.
fn audited_by(batch: Batch, at: Timestamp, event: Event, by: Option<&Actor>) -> Batch {
    batch.append(Table::Audit, AuditRecord { at, event, actor: by.cloned() }.encode())
}

/// Locks for read-modify-write, striped by id.
struct Locks(Box<[tokio::sync::Mutex<()>]>);

impl Locks {
    const STRIPES: usize = 1024;

    fn new() -> Self {
        Self((0..Self::STRIPES).map(|_| tokio::sync::Mutex::new(())).collect())
    }

    /// The lock of an id; ids end in random bytes. Never hold two of a kind.
    async fn of(&self, id: &[u8; 16]) -> MutexGuard<'_, ()> {
        let stripe = usize::from(u16::from_be_bytes([id[14], id[15]])) % Self::STRIPES;
        self.0[stripe].lock().await
    }
}

/// Work that goes on behind the replies (a validation, a slow signature) and is under way in this
/// process, so that nothing is begun twice and a poll can tell what a crash left behind.
struct Running<K, V>(Arc<Mutex<UnderWay<K, V>>>);

struct UnderWay<K, V> {
    works: HashMap<K, V>,
    /// Claims dropped so far.
    ended: u64,
}

impl<K, V> Default for Running<K, V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(UnderWay { works: HashMap::new(), ended: 0 })))
    }
}

impl<K: Copy + Eq + Hash, V: Copy> Running<K, V> {
    /// Claims a piece of work until the claim is dropped, by a panic too; `None` if it is under way.
    fn claim(&self, work: K, how: V) -> Option<Claim<K, V>> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.works.contains_key(&work) {
            return None;
        }
        running.works.insert(work, how);
        Some(Claim { running: self.0.clone(), work })
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).works.len()
    }

    fn get(&self, work: K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).works.get(&work).copied()
    }

    /// How many claims have been dropped: as long as it does not change, none was.
    fn ended(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ended
    }
}

struct Claim<K: Eq + Hash, V> {
    running: Arc<Mutex<UnderWay<K, V>>>,
    work: K,
}

impl<K: Eq + Hash, V> Drop for Claim<K, V> {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.works.remove(&self.work);
        running.ended += 1;
    }
}
