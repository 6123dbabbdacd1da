//! The verbs without HTTP.

mod account;
mod churn;
mod respond;
mod states;
mod sweep;
mod watched;
