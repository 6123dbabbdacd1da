//! `mayfly rotation start`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ceremony::{Ceremony, common_name, kept, key, numbered};
use super::generation::{self, Generation};
use super::place::Place;
use super::{RotationError, Which};
use crate::audit::configuration::RotationStep;
use crate::authority::ca::CaSpec;
use crate::authority::chain;
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::authority::signer::Signer;
use crate::cli::CliError;
use crate::cli::ca::limits::lifetime;
use crate::cli::ca::{CaError, cross_sign, describe, site};
use crate::cli::configuration::report;
use crate::config::edit::{Change, Next};
use crate::config::units::format_duration;
use crate::keystore;
use crate::keystore::file::KeyKind;
use crate::keystore::password::Password;
use crate::time::{Clock, SystemClock};

const AFTER_HELP: &str = "\
The next issuer has a fresh key, and the path length and name constraints of the one that signs. Without more, \
it is under the same root, whose key is in --root-dir. With --new-root a root is made too, its key beside the \
old one's; the old one cross-signs it, and both are in the bundle: clients that know one of them believe what \
comes. What was made \
elsewhere, under an offline root, is brought with --issuer and --key.

Every path is verified before the mayfly.toml names it, and the CA verifies each again and lets the new key \
sign a test text before it takes the configuration. Certificates of CAs that are signed here are recorded in the \
root directory's db, or, where that is the running CA's own, in `ceremonies` beside it.

Examples:
  mayfly rotation start --config /etc/mayfly/mayfly.toml --root-password-file root.password
  mayfly rotation start --new-root --root-dir /media/root
  mayfly rotation start --issuer ca2/certs/intermediate_ca.crt --key ca2/secrets/intermediate_ca_key";

/// Arguments of `mayfly rotation start`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// The next issuer's common name [default: the signing one's, and a number]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// p256, p384, ed25519, rsa2048, rsa3072, rsa4096, ml-dsa-44, ml-dsa-65 or ml-dsa-87
    #[arg(long, value_name = "KIND", default_value = "p256", value_parser = KeyKind::parse)]
    pub key_type: KeyKind,
    /// How long it is valid, with its root at the longest
    #[arg(long, value_name = "TIME", default_value = "1825d", value_parser = lifetime)]
    pub lifetime: Duration,
    /// The password of its key [default: that of the signing issuer's key]
    #[arg(long, value_name = "F")]
    pub password_file: Option<PathBuf>,
    /// The directory of the root that signs [default: the CA's]
    #[arg(long, value_name = "DIR")]
    pub root_dir: Option<PathBuf>,
    /// The password of the root's key, and of a new root's
    #[arg(long, value_name = "F")]
    pub root_password_file: Option<PathBuf>,
    /// Make a new root too, cross-signed by the old one
    #[arg(long)]
    pub new_root: bool,
    /// How long a new root is valid
    #[arg(long, value_name = "TIME", default_value = "3650d", value_parser = lifetime, requires = "new_root")]
    pub root_lifetime: Duration,
    /// An issuer that was made elsewhere: its certificate, and those between it and the root behind it
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with_all = ["name", "key_type", "lifetime", "root_dir", "root_password_file", "new_root"])]
    pub issuer: Option<PathBuf>,
    /// Its key: a file or a URI
    #[arg(long, value_name = "KEY", requires = "issuer")]
    pub key: Option<String>,
    /// A root that it is under, if that is none of the CA's yet
    #[arg(long, value_name = "FILE", requires = "issuer")]
    pub root: Option<PathBuf>,
    /// Which
    #[command(flatten)]
    pub which: Which,
}

/// What is there when all files are.
struct Prepared {
    next: Next,
    /// The roots, if there are more than before.
    roots: Option<Vec<Vec<u8>>>,
    /// The issuer's certificate.
    der: Vec<u8>,
    /// Where a new root's key is.
    root_key: Option<PathBuf>,
}

