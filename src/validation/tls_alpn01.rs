//! tls-alpn-01 (RFC 8737, RFC 8738 for addresses).
//!
//! The client speaks TLS 1.2 and 1.3 only, and wants exactly `acme-tls/1`. The handshake proves
//! that the peer has the certificate's key; the certificate's contents prove the rest.

use std::net::{IpAddr, SocketAddr};

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use super::dial::Host;
use super::peer::ACME_TLS;
use super::{Ask, FailureKind, Stop, Validator, sha256};
use crate::acme::identifier::Identifier;

/// id-pe-acmeIdentifier (RFC 8737 §6.1). The drafts' 1.3.6.1.5.5.7.1.30.1 is something else, and
/// accepting it has been an incident elsewhere.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";
/// subjectAltName.
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

impl Validator {
    /// Checks that the identifier's host shows the challenge's certificate.
    pub(super) async fn tls_alpn01(&self, ask: &Ask, deadline: Instant) -> Result<(), Stop> {
        let (host, sni) = match &ask.identifier {
            Identifier::Ip(ip) => (Host::Ip(*ip), reverse_name(*ip)),
            Identifier::Dns(name) | Identifier::Wildcard(name) => {
                (Host::Name(name.clone()), name.as_str().to_owned())
            }
            Identifier::Permanent(_) => {
                let detail = "tls-alpn-01 cannot prove control of a device";
                return Err(Stop::failed(FailureKind::Unauthorized, detail));
            }
        };
        let port = self.door.rules().tls_alpn_port;
        let (stream, peer) = self.door.open(&host, port, "tls-alpn-01", deadline).await?;
        let cert = timeout_at(deadline, self.handshake(stream, sni, peer)).await.unwrap_or_else(|_| {
            Err(Stop::failed(
                FailureKind::Connection,
                format!("the TLS handshake with {peer} did not end in time; does it speak TLS on that port?"),
            ))
        })?;
        check(&cert, &ask.identifier, &sha256(&ask.key_authorization)).map_err(|fault| {
            let kind = match fault {
                Fault::Unreadable => FailureKind::IncorrectResponse,
                _ => FailureKind::Unauthorized,
            };
            Stop::failed(
                kind,
                format!("the certificate that {peer} shows for acme-tls/1 is not the proof: {fault}"),
            )
        })
    }

    async fn handshake(
        &self,
        stream: TcpStream,
        sni: String,
        peer: SocketAddr,
    ) -> Result<CertificateDer<'static>, Stop> {
        let name = ServerName::try_from(sni)
            .map_err(|_| Stop::failed(FailureKind::Tls, "the name cannot be sent as SNI"))?;
        let stream = TlsConnector::from(self.tls.acme_tls.clone()).connect(name, stream).await.map_err(|error| {
            Stop::failed(
                FailureKind::Tls,
                format!(
                    "the TLS handshake with {peer} failed ({error}); does the client's tls-alpn-01 responder listen \
                     there, with TLS 1.2 or newer?"
                ),
            )
        })?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ACME_TLS) {
            return Err(Stop::failed(
                FailureKind::Tls,
                format!(
                    "{peer} did not choose acme-tls/1; another TLS server than the client's tls-alpn-01 responder \
                     answers there"
                ),
            ));
        }
        let certs = session.peer_certificates().unwrap_or_default();
        certs
            .first()
            .map(|cert| cert.clone().into_owned())
            .ok_or_else(|| Stop::failed(FailureKind::Tls, format!("{peer} sent no certificate")))
    }
}

/// RFC 8738 §6: the name of the reverse zone stands for an address in SNI.
fn reverse_name(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).chain(["ip6.arpa".to_owned()]).collect()
        }
    }
}

/// What is wrong with a certificate, in the order it is looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is not a readable X.509 certificate")]
    Unreadable,
    #[error("it is not self-signed: its issuer differs from its subject")]
    NotSelfSigned,
    #[error("it must have exactly one subjectAltName extension, and has {0}")]
    AltNameExtensions(usize),
    #[error("its subjectAltName must have exactly one entry, and has {0}")]
    AltNames(usize),
    #[error("its subjectAltName is another one than {0}")]
    OtherName(String),
    #[error("it must have exactly one acmeIdentifier extension ({ACME_IDENTIFIER}), and has {0}")]
    Extensions(usize),
    #[error("its acmeIdentifier extension is not critical")]
    NotCritical,
    #[error("its acmeIdentifier extension does not hold an OCTET STRING of 32 bytes")]
    Form,
    #[error("its acmeIdentifier extension holds another digest than that of this key authorization")]
    Digest,
}

/// RFC 8737 §3. The issuer's signature is not checked: whoever has the key could have made it, and
/// the handshake has shown who has the key.
pub(super) fn check(cert: &[u8], identifier: &Identifier, digest: &[u8; 32]) -> Result<(), Fault> {
    let (rest, cert) = X509Certificate::from_der(cert).map_err(|_| Fault::Unreadable)?;
    if !rest.is_empty() {
        return Err(Fault::Unreadable);
    }
    if cert.subject().as_raw() != cert.issuer().as_raw() {
        return Err(Fault::NotSelfSigned);
    }
    let san = only(&cert, SUBJECT_ALT_NAME).map_err(Fault::AltNameExtensions)?;
    check_name(san, identifier)?;
    let proof = only(&cert, ACME_IDENTIFIER).map_err(Fault::Extensions)?;
    if !proof.critical {
        return Err(Fault::NotCritical);
    }
    // DER leaves one encoding: tag 4, length 32.
    match proof.value {
        [0x04, 0x20, held @ ..] if held.len() == 32 => {
            if held == digest {
                Ok(())
            } else {
                Err(Fault::Digest)
            }
        }
        _ => Err(Fault::Form),
    }
}

/// The one extension of that type, or how many there are.
fn only<'c, 'a>(cert: &'c X509Certificate<'a>, oid: &str) -> Result<&'c X509Extension<'a>, usize> {
    let all: Vec<_> = cert.extensions().iter().filter(|ext| ext.oid.to_id_string() == oid).collect();
    match all.as_slice() {
        [one] => Ok(one),
        other => Err(other.len()),
    }
}

fn check_name(san: &X509Extension<'_>, identifier: &Identifier) -> Result<(), Fault> {
    let ParsedExtension::SubjectAlternativeName(san) = san.parsed_extension() else {
        return Err(Fault::Unreadable);
    };
    let [name] = san.general_names.as_slice() else {
        return Err(Fault::AltNames(san.general_names.len()));
    };
    let matches = match (name, identifier) {
        (GeneralName::DNSName(name), Identifier::Dns(want)) => name.eq_ignore_ascii_case(want.as_str()),
        (GeneralName::IPAddress(octets), Identifier::Ip(IpAddr::V4(ip))) => *octets == ip.octets(),
        (GeneralName::IPAddress(octets), Identifier::Ip(IpAddr::V6(ip))) => *octets == ip.octets(),
        _ => false,
    };
    if matches { Ok(()) } else { Err(Fault::OtherName(identifier.to_string())) }
}

#[cfg(test)]
mod tests;
