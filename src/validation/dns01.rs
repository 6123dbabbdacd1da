//! dns-01 (RFC 8555 §8.4).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::dial::dns_stop;
use super::{Ask, FailureKind, Stop, Validator, quote, sha256};
use crate::acme::identifier::DnsName;

/// How many of the records that were found instead a detail quotes.
const QUOTED_RECORDS: usize = 3;

impl Validator {
    /// Checks that `name` has the challenge's TXT record; for a wildcard, `name` is its base.
    pub(super) async fn dns01(&self, name: &DnsName, ask: &Ask, deadline: Instant) -> Result<(), Stop> {
        let owner = format!("_acme-challenge.{name}");
        let texts = self
            .door
            .lookups()
            .texts(&owner, deadline)
            .await
            .map_err(|trouble| dns_stop(&owner, "TXT", trouble))?;
        judge(&texts, &owner, ask)
    }
}

/// The value the record must have.
pub(super) fn expected(key_authorization: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(key_authorization))
}

/// One record of several is enough: other validations of the same name leave theirs beside it.
pub(super) fn judge(texts: &[Vec<u8>], owner: &str, ask: &Ask) -> Result<(), Stop> {
    let expected = expected(&ask.key_authorization);
    if texts.iter().any(|text| text == expected.as_bytes()) {
        return Ok(());
    }
    let quoted: Vec<String> = texts
        .iter()
        .take(QUOTED_RECORDS)
        .map(|text| format!("\"{}\"", quote(text, &ask.key_authorization)))
        .collect();
    let more = if texts.len() > QUOTED_RECORDS { ", ..." } else { "" };
    Err(Stop::failed(
        FailureKind::Unauthorized,
        format!(
            "none of the {} TXT records of {owner} is this challenge's (found {}{more}); is the record of an \
             earlier attempt still served?",
            texts.len(),
            quoted.join(", ")
        ),
    ))
}

#[cfg(test)]
mod tests;
