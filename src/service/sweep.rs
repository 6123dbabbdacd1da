//! The sweeper: deletes what has run out, in bounded steps.
//!
//! Orders and certificates sort by the time they may go, so a sweep reads only what it deletes, and
//! resumes behind the last key it deleted (never walking over tombstones again).

use std::time::Duration;

use super::reuse::reuse_row;
use super::sweep_refusals::{MOST_REFUSALS, Span};
use super::{Error, Service};
use crate::acme::order::{Order, Slot};
use crate::audit::AuditRecord;
use crate::audit::refused::RefusedRequest;
use crate::authority::approve::PolicyRefusal;
use crate::authority::certificate::CertificateRecord;
use crate::id::OrderId;
use crate::storage::codec::{
    HeldAuthorization, IssueBudget, Record, ReusableCertificate, held_row, order_row,
};
use crate::storage::limits::MAX_OPS;
use crate::storage::{Batch, CommitOutcome, Expect, Table, Version, inventory};
use crate::telemetry::metrics::metrics;
use crate::telemetry::metrics::vocabulary::SweptTable;
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Rows looked at in one step.
pub(super) const STEP: usize = 256;

/// Where the sweep of each table stands.
#[derive(Debug)]
pub struct Cursors {
    /// When the last step was.
    at: Timestamp,
    orders: Option<Vec<u8>>,
    certificates: Option<Vec<u8>>,
    audit: Option<Vec<u8>>,
    refusals: Option<Vec<u8>>,
    refusals_kept: Span,
    refused: Option<Vec<u8>>,
    budgets: Option<Vec<u8>>,
}

impl Default for Cursors {
    fn default() -> Self {
        Self {
            at: Timestamp::EPOCH,
            orders: None,
            certificates: None,
            audit: None,
            refusals: None,
            refusals_kept: Span::default(),
            refused: None,
            budgets: None,
        }
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows deleted.
    pub deleted: usize,
    /// Whether more may be waiting.
    pub more: bool,
}

/// Rows of other tables, whose content is in their keys, that go with a row.
type Along = Vec<(Table, Vec<u8>)>;

/// One step over one table in the making.
#[derive(Default)]
struct Step {
    batch: Batch,
    deleted: usize,
    /// The last key dealt with.
    last: Option<Vec<u8>>,
    more: bool,
}

impl Service {
    /// One bounded step over every table. `retention` is how long certificates are kept after they
    /// expired, and audit events after they happened.
    pub async fn sweep(&self, cursors: &mut Cursors, retention: Duration) -> Result<Swept, Error> {
        let now = self.now();
        if now < cursors.at {
            // The clock was set back: what is made now may sort before what was swept.
            *cursors = Cursors::default();
        }
        cursors.at = now;
        let orders = self.sweep_orders(&mut cursors.orders, now).await?;
        let certificates = self
            .sweep_rows(Table::Certificates, &mut cursors.certificates, |key, value| {
                let record = CertificateRecord::decode(value)?;
                if record.not_after + retention > now {
                    return Ok(None);
                }
                // One whose certificate does not parse never had any.
                let rows = Serial::from_bytes(key)
                    .and_then(|serial| inventory::rows_of_record(&serial, &record).ok());
                let rows = rows.unwrap_or_default().into_iter();
                Ok(Some(rows.map(|row| (Table::CertificateIndex, row)).collect()))
            })
            .await?;
        let audit = self
            .sweep_rows(Table::Audit, &mut cursors.audit, |_, value| {
                Ok((AuditRecord::decode(value)?.at + retention <= now).then(Vec::new))
            })
            .await?;
        let refusals = self
            .sweep_rows(Table::PolicyRefusals, &mut cursors.refusals, |_, value| {
                Ok((PolicyRefusal::decode(value)?.context.at + retention <= now).then(Vec::new))
            })
            .await?;
        let bounded = self.bound_refusals(&mut cursors.refusals_kept, MOST_REFUSALS).await?;
        let refused = self
            .sweep_rows(Table::RefusedRequests, &mut cursors.refused, |_, value| {
                Ok((RefusedRequest::decode(value)?.last + retention <= now).then(Vec::new))
            })
            .await?;
        let budgets = self.sweep_budgets(&mut cursors.budgets, now).await?;
        let all = [orders, certificates, audit, refusals, bounded, refused, budgets];
        let tables = [
            SweptTable::Orders,
            SweptTable::Certificates,
            SweptTable::Audit,
            SweptTable::PolicyRefusals,
            SweptTable::PolicyRefusals,
            SweptTable::RefusedRequests,
            SweptTable::IssueBudgets,
        ];
        let counts = &metrics().sweeper;
        for (table, swept) in tables.into_iter().zip(&all) {
            counts.removed(table, swept.deleted);
        }
        let more = all.iter().any(|swept| swept.more);
        counts.behind.set(i64::from(more));
        if !more {
            counts.caught_up.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        }
        Ok(Swept { deleted: all.iter().map(|swept| swept.deleted).sum(), more })
    }

