//! Where the issuer's key is, and what opens it.

use std::path::Path;

use super::file::Section;
use super::problem::Findings;
use crate::authority::key_source::{KeySource, PasswordSource};

/// What `mayfly init` makes.
const DEFAULT: &str = "secrets/intermediate_ca_key";

/// A path or a URI.
pub(super) fn key(section: &Section<'_>, base: &Path, findings: &mut Findings) -> KeySource {
    let default = || KeySource::File(base.join(DEFAULT));
    let Some(field) = section.get("key") else { return default() };
    let Some(text) = field.non_empty(findings) else { return default() };
    KeySource::parse(text, base).unwrap_or_else(|error| {
        field.error(findings, error.to_string());
        default()
    })
}

/// At most one of three, and only where there is a use for it.
pub(super) fn password(
    section: &Section<'_>,
    key: &KeySource,
    base: &Path,
    findings: &mut Findings,
) -> Option<PasswordSource> {
    type Read = fn(&str, &Path) -> Result<PasswordSource, &'static str>;
    let rows: [(&'static str, Read); 3] = [
        ("password_file", |text, base| Ok(PasswordSource::File(base.join(text)))),
        ("password_env", |text, _| match is_variable(text) {
            true => Ok(PasswordSource::Env(text.to_owned())),
            false => Err("is no name of a variable; write letters, digits and underscores"),
        }),
        // As systemd takes them: they are the names of files.
        ("password_credential", |text, _| match text.contains('/') || text.starts_with('.') {
            true => Err("is no name of a credential; write what stands before the colon of LoadCredential="),
            false => Ok(PasswordSource::Credential(text.to_owned())),
        }),
    ];
    let mut found: Option<PasswordSource> = None;
    for (name, read) in rows {
        let Some(field) = section.get(name) else { continue };
        let Some(text) = field.non_empty(findings) else { continue };
        let no_use = match key {
            KeySource::File(_) => None,
            KeySource::Pkcs11(uri) => {
                uri.pin_source.as_ref().map(|_| "the key names its PIN with pin-source")
            }
            KeySource::AwsKms(_) => Some("a key of a KMS is opened by credentials of AWS"),
        };
        match (read(text, base), &found, no_use) {
            (Err(why), _, _) => field.error(findings, why),
            (Ok(_), Some(_), _) => {
                let names = rows.map(|(name, _)| name).join(", ");
                field.error(findings, format!("is a second place of the password; give one of {names}"));
            }
            (Ok(_), None, Some(why)) => field.error(findings, format!("has no use: {why}; remove one")),
            (Ok(source), None, None) => found = Some(source),
        }
    }
    found
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
