//! Policy files: each a document of its own, named by the section that it holds for.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::file::Section;
use super::problem::{Findings, Problem};
use crate::policy::{LARGEST, Pair, Policy, document};

/// `policy` and `policy_audit` of a section. Without `base`, files are not looked at and there are no
/// policies: nothing may be issued by such settings.
pub(super) fn pair(section: &Section<'_>, base: Option<&Path>, findings: &mut Findings) -> Pair {
    let mut one = |key| {
        let field = section.get(key)?;
        let name = field.non_empty(findings)?;
        let path = base?.join(name);
        match load(&path) {
            Ok(policy) => Some(Arc::new(policy)),
            Err(problems) => {
                for problem in problems {
                    field.error(findings, problem.render(&path));
                }
                None
            }
        }
    };
    Pair { enforced: one("policy"), audit: one("policy_audit") }
}

/// Reads a policy file; a policy that has no name is called by the file's.
pub fn load(path: &Path) -> Result<Policy, Vec<Problem>> {
    let whole = |message: String| vec![Problem { line: None, key: String::new(), message }];
    let mut bytes = Vec::new();
    // One byte more than is taken, to tell.
    let read = File::open(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(format!("{error}; give the path of a policy file")))?;
    let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8 text".to_owned()))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    document::parse(&text, &document::name_of(&stem))
        .map_err(|mistakes| mistakes.into_iter().map(Problem::from).collect())
}

impl From<document::Mistake> for Problem {
    fn from(mistake: document::Mistake) -> Self {
        Self { line: Some(mistake.line), key: mistake.key, message: mistake.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_found_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.toml");
        std::fs::write(
            &path,
            "[[allow]]\ndns = [\"a.test\",\n \"-.test\"]\nnmae = \"x\"\n\n[[deny]]\nip = []\n",
        )
        .unwrap();
        let problems = load(&path).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| (problem.line, problem.key.as_str())).collect();
        assert_eq!(lines, [(Some(3), "allow[0].dns"), (Some(4), "allow[0].nmae"), (Some(7), "deny[0].ip")]);
        std::fs::write(&path, "[[allow]]\ndns = \"a.test\"\n").unwrap();
        assert_eq!(load(&path).unwrap().name, "web");
        std::fs::write(&path, "").unwrap();
        assert!(load(&path).unwrap_err()[0].message.contains("has no rule"));
        assert!(load(&dir.path().join("none")).is_err());

        let config = |line: &str| {
            let text = format!(
                "[server]\naddress = \"127.0.0.1:1\"\ndns_names = [\"ca.test\"]\n[[provisioner]]\ntype = \"acme\"\nname = \"acme\"\n{line}\n"
            );
            let file = dir.path().join("mayfly.toml");
            std::fs::write(&file, text).unwrap();
            crate::config::load(&file)
        };
        let errors = config("policy = \"web.toml\"").unwrap_err();
        let found = errors.iter().find(|problem| problem.key == "provisioner[0].policy").unwrap();
        assert_eq!(found.line, Some(7));
        assert!(found.message.contains("web.toml:1: has no rule"), "{found}");
    }
}
