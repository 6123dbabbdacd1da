//! dns-persist-01 (draft-ietf-acme-dns-persist-02): a TXT record that stays, and names this CA and
//! the account.
//!
//! Where the draft leaves room:
//!
//! - A record above the name counts if it says `policy=wildcard` (§5, §6). As many names upwards are
//!   asked as [`MOST_ABOVE`], and a name of one label only for itself: nobody answers for a whole top
//!   level.
//! - The account is named by its hashed URI, made with its current key (§4.1), or, as drafts 00 and
//!   01 had it and clients in use still publish it, by its URL itself. Hashes made with an earlier
//!   key are not kept: the directory says `keyRotationPeriod: 0` (§4.3).

use std::borrow::Cow;

use tokio::time::Instant;

use super::dial::dns_stop;
use super::issue_value::IssueValue;
use super::resolver::Trouble;
use super::{Ask, FailureKind, Stop, Validator, quote, sha256};
use crate::acme::identifier::DnsName;
use crate::jose::base64url;
use crate::time::Timestamp;

/// How many names above the one to be proved are asked.
const MOST_ABOVE: usize = 8;

/// How many of the records that were found instead a detail quotes.
const QUOTED_RECORDS: usize = 3;

/// The last second of the year 9999: a record for longer is one for ever.
const FOREVER: u64 = 253_402_300_799;

/// What a persistent record is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// The names this CA goes by in such records, lower case; any one will do.
    pub issuer_domains: Vec<String>,
    /// How hashed account URIs begin.
    pub account_hash_prefix: String,
    /// The thumbprint of the account's key (RFC 7638), base64url.
    pub thumbprint: String,
}

/// What is to be found at one place.
struct Wanted<'a> {
    ask: &'a Ask,
    persist: &'a Persist,
    /// The name whose record it is.
    place: &'a str,
    /// Whether the record must speak for more than its own name.
    broad: bool,
}

impl Validator {
    /// Checks that `name`, or one above it, has a record for this CA and account; for a wildcard,
    /// `name` is its base. Returns until when the record may be relied on, if it says so.
    pub(super) async fn dns_persist01(
        &self,
        name: &DnsName,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<Option<Timestamp>, Stop> {
        let Some(persist) = ask.persist.as_ref().filter(|persist| !persist.issuer_domains.is_empty()) else {
            return Err(Stop::failed(
                FailureKind::Unauthorized,
                "dns-persist-01 is not offered here any more",
            ));
        };
        let (mut unanswered, mut unfit, mut nothing) = (None, Vec::new(), None);
        for (above, place) in places(name).into_iter().enumerate() {
            let broad = above > 0 || ask.identifier.is_wildcard();
            let wanted = Wanted { ask, persist, place, broad };
            let owner = format!("_validation-persist.{place}");
            match self.door.lookups().texts(&owner, deadline).await {
                Ok(texts) => match wanted.among(&texts) {
                    Ok(until) => return Ok(until),
                    Err(reasons) => unfit.extend(reasons),
                },
                Err(trouble @ Trouble::Unanswered(_)) => {
                    unanswered = unanswered.or(Some(dns_stop(&owner, "TXT", trouble)));
                }
                Err(trouble @ (Trouble::Missing | Trouble::Empty)) => {
                    nothing = nothing.or(Some(dns_stop(&owner, "TXT", trouble)));
                }
            }
        }
        // A record that nobody could read may have been the right one.
        if let Some(stop) = unanswered {
            return Err(stop);
        }
        match nothing {
            Some(stop) if unfit.is_empty() => Err(stop),
            Some(_) | None => {
                let wanted =
                    Wanted { ask, persist, place: name.as_str(), broad: ask.identifier.is_wildcard() };
                Err(Stop::failed(FailureKind::Unauthorized, wanted.refusal(&unfit)))
            }
        }
    }
}

/// The name, and those above it that may answer for it.
fn places(name: &DnsName) -> Vec<&str> {
    let names = std::iter::successors(Some(name.as_str()), |name| {
        name.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'))
    });
    names.take(1 + MOST_ABOVE).collect()
}

impl Wanted<'_> {
    /// One record that fits is enough; of several, the one that holds longest. The error has what is
    /// wrong with each.
    fn among(&self, texts: &[Vec<u8>]) -> Result<Option<Timestamp>, Vec<String>> {
        let mut best: Option<Option<Timestamp>> = None;
        let mut reasons = Vec::new();
        for text in texts {
            match self.fits(text) {
                Ok(until) => {
                    best = Some(match (best, until) {
                        (None, until) => until,
                        (Some(None), _) | (Some(_), None) => None,
                        (Some(Some(one)), Some(other)) => Some(one.max(other)),
                    });
                }
                Err(why) => reasons.push(format!("\"{}\" at {}: {why}", quote(text, ""), self.place)),
            }
        }
        best.ok_or(reasons)
    }

    /// Until when a record holds, if it is one for what is wanted.
    fn fits(&self, text: &[u8]) -> Result<Option<Timestamp>, &'static str> {
        let value = IssueValue::parse(text).ok_or("is not an issue-value of RFC 8659")?;
        match &value.issuer {
            Some(issuer) if self.persist.issuer_domains.contains(issuer) => {}
            Some(_) | None => return Err("is for another CA"),
        }
        let parameter = |tag| value.parameter(tag).map_err(|_| "has a parameter twice");
        let account = parameter("accounturi")?.ok_or("has no accounturi")?;
        if !self.accounts().iter().any(|uri| uri == account) {
            return Err("is for another account, or an earlier key of it");
        }
        let policy = parameter("policy")?;
        let until = parameter("persistuntil")?.map(until).transpose()?;
        if until.is_some_and(|until| self.ask.now >= until) {
            return Err("has expired");
        }
        if self.broad && !policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")) {
            return Err("speaks for its own name only: it lacks policy=wildcard");
        }
        Ok(until)
    }

    /// What an `accounturi` may be.
    fn accounts(&self) -> [Cow<'_, str>; 3] {
        [self.hashed(self.place).into(), self.hashed("*").into(), self.ask.account_url.as_str().into()]
    }

    /// §4.1: a digest over the length of the domain name, the name, the key and the account's URL.
    fn hashed(&self, domain: &str) -> String {
        let Persist { account_hash_prefix, thumbprint, .. } = self.persist;
        // A domain name has 253 bytes at most.
        let length = u8::try_from(domain.len()).unwrap_or(u8::MAX);
        let parts = [&[length], domain.as_bytes(), thumbprint.as_bytes(), self.ask.account_url.as_bytes()];
        format!("{account_hash_prefix}sha-256/{}", base64url(&sha256(parts.concat())))
    }

    fn refusal(&self, unfit: &[String]) -> String {
        let shown = unfit.iter().take(QUOTED_RECORDS).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if unfit.len() > QUOTED_RECORDS { ", ..." } else { "" };
        let policy = if self.broad { "; policy=wildcard" } else { "" };
        format!(
            "none of {} TXT records is one for this CA and account (found {shown}{more}); publish \
             \"{}; accounturi={}{policy}\" at _validation-persist.{}",
            unfit.len(),
            self.persist.issuer_domains.first().map_or("", String::as_str),
            self.hashed(self.place),
            self.place,
        )
    }
}

/// Seconds since 1970 in decimal digits, and nothing else.
fn until(text: &str) -> Result<Timestamp, &'static str> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("has a persistUntil that is not a number of seconds");
    }
    // Only digits: what does not fit is later than any time we know.
    Ok(Timestamp::from_secs(text.parse().unwrap_or(FOREVER).min(FOREVER)))
}

#[cfg(test)]
mod tests;
