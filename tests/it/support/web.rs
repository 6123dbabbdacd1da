//! A web server on loopback for http-01: answers from a map of tokens, else from files.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// The running responder; its threads stop on drop.
pub struct Web {
    state: Arc<State>,
}

struct State {
    tokens: Mutex<HashMap<String, String>>,
    redirects: Mutex<HashMap<String, String>>,
    /// Requests are taken and not answered.
    silent: AtomicBool,
    files: tempfile::TempDir,
    stop: AtomicBool,
}

impl Web {
    /// Answers on `port` of both loopback addresses.
    pub fn start(port: u16) -> Self {
        let state = Arc::new(State {
            tokens: Mutex::default(),
            redirects: Mutex::default(),
            silent: AtomicBool::new(false),
            files: tempfile::tempdir().unwrap(),
            stop: AtomicBool::new(false),
        });
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap();
        for listener in [v4, v6] {
            let state = state.clone();
            thread::spawn(move || listen(&listener, &state));
        }
        Self { state }
    }

    /// The directory whose files answer for their names: the webroot of the clients' own kind.
    pub fn webroot(&self) -> PathBuf {
        self.state.files.path().to_owned()
    }

    /// Answers `token` with `body`.
    pub fn set(&self, token: &str, body: &str) {
        self.state.tokens.lock().unwrap().insert(token.to_owned(), body.to_owned());
    }

    /// Takes requests and does not answer them, or answers again.
    pub fn silence(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::Relaxed);
    }

    /// Answers `token` with a redirect.
    pub fn redirect(&self, token: &str, to: &str) {
        self.state.redirects.lock().unwrap().insert(token.to_owned(), to.to_owned());
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

fn listen(listener: &TcpListener, state: &Arc<State>) {
    listener.set_nonblocking(true).unwrap();
    while !state.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let state = state.clone();
                thread::spawn(move || reply(stream, &state));
            }
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn reply(stream: TcpStream, state: &State) -> Option<()> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 || line == "\r\n" {
            break;
        }
    }
    let stream = reader.get_mut();
    if state.silent.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_secs(60));
        return None;
    }
    let token = path.strip_prefix(PREFIX).filter(|token| !token.contains('/'));
    if let Some(to) = token.and_then(|token| state.redirects.lock().unwrap().get(token).cloned()) {
        write!(
            stream,
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        return Some(());
    }
    let body = token.and_then(|token| {
        let known = state.tokens.lock().unwrap().get(token).cloned();
        known.or_else(|| fs::read_to_string(state.files.path().join(token)).ok())
    });
    let (status, body) = body.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()
}
