//! What a CA certificate is to say.

use super::constraints::NameConstraints;
use super::subject::{Subject, SubjectError};

/// All that goes into a CA certificate besides its key and its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaSpec {
    /// Its name.
    pub subject: Subject,
    /// How many CAs may follow below it, one under the other; `None` sets no limit.
    pub path_len: Option<u8>,
    /// What may be certified below it.
    pub constraints: NameConstraints,
    /// Its subject key identifier, if certificates refer to it already (a cross certificate); by
    /// default it follows from the key.
    pub key_id: Option<[u8; 20]>,
}

impl CaSpec {
    /// A root of this common name: nothing constrained.
    pub fn root(common_name: &str) -> Result<Self, SubjectError> {
        let subject = Subject::common_name(common_name)?;
        Ok(Self { subject, path_len: None, constraints: NameConstraints::default(), key_id: None })
    }

    /// An intermediate of this common name that issues leaves only.
    pub fn issuing(common_name: &str) -> Result<Self, SubjectError> {
        Ok(Self { path_len: Some(0), ..Self::root(common_name)? })
    }
}
