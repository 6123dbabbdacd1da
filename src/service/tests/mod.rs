//! The verbs without HTTP.

mod account;
mod respond;
mod sweep;
