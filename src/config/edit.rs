//! Changes to a configuration's text that leave everything else in it as it was written: the steps of an
//! issuer's rotation.

use std::path::PathBuf;

use toml_edit::{Array, DocumentMut, InlineTable, Item, RawString, TableLike, Value};

use crate::authority::key_source::PasswordSource;

/// Why a text could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not TOML.
    #[error("the configuration cannot be read: {0}")]
    Syntax(String),
    /// No such section.
    #[error("the configuration has no authority named {0}")]
    NoAuthority(String),
    /// Nothing to put in force.
    #[error("the configuration names no next issuer of that authority: `mayfly rotation start` makes one")]
    NoNext,
}

/// The issuer that is to sign next, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The file of its chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Where its key's password is.
    pub password: Option<PasswordSource>,
    /// Files of other chains.
    pub alternate_chains: Vec<String>,
}

/// A step of a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The next issuer, and the file of roots if that changes.
    Start(Next, Option<String>),
    /// The next issuer signs; the one before is served on.
    Advance,
    /// A former issuer's file leaves `other_issuers`, in which paths begin at that directory; and what else
    /// changes with a root that leaves.
    Retire(PathBuf, PathBuf, Left),
    /// The next issuer is given up.
    Abort(Left),
}

/// What changes with a root that nobody needs any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The file of the roots that stay.
    pub root: Option<String>,
    /// The signing issuer's chain, and others that may stand in its place.
    pub chains: Option<(String, Vec<String>)>,
}

const PASSWORDS: [&str; 3] = ["password_file", "password_env", "password_credential"];

/// Changes the section of that authority.
pub fn edit(text: &str, authority: &str, change: &Change) -> Result<String, EditError> {
    let mut document: DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| EditError::Syntax(error.message().to_owned()))?;
    let section = section(&mut document, authority)?;
    match change {
        Change::Start(next, root) => {
            put_if(section, "root", root.as_deref());
            put(section, "next", Value::InlineTable(inline(next)));
        }
        Change::Advance => advance(section)?,
        Change::Retire(base, file, left) => {
            let others = strings(section, "other_issuers");
            let others = others.into_iter().filter(|other| base.join(other) != *file);
            put_list(section, "other_issuers", &others.collect::<Vec<_>>());
            leave(section, left);
        }
        Change::Abort(left) => {
            if remove(section, "next").is_none() {
                return Err(EditError::NoNext);
            }
            leave(section, left);
        }
    }
    Ok(document.to_string())
}

/// The `[authority]`, or the one of several that has that name.
fn section<'d>(document: &'d mut DocumentMut, authority: &str) -> Result<&'d mut dyn TableLike, EditError> {
    const DEFAULT: &str = "default";
    let missing = || EditError::NoAuthority(authority.to_owned());
    let named = |table: &dyn TableLike| {
        table.get("name").map_or(Some(DEFAULT), Item::as_str).is_some_and(|name| name == authority)
    };
    if document.get("authority").is_none() && authority == DEFAULT {
        document.insert("authority", Item::Table(toml_edit::Table::new()));
    }
    let found: Option<&mut dyn TableLike> = match document.get_mut("authority").ok_or_else(missing)? {
        Item::ArrayOfTables(all) => {
            all.iter_mut().find(|table| named(*table)).map(|table| table as &mut dyn TableLike)
        }
        Item::Value(Value::Array(all)) => all
            .iter_mut()
            .filter_map(Value::as_inline_table_mut)
            .find(|table| named(*table))
            .map(|table| table as &mut dyn TableLike),
        one @ (Item::Table(_) | Item::Value(_)) => one.as_table_like_mut().filter(|table| named(*table)),
        Item::None => None,
    };
    found.ok_or_else(missing)
}

fn inline(next: &Next) -> InlineTable {
    let mut table = InlineTable::new();
    table.insert("certificate", next.certificate.as_str().into());
    table.insert("key", next.key.as_str().into());
    if let Some(source) = &next.password {
        let (key, value) = written(source);
        table.insert(key, value.into());
    }
    if !next.alternate_chains.is_empty() {
        table.insert("alternate_chains", Value::Array(next.alternate_chains.iter().collect()));
    }
    table
}

