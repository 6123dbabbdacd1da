//! `mayfly key …`: keys for issuers, in files and in tokens.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::CliError;
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::daemon::dumps;
use crate::entropy::SystemEntropy;
use crate::keystore::file::{FileKey, KeyKind};
use crate::keystore::password::Password;
use crate::keystore::pkcs11;
use crate::keystore::{self, KeystoreError, sealed};
use crate::x509::hex;
use crate::x509::spki::Spki;

const AFTER_HELP: &str = "\
KEY is what [authority] key takes: a path, or a URI pkcs11:token=…;object=…?module-path=….

Examples:
  mayfly key generate 'pkcs11:token=CA;object=issuer?module-path=/usr/lib/softhsm/libsofthsm2.so' \\
              --password-file /etc/mayfly/pin
  mayfly key generate 'pkcs11:token=CA;object=seal?module-path=…&pin-source=/etc/mayfly/pin' \\
              --kind rsa-2048 --for-sealing
  mayfly key seal ca.key --with 'pkcs11:token=CA;object=seal?module-path=…&pin-source=/etc/mayfly/pin' \\
              --out ca.sealed
  mayfly key show 'pkcs11:token=CA;object=issuer?module-path=/usr/lib/softhsm/libsofthsm2.so' \\
              --password-file /etc/mayfly/pin";

/// Arguments of `mayfly key`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// What `mayfly key` does.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a key, in a new file or in a token that never gives it out
    Generate(Generate),
    /// Open a key, have it sign once, and print its public half
    Show(Show),
    /// Seal a key file by a key in an HSM, a TPM or a KMS, which opens it at every start from then on
    Seal(Seal),
}

/// What opens a key file or a token; one of them, or none.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct Secret {
    /// The key file's password, or the token's PIN: the first line of this file (mode 0600)
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// The same from an environment variable
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
    /// The same from a credential of systemd's
    #[arg(long, value_name = "NAME")]
    pub password_credential: Option<String>,
}

impl Secret {
    /// Where it is, if anywhere.
    pub(super) fn source(&self) -> Option<PasswordSource> {
        let file = self.password_file.clone().map(PasswordSource::File);
        let env = self.password_env.clone().map(PasswordSource::Env);
        file.or(env).or(self.password_credential.clone().map(PasswordSource::Credential))
    }
}

/// Arguments of `mayfly key generate`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// Where to make it: a file that does not exist, or names that the token does not have
    #[arg(value_name = "KEY", value_parser = key_source)]
    pub key: KeySource,
    /// Which kind
    #[arg(long, value_name = "KIND", default_value = "ec-p256", value_parser = kind)]
    pub kind: pkcs11::Kind,
    /// In a token: to seal key files by (`mayfly key seal`), and to sign nothing; --kind rsa-2048 or more
    #[arg(long)]
    pub for_sealing: bool,
    /// What opens the token, or encrypts the file
    #[command(flatten)]
    pub secret: Secret,
}

/// Arguments of `mayfly key seal`.
#[derive(Debug, clap::Args)]
pub struct Seal {
    /// The key file, plain or encrypted; it stays as it is
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The key to seal it by: pkcs11:… of an RSA key, or awskms:… of a symmetric one. The URI is written into
    /// the sealed file
    #[arg(long, value_name = "URI", value_parser = super::init::issuer_key)]
    pub with: KeySource,
    /// The token's PIN, if the URI has no pin-source=: the first line of this file (mode 0600)
    #[arg(long, value_name = "F")]
    pub pin_file: Option<PathBuf>,
    /// Where to write the sealed key, mode 0600; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What opens the key file
    #[command(flatten)]
    pub secret: Secret,
}

/// Arguments of `mayfly key show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// Which key
    #[arg(value_name = "KEY", value_parser = key_source)]
    pub key: KeySource,
    /// What opens it
    #[command(flatten)]
    pub secret: Secret,
}

/// Kinds of keys by their names on the command line.
const KINDS: [(&str, pkcs11::Kind); 6] = [
    ("ec-p256", pkcs11::Kind::P256),
    ("ec-p384", pkcs11::Kind::P384),
    ("ed25519", pkcs11::Kind::Ed25519),
    ("rsa-2048", pkcs11::Kind::Rsa(2048)),
    ("rsa-3072", pkcs11::Kind::Rsa(3072)),
    ("rsa-4096", pkcs11::Kind::Rsa(4096)),
];

