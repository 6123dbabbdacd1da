//! ACME at the level of HTTP: what the RFCs promise, and what must be refused.

mod accounts;
mod ahead;
mod directory;
mod dns_kinds;
mod envelope;
mod orders;
mod process;
mod renewal;
mod revocation;
mod validation;

use crate::support::acme::{Failure, problem};
use crate::support::https::Reply;

/// Status and type of a refusal.
fn refused<T: std::fmt::Debug>(result: Result<T, Failure>) -> (u16, String) {
    result.expect_err("a refusal").problem()
}

fn is(problem: &(u16, String), status: u16, kind: &str) -> bool {
    problem.0 == status && problem.1 == kind
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Failure>, status: u16, kind: &str) {
    let problem = refused(result);
    assert!(is(&problem, status, kind), "{problem:?}, not {status} {kind}");
}

/// Both of these statuses are in use for "not yours".
#[track_caller]
fn assert_unauthorized<T: std::fmt::Debug>(result: Result<T, Failure>) {
    let (status, kind) = refused(result);
    assert!(matches!(status, 401 | 403) && kind == "unauthorized", "{status} {kind}");
}

/// One of these statuses and, separated by `|`, one of these types.
#[track_caller]
fn assert_kind(reply: &Reply, statuses: &[u16], kinds: &str, what: &str) {
    let (status, kind) = problem(reply);
    assert!(statuses.contains(&status), "{what}: {status} {kind} {}", reply.text());
    assert!(kinds.split('|').any(|k| k == kind), "{what}: {status} {kind} {}", reply.text());
}
