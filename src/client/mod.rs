//! An ACME client (RFC 8555) for any server: one account, one kept connection, asynchronous.
//!
//! [`transport`] speaks HTTP/1.1 or HTTP/2 over TLS to one server, [`key`] signs requests, [`csr`]
//! makes certification requests, and [`acme`] is the protocol: nonces, retries, the resources.
//! [`admin`] is apart: commands to a CA of our own, on this machine.

pub mod acme;
pub mod admin;
pub mod csr;
pub mod key;
pub mod transport;
