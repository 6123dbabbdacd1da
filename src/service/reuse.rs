//! Suppression of duplicate certificates, where a provisioner opts in: an account that orders the same
//! names for the same key again within a while gets the certificate that it has.
//!
//! Clients in a restart loop are what this is for. The order has to be ready all the same, and everything
//! that decides over a certificate has to be the same: names, key, profile, lifetime, issuer. One that
//! was revoked or replaced is not given again, nor one whose renewal window has begun. Nothing is signed, so
//! policy is not asked: it was when the certificate was, and its account may read that as long as it likes.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};

use super::renewal::{content, renewal_of};
use super::turns::Turn;
use super::{Error, Provisioner, Service};
use crate::acme::order::Order;
use crate::authority::certificate::CertificateRecord;
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::provisioner::{Grant, Purpose, Requester};
use crate::storage::codec::{Record, ReusableCertificate};
use crate::storage::{Batch, Expect, Table, Version};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// The place of one account's certificates for the same names and key, held until the order at hand
/// is through.
pub(super) struct Twin<'a> {
    account: AccountId,
    /// Of everything that has to be the same.
    pub(super) digest: [u8; 32],
    /// The certificate that may be given again.
    pub(super) found: Option<(Serial, Version)>,
    _alone: Turn<'a>,
}

impl Twin<'_> {
    /// Adds to a batch that the certificate may be given again.
    pub(super) fn noted(&self, batch: Batch, serial: Serial, order: OrderId, issued: Timestamp) -> Batch {
        let reusable = ReusableCertificate { serial, order, issued };
        batch.put(Table::Reuse, reuse_row(self.account, &self.digest), reusable.encode())
    }
}

/// The row of the certificate that may be given again.
pub(super) fn reuse_row(account: AccountId, digest: &[u8; 32]) -> Vec<u8> {
    [&account.as_bytes()[..], digest].concat()
}

/// A digest of everything that has to be the same; the account is in the row's key beside it.
fn sameness(terms: &Terms, order: &Order, grant: &Grant, issuer: &[u8; 20]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(terms.name.as_bytes());
    add(issuer);
    add(grant.key().der());
    add(grant.profile().unwrap_or_default().as_bytes());
    // The rules of a profile may have changed under its name.
    add(format!("{:?} {:?} {:?}", grant.usages(), grant.leaf(), grant.contents()).as_bytes());
    for lifetime in [grant.lifetime(), grant.longest()] {
        add(&lifetime.as_secs().to_be_bytes());
    }
    for asked in [order.not_before, order.not_after] {
        add(&asked.map_or(0, Timestamp::as_secs).to_be_bytes());
    }
    let names: BTreeSet<_> = match grant.purpose() {
        Purpose::Leaf(names) => names.iter().collect(),
        Purpose::Root(_) | Purpose::Intermediate(_) => BTreeSet::new(),
    };
    for name in names {
        add(name.kind().as_bytes());
        add(name.order_value().as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

impl Service {
    /// Where the provisioner suppresses duplicates: the place of this order's certificate, alone, so
    /// that of many orders at once one is signed for. An order that replaces a certificate asks for
    /// another one.
    pub(super) async fn twin(
        &self,
        terms: &Provisioner,
        order: &Order,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Option<Twin<'_>>, Error> {
        let Some(window) = terms.reuse_certificates else { return Ok(None) };
        if order.details.replaces.is_some() {
            return Ok(None);
        }
        let digest = sameness(terms, order, grant, terms.issuer().key_id());
        let alone = self.reuse_turns.of(digest).await;
        let mut twin = Twin { account: order.account, digest, found: None, _alone: alone };
        let Some(row) = self.store.get(Table::Reuse, &reuse_row(order.account, &digest)).await? else {
            return Ok(Some(twin));
        };
        // Issuing anew replaces a row that does not read.
        let Ok(reusable) = ReusableCertificate::decode(&row.value)
            .inspect_err(|error| tracing::error!(%error, "a certificate is not found to be used again"))
        else {
            return Ok(Some(twin));
        };
        if now < reusable.issued + window {
            twin.found = self.still_good(order.account, reusable.serial, now).await?;
        }
        Ok(Some(twin))
    }

    /// A certificate of the account's and its version, if it may be given again.
    async fn still_good(
        &self,
        account: AccountId,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Option<(Serial, Version)>, Error> {
        let Some(row) = self.store.get(Table::Certificates, serial.as_bytes()).await? else {
            return Ok(None);
        };
        let record = CertificateRecord::decode(&row.value)?;
        let own = match &record.requester {
            Requester::Acme { account: owner, .. } => *owner == account,
            Requester::Own | Requester::Ceremony | Requester::AutoRenewal { .. } => false,
        };
        let replaced = record.details.replaced_by.is_some_and(|mark| mark.serial.is_some());
        // Another issuer's is not found here: the issuer is part of the row's name.
        let content = content(&record)?;
        // Who is called over is to have another one.
        let call = self.called_over(&serial, &record, &content, now).map(|campaign| campaign.call());
        let fresh = renewal_of(&record, &serial, &content, call, now).start > now;
        let good = own && record.revocation.is_none() && !replaced && fresh;
        Ok(good.then_some((serial, row.version)))
    }

    /// Adds to a batch that the certificate is as it was read.
    pub(super) fn unchanged(batch: Batch, (serial, version): (Serial, Version)) -> Batch {
        batch.expect(Table::Certificates, *serial.as_bytes(), Expect::Is(version))
    }
}
