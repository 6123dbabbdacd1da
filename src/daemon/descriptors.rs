//! File descriptors: with none left the store fails for good, so connections must never be able to
//! take them all.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the store's files, log, resolver and the process itself.
const RESERVE: u64 = 256;

/// Raises the soft limit to the hard one; returns how many connections fit beside `others` (sockets
/// that are not clients'), at most `wanted`.
pub(super) fn connections(wanted: usize, others: usize) -> Result<usize, String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Raising is not needed if it fails: the old limit is what is then reckoned with.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    fitting(if raised { maximum } else { current }, wanted, others)
}

/// `limit` is the number of descriptors, `None` if there is none.
fn fitting(limit: Option<u64>, wanted: usize, others: usize) -> Result<usize, String> {
    let Some(limit) = limit else { return Ok(wanted) };
    // Where descriptors are few, validation and the reserve take half of them at most.
    let kept = (RESERVE + others as u64).min(limit / 2);
    let free = usize::try_from(limit - kept).unwrap_or(usize::MAX);
    if free < 32 {
        return Err(format!(
            "the limit of open files, {limit}, is too low: raise it to {} (ulimit -n, LimitNOFILE=)",
            RESERVE + others as u64 + wanted as u64
        ));
    }
    if free < wanted {
        tracing::warn!(
            limit,
            connections = free,
            "fewer connections than server.max_connections: the limit of open files is low"
        );
    }
    Ok(free.min(wanted))
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn what_fits() {
        assert_eq!(fitting(None, 1024, 1024), Ok(1024));
        assert_eq!(fitting(Some(1_000_000), 1024, 1024), Ok(1024));
        assert_eq!(fitting(Some(2304), 1024, 1024), Ok(1024));
        assert_eq!(fitting(Some(2300), 1024, 1024), Ok(1024));
        assert_eq!(fitting(Some(1024), 1024, 1024), Ok(512));
        assert_eq!(fitting(Some(256), 1024, 1024), Ok(128));
        assert!(fitting(Some(62), 1024, 1024).unwrap_err().contains("ulimit -n"));
        assert!(fitting(Some(0), 1, 0).is_err());
    }
}
