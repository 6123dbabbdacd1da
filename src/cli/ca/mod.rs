//! `mayfly ca`: roots, intermediates and cross certificates, made by hand and offline.
//!
//! What is signed in a directory is recorded in that directory's own `db/`, inventory and audit event
//! in one commit, before the certificate is written anywhere: an offline CA has no other place that
//! knows of it, and the directory is what gets locked away.

pub mod create_intermediate;
pub mod create_root;
pub mod cross_sign;
pub(super) mod describe;
mod error;
pub mod import_intermediate;
pub mod inspect;
pub(super) mod limits;
pub mod sign_intermediate;
pub(super) mod site;
#[cfg(test)]
mod tests;

use std::io::Write;

use clap::Subcommand;

use super::CliError;
use crate::daemon::dumps;
pub use error::CaError;

const AFTER_HELP: &str = "\
An offline root, and an intermediate on the machine that serves:
  offline$ mayfly ca create-root --dir root --name 'Example Root CA' --password-file root.password
  server$  mayfly ca create-intermediate --dir ca --name 'Example Issuing CA'
  offline$ mayfly ca sign-intermediate --dir root --password-file root.password \\
             --csr intermediate_ca.csr --permit-dns example.internal --out intermediate_ca.crt
  server$  mayfly ca import-intermediate --dir ca --certificate intermediate_ca.crt --root root_ca.crt

Any other CA can stand in the root's place: the request is PKCS#10, the certificate PEM.

A key may stay in an HSM, a TPM or a KMS: make it by `mayfly key generate` or there, and name it with
--key URI whenever it is to sign. A certificate and a key that do not belong together sign nothing.";

/// Arguments of `mayfly ca`.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a root in a directory of its own, to be kept offline
    CreateRoot(create_root::Args),
    /// Make an intermediate's key, and a request for its certificate or the certificate itself
    CreateIntermediate(create_intermediate::Args),
    /// Sign an intermediate's request with a root (or an intermediate) kept here
    SignIntermediate(sign_intermediate::Args),
    /// Put a signed certificate beside the key that its request was made with
    ImportIntermediate(import_intermediate::Args),
    /// Sign another root's, or intermediate's, key and name with a root kept here
    CrossSign(cross_sign::Args),
    /// Say what a certificate or a request holds
    Inspect(inspect::Args),
}

/// Runs one of them.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    dumps::forbid().map_err(CliError::CoreDumps)?;
    match &args.command {
        Command::CreateRoot(args) => create_root::run(args, out),
        Command::CreateIntermediate(args) => create_intermediate::run(args, out),
        Command::SignIntermediate(args) => sign_intermediate::run(args, out),
        Command::ImportIntermediate(args) => import_intermediate::run(args, out),
        Command::CrossSign(args) => cross_sign::run(args, out),
        Command::Inspect(args) => inspect::run(args, out),
    }
}