/// Makes the next issuer, or takes one, and puts it into the bundle.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<(), CliError> {
    let (place, _alone) = Place::take_place(&args.which)?;
    if let Some(next) = &place.authority.next {
        generation::tidy(&place)?;
        return Err(RotationError::Started(place.named(&next.certificate)).into());
    }
    let text = place.text()?;
    if text != place.in_force && !Generation::expects(&place, &text)? {
        return Err(RotationError::Differs(place.file.clone()).into());
    }
    let options = options(args, &place);
    let generation = Generation::begin(&place, &options)?;
    let prepared = match &args.issuer {
        Some(path) => brought(args, path, &place, &generation)?,
        None => made(args, &place, &generation)?,
    };
    let root = prepared.roots.map(|roots| place.roots_file(&roots)).transpose()?;
    let change = Change::Start(prepared.next, root.map(|path| place.named(&path)));
    generation.made(&place.changed(&change)?)?;
    let applied = place.take(&change, (RotationStep::Start, None, false))?;
    generation.finish()?;
    report(&applied, false, out)?;
    let overlap = format_duration(place.authority.bundle_overlap);
    write!(
        out,
        "The next issuer is in the bundle, and signs nothing yet:\n\n{}\nNext: once clients have fetched the \
         bundle, in {overlap}: mayfly rotation advance\n",
        describe::certificate(&prepared.der).unwrap_or_default()
    )?;
    if let Some(key) = prepared.root_key {
        writeln!(
            out,
            "Keep the new root's key away from the CA, which does not need it, and have a copy: {}",
            key.display()
        )?;
    }
    Ok(())
}

/// What is asked for, in one line: what was begun is finished by the same only.
fn options(args: &Args, place: &Place) -> String {
    let mut all = vec![format!("--authority {}", place.name())];
    let path = |flag: &str, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{flag} {path:?}"));
    if let Some(issuer) = &args.issuer {
        all.push(format!("--issuer {issuer:?} --key {:?}", args.key.as_deref().unwrap_or_default()));
        all.extend(path("--root", &args.root));
    } else {
        all.extend(args.name.as_ref().map(|name| format!("--name {name:?}")));
        let kind = KeyKind::TABLE.iter().find(|(_, kind)| *kind == args.key_type);
        all.push(format!("--key-type {}", kind.map_or("", |(name, _)| name)));
        all.push(format!("--lifetime {}", format_duration(args.lifetime)));
        all.extend(path("--root-dir", &args.root_dir));
        match args.new_root {
            true => all.push(format!("--new-root --root-lifetime {}", format_duration(args.root_lifetime))),
            false => all.push("without --new-root".to_owned()),
        }
    }
    all.extend(path("--password-file", &args.password_file));
    all.join(" ")
}

/// Writes a chain, and checks that it leads to one of the roots.
fn install(place: &Place, path: &Path, chain: &[Vec<u8>], roots: &[Vec<u8>]) -> Result<(), CliError> {
    chain::check(chain, roots, SystemClock.now())
        .map_err(|error| RotationError::Path { path: path.to_owned(), error })?;
    site::install(path, &site::chain_pem(chain), true)?;
    place.give(path)
}

/// The password of the next issuer's key: what the configuration says of it, and the password itself.
fn password(args: &Args, place: &Place) -> Result<(Option<PasswordSource>, Option<Password>), CliError> {
    let source = match &args.password_file {
        Some(path) => Some(PasswordSource::File(absolute(path)?)),
        None => match (&place.authority.key, &place.authority.password) {
            (KeySource::File(path), _) if keystore::sealed::is_sealed(path)? => {
                return Err(RotationError::Unprotected.into());
            }
            (KeySource::File(_), source) => source.clone(),
            (KeySource::Pkcs11(_) | KeySource::AwsKms(_), _) => return Err(RotationError::Unprotected.into()),
        },
    };
    let password = source.as_ref().map(Password::open).transpose()?;
    let source = source.map(|source| match source {
        PasswordSource::File(path) => PasswordSource::File(place.named(&path).into()),
        other => other,
    });
    Ok((source, password))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::fs::canonicalize(path).map_err(|source| CliError::File { path: path.to_owned(), source })
}