/// A password's place as a configuration names it.
fn written(source: &PasswordSource) -> (&'static str, String) {
    match source {
        PasswordSource::File(path) => (PASSWORDS[0], path.display().to_string()),
        PasswordSource::Env(name) => (PASSWORDS[1], name.clone()),
        PasswordSource::Credential(name) => (PASSWORDS[2], name.clone()),
    }
}

fn advance(section: &mut dyn TableLike) -> Result<(), EditError> {
    let next = remove(section, "next").ok_or(EditError::NoNext)?;
    let next = next.as_table_like().ok_or(EditError::NoNext)?;
    let text = |key: &str| next.get(key).and_then(Item::as_str);
    let before = section.get("certificate").and_then(Item::as_str);
    let before = before.unwrap_or("certs/intermediate_ca.crt").to_owned();
    let mut others = strings(section, "other_issuers");
    if !others.contains(&before) {
        others.push(before);
    }
    put_if(section, "certificate", text("certificate"));
    put_if(section, "key", text("key"));
    for name in PASSWORDS {
        match text(name) {
            Some(value) => put(section, name, value.into()),
            None => drop(remove(section, name)),
        }
    }
    put_list(section, "alternate_chains", &strings(next, "alternate_chains"));
    put_list(section, "other_issuers", &others);
    Ok(())
}

fn leave(section: &mut dyn TableLike, left: &Left) {
    put_if(section, "root", left.root.as_deref());
    if let Some((certificate, alternates)) = &left.chains {
        put(section, "certificate", certificate.as_str().into());
        put_list(section, "alternate_chains", alternates);
    }
}

/// Takes a key out. Lines of comment above it stay, above what follows or behind what is before it.
fn remove(section: &mut dyn TableLike, key: &str) -> Option<Item> {
    let keys: Vec<String> = section.iter().map(|(key, _)| key.to_owned()).collect();
    let place = keys.iter().position(|known| known == key)?;
    let text = |raw: Option<&RawString>| raw.and_then(RawString::as_str).unwrap_or_default().to_owned();
    let above = text(section.key(key).and_then(|key| key.leaf_decor().prefix()));
    if above.contains('#') {
        let before = place.checked_sub(1).and_then(|before| keys.get(before));
        if let Some(mut following) = keys.get(place + 1).and_then(|next| section.key_mut(next)) {
            let own = text(following.leaf_decor().prefix());
            following.leaf_decor_mut().set_prefix(above + &own);
        } else if let Some(value) = before.and_then(|key| section.get_mut(key)?.as_value_mut()) {
            let own = text(value.decor().suffix());
            value.decor_mut().set_suffix(format!("{own}\n{}", above.trim_end_matches('\n')));
        }
    }
    section.remove(key)
}

