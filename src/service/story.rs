//! One certificate's whole story: how it came to be, and what came before and after it.

use super::inventory::{CertificateQuery, ListedCertificate};
use super::{Error, Service};
use crate::acme::account::Account;
use crate::acme::identifier::Identifier;
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

/// How far back they are looked for, before the certificate's own end.
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
    /// Whether there are more of these than are told.
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
        let names = &certificate.content.identifiers;
        let (series, cut) = self.series(names, &certificate).await?;
        let identity = IdentityId::of(names.iter()).and_then(|id| self.fleet.identity(&id));
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

    async fn series(
        &self,
        names: &[Identifier],
        own: &ListedCertificate,
    ) -> Result<(Vec<ListedCertificate>, bool), Error> {
        let Some(name) = names.first() else { return Ok((Vec::new(), false)) };
        let query = CertificateQuery {
            name: Some(name.clone()),
            expires_from: Some(own.record.not_after - BACK),
            ..CertificateQuery::default()
        };
        let page = self.certificates(&query, None, LOOKED).await?;
        let wanted = IdentityId::of(names.iter());
        let same = |found: &ListedCertificate| IdentityId::of(found.content.identifiers.iter()) == wanted;
        let mut series: Vec<_> = page.certificates.into_iter().filter(same).collect();
        let place = series.iter().position(|one| one.serial == own.serial).unwrap_or(0);
        // Itself in any case, and rather what came after it.
        let first = series.len().saturating_sub(TOLD).min(place.saturating_sub(2));
        let cut = page.next.is_some() || first > 0 || series.len() - first > TOLD;
        series.drain(..first);
        series.truncate(TOLD);
        Ok((series, cut))
    }
}
