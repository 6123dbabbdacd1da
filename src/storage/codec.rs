//! Records: one version byte, then postcard. Golden files (`testdata/golden`) hold every format.
//!
//! Shapes grow at their end only: the last member of an order, an account or a certificate is its
//! `details`, and a record that was written before those (version 1) reads as one with the default
//! ones. An enum grows by variants at its end.

use aws_lc_rs::digest::{SHA256, digest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::acme::account::{Account, AccountDetails};
use crate::acme::identifier::Identifier;
use crate::acme::order::{Order, OrderDetails};
use crate::audit::configuration::ConfigurationVersion;
use crate::audit::refused::RefusedRequest;
use crate::audit::{Actor, AuditRecord};
use crate::authority::approve::PolicyRefusal;
use crate::authority::blocked::BlockedKey;
use crate::authority::certificate::{CertificateDetails, CertificateRecord, Provenance};
use crate::fleet::campaign::Campaign;
use crate::fleet::notices::Alert;
use crate::id::{AccountId, OrderId};
use crate::limits::gcra::Bucket;
use crate::provisioner::eab::EabKey;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Bytes that hold nearly every record: what is encoded into them need not be moved as it grows.
const MOST: usize = 1024;

/// A shape that is stored.
pub trait Record: Serialize + DeserializeOwned {
    /// In errors.
    const KIND: &'static str;
    /// Written in front; grows by one whenever the shape changes.
    const VERSION: u8;

    /// What a record of an older version lacks at its end, as bytes; `None` if that version is not
    /// known.
    fn grown_since(_version: u8) -> Option<Vec<u8>> {
        None
    }

    /// The record's bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MOST);
        out.push(Self::VERSION);
        // The codec fails on shapes without a known length only; records have none.
        postcard::to_extend(self, out).unwrap_or_default()
    }

    /// Reads a record back.
    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let Some((version, rest)) = bytes.split_first() else {
            return Err(StoreError::Corrupt(format!("{} is empty", Self::KIND)));
        };
        if *version == Self::VERSION {
            return read(rest);
        }
        match Self::grown_since(*version) {
            Some(more) => read(&[rest, &more].concat()),
            None => Err(StoreError::Corrupt(format!(
                "{} has format version {version}, this program reads version {}",
                Self::KIND,
                Self::VERSION
            ))),
        }
    }
}

fn read<R: Record>(bytes: &[u8]) -> Result<R, StoreError> {
    match postcard::take_from_bytes(bytes) {
        Ok((record, [])) => Ok(record),
        Ok((_, more)) => Err(StoreError::Corrupt(format!(
            "{} is followed by {} bytes that are not its own",
            R::KIND,
            more.len()
        ))),
        Err(error) => Err(StoreError::Corrupt(format!("{}: {error}", R::KIND))),
    }
}

/// The details that version 1 did not have.
fn since_version_1<T: Default + Serialize>(version: u8) -> Option<Vec<u8>> {
    if version == 1 { postcard::to_allocvec(&T::default()).ok() } else { None }
}

impl Record for Account {
    const KIND: &'static str = "account";
    const VERSION: u8 = 2;

    fn grown_since(version: u8) -> Option<Vec<u8>> {
        since_version_1::<AccountDetails>(version)
    }
}

impl Record for Order {
    const KIND: &'static str = "order";
    const VERSION: u8 = 2;

    fn grown_since(version: u8) -> Option<Vec<u8>> {
        since_version_1::<OrderDetails>(version)
    }
}

impl Record for CertificateRecord {
    const KIND: &'static str = "certificate";
    const VERSION: u8 = 4;

    fn grown_since(version: u8) -> Option<Vec<u8>> {
        match version {
            1 => postcard::to_allocvec(&CertificateDetails::default()).ok(),
            2 => postcard::to_allocvec(&Provenance::default()).ok(),
            // The number of a configuration.
            3 => postcard::to_allocvec(&None::<u64>).ok(),
            _ => None,
        }
    }
}

impl Record for AuditRecord {
    const KIND: &'static str = "audit event";
    const VERSION: u8 = 2;

    fn grown_since(version: u8) -> Option<Vec<u8>> {
        since_version_1::<Option<Actor>>(version)
    }
}

/// The account that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountKey(pub AccountId);

impl Record for AccountKey {
    const KIND: &'static str = "account key";
    const VERSION: u8 = 1;
}

