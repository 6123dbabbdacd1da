//! What a start finds: work that a crash cut short goes on, and open orders are counted again.
//!
//! One walk over all orders begins it and waits for none of it: orders that wait for their certificate
//! stand in a line for each issuer, so that a token that hangs holds up its own, and an order whose
//! validations find no place is looked at again behind the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

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
/// Between attempts to begin validations for which there is no place yet.
const FULL: Duration = Duration::from_millis(500);
/// Certificates of one issuer at once: half of what its signer does, since clients ask it too.
const AT_ONCE: usize = 8;

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

/// There is no place for more validations now.
struct Full;

fn is_under_validation(slot: &Slot, now: Timestamp) -> bool {
    match slot {
        Slot::Own(authorization) => authorization.under_validation(now).is_some(),
        Slot::Reused { .. } | Slot::Trusted { .. } => false,
    }
}

/// A walk that is under way.
#[derive(Default)]
struct Walk {
    found: Resumed,
    /// Orders that wait for their certificate, by the key of their issuer.
    lines: HashMap<[u8; 20], UnboundedSender<OrderId>>,
    /// What works on the lines; ends with the walk.
    work: JoinSet<()>,
    /// Orders with validations for which there was no place.
    later: Vec<OrderId>,
}

impl Service {
    /// Goes through all orders once, in the order of their keys and a step at a time, from a start on.
    /// A client's poll resumes an order too ([`Service::order`]); this is for clients that wait for us.
    /// `started` is when this process began to answer: what was opened since has been counted.
    pub async fn resume(self: &Arc<Self>, started: Timestamp) -> Resumed {
        let (mut walk, mut after) = (Walk::default(), None::<Vec<u8>>);
        loop {
            let rows = match self.store.scan(Table::Orders, &[], after.as_deref(), STEP).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::warn!(%error, "looking for work cut short failed; trying on");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            for (key, row) in rows {
                let Some(id) = OrderId::from_key(&key) else { continue };
                match Order::decode(&row.value) {
                    Ok(order) => self.resume_order(id, &order, started, &mut walk).await,
                    // The sweeper takes it away in time.
                    Err(error) => tracing::error!(order = %id, %error, "an order does not read"),
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        while !walk.later.is_empty() {
            tokio::time::sleep(FULL).await;
            for id in std::mem::take(&mut walk.later) {
                if self.resume_late(id).await.is_err() {
                    walk.later.push(id);
                }
            }
        }
        walk.lines.clear();
        while walk.work.join_next().await.is_some() {}
        walk.found
    }

    async fn resume_order(self: &Arc<Self>, id: OrderId, order: &Order, started: Timestamp, walk: &mut Walk) {
        let Some(terms) = self.provisioner(&order.provisioner) else { return };
        let now = self.now();
        match (&order.finish, order.status(now)) {
            (Finish::Processing(_), _) => {
                walk.found.finalizations += 1;
                let line = walk.lines.entry(*terms.issuer().key_id()).or_insert_with(|| {
                    let (line, orders) = unbounded_channel();
                    walk.work.spawn(self.clone().finish_line(orders));
                    line
                });
                let _ = line.send(id);
            }
            (Finish::Open, OrderStatus::Pending | OrderStatus::Ready) => {
                if order.created < started {
                    walk.found.open += 1;
                    self.limits.count_open(order.account.as_bytes(), terms.order_ttl, order.created, now);
                }
                walk.found.validations += order.slots.iter().filter(|slot| is_under_validation(slot, now)).count();
                if self.resume_validations(&terms, id, order).await.is_err() {
                    walk.later.push(id);
                }
            }
            (Finish::Open, OrderStatus::Processing | OrderStatus::Valid | OrderStatus::Invalid | OrderStatus::Canceled)
            // What is due of a renewal is found in a table of its own.
            | (Finish::Issued { .. } | Finish::Failed(_) | Finish::Renewing(_), _) => {}
        }
    }

    /// Certificates that one issuer is to sign, some at once, until there are no more.
    async fn finish_line(self: Arc<Self>, mut orders: UnboundedReceiver<OrderId>) {
        let mut works = JoinSet::new();
        while let Some(id) = orders.recv().await {
            if works.len() >= AT_ONCE {
                let _ = works.join_next().await;
            }
            if let Some(work) = self.resume_finalize(id, None) {
                works.spawn(async move {
                    let _ = work.await;
                });
            }
        }
        while works.join_next().await.is_some() {}
    }

    /// Begins what has no task yet; an error if there is no place for all of it.
    async fn resume_validations(
        self: &Arc<Self>,
        terms: &Arc<Provisioner>,
        id: OrderId,
        order: &Order,
    ) -> Result<(), Full> {
        for (index, slot) in (0..).zip(&order.slots) {
            let Slot::Own(authorization) = slot else { continue };
            let Some(kind) = authorization.under_validation(self.now()) else { continue };
            if let Err(Error::Busy(_)) = self.take_up(terms, (order.account, id, index, kind)).await {
                return Err(Full);
            }
        }
        Ok(())
    }

    /// The same for an order that was put off.
    async fn resume_late(self: &Arc<Self>, id: OrderId) -> Result<(), Full> {
        // One that is gone, or does not read, needs nothing more from here.
        let Ok(loaded) = self.load_order(id).await else { return Ok(()) };
        match self.provisioner(&loaded.order.provisioner) {
            Some(terms) => self.resume_validations(&terms, id, &loaded.order).await,
            None => Ok(()),
        }
    }
}
