//! What must hold for a leaf, over the final bytes.

use x509_parser::extensions::{
    DistributionPointName, ExtendedKeyUsage, GeneralName, ParsedExtension, SubjectAlternativeName,
    X509Extension,
};
use x509_parser::prelude::X509Certificate;

use super::super::canonical;
use super::super::issuer::Issuer;
use super::super::urls::LeafUrls;
use super::{LintError, check_key_ids, identifier_of, require};
use crate::acme::identifier::Identifier;
use crate::provisioner::Grant;
use crate::provisioner::profile::san::{SanKind, check_emails, check_uris};
use crate::provisioner::profile::usages::Usage;
use crate::time::Timestamp;

/// Checks the leaf's own part; `oids` are those of its extensions, sorted.
pub(super) fn check(
    parsed: &X509Certificate<'_>,
    oids: &[&[u8]],
    names: &[Identifier],
    grant: &Grant,
    issuer: &Issuer,
    (not_before, not_after): (Timestamp, Timestamp),
) -> Result<(), LintError> {
    // Of the key in the certificate, which by now is the granted one.
    require(grant.leaf().check_key(grant.key().key()).is_ok(), "its key is one that is granted")?;
    check_subject(parsed, names, grant)?;
    let no_rev_avail = grant.leaf().no_rev_avail(not_before, not_after);
    let urls = issuer.urls().of_leaf(no_rev_avail);
    let mut expected = canonical::expected(grant, urls, no_rev_avail);
    expected.sort_unstable();
    let expected_oids = expected.iter().map(|(oid, _)| *oid);
    require(oids.iter().copied().eq(expected_oids), "a leaf has the extensions of its profile")?;
    for extension in parsed.extensions() {
        let known = expected.binary_search_by(|(oid, _)| oid.cmp(&extension.oid.as_bytes()));
        let critical = known.ok().is_some_and(|at| expected[at].1);
        require(extension.critical == critical, "criticality is as profiled")?;
        check_extension(extension, names, grant, issuer, urls)?;
    }
    Ok(())
}

/// Each attribute alone in its RDN, in the granted order, and by the rules of its kind.
fn check_subject(parsed: &X509Certificate<'_>, names: &[Identifier], grant: &Grant) -> Result<(), LintError> {
    let wanted = grant.contents().subject();
    let mut found = parsed.subject().iter_rdn();
    for (attribute, text) in wanted {
        let one = found.next().map(|rdn| rdn.iter());
        let mut one = one.ok_or(LintError::Rule("a leaf's subject is the granted one"))?;
        let (part, more) = (one.next(), one.next());
        let same = part.is_some_and(|part| {
            part.attr_type().as_bytes() == [0x55, 0x04, attribute.number()]
                && part.as_str().is_ok_and(|found| found == text)
        });
        require(same && more.is_none(), "a leaf's subject is the granted one")?;
        require(attribute.check(text, names).is_ok(), "each part of a subject keeps to its kind's rules")?;
    }
    require(found.next().is_none(), "a leaf's subject is empty, or the granted one")
}

