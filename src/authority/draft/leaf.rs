//! What a leaf has that no CA has, in the builder's terms.

use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    CertificateParams, CrlDistributionPoint, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};

use super::super::canonical;
use super::super::urls::LeafUrls;
use super::DraftError;
use crate::acme::identifier::Identifier;
use crate::provisioner::Grant;
use crate::provisioner::profile::contents::{Attribute, Contents};
use crate::provisioner::profile::usages::{KeyUsages, Usage, Usages};

/// Fills in the leaf's part.
pub(super) fn fill(
    params: &mut CertificateParams,
    names: &[Identifier],
    grant: &Grant,
    urls: LeafUrls<'_>,
    no_rev_avail: bool,
) -> Result<(), DraftError> {
    params.is_ca = IsCa::ExplicitNoCa;
    let usage = grant.leaf().key_usage_of(grant.key().key());
    params.key_usages = key_usage(usage.ok_or_else(|| build("the key can do nothing that the profile has"))?);
    extended_key_usage(params, grant.usages());
    subject(params, grant.contents())?;
    alt_names(params, names, grant.contents())?;
    if let Some(url) = urls.crl {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![url.to_owned()] }];
    }
    if no_rev_avail {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 56], vec![0x05, 0x00]));
    }
    if urls.has_access() {
        let value = canonical::authority_info_access(urls);
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], value));
    }
    for own in grant.contents().extensions() {
        let mut extension = CustomExtension::from_oid_content(own.oid.numbers(), own.value.clone());
        extension.set_criticality(own.critical);
        params.custom_extensions.push(extension);
    }
    Ok(())
}

fn build(what: &str) -> DraftError {
    DraftError::Build(what.to_owned())
}

fn key_usage(usages: KeyUsages) -> Vec<KeyUsagePurpose> {
    let table = [
        (0x80, KeyUsagePurpose::DigitalSignature),
        (0x40, KeyUsagePurpose::ContentCommitment),
        (0x20, KeyUsagePurpose::KeyEncipherment),
        (0x10, KeyUsagePurpose::DataEncipherment),
        (0x08, KeyUsagePurpose::KeyAgreement),
    ];
    table.into_iter().filter(|(bit, _)| usages.byte() & bit != 0).map(|(_, usage)| usage).collect()
}

fn extended_key_usage(params: &mut CertificateParams, usages: &Usages) {
    if usages.critical() {
        // The builder knows this extension as not critical only.
        let mut extension =
            CustomExtension::from_oid_content(&[2, 5, 29, 37], canonical::extended_key_usage(usages));
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        return;
    }
    let purpose = |usage: &Usage| match usage {
        Usage::ServerAuth => ExtendedKeyUsagePurpose::ServerAuth,
        Usage::ClientAuth => ExtendedKeyUsagePurpose::ClientAuth,
        Usage::CodeSigning => ExtendedKeyUsagePurpose::CodeSigning,
        Usage::EmailProtection => ExtendedKeyUsagePurpose::EmailProtection,
        Usage::TimeStamping => ExtendedKeyUsagePurpose::TimeStamping,
        Usage::Other(oid) => ExtendedKeyUsagePurpose::Other(oid.numbers().to_vec()),
    };
    params.extended_key_usages = usages.iter().map(purpose).collect();
}

fn subject(params: &mut CertificateParams, contents: &Contents) -> Result<(), DraftError> {
    for (attribute, text) in contents.subject() {
        let kind = match attribute {
            Attribute::Country => DnType::CountryName,
            Attribute::Province => DnType::StateOrProvinceName,
            Attribute::Locality => DnType::LocalityName,
            Attribute::Organization => DnType::OrganizationName,
            Attribute::OrganizationalUnit => DnType::OrganizationalUnitName,
            Attribute::CommonName => DnType::CommonName,
            Attribute::SerialNumber => DnType::CustomDnType(vec![2, 5, 4, 5]),
        };
        let value = if attribute.printable() {
            let text = PrintableString::try_from(text.as_str()).map_err(|e| build(&e.to_string()))?;
            DnValue::PrintableString(text)
        } else {
            DnValue::Utf8String(text.clone())
        };
        params.distinguished_name.push(kind, value);
    }
    Ok(())
}

fn alt_names(
    params: &mut CertificateParams,
    names: &[Identifier],
    contents: &Contents,
) -> Result<(), DraftError> {
    if names.iter().any(Identifier::is_device) {
        // The builder has no PermanentIdentifier (RFC 4043).
        let names = canonical::subject_alt_name(names, contents)
            .ok_or_else(|| build("a device's assigner does not encode"))?;
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
        extension.set_criticality(contents.subject().is_empty());
        params.custom_extensions.push(extension);
        return Ok(());
    }
    params.subject_alt_names = names.iter().map(alt_name).collect::<Result<_, _>>()?;
    for uri in contents.uris() {
        params.subject_alt_names.push(SanType::URI(ia5(uri)?));
    }
    for email in contents.emails() {
        params.subject_alt_names.push(SanType::Rfc822Name(ia5(email)?));
    }
    Ok(())
}

fn ia5(text: &str) -> Result<Ia5String, DraftError> {
    Ia5String::try_from(text).map_err(|error| build(&error.to_string()))
}

fn alt_name(name: &Identifier) -> Result<SanType, DraftError> {
    Ok(match name {
        Identifier::Dns(_) | Identifier::Wildcard(_) => SanType::DnsName(ia5(&name.order_value())?),
        Identifier::Ip(ip) => SanType::IpAddress(*ip),
        Identifier::Permanent(_) => return Err(build("the builder has no name for a device")),
    })
}
