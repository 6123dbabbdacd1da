//! The listener: accepts, shakes hands, serves HTTP/1.1 and HTTP/2, drains.
//!
//! Every wait for a client has an end: the handshake, the request's head, its body, the reply, and
//! the pause until the next request.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::admin::listener::{self, Shown};
use super::admin::operators::Operators;
use super::line::Lines;
use super::problem::{self, Failure};
use super::room::{Ear, Leave, Room};
use super::workers::Workers;
use super::{App, Peer, Response, host, known_method, metrics, peer_of, status, tagged};
use crate::limits::keyed::Key;
use crate::service;
use crate::telemetry::trace::{self, Span, Work};

/// Limits of the listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait, and idle ones make room.
    pub connections: usize,
    /// For a request to arrive completely and be answered, and for a kept connection to stay idle.
    pub request: Duration,
    /// For requests under way when the server stops.
    pub drain: Duration,
    /// Bytes of a request's head.
    pub head: u32,
    /// Connections of one network open at once; `None` is no such limit.
    pub of_network: Option<usize>,
}

/// The longest patience with a client that has stalled, however long a request may take: for its head,
/// its body, and each pause in taking its reply. A reply that an HTTP/2 client gives no room for ends
/// with its connection, as an idle one does: after two of `Limits::idle_step` and `CLOSING`, which is
/// less than a minute as well; and sooner where others wait for a connection.
pub const STALL: Duration = Duration::from_secs(30);
/// For the other side to take leave of an idle connection.
const CLOSING: Duration = Duration::from_secs(5);
/// For a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection is idle before it makes room for who waits: long enough between two requests of an
/// order. Of a handshake, how long it may take then.
const MAKES_ROOM: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));
/// Requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Bytes of bodies that an HTTP/2 client may send ahead: for one request, for all of a connection.
const WINDOWS: (u32, u32) = (64 * 1024, 256 * 1024);

impl Limits {
    /// How long a client may take over its head, its body, or a piece of its reply.
    pub(super) fn patience(&self) -> Duration {
        self.request.min(STALL)
    }

    /// A connection that is idle at two such steps is closed.
    fn idle_step(&self) -> Duration {
        idle_step(self.patience())
    }

    /// The longest that any one wait for a client can last.
    #[cfg(test)]
    pub(super) fn longest_stall(&self) -> Duration {
        HANDSHAKE.max(self.patience() + HANDSHAKE).max(self.idle_step() * 2 + CLOSING)
    }
}

/// A step of a listener with so much patience.
pub(super) fn idle_step(patience: Duration) -> Duration {
    patience.mul_f32(0.8)
}

/// What a listener leads to.
#[derive(Clone)]
pub enum Door {
    /// What everybody may ask for.
    Public,
    /// What operators may, whose certificates these are.
    Operators(Arc<Operators>),
}

/// What a connection works with.
#[derive(Clone)]
struct Inside {
    app: Arc<App>,
    door: Door,
    lines: Lines,
}

/// Serves on `workers` until `stop` turns true, then drains.
pub async fn serve(
    listener: TcpListener,
    workers: Arc<Workers>,
    tls: TlsAcceptor,
    (app, door): (Arc<App>, Door),
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let inside = Inside { app, door, lines: workers.lines() };
    let app = &inside.app;
    let mut room = Room::new(limits.connections);
    let networks = Networks::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))),
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let source = app.service.limits().source(peer.ip());
                let most = limits.of_network.filter(|_| !source.exempt);
                let Some(counted) = networks.enter(source.network, most) else {
                    tracing::info!(%peer, "a network has too many connections open; one more was closed");
                    continue;
                };
                let place = tokio::select! {
                    place = room.place() => place,
                    () = stopped(&mut stop) => break,
                };
                let (tls, inside, ear) = (tls.clone(), inside.clone(), room.ear());
                workers.run(async move {
                    // A socket belongs to the runtime it is registered with: from here on, this worker's.
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection(stream, peer, tls, inside, limits, ear).await,
                        Err(error) => tracing::warn!(%error, "cannot take over a connection"),
                    }
                    drop(counted);
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, room.empty()).await.is_err() {
        tracing::warn!("stopping with requests still under way");
    }
}