fn check_extension(
    extension: &X509Extension<'_>,
    names: &[Identifier],
    grant: &Grant,
    issuer: &Issuer,
    urls: LeafUrls<'_>,
) -> Result<(), LintError> {
    // By number first: the parser may come to know an extension that is a profile's own.
    let own = grant.contents().extensions().iter().find(|own| own.oid.content() == extension.oid.as_bytes());
    if let Some(own) = own {
        return require(extension.value == own.value, "an extension of the profile's own is the granted one");
    }
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => check_names(san, names, grant),
        ParsedExtension::BasicConstraints(constraints) => {
            require(!constraints.ca && constraints.path_len_constraint.is_none(), "a leaf is no CA")
        }
        ParsedExtension::KeyUsage(usage) => {
            // The parser counts from the other end of the byte.
            let wanted = grant.leaf().key_usage_of(grant.key().key());
            let wanted = wanted.map(|usages| u16::from(usages.byte().reverse_bits()));
            require(Some(usage.flags) == wanted, "key usage is the granted one and fits the key")
        }
        ParsedExtension::ExtendedKeyUsage(usage) => check_usages(usage, grant),
        ParsedExtension::CRLDistributionPoints(points) => {
            let [point] = points.points.as_slice() else {
                return Err(LintError::Rule("there is one distribution point"));
            };
            let one = match &point.distribution_point {
                Some(DistributionPointName::FullName(names)) => is_uri(names, urls.crl),
                Some(DistributionPointName::NameRelativeToCRLIssuer(_)) | None => false,
            };
            let alone = point.reasons.is_none() && point.crl_issuer.is_none();
            require(one && alone, "the distribution point is the issuer's")
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            let found = access.accessdescs.iter().map(|one| match &one.access_location {
                GeneralName::URI(url) => Some((one.access_method.as_bytes(), *url)),
                _ => None,
            });
            let ocsp = urls.ocsp.map(|url| Some((&[0x2b, 6, 1, 5, 5, 7, 0x30, 1][..], url)));
            let issuers = urls.ca_issuers.map(|url| Some((&[0x2b, 6, 1, 5, 5, 7, 0x30, 2][..], url)));
            require(found.eq(ocsp.into_iter().chain(issuers)), "authority information access is the issuer's")
        }
        _ if extension.oid.as_bytes() == canonical::NO_REV_AVAIL => {
            require(extension.value == [0x05, 0x00], "noRevAvail is NULL")
        }
        other => check_key_ids(other, grant, issuer),
    }
}

fn is_uri(names: &[GeneralName<'_>], wanted: Option<&str>) -> bool {
    matches!((names, wanted), ([GeneralName::URI(found)], Some(wanted)) if *found == wanted)
}

fn check_names(
    san: &SubjectAlternativeName<'_>,
    names: &[Identifier],
    grant: &Grant,
) -> Result<(), LintError> {
    let (mut identifiers, mut uris, mut emails) = (Vec::new(), Vec::new(), Vec::new());
    for name in &san.general_names {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::RFC822Name(email) => emails.push(*email),
            other => identifiers.push(
                identifier_of(other).ok_or(LintError::Rule("every name is of a kind that is certified"))?,
            ),
        }
    }
    let (leaf, contents) = (grant.leaf(), grant.contents());
    require(identifiers == names, "the names are the granted ones, in their order")?;
    require(uris == contents.uris(), "the URIs are the granted ones, in their order")?;
    require(emails == contents.emails(), "the e-mail addresses are the granted ones, in their order")?;
    require(
        names.iter().all(|name| leaf.check_name(name).is_ok()),
        "every name is of a kind that is granted",
    )?;
    let kinds = (uris.is_empty() || leaf.sans.contains(SanKind::Uri))
        && (emails.is_empty() || leaf.sans.contains(SanKind::Email));
    require(kinds, "every name is of a kind that is granted")?;
    require(check_uris(&uris).is_ok(), "URIs and SPIFFE IDs keep to their rules")?;
    require(check_emails(&emails).is_ok(), "e-mail addresses keep to their rules")
}

fn check_usages(found: &ExtendedKeyUsage<'_>, grant: &Grant) -> Result<(), LintError> {
    let usages = grant.usages();
    let others = usages.iter().filter_map(|usage| match usage {
        Usage::Other(oid) => Some(oid.content()),
        Usage::ServerAuth
        | Usage::ClientAuth
        | Usage::CodeSigning
        | Usage::EmailProtection
        | Usage::TimeStamping => None,
    });
    require(
        found.server_auth == usages.contains(&Usage::ServerAuth)
            && found.client_auth == usages.contains(&Usage::ClientAuth)
            && found.code_signing == usages.contains(&Usage::CodeSigning)
            && found.email_protection == usages.contains(&Usage::EmailProtection)
            && found.time_stamping == usages.contains(&Usage::TimeStamping)
            && !found.any
            && !found.ocsp_signing
            && found.other.iter().map(|oid| oid.as_bytes()).eq(others),
        "extended key usage is the granted one",
    )
}
