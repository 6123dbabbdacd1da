//! The files of one generation of issuers in the CA's directory, by number: `certs/issuer_2.crt`,
//! `secrets/issuer_2_key` and so on. None is ever written over, so that an older configuration finds what it
//! names. While one is being made there is a marker, by which a start that was cut short is known.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::RotationError;
use super::place::Place;
use crate::authority::succession::{Chain, remaining_chains, remaining_roots};
use crate::cli::CliError;
use crate::cli::ca::site;
use crate::cli::replace::Replaced;
use crate::config::edit::Left;
use crate::config::settings::NextIssuer;
use crate::service::configuration::text_digest;
use crate::time::{Clock, SystemClock};

/// One generation.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    base: PathBuf,
    pub(super) number: u32,
}

impl Generation {
    /// The one that is being made, or the first that there is nothing of. `options` are what is asked for.
    pub(super) fn begin(place: &Place, options: &str) -> Result<Self, CliError> {
        if let Some(unfinished) = Self::unfinished(place)? {
            let marker = unfinished.marker();
            let began = unfinished.noted()?.0;
            // Of what did not get beyond its marker, nothing is in the way.
            let empty = unfinished.files()[1..].iter().all(|path| path.symlink_metadata().is_err());
            if began != options && empty {
                site::install(&marker, &format!("{options}\n"), true)?;
            } else if began != options {
                return Err(RotationError::Unfinished { options: began, marker }.into());
            }
            return Ok(unfinished);
        }
        // Behind all that there ever was, gaps or not: a number stands in names of CAs.
        let last = Self::numbers(&place.base).into_iter().max().unwrap_or(1);
        let free = Self::of(&place.base, last.saturating_add(1));
        site::install(&free.marker(), &format!("{options}\n"), false)?;
        Ok(free)
    }

    /// The one that is being made. A marker that only was not taken away is taken away.
    fn unfinished(place: &Place) -> Result<Option<Self>, CliError> {
        let numbers = Self::numbers(&place.base).into_iter();
        let marked = numbers.map(|number| Self::of(&place.base, number)).find(|one| one.marker().exists());
        match marked {
            Some(one) if one.is_used(place) => one.finish().map(|()| None),
            other => Ok(other),
        }
    }

    /// The one of that number in a directory.
    pub(super) fn of(base: &Path, number: u32) -> Self {
        Self { base: base.to_owned(), number }
    }

    /// The numbers of those of which there is something, in their order.
    pub(super) fn numbers(base: &Path) -> BTreeSet<u32> {
        let entries = ["certs", "secrets"].into_iter().filter_map(|dir| fs::read_dir(base.join(dir)).ok());
        let names = entries.flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let numbers = names.filter_map(|name| {
            let rest = name.strip_prefix("issuer_").or_else(|| name.strip_prefix("root_"))?;
            let digits = rest.split(['_', '.']).next()?;
            let number = digits.parse().ok().filter(|number| *number >= 2)?;
            // Not of whatever else may be called so.
            let files = Self::of(base, number).files();
            files
                .iter()
                .any(|path| path.file_name().is_some_and(|own| own == name.as_str()))
                .then_some(number)
        });
        numbers.collect()
    }

    /// Whether the mayfly.toml with this text is what a start that was cut short has made of it.
    pub(super) fn expects(place: &Place, text: &str) -> Result<bool, CliError> {
        let Some(unfinished) = Self::unfinished(place)? else { return Ok(false) };
        Ok(unfinished.noted()?.1 == Some(text_digest(text)))
    }

    /// Whether the configuration in force names it.
    fn is_used(&self, place: &Place) -> bool {
        let own = [self.certificate(), self.crossed()];
        place.settings.authorities.iter().any(|authority| {
            let next = authority.next.iter().map(|next| &next.certificate);
            let all = next.chain([&authority.certificate]).chain(&authority.other_issuers);
            all.into_iter().any(|path| own.contains(path))
        })
    }

    fn files(&self) -> [PathBuf; 6] {
        [self.marker(), self.key(), self.certificate(), self.crossed(), self.root_key(), self.root()]
    }

    fn marker(&self) -> PathBuf {
        self.base.join(format!("certs/issuer_{}.pending", self.number))
    }
    /// The issuer's private key.
    pub(super) fn key(&self) -> PathBuf {
        self.base.join(format!("secrets/issuer_{}_key", self.number))
    }
    /// Its chain.
    pub(super) fn certificate(&self) -> PathBuf {
        self.base.join(format!("certs/issuer_{}.crt", self.number))
    }
    /// Its chain with the cross certificate behind it.
    pub(super) fn crossed(&self) -> PathBuf {
        self.base.join(format!("certs/issuer_{}_cross.crt", self.number))
    }
    /// A new root's private key.
    pub(super) fn root_key(&self) -> PathBuf {
        self.base.join(format!("secrets/root_{}_key", self.number))
    }
    /// A new root.
    pub(super) fn root(&self) -> PathBuf {
        self.base.join(format!("certs/root_{}.crt", self.number))
    }

