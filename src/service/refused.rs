//! The inventory's other half: requests for certificates that were refused.
//!
//! The answer waits for nothing: a refusal is collected in memory, and a task writes what has come together
//! within a second, by one commit. So a crash loses the refusals of its last second, and of repetitions
//! the count of some seconds more; nobody was promised them. What policy refused at the gate is durable before
//! it is answered, and in the audit log: that does not depend on this.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::new_authz::NewAuthorization;
use super::new_order::NewOrder;
use super::{Error, Provisioner, Service};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::{Order, RawIdentifier};
use crate::audit::refused::{AT_ONCE, Asked, Collected, MOST_OPEN, RefusedRequest};
use crate::authority::certificate::Client;
use crate::id::{AccountId, OrderId};
use crate::storage::codec::Record;
use crate::storage::{Batch, CommitOutcome, Table};
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;

/// Rows that are kept.
pub const MOST: u64 = 10_000;

/// Rows of one read; rows that one page walks over.
const STEP: u64 = 250;
const WALK: u64 = 2000;

/// Subproblems of a refusal that are kept with it.
const SUBPROBLEMS: usize = 3;

/// Refusals on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Refused {
    collected: Mutex<Collected>,
    /// What the store has; known once it has been read.
    kept: tokio::sync::Mutex<Option<Kept>>,
}

