//! TEMPORARY: compile-only stand-in for the founding ceremony.
#![expect(missing_docs, reason = "a stand-in")]

use std::sync::Arc;
use std::time::Duration;

use crate::authority::signer::Signer;
use crate::entropy::Entropy;
use crate::storage::Store;
use crate::time::Clock;

#[derive(Clone, Debug)]
pub struct CeremonyPlan {
    pub name: String,
    pub root_lifetime: Duration,
    pub intermediate_lifetime: Duration,
}

#[derive(Clone, Debug)]
pub struct CeremonyResult {
    pub root_der: Vec<u8>,
    pub intermediate_der: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("the ceremony is not built yet")]
pub struct CeremonyError;

pub async fn create_hierarchy(
    _store: &dyn Store,
    _clock: &dyn Clock,
    _entropy: &dyn Entropy,
    _root: Arc<dyn Signer>,
    _intermediate: Arc<dyn Signer>,
    _plan: &CeremonyPlan,
) -> Result<CeremonyResult, CeremonyError> {
    Err(CeremonyError)
}