    /// What was asked for, and the digest of the text that comes of it once all files are there.
    fn noted(&self) -> Result<(String, Option<String>), CliError> {
        let path = self.marker();
        let text = fs::read_to_string(&path).map_err(|source| CliError::File { path, source })?;
        let mut lines = text.lines().map(str::to_owned);
        Ok((lines.next().unwrap_or_default(), lines.next()))
    }

    /// Notes that all files are there, and that the mayfly.toml becomes this.
    pub(super) fn made(&self, text: &str) -> Result<(), CliError> {
        let (options, _) = self.noted()?;
        site::install(&self.marker(), &format!("{options}\n{}\n", text_digest(text)), true)
    }

    /// It is in force.
    pub(super) fn finish(&self) -> Result<(), CliError> {
        let path = self.marker();
        fs::remove_file(&path).map_err(|source| CliError::File { path, source })
    }
}

/// Takes away what only a step that was cut short behind its end has left.
pub(super) fn tidy(place: &Place) -> Result<(), CliError> {
    Generation::unfinished(place).map(drop)
}

/// Undoes a start that was cut short before anything was in force; whether there was one.
pub(super) fn undo(place: &Place) -> Result<bool, CliError> {
    let Some(unfinished) = Generation::unfinished(place)? else { return Ok(false) };
    let text = place.text()?;
    if text != place.in_force {
        if unfinished.noted()?.1 != Some(text_digest(&text)) {
            return Err(RotationError::Differs(place.file.clone()).into());
        }
        let mut replaced = Replaced::default();
        replaced.put(&place.file, &place.in_force)?;
        // What was cut short may have come into force only now.
        if !place.is_in_force()? {
            return Err(RotationError::Started(place.named(&unfinished.certificate())).into());
        }
        replaced.keep()?;
    }
    unfinished.finish()?;
    Ok(true)
}

/// The chain in a file.
fn chain(path: &Path) -> Result<Chain, CliError> {
    site::certificates(path)
}

fn chains<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> Result<Vec<Chain>, CliError> {
    paths.into_iter().map(|path| chain(path)).collect()
}

/// The chains of each issuer of the authority but one, by the file of its chain.
fn staying(place: &Place, leaving: &Path) -> Result<Vec<Vec<Chain>>, CliError> {
    let authority = &place.authority;
    let mut all = vec![chains([&authority.certificate].into_iter().chain(&authority.alternate_chains))?];
    if let Some(next) = authority.next.as_ref().filter(|next| next.certificate != leaving) {
        all.push(chains([&next.certificate])?);
    }
    for other in authority.other_issuers.iter().filter(|other| *other != leaving) {
        all.push(chains([other])?);
    }
    Ok(all)
}

/// What changes when the next issuer goes, which has signed nothing.
pub(super) fn left_by_next(place: &Place, next: &NextIssuer) -> Result<Left, CliError> {
    let leaving = chains([&next.certificate].into_iter().chain(&next.alternate_chains))?;
    let (before, now) = (place.roots()?, SystemClock.now());
    let kept = remaining_roots(&before, &leaving, &staying(place, &next.certificate)?, now);
    let root = (kept != before).then(|| place.roots_file(&kept)).transpose()?;
    Ok(Left { root: root.map(|path| place.named(&path)), chains: None })
}

/// What changes when a former issuer goes, whose chain is in that file.
pub(super) fn left_by_former(place: &Place, file: &Path) -> Result<Left, CliError> {
    let (before, now) = (place.roots()?, SystemClock.now());
    let kept = remaining_roots(&before, &[chain(file)?], &staying(place, file)?, now);
    if kept == before {
        return Ok(Left::default());
    }
    let authority = &place.authority;
    let files: Vec<&PathBuf> =
        [&authority.certificate].into_iter().chain(&authority.alternate_chains).collect();
    let served = remaining_chains(&chains(files.iter().copied())?, &before, &kept, now);
    let all: Vec<usize> = (1..files.len()).collect();
    let named = |place_of: usize| place.named(files[place_of]);
    let chains = served.filter(|served| *served != (0, all));
    let chains = chains.map(|(first, rest)| (named(first), rest.into_iter().map(named).collect()));
    Ok(Left { root: Some(place.named(&place.roots_file(&kept)?)), chains })
}
