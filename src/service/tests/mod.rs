//! The verbs without HTTP.

mod account;
mod accounts;
mod caa;
mod churn;
mod limits;
mod respond;
mod star;
mod states;
pub(crate) mod sweep;
mod watched;
