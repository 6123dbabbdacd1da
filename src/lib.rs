//! Mayfly: a private certificate authority for certificates that live a day.
//!
//! # The rooms, outer to inner
//!
//! Arrows point inwards and never back; `tests/it/architecture.rs` holds them.
//!
//! | room | what it does | may use |
//! |---|---|---|
//! | [`cli`] | one file per command | everything below |
//! | [`mod@bench`] | load and measurement: an ACME server's, the cryptography's, the store's | client, storage, authority, … |
//! | [`client`] | an ACME client for any server; commands to a running CA | wire, x509, jose |
//! | [`daemon`] | composition root: settings in, running server out | everything below |
//! | [`config`] | file → validated settings | acme, authority, provisioner, policy, attestation, limits |
//! | [`telemetry`] | log lines, metrics, traces; log lines are used through `tracing` by all, the others by those who serve, act and store | the vocabularies of acme and limits, x509's hex, outbound |
//! | [`http`] | everything that serves HTTP | wire, service and inwards |
//! | [`wire`] | serde shapes of the protocols | acme |
//! | [`service`] | one file per verb: load, decide, commit | storage, validation, authority, acme, … |
//! | [`storage`] [`validation`] [`keystore`] | adapters to the outside | the core; keystore: outbound |
//! | [`notify`] | tells receivers what is wrong in the fleet | keystore, outbound, the core |
//! | [`outbound`] | HTTP to whom the operator named | nothing |
//! | [`fleet`] | rotation health: who should have renewed, who is called over, and who comes; pure | acme, x509 |
//! | [`acme`] [`authority`] [`provisioner`] [`policy`] [`audit`] [`limits`] | the pure core | attestation, x509, jose |
//! | [`attestation`] | what devices' attestation statements prove; pure | x509 |
//! | [`x509`] [`jose`] | formats | id, time, entropy |
//! | [`id`] [`time`] [`entropy`] | the floor | nothing |
//!
//! # The straight line of a request
//!
//! bytes → `http::acme::envelope` (a verified request or a problem) → `wire` (a typed ask) →
//! `service` (one snapshot in) → core (a decision) → `storage` (one batch out, durable) → reply.

pub mod acme;
pub mod attestation;
pub mod audit;
pub mod authority;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod daemon;
pub mod entropy;
pub mod fleet;
pub mod http;
pub mod id;
pub mod jose;
pub mod keystore;
pub mod limits;
pub mod notify;
pub mod outbound;
pub mod policy;
pub mod provisioner;
pub mod service;
pub mod storage;
pub mod telemetry;
#[cfg(test)]
mod tests;
pub mod time;
pub mod validation;
pub mod wire;
pub mod x509;
