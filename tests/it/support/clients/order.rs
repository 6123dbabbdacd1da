//! golang.org/x/crypto/acme, driven by `tests/clients/go/order` as the programs that embed it do.

use super::{Ask, Challenge, LIMIT, command, installed};
use crate::support::openssl::Certificate;
use crate::support::process::must;
use crate::support::server::Server;

/// Account, order, certificate, a second download and, if told so, revocation.
pub fn go_order(server: &Server, ask: Ask, revoke: bool) -> Certificate {
    let dir = server.scratch("order");
    let (kind, port) = match ask.challenge {
        Challenge::Http => ("http-01", server.http_port),
        Challenge::TlsAlpn => ("tls-alpn-01", server.tls_alpn_port),
        Challenge::Dns => panic!("the program has no dns-01"),
    };
    let mut command = command(server, installed("go/bin/order"), &dir);
    command
        .args(["-directory", &server.directory(), "-challenge", kind])
        .args(["-listen", &format!("127.0.0.1:{port}"), &format!("-revoke={revoke}")])
        .arg("-root")
        .arg(server.root())
        .arg("-out")
        .arg(&dir)
        .args(ask.names);
    must(&mut command, &dir.join("out"), LIMIT);
    Certificate::new(dir.join("chain.pem"), dir.join("key.pem"))
}
