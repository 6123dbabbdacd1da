//! `mayfly notify`

use std::io::Write;

use hyper::Method;

use super::CliError;
use super::running::{Target, json};
use crate::wire::admin::{ReceiverTests, Receivers};

const AFTER_HELP: &str = "\
The receivers of [[notify]] are told of identities that fail to renew, are late or have expired, and \
when that is over. `test` has the running CA send each of them a test, by the configuration that is in \
force, and fails unless all have acknowledged it.

Examples:
  mayfly notify test --config /etc/mayfly/mayfly.toml
  mayfly notify status --json";

/// Arguments of `mayfly notify`.
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
    /// Send each receiver a test
    Test(Common),
    /// How each receiver stands: what goes on, what it has not acknowledged, and why
    Status(Common),
}

/// What both take.
#[derive(Clone, Debug, clap::Args)]
pub struct Common {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::Test(args) => test(args, out),
        Command::Status(args) => status(args, out),
    }
}

fn none(out: &mut dyn Write) -> Result<(), CliError> {
    Ok(writeln!(out, "There are no receivers; add [[notify]] to the configuration and apply it.")?)
}

fn test(args: &Common, out: &mut dyn Write) -> Result<(), CliError> {
    let tested: ReceiverTests = args.target.call(Method::POST, "/v1/receivers/test", None::<&()>)?;
    if args.json {
        json(out, &tested)?;
    } else if tested.tests.is_empty() {
        none(out)?;
    } else {
        for one in &tested.tests {
            let said = one.failure.as_deref().unwrap_or("acknowledged");
            writeln!(out, "{:<16} {:<12} {}: {said}", one.name, one.kind, one.origin)?;
        }
    }
    match tested.tests.iter().filter(|one| !one.delivered).count() {
        0 => Ok(()),
        failed => Err(CliError::NotDelivered { failed, of: tested.tests.len() }),
    }
}

fn status(args: &Common, out: &mut dyn Write) -> Result<(), CliError> {
    let found: Receivers = args.target.call(Method::GET, "/v1/receivers", None::<&()>)?;
    if args.json {
        return json(out, &found);
    }
    if found.receivers.is_empty() {
        return none(out);
    }
    writeln!(
        out,
        "{:<16} {:<12} {:>6} {:>10} {:>7}  {:<20}  ORIGIN",
        "NAME", "TYPE", "ALERTS", "IDENTITIES", "PENDING", "DELIVERED"
    )?;
    for one in &found.receivers {
        let delivered = one.delivered_at.as_deref().unwrap_or("-");
        writeln!(
            out,
            "{:<16} {:<12} {:>6} {:>10} {:>7}  {delivered:<20}  {}",
            one.name, one.kind, one.alerts, one.identities, one.pending, one.origin
        )?;
        if let (Some(at), Some(why)) = (&one.failed_at, &one.failure) {
            writeln!(out, "  failed at {at}: {why}")?;
        }
    }
    Ok(())
}
