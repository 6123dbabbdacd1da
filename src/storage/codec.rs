//! Records: one version byte, then postcard. Golden files (`testdata/golden`) hold every format.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::acme::account::Account;
use crate::acme::order::Order;
use crate::audit::AuditRecord;
use crate::authority::certificate::CertificateRecord;
use crate::id::{AccountId, OrderId};
use crate::time::Timestamp;

/// A shape that is stored.
pub trait Record: Serialize + DeserializeOwned {
    /// In errors.
    const KIND: &'static str;
    /// Written in front; grows by one whenever the shape changes.
    const VERSION: u8;

    /// The record's bytes.
    fn encode(&self) -> Vec<u8> {
        let out = vec![Self::VERSION];
        // The codec fails on shapes without a known length only; records have none.
        postcard::to_extend(self, out).unwrap_or_default()
    }

    /// Reads a record back.
    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes.split_first() {
            Some((version, rest)) if *version == Self::VERSION => match postcard::take_from_bytes(rest) {
                Ok((record, [])) => Ok(record),
                Ok((_, more)) => Err(StoreError::Corrupt(format!(
                    "{} is followed by {} bytes that are not its own",
                    Self::KIND,
                    more.len()
                ))),
                Err(error) => Err(StoreError::Corrupt(format!("{}: {error}", Self::KIND))),
            },
            Some((version, _)) => Err(StoreError::Corrupt(format!(
                "{} has format version {version}, this program reads version {}",
                Self::KIND,
                Self::VERSION
            ))),
            None => Err(StoreError::Corrupt(format!("{} is empty", Self::KIND))),
        }
    }
}

impl Record for Account {
    const KIND: &'static str = "account";
    const VERSION: u8 = 1;
}

impl Record for Order {
    const KIND: &'static str = "order";
    const VERSION: u8 = 1;
}

impl Record for CertificateRecord {
    const KIND: &'static str = "certificate";
    const VERSION: u8 = 1;
}

impl Record for AuditRecord {
    const KIND: &'static str = "audit event";
    const VERSION: u8 = 1;
}

/// The account that a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct AccountKey(pub AccountId);

impl Record for AccountKey {
    const KIND: &'static str = "account key";
    const VERSION: u8 = 1;
}

/// A valid authorization of an account for an identifier: where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct HeldAuthorization {
    /// The order that keeps it.
    pub order: OrderId,
    /// Its place there.
    pub index: u16,
    /// Until when it holds.
    pub expires: Timestamp,
}

impl Record for HeldAuthorization {
    const KIND: &'static str = "held authorization";
    const VERSION: u8 = 1;
}

#[cfg(test)]
mod tests;
