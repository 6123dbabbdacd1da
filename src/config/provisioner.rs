//! The rules of `[[provisioner]]`.

use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::authority::{self, Checked};
use super::check::{DAY, MINUTE, one_of};
use super::file::{Field, Section, Source, shorten};
use super::problem::Findings;
use super::profiles::{profiles, restraints, usual_lifetimes};
use super::settings::Provisioner;
use super::units::format_duration;
use super::{attestation, policy, proofs};
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::{DnsName, Identifier};
use crate::acme::order::Lifetimes;
use crate::acme::renewal::is_explanation;
use crate::acme::star::{Offer, effective_lifetime};
use crate::provisioner::acme::{NameRule, Terms};
use crate::provisioner::eab::EabMode;

/// The longest lifetime of a leaf: what clients that follow the Baseline Requirements' old ceiling
/// still accept. A certificate that lives longer wants another CA.
pub const LONGEST_TTL: Duration = Duration::from_secs(398 * 86_400);

/// The shortest lifetime: less than the clocks of two machines may differ by helps nobody.
pub(super) const SHORTEST_TTL: Duration = MINUTE;

/// The longest series of certificates that one order may bring forth.
const LONGEST_RENEWAL: Duration = Duration::from_secs(3650 * 86_400);

const MOST_PROVISIONERS: usize = 1000;

/// `base` is where relative paths start; `None` if no other file is to be looked at.
pub(super) fn all<'a>(
    source: Source<'a>,
    value: Option<&'a Spanned<DeValue<'a>>>,
    (dns_names, authorities): (&[Identifier], &[Checked]),
    base: Option<&Path>,
    findings: &mut Findings,
) -> Vec<Provisioner> {
    let Some(value) = value else {
        let message = "there is none, so nobody could ask for a certificate; add `[[provisioner]]` with \
                       `type = \"acme\"` and a `name`";
        findings.error(None, "provisioner", message);
        return Vec::new();
    };
    let Some(items) = value.get_ref().as_array() else {
        let line = Some(source.line(value.span().start));
        findings.error(line, "provisioner", "write [[provisioner]], with two brackets on each side");
        return Vec::new();
    };
    if items.is_empty() {
        findings.error(Some(source.line(value.span().start)), "provisioner", "is empty; give at least one");
    }
    if items.len() > MOST_PROVISIONERS {
        let message = format!("there are {}; give at most {MOST_PROVISIONERS}", items.len());
        findings.error(Some(source.line(value.span().start)), "provisioner", message);
    }
    let mut provisioners: Vec<Provisioner> = Vec::new();
    for (i, item) in items.iter().enumerate().take(MOST_PROVISIONERS) {
        let section = Section::new(source, "provisioner", format!("provisioner[{i}]"), Some(item), findings);
        if let Some(field) = section.require("type", "\"acme\"", findings) {
            one_of(&field, &[("acme", ())], findings);
        }
        let provisioner = acme(source, &section, (dns_names, authorities), base, findings);
        let same = |Provisioner::Acme(other): &Provisioner| other.name == provisioner.name;
        if !provisioner.name.is_empty() && provisioners.iter().any(same) {
            let line = section.get("name").map(|f| f.line);
            let message = format!("{:?} is taken by an earlier provisioner; give another", provisioner.name);
            findings.error(line, &section.path_of("name"), message);
        }
        provisioners.push(Provisioner::Acme(provisioner));
    }
    provisioners
}