/// Numbers in the store.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// None up to here are there.
    gone: u64,
    last: u64,
}

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefusedQuery {
    /// This name was asked for, and is among those that are kept.
    pub name: Option<Identifier>,
    /// By this account.
    pub account: Option<AccountId>,
    /// From this provisioner.
    pub provisioner: Option<String>,
    /// From this address.
    pub client: Option<std::net::IpAddr>,
    /// For this kind of reason.
    pub error: Option<ErrorKind>,
    /// The last time then or later.
    pub since: Option<Timestamp>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPage {
    /// The newest first, each with its number.
    pub refused: Vec<(u64, RefusedRequest)>,
    /// Where to go on; the page may be short, or empty, and yet not the last.
    pub next: Option<u64>,
}

impl RefusedQuery {
    fn admits(&self, row: &RefusedRequest) -> bool {
        let named = |name: &Identifier| row.names.contains(&name.to_string());
        self.name.as_ref().is_none_or(named)
            && self.account.is_none_or(|account| row.account == Some(account))
            && self.provisioner.as_ref().is_none_or(|provisioner| row.provisioner == *provisioner)
            && self.client.is_none_or(|ip| row.client.as_ref().is_some_and(|client| client.address == ip))
            && self.error.is_none_or(|error| row.error == error)
            && self.since.is_none_or(|since| row.last >= since)
    }
}

impl Error {
    /// Whether something was refused, rather than that it failed.
    pub(super) fn is_refusal(&self) -> bool {
        self.refused_as().is_some()
    }

    /// The kind and the text of a refusal; `None` of what was not refused, but failed.
    fn refused_as(&self) -> Option<(ErrorKind, String)> {
        match self {
            Self::Refused(refusal) => Some((refusal.kind, whole(refusal))),
            Self::Limited(refused) => Some((ErrorKind::RateLimited, refused.to_string())),
            Self::Deactivated => Some((ErrorKind::Unauthorized, self.to_string())),
            Self::NotFound
            | Self::KeyInUse(_)
            | Self::Busy(_)
            | Self::Store(_)
            | Self::IssuerNotValid(_)
            | Self::Internal(_) => None,
        }
    }
}

/// With what is said of single names; one alone is the whole.
fn whole(refusal: &Refusal) -> String {
    let most = if refusal.subproblems.len() > 1 { SUBPROBLEMS } else { 0 };
    let of = refusal.subproblems.iter().take(most);
    let parts = of.map(|one| format!("; {}: {}", one.identifier.1, one.detail));
    [refusal.detail.to_string()].into_iter().chain(parts).collect()
}

/// As the inventory has it, or as the client wrote it if it does not read.
fn written(raw: &RawIdentifier) -> String {
    Identifier::parse(&raw.kind, &raw.value).map_or_else(|_| raw.value.clone(), |name| name.to_string())
}

/// The number that a row is kept by.
pub(super) fn number(key: &[u8]) -> Result<u64, Error> {
    let number = key.try_into().map(u64::from_be_bytes);
    number.map_err(|_| Error::Internal("a numbered row has no number".into()))
}

impl Refused {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.collected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service {
    /// A refusal with what all of them have.
    fn refused(
        &self,
        (terms, account): (&Provisioner, AccountId),
        asked: Asked,
        error: &Error,
        client: Option<&Client>,
    ) -> Option<RefusedRequest> {
        let (error, detail) = error.refused_as()?;
        let now = self.now();
        Some(RefusedRequest {
            first: now,
            last: now,
            times: 1,
            asked,
            provisioner: terms.name.clone(),
            authority: terms.authority.to_string(),
            issuer: *terms.issuer().key_id(),
            account: Some(account),
            order: None,
            names: Vec::new(),
            others: 0,
            profile: None,
            key: None,
            replaces: None,
            error,
            detail,
            client: client.cloned(),
        })
    }

    /// Notes a newOrder that was refused.
    pub(super) fn order_refused(&self, of: (&Provisioner, AccountId), ask: &NewOrder, error: &Error) {
        let Some(refused) = self.refused(of, Asked::Order, error, ask.client.as_ref()) else { return };
        self.refused.lock().note(RefusedRequest {
            names: ask.identifiers.iter().map(written).collect(),
            profile: ask.profile.clone(),
            replaces: ask.replaces.map(|old| old.serial),
            ..refused
        });
    }

    /// Notes a newAuthz that was refused.
    pub(super) fn authorization_refused(
        &self,
        of: (&Provisioner, AccountId),
        ask: &NewAuthorization,
        error: &Error,
    ) {
        let client = ask.client.as_ref();
        let Some(refused) = self.refused(of, Asked::Authorization, error, client) else { return };
        self.refused.lock().note(RefusedRequest { names: vec![written(&ask.identifier)], ..refused });
    }

    /// Notes a finalization that was refused.
    pub(super) fn certificate_refused(
        &self,
        of: (&Provisioner, AccountId),
        (id, order): (OrderId, &Order),
        (key, client): (Option<KeyHash>, Option<&Client>),
        error: &Error,
    ) {
        let Some(refused) = self.refused(of, Asked::Certificate, error, client) else { return };
        self.refused.lock().note(RefusedRequest {
            order: Some(id),
            names: order.identifiers().map(ToString::to_string).collect(),
            profile: order.details.profile.clone(),
            replaces: order.details.replaces.map(|old| old.serial),
            key,
            ..refused
        });
    }

    /// Writes what was refused since the last time. `all`: counts too that would wait a little otherwise, as
    /// before a stop.
    pub async fn keep_refused(&self, all: bool) -> Result<(), Error> {
        let mut kept = self.refused.kept.lock().await;
        loop {
            let mut now = self.known_refusals(&mut kept).await?;
            // What makes room soon, and what is counted in still, is written anew.
            let going = (now.last + MOST_OPEN as u64).saturating_sub(MOST);
            let rows = self.refused.lock().take(self.now(), all, &mut now.last, going);
            // Whatever becomes of the rows, their numbers are theirs.
            *kept = Some(now);
            if rows.is_empty() {
                return Ok(());
            }
            let many = rows.len();
            match self.store_refused(&rows, &mut now).await {
                Ok(()) => *kept = Some(now),
                Err(error) => {
                    self.refused.lock().put_back(rows);
                    return Err(error);
                }
            }
            if many < AT_ONCE {
                return Ok(());
            }
        }
    }

    /// One commit, in which the oldest make room.
    async fn store_refused(&self, rows: &[(u64, RefusedRequest)], kept: &mut Kept) -> Result<(), Error> {
        let mut batch = Batch::new();
        for (number, row) in rows {
            batch = batch.put(Table::RefusedRequests, number.to_be_bytes(), row.encode());
        }
        let end = kept.last.saturating_sub(MOST).min(kept.gone + AT_ONCE as u64);
        for old in kept.gone + 1..=end {
            batch = batch.delete(Table::RefusedRequests, old.to_be_bytes());
        }
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {
                kept.gone = kept.gone.max(end);
                Ok(())
            }
            CommitOutcome::Conflict => Err(Error::Internal("refusals could not be written".into())),
        }
    }

    async fn known_refusals(&self, kept: &mut Option<Kept>) -> Result<Kept, Error> {
        match *kept {
            Some(known) => Ok(known),
            None => Ok(*kept.insert(self.kept_refusals().await?)),
        }
    }

    async fn kept_refusals(&self) -> Result<Kept, Error> {
        let (mut kept, mut first) = (Kept::default(), None);
        loop {
            let after = kept.last.to_be_bytes();
            let rows = self.store.scan(Table::RefusedRequests, &[], Some(&after), STEP as usize).await?;
            for (key, _) in &rows {
                kept.last = number(key)?;
                first = first.or(Some(kept.last));
            }
            if (rows.len() as u64) < STEP {
                kept.gone = first.map_or(kept.last, |first| first.saturating_sub(1));
                return Ok(kept);
            }
        }
    }

    /// Refused requests that meet all conditions, from below the number `before`, the newest first: those that
    /// have been written.
    pub async fn refused_requests(
        &self,
        query: &RefusedQuery,
        before: Option<u64>,
        limit: usize,
    ) -> Result<RefusedPage, Error> {
        let kept = self.known_refusals(&mut *self.refused.kept.lock().await).await?;
        let mut page = RefusedPage { refused: Vec::new(), next: None };
        let mut end = before.unwrap_or(u64::MAX).min(kept.last + 1);
        let stop = kept.gone.max(end.saturating_sub(WALK + 1));
        while end > stop + 1 {
            let from = end.saturating_sub(STEP + 1).max(stop);
            for (number, row) in self.numbered_rows(Table::RefusedRequests, from, end).await? {
                if page.refused.len() == limit {
                    page.next = Some(end);
                    return Ok(page);
                }
                end = number;
                match RefusedRequest::decode(&row) {
                    Ok(row) if query.admits(&row) => page.refused.push((number, row)),
                    Ok(_) => {}
                    Err(error) => tracing::error!(number, %error, "a refused request does not read"),
                }
            }
            end = from + 1;
        }
        page.next = Some(end).filter(|end| *end > kept.gone + 1);
        Ok(page)
    }

    /// The rows of a table that is kept by numbers between two of them, neither included; the last in front.
    pub(super) async fn numbered_rows(
        &self,
        table: Table,
        from: u64,
        end: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let count = usize::try_from(end.saturating_sub(from + 1)).unwrap_or_default();
        let rows = self.store.scan(table, &[], Some(&from.to_be_bytes()), count).await?;
        let mut found = Vec::with_capacity(rows.len());
        for (key, row) in rows.into_iter().rev() {
            let number = number(&key)?;
            // Some in between may have been swept, so that the read went further than it should.
            if number < end {
                found.push((number, row.value));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
