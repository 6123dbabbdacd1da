//! `mayfly bench store`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::super::CliError;
use crate::bench::report::Times;
use crate::bench::store;
use crate::storage::Backend;

const AFTER_HELP: &str = "\
Each transaction writes an order, a certificate and an audit event, and waits until they are durable. \
DIR is made if need be, filled, and left for you to remove; it must be on the disk in question, and not \
the store of a CA.

Example:
  mayfly bench store --dir /var/tmp/bench --callers 256 --duration 30s";

/// Arguments of `mayfly bench store`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where the store is made: empty or not there, or left by an earlier run
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// fjall, memory or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall", value_parser = ["fjall", "memory", "sled"])]
    pub engine: String,
    /// Callers at once; at most 10000
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub callers: u16,
    /// How long; at most 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::some_time)]
    pub duration: Duration,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// Written into a directory before it is filled, so that nothing else is ever filled by mistake.
const MARK: &str = "mayfly-bench";

/// Measures and prints.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let backend = match args.engine.as_str() {
        "memory" => Backend::Memory,
        "sled" => Backend::Sled,
        _ => Backend::Fjall,
    };
    if backend != Backend::Memory {
        claim(args)?;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    let db = args.dir.join("db");
    let figures = runtime.block_on(store::run(backend, &db, args.callers.into(), args.duration))?;
    if args.json {
        return super::json(out, &figures);
    }
    writeln!(
        out,
        "{}: {} callers, {} durable transactions in {:.1} s: {:.0}/s",
        args.engine, figures.callers, figures.transactions, figures.measured_s, figures.per_s
    )?;
    if let Some(cpu) = figures.cpu_us_per_transaction {
        writeln!(out, "  {cpu:.1} µs of CPU per transaction, callers included")?;
    }
    if let Some((now, peak)) = figures.memory_kib {
        let mib = |kib: u64| kib as f64 / 1024.0;
        writeln!(out, "  {:.1} MiB resident, {:.1} MiB at its peak", mib(now), mib(peak))?;
    }
    writeln!(out, "{}\n{}", Times::HEAD, figures.latency.row("transaction"))?;
    Ok(())
}

/// Takes a directory that is empty or was claimed before.
fn claim(args: &Args) -> Result<(), CliError> {
    let file = |source| CliError::File { path: args.dir.clone(), source };
    std::fs::create_dir_all(&args.dir).map_err(file)?;
    let mark = args.dir.join(MARK);
    let mut entries = std::fs::read_dir(&args.dir).map_err(file)?;
    if !mark.is_file() && entries.next().is_some() {
        let found = format!("something else than the store of a benchmark (no file {MARK})");
        return Err(CliError::Occupied { dir: args.dir.clone(), found });
    }
    std::fs::write(&mark, "This directory belongs to `mayfly bench store`; remove it at will.\n")
        .map_err(file)
}
