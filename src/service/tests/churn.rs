//! What comes and goes leaves no bytes behind: the sweeper over the real engine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::super::stand::{HOUR, START, Stand};
use super::super::sweep::Cursors;
use super::sweep::{account, name, order, sweep_all};
use crate::acme::order::Finish;
use crate::entropy::{Entropy, SeededEntropy};
use crate::id::OrderId;
use crate::storage::codec::Record;
use crate::storage::embedded::fjall::Fjall;
use crate::storage::group::GroupCommit;
use crate::storage::{Batch, Store, Table};

const CYCLES: usize = 16;
const ORDERS: usize = 500;
/// What each order is filled up with, a large CSR, to write much in a short time.
const CSR: usize = 20 << 10;
/// As the engine is opened with, but for a smaller table, so that its bounds are reached within the test.
const JOURNALS: u64 = 64 << 20;
const MEMTABLE: u64 = 2 << 20;
/// A journal is sealed at this length.
const JOURNAL: u64 = 64 << 20;

/// Bytes that the journals, and all other files, take on the disk; a new journal is mostly a hole.
fn disk(path: &Path) -> (u64, u64) {
    // Files come and go meanwhile.
    let Ok(entries) = std::fs::read_dir(path) else { return (0, 0) };
    entries.flatten().fold((0, 0), |(journals, others), entry| {
        let Ok(metadata) = entry.metadata() else { return (journals, others) };
        let bytes = metadata.blocks() * 512;
        if metadata.is_dir() {
            let below = disk(&entry.path());
            (journals + below.0, others + below.1)
        } else if entry.path().extension().is_some_and(|extension| extension == "jnl") {
            (journals + bytes, others)
        } else {
            (journals, others + bytes)
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_come_and_go_leave_no_bytes_behind() {
    let home = tempfile::tempdir().unwrap();
    let engine = Fjall::open_within(home.path(), JOURNALS, MEMTABLE).unwrap();
    let store: Arc<dyn Store> = Arc::new(GroupCommit::start(engine).unwrap());
    let stand = Stand::over(store.clone(), START, |_| ()).await;
    let account = account(&stand).await;
    let entropy: &dyn Entropy = &SeededEntropy::new(7);
    // Incompressible; each order takes it from elsewhere.
    let noise: Vec<u8> = (0..2 * CSR / 32).flat_map(|_| entropy.bytes::<32>()).collect();
    let (mut cursors, mut seen) = (Cursors::default(), Vec::new());
    for cycle in 0..CYCLES {
        let one = order(&stand, &account, &name(&format!("n{cycle}.test"))).await;
        for _ in 0..ORDERS / 50 {
            let batch = (0..50).fold(Batch::new(), |batch, _| {
                let from = usize::from(u16::from_be_bytes(entropy.bytes())) % CSR;
                let mut copy = one.order.clone();
                copy.finish = Finish::Processing(noise[from..from + CSR].to_vec());
                let id = OrderId::new(one.id.purge(), entropy.bytes());
                batch.put(Table::Orders, *id.as_bytes(), copy.encode())
            });
            let _ = store.commit(batch).await.unwrap();
        }
        stand.clock.advance(11 * HOUR);
        sweep_all(&stand, &mut cursors).await;
        seen.push(disk(home.path()));
    }
    assert_eq!(stand.rows(Table::Orders).await, 0);
    let cycle = (ORDERS * CSR) as u64;
    let most = |of: &[(u64, u64)]| of.iter().map(|(journals, others)| journals + others).max().unwrap();
    // All that was written is some 160 MB, in the journals and in the tables each.
    let (early, late) = (most(&seen[5..10]), most(&seen[11..]));
    assert!(late <= early + early / 2, "{seen:?}");
    for (journals, tables) in &seen {
        assert!(*journals <= JOURNALS + JOURNAL + cycle, "{seen:?}");
        assert!(*tables <= 5 * cycle, "{seen:?}");
    }
    assert!(
        seen.iter().any(|(journals, _)| *journals > JOURNAL / 2),
        "the bounds were not reached: {seen:?}"
    );
}
