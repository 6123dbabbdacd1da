//! The authorities from their files, with everything checked that a start or a reload needs;
//! `mayfly check-config` checks by the same function.

use std::path::{Path, PathBuf};

use crate::acme::identifier::Identifier;
use crate::authority::authorities::{Authorities, Authority, OtherIssuer, Rotation};
use crate::authority::issuer::{Issuer, IssuerError};
use crate::authority::key_source::{KeySource, PasswordSource};
use crate::authority::realm::Realm;
use crate::authority::sign::self_test;
use crate::authority::urls::Urls;
use crate::authority::{alternate, chain};
use crate::config::Problem;
use crate::config::settings::{self, Settings};
use crate::http::tls::OwnCertificate;
use crate::keystore::{self, KeystoreError};
use crate::policy::Verdict;
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

/// Loads all authorities, or none of them; looks at the other files that a start needs.
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
    let authorities = Authorities::new(all).map_err(|error| whole(error.to_string()))?;
    judge_own(settings, &authorities, &settings.server.dns_names, now)?;
    settings.admin.listener.as_ref().map(super::operators::load).transpose()?;
    Ok(authorities)
}

/// Whether the policies of the authority that issues this CA's own certificate, for those names, let it:
/// without, it could not be started, or not be reached once the certificate that it has runs out. A word
/// where one that is tried would not.
pub fn judge_own(
    settings: &Settings,
    authorities: &Authorities,
    names: &[Identifier],
    now: Timestamp,
) -> Result<Option<Problem>, Problem> {
    let own = settings.authorities.iter().position(|authority| authority.name == settings.server.authority);
    let (Some(place), Some(authority)) = (own, authorities.get(settings.server.authority.as_str())) else {
        // Said where that is put into force.
        return Ok(None);
    };
    let names_of = || names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let problem = |key: String, message: String| Problem { line: None, key, message };
    let judged = OwnCertificate::rehearse(authority, names, now).map_err(|error| {
        problem(
            "server.dns_names".to_owned(),
            format!("this CA's own certificate, for {}: {error}", names_of()),
        )
    })?;
    let refuses = |key: &str, verb: &str, verdict: &Verdict| {
        let message = format!(
            "{verb} this CA's own certificate, for {}: {verdict}; allow it, or write `unless.requester = \"own\"` \
             into a rule that denies it",
            names_of()
        );
        problem(format!("{}.{key}", settings.path_of(place)), message)
    };
    if !judged.verdict.allowed() {
        return Err(refuses("policy", "refuses", &judged.verdict));
    }
    let tried = judged.differing.into_iter().map(|differing| Verdict { reasons: differing.reasons });
    Ok(tried.map(|verdict| refuses("policy_audit", "would refuse", &verdict)).next())
}

/// An issuer as a configuration names it.
struct Named<'a> {
    /// What its keys begin with: nothing, or `next.`.
    within: &'static str,
    certificate: &'a Path,
    key: &'a KeySource,
    password: Option<&'a PasswordSource>,
    alternate_chains: &'a [PathBuf],
}

impl Named<'_> {
    fn problem(&self, key: &str, path: &Path, message: impl std::fmt::Display) -> Problem {
        problem(&format!("{}{key}", self.within), path, message)
    }

    fn certificates(&self, key: &str, path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
        certificates(&format!("{}{key}", self.within), path)
    }

    /// Opens its key, and checks that it is the certificate's, and that the certificate's chain leads to
    /// one of the roots, all of it valid at `now`; and every alternate chain is one.
    fn load(&self, roots: &[Vec<u8>], root: &Path, now: Timestamp) -> Result<Issuer, Problem> {
        let chain = self.certificates("certificate", self.certificate)?;
        let signer = keystore::open(self.key, self.password).map_err(|error| {
            // Errors of keys and passwords name their place themselves.
            let key = match (&error, self.password) {
                (KeystoreError::Password(_), Some(PasswordSource::File(_))) => "password_file",
                (KeystoreError::Password(_), Some(PasswordSource::Env(_))) => "password_env",
                (KeystoreError::Password(_), Some(PasswordSource::Credential(_))) => "password_credential",
                (KeystoreError::Password(_), None)
                | (
                    KeystoreError::File(_)
                    | KeystoreError::Sealed { .. }
                    | KeystoreError::Pkcs11 { .. }
                    | KeystoreError::Kms { .. },
                    _,
                ) => "key",
            };
            Problem { line: None, key: format!("authority.{}{key}", self.within), message: error.to_string() }
        })?;
        let wrong = |message: String| self.problem("certificate", self.certificate, message);
        let (own, above) = chain.split_first().ok_or_else(|| wrong("holds no certificate".to_owned()))?;
        let issuer = Issuer::new(own.clone(), above, signer).map_err(|error| match error {
            IssuerError::KeyMismatch => wrong(format!("is not the certificate of the key in {}", self.key)),
            other => wrong(other.to_string()),
        })?;
        let above = chain::check(issuer.chain(), roots, now)
            .map_err(|error| problem("root", root, format!("{error} ({})", self.certificate.display())))?;
        let issuer = issuer.under_root(above).map_err(|error| problem("root", root, error))?;
        let mut alternates = Vec::with_capacity(self.alternate_chains.len());
        for path in self.alternate_chains {
            let chain = self.certificates("alternate_chains", path)?;
            let checked = alternate::check(&issuer, &chain, now);
            alternates.push(checked.map_err(|error| self.problem("alternate_chains", path, error))?);
        }
        Ok(issuer.with_alternates(alternates))
    }
}

