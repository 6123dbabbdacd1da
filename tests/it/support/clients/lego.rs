//! lego, Debian's and a newer release: the one client with all three challenge types.

use std::path::PathBuf;

use serde_json::Value;

use super::{Ask, Challenge, LIMIT, command, hook, installed};
use crate::support::named::Named;
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;

/// lego, the one client with all three challenge types.
pub struct Lego<'a> {
    server: &'a Server,
    program: PathBuf,
    dir: PathBuf,
    directory: String,
    eab: Option<Value>,
    named: Option<&'a Named>,
}

impl<'a> Lego<'a> {
    /// Debian's.
    pub fn new(server: &'a Server) -> Self {
        Self::of(server, "lego".into(), "lego")
    }

    /// A release newer by years, with renewal information (RFC 9773), profiles and IP addresses.
    pub fn released(server: &'a Server) -> Self {
        let program = installed("go/bin/lego");
        Self::of(server, program, "lego-released")
    }

    fn of(server: &'a Server, program: PathBuf, dir: &str) -> Self {
        Self {
            server,
            program,
            dir: server.scratch(dir),
            directory: server.directory(),
            eab: None,
            named: None,
        }
    }

    /// With an account at another provisioner.
    pub fn at(self, provisioner: &str) -> Self {
        let directory = self.server.directory_of(provisioner);
        Self { dir: self.server.scratch(&format!("lego-{provisioner}")), directory, ..self }
    }

    /// With dns-01 by signed updates (RFC 2136).
    pub fn with_updates(self, named: &'a Named) -> Self {
        Self { named: Some(named), ..self }
    }

    /// With what `mayfly eab create --json` has said.
    pub fn with_eab(self, key: &Value) -> Self {
        Self { eab: Some(key.clone()), ..self }
    }

    fn run(&self, ask: Ask, action: &[&str]) {
        let server = self.server;
        let mut command = command(server, &self.program, &self.dir);
        command
            .env("LEGO_CA_CERTIFICATES", server.root())
            .env("EXEC_PATH", hook())
            // Its pause between two names of one order is a minute by default.
            .env("EXEC_SEQUENCE_INTERVAL", "1")
            .env("EXEC_POLLING_INTERVAL", "1")
            .args(["--server", &self.directory, "--accept-tos", "--email", "test@example.test"])
            .args(["--key-type", if ask.key == KeyKind::Rsa { "rsa2048" } else { "ec256" }])
            .arg("--path")
            .arg(&self.dir);
        match ask.challenge {
            Challenge::Http => {
                command.args(["--http", "--http.port", &format!("127.0.0.1:{}", server.http_port)])
            }
            Challenge::TlsAlpn => {
                command.args(["--tls", "--tls.port", &format!("127.0.0.1:{}", server.tls_alpn_port)])
            }
            Challenge::Dns => {
                let (provider, port) =
                    self.named.map_or(("exec", server.dns.port), |named| ("rfc2136", named.port));
                command.args(["--dns", provider, "--dns.disable-cp", "--dns.resolvers"]);
                command.arg(format!("127.0.0.1:{port}"))
            }
        };
        if let Some(named) = self.named {
            command
                .env("RFC2136_NAMESERVER", format!("127.0.0.1:{}", named.port))
                .env("RFC2136_TSIG_ALGORITHM", format!("{}.", Named::ALGORITHM))
                .env("RFC2136_TSIG_KEY", format!("{}.", Named::KEY))
                .env("RFC2136_TSIG_SECRET", Named::SECRET)
                .env("RFC2136_POLLING_INTERVAL", "1")
                .env("RFC2136_SEQUENCE_INTERVAL", "1");
        }
        for name in ask.names {
            command.args(["--domains", name]);
        }
        if let Some(key) = &self.eab {
            let of = |name: &str| key[name].as_str().unwrap();
            command.args(["--eab", "--kid", of("kid"), "--hmac", of("hmac_key")]);
        }
        must(command.args(action), &self.dir.join("out"), LIMIT);
    }

    /// `lego run`
    pub fn issue(&self, ask: Ask) -> Certificate {
        self.run(ask, &["run"]);
        self.certificate(ask)
    }

    /// `lego run` for a profile.
    pub fn issue_for_profile(&self, ask: Ask, profile: &str) -> Certificate {
        self.run(ask, &["run", "--profile", profile]);
        self.certificate(ask)
    }

    /// `lego renew` as it will be by default: once half of a short life is over, or sooner if the
    /// renewal information says so.
    pub fn renew_if_due(&self, ask: Ask) -> Certificate {
        self.run(ask, &["renew", "--dynamic", "--no-random-sleep"]);
        self.certificate(ask)
    }

    /// What it has.
    pub fn certificate(&self, ask: Ask) -> Certificate {
        let file = ask.names[0].replace('*', "_");
        let dir = self.dir.join("certificates");
        Certificate::new(dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")))
    }

    /// `lego renew`: a day's certificate is always within the 30 days asked for.
    pub fn renew(&self, ask: Ask) -> Certificate {
        self.run(ask, &["renew", "--days", "30", "--no-random-sleep"]);
        self.certificate(ask)
    }

    /// `lego revoke`
    pub fn revoke(&self, ask: Ask) {
        self.run(ask, &["revoke", "--keep"]);
    }
}
