//! The `mayfly` binary: parses the command line, runs the command, sets the exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use mayfly::cli::{self, Cli};
use mayfly::keystore::pkcs11;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Asked here: docker/build tells this crate alone that the binary is static.
    if cfg!(target_feature = "crt-static") {
        pkcs11::never_load();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut error) => {
            cli::conceal(&mut error);
            // Help and version come this way too, with code 0; usage errors with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = cli::run(cli, &mut std::io::stdout());
    let Err(error) = result else { return ExitCode::SUCCESS };
    let _ = writeln!(std::io::stderr(), "{}", error.report());
    ExitCode::from(error.exit_code())
}