/// Loads what one `[authority]` names.
fn load(authority: &settings::Authority, now: Timestamp) -> Result<Authority, Problem> {
    let roots = certificates("root", &authority.root)?;
    let named = Named {
        within: "",
        certificate: &authority.certificate,
        key: &authority.key,
        password: authority.password.as_ref(),
        alternate_chains: &authority.alternate_chains,
    };
    let issuer = named.load(&roots, &authority.root, now)?;
    let next =
        authority.next.as_ref().map(|next| load_next(next, &roots, &authority.root, now)).transpose()?;
    let others = others(authority)?;
    let realm =
        Realm { name: authority.name.clone(), max_ttl: authority.max_ttl, policy: authority.policy.clone() };
    let issuer = issuer.with_urls(Urls {
        ca_issuers: authority.ca_issuers_url.clone(),
        crl: authority.crl_url.clone(),
        ocsp: authority.ocsp_url.clone(),
    });
    let rotation = Rotation { next, overlap: authority.bundle_overlap, handover: authority.handover };
    Ok(Authority::new(realm, issuer, others, roots, authority.expiry_warning).rotating(rotation))
}

/// The issuer that is to sign next, proved to be able to: its paths verify, and its key signs what the
/// certificate's verifies. That is a text that can be no certificate. A leaf of it for trial, drafted and
/// signed as all others, would be one that the inventory does not know, outside of the gate: there is none.
/// Here it is kept without its key, so that nothing can be signed with it before its time.
fn load_next(
    next: &settings::NextIssuer,
    roots: &[Vec<u8>],
    root: &Path,
    now: Timestamp,
) -> Result<OtherIssuer, Problem> {
    let named = Named {
        within: "next.",
        certificate: &next.certificate,
        key: &next.key,
        password: next.password.as_ref(),
        alternate_chains: &next.alternate_chains,
    };
    let issuer = named.load(roots, root, now)?;
    let failed = |message: String| named.problem("certificate", &next.certificate, message);
    self_test(&issuer).map_err(|error| failed(error.to_string()))?;
    OtherIssuer::of(&issuer).ok_or_else(|| failed("holds no certificate of an issuer".to_owned()))
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
    use crate::authority::authorities::AuthoritiesError;
    use crate::id::AuthorityName;
    use crate::policy::Pair;
    use crate::x509::key_hash::KeyHash;
    use rcgen::PublicKeyData as _;
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
            next: None,
            bundle_overlap: Rotation::DAY,
            handover: Rotation::DAY,
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

    /// One key under two subject key identifiers is one key all the same, and one identifier of two keys is
    /// ambiguous. All of them, and the root's, are known.
    #[test]
    fn authorities_share_neither_key_nor_identifier() {
        let home = tempfile::tempdir().unwrap();
        let root_key = KeyPair::generate().unwrap();
        let root = ca("Root").self_signed(&root_key).unwrap();
        let root_spki = root_key.subject_public_key_info();
        let root_issuer = rcgen::Issuer::new(ca("Root"), root_key);
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            path
        };
        let authority = |name: &str, key: &KeyPair, key_id: u8| {
            let mut params = ca(name);
            params.key_identifier_method = KeyIdMethod::PreSpecified(vec![key_id; 20]);
            let certificate = pem::certificate(params.signed_by(key, &root_issuer).unwrap().der());
            let ending = pem_rfc7468::LineEnding::LF;
            let sealed = pem_rfc7468::encode_string("PRIVATE KEY", ending, &key.serialize_der()).unwrap();
            let named = Named {
                within: "",
                certificate: &write(&format!("{name}.crt"), &certificate),
                key: &KeySource::File(write(&format!("{name}.key"), &sealed)),
                password: None,
                alternate_chains: &[],
            };
            let issuer = named.load(&[root.der().to_vec()], Path::new("root"), T0).map_err(|e| e.to_string());
            let realm = Realm { name: AuthorityName::new(name), ..Realm::default() };
            Authority::new(realm, issuer.unwrap(), vec![], vec![root.der().to_vec()], Rotation::DAY)
        };
        let (one, two) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let names = || (AuthorityName::new("a"), AuthorityName::new("b"));
        let joined = |a, b| Authorities::new(vec![a, b]).map(drop);
        assert_eq!(joined(authority("a", &one, 1), authority("b", &two, 2)), Ok(()));
        let (a, b) = names();
        let same_key = joined(authority("a", &one, 1), authority("b", &one, 2));
        assert_eq!(same_key, Err(AuthoritiesError::Key(a, b)));
        let (a, b) = names();
        let same_id = joined(authority("a", &one, 1), authority("b", &two, 1));
        assert_eq!(same_id, Err(AuthoritiesError::KeyIdentifier(a, b)));

        let both = Authorities::new(vec![authority("a", &one, 1), authority("b", &two, 2)]).unwrap();
        let holds = |spki: &[u8]| both.holds_key(&KeyHash::of(spki));
        assert!(
            holds(&one.subject_public_key_info())
                && holds(&two.subject_public_key_info())
                && holds(&root_spki)
        );
        assert!(!holds(&KeyPair::generate().unwrap().subject_public_key_info()));
    }
}
