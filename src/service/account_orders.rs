//! The orders of an account (RFC 8555 §7.1.2.1), a page at a time.
//!
//! One row per order, written with it and removed with it by the sweeper. A page looks at a fixed
//! number of rows, whatever it finds: an account whose orders all failed gets empty pages, each with a
//! link to the next, and no request walks them all.

use super::{Error, Service};
use crate::acme::order::{Order, OrderStatus};
use crate::id::{AccountId, OrderId};
use crate::storage::Table;
use crate::storage::codec::{Record, order_row};

/// Rows looked at, and so orders listed, in one page.
pub const PAGE: usize = 100;

/// A part of an account's orders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrdersPage {
    /// Those that are not invalid, by the time of their removal.
    pub orders: Vec<OrderId>,
    /// What to ask for the next page with; `None` at the end.
    pub next: Option<OrderId>,
}

impl Service {
    /// The account's orders behind `after`.
    pub async fn account_orders(
        &self,
        account: AccountId,
        after: Option<OrderId>,
    ) -> Result<OrdersPage, Error> {
        let now = self.now();
        let after = after.map(|order| order_row(account, order));
        let prefix = account.as_bytes();
        let rows = self.store.scan(Table::AccountOrders, prefix, after.as_deref(), PAGE).await?;
        let mut page = OrdersPage::default();
        if rows.len() == PAGE {
            page.next = rows.last().and_then(|(key, _)| OrderId::from_key(key.get(16..)?));
        }
        for (key, _) in rows {
            let Some(id) = key.get(16..).and_then(OrderId::from_key) else { continue };
            // Swept between the two reads.
            let Some(row) = self.store.get(Table::Orders, id.as_bytes()).await? else { continue };
            let order = match Order::decode(&row.value) {
                Ok(order) => order,
                Err(error) => {
                    tracing::error!(order = %id, %error, "an order does not read and is not listed");
                    continue;
                }
            };
            match order.status(now) {
                OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Processing | OrderStatus::Valid => {
                    page.orders.push(id)
                }
                OrderStatus::Invalid | OrderStatus::Canceled => {}
            }
        }
        Ok(page)
    }
}
