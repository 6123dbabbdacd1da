//! The listener over real sockets: limits, hostile clients, drain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::client::{BASE, Key, app};
use crate::acme::identifier::Identifier;
use crate::http::App;
use crate::http::line::Lines;
use crate::http::server::{Door, Limits, serve};
use crate::http::tls::{OwnCertificate, server_config};
use crate::http::workers::Workers;
use crate::service::stand::Stand;

struct Server {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    roots: rustls::RootCertStore,
    app: Arc<App>,
    stand: Stand,
    lines: Lines,
}

const LIMIT: Duration = super::client::BODY_TIME;
/// What a busy machine may add to any wait.
const SLACK: Duration = Duration::from_secs(5);

async fn server(connections: usize) -> Server {
    server_with(connections, None).await
}

const LIMITS: Limits = Limits {
    connections: 10,
    request: LIMIT,
    drain: Duration::from_secs(3),
    head: 16 * 1024,
    of_network: None,
};

async fn server_with(connections: usize, of_network: Option<usize>) -> Server {
    server_of(Limits { connections, of_network, ..LIMITS }).await
}

async fn server_of(limits: Limits) -> Server {
    // Its certificate is to be valid by the clock of the TLS client.
    let stand = Stand::now().await;
    let names = [Identifier::parse_dns("localhost").unwrap()];
    let (own, _) = OwnCertificate::issue(&stand.service, &names).await.unwrap();
    let config = server_config(Arc::new(own)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopping) = watch::channel(false);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let app = app(&stand);
    let workers = Arc::new(Workers::start().unwrap());
    let lines = workers.lines();
    let task =
        tokio::spawn(serve(listener, workers, acceptor, (app.clone(), Door::Public), limits, stopping));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(stand.hierarchy.root_der.clone())).unwrap();
    Server { address, stop, task, roots, app, stand, lines }
}

