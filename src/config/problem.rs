//! What is wrong with a configuration file, in words its author can act on.

use std::fmt;
use std::path::Path;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1; `None` when the finding is about the file as a whole.
    pub line: Option<usize>,
    /// The key's path, such as `provisioner[0].max_ttl`; empty when no key is concerned.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    /// `FILE:LINE: key: message`, as editors and terminals expect it.
    pub fn render(&self, file: &Path) -> String {
        let file = file.display();
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.text()),
            None => format!("{file}: {}", self.text()),
        }
    }

    fn text(&self) -> String {
        match self.key.as_str() {
            "" => self.message.clone(),
            key => format!("{key}: {}", self.message),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text()),
            None => f.write_str(&self.text()),
        }
    }
}

/// Everything found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// These keep the file from being used.
    pub errors: Vec<Problem>,
    /// These are worth knowing.
    pub notes: Vec<Problem>,
}

impl Findings {
    pub(super) fn error(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.errors.push(Problem { line, key: key.to_owned(), message: message.into() });
    }

    pub(super) fn note(&mut self, line: Option<usize>, key: &str, message: impl Into<String>) {
        self.notes.push(Problem { line, key: key.to_owned(), message: message.into() });
    }

    /// In the order of the file's lines.
    pub(super) fn sort(&mut self) {
        self.errors.sort_by_key(|p| p.line);
        self.notes.sort_by_key(|p| p.line);
    }
}

/// The candidate nearest to `typed`, if it is near enough to have been meant.
pub(super) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    // Bounded: the edit distance of a megabyte of key helps nobody.
    let typed = plain(typed.get(..64.min(typed.len())).unwrap_or_default());
    let near = |candidate: &str| match typed.starts_with(candidate) && candidate.len() > 2 {
        true => 1,
        false => distance(&typed, &plain(candidate)),
    };
    candidates
        .map(|candidate| (near(candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4 && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let keys = ["address", "dns_names", "max_ttl", "min_ttl", "engine", "path"];
        let rows = [
            ("adress", Some("address")),
            ("dns-names", Some("dns_names")),
            ("dnsNames", Some("dns_names")),
            ("maxttl", Some("max_ttl")),
            ("egnine", Some("engine")),
            ("colour", None),
            ("", None),
            ("é", None),
        ];
        for (typed, want) in rows {
            assert_eq!(nearest(typed, keys.into_iter()), want, "{typed}");
        }
    }

    #[test]
    fn rendering() {
        let problem = Problem { line: Some(3), key: "server.address".into(), message: "bad".into() };
        assert_eq!(problem.render(Path::new("a.toml")), "a.toml:3: server.address: bad");
        assert_eq!(problem.to_string(), "line 3: server.address: bad");
        let whole = Problem { line: None, key: String::new(), message: "not there".into() };
        assert_eq!(whole.render(Path::new("a.toml")), "a.toml: not there");
    }
}
