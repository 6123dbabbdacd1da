//! Challenge responses (RFC 8555 §7.5.1) and authorization deactivation (§7.5.2).
//!
//! Validation runs in a task of its own. If it is done within a second, the response already shows
//! the result, and one commit did it all. If not, the challenge is committed as processing, the
//! client is told to come back, and the task goes on. A task that a crash ends is begun anew when
//! the client polls ([`Service::authorization`]).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::fleet::news_of;
use super::objects::{LoadedAuthorization, LoadedOrder};
use super::reach::Subject;
use super::slots::Seat;
use super::{Claim, Error, Provisioner, Service, audited, boxed, metered};
use crate::acme::challenge::{ChallengeKind, without_token};
use crate::acme::error::{ErrorKind, StoredProblem};
use crate::acme::order::{Authorization, AuthorizationStatus, ChallengeState, Verdict};
use crate::acme::subdomain::asked_as;
use crate::audit::Event;
use crate::id::{AccountId, OrderId};
use crate::jose::base64url;
use crate::jose::jwk::Thumbprint;
use crate::limits::{Limit, Source};
use crate::provisioner::acme::Terms;
use crate::storage::codec::{HeldAuthorization, Record, held_row};
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::telemetry::metrics::vocabulary::Stage;
use crate::telemetry::trace::{self, Kind, Span};
use crate::validation::{Ask, Failure, FailureKind, Outcome};

/// How long a response waits for the result.
const QUICK: Duration = Duration::from_secs(1);

/// Pauses between attempts; the last one repeats.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// How long an attempt waits for others to end: as long as a full share of validations takes whose
/// targets are silent.
const LINE: Duration = Duration::from_secs(60);

/// What a validation tells those who wait: the authorization as it is stored now.
type Report = Result<Authorization, Error>;

/// Which challenge of which authorization.
#[derive(Clone, Copy, Debug)]
struct Target {
    account: AccountId,
    order: OrderId,
    index: u16,
    kind: ChallengeKind,
    from: Source,
}

impl Service {
    /// Takes the client's word that a challenge is in place, and validates it.
    pub async fn respond(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: (AccountId, Thumbprint),
        order: OrderId,
        index: u16,
        kind: ChallengeKind,
        from: Source,
    ) -> Result<LoadedAuthorization, Error> {
        let (account, thumbprint) = account;
        let ended = self.validating.ended();
        let mut loaded = self.load_own_order(terms, account, order).await?;
        let authorization = loaded.order.own(index).ok_or(Error::NotFound)?;
        if authorization.challenge(kind).is_none() {
            return Err(Error::NotFound);
        }
        let subdomains = loaded.order.details.counts_below(index);
        let target = Target { account, order, index, kind, from };
        if authorization.awaits(kind, self.now()) {
            self.admit_attempt(account, from, self.now())?;
        }
        if authorization.awaits(kind, self.now())
            && let Some(claim) = self.validating.claim((order, index), kind)
        {
            // Whoever held the claim before has stored what came of it. Only if a validation ended
            // since the order was read can it have been this one's.
            if self.validating.ended() != ended {
                loaded = self.load_order(order).await?;
            }
            if let Some(first) = self.begin(terms, target, claim, loaded, thumbprint)? {
                let first = first.await;
                let authorization =
                    first.map_err(|_| Error::Internal("the validation ended without a result".into()))??;
                return Ok(LoadedAuthorization { order, index, authorization, subdomains, trusted: false });
            }
        }
        // Settled, or under validation by whichever challenge.
        self.authorization(terms, account, order, index).await
    }

    /// Goes on with a validation that was committed as processing and that nobody is at.
    pub(super) fn resume_validation(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: AccountId,
        order: OrderId,
        index: u16,
        kind: ChallengeKind,
    ) {
        let (service, terms) = (self.clone(), terms.clone());
        tokio::spawn(trace::carried(async move {
            if let Err(error) = service.take_up(&terms, (account, order, index, kind)).await {
                tracing::warn!(%order, %error, "a validation could not be taken up again yet");
            }
        }));
    }

