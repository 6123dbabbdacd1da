//! What the tests stand on: the server as a process, a small internet on loopback, clients.

pub mod acme;
pub mod clients;
pub mod dns;
pub mod https;
pub mod named;
pub mod openssl;
pub mod otlp;
pub mod ports;
pub mod process;
pub mod server;
pub mod tls_alpn;
pub mod web;
