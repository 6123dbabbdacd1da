//! `mayfly version`

use std::io::Write;

use super::CliError;

/// Prints the version and the engines built in.
pub fn run(out: &mut dyn Write) -> Result<(), CliError> {
    let sled = if cfg!(feature = "sled") { ", sled" } else { "" };
    writeln!(out, "mayfly {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "store engines: fjall, memory{sled}")?;
    Ok(())
}
