//! Whether this server can do its work, really tried.

use super::lane::{For, Lane};
use super::{Error, Service};
use crate::authority::authorities::Authority;
use crate::authority::sign;
use crate::authority::signer::Cost;

impl Service {
    /// Commits a small record durably and has every authority's signer sign: what an issuance needs.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.check().await?;
        for authority in self.live().authorities.iter() {
            self.issuer_ready(authority).await?;
        }
        Ok(())
    }

    async fn issuer_ready(&self, authority: &Authority) -> Result<(), Error> {
        let issuer = authority.issuer().clone();
        if self.now() >= issuer.not_after() {
            return Err(Error::IssuerNotValid(authority.name().clone()));
        }
        let tested = match issuer.signer().cost() {
            Cost::Quick => sign::self_test(&issuer),
            Cost::Slow => Lane::of(&issuer).run(For::Probe, move || sign::self_test(&issuer)).await?,
        };
        tested.map_err(|error| Error::Internal(format!("authority {}: {error}", authority.name())))
    }
}
