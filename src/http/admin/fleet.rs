//! Rotation health.

use hyper::StatusCode;

use super::parameters::Parameters;
use super::problem::Failure;
use super::{App, Response, json};
use crate::audit::Actor;
use crate::fleet::{Cause, IdentityId, State};
use crate::jose::{base64url, from_base64url};
use crate::service::fleet::{KnownIdentity, Place};
use crate::service::inventory::PAGE;
use crate::time::Timestamp;
use crate::wire::admin as wire;

pub(super) fn summary(app: &App) -> Result<Response, Failure> {
    let (fleet, now) = (app.service.fleet(), app.service.now());
    fleet.advance(now);
    let summary = fleet.summary();
    let moment = |at: Timestamp| wire::Moment { at: at.to_rfc3339(), seconds_left: at.since(now).as_secs() };
    let shown = wire::Fleet {
        complete: fleet.is_complete(),
        now: now.to_rfc3339(),
        identities: summary.identities(),
        states: State::ALL.iter().map(|state| (state.name().to_owned(), summary.of(*state))).collect(),
        failing: Cause::ALL
            .iter()
            .map(|cause| (cause.name().to_owned(), summary.failing[*cause as usize]))
            .collect(),
        horizon: summary.horizon.map(|horizon| wire::Horizon {
            first: moment(horizon.first),
            twentieth: moment(horizon.twentieth),
            half: moment(horizon.half),
        }),
    };
    json(StatusCode::OK, &shown)
}

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let state = parameters.take("state", state)?;
    let limit = parameters.take("limit", |text| super::parameters::limit(text, PAGE.1))?.unwrap_or(PAGE.0);
    let after = parameters.take("after", place)?;
    parameters.finish()?;
    let state = state.ok_or_else(|| Failure::Malformed(format!("state: must be given; it {STATES}")))?;
    let complete = app.service.fleet().is_complete();
    let page = app.service.identities(state, after, limit).await?;
    let identities = page.identities.iter().map(identity).collect();
    let next = page.next.map(|(end, slot)| base64url(&[end.to_be_bytes(), slot.to_be_bytes()].concat()));
    json(StatusCode::OK, &wire::Identities { complete, identities, next })
}

const STATES: &str = "is one of due, overdue, expired, retired";

fn state(text: &str) -> Result<State, &'static str> {
    match State::ALL.iter().copied().find(|state| state.name() == text) {
        // Nearly all of them, and nothing is to be said of them; so no list of them is kept.
        Some(State::Healthy) => {
            Err("healthy ones are not listed; /v1/certificates has all valid certificates")
        }
        Some(state @ (State::Due | State::Overdue | State::Expired | State::Retired)) => Ok(state),
        None => Err(STATES),
    }
}

fn place(text: &str) -> Result<Place, &'static str> {
    let bytes = from_base64url(text).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let [a, b, c, d, e, f, g, h] = bytes.ok_or("is not a cursor; take `next` of the page before")?;
    Ok((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])))
}

pub(super) async fn show(app: &App, id: &IdentityId) -> Result<Response, Failure> {
    json(StatusCode::OK, &identity(&app.service.known_identity(id).await?))
}

pub(super) async fn retire(app: &App, by: Option<&Actor>, ask: wire::Retire) -> Result<Response, Failure> {
    let mut names = Vec::with_capacity(ask.names.len());
    for (place, text) in ask.names.iter().enumerate() {
        let malformed = |why| Failure::Malformed(format!("names[{place}]: {why}"));
        names.push(super::parameters::name(text).map_err(malformed)?);
    }
    let retired = app.service.retire(names, by).await?;
    json(StatusCode::OK, &identity(&app.service.known_identity(&retired.id).await?))
}

fn identity(known: &KnownIdentity) -> wire::Identity {
    let KnownIdentity { identity, latest } = known;
    let failures = Cause::ALL.iter().map(|cause| (cause, identity.failures[*cause as usize]));
    let (record, content) =
        latest.as_ref().map_or((None, None), |(record, content)| (Some(record), Some(content)));
    let asked = record.map(|record| super::certificates::asked(&record.requester));
    let provenance = record.map(|record| &record.details.provenance);
    let client = provenance.and_then(|provenance| provenance.client.as_ref());
    wire::Identity {
        id: identity.id.to_string(),
        state: identity.state.name().to_owned(),
        names: content
            .map_or_else(Vec::new, |content| content.identifiers.iter().map(|name| name.written()).collect()),
        serial: identity.serial.to_string(),
        issued: identity.issued.to_rfc3339(),
        not_after: identity.not_after.to_rfc3339(),
        due: identity.due.to_rfc3339(),
        overdue: identity.overdue.to_rfc3339(),
        failures: failures
            .filter(|(_, count)| *count > 0)
            .map(|(cause, count)| (cause.name().to_owned(), count))
            .collect(),
        last_failure: identity
            .last_failure
            .map(|(at, cause)| wire::Failed { at: at.to_rfc3339(), cause: cause.name().to_owned() }),
        door: asked.map(|(door, ..)| door.to_owned()),
        provisioner: asked.and_then(|(_, provisioner, ..)| provisioner.cloned()),
        account: asked.and_then(|(_, _, account, _)| account).map(ToString::to_string),
        eab_key: provenance.and_then(|provenance| provenance.eab).map(|kid| kid.to_string()),
        profile: record.and_then(|record| record.details.profile.clone()),
        client_address: client.map(|client| client.address.to_string()),
        user_agent: client.map(|client| client.user_agent.clone()).filter(|agent| !agent.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_states_with_something_to_say_are_listed() {
        for known in State::ALL {
            assert_eq!(state(known.name()).is_ok(), *known != State::Healthy);
            assert!(*known == State::Healthy || STATES.contains(known.name()));
        }
        assert_eq!(state("late"), Err(STATES));
    }

    #[test]
    fn cursors() {
        let text = base64url(&[0, 0, 1, 0, 0, 0, 0, 2]);
        assert_eq!(place(&text), Ok((256, 2)));
        for bad in ["", "!", "AAAA", &base64url(&[0; 9])] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
