//! `mayfly fleet renew`

use std::io::Write;

use hyper::Method;

use super::FleetError;
use super::campaign::{self, Selection};
use super::error::of_campaign;
use crate::cli::CliError;
use crate::cli::running::{Target, json};
use crate::time::{Clock, SystemClock};
use crate::wire::admin::{Campaign, Campaigns};

const AFTER_HELP: &str = "\
Clients that know ARI (RFC 9773) ask the CA when to renew. A campaign moves these windows forward, evenly over \
--over, for the certificates that meet all conditions and were signed before it starts; none moves back, and who \
has renewed is not called again. It holds on for a week after that, for whoever asks late, and then ends by \
itself. Who does not come is late when it would have been anyway; `mayfly fleet drill ID` tells who.

Examples:
  mayfly fleet renew --issuer default --over 6h --reason 'new issuer' --dry-run
  mayfly fleet renew --key-type rsa --suffix web.example.internal --over 2h --reason 'no RSA any more'
  mayfly fleet renew --all --start 2030-01-31T02:00:00Z --over 4h --reason 'before the move'
  mayfly fleet renew --list
  mayfly fleet renew --cancel 3";

/// Arguments of `mayfly fleet renew`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Renew {
    /// Which certificates, and when
    #[command(flatten)]
    pub selection: Selection,
    /// Say what it would come to, and begin nothing
    #[arg(long)]
    pub dry_run: bool,
    /// List campaigns instead, the latest first
    #[arg(long, conflicts_with_all = ["cancel", "dry_run", "Selection"])]
    pub list: bool,
    /// End a campaign instead: windows are again what they would have been
    #[arg(long, value_name = "ID", conflicts_with_all = ["dry_run", "Selection"])]
    pub cancel: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Begins a campaign, lists them, or ends one.
pub(super) fn run(args: &Renew, out: &mut dyn Write) -> Result<(), CliError> {
    match args.cancel {
        Some(number) => cancel(args, number, out),
        None if args.list => list(args, out),
        None => begin(args, out),
    }
}

fn begin(args: &Renew, out: &mut dyn Write) -> Result<(), CliError> {
    let target = &args.target;
    if args.selection.over.is_none() {
        return Err(FleetError::Missing("--over").into());
    }
    if args.selection.reason.is_none() && !args.dry_run {
        return Err(FleetError::Missing("--reason").into());
    }
    let wanted = args.selection.campaign(target, false, "dry run")?;
    let found = campaign::preview(target, &wanted)?;
    if args.dry_run {
        if args.json {
            return json(out, &found);
        }
        out.write_all(campaign::told(&found, &wanted, SystemClock.now()).as_bytes())?;
        return Ok(writeln!(out, "\nNothing was begun.")?);
    }
    if found.certificates == 0 {
        return Err(FleetError::NobodyToCall.into());
    }
    let begun = campaign::begin(target, &wanted)?;
    if args.json {
        return json(out, &begun);
    }
    out.write_all(campaign::told(&found, &wanted, SystemClock.now()).as_bytes())?;
    writeln!(out, "\nCampaign {} is begun; windows begin at {}.", begun.id, begun.start)?;
    writeln!(out, "  watch it   mayfly fleet drill {}", begun.id)?;
    writeln!(out, "  end it     mayfly fleet renew --cancel {}", begun.id)?;
    Ok(())
}

fn list(args: &Renew, out: &mut dyn Write) -> Result<(), CliError> {
    let all: Campaigns = args.target.call(Method::GET, "/v1/fleet/campaigns", None::<&()>)?;
    if args.json {
        return json(out, &all);
    }
    if all.campaigns.is_empty() {
        return Ok(writeln!(out, "There was no campaign yet.")?);
    }
    writeln!(
        out,
        "{:>4}  {:<9}  {:<7}  {:<20}  {:<9}  WHICH: WHAT FOR",
        "ID", "STANDING", "KIND", "START", "OVER"
    )?;
    all.campaigns.iter().try_for_each(|campaign| campaign::line(campaign, out))
}

fn cancel(args: &Renew, number: u64, out: &mut dyn Write) -> Result<(), CliError> {
    let path = format!("/v1/fleet/campaigns/{number}/cancel");
    let ended: Campaign = of_campaign(number, args.target.call(Method::POST, &path, None::<&()>))?;
    if args.json {
        return json(out, &ended);
    }
    Ok(writeln!(out, "Campaign {number} is cancelled; windows are again what they would have been.")?)
}
