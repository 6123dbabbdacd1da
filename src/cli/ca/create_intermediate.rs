//! `mayfly ca create-intermediate`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{ConstraintArgs, lifetime};
use super::site::{By, Key};
use super::{CaError, describe, site};
use crate::authority::ca::CaSpec;
use crate::authority::key_source::KeySource;
use crate::authority::sign::certification_request;
use crate::authority::signer::Signer;
use crate::cli::CliError;
use crate::cli::founding::{Layout, Made, some_of};
use crate::keystore::file::{KeyKind, shell_word};
use crate::service;
use crate::service::ceremony::{CeremonyError, sign_authority};
use crate::x509::pem;

const AFTER_HELP: &str = "\
Makes DIR/secrets/intermediate_ca_key (mode 0600) and DIR/intermediate_ca.csr, a request that any CA \
can sign; `mayfly ca import-intermediate` takes the certificate. With --root-dir the root kept there \
signs at once, and DIR/certs/ has both certificates; the root's own directory records it. DIR must be \
empty or not exist; if anything fails, nothing is left behind in it.

Examples:
  mayfly ca create-intermediate --dir ca --name 'Example Issuing CA'
  openssl x509 -req -in ca/intermediate_ca.csr -CA root.pem -CAkey root.key -days 1825 \\
          -extfile ca.cnf -extensions v3_intermediate_ca -out intermediate_ca.crt
  mayfly ca create-intermediate --dir ca --name 'Lab Issuing CA' --root-dir root --permit-dns lab.test";

/// Arguments of `mayfly ca create-intermediate`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where to put everything; must be empty or not exist
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The intermediate's common name, as it is
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// p256, p384, ed25519, rsa2048, rsa3072, rsa4096, ml-dsa-44, ml-dsa-65 or ml-dsa-87; clients that do not
    /// know ML-DSA (RFC 9881) verify nothing under it
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = KeyKind::parse)]
    pub key_type: KeyKind,
    /// A key that is there already in a keystore, and stays there: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri, conflicts_with = "key_type")]
    pub key: Option<KeySource>,
    /// Encrypt the key with the first line of this file (mode 0600); with --key, the token's PIN
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// Sign at once with the root that is kept here
    #[arg(long, value_name = "DIR")]
    pub root_dir: Option<PathBuf>,
    /// The root's key, if it is in a keystore: a URI, pkcs11:… or awskms:…
    #[arg(long, value_name = "URI", value_parser = site::key_uri, requires = "root_dir")]
    pub root_key: Option<KeySource>,
    /// The password of the root's key, or its token's PIN
    #[arg(long, value_name = "F", requires = "root_dir")]
    pub root_password_file: Option<PathBuf>,
    /// With --root-dir: how long it is valid, with its root at the longest
    #[arg(long, value_name = "TIME", default_value = "1825d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// With --root-dir: how many CAs may follow below it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub path_len: u8,
    /// With --root-dir: what it may certify.
    #[command(flatten)]
    pub constraints: ConstraintArgs,
}

/// Makes an intermediate, or what a root needs to make it.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let layout = Layout { dir: args.dir.clone() };
    let constraints = args.constraints.constraints();
    let spec = CaSpec::issuing(&args.name).map_err(CaError::Name)?;
    let spec = CaSpec { path_len: Some(args.path_len), constraints, ..spec };
    if args.root_dir.is_none() && !spec.constraints.is_empty() {
        let why = "name constraints are the signing CA's to set: give them to `mayfly ca sign-intermediate`, \
                   or --root-dir too";
        return Err(CaError::Target { path: args.dir.clone(), why }.into());
    }
    let found = layout.contents()?;
    if !found.is_empty() {
        return Err(CliError::Occupied { dir: layout.dir.clone(), found: some_of(&found) });
    }
    let mut made = Made::default();
    made.ca_directory(&layout)?;
    let key = Key { uri: args.key.as_ref(), password_file: args.password_file.as_deref() };
    let signer = key.found(layout.intermediate_key(), args.key_type, &layout, &mut made)?;
    match &args.root_dir {
        None => request(args, &layout, &spec, signer.as_ref(), &mut made, out)?,
        Some(root_dir) => signed(args, root_dir, &layout, spec, signer.as_ref(), &mut made, out)?,
    }
    made.keep();
    Ok(())
}

fn request(
    args: &Args,
    layout: &Layout,
    spec: &CaSpec,
    signer: &dyn Signer,
    made: &mut Made,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let der = certification_request(&spec.subject, signer)
        .map_err(|error| CeremonyError::Issue(service::Error::Internal(error.to_string())))?;
    made.file(&layout.csr(), &pem::certification_request(&der))?;
    let (csr, dir) = (shell_word(&layout.csr()), shell_word(&layout.dir));
    let key = args.key.as_ref().map(|key| format!(" --key {}", shell_word(Path::new(&key.to_string()))));
    write!(
        out,
        "Created a key and a request in {}\n\n  request           {}\n  subject           {}\n\n\
         Next: have a CA sign {csr}, then import what comes back:\n  \
         mayfly ca sign-intermediate --dir ROOT --csr {csr} --out intermediate_ca.crt\n  \
         mayfly ca import-intermediate --dir {dir} --certificate intermediate_ca.crt --root root_ca.crt{key}\n",
        layout.dir.display(),
        layout.csr().display(),
        spec.subject.text(),
        key = key.unwrap_or_default(),
    )?;
    Ok(())
}

fn signed(
    args: &Args,
    root_dir: &Path,
    layout: &Layout,
    spec: CaSpec,
    signer: &dyn Signer,
    made: &mut Made,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let above = Layout { dir: root_dir.to_owned() };
    let root = Key { uri: args.root_key.as_ref(), password_file: args.root_password_file.as_deref() };
    let issuer = site::open(&above, By::Root, root)?;
    let key = signer.public_key().clone();
    let der = site::record(&above.db(), async |place| {
        let made = sign_authority(place, &issuer, spec, key, args.lifetime).await;
        Ok(made.map_err(CeremonyError::Issue)?)
    })?;
    made.file(&layout.root(), &pem::certificate(issuer.der()))?;
    made.file(&layout.intermediate(), &pem::certificate(&der))?;
    let text = describe::certificate(&der).unwrap_or_default();
    write!(out, "Created an intermediate in {}\n\n{text}\n", layout.dir.display())?;
    super::import_intermediate::config_example(layout, args.key.as_ref(), args.password_file.as_deref(), out)
}
