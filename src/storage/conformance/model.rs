//! Random operations against a plain map that keeps the same promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TABLES: [Table; 2] = [Table::Orders, Table::Certificates];

#[derive(Clone, Debug)]
enum Step {
    /// Checks and changes on small sets of tables, keys and sizes.
    Commit {
        checks: Vec<(u8, u8, Guess)>,
        changes: Vec<Change>,
        appends: u8,
    },
    Scan {
        table: u8,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    },
    Reopen,
}

/// What a check claims, relative to the truth.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Absent,
    Stale,
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u8, usize),
    Delete(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..2u8, 0..8u8);
    let size = prop_oneof![4 => 0..20usize, 1 => 2990..3010usize, 1 => 5990..6010usize, 1 => Just(20_000)];
    let guess = prop_oneof![8 => Just(Guess::Right), 1 => Just(Guess::Absent), 1 => Just(Guess::Stale)];
    let change = prop_oneof![
        3 => (place(), size).prop_map(|((table, key), size)| Change::Put(table, key, size)),
        1 => place().prop_map(|(table, key)| Change::Delete(table, key)),
    ];
    let commit = (
        prop::collection::vec((place(), guess).prop_map(|((table, key), guess)| (table, key, guess)), 0..3),
        prop::collection::vec(change, 0..5),
        0..3u8,
    );
    let bytes = || prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff)], 0..3);
    let step = prop_oneof![
        12 => commit.prop_map(|(checks, changes, appends)| Step::Commit { checks, changes, appends }),
        4 => (0..2u8, bytes(), prop::option::of(bytes()), 0..6usize)
            .prop_map(|(table, prefix, after, limit)| Step::Scan { table, prefix, after, limit }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// Keys that are prefixes of one another, up to the highest byte.
fn key(n: u8) -> Vec<u8> {
    let keys: [&[u8]; 8] = [b"\0", b"\0\0", b"\x01", b"\x01\xff", b"\xfe", b"\xfe\xff", b"\xff", b"\xff\xff"];
    keys[usize::from(n)].to_vec()
}

#[derive(Default)]
struct Model {
    records: BTreeMap<(Table, Vec<u8>), Versioned>,
    audit: Vec<Versioned>,
    last: u64,
}

/// Runs the property: a few dozen histories, fewer where each commit is synced.
pub fn agrees(backend: Backend) {
    let cases = if backend == Backend::Memory { 128 } else { 16 };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    proptest!(config, |(steps in steps())| {
        runtime.block_on(async {
            let mut home = Home::new(backend);
            let mut model = Model::default();
            for step in steps {
                model.step(&mut home, step).await;
            }
            home.reopen().await;
            model.compare(&home).await;
        });
    });
}

impl Model {
    async fn step(&mut self, home: &mut Home, step: Step) {
        match step {
            Step::Reopen => home.reopen().await,
            Step::Scan { table, prefix, after, limit } => {
                let table = TABLES[usize::from(table)];
                let found = home.store.scan(table, &prefix, after.as_deref(), limit).await.unwrap();
                assert_eq!(found, self.scan(table, &prefix, after.as_deref(), limit));
            }
            Step::Commit { checks, changes, appends } => {
                let (batch, holds) = self.batch(&checks, &changes, appends);
                let outcome = home.store.commit(batch).await.unwrap();
                assert_eq!(outcome != CommitOutcome::Conflict, holds);
                if let CommitOutcome::Committed(version) = outcome {
                    assert!(version.0 > self.last);
                    self.last = version.0;
                    self.apply(version, &changes, appends);
                }
            }
        }
    }

    fn batch(&self, checks: &[(u8, u8, Guess)], changes: &[Change], appends: u8) -> (Batch, bool) {
        let mut batch = Batch::new();
        let mut holds = true;
        for (table, n, guess) in checks {
            let place = (TABLES[usize::from(*table)], key(*n));
            let truth = self.records.get(&place).map_or(Expect::Absent, |record| Expect::Is(record.version));
            let expect = match guess {
                Guess::Right => truth,
                Guess::Absent => Expect::Absent,
                Guess::Stale => Expect::Is(Version(0)),
            };
            holds &= expect == truth;
            batch = batch.expect(place.0, place.1, expect);
        }
        for change in changes {
            batch = match change {
                Change::Put(table, n, size) => {
                    batch.put(TABLES[usize::from(*table)], key(*n), vec![*n; *size])
                }
                Change::Delete(table, n) => batch.delete(TABLES[usize::from(*table)], key(*n)),
            };
        }
        for n in 0..appends {
            batch = batch.append(Table::Audit, vec![n]);
        }
        (batch, holds)
    }

    fn apply(&mut self, version: Version, changes: &[Change], appends: u8) {
        for change in changes {
            match change {
                Change::Put(table, n, size) => {
                    let record = Versioned { version, value: vec![*n; *size] };
                    self.records.insert((TABLES[usize::from(*table)], key(*n)), record);
                }
                Change::Delete(table, n) => {
                    self.records.remove(&(TABLES[usize::from(*table)], key(*n)));
                }
            }
        }
        self.audit.extend((0..appends).map(|n| Versioned { version, value: vec![n] }));
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Vec<(Vec<u8>, Versioned)> {
        let rows = self.records.iter().filter(|((of, key), _)| {
            *of == table && key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after)
        });
        rows.take(limit).map(|((_, key), record)| (key.clone(), record.clone())).collect()
    }

    async fn compare(&self, home: &Home) {
        for table in TABLES {
            let found = home.store.scan(table, b"", None, usize::MAX).await.unwrap();
            assert_eq!(found, self.scan(table, b"", None, usize::MAX));
            for n in 0..8 {
                let expected = self.records.get(&(table, key(n))).cloned();
                assert_eq!(home.store.get(table, &key(n)).await.unwrap(), expected);
            }
        }
        let audit = home.store.scan(Table::Audit, b"", None, usize::MAX).await.unwrap();
        let expected: Vec<_> = (1u64..)
            .zip(&self.audit)
            .map(|(sequence, record)| (sequence.to_be_bytes().to_vec(), record.clone()))
            .collect();
        assert_eq!(audit, expected);
    }
}
