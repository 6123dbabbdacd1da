//! X.509 formats (RFC 5280, RFC 2986): DER in and out, no decisions about issuance.

pub mod spki;