    /// Budgets that are whole again. They sort by nothing, so a step goes on where the last one ended, and
    /// from the end to the beginning.
    async fn sweep_budgets(&self, cursor: &mut Option<Vec<u8>>, now: Timestamp) -> Result<Swept, Error> {
        let rows = self.store.scan(Table::IssueBudgets, &[], cursor.as_deref(), STEP).await?;
        let whole = rows.len() == STEP;
        let (mut batch, mut deleted, mut last) = (Batch::new(), 0, None);
        for (key, row) in rows {
            match IssueBudget::decode(&row.value) {
                Ok(IssueBudget(bucket)) if bucket.is_full(now) => {
                    deleted += 1;
                    batch = batch
                        .expect(Table::IssueBudgets, key.clone(), Expect::Is(row.version))
                        .delete(Table::IssueBudgets, key.clone());
                }
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "an issue budget does not read"),
            }
            last = Some(key);
        }
        if deleted > 0 {
            match self.store.commit(batch).await? {
                CommitOutcome::Committed(_) => {}
                // Spent from under the sweep; the next step sees it.
                CommitOutcome::Conflict => return Ok(Swept { deleted: 0, more: false }),
            }
        }
        *cursor = last.filter(|_| whole);
        Ok(Swept { deleted, more: whole && deleted > STEP / 2 })
    }

    async fn sweep_orders(&self, cursor: &mut Option<Vec<u8>>, now: Timestamp) -> Result<Swept, Error> {
        let rows = self.store.scan(Table::Orders, &[], cursor.as_deref(), STEP).await?;
        let mut step = Step { more: rows.len() == STEP, ..Step::default() };
        for (key, row) in rows {
            let id = OrderId::from_key(&key);
            if id.is_some_and(|id| id.purge() > now) {
                step.more = false;
                break;
            }
            let order = Order::decode(&row.value).ok();
            let (held, listed) = match (id, &order) {
                (Some(id), Some(order)) => {
                    (self.held_in(id, order).await?, Some(order_row(order.account, id)))
                }
                (None, _) | (_, None) => (Vec::new(), None),
            };
            // No more checks than changes: one for the order, one for each row, and the one that lists it.
            if step.batch.ops.len() + held.len() + 2 > MAX_OPS {
                step.more = true;
                break;
            }
            for (table, key, version) in held.into_iter().chain([(Table::Orders, key.clone(), row.version)]) {
                step.batch = step.batch.expect(table, key.clone(), Expect::Is(version)).delete(table, key);
            }
            // Written with the order, and never changed.
            if let Some(listed) = listed {
                step.batch = step.batch.delete(Table::AccountOrders, listed);
            }
            step.deleted += 1;
            // A key that is no id says nothing about what sorts behind it.
            step.last = id.map(|_| key).or(step.last);
        }
        self.finish(step, cursor).await
    }

    /// The rows of held authorizations, and of a certificate to be given again, that lead to this order:
    /// they go with it.
    pub(super) async fn held_in(
        &self,
        id: OrderId,
        order: &Order,
    ) -> Result<Vec<(Table, Vec<u8>, Version)>, Error> {
        let mut rows = Vec::new();
        for (index, slot) in order.slots.iter().enumerate() {
            let Slot::Own(authorization) = slot else { continue };
            let key = held_row(order.account, &authorization.identifier);
            let Some(row) = self.store.get(Table::Grants, &key).await? else { continue };
            // One that does not read leads nowhere.
            let held = HeldAuthorization::decode(&row.value).ok();
            if held.is_none_or(|held| held.order == id && usize::from(held.index) == index) {
                rows.push((Table::Grants, key, row.version));
            }
        }
        if let Some(digest) = &order.details.reuse_row {
            let key = reuse_row(order.account, digest);
            if let Some(row) = self.store.get(Table::Reuse, &key).await? {
                let reusable = ReusableCertificate::decode(&row.value).ok();
                if reusable.is_none_or(|reusable| reusable.order == id) {
                    rows.push((Table::Reuse, key, row.version));
                }
            }
        }
        Ok(rows)
    }

    /// Deletes the rows from the front of a table for as long as `gone` says so, and with each what it says
    /// goes along.
    async fn sweep_rows(
        &self,
        table: Table,
        cursor: &mut Option<Vec<u8>>,
        gone: impl Fn(&[u8], &[u8]) -> Result<Option<Along>, Error>,
    ) -> Result<Swept, Error> {
        let rows = self.store.scan(table, &[], cursor.as_deref(), STEP).await?;
        let mut step = Step { more: rows.len() == STEP, ..Step::default() };
        for (key, row) in rows {
            match gone(&key, &row.value) {
                Ok(Some(along)) => {
                    if step.batch.ops.len() + along.len() + 1 > MAX_OPS {
                        step.more = true;
                        break;
                    }
                    step.deleted += 1;
                    step.batch = step.batch.expect(table, key.clone(), Expect::Is(row.version));
                    step.batch = step.batch.delete(table, key.clone());
                    for (table, row) in along {
                        step.batch = step.batch.delete(table, row);
                    }
                }
                Ok(None) => {
                    step.more = false;
                    break;
                }
                // Kept, since nobody knows what it was; passed over, or nothing would go any more.
                Err(error) => tracing::error!(table = table.name(), %error, "a record does not read"),
            }
            step.last = Some(key);
        }
        self.finish(step, cursor).await
    }

    async fn finish(&self, step: Step, cursor: &mut Option<Vec<u8>>) -> Result<Swept, Error> {
        let Step { batch, deleted, last, more } = step;
        if deleted > 0 {
            match self.store.commit(batch).await? {
                CommitOutcome::Committed(_) => {}
                // Something changed under the sweep; the next step sees it.
                CommitOutcome::Conflict => return Ok(Swept { deleted: 0, more: true }),
            }
        }
        *cursor = last.or(cursor.take());
        Ok(Swept { deleted, more })
    }
}
