//! What only engines with files can show: locks, modes, formats, and being killed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::storage::{Backend, Batch, CommitOutcome, StoreError, Table, open};

const BACKENDS: &[Backend] =
    if cfg!(feature = "sled") { &[Backend::Fjall, Backend::Sled] } else { &[Backend::Fjall] };

fn refusal(backend: Backend, path: &std::path::Path) -> String {
    match open(backend, path) {
        Ok(_) => panic!("{backend:?} opened"),
        Err(StoreError::Failed(reason)) => reason,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn creates_the_directory_for_its_owner_alone() {
    for backend in BACKENDS {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        drop(open(*backend, &path).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn says_that_the_directory_is_in_use() {
    for backend in BACKENDS {
        let home = tempfile::tempdir().unwrap();
        let held = open(*backend, home.path()).unwrap();
        assert!(refusal(*backend, home.path()).ends_with("is in use by another process"));
        drop(held);
        drop(open(*backend, home.path()).unwrap());
    }
}

#[test]
fn says_that_the_directory_cannot_be_created() {
    for backend in BACKENDS {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("file"), b"").unwrap();
        assert!(refusal(*backend, &home.path().join("file/store")).contains("cannot be created"));
    }
}

#[cfg(feature = "sled")]
#[test]
fn leaves_another_engines_files_alone() {
    for (first, second) in [(Backend::Fjall, Backend::Sled), (Backend::Sled, Backend::Fjall)] {
        let home = tempfile::tempdir().unwrap();
        drop(open(first, home.path()).unwrap());
        assert!(refusal(second, home.path()).ends_with("holds the files of another engine"));
        drop(open(first, home.path()).unwrap());
    }
}

#[cfg(not(feature = "sled"))]
#[test]
fn says_that_sled_is_not_built_in() {
    assert!(refusal(Backend::Sled, std::path::Path::new("/nonexistent")).contains("without the sled engine"));
}

/// Carries the child's directory and first number.
const CHILD: &str = "MAYFLY_TEST_CRASH_CHILD";

const ROUNDS: u32 = 12;

/// Numbers that one round may use.
const ROUND: u32 = 1 << 20;

fn batch(n: u32) -> Batch {
    let key = n.to_be_bytes();
    let batch = Batch::new().put(Table::Orders, key, value(n)).put(Table::Certificates, key, value(n));
    // Replaced all the time, and large at times, so that chunks come and go.
    batch.put(Table::Meta, [n as u8 % 4], value(n)).append(Table::Audit, key.to_vec())
}

fn value(n: u32) -> Vec<u8> {
    let size = if n.is_multiple_of(5) { 7000 } else { 700 };
    n.to_be_bytes().into_iter().cycle().take(size).collect()
}

/// The child half: commits from many tasks, and says so only once told.
#[test]
#[ignore = "runs as the child of `survives_being_killed`"]
fn crash_child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let (first, path) = told.split_once(' ').unwrap();
    let first = first.parse().unwrap();
    let next = Arc::new(AtomicU32::new(first));
    let store = open(Backend::Fjall, &PathBuf::from(path)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (store, next) = (Arc::clone(&store), Arc::clone(&next));
            tasks.spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= first + ROUND {
                        break;
                    }
                    assert!(matches!(store.commit(batch(n)).await, Ok(CommitOutcome::Committed(_))));
                    let mut out = std::io::stdout().lock();
                    out.write_all(format!("\nacknowledged {n}\n").as_bytes()).unwrap();
                    out.flush().unwrap();
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    });
}

/// Runs a child on `path`, kills it a moment after its first commit, returns what it acknowledged.
fn run_and_kill(path: &std::path::Path, round: u32) -> Vec<u32> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["storage::embedded::tests::crash_child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, format!("{} {}", round * ROUND, path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = lines.filter_map(|line| line.unwrap().strip_prefix("acknowledged ")?.parse().ok());
    let first = acknowledged.next().expect("the child commits");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 83) * 1000 + 137));
        child.kill().unwrap();
        child.wait().unwrap()
    });
    // Reading on while it runs: a full pipe would stop the child between commits.
    let all = std::iter::once(first).chain(acknowledged).collect();
    assert!(!killer.join().unwrap().success());
    all
}

#[tokio::test]
async fn survives_being_killed() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(run_and_kill(&path, round));
        let store = open(Backend::Fjall, &path).unwrap();
        let all = |table| store.scan(table, b"", None, usize::MAX);
        let (orders, audit) = (all(Table::Orders).await.unwrap(), all(Table::Audit).await.unwrap());
        for n in &acknowledged {
            assert!(orders.binary_search_by_key(&n.to_be_bytes().to_vec(), |(key, _)| key.clone()).is_ok());
        }
        for (key, record) in &orders {
            assert_eq!(record.value, value(u32::from_be_bytes(key.as_slice().try_into().unwrap())));
        }
        // Every batch is there in all of its tables, with one version, or in none.
        assert_eq!(all(Table::Certificates).await.unwrap(), orders);
        for (sequence, (key, _)) in (1u64..).zip(&audit) {
            assert_eq!(key, &sequence.to_be_bytes());
        }
        let mut entries: Vec<_> =
            audit.into_iter().map(|(_, record)| (record.value, record.version)).collect();
        entries.sort();
        let batches: Vec<_> = orders.into_iter().map(|(key, record)| (key, record.version)).collect();
        assert_eq!(entries, batches);
        let last = batches.iter().map(|(_, version)| *version).max().unwrap();
        let CommitOutcome::Committed(next) = store.commit(Batch::new()).await.unwrap() else { panic!() };
        assert!(next > last);
        for (_, record) in all(Table::Meta).await.unwrap() {
            let n = u32::from_be_bytes(record.value[..4].try_into().unwrap());
            assert_eq!(record.value, value(n));
        }
        store.close().await;
    }
    assert!(acknowledged.len() > ROUNDS as usize);
}

#[test]
fn a_directory_that_was_open_to_every_user_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    for (found, left) in [(0o755, 0o750), (0o777, 0o770), (0o700, 0o700), (0o2770, 0o2770), (0o701, 0o700)] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("db");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(found)).unwrap();
        super::prepare(&path, &["foreign"]).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, left, "{found:o}");
    }
}
