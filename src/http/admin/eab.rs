//! Keys for external account binding.

use std::time::Duration;

use hyper::StatusCode;

use super::problem::Failure;
use super::{App, Response, json};
use crate::audit::Actor;
use crate::http::acme;
use crate::id::EabKid;
use crate::provisioner::eab::EabAsk;
use crate::service::eab::{ListedKey, PAGE};
use crate::time::Timestamp;
use crate::wire::admin as wire;

fn key(listed: &ListedKey, now: Timestamp) -> wire::EabKey {
    let ListedKey { key, uses } = listed;
    wire::EabKey {
        kid: key.kid.to_string(),
        state: key.state(*uses, now).name().into(),
        provisioner: key.provisioner.clone(),
        allow: key.allow.iter().map(ToString::to_string).collect(),
        trust_names: key.trusts_names,
        label: key.label.clone(),
        uses: *uses,
        max_uses: key.max_uses,
        created: key.created.to_rfc3339(),
        expires: key.expires.to_rfc3339(),
        revoked: key.revoked.map(Timestamp::to_rfc3339),
    }
}

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let malformed = || Failure::Malformed("query: takes after=KID".into());
    let after = match query {
        None => None,
        Some(query) => {
            let kid = query.strip_prefix("after=").and_then(EabKid::parse);
            Some(kid.ok_or_else(malformed)?)
        }
    };
    let listed = app.service.eab_keys(after).await?;
    let next = listed.last().filter(|_| listed.len() == PAGE).map(|last| last.key.kid.to_string());
    let now = app.service.now();
    let keys = listed.iter().map(|listed| key(listed, now)).collect();
    json(StatusCode::OK, &wire::EabKeys { keys, next })
}

pub(super) async fn create(app: &App, by: Option<&Actor>, ask: wire::NewEabKey) -> Result<Response, Failure> {
    let wire::NewEabKey { provisioner, allow, lifetime, max_uses, label, trust_names } = ask;
    let lifetime = Duration::from_secs(lifetime);
    let ask = EabAsk { provisioner, allow, lifetime, max_uses, label, trusts_names: trust_names };
    let created = app.service.create_eab_key(ask, by).await?;
    let (hmac_key, directory) =
        (created.secret.reveal(), acme::directory_url(&app.base_url, &created.provisioner));
    let key = key(&ListedKey { key: created, uses: 0 }, app.service.now());
    json(StatusCode::CREATED, &wire::CreatedEabKey { key, hmac_key, directory })
}

pub(super) async fn revoke(app: &App, by: Option<&Actor>, kid: EabKid) -> Result<Response, Failure> {
    let revoked = app.service.revoke_eab_key(kid, by).await?;
    json(StatusCode::OK, &key(&revoked, app.service.now()))
}
