//! The verbs without HTTP.

mod sweep;
