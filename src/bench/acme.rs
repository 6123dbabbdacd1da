//! The load on an ACME server: closed loop (as many issuances under way as there are clients) or
//! open loop (issuances begin by the clock, whatever the server does).
//!
//! In an open loop, a latency counts from the moment an issuance was due, not from when a client got
//! round to it: a server that stalls cannot hide what it kept waiting (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::BenchError;
use super::answers::Answers;
use super::flow::{self, Ask, Proof};
use super::machine::Unit;
use super::process::{Cpu, Memory, Process};
use super::stats::{Recent, Recorder, Stats, Step, Trace};
use super::{dns, http01};
use crate::client::acme::{self as protocol, Client};
use crate::client::csr::CertificateKey;
use crate::client::key::{AccountKey, KeyKind};
use crate::client::transport::{Target, Version};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's directory.
    pub directory: String,
    /// PEM certificates that the server's chain ends in.
    pub roots: Vec<u8>,
    /// Whether the server may be another machine.
    pub allow_remote: bool,
    /// Process to watch.
    pub pid: Option<u32>,
    /// Accounts, each with one connection and one issuance at a time.
    pub clients: usize,
    /// Issuances per second to begin; none: closed loop.
    pub rate: Option<f64>,
    /// End when so many issuances were begun, if the time is not up before.
    pub issuances: Option<u64>,
    /// Length of the measurement.
    pub duration: Duration,
    /// Load before it that does not count.
    pub warmup: Duration,
    /// For one exchange.
    pub timeout: Duration,
    /// HTTP version.
    pub version: Version,
    /// A connection per issuance.
    pub fresh_connections: bool,
    /// The same names again and again.
    pub reuse: bool,
    /// Names per order.
    pub names: usize,
    /// Domain of the names.
    pub domain: String,
    /// How they are proved.
    pub proof: Proof,
    /// Kind of the accounts' keys.
    pub account_key: KeyKind,
    /// Kind of the certificates' keys.
    pub certificate_key: KeyKind,
    /// How many of the latter there are.
    pub certificate_keys: usize,
    /// How often a request is sent again after 429 or 503.
    pub busy_retries: u32,
    /// Port of the http-01 responder.
    pub http_port: u16,
    /// Port of the DNS server.
    pub dns_port: u16,
    /// Whether the names have ::1 too.
    pub ipv6: bool,
    /// Random text that keeps the names of different runs apart.
    pub run: String,
}

/// What a run found.
#[derive(Debug)]
pub struct Outcome {
    /// The sums.
    pub stats: Stats,
    /// How long was measured.
    pub elapsed: Duration,
    /// Issuances that were due and that no client was free for.
    pub not_begun: u64,
    /// Whether it was ended by hand.
    pub interrupted: bool,
    /// CPU time of the watched process.
    pub server_cpu: Option<Duration>,
    /// Its memory at the end.
    pub server_memory: Option<Memory>,
    /// CPU time of this process.
    pub own_cpu: Option<Duration>,
    /// Requests signed anew because of `badNonce`.
    pub nonce_retries: u64,
    /// What cryptography costs here.
    pub unit: Unit,
}

/// Hears once a second how it goes: the time since the beginning, whether it counts, and what
/// happened since the last time.
pub type OnProgress<'a> = &'a (dyn Fn(Duration, bool, &Recent) + Send + Sync);

/// How long the unit is measured, before and after the load.
const UNIT: Duration = Duration::from_millis(400);
/// Accounts registered at once.
const REGISTRATIONS: usize = 16;
/// How long clients may take to end.
const DRAIN: Duration = Duration::from_secs(10);
/// After a failure that came without `Retry-After`: a client that failed does not spin.
const AFTER_FAILURE: Duration = Duration::from_millis(50);

struct Shared {
    plan: Plan,
    answers: Arc<Answers>,
    recorder: Recorder,
    keys: Vec<CertificateKey>,
    /// Issuances handed out in an open loop, and those begun.
    tickets: AtomicU64,
    begun: AtomicU64,
    nonce_retries: AtomicU64,
    /// Told when the last worker has ended.
    idle: Notify,
    working: AtomicUsize,
}

