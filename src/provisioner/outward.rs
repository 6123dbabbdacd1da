//! Where one provisioner's validations depart from the server's: split horizon, other targets.

use std::net::SocketAddr;

use ipnet::IpNet;

/// What `[provisioner.validation]` sets; `None` leaves what `[validation]` says, `Some` replaces it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outward {
    /// DNS servers to ask; empty means the system's.
    pub resolvers: Option<Vec<SocketAddr>>,
    /// Port of http-01.
    pub http_port: Option<u16>,
    /// Port of tls-alpn-01.
    pub tls_alpn_port: Option<u16>,
    /// Targets allowed although denied by default.
    pub allow: Option<Vec<IpNet>>,
    /// Targets denied in addition to the defaults.
    pub deny: Option<Vec<IpNet>>,
}
