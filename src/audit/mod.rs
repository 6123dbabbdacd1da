//! Audit events: every change of standing is recorded in the very commit that makes it.
//!
//! Opening an order is not recorded: it decides nothing, and a client could fill the log with it.

pub mod configuration;
pub mod refused;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::acme::identifier::Identifier;
use crate::authority::blocked::Blocker;
use crate::authority::certificate::Revoker;
use crate::id::{AccountId, EabKid, OrderId};
use crate::policy::{Differing, Reason};
use crate::provisioner::Requester;
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// One event, as kept under its sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
    /// Which operator did it; none if a client did, or this server by itself.
    pub actor: Option<Actor>,
}

/// Who gives a command to the running server. The order of variants is part of the record format: add at the
/// end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// A process of the user with this number, on the admin socket.
    User(u32),
    /// Whoever holds a certificate with this name, as `[admin] clients` lists it, on the admin listener.
    Operator(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "uid {uid}"),
            Self::Operator(name) => f.write_str(name),
        }
    }
}

/// What can happen. The order of variants is part of the record format: add at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields carry the names of what they hold")]
pub enum Event {
    /// An account was created.
    AccountCreated { provisioner: String, account: AccountId, thumbprint: [u8; 32] },
    /// Its contacts or its agreement changed.
    AccountUpdated { account: AccountId },
    /// Its key changed.
    AccountKeyChanged { account: AccountId, thumbprint: [u8; 32] },
    /// Its owner closed it.
    AccountDeactivated { account: AccountId },
    /// Control of an identifier was proved.
    AuthorizationValid { account: AccountId, order: OrderId, identifier: Identifier, by: ChallengeKind },
    /// Control of an identifier was not proved.
    AuthorizationInvalid {
        account: AccountId,
        order: OrderId,
        identifier: Identifier,
        by: ChallengeKind,
        error: ErrorKind,
    },
    /// Its owner gave an authorization up.
    AuthorizationDeactivated { account: AccountId, order: OrderId, identifier: Identifier },
    /// A certificate was signed; its content is in the inventory under the serial.
    CertificateIssued { serial: Serial, requester: Requester },
    /// An order was refused after its CSR had been accepted.
    IssuanceRefused { account: AccountId, order: OrderId, error: ErrorKind },
    /// A certificate was revoked.
    CertificateRevoked { serial: Serial, by: Revoker, reason: Option<u8> },
    /// The operator made a key for external account binding.
    EabKeyCreated { kid: EabKid, provisioner: String, trusts_names: bool },
    /// The operator revoked one.
    EabKeyRevoked { kid: EabKid },
    /// An account was created under a key.
    AccountBound { account: AccountId, kid: EabKid },
    /// Names of an order were authorized without a challenge, because the account's key vouches for
    /// them.
    NamesTrusted { account: AccountId, order: OrderId, kid: EabKid, identifiers: Vec<Identifier> },
    /// An order got a certificate that its account had already; nothing was signed.
    CertificateReused { serial: Serial, account: AccountId, order: OrderId },
    /// An account that nobody had used for long was removed.
    AccountRemoved { provisioner: String, account: AccountId, thumbprint: [u8; 32] },
    /// An order was accepted whose certificates are issued one after the other, up to its end.
    AutoRenewalBegun { account: AccountId, order: OrderId, end: Timestamp },
    /// Its owner ended that.
    AutoRenewalCanceled { account: AccountId, order: OrderId },
    /// It was ended since its account, or an authorization of it, was given up.
    AutoRenewalStopped { account: AccountId, order: OrderId, error: ErrorKind },
    /// The next certificate was refused; it is tried again, and recorded again when the reason changes.
    AutoRenewalRefused { account: AccountId, order: OrderId, error: ErrorKind },
    /// A key was blocked.
    KeyBlocked { key: KeyHash, by: Blocker },
    /// The operator lifted that.
    KeyUnblocked { key: KeyHash },
    /// Policy refused a certificate; what it was to be is among the refusals, as long as those are kept.
    PolicyRefused { requester: Requester, reasons: Vec<Reason> },
    /// A policy that is tried would have decided otherwise: of a certificate that was signed, or refused.
    PolicyDiffers { requester: Requester, serial: Option<Serial>, tried: Vec<Differing> },
    /// A configuration was put into force and is kept under that number; `sha256` is of its mayfly.toml.
    ConfigurationChanged { version: u64, how: configuration::How, sha256: [u8; 32] },
    /// An authority signs with another issuer from now on; key identifiers.
    IssuerChanged { authority: String, before: [u8; 20], now: [u8; 20] },
    /// The operator retired a set of names: it is not expected to renew.
    IdentityRetired { identifiers: Vec<Identifier> },
    /// The operator calls certificates over before their time; the campaign is kept under that number.
    CampaignBegun { campaign: u64, reason: String, drill: bool },
    /// The operator ended that early.
    CampaignCancelled { campaign: u64 },
}