    /// Takes a place of those for work that no request asks for.
    pub(super) async fn take_up(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        of: (AccountId, OrderId, u16, ChallengeKind),
    ) -> Result<(), Error> {
        let (account, order, index, kind) = of;
        let target = Target { account, order, index, kind, from: Source::default() };
        let known = self.account_in_standing(terms, account).await?;
        let Some(claim) = self.validating.claim((order, index), kind) else { return Ok(()) };
        // Read under the claim: who held it before has stored what came of it, and a poll that came
        // in between took that validation for one cut short.
        let loaded = self.load_order(order).await?;
        self.begin(terms, target, claim, loaded, known.thumbprint).map(drop)
    }

    /// Starts the task; its first report is the authorization when its result, or that it is being
    /// validated, is durable. `None` if there is nothing to do: settled, or recorded as under
    /// validation by another challenge.
    fn begin(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        target: Target,
        claim: Claim<(OrderId, u16), ChallengeKind>,
        loaded: LoadedOrder,
        thumbprint: Thumbprint,
    ) -> Result<Option<oneshot::Receiver<Report>>, Error> {
        let Target { account, index, kind, .. } = target;
        let seat = self.slots.enter(account, target.from).map_err(|why| {
            tracing::info!(%account, order = %target.order, why, "a validation was put off");
            Error::Busy(why)
        })?;
        let authorization = loaded.order.own(index).ok_or(Error::NotFound)?;
        if !authorization.awaits(kind, self.now()) {
            return Ok(None);
        }
        let token = authorization.challenge(kind).map(|challenge| base64url(&challenge.token));
        let token = token.ok_or(Error::NotFound)?;
        let identifier = match loaded.order.details.counts_below(index) {
            true => asked_as(&authorization.identifier),
            false => authorization.identifier.clone(),
        };
        let subject = Subject { identifier, kind, token, account, thumbprint };
        let live = self.live();
        // Taken out of the configuration since the request was routed.
        let reach = live.reach(&terms.name).ok_or(Error::NotFound)?;
        let ask = reach.ask(terms, subject, self.now());
        // An order of one name hardly changes while that name is validated; one of several does, with
        // every result, so it is read again then.
        let known = (loaded.order.slots.len() == 1).then_some(loaded);
        let (report, first) = oneshot::channel();
        let (service, terms) = (self.clone(), terms.clone());
        let span = Span::part("validation", Kind::Internal);
        span.note("mayfly.challenge", kind.name());
        span.note("mayfly.identifier", &ask.identifier);
        let work = span.work();
        // In a box: the runtime copies a task's state several times, and this one's is of kilobytes.
        tokio::spawn(work.within(boxed(move || async move {
            service.validate(&terms, target, ask, known, (claim, seat), report).await;
            drop(span);
        })));
        Ok(Some(first))
    }

    /// The claim goes before the report: whoever it wakes shall see the result and not the work.
    async fn validate(
        &self,
        terms: &Terms,
        target: Target,
        ask: Ask,
        known: Option<LoadedOrder>,
        held: (Claim<(OrderId, u16), ChallengeKind>, Seat),
        report: oneshot::Sender<Report>,
    ) {
        let (claim, seat) = held;
        let mut result = boxed(|| self.attempts(&terms.name, &ask, &seat));
        let quick = tokio::time::timeout(QUICK, &mut result).await;
        let (verdict, known, report) = match quick {
            Ok(verdict) => (verdict, known, Some(report)),
            Err(_) => {
                let committed = self.commit_processing(target).await;
                if committed.is_err() {
                    // Not durable: the challenge stays as it was, and the client asks again.
                    drop(claim);
                    let _ = report.send(committed);
                    return;
                }
                let _ = report.send(committed);
                (result.await, None, None)
            }
        };
        let settled = self.settle(terms, target, verdict, known).await;
        if let Err(error) = &settled {
            tracing::warn!(order = %target.order, %error, "a validation's result could not be stored");
        }
        drop(claim);
        if let Some(report) = report {
            let _ = report.send(settled);
        }
    }

