//! The pure core of RFC 8555: values in, decisions out; no clock, no randomness, no sockets.
//!
//! The domain types derive the record codec (serde) themselves instead of having a second, equal
//! shape for the disk: what is stored are plain facts, and golden files (`testdata/golden`) hold
//! the format. When a shape changes, the old one stays beside it under its version number.

pub mod account;
pub mod challenge;
pub mod conformance;
pub mod error;
pub mod identifier;
pub mod nonce;
pub mod order;
pub mod renewal;
pub mod star;
pub mod subdomain;
