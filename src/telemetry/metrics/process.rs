//! What the system says of this process (Linux, proc(5)).

use std::fmt;
use std::fs;

use rustix::process::{Resource, getrlimit};

use super::page::Writer;

/// Clock ticks per second in `/proc/PID/stat` (USER_HZ): 100 on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Of `/proc/self/stat`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    /// Since the machine's start.
    started_seconds: f64,
    virtual_bytes: f64,
}

/// Fields 14, 15, 20, 22 and 23. The name in field 2 may contain anything, so counting begins behind its last
/// parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) / TICKS,
        threads: field(20)?,
        started_seconds: field(22)? / TICKS,
        virtual_bytes: field(23)?,
    })
}

/// The line `NAME: … kB` of `/proc/self/status`, in bytes.
fn parse_kib(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

/// When the machine started, of `/proc/stat`.
fn parse_boot(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Writes what can be read; what cannot is left out.
pub(super) fn write(writer: &mut Writer<'_>) -> fmt::Result {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = parse_stat(&read("/proc/self/stat"));
    if let Some(stat) = stat {
        let cpu = "mayfly_process_cpu_seconds";
        writer.seconds(cpu, "CPU time used, user and system", stat.cpu_seconds)?;
        writer.level("mayfly_process_threads", "Threads of the process", stat.threads)?;
        writer.level("mayfly_process_virtual_memory_bytes", "Address space in use", stat.virtual_bytes)?;
    }
    if let Some(bytes) = parse_kib(&read("/proc/self/status"), "VmRSS") {
        writer.level("mayfly_process_resident_memory_bytes", "Memory in use", bytes)?;
    }
    if let (Some(stat), Some(boot)) = (stat, parse_boot(&read("/proc/stat"))) {
        let help = "When the process started";
        writer.level("mayfly_process_start_time_seconds", help, boot + stat.started_seconds)?;
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory being read.
        let open = open.count().saturating_sub(1);
        writer.level("mayfly_process_open_fds", "Open file descriptors", open as f64)?;
    }
    match getrlimit(Resource::Nofile).current {
        Some(most) => writer.level("mayfly_process_max_fds", "The most there may be", most as f64),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_linux_writes_it() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 9 0 4200 1048576 300 18446744073709551615";
        let stat = Stat { cpu_seconds: 4.0, threads: 9.0, started_seconds: 42.0, virtual_bytes: 1_048_576.0 };
        assert_eq!(parse_stat(text), Some(stat));
        assert_eq!(parse_stat("7 (a S 1"), None);
        assert_eq!(parse_kib("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS"), Some(12_288.0));
        assert_eq!(parse_kib("VmRSSX: 1 kB", "VmRSS"), None);
        assert_eq!(parse_boot("cpu 1\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }
}
