//! `mayfly bench`

mod acme;
mod crypto;
mod fill;
mod store;

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;

use super::CliError;
use crate::config::units::parse_duration;

const AFTER_HELP: &str = "\
Examples:
  mayfly bench acme --directory https://localhost:9443/acme/acme/directory \\
                    --root mayfly-dev/certs/root_ca.crt --clients 32 --pid \"$(pidof mayfly)\"
  mayfly bench crypto
  mayfly bench store --dir /var/tmp/bench --callers 64";

/// Arguments of `mayfly bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// What to measure.
    #[command(subcommand)]
    pub what: What,
}

/// The benchmarks.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Load an ACME server, of any make, and measure it from outside
    Acme(Box<acme::Args>),
    /// Measure this machine's cryptography and the issuing core
    Crypto(crypto::Args),
    /// Measure durable transactions of the store
    Store(store::Args),
    /// Fill the store of a new CA, to measure a server over a large one
    Fill(fill::Args),
}

/// Runs a benchmark.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.what {
        What::Acme(args) => acme::run(args, out),
        What::Crypto(args) => crypto::run(args, out),
        What::Store(args) => store::run(args, out),
        What::Fill(args) => fill::run(args, out),
    }
}

/// A figure as JSON.
fn json(out: &mut dyn Write, figures: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(figures).map_err(std::io::Error::from)?;
    Ok(writeln!(out, "{text}")?)
}

/// A duration up to an hour.
fn up_to_an_hour(text: &str) -> Result<Duration, String> {
    const HOUR: Duration = Duration::from_secs(3600);
    match parse_duration(text) {
        Ok(duration) if duration > HOUR => Err("give at most 1h".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

/// A duration from 1 ms up to an hour.
fn some_time(text: &str) -> Result<Duration, String> {
    match up_to_an_hour(text)? {
        Duration::ZERO => Err("give more than 0s".to_owned()),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests;
