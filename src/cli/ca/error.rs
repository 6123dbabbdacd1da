//! How a `mayfly ca` command fails.

use std::path::PathBuf;

use crate::authority::chain::ChainError;
use crate::authority::issuer::IssuerError;
use crate::authority::subject::SubjectError;
use crate::x509::csr::CsrError;

/// Why a `mayfly ca` command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file holds something else.
    #[error("{} holds no {want} (PEM or DER)", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is looked for.
        want: &'static str,
    },
    /// Far larger than anything of its kind.
    #[error("{} is larger than 256 KiB: this is no certificate or request", .0.display())]
    TooLarge(PathBuf),
    /// A file to be written is there already.
    #[error("{} is there already: give another name, or move it away", .0.display())]
    Exists(PathBuf),
    /// A certificate is installed already.
    #[error("{} holds another certificate already: --replace puts the new one in its place", .0.display())]
    Installed(PathBuf),
    /// The directory holds no such CA.
    #[error("{} is not there: is {} the directory of a CA?", path.display(), dir.display())]
    NoCa {
        /// What is missing.
        path: PathBuf,
        /// Where.
        dir: PathBuf,
    },
    /// The name of a CA.
    #[error("--name: {0}")]
    Name(SubjectError),
    /// The request.
    #[error("{}: {error}", path.display())]
    Csr {
        /// Which.
        path: PathBuf,
        /// Why.
        error: CsrError,
    },
    /// The request's, or the certificate's, subject.
    #[error("{}: {error}", path.display())]
    Subject {
        /// Which.
        path: PathBuf,
        /// Why.
        error: SubjectError,
    },
    /// A certificate that cannot issue.
    #[error("{}: {error}", path.display())]
    Issuer {
        /// Which.
        path: PathBuf,
        /// Why.
        error: IssuerError,
    },
    /// The certificate does not lead to the root.
    #[error("{}: {error}", path.display())]
    Chain {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        error: ChainError,
    },
    /// A certificate that cannot be cross-signed.
    #[error("{}: {why}", path.display())]
    Target {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// No root to check against.
    #[error("no root is known: give it with --root FILE (the certificate of the CA that signed)")]
    NoRoot,
}
