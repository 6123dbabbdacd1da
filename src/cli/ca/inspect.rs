//! `mayfly ca inspect`

use std::io::Write;
use std::path::PathBuf;

use super::{CaError, describe, site};
use crate::cli::CliError;
use crate::x509::csr::{Csr, CsrError};

/// Arguments of `mayfly ca inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Certificates or a certification request, PEM or DER
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Says what a file holds.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    if let Ok(der) = site::request(&args.file) {
        // A leaf's request is worth a look too; as a CA's it would be refused for that alone.
        let csr = match Csr::parse_for_authority(&der) {
            Err(CsrError::AsksForLeaf | CsrError::AuthorityNames) => Csr::parse(&der),
            other => other,
        };
        match csr {
            Ok(csr) => {
                write!(out, "Certification request, its signature holds\n{}", describe::request(&csr))?;
                return Ok(());
            }
            // DER may be a certificate as well.
            Err(CsrError::Malformed) => {}
            Err(error) => return Err(CaError::Csr { path: args.file.clone(), error }.into()),
        }
    }
    for der in site::certificates(&args.file)? {
        let text = describe::certificate(&der)
            .ok_or_else(|| CaError::Content { path: args.file.clone(), want: "certificate" })?;
        write!(out, "Certificate\n{text}")?;
    }
    Ok(())
}
