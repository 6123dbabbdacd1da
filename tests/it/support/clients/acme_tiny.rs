//! acme-tiny: 200 lines of Python, an RSA account key, http-01 by files.

use std::fs;
use std::process::Command;

use super::{LIMIT, command};
use crate::support::openssl::{Certificate, request};
use crate::support::process::{self, must};
use crate::support::server::Server;
use crate::support::web::Web;

/// acme-tiny: 200 lines of Python, an RSA account key, http-01 by files.
pub fn acme_tiny(server: &Server, web: &Web, names: &[&str]) -> Certificate {
    let dir = server.scratch("acme-tiny");
    let account = dir.join("account.key");
    process::output(
        Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&account).arg("2048"),
    );
    let (key, csr) = request(&dir, names);
    let mut command = command(server, "acme-tiny", &dir);
    command
        .env("SSL_CERT_FILE", server.root())
        // Its own check would ask the system's resolver, which does not know `.test`.
        .args(["--quiet", "--disable-check", "--directory-url", &server.directory(), "--account-key"])
        .arg(account)
        .arg("--csr")
        .arg(csr)
        .arg("--acme-dir")
        .arg(web.webroot());
    let chain = dir.join("chain.pem");
    fs::write(&chain, must(&mut command, &dir.join("out"), LIMIT)).unwrap();
    Certificate::new(chain, key)
}
