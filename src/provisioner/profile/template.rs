//! Templates (minijinja), by which a profile writes values of its own into certificates.
//!
//! The engine knows no files, no other templates and no functions; what is undefined is an error, and
//! fuel bounds time and memory. What is put into a text is checked where it is put in, so that a
//! value never becomes more than the one part that it stands for: in a URI, for instance, a label
//! cannot add a segment of the path. The whole is checked once more by the rules of its field.

use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, filters, tests};

/// Longest text of a template, bytes.
const LONGEST: usize = 4096;
/// Most that one rendering may cost: some thousand instructions, at most some 600 KB of memory.
const FUEL: u64 = 10_000;
/// Longest result, bytes.
const LONGEST_RESULT: usize = 8192;

/// What a template's text becomes part of, which decides what may be put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Text of a subject or an extension.
    Text,
    /// A URI: unreserved characters only (RFC 3986 §2.3).
    Uri,
    /// A mailbox.
    Email,
    /// DER in hexadecimal or base64.
    Encoded,
}

impl Place {
    const TABLE: &[(&'static str, Self)] =
        &[("text", Self::Text), ("uri", Self::Uri), ("email", Self::Email), ("encoded", Self::Encoded)];

    fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(_, place)| *place == self).map_or("", |(name, _)| name)
    }

    /// Why a value may not be put in here.
    fn check(self, text: &str) -> Result<(), &'static str> {
        if let Some(rule) = broken_text_rule(text) {
            return Err(rule);
        }
        match self {
            Self::Text | Self::Email => Ok(()),
            Self::Uri if text.is_empty() || text == "." || text == ".." => {
                Err("what is put into a URI is not empty, . or ..")
            }
            Self::Uri => {
                let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
                let good = text.bytes().all(unreserved);
                if good { Ok(()) } else { Err("what is put into a URI is of letters, digits, -, ., _ and ~") }
            }
            Self::Encoded => {
                let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
                if good { Ok(()) } else { Err("what is put into DER is hexadecimal or base64") }
            }
        }
    }
}

/// The rule that any text in a certificate keeps and this one does not: readers show, compare and cut
/// texts with such characters in different ways.
pub(super) fn broken_text_rule(text: &str) -> Option<&'static str> {
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if text.chars().any(char::is_control) {
        return Some("has a control character");
    }
    text.chars().any(hidden).then_some("has an invisible character")
}

/// A template that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    place: Place,
}

impl Template {
    /// Takes a template without trying it; [`Template::render`] tells of mistakes.
    pub fn new(text: &str, place: Place) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("is empty; leave it out".into());
        }
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        Ok(Self { text: text.to_owned(), place })
    }

    /// As it was given.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// Whether it says the same for every certificate.
    pub fn is_fixed(&self) -> bool {
        !self.text.contains("{{") && !self.text.contains("{%") && !self.text.contains("{#")
    }

    /// The text for these variables.
    pub fn render(&self, variables: &Value) -> Result<String, String> {
        let text = ENGINE
            .render_named_str(self.place.name(), &self.text, variables.clone())
            .map_err(|error| explain(&error))?;
        if text.len() > LONGEST_RESULT {
            return Err(format!("gives more than {LONGEST_RESULT} bytes"));
        }
        Ok(text)
    }
}

fn explain(error: &Error) -> String {
    let line = error.line().filter(|line| *line > 1).map(|line| format!(", line {line}")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{}: {detail}{line}", error.kind()),
        None => format!("{}{line}", error.kind()),
    }
}

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(16);
    engine.set_formatter(put_in);
    engine.add_filter("default", filters::default);
    engine.add_filter("first", filters::first);
    engine.add_filter("join", filters::join);
    engine.add_filter("last", filters::last);
    engine.add_filter("length", filters::length);
    engine.add_filter("lower", filters::lower);
    engine.add_filter("replace", filters::replace);
    engine.add_filter("trim", filters::trim);
    engine.add_filter("upper", filters::upper);
    engine.add_test("defined", tests::is_defined);
    engine.add_test("startingwith", tests::is_startingwith);
    engine.add_test("endingwith", tests::is_endingwith);
    engine
});

/// Puts one value into the text, or refuses to.
fn put_in(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let refuse = |detail: &'static str| Err(Error::new(ErrorKind::InvalidOperation, detail));
    let Some((_, place)) = Place::TABLE.iter().find(|(name, _)| *name == state.name()) else {
        return refuse("the template has no place");
    };
    match value.kind() {
        ValueKind::String | ValueKind::Number => {}
        ValueKind::Seq | ValueKind::Iterable => {
            return refuse("it is a list; take one of it, such as dns[0], or write `| join(\"-\")`");
        }
        ValueKind::Undefined
        | ValueKind::None
        | ValueKind::Bool
        | ValueKind::Bytes
        | ValueKind::Map
        | ValueKind::Plain
        | ValueKind::Invalid => return refuse("it is neither a text nor a number"),
        // The engine may come to know more kinds; none is let through unseen.
        _ => return refuse("it is neither a text nor a number"),
    }
    let text = value.to_string();
    match place.check(&text) {
        Ok(()) => out.write_str(&text).map_err(Error::from),
        Err(rule) => refuse(rule),
    }
}

