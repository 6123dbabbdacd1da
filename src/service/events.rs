//! The audit log, read back: the newest in front.

use std::time::Duration;

use super::refused::number;
use super::{Error, Service};
use crate::audit::AuditRecord;
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::time::Timestamp;

/// Rows of one read; rows that one page walks over.
const STEP: u64 = 250;
const WALK: u64 = 5000;

/// By how much events may be out of the order of their times: they are numbered when they are committed.
const APART: Duration = Duration::from_secs(60);

/// Conditions, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// An operator did it.
    pub operators: bool,
    /// It is called that.
    pub event: Option<String>,
    /// Then or later. What is older ends the list: events are in the order of their times, as long as nobody
    /// sets the clock back.
    pub since: Option<Timestamp>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The newest first, each with its number.
    pub events: Vec<(u64, AuditRecord)>,
    /// Where to go on; the page may be short, or empty, and yet not the last.
    pub next: Option<u64>,
}

impl Service {
    /// Events that meet all conditions, from below the number `before`.
    pub async fn audit_events(
        &self,
        query: &EventQuery,
        before: Option<u64>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let mut page = EventPage { events: Vec::new(), next: None };
        let mut end = match before {
            Some(before) => before.min(self.last_event().await?.saturating_add(1)),
            None => self.last_event().await?.saturating_add(1),
        };
        let first = match self.store.scan(Table::Audit, &[], None, 1).await?.first() {
            Some((key, _)) => number(key)?,
            None => return Ok(page),
        };
        let stop = end.saturating_sub(WALK + 1).max(first.saturating_sub(1));
        while end > stop + 1 {
            let from = end.saturating_sub(STEP + 1).max(stop);
            for (number, row) in self.numbered_rows(Table::Audit, from, end).await? {
                if page.events.len() == limit {
                    page.next = Some(end);
                    return Ok(page);
                }
                end = number;
                match AuditRecord::decode(&row) {
                    Ok(record) if query.since.is_some_and(|since| record.at + APART < since) => {
                        return Ok(page);
                    }
                    Ok(record) if query.since.is_some_and(|since| record.at < since) => {}
                    Ok(record)
                        if (record.actor.is_some() || !query.operators)
                            && query.event.as_ref().is_none_or(|name| record.event.name() == name) =>
                    {
                        page.events.push((number, record));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(number, %error, "an audit event does not read"),
                }
            }
            end = from + 1;
        }
        page.next = Some(end).filter(|end| *end > first);
        Ok(page)
    }

    /// The last number; 0 if there is none. The store reads forwards, so it is searched for, by halves.
    async fn last_event(&self) -> Result<u64, Error> {
        let (mut there, mut beyond) = (0u64, None);
        while beyond.is_none_or(|beyond| there + 1 < beyond) {
            // Behind the last one known, or half way to where there is none.
            let probe = match beyond {
                None => there.saturating_mul(2),
                Some(beyond) => there + (beyond - there - 1) / 2,
            };
            match self.store.scan(Table::Audit, &[], Some(&probe.to_be_bytes()), 1).await?.first() {
                Some((key, _)) => there = number(key)?,
                None => beyond = Some(probe + 1),
            }
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand::Stand;
    use super::*;
    use crate::audit::{Actor, Event};
    use crate::id::EabKid;
    use crate::storage::{Batch, CommitOutcome, Store};

    #[tokio::test]
    async fn pages_miss_nothing() {
        let stand = Stand::new().await;
        let read = |query: EventQuery, limit| {
            let service = stand.service.clone();
            async move {
                let (mut found, mut before) = (Vec::new(), None);
                for _ in 0..200 {
                    let page = service.audit_events(&query, before, limit).await.unwrap();
                    found.extend(page.events.iter().map(|(number, _)| *number));
                    match page.next {
                        Some(next) => before = Some(next),
                        None => return found,
                    }
                }
                panic!("the cursor moves on");
            }
        };
        // Its own beginning has events too.
        let before = stand.service.last_event().await.unwrap();
        assert_eq!(read(EventQuery::default(), 5).await.len() as u64, before);
        let mut last = before;
        for many in [1, 1, 1, 4, 300, 900, 900, 900, 900, 900, 900] {
            let event = |n: u64| {
                let actor = n.is_multiple_of(1000).then_some(Actor::User(7));
                AuditRecord {
                    at: Timestamp::from_secs(n),
                    event: Event::EabKeyRevoked { kid: EabKid::new([1; 16]) },
                    actor,
                }
            };
            let batch = (last + 1..=last + many)
                .fold(Batch::new(), |batch, n| batch.append(Table::Audit, event(n).encode()));
            assert!(matches!(stand.store.commit(batch).await.unwrap(), CommitOutcome::Committed(_)));
            last += many;
            assert_eq!(stand.service.last_event().await.unwrap(), last);
        }
        assert_eq!(read(EventQuery::default(), 77).await, (1..=last).rev().collect::<Vec<_>>());
        let operators = EventQuery { operators: true, ..EventQuery::default() };
        assert_eq!(read(operators, 2).await, [5000, 4000, 3000, 2000, 1000]);
        let since = EventQuery { since: Some(Timestamp::from_secs(last - 1)), ..EventQuery::default() };
        assert_eq!(read(since, 2).await, [last, last - 1]);
        let named = |name: &str| EventQuery { event: Some(name.into()), ..EventQuery::default() };
        assert_eq!(read(named("eab_key_revoked"), 500).await.len() as u64, last - before);
        assert!(read(named("key_blocked"), 500).await.is_empty());
        // The oldest are swept.
        let batch = (1..=700u64).fold(Batch::new(), |batch, n| batch.delete(Table::Audit, n.to_be_bytes()));
        assert!(matches!(stand.store.commit(batch).await.unwrap(), CommitOutcome::Committed(_)));
        assert_eq!(read(EventQuery::default(), 77).await, (701..=last).rev().collect::<Vec<_>>());
        assert_eq!(stand.service.last_event().await.unwrap(), last);
    }
}
