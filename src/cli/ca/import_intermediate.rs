//! `mayfly ca import-intermediate`

use std::io::Write;
use std::path::{Path, PathBuf};

use super::site::Key;
use super::{CaError, describe, site};
use crate::authority::chain;
use crate::authority::issuer::Issuer;
use crate::authority::key_source::KeySource;
use crate::cli::CliError;
use crate::cli::founding::Layout;
use crate::time::{Clock, SystemClock};

const AFTER_HELP: &str = "\
Checked before anything is written: the certificate is for the key in DIR/secrets, it may sign \
certificates, and its chain leads to the root. Then DIR/certs/root_ca.crt and, last, \
DIR/certs/intermediate_ca.crt are put in place, each whole or not at all. \
If it is interrupted between the two, running it again finishes it.

Example:
  mayfly ca import-intermediate --dir ca --certificate intermediate_ca.crt --root root_ca.crt";

/// Arguments of `mayfly ca import-intermediate`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The directory that `mayfly ca create-intermediate` made
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The signed certificate, with those above it but for the root behind it
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// The root [default: DIR/certs/root_ca.crt]
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// The intermediate's key, if it is in a keystore: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri)]
    pub key: Option<KeySource>,
    /// The password of the intermediate's key, or its token's PIN
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// Put it in the place of the certificate that is there
    #[arg(long)]
    pub replace: bool,
}

/// Installs a signed intermediate.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    let root_file = args.root.clone().unwrap_or_else(|| layout.root());
    if !root_file.exists() && args.root.is_none() {
        return Err(CaError::NoRoot.into());
    }
    let roots = site::certificates(&root_file)?;
    let mut chain = site::certificates(&args.certificate)?;
    // The root may stand behind its own chain; clients have it.
    chain.retain(|der| !roots.contains(der));
    let key = Key { uri: args.key.as_ref(), password_file: args.password_file.as_deref() };
    let signer = key.open(layout.intermediate_key(), &layout)?;
    let content = || CaError::Content { path: args.certificate.clone(), want: "certificate but the root" };
    let (own, above) = chain.split_first().ok_or_else(content)?;
    let wrong = |error| CaError::Issuer { path: args.certificate.clone(), error };
    let issuer = Issuer::new(own.clone(), above, signer).map_err(wrong)?;
    let root = chain::check(issuer.chain(), &roots, SystemClock.now())
        .map_err(|error| CaError::Chain { path: args.certificate.clone(), error })?;
    let root = root.to_vec();
    issuer.under_root(&root).map_err(wrong)?;

    put(&layout.root(), &[root], args.replace)?;
    put(&layout.intermediate(), &chain, args.replace)?;
    let text = describe::certificate(&chain[0]).unwrap_or_default();
    write!(out, "Installed in {}\n\n{text}\n", layout.dir.display())?;
    config_example(&layout, args.key.as_ref(), args.password_file.as_deref(), out)
}

/// What is there already in the same words stays as it is.
fn put(path: &Path, chain: &[Vec<u8>], replace: bool) -> Result<(), CliError> {
    let text = site::chain_pem(chain);
    if path.exists() {
        if site::read(path)? == text.as_bytes() {
            return Ok(());
        }
        if !replace {
            return Err(CaError::Installed(path.to_owned()).into());
        }
    }
    site::install(path, &text, replace)
}

/// The lines of a mayfly.toml that issue with what is in a directory.
pub(super) fn config_example(
    layout: &Layout,
    key: Option<&KeySource>,
    password_file: Option<&Path>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let dir = layout.dir.canonicalize().unwrap_or_else(|_| layout.dir.clone());
    let layout = Layout { dir };
    writeln!(out, "In the mayfly.toml that is to issue with it:\n\n  [authority]")?;
    let mut line = |name: &str, text: String| writeln!(out, "  {name} = {}", toml::Value::String(text));
    let own = KeySource::File(layout.intermediate_key());
    let key = key.unwrap_or(&own);
    line("root", layout.root().display().to_string())?;
    line("certificate", layout.intermediate().display().to_string())?;
    line("key", key.to_string())?;
    let elsewhere = match key {
        KeySource::File(_) => false,
        KeySource::Pkcs11(uri) => uri.pin_source.is_some(),
        KeySource::AwsKms(_) => true,
    };
    if let Some(file) = password_file.filter(|_| !elsewhere) {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        line("password_file", file.display().to_string())?;
    }
    Ok(())
}
