//! What is under way, and for whom: the request whose id the log lines carry, and the span that what
//! happens now is a part of.
//!
//! A request's work is put around everything that is done for it ([`Work::within`]) and goes along into
//! tasks and threads ([`carried`], [`carried_over`]). Spans are made of it only where traces are exported
//! ([`export`]) and the request is sampled ([`sampling`]); otherwise a span is nothing, and costs a look at
//! a thread's variable.
//!
//! What a span tells is said by whoever begins it, one [`note`] at a time, never taken from log lines or
//! from the fields of libraries: names, ids and outcomes, and nothing that the log would not tell.

pub mod export;
mod proto;
pub mod sampling;
pub mod transport;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Display;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use self::export::Sink;
use self::sampling::{Caller, Context};
use crate::entropy::{Entropy, SystemEntropy};
use crate::time::{Clock, SystemClock};

/// Most that a span tells, and the longest value of it in bytes: a span's size is bounded.
const MOST_NOTES: usize = 24;
const LONGEST: usize = 256;

tokio::task_local! {
    static WORK: Work;
}

/// Where finished spans go, once traces are exported.
static SINK: OnceLock<Sink> = OnceLock::new();

/// What is under way: for which request, and in which span. Of neither by default.
#[derive(Clone, Debug, Default)]
pub struct Work {
    request: Option<Arc<str>>,
    span: Option<Arc<Open>>,
}

impl Work {
    /// Of a request, in its span.
    pub fn of_request(id: Arc<str>, span: &Span) -> Self {
        Self { request: Some(id), span: span.0.clone() }
    }

    /// Does a step, whose log lines and spans are this work's.
    pub fn around<T>(self, step: impl FnOnce() -> T) -> T {
        WORK.sync_scope(self, step)
    }

    /// A future whose log lines and spans are this work's.
    pub fn within<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        WORK.scope(self, work)
    }

    /// The request's id.
    pub(super) fn request(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// The id of the trace, if it is recorded.
    pub(super) fn trace(&self) -> Option<[u8; 16]> {
        self.span.as_ref().map(|span| span.context.trace)
    }
}

/// Looks at the work under way; `None` outside of any.
pub(super) fn current<T>(look: impl FnOnce(&Work) -> T) -> Option<T> {
    WORK.try_with(look).ok()
}

/// A future that is still the current work when it runs in a task of its own. In a box: the runtime copies a
/// task's state several times, some are of kilobytes, and its code is compiled once for all of one output.
pub fn carried<T>(work: impl Future<Output = T> + Send + 'static) -> impl Future<Output = T> + Send + 'static
where
    T: 'static,
{
    let work: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(work);
    WORK.scope(current(Work::clone).unwrap_or_default(), work)
}

/// The same of what is done on another thread.
pub fn carried_over<T>(step: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let work = current(Work::clone).unwrap_or_default();
    move || WORK.sync_scope(work, step)
}

/// Names the current span anew.
pub fn name(name: impl FnOnce() -> String) {
    current(|work| {
        if let Some(span) = &work.span {
            span.told().name = Cow::Owned(name());
        }
    });
}

/// Tells something more of the current span.
pub fn note(key: &'static str, value: impl Display) {
    current(|work| {
        if let Some(span) = &work.span {
            span.note(key, Value::Text(bounded(value)));
        }
    });
}

/// What a span has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(i64),
}

/// Who is at the other side of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nobody.
    Internal,
    /// A client of ours.
    Server,
    /// A server that we ask.
    Client,
}

/// A span under way.
#[derive(Debug)]
struct Open {
    context: Context,
    kind: Kind,
    /// Milliseconds since the epoch at which its trace began here, and the same by the steady clock.
    anchor: (u64, Instant),
    begun: Instant,
    told: Mutex<Told>,
}

/// What can still be said of it.
#[derive(Debug)]
struct Told {
    name: Cow<'static, str>,
    notes: Vec<(&'static str, Value)>,
    failed: bool,
    kept: bool,
}

/// A span that has ended.
#[derive(Debug)]
struct Finished {
    context: Context,
    kind: Kind,
    /// Nanoseconds since the epoch.
    began: u64,
    ended: u64,
    told: Told,
}

impl Open {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: &'static str, value: Value) {
        let mut told = self.told();
        if let Some(known) = told.notes.iter_mut().find(|(known, _)| *known == key) {
            known.1 = value;
        } else if told.notes.len() < MOST_NOTES {
            told.notes.push((key, value));
        }
    }

