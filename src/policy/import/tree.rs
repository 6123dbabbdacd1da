//! YAML and JSON as one tree, each part with its line.
//!
//! Of YAML only what such documents are made of is taken: one document, no anchors, no aliases, no tags, no
//! key twice. So a small text stays small, and says one thing only.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::super::document::Mistake;
use super::super::value::shorten;

/// Deepest nesting; the documents that are imported have less than ten.
const DEEPEST: usize = 32;

/// A part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// From 1; of JSON, 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What it holds. Numbers are texts: those who read know what they want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

fn mistake(line: usize, message: impl Into<String>) -> Mistake {
    Mistake { line, key: String::new(), message: message.into() }
}

/// Reads JSON.
pub(super) fn json(text: &str) -> Result<Node, Mistake> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| mistake(error.line().max(1), format!("JSON: {error}")))?;
    Ok(of_json(value))
}

/// serde_json's own limit of depth has held already.
fn of_json(value: serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => Value::Text(number.to_string()),
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(of_json).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.into_iter().map(|(key, value)| (key, of_json(value))).collect())
        }
    };
    Node { line: 1, value }
}

/// Reads YAML.
pub(super) fn yaml(text: &str) -> Result<Node, Mistake> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            mistake(error.marker().line().max(1), format!("YAML: {}", shorten(&error.to_string())))
        })?;
        let line = line_of(&span);
        let done = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => continue,
            Event::DocumentStart(_) if root.is_none() => continue,
            Event::DocumentStart(_) => {
                return Err(mistake(line, "is a second document; give one policy at a time"));
            }
            Event::Alias(_) => return Err(mistake(line, "is an alias, which is not taken; write it out")),
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(anchor, tag)
            | Event::MappingStart(anchor, tag)
                if anchor != 0 || tag.is_some() =>
            {
                return Err(mistake(line, "has an anchor or a tag, which are not taken; write it plainly"));
            }
            Event::Scalar(text, style, ..) => Node { line, value: scalar(&text, style) },
            Event::SequenceStart(..) => {
                push(&mut open, line, Parts::List(Vec::new()))?;
                continue;
            }
            Event::MappingStart(..) => {
                push(&mut open, line, Parts::Map(Vec::new(), None))?;
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open { line, parts: Parts::List(items) }) => Node { line, value: Value::List(items) },
                Some(Open { line, parts: Parts::Map(entries, _) }) => {
                    Node { line, value: Value::Map(entries) }
                }
                None => return Err(mistake(line, "YAML: ends what has not begun")),
            },
        };
        match open.last_mut() {
            Some(parent) => parent.take(done)?,
            None => root = Some(done),
        }
    }
    root.ok_or_else(|| mistake(1, "is empty"))
}

fn line_of(span: &Span) -> usize {
    span.start.line().max(1)
}

/// Something that has begun.
struct Open {
    line: usize,
    parts: Parts,
}

enum Parts {
    List(Vec<Node>),
    /// With the key that waits for its value.
    Map(Vec<(String, Node)>, Option<String>),
}

fn push(open: &mut Vec<Open>, line: usize, parts: Parts) -> Result<(), Mistake> {
    if open.len() >= DEEPEST {
        return Err(mistake(line, format!("is nested more than {DEEPEST} deep")));
    }
    open.push(Open { line, parts });
    Ok(())
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), Mistake> {
        match &mut self.parts {
            Parts::List(items) => items.push(node),
            Parts::Map(entries, waiting) => match (waiting.take(), node) {
                (Some(key), node) => entries.push((key, node)),
                (None, Node { value: Value::Text(key), line }) => {
                    if entries.iter().any(|(known, _)| *known == key) {
                        return Err(mistake(line, format!("{:?} is there twice", shorten(&key))));
                    }
                    *waiting = Some(key);
                }
                (None, Node { line, .. }) => return Err(mistake(line, "has a key that is no text")),
            },
        }
        Ok(())
    }
}

/// The core schema (YAML 1.2.2 §10.3.2), as far as it matters here.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = matches!(style, ScalarStyle::Plain);
    match text {
        "" | "~" | "null" | "Null" | "NULL" if plain => Value::Null,
        "true" | "True" | "TRUE" if plain => Value::Bool(true),
        "false" | "False" | "FALSE" if plain => Value::Bool(false),
        text => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_one_tree() {
        let from_yaml = yaml("a: [1, 'true', true, ~]\nb:\n  c: \"x\\ty\"\n").unwrap();
        let from_json = json(r#"{"a": [1, "true", true, null], "b": {"c": "x\ty"}}"#).unwrap();
        fn plain(node: &Node) -> Node {
            let value = match &node.value {
                Value::List(items) => Value::List(items.iter().map(plain).collect()),
                Value::Map(entries) => {
                    Value::Map(entries.iter().map(|(key, node)| (key.clone(), plain(node))).collect())
                }
                other => other.clone(),
            };
            Node { line: 1, value }
        }
        assert_eq!(plain(&from_yaml), from_json);
        let Value::Map(entries) = &from_yaml.value else { panic!("{from_yaml:?}") };
        assert_eq!(entries[0].1.line, 1);
        assert_eq!(yaml("# nothing\na: 1\n\nb: 2\n").map(|node| node.line), Ok(2));
    }

    #[test]
    fn what_is_not_taken_is_refused_with_its_line() {
        let deep = "[".repeat(200);
        let bomb = "a: &a [x, x]\nb: [*a, *a]\n";
        for (text, line, says) in [
            ("", 1, "is empty"),
            (bomb, 1, "anchor"),
            ("a: 1\nb: *a\n", 2, ""),
            ("a: !!str 1\n", 1, "tag"),
            ("a: 1\na: 2\n", 2, "twice"),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("? [a]\n: 1\n", 1, "no text"),
            ("a: [1\nb: 2\n", 2, "YAML"),
            (&deep, 1, "deep"),
        ] {
            let found = yaml(text).unwrap_err();
            assert!(found.message.contains(says), "{text}: {found}");
            assert!(found.line >= line, "{text}: {found}");
        }
        assert_eq!(json("{\n\"a\": }").unwrap_err().line, 2);
    }
}
