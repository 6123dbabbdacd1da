//! Certificates to hand out: PEM text, made once, with its digest.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use crate::x509::pem;

/// Certificates as they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pem: Bytes,
    sha256: [u8; 32],
}

impl Bundle {
    /// Of these certificates (DER), each once, in the order of their first places.
    pub fn of<'a>(certificates: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut seen = BTreeSet::new();
        let each = certificates.into_iter().filter(|der| seen.insert(*der));
        let text: String = each.map(pem::certificate).collect();
        let sha256 = sha256(text.as_bytes());
        Self { pem: text.into(), sha256 }
    }

    /// The text; copies share it.
    pub fn pem(&self) -> &Bytes {
        &self.pem
    }

    /// SHA-256 of the text.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

/// Lower-case hex SHA-256 of a certificate.
pub fn fingerprint(der: &[u8]) -> String {
    sha256(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_once_in_order() {
        let (one, two): (&[u8], &[u8]) = (&[0x30, 0], &[0x30, 1, 5]);
        let bundle = Bundle::of([two, one, two, one]);
        assert_eq!(pem::parse_certificates(bundle.pem()), Some(vec![two.to_vec(), one.to_vec()]));
        assert_eq!(bundle, Bundle::of([two, one]));
        assert_ne!(bundle.sha256(), Bundle::of([one, two]).sha256());
        assert_eq!(bundle.sha256().as_slice(), digest(&SHA256, bundle.pem()).as_ref());
        assert!(Bundle::of([]).pem().is_empty());
    }
}
