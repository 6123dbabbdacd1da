//! The issuer from its files, with everything checked that a start needs; `mayfly check-config`
//! checks by the same function.

use std::path::Path;
use std::sync::Arc;

use crate::authority::issuer::{Issuer, IssuerError};
use crate::authority::signer::Signer;
use crate::authority::{alternate, chain};
use crate::config::Problem;
use crate::config::settings::Authority;
use crate::keystore::file::FileKey;
use crate::keystore::password::Password;
use crate::time::Timestamp;
use crate::x509::pem;

/// The issuer, and the roots above it.
pub struct Loaded {
    /// Ready to issue.
    pub issuer: Arc<Issuer>,
    /// DER.
    pub roots: Vec<Vec<u8>>,
}

fn problem(key: &str, path: &Path, message: impl std::fmt::Display) -> Problem {
    let message = format!("{}: {message}", path.display());
    Problem { line: None, key: format!("authority.{key}"), message }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let text = std::fs::read(path).map_err(|error| problem(key, path, error))?;
    pem::parse_certificates(&text)
        .ok_or_else(|| problem(key, path, "holds no PEM certificate, or a broken one"))
}

/// Loads what `[authority]` names: the key opens, it is the certificate's, and the certificate's
/// chain leads to the root, all of it valid at `now`; and every alternate chain is one.
pub fn load(authority: &Authority, now: Timestamp) -> Result<Loaded, Problem> {
    let roots = certificates("root", &authority.root)?;
    let chain = certificates("certificate", &authority.certificate)?;
    let password = authority.password_file.as_deref().map(Password::read).transpose();
    // Errors of keys and passwords name their file themselves.
    let plain = |key: &str, message: String| Problem { line: None, key: format!("authority.{key}"), message };
    let password = password.map_err(|error| plain("password_file", error.to_string()))?;
    let key = FileKey::load(&authority.key, password.as_ref());
    let key = key.map_err(|error| plain("key", error.to_string()))?;
    let signer: Arc<dyn Signer> = Arc::new(key);
    let (own, above) = match chain.split_first() {
        Some((own, above)) => (own.clone(), above),
        None => return Err(problem("certificate", &authority.certificate, "holds no certificate")),
    };
    let issuer = Issuer::new(own, above, signer).map_err(|error| match error {
        IssuerError::KeyMismatch => problem(
            "certificate",
            &authority.certificate,
            format!("is not the certificate of the key in {}", authority.key.display()),
        ),
        other => problem("certificate", &authority.certificate, other),
    })?;
    chain::check(issuer.chain(), &roots, now).map_err(|error| {
        problem("root", &authority.root, format!("{error} ({})", authority.certificate.display()))
    })?;
    let mut alternates = Vec::with_capacity(authority.alternate_chains.len());
    for path in &authority.alternate_chains {
        let chain = certificates("alternate_chains", path)?;
        let checked = alternate::check(&issuer, &chain, now);
        alternates.push(checked.map_err(|error| problem("alternate_chains", path, error))?);
    }
    Ok(Loaded { issuer: Arc::new(issuer.with_alternates(alternates)), roots })
}
