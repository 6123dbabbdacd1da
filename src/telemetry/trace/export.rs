//! Finished spans on their way to the collector: a bounded queue, and one task that empties it.
//!
//! Whoever ends a span puts it into the queue or, if that is full, counts it as dropped; nobody waits. A
//! collector that does not answer keeps one batch and the queue in memory, and nothing else.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::sampling::{Caller, Ratio, decide};
use super::transport::{Collector, Sent, Transport};
use super::{Finished, Kind, Open, SINK, Span, proto, random};
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::SpanLoss;

/// Times that a batch is sent, and the pause before the second; doubled before each further one.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// How long a stop waits for the last spans to be taken.
const FLUSH: Duration = Duration::from_secs(3);

/// How traces are exported.
#[derive(Debug)]
pub struct Settings {
    /// The collector.
    pub collector: Collector,
    /// `service.name`.
    pub service: String,
    /// Of those that no trusted caller decides.
    pub ratio: Ratio,
    /// Networks whose `traceparent` counts.
    pub trust: Vec<IpNet>,
    /// Spans that wait at most; never zero.
    pub queue: usize,
    /// Spans that are sent together at most; never zero.
    pub batch: usize,
    /// How long a span waits for others to be sent with.
    pub interval: Duration,
}

/// Where finished spans go.
#[derive(Debug)]
pub(super) struct Sink {
    ratio: Ratio,
    trust: Vec<IpNet>,
    spans: mpsc::Sender<Finished>,
}

impl Sink {
    pub(super) fn trusts(&self, peer: IpAddr) -> bool {
        self.trust.iter().any(|net| net.contains(&peer))
    }

    pub(super) fn begin(&self, name: &'static str, kind: Kind, caller: Caller) -> Span {
        let context = decide(self.ratio, random(), caller);
        Span(context.map(|context| Open::new(name, kind, context, None).into()))
    }

    pub(super) fn take(&self, finished: Finished) {
        match self.spans.try_send(finished) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => metrics().traces.lost(SpanLoss::Queue, 1),
            Err(mpsc::error::TrySendError::Closed(_)) => metrics().traces.lost(SpanLoss::Stopped, 1),
        }
    }
}

/// The task that sends; stopping it sends what is left.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Traces are exported from now on, by a task of the current runtime; once in a process.
pub fn start(settings: Settings) -> Option<Exporter> {
    let Settings { collector, service, ratio, trust, queue, batch, interval } = settings;
    let (spans, waiting) = mpsc::channel(queue);
    SINK.set(Sink { ratio, trust, spans }).ok()?;
    let (stop, stopping) = oneshot::channel();
    let transport = Transport::new(collector);
    let pump =
        Pump { waiting, service, batch, interval, transport, stopping: Some(stopping), failing: false };
    Some(Exporter { stop, task: tokio::spawn(pump.run()) })
}

impl Exporter {
    /// Sends what is left, within `FLUSH`.
    pub async fn stop(self) {
        let Self { stop, mut task } = self;
        let _ = stop.send(());
        if tokio::time::timeout(FLUSH, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the last spans were not delivered: the collector does not answer");
        }
    }
}

/// Empties the queue.
struct Pump {
    waiting: mpsc::Receiver<Finished>,
    service: String,
    batch: usize,
    interval: Duration,
    transport: Transport,
    /// `None` once told to stop.
    stopping: Option<oneshot::Receiver<()>>,
    failing: bool,
}

impl Pump {
    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            self.deliver(batch).await;
        }
    }

    /// The next spans; none when it is the end.
    async fn gather(&mut self) -> Vec<Finished> {
        let mut batch = Vec::new();
        let Some(first) = self.next().await else { return batch };
        batch.push(first);
        let late = tokio::time::sleep(self.interval);
        tokio::pin!(late);
        while batch.len() < self.batch {
            tokio::select! {
                next = self.next() => match next {
                    Some(next) => batch.push(next),
                    None => break,
                },
                () = &mut late => break,
            }
        }
        batch
    }

    /// The next span; once told to stop, only those that are there.
    async fn next(&mut self) -> Option<Finished> {
        if let Some(stopping) = &mut self.stopping {
            tokio::select! {
                biased;
                next = self.waiting.recv() => return next,
                _ = stopping => {}
            }
            self.stop();
        }
        self.waiting.recv().await
    }

    fn stop(&mut self) {
        self.stopping = None;
        self.waiting.close();
    }

    /// Sends a batch, as often as may help.
    async fn deliver(&mut self, batch: Vec<Finished>) {
        let spans = batch.len();
        let body = bytes::Bytes::from(proto::request(&self.service, batch));
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let why = match self.transport.send(body.clone()).await {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(spans as u64);
                    metrics().traces.exported.add(spans as u64 - rejected);
                    metrics().traces.lost(SpanLoss::Rejected, rejected);
                    self.recovered();
                    return;
                }
                Sent::Refused(why) => {
                    self.failed(&why);
                    break;
                }
                Sent::NotNow(why) => why,
            };
            self.failed(&why);
            if tries == TRIES || !self.wait(pause).await {
                break;
            }
            (tries, pause) = (tries + 1, pause * 2);
        }
        metrics().traces.lost(SpanLoss::Export, spans as u64);
    }

    /// Waits before another try; there is none once told to stop.
    async fn wait(&mut self, pause: Duration) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            _ = stopping => {
                self.stop();
                // Once more, for the batch in hand.
                true
            }
        }
    }

    /// Told once, not with every batch.
    fn failed(&mut self, why: &str) {
        if !self.failing {
            tracing::warn!(why, "the collector takes no spans; those that find no place are dropped");
        }
        self.failing = true;
    }

    fn recovered(&mut self) {
        if self.failing {
            tracing::info!("the collector takes spans again");
        }
        self.failing = false;
    }
}