fn strings(section: &dyn TableLike, key: &str) -> Vec<String> {
    let items = section.get(key).and_then(Item::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Where a value stands already, what is written around it stays.
fn put(section: &mut dyn TableLike, key: &str, mut value: Value) {
    if let Some(before) = section.get(key).and_then(Item::as_value) {
        *value.decor_mut() = before.decor().clone();
    }
    match section.get_mut(key) {
        Some(item) => *item = Item::Value(value),
        None => drop(section.insert(key, Item::Value(value))),
    }
}

fn put_if(section: &mut dyn TableLike, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        put(section, key, value.into());
    }
}

/// An empty list is none.
fn put_list(section: &mut dyn TableLike, key: &str, values: &[String]) {
    if values.is_empty() {
        remove(section, key);
    } else if strings(section, key) != values {
        put(section, key, Value::Array(values.iter().collect::<Array>()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next() -> Next {
        Next {
            certificate: "certs/issuer_2.crt".into(),
            key: "secrets/issuer_2_key".into(),
            password: Some(PasswordSource::File("secrets/password".into())),
            alternate_chains: vec!["certs/cross.crt".into()],
        }
    }

    const TEXT: &str = "\
# Ours.
[server]
address = \"[::1]:1\"   # here

[authority]
# The root.
root = \"certs/root_ca.crt\" # offline
certificate = \"certs/intermediate_ca.crt\" # of the HSM
key = \"secrets/intermediate_ca_key\"
#max_ttl = \"7d\"
password_env = \"PW\"

# Tail.
[log]
level = \"info\"
";

    #[test]
    fn a_rotation_leaves_the_rest_as_it_was_written() {
        let started =
            edit(TEXT, "default", &Change::Start(next(), Some("certs/roots_2.crt".into()))).unwrap();
        let want = TEXT.replace("\"certs/root_ca.crt\"", "\"certs/roots_2.crt\"").replace(
            "password_env = \"PW\"\n",
            "password_env = \"PW\"\nnext = { certificate = \"certs/issuer_2.crt\", key = \
             \"secrets/issuer_2_key\", password_file = \"secrets/password\", alternate_chains = \
             [\"certs/cross.crt\"] }\n",
        );
        assert_eq!(started, want);
        let back = Left { root: Some("certs/root_ca.crt".into()), chains: None };
        assert_eq!(edit(&started, "default", &Change::Abort(back)).unwrap(), TEXT);

        let advanced = edit(&started, "default", &Change::Advance).unwrap();
        let want = TEXT
            .replace("\"certs/root_ca.crt\"", "\"certs/roots_2.crt\"")
            .replace("certs/intermediate_ca.crt", "certs/issuer_2.crt")
            .replace("secrets/intermediate_ca_key", "secrets/issuer_2_key")
            .replace(
                "#max_ttl = \"7d\"\npassword_env = \"PW\"\n",
                "#max_ttl = \"7d\"\npassword_file = \"secrets/password\"\nalternate_chains = [\"certs/cross.crt\"]\nother_issuers = \
                 [\"certs/intermediate_ca.crt\"]\n",
            );
        assert_eq!(advanced, want);
        let left = Left {
            root: Some("certs/root_2.crt".into()),
            chains: Some(("certs/cross.crt".into(), Vec::new())),
        };
        let retire = Change::Retire("/ca".into(), "/ca/certs/intermediate_ca.crt".into(), left);
        let retired = edit(&advanced, "default", &retire).unwrap();
        let want = want
            .replace("certs/roots_2.crt", "certs/root_2.crt")
            .replace("certs/issuer_2.crt", "certs/cross.crt")
            .replace("alternate_chains = [\"certs/cross.crt\"]\n", "")
            .replace("other_issuers = [\"certs/intermediate_ca.crt\"]\n", "");
        assert_eq!(retired, want);
    }

    #[test]
    fn comments_above_what_goes_stay() {
        let started = edit(
            "[authority]\n# one\nkey = \"k\" # two\n\n# three\n",
            "default",
            &Change::Start(next(), None),
        );
        let noted = started.unwrap().replace("next =", "# Since Monday.\nnext =");
        let back = edit(&noted, "default", &Change::Abort(Left::default())).unwrap();
        assert_eq!(back, "[authority]\n# one\nkey = \"k\" # two\n# Since Monday.\n\n# three\n");
        let first = edit(
            "[authority]\n# why\nother_issuers = [\"a\"]\n# two\nkey = \"k\"\n",
            "default",
            &Change::Retire("/".into(), "/a".into(), Left::default()),
        );
        assert_eq!(first.unwrap(), "[authority]\n# why\n# two\nkey = \"k\"\n");
    }

    #[test]
    fn of_several_authorities_the_one_that_is_meant() {
        let text = "[[authority]]\nname = \"a\"\n[[authority]]\nname = \"b\"\n[authority.profiles.x]\n";
        let changed = edit(text, "b", &Change::Start(next(), None)).unwrap();
        assert!(
            changed.starts_with("[[authority]]\nname = \"a\"\n[[authority]]\nname = \"b\"\nnext = {"),
            "{changed}"
        );
        assert!(changed.ends_with("}\n[authority.profiles.x]\n"), "{changed}");
        let missing = Err(EditError::NoAuthority("c".into()));
        assert_eq!(edit(text, "c", &Change::Advance), missing);
        assert_eq!(edit(text, "a", &Change::Advance), Err(EditError::NoNext));
        assert_eq!(edit(text, "a", &Change::Abort(Left::default())), Err(EditError::NoNext));
        // Without a section everything is by default.
        let made = edit("", "default", &Change::Start(next(), None)).unwrap();
        assert!(made.starts_with("[authority]\nnext = {"), "{made}");
        let advanced = edit(&made, "default", &Change::Advance).unwrap();
        assert!(advanced.contains("other_issuers = [\"certs/intermediate_ca.crt\"]"), "{advanced}");
        assert!(matches!(edit("x =", "default", &Change::Advance), Err(EditError::Syntax(_))));
    }
}
