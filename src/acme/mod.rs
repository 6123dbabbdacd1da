//! The pure core of RFC 8555: values in, decisions out; no clock, no randomness, no sockets.

pub mod challenge;
pub mod identifier;
