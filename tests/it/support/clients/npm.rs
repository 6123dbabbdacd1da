//! npm's acme-client, driven by `tests/clients/npm/issue.js` as the programs that embed it do.

use super::{Ask, Challenge, LIMIT, client_file, command, installed};
use crate::support::openssl::Certificate;
use crate::support::process::must;
use crate::support::server::Server;
use crate::support::web::Web;

/// npm's acme-client.
pub struct NpmClient<'a> {
    pub server: &'a Server,
    pub web: &'a Web,
}

impl NpmClient<'_> {
    /// Account, order, certificate.
    pub fn issue(&self, ask: Ask) -> Certificate {
        self.run(ask, "keep")
    }

    /// The same, and then revocation.
    pub fn issue_and_revoke(&self, ask: Ask) -> Certificate {
        self.run(ask, "revoke")
    }

    fn run(&self, ask: Ask, then: &str) -> Certificate {
        let dir = self.server.scratch("npm");
        let kind = match ask.challenge {
            Challenge::Http => "http-01",
            Challenge::Dns => "dns-01",
            Challenge::TlsAlpn => panic!("acme-client's auto mode has no tls-alpn-01"),
        };
        let mut command = command(self.server, installed("node"), &dir);
        command
            .env("NODE_PATH", installed("npm/node_modules"))
            .env("NODE_EXTRA_CA_CERTS", self.server.root())
            .env("WEBROOT", self.web.webroot())
            .arg(client_file("npm/issue.js"))
            .args([&self.server.directory(), kind, dir.to_str().unwrap(), then])
            .args(ask.names);
        must(&mut command, &dir.join("out"), LIMIT);
        Certificate::new(dir.join("chain.pem"), dir.join("key.pem"))
    }
}
