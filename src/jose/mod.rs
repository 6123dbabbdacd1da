//! JOSE as ACME uses it: flattened JWS (RFC 7515), JWK (RFC 7517), thumbprints (RFC 7638).

pub mod jwk;
pub mod jws;
pub mod mac;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Strict inverse of [`base64url`]: no padding, no other alphabet, no stray bits.
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
