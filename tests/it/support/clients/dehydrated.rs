//! dehydrated: shell and curl.

use std::fs;
use std::path::PathBuf;

use super::{Ask, Challenge, LIMIT, command, hook};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;
use crate::support::web::Web;

/// dehydrated: shell and curl.
pub struct Dehydrated<'a> {
    server: &'a Server,
    dir: PathBuf,
}

impl<'a> Dehydrated<'a> {
    /// Registers an account.
    pub fn new(server: &'a Server, web: &'a Web) -> Self {
        let dir = server.scratch("dehydrated");
        let config = format!(
            "CA=\"{}\"\nBASEDIR=\"{}\"\nWELLKNOWN=\"{}\"\nHOOK=\"{}\"\nRENEW_DAYS=0\n",
            server.directory(),
            dir.display(),
            web.webroot().display(),
            hook()
        );
        fs::write(dir.join("config"), config).unwrap();
        let dehydrated = Self { server, dir };
        dehydrated.run(&["--register", "--accept-terms"]);
        dehydrated
    }

    fn run(&self, args: &[&str]) {
        let mut command = command(self.server, "dehydrated", &self.dir);
        command
            .env("CURL_CA_BUNDLE", self.server.root())
            .args(["--config"])
            .arg(self.dir.join("config"))
            .args(args);
        must(&mut command, &self.dir.join("out"), LIMIT);
    }

    /// `dehydrated --cron`, which renews too when told to with `--force`.
    pub fn issue(&self, ask: Ask) -> Certificate {
        let challenge = if ask.challenge == Challenge::Http { "http-01" } else { "dns-01" };
        let algorithm = if ask.key == KeyKind::Rsa { "rsa" } else { "prime256v1" };
        let names = ask.names.join(" ");
        self.run(&[
            "--cron",
            "--force",
            "--alias",
            "test",
            "--domain",
            &names,
            "--challenge",
            challenge,
            "--algo",
            algorithm,
        ]);
        let dir = self.dir.join("certs/test");
        Certificate::new(dir.join("fullchain.pem"), dir.join("privkey.pem"))
    }

    /// `dehydrated --revoke`
    pub fn revoke(&self) {
        let cert = self.dir.join("certs/test/cert.pem");
        // It renames what it has revoked, and a symbolic link would dangle.
        self.run(&["--revoke", fs::canonicalize(cert).unwrap().to_str().unwrap()]);
    }
}
