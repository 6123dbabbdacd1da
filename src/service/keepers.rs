//! Proofs that an order rests on and that another order keeps.

use super::objects::LoadedOrder;
use super::{Error, Service};
use crate::acme::order::Authorization;
use crate::id::OrderId;
use crate::storage::{Batch, Expect, Table, Version};

/// Reads the orders that keep an order's proofs, each once as a rule: proofs of one order come together.
pub(super) struct Keepers<'a> {
    service: &'a Service,
    last: Option<LoadedOrder>,
    /// Those that are there, as they were read.
    read: Vec<(OrderId, Version)>,
}

impl<'a> Keepers<'a> {
    pub(super) fn new(service: &'a Service) -> Self {
        Self { service, last: None, read: Vec::new() }
    }

    /// The authorization at `index` of that order; `None` if it has left the store.
    pub(super) async fn proof(
        &mut self,
        keeper: OrderId,
        index: u16,
    ) -> Result<Option<&Authorization>, Error> {
        if self.last.as_ref().is_none_or(|kept| kept.id != keeper) {
            self.last = match self.service.load_order(keeper).await {
                Ok(kept) => Some(kept),
                Err(Error::NotFound) => None,
                Err(error) => return Err(error),
            };
            self.read.extend(self.last.iter().map(|kept| (kept.id, kept.version)));
        }
        Ok(self.last.as_ref().and_then(|kept| kept.order.own(index)))
    }

    /// What a commit that rests on these proofs depends on.
    pub(super) fn into_read(self) -> AsRead {
        AsRead(self.read)
    }
}

/// Orders that keep proofs, as they were read.
pub(super) struct AsRead(Vec<(OrderId, Version)>);

impl AsRead {
    /// Makes a batch hold only if they are still so.
    pub(super) fn unchanged(&self, batch: Batch) -> Batch {
        self.0.iter().fold(batch, |batch, (keeper, read)| {
            batch.expect(Table::Orders, *keeper.as_bytes(), Expect::Is(*read))
        })
    }
}
