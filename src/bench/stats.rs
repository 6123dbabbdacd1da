//! What a run keeps of its issuances.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::histogram::Histogram;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A nonce had to be fetched.
    NewNonce,
    /// Registration, before the load.
    NewAccount,
    /// newOrder.
    NewOrder,
    /// Fetching an authorization.
    Authorization,
    /// Telling that a challenge is in place.
    Challenge,
    /// Polling an authorization or an order.
    Poll,
    /// finalize.
    Finalize,
    /// Fetching the certificate.
    Download,
    /// From the beginning (in an open loop: the intended one) to the certificate.
    Issuance,
}

impl Step {
    /// One row per step: the step and its name in reports.
    pub const TABLE: &[(Self, &'static str)] = &[
        (Self::NewNonce, "newNonce"),
        (Self::NewAccount, "newAccount"),
        (Self::NewOrder, "newOrder"),
        (Self::Authorization, "authorization"),
        (Self::Challenge, "challenge"),
        (Self::Poll, "poll"),
        (Self::Finalize, "finalize"),
        (Self::Download, "download"),
        (Self::Issuance, "issuance"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::TABLE[self as usize].1
    }
}

/// What one issuance took.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    steps: Vec<(Step, Duration)>,
    /// HTTP requests.
    pub requests: u64,
    /// Whether the order was ready at once.
    pub reused: bool,
}

impl Trace {
    /// Adds a step.
    pub fn add(&mut self, step: Step, took: Duration) {
        self.steps.push((step, took));
    }
}

/// Sums of a run.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    steps: [Histogram; Step::TABLE.len()],
    /// Certificates downloaded.
    pub issued: u64,
    /// Of these, with orders that were ready at once.
    pub reused: u64,
    /// HTTP requests of the issuances that succeeded.
    pub requests: u64,
    /// Issuances that failed, by step and kind.
    pub errors: BTreeMap<String, u64>,
    /// One message for each kind of error.
    pub examples: BTreeMap<String, String>,
}

impl Stats {
    /// The times of a step.
    pub fn step(&self, step: Step) -> &Histogram {
        &self.steps[step as usize]
    }

    /// Issuances that failed.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    fn add(&mut self, trace: &Trace, outcome: Result<(), &Failed>) {
        for (step, took) in &trace.steps {
            self.steps[*step as usize].record(*took);
        }
        match outcome {
            Ok(()) => {
                self.issued += 1;
                self.reused += u64::from(trace.reused);
                self.requests += trace.requests;
            }
            Err(Failed { label, message }) => {
                *self.errors.entry(label.clone()).or_default() += 1;
                self.examples.entry(label.clone()).or_insert_with(|| message.clone());
            }
        }
    }
}

/// How an issuance failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Step and kind, for counting.
    pub label: String,
    /// The whole message.
    pub message: String,
}

/// What happened since the last look.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Issuances that succeeded.
    pub issued: u64,
    /// Issuances that failed.
    pub failed: u64,
    /// Their times.
    pub latency: Histogram,
}

#[derive(Debug, Default)]
struct Kept {
    counting: bool,
    total: Stats,
    recent: Recent,
}

/// Takes what the clients did. Counts between [`Recorder::open`] and [`Recorder::close`] only.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Kept>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count.
    pub fn open(&self) {
        self.lock().counting = true;
    }

    /// Ends counting.
    pub fn close(&self) {
        self.lock().counting = false;
    }

    /// Adds a step of the preparations.
    pub fn prepared(&self, trace: &Trace) {
        let mut kept = self.lock();
        for (step, took) in &trace.steps {
            if matches!(step, Step::NewNonce | Step::NewAccount) {
                kept.total.steps[*step as usize].record(*took);
            }
        }
    }

    /// Adds an issuance that just ended.
    pub fn finished(&self, trace: &Trace, outcome: Result<(), &Failed>) {
        let mut kept = self.lock();
        if kept.counting {
            kept.total.add(trace, outcome);
        }
        match outcome {
            Ok(()) => kept.recent.issued += 1,
            Err(_) => kept.recent.failed += 1,
        }
        if let Some((_, took)) = trace.steps.iter().find(|(step, _)| *step == Step::Issuance) {
            kept.recent.latency.record(*took);
        }
    }

    /// What happened since the last call.
    pub fn recent(&self) -> Recent {
        std::mem::take(&mut self.lock().recent)
    }

    /// The sums.
    pub fn total(&self) -> Stats {
        self.lock().total.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (index, (step, name)) in Step::TABLE.iter().enumerate() {
            assert_eq!((*step as usize, step.name()), (index, *name));
        }
    }

    #[test]
    fn only_the_window_counts() {
        let recorder = Recorder::default();
        let ms = Duration::from_millis;
        let mut trace = Trace { requests: 5, reused: true, ..Trace::default() };
        trace.add(Step::NewOrder, ms(1));
        trace.add(Step::Issuance, ms(3));
        let failed = Failed { label: "newOrder 503".into(), message: "busy".into() };
        let mut setup = Trace::default();
        setup.add(Step::NewAccount, ms(2));
        setup.add(Step::NewOrder, ms(2));
        recorder.prepared(&setup);
        recorder.finished(&trace, Ok(()));
        recorder.open();
        recorder.finished(&trace, Ok(()));
        recorder.finished(&Trace::default(), Err(&failed));
        recorder.finished(&Trace::default(), Err(&failed));
        recorder.close();
        recorder.finished(&trace, Ok(()));
        let total = recorder.total();
        assert_eq!((total.issued, total.reused, total.requests, total.failed()), (1, 1, 5, 2));
        assert_eq!(total.step(Step::NewOrder).count(), 1);
        assert_eq!(total.step(Step::NewAccount).count(), 1);
        assert_eq!(total.errors["newOrder 503"], 2);
        assert_eq!(total.examples["newOrder 503"], "busy");
        let recent = recorder.recent();
        assert_eq!((recent.issued, recent.failed, recent.latency.count()), (3, 2, 3));
        assert_eq!(recorder.recent().issued, 0);
    }
}
