//! The guard of free space: writes stop before the file system is full, because no engine is at its
//! best once a write has failed half-way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::storage::StoreError;

/// Free bytes below which writes are refused.
pub const FLOOR: u64 = 64 << 20;

/// How long an answer of the file system is used. At most `FLOOR` can be written meanwhile: groups
/// are a few MiB, and each waits for its sync.
const EVERY: Duration = Duration::from_secs(1);

/// Asks a file system for its free bytes.
type Probe = fn(&Path) -> io::Result<u64>;

/// Watches the free space around a path.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    probe: Probe,
    last: Mutex<Option<(Instant, u64)>>,
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

    /// [`StoreError::NoSpace`] if less than [`FLOOR`] is free; asks at most once a second.
    pub fn check(&self) -> Result<(), StoreError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let free = match *last {
            Some((at, free)) if at.elapsed() < EVERY => free,
            _ => {
                let free = (self.probe)(&self.path).map_err(|error| {
                    StoreError::Failed(format!("{}: free space unknown: {error}", self.path.display()))
                })?;
                *last = Some((Instant::now(), free));
                free
            }
        };
        if free < FLOOR {
            let (free, floor) = (free >> 20, FLOOR >> 20);
            return Err(StoreError::NoSpace(format!("{free} MiB are free, and it keeps {floor} MiB")));
        }
        Ok(())
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
            assert!(matches!(room.check(), Err(StoreError::NoSpace(_))));
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        Room::with(Path::new("/"), |_| Ok(FLOOR)).check().unwrap();
    }

    #[test]
    fn reads_a_real_file_system() {
        let here = tempfile::tempdir().unwrap();
        Room::new(here.path()).check().unwrap();
        assert!(matches!(Room::new(&here.path().join("gone")).check(), Err(StoreError::Failed(_))));
    }
}