fn acme(
    source: Source<'_>,
    section: &Section<'_>,
    (dns_names, authorities): (&[Identifier], &[Checked]),
    base: Option<&Path>,
    findings: &mut Findings,
) -> Terms {
    let name = section
        .require("name", "\"acme\"", findings)
        .and_then(|field| name(&field, findings))
        .unwrap_or_default();
    let usual = Terms::named(&name);
    let challenges = challenges(section, &usual.challenges, findings);
    let wildcards = section.get("wildcards").and_then(|f| f.boolean(findings)).unwrap_or(usual.wildcards);
    let proves_wildcards = |kind: &ChallengeKind| match kind {
        ChallengeKind::Dns01 | ChallengeKind::DnsAccount01 | ChallengeKind::DnsPersist01 => true,
        ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 | ChallengeKind::DeviceAttest01 => false,
    };
    if wildcards && !challenges.iter().any(proves_wildcards) {
        let message = "wildcards need dns-01, which this provisioner does not offer: orders for one will be \
                       refused; write `wildcards = false` or add \"dns-01\"";
        findings.note(section.line, &section.path_of("challenges"), message);
    }
    let naming = proofs::naming(section, &challenges, dns_names, findings);
    let authority = authority::chosen(section, authorities, true, findings);
    let cap = authority.and_then(|one| one.settings.max_ttl);
    let lifetimes = lifetimes(section, usual_lifetimes(cap), findings);
    let line = section.get("max_ttl").map(|field| field.line).or(section.line);
    authority::within(cap, lifetimes.max, line, &section.path_of("max_ttl"), findings);
    let (eab, eab_trusts_names) = eab(section, &usual, findings);
    let attestation = attestation::policy(section, &challenges, base, findings);
    let of_authority = authority.map(|one| one.profiles.clone()).unwrap_or_default();
    let restraints = restraints(section, usual.restraints, findings);
    let profiles = profiles(source, section, lifetimes, &of_authority, restraints, findings);
    for (name, profile) in &profiles.offered {
        let path = section.path_of(&format!("profiles.{name}"));
        authority::within(cap, profile.rules.lifetimes.max, section.line, &path, findings);
    }
    let auto_renewal = auto_renewal(section, lifetimes, findings);
    let max_names = section.integer("max_names", 100, (1, 1000), findings);
    let terms = Terms {
        name,
        authority: authority.map(|one| one.settings.name.clone()).unwrap_or_default(),
        challenges,
        lifetimes,
        allow: rules(section, "allow_names", findings),
        deny: rules(section, "deny_names", findings),
        wildcards,
        max_names: usize::try_from(max_names).unwrap_or(usize::MAX),
        order_ttl: section.duration("order_ttl", usual.order_ttl, (MINUTE, 30 * DAY), findings),
        authorization_ttl: section.duration(
            "authorization_ttl",
            usual.authorization_ttl,
            (Duration::ZERO, 365 * DAY),
            findings,
        ),
        terms_of_service: section.get("terms_of_service").and_then(|f| link(&f, findings)),
        website: section.get("website").and_then(|f| link(&f, findings)),
        pre_authorization: section
            .get("pre_authorization")
            .and_then(|f| f.boolean(findings))
            .unwrap_or(usual.pre_authorization),
        subdomains: section
            .get("subdomain_authorizations")
            .and_then(|f| f.boolean(findings))
            .unwrap_or(usual.subdomains),
        outward: proofs::outward(section, findings),
        issuer_domains: naming.issuer_domains,
        caa: naming.caa,
        caa_identities: naming.caa_identities,
        eab,
        eab_trusts_names,
        attestation,
        profiles,
        reuse_certificates: section
            .get("reuse_certificates")
            .map(|_| section.duration("reuse_certificates", 10 * MINUTE, (MINUTE, 7 * DAY), findings)),
        restraints,
        renewal_explanation: section.get("renewal_explanation").and_then(|f| link(&f, findings)),
        auto_renewal,
        policy: policy::pair(section, base, findings),
    };
    check_proofs(section, &terms, findings);
    terms
}

/// Proofs that could not be given, or would be of no use.
fn check_proofs(section: &Section<'_>, terms: &Terms, findings: &mut Findings) {
    if let Some(field) = section.get("pre_authorization")
        && terms.pre_authorization
        && !terms.offers_pre_authorization()
    {
        field.error(findings, "is true, but authorization_ttl is zero: no proof given ahead would be used");
    }
    let speaks_for_all = |kind: &ChallengeKind| match DnsName::parse("a.test") {
        Ok(name) => kind.can_prove(&Identifier::Wildcard(name)),
        Err(_) => false,
    };
    if let Some(field) = section.get("subdomain_authorizations")
        && terms.subdomains
        && !terms.challenges.iter().any(speaks_for_all)
    {
        let message = "is true, but no challenge offered can prove control of all names below one; add \
                       \"dns-01\"";
        field.error(findings, message);
    }
}

fn eab(section: &Section<'_>, usual: &Terms, findings: &mut Findings) -> (EabMode, bool) {
    let mode = section.get("eab").and_then(|field| one_of(&field, EabMode::TABLE, findings));
    let mode = mode.unwrap_or(usual.eab);
    let Some(field) = section.get("eab_trusts_names") else { return (mode, usual.eab_trusts_names) };
    let trusts = field.boolean(findings).unwrap_or(usual.eab_trusts_names);
    if trusts && mode == EabMode::Off {
        let message = "nobody can be bound here, so nobody could be trusted; write `eab = \"required\"` or \
                       `eab = \"optional\"`, or leave it out";
        field.error(findings, message);
    }
    (mode, trusts)
}

/// 1 to 64 of `a-z 0-9 - _`: it stands in URLs.
pub fn is_provisioner_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

fn name(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.string(findings)?;
    if is_provisioner_name(text) {
        return Some(text.to_owned());
    }
    let message =
        format!("{:?} cannot stand in a URL; give 1 to 64 of a-z, 0-9, hyphen, underscore", shorten(text));
    field.error(findings, message);
    None
}

