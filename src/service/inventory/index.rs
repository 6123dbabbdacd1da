//! The index of certificates from before there was one, built once, in the background, a bounded step at a
//! time. Where it stands is committed with each step: a restart goes on from there.

use super::super::{Error, Service};
use crate::storage::codec::Record;
use crate::storage::inventory::{self, IndexState, STATE_KEY};
use crate::storage::limits::MAX_OPS;
use crate::storage::{Batch, CommitOutcome, Expect, Table};
use crate::time::Timestamp;
use crate::x509::serial::Serial;

/// Certificates of one step.
const STEP: usize = 128;

/// How far the index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indexed {
    /// Certificates looked at.
    pub certificates: u64,
    /// All that expire before are in it.
    pub through: Option<Timestamp>,
}

impl Indexed {
    fn of(state: &IndexState) -> Self {
        let hour = |serial: &Serial| {
            let bytes = serial.as_bytes();
            Timestamp::from_secs(u64::from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])) * 3600)
        };
        Self { certificates: state.certificates, through: state.through.as_ref().map(hour) }
    }
}

impl Service {
    /// How far the index is; `None` once it holds every certificate.
    pub fn index_building(&self) -> Option<Indexed> {
        *self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// One bounded step of the index; false once there is nothing left to do.
    ///
    /// Certificates issued meanwhile have rows of their own making, and a second time changes nothing.
    pub async fn build_index(&self) -> Result<bool, Error> {
        let stored = self.store.get(Table::Meta, STATE_KEY).await?;
        let mut state = match &stored {
            Some(row) => IndexState::decode(&row.value)?,
            None => IndexState::default(),
        };
        if state.complete {
            self.note_index(None);
            return Ok(false);
        }
        self.note_index(Some(Indexed::of(&state)));
        let expected = stored.map_or(Expect::Absent, |row| Expect::Is(row.version));
        let mut batch = Batch::new().expect(Table::Meta, STATE_KEY, expected);
        let after = state.through.map(|serial| *serial.as_bytes());
        let rows =
            self.store.scan(Table::Certificates, &[], after.as_ref().map(<[u8; 19]>::as_slice), STEP).await?;
        let mut more = rows.len() == STEP;
        for (key, row) in rows {
            let Some(serial) = Serial::from_bytes(&key) else { continue };
            let found = inventory::rows_of_stored(&serial, &row.value).unwrap_or_else(|error| {
                tracing::error!(%serial, %error, "a certificate does not read; it is not indexed");
                Vec::new()
            });
            // One place is kept for the state.
            if batch.ops.len() + found.len() + 1 > MAX_OPS {
                more = true;
                break;
            }
            // Not behind the sweeper's back, which takes a certificate with its rows.
            batch = batch.expect(Table::Certificates, key, Expect::Is(row.version));
            batch = found
                .into_iter()
                .fold(batch, |batch, row| batch.put(Table::CertificateIndex, row, Vec::new()));
            state.certificates += 1;
            state.through = Some(serial);
        }
        state.complete = !more;
        match self.store.commit(batch.put(Table::Meta, STATE_KEY, state.encode())).await? {
            CommitOutcome::Committed(_) if state.complete => {
                tracing::info!(certificates = state.certificates, "the certificate index is complete");
                self.note_index(None);
                Ok(false)
            }
            // Of what changed meanwhile the next step sees the new state.
            CommitOutcome::Committed(_) | CommitOutcome::Conflict => Ok(true),
        }
    }

    fn note_index(&self, building: Option<Indexed>) {
        *self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = building;
    }
}
