//! certbot: standalone for http-01, the manual plugin with hooks for dns-01.

use std::path::PathBuf;

use serde_json::Value;

use super::{Ask, Challenge, LIMIT, command, hook, installed};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;

/// certbot: standalone for http-01, the manual plugin with hooks for dns-01.
pub struct Certbot<'a> {
    server: &'a Server,
    program: PathBuf,
    dir: PathBuf,
    eab: Option<Value>,
}

impl<'a> Certbot<'a> {
    /// Debian's.
    pub fn debian(server: &'a Server) -> Self {
        Self { server, program: "/usr/bin/certbot".into(), dir: server.scratch("certbot-debian"), eab: None }
    }

    /// PyPI's, newer by years.
    pub fn pypi(server: &'a Server) -> Self {
        let dir = server.scratch("certbot-pypi");
        Self { server, program: installed("py/bin/certbot"), dir, eab: None }
    }

    /// With what `mayfly eab create --json` has said.
    pub fn with_eab(self, key: &Value) -> Self {
        Self { eab: Some(key.clone()), ..self }
    }

    fn run(&self, args: &[&str]) -> String {
        let mut command = command(self.server, &self.program, &self.dir);
        command.env("REQUESTS_CA_BUNDLE", self.server.root()).args(args);
        for (flag, dir) in [("--config-dir", "config"), ("--work-dir", "work"), ("--logs-dir", "logs")] {
            command.arg(flag).arg(self.dir.join(dir));
        }
        command.args(["--server", &self.server.directory(), "--non-interactive"]);
        must(&mut command, &self.dir.join("out"), LIMIT)
    }

    /// `certbot certonly`
    pub fn issue(&self, ask: Ask) -> Certificate {
        let (auth, cleanup) = (format!("{} certbot-auth", hook()), format!("{} certbot-cleanup", hook()));
        let port = self.server.http_port.to_string();
        let mut args = vec!["certonly", "--agree-tos", "--register-unsafely-without-email"];
        args.extend(["--cert-name", "test", "--key-type"]);
        args.push(match ask.key {
            KeyKind::Ecdsa => "ecdsa",
            KeyKind::Rsa => "rsa",
        });
        match ask.challenge {
            Challenge::Http => args.extend(["--standalone", "--http-01-port", &port]),
            Challenge::Dns => {
                args.extend(["--manual", "--preferred-challenges", "dns"]);
                args.extend(["--manual-auth-hook", &auth, "--manual-cleanup-hook", &cleanup]);
            }
            Challenge::TlsAlpn => panic!("certbot has no tls-alpn-01"),
        }
        for name in ask.names {
            let flag = if name.parse::<std::net::IpAddr>().is_ok() { "--ip-address" } else { "-d" };
            args.extend([flag, name]);
        }
        if let Some(key) = &self.eab {
            let of = |name: &str| key[name].as_str().unwrap();
            args.extend(["--eab-kid", of("kid"), "--eab-hmac-key", of("hmac_key")]);
        }
        self.run(&args);
        self.certificate()
    }

    fn certificate(&self) -> Certificate {
        let live = self.dir.join("config/live/test");
        Certificate::new(live.join("fullchain.pem"), live.join("privkey.pem"))
    }

    /// `certbot renew`, now.
    pub fn renew(&self) -> Certificate {
        self.run(&["renew", "--force-renewal", "--no-random-sleep-on-renew"]);
        self.certificate()
    }

    /// `certbot renew`, which does so only if it finds that the time has come.
    pub fn renew_if_due(&self) -> Certificate {
        self.run(&["renew", "--no-random-sleep-on-renew"]);
        self.certificate()
    }

    /// Revocation signed by the account.
    pub fn revoke(&self) {
        let chain = self.dir.join("config/live/test/cert.pem");
        self.run(&["revoke", "--no-delete-after-revoke", "--cert-path", chain.to_str().unwrap()]);
    }

    /// Revocation signed by the certificate's own key.
    pub fn revoke_by_key(&self, certificate: &Certificate) {
        let (chain, key) = (certificate.chain.to_str().unwrap(), certificate.key.to_str().unwrap());
        self.run(&["revoke", "--no-delete-after-revoke", "--cert-path", chain, "--key-path", key]);
    }
}