fn challenges(section: &Section<'_>, usual: &[ChallengeKind], findings: &mut Findings) -> Vec<ChallengeKind> {
    let all = || usual.to_vec();
    let Some(field) = section.get("challenges") else { return all() };
    let table: Vec<_> = ChallengeKind::TABLE.iter().map(|(kind, name)| (*name, *kind)).collect();
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, "is empty, so nothing could be proved; leave it out to offer the usual three");
    }
    let mut kinds = Vec::new();
    for item in items {
        let Some(kind) = one_of(&item, &table, findings) else { continue };
        if kinds.contains(&kind) {
            item.error(findings, format!("{} is there twice; remove one", kind.name()));
        } else {
            kinds.push(kind);
        }
    }
    // One without a token goes last: some clients read no further.
    kinds.sort_by_key(|kind| !kind.has_token());
    if findings.errors.len() > before { all() } else { kinds }
}

pub(super) fn lifetimes(section: &Section<'_>, usual: Lifetimes, findings: &mut Findings) -> Lifetimes {
    let before = findings.errors.len();
    let mut ttl = |key, default| section.duration(key, default, (SHORTEST_TTL, LONGEST_TTL), findings);
    let ttls = Lifetimes {
        min: ttl("min_ttl", usual.min),
        default: ttl("default_ttl", usual.default),
        max: ttl("max_ttl", usual.max),
    };
    if findings.errors.len() > before {
        return ttls;
    }
    let line = |key| section.get(key).map(|f| f.line).or(section.line);
    let defaulted = |key| if section.get(key).is_none() { " (its default)" } else { "" };
    let mut compare = |low_key, low: Duration, high_key, high: Duration| {
        if low > high {
            let message = format!(
                "{}{} is longer than {high_key}, {}{}; raise {high_key} or shorten {low_key}",
                format_duration(low),
                defaulted(low_key),
                format_duration(high),
                defaulted(high_key),
            );
            findings.error(line(low_key), &section.path_of(low_key), message);
        }
    };
    compare("min_ttl", ttls.min, "default_ttl", ttls.default);
    compare("default_ttl", ttls.default, "max_ttl", ttls.max);
    ttls
}

/// RFC 8739. Who offers it says within which bounds.
fn auto_renewal(section: &Section<'_>, lifetimes: Lifetimes, findings: &mut Findings) -> Option<Offer> {
    let section = section.inner("auto_renewal", "provisioner.auto_renewal", findings)?;
    if !section.is_section() {
        return None;
    }
    let before = findings.errors.len();
    let mut required = |key, example, range| {
        section.require(key, example, findings);
        section.duration(key, MINUTE, range, findings)
    };
    let offer = Offer {
        min_lifetime: required("min_lifetime", "\"1h\"", (SHORTEST_TTL, LONGEST_TTL)),
        max_duration: required("max_duration", "\"90d\"", (SHORTEST_TTL, LONGEST_RENEWAL)),
        allow_certificate_get: section
            .get("allow_certificate_get")
            .and_then(|f| f.boolean(findings))
            .unwrap_or(false),
    };
    if findings.errors.len() > before {
        return Some(offer);
    }
    let line = section.get("min_lifetime").map(|f| f.line);
    let effective = effective_lifetime(offer.min_lifetime, Duration::ZERO);
    if effective > lifetimes.max {
        let message = format!(
            "{}, with the two thirds of it that certificates are pre-dated by, is {}, longer than max_ttl, {}; \
             lower it or raise max_ttl",
            format_duration(offer.min_lifetime),
            format_duration(effective),
            format_duration(lifetimes.max),
        );
        findings.error(line, &section.path_of("min_lifetime"), message);
    }
    if offer.min_lifetime > offer.max_duration {
        let message = format!(
            "{} is longer than max_duration, {}; lower it or raise max_duration",
            format_duration(offer.min_lifetime),
            format_duration(offer.max_duration),
        );
        findings.error(line, &section.path_of("min_lifetime"), message);
    }
    Some(offer)
}

fn rules(section: &Section<'_>, key: &'static str, findings: &mut Findings) -> Vec<NameRule> {
    let Some(field) = section.get(key) else { return Vec::new() };
    let before = findings.errors.len();
    let items = field.array(findings);
    if key == "allow_names" && items.is_empty() && findings.errors.len() == before {
        // An empty list reads as "none", but the absent key means "any".
        field.error(findings, "is empty; leave it out to allow any name, or list the names allowed");
    }
    let mut rules = Vec::new();
    for item in items {
        let Some(text) = item.string(findings) else { continue };
        match text.parse() {
            Ok(rule) => rules.push(rule),
            Err(why) => item.error(findings, why),
        }
    }
    rules
}

fn link(field: &Field<'_>, findings: &mut Findings) -> Option<String> {
    let text = field.string(findings)?;
    if is_explanation(text) {
        return Some(text.to_owned());
    }
    field.error(findings, format!("{:?} is not an http or https URL", shorten(text)));
    None
}
