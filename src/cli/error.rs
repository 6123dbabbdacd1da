//! How a command fails.

use std::io;
use std::path::PathBuf;

use super::ca::CaError;
use super::fleet::FleetError;
use super::rotation::RotationError;
use crate::bench::BenchError;
use crate::client::admin::AdminError;
use crate::config::Problem;
use crate::daemon::DaemonError;
use crate::http::tls::OwnCertificateError;
use crate::keystore::KeystoreError;
use crate::keystore::file::{KeyFileError, shell_word};
use crate::service;
use crate::service::ceremony::CeremonyError;
use crate::storage::StoreError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A configuration file cannot be used; [`CliError::report`] lists all that is wrong.
    #[error("{} has {} error{}", file.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// A policy cannot be used; [`CliError::report`] lists all that is wrong.
    #[error("{} has {} error{}", file.display(), problems.len(), if problems.len() == 1 { "" } else { "s" })]
    Policy {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problems: Vec<Problem>,
        /// The command of `mayfly policy` that looks again.
        again: &'static str,
    },
    /// A new CA would mix with what is there.
    #[error("{} is not empty: it holds {found}", dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// What is there.
        found: String,
    },
    /// `mayfly dev` was pointed at something else.
    #[error("{} is not a mayfly directory: it has no mayfly.toml, but {found}", dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// What is there.
        found: String,
        /// Whether it is nothing but parts of a CA.
        cut_off: bool,
    },
    /// A file or directory could not be made or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A path cannot stand in a configuration file.
    #[error("the path {} is not UTF-8", .0.display())]
    PathText(PathBuf),
    /// A key or password file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A keystore.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// No key of that kind is made there.
    #[error("{0}")]
    CannotGenerate(&'static str),
    /// Receivers did not acknowledge a test.
    #[error("{failed} of {of} receivers did not acknowledge the test; what each has said is above")]
    NotDelivered {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// Core dumps could not be switched off before there was a key in memory.
    #[error("cannot forbid core dumps: {0}")]
    CoreDumps(io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ceremony.
    #[error(transparent)]
    Ceremony(#[from] CeremonyError),
    /// The server.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// No CA was named, and there is none where one would be by default.
    #[error("which CA? there is none in {}", super::dev::DEFAULT_DIR)]
    WhichCa,
    /// A running CA could not be reached, or said no.
    #[error("{error}")]
    Admin {
        /// Its configuration, if it was found by that.
        file: Option<PathBuf>,
        /// Why.
        error: AdminError,
    },
    /// Who commands a CA over the network shows a certificate, and knows the CA.
    #[error("--url https://… needs {0} FILE too")]
    ListenerNeeds(&'static str),
    /// What was given for that does not fit.
    #[error("{0}")]
    Listener(String),
    /// A running CA was asked to take up files that were written for it, and nobody knows whether it did.
    #[error(
        "{error}; it is not known whether the CA has taken the files up, so they stay as they are now{}",
        before_of(before)
    )]
    Outcome {
        /// What came back.
        error: AdminError,
        /// Where the files are as they were before.
        before: Vec<PathBuf>,
    },
    /// Another command is at it.
    #[error("another mayfly command is changing {}: run this again when it has ended", .0.display())]
    Changing(PathBuf),
    /// A version of the configuration has a file in a place that is not this command's to write.
    #[error("version {version} has the file {path}, which {why}")]
    ForeignFile {
        /// Of the configuration.
        version: u64,
        /// As it stands there.
        path: String,
        /// The rule.
        why: &'static str,
    },
    /// A benchmark.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A `mayfly ca` command.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A command about identities.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A step of a rotation.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// A request could not be put to a policy.
    #[error("{}: {why}", file.display())]
    PolicyTest {
        /// What does not read.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// A policy refuses the request; the reasons were printed.
    #[error("the policy refuses the request")]
    PolicyDenies,
    /// The async runtime could not be started.
    #[error("the runtime could not be started: {0}")]
    Runtime(io::Error),
    /// A message could not be printed.
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

/// What to do about a store that does not open or serve.
fn after_store(error: &StoreError) -> Option<&'static str> {
    Some(match error {
        StoreError::Failed(text) if text.contains("in use") => {
            "stop the other mayfly that runs on this directory; only one may"
        }
        StoreError::Failed(_) => "see to the disk, then start again: nothing acknowledged is lost",
        StoreError::NoSpace(_) => "make room on the file system of [store] path, then start again",
        StoreError::Corrupt(_) => "restore the store's directory from a backup",
        StoreError::Busy | StoreError::TooLarge(_) => return None,
    })
}

fn before_of(before: &[PathBuf]) -> String {
    let paths: Vec<_> = before.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() { String::new() } else { format!(" (before: {})", paths.join(", ")) }
}

impl CliError {
    /// The exit code: 1, but 2 for a request that could not be judged.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::PolicyTest { .. }) { 2 } else { 1 }
    }

    /// What to do about it, where there is something to say that the message itself does not.
    fn next_step(&self) -> Option<String> {
        Some(match self {
            // Nothing to mend in a file that could not even be read; the message says what to do.
            Self::Config { problems, .. } | Self::Policy { problems, .. }
                if problems.iter().all(|p| p.line.is_none() && p.key.is_empty()) =>
            {
                return None;
            }
            Self::Config { file, .. } => {
                format!("mend the lines above, then run: mayfly check-config {}", shell_word(file))
            }
            Self::Policy { file, again, .. } => {
                format!("mend the lines above, then run: mayfly policy {again} {}", shell_word(file))
            }
            Self::Occupied { .. } => {
                "give --dir a directory that is empty or does not exist; nothing was changed".to_owned()
            }
            Self::Foreign { dir, cut_off: true, .. } => format!(
                "this looks like a start that was cut off before it was done; if so, remove {} and start again",
                dir.display()
            ),
            Self::Foreign { .. } => "give --dir a directory that is empty or does not exist".to_owned(),
            Self::Store(error) | Self::Daemon(DaemonError::Store(error)) => after_store(error)?.to_owned(),
            Self::Daemon(DaemonError::Authority(_)) => {
                "mend [authority] or the files it names; `mayfly check-config` checks them again".to_owned()
            }
            Self::Daemon(DaemonError::OwnCertificate(OwnCertificateError::Issue(service::Error::Store(
                error,
            )))) => after_store(error)?.to_owned(),
            Self::WhichCa => "give --config FILE or --dir DIR of a running one".to_owned(),
            Self::Admin { file: Some(file), error: AdminError::NotRunning(_) } => format!(
                "start it, then run this again: mayfly serve --config {} (or `mayfly dev`, for a CA that it made)",
                shell_word(file)
            ),
            Self::Fleet(error) => error.next_step(),
            Self::Outcome { .. } => {
                "look at `mayfly config history` and `mayfly config diff N` with its last number; the same command \
                 may be run again"
                    .to_owned()
            }
            Self::ForeignFile { version, .. } => format!(
                "nothing was changed; write what `mayfly config show {version}` prints yourself, then run: mayfly config apply"
            ),
            Self::Admin { error: AdminError::Forbidden(_), .. } => {
                "run this as the user that the CA runs as, or as root".to_owned()
            }
            _ => return None,
        })
    }

    /// The whole text for standard error: what was found, `error: …`, what to do next.
    pub fn report(&self) -> String {
        let mut lines = Vec::new();
        if let Self::Config { file, problems } | Self::Policy { file, problems, .. } = self {
            lines.extend(problems.iter().map(|problem| problem.render(file)));
        }
        lines.push(format!("error: {self}"));
        lines.extend(self.next_step().map(|next| format!("  next: {next}")));
        lines.join("\n")
    }
}
