//! The texts that a configuration consists of: the file's own, and those of the policies it names. Keys,
//! certificates and passwords are no part of it.

use std::path::Path;

use toml::{Table, Value};

use super::problem::Problem;
use super::{base_of, read};

/// The texts of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Of the file itself.
    pub file: String,
    /// Of each policy file, under its path as it stands there; in the order of those.
    pub policies: Vec<(String, String)>,
}

/// All texts together, bytes: they are kept as one record.
const LARGEST: usize = 960 * 1024;

/// Refuses texts that are too large to be kept.
pub(super) fn check_size(path: &Path) -> Result<(), Problem> {
    let Texts { file, policies } = texts(path)?;
    let sum = file.len() + policies.iter().map(|(path, text)| path.len() + text.len()).sum::<usize>();
    if sum <= LARGEST {
        return Ok(());
    }
    let message = "the file and the policies it names are together larger than 960KiB; make them smaller";
    Err(Problem { line: None, key: String::new(), message: message.to_owned() })
}

/// Reads them. What cannot be read of the policies is left out: to check them is another's.
pub fn texts(path: &Path) -> Result<Texts, Problem> {
    let file = read(path)?;
    let base = base_of(path);
    let policies = policies(&file).into_iter().filter_map(|named| {
        let text = read(&base.join(&named)).ok()?;
        Some((named, text))
    });
    Ok(Texts { policies: policies.collect(), file })
}

/// The policy files that a text names, sorted, each once.
pub fn policies(text: &str) -> Vec<String> {
    let Ok(root) = text.parse::<Table>() else { return Vec::new() };
    let sections = ["authority", "provisioner"].into_iter().filter_map(|name| root.get(name));
    let tables = sections.flat_map(|section| match section {
        Value::Array(items) => items.iter().filter_map(Value::as_table).collect(),
        other => Vec::from_iter(other.as_table()),
    });
    let named = tables.flat_map(|table| ["policy", "policy_audit"].map(|key| table.get(key)));
    let mut paths: Vec<String> = named.flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_part_of_it() {
        let home = tempfile::tempdir().unwrap();
        let text = r#"
[[authority]]
name = "a"
policy = "p/one.toml"
[[provisioner]]
policy = "p/one.toml"
policy_audit = "two.toml"
[other]
policy = "three.toml"
"#;
        let file = home.path().join("mayfly.toml");
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(home.path().join("p")).unwrap();
        std::fs::write(home.path().join("p/one.toml"), "1").unwrap();
        let read = texts(&file).unwrap();
        assert_eq!(read.file, text);
        assert_eq!(read.policies, [("p/one.toml".to_owned(), "1".to_owned())]);
        assert_eq!(policies("[authority]\npolicy = \"x\"\n"), ["x"]);
        assert!(policies("not toml").is_empty());
        assert_eq!(check_size(&file), Ok(()));
        std::fs::write(home.path().join("two.toml"), "#".repeat(LARGEST)).unwrap();
        assert!(check_size(&file).unwrap_err().message.contains("960KiB"));
        assert!(texts(&home.path().join("absent")).is_err());
    }
}
