//! What a start finds: work that a crash cut short goes on, and open orders are counted again.

use std::sync::Arc;
use std::time::Duration;

use super::{Error, Provisioner, Service};
use crate::acme::order::{Finish, Order, OrderStatus, Slot};
use crate::id::OrderId;
use crate::storage::Table;
use crate::storage::codec::Record;
use crate::time::Timestamp;

/// Orders read in one step.
const STEP: usize = 256;
/// Between steps: requests go first.
const PAUSE: Duration = Duration::from_millis(5);
/// Between attempts to begin a validation for which there is no place yet.
const FULL: Duration = Duration::from_millis(500);

/// Between attempts to read a store that does not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// What a start found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Orders that are open.
    pub open: usize,
    /// Validations that go on.
    pub validations: usize,
    /// Orders that wait for their certificate and go on.
    pub finalizations: usize,
}

impl Service {
    /// Goes through all orders once, in the order of their keys and a step at a time, from a start on.
    /// A client's poll resumes an order too ([`Service::order`]); this is for clients that wait for us.
    /// `started` is when this process began to answer: what was opened since has been counted.
    pub async fn resume(self: &Arc<Self>, started: Timestamp) -> Resumed {
        let (mut resumed, mut after) = (Resumed::default(), None::<Vec<u8>>);
        loop {
            let rows = match self.store.scan(Table::Orders, &[], after.as_deref(), STEP).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(%error, "looking for work cut short failed; trying on");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let Some((last, _)) = rows.last() else { return resumed };
            after = Some(last.clone());
            for (key, row) in rows {
                let Some(id) = OrderId::from_key(&key) else { continue };
                match Order::decode(&row.value) {
                    Ok(order) => self.resume_order(id, &order, started, &mut resumed).await,
                    // The sweeper takes it away in time.
                    Err(error) => tracing::error!(order = %id, %error, "an order does not read"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn resume_order(
        self: &Arc<Self>,
        id: OrderId,
        order: &Order,
        started: Timestamp,
        resumed: &mut Resumed,
    ) {
        let Some(terms) = self.provisioner(&order.provisioner) else { return };
        let now = self.now();
        match (&order.finish, order.status(now)) {
            (Finish::Processing(_), _) => {
                if let Some(work) = self.resume_finalize(id, None) {
                    resumed.finalizations += 1;
                    // One after the other: the signer is slow, and clients ask it too.
                    let _ = work.await;
                }
            }
            (Finish::Open, OrderStatus::Pending | OrderStatus::Ready) => {
                if order.created < started {
                    resumed.open += 1;
                    self.limits.count_open(order.account.as_bytes(), terms.order_ttl, order.created, now);
                }
                self.resume_validations(&terms, id, order, resumed).await;
            }
            (Finish::Open, OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid | OrderStatus::Canceled)
            // What is due of a renewal is found in a table of its own.
            | (Finish::Issued { .. } | Finish::Failed(_) | Finish::Renewing(_), _) => {}
        }
    }

    async fn resume_validations(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        id: OrderId,
        order: &Order,
        resumed: &mut Resumed,
    ) {
        for (index, slot) in (0..).zip(&order.slots) {
            let Slot::Own(authorization) = slot else { continue };
            let Some(kind) = authorization.under_validation(self.now()) else { continue };
            resumed.validations += 1;
            while let Err(Error::Busy(_)) = self.take_up(terms, (order.account, id, index, kind)).await {
                tokio::time::sleep(FULL).await;
            }
        }
    }
}
