//! The header of an external account binding (RFC 8555 §7.3.4). Its MAC and its payload are for the
//! service, which has the keys.

use serde_json::value::RawValue;

use super::links::Links;
use crate::acme::error::Refusal;
use crate::jose::jws::JwsError;
use crate::jose::mac::{MacAlgorithm, UnverifiedMac};
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::EabMode;

/// Reads the member of newAccount's payload; nothing where bindings are not looked at.
pub(super) fn read(
    terms: &Terms,
    links: &Links,
    given: Option<&RawValue>,
) -> Result<Option<UnverifiedMac>, Refusal> {
    let given = match (terms.eab, given) {
        (EabMode::Off, _) | (EabMode::Optional | EabMode::Required, None) => return Ok(None),
        (EabMode::Optional | EabMode::Required, Some(given)) => given,
    };
    let malformed = |why: String| Refusal::malformed(format!("externalAccountBinding: {why}"));
    let binding = UnverifiedMac::parse(given.get()).map_err(|error| match error {
        JwsError::Algorithm => {
            let names: Vec<&str> = MacAlgorithm::TABLE.iter().map(|(_, name)| *name).collect();
            malformed(format!("alg must be one of {}", names.join(", ")))
        }
        JwsError::Malformed(_) | JwsError::Key(_) => malformed(error.to_string()),
    })?;
    if binding.has_nonce {
        return Err(malformed("nonce must be absent".into()));
    }
    if binding.url != links.new_account() {
        return Err(malformed("url must be that of newAccount, as in the request's own header".into()));
    }
    Ok(Some(binding))
}
