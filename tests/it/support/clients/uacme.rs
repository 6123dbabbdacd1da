//! uacme, whose hook does everything.

use std::path::PathBuf;

use super::{Ask, Challenge, LIMIT, command, hook};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;
use crate::support::web::Web;

/// uacme, whose hook does everything.
pub struct Uacme<'a> {
    server: &'a Server,
    web: &'a Web,
    dir: PathBuf,
}

impl<'a> Uacme<'a> {
    /// Registers an account.
    pub fn new(server: &'a Server, web: &'a Web) -> Self {
        let uacme = Self { server, web, dir: server.scratch("uacme") };
        uacme.run(Challenge::Http, &["--yes", "new"]);
        uacme
    }

    fn run(&self, challenge: Challenge, args: &[&str]) {
        // uacme trusts the system's bundle and has no option for another: it gets a mount namespace
        // of its own in which that bundle is ours.
        const TRUST: &str = r#"mount --bind "$0" /etc/ssl/certs/ca-certificates.crt && exec uacme "$@""#;
        let mut command = command(self.server, "unshare", &self.dir);
        command
            .env("WEBROOT", self.web.webroot())
            .env("UACME_CHALLENGE", if challenge == Challenge::Http { "http-01" } else { "dns-01" })
            .args(["--map-root-user", "--mount", "sh", "-c", TRUST])
            .arg(self.server.root())
            .args(["--verbose", "--no-ocsp", "--confdir"])
            .arg(self.dir.join("conf"))
            .args(["--acme-url", &self.server.directory(), "--hook", &hook()])
            .args(args);
        must(&mut command, &self.dir.join("out"), LIMIT);
    }

    /// `uacme issue`
    pub fn issue(&self, ask: Ask) -> Certificate {
        let kind = if ask.key == KeyKind::Rsa { "RSA" } else { "EC" };
        let mut args = vec!["--force", "--type", kind, "issue"];
        args.extend(ask.names);
        self.run(ask.challenge, &args);
        let conf = self.dir.join("conf");
        let name = ask.names[0].trim_start_matches("*.");
        Certificate::new(conf.join(name).join("cert.pem"), conf.join("private").join(name).join("key.pem"))
    }

    /// `uacme revoke`
    pub fn revoke(&self, certificate: &Certificate) {
        self.run(Challenge::Http, &["revoke", certificate.chain.to_str().unwrap()]);
    }
}