/// When an account was last used. A row of its own: it changes without the account's own version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountUse {
    /// The last time, to a day.
    pub used: Timestamp,
    /// Until when an order, a proof or a certificate of its may be alive.
    pub until: Timestamp,
}

impl Record for AccountUse {
    const KIND: &'static str = "account use";
    const VERSION: u8 = 1;
}

/// A valid authorization of an account for an identifier: where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAuthorization {
    /// The order that keeps it.
    pub order: OrderId,
    /// Its place there.
    pub index: u16,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Whether it counts for the names below its own too (RFC 9444).
    pub subdomains: bool,
}

/// Its key in [`super::Table::Grants`]: the account and a digest of the identifier.
pub fn held_row(account: AccountId, identifier: &Identifier) -> Vec<u8> {
    let text = [identifier.kind(), ":", &identifier.order_value()].concat();
    [&account.as_bytes()[..], digest(&SHA256, text.as_bytes()).as_ref()].concat()
}

/// The key in [`super::Table::AccountOrders`] that says that an account has an order.
pub fn order_row(account: AccountId, order: OrderId) -> Vec<u8> {
    [&account.as_bytes()[..], order.as_bytes()].concat()
}

impl Record for HeldAuthorization {
    const KIND: &'static str = "held authorization";
    const VERSION: u8 = 2;

    fn grown_since(version: u8) -> Option<Vec<u8>> {
        since_version_1::<bool>(version)
    }
}

impl Record for EabKey {
    const KIND: &'static str = "eab key";
    const VERSION: u8 = 1;
}

/// How many accounts a key for external account binding has registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EabUses(pub u32);

impl Record for EabUses {
    const KIND: &'static str = "eab uses";
    const VERSION: u8 = 1;
}

/// That the operator retired an identity: it is not expected to renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredIdentity {
    /// When.
    pub at: Timestamp,
    /// Its names.
    pub names: Vec<Identifier>,
}

impl Record for RetiredIdentity {
    const KIND: &'static str = "retired identity";
    const VERSION: u8 = 1;
}

impl Record for Campaign {
    const KIND: &'static str = "campaign";
    const VERSION: u8 = 1;
}

impl Record for Alert {
    const KIND: &'static str = "alert";
    const VERSION: u8 = 1;
}

/// Which issuer an authority signs with (key identifier), and since when it is known to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuingSince {
    /// Key identifier.
    pub issuer: [u8; 20],
    /// Since when; `None` if it was the first that the store has seen.
    pub since: Option<Timestamp>,
}

/// Its key in [`super::Table::Meta`].
pub fn issuing_row(authority: &str) -> Vec<u8> {
    format!("issuing/{authority}").into_bytes()
}

impl Record for IssuingSince {
    const KIND: &'static str = "issuing since";
    const VERSION: u8 = 1;
}

/// Which issuers of an authority are in the bundle (key identifiers), and since when each; `None` if it was
/// there before anybody noted it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published(pub Vec<([u8; 20], Option<Timestamp>)>);

/// Its key in [`super::Table::Meta`].
pub fn published_row(authority: &str) -> Vec<u8> {
    format!("published/{authority}").into_bytes()
}

impl Record for Published {
    const KIND: &'static str = "published issuers";
    const VERSION: u8 = 1;
}

/// A certificate that may be given again to the account that it was issued to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReusableCertificate {
    /// The certificate.
    pub serial: Serial,
    /// The order that it was issued for.
    pub order: OrderId,
    /// When.
    pub issued: Timestamp,
}

impl Record for ReusableCertificate {
    const KIND: &'static str = "reusable certificate";
    const VERSION: u8 = 1;
}

impl Record for ConfigurationVersion {
    const KIND: &'static str = "configuration";
    const VERSION: u8 = 1;
}

impl Record for BlockedKey {
    const KIND: &'static str = "blocked key";
    const VERSION: u8 = 1;
}

impl Record for PolicyRefusal {
    const KIND: &'static str = "policy refusal";
    const VERSION: u8 = 1;
}

impl Record for RefusedRequest {
    const KIND: &'static str = "refused request";
    const VERSION: u8 = 1;
}

/// What is left of the budget of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssueBudget(pub Bucket);

impl Record for IssueBudget {
    const KIND: &'static str = "issue budget";
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests;
