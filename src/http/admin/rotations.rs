//! Where each authority's rotation stands, and whether its next step may be taken.

use hyper::StatusCode;

use super::problem::Failure;
use super::{App, Response, json};
use crate::audit::configuration::RotationStep;
use crate::authority::rotation::{IssuerFacts, NotYet, Role, Step};
use crate::service::Service;
use crate::service::rotation::{Rotation, Taken};
use crate::time::Timestamp;
use crate::wire::admin as wire;
use crate::x509::hex;

pub(super) fn list(app: &App) -> Result<Response, Failure> {
    let rotations = app.service.rotations().iter().map(rotation).collect();
    json(StatusCode::OK, &wire::Rotations { rotations })
}

fn rotation(one: &Rotation) -> wire::Rotation {
    let Rotation { authority, facts, standing } = one;
    let (next_step, next_issuer) = match standing.step {
        Step::Start => (RotationStep::Start, None),
        Step::Advance => (RotationStep::Advance, facts.next.as_ref().map(|next| next.key_id)),
        Step::Retire(issuer) => (RotationStep::Retire, Some(issuer)),
    };
    let issuers = facts.issuers().map(|(role, issuer)| {
        let kept_because = match role {
            Role::Former => facts.may_retire(&issuer.key_id).err().map(|why| why.to_string()),
            Role::Next | Role::Signing => None,
        };
        wire::RotationIssuer { kept_because, ..described(role, issuer) }
    });
    wire::Rotation {
        authority: authority.as_str().to_owned(),
        stage: standing.stage.to_string(),
        next_step: next_step.name().to_owned(),
        next_issuer: next_issuer.map(|key_id| hex::encode(&key_id)),
        next_from: standing.from.map(Timestamp::to_rfc3339),
        switched: facts.switched.map(Timestamp::to_rfc3339),
        handover_until: facts.switched.map(|since| (since + facts.handover).to_rfc3339()),
        issuers: issuers.collect(),
    }
}

fn described(role: Role, issuer: &IssuerFacts) -> wire::RotationIssuer {
    wire::RotationIssuer {
        role: role.name().to_owned(),
        key_id: hex::encode(&issuer.key_id),
        subject: issuer.subject.clone(),
        not_after: issuer.not_after.to_rfc3339(),
        chains: issuer.chains,
        published: issuer.published.map(Timestamp::to_rfc3339),
        live: issuer.live.map(|live| live.count),
        last_expiry: issuer.live.and_then(|live| live.last).map(Timestamp::to_rfc3339),
        kept_because: None,
    }
}

/// Whether a step may be taken now; nothing is done. Where all stands, if so.
pub(super) fn ask(app: &App, asked: &wire::RotationStep) -> Result<Response, Failure> {
    let asked = Asked::read(asked)?;
    asked.permitted(&app.service).map_err(Failure::NotYet)?;
    list(app)
}

/// A step that somebody wants to take.
pub(super) struct Asked {
    pub(super) step: RotationStep,
    authority: String,
    taken: Taken,
    force: bool,
}

impl Asked {
    /// Whether it may be taken now.
    pub(super) fn permitted(&self, service: &Service) -> Result<(), NotYet> {
        service.permits(&self.authority, self.taken, self.force)
    }

    pub(super) fn read(asked: &wire::RotationStep) -> Result<Self, Failure> {
        let step = RotationStep::TABLE.iter().find(|(_, name)| *name == asked.step).map(|(step, _)| *step);
        let step = step.ok_or_else(|| {
            Failure::Malformed("rotation.step: must be start, advance, retire or abort".into())
        })?;
        let issuer = asked.issuer.as_deref().map(|text| {
            hex::decode(text).ok_or_else(|| {
                Failure::Malformed(
                    "rotation.issuer: must be a key identifier, 40 lower-case hex digits".into(),
                )
            })
        });
        let taken = match (step, issuer.transpose()?) {
            (RotationStep::Start, None) => Taken::Start,
            (RotationStep::Advance, None) => Taken::Advance,
            (RotationStep::Abort, None) => Taken::Abort,
            (RotationStep::Retire, Some(issuer)) => Taken::Retire(issuer),
            (RotationStep::Retire, None) => {
                return Err(Failure::Malformed("rotation.issuer: which issuer is retired?".into()));
            }
            (RotationStep::Start | RotationStep::Advance | RotationStep::Abort, Some(_)) => {
                return Err(Failure::Malformed("rotation.issuer: only what is retired is named".into()));
            }
        };
        Ok(Self { step, authority: asked.authority.clone(), taken, force: asked.force })
    }
}
