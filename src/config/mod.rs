//! Configuration: the file's raw shape, validated once into [`settings::Settings`].
//!
//! [`check()`] reads a file and reports everything there is to say about it; [`load`] is the same
//! for those who only want to run. Relative paths in a file are relative to the file.

mod admin;
mod attestation;
mod authority;
mod check;
pub mod edit;
mod file;
mod keys;
mod limits;
mod notify;
pub mod policy;
mod problem;
mod profiles;
mod proofs;
mod provisioner;
pub mod settings;
mod texts;
mod traces;
pub mod units;

#[cfg(test)]
mod tests;

use std::path::Path;

use settings::Settings;

pub use check::{default_base_url, parse_host};
pub use problem::Problem;
pub use provisioner::{LONGEST_TTL, is_provisioner_name};
pub use texts::{Texts, policies, texts};

use problem::Findings;

/// The largest file read; one with thousands of provisioners is far below.
const LARGEST_FILE: u64 = 1024 * 1024;

/// What a file says, and what is to be said about it.
#[derive(Debug)]
pub struct Report {
    /// What to run on; `Err` with every error, in the order of the lines.
    pub settings: Result<Settings, Vec<Problem>>,
    /// Things worth knowing that keep nobody from running.
    pub notes: Vec<Problem>,
}

/// Reads a file and checks it, the files it names included.
pub fn load(path: &Path) -> Result<Settings, Vec<Problem>> {
    check(path).settings
}

/// As [`load`], without a look at the files it names: for commands that only need to know where
/// things are.
pub fn read_settings(path: &Path) -> Result<Settings, Vec<Problem>> {
    let text = read(path).map_err(|problem| vec![problem])?;
    parse(&text, base_of(path)).settings
}

/// A configuration whole: what to run on, and the texts that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Validated.
    pub settings: Settings,
    /// As written.
    pub texts: Texts,
}

/// As [`load`], with the texts: those that the settings were read from, also while somebody writes them.
pub fn load_whole(path: &Path) -> Result<Configuration, Vec<Problem>> {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let before = texts(path).map_err(|problem| vec![problem])?;
        let settings = load(path)?;
        if texts(path).is_ok_and(|after| after == before) {
            return Ok(Configuration { settings, texts: before });
        }
    }
    let message = "is being written to; try again when it is done".to_owned();
    Err(vec![Problem { line: None, key: String::new(), message }])
}

/// As [`load`], with the notes too.
pub fn check(path: &Path) -> Report {
    match read(path) {
        Ok(text) => {
            let mut whole = report(&text, base_of(path), true);
            if whole.settings.is_ok()
                && let Err(problem) = texts::check_size(path)
            {
                whole.settings = Err(vec![problem]);
            }
            whole
        }
        Err(problem) => Report { settings: Err(vec![problem]), notes: Vec::new() },
    }
}

/// Checks a text as if it were a file in the directory `base`; looks at no other file.
pub fn parse(text: &str, base: &Path) -> Report {
    report(text, base, false)
}

/// The directory that a file's relative paths start at.
fn base_of(path: &Path) -> &Path {
    path.parent().filter(|base| !base.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn read(path: &Path) -> Result<String, Problem> {
    let whole = |message: String| Problem { line: None, key: String::new(), message };
    let meta = std::fs::metadata(path).map_err(|error| {
        whole(format!("{error}; give the path of a mayfly.toml, which `mayfly init` makes"))
    })?;
    if !meta.is_file() {
        return Err(whole("is not a file; give the path of a mayfly.toml".to_owned()));
    }
    if meta.len() > LARGEST_FILE {
        return Err(whole("is larger than 1MiB; this is no mayfly.toml".to_owned()));
    }
    let bytes = std::fs::read(path).map_err(|error| whole(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
        Problem { line: Some(line), ..whole("is not UTF-8 text; save the file as UTF-8".to_owned()) }
    })
}

fn report(text: &str, base: &Path, look: bool) -> Report {
    let mut findings = Findings::default();
    let lines = file::Lines::of(text);
    let source = file::Source { text, lines: &lines };
    let settings = file::parse(source, &mut findings).map(|document| {
        let root = document.get_ref();
        let settings = check::settings(source, root, base, look, &mut findings);
        if look {
            check::files(root, source, &settings, &mut findings);
        }
        settings
    });
    findings.sort();
    let settings = match settings {
        Some(settings) if findings.errors.is_empty() => Ok(settings),
        _ => Err(findings.errors),
    };
    Report { settings, notes: findings.notes }
}
