//! The protocols' JSON shapes; no behaviour.

pub mod acme;
pub mod acme_reply;
pub mod admin;