    /// Attempts until one proves control or none is left.
    async fn attempts(&self, provisioner: &str, ask: &Ask, seat: &Seat) -> Verdict {
        let live = self.live();
        let Some(reach) = live.reach(provisioner) else {
            return unable("the provisioner is out of service; try again");
        };
        let mut last = None;
        for attempt in 0..live.attempts.max(1) as usize {
            if attempt > 0 {
                tokio::time::sleep(PAUSES[(attempt - 1).min(PAUSES.len() - 1)]).await;
            }
            let Ok(Some(turn)) = tokio::time::timeout(LINE, seat.turn()).await else {
                break;
            };
            let span = Span::part(Stage::Validate.name(), Kind::Client);
            span.note("mayfly.challenge", ask.challenge.name());
            span.note("mayfly.identifier", &ask.identifier);
            span.number("mayfly.attempt", attempt as u64 + 1);
            let outcome = Stage::Validate.timed(reach.prover.prove(ask)).await;
            span.note("mayfly.outcome", outcome.name());
            drop(span);
            // Not held in the pause: others may use it.
            drop(turn);
            match outcome {
                Outcome::Proved => return Verdict::Proved,
                Outcome::ProvedUntil(end) => return Verdict::ProvedUntil(end),
                // Asking again would meet the same rule.
                Outcome::Failed(failure)
                    if matches!(failure.kind, FailureKind::Forbidden | FailureKind::Caa) =>
                {
                    return Verdict::Failed(problem(failure, ask));
                }
                // One attempt that did reach the target counts more than a later one that could
                // not find out anything.
                Outcome::Failed(failure) => last = Some(Verdict::Failed(problem(failure, ask))),
                Outcome::Inconclusive(failure) => {
                    if !matches!(last, Some(Verdict::Failed(_))) {
                        last = Some(Verdict::Inconclusive(problem(failure, ask)));
                    }
                }
            }
        }
        last.unwrap_or_else(|| unable("the server was too busy to attempt the validation; try again"))
    }

    async fn commit_processing(&self, target: Target) -> Report {
        let _guard = self.order_locks.of(target.order.as_bytes()).await;
        let mut loaded = self.load_order(target.order).await?;
        let now = self.now();
        let Some(authorization) = loaded.order.own_mut(target.index) else { return Err(Error::NotFound) };
        let changed = authorization.respond(target.kind, now);
        let after = authorization.clone();
        if !changed {
            return Ok(after);
        }
        match self.store.commit(loaded.stored_by(Batch::new())).await? {
            CommitOutcome::Committed(_) => Ok(after),
            CommitOutcome::Conflict => Err(Error::Busy("another change of the order came first")),
        }
    }

    /// Records a result: on the order as `known`, if it still is so, or else as it is now.
    async fn settle(
        &self,
        terms: &Terms,
        target: Target,
        verdict: Verdict,
        known: Option<LoadedOrder>,
    ) -> Report {
        // What was under way when its account was closed counts for nothing (RFC 8555 §7.3.6).
        self.account_in_standing(terms, target.account).await?;
        let _guard = self.order_locks.of(target.order.as_bytes()).await;
        if let Some(loaded) = known
            && let Some(settled) = self.commit_settled(terms, target, verdict.clone(), loaded).await?
        {
            return Ok(settled);
        }
        let loaded = self.load_order(target.order).await?;
        let settled = self.commit_settled(terms, target, verdict, loaded).await?;
        settled.ok_or(Error::Busy("another change of the order came first"))
    }

