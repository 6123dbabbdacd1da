//! `mayfly bench fill`

use std::io::Write;
use std::path::PathBuf;

use super::super::CliError;
use crate::bench::BenchError;
use crate::bench::fill::{self, Plan};
use crate::config;
use crate::config::settings::Engine;
use crate::storage::{self, Backend};
use crate::time::{Clock, SystemClock};

const AFTER_HELP: &str = "\
To measure a server over a store of the size it will have: make a CA with `mayfly init`, fill it, start \
it, and load it with `mayfly bench acme`. The CA must not run meanwhile and must be new; afterwards it is \
of no other use, for its inventory lists certificates that nobody has. Count on 2 KiB of disk for each.

Example:
  mayfly init --dir /var/tmp/large --name Large --dns localhost --address 127.0.0.1:9443
  mayfly bench fill --config /var/tmp/large/mayfly.toml --certificates 10000000";

/// Arguments of `mayfly bench fill`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The configuration of a new CA that does not run
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Live certificates to put into its store; at most a billion
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub certificates: u64,
    /// Orders to put there whose time to be removed has come, for the sweeper; at most a billion
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub expired_orders: u64,
    /// No progress on standard error
    #[arg(long)]
    pub quiet: bool,
}

/// Fills and reports.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let settings = config::load(&args.config)
        .map_err(|problems| CliError::Config { file: args.config.clone(), problems })?;
    let backend = match settings.store.engine {
        Engine::Fjall => Backend::Fjall,
        Engine::Sled => Backend::Sled,
        Engine::Memory => {
            let text = "[store] engine: \"memory\" keeps nothing, so there is nothing to fill";
            return Err(BenchError::Verdict(text.into()).into());
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().build().map_err(CliError::Runtime)?;
    let plan = Plan { certificates: args.certificates, expired_orders: args.expired_orders };
    let quiet = args.quiet;
    let progress = move |done: u64, total: u64| {
        // About a hundred lines, whatever the size.
        let step = (total / 100).max(1);
        if !quiet && (done == total || done / step != done.saturating_sub(150) / step) {
            let _ = writeln!(std::io::stderr(), "{done} of {total}");
        }
    };
    let path = settings.store.path.clone();
    runtime.block_on(async {
        let store = storage::open(backend, &path).map_err(BenchError::from)?;
        let filled = fill::run(&store, plan, SystemClock.now(), &progress).await;
        store.close().await;
        filled
    })?;
    writeln!(
        out,
        "{}: {} certificates, {} expired orders",
        path.display(),
        plan.certificates,
        plan.expired_orders
    )?;
    Ok(())
}
