//! `mayfly ca create-root`

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::{ConstraintArgs, lifetime};
use super::site::Key;
use super::{CaError, describe, site};
use crate::authority::ca::CaSpec;
use crate::authority::key_source::KeySource;
use crate::cli::CliError;
use crate::cli::founding::{Layout, Made, some_of};
use crate::keystore::file::{KeyKind, shell_word};
use crate::service::ceremony::{CeremonyError, create_root};
use crate::x509::pem;

const AFTER_HELP: &str = "\
Makes DIR/certs/root_ca.crt, DIR/secrets/root_ca_key (mode 0600) and DIR/db/, which records what the \
root signs. DIR must be empty or not exist; if anything fails, nothing is left behind. Nothing listens: \
the directory is used by `mayfly ca sign-intermediate` and `cross-sign` and locked away in between.

Examples:
  mayfly ca create-root --dir root --name 'Example Root CA' --password-file root.password
  mayfly ca create-root --dir root --name 'Lab Root' --key-type ed25519 --lifetime 3650d \\
                        --path-len 1 --permit-dns lab.test";

/// Arguments of `mayfly ca create-root`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where to put everything; must be empty or not exist
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The root's common name, as it is
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// p256, p384, ed25519, rsa2048, rsa3072, rsa4096, ml-dsa-44, ml-dsa-65 or ml-dsa-87; clients that do not
    /// know ML-DSA (RFC 9881) verify nothing under it
    #[arg(long, value_name = "KIND", default_value = "p384", value_parser = KeyKind::parse)]
    pub key_type: KeyKind,
    /// A key that is there already in a keystore, and stays there: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri, conflicts_with = "key_type")]
    pub key: Option<KeySource>,
    /// How long the root is valid
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// How many CAs may follow below it, one under the other [default: no limit]
    #[arg(long, value_name = "N")]
    pub path_len: Option<u8>,
    /// Encrypt the key with the first line of this file (mode 0600); with --key, the token's PIN
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// What may be certified below it.
    #[command(flatten)]
    pub constraints: ConstraintArgs,
}

/// Makes a root.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    let spec = CaSpec::root(&args.name).map_err(CaError::Name)?;
    let spec = CaSpec { path_len: args.path_len, constraints: args.constraints.constraints(), ..spec };
    let found = layout.contents()?;
    if !found.is_empty() {
        return Err(CliError::Occupied { dir: layout.dir.clone(), found: some_of(&found) });
    }
    let mut made = Made::default();
    made.ca_directory(&layout)?;
    made.directory(&layout.db(), 0o700)?;
    let key = Key { uri: args.key.as_ref(), password_file: args.password_file.as_deref() };
    let signer = key.found(layout.root_key(), args.key_type, &layout, &mut made)?;
    let der = site::record(&layout.db(), async |place| {
        Ok(create_root(place, signer, spec, args.lifetime).await.map_err(CeremonyError::Issue)?)
    })?;
    made.file(&layout.root(), &pem::certificate(&der))?;
    made.keep();
    let text = describe::certificate(&der).unwrap_or_default();
    let dir = shell_word(&layout.dir);
    write!(
        out,
        "Created a root in {}\n\n{text}\n\
         Next: make an intermediate where the CA is to serve, and sign it here:\n  \
         mayfly ca create-intermediate --dir CA --name 'NAME'\n  \
         mayfly ca sign-intermediate --dir {dir} --csr CA/intermediate_ca.csr --out intermediate_ca.crt\n\
         Then lock {dir} away, with a copy. Whoever has its key and password can make certificates that\n\
         every client of yours believes.\n",
        layout.dir.display(),
    )?;
    Ok(())
}
