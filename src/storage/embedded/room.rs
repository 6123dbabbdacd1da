//! The guard of free space: writes stop before the file system is full, because no engine is at its
//! best once a write has failed half-way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::storage::StoreError;
use crate::storage::engine::Purpose;

/// Free bytes below which new data is refused.
pub const FLOOR: u64 = 64 << 20;

/// Free bytes below which removals are refused too: the journal takes a line for each, and the room
/// comes back only when a compaction has written what is left.
pub const REMOVAL_FLOOR: u64 = 8 << 20;

/// How long an answer of the file system is used while far from the floor.
const EVERY: Duration = Duration::from_secs(1);

/// How many times a byte is written, roughly: to the journal, to a table, and in compactions.
const AMPLIFICATION: u64 = 4;

/// Asks a file system for its free bytes.
type Probe = fn(&Path) -> io::Result<u64>;

/// Watches the free space around a path.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    probe: Probe,
    last: Mutex<Option<Reading>>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    free: u64,
    /// What the writes admitted since may have used.
    used: u64,
}

impl Reading {
    /// A fast disk fills the floor's worth in less than a second, so what was admitted counts; a
    /// refusal stands for its second.
    fn is_current(&self, floor: u64) -> bool {
        self.at.elapsed() < EVERY && (self.free < floor || self.free.saturating_sub(self.used) >= floor)
    }
}

impl Room {
    /// Watches the file system of `path`.
    pub fn new(path: &Path) -> Self {
        Self::with(path, |path| {
            let stat = rustix::fs::statvfs(path)?;
            // What is left to this user, not what root may still use.
            Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
        })
    }

    fn with(path: &Path, probe: Probe) -> Self {
        Self { path: path.to_path_buf(), probe, last: Mutex::new(None) }
    }

    /// Admits a write of `bytes`, or [`StoreError::NoSpace`] if less than [`FLOOR`] is free, and for a
    /// removal less than [`REMOVAL_FLOOR`].
    ///
    /// Asks the file system once a second, and more often only where what was admitted since could
    /// have reached the floor.
    pub fn check(&self, bytes: usize, purpose: Purpose) -> Result<(), StoreError> {
        let floor = match purpose {
            Purpose::Data => FLOOR,
            Purpose::Removal => REMOVAL_FLOOR,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reading = match *last {
            Some(reading) if reading.is_current(floor) => reading,
            _ => self.read()?,
        };
        let admitted = reading.free >= floor;
        if admitted {
            reading.used = reading.used.saturating_add((bytes as u64).saturating_mul(AMPLIFICATION));
        }
        *last = Some(reading);
        if !admitted {
            let (free, floor) = (reading.free >> 20, floor >> 20);
            return Err(StoreError::NoSpace(format!("{free} MiB are free, and it keeps {floor} MiB")));
        }
        Ok(())
    }

    fn read(&self) -> Result<Reading, StoreError> {
        let free = (self.probe)(&self.path).map_err(|error| {
            StoreError::Failed(format!("{}: free space unknown: {error}", self.path.display()))
        })?;
        Ok(Reading { at: Instant::now(), free, used: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn refuses_below_the_floor_and_asks_once_a_second() {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let room = Room::with(Path::new("/"), |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            Ok(FLOOR - 1)
        });
        for _ in 0..3 {
            assert!(matches!(room.check(1, Purpose::Data), Err(StoreError::NoSpace(_))));
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        Room::with(Path::new("/"), |_| Ok(FLOOR)).check(1, Purpose::Data).unwrap();
    }

    #[test]
    fn asks_again_before_a_second_when_the_floor_is_near() {
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let room = Room::with(Path::new("/"), |_| {
            let asked = ASKED.fetch_add(1, Ordering::SeqCst);
            Ok(if asked < 2 { FLOOR + (8 << 20) } else { FLOOR - 1 })
        });
        // Each takes a half of what is above the floor, and the third goes below it.
        for expected in [1, 1, 1, 2, 2, 2] {
            room.check(1 << 20, Purpose::Data).unwrap();
            assert_eq!(ASKED.load(Ordering::SeqCst), expected);
        }
        assert!(matches!(room.check(1 << 20, Purpose::Data), Err(StoreError::NoSpace(_))));
    }

    #[test]
    fn removals_have_a_lower_floor() {
        static FREE: AtomicU64 = AtomicU64::new(FLOOR - 1);
        static ASKED: AtomicU64 = AtomicU64::new(0);
        let room = Room::with(Path::new("/"), |_| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            Ok(FREE.load(Ordering::SeqCst))
        });
        for _ in 0..3 {
            assert!(matches!(room.check(1 << 20, Purpose::Data), Err(StoreError::NoSpace(_))));
            room.check(1 << 20, Purpose::Removal).unwrap();
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1, "neither makes the other ask");
        FREE.store(REMOVAL_FLOOR - 1, Ordering::SeqCst);
        // What was admitted could have reached the lower floor.
        room.check(16 << 20, Purpose::Removal).unwrap();
        assert!(matches!(room.check(1, Purpose::Removal), Err(StoreError::NoSpace(_))));
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn reads_a_real_file_system() {
        let here = tempfile::tempdir().unwrap();
        Room::new(here.path()).check(1, Purpose::Data).unwrap();
        assert!(matches!(
            Room::new(&here.path().join("gone")).check(1, Purpose::Data),
            Err(StoreError::Failed(_))
        ));
    }
}
