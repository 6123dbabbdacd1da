//! The protocols' JSON shapes; no behaviour.

pub mod acme;
