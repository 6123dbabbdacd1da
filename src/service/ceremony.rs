//! The founding of a hierarchy: a root and its first intermediate, through the gate like any other
//! certificate, and in the inventory before either leaves.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::gate::{self, Gated};
use crate::authority::certificate::Provenance;
use crate::authority::issuer::Issuer;
use crate::authority::sign::Issued;
use crate::authority::signer::Signer;
use crate::entropy::Entropy;
use crate::provisioner::{Grant, ceremony};
use crate::storage::{Batch, Store};
use crate::time::{Clock, Timestamp};

/// What to found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyPlan {
    /// The CA's name; the certificates are called `NAME Root CA` and `NAME Intermediate CA`.
    pub name: String,
    /// Lifetime of the root.
    pub root_lifetime: Duration,
    /// Lifetime of the intermediate; ends with the root at the latest.
    pub intermediate_lifetime: Duration,
}

/// The certificates made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyResult {
    /// The root.
    pub root_der: Vec<u8>,
    /// The intermediate.
    pub intermediate_der: Vec<u8>,
}

/// Why no hierarchy was made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The name is not usable in a certificate.
    #[error("the CA's name must have 1 to 44 printable characters")]
    Name,
    /// Anything else.
    #[error(transparent)]
    Issue(#[from] Error),
}

/// Makes and records a root and an intermediate under the given keys.
pub async fn create_hierarchy(
    store: &dyn Store,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    root: Arc<dyn Signer>,
    intermediate: Arc<dyn Signer>,
    plan: &CeremonyPlan,
) -> Result<CeremonyResult, CeremonyError> {
    // Common names hold 64 characters at most (RFC 5280 A.1), the suffix included.
    let length = plan.name.chars().count();
    if !(1..=44).contains(&length) || plan.name.chars().any(char::is_control) || plan.name.trim() != plan.name
    {
        return Err(CeremonyError::Name);
    }
    let now = clock.now();
    let root_name = format!("{} Root CA", plan.name);
    let until = (now + plan.root_lifetime).whole_seconds();
    let founding = Arc::new(Issuer::founding(&root_name, begin(now), until, root.clone()));
    let grant = ceremony::root(root_name, root.public_key().clone(), plan.root_lifetime);
    let root_der = issue(store, entropy, &founding, grant, now).await?.der;

    let issuer = Issuer::new(root_der.clone(), &[], root).map_err(|e| Error::Internal(e.to_string()))?;
    let name = format!("{} Intermediate CA", plan.name);
    let grant = ceremony::intermediate(name, intermediate.public_key().clone(), plan.intermediate_lifetime);
    let intermediate_der = issue(store, entropy, &Arc::new(issuer), grant, now).await?.der;
    Ok(CeremonyResult { root_der, intermediate_der })
}

fn begin(now: Timestamp) -> Timestamp {
    (now - crate::authority::draft::BACKDATE).whole_seconds()
}

async fn issue(
    store: &dyn Store,
    entropy: &dyn Entropy,
    issuer: &Arc<Issuer>,
    grant: Grant,
    now: Timestamp,
) -> Result<Issued, Error> {
    match gate::issue(store, entropy, issuer, grant, now, Provenance::default(), |_| Batch::new()).await? {
        Gated::Issued(issued) => Ok(*issued),
        Gated::Conflict => Err(Error::Internal("a fresh serial number was taken".into())),
    }
}
