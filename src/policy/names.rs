//! Names of object identifiers, as policies write and explanations show them.

/// Names with their dotted object identifiers.
pub type Table = &'static [(&'static str, &'static str)];

/// What stands for "no extension, so any usage" (RFC 5280 §4.2.1.3, §4.2.1.12).
pub const ANY: &str = "any";

/// Extended key usages (RFC 5280 §4.2.1.12 and later ones). A certificate without the extension is
/// good for any.
pub const EXTENDED_KEY_USAGES: Table = &[
    ("serverAuth", "1.3.6.1.5.5.7.3.1"),
    ("clientAuth", "1.3.6.1.5.5.7.3.2"),
    ("codeSigning", "1.3.6.1.5.5.7.3.3"),
    ("emailProtection", "1.3.6.1.5.5.7.3.4"),
    ("ipsecEndSystem", "1.3.6.1.5.5.7.3.5"),
    ("ipsecTunnel", "1.3.6.1.5.5.7.3.6"),
    ("ipsecUser", "1.3.6.1.5.5.7.3.7"),
    ("timeStamping", "1.3.6.1.5.5.7.3.8"),
    ("OCSPSigning", "1.3.6.1.5.5.7.3.9"),
    ("ipsecIKE", "1.3.6.1.5.5.7.3.17"),
    ("msSGC", "1.3.6.1.4.1.311.10.3.3"),
    ("nsSGC", "2.16.840.1.113730.4.1"),
    (ANY, "2.5.29.37.0"),
];

/// Key usages by the number of their bit (RFC 5280 §4.2.1.3).
pub const KEY_USAGES: Table = &[
    ("digitalSignature", "0"),
    ("nonRepudiation", "1"),
    ("keyEncipherment", "2"),
    ("dataEncipherment", "3"),
    ("keyAgreement", "4"),
    ("keyCertSign", "5"),
    ("cRLSign", "6"),
    ("encipherOnly", "7"),
    ("decipherOnly", "8"),
    (ANY, "none"),
];

/// Attributes of a distinguished name (RFC 4514 §3, RFC 4519).
pub const ATTRIBUTES: Table = &[
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("title", "2.5.4.12"),
    ("postalCode", "2.5.4.17"),
    ("GN", "2.5.4.42"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

/// Extensions of certificates.
pub const EXTENSIONS: Table = &[
    ("subjectKeyIdentifier", "2.5.29.14"),
    ("keyUsage", "2.5.29.15"),
    ("subjectAltName", "2.5.29.17"),
    ("basicConstraints", "2.5.29.19"),
    ("nameConstraints", "2.5.29.30"),
    ("cRLDistributionPoints", "2.5.29.31"),
    ("certificatePolicies", "2.5.29.32"),
    ("authorityKeyIdentifier", "2.5.29.35"),
    ("extKeyUsage", "2.5.29.37"),
    ("noRevAvail", "2.5.29.56"),
    ("authorityInfoAccess", "1.3.6.1.5.5.7.1.1"),
    ("tlsFeature", "1.3.6.1.5.5.7.1.24"),
    ("ocspNoCheck", "1.3.6.1.5.5.7.48.1.5"),
];

/// Signature algorithms.
pub const SIGNATURES: Table = &[
    ("ecdsa-sha256", "1.2.840.10045.4.3.2"),
    ("ecdsa-sha384", "1.2.840.10045.4.3.3"),
    ("ecdsa-sha512", "1.2.840.10045.4.3.4"),
    ("ed25519", "1.3.101.112"),
    ("rsa-sha256", "1.2.840.113549.1.1.11"),
    ("rsa-sha384", "1.2.840.113549.1.1.12"),
    ("rsa-sha512", "1.2.840.113549.1.1.13"),
    ("ml-dsa-44", "2.16.840.1.101.3.4.3.17"),
    ("ml-dsa-65", "2.16.840.1.101.3.4.3.18"),
    ("ml-dsa-87", "2.16.840.1.101.3.4.3.19"),
];

/// The object identifier that `text` names or is.
pub fn oid_of(table: Table, text: &str) -> Option<String> {
    if let Some((_, oid)) = table.iter().find(|(name, _)| *name == text) {
        return Some((*oid).to_owned());
    }
    crate::x509::permanent::oid_content(text).map(|_| text.to_owned())
}

/// The name of an object identifier, or itself.
pub fn name_of(table: Table, oid: &str) -> String {
    table.iter().find(|(_, known)| *known == oid).map_or(oid, |(name, _)| *name).to_owned()
}

/// All names of a table, for messages.
pub fn all(table: Table) -> String {
    table.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_identifiers() {
        for table in [EXTENDED_KEY_USAGES, ATTRIBUTES, EXTENSIONS, SIGNATURES] {
            for (name, oid) in table {
                assert_eq!(oid_of(table, name).as_deref(), Some(*oid));
                assert_eq!(oid_of(table, oid).as_deref(), Some(*oid), "{oid} is an identifier");
                assert_eq!(name_of(table, oid), *name);
            }
        }
        assert_eq!(oid_of(EXTENSIONS, "1.2.3.4").as_deref(), Some("1.2.3.4"));
        for bad in ["", "1", "1..2", "x", "serverauth", "9.1", "1.2.03"] {
            assert_eq!(oid_of(EXTENDED_KEY_USAGES, bad), None, "{bad}");
        }
    }
}
