//! Receivers of notices: how they stand, and a test.

use hyper::StatusCode;

use super::problem::Failure;
use super::{App, Response, json};
use crate::service::notify::Tested;
use crate::time::Timestamp;
use crate::wire::admin as wire;

pub(super) fn list(app: &App) -> Result<Response, Failure> {
    let shown = app.service.receivers().into_iter().map(|(receiver, standing)| wire::Receiver {
        name: receiver.name.clone(),
        kind: receiver.kind.name().to_owned(),
        origin: receiver.origin.clone(),
        alerts: standing.alerts as u64,
        identities: standing.identities,
        pending: standing.waiting as u64,
        delivered_at: standing.delivered.map(Timestamp::to_rfc3339),
        failed_at: standing.failed.as_ref().map(|(at, _)| at.to_rfc3339()),
        failure: standing.failed.map(|(_, reason)| reason),
    });
    json(StatusCode::OK, &wire::Receivers { receivers: shown.collect() })
}

pub(super) async fn test(app: &App) -> Result<Response, Failure> {
    let tested = app.service.test_receivers().await.into_iter();
    let shown = tested.map(|Tested { name, kind, origin, failure }| wire::ReceiverTest {
        name,
        kind: kind.name().to_owned(),
        origin,
        delivered: failure.is_none(),
        failure,
    });
    json(StatusCode::OK, &wire::ReceiverTests { tests: shown.collect() })
}
