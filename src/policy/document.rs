//! The document of a policy: TOML, read so that every mistake is found, each with its line.
//!
//! ```toml
//! name = "production"
//!
//! [[allow]]
//! name = "web servers"
//! when.provisioner = ["web"]
//! dns = ["*.web.example.internal"]
//! keys = ["ec-p256", "rsa:3072.."]
//!
//! [[deny]]
//! name = "long lives"
//! lifetime = "25h.."
//! ```

use std::borrow::Cow;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{EXTENDED_KEY_USAGES, EXTENSIONS, KEY_USAGES, SIGNATURES};
use super::pattern::{
    AttributePattern, DnsPattern, EmailPattern, IpPattern, KeyPattern, OidPattern, Span, TextPattern,
    UriPattern,
};
use super::value::shorten;
use super::{Conditions, Effect, LARGEST, Lists, MOST_ENTRIES, MOST_IN_ALL, MOST_RULES, Policy, Rule, Who};

/// Something wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// The path of the key, such as `allow[0].dns`; empty if none is concerned.
    pub key: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            key => write!(f, "line {}: {key}: {}", self.line, self.message),
        }
    }
}

/// The keys of a rule that list values, without `wildcards` and `ca`.
const LISTS: &[&str] = &[
    "dns",
    "ip",
    "uri",
    "email",
    "devices",
    "principals",
    "subject",
    "keys",
    "lifetime",
    "backdate",
    "eku",
    "key_usage",
    "signatures",
    "issuers",
    "extensions",
];
const CONDITIONS: &[&str] = &["authority", "provisioner", "account", "eab_key", "profile", "requester"];

/// Parses a document. `name` is the policy's if the document gives none.
pub fn parse(text: &str, name: &str) -> Result<Policy, Vec<Mistake>> {
    let mut reader = Reader { text, mistakes: Vec::new(), entries: 0 };
    if text.len() > LARGEST {
        reader.mistake(1, "", format!("is larger than {} KiB", LARGEST / 1024));
        return Err(reader.mistakes);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if let Some(error) = errors.first() {
        let line = reader.line(error.span().map_or(0, |span| span.start));
        reader.mistake(line, "", format!("TOML syntax: {}", error.message().trim()));
        return Err(reader.mistakes);
    }
    let policy = reader.policy(document.get_ref(), name);
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    if reader.mistakes.is_empty() { Ok(policy) } else { Err(reader.mistakes) }
}

type Value<'a> = Spanned<DeValue<'a>>;

struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<Mistake>,
    /// Of all lists so far.
    entries: usize,
}

