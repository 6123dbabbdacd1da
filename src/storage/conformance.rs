//! One behaviour suite for every backend: what [`Store`] promises, whatever keeps the data.

mod model;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Backend, Batch, CommitOutcome, Expect, Store, StoreError, Table, Version, Versioned, limits, open,
};

/// Stamps every test out for every backend.
macro_rules! suite {
    ($($test:ident),+ $(,)?) => {
        suite!(@for memory, Backend::Memory; $($test),+);
        suite!(@for fjall, Backend::Fjall; $($test),+);
        #[cfg(feature = "sled")]
        suite!(@for sled, Backend::Sled; $($test),+);
    };
    (@for $name:ident, $backend:expr; $($test:ident),+) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    super::$test(Home::new($backend)).await;
                }
            )+
            #[test]
            fn agrees_with_the_model() {
                model::agrees($backend);
            }
        }
    };
}

suite! {
    puts_gets_and_deletes,
    a_version_never_comes_back,
    checks_hold_or_nothing_happens,
    every_check_of_a_batch_counts,
    the_last_change_of_a_key_wins,
    a_batch_is_atomic_across_tables,
    tables_are_apart,
    scans_by_prefix_cursor_and_limit,
    scans_prefixes_of_high_bytes,
    appends_count_from_one_without_gaps,
    one_of_many_racers_wins,
    counters_lose_no_increment,
    values_of_every_size_and_back,
    readers_see_large_records_whole,
    refuses_what_is_too_large,
    accepts_what_is_just_small_enough,
    checks_that_it_can_write,
    closes_after_what_was_accepted,
    works_without_a_runtime,
    keeps_everything_over_a_reopen,
}

/// A store and where it lives.
struct Home {
    backend: Backend,
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
}

impl Home {
    fn new(backend: Backend) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(backend, &directory.path().join("store")).unwrap();
        Self { backend, directory, store }
    }

    /// Opens the store anew, if it keeps anything.
    async fn reopen(&mut self) {
        if self.backend != Backend::Memory {
            self.store.close().await;
            self.store = open(self.backend, &self.directory.path().join("store")).unwrap();
        }
    }

    async fn value(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.store.get(table, key).await.unwrap().map(|record| record.value)
    }

    async fn keys(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
        let rows = self.store.scan(Table::Orders, prefix, after, limit).await.unwrap();
        rows.into_iter().map(|(key, _)| key).collect()
    }
}

async fn committed(store: &dyn Store, batch: Batch) -> Version {
    match store.commit(batch).await.unwrap() {
        CommitOutcome::Committed(version) => version,
        CommitOutcome::Conflict => panic!("a conflict nobody made"),
    }
}

async fn conflicts(store: &dyn Store, batch: Batch) -> bool {
    store.commit(batch).await.unwrap() == CommitOutcome::Conflict
}

async fn puts_gets_and_deletes(home: Home) {
    let store = &*home.store;
    assert_eq!(store.get(Table::Accounts, b"a").await.unwrap(), None);
    let first = committed(store, Batch::new().put(Table::Accounts, "a", b"one".to_vec())).await;
    let read = store.get(Table::Accounts, b"a").await.unwrap();
    assert_eq!(read, Some(Versioned { version: first, value: b"one".to_vec() }));
    let second = committed(store, Batch::new().put(Table::Accounts, "a", b"two".to_vec())).await;
    assert!(second > first);
    assert_eq!(home.value(Table::Accounts, b"a").await, Some(b"two".to_vec()));
    let _ = committed(store, Batch::new().delete(Table::Accounts, "a").delete(Table::Accounts, "b")).await;
    assert_eq!(home.value(Table::Accounts, b"a").await, None);
    assert_eq!(home.value(Table::Accounts, b"").await, None);
    assert_eq!(home.value(Table::Accounts, &[7; limits::MAX_KEY + 1]).await, None);
}

async fn a_version_never_comes_back(mut home: Home) {
    let mut seen = BTreeSet::new();
    for round in 0..20 {
        let put = Batch::new().put(Table::Orders, "a", vec![]).put(Table::Orders, "b", vec![]);
        let version = committed(&*home.store, put).await;
        assert!(seen.last().is_none_or(|last| *last < version));
        assert!(seen.insert(version));
        for key in [b"a", b"b"] {
            assert_eq!(home.store.get(Table::Orders, key).await.unwrap().unwrap().version, version);
        }
        let _ = committed(&*home.store, Batch::new().delete(Table::Orders, "a")).await;
        if round % 7 == 0 {
            home.reopen().await;
        }
    }
}

