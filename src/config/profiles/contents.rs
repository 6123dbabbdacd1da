//! What a profile puts into certificates by itself. Every template is tried here with made-up orders,
//! so that a mistake shows when the file is read and not when somebody wants a certificate.

use super::super::file::{Field, PROFILE_EXTENSION, PROFILE_SUBJECT, Section};
use super::super::problem::Findings;
use crate::acme::identifier::{Identifier, PermanentId};
use crate::provisioner::profile::contents::{
    Attribute, ExtensionTemplate, Facts, FillError, Form, MOST_EXTENSIONS, MOST_NAMES, Templates, may_add,
};
use crate::provisioner::profile::san::{SanKind, SanKinds};
use crate::provisioner::profile::template::{Place, Template};
use crate::time::Timestamp;

/// Labels of made-up bindings: a template that is good for one of them can be good.
const LABELS: &[&str] = &["sample", "DE", "sample@example.test", "0500"];

/// What the profile says of contents.
pub(super) fn templates(section: &Section<'_>, sans: SanKinds, findings: &mut Findings) -> Templates {
    let before = findings.errors.len();
    let templates = Templates {
        subject: subject(section, findings),
        uris: names(section, "uris", (SanKind::Uri, Place::Uri), sans, findings),
        emails: names(section, "emails", (SanKind::Email, Place::Email), sans, findings),
        extensions: extensions(section, findings),
    };
    // Each is good by itself; are they together?
    let Templates { uris, emails, .. } = templates.clone();
    for (key, whole) in [
        ("uris", Templates { uris, ..Templates::default() }),
        ("emails", Templates { emails, ..Templates::default() }),
    ] {
        if let Some(field) = section.get(key)
            && findings.errors.len() == before
            && let Err(error) = tried(&whole)
        {
            field.error(findings, error.why);
        }
    }
    templates
}

fn tried(templates: &Templates) -> Result<(), FillError> {
    let Ok(device) = PermanentId::parse("SAMPLE-1") else { return Ok(()) };
    let mut names: Vec<Identifier> =
        ["sample.test", "*.sample.test"].into_iter().flat_map(Identifier::parse_dns).collect();
    names.extend(Identifier::parse_ip("192.0.2.1"));
    names.push(Identifier::Permanent(device));
    let mut first = None;
    for label in LABELS {
        let facts = Facts {
            names: &names,
            account: "AAAAAAAAAAAAAAAAAAAAAA".into(),
            authority: "sample",
            provisioner: "sample",
            profile: "sample",
            eab: Some(("AAAAAAAAAAAAAAAAAAAAAA".into(), label)),
            ordered: Timestamp::from_secs(1_800_000_000),
        };
        match templates.fill(&facts) {
            Ok(_) => return Ok(()),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), Err)
}

/// A template, tried alone.
fn template(
    field: &Field<'_>,
    place: Place,
    whole: impl FnOnce(Template) -> Templates,
    findings: &mut Findings,
) -> Option<Template> {
    let text = field.string(findings)?;
    let tried = Template::new(text, place)
        .and_then(|template| tried(&whole(template.clone())).map(|()| template).map_err(|error| error.why));
    tried.map_err(|why| field.error(findings, why)).ok()
}

fn subject(section: &Section<'_>, findings: &mut Findings) -> Vec<(Attribute, Template)> {
    let Some(section) = section.inner("subject", PROFILE_SUBJECT, findings) else { return Vec::new() };
    let mut found = Vec::new();
    for (key, attribute, ..) in Attribute::TABLE {
        let Some(field) = section.get(key) else { continue };
        let whole = |template| Templates { subject: vec![(*attribute, template)], ..Templates::default() };
        found.extend(template(&field, Place::Text, whole, findings).map(|template| (*attribute, template)));
    }
    found
}

fn names(
    section: &Section<'_>,
    key: &'static str,
    (kind, place): (SanKind, Place),
    sans: SanKinds,
    findings: &mut Findings,
) -> Vec<Template> {
    let Some(field) = section.get(key) else { return Vec::new() };
    let items = field.array(findings);
    if items.len() > MOST_NAMES {
        field.error(findings, format!("has {}; give at most {MOST_NAMES}", items.len()));
    }
    if !items.is_empty() && !sans.contains(kind) {
        field
            .error(findings, format!("cannot stand in a certificate, since sans has only: {}", sans.names()));
    }
    let whole = |template| match kind {
        SanKind::Uri => Templates { uris: vec![template], ..Templates::default() },
        SanKind::Email => Templates { emails: vec![template], ..Templates::default() },
        SanKind::Dns | SanKind::Ip | SanKind::Device => Templates::default(),
    };
    items.iter().take(MOST_NAMES).filter_map(|item| template(item, place, whole, findings)).collect()
}

fn extensions(section: &Section<'_>, findings: &mut Findings) -> Vec<ExtensionTemplate> {
    let sections = section.inner_list("extensions", PROFILE_EXTENSION, findings);
    if sections.len() > MOST_EXTENSIONS {
        let message = format!("there are {}; give at most {MOST_EXTENSIONS}", sections.len());
        findings.error(section.line, &section.path_of("extensions"), message);
    }
    let mut found: Vec<ExtensionTemplate> = Vec::new();
    for section in sections.iter().take(MOST_EXTENSIONS).filter(|section| section.is_section()) {
        let Some(one) = extension(section, findings) else { continue };
        if found.iter().any(|other| other.oid == one.oid) {
            let line = section.get("oid").map(|field| field.line);
            findings.error(line, &section.path_of("oid"), "is there twice; remove one");
        }
        found.push(one);
    }
    found
}

fn extension(section: &Section<'_>, findings: &mut Findings) -> Option<ExtensionTemplate> {
    let field = section.require("oid", "\"1.3.6.1.4.1.32473.1\"", findings);
    let oid = field.as_ref().and_then(|field| {
        let oid = field.string(findings)?.parse();
        oid.map_err(|error| field.error(findings, format!("{error}"))).ok()
    });
    if let (Some(field), Some(oid)) = (&field, &oid)
        && !may_add(oid)
    {
        field.error(findings, "is an extension that Mayfly decides about itself; it cannot be set here");
    }
    let critical = section.get("critical").and_then(|field| field.boolean(findings)).unwrap_or(false);
    let given: Vec<_> =
        Form::TABLE.iter().filter_map(|(key, form)| Some((*form, section.get(key)?))).collect();
    let [(form, field)] = given.as_slice() else {
        let message = "needs exactly one of `utf8`, `hex` and `base64`";
        findings.error(section.line, &section.path, message);
        return None;
    };
    let oid = oid?;
    let of = |value| ExtensionTemplate { oid: oid.clone(), critical, form: *form, value };
    let whole = |template| Templates { extensions: vec![of(template)], ..Templates::default() };
    template(field, form.place(), whole, findings).map(of)
}
