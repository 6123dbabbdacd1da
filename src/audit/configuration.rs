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
    /// `mayfly rotation`.
    Rotation(RotationStep),
}

/// A step of an issuer's rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RotationStep {
    /// The next issuer into the bundle.
    Start,
    /// It signs from now on.
    Advance,
    /// A former one goes.
    Retire,
    /// The next one goes.
    Abort,
}

impl RotationStep {
    /// Each with its name.
    pub const TABLE: [(Self, &'static str); 4] = [
        (Self::Start, "start"),
        (Self::Advance, "advance"),
        (Self::Retire, "retire"),
        (Self::Abort, "abort"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(step, _)| *step == self).map_or("", |(_, name)| name)
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::Apply => f.write_str("apply"),
            Self::Rollback(version) => write!(f, "rollback to {version}"),
            Self::Rotation(step) => write!(f, "rotation {}", step.name()),
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