    /// `None` if the order is no longer as it was loaded.
    async fn commit_settled(
        &self,
        terms: &Terms,
        target: Target,
        verdict: Verdict,
        mut loaded: LoadedOrder,
    ) -> Result<Option<Authorization>, Error> {
        let now = self.now();
        let Target { account, order, index, kind, .. } = target;
        let Some(authorization) = loaded.order.own_mut(index) else { return Err(Error::NotFound) };
        let verdict = verdict.about(&authorization.identifier);
        let ended = metered::Ended::of(&verdict);
        let changed = authorization.settle(kind, verdict, now, terms.authorization_ttl);
        let after = authorization.clone();
        if !changed {
            return Ok(Some(after));
        }
        let identifier = after.identifier.clone();
        let mut batch = Batch::new();
        let token = after.challenge(kind).map(|challenge| base64url(&challenge.token)).unwrap_or_default();
        match after.challenge(kind).map(|challenge| &challenge.state) {
            Some(ChallengeState::Valid(_)) => {
                let subdomains = loaded.order.details.counts_below(index);
                let held = HeldAuthorization { order, index, expires: after.expires, subdomains };
                batch = batch.put(Table::Grants, held_row(account, &identifier), held.encode());
                let event = Event::AuthorizationValid { account, order, identifier, by: kind };
                batch = audited(batch, now, event);
            }
            Some(ChallengeState::Invalid(problem)) => {
                let error = problem.kind;
                // The client may see its token, in the URL that was asked or in what a target sent; a log not.
                let detail = without_token(&problem.detail, &token);
                tracing::info!(%order, %identifier, by = kind.name(), detail, "validation failed");
                let event = Event::AuthorizationInvalid { account, order, identifier, by: kind, error };
                batch = audited(batch, now, event);
            }
            _ => {}
        }
        match self.store.commit(loaded.stored_by(batch)).await? {
            CommitOutcome::Committed(_) => {
                ended.validation(&terms.name, kind);
                if let Some(cause) = news_of(&loaded.order, index) {
                    self.fleet.failed(loaded.order.identifiers(), cause, now);
                }
                if after.status(now) == AuthorizationStatus::Invalid {
                    self.limits.charge(Limit::AccountFailures, account.as_bytes(), now);
                }
                Ok(Some(after))
            }
            CommitOutcome::Conflict => Ok(None),
        }
    }

    /// Gives an authorization up.
    pub async fn deactivate_authorization(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        account: AccountId,
        order: OrderId,
        index: u16,
    ) -> Result<LoadedAuthorization, Error> {
        let guard = self.order_locks.of(order.as_bytes()).await;
        let mut loaded = self.load_own_order(terms, account, order).await?;
        let now = self.now();
        let before = loaded.order.kept(index).ok_or(Error::NotFound)?;
        let (identifier, status) = (before.identifier().clone(), before.status(now));
        loaded.order.deactivate(index, now)?;
        let mut batch = loaded.stored_by(Batch::new());
        if status == AuthorizationStatus::Valid {
            let row = held_row(account, &identifier);
            if let Some(found) = self.store.get(Table::Grants, &row).await? {
                // One that does not read serves nobody.
                let held = HeldAuthorization::decode(&found.value).ok();
                if held.is_none_or(|held| (held.order, held.index) == (order, index)) {
                    batch = batch
                        .expect(Table::Grants, row.clone(), Expect::Is(found.version))
                        .delete(Table::Grants, row);
                }
            }
        }
        let event = Event::AuthorizationDeactivated { account, order, identifier };
        match self.store.commit(audited(batch, now, event)).await? {
            CommitOutcome::Committed(_) => {}
            CommitOutcome::Conflict => return Err(Error::Busy("another change of the order came first")),
        }
        drop(guard);
        self.authorization(terms, account, order, index).await
    }
}

/// Nothing was attempted, by no fault of the client's.
fn unable(detail: &str) -> Verdict {
    Verdict::Inconclusive(StoredProblem {
        kind: ErrorKind::ServerInternal,
        detail: detail.to_owned(),
        identifier: None,
    })
}

fn problem(failure: Failure, ask: &Ask) -> StoredProblem {
    let kind = match failure.kind {
        FailureKind::Dns => ErrorKind::Dns,
        FailureKind::Connection => ErrorKind::Connection,
        FailureKind::Tls => ErrorKind::Tls,
        FailureKind::Unauthorized => ErrorKind::Unauthorized,
        FailureKind::IncorrectResponse => ErrorKind::IncorrectResponse,
        FailureKind::Forbidden => ErrorKind::Unauthorized,
        FailureKind::Caa => ErrorKind::Caa,
    };
    StoredProblem { kind, detail: failure.detail, identifier: Some(ask.identifier.clone()) }
}
