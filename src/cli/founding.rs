//! Founding a CA in a directory: what `mayfly init` and the first `mayfly dev` share.
//!
//! All or nothing: whatever fails, what was made is removed again. `mayfly.toml` is written last, so
//! that a directory with one in it is complete.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::CliError;
use super::template::Template;
use crate::authority::key_source::PasswordSource;
use crate::authority::signer::Signer;
use crate::config;
use crate::entropy::SystemEntropy;
use crate::keystore;
use crate::keystore::file::FileKey;
use crate::keystore::password::Password;
use crate::service::ceremony::{CeremonyPlan, CeremonyResult, create_hierarchy};
use crate::storage::{self, Backend};
use crate::time::SystemClock;

const DAY: Duration = Duration::from_secs(86_400);
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());
const INTERMEDIATE_LIFETIME: Duration = Duration::from_secs(5 * 365 * DAY.as_secs());

/// Where everything is in a CA's directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub dir: PathBuf,
}

impl Layout {
    /// What a CA's directory holds besides its mayfly.toml.
    pub(super) const PARTS: [&str; 3] = ["certs", "db", "secrets"];

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("mayfly.toml")
    }
    pub(super) fn root(&self) -> PathBuf {
        self.dir.join("certs/root_ca.crt")
    }
    pub(super) fn intermediate(&self) -> PathBuf {
        self.dir.join("certs/intermediate_ca.crt")
    }
    pub(super) fn root_key(&self) -> PathBuf {
        self.dir.join("secrets/root_ca_key")
    }
    pub(super) fn intermediate_key(&self) -> PathBuf {
        self.dir.join("secrets/intermediate_ca_key")
    }
    pub(super) fn db(&self) -> PathBuf {
        self.dir.join("db")
    }
    pub(super) fn csr(&self) -> PathBuf {
        self.dir.join("intermediate_ca.csr")
    }

    /// What the directory holds apart from dotfiles, sorted; nothing if it is not there.
    pub(super) fn contents(&self) -> Result<Vec<String>, CliError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(CliError::File { path: self.dir.clone(), source }),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(file_error(&self.dir))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        Ok(names)
    }
}

/// A few names for a message.
pub(super) fn some_of(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(8).map(String::as_str).collect();
    let more = names.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

/// A founded CA.
#[derive(Clone, Debug)]
pub(super) struct Founded {
    /// SHA-256 of the root certificate's DER, in lower-case hexadecimal.
    pub root_fingerprint: String,
}

/// Founds a CA in a directory that must be empty, but for dotfiles, or not exist.
pub(super) fn found(
    layout: &Layout,
    template: &Template,
    password: Option<&Password>,
) -> Result<Founded, CliError> {
    found_with(layout, template, password, hold_ceremony)
}

/// The keys a ceremony is held with: root, intermediate.
pub(super) type Keys = [Arc<dyn Signer>; 2];

/// As [`found`], with any ceremony.
pub(super) fn found_with(
    layout: &Layout,
    template: &Template,
    password: Option<&Password>,
    ceremony: impl FnOnce(&Path, Keys, &CeremonyPlan) -> Result<CeremonyResult, CliError>,
) -> Result<Founded, CliError> {
    let found = layout.contents()?;
    if !found.is_empty() {
        return Err(CliError::Occupied { dir: layout.dir.clone(), found: some_of(&found) });
    }
    let mut made = Made::default();
    made.ca_directory(layout)?;
    made.directory(&layout.db(), 0o700)?;

    let mut key = |path: PathBuf, kind| {
        let key = FileKey::generate(&path, kind, password, &SystemEntropy::default())?;
        made.note(path);
        Ok::<Arc<dyn Signer>, CliError>(Arc::new(key))
    };
    let [root_kind, issuer_kind] = template.keys;
    let root = key(layout.root_key(), root_kind)?;
    let intermediate = match &template.issuer_key {
        None => key(layout.intermediate_key(), issuer_kind)?,
        Some(source) => {
            let pin = template.password_file.clone().map(|path| PasswordSource::File(path.into()));
            keystore::open(source, pin.as_ref())?
        }
    };
    let keys = [root, intermediate];
    let plan = CeremonyPlan {
        name: template.name.clone(),
        root_lifetime: ROOT_LIFETIME,
        intermediate_lifetime: INTERMEDIATE_LIFETIME,
    };
    let certificates = ceremony(&layout.db(), keys, &plan)?;
    made.file(&layout.root(), &pem(&certificates.root_der)?)?;
    made.file(&layout.intermediate(), &pem(&certificates.intermediate_der)?)?;
    made.file(&layout.config(), &template.render())?;
    // What was written must be what `serve` accepts; a mistake here is ours, and is to show now.
    config::load(&layout.config())
        .map_err(|problems| CliError::Config { file: layout.config(), problems })?;
    made.keep();
    Ok(Founded { root_fingerprint: fingerprint(&certificates.root_der) })
}

fn hold_ceremony(
    db: &Path,
    [root, intermediate]: Keys,
    plan: &CeremonyPlan,
) -> Result<CeremonyResult, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(async {
        let store = storage::open(Backend::Fjall, db)?;
        let entropy = SystemEntropy::default();
        let result = create_hierarchy(store.as_ref(), &SystemClock, &entropy, root, intermediate, plan).await;
        store.close().await;
        Ok(result?)
    })
}

/// SHA-256 of a DER certificate, as `step certificate fingerprint` prints it.
pub(super) fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pem(der: &[u8]) -> Result<String, CliError> {
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, der)
        .map_err(|error| CliError::Output(io::Error::other(error)))
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { path, source }
}

/// What was made so far, in order; removed when dropped without [`Made::keep`].
#[derive(Debug, Default)]
pub(super) struct Made(Vec<PathBuf>);

impl Made {
    /// A CA's directory, with what certificates and keys are put into.
    pub(super) fn ca_directory(&mut self, layout: &Layout) -> Result<(), CliError> {
        self.directory(&layout.dir, 0o755)?;
        self.directory(&layout.dir.join("certs"), 0o755)?;
        self.directory(&layout.dir.join("secrets"), 0o700)
    }

    /// That somebody else made it.
    pub(super) fn note(&mut self, path: PathBuf) {
        self.0.push(path);
    }

    /// Makes a directory and those above it, where they are not there yet.
    pub(super) fn directory(&mut self, path: &Path, mode: u32) -> Result<(), CliError> {
        if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
            self.directory(parent, 0o755)?;
        }
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => {
                self.0.push(path.to_owned());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(source) => Err(CliError::File { path: path.to_owned(), source }),
        }
    }

    /// Writes a new file for everybody to read.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), CliError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .map_err(file_error(path))?;
        self.0.push(path.to_owned());
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error(path))?;
        let parent = path.parent().unwrap_or(Path::new("."));
        File::open(parent).and_then(|dir| dir.sync_all()).map_err(file_error(parent))
    }

    pub(super) fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // The store's own files are below a directory that we made ourselves; directories above
            // may by now hold what others put there, and then stay.
            let _ = match path.is_dir() {
                true if path.ends_with("db") => fs::remove_dir_all(path),
                true => fs::remove_dir(path),
                false => fs::remove_file(path),
            };
        }
    }
}
