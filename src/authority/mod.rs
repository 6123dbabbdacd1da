//! The pure issuing core: what a certificate looks like, whether it may exist, and its signature.
//!
//! The one way to a signature: [`crate::provisioner::Grant`] → [`draft::draft`] (the complete
//! to-be-signed certificate) → [`lint::lint`] (profile and form, over those very bytes, read by
//! a parser that is not the builder) → [`approve::approve`] (policy, over the same) → [`sign::sign`], which
//! takes an [`approve::Approved`] and nothing else.

pub mod alternate;
pub mod approve;
pub mod authorities;
pub mod blocked;
pub mod bundle;
pub mod ca;
mod canonical;
pub mod certificate;
pub mod chain;
pub mod constraints;
pub mod draft;
pub mod issuer;
pub mod key_source;
pub mod leaves;
pub mod lint;
pub mod policy;
pub mod realm;
pub mod rotation;
pub mod sign;
pub mod signer;
pub mod subject;
pub mod succession;
pub mod urls;

#[cfg(test)]
pub(crate) mod tests;