fn kind(text: &str) -> Result<pkcs11::Kind, String> {
    let found = KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
    found.ok_or_else(|| format!("give one of {}", KINDS.map(|(name, _)| name).join(", ")))
}

pub(super) fn key_source(text: &str) -> Result<KeySource, String> {
    KeySource::parse(text, Path::new("")).map_err(|error| error.to_string())
}

/// Runs `mayfly key`.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    dumps::forbid().map_err(CliError::CoreDumps)?;
    match &args.command {
        Command::Generate(args) => generate(args, out),
        Command::Show(args) => {
            let key = keystore::open(&args.key, args.secret.source().as_ref())?;
            print(key.public_key(), out)
        }
        Command::Seal(args) => seal(args, out),
    }
}

fn seal(args: &Seal, out: &mut dyn Write) -> Result<(), CliError> {
    use crate::authority::signer::Signer;
    let password = args.secret.source().as_ref().map(Password::open).transpose()?;
    let pin = args.pin_file.clone().map(PasswordSource::File);
    let entropy = SystemEntropy::default();
    let key = sealed::seal(&args.file, password.as_ref(), &args.with, pin.as_ref(), &args.out, &entropy)?;
    writeln!(
        out,
        "Sealed into {out}, and opened again. Next: name it as [authority] key, run `mayfly check-config`, then \
         lock\n{file} away or destroy it: it opens without the other key, and is the only copy that does.",
        out = args.out.display(),
        file = args.file.display(),
    )?;
    print(key.public_key(), out)
}

fn generate(args: &Generate, out: &mut dyn Write) -> Result<(), CliError> {
    let secret = args.secret.source();
    let entropy = SystemEntropy::default();
    let for_use = if args.for_sealing { pkcs11::Use::Sealing } else { pkcs11::Use::Signing };
    let sealing_kind = matches!(args.kind, pkcs11::Kind::Rsa(_)) && matches!(args.key, KeySource::Pkcs11(_));
    if args.for_sealing && !sealing_kind {
        return Err(CliError::CannotGenerate(
            "keys to seal by are made in tokens, of RSA: give a pkcs11: URI and --kind rsa-2048 or more; in a KMS \
             any symmetric key seals",
        ));
    }
    match &args.key {
        KeySource::Pkcs11(uri) => {
            let made = pkcs11::generate(uri, secret.as_ref(), args.kind, for_use, &entropy);
            let made = made.map_err(|error| KeystoreError::Pkcs11 { key: uri.to_string(), error })?;
            print(&made, out)
        }
        KeySource::File(path) => {
            let kind = match args.kind {
                pkcs11::Kind::P256 => KeyKind::P256,
                pkcs11::Kind::P384 => KeyKind::P384,
                pkcs11::Kind::Ed25519 | pkcs11::Kind::Rsa(_) => {
                    return Err(CliError::CannotGenerate("files are made for ec-p256 and ec-p384"));
                }
            };
            let password = secret.as_ref().map(Password::open).transpose()?;
            use crate::authority::signer::Signer;
            let key = FileKey::generate(path, kind, password.as_ref(), &entropy)?;
            print(key.public_key(), out)
        }
        KeySource::AwsKms(_) => Err(CliError::CannotGenerate(
            "a KMS makes its keys itself: aws kms create-key --key-usage SIGN_VERIFY --key-spec ECC_NIST_P256",
        )),
    }
}

/// The public half, with its kind and its hash before it: tools that read PEM skip both.
fn print(key: &Spki, out: &mut dyn Write) -> Result<(), CliError> {
    let hash = hex::encode(digest(&SHA256, key.der()).as_ref());
    let pem = pem_rfc7468::encode_string("PUBLIC KEY", pem_rfc7468::LineEnding::LF, key.der());
    let pem = pem.map_err(|error| CliError::Output(io::Error::other(error)))?;
    write!(out, "kind    {}\nSHA-256 {hash}\n{pem}", key.key().label())?;
    Ok(())
}
