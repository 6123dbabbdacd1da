//! Durable transactions of the store: the records of an issuance, at a number of callers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::BenchError;
use super::histogram::Histogram;
use super::process::{Memory, Process};
use super::report::Times;
use crate::entropy::{Entropy, SystemEntropy};
use crate::storage::{self, Backend, Batch, CommitOutcome, Expect, Store, Table};

/// Bytes of the records of one transaction: an order, a certificate, an audit event.
const ORDER: usize = 700;
const CERTIFICATE: usize = 900;
const AUDIT: usize = 100;

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Callers, each waiting for its transaction before the next.
    pub callers: usize,
    /// Seconds.
    pub measured_s: f64,
    /// Durable transactions.
    pub transactions: u64,
    /// Per second.
    pub per_s: f64,
    /// Of this process.
    pub cpu_us_per_transaction: Option<f64>,
    /// Resident and peak, KiB, of this process.
    pub memory_kib: Option<(u64, u64)>,
    /// Times of a transaction.
    pub latency: Times,
}

/// Fills a store in `dir` with `callers` at once for `duration`.
pub async fn run(
    backend: Backend,
    dir: &Path,
    callers: usize,
    duration: Duration,
) -> Result<Figures, BenchError> {
    let store = storage::open(backend, dir)?;
    let outcome = load(&store, callers, duration).await;
    store.close().await;
    outcome
}

async fn load(store: &Arc<dyn Store>, callers: usize, duration: Duration) -> Result<Figures, BenchError> {
    let process = Process::own();
    let before = process.cpu().ok();
    let start = Instant::now();
    let end = start + duration;
    // A store that was filled before has other keys: a random beginning.
    let next = {
        let entropy = SystemEntropy::default();
        let entropy: &dyn Entropy = &entropy;
        Arc::new(AtomicU64::new(u64::from_be_bytes(entropy.bytes())))
    };
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        tasks.spawn(caller(store.clone(), next.clone(), end));
    }
    let mut latency = Histogram::default();
    while let Some(done) = tasks.join_next().await {
        latency.merge(&done.map_err(|error| BenchError::Crypto(error.to_string()))??);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu = before.and_then(|before| Some(process.cpu().ok()?.since(&before)));
    let transactions = latency.count();
    Ok(Figures {
        callers,
        measured_s: seconds,
        transactions,
        per_s: transactions as f64 / seconds,
        cpu_us_per_transaction: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / transactions.max(1) as f64),
        memory_kib: process.memory().ok().map(|Memory { resident, peak }| (resident, peak)),
        latency: Times::of(&latency),
    })
}

async fn caller(store: Arc<dyn Store>, next: Arc<AtomicU64>, end: Instant) -> Result<Histogram, BenchError> {
    let mut latency = Histogram::default();
    while Instant::now() < end {
        // Spread over the key space, as random ids are.
        let key = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let batch = Batch::new()
            .expect(Table::Orders, key, Expect::Absent)
            .put(Table::Orders, key, vec![1; ORDER])
            .put(Table::Certificates, key, vec![2; CERTIFICATE])
            .append(Table::Audit, vec![3; AUDIT]);
        let start = Instant::now();
        match store.commit(batch).await? {
            CommitOutcome::Committed(_) => latency.record(start.elapsed()),
            CommitOutcome::Conflict => return Err(BenchError::Crypto("a fresh key was taken".into())),
        }
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_in_memory() {
        let figures = run(Backend::Memory, Path::new("/x"), 4, Duration::from_millis(50)).await.unwrap();
        assert!(figures.transactions >= 4 && figures.latency.count == figures.transactions);
    }
}
