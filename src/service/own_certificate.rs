//! The certificate of this server's own listener, issued through the same gate.

use super::gate::{self, Gated};
use super::{Error, Service};
use crate::acme::identifier::Identifier;
use crate::authority::certificate::Provenance;
use crate::authority::sign::Issued;
use crate::provisioner::own;
use crate::storage::Batch;
use crate::x509::spki::Spki;

impl Service {
    /// Issues a certificate for `names` and a key that only this process knows.
    pub async fn issue_own(&self, names: &[Identifier], key: Spki) -> Result<Issued, Error> {
        let now = self.now();
        self.note_own_key(&key);
        let grant = own::grant(names, key);
        match gate::issue(
            &*self.store,
            &*self.entropy,
            &self.issuer,
            grant,
            now,
            Provenance::default(),
            |_| Batch::new(),
        )
        .await?
        {
            Gated::Issued(issued) => Ok(*issued),
            Gated::Conflict => Err(Error::Internal("a fresh serial number was taken".into())),
        }
    }
}
