//! `mayfly bench crypto`

use std::io::Write;
use std::time::Duration;

use super::super::CliError;
use crate::bench::crypto;

const AFTER_HELP: &str = "\
Single operations are measured on one CPU, the lower quartile of short batches each; X with all CPUs \
busy, as under load. See `mayfly bench acme --help` about X.

Example:
  mayfly bench crypto --each 1s";

/// Arguments of `mayfly bench crypto`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Measure each operation for this long; at most 1h
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = super::some_time)]
    pub each: Duration,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Measures and prints.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let figures = crypto::run(args.each)?;
    if args.json {
        return super::json(out, &figures);
    }
    for row in &figures.rows {
        writeln!(out, "  {:<34}{:>10.1} µs", row.operation, row.us)?;
    }
    writeln!(out, "  {:<34}{:>10.1} µs", "X, with all CPUs busy", figures.unit.x_us)?;
    Ok(())
}
