//! The gate: the one place where a grant becomes a certificate.
//!
//! Grant → draft → lint → policy (both over the final bytes) → sign → one durable commit with the
//! certificate's inventory row, its audit event and whatever the asking verb changes → return.
//! A refusal by policy is as durable: nobody is told of it before it is recorded.
//! A certificate whose commit failed or lost a race is dropped here; it was never released.

use std::sync::Arc;

use super::fleet::Watch;
use super::lane::{For, Lane};
use super::leaves::LiveLeaves;
use super::{Error, audited, keys, metered};
use crate::acme::error::{ErrorKind, Refusal};
use crate::audit::Event;
use crate::authority::approve::{self, PolicyRefusal, approve, bounded};
use crate::authority::certificate::Provenance;
use crate::authority::draft::{self, DraftError};
use crate::authority::issuer::Issuer;
use crate::authority::lint::{self, LintError, Linted};
use crate::authority::sign::{self, Issued};
use crate::authority::signer::{Cost, SignError};
use crate::entropy::Entropy;
use crate::policy::{Judged, Pair, Verdict};
use crate::provisioner::{Grant, Requester};
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Expect, Store, Table, inventory};
use crate::telemetry::metrics::cells::Count;
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::Stage;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// How an issuance ended, when it did not fail.
#[must_use]
pub enum Gated {
    /// Signed and durable.
    Issued(Box<Issued>),
    /// Policy refused it; that is durable, and so not to be had without limit.
    Refused(Refusal),
    /// A record that the batch depends on changed meanwhile; nothing happened.
    Conflict,
}

/// What the gate works with.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// Takes the commit.
    pub store: &'a dyn Store,
    /// For serial numbers.
    pub entropy: &'a dyn Entropy,
    /// Who follows what is issued; `None` where CA certificates alone are made.
    pub followers: Option<Followers<'a>>,
}

/// Who is told of every certificate, once it is committed.
#[derive(Clone, Copy)]
pub struct Followers<'a> {
    /// Counts the leaves of each issuer.
    pub leaves: &'a LiveLeaves,
    /// Knows when each identity is to renew.
    pub fleet: &'a Watch,
}

/// Issues the certificate that `grant` permits. `provenance` goes to the inventory with it, and `also`
/// adds the asking verb's own checks and changes to the one batch.
pub async fn issue(
    Desk { store, entropy, followers }: Desk<'_>,
    issuer: &Arc<Issuer>,
    grant: Grant,
    now: Timestamp,
    provenance: Provenance,
    also: impl FnOnce(&Issued) -> Batch,
) -> Result<Gated, Error> {
    let approved = Stage::Policy.run(|| {
        let linted = linted(issuer, grant, entropy.bytes(), now)?;
        Ok::<_, Error>(approve(linted, policies_of(issuer), now))
    })?;
    let (approved, judged) = match approved {
        Ok(approved) => approved,
        Err(refused) => return Ok(Gated::Refused(refuse(store, *refused, now).await?)),
    };
    let queued = metrics().signer_queue.enter();
    let signed = match issuer.signer().cost() {
        Cost::Quick => Ok(Stage::Sign.run(|| sign::sign(approved, issuer))),
        Cost::Slow => {
            let issuer = issuer.clone();
            let lane = Lane::of(&issuer);
            Stage::Sign.follow(lane.run(For::Signature, move || sign::sign(approved, &issuer))).await
        }
    };
    drop(queued);
    let issued = counted(signed, &metrics().signatures)?;
    let key = issued.serial.as_bytes().to_vec();
    let subject = issued.grant().key().clone();
    let event =
        Event::CertificateIssued { serial: issued.serial, requester: issued.grant().requester().clone() };
    let batch = keys::unblocked(audited(also(&issued), now, event), &subject);
    let batch = tried(batch, judged, issued.grant().requester(), Some(issued.serial), now)
        .expect(Table::Certificates, key.clone(), Expect::Absent)
        .put(Table::Certificates, key, issued.record(provenance, now).encode());
    let batch = inventory::rows_of_issued(&issued)
        .into_iter()
        .fold(batch, |batch, row| batch.put(Table::CertificateIndex, row, Vec::new()));
    match store.commit(batch).await? {
        CommitOutcome::Committed(_) => {
            metered::issued(&issued, now);
            if let Some(Followers { leaves, fleet }) = followers {
                leaves.issued(&issued);
                fleet.issued(&issued, now);
            }
            Ok(Gated::Issued(Box::new(issued)))
        }
        CommitOutcome::Conflict => {
            // Blocked behind the first look at it: for good, and not worth another try.
            keys::refuse_blocked(store, &subject).await?;
            Ok(Gated::Conflict)
        }
    }
}

