//! The pure issuing core: what a certificate looks like, whether it may exist, and its signature.

pub mod signer;