async fn checks_hold_or_nothing_happens(home: Home) {
    let store = &*home.store;
    let create = || Batch::new().expect(Table::Orders, "o", Expect::Absent).put(Table::Orders, "o", vec![1]);
    let first = committed(store, create()).await;
    assert!(conflicts(store, create()).await);
    let swap = |version, value| {
        Batch::new().expect(Table::Orders, "o", Expect::Is(version)).put(Table::Orders, "o", vec![value])
    };
    assert!(conflicts(store, swap(Version(first.0 + 1000), 2)).await);
    let second = committed(store, swap(first, 3)).await;
    assert!(conflicts(store, swap(first, 4)).await);
    assert_eq!(home.value(Table::Orders, b"o").await, Some(vec![3]));
    let _ = committed(store, Batch::new().delete(Table::Orders, "o")).await;
    assert!(conflicts(store, swap(second, 5)).await);
    let again = committed(store, create()).await;
    assert!(again > second);
}

async fn every_check_of_a_batch_counts(home: Home) {
    let store = &*home.store;
    let version = committed(store, Batch::new().put(Table::Accounts, "a", vec![])).await;
    for wrong in 0..3 {
        let expect = |position, held, broken| if position == wrong { broken } else { held };
        let batch = Batch::new()
            .expect(Table::Accounts, "a", expect(0, Expect::Is(version), Expect::Absent))
            .expect(Table::Orders, "none", expect(1, Expect::Absent, Expect::Is(version)))
            .expect(Table::Accounts, "a", expect(2, Expect::Is(version), Expect::Is(Version(0))))
            .put(Table::Accounts, "b", vec![1])
            .delete(Table::Accounts, "a")
            .append(Table::Audit, vec![1]);
        assert!(conflicts(store, batch).await, "{wrong}");
    }
    // A conflict contributes nothing, not even a sequence number.
    assert_eq!(home.value(Table::Accounts, b"b").await, None);
    assert_eq!(home.value(Table::Accounts, b"a").await, Some(vec![]));
    let _ = committed(store, Batch::new().append(Table::Audit, vec![2])).await;
    assert_eq!(home.value(Table::Audit, &1u64.to_be_bytes()).await, Some(vec![2]));
}

async fn the_last_change_of_a_key_wins(home: Home) {
    let batch = Batch::new()
        .put(Table::Orders, "a", vec![1])
        .put(Table::Orders, "a", vec![2])
        .put(Table::Orders, "b", vec![3; 9000])
        .delete(Table::Orders, "b")
        .delete(Table::Orders, "c")
        .put(Table::Orders, "c", vec![4; 9000]);
    let _ = committed(&*home.store, batch).await;
    assert_eq!(home.value(Table::Orders, b"a").await, Some(vec![2]));
    assert_eq!(home.value(Table::Orders, b"b").await, None);
    assert_eq!(home.value(Table::Orders, b"c").await, Some(vec![4; 9000]));
}

/// An observer who finds the index finds the record too, while both are replaced all the time.
async fn a_batch_is_atomic_across_tables(home: Home) {
    let writer = Arc::clone(&home.store);
    let writing = tokio::spawn(async move {
        for n in 0u32..300 {
            let key = n.to_be_bytes();
            let batch = Batch::new()
                .put(Table::Accounts, "newest", key.to_vec())
                .put(Table::Certificates, key, vec![5; 4000])
                .append(Table::Audit, key.to_vec());
            let _ = committed(&*writer, batch).await;
        }
    });
    while !writing.is_finished() {
        if let Some(newest) = home.value(Table::Accounts, b"newest").await {
            assert_eq!(home.value(Table::Certificates, &newest).await, Some(vec![5; 4000]));
            let sequence = u64::from(u32::from_be_bytes(newest.clone().try_into().unwrap())) + 1;
            assert_eq!(home.value(Table::Audit, &sequence.to_be_bytes()).await, Some(newest));
        }
    }
    writing.await.unwrap();
}

async fn tables_are_apart(home: Home) {
    for (n, table) in (0u8..).zip(Table::ALL) {
        let _ = committed(&*home.store, Batch::new().put(*table, "same", vec![n; 3500])).await;
    }
    for (n, table) in (0u8..).zip(Table::ALL) {
        assert_eq!(home.value(*table, b"same").await, Some(vec![n; 3500]));
        assert_eq!(home.store.scan(*table, b"", None, 10).await.unwrap().len(), 1, "{table:?}");
    }
}