/// Counts a signature, made or failed: a key that does not answer in its time has failed too, and is to
/// raise the alert that one raises which answers with an error.
fn counted<T>(signed: Result<Result<T, SignError>, Error>, counts: &[Count; 2]) -> Result<T, Error> {
    let signed = signed.and_then(|done| done.map_err(|error| Error::Internal(error.to_string())));
    counts[usize::from(signed.is_err())].add(1);
    signed
}

fn linted(issuer: &Issuer, grant: Grant, random: [u8; 16], now: Timestamp) -> Result<Linted, Error> {
    let draft = draft::draft(grant, issuer, random, now).map_err(|e| of_draft(e, issuer))?;
    lint::lint(draft, issuer).map_err(of_lint)
}

fn policies_of(issuer: &Issuer) -> Option<(&str, &Pair)> {
    issuer.realm().map(|realm| (realm.name.as_str(), &realm.policy))
}

/// What policy would say of a certificate that is not asked for yet; nothing is signed or recorded.
pub fn rehearse(issuer: &Issuer, grant: Grant, now: Timestamp) -> Result<Judged, Error> {
    // With a serial number that nobody sees.
    match approve(linted(issuer, grant, [0; 16], now)?, policies_of(issuer), now) {
        Ok((_, judged)) => Ok(judged),
        Err(refused) => Ok(refused.1),
    }
}

/// Records a refusal; what to answer with.
async fn refuse(
    store: &dyn Store,
    (refused, judged): (PolicyRefusal, Judged),
    now: Timestamp,
) -> Result<Refusal, Error> {
    let requester = refused.requester.clone();
    let refusal = approve::refusal(&judged.verdict);
    tracing::warn!(
        provisioner = refused.context.provisioner, account = refused.context.account,
        profile = refused.context.profile, reasons = %judged.verdict, "refused by policy"
    );
    let event = Event::PolicyRefused { requester: requester.clone(), reasons: refused.reasons.clone() };
    let batch = Batch::new().append(Table::PolicyRefusals, refused.encode());
    let batch = tried(audited(batch, now, event), judged, &requester, None, now);
    match store.commit(batch).await? {
        CommitOutcome::Committed(_) => Ok(refusal),
        CommitOutcome::Conflict => Err(Error::Internal("a refusal could not be recorded".into())),
    }
}

/// Records where policies that are tried would have decided otherwise.
fn tried(
    batch: Batch,
    judged: Judged,
    requester: &Requester,
    serial: Option<Serial>,
    now: Timestamp,
) -> Batch {
    if judged.differing.is_empty() {
        return batch;
    }
    let mut tried = judged.differing;
    for differing in &mut tried {
        differing.reasons = bounded(&differing.reasons);
        let verdict = Verdict { reasons: differing.reasons.clone() };
        tracing::info!(
            policy = differing.policy, allowed = serial.is_some(), tried = %verdict, serial = serial.map(tracing::field::display),
            "a policy that is tried would have decided otherwise"
        );
    }
    audited(batch, now, Event::PolicyDiffers { requester: requester.clone(), serial, tried })
}

fn of_draft(error: DraftError, issuer: &Issuer) -> Error {
    match error {
        DraftError::Passed | DraftError::OutlivesIssuer(_) => {
            Error::Refused(Refusal::malformed(format!("notAfter: {error}")))
        }
        DraftError::IssuerNotValid => Error::IssuerNotValid(issuer.authority().cloned().unwrap_or_default()),
        DraftError::Build(_) => Error::Internal(error.to_string()),
    }
}

fn of_lint(error: LintError) -> Error {
    match error {
        LintError::Key(refusal) => {
            Error::Refused(Refusal::new(ErrorKind::BadCsr, format!("the CSR's key: {refusal}")))
        }
        LintError::Name(violation) => {
            Error::Refused(Refusal::new(ErrorKind::RejectedIdentifier, violation.to_string()))
        }
        LintError::Path(rule) => Error::Refused(Refusal::malformed(rule)),
        LintError::Rule(_) => Error::Internal(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_does_not_answer_has_failed() {
        let counts: [Count; 2] = Default::default();
        let count = |signed| {
            let error = counted(signed, &counts).err();
            (error, counts[0].get(), counts[1].get())
        };
        assert!(matches!(count(Ok(Ok(()))), (None, 1, 0)));
        assert!(matches!(count(Ok(Err(SignError("away".into())))), (Some(Error::Internal(_)), 1, 1)));
        let late = "the signing key does not answer";
        assert!(matches!(count(Err(Error::Busy(late))), (Some(Error::Busy(_)), 1, 2)));
    }
}