impl Reader<'_> {
    fn mistake(&mut self, line: usize, key: &str, message: impl Into<String>) {
        self.mistakes.push(Mistake { line, key: key.to_owned(), message: message.into() });
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
    }

    fn line_of(&self, value: &Value<'_>) -> usize {
        self.line(value.span().start)
    }

    fn policy(&mut self, root: &DeTable<'_>, fallback: &str) -> Policy {
        self.refuse_unknown(root, "", &["name", "allow", "deny"]);
        let name = root.get("name").and_then(|value| self.string(value, "name"));
        let mut rules = Vec::new();
        for (key, effect) in [("allow", Effect::Allow), ("deny", Effect::Deny)] {
            let Some(value) = root.get(key) else { continue };
            let line = self.line_of(value);
            let Some(array) = value.get_ref().as_array() else {
                self.mistake(line, key, format!("is no list of rules; write [[{key}]] above each"));
                continue;
            };
            for (at, rule) in array.iter().enumerate() {
                rules.extend(self.rule(rule, &format!("{key}[{at}]"), effect));
            }
        }
        if rules.is_empty() && self.mistakes.is_empty() {
            self.mistake(1, "", "has no rule, and would allow everything; write [[allow]] or [[deny]] rules");
        }
        if rules.len() > MOST_RULES {
            self.mistake(1, "", format!("has {} rules; at most {MOST_RULES} are taken", rules.len()));
        }
        if self.entries > MOST_IN_ALL {
            let message = format!("lists {} entries in all; at most {MOST_IN_ALL} are taken", self.entries);
            self.mistake(1, "", message);
        }
        rules.sort_by_key(|rule| rule.line);
        Policy { name: name.unwrap_or(fallback).to_owned(), rules }
    }

    fn refuse_unknown(&mut self, table: &DeTable<'_>, path: &str, known: &[&str]) {
        for (key, _) in table {
            let typed: &str = key.get_ref();
            if !known.contains(&typed) {
                let line = self.line(key.span().start);
                let key = if path.is_empty() { shorten(typed) } else { format!("{path}.{}", shorten(typed)) };
                self.mistake(line, &key, format!("unknown key; there are {}", known.join(", ")));
            }
        }
    }

    fn rule(&mut self, value: &Value<'_>, path: &str, effect: Effect) -> Option<Rule> {
        let line = self.line_of(value);
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(line, path, "is no rule; write [[allow]] or [[deny]] above its keys");
            return None;
        };
        let own: &[&str] = match effect {
            Effect::Allow => &["name", "when", "unless", "wildcards", "ca"],
            Effect::Deny => &["name", "when", "unless", "wildcards"],
        };
        let known: Vec<&str> = own.iter().chain(LISTS).copied().collect();
        self.refuse_unknown(table, path, &known);
        let name = table.get("name").and_then(|value| self.string(value, &format!("{path}.name")));
        let lists = self.lists(table, path, effect);
        if lists == Lists::default() {
            let before = self.mistakes.iter().any(|mistake| mistake.key.starts_with(path));
            if !before {
                self.mistake(line, path, format!("lists nothing; there are {}", LISTS.join(", ")));
            }
        }
        Some(Rule {
            effect,
            name: name.map_or_else(|| path.to_owned(), str::to_owned),
            line,
            when: self.conditions(table, path, "when"),
            unless: self.conditions(table, path, "unless"),
            lists,
        })
    }

    fn conditions(&mut self, table: &DeTable<'_>, path: &str, key: &str) -> Conditions {
        let Some(value) = table.get(key) else { return Conditions::default() };
        let path = format!("{path}.{key}");
        let line = self.line_of(value);
        let Some(table) = value.get_ref().as_table() else {
            self.mistake(
                line,
                &path,
                format!("is no table; write for example {key}.provisioner = [\"web\"]"),
            );
            return Conditions::default();
        };
        self.refuse_unknown(table, &path, CONDITIONS);
        if table.is_empty() {
            self.mistake(line, &path, format!("is empty; there are {}", CONDITIONS.join(", ")));
        }
        let mut list = |key: &str, check: fn(&str) -> Result<String, String>| {
            let value = table.get(key)?;
            let path = format!("{path}.{key}");
            let list = self.list(value, &path, check)?;
            if list.is_empty() {
                let line = self.line_of(value);
                self.mistake(line, &path, "is empty, and names nobody; list names or leave it out");
            }
            Some(list)
        };
        Conditions {
            authority: list("authority", plain),
            provisioner: list("provisioner", plain),
            account: list("account", plain),
            eab_key: list("eab_key", plain),
            profile: list("profile", plain),
            requester: list("requester", |text| match Who::TABLE.iter().find(|(name, _)| *name == text) {
                Some(_) => Ok(text.to_owned()),
                None => {
                    let names: Vec<&str> = Who::TABLE.iter().map(|(name, _)| *name).collect();
                    Err(format!("is no requester; there are {}", names.join(", ")))
                }
            }),
        }
    }

    fn lists(&mut self, table: &DeTable<'_>, path: &str, effect: Effect) -> Lists {
        let mut flag = |key: &str| {
            let Some(value) = table.get(key) else { return false };
            if effect == Effect::Deny && key == "ca" {
                return false;
            }
            match value.get_ref().as_bool() {
                Some(flag) => flag,
                None => {
                    let line = self.line_of(value);
                    self.mistake(line, &format!("{path}.{key}"), "is no flag; write true or false");
                    false
                }
            }
        };
        let (wildcards, ca) = (flag("wildcards"), flag("ca"));
        let allows_wildcards = wildcards && effect == Effect::Allow;
        if allows_wildcards && !table.contains_key("dns") {
            let line = table.get("wildcards").map_or(1, |value| self.line_of(value));
            let message = "says that the names in `dns` may be wildcards; list them, or \"*\" for any";
            self.mistake(line, &format!("{path}.wildcards"), message);
        }
        let dns = |text: &str| DnsPattern::parse(text, allows_wildcards);
        Lists {
            dns: self.entries(table, path, "dns", effect, dns),
            ip: self.entries(table, path, "ip", effect, IpPattern::parse),
            uri: self.entries(table, path, "uri", effect, UriPattern::parse),
            email: self.entries(table, path, "email", effect, EmailPattern::parse),
            devices: self.entries(table, path, "devices", effect, TextPattern::parse),
            principals: self.entries(table, path, "principals", effect, TextPattern::parse),
            subject: self.entries(table, path, "subject", effect, AttributePattern::parse),
            keys: self.entries(table, path, "keys", effect, KeyPattern::parse),
            lifetime: self.entries(table, path, "lifetime", effect, Span::parse),
            backdate: self.entries(table, path, "backdate", effect, Span::parse),
            eku: self
                .entries(table, path, "eku", effect, |text| OidPattern::parse(text, EXTENDED_KEY_USAGES)),
            key_usage: self
                .entries(table, path, "key_usage", effect, |text| OidPattern::parse_named(text, KEY_USAGES)),
            signatures: self
                .entries(table, path, "signatures", effect, |text| OidPattern::parse(text, SIGNATURES)),
            issuers: self.entries(table, path, "issuers", effect, TextPattern::parse),
            extensions: self
                .entries(table, path, "extensions", effect, |text| OidPattern::parse(text, EXTENSIONS)),
            ca,
            wildcards: wildcards && effect == Effect::Deny,
        }
    }

    fn entries<P>(
        &mut self,
        table: &DeTable<'_>,
        path: &str,
        key: &str,
        effect: Effect,
        parse: impl Fn(&str) -> Result<P, String>,
    ) -> Option<Vec<P>> {
        let value = table.get(key)?;
        let path = format!("{path}.{key}");
        let list = self.list(value, &path, parse)?;
        if list.is_empty() && effect == Effect::Deny {
            let line = self.line_of(value);
            self.mistake(line, &path, "is empty, and denies nothing; list values or leave it out");
        }
        Some(list)
    }

    /// A string or a list of strings, each parsed.
    fn list<P>(
        &mut self,
        value: &Value<'_>,
        path: &str,
        parse: impl Fn(&str) -> Result<P, String>,
    ) -> Option<Vec<P>> {
        let line = self.line_of(value);
        let items: Vec<(usize, &DeValue<'_>)> = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| (self.line_of(item), item.get_ref())).collect(),
            DeValue::String(_) => vec![(line, value.get_ref())],
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => {
                self.mistake(line, path, "is no list; write texts in quotes, in brackets");
                return None;
            }
        };
        if items.len() > MOST_ENTRIES {
            self.mistake(
                line,
                path,
                format!("has {} entries; at most {MOST_ENTRIES} are taken", items.len()),
            );
        }
        self.entries += items.len();
        let mut parsed = Vec::new();
        for (line, item) in items.into_iter().take(MOST_ENTRIES) {
            let Some(text) = item.as_str() else {
                self.mistake(line, path, "has something that is no text; write it in quotes");
                continue;
            };
            match parse(text) {
                Ok(entry) => parsed.push(entry),
                Err(why) => self.mistake(line, path, format!("{:?} {why}", shorten(text))),
            }
        }
        Some(parsed)
    }

    fn string<'v>(&mut self, value: &'v Value<'_>, path: &str) -> Option<&'v str> {
        let line = self.line_of(value);
        let text = value
            .get_ref()
            .as_str()
            .filter(|text| (1..=80).contains(&text.chars().count()) && !text.chars().any(char::is_control));
        if text.is_none() {
            self.mistake(line, path, "must be a text of 1 to 80 characters in quotes");
        }
        text
    }
}

/// Compared with names as they are, letter for letter.
fn plain(text: &str) -> Result<String, String> {
    match text {
        "" => Err("is empty".to_owned()),
        text if text.contains('*') => {
            Err("has a star, which conditions do not know; list the names".to_owned())
        }
        text if text.len() > 255 || text.chars().any(char::is_control) => {
            Err("is too long or has control characters".to_owned())
        }
        text => Ok(text.to_owned()),
    }
}

/// A text as a TOML string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A name that a policy may have, made of any text.
pub fn name_of(text: &str) -> Cow<'_, str> {
    let good = (1..=80).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if good {
        text.into()
    } else {
        text.chars().filter(|c| !c.is_control()).take(80).collect::<String>().into()
    }
}
