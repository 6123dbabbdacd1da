//! Whether this server can do its work, really tried.

use super::{Error, Service};
use crate::authority::sign;
use crate::authority::signer::Cost;

impl Service {
    /// Commits a small record durably and has the signer sign: what an issuance needs.
    pub async fn ready(&self) -> Result<(), Error> {
        self.store.check().await?;
        let issuer = self.issuer.clone();
        if self.now() >= issuer.not_after() {
            return Err(Error::Internal("the issuer's certificate has expired".into()));
        }
        let tested = match issuer.signer().cost() {
            Cost::Quick => sign::self_test(&issuer),
            Cost::Slow => tokio::task::spawn_blocking(move || sign::self_test(&issuer))
                .await
                .map_err(|error| Error::Internal(format!("the signing task failed: {error}")))?,
        };
        tested.map_err(|error| Error::Internal(error.to_string()))
    }
}