#[cfg(test)]
mod unit {
    use std::collections::BTreeMap;

    use super::*;

    fn variables(label: &str) -> Value {
        let map =
            |rows: &[(&'static str, Value)]| Value::from(rows.iter().cloned().collect::<BTreeMap<_, _>>());
        map(&[
            ("name", Value::from("a.test")),
            ("dns", Value::from_iter(["a.test", "b.test"])),
            ("eab", map(&[("label", Value::from(label)), ("kid", Value::from("k1"))])),
            ("none", map(&[])),
        ])
    }

    fn render(text: &str, place: Place, label: &str) -> Result<String, String> {
        Template::new(text, place)?.render(&variables(label))
    }

    #[test]
    fn what_comes_out() {
        let rows: &[(&str, Result<&str, &str>)] = &[
            ("fixed", Ok("fixed")),
            ("{{ name }}", Ok("a.test")),
            ("{{ name | upper }}-{{ dns | length }}", Ok("A.TEST-2")),
            ("{{ dns[1] }}", Ok("b.test")),
            ("{{ dns | join('+') }}", Ok("a.test+b.test")),
            ("{% if eab.label is startingwith 'te' %}yes{% else %}no{% endif %}", Ok("yes")),
            ("{% for d in dns %}[{{ d }}]{% endfor %}", Ok("[a.test][b.test]")),
            ("{{ none.label | default('-') }}", Ok("-")),
            ("{{ none.label }}", Err("undefined")),
            ("{{ nmae }}", Err("undefined")),
            ("{{ nmae.x }}", Err("undefined")),
            ("{{ dns }}", Err("a list")),
            ("{{ eab }}", Err("neither a text")),
            ("{{ true }}", Err("neither a text")),
            ("{{ name", Err("syntax error")),
            ("{% include 'x' %}", Err("")),
            ("{% import 'x' as y %}", Err("")),
            ("{% extends 'x' %}", Err("")),
            ("{{ range(9) }}", Err("")),
            ("{{ name | safe }}", Err("filter")),
            ("{{ name | escape }}", Err("filter")),
            ("{% autoescape true %}{{ name }}{% endautoescape %}", Ok("a.test")),
            ("{{ 'a' * 100000000 }}", Err("fuel")),
            ("{{ 'a' * 9000 }}", Err("more than 8192")),
            ("{% set a = 'aaaaaaaa' %}{% set a = a * 999 %}{% set a = a * 999 %}{{ a }}", Err("fuel")),
            ("{% for a in dns %}{% for b in [1] * 99999 %}x{% endfor %}{% endfor %}", Err("")),
        ];
        for (text, want) in rows {
            match (render(text, Place::Text, "team"), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, *want, "{text}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
                (got, want) => panic!("{text}: {got:?} instead of {want:?}"),
            }
        }
        assert!(Template::new(" ", Place::Text).is_err());
        assert!(Template::new(&"a".repeat(LONGEST + 1), Place::Text).is_err());
        assert!(Template::new("a", Place::Text).unwrap().is_fixed());
        assert!(!Template::new("{{a}}", Place::Text).unwrap().is_fixed());
    }

    /// A label that would become more than the part that it stands for.
    #[test]
    fn nothing_is_smuggled_in() {
        let path = "spiffe://td/{{ eab.label }}/web";
        for label in
            ["a/b", "..", ".", "", "a?b", "a#b", "%2e", "a b", "*", "a,b", "a\0b", "a\nb", "é", "a@b", "a:b"]
        {
            assert!(render(path, Place::Uri, label).is_err(), "{label:?}");
        }
        assert_eq!(render(path, Place::Uri, "a.b-c_d~").unwrap(), "spiffe://td/a.b-c_d~/web");
        // Not by way of an expression either.
        assert!(render("spiffe://td/{{ 'x/' ~ eab.label }}", Place::Uri, "a").is_err());
        assert!(
            render("spiffe://td/{% set x %}{{ eab.label }}{% endset %}{{ x }}", Place::Uri, "a/b").is_err()
        );
        for label in
            ["a\0b", "a\nb", "a\rb", "a\u{7f}b", "a\u{85}b", "a\u{202e}b", "a\u{2028}b", "a\u{200b}b"]
        {
            for place in [Place::Text, Place::Uri, Place::Email, Place::Encoded] {
                assert!(render("{{ eab.label }}", place, label).is_err(), "{label:?}");
            }
        }
        for label in ["a, O=b", "a+CN=b", "a/CN=b", "*", "*.test", "."] {
            assert_eq!(render("{{ eab.label }}", Place::Text, label).as_deref(), Ok(label));
        }
        assert!(render("0c{{ eab.label }}", Place::Encoded, "01 61").is_err());
        assert_eq!(render("0c{{ eab.label }}", Place::Encoded, "0161").unwrap(), "0c0161");
    }

    proptest::proptest! {
        #[test]
        fn no_template_panics_or_runs_away(text in ".{0,80}|(\\{\\{|\\{%|%\\}|\\}\\}|for|if|in|set|[a-z]|[0-9]| |\\*|~|\\(|\\)|\"){0,40}") {
            if let Ok(template) = Template::new(&text, Place::Text) {
                let _ = template.render(&variables("x"));
            }
        }
    }
}
