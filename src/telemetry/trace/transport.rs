//! OTLP over HTTP: one POST of protobuf for each batch (OTLP specification 1.x, "OTLP/HTTP").

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use prost::Message;

use super::proto::ExportReply;
use crate::outbound::{Client, reason};

/// An answer says how many spans were not taken, and why.
const LARGEST_ANSWER: usize = 64 * 1024;

/// A collector of spans.
pub struct Collector {
    /// Where traces are sent to, path and all.
    pub url: Uri,
    /// Reaches it.
    pub http: Client,
    /// Sent with every batch; some of them secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For one POST and its answer.
    pub timeout: Duration,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Collector({}, headers {names:?})", self.url)
    }
}

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Taken, all but so many spans.
    Taken {
        /// How many not.
        rejected: u64,
    },
    /// Not to be sent again.
    Refused(String),
    /// To be sent again.
    NotNow(String),
}

pub(super) struct Transport {
    http: Client,
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(collector: Collector) -> Self {
        let Collector { url, http, headers, timeout } = collector;
        Self { http, url, headers, timeout }
    }

    /// Sends a batch; within the timeout, whatever the other side does.
    pub(super) async fn send(&self, body: Bytes) -> Sent {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.extend(self.headers.iter().cloned());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("mayfly/", env!("CARGO_PKG_VERSION"))),
        );
        let exchange = async {
            let answer = self.http.request(request).await.map_err(|error| reason(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
            Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok((status, body))) => understand(status, &body),
            Ok(Err(why)) => Sent::NotNow(why),
            Err(_) => Sent::NotNow(format!("no answer within {} s", self.timeout.as_secs())),
        }
    }
}

/// What an answer means; which codes are worth another try is the specification's ("Failures").
fn understand(status: StatusCode, body: &[u8]) -> Sent {
    if status.is_success() {
        let reply = ExportReply::decode(body).unwrap_or_default();
        let rejected = reply.partial_success.map_or(0, |partial| partial.rejected_spans);
        return Sent::Taken { rejected: u64::try_from(rejected).unwrap_or(0) };
    }
    let why = format!("it answers {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Sent::NotNow(why),
        _ => Sent::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::PartialSuccess;
    use super::*;

    #[test]
    fn answers() {
        let partial = |rejected_spans| {
            ExportReply { partial_success: Some(PartialSuccess { rejected_spans }) }.encode_to_vec()
        };
        let rows: [(u16, Vec<u8>, Sent); 9] = [
            (200, vec![], Sent::Taken { rejected: 0 }),
            (200, partial(3), Sent::Taken { rejected: 3 }),
            (200, partial(-1), Sent::Taken { rejected: 0 }),
            (200, b"<html>".to_vec(), Sent::Taken { rejected: 0 }),
            (400, vec![], Sent::Refused("it answers 400 Bad Request".into())),
            (401, vec![], Sent::Refused("it answers 401 Unauthorized".into())),
            (301, vec![], Sent::Refused("it answers 301 Moved Permanently".into())),
            (429, vec![], Sent::NotNow("it answers 429 Too Many Requests".into())),
            (503, vec![], Sent::NotNow("it answers 503 Service Unavailable".into())),
        ];
        for (status, body, want) in rows {
            assert_eq!(understand(StatusCode::from_u16(status).unwrap(), &body), want);
        }
    }

    #[test]
    fn headers_are_not_shown() {
        let timeout = Duration::from_secs(1);
        let http = crate::outbound::client(crate::outbound::Roots::System, false, timeout).unwrap();
        let headers = vec![(header::AUTHORIZATION, HeaderValue::from_static("Bearer hush"))];
        let url = Uri::from_static("http://127.0.0.1:4318/v1/traces");
        let shown = format!("{:?}", Collector { url, http, headers, timeout });
        assert!(shown.contains("authorization") && !shown.contains("hush"), "{shown}");
    }
}
