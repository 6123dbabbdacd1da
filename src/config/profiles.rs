//! The rules of `[provisioner.profiles.NAME]`.

mod contents;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{DAY, MINUTE, one_of};
use super::file::{Field, PROFILE, Section, Source, shorten};
use super::limits::read_quota;
use super::problem::Findings;
use super::provisioner::{LONGEST_TTL, lifetimes};
use super::units::format_duration;
use crate::acme::order::Lifetimes;
use crate::provisioner::acme::Terms;
use crate::provisioner::profile::san::{SanKind, SanKinds};
use crate::provisioner::profile::usages::{KeyUsages, Usage, Usages};
use crate::provisioner::profile::{
    KeyType, KeyTypes, LeafRules, MIN_RSA_BITS, NO_REV_AVAIL_BELOW, Profile, Profiles, Restraints, Rules,
};

/// All stand in every directory.
const MOST_PROFILES: usize = 100;

/// Switches a threshold off.
const OFF: &str = "off";

/// Longest description, bytes.
const LONGEST_DESCRIPTION: usize = 1000;

/// The profiles of a provisioner, whose own lifetimes are the defaults of theirs.
pub(super) fn profiles(
    source: Source<'_>,
    section: &Section<'_>,
    usual: Lifetimes,
    of_authority: &BTreeMap<String, Profile>,
    restraints: Restraints,
    findings: &mut Findings,
) -> Profiles {
    let mut all = taken_over(section, of_authority, restraints, findings);
    if let Some(field) = section.get("profiles") {
        // Its own of the same name win.
        all.extend(self::offered(source, &field, usual, restraints, findings));
    }
    let offered = all;
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

/// The profiles of its authority that a provisioner offers: all, but for a list of some.
fn taken_over(
    section: &Section<'_>,
    of_authority: &BTreeMap<String, Profile>,
    restraints: Restraints,
    findings: &mut Findings,
) -> BTreeMap<String, Profile> {
    // What the provisioner demands of every order holds for these too, beside what they demand themselves.
    let restrained = |profile: &Profile| {
        let own = profile.restraints;
        let restraints = Restraints {
            fresh_keys: own.fresh_keys || restraints.fresh_keys,
            issue_budget: restraints.issue_budget,
            profile_budget: own.profile_budget,
        };
        Profile { restraints, ..profile.clone() }
    };
    let Some(field) = section.get("offer_profiles") else {
        return of_authority.iter().map(|(name, profile)| (name.clone(), restrained(profile))).collect();
    };
    let table: Vec<_> = of_authority.iter().map(|(name, profile)| (name.as_str(), (name, profile))).collect();
    let mut taken = BTreeMap::new();
    for item in field.array(findings) {
        if table.is_empty() {
            item.error(findings, "is no profile of the authority, which has none; leave offer_profiles out");
        } else if let Some((name, profile)) = one_of(&item, &table, findings) {
            taken.insert(name.clone(), restrained(profile));
        }
    }
    taken
}

/// The profiles of a section `profiles`.
pub(super) fn offered(
    source: Source<'_>,
    field: &Field<'_>,
    usual: Lifetimes,
    restraints: Restraints,
    findings: &mut Findings,
) -> BTreeMap<String, Profile> {
    let mut offered = BTreeMap::new();
    let before = findings.errors.len();
    let entries = field.entries(findings);
    if entries.is_empty() && findings.errors.len() == before {
        let message =
            format!("is empty; leave it out, or give a section [{}.short]", unnumbered(&field.path));
        field.error(findings, message);
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
        offered.insert(name.to_owned(), profile(&section, usual, restraints, findings));
    }
    offered
}

/// A path as the file's headers have it: without the places in lists.
fn unnumbered(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// The lifetimes of who says nothing else, under an authority's cap.
pub(super) fn usual_lifetimes(cap: Option<Duration>) -> Lifetimes {
    let Lifetimes { default, min, max } = Terms::named("").lifetimes;
    let capped = |one: Duration| cap.map_or(one, |cap| one.min(cap));
    Lifetimes { default: capped(default), min: capped(min), max: capped(max) }
}

/// Clients have it in their own configuration, some on a command line.
fn is_profile_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn profile(
    section: &Section<'_>,
    usual: Lifetimes,
    restraints: Restraints,
    findings: &mut Findings,
) -> Profile {
    let own = self::restraints(section, restraints, findings);
    // A budget of its own stands in place of the provisioner's, and is counted apart.
    let restraints = match section.get("issue_budget") {
        None => own,
        Some(_) => Restraints { issue_budget: None, profile_budget: own.issue_budget, ..own },
    };
    let lifetimes = lifetimes(section, usual, findings);
    let leaf = leaf(section, findings);
    let description = section.get("description").and_then(|field| {
        let text = field.non_empty(findings)?;
        if text.len() > LONGEST_DESCRIPTION {
            field.error(findings, format!("is longer than {LONGEST_DESCRIPTION} bytes"));
        }
        Some(text.to_owned())
    });
    let rules = Rules { lifetimes, leaf: Arc::new(leaf) };
    Profile { description: description.unwrap_or_else(|| describe(&rules)), rules, restraints }
}

/// What orders have to heed, of a provisioner or of a profile; what is left out is as `usual`.
pub(super) fn restraints(section: &Section<'_>, usual: Restraints, findings: &mut Findings) -> Restraints {
    let fresh = section.get("fresh_keys").and_then(|field| field.boolean(findings));
    let budget = section.get("issue_budget").and_then(|field| match read_quota(field.string(findings)?) {
        Ok(quota) => Some(quota),
        Err(why) => {
            field.error(findings, format!("{why}; write \"12 per 24h\", or \"{OFF}\""));
            None
        }
    });
    Restraints {
        fresh_keys: fresh.unwrap_or(usual.fresh_keys),
        issue_budget: budget.unwrap_or(usual.issue_budget),
        profile_budget: usual.profile_budget,
    }
}

fn leaf(section: &Section<'_>, findings: &mut Findings) -> LeafRules {
    let usual = LeafRules::default();
    let key_types = section.get("key_types").and_then(|field| key_types(&field, findings));
    let usages = section.get("usages").and_then(|field| usages(&field, findings));
    let key_types = key_types.unwrap_or(usual.key_types);
    let sans = section.get("sans").and_then(|field| sans(&field, findings)).unwrap_or(usual.sans);
    let backdate = section.duration("backdate", usual.backdate, (Duration::ZERO, DAY), findings);
    LeafRules {
        key_types,
        min_rsa_bits: min_rsa_bits(section, key_types, findings),
        usages: usages.unwrap_or(usual.usages),
        key_usage: section.get("key_usage").and_then(|field| key_usage(&field, key_types, findings)),
        sans,
        templates: contents::templates(section, sans, findings),
        backdate,
        no_rev_avail_below: no_rev_avail_below(section, usual.no_rev_avail_below, findings),
    }
}

fn min_rsa_bits(section: &Section<'_>, key_types: KeyTypes, findings: &mut Findings) -> usize {
    let bits = section.integer("min_rsa_bits", MIN_RSA_BITS as u64, (MIN_RSA_BITS as u64, 8192), findings);
    if let Some(field) = section.get("min_rsa_bits")
        && !key_types.contains(KeyType::Rsa)
    {
        field.error(findings, "is for RSA keys, which key_types does not have; leave it out or add \"rsa\"");
    }
    usize::try_from(bits).unwrap_or(MIN_RSA_BITS)
}

fn no_rev_avail_below(
    section: &Section<'_>,
    usual: Option<Duration>,
    findings: &mut Findings,
) -> Option<Duration> {
    let Some(field) = section.get("no_rev_avail_below") else { return usual };
    if field.is_string() && field.string(findings) == Some(OFF) {
        return None;
    }
    let usual = usual.unwrap_or(NO_REV_AVAIL_BELOW);
    Some(section.duration("no_rev_avail_below", usual, (MINUTE, LONGEST_TTL), findings))
}

/// What a profile without a description shows.
fn describe(rules: &Rules) -> String {
    let Rules { lifetimes, leaf } = rules;
    let (usual, most) = (format_duration(lifetimes.default), format_duration(lifetimes.max));
    let keys = if leaf.key_types == KeyTypes::ANY { "any key".to_owned() } else { leaf.key_types.names() };
    format!("{usual}, at most {most}; {}; {keys}", leaf.usages.names())
}

/// Reads a list without doubles of what a table knows; an empty one is refused.
fn listed<T: Copy + PartialEq>(field: &Field<'_>, table: &[(&str, T)], findings: &mut Findings) -> Vec<T> {
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
    let before = findings.errors.len();
    let mut found = Vec::new();
    for item in field.array(findings) {
        match item.string(findings).map(Usage::parse) {
            Some(Ok(usage)) => found.push(usage),
            Some(Err(why)) => item.error(findings, why),
            None => {}
        }
    }
    if findings.errors.len() > before {
        return None;
    }
    Usages::of(found).map_err(|why| field.error(findings, why)).ok()
}

/// Bits that no leaf has.
const CA_BITS: &[&str] = &["keyCertSign", "cRLSign"];

fn key_usage(field: &Field<'_>, key_types: KeyTypes, findings: &mut Findings) -> Option<KeyUsages> {
    for item in field.array(findings) {
        if item.is_string() && item.string(findings).is_some_and(|text| CA_BITS.contains(&text)) {
            item.error(findings, "is a CA's and never a leaf's");
            return None;
        }
    }
    let found = KeyUsages::of(&listed(field, KeyUsages::TABLE, findings))?;
    let unable = |(_, key): &&(&str, KeyType)| key_types.contains(*key) && found.for_key(*key).is_none();
    if let Some((name, _)) = KeyType::TABLE.iter().find(unable) {
        let message = format!("{name} keys can do none of it; add \"digitalSignature\" or narrow key_types");
        field.error(findings, message);
    }
    Some(found)
}

fn sans(field: &Field<'_>, findings: &mut Findings) -> Option<SanKinds> {
    let found = listed(field, SanKind::TABLE, findings);
    let ordered = [SanKind::Dns, SanKind::Ip, SanKind::Device];
    if !found.is_empty() && !found.iter().any(|kind| ordered.contains(kind)) {
        field.error(
            findings,
            "has none of \"dns\", \"ip\" and \"device\", so nothing could be ordered; add one",
        );
    }
    SanKinds::of(&found)
}
