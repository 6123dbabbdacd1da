//! Where a rotation takes place: the running CA, its file, and the configuration in force.

use std::fs;
use std::path::{Path, PathBuf};

use hyper::Method;

use super::{RotationError, Which};
use crate::audit::configuration::RotationStep;
use crate::cli::CliError;
use crate::cli::ca::site;
use crate::cli::replace::{self, Replaced};
use crate::cli::running::Target;
use crate::config;
use crate::config::edit::{self, Change};
use crate::config::settings::{Authority, Settings};
use crate::service::configuration::text_digest;
use crate::wire::admin as wire;

/// A step's surroundings.
pub(super) struct Place {
    target: Target,
    /// The mayfly.toml.
    pub(super) file: PathBuf,
    /// Where its relative paths start.
    pub(super) base: PathBuf,
    /// The text in force.
    pub(super) in_force: String,
    /// What it says.
    pub(super) settings: Settings,
    /// The authority that is meant.
    pub(super) authority: Authority,
}

/// A step: which, of which issuer, and whether it is forced.
type Step = (RotationStep, Option<String>, bool);

impl Place {
    pub(super) fn find(which: &Which) -> Result<Self, CliError> {
        let target = which.target.clone();
        let file = target.file()?;
        // As the CA has it, which follows no link to find where relative paths start.
        let file = std::path::absolute(&file).map_err(|source| CliError::File { path: file, source })?;
        let base = file.parent().unwrap_or(Path::new("/")).to_owned();
        let path = "/v1/configurations/current";
        let found: wire::Configuration = target.call(Method::GET, path, None::<&()>)?;
        let settings = config::parse(&found.text, &base).settings;
        let settings = settings.map_err(|problems| CliError::Config { file: file.clone(), problems })?;
        let authority = chosen(&settings, which.authority.as_deref())?.clone();
        Ok(Self { target, file, base, in_force: found.text, settings, authority })
    }

    /// The same for a step that changes something, with nobody else at it.
    pub(super) fn take_place(which: &Which) -> Result<(Self, fs::File), CliError> {
        let alone = replace::alone(&which.target.file()?)?;
        Ok((Self::find(which)?, alone))
    }

    /// The authority's name.
    pub(super) fn name(&self) -> &str {
        self.authority.name.as_str()
    }

    /// The text of the file now.
    pub(super) fn text(&self) -> Result<String, CliError> {
        let failed = |source| CliError::File { path: self.file.clone(), source };
        fs::read_to_string(&self.file).map_err(failed)
    }

    /// The text in force, changed.
    pub(super) fn changed(&self, change: &Change) -> Result<String, CliError> {
        Ok(edit::edit(&self.in_force, self.name(), change).map_err(RotationError::from)?)
    }

    /// Whether the file is the text in force, or what `change` makes of it; anything else is refused.
    pub(super) fn check_file(&self, change: &Change) -> Result<(), CliError> {
        let text = self.text()?;
        if text == self.in_force || text == self.changed(change)? {
            return Ok(());
        }
        Err(RotationError::Differs(self.file.clone()).into())
    }

    /// Makes the file what `change` makes of the text in force, and puts it into force; if that does not come
    /// about, the file is as it was.
    pub(super) fn take(
        &self,
        change: &Change,
        (step, issuer, force): Step,
    ) -> Result<wire::AppliedConfiguration, CliError> {
        self.check_file(change)?;
        let text = self.changed(change)?;
        let rotation = wire::RotationStep {
            step: step.name().to_owned(),
            authority: self.name().to_owned(),
            issuer,
            force,
        };
        // Nothing is written that a restart would put into force although it is refused now.
        let _: wire::Rotations = self.target.call(Method::POST, "/v1/rotations", Some(&rotation))?;
        let mut replaced = Replaced::default();
        replaced.put_over(&self.file, &self.in_force, &text)?;
        let ask = wire::ApplyConfiguration {
            rollback_to: None,
            rotation: Some(rotation),
            text_sha256: Some(text_digest(&text)),
        };
        let outcome = self.target.call(Method::POST, "/v1/configurations", Some(&ask));
        replaced.settled(outcome).map(|(applied, _)| applied)
    }

