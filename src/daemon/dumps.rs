//! Keeps the process's memory, which has private keys and passwords in it, out of files.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on the kernel writes no core dump of this process, whatever pattern or crash handler the
/// system has, and lets no other process of the same user read its memory or environment (prctl(2),
/// PR_SET_DUMPABLE); root may still. The limit is for the few that look at it alone.
pub fn forbid() -> std::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}
