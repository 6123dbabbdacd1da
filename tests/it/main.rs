//! End-to-end tests: the server as a process, real ACME clients, crashes, races and the walls of
//! the house.
//!
//! Everything runs on loopback addresses and free ports, in parallel, in temporary directories, and
//! stops what it started. `tests/run` installs the clients and hands over the release binary.

// Clippy's in-tests exemptions reach only `#[test]` functions, not the support code around them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod abuse;
mod architecture;
mod bench;
mod blocked_keys;
mod campaign;
mod cli;
mod configuration;
mod conformance;
mod crash;
mod dashboard;
mod eab;
mod ecosystems;
mod fleet;
mod flows;
mod interop;
mod keys;
mod keystores;
mod kms;
mod linters;
mod metrics;
mod ml_dsa;
mod monitoring;
mod notify;
mod operation;
mod operators;
mod policy;
mod profiles;
mod race;
mod redaction;
mod refused;
mod rotation;
mod schemathesis;
mod star;
mod support;
mod tokens;
mod tpm;
mod traces;
mod vault;
