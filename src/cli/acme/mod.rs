//! `mayfly acme`: about the ACME server.

pub mod conformance;

use std::io::Write;

use super::CliError;

/// Arguments of `mayfly acme`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print which standards the ACME server follows, and where it departs from them
    Conformance(conformance::Args),
}

/// Runs the command.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::Conformance(args) => conformance::run(args, out),
    }
}
