//! TEMPORARY: compile-only stand-in for the service room.

pub mod ceremony;
