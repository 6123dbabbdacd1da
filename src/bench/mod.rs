//! Measuring: a load generator for any ACME server, this machine's cryptography, and the store.
//!
//! [`acme`] runs the load: [`flow`] is what one client does, [`stats`] what is kept of it in
//! [`histogram`]s, [`report`] how it is told. [`answers`] holds what the challenges' [`dns`] and
//! [`http01`] responders say. [`process`] reads the server's CPU time and memory, and [`machine`]
//! measures the unit that figures of different machines are compared by. [`crypto`] and [`store`]
//! are benchmarks of their own; [`fill`] makes a store large beforehand.

pub mod acme;
pub mod answers;
pub mod crypto;
pub mod dns;
pub mod fill;
pub mod flow;
pub mod histogram;
pub mod http01;
pub mod machine;
pub mod process;
pub mod report;
pub mod stats;
pub mod store;

use std::net::SocketAddr;

/// Why a benchmark did not run, or did not run well.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The target is not this machine.
    #[error("{0} is not this machine; --allow-remote permits load on a server that is yours to load")]
    Remote(SocketAddr),
    /// A responder's port.
    #[error("cannot listen on {0}: {1}; choose another port with --http-port or --dns-port")]
    Listen(SocketAddr, std::io::Error),
    /// The server could not be used at all.
    #[error("{0}: {1}")]
    Setup(&'static str, crate::client::acme::Error),
    /// The process to watch.
    #[error("process {0} cannot be watched: {1}")]
    Process(u32, std::io::Error),
    /// Cryptography of this program.
    #[error("{0}")]
    Crypto(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] crate::storage::StoreError),
    /// The runtime or its signals.
    #[error("the runtime: {0}")]
    Runtime(std::io::Error),
    /// It ran, and not well enough.
    #[error("{0}")]
    Verdict(String),
}

impl From<crate::client::key::KeyError> for BenchError {
    fn from(error: crate::client::key::KeyError) -> Self {
        Self::Crypto(error.to_string())
    }
}
