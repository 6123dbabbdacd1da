//! The http-01 responder (RFC 8555 §8.3): the key authorization at every token under way.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::BenchError;
use super::answers::Answers;

const PATH: &str = "/.well-known/acme-challenge/";
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Serves on `port` of 127.0.0.1 (0: any; the address tells which) until the task is aborted.
pub async fn start(port: u16, answers: Arc<Answers>) -> Result<(SocketAddr, JoinHandle<()>), BenchError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listen = |error| BenchError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok((address, tokio::spawn(serve(listener, answers))))
}

async fn serve(listener: TcpListener, answers: Arc<Answers>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, as a rule: accepting again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let answers = answers.clone();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let found = request.uri().path().strip_prefix(PATH).and_then(|token| answers.http(token));
            let (status, body) = match found {
                Some(body) => (StatusCode::OK, body),
                None => (StatusCode::NOT_FOUND, String::new()),
            };
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = status;
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move { drop(connection.await) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::challenge::ChallengeKind;
    use crate::jose::jwk::Thumbprint;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn answers_what_was_placed() {
        let answers = Arc::new(Answers::default());
        answers.place(ChallengeKind::Http01, "a.test", "tok", Thumbprint([7; 32])).unwrap();
        let (address, task) = start(0, answers).await.unwrap();
        for (path, want) in [("tok", "200 OK"), ("other", "404 Not Found"), ("", "404")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let ask = format!("GET {PATH}{path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.unwrap();
            assert!(reply.starts_with(&format!("HTTP/1.1 {want}")), "{reply}");
            assert_eq!(reply.ends_with(&format!("tok.{}", Thumbprint([7; 32]))), path == "tok");
        }
        task.abort();
    }
}