async fn scans_by_prefix_cursor_and_limit(home: Home) {
    let mut batch = Batch::new();
    for key in ["a", "b", "b0", "b1", "b2", "c"] {
        batch = batch.put(Table::Orders, key, key.as_bytes().to_vec());
    }
    let _ = committed(&*home.store, batch).await;
    let table: &[(&str, Option<&str>, usize, &[&str])] = &[
        ("", None, 100, &["a", "b", "b0", "b1", "b2", "c"]),
        ("", None, usize::MAX, &["a", "b", "b0", "b1", "b2", "c"]),
        ("", None, 0, &[]),
        ("", None, 2, &["a", "b"]),
        ("", Some("b"), 2, &["b0", "b1"]),
        ("", Some("c"), 2, &[]),
        ("b", None, 100, &["b", "b0", "b1", "b2"]),
        ("b", None, 4, &["b", "b0", "b1", "b2"]),
        ("b", Some("a"), 1, &["b"]),
        ("b", Some("b"), 2, &["b0", "b1"]),
        ("b", Some("b1x"), 2, &["b2"]),
        ("b", Some("b2"), 2, &[]),
        ("b", Some("c"), 2, &[]),
        ("b", Some("z"), 2, &[]),
        ("x", None, 2, &[]),
        ("b00", None, 2, &[]),
    ];
    for (prefix, after, limit, keys) in table {
        let found = home.keys(prefix.as_bytes(), after.map(str::as_bytes), *limit).await;
        let expected: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        assert_eq!(found, expected, "{prefix:?} after {after:?}, {limit}");
    }
    for (key, record) in home.store.scan(Table::Orders, b"", None, 100).await.unwrap() {
        assert_eq!(home.store.get(Table::Orders, &key).await.unwrap(), Some(record));
    }
}

async fn scans_prefixes_of_high_bytes(home: Home) {
    let keys: [&[u8]; 6] = [b"\xfe\xff", b"\xff", b"\xff\x00", b"\xff\xfe", b"\xff\xff", b"\xff\xff\xff"];
    for key in keys {
        let _ = committed(&*home.store, Batch::new().put(Table::Orders, key, vec![1])).await;
    }
    // A neighbour that a scan without an upper end must not run into.
    let _ = committed(&*home.store, Batch::new().put(Table::Grants, "a", vec![2])).await;
    assert_eq!(home.keys(b"\xff", None, 9).await, keys[1..]);
    assert_eq!(home.keys(b"\xff\xff", None, 9).await, keys[4..]);
    assert_eq!(home.keys(b"\xff\xff", Some(b"\xff\xff"), 9).await, keys[5..]);
    assert_eq!(home.keys(b"\xff\xff", Some(b"\xff\xff\xff"), 9).await, keys[6..]);
    assert_eq!(home.keys(b"\xfe", None, 9).await, keys[..1]);
    assert_eq!(home.keys(b"\xfe\xff", None, 9).await, keys[..1]);
}

