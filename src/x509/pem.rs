//! PEM (RFC 7468) of certificates.

use pem_rfc7468::LineEnding;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// One certificate as PEM text with a trailing newline.
pub fn certificate(der: &[u8]) -> String {
    // The encoder fails only on a label or line width that is wrong by construction.
    pem_rfc7468::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

/// One certification request as PEM text with a trailing newline.
pub fn certification_request(der: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE REQUEST", LineEnding::LF, der).unwrap_or_default()
}

/// All certificates of a PEM text, in order; `None` if the text is malformed or has none.
pub fn parse_certificates(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.ok()?;
    (!found.is_empty()).then(|| found.into_iter().map(|der| der.to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let text = certificate(&[0x30, 0x03, 1, 2, 3]) + &certificate(&[0x30, 0]);
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\n") && text.ends_with("-----\n"));
        assert_eq!(parse_certificates(text.as_bytes()), Some(vec![vec![0x30, 3, 1, 2, 3], vec![0x30, 0]]));
        assert_eq!(parse_certificates(b""), None);
        assert_eq!(parse_certificates(b"-----BEGIN CERTIFICATE-----\n!!"), None);
    }
}
