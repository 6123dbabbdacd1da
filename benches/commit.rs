//! Durable commits per second at 1, 16 and 256 callers: two small records and an index row each,
//! the shape of a new order.
//!
//! The directory is made in `TMPDIR`; put that on the disk in question, since syncs to a memory
//! file system say nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use divan::counter::ItemsCount;
use mayfly::storage::{Backend, Batch, CommitOutcome, Expect, Store, Table, open};
use tokio::runtime::Runtime;

const CALLERS: [u64; 3] = [1, 16, 256];

/// Commits that each caller makes in one sample, so that starting the callers costs little.
const EACH: u64 = 20;

fn main() {
    divan::main();
}

#[divan::bench(args = CALLERS, sample_count = 30)]
fn fjall(bencher: Bencher, callers: u64) {
    commits(bencher, Backend::Fjall, callers);
}

#[divan::bench(args = CALLERS, sample_count = 30)]
fn memory(bencher: Bencher, callers: u64) {
    commits(bencher, Backend::Memory, callers);
}

#[cfg(feature = "sled")]
#[divan::bench(args = CALLERS, sample_count = 30)]
fn sled(bencher: Bencher, callers: u64) {
    commits(bencher, Backend::Sled, callers);
}

fn commits(bencher: Bencher, backend: Backend, callers: u64) {
    let home = tempfile::tempdir().expect("a directory");
    let store = open(backend, home.path()).expect("a store");
    let runtime = Runtime::new().expect("a runtime");
    let next = Arc::new(AtomicU64::new(0));
    bencher.counter(ItemsCount::new(callers * EACH)).bench(|| {
        runtime.block_on(async {
            let tasks: Vec<_> =
                (0..callers).map(|_| tokio::spawn(caller(Arc::clone(&store), Arc::clone(&next)))).collect();
            for task in tasks {
                task.await.expect("a caller");
            }
        });
    });
    runtime.block_on(store.close());
}

async fn caller(store: Arc<dyn Store>, next: Arc<AtomicU64>) {
    for _ in 0..EACH {
        // Spread over the key space, as random identifiers are.
        let key = next.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        let batch = Batch::new()
            .expect(Table::Orders, key, Expect::Absent)
            .put(Table::Orders, key, vec![1; 700])
            .put(Table::Certificates, key, vec![2; 1200])
            .append(Table::Audit, vec![3; 300]);
        let outcome = store.commit(batch).await.expect("a commit");
        assert!(matches!(outcome, CommitOutcome::Committed(_)));
    }
}
