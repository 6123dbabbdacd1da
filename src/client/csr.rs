//! Certification requests for names, under keys that are kept.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};

use super::key::{KeyError, KeyKind, key_error};

/// A certificate's key.
pub struct CertificateKey(KeyPair);

impl CertificateKey {
    /// A fresh key.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        let algorithm = match kind {
            KeyKind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyKind::Ed25519 => &rcgen::PKCS_ED25519,
            KeyKind::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        };
        KeyPair::generate_for(algorithm).map(Self).map_err(key_error)
    }

    /// A request for DNS names, DER. One signature.
    pub fn request(&self, names: &[String]) -> Result<Vec<u8>, KeyError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(key_error)?));
        }
        Ok(params.serialize_request(&self.0).map_err(key_error)?.der().to_vec())
    }
}

impl std::fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CertificateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::csr::{Csr, RequestedName};

    #[test]
    fn requests_parse_for_every_kind_of_key() {
        for (kind, name) in KeyKind::TABLE {
            let der = CertificateKey::generate(*kind).unwrap().request(&["a.test".into(), "b.test".into()]);
            let csr = Csr::parse(&der.unwrap()).unwrap();
            let want = ["a.test", "b.test"].map(|name| RequestedName::Dns(name.into()));
            assert!(csr.names().iter().eq(want.iter()), "{name}");
            assert_eq!(csr.common_name(), None);
        }
    }
}
