//! A directory with a CA in it: its files, its keys, its record.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::CaError;
use crate::authority::chain;
use crate::authority::issuer::Issuer;
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::authority::signer::Signer;
use crate::cli::CliError;
use crate::cli::founding::{Layout, Made};
use crate::entropy::{Entropy, SystemEntropy};
use crate::keystore;
use crate::keystore::file::{FileKey, KeyKind};
use crate::keystore::password::Password;
use crate::service::ceremony::Place;
use crate::storage::{self, Backend};
use crate::time::{Clock, SystemClock};
use crate::x509::pem;

/// The largest certificate, chain or request that is read.
const LARGEST: u64 = 256 * 1024;

/// Which CA of a directory signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The root.
    Root,
    /// The intermediate, if its certificate allows CAs below it.
    Intermediate,
}

/// A key that is there already, and what opens it.
#[derive(Clone, Copy)]
pub(in crate::cli) struct Key<'a> {
    /// In a keystore, if not in the directory.
    pub uri: Option<&'a KeySource>,
    /// A key file's password, or a token's PIN.
    pub password_file: Option<&'a Path>,
}

impl Key<'_> {
    /// Opens it, or the directory's own at `path`.
    pub(in crate::cli) fn open(&self, path: PathBuf, layout: &Layout) -> Result<Arc<dyn Signer>, CliError> {
        if self.uri.is_none() && !path.exists() {
            return Err(CaError::NoCa { path, dir: layout.dir.clone() }.into());
        }
        let password = self.password_file.map(|path| PasswordSource::File(path.to_owned()));
        let source = self.uri.cloned().unwrap_or(KeySource::File(path));
        Ok(keystore::open(&source, password.as_ref())?)
    }

    /// As [`Key::open`] in a keystore; or makes the directory's own at `path`, encrypted if there is a
    /// password.
    pub(in crate::cli) fn found(
        &self,
        path: PathBuf,
        kind: KeyKind,
        layout: &Layout,
        made: &mut Made,
    ) -> Result<Arc<dyn Signer>, CliError> {
        if self.uri.is_some() {
            return self.open(path, layout);
        }
        let password = self.password_file.map(Password::read).transpose()?;
        let signer = FileKey::generate(&path, kind, password.as_ref(), &SystemEntropy::default())?;
        made.note(path);
        Ok(Arc::new(signer))
    }
}

/// The CA of a directory, ready to sign.
pub(in crate::cli) fn open(layout: &Layout, by: By, key: Key<'_>) -> Result<Arc<Issuer>, CliError> {
    let (certificate, path) = match by {
        By::Root => (layout.root(), layout.root_key()),
        By::Intermediate => (layout.intermediate(), layout.intermediate_key()),
    };
    let issuer = open_files(layout, &certificate, path, key)?;
    let wrong = |error| CaError::Issuer { path: certificate.clone(), error };
    if by == By::Root {
        return Ok(Arc::new(issuer));
    }
    let roots = certificates(&layout.root())?;
    let root = chain::check(issuer.chain(), &roots, SystemClock.now())
        .map_err(|error| CaError::Chain { path: certificate.clone(), error })?;
    Ok(Arc::new(issuer.under_root(root).map_err(wrong)?))
}

/// The CA of these files, or of its key in a keystore, with nothing checked that is above it.
pub(in crate::cli) fn open_files(
    layout: &Layout,
    certificate: &Path,
    path: PathBuf,
    key: Key<'_>,
) -> Result<Issuer, CliError> {
    if !certificate.exists() {
        return Err(CaError::NoCa { path: certificate.to_owned(), dir: layout.dir.clone() }.into());
    }
    let chain = certificates(certificate)?;
    let signer = key.open(path, layout)?;
    let content = || CaError::Content { path: certificate.to_owned(), want: "certificate" };
    let (own, above) = chain.split_first().ok_or_else(content)?;
    let issuer = Issuer::new(own.clone(), above, signer);
    Ok(issuer.map_err(|error| CaError::Issuer { path: certificate.to_owned(), error })?)
}

/// Does work on the record that is kept in `db`.
pub(in crate::cli) fn record<T>(
    db: &Path,
    work: impl AsyncFnOnce(Place<'_>) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let store = storage::open(Backend::Fjall, db)?;
        let entropy = SystemEntropy::default();
        let done = work(Place { store: store.as_ref(), clock: &SystemClock, entropy: &entropy }).await;
        store.close().await;
        done
    })
}

/// The bytes of a small file.
pub(in crate::cli) fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(CaError::TooLarge(path.to_owned()).into()),
        false => Ok(bytes),
    }
}

/// All certificates of a PEM file, or the one of a DER file; DER.
pub(in crate::cli) fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, CliError> {
    let bytes = read(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes]);
    }
    pem::parse_certificates(&bytes)
        .ok_or_else(|| CaError::Content { path: path.to_owned(), want: "certificate" }.into())
}

/// The request of a PEM or DER file; DER.
pub(in crate::cli) fn request(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = read(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(bytes);
    }
    match pem_rfc7468::decode_vec(&bytes) {
        Ok(("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST", der)) => Ok(der),
        Ok(_) | Err(_) => {
            Err(CaError::Content { path: path.to_owned(), want: "certification request" }.into())
        }
    }
}

/// That nothing is there yet; said before anything is signed.
pub(in crate::cli) fn vacant(path: &Path) -> Result<(), CliError> {
    match path.symlink_metadata() {
        Ok(_) => Err(CaError::Exists(path.to_owned()).into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CliError::File { path: path.to_owned(), source }),
    }
}

/// Writes a file for everybody to read, whole or not at all: beside it first, under a name that nobody
/// foresees, then in its place. With `replace` it may be there already.
pub(in crate::cli) fn install(path: &Path, text: &str, replace: bool) -> Result<(), CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    if !replace {
        vacant(path)?;
    }
    let mut beside = path.as_os_str().to_owned();
    let chance = u64::from_be_bytes((&SystemEntropy::default() as &dyn Entropy).bytes());
    beside.push(format!(".{chance:016x}.new"));
    let beside = PathBuf::from(beside);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&beside, path)).map_err(|source| {
        let _ = fs::remove_file(&beside);
        failed(source)
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
}

/// The URI of a key in a keystore. Paths in it become absolute: it is also printed for a configuration.
pub(super) fn key_uri(text: &str) -> Result<KeySource, String> {
    crate::cli::init::issuer_key(text)
}

/// A chain as PEM.
pub(in crate::cli) fn chain_pem(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| pem::certificate(der)).collect()
}
