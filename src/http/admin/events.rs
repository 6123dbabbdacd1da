//! The audit log.

use hyper::StatusCode;

use super::parameters::Parameters;
use super::problem::Failure;
use super::{App, Response, json};
use crate::service::events::EventQuery;
use crate::service::inventory::PAGE;
use crate::wire::admin as wire;

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let asked = EventQuery {
        operators: parameters.take("operators", super::parameters::flag)?.unwrap_or(false),
        event: parameters.take("event", super::parameters::text)?,
        since: parameters.take("since", super::parameters::time)?,
    };
    let limit = parameters.take("limit", |text| super::parameters::limit(text, PAGE.1))?.unwrap_or(PAGE.0);
    let after = parameters.take("after", super::parameters::number)?;
    parameters.finish()?;
    let page = app.service.audit_events(&asked, after, limit).await?;
    let events = page.events.into_iter().map(|(number, record)| wire::AuditEvent {
        number,
        at: record.at.to_rfc3339(),
        event: record.event.name().into(),
        operator: record.actor.as_ref().map(ToString::to_string),
        facts: record.event.facts().into_iter().map(|(name, value)| (name.into(), value)).collect(),
    });
    let events = events.collect();
    json(StatusCode::OK, &wire::AuditEvents { events, next: page.next.map(|next| next.to_string()) })
}
