//! The rules of `[authority]`, or of several `[[authority]]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{DAY, one_of};
use super::file::{Field, Section, Source, shorten};
use super::problem::Findings;
use super::profiles::{self, usual_lifetimes};
use super::provisioner::{LONGEST_TTL, SHORTEST_TTL, is_provisioner_name};
use super::settings::{Authority, NextIssuer};
use super::units::format_duration;
use super::{keys, policy};
use crate::id::AuthorityName;
use crate::provisioner::profile::{Profile, Restraints};

const MOST_AUTHORITIES: usize = 100;

/// Each is offered with every certificate, in a header of its own.
const MOST_ALTERNATE_CHAINS: usize = 8;

/// More generations than have live leaves at once.
const MOST_OTHER_ISSUERS: usize = 16;

/// How long a next issuer is in the bundle only, and clients are called over: the least and the most.
const ROTATION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(365 * 86_400));

/// An authority and the profiles that its provisioners may offer.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) settings: Authority,
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// Every authority with its section, in the order of the file: a table alone, or an array of them.
fn sections<'a>(
    source: Source<'a>,
    value: Option<&'a Spanned<DeValue<'a>>>,
    findings: &mut Findings,
) -> Vec<Section<'a>> {
    let Some(items) = value.and_then(|value| value.get_ref().as_array()) else {
        return vec![Section::new(source, "authority", "authority".to_owned(), value, findings)];
    };
    let line = value.map(|value| source.line(value.span().start));
    if items.is_empty() {
        findings.error(line, "authority", "is empty; give at least one");
    }
    if items.len() > MOST_AUTHORITIES {
        let message = format!("there are {}; give at most {MOST_AUTHORITIES}", items.len());
        findings.error(line, "authority", message);
    }
    let each = items.iter().enumerate().take(MOST_AUTHORITIES);
    each.map(|(i, item)| Section::new(source, "authority", format!("authority[{i}]"), Some(item), findings))
        .collect()
}

/// Checks them all; `base` is where relative paths start, and `look` whether policies are read.
pub(super) fn all<'a>(
    source: Source<'a>,
    value: Option<&'a Spanned<DeValue<'a>>>,
    (base, look): (&Path, bool),
    findings: &mut Findings,
) -> Vec<Checked> {
    let sections = sections(source, value, findings);
    let several = sections.len() > 1;
    let mut all: Vec<Checked> = Vec::new();
    for section in &sections {
        if several {
            section.require("name", "\"prod\"", findings);
            section.require("certificate", "\"certs/prod_ca.crt\"", findings);
            section.require("key", "\"secrets/prod_ca_key\"", findings);
        }
        let one = authority(source, section, (base, look), findings);
        let mut once = |key, same: fn(&Authority, &Authority) -> bool| {
            let Some(field) = section.get(key) else { return };
            if all.iter().any(|other| same(&other.settings, &one.settings)) {
                field.error(findings, "is an earlier authority's too; each has its own");
            }
        };
        once("name", |a, b| a.name == b.name);
        once("key", |a, b| a.key == b.key);
        once("certificate", |a, b| a.certificate == b.certificate);
        all.push(one);
    }
    all
}

fn authority<'a>(
    source: Source<'a>,
    section: &Section<'a>,
    (base, look): (&Path, bool),
    findings: &mut Findings,
) -> Checked {
    let max_ttl = section
        .get("max_ttl")
        .map(|_| section.duration("max_ttl", LONGEST_TTL, (SHORTEST_TTL, LONGEST_TTL), findings));
    let given = section.get("profiles");
    let profiles = given.map(|field| {
        let offered =
            profiles::offered(source, &field, usual_lifetimes(max_ttl), Restraints::default(), findings);
        for (name, profile) in &offered {
            let path = format!("{}.{name}", field.path);
            within(max_ttl, profile.rules.lifetimes.max, Some(field.line), &path, findings);
        }
        offered
    });
    let key = keys::key(section, base, findings);
    let settings = Authority {
        name: section.get("name").and_then(|field| name(&field, findings)).unwrap_or_default(),
        root: section.file("root", "certs/root_ca.crt", base, findings),
        certificate: section.file("certificate", "certs/intermediate_ca.crt", base, findings),
        password: keys::password(section, &key, base, findings),
        key,
        alternate_chains: files(section, "alternate_chains", MOST_ALTERNATE_CHAINS, base, findings),
        other_issuers: files(section, "other_issuers", MOST_OTHER_ISSUERS, base, findings),
        max_ttl,
        policy: policy::pair(section, look.then_some(base), findings),
        ca_issuers_url: section.get("ca_issuers_url").and_then(|field| plain_url(&field, findings)),
        crl_url: section.get("crl_url").and_then(|field| plain_url(&field, findings)),
        ocsp_url: section.get("ocsp_url").and_then(|field| plain_url(&field, findings)),
        expiry_warning: section.duration("expiry_warning", 30 * DAY, (DAY, 3650 * DAY), findings),
        next: next(section, base, findings),
        bundle_overlap: section.duration("bundle_overlap", DAY, ROTATION, findings),
        handover: section.duration("handover", DAY, ROTATION, findings),
    };
    if let Some(field) = section.get("next")
        && settings.next.as_ref().is_some_and(|next| next.key == settings.key)
    {
        field.error(findings, "has the key of the issuer that signs: give the next one a key of its own");
    }
    Checked { settings, profiles: profiles.unwrap_or_default() }
}

