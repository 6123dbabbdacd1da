//! Blocked keys.

use hyper::StatusCode;

use super::problem::Failure;
use super::{App, Response, json};
use crate::audit::Actor;
use crate::authority::blocked::{BlockedKey, Blocker};
use crate::service::keys::PAGE;
use crate::wire::admin as wire;
use crate::x509::key_hash::KeyHash;

fn shown((key, blocked): &(KeyHash, BlockedKey)) -> wire::BlockedKey {
    wire::BlockedKey {
        key: key.to_string(),
        at: blocked.at.to_rfc3339(),
        reason: blocked.reason.clone(),
        revoked: match blocked.by {
            Blocker::Operator => None,
            Blocker::Revocation(serial) => Some(serial.to_string()),
        },
    }
}

pub(super) async fn list(app: &App, query: Option<&str>) -> Result<Response, Failure> {
    let malformed = || Failure::Malformed("query: takes after=HASH".into());
    let after = match query {
        None => None,
        Some(query) => {
            let key = query.strip_prefix("after=").and_then(KeyHash::parse);
            Some(key.ok_or_else(malformed)?)
        }
    };
    let listed = app.service.blocked_keys(after).await?;
    let next = listed.last().filter(|_| listed.len() == PAGE).map(|(key, _)| key.to_string());
    json(StatusCode::OK, &wire::BlockedKeys { keys: listed.iter().map(shown).collect(), next })
}

pub(super) async fn block(app: &App, by: Option<&Actor>, ask: wire::BlockKeys) -> Result<Response, Failure> {
    let mut keys = Vec::with_capacity(ask.keys.len());
    for (place, text) in ask.keys.iter().enumerate() {
        let malformed =
            || Failure::Malformed(format!("keys[{place}]: is no SHA-256: give 64 hexadecimal digits"));
        keys.push(KeyHash::parse(text).ok_or_else(malformed)?);
    }
    let done = app.service.block_keys(&keys, &ask.reason, by).await?;
    json(StatusCode::OK, &wire::KeysBlocked { blocked: done.new, known: done.known })
}

pub(super) async fn unblock(app: &App, by: Option<&Actor>, key: KeyHash) -> Result<Response, Failure> {
    let blocked = app.service.unblock_key(key, by).await?;
    json(StatusCode::OK, &shown(&(key, blocked)))
}
