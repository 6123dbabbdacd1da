//! What policy refused.

use hyper::StatusCode;

use super::parameters::Parameters;
use super::problem::Failure;
use super::{App, Response, json};
use crate::authority::approve::PolicyRefusal;
use crate::jose::base64url;
use crate::time::Timestamp;
use crate::wire::admin as wire;

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let mut parameters = Parameters::parse(query)?;
    let since = parameters.take("since", super::parameters::time)?.unwrap_or(Timestamp::EPOCH);
    let after = parameters.take("after", super::parameters::number)?;
    parameters.finish()?;
    let page = app.service.refusals(since, after).await?;
    let refusals = page.refusals.iter().map(|(_, refused)| refusal(refused)).collect();
    json(StatusCode::OK, &wire::PolicyRefusals { refusals, next: page.next.map(|next| next.to_string()) })
}

fn refusal(refused: &PolicyRefusal) -> wire::PolicyRefusal {
    let context = refused.context.clone();
    wire::PolicyRefusal {
        at: context.at.to_rfc3339(),
        door: context.requester.name().to_owned(),
        authority: context.authority,
        provisioner: context.provisioner,
        account: context.account,
        eab_key: context.eab_key,
        profile: context.profile,
        reasons: refused.reasons.iter().map(ToString::to_string).collect(),
        tbs: base64url(&refused.tbs),
    }
}
