//! One certificate's whole story: how it came to be, and what came before and after it.

use super::inventory::{CertificateQuery, ListedCertificate};
use super::{Error, Service};
use crate::acme::account::Account;
use crate::acme::order::Order;
use crate::fleet::{Identity, IdentityId};
use crate::id::{AccountId, OrderId};
use crate::provisioner::Requester;
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::x509::serial::Serial;
use std::time::Duration;

/// Certificates of the same names that are looked through, and that are told.
const LOOKED: usize = 200;
const TOLD: usize = 24;

/// How far back they are looked for, before the certificate's own end; its own lifetime if that is longer, or
/// the one that it was renewed from would be left out.
const BACK: Duration = Duration::from_secs(5 * 86_400);

/// What is known of a certificate.
#[derive(Clone, Debug)]
pub struct Story {
    /// Itself.
    pub certificate: ListedCertificate,
    /// Its order, as long as that is kept.
    pub order: Option<(OrderId, Order)>,
    /// Its account, as long as that is kept.
    pub account: Option<Account>,
    /// Those of exactly its names, itself among them, by expiry.
    pub series: Vec<ListedCertificate>,
    /// Whether there are, or may be, more of these than are told.
    pub cut: bool,
    /// How its names stand now.
    pub identity: Option<Identity>,
}

impl Service {
    /// Tells it, in a bounded number of reads.
    pub async fn story(&self, serial: Serial) -> Result<Story, Error> {
        let certificate = self.listed_certificate(serial).await?;
        let (account, order) = match &certificate.record.requester {
            Requester::Acme { account, order, .. } | Requester::AutoRenewal { account, order, .. } => {
                (self.kept_account(*account).await?, self.kept_order(*order).await?)
            }
            Requester::Own | Requester::Ceremony => (None, None),
        };
        let (series, cut) = self.series(&certificate).await?;
        let identity =
            IdentityId::of(certificate.content.identifiers.iter()).and_then(|id| self.fleet.identity(&id));
        Ok(Story { order, account, series, cut, identity, certificate })
    }

    async fn kept_order(&self, id: OrderId) -> Result<Option<(OrderId, Order)>, Error> {
        match self.load_order(id).await {
            Ok(loaded) => Ok(Some((id, loaded.order))),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn kept_account(&self, id: AccountId) -> Result<Option<Account>, Error> {
        let row = self.store.get(Table::Accounts, id.as_bytes()).await?;
        Ok(row.map(|row| Account::decode(&row.value)).transpose()?)
    }

    async fn series(&self, own: &ListedCertificate) -> Result<(Vec<ListedCertificate>, bool), Error> {
        let names = &own.content.identifiers;
        let Some(name) = names.first() else { return Ok((vec![own.clone()], false)) };
        let end = own.record.not_after;
        let from = end - BACK.max(end.since(own.content.not_before));
        let between = |expires_from, expires_before| CertificateQuery {
            name: Some(name.clone()),
            expires_from,
            expires_before,
            ..CertificateQuery::default()
        };
        // Each with a bound of its own: however many came before, they leave room for what came after.
        let earlier = self.certificates(&between(Some(from), Some(end)), None, LOOKED).await?;
        let later = self.certificates(&between(Some(end), None), None, LOOKED).await?;
        let older = self.certificates(&between(None, Some(from)), None, 1).await?;
        let missing = !older.certificates.is_empty()
            || [&earlier, &later, &older].iter().any(|page| page.next.is_some() || page.building.is_some());

        let wanted = IdentityId::of(names.iter());
        let same = |found: &ListedCertificate| IdentityId::of(found.content.identifiers.iter()) == wanted;
        let others = earlier.certificates.into_iter().chain(later.certificates);
        let mut series: Vec<_> = others.filter(|one| one.serial != own.serial && same(one)).collect();
        series.push(own.clone());
        // Pages go by the hour.
        series.sort_by_key(|one| (one.record.not_after, one.record.issued));
        let place = series.iter().position(|one| one.serial == own.serial).unwrap_or_default();
        // Itself in any case, and rather what came after it.
        let first = series.len().saturating_sub(TOLD).min(place.saturating_sub(2));
        let cut = missing || first > 0 || series.len() - first > TOLD;
        series.drain(..first);
        series.truncate(TOLD);
        Ok((series, cut))
    }
}

#[cfg(test)]
mod tests;
