//! `mayfly certs retire`

use std::io::Write;

use hyper::Method;

use super::show::find;
use crate::cli::CliError;
use crate::cli::running::{Target, json};
use crate::wire::admin::{self as wire, Identity};

/// Arguments of `mayfly certs retire`.
#[derive(Clone, Debug, clap::Args)]
pub struct Retire {
    /// All names of the certificate, or the id that `mayfly fleet` shows
    #[arg(value_name = "NAME", required = true, num_args = 1..)]
    pub names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Retires an identity.
pub(in crate::cli) fn retire(args: &Retire, out: &mut dyn Write) -> Result<(), CliError> {
    let found = find(&args.target, &args.names)?;
    // Given by its id, its names are the certificate's.
    let by_id = matches!(args.names.as_slice(), [word] if *word == found.id);
    let names = if by_id { found.names } else { args.names.clone() };
    let retired: Identity =
        args.target.call(Method::POST, "/v1/fleet/retire", Some(&wire::Retire { names: names.clone() }))?;
    if args.json {
        return json(out, &retired);
    }
    writeln!(
        out,
        "Retired {}: it is not expected to renew, and when its certificate ends at {} nobody is told. If it \
         renews after all, it is watched again.",
        names.join(", "),
        retired.not_after
    )?;
    Ok(())
}
