//! Which configuration was in force when: every one that was put into force is kept under a number.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// By what a configuration came into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// A start.
    Start,
    /// SIGHUP.
    Signal,
    /// `mayfly config apply`.
    Apply,
    /// `mayfly config rollback` to that version.
    Rollback(u64),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::Apply => f.write_str("apply"),
            Self::Rollback(version) => write!(f, "rollback to {version}"),
        }
    }
}

/// One configuration, as it was put into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationVersion {
    /// When.
    pub at: Timestamp,
    /// By what.
    pub how: How,
    /// The text of mayfly.toml.
    pub text: String,
    /// Files with rules of their own that it names: the path as it stands there, and the text.
    pub files: Vec<(String, String)>,
}
