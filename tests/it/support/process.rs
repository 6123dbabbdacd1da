//! Child processes that cannot outlive the test.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Polls `probe` until it gives a value; panics with `what` when `limit` has passed.
pub fn until<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    until_or_explain(what, limit, probe, String::new)
}

/// The same, with more to say when it fails: a log, as a rule.
pub fn until_or_explain<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Option<T>,
    explain: impl Fn() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}\n{}", explain());
        thread::sleep(Duration::from_millis(20));
    }
}

/// A started child in a process group of its own, with both its outputs in one file; killed, with
/// all it started, on drop.
pub struct Running {
    child: Child,
    log: PathBuf,
    reaped: bool,
}

impl Running {
    /// Starts `command`, its output appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let out = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {:?}: {e}", command.get_program()));
        Self { child, log: log.to_owned(), reaped: false }
    }

    /// What the child has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The child's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the child has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        self.reaped |= status.is_some();
        status
    }

    /// Sends a signal to the child itself.
    pub fn signal(&self, name: &str) {
        kill(name, &self.child.id().to_string());
    }

    /// Waits for the end; past `limit` the child is killed and the test fails.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            if start.elapsed() > limit {
                self.kill();
                panic!("not ended after {limit:?}; its output:\n{}", self.output());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// kill -9, of the whole group, reaped.
    pub fn kill(&mut self) {
        if !self.reaped {
            kill("KILL", &format!("-{}", self.child.id()));
            self.child.wait().unwrap();
            self.reaped = true;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The shell's own `kill`: signalling from Rust would need `unsafe`, which this crate forbids.
fn kill(signal: &str, target: &str) {
    let _ = Command::new("sh")
        .args(["-c", r#"kill -s "$0" -- "$1""#, signal, target])
        .stderr(Stdio::null())
        .status();
}

/// A finished run.
pub struct Finished {
    pub status: ExitStatus,
    pub output: String,
}

/// Runs to the end, whatever the exit code.
pub fn run(command: &mut Command, log: &Path, limit: Duration) -> Finished {
    // Each run reports its own output only.
    let _ = fs::remove_file(log);
    let mut child = Running::start(command, log);
    let status = child.wait(limit);
    Finished { status, output: child.output() }
}

/// Runs to the end and expects success.
pub fn must(command: &mut Command, log: &Path, limit: Duration) -> String {
    let done = run(command, log, limit);
    assert!(done.status.success(), "{command:?}\n{}\n{}", done.status, done.output);
    done.output
}

/// Short helper commands: output on success, panic otherwise.
pub fn output(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
