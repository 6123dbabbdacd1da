//! The ACME front end as a client sees it: envelope, routes, service, core and store together,
//! without sockets (but for `listener`).

mod client;
mod envelope;
mod faults;
mod flow;
mod listener;
mod races;
mod recovery;
mod revocation;
mod star;
mod status;
