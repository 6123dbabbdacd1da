//! `mayfly keys`

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use hyper::Method;

use super::CliError;
use super::running::{Target, json};
use crate::authority::blocked::check_reason;
use crate::service::keys::MOST_AT_ONCE;
use crate::wire::admin::{BlockKeys, BlockedKey, BlockedKeys, KeysBlocked};
use crate::x509::key_hash::KeyHash;
use crate::x509::subject_key::{Holder, hash_of};

const AFTER_HELP: &str = "\
A blocked key is certified by no authority and no provisioner of the CA, and no account is created \
with it or changed to it. Certificates and accounts that have it stay as they are: revoke and \
deactivate them. Revoking a certificate for keyCompromise blocks its key by itself.

A key is known by the SHA-256 of its SubjectPublicKeyInfo:
  openssl pkey -pubin -in key.pem -outform DER | sha256sum

Commands go through the admin socket of the running CA, as the user it runs as or as root.

Examples:
  mayfly keys block --certificate leaked.crt --reason 'found in a public repository'
  mayfly keys block --file known-weak.txt --reason 'weak keys of 2024' --config /etc/mayfly/mayfly.toml
  mayfly keys list
  mayfly keys unblock 3b5d…";

/// The largest certificate, request or key file read.
const LARGEST_FILE: u64 = 256 * 1024;

/// The largest list of hashes read: some million of them.
const LARGEST_LIST: u64 = 128 << 20;

/// Arguments of `mayfly keys`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Args {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Block keys
    Block(Block),
    /// List the blocked keys
    List(List),
    /// Lift the block of a key
    Unblock(Unblock),
}

/// Arguments of `mayfly keys block`.
#[derive(Clone, Debug, clap::Args)]
pub struct Block {
    /// Which keys
    #[command(flatten)]
    pub which: Which,
    /// Why, in one line
    #[arg(long, value_name = "TEXT", value_parser = check_reason)]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Where the keys come from.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The key of a certificate, PEM or DER
    #[arg(long, value_name = "F")]
    pub certificate: Option<PathBuf>,
    /// The key of a certification request, PEM or DER
    #[arg(long, value_name = "F")]
    pub csr: Option<PathBuf>,
    /// A public key (SubjectPublicKeyInfo), PEM or DER
    #[arg(long, value_name = "F")]
    pub key: Option<PathBuf>,
    /// The SHA-256 of a SubjectPublicKeyInfo
    #[arg(long, value_name = "HEX", value_parser = key_hash)]
    pub sha256: Option<KeyHash>,
    /// A list of those, one a line; empty lines and lines that begin with # are passed over
    #[arg(long, value_name = "F")]
    pub file: Option<PathBuf>,
}

/// Arguments of `mayfly keys list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

/// Arguments of `mayfly keys unblock`.
#[derive(Clone, Debug, clap::Args)]
pub struct Unblock {
    /// The key's hash, as `mayfly keys list` shows it
    #[arg(value_name = "HEX", value_parser = key_hash)]
    pub key: KeyHash,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Which CA
    #[command(flatten)]
    pub target: Target,
}

fn key_hash(text: &str) -> Result<KeyHash, String> {
    KeyHash::parse(text).ok_or_else(|| "is no SHA-256: give 64 hexadecimal digits".to_owned())
}

/// Runs a command against a running CA.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    match &args.command {
        Command::Block(args) => block(args, out),
        Command::List(args) => list(args, out),
        Command::Unblock(args) => unblock(args, out),
    }
}

fn block(args: &Block, out: &mut dyn Write) -> Result<(), CliError> {
    let keys = args.which.keys()?;
    let mut done = KeysBlocked::default();
    for some in keys.chunks(MOST_AT_ONCE) {
        let ask =
            BlockKeys { keys: some.iter().map(ToString::to_string).collect(), reason: args.reason.clone() };
        let part: KeysBlocked = args.target.call(Method::POST, "/v1/blocked-keys", Some(&ask))?;
        done.blocked += part.blocked;
        done.known += part.known;
    }
    if args.json {
        return json(out, &done);
    }
    if let [key] = keys.as_slice() {
        writeln!(out, "SHA-256 of the key: {key}")?;
    }
    let known = match done.known {
        0 => String::new(),
        known => format!(" ({known} blocked before)"),
    };
    let keys = if done.blocked == 1 { "key" } else { "keys" };
    writeln!(
        out,
        "Blocked {} {keys}{known}. Certificates and accounts that have them stay as they are.",
        done.blocked
    )?;
    Ok(())
}

