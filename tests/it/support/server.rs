//! The server under test, as a process with a directory, ports and a DNS server of its own.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dns::Dns;
use super::https::Https;
use super::ports;
use super::process::{self, Running, until};

/// Time enough on a busy machine; nothing waits for it when all is well.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The binary under test: `MAYFLY_BIN` (the release build, from `tests/run`) or Cargo's own build.
pub fn binary() -> PathBuf {
    env::var_os("MAYFLY_BIN").map_or_else(|| env!("CARGO_BIN_EXE_mayfly").into(), PathBuf::from)
}

/// A server; `stop` expects it to end well, drop kills it.
pub struct Server {
    pub port: u16,
    /// Where http-01 and tls-alpn-01 validation connects.
    pub http_port: u16,
    pub tls_alpn_port: u16,
    pub dns: Dns,
    home: tempfile::TempDir,
    variables: Vec<(String, String)>,
    running: Option<Running>,
}

impl Server {
    /// A fresh CA, serving, that validates afresh for every order.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// A fresh CA whose `mayfly.toml` is edited before it serves.
    pub fn start_with(edit: impl FnOnce(&mut toml::Table)) -> Self {
        let mut server = Self::init(edit);
        server.serve();
        server
    }

    /// A fresh CA that does not serve.
    pub fn init_only(edit: impl FnOnce(&mut toml::Table)) -> Self {
        Self::init(edit)
    }

    fn init(edit: impl FnOnce(&mut toml::Table)) -> Self {
        Self::init_with(&[], &[], edit)
    }

    /// A fresh CA that does not serve, made with more arguments of `mayfly init`, by processes that have
    /// these environment variables.
    pub fn init_with(
        arguments: &[&str],
        variables: &[(&str, &str)],
        edit: impl FnOnce(&mut toml::Table),
    ) -> Self {
        let server = Self {
            port: ports::free(),
            http_port: ports::free(),
            tls_alpn_port: ports::free(),
            dns: Dns::start(),
            home: tempfile::tempdir().unwrap(),
            variables: variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            running: None,
        };
        let address = format!("127.0.0.1:{}", server.port);
        let mut command = Command::new(binary());
        command.envs(variables.iter().copied());
        process::output(command.arg("init").args(arguments).arg("--dir").arg(server.dir()).args([
            "--name",
            "Mayfly Test",
            "--dns",
            "localhost",
            "--address",
            &address,
            "--acme",
            "acme",
        ]));
        let mut config: toml::Table = fs::read_to_string(server.config()).unwrap().parse().unwrap();
        server.point_at_loopback(&mut config);
        edit(&mut config);
        fs::write(server.config(), toml::to_string(&config).unwrap()).unwrap();
        server
    }

    /// Validation of the tests' names ends at the tests' own responders.
    fn point_at_loopback(&self, config: &mut toml::Table) {
        let validation = section(config, "validation");
        validation.insert("resolvers".into(), vec![format!("127.0.0.1:{}", self.dns.port)].into());
        validation.insert("http_port".into(), i64::from(self.http_port).into());
        validation.insert("tls_alpn_port".into(), i64::from(self.tls_alpn_port).into());
        validation.insert("allow".into(), vec!["127.0.0.0/8", "::1/128"].into());
        // Many tests' clients are one network here, and run at full speed; the tests of limits lift this.
        section(config, "limits").insert("exempt".into(), vec!["127.0.0.0/8", "::1/128"].into());
        // No reuse: each client's challenge is to be seen at work.
        provisioner(config).insert("authorization_ttl".into(), "0s".into());
    }

    /// Starts the process on the directory as it is and waits until it says it is ready.
    pub fn serve(&mut self) {
        self.serve_with(Command::new(binary()));
    }

    /// A fresh CA, serving with at most so many open files.
    pub fn start_with_files(limit: u32) -> Self {
        let mut server = Self::init(|_| {});
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={limit}:{limit}")).arg(binary());
        server.serve_with(command);
        server
    }

    /// As [`Server::serve`], as another user if that is not this process's: everything is given to it.
    pub fn serve_as(&mut self, user: u32) {
        if fs::metadata("/proc/self").unwrap().uid() == user {
            return self.serve();
        }
        process::output(Command::new("chown").arg("-R").arg(format!("{user}:{user}")).arg(self.home.path()));
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"))
            .arg("--clear-groups")
            .arg(binary());
        self.serve_with(command);
    }