    /// Where the rotation stands.
    pub(super) fn standing(&self) -> Result<wire::Rotation, CliError> {
        let all: wire::Rotations = self.target.call(Method::GET, "/v1/rotations", None::<&()>)?;
        let own = all.rotations.into_iter().find(|one| one.authority == self.name());
        own.ok_or_else(|| RotationError::NoAuthority(self.name().to_owned()).into())
    }

    /// Some of an issuer's certificates that are alive, at most so many.
    pub(super) fn sample(&self, issuer: &str, most: usize) -> Result<Vec<wire::Certificate>, CliError> {
        let path = format!("/v1/certificates?issuer={issuer}&state=valid&limit={most}");
        let mut page: wire::Certificates = self.target.call(Method::GET, &path, None::<&()>)?;
        // As in the count, without this server's own.
        page.certificates.retain(|one| one.door != "own");
        Ok(page.certificates)
    }

    /// A file as the configuration is to name it: from its own directory on, if it lies there.
    pub(super) fn named(&self, path: &Path) -> String {
        path.strip_prefix(&self.base).unwrap_or(path).display().to_string()
    }

    /// The roots' file of the authority: what is in it.
    pub(super) fn roots(&self) -> Result<Vec<Vec<u8>>, CliError> {
        site::certificates(&self.authority.root)
    }

    /// Writes a roots' file of these, unless there is one.
    pub(super) fn roots_file(&self, roots: &[Vec<u8>]) -> Result<PathBuf, CliError> {
        let certs = self.base.join("certs");
        let known = (2..).map(|n| certs.join(format!("roots_{n}.crt"))).take_while(|path| path.exists());
        for path in std::iter::once(certs.join("root_ca.crt")).chain(known) {
            if path.is_file() && site::certificates(&path).is_ok_and(|there| there == roots) {
                return Ok(path);
            }
        }
        let free = (2..).map(|n| certs.join(format!("roots_{n}.crt"))).find(|path| !path.exists());
        let path = free.unwrap_or_else(|| certs.join("roots.crt"));
        site::install(&path, &site::chain_pem(roots), false)?;
        self.give(&path)?;
        Ok(path)
    }

    /// Gives a file that was made to the user that the CA's configuration belongs to.
    pub(super) fn give(&self, path: &Path) -> Result<(), CliError> {
        use std::os::unix::fs::{MetadataExt, lchown};
        let failed = |source| CliError::File { path: path.to_owned(), source };
        // Whose the directory is may have put a link in its place: that is all that is given then.
        let own = fs::symlink_metadata(path).map_err(failed)?;
        let like = fs::metadata(&self.file).map_err(failed)?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            lchown(path, Some(like.uid()), Some(like.gid())).map_err(failed)?;
        }
        Ok(())
    }
}

/// The one that is named, or the only one.
pub(super) fn chosen<'s>(settings: &'s Settings, name: Option<&str>) -> Result<&'s Authority, RotationError> {
    let all = &settings.authorities;
    match name {
        Some(name) => all
            .iter()
            .find(|one| one.name.as_str() == name)
            .ok_or_else(|| RotationError::NoAuthority(name.to_owned())),
        None => match all.as_slice() {
            [one] => Ok(one),
            _ => {
                let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
                Err(RotationError::Which(names.join(", ")))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_authorities_one_is_named() {
        let server = "[server]\naddress = \"[::1]:1\"\ndns_names = [\"ca.test\"]\n";
        let authority = |name: &str| {
            format!("[[authority]]\nname = \"{name}\"\ncertificate = \"{name}.crt\"\nkey = \"{name}.key\"\n")
        };
        let provisioner = "[[provisioner]]\ntype = \"acme\"\nname = \"x\"\n";
        let parsed = |text: &str| config::parse(text, Path::new("/ca")).settings.unwrap();
        let one = parsed(&format!("{server}{provisioner}"));
        let text = format!("{server}{}{}{provisioner}authority = \"a\"\n", authority("a"), authority("b"));
        let two = parsed(&text);
        let name = |settings: &Settings, asked| {
            let found = chosen(settings, asked).map(|one| one.name.as_str().to_owned());
            found.map_err(|error| error.to_string())
        };
        assert_eq!(name(&one, None).unwrap(), "default");
        assert_eq!(name(&two, Some("b")).unwrap(), "b");
        assert!(name(&two, None).unwrap_err().contains("there are a, b"));
        assert!(name(&one, Some("c")).unwrap_err().contains("no authority c"));
    }
}
