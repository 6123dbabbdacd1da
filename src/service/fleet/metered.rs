//! What the metrics show of rotation health.

use super::super::Service;
use crate::fleet::{Cause, State};
use crate::telemetry::metrics::fleet::{Fleet, SPANS};

impl Service {
    /// As of now; `None` until the inventory has been read.
    pub(in crate::service) fn metered_fleet(&self) -> Option<Fleet> {
        if !self.fleet.is_complete() {
            return None;
        }
        self.fleet.advance(self.now());
        let summary = self.fleet.summary();
        let minutes: Vec<u32> = SPANS.iter().map(|hours| hours * 60).collect();
        let (within, all) = self.fleet.expiring(&minutes);
        let horizon = summary.horizon.iter().flat_map(|horizon| {
            [("first", horizon.first), ("0.05", horizon.twentieth), ("0.5", horizon.half)]
        });
        Some(Fleet {
            states: State::ALL.iter().map(|state| (state.name(), summary.of(*state))).collect(),
            failing: Cause::ALL
                .iter()
                .map(|cause| (cause.name(), summary.failing[*cause as usize]))
                .collect(),
            horizon: horizon.collect(),
            within,
            all,
        })
    }
}