/// The issuer that is to sign next.
fn next(section: &Section<'_>, base: &Path, findings: &mut Findings) -> Option<NextIssuer> {
    let inner = section.inner("next", "authority.next", findings)?;
    if !inner.is_section() {
        return None;
    }
    let certificate = inner.require("certificate", "\"certs/issuer_2.crt\"", findings);
    inner.require("key", "\"secrets/issuer_2_key\"", findings);
    let key = keys::key(&inner, base, findings);
    Some(NextIssuer {
        certificate: base.join(certificate.and_then(|field| field.non_empty(findings)).unwrap_or_default()),
        password: keys::password(&inner, &key, base, findings),
        key,
        alternate_chains: files(&inner, "alternate_chains", MOST_ALTERNATE_CHAINS, base, findings),
    })
}

fn name(field: &Field<'_>, findings: &mut Findings) -> Option<AuthorityName> {
    let text = field.string(findings)?;
    if is_provisioner_name(text) {
        return Some(AuthorityName::new(text));
    }
    let message =
        format!("{:?} cannot stand in a URL; give 1 to 64 of a-z, 0-9, hyphen, underscore", shorten(text));
    field.error(findings, message);
    None
}

fn files(
    section: &Section<'_>,
    key: &'static str,
    most: usize,
    base: &Path,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let Some(field) = section.get(key) else { return Vec::new() };
    let items = field.array(findings);
    if items.len() > most {
        field.error(findings, format!("has {} files; give at most {most}", items.len()));
    }
    let mut files = Vec::new();
    for item in items.into_iter().take(most) {
        let Some(path) = item.non_empty(findings).map(|path| base.join(path)) else { continue };
        if files.contains(&path) {
            item.error(findings, "is there twice; remove one");
        } else {
            files.push(path);
        }
    }
    files
}

/// A URL that leaves may carry. Without TLS: who checks a certificate by it has not checked one yet
/// (RFC 5280 §8).
fn plain_url(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.string(findings)?;
    let clean =
        text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    match text.strip_prefix("http://") {
        Some(rest) if clean && !rest.is_empty() && !rest.starts_with('/') => Some(text.to_owned()),
        Some(_) | None => {
            let message = format!(
                "{:?} is not an http URL of at most 1024 bytes; https does not do here, since clients read it \
                 to check a certificate",
                shorten(text)
            );
            field.error(findings, message);
            None
        }
    }
}

/// The one that a section's `authority` names: of several one must be named, the only one need not be.
pub(super) fn chosen<'c>(
    section: &Section<'_>,
    all: &'c [Checked],
    required: bool,
    findings: &mut Findings,
) -> Option<&'c Checked> {
    let field = match section.get("authority") {
        Some(field) => field,
        None if all.len() > 1 && required => {
            let names: Vec<_> = all.iter().map(|one| format!("\"{}\"", one.settings.name)).collect();
            let message = format!("is required, since there are several; write one of {}", names.join(", "));
            findings.error(section.line, &section.path_of("authority"), message);
            return all.first();
        }
        None => return all.first(),
    };
    let table: Vec<_> = all.iter().map(|one| (one.settings.name.as_str(), one)).collect();
    one_of(&field, &table, findings).or(all.first())
}

/// Reports a lifetime beyond an authority's cap.
pub(super) fn within(
    cap: Option<Duration>,
    longest: Duration,
    line: Option<usize>,
    path: &str,
    findings: &mut Findings,
) {
    if let Some(cap) = cap.filter(|cap| longest > *cap) {
        let message = format!(
            "{} is longer than max_ttl of the authority, {}; shorten it or raise that",
            format_duration(longest),
            format_duration(cap),
        );
        findings.error(line, path, message);
    }
}

/// The lines of the keys of each authority, for what is found in the files they name.
pub(super) fn line(root: &DeTable<'_>, source: Source<'_>, place: usize, key: &str) -> Option<usize> {
    let section: &Spanned<DeValue<'_>> = root.get("authority")?;
    let section = section.get_ref().as_array().and_then(|items| items.get(place)).unwrap_or(section);
    let value = section.get_ref().get(key).unwrap_or(section);
    Some(source.line(value.span().start))
}
