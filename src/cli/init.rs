//! `mayfly init`

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::CliError;
use super::founding::{self, Founded, Layout};
use super::template::Template;
use crate::acme::identifier::Identifier;
use crate::authority::key_source::KeySource;
use crate::config::{is_provisioner_name, parse_host};
use crate::daemon::dumps;
use crate::keystore::file::{KeyKind, shell_word};
use crate::keystore::password::Password;

const AFTER_HELP: &str = "\
Makes DIR/mayfly.toml (annotated, to be edited), DIR/certs/root_ca.crt (10 years), \
DIR/certs/intermediate_ca.crt (5 years), DIR/secrets/ with both keys (mode 0600), and \
DIR/db/. DIR must be empty or not exist; if anything fails, nothing is left behind.

Examples:
  mayfly init --dir /etc/mayfly --name 'Team CA' --dns ca.example.internal
  mayfly init --dir ca --name Lab --dns ca.lab.test,10.0.0.5 --address 10.0.0.5:443 \\
              --acme hosts --password-file ca.password";

/// The longest name of a CA: `NAME Intermediate CA` must fit into the 64 characters of a common name
/// (X.520, ub-common-name).
const LONGEST_NAME: usize = 44;

/// Arguments of `mayfly init`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Where to put everything; must be empty or not exist
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// What the CA is called, in its certificates
    #[arg(long, value_name = "NAME", value_parser = ca_name)]
    pub name: String,
    /// Names or addresses that clients reach the CA by; the first stands in its URLs
    #[arg(long, value_name = "NAME[,NAME…]", value_delimiter = ',', required = true, value_parser = parse_host)]
    pub dns: Vec<Identifier>,
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9443", value_parser = listen_address)]
    pub address: SocketAddr,
    /// The ACME provisioner's name, in https://…/acme/NAME/directory
    #[arg(long, value_name = "NAME", default_value = "acme", value_parser = provisioner_name)]
    pub acme: String,
    /// The root's key: p256, p384, ed25519, rsa2048, rsa3072, rsa4096, ml-dsa-44, ml-dsa-65 or ml-dsa-87
    #[arg(long, value_name = "KIND", default_value = "p384", value_parser = KeyKind::parse)]
    pub root_key_type: KeyKind,
    /// The intermediate's key; under one of ML-DSA, clients that do not know it (RFC 9881) verify nothing,
    /// neither certificates nor this CA's own listener
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = KeyKind::parse, conflicts_with = "key")]
    pub key_type: KeyKind,
    /// Encrypt the keys with the first line of this file (mode 0600); `serve` needs it too
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// The intermediate's key, if it is to stay in a keystore: a URI, of a key that is there already
    /// (`mayfly key generate`); its PIN by pin-source= or --password-file
    #[arg(long, value_name = "URI", value_parser = issuer_key)]
    pub key: Option<KeySource>,
}

/// Founds a CA and says what to do next.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    dumps::forbid().map_err(CliError::CoreDumps)?;
    let layout = Layout { dir: args.dir.clone() };
    let password = args.password_file.as_deref().map(Password::read).transpose()?;
    let template = template(args)?;
    let founded = founding::found(&layout, &template, password.as_ref())?;
    explain(&layout, args, &founded, out)
}

fn template(args: &Args) -> Result<Template, CliError> {
    let absolute = |path: &Path| {
        let full = path.canonicalize().map_err(|source| CliError::File { path: path.to_owned(), source })?;
        full.to_str().map(str::to_owned).ok_or_else(|| CliError::PathText(full.clone()))
    };
    let mut dns_names: Vec<Identifier> = Vec::new();
    for name in &args.dns {
        if !dns_names.contains(name) {
            dns_names.push(name.clone());
        }
    }
    let pin_elsewhere = match &args.key {
        None | Some(KeySource::File(_)) => false,
        Some(KeySource::Pkcs11(uri)) => uri.pin_source.is_some(),
        Some(KeySource::AwsKms(_)) => true,
    };
    let password_file = args.password_file.as_deref().filter(|_| !pin_elsewhere);
    Ok(Template {
        name: args.name.clone(),
        address: args.address,
        dns_names,
        acme: args.acme.clone(),
        issuer_key: args.key.clone(),
        keys: [args.root_key_type, args.key_type],
        password_file: password_file.map(absolute).transpose()?,
        loopback: false,
        http_port: None,
        tls_alpn_port: None,
    })
}

pub(super) fn explain(
    layout: &Layout,
    args: &Args,
    founded: &Founded,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let dir = layout.dir.display();
    let (root, config) = (layout.root(), layout.config());
    let sealed = match args.password_file {
        Some(_) => "encrypted with your password",
        None => "not encrypted; --password-file encrypts them",
    };
    write!(
        out,
        "Created the CA {name:?} in {dir}

  root certificate  {root}
  its SHA-256       {fingerprint}
  private keys      {dir}/secrets ({sealed})

Next:
  1. Read {config}, then start the CA:
       mayfly serve --config {config_word}
  2. Take the root's private key offline: move {root_key}
     to a medium that you lock away, and keep a copy. Nothing that runs needs it: the intermediate
     issues. Whoever has it can make certificates that every client of yours believes, and no
     revocation helps; you need it again only to replace the intermediate.
  3. Have clients trust the root, after comparing the SHA-256 above. Debian and Ubuntu:
       cp {root_word} /usr/local/share/ca-certificates/mayfly.crt && update-ca-certificates
     Fedora and RHEL:
       cp {root_word} /etc/pki/ca-trust/source/anchors/mayfly.pem && update-ca-trust
     One program only: certbot takes REQUESTS_CA_BUNDLE, lego LEGO_CA_CERTIFICATES, Node.js
     NODE_EXTRA_CA_CERTS, curl --cacert.
",
        name = args.name,
        root = root.display(),
        fingerprint = founded.root_fingerprint,
        config = config.display(),
        config_word = shell_word(&config),
        root_key = layout.root_key().display(),
        root_word = shell_word(&root),
    )?;
    Ok(())
}

/// Paths in it become absolute: the configuration is not read from here.
pub(super) fn issuer_key(text: &str) -> Result<KeySource, String> {
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    match KeySource::parse(text, &here).map_err(|error| error.to_string())? {
        KeySource::File(_) => {
            Err("give a URI, pkcs11:… or awskms:…; a key file is made without this".to_owned())
        }
        key @ (KeySource::Pkcs11(_) | KeySource::AwsKms(_)) => Ok(key),
    }
}

fn ca_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("give a name without control characters".to_owned());
    }
    if text.chars().count() > LONGEST_NAME {
        return Err(format!("give at most {LONGEST_NAME} characters: it is part of a common name"));
    }
    Ok(text.to_owned())
}

pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err("give a port from 1 to 65535".to_owned()),
        Ok(address) => Ok(address),
        Err(_) => Err("give an IP address and a port, such as 0.0.0.0:9443 or [::1]:9443".to_owned()),
    }
}

fn provisioner_name(text: &str) -> Result<String, String> {
    match is_provisioner_name(text) {
        true => Ok(text.to_owned()),
        false => Err("give 1 to 64 of a-z, 0-9, hyphen, underscore: it stands in a URL".to_owned()),
    }
}
