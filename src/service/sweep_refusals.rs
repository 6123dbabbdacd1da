//! How many refusals by policy are kept: those of the retention, and of those the latest.

use super::sweep::{STEP, Swept};
use super::{Error, Service};
use crate::storage::{Batch, CommitOutcome, Table};

/// Most refusals that are kept; a client can make one with every request.
pub const MOST_REFUSALS: u64 = 10_000;

/// What is known of the table: sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    /// Nothing up to here is there.
    gone: Option<u64>,
    /// The last one seen.
    last: u64,
}

fn number(key: &[u8]) -> u64 {
    key.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

impl Service {
    /// One bounded step: looks at refusals that are new, and deletes the oldest of too many.
    pub(super) async fn bound_refusals(&self, span: &mut Span, most: u64) -> Result<Swept, Error> {
        if span.gone.is_none() {
            let first = self.store.scan(Table::PolicyRefusals, &[], None, 1).await?;
            let Some((key, _)) = first.first() else { return Ok(Swept::default()) };
            span.gone = Some(number(key).saturating_sub(1));
        }
        let gone = span.gone.unwrap_or_default();
        let from = span.last.max(gone).to_be_bytes();
        let rows = self.store.scan(Table::PolicyRefusals, &[], Some(&from), STEP).await?;
        if let Some((key, _)) = rows.last() {
            span.last = number(key);
        }
        let end = span.last.saturating_sub(most).min(gone + STEP as u64);
        let mut batch = Batch::new();
        for old in gone + 1..=end {
            batch = batch.delete(Table::PolicyRefusals, old.to_be_bytes());
        }
        let deleted = batch.ops.len();
        if deleted > 0 {
            match self.store.commit(batch).await? {
                CommitOutcome::Committed(_) => span.gone = Some(end),
                CommitOutcome::Conflict => return Ok(Swept { deleted: 0, more: true }),
            }
        }
        Ok(Swept { deleted, more: rows.len() == STEP || deleted == STEP })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::stand::Stand;

    #[tokio::test]
    async fn the_latest_are_kept() {
        let stand = Stand::new().await;
        let more =
            |count: usize| (0..count).fold(Batch::new(), |b, _| b.append(Table::PolicyRefusals, vec![0]));
        let mut span = Span::default();
        let none = stand.service.bound_refusals(&mut span, 3).await.unwrap();
        assert_eq!((none.deleted, none.more), (0, false));
        for (added, kept) in [(2, 2), (1, 3), (5, 3), (0, 3), (1, 3)] {
            if added > 0 {
                let committed = stand.service.store.commit(more(added)).await.unwrap();
                assert!(matches!(committed, CommitOutcome::Committed(_)));
            }
            let _ = stand.service.bound_refusals(&mut span, 3).await.unwrap();
            assert_eq!(stand.rows(Table::PolicyRefusals).await, kept);
        }
        let rows = stand.service.store.scan(Table::PolicyRefusals, &[], None, 9).await.unwrap();
        assert_eq!(rows.iter().map(|(key, _)| number(key)).collect::<Vec<_>>(), [7, 8, 9]);
        // Another process knows nothing of it, and deletes nothing that is there to stay.
        let _ = stand.service.bound_refusals(&mut Span::default(), 3).await.unwrap();
        assert_eq!(stand.rows(Table::PolicyRefusals).await, 3);
    }
}
