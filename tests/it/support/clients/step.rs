//! smallstep's `step`, the client of the CA that many come from.

use std::path::PathBuf;

use super::{Ask, Challenge, LIMIT, command, installed};
use crate::support::openssl::{Certificate, KeyKind};
use crate::support::process::must;
use crate::support::server::Server;

/// smallstep's `step`, in its standalone mode.
pub struct Step<'a> {
    server: &'a Server,
    dir: PathBuf,
}

impl<'a> Step<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, dir: server.scratch("step") }
    }

    /// `step ca certificate --acme`, with these flags besides.
    pub fn issue(&self, ask: Ask, flags: &[&str]) -> Certificate {
        assert_eq!(ask.challenge, Challenge::Http, "step has http-01 only");
        let certificate = Certificate::new(self.dir.join("one.crt"), self.dir.join("one.key"));
        let mut command = command(self.server, installed("go/bin/step"), &self.dir);
        command.args(["ca", "certificate", ask.names[0]]).arg(&certificate.chain).arg(&certificate.key);
        command.args(["--acme", &self.server.directory(), "--root"]).arg(self.server.root());
        command.args(["--http-listen", &format!("127.0.0.1:{}", self.server.http_port), "--force"]);
        command.args(["--kty", if ask.key == KeyKind::Rsa { "RSA" } else { "EC" }]).args(flags);
        for name in ask.names {
            command.args(["--san", name]);
        }
        must(&mut command, &self.dir.join("out"), LIMIT);
        certificate
    }
}