/// Runs the load; `stop` ends it early.
pub async fn run(
    plan: Plan,
    stop: impl Future<Output = ()>,
    on_progress: OnProgress<'_>,
) -> Result<Outcome, BenchError> {
    let setup = |what: &'static str| move |error: protocol::Error| BenchError::Setup(what, error);
    let server = plan.pid.map(|pid| (pid, Process::of(pid)));
    if let Some((pid, process)) = &server {
        process.cpu().map_err(|error| BenchError::Process(*pid, error))?;
    }
    let target = Target::new(&plan.directory, &plan.roots, plan.version, plan.timeout);
    let target = Arc::new(target.await.map_err(|error| setup("--directory")(error.into()))?);
    if !plan.allow_remote && !target.address().ip().to_canonical().is_loopback() {
        return Err(BenchError::Remote(target.address()));
    }
    let directory = protocol::directory(&target, &plan.directory).await.map_err(setup("the directory"))?;
    let directory = Arc::new(directory);
    let before = measure_unit().await?;

    let answers = Arc::new(Answers::default());
    let mut responders = Vec::new();
    if plan.proof != Proof::Pretended {
        let zone = dns::Zone { domain: plan.domain.clone(), ipv6: plan.ipv6, answers: answers.clone() };
        responders.extend(dns::start(plan.dns_port, zone).await?.1);
        responders.push(http01::start(plan.http_port, answers.clone()).await?.1);
    }
    let keys: Result<Vec<_>, _> =
        (0..plan.certificate_keys.max(1)).map(|_| CertificateKey::generate(plan.certificate_key)).collect();
    let shared = Arc::new(Shared {
        plan,
        answers,
        recorder: Recorder::default(),
        keys: keys?,
        tickets: AtomicU64::new(0),
        begun: AtomicU64::new(0),
        nonce_retries: AtomicU64::new(0),
        idle: Notify::new(),
        working: AtomicUsize::new(0),
    });
    let mut stop = std::pin::pin!(stop);
    let workers = tokio::select! {
        workers = prepare(&shared, &target, &directory) => workers?,
        () = &mut stop => return Err(BenchError::Verdict("interrupted before the load began".into())),
    };
    let mut outcome = load(&shared, workers, stop, server.map(|(_, process)| process), on_progress).await?;
    outcome.unit = Unit::mean(&[before, measure_unit().await?]);
    responders.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(outcome)
}

async fn measure_unit() -> Result<Unit, BenchError> {
    tokio::task::spawn_blocking(|| Unit::measure(UNIT))
        .await
        .map_err(|error| BenchError::Crypto(error.to_string()))?
}

/// Registers the clients and, for the reuse of authorizations, has each prove its names.
async fn prepare(
    shared: &Arc<Shared>,
    target: &Arc<Target>,
    directory: &Arc<crate::wire::acme_reply::Directory>,
) -> Result<Vec<Worker>, BenchError> {
    let slots = Arc::new(Semaphore::new(REGISTRATIONS));
    let mut tasks = JoinSet::new();
    for index in 0..shared.plan.clients {
        let (shared, slots) = (shared.clone(), slots.clone());
        let (target, directory) = (target.clone(), directory.clone());
        tasks.spawn(async move {
            let _slot = slots.acquire().await;
            let key = AccountKey::generate(shared.plan.account_key)?;
            let client = Client::new(target, directory, key, shared.plan.busy_retries);
            let mut worker = Worker { shared, index, client, count: 0, again: None };
            worker.register().await?;
            Ok::<_, BenchError>(worker)
        });
    }
    let mut workers = Vec::with_capacity(shared.plan.clients);
    while let Some(done) = tasks.join_next().await {
        workers.push(done.map_err(|error| BenchError::Crypto(error.to_string()))??);
    }
    Ok(workers)
}

async fn load(
    shared: &Arc<Shared>,
    workers: Vec<Worker>,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    server: Option<Process>,
    on_progress: OnProgress<'_>,
) -> Result<Outcome, BenchError> {
    let plan = &shared.plan;
    let (stopper, stopping) = watch::channel(false);
    let begin = Instant::now();
    let end = begin + plan.warmup + plan.duration;
    let cpu = |process: &Process| process.cpu().ok();
    let own = Process::own();
    shared.working.store(workers.len(), Ordering::Relaxed);
    if plan.warmup.is_zero() {
        shared.recorder.open();
    }
    let mut tasks = JoinSet::new();
    for worker in workers {
        tasks.spawn(worker.run(begin, end, stopping.clone()));
    }
    let mut interrupted =
        watch_over(shared, begin, begin + plan.warmup, false, stop.as_mut(), on_progress).await;
    let start: (Option<Cpu>, Option<Cpu>) = (server.as_ref().and_then(cpu), cpu(&own));
    let opened = Instant::now();
    shared.recorder.open();
    if !interrupted {
        interrupted = watch_over(shared, begin, end, true, stop.as_mut(), on_progress).await;
    }
    shared.recorder.close();
    let elapsed = opened.elapsed();
    let since = |now: Option<Cpu>, then: Option<Cpu>| Some(now?.since(&then?));
    let server_cpu = since(server.as_ref().and_then(cpu), start.0);
    let own_cpu = since(cpu(&own), start.1);
    let due = plan.rate.map_or(0.0, |rate| begin.elapsed().as_secs_f64() * rate) as u64;
    let not_begun = due.saturating_sub(shared.begun.load(Ordering::Relaxed));
    let _ = stopper.send(true);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tasks.abort_all();
    }
    Ok(Outcome {
        stats: shared.recorder.total(),
        elapsed,
        not_begun: if plan.rate.is_some() { not_begun } else { 0 },
        interrupted,
        server_cpu,
        server_memory: server.as_ref().and_then(|process| process.memory().ok()),
        own_cpu,
        nonce_retries: shared.nonce_retries.load(Ordering::Relaxed),
        unit: Unit::mean(&[]),
    })
}

