//! The rules of what a provisioner's proofs hang on: `[provisioner.validation]`, CAA, and the names
//! this CA goes by in DNS records.

use super::check::{ports, resolvers, targets};
use super::file::{Field, Section};
use super::problem::Findings;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::{DnsName, Identifier};
use crate::provisioner::outward::Outward;

/// draft-ietf-acme-dns-persist §3.1: a client refuses a challenge with more.
const MOST_DOMAINS: usize = 10;

/// What a provisioner says of itself in DNS records.
pub(super) struct Naming {
    pub issuer_domains: Vec<String>,
    pub caa: bool,
    pub caa_identities: Vec<String>,
}

/// `issuer_domains`, `caa` and `caa_identities`. Each list stands in for the other where it is
/// missing, and the server's first DNS name for both.
pub(super) fn naming(
    section: &Section<'_>,
    challenges: &[ChallengeKind],
    dns_names: &[Identifier],
    findings: &mut Findings,
) -> Naming {
    let before = findings.errors.len();
    let own = dns_names.iter().find_map(|name| match name {
        Identifier::Dns(name) => Some(vec![name.as_str().to_owned()]),
        Identifier::Wildcard(_) | Identifier::Ip(_) | Identifier::Permanent(_) => None,
    });
    let own = own.unwrap_or_default();
    let domains = section.get("issuer_domains").map(|field| domains(&field, findings));
    let identities = section.get("caa_identities").map(|field| self::domains(&field, findings));
    let caa = section.get("caa").and_then(|field| field.boolean(findings)).unwrap_or(false);
    let issuer_domains = domains.clone().or_else(|| identities.clone()).unwrap_or_else(|| own.clone());
    let caa_identities = identities.clone().or(domains.clone()).unwrap_or(own);
    let naming = Naming { issuer_domains, caa, caa_identities };
    if findings.errors.len() > before {
        return naming;
    }
    let persistent = challenges.contains(&ChallengeKind::DnsPersist01);
    let unnamed = |what| format!("{what} needs a name of this CA, and server.dns_names has addresses only");
    let line = |key| section.get(key).map(|field| field.line).or(section.line);
    if persistent && naming.issuer_domains.is_empty() {
        findings.error(line("challenges"), &section.path_of("issuer_domains"), unnamed("dns-persist-01"));
    }
    if caa && naming.caa_identities.is_empty() {
        findings.error(line("caa"), &section.path_of("caa_identities"), unnamed("caa"));
    }
    if domains.is_some() && !persistent {
        let message = "has no effect: dns-persist-01 is not among the challenges";
        findings.note(line("issuer_domains"), &section.path_of("issuer_domains"), message);
    }
    if identities.is_some() && !caa {
        let message = "has no effect without `caa = true`";
        findings.note(line("caa_identities"), &section.path_of("caa_identities"), message);
    }
    // Clients refuse the challenge otherwise (draft-ietf-acme-dns-persist §3.2).
    let stray = naming.issuer_domains.iter().find(|name| !naming.caa_identities.contains(name));
    if let Some(stray) = stray.filter(|_| persistent && caa) {
        let message = format!("{stray} must be in caa_identities too, because CAA records are checked");
        findings.error(line("issuer_domains"), &section.path_of("issuer_domains"), message);
    }
    naming
}

fn domains(field: &Field<'_>, findings: &mut Findings) -> Vec<String> {
    let before = findings.errors.len();
    let items = field.array(findings);
    if items.is_empty() && findings.errors.len() == before {
        field.error(findings, "is empty; leave it out for the server's first DNS name");
    }
    if items.len() > MOST_DOMAINS {
        field.error(findings, format!("has {} names; give at most {MOST_DOMAINS}", items.len()));
    }
    let mut names: Vec<String> = Vec::new();
    for item in items.into_iter().take(MOST_DOMAINS) {
        let Some(text) = item.string(findings) else { continue };
        match DnsName::parse(text) {
            Ok(name) if names.iter().any(|other| other == name.as_str()) => {
                item.error(findings, format!("{name} is there twice; remove one"));
            }
            Ok(name) => names.push(name.as_str().to_owned()),
            Err(error) => item.error(findings, format!("{:?}: {error}", super::file::shorten(text))),
        }
    }
    names
}

/// `[provisioner.validation]`
pub(super) fn outward(section: &Section<'_>, findings: &mut Findings) -> Outward {
    let Some(section) = section.inner("validation", "provisioner.validation", findings) else {
        return Outward::default();
    };
    let (http_port, tls_alpn_port) = ports(&section, findings);
    let (allow, deny) = targets(&section, findings);
    Outward {
        resolvers: section.get("resolvers").map(|_| resolvers(&section, findings)),
        http_port: section.get("http_port").map(|_| http_port),
        tls_alpn_port: section.get("tls_alpn_port").map(|_| tls_alpn_port),
        allow: section.get("allow").map(|_| allow),
        deny: section.get("deny").map(|_| deny),
    }
}

#[cfg(test)]
mod tests;