/// Waits until the server is to stop. A channel whose sender is gone says so too.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Each stage's state is in a box of its own: the task of an idle connection, and there may be
/// thousands, is then as large as what it needs.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    inside: Inside,
    limits: Limits,
    mut ear: Ear,
) {
    let activity = Arc::new(Activity::new());
    let stream = Impatient::new(stream, limits.patience(), activity.clone());
    let stream = tokio::select! {
        stream = Box::pin(handshake(stream, peer, tls)) => stream,
        // Nothing was asked yet.
        _ = ear.leave(|| activity.begun_at.elapsed() >= MAKES_ROOM.1) => return,
    };
    let Some(stream) = stream else { return };
    let served = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Box::pin(serve_http2(stream, (peer, activity), inside, &limits, ear)).await
    } else {
        Box::pin(serve_http1(stream, (peer, activity), inside, &limits, ear)).await
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn handshake(
    stream: Impatient,
    peer: SocketAddr,
    tls: TlsAcceptor,
) -> Option<Box<TlsStream<Impatient>>> {
    // Replies are small and whole; waiting to fill a packet only delays them.
    let _ = stream.stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            None
        }
    }
}

async fn serve_http1(
    stream: Box<TlsStream<Impatient>>,
    (peer, activity): (SocketAddr, Arc<Activity>),
    inside: Inside,
    limits: &Limits,
    ear: Ear,
) -> hyper::Result<()> {
    let service = service_fn(answers(inside, limits.request, (peer, certificate(&stream)), activity.clone()));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience())
        .max_buf_size(limits.head as usize);
    let connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    drive(connection, |it| it.graceful_shutdown(), &activity, limits, ear).await
}

async fn serve_http2(
    stream: Box<TlsStream<Impatient>>,
    (peer, activity): (SocketAddr, Arc<Activity>),
    inside: Inside,
    limits: &Limits,
    ear: Ear,
) -> hyper::Result<()> {
    let service = service_fn(answers(inside, limits.request, (peer, certificate(&stream)), activity.clone()));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(limits.head)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .keep_alive_interval(limits.patience())
        .keep_alive_timeout(HANDSHAKE);
    let connection = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    drive(connection, |it| it.graceful_shutdown(), &activity, limits, ear).await
}

/// Serves a connection until it ends, is idle for long or while others wait, or the server stops; then lets
/// what is under way finish, within bounds.
async fn drive<C>(
    mut connection: Pin<Box<C>>,
    shut_down: impl Fn(Pin<&mut C>),
    activity: &Activity,
    limits: &Limits,
    mut ear: Ear,
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut seen = None;
    let told = ear.leave(|| activity.is_quiet());
    tokio::pin!(told);
    let patience = loop {
        tokio::select! {
            // What has come by now is taken up before the connection is called idle.
            biased;
            served = connection.as_mut() => return served,
            leave = &mut told => break match leave {
                Leave::Stopping => limits.request * 2,
                Leave::Idle => CLOSING,
            },
            // A client that answers pings is alive, and idle all the same.
            () = tokio::time::sleep(limits.idle_step()) => {
                let now = activity.idle();
                if now.is_some() && now == seen {
                    break CLOSING;
                }
                seen = now;
            }
        }
    };
    shut_down(connection.as_mut());
    match tokio::time::timeout(patience, connection.as_mut()).await {
        Ok(served) => served,
        // A request came on the way to its end.
        Err(_) if patience == CLOSING && activity.idle().is_none() => {
            tokio::time::timeout(limits.request * 2, connection).await.unwrap_or(Ok(()))
        }
        Err(_) => Ok(()),
    }
}

/// A request's answer in the making.
type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Answers a connection's requests.
fn answers(
    inside: Inside,
    limit: Duration,
    (peer, shown): (SocketAddr, Option<Shown>),
    activity: Arc<Activity>,
) -> impl Fn(Request<Incoming>) -> Answer {
    move |request| {
        let request = with_peer(request, peer, shown.as_ref());
        // A box is there for as long as its request. Without one, the connection keeps the room for ever.
        Box::pin(answer(inside.clone(), limit, activity.begin(), request))
    }
}

fn with_peer<B>(mut request: Request<B>, peer: SocketAddr, shown: Option<&Shown>) -> Request<B> {
    request.extensions_mut().insert(Peer(peer.ip()));
    if let Some(shown) = shown {
        request.extensions_mut().insert(shown.clone());
    }
    request
}

/// What the client has shown in the handshake; only operators are asked to.
fn certificate(stream: &TlsStream<Impatient>) -> Option<Shown> {
    let own = stream.get_ref().1.peer_certificates()?.first()?;
    Some(Shown(own.as_ref().into()))
}

/// Connections of each network; one that has none is not kept.
#[derive(Default)]
struct Networks(Arc<Mutex<HashMap<Key, usize>>>);

/// A connection that counts, until it is dropped.
struct Counted {
    networks: Arc<Mutex<HashMap<Key, usize>>>,
    network: Key,
}

