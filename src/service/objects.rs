//! Reading orders, authorizations and certificates, and what a read sets going again.

use std::sync::Arc;

use super::{Error, Provisioner, Service};
use crate::acme::order::{Authorization, AuthorizationStatus, Finish, Order, Slot};
use crate::authority::certificate::CertificateRecord;
use crate::id::{AccountId, OrderId};
use crate::provisioner::Requester;
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, Expect, Table, Version};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// An order as loaded.
#[derive(Clone, Debug)]
pub struct LoadedOrder {
    /// Its id.
    pub id: OrderId,
    /// Its facts.
    pub order: Order,
    pub(super) version: Version,
}

impl LoadedOrder {
    /// Adds the order as it is now to a batch, which then holds only if nobody changed it since it was
    /// read.
    pub(super) fn stored_by(&self, batch: Batch) -> Batch {
        let key = *self.id.as_bytes();
        batch.expect(Table::Orders, key, Expect::Is(self.version)).put(
            Table::Orders,
            key,
            self.order.encode(),
        )
    }
}

/// An authorization with the place where it is kept.
#[derive(Clone, Debug)]
pub struct LoadedAuthorization {
    /// The order that keeps it.
    pub order: OrderId,
    /// Its place there.
    pub index: u16,
    /// Its facts.
    pub authorization: Authorization,
    /// Whether it counts for the names below its own too (RFC 9444).
    pub subdomains: bool,
    /// Whether it is valid without a challenge; it then has none.
    pub trusted: bool,
}

impl LoadedAuthorization {
    /// The status at `now`.
    pub fn status(&self, now: Timestamp) -> AuthorizationStatus {
        let status = self.authorization.status(now);
        match status {
            AuthorizationStatus::Pending if self.trusted => AuthorizationStatus::Valid,
            AuthorizationStatus::Pending
            | AuthorizationStatus::Valid
            | AuthorizationStatus::Invalid
            | AuthorizationStatus::Deactivated
            | AuthorizationStatus::Expired => status,
        }
    }
}

impl Service {
    pub(super) async fn load_order(&self, id: OrderId) -> Result<LoadedOrder, Error> {
        let row = self.store.get(Table::Orders, id.as_bytes()).await?.ok_or(Error::NotFound)?;
        Ok(LoadedOrder { id, order: Order::decode(&row.value)?, version: row.version })
    }

    pub(super) async fn load_own_order(
        &self,
        terms: &Terms,
        account: AccountId,
        id: OrderId,
    ) -> Result<LoadedOrder, Error> {
        let loaded = self.load_order(id).await?;
        // Another account's order is as good as none: its existence is nobody's business.
        let own = loaded.order.account == account && loaded.order.provisioner == terms.name;
        if own { Ok(loaded) } else { Err(Error::NotFound) }
    }

    /// As [`Self::load_own_order`], for what a client asks for as an order: what merely keeps a
    /// pre-authorization is none.
    pub(super) async fn load_ordered(
        &self,
        terms: &Terms,
        account: AccountId,
        id: OrderId,
    ) -> Result<LoadedOrder, Error> {
        let loaded = self.load_own_order(terms, account, id).await?;
        if loaded.order.details.pre_authorization { Err(Error::NotFound) } else { Ok(loaded) }
    }

    /// An order of the account's. A finalization that a crash cut short goes on.
    pub async fn order(
        self: &Arc<Self>,
        terms: &Terms,
        account: AccountId,
        id: OrderId,
    ) -> Result<LoadedOrder, Error> {
        let loaded = self.load_ordered(terms, account, id).await?;
        if matches!(loaded.order.finish, Finish::Processing(_)) {
            self.resume_finalize(id, None);
        }
        Ok(loaded)
    }

    /// An authorization of the account's, with the challenges under validation shown as such. A
    /// validation that a crash cut short goes on.
    pub async fn authorization(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: AccountId,
        order: OrderId,
        index: u16,
    ) -> Result<LoadedAuthorization, Error> {
        let loaded = self.load_own_order(terms, account, order).await?;
        if let Some(Slot::Trusted { identifier, expires, deactivated, .. }) = loaded.order.kept(index) {
            let authorization = Authorization {
                identifier: identifier.clone(),
                expires: *expires,
                deactivated: *deactivated,
                challenges: Vec::new(),
            };
            return Ok(LoadedAuthorization { order, index, authorization, subdomains: false, trusted: true });
        }
        let mut authorization = loaded.order.own(index).ok_or(Error::NotFound)?.clone();
        let now = self.now();
        if authorization.status(now) == AuthorizationStatus::Pending {
            match (authorization.under_validation(now), self.validating.get((order, index))) {
                (Some(kind), None) => self.resume_validation(terms, account, order, index, kind),
                (None, Some(kind)) => authorization.show_processing(kind),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        let subdomains = loaded.order.details.counts_below(index);
        Ok(LoadedAuthorization { order, index, authorization, subdomains, trusted: false })
    }

    /// Where an order's authorization is kept: with itself, or with the order that proved it.
    pub fn place_of(order: OrderId, index: u16, slot: &Slot) -> (OrderId, u16) {
        match slot {
            Slot::Own(_) | Slot::Trusted { .. } => (order, index),
            Slot::Reused { order, index, .. } => (*order, *index),
        }
    }

    /// A certificate issued to the account.
    pub async fn certificate(&self, account: AccountId, serial: Serial) -> Result<CertificateRecord, Error> {
        let row = self.store.get(Table::Certificates, serial.as_bytes()).await?.ok_or(Error::NotFound)?;
        let record = CertificateRecord::decode(&row.value)?;
        match &record.requester {
            Requester::Acme { account: owner, .. } if *owner == account => Ok(record),
            // One of a series is read at the series' own URL, as long as that is in force.
            Requester::Acme { .. } | Requester::AutoRenewal { .. } | Requester::Own | Requester::Ceremony => {
                Err(Error::NotFound)
            }
        }
    }
}
