//! `mayfly rotation retire`

use std::io::Write;

use super::generation::{left_by_former, tidy};
use super::place::Place;
use super::{RotationError, Which};
use crate::audit::configuration::RotationStep;
use crate::authority::authorities::OtherIssuer;
use crate::cli::CliError;
use crate::cli::ca::site;
use crate::cli::configuration::report;
use crate::config::edit::Change;
use crate::wire::admin as wire;
use crate::x509::hex;

/// Certificates that are named where some are alive.
const SAMPLE: usize = 5;

const AFTER_HELP: &str = "\
A former issuer goes once none of its certificates is alive, neither expired nor revoked. Its root goes with it \
if no other issuer needs that. With --force it goes all the same, and what breaks is printed: its certificates \
cannot be fetched from the CA any more, and who has fetched the bundle does not believe them if their root is \
not in it. While certificates are being counted, nothing is forced.";

/// Arguments of `mayfly rotation retire`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The former issuer's key identifier, as `mayfly rotation status` shows it; required of several
    #[arg(long, value_name = "KEYID")]
    pub issuer: Option<String>,
    /// Although certificates of it are alive
    #[arg(long)]
    pub force: bool,
    /// Which
    #[command(flatten)]
    pub which: Which,
}

/// Takes a former issuer out.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let (place, _alone) = Place::take_place(&args.which)?;
    tidy(&place)?;
    let standing = place.standing()?;
    let former = former(&standing, args.issuer.as_deref())?;
    let file = place.authority.other_issuers.iter().find(|file| {
        let chain = site::certificates(file).ok().and_then(OtherIssuer::new);
        chain.is_some_and(|issuer| hex::encode(issuer.key_id()) == former.key_id)
    });
    let file = file.ok_or_else(|| RotationError::NoSuchIssuer(former.key_id.clone()))?;
    let before = place.roots()?.len();
    let left = left_by_former(&place, file)?;
    let root = left.root.clone();
    let change = Change::Retire(place.base.clone(), file.clone(), left);
    if args.force && former.live.is_some_and(|live| live > 0) {
        breaks(&place, former, root.is_some(), out)?;
    }
    let issuer = Some(former.key_id.clone());
    let applied = place.take(&change, (RotationStep::Retire, issuer, args.force))?;
    report(&applied, false, out)?;
    writeln!(out, "The issuer {} is retired. Its key is not needed any more.", former.subject)?;
    match root {
        Some(root) => writeln!(out, "Of {before} roots those in {root} are left in the bundle.")?,
        None => writeln!(out, "The bundle's roots are the same.")?,
    }
    Ok(())
}

/// The former issuer that is meant.
fn former<'r>(
    rotation: &'r wire::Rotation,
    asked: Option<&str>,
) -> Result<&'r wire::RotationIssuer, CliError> {
    let all: Vec<_> = rotation.issuers.iter().filter(|one| one.role == "former").collect();
    let found = match (asked, all.as_slice()) {
        (Some(asked), _) => all.iter().find(|one| one.key_id == asked).copied(),
        (None, [one]) => Some(*one),
        (None, []) => return Err(RotationError::NothingFormer.into()),
        // The one that is done with.
        (None, several) => {
            match several.iter().filter(|one| one.kept_because.is_none()).collect::<Vec<_>>()[..] {
                [one] => Some(*one),
                _ => {
                    let ids: Vec<_> = several.iter().map(|one| one.key_id.as_str()).collect();
                    return Err(RotationError::WhichIssuer(ids.join(", ")).into());
                }
            }
        }
    };
    found.ok_or_else(|| RotationError::NoSuchIssuer(asked.unwrap_or_default().to_owned()).into())
}

/// What a forced step breaks.
fn breaks(
    place: &Place,
    former: &wire::RotationIssuer,
    root_goes: bool,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let (count, last) = (former.live.unwrap_or(0), former.last_expiry.as_deref().unwrap_or("unknown"));
    writeln!(out, "Forced: {count} certificates of {} are alive, the last until {last}.", former.subject)?;
    match root_goes {
        true => writeln!(out, "Clients with the bundle of from now on will not believe them.")?,
        false => {
            writeln!(out, "Their root stays in the bundle; they cannot be fetched from the CA any more.")?
        }
    }
    for one in place.sample(&former.key_id, SAMPLE)? {
        writeln!(out, "  {}  until {}  {}", one.serial, one.not_after, one.names.join(", "))?;
    }
    Ok(())
}
