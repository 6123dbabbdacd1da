//! The real clients, unmodified, each with its files in the server's scratch directory.
//!
//! `tests/run` installs them; a missing one fails its tests. Most are Debian's, on the path; those of
//! PyPI, npm and the Go module proxy, and Debian's Caddy without its service, are in `target/clients`.

mod acme_tiny;
mod apache;
mod caddy;
mod certbot;
mod dehydrated;
mod lego;
mod npm;
mod order;
mod step;
mod uacme;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use acme_tiny::acme_tiny;
pub use apache::Apache;
pub use caddy::Caddy;
pub use certbot::Certbot;
pub use dehydrated::Dehydrated;
pub use lego::Lego;
pub use npm::NpmClient;
pub use order::go_order;
pub use step::Step;
pub use uacme::Uacme;

use super::openssl::KeyKind;
use super::server::{Server, support_file};

/// Generous, since all clients run side by side on few cores.
const LIMIT: Duration = Duration::from_secs(120);

/// How control of a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    Http,
    Dns,
    TlsAlpn,
}

/// What a client is told to get.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub names: &'a [&'a str],
    pub challenge: Challenge,
    pub key: KeyKind,
}

impl<'a> Ask<'a> {
    pub fn new(names: &'a [&'a str], challenge: Challenge, key: KeyKind) -> Self {
        Self { names, challenge, key }
    }
}

/// A program that `tests/run` keeps apart from the system's.
pub fn installed(path: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(path);
    assert!(program.exists(), "{} is missing: run tests/run", program.display());
    program
}

/// A file of `tests/clients`.
fn client_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(path)
}

/// A command with nothing of the caller's settings that could reach the client.
fn command(server: &Server, program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home)
        .env("TXT_DIR", server.dns.txt_dir())
        .current_dir(home);
    command
}

fn hook() -> String {
    support_file("hook.sh").to_str().unwrap().to_owned()
}

/// Whether the name is served, where tls-alpn-01 would look, over a connection that verifies.
fn serves(server: &Server, name: &str) -> bool {
    let port = server.tls_alpn_port;
    Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--noproxy", "*", "--max-time", "5", "--cacert"])
        .arg(server.root())
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .arg(format!("https://{name}:{port}/"))
        .status()
        .unwrap()
        .success()
}
