//! `mayfly fleet`

mod campaign;
mod drill;
mod error;
mod renew;
mod retire;
mod show;
mod status;

use std::io::Write;

use super::CliError;
pub use drill::Drill;
pub use error::FleetError;
pub use renew::Renew;
pub use retire::Retire;
pub(super) use retire::retire;
pub use show::{List, Show};
pub use status::Status;

const AFTER_HELP: &str = "\
The CA sees every renewal, so it knows who should have renewed and has not, long before anything expires. An \
identity is a set of names: whoever gets a certificate for exactly these names renews it.

  healthy  its certificate is fresh
  due      it is about to renew, by its habit or by what renewal information (ARI) told it
  overdue  it should have renewed, and has not
  expired  its certificate has expired; it is forgotten 7 days later
  retired  it is not expected to renew: `mayfly certs retire`, a revocation, or a cancelled automatic renewal

Commands go through the admin socket of the running CA, as the user it runs as or as root.

Examples:
  mayfly fleet --config /etc/mayfly/mayfly.toml
  mayfly fleet list --state overdue
  mayfly fleet show db1.example.internal
  mayfly certs retire db1.example.internal
  mayfly fleet renew --suffix web.example.internal --over 2h --reason 'new root' --dry-run
  mayfly fleet drill --suffix web.example.internal --over 30m";

/// Arguments of `mayfly fleet`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command: status
    #[command(flatten)]
    pub status: Status,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Say how many renew as they should, who is late, and what would expire when; the default
    Status(Status),
    /// List identities in a state, what expires first in front
    List(List),
    /// Show one identity whole
    Show(Show),
    /// Call certificates over before their time, evenly, by renewal information (ARI)
    Renew(Box<Renew>),
    /// See who reacts to that, and who ignores it
    Drill(Box<Drill>),
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        None => status::run(&args.status, out),
        Some(Command::Status(args)) => status::run(args, out),
        Some(Command::List(args)) => show::list(args, out),
        Some(Command::Show(args)) => show::show(args, out),
        Some(Command::Renew(args)) => renew::run(args, out),
        Some(Command::Drill(args)) => drill::run(args, out),
    }
}

/// A span, in the two units that say enough: `7 h 12 m`.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} m"),
        (0, hours, minutes) => format!("{hours} h {minutes:02} m"),
        (days, hours, _) => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, want) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 m"),
            (3599, "59 m"),
            (7 * 3600 + 12 * 60 + 30, "7 h 12 m"),
            (9 * 3600 + 180, "9 h 03 m"),
            (86_400, "1 d 00 h"),
            (90 * 86_400 + 7200, "90 d 02 h"),
        ] {
            assert_eq!(span(seconds), want);
        }
    }
}
