//! The verbs without HTTP.

mod account;
mod caa;
mod churn;
mod respond;
mod sweep;
