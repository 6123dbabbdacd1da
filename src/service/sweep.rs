//! The sweeper: deletes what has run out, in bounded steps.
//!
//! Orders and certificates sort by the time they may go, so a sweep reads only what it deletes, and
//! resumes behind the last key it deleted (never walking over tombstones again).

use std::time::Duration;

use super::new_order::held_row;
use super::{Error, Service};
use crate::acme::order::{Order, Slot};
use crate::audit::AuditRecord;
use crate::authority::certificate::CertificateRecord;
use crate::id::OrderId;
use crate::storage::codec::{HeldAuthorization, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;

/// Rows looked at in one step, and so the most that one commit deletes.
const STEP: usize = 256;

/// Where the sweep of each table stands.
#[derive(Debug, Default)]
pub struct Cursors {
    orders: Option<Vec<u8>>,
    certificates: Option<Vec<u8>>,
    audit: Option<Vec<u8>>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows deleted.
    pub deleted: usize,
    /// Whether more may be waiting.
    pub more: bool,
}

impl Service {
    /// One bounded step over every table. `retention` is how long certificates are kept after they
    /// expired, and audit events after they happened.
    pub async fn sweep(&self, cursors: &mut Cursors, retention: Duration) -> Result<Swept, Error> {
        let now = self.now();
        let orders = self.sweep_orders(&mut cursors.orders, now).await?;
        let certificates = self
            .sweep_rows(Table::Certificates, &mut cursors.certificates, |value| {
                Ok(CertificateRecord::decode(value)?.not_after + retention <= now)
            })
            .await?;
        let audit = self
            .sweep_rows(Table::Audit, &mut cursors.audit, |value| {
                Ok(AuditRecord::decode(value)?.at + retention <= now)
            })
            .await?;
        Ok(Swept {
            deleted: orders.deleted + certificates.deleted + audit.deleted,
            more: orders.more || certificates.more || audit.more,
        })
    }

    async fn sweep_orders(&self, cursor: &mut Option<Vec<u8>>, now: Timestamp) -> Result<Swept, Error> {
        let rows = self.store.scan(Table::Orders, &[], cursor.as_deref(), STEP).await?;
        let full = rows.len() == STEP;
        let mut batch = Batch::new();
        let (mut deleted, mut last) = (0, None);
        for (key, row) in rows {
            match OrderId::from_key(&key) {
                Some(id) if id.purge() > now => break,
                Some(id) => batch = self.forget_authorizations(batch, id, &row.value).await?,
                None => {}
            }
            deleted += 1;
            last = Some(key.clone());
            batch = batch.delete(Table::Orders, key);
        }
        self.delete(batch, cursor, last, deleted, full).await
    }

    /// Where a held authorization is kept goes with the order that keeps it.
    async fn forget_authorizations(
        &self,
        mut batch: Batch,
        id: OrderId,
        value: &[u8],
    ) -> Result<Batch, Error> {
        let Ok(order) = Order::decode(value) else { return Ok(batch) };
        for (index, slot) in order.slots.iter().enumerate() {
            let Slot::Own(authorization) = slot else { continue };
            let key = held_row(order.account, &authorization.identifier);
            let Some(row) = self.store.get(Table::Grants, &key).await? else { continue };
            let held = HeldAuthorization::decode(&row.value)?;
            if held.order == id && usize::from(held.index) == index {
                batch = batch
                    .expect(Table::Grants, key.clone(), Expect::Is(row.version))
                    .delete(Table::Grants, key);
            }
        }
        Ok(batch)
    }

    async fn sweep_rows(
        &self,
        table: Table,
        cursor: &mut Option<Vec<u8>>,
        gone: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<Swept, Error> {
        let rows = self.store.scan(table, &[], cursor.as_deref(), STEP).await?;
        let full = rows.len() == STEP;
        let mut batch = Batch::new();
        let (mut deleted, mut last) = (0, None);
        for (key, row) in rows {
            if !gone(&row.value)? {
                break;
            }
            deleted += 1;
            last = Some(key.clone());
            batch = batch.delete(table, key);
        }
        self.delete(batch, cursor, last, deleted, full).await
    }

    async fn delete(
        &self,
        batch: Batch,
        cursor: &mut Option<Vec<u8>>,
        last: Option<Vec<u8>>,
        deleted: usize,
        full: bool,
    ) -> Result<Swept, Error> {
        let Some(last) = last else { return Ok(Swept::default()) };
        match self.store.commit(batch).await? {
            CommitOutcome::Committed(_) => {
                *cursor = Some(last);
                Ok(Swept { deleted, more: full })
            }
            // An authorization was proved anew under the sweep; the next step sees it.
            CommitOutcome::Conflict => Ok(Swept { deleted: 0, more: true }),
        }
    }
}
