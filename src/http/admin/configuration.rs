//! The configurations that were in force, and the one that is to be.

use hyper::StatusCode;

use super::problem::Failure;
use super::{App, Response, json, rotations};
use crate::audit::configuration::How;
use crate::service::configuration::{Numbered, text_digest};
use crate::wire::admin as wire;

fn summary((number, kept): &Numbered) -> wire::ConfigurationSummary {
    wire::ConfigurationSummary {
        version: *number,
        at: kept.at.to_rfc3339(),
        how: kept.how.to_string(),
        sha256: text_digest(&kept.text),
    }
}

pub(super) async fn list(app: &App) -> Result<Response, Failure> {
    let versions = app.service.configurations(summary).await?;
    json(StatusCode::OK, &wire::Configurations { versions })
}

/// 0 is the one in force.
pub(super) async fn show(app: &App, number: u64) -> Result<Response, Failure> {
    let found = app.service.configuration(number).await?;
    let found = found.ok_or(Failure::Service(crate::service::Error::NotFound))?;
    let files =
        found.1.files.iter().map(|(path, text)| wire::NamedText { path: path.clone(), text: text.clone() });
    let whole =
        wire::Configuration { summary: summary(&found), text: found.1.text.clone(), files: files.collect() };
    json(StatusCode::OK, &whole)
}

pub(super) async fn apply(app: &App, ask: wire::ApplyConfiguration) -> Result<Response, Failure> {
    let how = match (ask.rollback_to, &ask.rotation) {
        (Some(_), Some(_)) => {
            return Err(Failure::Malformed("rollback_to, rotation: it is one or the other".into()));
        }
        (Some(version), None) => How::Rollback(version),
        (None, Some(asked)) => How::Rotation(rotations::permitted(app, asked)?),
        (None, None) => How::Apply,
    };
    let applied = app.reconfigure(how).await.map_err(Failure::NotApplied)?;
    json(StatusCode::OK, &wire::AppliedConfiguration { version: applied.version, restart: applied.restart })
}
