//! BIND with a zone that takes signed updates (RFC 2136, TSIG), as on a company's network.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::clients::installed;
use super::ports;
use super::process::{Running, until_or_explain};

/// The running name server; it stops on drop.
pub struct Named {
    /// Of 127.0.0.1, UDP and TCP.
    pub port: u16,
    running: Running,
    _dir: tempfile::TempDir,
}

impl Named {
    /// The name of the key that updates are signed with.
    pub const KEY: &str = "mayfly";
    /// Its algorithm.
    pub const ALGORITHM: &str = "hmac-sha256";
    /// The key, Base64.
    pub const SECRET: &str = "bm90IGEgc2VjcmV0LCBidXQgMzIgYnl0ZXMgbG9uZyE=";

    /// Serves `test.`: 127.0.0.1 for every name under it, and TXT records from those who have the key.
    pub fn start() -> Self {
        let port = ports::free();
        let dir = tempfile::tempdir().unwrap();
        let (key, algorithm, secret, home) = (Self::KEY, Self::ALGORITHM, Self::SECRET, dir.path().display());
        let config = format!(
            r#"options {{
    directory "{home}"; managed-keys-directory "{home}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
key "{key}." {{ algorithm {algorithm}; secret "{secret}"; }};
zone "test." {{ type primary; file "test.zone"; update-policy {{ grant {key}. zonesub TXT; }}; }};
"#
        );
        let zone = "$TTL 0\n@ SOA ns admin 1 60 60 60 0\n@ NS ns\n* A 127.0.0.1\nns A 127.0.0.1\n\
                    wild A 127.0.0.1\n";
        fs::write(dir.path().join("named.conf"), config).unwrap();
        fs::write(dir.path().join("test.zone"), zone).unwrap();
        let mut command = Command::new(installed("debian/usr/sbin/named"));
        command.args(["-g", "-n", "1", "-c", "named.conf"]).current_dir(dir.path());
        let running = Running::start(&mut command, &dir.path().join("log"));
        until_or_explain(
            "the name server",
            Duration::from_secs(30),
            || TcpStream::connect(("127.0.0.1", port)).ok(),
            || running.output(),
        );
        Self { port, running, _dir: dir }
    }

    /// What it has logged, the updates among it.
    pub fn log(&self) -> String {
        self.running.output()
    }
}
