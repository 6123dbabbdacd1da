//! The key that a certificate, a certification request or a public key file is about, as people hand
//! them over: PEM or DER.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key_hash::KeyHash;
use super::spki::{Spki, SpkiError};

/// What holds the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A certificate (RFC 5280); of several in one PEM file, the first.
    Certificate,
    /// A certification request (RFC 2986).
    Request,
    /// A SubjectPublicKeyInfo.
    PublicKey,
}

/// Why there is no key to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectKeyError {
    /// Something else.
    #[error("is no {} in PEM or DER{}", label(*.0), hint(*.0))]
    Malformed(Holder),
    /// Nothing that could ever be certified here.
    #[error("{0}: this CA certifies no such key; --sha256 takes the hash of any")]
    Key(#[from] SpkiError),
}

fn label(holder: Holder) -> &'static str {
    match holder {
        Holder::Certificate => "certificate",
        Holder::Request => "certification request",
        Holder::PublicKey => "public key",
    }
}

fn hint(holder: Holder) -> &'static str {
    match holder {
        Holder::Certificate | Holder::Request => "",
        Holder::PublicKey => "; the public half of a private key: openssl pkey -in KEY -pubout",
    }
}

/// The hash of the key in a file. Only keys of a kind that is certified here are taken, in their one
/// encoding, so that the hash is the one that a request for the key shows.
pub fn hash_of(bytes: &[u8], holder: Holder) -> Result<KeyHash, SubjectKeyError> {
    let malformed = || SubjectKeyError::Malformed(holder);
    let der = match bytes.first() {
        Some(0x30) => bytes.to_vec(),
        _ => from_pem(bytes, holder).ok_or_else(malformed)?,
    };
    let spki = match holder {
        Holder::Certificate => match X509Certificate::from_der(&der) {
            Ok(([], certificate)) => certificate.public_key().raw.to_vec(),
            _ => return Err(malformed()),
        },
        Holder::Request => match X509CertificationRequest::from_der(&der) {
            Ok(([], request)) => request.certification_request_info.subject_pki.raw.to_vec(),
            _ => return Err(malformed()),
        },
        Holder::PublicKey => der,
    };
    match Spki::parse(&spki) {
        Ok(key) => Ok(key.hash()),
        Err(SpkiError::Malformed) if holder == Holder::PublicKey => Err(malformed()),
        Err(error) => Err(error.into()),
    }
}

fn from_pem(bytes: &[u8], holder: Holder) -> Option<Vec<u8>> {
    let labels: &[&str] = match holder {
        Holder::Certificate => return super::pem::parse_certificates(bytes)?.into_iter().next(),
        Holder::Request => &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"],
        Holder::PublicKey => &["PUBLIC KEY"],
    };
    // Text may stand around it, as OpenSSL writes it, and lines may end as they like.
    let text = std::str::from_utf8(bytes).ok()?;
    let begin = text.find("-----BEGIN ")?;
    let end = begin + text.get(begin..)?.find("-----END ")?;
    let end = end + text.get(end..)?.find('\n').unwrap_or(text.len() - end);
    let (label, der) = pem_rfc7468::decode_vec(text.get(begin..end)?.trim_end().as_bytes()).ok()?;
    labels.contains(&label).then_some(der)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::pem;
    use pem_rfc7468::{LineEnding, encode_string};
    use rcgen::{CertificateParams, KeyPair, PublicKeyData};

    #[test]
    fn every_holder_in_both_forms() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.test".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let request = params.serialize_request(&key).unwrap();
        let public = key.subject_public_key_info();
        let want = KeyHash::of(&public);
        let text = encode_string("CERTIFICATE REQUEST", LineEnding::LF, request.der()).unwrap();
        let around = format!("Certificate Request:\n  x\n{text}after\n");
        let crlf = encode_string("PUBLIC KEY", LineEnding::CRLF, &public).unwrap();
        let rows: [(&[u8], Holder); 7] = [
            (certificate.der(), Holder::Certificate),
            (&pem::certificate(certificate.der()).into_bytes(), Holder::Certificate),
            (request.der(), Holder::Request),
            (around.as_bytes(), Holder::Request),
            (&public, Holder::PublicKey),
            (crlf.as_bytes(), Holder::PublicKey),
            (crlf.trim_end().as_bytes(), Holder::PublicKey),
        ];
        for (bytes, holder) in rows {
            assert_eq!(hash_of(bytes, holder), Ok(want), "{holder:?} {}", String::from_utf8_lossy(bytes));
        }
        let private = encode_string("PRIVATE KEY", LineEnding::LF, &key.serialize_der()).unwrap();
        let error = hash_of(private.as_bytes(), Holder::PublicKey).unwrap_err();
        assert!(error.to_string().contains("-pubout"), "{error}");
        for holder in [Holder::Certificate, Holder::Request, Holder::PublicKey] {
            for bad in
                [&b""[..], b"junk", &[0x30, 0], b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"]
            {
                assert_eq!(
                    hash_of(bad, holder),
                    Err(SubjectKeyError::Malformed(holder)),
                    "{holder:?} {bad:?}"
                );
            }
        }
        assert_eq!(
            hash_of(request.der(), Holder::Certificate),
            Err(SubjectKeyError::Malformed(Holder::Certificate))
        );
    }
}
