//! X.509 formats (RFC 5280, RFC 2986): DER in and out, no decisions about issuance.

pub mod csr;
pub mod der;
pub mod hex;
pub mod key_hash;
pub mod ml_dsa;
pub mod oid;
pub mod pem;
pub mod permanent;
pub mod serial;
pub mod spki;
pub mod subject_key;
pub mod weak;

/// The address in an iPAddress name (RFC 5280 §4.2.1.6): 4 or 16 bytes.
pub fn ip_of(octets: &[u8]) -> Option<std::net::IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(std::net::IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(std::net::IpAddr::from))
        .ok()
}
