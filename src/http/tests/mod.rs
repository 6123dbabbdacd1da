//! The ACME front end as a client sees it: envelope, routes, service, core and store together,
//! without sockets (but for `listener`).

mod admin;
mod attest;
mod campaigns;
mod client;
mod complete;
mod eab;
mod envelope;
mod faults;
mod field;
mod fleet;
mod flow;
mod keys;
mod kinds;
mod limits;
mod listener;
mod metrics;
mod policy;
mod profiles;
mod races;
mod recovery;
mod renewal;
mod restraints;
mod reuse;
mod revocation;
mod rotation;
mod star;
mod status;
mod strict;
mod subdomains;
mod walls;
