//! What policy refused at the gate, as it was kept: for trying another policy on it.

use super::{Error, Service};
use crate::authority::approve::PolicyRefusal;
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::time::Timestamp;

/// Rows that one page walks over.
const WALK: usize = 500;

/// Rows of one read.
const STEP: usize = 50;

/// Bytes of what was to be signed in one page, but for its last one.
const BYTES: usize = 512 * 1024;

/// One page of refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// The oldest first, each with its number; it may be none, and yet not the last page.
    pub refusals: Vec<(u64, PolicyRefusal)>,
    /// Where to go on; `None` at the end, which may take another page to see.
    pub next: Option<u64>,
}

impl Service {
    /// Refusals since `since`, from behind the one of number `after`.
    pub async fn refusals(&self, since: Timestamp, after: Option<u64>) -> Result<Refusals, Error> {
        let mut page = Refusals { refusals: Vec::new(), next: after };
        let (mut walked, mut bytes) = (0, 0);
        while walked < WALK && bytes < BYTES {
            let from = page.next.map(u64::to_be_bytes);
            let rows =
                self.store.scan(Table::PolicyRefusals, &[], from.as_ref().map(<[u8; 8]>::as_slice), STEP);
            let rows = rows.await?;
            if rows.is_empty() {
                page.next = None;
                return Ok(page);
            }
            for (key, row) in rows {
                let Ok(number) = key.as_slice().try_into().map(u64::from_be_bytes) else {
                    return Err(Error::Internal("a refusal has no number".into()));
                };
                page.next = Some(number);
                walked += 1;
                match PolicyRefusal::decode(&row.value) {
                    Ok(refusal) if refusal.context.at >= since => {
                        bytes += refusal.tbs.len();
                        page.refusals.push((number, refusal));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(number, %error, "a refusal does not read"),
                }
                if bytes >= BYTES {
                    break;
                }
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Context, Who};
    use crate::provisioner::Requester;
    use crate::service::stand::Stand;
    use crate::storage::{Batch, CommitOutcome, Store};

    #[tokio::test]
    async fn pages_are_bounded_and_miss_nothing() {
        let stand = Stand::new().await;
        let refusal = |at: u64, bytes: usize| PolicyRefusal {
            tbs: vec![0; bytes],
            requester: Requester::Own,
            context: Context::new(Timestamp::from_secs(at), Who::Own),
            reasons: Vec::new(),
        };
        let sizes = [BYTES / 2, BYTES / 2, 10, BYTES + 1, 10, 10];
        for (at, bytes) in (1..).zip(sizes) {
            let batch = Batch::new().append(Table::PolicyRefusals, refusal(at, bytes).encode());
            assert!(matches!(stand.store.commit(batch).await.unwrap(), CommitOutcome::Committed(_)));
        }
        for (since, want) in [(0, &[1, 2, 3, 4, 5, 6][..]), (3, &[3, 4, 5, 6]), (6, &[6]), (7, &[])] {
            let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let page = stand.service.refusals(Timestamp::from_secs(since), after).await.unwrap();
                let held: usize = page.refusals.iter().map(|(_, refusal)| refusal.tbs.len()).sum();
                assert!(held <= 2 * BYTES + 2, "{held}");
                found.extend(page.refusals.iter().map(|(_, refusal)| refusal.context.at.as_secs()));
                pages += 1;
                assert!(pages < 9, "the cursor moves on");
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, want, "since {since}");
        }
    }
}
