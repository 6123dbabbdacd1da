//! The verbs without HTTP.

mod account;
mod churn;
mod respond;
mod star;
mod sweep;
