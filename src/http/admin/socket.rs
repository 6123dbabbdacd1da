//! The Unix socket that the commands come through, and who may.
//!
//! The socket is made with mode 0600 inside a directory that nobody else can enter, and only then moved
//! to its place: there is no moment at which another user could connect. Who connects is asked for by
//! the system all the same (`SO_PEERCRED`). A lock on a file beside it, which the system lifts when a
//! process ends in whatever way, tells a socket that a crash left behind from one in use.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

use super::problem::{self, Failure};
use crate::audit::Actor;
use crate::http::{App, Response, known_method};
use crate::service;
use crate::telemetry::trace::{self, Span, Work};

/// Connections at once: commands are people's and their scripts'.
const CONNECTIONS: u32 = 32;
/// For a request's head to arrive.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD: usize = 16 * 1024;
/// For a request to be answered, and for all of a connection.
const TIMES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(90));

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process has the lock.
    #[error("another mayfly answers at {}; stop it, or give this one another socket in [admin]", .0.display())]
    InUse(PathBuf),
    /// Something is there that is no socket.
    #[error("{} is there and is not a socket; move it away, or give another socket in [admin]", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot make the admin socket {}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A socket in its place; removed on drop.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Held as long as the socket is there.
    _lock: File,
}

impl AdminSocket {
    /// Makes the socket, in the place of one that a crash left behind. Within a runtime.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io { path: path.to_owned(), error };
        let nameless = || io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file");
        let name = path.file_name().ok_or_else(|| failed(nameless()))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        let lock = lock(path, &parent.join(hidden(name, "lock")))?;
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Short, since the path of a socket may not be long.
        let closed = parent.join(format!(".{}", std::process::id()));
        let listener = bind_within(&closed, path);
        let _ = fs::remove_dir(&closed);
        Ok(Self { listener: listener.map_err(failed)?, path: path.to_owned(), _lock: lock })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn hidden(name: &std::ffi::OsStr, suffix: &str) -> OsString {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    hidden
}

fn lock(path: &Path, file: &Path) -> Result<File, SocketError> {
    let failed = |error| SocketError::Io { path: path.to_owned(), error };
    let mut options = OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true).mode(0o600).open(file).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SocketError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Makes the socket in a directory of its own, and moves it to its place once nobody else may open it.
fn bind_within(closed: &Path, path: &Path) -> io::Result<UnixListener> {
    let inside = closed.join("s");
    match fs::remove_file(&inside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Of a process of that number that was killed in here.
        Ok(()) => fs::remove_dir(closed)?,
        Err(_) => {
            let _ = fs::remove_dir(closed);
        }
    }
    DirBuilder::new().mode(0o700).create(closed)?;
    let listener = UnixListener::bind(&inside)?;
    fs::set_permissions(&inside, Permissions::from_mode(0o600))?;
    fs::rename(&inside, path)?;
    Ok(listener)
}

/// Whether a process of user `peer` may command one of user `own`.
fn may_command(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// Serves until `stop` turns true, then lets what is under way finish, for `drain` at most.
pub async fn serve(socket: AdminSocket, app: Arc<App>, drain: Duration, stop: watch::Receiver<bool>) {
    let own = rustix::process::geteuid().as_raw();
    serve_those(socket, app, drain, stop, move |peer| may_command(peer, own)).await;
}

/// As [`serve`], for users of the caller's choice.
pub(in crate::http) async fn serve_those(
    socket: AdminSocket,
    app: Arc<App>,
    drain: Duration,
    mut stop: watch::Receiver<bool>,
    admits: impl Fn(u32) -> bool,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS as usize));
    loop {
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = stopped(&mut stop) => break,
        };
        let Ok(slot) = slot else { break };
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let peer = match stream.peer_cred() {
                    Ok(peer) => Peer { uid: peer.uid(), admitted: admits(peer.uid()) },
                    Err(error) => {
                        tracing::warn!(%error, "a connection on the admin socket whose other side is not known");
                        continue;
                    }
                };
                let (app, stop) = (app.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, peer, app, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, as a rule: accepting again at once would spin.
                tracing::warn!(%error, "cannot accept a connection on the admin socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Gone from its place first: who comes now shall hear that nobody is there.
    drop(socket);
    if tokio::time::timeout(drain, slots.acquire_many(CONNECTIONS)).await.is_err() {
        tracing::warn!("stopping with admin requests still under way");
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Who is at the other side.
#[derive(Clone, Copy)]
struct Peer {
    uid: u32,
    admitted: bool,
}

/// One request; commands have no more.
async fn connection(stream: UnixStream, peer: Peer, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request| answer(app.clone(), peer, request));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD).keep_alive(false);
    let mut served = Box::pin(builder.serve_connection(TokioIo::new(stream), service));
    let whole = async {
        tokio::select! {
            ended = served.as_mut() => return ended,
            () = stopped(&mut stop) => {}
        }
        served.as_mut().graceful_shutdown();
        served.await
    };
    match tokio::time::timeout(TIMES.1, whole).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection on the admin socket ended"),
        Err(_) => tracing::warn!("a connection on the admin socket took too long"),
    }
}

async fn answer(app: Arc<App>, peer: Peer, request: Request<Incoming>) -> Result<Response, Infallible> {
    let id: Arc<str> = app.request_id().into();
    if !peer.admitted {
        Work::of_request(id.clone(), &Span::none()).around(|| {
            tracing::warn!(uid = peer.uid, "another user came through the admin socket and was refused");
        });
        return Ok(super::refuse(&id));
    }
    let span = Span::of_request(None, || Some(request.headers().get("traceparent")?.as_bytes()));
    span.note("mayfly.request", &id);
    span.note("http.request.method", known_method(request.method()));
    let work = Work::of_request(id.clone(), &span);
    Ok(work.within(command(app, peer, request, id, span)).await)
}

async fn command(
    app: Arc<App>,
    peer: Peer,
    mut request: Request<Incoming>,
    id: Arc<str>,
    span: Span,
) -> Response {
    request.extensions_mut().insert(Actor::User(peer.uid));
    if request.method() != Method::GET {
        tracing::info!(uid = peer.uid, method = %request.method(), path = request.uri().path(), "admin command");
    }
    // In a task of its own: a command that is interrupted does not stop a change half way.
    let work = tokio::spawn(trace::carried({
        let id = id.clone();
        async move {
            let response = super::answer(&app, request, &id).await;
            span.ended(response.status());
            response
        }
    }));
    let failure = match tokio::time::timeout(TIMES.0, work).await {
        Ok(Ok(response)) => return response,
        Ok(Err(error)) => Failure::Service(service::Error::Internal(error.to_string())),
        Err(_) => Failure::Timeout,
    };
    problem::render(&failure, &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_and_root_may_command() {
        for (peer, own, want) in [(1000, 1000, true), (0, 1000, true), (1000, 0, false), (1, 2, false)] {
            assert_eq!(may_command(peer, own), want, "{peer} {own}");
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn one_socket_at_a_time_closed_to_others() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run/admin.sock");
        let first = AdminSocket::bind(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let error = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse(_)), "{error}");
        assert!(path.exists(), "the second one leaves it alone");
        drop(first);
        assert!(!path.exists());
        // What is left: the lock, closed as well.
        let left: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".admin.sock.lock"]);
        assert_eq!(mode(&path.with_file_name(".admin.sock.lock")), 0o600);
    }

    #[tokio::test]
    async fn what_a_crash_left_is_replaced_and_what_is_no_socket_is_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("admin.sock");
        // A socket whose process is gone, and the directory of one killed in the making.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let closed = home.path().join(format!(".{}", std::process::id()));
        fs::create_dir(&closed).unwrap();
        drop(std::os::unix::net::UnixListener::bind(closed.join("s")).unwrap());
        let socket = AdminSocket::bind(&path).unwrap();
        UnixStream::connect(&path).await.unwrap();
        assert!(!closed.exists());
        drop(socket);

        fs::write(&path, "precious").unwrap();
        let error = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
