//! The command line: one file per command.

pub mod acme;
pub mod audit;
pub mod bench;
pub mod ca;
pub mod certs;
pub mod check_config;
pub mod configuration;
pub mod dev;
pub mod eab;
mod error;
pub mod fleet;
mod founding;
pub mod init;
pub mod key;
pub mod keys;
pub mod notify;
pub mod policy;
pub mod profile;
mod replace;
pub mod rotation;
mod running;
pub mod serve;
mod template;
pub mod version;

use std::io::Write;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

pub use error::CliError;

const AFTER_HELP: &str = "\
Examples:
  mayfly dev                                     try it: a CA at https://localhost:9443
  mayfly init --dir /etc/mayfly --name 'Team CA' --dns ca.example.internal
  mayfly check-config /etc/mayfly/mayfly.toml
  mayfly serve --config /etc/mayfly/mayfly.toml
  mayfly eab create --config /etc/mayfly/mayfly.toml --provisioner acme

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// A private certificate authority for certificates that live a day.
///
/// Mayfly speaks ACME (RFC 8555), so certbot, Caddy, Traefik, lego and the like get their
/// certificates from it as they are.
#[derive(Debug, Parser)]
#[command(name = "mayfly", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try it: create a CA in a directory if there is none, and serve it on this machine
    Dev(dev::Args),
    /// Create a CA: keys, certificates and a mayfly.toml to edit
    Init(init::Args),
    /// Serve a CA until SIGTERM; SIGHUP reloads
    Serve(serve::Args),
    /// Check a mayfly.toml and report every error in it
    CheckConfig(check_config::Args),
    /// About the ACME server: which standards it follows
    Acme(acme::Args),
    /// Keys for external account binding: who may register at a running CA
    Eab(eab::Args),
    /// Blocked keys: which ones a running CA refuses to certify, and accounts to use
    Keys(keys::Args),
    /// The inventory of a running CA: every certificate and what is known of it
    Certs(certs::Args),
    /// Rotation health of a running CA: who renews as they should, who is late, and why
    Fleet(fleet::Args),
    /// The audit log of a running CA: what has happened, and which operator did it
    Audit(audit::Args),
    /// Measure an ACME server under load, this machine's cryptography, or the store
    Bench(bench::Args),
    /// Keys for issuers, in files and in tokens (PKCS#11)
    Key(key::Args),
    /// Print the version and what is built in
    Version,
    /// Roots, intermediates and cross certificates, made offline
    Ca(Box<ca::Args>),
    /// Policies: check one, try it on a request or on the past, import another system's
    Policy(policy::Args),
    /// Profiles: what one comes to
    Profile(profile::Args),
    /// The configuration of a running CA: its history, what changed, apply, rollback
    Config(configuration::Args),
    /// From one issuer to the next, step by step, at a running CA
    Rotation(rotation::Args),
    /// Receivers of notices at a running CA: how they stand, and a test
    Notify(notify::Args),
}

/// What a usage error quotes may be the URI of a key with its PIN, which is refused and not to be shown.
pub fn conceal(error: &mut clap::Error) {
    let conceals = |(kind, value): (ContextKind, &ContextValue)| match value {
        ContextValue::String(text) => {
            let (shown, _) = text.split_once("pin-value=")?;
            Some((kind, format!("{shown}pin-value=…")))
        }
        _ => None,
    };
    let concealed: Vec<_> = error.context().filter_map(conceals).collect();
    for (kind, text) in concealed {
        error.insert(kind, ContextValue::String(text));
    }
}

/// Runs a command. What it has to say goes to `out`; what goes wrong is returned.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<(), CliError> {
    match cli.command {
        Command::Dev(args) => dev::run(&args, out),
        Command::Init(args) => init::run(&args, out),
        Command::Serve(args) => serve::run(&args),
        Command::CheckConfig(args) => check_config::run(&args, out),
        Command::Acme(args) => acme::run(&args, out),
        Command::Eab(args) => eab::run(&args, out),
        Command::Keys(args) => keys::run(&args, out),
        Command::Certs(args) => certs::run(&args, out),
        Command::Fleet(args) => fleet::run(&args, out),
        Command::Audit(args) => audit::run(&args, out),
        Command::Bench(args) => bench::run(&args, out),
        Command::Key(args) => key::run(&args, out),
        Command::Version => version::run(out),
        Command::Ca(args) => ca::run(&args, out),
        Command::Policy(args) => policy::run(&args, out),
        Command::Profile(args) => profile::run(&args, out),
        Command::Config(args) => configuration::run(&args, out),
        Command::Rotation(args) => rotation::run(&args, out),
        Command::Notify(args) => notify::run(&args, out),
    }
}

#[cfg(test)]
mod tests;
