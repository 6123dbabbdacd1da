//! The rules of `[provisioner.profiles.NAME]`.

use std::collections::BTreeMap;

use super::check::one_of;
use super::file::{Field, PROFILE, Section, Source, shorten};
use super::problem::Findings;
use super::provisioner::lifetimes;
use super::units::format_duration;
use crate::acme::order::Lifetimes;
use crate::provisioner::profile::{KeyType, KeyTypes, LeafRules, Profile, Profiles, Rules, Usages};

/// All stand in every directory.
const MOST_PROFILES: usize = 100;

/// Longest description, bytes.
const LONGEST_DESCRIPTION: usize = 1000;

/// The profiles of a provisioner, whose own lifetimes are the defaults of theirs.
pub(super) fn profiles(
    source: Source<'_>,
    section: &Section<'_>,
    usual: Lifetimes,
    findings: &mut Findings,
) -> Profiles {
    let mut offered = BTreeMap::new();
    if let Some(field) = section.get("profiles") {
        let before = findings.errors.len();
        let entries = field.entries(findings);
        if entries.is_empty() && findings.errors.len() == before {
            field.error(findings, "is empty; leave it out, or give a section [provisioner.profiles.short]");
        }
        if entries.len() > MOST_PROFILES {
            field.error(findings, format!("has {} profiles; give at most {MOST_PROFILES}", entries.len()));
        }
        for (name, line, value) in entries.into_iter().take(MOST_PROFILES) {
            let path = format!("{}.{}", field.path, shorten(name));
            if !is_profile_name(name) {
                let message = "is no name for a profile; give 1 to 64 of a-z, A-Z, 0-9, hyphen, underscore";
                findings.error(Some(line), &path, message);
                continue;
            }
            let section = Section::new(source, PROFILE, path, Some(value), findings);
            offered.insert(name.to_owned(), profile(&section, usual, findings));
        }
    }
    let default = section.get("default_profile").and_then(|field| {
        let name = field.string(findings)?;
        if !offered.contains_key(name) {
            let message = format!("{:?} is not one of this provisioner's profiles", shorten(name));
            field.error(findings, message);
        }
        Some(name.to_owned())
    });
    Profiles { offered, default }
}

/// Clients have it in their own configuration, some on a command line.
fn is_profile_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn profile(section: &Section<'_>, usual: Lifetimes, findings: &mut Findings) -> Profile {
    let lifetimes = lifetimes(section, usual, findings);
    let key_types = section.get("key_types").and_then(|field| key_types(&field, findings));
    let usages = section.get("usages").and_then(|field| usages(&field, findings));
    let leaf =
        LeafRules { key_types: key_types.unwrap_or(KeyTypes::ANY), usages: usages.unwrap_or_default() };
    let description = section.get("description").and_then(|field| {
        let text = field.non_empty(findings)?;
        if text.len() > LONGEST_DESCRIPTION {
            field.error(findings, format!("is longer than {LONGEST_DESCRIPTION} bytes"));
        }
        Some(text.to_owned())
    });
    let rules = Rules { lifetimes, leaf };
    Profile { description: description.unwrap_or_else(|| describe(&rules)), rules }
}

/// What a profile without a description shows.
fn describe(rules: &Rules) -> String {
    let Rules { lifetimes, leaf } = rules;
    let (usual, most) = (format_duration(lifetimes.default), format_duration(lifetimes.max));
    let keys = if leaf.key_types == KeyTypes::ANY { "any key".to_owned() } else { leaf.key_types.names() };
    format!("{usual}, at most {most}; {}; {keys}", leaf.usages.names())
}

/// Reads a list without doubles of what a table knows; an empty one is refused.
fn listed<T: Copy + PartialEq>(
    field: &Field<'_>,
    table: &[(&'static str, T)],
    findings: &mut Findings,
) -> Vec<T> {
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, "is empty, so no certificate could be had; leave it out to allow all");
    }
    let mut found = Vec::new();
    for item in items {
        let Some(one) = one_of(&item, table, findings) else { continue };
        if found.contains(&one) {
            item.error(findings, "is there twice; remove one");
        }
        found.push(one);
    }
    found
}

fn key_types(field: &Field<'_>, findings: &mut Findings) -> Option<KeyTypes> {
    KeyTypes::of(&listed(field, KeyType::TABLE, findings))
}

fn usages(field: &Field<'_>, findings: &mut Findings) -> Option<Usages> {
    let table = [("serverAuth", Usages::Server), ("clientAuth", Usages::Client)];
    let found = listed(field, &table, findings);
    match (found.contains(&Usages::Server), found.contains(&Usages::Client)) {
        (true, true) => Some(Usages::Both),
        (true, false) => Some(Usages::Server),
        (false, true) => Some(Usages::Client),
        (false, false) => None,
    }
}