/// Makes key and certificate, and a root if that is asked for; what an earlier attempt has made is kept.
fn made(args: &Args, place: &Place, generation: &Generation) -> Result<Prepared, CliError> {
    let signing = site::certificates(&place.authority.certificate)?;
    let pattern = cross_sign::target(&place.authority.certificate, &signing[0])?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => numbered(&common_name(&signing[0]), generation.number)?,
    };
    let spec = CaSpec {
        path_len: pattern.spec.path_len,
        constraints: pattern.spec.constraints,
        ..CaSpec::issuing(&name).map_err(CaError::Name)?
    };
    let (source, password) = password(args, place)?;
    let above = Ceremony::new(args, place)?;
    let old_roots = place.roots()?;
    let root = if args.new_root { Some(above.new_root(args, place, generation)?) } else { None };
    let signer = key(&generation.key(), args.key_type, password.as_ref())?;
    place.give(&generation.key())?;
    let signed_by = root.as_ref().map_or(&above.root, |new| &new.issuer);
    let kept = kept(&generation.certificate(), signer.public_key())?;
    let der = match kept {
        Some(der) => der,
        None => above.sign(signed_by, spec, signer.public_key().clone(), args.lifetime)?,
    };
    let roots = match &root {
        None => old_roots.clone(),
        Some(new) => old_roots.iter().cloned().chain([new.issuer.der().to_vec()]).collect(),
    };
    let one = vec![der.clone()];
    install(place, &generation.certificate(), &one, &roots)?;
    let mut next = Next {
        certificate: place.named(&generation.certificate()),
        key: place.named(&generation.key()),
        password: source,
        alternate_chains: Vec::new(),
    };
    if let Some(new) = root {
        // By the old root alone, so that clients without the new one are served too.
        install(place, &generation.crossed(), &[der.clone(), new.cross], &old_roots)?;
        let plain = std::mem::replace(&mut next.certificate, place.named(&generation.crossed()));
        next.alternate_chains.push(plain);
        return Ok(Prepared { next, roots: Some(roots), der, root_key: Some(new.key) });
    }
    Ok(Prepared { next, roots: None, der, root_key: None })
}

/// Takes what was made elsewhere. Its certificate is copied, its key stays where it is.
fn brought(args: &Args, path: &Path, place: &Place, generation: &Generation) -> Result<Prepared, CliError> {
    let old = place.roots()?;
    let more = args.root.as_deref().map(site::certificates).transpose()?.unwrap_or_default();
    let fresh: Vec<_> = more.into_iter().filter(|root| !old.contains(root)).collect();
    let roots: Vec<_> = old.iter().cloned().chain(fresh.iter().cloned()).collect();
    let mut chain = site::certificates(path)?;
    // Clients have the roots.
    chain.retain(|der| !roots.contains(der));
    let Some(der) = chain.first().cloned() else {
        return Err(CaError::Content { path: path.to_owned(), want: "certificate but a root" }.into());
    };
    install(place, &generation.certificate(), &chain, &roots)?;
    let text = args.key.as_deref().unwrap_or_default();
    let here = std::env::current_dir().map_err(|source| CliError::File { path: ".".into(), source })?;
    let key = KeySource::parse(text, &here).map_err(|error| RotationError::Key(error.to_string()))?;
    let key = match key {
        KeySource::File(path) => place.named(&absolute(&path)?),
        KeySource::Pkcs11(_) | KeySource::AwsKms(_) => text.to_owned(),
    };
    let password = args.password_file.as_deref().map(absolute).transpose()?;
    let password = password.map(|path| PasswordSource::File(place.named(&path).into()));
    let certificate = place.named(&generation.certificate());
    let next = Next { certificate, key, password, alternate_chains: Vec::new() };
    Ok(Prepared { next, roots: (!fresh.is_empty()).then_some(roots), der, root_key: None })
}
