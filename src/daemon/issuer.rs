//! The issuer from its files, with everything checked that a start needs; `mayfly check-config`
//! checks by the same function.

use std::path::Path;
use std::sync::Arc;

use crate::authority::issuer::{Issuer, IssuerError};
use crate::authority::key_source::PasswordSource;
use crate::authority::{alternate, chain};
use crate::config::Problem;
use crate::config::settings::Authority;
use crate::keystore::{self, KeystoreError};
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
    let signer = keystore::open(&authority.key, authority.password.as_ref()).map_err(|error| {
        // Errors of keys and passwords name their place themselves.
        let key = match (&error, &authority.password) {
            (KeystoreError::Password(_), Some(PasswordSource::File(_))) => "password_file",
            (KeystoreError::Password(_), Some(PasswordSource::Env(_))) => "password_env",
            (KeystoreError::Password(_), Some(PasswordSource::Credential(_))) => "password_credential",
            (KeystoreError::Password(_), None)
            | (KeystoreError::File(_) | KeystoreError::Pkcs11 { .. } | KeystoreError::NotBuiltIn(_), _) => {
                "key"
            }
        };
        Problem { line: None, key: format!("authority.{key}"), message: error.to_string() }
    })?;
    let (own, above) = match chain.split_first() {
        Some((own, above)) => (own.clone(), above),
        None => return Err(problem("certificate", &authority.certificate, "holds no certificate")),
    };
    let issuer = Issuer::new(own, above, signer).map_err(|error| match error {
        IssuerError::KeyMismatch => problem(
            "certificate",
            &authority.certificate,
            format!("is not the certificate of the key in {}", authority.key),
        ),
        other => problem("certificate", &authority.certificate, other),
    })?;
    let root = chain::check(issuer.chain(), &roots, now).map_err(|error| {
        problem("root", &authority.root, format!("{error} ({})", authority.certificate.display()))
    })?;
    let issuer = issuer.under_root(root).map_err(|error| problem("root", &authority.root, error))?;
    let mut alternates = Vec::with_capacity(authority.alternate_chains.len());
    for path in &authority.alternate_chains {
        let chain = certificates("alternate_chains", path)?;
        let checked = alternate::check(&issuer, &chain, now);
        alternates.push(checked.map_err(|error| problem("alternate_chains", path, error))?);
    }
    Ok(Loaded { issuer: Arc::new(issuer.with_alternates(alternates)), roots })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::authority::key_source::KeySource;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyIdMethod, KeyPair};

    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);

    fn ca(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
        params.not_before = T0.to_utc();
        params.not_after = (T0 + std::time::Duration::from_secs(86_400)).to_utc();
        params
    }

    #[test]
    fn alternate_chains_are_checked_at_start() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let under = |root: &str| {
            let signer = KeyPair::generate().unwrap();
            let certificate = pem::certificate(ca(root).self_signed(&signer).unwrap().der());
            let issued = ca("Issuer").signed_by(&key, &rcgen::Issuer::new(ca(root), signer)).unwrap();
            (certificate, pem::certificate(issued.der()))
        };
        let ((root, own), (other_root, other)) = (under("Root"), under("Other Root"));
        let sealed =
            pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, &key.serialize_der());
        let sealed = sealed.unwrap();
        let authority = |alternates: Vec<std::path::PathBuf>| Authority {
            root: write("root.crt", &root),
            certificate: write("issuer.crt", &own),
            key: KeySource::File(write("key", &sealed)),
            password: None,
            alternate_chains: alternates,
        };
        let good = write("good.crt", &format!("{other}{other_root}"));
        let loaded = load(&authority(vec![good.clone()]), T0).map_err(|problem| problem.to_string()).unwrap();
        assert_eq!(loaded.issuer.alternates().len(), 1);
        assert_eq!(loaded.issuer.chain().len(), 1, "the first chain is the configured one");
        let rows = [
            (write("root-only.crt", &other_root), "for another key"),
            (write("broken.crt", &format!("{other}{root}")), "not signed by the one after it"),
            (write("same.crt", &own), "served anyway"),
            (write("empty.crt", ""), "no PEM certificate"),
            (home.path().join("absent.crt"), "No such file"),
        ];
        for (path, words) in rows {
            let problem = load(&authority(vec![good.clone(), path.clone()]), T0).map(drop).unwrap_err();
            assert_eq!(problem.key, "authority.alternate_chains");
            assert!(problem.message.contains(words), "{}", problem.message);
            assert!(problem.message.contains(&path.display().to_string()), "{}", problem.message);
        }
    }
}