impl Which {
    fn keys(&self) -> Result<Vec<KeyHash>, CliError> {
        let Self { certificate, csr, key, sha256, file } = self;
        if let Some(path) = file {
            let text = read(path, LARGEST_LIST)?;
            return listed(&text).map_err(|why| unusable(path, why));
        }
        if let Some(hash) = sha256 {
            return Ok(vec![*hash]);
        }
        let holders = [(certificate, Holder::Certificate), (csr, Holder::Request), (key, Holder::PublicKey)];
        for (path, holder) in holders {
            if let Some(path) = path {
                let bytes = read(path, LARGEST_FILE)?;
                return Ok(vec![hash_of(&bytes, holder).map_err(|why| unusable(path, why.to_string()))?]);
            }
        }
        Ok(Vec::new())
    }
}

fn unusable(path: &Path, why: String) -> CliError {
    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
    CliError::File { path: path.to_owned(), source }
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(unusable(path, format!("is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// The hashes of a list; what is wrong with it, by line.
fn listed(text: &[u8]) -> Result<Vec<KeyHash>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is no text".to_owned())?;
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = KeyHash::parse(line);
        keys.push(key.ok_or_else(|| {
            format!("line {}: is no SHA-256 (64 hexadecimal digits); nothing was blocked", at + 1)
        })?);
    }
    match keys.is_empty() {
        true => Err("holds no SHA-256".to_owned()),
        false => Ok(keys),
    }
}

fn list(args: &List, out: &mut dyn Write) -> Result<(), CliError> {
    let mut keys: Vec<BlockedKey> = Vec::new();
    let mut path = "/v1/blocked-keys".to_owned();
    loop {
        let page: BlockedKeys = args.target.call(Method::GET, &path, None::<&()>)?;
        keys.extend(page.keys);
        match page.next {
            Some(after) => path = format!("/v1/blocked-keys?after={after}"),
            None => break,
        }
    }
    keys.sort_by(|a, b| (&a.at, &a.key).cmp(&(&b.at, &b.key)));
    if args.json {
        return json(out, &BlockedKeys { keys, next: None });
    }
    if keys.is_empty() {
        writeln!(out, "No key is blocked; `mayfly keys block` blocks one.")?;
        return Ok(());
    }
    writeln!(out, "{:<64}  {:<20}  REASON", "SHA-256", "BLOCKED")?;
    for BlockedKey { key, at, reason, revoked } in &keys {
        let by = revoked.as_ref().map(|serial| format!(" ({serial})")).unwrap_or_default();
        writeln!(out, "{key}  {at:<20}  {reason}{by}")?;
    }
    Ok(())
}

fn unblock(args: &Unblock, out: &mut dyn Write) -> Result<(), CliError> {
    let path = format!("/v1/blocked-keys/{}/unblock", args.key);
    let lifted: BlockedKey = args.target.call(Method::POST, &path, None::<&()>)?;
    if args.json {
        return json(out, &lifted);
    }
    writeln!(out, "Unblocked {}, which was blocked since {}: {}", lifted.key, lifted.at, lifted.reason)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_hashes() {
        let (a, b) = (KeyHash([0xa1; 32]), KeyHash([0xb2; 32]));
        let text = format!("# known\n\n{a}\r\n  {}\n", b.to_string().to_uppercase());
        assert_eq!(listed(text.as_bytes()).unwrap(), [a, b]);
        for (text, words) in [
            (format!("{a}\nnothing\n"), "line 2"),
            ("# none\n".to_owned(), "holds no SHA-256"),
            (String::new(), "holds no SHA-256"),
        ] {
            assert!(listed(text.as_bytes()).unwrap_err().contains(words), "{text}");
        }
        assert!(listed(&[0xff]).unwrap_err().contains("no text"));
    }
}
