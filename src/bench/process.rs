//! CPU time and memory of a process, as `/proc` tells them (Linux).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Clock ticks per second in `/proc/PID/stat` (USER_HZ): 100 on every Linux that Rust runs on.
const TICKS: u64 = 100;

/// A process to watch.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

/// CPU time used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Of all threads that ever were, in ticks of 10 ms.
    ticks: u64,
    /// Of the threads there are, by id, in nanoseconds.
    threads: BTreeMap<u32, u64>,
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that ever was resident.
    pub peak: u64,
}

impl Process {
    /// Another process.
    pub fn of(pid: u32) -> Self {
        Self(format!("/proc/{pid}").into())
    }

    /// This one.
    pub fn own() -> Self {
        Self("/proc/self".into())
    }

    fn read(&self, name: &str) -> io::Result<String> {
        std::fs::read_to_string(self.0.join(name))
    }

    /// CPU time, user and system.
    pub fn cpu(&self) -> io::Result<Cpu> {
        let ticks = parse_stat(&self.read("stat")?).ok_or_else(|| malformed("stat"))?;
        let mut threads = BTreeMap::new();
        for entry in std::fs::read_dir(self.0.join("task"))? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end meanwhile, and a kernel may be without this file.
            let Ok(text) = std::fs::read_to_string(entry.path().join("schedstat")) else { continue };
            if let Some(nanos) = parse_schedstat(&text) {
                threads.insert(id, nanos);
            }
        }
        Ok(Cpu { ticks, threads })
    }

    /// Memory.
    pub fn memory(&self) -> io::Result<Memory> {
        parse_status(&self.read("status")?).ok_or_else(|| malformed("status"))
    }
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} does not read as Linux writes it"))
}

impl Cpu {
    /// CPU time used since `earlier`: by the threads' own counts if none has ended in between, else
    /// in ticks.
    pub fn since(&self, earlier: &Self) -> Duration {
        let by_ticks = Duration::from_millis(self.ticks.saturating_sub(earlier.ticks) * 1000 / TICKS);
        let all_there = earlier.threads.keys().all(|id| self.threads.contains_key(id));
        if earlier.threads.is_empty() || !all_there {
            return by_ticks;
        }
        let used =
            |(id, now): (&u32, &u64)| now.saturating_sub(earlier.threads.get(id).copied().unwrap_or(0));
        Duration::from_nanos(self.threads.iter().map(used).sum())
    }
}

/// utime + stime of `/proc/PID/stat` (proc(5)): fields 14 and 15. The name in field 2 may contain
/// anything, so counting begins behind its last parenthesis.
pub fn parse_stat(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Nanoseconds on a CPU, the first of the three numbers.
pub fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// VmRSS and VmHWM of `/proc/PID/status`.
pub fn parse_status(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_rows() {
        let tail = "S 1 7 7 0 -1 4194560 900 0 3 0 250 40 5 6 20 0 9 0 100 1 2 3";
        let rows = [
            (format!("42 (mayfly) {tail}"), Some(290)),
            (format!("42 (a b) c) {tail}"), Some(290)),
            (format!("42 () {tail}"), Some(290)),
            ("42 (mayfly) S 1 7".into(), None),
            ("42 mayfly S".into(), None),
            (String::new(), None),
        ];
        for (text, want) in rows {
            assert_eq!(parse_stat(&text), want, "{text}");
        }
    }

    #[test]
    fn schedstat_and_status_rows() {
        assert_eq!(parse_schedstat("123456789 1000 42\n"), Some(123_456_789));
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_schedstat("x"), None);
        let status = "Name:\tx\nVmPeak:\t  9999 kB\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(parse_status(status), Some(Memory { resident: 1024, peak: 2048 }));
        // A kernel thread has no memory.
        assert_eq!(parse_status("Name:\tkthreadd\nThreads:\t1\n"), None);
        assert_eq!(parse_status("VmHWM:\t1 MB\nVmRSS:\t1 kB\n"), None);
    }

    #[test]
    fn time_by_threads_or_by_ticks() {
        let cpu = |ticks, threads: &[(u32, u64)]| Cpu { ticks, threads: threads.iter().copied().collect() };
        let earlier = cpu(100, &[(1, 5_000), (2, 7_000)]);
        let rows = [
            (cpu(110, &[(1, 6_000), (2, 9_000)]), Duration::from_nanos(3_000)),
            (cpu(110, &[(1, 6_000), (2, 7_000), (3, 500)]), Duration::from_nanos(1_500)),
            // Thread 2 has ended: what it used is in the ticks alone.
            (cpu(110, &[(1, 6_000)]), Duration::from_millis(100)),
        ];
        for (later, want) in rows {
            assert_eq!(later.since(&earlier), want);
        }
        assert_eq!(cpu(110, &[]).since(&cpu(100, &[])), Duration::from_millis(100));
    }

    #[test]
    fn this_very_process() {
        let before = Process::own().cpu().unwrap();
        assert!(Process::own().cpu().unwrap().since(&before) < Duration::from_secs(60));
        let memory = Process::of(std::process::id()).memory().unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert!(Process::of(u32::MAX).cpu().is_err());
    }
}
