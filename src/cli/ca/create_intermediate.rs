//! `mayfly ca create-intermediate`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::limits::{ConstraintArgs, lifetime};
use super::site::By;
use super::{CaError, describe, site};
use crate::authority::ca::CaSpec;
use crate::authority::sign::certification_request;
use crate::authority::signer::Signer;
use crate::cli::CliError;
use crate::cli::founding::{Layout, Made, some_of};
use crate::entropy::SystemEntropy;
use crate::keystore::file::{FileKey, KeyKind, shell_word};
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
    /// p256, p384, ed25519, rsa2048, rsa3072 or rsa4096
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = KeyKind::parse)]
    pub key_type: KeyKind,
    /// Encrypt the key with the first line of this file (mode 0600)
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// Sign at once with the root that is kept here
    #[arg(long, value_name = "DIR")]
    pub root_dir: Option<PathBuf>,
    /// The password of the root's key
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
    let password = site::password(args.password_file.as_deref())?;
    let found = layout.contents()?;
    if !found.is_empty() {
        return Err(CliError::Occupied { dir: layout.dir.clone(), found: some_of(&found) });
    }
    let mut made = Made::default();
    made.ca_directory(&layout)?;
    let path = layout.intermediate_key();
    let signer = FileKey::generate(&path, args.key_type, password.as_ref(), &SystemEntropy::default())?;
    made.note(path);
    match &args.root_dir {
        None => request(&layout, &spec, &signer, &mut made, out)?,
        Some(root_dir) => signed(args, root_dir, &layout, spec, &signer, &mut made, out)?,
    }
    made.keep();
    Ok(())
}

fn request(
    layout: &Layout,
    spec: &CaSpec,
    signer: &FileKey,
    made: &mut Made,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let der = certification_request(&spec.subject, signer)
        .map_err(|error| CeremonyError::Issue(service::Error::Internal(error.to_string())))?;
    made.file(&layout.csr(), &pem::certification_request(&der))?;
    let (csr, dir) = (shell_word(&layout.csr()), shell_word(&layout.dir));
    write!(
        out,
        "Created a key and a request in {}\n\n  request           {}\n  subject           {}\n\n\
         Next: have a CA sign {csr}, then import what comes back:\n  \
         mayfly ca sign-intermediate --dir ROOT --csr {csr} --out intermediate_ca.crt\n  \
         mayfly ca import-intermediate --dir {dir} --certificate intermediate_ca.crt --root root_ca.crt\n",
        layout.dir.display(),
        layout.csr().display(),
        spec.subject.text(),
    )?;
    Ok(())
}

fn signed(
    args: &Args,
    root_dir: &Path,
    layout: &Layout,
    spec: CaSpec,
    signer: &FileKey,
    made: &mut Made,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let above = Layout { dir: root_dir.to_owned() };
    let password = site::password(args.root_password_file.as_deref())?;
    let issuer = site::open(&above, By::Root, password.as_ref())?;
    let key = signer.public_key().clone();
    let der = site::record(&above.db(), async |place| {
        let made = sign_authority(place, &issuer, spec, key, args.lifetime).await;
        Ok(made.map_err(CeremonyError::Issue)?)
    })?;
    made.file(&layout.root(), &pem::certificate(issuer.der()))?;
    made.file(&layout.intermediate(), &pem::certificate(&der))?;
    let text = describe::certificate(&der).unwrap_or_default();
    write!(out, "Created an intermediate in {}\n\n{text}\n", layout.dir.display())?;
    super::import_intermediate::config_example(layout, args.password_file.as_deref(), out)
}