async fn appends_count_from_one_without_gaps(mut home: Home) {
    for round in 0..3u64 {
        let tasks = (0..40u64).map(|task| {
            let store = Arc::clone(&home.store);
            tokio::spawn(async move {
                let value = (round * 40 + task).to_be_bytes().to_vec();
                let batch = Batch::new().append(Table::Audit, value.clone()).append(Table::Audit, value);
                committed(&*store, batch).await
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            let _ = task.await.unwrap();
        }
        home.reopen().await;
    }
    let rows = home.store.scan(Table::Audit, b"", None, 1000).await.unwrap();
    let sequence: Vec<_> = rows.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(sequence, (1..=240u64).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
    for pair in rows.chunks(2) {
        // Two appends of one batch lie side by side, with one version.
        assert_eq!(pair[0].1, pair[1].1);
    }
    // Another table counts for itself.
    let _ = committed(&*home.store, Batch::new().append(Table::Meta, vec![])).await;
    assert_eq!(home.value(Table::Meta, &1u64.to_be_bytes()).await, Some(vec![]));
}

async fn one_of_many_racers_wins(home: Home) {
    let mut version = committed(&*home.store, Batch::new().put(Table::Orders, "o", vec![])).await;
    for round in 0..100 {
        let racers = (0..64u8).map(|racer| {
            let store = Arc::clone(&home.store);
            tokio::spawn(async move {
                let batch = Batch::new()
                    .expect(Table::Orders, "o", Expect::Is(version))
                    .put(Table::Orders, "o", vec![racer])
                    .append(Table::Audit, vec![racer]);
                (racer, store.commit(batch).await.unwrap())
            })
        });
        let mut winner = None;
        for racer in racers.collect::<Vec<_>>() {
            if let (racer, CommitOutcome::Committed(won)) = racer.await.unwrap() {
                assert!(winner.replace(racer).is_none(), "two winners in round {round}");
                version = won;
            }
        }
        let winner = winner.unwrap();
        let record = home.store.get(Table::Orders, b"o").await.unwrap().unwrap();
        assert_eq!(record, Versioned { version, value: vec![winner] });
    }
    assert_eq!(home.store.scan(Table::Audit, b"", None, 1000).await.unwrap().len(), 100);
}

async fn counters_lose_no_increment(home: Home) {
    let _ = committed(&*home.store, Batch::new().put(Table::Meta, "n", 0u32.to_be_bytes().to_vec())).await;
    let tasks = (0..8).map(|_| {
        let store = Arc::clone(&home.store);
        tokio::spawn(async move {
            for _ in 0..20 {
                loop {
                    let record = store.get(Table::Meta, b"n").await.unwrap().unwrap();
                    let n = u32::from_be_bytes(record.value.try_into().unwrap()) + 1;
                    let batch = Batch::new().expect(Table::Meta, "n", Expect::Is(record.version)).put(
                        Table::Meta,
                        "n",
                        n.to_be_bytes().to_vec(),
                    );
                    if !conflicts(&*store, batch).await {
                        break;
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(home.value(Table::Meta, b"n").await, Some(160u32.to_be_bytes().to_vec()));
}

async fn values_of_every_size_and_back(mut home: Home) {
    let sizes = [0, 1, 2999, 3000, 3001, 6000, 6001, 100_000, 5, 100_000, 3001, 0, limits::MAX_VALUE, 1];
    for (n, size) in sizes.into_iter().enumerate() {
        let value: Vec<u8> = (0..size).map(|at| (at * 7 + n) as u8).collect();
        let batch =
            Batch::new().put(Table::Meta, "crl", value.clone()).put(Table::Meta, "other", value.clone());
        let version = committed(&*home.store, batch).await;
        if n % 3 == 0 {
            home.reopen().await;
        }
        let record = Versioned { version, value };
        assert_eq!(home.store.get(Table::Meta, b"crl").await.unwrap().as_ref(), Some(&record));
        let rows = home.store.scan(Table::Meta, b"", None, 9).await.unwrap();
        assert_eq!(rows, [(b"crl".to_vec(), record.clone()), (b"other".to_vec(), record)]);
    }
}

async fn readers_see_large_records_whole(home: Home) {
    let writer = Arc::clone(&home.store);
    let writing = tokio::spawn(async move {
        for n in 0..150u8 {
            let size = if n % 5 == 0 { 10 } else { 20_000 };
            let batch =
                Batch::new().put(Table::Meta, "a", vec![n; size]).put(Table::Meta, "b", vec![n; size]);
            let _ = committed(&*writer, batch).await;
            if n % 7 == 0 {
                let _ = committed(&*writer, Batch::new().delete(Table::Meta, "a")).await;
            }
        }
    });
    while !writing.is_finished() {
        let mut records: Vec<_> = home.store.get(Table::Meta, b"a").await.unwrap().into_iter().collect();
        let rows = home.store.scan(Table::Meta, b"", None, 2).await.unwrap();
        records.extend(rows.into_iter().map(|(_, record)| record));
        for record in records {
            let n = record.value[0];
            assert_eq!(record.value, vec![n; if n % 5 == 0 { 10 } else { 20_000 }]);
        }
    }
    writing.await.unwrap();
}

async fn refuses_what_is_too_large(home: Home) {
    let put = |key: usize, value: usize| Batch::new().put(Table::Orders, vec![1; key], vec![1; value]);
    let many = |count: usize, size: usize| {
        (0..count).fold(Batch::new(), |batch, n| batch.put(Table::Orders, n.to_be_bytes(), vec![1; size]))
    };
    let checks = (0..=limits::MAX_OPS)
        .fold(Batch::new(), |batch, n| batch.expect(Table::Orders, n.to_be_bytes(), Expect::Absent));
    let table = [
        put(limits::MAX_KEY + 1, 1),
        put(0, 1),
        put(1, limits::MAX_VALUE + 1),
        Batch::new().delete(Table::Orders, vec![1; limits::MAX_KEY + 1]),
        Batch::new().delete(Table::Orders, vec![]),
        Batch::new().append(Table::Audit, vec![1; limits::MAX_VALUE + 1]),
        Batch::new().expect(Table::Orders, vec![1; limits::MAX_KEY + 1], Expect::Absent),
        many(limits::MAX_OPS + 1, 1),
        many(5, limits::MAX_VALUE),
        checks,
    ];
    for (n, batch) in table.into_iter().enumerate() {
        assert!(matches!(home.store.commit(batch).await, Err(StoreError::TooLarge(_))), "{n}");
    }
    assert_eq!(home.keys(b"", None, 9).await, Vec::<Vec<u8>>::new());
}

async fn accepts_what_is_just_small_enough(home: Home) {
    let mut batch = Batch::new();
    for n in 0..limits::MAX_OPS {
        let mut key = vec![0xff; limits::MAX_KEY];
        key[..8].copy_from_slice(&n.to_be_bytes());
        batch =
            batch.expect(Table::Orders, key.clone(), Expect::Absent).put(Table::Orders, key, vec![2; 3001]);
    }
    batch.ops.truncate(limits::MAX_OPS / 2);
    let _ = committed(&*home.store, batch).await;
    assert_eq!(home.keys(b"", None, 2000).await.len(), limits::MAX_OPS / 2);
}

async fn checks_that_it_can_write(home: Home) {
    home.store.check().await.unwrap();
    home.store.check().await.unwrap();
    // It leaves nothing that a user of the store could see.
    for table in Table::ALL {
        assert_eq!(home.store.scan(*table, b"", None, 9).await.unwrap(), []);
    }
}

async fn closes_after_what_was_accepted(mut home: Home) {
    let tasks = (0..200u32).map(|n| {
        let store = Arc::clone(&home.store);
        tokio::spawn(async move {
            let batch = Batch::new().put(Table::Orders, n.to_be_bytes(), vec![9; 100]);
            (n, store.commit(batch).await)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let second = Arc::clone(&home.store);
    tokio::join!(home.store.close(), second.close());
    drop(second);
    let mut acknowledged = Vec::new();
    for task in tasks {
        match task.await.unwrap() {
            (n, Ok(_)) => acknowledged.push(n),
            (_, Err(error)) => assert!(matches!(error, StoreError::Failed(_)), "{error}"),
        }
    }
    assert!(matches!(home.store.get(Table::Orders, b"a").await, Err(StoreError::Failed(_))));
    assert!(matches!(home.store.check().await, Err(StoreError::Failed(_))));
    home.store.close().await;
    if home.backend != Backend::Memory {
        home.reopen().await;
        for n in acknowledged {
            assert_eq!(home.value(Table::Orders, &n.to_be_bytes()).await, Some(vec![9; 100]));
        }
    }
}

/// The futures need tokio's runtime for nothing but the place where scans block.
async fn works_without_a_runtime(home: Home) {
    let store = Arc::clone(&home.store);
    let alone = std::thread::spawn(move || {
        let mut steps = Box::pin(async {
            let _ = committed(&*store, Batch::new().put(Table::Orders, "a", vec![1])).await;
            let rows = store.scan(Table::Orders, b"", None, 9).await.unwrap();
            store.close().await;
            rows.len()
        });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            match steps.as_mut().poll(&mut context) {
                std::task::Poll::Ready(rows) => return rows,
                std::task::Poll::Pending => std::thread::yield_now(),
            }
        }
    });
    assert_eq!(alone.join().unwrap(), 1);
}

async fn keeps_everything_over_a_reopen(mut home: Home) {
    let mut expected = Vec::new();
    for n in 0..30u8 {
        let value = vec![n; usize::from(n) * 400];
        let version =
            committed(&*home.store, Batch::new().put(Table::Certificates, [n], value.clone())).await;
        expected.push((vec![n], Versioned { version, value }));
    }
    for _ in 0..2 {
        home.reopen().await;
        assert_eq!(home.store.scan(Table::Certificates, b"", None, 100).await.unwrap(), expected);
    }
    // Dropped instead of closed: nothing that was acknowledged is lost.
    if home.backend != Backend::Memory {
        let Home { backend, directory, store } = home;
        drop(store);
        let store = open(backend, &directory.path().join("store")).unwrap();
        assert_eq!(store.scan(Table::Certificates, b"", None, 100).await.unwrap(), expected);
    }
}
