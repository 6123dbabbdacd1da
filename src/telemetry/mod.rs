//! What the operator sees of the running server.

pub mod log;
pub mod metrics;
pub mod trace;
