//! The configurations that were in force, and the one that is to be.

use hyper::StatusCode;

use super::super::NotApplied;
use super::problem::Failure;
use super::rotations::Asked;
use super::{App, Response, json};
use crate::audit::Actor;
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

pub(super) async fn apply(
    app: &App,
    by: Option<&Actor>,
    ask: wire::ApplyConfiguration,
) -> Result<Response, Failure> {
    let asked = ask.rotation.as_ref().map(Asked::read).transpose()?;
    let how = match (ask.rollback_to, &asked) {
        (Some(_), Some(_)) => {
            return Err(Failure::Malformed("rollback_to, rotation: it is one or the other".into()));
        }
        (Some(version), None) => How::Rollback(version),
        (None, Some(asked)) => How::Rotation(asked.step),
        (None, None) => How::Apply,
    };
    if asked.is_some() && ask.text_sha256.is_none() {
        return Err(Failure::Malformed("text_sha256: required with a rotation's step".into()));
    }
    if let Some(asked) = &asked {
        // Said early; what counts is the look behind the loading.
        asked.permitted(&app.service).map_err(Failure::NotYet)?;
    }
    let service = app.service.clone();
    let check = move |text: &str| {
        if ask.text_sha256.is_some_and(|known| known != text_digest(text)) {
            let what = "text_sha256: the file is not what was asked for: somebody else has changed it";
            return Err(NotApplied::Invalid(vec![what.to_owned()]));
        }
        asked.map_or(Ok(()), |asked| asked.permitted(&service)).map_err(NotApplied::NotYet)
    };
    let applied = app.reconfigure(how, by.cloned(), Box::new(check)).await.map_err(Failure::NotApplied)?;
    json(StatusCode::OK, &wire::AppliedConfiguration { version: applied.version, restart: applied.restart })
}
