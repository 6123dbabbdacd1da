//! Debian's lego, the one client with all three challenge types.

use std::path::PathBuf;

use serde_json::Value;

use super::{Ask, Challenge, LIMIT, command, hook};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;

/// Debian's lego, the one client with all three challenge types.
pub struct Lego<'a> {
    server: &'a Server,
    dir: PathBuf,
    eab: Option<Value>,
}

impl<'a> Lego<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, dir: server.scratch("lego"), eab: None }
    }

    /// With what `mayfly eab create --json` has said.
    pub fn with_eab(self, key: &Value) -> Self {
        Self { eab: Some(key.clone()), ..self }
    }

    fn run(&self, ask: Ask, action: &[&str]) {
        let server = self.server;
        let mut command = command(server, "lego", &self.dir);
        command
            .env("LEGO_CA_CERTIFICATES", server.root())
            .env("EXEC_PATH", hook())
            // Its pause between two names of one order is a minute by default.
            .env("EXEC_SEQUENCE_INTERVAL", "1")
            .env("EXEC_POLLING_INTERVAL", "1")
            .args(["--server", &server.directory(), "--accept-tos", "--email", "test@example.test"])
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
            Challenge::Dns => command
                .args(["--dns", "exec", "--dns.disable-cp", "--dns.resolvers"])
                .arg(format!("127.0.0.1:{}", server.dns.port)),
        };
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

    fn certificate(&self, ask: Ask) -> Certificate {
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
