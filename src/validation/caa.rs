//! CAA (RFC 8659) with the parameters of RFC 8657: whether a name's owner lets this CA issue.
//!
//! The records that count are those of the nearest name upwards that has any (RFC 8659 §3); aliases
//! are followed by the DNS client. What cannot be read forbids, what cannot be looked up is unknown:
//! neither ever permits.

use tokio::time::Instant;

use super::issue_value::IssueValue;
use super::resolver::Trouble;
use super::{FailureKind, Stop, Validator, quote};
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::{DnsName, Identifier};

/// Whether one name may be certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaAsk {
    /// For what; addresses have no CAA records.
    pub identifier: Identifier,
    /// How control of it was proved; `None` if by no challenge.
    pub method: Option<ChallengeKind>,
    /// Whose order it is (RFC 8657 §3).
    pub account_url: String,
    /// The names this CA goes by in CAA records, lower case.
    pub identities: Vec<String>,
}

/// What the CAA records of a name say.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Consent {
    /// Nothing against it.
    Permitted,
    /// They forbid it; the text says which ones, and what would permit it.
    Forbidden(String),
    /// They could not be looked up; the text says who failed how. Worth another try.
    Unknown(String),
}

/// One CAA record (RFC 8659 §4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    /// Whether a CA that does not know the tag must not issue.
    pub(super) critical: bool,
    /// Lower case.
    pub(super) tag: String,
    /// As it stands in the record.
    pub(super) value: Vec<u8>,
}

impl Validator {
    /// Looks the CAA records of a name up, within the configured timeout, and judges them.
    pub async fn consent(&self, ask: &CaaAsk) -> Consent {
        match self.check_caa(ask, Instant::now() + self.timeout).await {
            Ok(()) => Consent::Permitted,
            Err(Stop::Failed(failure)) => Consent::Forbidden(failure.detail),
            Err(Stop::Inconclusive(failure)) => Consent::Unknown(failure.detail),
        }
    }

    pub(super) async fn check_caa(&self, ask: &CaaAsk, deadline: Instant) -> Result<(), Stop> {
        let name = match &ask.identifier {
            Identifier::Dns(name) | Identifier::Wildcard(name) => name,
            Identifier::Ip(_) | Identifier::Permanent(_) => return Ok(()),
        };
        for owner in upwards(name) {
            match self.door.lookups().properties(owner, deadline).await {
                Ok(found) => {
                    return judge(&found, ask).map_err(|why| {
                        let detail = format!(
                            "the CAA records of {owner} do not let this CA issue for {}: {why}",
                            ask.identifier
                        );
                        Stop::failed(FailureKind::Caa, detail)
                    });
                }
                Err(Trouble::Missing | Trouble::Empty) => {}
                Err(Trouble::Unanswered(why)) => {
                    let detail =
                        format!("the CAA records of {owner} could not be looked up ({why}); try again");
                    return Err(Stop::inconclusive(FailureKind::Caa, detail));
                }
            }
        }
        Ok(())
    }
}

/// The name and every name above it, without the root.
fn upwards(name: &DnsName) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name.as_str()), |name| name.split_once('.').map(|(_, parent)| parent))
}

/// What a set of records says, if it is the one that counts. The error says what is missing.
fn judge(found: &[Property], ask: &CaaAsk) -> Result<(), String> {
    let known = |tag: &str| matches!(tag, "issue" | "issuewild" | "iodef");
    if let Some(property) = found.iter().find(|property| property.critical && !known(&property.tag)) {
        return Err(format!(
            "a critical property, \"{}\", is unknown here",
            quote(property.tag.as_bytes(), "")
        ));
    }
    let of = |tag: &str| found.iter().filter(|property| property.tag == tag).collect::<Vec<_>>();
    // For a wildcard, `issue` counts only where there is no `issuewild` (RFC 8659 §4.3).
    let wild = if ask.identifier.is_wildcard() { of("issuewild") } else { Vec::new() };
    let counting = if wild.is_empty() { of("issue") } else { wild };
    if counting.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = counting.iter().filter_map(|p| unfit(p, ask).err()).collect();
    if reasons.len() < counting.len() {
        return Ok(());
    }
    let first = reasons.first().map_or("", String::as_str);
    Err(format!("{first}; this CA is {}", ask.identities.join(" or ")))
}

/// Why a property does not permit what is asked.
fn unfit(property: &Property, ask: &CaaAsk) -> Result<(), String> {
    let Some(value) = IssueValue::parse(&property.value) else {
        return Err(format!("\"{}\" is not an issue-value", quote(&property.value, "")));
    };
    match &value.issuer {
        Some(issuer) if ask.identities.contains(issuer) => {}
        Some(issuer) => return Err(format!("{} is named", quote(issuer.as_bytes(), ""))),
        None => return Err("nobody may issue".to_owned()),
    }
    match value.parameter("accounturi") {
        Ok(None) => {}
        Ok(Some(uri)) if uri == ask.account_url => {}
        Ok(Some(_)) => return Err("its accounturi is another account's".to_owned()),
        Err(_) => return Err("it has several accounturi".to_owned()),
    }
    match value.parameter("validationmethods") {
        Ok(None) => Ok(()),
        Ok(Some(methods)) if permits(methods, ask.method) => Ok(()),
        Ok(Some(_)) => Err(match ask.method {
            Some(method) => format!("its validationmethods are without {}", method.name()),
            None => "its validationmethods ask for a challenge, and there was none".to_owned(),
        }),
        Err(_) => Err("it has several validationmethods".to_owned()),
    }
}

/// RFC 8657 §4: labels of letters, digits and hyphens between commas; one that is none spoils all.
fn permits(methods: &str, method: Option<ChallengeKind>) -> bool {
    let is_label = |m: &str| !m.is_empty() && m.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    methods.split(',').all(is_label) && method.is_some_and(|by| methods.split(',').any(|m| m == by.name()))
}

#[cfg(test)]
mod tests;
