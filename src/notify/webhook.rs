//! A webhook: one notice a request, as JSON of version 1. Members are only ever added.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use serde::Serialize;

use super::post::Post;
use super::{BoxFuture, Deliver, Failure, Notice, words};
use crate::fleet::notices::{Alert, Delivery, Sample, cause_name};
use crate::keystore::password::Password;
use crate::time::Timestamp;
use crate::x509::hex;

/// What a body is, beside the version of this shape.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    version: u32,
    event: &'static str,
    /// The same in each attempt to deliver this very event.
    id: String,
    ca: &'a str,
    sent_at: String,
    summary: String,
    #[serde(flatten)]
    alert: Option<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    /// The same from the first firing to resolved.
    key: String,
    trouble: &'static str,
    severity: &'static str,
    cause: &'static str,
    provisioner: &'a str,
    advice: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_because: Option<&'static str>,
    /// How often this receiver has acknowledged it before.
    told_before: u32,
    identities_total: u64,
    identities: Vec<Identity<'a>>,
}

#[derive(Serialize)]
struct Identity<'a> {
    identity: String,
    names: &'a [String],
    names_total: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    serial: String,
    not_after: String,
    renewal_expected_at: String,
    failures: BTreeMap<&'static str, u8>,
}

impl<'a> Identity<'a> {
    fn of(sample: &'a Sample) -> Self {
        Self {
            identity: sample.id.to_string(),
            names: &sample.names,
            names_total: sample.names_total,
            account: sample.account.map(|account| account.to_string()),
            serial: sample.serial.to_string(),
            not_after: sample.not_after.to_rfc3339(),
            renewal_expected_at: sample.due.to_rfc3339(),
            failures: sample.failures.iter().map(|(cause, count)| (cause.name(), *count)).collect(),
        }
    }
}

/// What a delivery is known by: of the alert, of which telling of it, and of which CA.
fn event_id(alert: &Alert, event: &str, ca: &str) -> String {
    let mut digest = Context::new(&SHA256);
    let (since, told) = (alert.since.as_millis().to_string(), alert.told.to_string());
    let told = if alert.ended.is_some() { "" } else { told.as_str() };
    let serial = alert.serial.map(|serial| serial.to_string()).unwrap_or_default();
    for part in [ca, &alert.key.to_string(), &serial, &since, event, told] {
        digest.update(part.as_bytes());
        digest.update(&[0]);
    }
    digest.finish().as_ref().get(..16).map(hex::encode).unwrap_or_default()
}

impl<'a> Body<'a> {
    pub(super) fn of(notice: &'a Notice, ca: &'a str, now: Timestamp) -> Self {
        let (version, sent_at) = (1, now.to_rfc3339());
        let Notice::Alert(alert) = notice else {
            let summary = format!("A test by the operator of {ca}: notifications arrive.");
            let id = format!("test-{}", now.as_millis());
            return Self { version, event: "test", id, ca, sent_at, summary, alert: None };
        };
        let event = if alert.ended.is_some() { "resolved" } else { "firing" };
        let shown = Shown {
            key: alert.key.to_string(),
            trouble: alert.key.trouble().name(),
            severity: words::severity(alert.key.trouble()),
            cause: cause_name(alert.cause),
            provisioner: &alert.provisioner,
            advice: words::advice(alert.cause),
            since: alert.since.to_rfc3339(),
            ended_at: alert.ended.map(|(at, _)| at.to_rfc3339()),
            ended_because: alert.ended.map(|(_, why)| why.name()),
            told_before: alert.told,
            identities_total: alert.identities,
            identities: alert.samples.iter().map(Identity::of).collect(),
        };
        let id = event_id(alert, event, ca);
        Self { version, event, id, ca, sent_at, summary: words::summary(alert), alert: Some(shown) }
    }
}

/// Where to.
pub(super) struct Webhook {
    post: Post,
    source: String,
    secret_file: Option<PathBuf>,
}

impl Webhook {
    pub(super) fn new(post: Post, source: String, secret_file: Option<PathBuf>) -> Result<Self, String> {
        if let Some(path) = &secret_file {
            signature(path, b"").map_err(|why| format!("secret_file: {why}"))?;
        }
        Ok(Self { post, source, secret_file })
    }

    async fn send(&self, notice: &Notice, now: Timestamp) -> Result<(), Failure> {
        let not_sent = |reason: String| Failure { delivery: Delivery::NotSent, answered: false, reason };
        let body = Body::of(notice, &self.source, now);
        let (id, event) = (body.id.clone(), body.event);
        let body = serde_json::to_vec(&body).map_err(|error| not_sent(error.to_string()))?;
        let mut headers = vec![("idempotency-key", id), ("x-mayfly-event", event.to_owned())];
        if let Some(path) = &self.secret_file {
            let signature = signature(path, &body).map_err(|why| not_sent(format!("secret_file: {why}")))?;
            headers.push(("x-mayfly-signature-256", signature));
        }
        self.post.send(body, &headers).await
    }
}

/// `sha256=` and the HMAC of a body in hex, as GitHub has it; the key is a file's first line.
pub(super) fn signature(path: &Path, body: &[u8]) -> Result<String, String> {
    let secret = Password::read(path).map_err(|error| error.to_string())?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.bytes());
    Ok(format!("sha256={}", hex::encode(hmac::sign(&key, body).as_ref())))
}

impl Deliver for Webhook {
    fn at_once(&self) -> usize {
        1
    }

    fn deliver<'a>(&'a self, notices: &'a [Notice], now: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            for notice in notices {
                self.send(notice, now).await?;
            }
            Ok(())
        })
    }
}
