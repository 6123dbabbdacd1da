//! Policies of other systems, made into documents of ours.
//!
//! Two are read: cert-manager's CertificateRequestPolicy (`cert_manager`) and Vault's PKI role (`vault`).
//! What comes out is checked like any policy. Nothing of the original is dropped silently: whatever has no
//! equivalent, or one that allows more or less, is a [`Note`], and so is every field that is not known here.

mod cert_manager;
mod patterns;
mod render;
mod tree;
mod vault;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use self::render::Lists;
use self::tree::{Node, Value};
use super::LARGEST;
use super::document::{self, Mistake};
use super::value::shorten;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A CertificateRequestPolicy (policy.cert-manager.io/v1alpha1), YAML or JSON.
    CertManager,
    /// A role of Vault's or OpenBao's PKI engine, JSON, as it is written or as it is read.
    VaultRole,
}

impl Source {
    /// Every one with its name.
    pub const TABLE: &[(&'static str, Self)] =
        &[("cert-manager", Self::CertManager), ("vault-role", Self::VaultRole)];
}

/// How what was made differs from the original in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bearing {
    /// It allows what the original did not.
    Wider,
    /// It refuses what the original allowed.
    Narrower,
    /// It belongs elsewhere: into a profile or a provisioner.
    Elsewhere,
    /// It says nothing of what is in a certificate.
    Nothing,
}

impl Bearing {
    /// In reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Elsewhere => "elsewhere",
            Self::Nothing => "no part",
        }
    }
}

/// What became of something that has no exact equivalent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which way it differs.
    pub bearing: Bearing,
    /// The original's field.
    pub field: String,
    /// What to know about it, in one line.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.bearing.name(), self.field, self.text)
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// From what.
    pub source: Source,
    /// The document, a policy without mistakes, with the notes as comments.
    pub policy: String,
    /// What to know, what allows more first.
    pub notes: Vec<Note>,
}

/// Makes a policy of a foreign one; without `source` it is told by what the text looks like. `name` is the
/// policy's if the original has none.
pub fn import(text: &str, source: Option<Source>, name: &str) -> Result<Imported, Vec<Mistake>> {
    let whole = |message: String| vec![Mistake { line: 1, key: String::new(), message }];
    if text.len() > LARGEST {
        return Err(whole(format!("is larger than {} KiB", LARGEST / 1024)));
    }
    let root = match text.trim_start().starts_with('{') {
        true => tree::json(text),
        false => tree::yaml(text),
    }
    .map_err(|mistake| vec![mistake])?;
    let looks = match &root.value {
        Value::Map(entries) if entries.iter().any(|(key, _)| key == "apiVersion" || key == "kind") => {
            Source::CertManager
        }
        Value::Map(_) => Source::VaultRole,
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) => {
            return Err(whole("is no object with fields; give the policy or the role itself".to_owned()));
        }
    };
    let source = source.unwrap_or(looks);
    let mut reader = Reader::default();
    let made = match source {
        Source::CertManager => cert_manager::read(&mut reader, &root),
        Source::VaultRole => vault::read(&mut reader, &root),
    };
    if !reader.mistakes.is_empty() {
        reader.mistakes.sort_by_key(|mistake| mistake.line);
        return Err(reader.mistakes);
    }
    let mut notes = reader.notes;
    notes.sort_by_key(|note| note.bearing);
    let name = document::name_of(made.name.as_deref().unwrap_or(name)).into_owned();
    let policy = render::document(source, &name, &made.lists, &notes);
    match document::parse(&policy, &name) {
        Ok(_) => Ok(Imported { source, policy, notes }),
        // Longer than policies may be, at worst: what is listed was looked at one by one.
        Err(mistakes) => Err(mistakes
            .into_iter()
            .map(|mistake| Mistake {
                line: 1,
                key: mistake.key,
                message: format!("as a policy, {}", mistake.message),
            })
            .collect()),
    }
}

/// What a reader makes of an original.
struct Made {
    name: Option<String>,
    lists: Lists,
}

/// What is found on the way.
#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
    notes: Vec<Note>,
}

/// A map that is taken apart; what is left in the end is not known.
struct Fields<'a> {
    path: String,
    entries: Vec<&'a (String, Node)>,
}

impl<'a> Fields<'a> {
    /// The field of that name, unless it is absent or null.
    fn take(&mut self, key: &str) -> Option<&'a Node> {
        let place = self.entries.iter().position(|(known, _)| known == key)?;
        let (_, node) = self.entries.remove(place);
        (node.value != Value::Null).then_some(node)
    }

    fn path(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }
}

impl Reader {
    fn note(&mut self, bearing: Bearing, field: impl Into<String>, text: impl Into<String>) {
        let one_line = |text: String| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.notes.push(Note { bearing, field: one_line(field.into()), text: one_line(text.into()) });
    }

    fn mistake(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake { line, key: key.to_owned(), message: message.into() });
    }

    fn fields<'a>(&mut self, node: &'a Node, path: &str) -> Fields<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries.iter().collect(),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Text(_) | Value::List(_) => {
                self.mistake(node.line, path, "must have fields of its own");
                Vec::new()
            }
        };
        Fields { path: path.to_owned(), entries }
    }

    /// Notes what nobody has asked for.
    fn finish(&mut self, fields: Fields<'_>) {
        for (key, _) in &fields.entries {
            let text = "is not known to this import, and nothing of it is in the policy: see what it means";
            self.note(Bearing::Wider, shorten(&fields.path(key)), text);
        }
    }

    /// A text or a number.
    fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.mistake(node.line, path, "must be a text");
                None
            }
        }
    }

    /// A flag, or its text.
    fn flag(&mut self, node: &Node, path: &str) -> bool {
        let text = match &node.value {
            Value::Bool(flag) => return *flag,
            Value::Text(text) => text.as_str(),
            Value::Null | Value::List(_) | Value::Map(_) => "",
        };
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => {
                self.mistake(node.line, path, "must be true or false");
                false
            }
        }
    }

    fn number(&mut self, node: &Node, path: &str) -> Option<u64> {
        let number = self.text(node, path)?.trim().parse().ok();
        if number.is_none() {
            self.mistake(node.line, path, "must be a whole number, and none below zero");
        }
        number
    }

    /// A list of texts.
    fn texts(&mut self, node: &Node, path: &str) -> Vec<String> {
        match &node.value {
            Value::List(items) => items.iter().filter_map(|item| self.text(item, path)).collect(),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::Map(_) => {
                self.mistake(node.line, path, "must be a list of texts");
                Vec::new()
            }
        }
    }

    /// Those of `entries` that `parse` takes, as a rule lists them; the others are noted.
    fn listed<T>(
        &mut self,
        field: &str,
        entries: impl IntoIterator<Item = String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<String> {
        let (mut listed, mut known) = (Vec::new(), BTreeSet::new());
        for entry in entries {
            match parse(&entry) {
                Ok(_) if !known.insert(entry.clone()) => {}
                Ok(_) => listed.push(entry),
                Err(why) => {
                    let text = format!("{:?} is left out: it {}", shorten(&entry), shorten(&why));
                    self.note(Bearing::Narrower, field, text);
                }
            }
        }
        listed
    }
}
