//! The authorities from their files, with everything checked that a start or a reload needs;
//! `mayfly check-config` checks by the same function.

use std::path::Path;

use crate::authority::authorities::{Authorities, Authority, OtherIssuer};
use crate::authority::issuer::{Issuer, IssuerError};
use crate::authority::key_source::PasswordSource;
use crate::authority::realm::Realm;
use crate::authority::urls::Urls;
use crate::authority::{alternate, chain};
use crate::config::Problem;
use crate::config::settings::{self, Settings};
use crate::keystore::{self, KeystoreError};
use crate::time::Timestamp;
use crate::x509::pem;

fn problem(key: &str, path: &Path, message: impl std::fmt::Display) -> Problem {
    let message = format!("{}: {message}", path.display());
    Problem { line: None, key: format!("authority.{key}"), message }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let text = std::fs::read(path).map_err(|error| problem(key, path, error))?;
    pem::parse_certificates(&text)
        .ok_or_else(|| problem(key, path, "holds no PEM certificate, or a broken one"))
}

/// Loads all authorities, or none of them.
pub fn load_all(settings: &Settings, now: Timestamp) -> Result<Authorities, Problem> {
    let mut all = Vec::with_capacity(settings.authorities.len());
    for (place, authority) in settings.authorities.iter().enumerate() {
        let path = settings.path_of(place);
        all.push(
            load(authority, now)
                .map_err(|problem| Problem { key: problem.key.replacen("authority", &path, 1), ..problem })?,
        );
    }
    let whole = |error: String| Problem { line: None, key: "authority".to_owned(), message: error };
    Authorities::new(all).map_err(|error| whole(error.to_string()))
}

/// Loads what one `[authority]` names: the key opens, it is the certificate's, and the certificate's
/// chain leads to the root, all of it valid at `now`; and every alternate chain is one.
fn load(authority: &settings::Authority, now: Timestamp) -> Result<Authority, Problem> {
    let roots = certificates("root", &authority.root)?;
    let chain = certificates("certificate", &authority.certificate)?;
    let signer = keystore::open(&authority.key, authority.password.as_ref()).map_err(|error| {
        // Errors of keys and passwords name their place themselves.
        let key = match (&error, &authority.password) {
            (KeystoreError::Password(_), Some(PasswordSource::File(_))) => "password_file",
            (KeystoreError::Password(_), Some(PasswordSource::Env(_))) => "password_env",
            (KeystoreError::Password(_), Some(PasswordSource::Credential(_))) => "password_credential",
            (KeystoreError::Password(_), None)
            | (KeystoreError::File(_) | KeystoreError::Pkcs11 { .. } | KeystoreError::Kms { .. }, _) => "key",
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
    let issuer = with_alternates(authority, issuer, now)?;
    let others = others(authority)?;
    let realm =
        Realm { name: authority.name.clone(), max_ttl: authority.max_ttl, policy: authority.policy.clone() };
    let issuer = issuer.with_urls(Urls {
        ca_issuers: authority.ca_issuers_url.clone(),
        crl: authority.crl_url.clone(),
        ocsp: authority.ocsp_url.clone(),
    });
    Ok(Authority::new(realm, issuer, others, roots, authority.expiry_warning))
}

fn with_alternates(
    authority: &settings::Authority,
    issuer: Issuer,
    now: Timestamp,
) -> Result<Issuer, Problem> {
    let mut alternates = Vec::with_capacity(authority.alternate_chains.len());
    for path in &authority.alternate_chains {
        let chain = certificates("alternate_chains", path)?;
        let checked = alternate::check(&issuer, &chain, now);
        alternates.push(checked.map_err(|error| problem("alternate_chains", path, error))?);
    }
    Ok(issuer.with_alternates(alternates))
}

/// The chains of other issuers. They need not be valid now, nor lead to a root of today's: what they
/// signed may still be fetched.
fn others(authority: &settings::Authority) -> Result<Vec<OtherIssuer>, Problem> {
    let mut others = Vec::with_capacity(authority.other_issuers.len());
    for path in &authority.other_issuers {
        let chain = certificates("other_issuers", path)?;
        let message = "its first certificate has no 20-byte subject key identifier";
        others.push(OtherIssuer::new(chain).ok_or_else(|| problem("other_issuers", path, message))?);
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::authority::key_source::KeySource;
    use crate::id::AuthorityName;
    use crate::policy::Pair;
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
        let authority = |alternates: Vec<std::path::PathBuf>| settings::Authority {
            name: AuthorityName::default(),
            other_issuers: Vec::new(),
            max_ttl: None,
            policy: Pair::default(),
            ca_issuers_url: None,
            crl_url: None,
            ocsp_url: None,
            expiry_warning: std::time::Duration::from_secs(86_400),
            root: write("root.crt", &root),
            certificate: write("issuer.crt", &own),
            key: KeySource::File(write("key", &sealed)),
            password: None,
            alternate_chains: alternates,
        };
        let good = write("good.crt", &format!("{other}{other_root}"));
        let loaded = load(&authority(vec![good.clone()]), T0).map_err(|problem| problem.to_string()).unwrap();
        assert_eq!(loaded.issuer().alternates().len(), 1);
        assert_eq!(loaded.issuer().chain().len(), 1, "the first chain is the configured one");
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
