//! The making of the next issuer under a root whose key is at hand; whatever an earlier attempt has made is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::RotationError;
use super::generation::Generation;
use super::place::Place;
use super::start::Args;
use crate::authority::ca::CaSpec;
use crate::authority::issuer::Issuer;
use crate::authority::signer::Signer;
use crate::authority::subject::LONGEST_COMMON_NAME;
use crate::cli::CliError;
use crate::cli::ca::site::{self, Key};
use crate::cli::ca::{CaError, cross_sign};
use crate::cli::founding::Layout;
use crate::entropy::SystemEntropy;
use crate::keystore::file::{FileKey, KeyKind};
use crate::keystore::password::Password;
use crate::service::ceremony::{CeremonyError, create_root, sign_authority};
use crate::time::{Clock, SystemClock};
use crate::x509::spki::Spki;

/// The root that signs, and where that is recorded.
pub(super) struct Ceremony {
    pub(super) root: Arc<Issuer>,
    db: PathBuf,
    /// The root's directory.
    dir: PathBuf,
    password: Option<Password>,
}

/// A new root, and its certificate by the old one.
pub(super) struct NewRoot {
    pub(super) issuer: Arc<Issuer>,
    pub(super) cross: Vec<u8>,
    /// Where its key is.
    pub(super) key: PathBuf,
}

impl Ceremony {
    pub(super) fn new(args: &Args, place: &Place) -> Result<Self, CliError> {
        let layout = Layout { dir: args.root_dir.clone().unwrap_or_else(|| place.base.clone()) };
        let password_file = args.root_password_file.as_deref();
        let password = password_file.map(Password::read).transpose()?;
        let (certificate, key) = root_files(&layout, &place.roots()?);
        let root = Arc::new(site::open_files(&layout, &certificate, key, Key { uri: None, password_file })?);
        let same = |a: &Path, b: &Path| {
            super::start::absolute(a).ok().is_some_and(|a| super::start::absolute(b).ok() == Some(a))
        };
        // One process has a store; and the CA is running on its own.
        let own = same(&layout.db(), &place.settings.store.path);
        let db = if own { record_beside(&layout.dir)? } else { layout.db() };
        Ok(Self { root, db, dir: layout.dir, password })
    }

    pub(super) fn sign(
        &self,
        by: &Arc<Issuer>,
        spec: CaSpec,
        key: Spki,
        lifetime: Duration,
    ) -> Result<Vec<u8>, CliError> {
        site::record(&self.db, async |at| {
            Ok(sign_authority(at, by, spec, key, lifetime).await.map_err(CeremonyError::Issue)?)
        })
    }

    pub(super) fn new_root(
        &self,
        args: &Args,
        place: &Place,
        generation: &Generation,
    ) -> Result<NewRoot, CliError> {
        // With the old root, whose key is kept away from the CA: so is this one's, and it is not given to the
        // CA's user.
        let beside = Generation::of(&self.dir, generation.number);
        let (path, file) = (beside.root_key(), generation.root());
        let signer = Arc::new(key(&path, KeyKind::P384, self.password.as_ref())?);
        let public = signer.public_key().clone();
        let der = match kept(&beside.root(), &public)? {
            Some(der) => der,
            None => {
                let name = numbered(&common_name(self.root.der()), generation.number)?;
                let old = cross_sign::target(&place.authority.root, self.root.der())?;
                let spec =
                    CaSpec { subject: CaSpec::root(&name).map_err(CaError::Name)?.subject, ..like(old.spec) };
                let signer = signer.clone();
                site::record(&self.db, async |at| {
                    let made = create_root(at, signer, spec, args.root_lifetime).await;
                    Ok(made.map_err(CeremonyError::Issue)?)
                })?
            }
        };
        let text = site::chain_pem(std::slice::from_ref(&der));
        site::install(&beside.root(), &text, true)?;
        if beside.root() != file {
            site::install(&file, &text, true)?;
        }
        place.give(&file)?;
        let target = cross_sign::target(&file, &der)?;
        // What an earlier attempt has signed stands behind the issuer; it costs nothing to sign anew.
        let left = target.not_after.since(SystemClock.now());
        let path_len = below(self.root.path_room(), target.spec.path_len);
        let cross = self.sign(&self.root, CaSpec { path_len, ..target.spec }, target.key, left)?;
        let issuer = Issuer::new(der, &[], signer).map_err(|error| CaError::Issuer { path: file, error })?;
        Ok(NewRoot { issuer: Arc::new(issuer), cross, key: path })
    }
}

