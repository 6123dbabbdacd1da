//! The verdict of policy: the last step in front of the key, over the very bytes that it will sign.

use serde::{Deserialize, Serialize};

use super::lint::Linted;
use crate::acme::error::{ErrorKind, Refusal, Subproblem};
use crate::policy::{Cause, Context, Facts, Field, Judged, Pair, Policies, Reason, Verdict, Who};
use crate::provisioner::{Purpose, Requester};
use crate::time::Timestamp;

/// A certificate that policy allows. Made here only, used up by [`super::sign::sign`].
#[derive(Debug)]
#[must_use]
pub struct Approved {
    pub(super) linted: Linted,
}

/// A certificate that policy refused: kept for a while, so that another policy can be tried on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRefusal {
    /// The to-be-signed certificate.
    pub tbs: Vec<u8>,
    /// For whom it was to be.
    pub requester: Requester,
    /// As it was judged.
    pub context: Context,
    /// Why, bounded.
    pub reasons: Vec<Reason>,
}

/// Most reasons that are kept of one refusal.
pub const MOST_REASONS: usize = 32;

/// What is kept of reasons.
pub fn bounded(reasons: &[Reason]) -> Vec<Reason> {
    let shown =
        |reason: &Reason| Reason { value: crate::policy::value::shorten(&reason.value), ..reason.clone() };
    reasons.iter().take(MOST_REASONS).map(shown).collect()
}

/// What policies are told of a requester, except for the authority and the account's key.
pub fn context(requester: &Requester, profile: Option<&str>, at: Timestamp) -> Context {
    let (who, party) = match requester {
        Requester::Acme { provisioner, account, .. } => (Who::Acme, Some((provisioner, account))),
        Requester::AutoRenewal { provisioner, account, .. } => {
            (Who::AutoRenewal, Some((provisioner, account)))
        }
        Requester::Own => (Who::Own, None),
        Requester::Ceremony => (Who::Ceremony, None),
    };
    Context {
        provisioner: party.map(|(provisioner, _)| provisioner.clone()),
        account: party.map(|(_, account)| account.to_string()),
        profile: profile.map(str::to_owned),
        ..Context::new(at, who)
    }
}

/// Puts a certificate to its authority's policies and to its provisioner's, which the grant brings
/// along. Without any, the one rule is that nobody but the operator gets a CA certificate.
pub fn approve(
    linted: Linted,
    authority: Option<(&str, &Pair)>,
    now: Timestamp,
) -> Result<(Approved, Judged), Box<(PolicyRefusal, Judged)>> {
    let grant = &linted.grant;
    let policies = Policies { authority: authority.map(|(_, pair)| pair), provisioner: Some(grant.policy()) };
    let is_ca = match grant.purpose() {
        Purpose::Leaf(_) => false,
        Purpose::Root(_) | Purpose::Intermediate(_) => true,
    };
    let stray_ca = is_ca && *grant.requester() != Requester::Ceremony;
    if policies.is_empty() && !stray_ca {
        return Ok((Approved { linted }, Judged::default()));
    }
    let context = Context {
        authority: authority.map(|(name, _)| name.to_owned()),
        eab_key: grant.eab_key().map(|kid| kid.to_string()),
        ..context(grant.requester(), grant.profile(), now)
    };
    let mut judged = policies.judge(&Facts::of_tbs(&linted.tbs, now), &context);
    if stray_ca {
        let cause = Cause::Never("only the operator makes CA certificates".to_owned());
        let reason = Reason { policy: String::new(), field: Field::Ca, value: "CA".to_owned(), cause };
        judged.verdict.reasons.push(reason);
    }
    if judged.verdict.allowed() {
        return Ok((Approved { linted }, judged));
    }
    let reasons = bounded(&judged.verdict.reasons);
    let Linted { tbs, grant, .. } = linted;
    let refusal = PolicyRefusal { tbs, requester: grant.requester().clone(), context, reasons };
    Err(Box::new((refusal, judged)))
}

/// Most subproblems of one refusal.
const MOST_SUBPROBLEMS: usize = 100;

/// What the client is told: names are rejected one by one; a key that is refused is the CSR's; anything
/// else is not the client's to have.
pub fn refusal(verdict: &Verdict) -> Refusal {
    let of = |reason: &Reason| {
        let kind = match reason.field {
            Field::Dns => "dns",
            Field::Ip => "ip",
            Field::Uri => "uri",
            Field::Email => "email",
            Field::Device => "permanent-identifier",
            Field::Principal
            | Field::Subject
            | Field::Key
            | Field::Lifetime
            | Field::Backdate
            | Field::ExtendedKeyUsage
            | Field::KeyUsage
            | Field::Signature
            | Field::Issuer
            | Field::Extension
            | Field::Ca
            | Field::Form => return None,
        };
        let identifier = (kind.to_owned(), reason.value.clone());
        Some(Subproblem { kind: ErrorKind::RejectedIdentifier, detail: reason.to_string(), identifier })
    };
    let mut subproblems: Vec<Subproblem> = verdict.reasons.iter().filter_map(of).collect();
    let about_key = |reason: &Reason| reason.field == Field::Key;
    let kind = if !subproblems.is_empty() {
        ErrorKind::RejectedIdentifier
    } else if verdict.reasons.iter().all(about_key) {
        ErrorKind::BadCsr
    } else {
        ErrorKind::Unauthorized
    };
    subproblems.truncate(MOST_SUBPROBLEMS);
    Refusal { subproblems, ..Refusal::new(kind, format!("refused by policy: {verdict}")) }
}