impl Networks {
    /// Counts a connection; `None` if its network has too many.
    fn enter(&self, network: Key, most: Option<usize>) -> Option<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_default();
        if most.is_some_and(|most| *count >= most) {
            return None;
        }
        *count += 1;
        Some(Counted { networks: self.0.clone(), network })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

/// Requests of a connection, and when it last sent something.
struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
    begun_at: Instant,
    /// Milliseconds since.
    sent: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        let zero = AtomicU64::default;
        Self { begun: zero(), ended: zero(), begun_at: Instant::now(), sent: zero() }
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.begun.fetch_add(1, Ordering::SeqCst);
        UnderWay(self.clone())
    }

    fn sends(&self) {
        let since = u64::try_from(self.begun_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sent.store(since, Ordering::Relaxed);
    }

    /// Whether it can make room: no request is under way, and nothing was sent for a moment.
    fn is_quiet(&self) -> bool {
        let sent = Duration::from_millis(self.sent.load(Ordering::Relaxed));
        self.idle().is_some() && self.begun_at.elapsed().saturating_sub(sent) >= MAKES_ROOM.0
    }

    /// How many there were so far, if none is under way.
    fn idle(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        (self.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }
}

struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// A stream that fails when the other side takes nothing for so long: a client that does not read
/// its replies would hold its connection for ever.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    activity: Arc<Activity>,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream, patience: Duration, activity: Arc<Activity>) -> Self {
        Self { stream, patience, activity, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if polled.is_ready() {
            self.activity.sends();
        }
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn answer(
    inside: Inside,
    limit: Duration,
    _under_way: UnderWay,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let id: Arc<str> = inside.app.request_id().into();
    let span = span_of(&inside.app, &request);
    span.note("mayfly.request", &id);
    let work = Work::of_request(id.clone(), &span);
    Ok(work.within(answer_as(inside, limit, request, id, span)).await)
}

/// Not of probes and scrapes: they would be most of what is recorded.
fn span_of(app: &App, request: &Request<Incoming>) -> Span {
    let path = request.uri().path();
    if status::is_probe(path) || (path == metrics::PATH && app.metrics.is_here()) {
        return Span::none();
    }
    let parent = || Some(request.headers().get("traceparent")?.as_bytes());
    let span = Span::of_request(Some(peer_of(request)), parent);
    span.note("http.request.method", known_method(request.method()));
    span.note("client.address", peer_of(request));
    span
}

/// Why a request has no answer of its own.
pub(super) enum Unanswered {
    /// It does not name one host.
    Host,
    /// Too many are under way.
    Crowded,
    /// It takes too long, and goes on to its end.
    Late,
    /// It ended by a fault of ours.
    Broken(String),
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Host => Self::Host,
            Unanswered::Crowded => Self::Service(service::Error::Busy("too many requests are under way")),
            Unanswered::Late => Self::Timeout,
            Unanswered::Broken(error) => Self::Service(service::Error::Internal(error)),
        }
    }
}

async fn answer_as(
    Inside { app, door, lines }: Inside,
    limit: Duration,
    request: Request<Incoming>,
    id: Arc<str>,
    span: Span,
) -> Response {
    let version = request.version();
    let operators = matches!(door, Door::Operators(_));
    let unanswered = |why: Unanswered| match operators {
        true => listener::unanswered(why, &id),
        false => tagged(problem::render_unrouted(&why.into(), &id), &id),
    };
    if !host::is_named_once(version, request.uri(), request.headers()) {
        return unanswered(Unanswered::Host);
    }
    let permit = match &door {
        Door::Public => app.under_way.clone().try_acquire_owned(),
        // Places of their own: they are not to wait when all are busy.
        Door::Operators(operators) => operators.places(),
    };
    let Ok(permit) = permit else { return unanswered(Unanswered::Crowded) };
    let stands_in_line = !operators && request.method() == Method::POST;
    // In a task of its own: a client that hangs up does not stop a change half way, and a panic
    // ends one request instead of a connection.
    let work = trace::carried({
        let id = id.clone();
        async move {
            let response = match door {
                Door::Public => app.answer(request, &id).await,
                Door::Operators(operators) => listener::answer(&app, &operators, request, &id).await,
            };
            drop(permit);
            span.ended(response.status());
            response
        }
    });
    let work = if stands_in_line { lines.run(work) } else { tokio::spawn(work) };
    // Once the limit to arrive, which the handler minds itself, and once to be answered. What is
    // late goes on to its end; it no longer waits for the client.
    let failure = match tokio::time::timeout(limit * 2, work).await {
        Ok(Ok(response)) => return response,
        Ok(Err(error)) => Unanswered::Broken(error.to_string()),
        Err(_) => {
            tracing::warn!("a request took too long");
            Unanswered::Late
        }
    };
    let mut response = unanswered(failure);
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}