/// Waits until `until`, telling of the progress; whether it was interrupted.
async fn watch_over(
    shared: &Shared,
    begin: Instant,
    until: Instant,
    counting: bool,
    mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    on_progress: OnProgress<'_>,
) -> bool {
    let mut next = Instant::now();
    while Instant::now() < until {
        next = (next + Duration::from_secs(1)).min(until);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = shared.idle.notified() => return false,
            () = stop.as_mut() => return true,
        }
        on_progress(begin.elapsed(), counting, &shared.recorder.recent());
    }
    false
}

/// One account and what it does.
struct Worker {
    shared: Arc<Shared>,
    index: usize,
    client: Client,
    count: u64,
    /// Names and request that are used again and again.
    again: Option<(Vec<String>, Vec<u8>)>,
}

impl Worker {
    async fn register(&mut self) -> Result<(), BenchError> {
        let mut trace = Trace::default();
        let setup = |failure: flow::Failure| BenchError::Setup(failure.step.name(), failure.error);
        flow::nonce(&mut self.client, &mut trace).await.map_err(setup)?;
        let start = Instant::now();
        let registered = self.client.register().await;
        trace.add(Step::NewAccount, start.elapsed());
        registered.map_err(|error| BenchError::Setup("newAccount", error))?;
        self.shared.recorder.prepared(&trace);
        if self.shared.plan.reuse {
            let (names, csr) = self.next_ask()?;
            let ask = Ask { names: &names, csr: &csr, proof: self.shared.plan.proof };
            let answers = self.shared.answers.clone();
            flow::issue(&mut self.client, ask, &answers, &mut trace).await.map_err(setup)?;
            self.again = Some((names, csr));
        }
        if self.shared.plan.fresh_connections {
            self.client.disconnect();
        }
        Ok(())
    }

    fn next_ask(&mut self) -> Result<(Vec<String>, Vec<u8>), BenchError> {
        if let Some(again) = &self.again {
            return Ok(again.clone());
        }
        let plan = &self.shared.plan;
        self.count += 1;
        let name = |part| format!("n{}-{}-{part}-{}.{}", self.count, self.index, plan.run, plan.domain);
        let names: Vec<String> = (0..plan.names).map(name).collect();
        let keys = &self.shared.keys;
        let csr = keys[(self.index + self.count as usize) % keys.len()].request(&names)?;
        Ok((names, csr))
    }

    async fn run(mut self, begin: Instant, end: Instant, mut stopping: watch::Receiver<bool>) {
        let shared = self.shared.clone();
        while Instant::now() < end && !*stopping.borrow() {
            // The request is made beforehand: its signature is no latency of the server's.
            let Ok((names, csr)) = self.next_ask() else { break };
            let start = match shared.plan.rate {
                None => Instant::now(),
                Some(rate) => {
                    let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
                    let due = begin + Duration::from_secs_f64(ticket as f64 / rate);
                    if due >= end {
                        break;
                    }
                    tokio::select! {
                        () = tokio::time::sleep_until(due.into()) => {}
                        _ = stopping.wait_for(|stop| *stop) => break,
                    }
                    due
                }
            };
            let begun = shared.begun.fetch_add(1, Ordering::Relaxed);
            if shared.plan.issuances.is_some_and(|most| begun >= most) {
                break;
            }
            let mut trace = Trace::default();
            let ask = Ask { names: &names, csr: &csr, proof: shared.plan.proof };
            let outcome = flow::issue(&mut self.client, ask, &shared.answers, &mut trace).await;
            trace.add(Step::Issuance, start.elapsed());
            if shared.plan.fresh_connections {
                self.client.disconnect();
            }
            match outcome {
                Ok(_) => shared.recorder.finished(&trace, Ok(())),
                Err(failure) => {
                    shared.recorder.finished(&trace, Err(&failure.counted()));
                    let pause = failure.error.retry_after().unwrap_or(AFTER_FAILURE);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stopping.wait_for(|stop| *stop) => break,
                    }
                }
            }
        }
        shared.nonce_retries.fetch_add(self.client.nonce_retries(), Ordering::Relaxed);
        if shared.working.fetch_sub(1, Ordering::Relaxed) == 1 {
            shared.idle.notify_one();
        }
    }
}
