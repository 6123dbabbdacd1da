//! `mayfly serve`

use std::io::Write;
use std::path::PathBuf;

use super::CliError;
use crate::config;
use crate::daemon::{self, Launch};

const AFTER_HELP: &str = "\
Logs go to standard error. SIGTERM and SIGINT finish the requests under way and exit with 0; \
SIGHUP reads the file again and takes over its authorities, provisioners, limits and validation \
rules, all or nothing; the rest takes effect at the next start.

Example:
  mayfly serve --config /etc/mayfly/mayfly.toml";

/// Arguments of `mayfly serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The mayfly.toml to run on
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Serves until told to stop.
pub fn run(args: &Args) -> Result<(), CliError> {
    let report = config::check(&args.config);
    for note in &report.notes {
        // With standard error closed there is nobody to tell; that is no reason not to serve.
        let _ = writeln!(std::io::stderr(), "note: {}", note.render(&args.config));
    }
    let file = args.config.clone();
    let configuration =
        config::load_whole(&file).map_err(|problems| CliError::Config { file: file.clone(), problems })?;
    let reload = Box::new(move || config::load_whole(&file));
    daemon::run(Launch { configuration, reload, on_ready: None })?;
    Ok(())
}