impl Server {
    async fn connect(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    async fn http1(&self) -> TlsStream<TcpStream> {
        self.connect(b"http/1.1").await
    }
}

/// Reads until the other side closes (or breaks off), and tells how long that took.
async fn to_end(stream: &mut TlsStream<TcpStream>) -> (String, Duration) {
    let (begun, mut all) = (Instant::now(), Vec::new());
    let mut chunk = [0; 4096];
    let read = async {
        while let Ok(n) = stream.read(&mut chunk).await {
            if n == 0 {
                break;
            }
            all.extend_from_slice(&chunk[..n]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("the server ends it");
    (String::from_utf8_lossy(&all).into_owned(), begun.elapsed())
}

async fn ask(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    to_end(stream).await.0
}

/// Asks on a connection that is kept; what has come of the answer at once.
async fn turn(stream: &mut TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut chunk = [0; 4096];
    let n = stream.read(&mut chunk).await.unwrap();
    String::from_utf8_lossy(&chunk[..n]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_request_stands_in_line_and_others_do_not() {
    let server = server(10).await;
    let key = Key::new();
    let post = |nonce: &str| {
        let path = "/acme/acme/new-account";
        let header =
            json!({ "alg": "ES256", "jwk": key.jwk, "nonce": nonce, "url": format!("{BASE}{path}") });
        let body = key.jws(&header, b"{}").to_string();
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose+json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
    };
    let (mut signed, mut other) = (server.http1().await, server.http1().await);
    let nonce = server.app.service.nonces().issue();
    // The lines' own tasks have begun.
    let begun = post(&server.app.service.nonces().issue());
    assert!(turn(&mut signed, &begun).await.starts_with("HTTP/1.1 201 "));
    server.lines.hold();
    let waiting = tokio::spawn({
        let request = post(&nonce);
        async move { turn(&mut signed, &request).await }
    });
    let begun = Instant::now();
    while server.lines.waiting() == 0 {
        assert!(begun.elapsed() < SLACK, "it stands in no line");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let health = turn(&mut other, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let refused = turn(&mut other, &post("bad")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(!waiting.is_finished());
    server.lines.release();
    let reply = waiting.await.unwrap();
    // The same key: the account that the first one made.
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let scrape = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let metrics = ask(&mut other, scrape).await;
    let waited = metrics.lines().find_map(|line| {
        line.strip_prefix("mayfly_stage_duration_seconds_count{stage=\"queue\"} ")?.parse::<u64>().ok()
    });
    assert!(waited.is_some_and(|count| count > 0), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_as_it_should_be() {
    let server = server(10).await;
    let mut stream = server.http1().await;
    let reply =
        ask(&mut stream, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("{\"status\":\"ok\"}"), "{reply}");
    let mut stream = server.http1().await;
    let reply =
        ask(&mut stream, "HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(reply.contains("content-length: 15") && reply.ends_with("\r\n\r\n"), "{reply}");
    // RFC 9112 §3.2: without Host, or with two of them, 400.
    for host in ["", "Host: a\r\nHost: b\r\n", "Host: \r\n", "Host: a/b\r\n", "Host: x@a\r\n"] {
        let mut stream = server.http1().await;
        let reply =
            ask(&mut stream, &format!("GET /health HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    }
    let mut stream = server.http1().await;
    let reply = ask(&mut stream, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.0 200 "), "{reply}");
    let mut stream = server.http1().await;
    let reply = ask(&mut stream, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.0 400 "), "{reply}");
    for bad in [
        "GET /health\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1000)),
    ] {
        let mut stream = server.http1().await;
        let reply = ask(&mut stream, &bad).await;
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 4"), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_dawdle_are_let_go() {
    let server = server(10).await;
    // Says nothing; sends half a head; sends half a body; keeps an idle connection.
    let half_head = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    let half_body = "POST /acme/acme/new-order HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/jose+json\r\nContent-Length: 1000\r\n\r\n{";
    let idle = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for start in ["", half_head, half_body, idle] {
        let mut stream = server.http1().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let (reply, took) = to_end(&mut stream).await;
        assert!(took < LIMIT * 3 + SLACK, "{start:?}: {took:?}");
        assert_eq!(reply.starts_with("HTTP/1.1 408 "), start == half_body, "{reply}");
    }
    // A byte now and then makes no difference.
    let mut stream = server.http1().await;
    stream.write_all(half_body.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let drip = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut reply = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), reader.read_to_end(&mut reply));
    let _ = read.await.expect("the server ends it");
    assert!(begun.elapsed() < LIMIT * 3 + SLACK, "{:?}", begun.elapsed());
    drip.abort();
    // No TLS at all.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), plain.read_to_end(&mut all)).await.expect("closed");
}

/// A client that never reads its replies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_do_not_read_are_let_go() {
    let server = server(1).await;
    let mut stream = server.http1().await;
    let request = "GET /roots.pem HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(200);
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(20), flood).await.expect("the server hangs up");
    // And its slot is free again.
    let mut next = tokio::time::timeout(SLACK * 2, server.http1()).await.expect("a slot");
    ask(&mut next, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
}

type H2 = hyper::client::conn::http2::SendRequest<http_body_util::Full<bytes::Bytes>>;

async fn http2(server: &Server) -> (H2, tokio::task::JoinHandle<Result<(), hyper::Error>>) {
    let io = hyper_util::rt::TokioIo::new(server.connect(b"h2").await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str) -> hyper::Request<http_body_util::Full<bytes::Bytes>> {
    hyper::Request::get(format!("https://localhost{path}")).body(http_body_util::Full::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_serves_many_and_ends_when_idle() {
    let server = server(10).await;
    let (sender, connection) = http2(&server).await;
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                sender.ready().await.unwrap();
                sender.send_request(request("/health")).await.unwrap().status()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 200);
    }
    // The client keeps it open and answers pings; that alone keeps no connection.
    let ended = tokio::time::timeout(LIMIT * 4 + SLACK, connection).await;
    assert!(ended.is_ok(), "an idle connection was kept");
    drop(sender);
}

/// A client that gives a reply no room keeps neither its stream nor its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_replies_that_nobody_takes_end_with_their_connection() {
    let server = server(10).await;
    let io = hyper_util::rt::TokioIo::new(server.connect(b"h2").await);
    let (mut sender, connection) =
        hyper::client::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
            .initial_stream_window_size(1)
            .handshake::<_, http_body_util::Full<bytes::Bytes>>(io)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let begun = Instant::now();
    let reply = sender.send_request(request("/roots.pem")).await.unwrap();
    assert_eq!(reply.status(), 200);
    let ended = tokio::time::timeout(LIMIT * 2 + SLACK * 2, connection).await;
    assert!(ended.is_ok(), "the connection was kept");
    assert!(begun.elapsed() < LIMIT * 2 + SLACK * 2, "{:?}", begun.elapsed());
    drop(reply);
}

/// The limit of a request's time may be long; patience with a client that has stalled is not.
#[test]
fn patience_ends_within_a_minute_whatever_the_configuration_says() {
    for request in [Duration::from_secs(1), Duration::from_secs(30), Duration::from_secs(600)] {
        let limits = Limits { connections: 1, request, drain: LIMIT, head: 16 * 1024, of_network: None };
        assert!(limits.patience() <= request.min(Duration::from_secs(30)));
        assert!(limits.longest_stall() < Duration::from_secs(60), "{:?}", limits.longest_stall());
    }
}

/// Nothing that a client says of the host reaches a URL that is handed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_host_shows_in_no_url() {
    let server = server(10).await;
    let mut stream = server.http1().await;
    let get = "GET /acme/acme/directory HTTP/1.1\r\nHost: evil.test:666\r\nX-Forwarded-Host: evil.test\r\nForwarded: host=evil.test\r\nConnection: close\r\n\r\n";
    let reply = ask(&mut stream, get).await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("https://ca.test/acme/acme/new-order"));
    assert!(!reply.contains("evil"), "{reply}");
    let (mut sender, _connection) = http2(&server).await;
    let body = http_body_util::Full::<bytes::Bytes>::default();
    let foreign = hyper::Request::get("https://evil.test/acme/acme/new-nonce").body(body).unwrap();
    let reply = sender.send_request(foreign).await.unwrap();
    assert_eq!(reply.status(), 204);
    assert!(!format!("{:?}", reply.headers()).contains("evil"));
    // Two names for one request.
    let body = http_body_util::Full::<bytes::Bytes>::default();
    let two = hyper::Request::get("https://localhost/health").header("host", "evil.test").body(body).unwrap();
    assert_eq!(sender.send_request(two).await.unwrap().status(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_and_wait_their_turn() {
    let server = server(2).await;
    let first = server.http1().await;
    let _second = server.http1().await;
    let third = server.http1();
    tokio::pin!(third);
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut third).await.is_err());
    drop(first);
    let mut third = tokio::time::timeout(SLACK, third).await.expect("a slot is free");
    ask(&mut third, "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
}

/// With so much patience that nobody goes for being idle alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_room_and_busy_ones_do_not() {
    const GET: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let server = server_of(Limits { connections: 3, request: Duration::from_secs(600), ..LIMITS }).await;
    let mut idle = server.http1().await;
    turn(&mut idle, GET).await;
    let mut asks = server.http1().await;
    *server.stand.store.check_delay.lock().unwrap() = Duration::from_secs(2);
    let mut slow = server.http1().await;
    slow.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    let next = server.http1();
    tokio::pin!(next);
    let mut next = loop {
        tokio::select! {
            next = &mut next => break next,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                assert!(turn(&mut asks, GET).await.starts_with("HTTP/1.1 200 "), "it is in use");
            }
        }
    };
    assert!(begun.elapsed() < SLACK, "{:?}", begun.elapsed());
    assert!(turn(&mut next, GET).await.starts_with("HTTP/1.1 200 "));
    assert!(turn(&mut slow, "").await.starts_with("HTTP/1.1 200 "), "it was under way");
    to_end(&mut idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_do_not_come_on_make_room() {
    let server = server_of(Limits { connections: 1, request: Duration::from_secs(600), ..LIMITS }).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let next = tokio::time::timeout(SLACK, server.http1()).await;
    let mut next = next.expect("sooner than a handshake may take where nobody waits");
    assert!(
        turn(&mut next, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_network_are_bounded() {
    let server = server_with(10, Some(1)).await;
    let first = server.http1().await;
    // Closed at once, before a byte: the listener's places are for others.
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let mut all = Vec::new();
    let read = tokio::time::timeout(LIMIT, second.read_to_end(&mut all)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    drop(first);
    let again = async {
        loop {
            let mut probe = TcpStream::connect(server.address).await.unwrap();
            // Whoever is let in is waited for.
            if tokio::time::timeout(LIMIT / 2, probe.read(&mut [0])).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SLACK, again).await.expect("the place is free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_idle_connections_and_refuses_new_ones() {
    let server = server(10).await;
    let mut idle = server.http1().await;
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut chunk = [0; 1024];
    assert!(idle.read(&mut chunk).await.unwrap() > 0);
    let (mut sender, connection) = http2(&server).await;
    assert_eq!(sender.send_request(request("/health")).await.unwrap().status(), 200);
    let begun = Instant::now();
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    to_end(&mut idle).await;
    let _ = connection.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_what_is_under_way_finish() {
    let server = server(10).await;
    *server.stand.store.check_delay.lock().unwrap() = Duration::from_millis(800);
    let all = server.app.under_way.available_permits();
    let mut stream = server.http1().await;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut sender, connection) = http2(&server).await;
    let second = tokio::spawn(async move { sender.send_request(request("/readyz")).await });
    while server.app.under_way.available_permits() > all - 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.stop.send(true).unwrap();
    let (reply, _) = to_end(&mut stream).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert_eq!(second.await.unwrap().unwrap().status(), 200);
    server.task.await.unwrap();
    let _ = connection.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_are_bounded() {
    let server = server(10).await;
    let all = server.app.under_way.available_permits();
    let held = server.app.under_way.clone().acquire_many_owned(u32::try_from(all).unwrap()).await.unwrap();
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let reply = ask(&mut server.http1().await, get).await;
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains("retry-after: 2"), "{reply}");
    drop(held);
    let reply = ask(&mut server.http1().await, get).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    // What is late at the store goes on and gives its place back in the end.
    *server.stand.store.check_delay.lock().unwrap() = LIMIT * 4;
    let late = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let reply = ask(&mut server.http1().await, late).await;
    assert!(reply.starts_with("HTTP/1.1 503 ") && reply.contains("x-request-id: 0000abcd-"), "{reply}");
    assert!(reply.contains("connection: close") && reply.contains("took too long"), "{reply}");
    for _ in 0..500 {
        if server.app.under_way.available_permits() == all {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_ends_one_request() {
    let server = server(10).await;
    server.stand.store.panics.store(true, std::sync::atomic::Ordering::SeqCst);
    let (mut sender, _connection) = http2(&server).await;
    let failed = sender.send_request(request("/readyz")).await.unwrap();
    assert_eq!(failed.status(), 500);
    assert!(failed.headers().contains_key("x-request-id"));
    assert_eq!(sender.send_request(request("/health")).await.unwrap().status(), 200);
    // And the next check is not locked out.
    server.stand.store.panics.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(sender.send_request(request("/readyz")).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_renewed_under_the_listener() {
    let stand = Stand::now().await;
    let names = [Identifier::parse_dns("localhost").unwrap()];
    let (own, renew_at) = OwnCertificate::issue(&stand.service, &names).await.unwrap();
    let begun = crate::time::Clock::now(&stand.clock);
    let (own, life) = (Arc::new(own), renew_at.since(begun));
    assert!(life > Duration::from_secs(15 * 3600) && life < Duration::from_secs(17 * 3600), "{life:?}");
    let config = Arc::new(server_config(own.clone()).unwrap());
    let shown = || async {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(stand.hierarchy.root_der.clone())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = TlsAcceptor::from(config.clone()).accept(far);
        let name = ServerName::try_from("localhost").unwrap();
        let client = TlsConnector::from(Arc::new(client)).connect(name, near);
        let (_server, client) = tokio::join!(server, client);
        let client = client.unwrap();
        let session = client.get_ref().1;
        assert_eq!(
            session.negotiated_key_exchange_group().unwrap().name(),
            rustls::NamedGroup::X25519MLKEM768
        );
        session.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    assert_eq!(shown().await, first);
    own.renew(&stand.service, &names).await.unwrap();
    assert_ne!(shown().await, first);
    // A failed renewal leaves the one that works.
    stand.signer.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let second = shown().await;
    own.renew(&stand.service, &names).await.unwrap_err();
    assert_eq!(shown().await, second);
}
