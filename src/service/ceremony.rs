//! The making of CA certificates: a root and its first intermediate, and whatever an offline CA signs,
//! through the gate like any other certificate, and in the inventory before any of them leaves.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::gate::{self, Desk, Gated};
use crate::authority::ca::CaSpec;
use crate::authority::certificate::Provenance;
use crate::authority::issuer::Issuer;
use crate::authority::sign::Issued;
use crate::authority::signer::Signer;
use crate::entropy::Entropy;
use crate::provisioner::{Grant, ceremony};
use crate::storage::{Batch, Store};
use crate::time::{Clock, Timestamp};
use crate::x509::spki::Spki;

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

/// Where CA certificates are made: the store that keeps them, the time, and randomness.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Keeps the inventory and the audit log.
    pub store: &'a dyn Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// For serial numbers.
    pub entropy: &'a dyn Entropy,
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
    if !(1..=44).contains(&length) {
        return Err(CeremonyError::Name);
    }
    let place = Place { store, clock, entropy };
    let spec = CaSpec::root(&format!("{} Root CA", plan.name)).map_err(|_| CeremonyError::Name)?;
    // Its own suffix hides a space at the name's end.
    let below = CaSpec::issuing(&format!("{} Intermediate CA", plan.name));
    let below = below.ok().filter(|_| plan.name.trim() == plan.name).ok_or(CeremonyError::Name)?;
    let root_der = create_root(place, root.clone(), spec, plan.root_lifetime).await?;

    let issuer = Issuer::new(root_der.clone(), &[], root).map_err(|e| Error::Internal(e.to_string()))?;
    let key = intermediate.public_key().clone();
    let intermediate_der =
        sign_authority(place, &Arc::new(issuer), below, key, plan.intermediate_lifetime).await?;
    Ok(CeremonyResult { root_der, intermediate_der })
}

/// Makes and records a root; its DER.
pub async fn create_root(
    place: Place<'_>,
    signer: Arc<dyn Signer>,
    spec: CaSpec,
    lifetime: Duration,
) -> Result<Vec<u8>, Error> {
    let now = place.clock.now();
    let until = (now + lifetime).whole_seconds();
    let key = signer.public_key().clone();
    let founding = Arc::new(Issuer::founding(&spec.subject, begin(now), until, signer));
    Ok(issue(place, &founding, ceremony::root(spec, key, lifetime), now).await?.der)
}

/// Signs and records a CA certificate for `key` below `issuer`: an intermediate, or the certificate
/// that another hierarchy's CA has here as well (a cross certificate); its DER. It ends with the
/// issuer at the latest.
pub async fn sign_authority(
    place: Place<'_>,
    issuer: &Arc<Issuer>,
    spec: CaSpec,
    key: Spki,
    lifetime: Duration,
) -> Result<Vec<u8>, Error> {
    let grant = ceremony::intermediate(spec, key, lifetime);
    Ok(issue(place, issuer, grant, place.clock.now()).await?.der)
}

fn begin(now: Timestamp) -> Timestamp {
    (now - crate::authority::draft::BACKDATE).whole_seconds()
}

async fn issue(
    place: Place<'_>,
    issuer: &Arc<Issuer>,
    grant: Grant,
    now: Timestamp,
) -> Result<Issued, Error> {
    let from = Provenance::default();
    let desk = Desk { store: place.store, entropy: place.entropy, followers: None };
    match gate::issue(desk, issuer, grant, now, from, |_| Batch::new()).await? {
        Gated::Issued(issued) => Ok(*issued),
        Gated::Refused(refusal) => Err(refusal.into()),
        Gated::Conflict => Err(Error::Internal("a fresh serial number was taken".into())),
    }
}