    fn serve_with(&mut self, mut command: Command) {
        command.arg("serve").arg("--config").arg(self.config()).current_dir(self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let mut running = Running::start(&mut command, &self.home.path().join("server.log"));
        until("the server's readiness", START, || {
            if let Some(status) = running.ended() {
                panic!("the server ended, {status}:\n{}", running.output());
            }
            let reply = self.https().get("/readyz").ok()?;
            (reply.status == 200).then_some(())
        });
        self.running = Some(running);
    }

    /// SIGTERM; the server drains and exits with code 0.
    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("a running server");
        running.signal("TERM");
        let status = running.wait(STOP);
        assert!(status.success(), "after SIGTERM: {status}\n{}", running.output());
    }

    /// SIGHUP, then waits until the log tells of what it did.
    pub fn reload(&self, told: &str) {
        let before = self.log().matches(told).count();
        self.running.as_ref().expect("a running server").signal("HUP");
        until("the reload", STOP, || (self.log().matches(told).count() > before).then_some(()));
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.running.take().expect("a running server").kill();
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("server.log")).unwrap_or_default()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("a running server").pid()
    }

    /// The orders for which the log tells of a certificate, each as often as it does.
    pub fn issued_orders(&self) -> Vec<String> {
        self.log()
            .lines()
            .filter(|line| line.contains("certificate issued"))
            .filter_map(|line| Some(line.split(" order=").nth(1)?.split(' ').next()?.to_owned()))
            .collect()
    }

    /// The CA's directory, as `mayfly init` laid it out.
    pub fn dir(&self) -> PathBuf {
        self.home.path().join("ca")
    }

    pub fn config(&self) -> PathBuf {
        self.dir().join("mayfly.toml")
    }

    pub fn root(&self) -> PathBuf {
        self.dir().join("certs/root_ca.crt")
    }

    pub fn intermediate(&self) -> PathBuf {
        self.dir().join("certs/intermediate_ca.crt")
    }

    /// A directory for a client of this server, made on first use.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let dir = self.home.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The ACME directory's URL.
    pub fn directory(&self) -> String {
        self.directory_of("acme")
    }

    /// The same of another provisioner.
    pub fn directory_of(&self, provisioner: &str) -> String {
        self.url(&format!("/acme/{provisioner}/directory"))
    }

    /// `mayfly eab create --json`, at the running server.
    pub fn eab_key(&self, flags: &[&str]) -> serde_json::Value {
        self.eab_key_at("acme", flags)
    }

    /// As [`Server::eab_key`], for another provisioner.
    pub fn eab_key_at(&self, provisioner: &str, flags: &[&str]) -> serde_json::Value {
        let mut command = Command::new(binary());
        command.args(["eab", "create", "--provisioner", provisioner, "--json", "--config"]);
        serde_json::from_str(&process::output(command.arg(self.config()).args(flags))).unwrap()
    }

    pub fn https(&self) -> Https {
        self.https_trusting(&self.root())
    }

    /// As [`Server::https`], for one that knows other roots.
    pub fn https_trusting(&self, roots: &Path) -> Https {
        Https::new(self.port, roots)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The log of a failed test is worth more than the process's.
        if std::thread::panicking() {
            eprintln!("--- server log\n{}--- end", tail(&self.log(), 12_000));
        }
    }
}

fn tail(text: &str, max: usize) -> &str {
    let from = text.len().saturating_sub(max);
    text.get((from..text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(0)..).unwrap_or(text)
}

/// A section of the configuration, made if missing.
pub fn section<'a>(config: &'a mut toml::Table, name: &str) -> &'a mut toml::Table {
    config.entry(name).or_insert_with(|| toml::Table::new().into()).as_table_mut().unwrap()
}

/// The only provisioner that `init` has written.
pub fn provisioner(config: &mut toml::Table) -> &mut toml::Table {
    config["provisioner"].as_array_mut().unwrap()[0].as_table_mut().unwrap()
}

/// The path of a file beside this one.
pub fn support_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support").join(name)
}