/// Certificate and key of the root that signs: of those in the directory the last one that is in the bundle.
fn root_files(layout: &Layout, roots: &[Vec<u8>]) -> (PathBuf, PathBuf) {
    let of = |number| Generation::of(&layout.dir, number);
    let made =
        Generation::numbers(&layout.dir).into_iter().map(|number| (of(number).root(), of(number).root_key()));
    let mut all = std::iter::once((layout.root(), layout.root_key())).chain(made);
    let known = |(certificate, key): &(PathBuf, PathBuf)| {
        let trusted = |found: Vec<Vec<u8>>| found.first().is_some_and(|root| roots.contains(root));
        key.exists() && site::certificates(certificate).is_ok_and(trusted)
    };
    all.rfind(known).unwrap_or_else(|| (layout.root(), layout.root_key()))
}

/// What a CA may do that takes another one's place: as much, under a key identifier of its own.
fn like(spec: CaSpec) -> CaSpec {
    CaSpec { key_id: None, ..spec }
}

/// The path length of a certificate below a CA that has that much room, if its own is to be `asked`.
fn below(room: Option<u8>, asked: Option<u8>) -> Option<u8> {
    match room {
        None => asked,
        Some(room) => Some(asked.unwrap_or(u8::MAX).min(room.saturating_sub(1))),
    }
}

/// The record in a directory whose store is in use, made if it is not there. Under another name first: a store
/// whose making was cut short does not open.
fn record_beside(dir: &Path) -> Result<PathBuf, CliError> {
    let (db, new) = (dir.join("ceremonies"), dir.join("ceremonies.new"));
    if db.exists() {
        return Ok(db);
    }
    let failed = |source| CliError::File { path: new.clone(), source };
    match std::fs::remove_dir_all(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    site::record(&new, async |_| Ok(()))?;
    std::fs::rename(&new, &db).map_err(failed)?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(db)
}

/// The key of that file, made if it is not there.
pub(super) fn key(path: &Path, kind: KeyKind, password: Option<&Password>) -> Result<FileKey, CliError> {
    if path.exists() {
        return Ok(FileKey::load(path, password)?);
    }
    Ok(FileKey::generate(path, kind, password, &SystemEntropy::default())?)
}

/// The certificate of an earlier attempt, if it is that key's.
pub(super) fn kept(path: &Path, key: &Spki) -> Result<Option<Vec<u8>>, CliError> {
    if !path.exists() {
        return Ok(None);
    }
    let der = site::certificates(path)?.swap_remove(0);
    Ok(Some(der).filter(|der| cross_sign::target(path, der).is_ok_and(|found| found.key == *key)))
}

/// A certificate's common name.
pub(super) fn common_name(der: &[u8]) -> String {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let parsed = X509Certificate::from_der(der).map(|(_, parsed)| parsed);
    let name = parsed.ok().and_then(|parsed| {
        let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
        Some(name.to_owned())
    });
    name.unwrap_or_else(|| "Issuing CA".to_owned())
}

/// The name with a number behind it, in the place of one that it has.
pub(super) fn numbered(name: &str, number: u32) -> Result<String, CliError> {
    let bare = match name.rsplit_once(' ') {
        Some((bare, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => bare,
        Some(_) | None => name,
    };
    let name = format!("{bare} {number}");
    if name.chars().count() > LONGEST_COMMON_NAME { Err(RotationError::Name.into()) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_root_may_do_what_the_old_one_may() {
        use crate::authority::constraints::{NameConstraints, Subtree};
        let permitted = vec![Subtree::Dns("lab.test".into())];
        let constraints = NameConstraints { permitted, excluded: Vec::new() };
        let old =
            CaSpec { path_len: Some(2), constraints, key_id: Some([1; 20]), ..CaSpec::root("Old").unwrap() };
        assert_eq!(like(old.clone()), CaSpec { key_id: None, ..old });
        let rows = [
            (None, None, None),
            (None, Some(3), Some(3)),
            (Some(2), None, Some(1)),
            (Some(2), Some(2), Some(1)),
            (Some(2), Some(0), Some(0)),
            (Some(0), Some(2), Some(0)),
        ];
        for (room, asked, want) in rows {
            assert_eq!(below(room, asked), want, "{room:?} {asked:?}");
        }
    }

    #[test]
    fn numbers_follow_each_other() {
        let rows = [
            ("Team Intermediate CA", 2, Some("Team Intermediate CA 2")),
            ("Team Intermediate CA 2", 3, Some("Team Intermediate CA 3")),
            ("G1", 2, Some("G1 2")),
            ("2", 2, Some("2 2")),
            (&"x".repeat(62), 2, Some(&*format!("{} 2", "x".repeat(62)))),
            (&"x".repeat(63), 2, None),
        ];
        for (name, number, want) in rows {
            assert_eq!(numbered(name, number).ok().as_deref(), want, "{name}");
        }
    }
}
