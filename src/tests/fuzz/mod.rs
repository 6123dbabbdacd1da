//! Fuzzing on a stable compiler: inputs of a corpus, changed at random, against one pure function each.
//!
//! A target takes bytes, tells whether they were accepted, and panics when what must hold does not.
//! `MAYFLY_FUZZ=N` asks for N executions of each target instead of a short run, `MAYFLY_SEED=N` for the
//! same ones again. What fails is kept in `target/fuzz`; with its repair it belongs into
//! `testdata/fuzz/TARGET`, where it is run every time.

mod mutate;
mod policies;
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::entropy::{Entropy, SystemEntropy};
use mutate::Mutator;
use policies::{POLICY, POLICY_IMPORT};
use targets::{CONFIG, CSR, DNS, HTTP01, IDENTIFIER, JWS, JWS_HEADER, TLS_ALPN, Target};

/// Executions of each target when nothing else is asked for.
const SHORT: u64 = 40_000;
/// One execution that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The corpus of a target: its own, and files that are kept elsewhere for other reasons.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let own = format!("testdata/fuzz/{}", target.name);
    let mut files: Vec<PathBuf> = [own.as_str()]
        .iter()
        .chain(target.also)
        .flat_map(|dir| fs::read_dir(root().join(dir)).unwrap_or_else(|error| panic!("{dir}: {error}")))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_none_or(|e| e != "md"))
        .collect();
    files.sort();
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What is under way, for whoever watches.
#[derive(Default)]
struct Progress {
    executions: AtomicU64,
    accepted: AtomicU64,
    input: Mutex<Vec<u8>>,
    ended: AtomicBool,
}

impl Progress {
    fn execute(&self, target: &Target, input: &[u8]) -> Result<bool, String> {
        *self.input.lock().unwrap() = input.to_vec();
        let accepted = catch_unwind(AssertUnwindSafe(|| (target.run)(input)))
            .map_err(|_| format!("{} fails on {}", target.name, keep(target.name, input)))?;
        self.executions.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(u64::from(accepted), Ordering::Relaxed);
        Ok(accepted)
    }
}

/// Writes an input where it can be found.
fn keep(name: &str, input: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, input);
    let hex: String = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = root().join("target/fuzz");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("{name}-{hex}"));
    fs::write(&file, input).unwrap();
    file.display().to_string()
}

fn fuzz(target: &'static Target) {
    let seed = number("MAYFLY_SEED").unwrap_or_else(|| {
        let source: &dyn Entropy = &SystemEntropy::default();
        u64::from_be_bytes(source.bytes())
    });
    let executions = number("MAYFLY_FUZZ").unwrap_or(SHORT);
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "{}: no corpus", target.name);
    let progress = Arc::new(Progress::default());
    let start = Instant::now();
    let worker = thread::spawn({
        let progress = progress.clone();
        move || {
            let result = run(target, &corpus, seed, executions, &progress);
            progress.ended.store(true, Ordering::SeqCst);
            result
        }
    });
    let (mut seen, mut since) = (0, Instant::now());
    while !progress.ended.load(Ordering::SeqCst) && !worker.is_finished() {
        thread::sleep(Duration::from_millis(5));
        let now = progress.executions.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            let file = keep(target.name, &progress.input.lock().unwrap());
            panic!("{} hangs on {file}; MAYFLY_SEED={seed}", target.name);
        }
    }
    let (done, accepted) =
        (progress.executions.load(Ordering::Relaxed), progress.accepted.load(Ordering::Relaxed));
    println!(
        "fuzz {}: {done} executions, {accepted} accepted, {:.1} s, seed {seed}",
        target.name,
        start.elapsed().as_secs_f64()
    );
    if let Err(what) = worker.join().expect("the driver itself") {
        panic!("{what}; MAYFLY_SEED={seed}");
    }
}

fn run(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    executions: u64,
    progress: &Progress,
) -> Result<(), String> {
    let mut accepted = 0;
    for input in corpus {
        accepted += usize::from(progress.execute(target, input)?);
    }
    if accepted == 0 {
        return Err(format!("{}: nothing of the corpus is accepted, so nothing deep is tried", target.name));
    }
    let mut mutator = Mutator::new(seed, target.words);
    for _ in 0..executions {
        progress.execute(target, &mutator.input(corpus))?;
    }
    Ok(())
}

macro_rules! targets {
    ($($test:ident = $target:ident),+ $(,)?) => {
        $(#[test] fn $test() { fuzz(&$target); })+
        const ALL: &[&Target] = &[$(&$target),+];
    };
}

targets! {
    jws = JWS,
    jws_header = JWS_HEADER,
    csr = CSR,
    identifier = IDENTIFIER,
    http01 = HTTP01,
    tls_alpn = TLS_ALPN,
    dns = DNS,
    config = CONFIG,
    policy = POLICY,
    policy_import = POLICY_IMPORT,
}

/// Run by hand, once for a new target: writes the inputs to begin from.
#[test]
#[ignore = "writes files"]
fn write_missing_corpora() {
    for target in ALL {
        let dir = root().join("testdata/fuzz").join(target.name);
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in (target.seeds)() {
            let file = dir.join(name);
            if !file.exists() {
                fs::write(file, bytes).unwrap();
            }
        }
    }
}

/// A driver that sees nothing would prove nothing.
#[test]
fn a_target_that_breaks_is_seen() {
    let target = Target {
        name: "breaks",
        also: &[],
        words: &["boom"],
        run: |bytes| {
            assert!(!bytes.windows(4).any(|window| window == b"boom"), "as planned");
            true
        },
        seeds: Vec::new,
    };
    let found = run(&target, &[b"some text".to_vec()], 1, 10_000, &Progress::default());
    assert!(found.is_err_and(|what| what.contains("breaks fails on")));
    let refuses = Target { run: |_| false, ..target };
    assert!(run(&refuses, &[Vec::new()], 1, 1, &Progress::default()).is_err(), "nothing is accepted");
}
