//! `mayfly rotation advance` and `abort`

use std::io::Write;

use super::generation;
use super::place::Place;
use super::{RotationError, Which};
use crate::audit::configuration::RotationStep;
use crate::cli::CliError;
use crate::cli::configuration::report;
use crate::config::edit::{Change, EditError};

const AFTER_HELP: &str = "\
The issuer that signed until now becomes a former one: its chain is served on with the certificates it has \
signed. Renewal information (RFC 9773) calls clients over evenly, within [authority] handover.

Which clients have fetched the bundle is not known to the CA. With --now, those that have not may refuse what \
the next issuer signs, unless it is cross-signed or under the same root.";

/// Arguments of `mayfly rotation advance`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Before the overlap has passed
    #[arg(long)]
    pub now: bool,
    /// Which
    #[command(flatten)]
    pub which: Which,
}

/// Arguments of `mayfly rotation abort`.
#[derive(Clone, Debug, clap::Args)]
pub struct AbortArgs {
    /// Although it has signed certificates that are alive, under a configuration that was taken back
    #[arg(long)]
    pub force: bool,
    /// Which
    #[command(flatten)]
    pub which: Which,
}

/// Lets the next issuer sign.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let (place, _alone) = Place::take_place(&args.which)?;
    generation::tidy(&place)?;
    let applied = place.take(&Change::Advance, (RotationStep::Advance, None, args.now))?;
    report(&applied, false, out)?;
    let handover = crate::config::units::format_duration(place.authority.handover);
    writeln!(
        out,
        "The next issuer signs. Clients with certificates of the one before are called over within {handover}.\n\n\
         Next: `mayfly rotation status` until that one has no live certificate, then `mayfly rotation retire`."
    )?;
    Ok(())
}

/// Takes the next issuer out again.
pub fn abort(args: &AbortArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let (place, _alone) = Place::take_place(&args.which)?;
    let Some(next) = &place.authority.next else {
        return undo(&place, out);
    };
    let change = Change::Abort(generation::left_by_next(&place, next)?);
    let applied = place.take(&change, (RotationStep::Abort, None, args.force))?;
    report(&applied, false, out)?;
    writeln!(
        out,
        "The next issuer is out of the bundle; {} Its files are left where they are.",
        if args.force {
            "whatever it has signed cannot be fetched any more."
        } else {
            "it has signed nothing."
        }
    )?;
    Ok(())
}

/// There is none in force; there may be one in the file, of a start that was cut short.
fn undo(place: &Place, out: &mut dyn Write) -> Result<(), CliError> {
    if !generation::undo(place)? {
        return Err(RotationError::from(EditError::NoNext).into());
    }
    writeln!(out, "A start that was cut short is undone; the files that it made are left where they are.")?;
    Ok(())
}
