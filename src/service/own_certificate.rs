//! The certificate of this server's own listener, issued through the same gate.

use std::sync::Arc;

use super::gate::{self, Gated};
use super::{Error, Service};
use crate::acme::identifier::Identifier;
use crate::authority::certificate::Provenance;
use crate::authority::issuer::Issuer;
use crate::authority::sign::Issued;
use crate::provisioner::own;
use crate::storage::Batch;
use crate::x509::spki::Spki;

impl Service {
    /// Issues a certificate for `names` and a key that only this process knows; and by which issuer.
    pub async fn issue_own(&self, names: &[Identifier], key: Spki) -> Result<(Issued, Arc<Issuer>), Error> {
        let (now, authority) = (self.now(), self.live().own.clone());
        self.note_own_key(&key);
        let (issuer, grant) = (authority.issuer(), own::grant(authority.realm(), names, key));
        let whence = Provenance::default();
        match gate::issue(self.desk(), issuer, grant, now, whence, |_| Batch::new()).await? {
            Gated::Issued(issued) => {
                self.leaves.own(*issuer.key_id());
                Ok((*issued, issuer.clone()))
            }
            Gated::Refused(refusal) => Err(refusal.into()),
            Gated::Conflict => Err(Error::Internal("a fresh serial number was taken".into())),
        }
    }
}
