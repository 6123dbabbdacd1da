//! Renewal information and replacement (RFC 9773).
//!
//! That an order replaces a certificate is marked on the certificate in the commit that opens the
//! order, and again, for good, in the one that issues. Marked at the first already, because RFC 9773 §5
//! speaks of any other order that is not invalid: of orders that race for one certificate the version
//! of its record lets one through. A mark whose order came to nothing (invalid, run out, or removed
//! without a certificate) does not count. An order that replaces nothing reads and writes nothing
//! here.

use super::{Error, Provisioner, Service};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::OrderStatus;
use crate::acme::renewal::{self, Call, CertId, Renewal, renewal};
use crate::authority::certificate::{CertificateRecord, Content, Replacement};
use crate::id::{AccountId, OrderId};
use crate::provisioner::Requester;
use crate::provisioner::acme::Terms;
use crate::storage::codec::Record;
use crate::storage::{Batch, Expect, Table, Version};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// A certificate that an order is to replace, as it was read.
pub(super) struct Predecessor {
    pub(super) serial: Serial,
    record: CertificateRecord,
    version: Version,
}

impl Predecessor {
    /// Adds the mark to a batch, which then holds only if the certificate's record is as it was read.
    pub(super) fn replaced_by(mut self, order: OrderId, by: Option<Serial>, batch: Batch) -> Batch {
        self.record.details.replaced_by = Some(Replacement { order, serial: by });
        let key = *self.serial.as_bytes();
        batch.expect(Table::Certificates, key, Expect::Is(self.version)).put(
            Table::Certificates,
            key,
            self.record.encode(),
        )
    }
}

/// What a record's certificate says; it is one of ours, so it says something.
pub(super) fn content(record: &CertificateRecord) -> Result<Content, Error> {
    record.content().ok_or_else(|| Error::Internal("a stored certificate does not parse".into()))
}

/// When a certificate of the inventory is to be renewed.
pub(super) fn renewal_of(
    record: &CertificateRecord,
    serial: &Serial,
    content: &Content,
    call: Option<Call>,
    now: Timestamp,
) -> Renewal {
    let revoked = record.revocation.as_ref().map(|revocation| revocation.at);
    renewal(content.not_before, record.not_after, serial, revoked, call, now)
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// When to renew.
    pub renewal: Renewal,
    /// A page that tells why, if the window was moved.
    pub explanation: Option<String>,
}

fn already_replaced(detail: &'static str) -> Error {
    Refusal::new(ErrorKind::AlreadyReplaced, detail).into()
}

impl Service {
    /// When a certificate of this provisioner's is to be renewed (RFC 9773 §4.2): one read.
    pub async fn renewal_info(&self, terms: &Provisioner, id: CertId) -> Result<Suggestion, Error> {
        let Predecessor { serial, record, .. } = self.issued_here(terms, id).await?.ok_or(Error::NotFound)?;
        let (content, now) = (content(&record)?, self.now());
        self.asked(&serial, &record, &content, now);
        let campaign = self.called_over(&serial, &record, &content, now);
        let called = campaign.as_ref().map(|campaign| campaign.call());
        let handover = self.handover(terms, &record);
        let call = called.into_iter().chain(handover).min_by_key(|call| call.begin(&serial));
        let renewal = renewal_of(&record, &serial, &content, call, now);
        let usual = renewal::begin(content.not_before, record.not_after, &serial);
        let explanation = match campaign {
            _ if renewal.revoked => terms.renewal_explanation.clone(),
            Some(campaign) if call == called && campaign.call().begin(&serial) < usual => {
                campaign.explanation
            }
            Some(_) | None => None,
        };
        Ok(Suggestion { renewal, explanation })
    }

    /// The certificate of that identifier, if an account of this provisioner has got it.
    async fn issued_here(&self, terms: &Terms, id: CertId) -> Result<Option<Predecessor>, Error> {
        let Some(row) = self.store.get(Table::Certificates, id.serial.as_bytes()).await? else {
            return Ok(None);
        };
        let record = CertificateRecord::decode(&row.value)?;
        let here = match &record.requester {
            Requester::Acme { provisioner, .. } => *provisioner == terms.name,
            // Those of an automatic renewal are the server's to renew (RFC 8739).
            Requester::Own | Requester::Ceremony | Requester::AutoRenewal { .. } => false,
        };
        let found = Predecessor { serial: id.serial, record, version: row.version };
        Ok((here && found.record.issuer == id.issuer).then_some(found))
    }

    /// The certificate that a new order of the account's for these identifiers may replace (RFC 9773
    /// §5).
    pub(super) async fn predecessor(
        &self,
        terms: &Terms,
        account: AccountId,
        id: CertId,
        identifiers: &[Identifier],
    ) -> Result<Predecessor, Error> {
        let Some(found) = self.issued_here(terms, id).await? else {
            let detail = "replaces: no certificate of this provisioner has that identifier";
            return Err(Refusal::malformed(detail).into());
        };
        match &found.record.requester {
            Requester::Acme { account: owner, .. } if *owner == account => {}
            Requester::Acme { .. } | Requester::Own | Requester::Ceremony | Requester::AutoRenewal { .. } => {
                let detail = "replaces: the certificate was issued to another account";
                return Err(Refusal::unauthorized(detail).into());
            }
        }
        let had = content(&found.record)?.identifiers;
        if !identifiers.iter().any(|identifier| had.contains(identifier)) {
            let detail = "replaces: the certificate has none of the order's identifiers";
            return Err(Refusal::malformed(detail).into());
        }
        match found.record.details.replaced_by {
            None => Ok(found),
            Some(Replacement { serial: Some(_), .. }) => {
                Err(already_replaced("replaces: the certificate was replaced already; leave it out"))
            }
            Some(Replacement { order, serial: None }) => match self.load_order(order).await {
                Ok(other) if other.order.status(self.now()) != OrderStatus::Invalid => Err(already_replaced(
                    "replaces: another order that may still be finalized replaces the certificate; \
                     finalize that one, or leave it out",
                )),
                // Without a certificate, or the mark would name it.
                Ok(_) | Err(Error::NotFound) => Ok(found),
                Err(error) => Err(error),
            },
        }
    }

    /// The certificate that an order about to be issued replaces; `None` if it replaces none, or one
    /// that was removed meanwhile.
    pub(super) async fn replaced(
        &self,
        order: OrderId,
        replaces: Option<CertId>,
    ) -> Result<Option<Predecessor>, Error> {
        let Some(id) = replaces else { return Ok(None) };
        let Some(row) = self.store.get(Table::Certificates, id.serial.as_bytes()).await? else {
            return Ok(None);
        };
        let record = CertificateRecord::decode(&row.value)?;
        // Another one's only if this order had run out by then and the clock was set back since.
        if record.details.replaced_by.is_none_or(|mark| mark.order != order) {
            return Err(already_replaced("another order has replaced the certificate meanwhile"));
        }
        Ok(Some(Predecessor { serial: id.serial, record, version: row.version }))
    }
}