    fn finish(&self) -> Finished {
        let nothing = Told { name: "".into(), notes: Vec::new(), failed: false, kept: false };
        let told = std::mem::replace(&mut *self.told(), nothing);
        let (wall, steady) = self.anchor;
        let at = |when: Instant| {
            let since = when.saturating_duration_since(steady).min(Duration::from_secs(1 << 32));
            wall.saturating_mul(1_000_000).saturating_add(u64::try_from(since.as_nanos()).unwrap_or(0))
        };
        let (began, ended) = (at(self.begun), at(Instant::now()));
        Finished { context: self.context, kind: self.kind, began, ended, told }
    }
}

/// A part of a trace, from its making until it is dropped; nothing where nothing is recorded.
#[derive(Debug)]
#[must_use]
pub struct Span(Option<Arc<Open>>);

impl Span {
    /// The span of a request. `parent` reads the caller's `traceparent` (W3C Trace Context), and `peer` is
    /// who sends it; `None` is somebody who may command this server.
    pub fn of_request<'a>(peer: Option<IpAddr>, parent: impl FnOnce() -> Option<&'a [u8]>) -> Self {
        let Some(sink) = SINK.get() else { return Self(None) };
        let trusted = peer.is_none_or(|peer| sink.trusts(peer));
        let remote = parent().and_then(sampling::Remote::parse);
        sink.begin("request", Kind::Server, Caller { remote, trusted })
    }

    /// Of what is not worth one.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The span of work that nobody asked for.
    pub fn of_background(name: &'static str) -> Self {
        match SINK.get() {
            Some(sink) => sink.begin(name, Kind::Internal, Caller::default()),
            None => Self(None),
        }
    }

    /// A part of the current one.
    pub fn part(name: &'static str, kind: Kind) -> Self {
        Self(current(|work| work.span.as_ref().map(|above| above.part(name, kind))).flatten())
    }

    /// The current request's work, within this span.
    pub fn work(&self) -> Work {
        let request = current(|work| work.request.clone()).flatten();
        Work { request, span: self.0.clone() }
    }

    /// Tells something of it.
    pub fn note(&self, key: &'static str, value: impl Display) {
        if let Some(open) = &self.0 {
            open.note(key, Value::Text(bounded(value)));
        }
    }

    /// Tells a number of it.
    pub fn number(&self, key: &'static str, value: u64) {
        if let Some(open) = &self.0 {
            open.note(key, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
        }
    }

    /// It failed, through a fault of ours.
    pub fn fail(&self) {
        if let Some(open) = &self.0 {
            open.told().failed = true;
        }
    }

    /// It has been answered so.
    pub fn ended(self, status: hyper::StatusCode) {
        self.number("http.response.status_code", status.as_u16().into());
        if status.is_server_error() {
            self.fail();
        }
    }

    /// Forgets it: nothing was done.
    pub fn forget(self) {
        if let Some(open) = &self.0 {
            open.told().kept = false;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let (Some(open), Some(sink)) = (self.0.take(), SINK.get()) {
            let finished = open.finish();
            if finished.told.kept {
                sink.take(finished);
            }
        }
    }
}

impl Open {
    fn part(&self, name: &'static str, kind: Kind) -> Arc<Self> {
        let context = self.context.below(random());
        Arc::new(Self::new(name, kind, context, Some(self.anchor)))
    }

    fn new(name: &'static str, kind: Kind, context: Context, anchor: Option<(u64, Instant)>) -> Self {
        let begun = Instant::now();
        let anchor = anchor.unwrap_or_else(|| (SystemClock.now().as_millis(), begun));
        let told = Told { name: name.into(), notes: Vec::new(), failed: false, kept: true };
        Self { context, kind, anchor, begun, told: Mutex::new(told) }
    }
}

fn random<const N: usize>() -> [u8; N] {
    (&SystemEntropy::default() as &dyn Entropy).bytes()
}

/// The beginning of what a value shows.
fn bounded(value: impl Display) -> String {
    let mut text = value.to_string();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
