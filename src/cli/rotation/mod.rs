//! `mayfly rotation`: from one issuer to the next, step by step, each step one change of the configuration.
//!
//! What is done follows from the configuration in force, which the CA tells, and from the file. They must
//! be the same, or the file must be what this very step makes of the other: then an earlier attempt was cut
//! short between the two, and is finished.

mod advance;
mod ceremony;
mod error;
mod generation;
mod place;
mod retire;
mod start;
mod status;

use std::io::Write;

use super::CliError;
use super::running::Target;
use crate::daemon::dumps;
pub use error::RotationError;

const AFTER_HELP: &str = "\
Each step changes the mayfly.toml, and nothing in it but what it must, and puts it into force, all of it or \
nothing; `mayfly config history` shows them. A step that was cut short is finished by the same command.

  mayfly rotation start       the next issuer is made, checked, and put into the bundle; it signs nothing
  mayfly rotation status      and clients fetch the bundle ([authority] bundle_overlap)
  mayfly rotation advance     it signs; clients are called over ([authority] handover)
  mayfly rotation status      until no certificate of the one before is alive
  mayfly rotation retire      that one goes

Before `advance`, `abort` takes the next issuer out again. Commands go through the admin socket of the running \
CA, as the user it runs as or as root, on the machine that it runs on.";

/// Arguments of `mayfly rotation`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Say where each authority's rotation stands, and what comes next
    Status(status::Args),
    /// Make the next issuer, or take one that was made, and put it into the bundle
    Start(Box<start::Args>),
    /// Let the next issuer sign
    Advance(advance::Args),
    /// Take a former issuer out, once none of its certificates is alive
    Retire(retire::Args),
    /// Take the next issuer out again, which has signed nothing
    Abort(advance::AbortArgs),
}

/// Which CA, and which of its authorities.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// The authority; required of several
    #[arg(long, value_name = "NAME")]
    pub authority: Option<String>,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    // Private keys are about to be in memory.
    dumps::forbid().map_err(CliError::CoreDumps)?;
    match &args.command {
        Command::Status(args) => status::run(args, out),
        Command::Start(args) => start::run(args, out),
        Command::Advance(args) => advance::run(args, out),
        Command::Retire(args) => retire::run(args, out),
        Command::Abort(args) => advance::abort(args, out),
    }
}
