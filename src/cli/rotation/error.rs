//! How a `mayfly rotation` command fails.

use std::path::PathBuf;

use crate::authority::chain::ChainError;
use crate::config::edit::EditError;

/// Why a step of a rotation was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// One is to be named.
    #[error("which authority? there are {0}: give one with --authority")]
    Which(String),
    /// None of that name.
    #[error("there is no authority {0} in the configuration in force")]
    NoAuthority(String),
    /// The file has changes of somebody else's.
    #[error(
        "{} differs from the configuration in force by more than this step: see `mayfly config diff`, then \
         apply those changes or undo them", .0.display()
    )]
    Differs(PathBuf),
    /// The text.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// One is there already.
    #[error(
        "a next issuer is in the bundle already, by {0}: go on with `mayfly rotation advance`, or `abort`"
    )]
    Started(String),
    /// An earlier attempt had other aims.
    #[error(
        "an earlier `mayfly rotation start` with other options was cut short: repeat it with those ({options}), \
         or remove {} to begin anew", marker.display()
    )]
    Unfinished {
        /// Which.
        options: String,
        /// What says so.
        marker: PathBuf,
    },
    /// A key of less protection than the one before.
    #[error(
        "the key that signs now is in a keystore, or sealed by one, and the next one would be a plain file: give \
         --password-file, or make it where it is to be and bring it with --issuer and --key"
    )]
    Unprotected,
    /// A path that was produced.
    #[error("{} leads to none of the roots that clients will have: {error}", path.display())]
    Path {
        /// The chain's file.
        path: PathBuf,
        /// Why.
        error: ChainError,
    },
    /// No former issuer.
    #[error("there is no former issuer to retire: see `mayfly rotation status`")]
    NothingFormer,
    /// Several.
    #[error("which issuer? give one with --issuer: {0}")]
    WhichIssuer(String),
    /// Not one of them.
    #[error("no file of other_issuers is the chain of an issuer with the key identifier {0}")]
    NoSuchIssuer(String),
    /// What was brought.
    #[error("--key: {0}")]
    Key(String),
    /// The CN of the next one.
    #[error("the next issuer's name would be too long: give one of at most 64 characters with --name")]
    Name,
}
