//! The verbs without HTTP.

mod respond;
mod sweep;
