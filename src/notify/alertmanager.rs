//! Alertmanager's API, version 2: `POST /api/v2/alerts`.
//!
//! Alertmanager knows an alert by its labels and forgets it at its `endsAt`, so an alert that goes on is
//! sent again, each time with an end some repetitions ahead: should this CA stop, its alerts end by
//! themselves, as those of a Prometheus do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::post::Post;
use super::{BoxFuture, Deliver, Failure, Notice, words};
use crate::fleet::notices::{Alert, Delivery, Key, cause_name};
use crate::time::Timestamp;

/// Alerts in one request.
const AT_ONCE: usize = 100;
/// In how many repetitions an alert ends that is not sent again; Prometheus has as many.
const MISSED: u32 = 4;
/// How long a test goes on.
const TEST: Duration = Duration::from_secs(60);

/// An alert as the API takes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
}

/// Where to.
pub(super) struct Alertmanager {
    post: Post,
    source: String,
    repeat: Duration,
}

impl Alertmanager {
    pub(super) fn new(post: Post, source: String, repeat: Duration) -> Self {
        Self { post, source, repeat }
    }
}

/// What the alert is known by: nothing here changes as long as it lasts.
fn labels(alert: &Alert, ca: &str) -> BTreeMap<&'static str, String> {
    let trouble = alert.key.trouble();
    let mut labels = BTreeMap::from([
        ("alertname", words::alert_name(trouble).to_owned()),
        ("severity", words::severity(trouble).to_owned()),
        ("cause", cause_name(alert.cause).to_owned()),
        ("provisioner", alert.provisioner.clone()),
        ("ca", ca.to_owned()),
    ]);
    match &alert.key {
        Key::Identity(_, id) => labels.insert("identity", id.to_string()),
        // No identity is called so.
        Key::Group(..) => labels.insert("identity", "several".to_owned()),
    };
    labels
}

fn annotations(alert: &Alert) -> BTreeMap<&'static str, String> {
    let samples = &alert.samples;
    let mut notes = BTreeMap::from([
        ("summary", words::summary(alert)),
        ("description", words::advice(alert.cause).to_owned()),
        ("identities", alert.identities.to_string()),
    ]);
    let names: Vec<String> = match alert.key {
        Key::Identity(..) => samples.iter().flat_map(|one| one.names.iter().cloned()).collect(),
        Key::Group(..) => samples.iter().map(words::names).collect(),
    };
    notes.insert("names", names.join(", "));
    if let Some(first) = samples.first() {
        notes.insert("not_after", first.not_after.to_rfc3339());
    }
    if let (Key::Identity(..), Some(one)) = (&alert.key, samples.first()) {
        notes.insert("serial", one.serial.to_string());
        notes.extend(one.account.map(|account| ("account", account.to_string())));
        let failures: Vec<String> =
            one.failures.iter().map(|(cause, count)| format!("{}: {count}", cause.name())).collect();
        if !failures.is_empty() {
            notes.insert("failures", failures.join(", "));
        }
    }
    if let Some((_, why)) = alert.ended {
        notes.insert("ended_because", why.name().to_owned());
    }
    notes
}

/// As of `now`; what goes on ends after a few repetitions that do not come.
pub(super) fn posted(notice: &Notice, source: &str, repeat: Duration, now: Timestamp) -> Posted {
    let ca = source.split_once("://").map_or(source, |(_, host)| host);
    let generator_url = source.to_owned();
    let Notice::Alert(alert) = notice else {
        let labels = [("alertname", "MayflyNotificationTest"), ("severity", "none"), ("ca", ca)];
        let summary = format!("A test by the operator of {source}: notifications arrive.");
        return Posted {
            labels: labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            annotations: BTreeMap::from([("summary", summary)]),
            starts_at: now.to_rfc3339(),
            ends_at: (now + TEST).to_rfc3339(),
            generator_url,
        };
    };
    let ends = alert.ended.map_or(now + repeat * MISSED, |(at, _)| at);
    Posted {
        labels: labels(alert, ca),
        annotations: annotations(alert),
        starts_at: alert.since.to_rfc3339(),
        ends_at: ends.to_rfc3339(),
        generator_url,
    }
}

impl Deliver for Alertmanager {
    fn at_once(&self) -> usize {
        AT_ONCE
    }

    fn deliver<'a>(&'a self, notices: &'a [Notice], now: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let alerts: Vec<Posted> =
                notices.iter().map(|notice| posted(notice, &self.source, self.repeat, now)).collect();
            let body = serde_json::to_vec(&alerts).map_err(|error| Failure {
                delivery: Delivery::NotSent,
                answered: false,
                reason: error.to_string(),
            })?;
            self.post.send(body, &[]).await
        })
    }
}
