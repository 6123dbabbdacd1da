//! One issuance, as a quick and well-behaved client does it (RFC 8555 §7.4).
//!
//! newOrder; each authorization that is not valid yet: fetch it, answer one challenge, and poll
//! only if the reply does not say `valid` already; finalize, polling the order only if its reply
//! does not say `valid`; download. With one name that is five signed requests if the server is
//! quick, seven if it wants one poll each, and three if the order is ready from the beginning.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answers::{Answers, Placed};
use super::stats::{Failed, Step, Trace};
use crate::acme::challenge::ChallengeKind;
use crate::client::acme::{Client, Error};
use crate::wire::acme_reply::{Authorization, Order, Problem};

/// How long an authorization or an order is polled.
const PATIENCE: Duration = Duration::from_secs(60);

/// How names are proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// By this challenge, with this tool's responder.
    By(ChallengeKind),
    /// The first challenge offered is answered and nothing put in place: for servers that take
    /// every proof as given.
    Pretended,
}

/// Why an issuance ended early.
#[derive(Debug)]
pub struct Failure {
    /// Where.
    pub step: Step,
    /// Why.
    pub error: Error,
}

impl Failure {
    /// For counting.
    pub fn counted(&self) -> Failed {
        let label = format!("{}: {}", self.step.name(), self.error.label());
        Failed { label, message: self.error.to_string() }
    }
}

/// What to issue.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// DNS names.
    pub names: &'a [String],
    /// A request for them, DER.
    pub csr: &'a [u8],
    /// How to prove them.
    pub proof: Proof,
}

/// Runs `call`, timed as `step`; a nonce that has to be fetched first is a step of its own.
macro_rules! timed {
    ($client:ident, $trace:ident, $step:expr, $method:ident ( $($argument:expr),* )) => {{
        nonce($client, $trace).await?;
        let start = Instant::now();
        let outcome = $client.$method($($argument),*).await;
        $trace.add($step, start.elapsed());
        outcome.map_err(|error| Failure { step: $step, error })
    }};
}

/// Fetches a nonce if there is none.
pub async fn nonce(client: &mut Client, trace: &mut Trace) -> Result<(), Failure> {
    let start = Instant::now();
    match client.prepare().await {
        Ok(false) => Ok(()),
        Ok(true) => {
            trace.add(Step::NewNonce, start.elapsed());
            Ok(())
        }
        Err(error) => Err(Failure { step: Step::NewNonce, error }),
    }
}

/// Issues a certificate; returns its chain.
pub async fn issue(
    client: &mut Client,
    ask: Ask<'_>,
    answers: &Answers,
    trace: &mut Trace,
) -> Result<Bytes, Failure> {
    let before = client.requests();
    let outcome = steps(client, ask, answers, trace).await;
    trace.requests += client.requests() - before;
    outcome
}

async fn steps(
    client: &mut Client,
    ask: Ask<'_>,
    answers: &Answers,
    trace: &mut Trace,
) -> Result<Bytes, Failure> {
    let received = timed!(client, trace, Step::NewOrder, new_order(ask.names))?;
    let url = received.location.unwrap_or_default();
    let mut order = received.object;
    trace.reused = order.status == "ready";
    if order.status == "pending" {
        for authorization in &order.authorizations {
            prove(client, authorization, ask.proof, answers, trace).await?;
        }
    }
    let finalize = order.finalize.clone();
    let received = match timed!(client, trace, Step::Finalize, finalize(&finalize, ask.csr)) {
        // A server that settles its orders a moment after their authorizations.
        Err(Failure { error: Error::Refused { problem, .. }, .. }) if problem.name() == "orderNotReady" => {
            until(client, &url, trace, |order| order.status != "pending").await?;
            timed!(client, trace, Step::Finalize, finalize(&finalize, ask.csr))?
        }
        other => other?,
    };
    order = received.object;
    if order.status != "valid" {
        let url = received.location.unwrap_or(url);
        order = if order.status == "processing" {
            tokio::time::sleep(received.poll_after).await;
            until(client, &url, trace, |order| order.status != "processing").await?
        } else {
            order
        };
    }
    let certificate = match (order.status.as_str(), order.certificate) {
        ("valid", Some(certificate)) => certificate,
        (status, _) => {
            let problem = order.error.unwrap_or_default();
            let why = format!("the order is {status}: {}: {}", problem.name(), problem.detail);
            return Err(Failure { step: Step::Finalize, error: Error::Reply(why) });
        }
    };
    timed!(client, trace, Step::Download, certificate(&certificate))
}

/// Polls an order.
async fn until(
    client: &mut Client,
    url: &str,
    trace: &mut Trace,
    done: impl Fn(&Order) -> bool,
) -> Result<Order, Failure> {
    let start = Instant::now();
    loop {
        let received = timed!(client, trace, Step::Poll, order(url))?;
        if done(&received.object) {
            return Ok(received.object);
        }
        wait(start, received.poll_after).await?;
    }
}

async fn wait(start: Instant, poll_after: Duration) -> Result<(), Failure> {
    if start.elapsed() + poll_after > PATIENCE {
        let error = Error::Reply(format!("still not settled after {PATIENCE:?} of polling"));
        return Err(Failure { step: Step::Poll, error });
    }
    tokio::time::sleep(poll_after).await;
    Ok(())
}

async fn prove(
    client: &mut Client,
    url: &str,
    proof: Proof,
    answers: &Answers,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let authorization = timed!(client, trace, Step::Authorization, authorization(url))?.object;
    if authorization.status == "valid" {
        return Ok(());
    }
    let wanted = authorization.challenges.iter().find(|challenge| match proof {
        Proof::By(kind) => challenge.kind == kind.name(),
        Proof::Pretended => true,
    });
    let Some(challenge) = wanted.cloned() else {
        let error = Error::Reply("no challenge of that kind is offered".into());
        return Err(Failure { step: Step::Authorization, error });
    };
    let name = &authorization.identifier.value;
    let placed = match proof {
        Proof::Pretended => Some(Placed::Nothing),
        Proof::By(kind) => answers.place(kind, name, &challenge.token, client.key().thumbprint()),
    };
    let Some(placed) = placed else {
        let error = Error::Reply("this tool has no responder for that kind of challenge".into());
        return Err(Failure { step: Step::Challenge, error });
    };
    let outcome = respond(client, url, &challenge.url, trace).await;
    answers.remove(placed);
    outcome
}

async fn respond(
    client: &mut Client,
    authorization: &str,
    challenge: &str,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let received = timed!(client, trace, Step::Challenge, respond(challenge))?;
    if received.object.status == "valid" {
        return Ok(());
    }
    let start = Instant::now();
    // A challenge that failed says why in its authorization too.
    if received.object.status != "invalid" {
        wait(start, received.poll_after).await?;
    }
    loop {
        let received = timed!(client, trace, Step::Poll, authorization(authorization))?;
        match received.object.status.as_str() {
            "valid" => return Ok(()),
            "pending" => wait(start, received.poll_after).await?,
            _ => return Err(Failure { step: Step::Challenge, error: not_proved(received.object) }),
        }
    }
}

fn not_proved(authorization: Authorization) -> Error {
    let problem = authorization.challenges.into_iter().find_map(|challenge| challenge.error);
    let problem = problem.unwrap_or_else(|| Problem {
        kind: String::new(),
        detail: format!("the authorization is {}", authorization.status),
    });
    Error::Challenge { name: authorization.identifier.value, problem }
}
