//! `mayfly ca sign-intermediate`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::{ConstraintArgs, lifetime};
use super::site::{self, By, Key};
use super::{CaError, describe};
use crate::authority::ca::CaSpec;
use crate::authority::key_source::KeySource;
use crate::authority::subject::Subject;
use crate::cli::CliError;
use crate::cli::founding::Layout;
use crate::service::ceremony::{CeremonyError, sign_authority};
use crate::x509::csr::Csr;

const AFTER_HELP: &str = "\
Of the request its key and its subject are taken, after its signature was checked; path length and \
name constraints are yours to set. The certificate is recorded in DIR/db/ before it is written.

Examples:
  mayfly ca sign-intermediate --dir root --csr intermediate_ca.csr --out intermediate_ca.crt
  mayfly ca sign-intermediate --dir root --password-file root.password --csr dev.csr --out dev.crt \\
             --lifetime 365d --permit-dns dev.example.internal --exclude-ip 0.0.0.0/0,::/0";

/// Arguments of `mayfly ca sign-intermediate`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The directory of the CA that signs
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The request, PEM or DER
    #[arg(long, value_name = "FILE")]
    pub csr: PathBuf,
    /// Where to write the certificate, PEM; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Which CA of DIR signs
    #[arg(long, value_name = "WHICH", default_value = "root")]
    pub by: By,
    /// How long it is valid; it ends with its issuer at the latest
    #[arg(long, value_name = "TIME", default_value = "1825d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// How many CAs may follow below it, one under the other
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub path_len: u8,
    /// The signing key, if it is in a keystore: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri)]
    pub key: Option<KeySource>,
    /// The password of the signing key, or its token's PIN
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// Record it in this store and not in DIR/db
    #[arg(long, value_name = "DIR")]
    pub db: Option<PathBuf>,
    /// What it may certify.
    #[command(flatten)]
    pub constraints: ConstraintArgs,
}

/// Signs an intermediate.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    site::vacant(&args.out)?;
    let der = site::request(&args.csr)?;
    let csr =
        Csr::parse_for_authority(&der).map_err(|error| CaError::Csr { path: args.csr.clone(), error })?;
    let subject =
        Subject::parse(csr.subject()).map_err(|error| CaError::Subject { path: args.csr.clone(), error })?;
    let spec = CaSpec {
        subject,
        path_len: Some(args.path_len),
        constraints: args.constraints.constraints(),
        key_id: None,
    };
    let key = Key { uri: args.key.as_ref(), password_file: args.password_file.as_deref() };
    let issuer = site::open(&layout, args.by, key)?;
    let db = args.db.clone().unwrap_or_else(|| layout.db());
    let der = site::record(&db, async |place| {
        let made = sign_authority(place, &issuer, spec, csr.key().clone(), args.lifetime).await;
        Ok(made.map_err(CeremonyError::Issue)?)
    })?;
    let mut chain = vec![der];
    if args.by == By::Intermediate {
        chain.extend(issuer.chain().iter().cloned());
    }
    site::install(&args.out, &site::chain_pem(&chain), false)?;
    let text = describe::certificate(&chain[0]).unwrap_or_default();
    write!(
        out,
        "Signed {}\n\n{text}\n\
         Next, where its key is:\n  \
         mayfly ca import-intermediate --dir CA --certificate {} --root ROOT\n\
         with ROOT a copy of {}\n",
        args.out.display(),
        crate::keystore::file::shell_word(&args.out),
        layout.root().display(),
    )?;
    Ok(())
}
