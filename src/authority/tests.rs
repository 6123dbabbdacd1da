//! From grant to certificate: what comes out, and what the lint and the signature let through.

mod asn1;
mod contents;
mod device;
mod lint;
mod ml_dsa;
mod profiles;
mod validity;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rcgen::SigningKey;

use super::ca::CaSpec;
use super::certificate::Provenance;
use super::draft::{Draft, draft};
use super::issuer::{Issuer, IssuerError};
use super::realm::Realm;
use super::sign::{Issued, self_test, sign};
use super::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, Challenge, ChallengeState, Finish, Lifetimes, Order, OrderDetails, Slot,
};
use crate::id::{AccountId, AuthorityName, OrderId};
use crate::provisioner::acme::Terms;
use crate::provisioner::{Grant, ceremony};
use crate::time::Timestamp;
use crate::x509::csr::Csr;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::Spki;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

struct TestSigner {
    key: rcgen::KeyPair,
    spki: Spki,
    algorithm: SignatureAlgorithm,
    cost: Cost,
    broken: bool,
}

impl TestSigner {
    fn new(algorithm: SignatureAlgorithm) -> Self {
        let key = key(match algorithm {
            SignatureAlgorithm::EcdsaP256Sha256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            SignatureAlgorithm::RsaPkcs1Sha256 => &rcgen::PKCS_RSA_SHA256,
            SignatureAlgorithm::MlDsa(ParameterSet::MlDsa44) => &rcgen::PKCS_ML_DSA_44,
            SignatureAlgorithm::MlDsa(ParameterSet::MlDsa65) => &rcgen::PKCS_ML_DSA_65,
            SignatureAlgorithm::MlDsa(ParameterSet::MlDsa87) => &rcgen::PKCS_ML_DSA_87,
        });
        Self { spki: spki(&key), key, algorithm, cost: Cost::Quick, broken: false }
    }
}

impl Signer for TestSigner {
    fn public_key(&self) -> &Spki {
        &self.spki
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
    fn cost(&self) -> Cost {
        self.cost
    }
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = self.key.sign(tbs).map_err(|error| SignError(error.to_string()))?;
        if self.broken {
            *signature.last_mut().unwrap() ^= 1;
        }
        Ok(signature)
    }
}

fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(algorithm).unwrap()
}

fn p256() -> rcgen::KeyPair {
    key(&rcgen::PKCS_ECDSA_P256_SHA256)
}

fn spki(key: &rcgen::KeyPair) -> Spki {
    Spki::parse(&rcgen::PublicKeyData::subject_public_key_info(key)).unwrap()
}

/// As it is where there is no policy.
fn approved(linted: super::lint::Linted, now: Timestamp) -> super::approve::Approved {
    super::approve::approve(linted, None, now).unwrap().0
}

/// A root that makes itself at `now`.
fn root(signer: Arc<dyn Signer>, lifetime: Duration, now: Timestamp) -> Issued {
    let founding = founding(&signer, lifetime, now);
    let grant = ceremony::root(CaSpec::root("Test Root CA").unwrap(), signer.public_key().clone(), lifetime);
    issue(grant, &founding, now)
}

fn founding(signer: &Arc<dyn Signer>, lifetime: Duration, now: Timestamp) -> Issuer {
    let begin = (now - super::draft::BACKDATE).whole_seconds();
    Issuer::founding(
        &CaSpec::root("Test Root CA").unwrap().subject,
        begin,
        (now + lifetime).whole_seconds(),
        signer.clone(),
    )
}

fn issue(grant: Grant, issuer: &Issuer, now: Timestamp) -> Issued {
    let linted = super::lint::lint(draft(grant, issuer, [0xab; 16], now).unwrap(), issuer).unwrap();
    sign(approved(linted, now), issuer).unwrap()
}

/// A root and an intermediate that signs by `algorithm`; the root's certificate comes along.
fn hierarchy(algorithm: SignatureAlgorithm) -> (Vec<u8>, Issuer) {
    intermediate(Arc::new(TestSigner::new(algorithm)), YEAR * 5)
}

fn intermediate(signer: Arc<dyn Signer>, lifetime: Duration) -> (Vec<u8>, Issuer) {
    let root_signer = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP384Sha384));
    let root = root(root_signer.clone(), YEAR * 10, T0).der;
    let above = Issuer::new(root.clone(), &[], root_signer).unwrap();
    let grant = ceremony::intermediate(
        CaSpec::issuing("Test Intermediate CA").unwrap(),
        signer.public_key().clone(),
        lifetime,
    );
    let der = issue(grant, &above, T0).der;
    (root, of_realm(Issuer::new(der, &[], signer).unwrap()))
}

/// As one of the authority that the tests' grants are of.
fn of_realm(issuer: Issuer) -> Issuer {
    issuer.of_realm(Arc::new(Realm::default()))
}

/// An issuer for tests of policy, the same for all.
pub(crate) fn issuer_for_policy() -> &'static Issuer {
    static ISSUER: std::sync::LazyLock<Issuer> =
        std::sync::LazyLock::new(|| hierarchy(SignatureAlgorithm::EcdsaP256Sha256).1);
    &ISSUER
}

/// The grant for names that were all proved.
pub(crate) fn grant_for_policy(names: &[String], now: Timestamp) -> Grant {
    Ask::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).grant(&p256(), now)
}

/// What a client asks for.
struct Ask<'a> {
    names: &'a [&'a str],
    not_before: Option<Timestamp>,
    not_after: Option<Timestamp>,
    lifetimes: Lifetimes,
}

impl<'a> Ask<'a> {
    fn new(names: &'a [&'a str]) -> Self {
        let lifetimes = Lifetimes { default: DAY, min: HOUR, max: DAY };
        Self { names, not_before: None, not_after: None, lifetimes }
    }

    /// The grant for an order in which all of it was proved.
    fn grant(&self, key: &rcgen::KeyPair, now: Timestamp) -> Grant {
        let ids: Vec<Identifier> = self.names.iter().map(|name| identifier(name)).collect();
        let proved = |identifier: &Identifier| {
            let state = ChallengeState::Valid(now);
            let challenge = Challenge { kind: ChallengeKind::Dns01, token: [0; 16], state };
            Slot::Own(Authorization {
                identifier: identifier.clone(),
                expires: now + DAY,
                deactivated: false,
                challenges: vec![challenge],
            })
        };
        let order = Order {
            account: AccountId::new([1; 16]),
            provisioner: "acme".into(),
            created: now,
            expires: now + DAY,
            not_before: self.not_before,
            not_after: self.not_after,
            slots: ids.iter().map(proved).collect(),
            finish: Finish::Open,
            details: OrderDetails::default(),
        };
        let terms = Terms { lifetimes: self.lifetimes, ..Terms::named("acme") };
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = ids
            .iter()
            .map(|id| match id {
                Identifier::Ip(ip) => rcgen::SanType::IpAddress(*ip),
                name => rcgen::SanType::DnsName(name.to_string().try_into().unwrap()),
            })
            .collect();
        let csr = Csr::parse(params.serialize_request(key).unwrap().der()).unwrap();
        let id = OrderId::new(now + DAY, [0; 11]);
        terms.grant(id, &order, &csr, &spki(&p256()), None, now).unwrap()
    }
}

fn identifier(text: &str) -> Identifier {
    let kind = if text.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
    Identifier::parse(kind, text).unwrap()
}

fn leaf_draft(issuer: &Issuer, names: &[&str]) -> Draft {
    draft(Ask::new(names).grant(&p256(), T0), issuer, [0xab; 16], T0).unwrap()
}

#[test]
fn a_wrong_signature_of_a_slow_signer_is_refused() {
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::RsaPkcs1Sha256] {
        let good = TestSigner { cost: Cost::Slow, ..TestSigner::new(algorithm) };
        let copy = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &good.key.serialize_der().into(),
            good.key.algorithm(),
        )
        .unwrap();
        let (_, issuer) = intermediate(Arc::new(good), YEAR);
        let linted = |issuer: &Issuer| super::lint::lint(leaf_draft(issuer, &["a.test"]), issuer).unwrap();
        assert!(sign(approved(linted(&issuer), T0), &issuer).is_ok());
        assert!(self_test(&issuer).is_ok());

        let broken = TestSigner { spki: spki(&copy), key: copy, algorithm, cost: Cost::Slow, broken: true };
        let issuer = of_realm(Issuer::new(issuer.der().to_vec(), &[], Arc::new(broken)).unwrap());
        assert!(sign(approved(linted(&issuer), T0), &issuer).is_err());
        assert!(self_test(&issuer).is_err());
    }
}

#[test]
fn what_one_issuer_linted_another_does_not_sign() {
    let (_, one) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let (_, other) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let linted = super::lint::lint(leaf_draft(&one, &["a.test"]), &one).unwrap();
    assert!(sign(approved(linted, T0), &other).is_err());
}

#[test]
fn the_inventory_row_is_the_certificate() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let grant = Ask::new(&["a.test"]).grant(&p256(), T0);
    let requester = grant.requester().clone();
    let issued = issue(grant, &issuer, T0);
    let record = issued.record(Provenance::default(), T0);
    assert_eq!((record.der, record.issuer), (issued.der, *issuer.key_id()));
    assert_eq!((record.requester, record.issued, record.not_after), (requester, T0, T0 + DAY));
    assert_eq!(record.revocation, None);
}

#[test]
fn what_makes_no_issuer() {
    let signer = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let (root_der, issuer) = intermediate(signer.clone(), YEAR);
    let der = issuer.der().to_vec();
    let new = |der: &[u8]| Issuer::new(der.to_vec(), &[], signer.clone()).map(drop).unwrap_err();
    assert_eq!(new(b"junk"), IssuerError::Malformed);
    assert_eq!(new(&[&der[..], &[0]].concat()), IssuerError::Malformed);
    assert_eq!(new(&root_der), IssuerError::KeyMismatch);
    let own = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
        change(&mut params);
        params.self_signed(&signer.key).unwrap().der().to_vec()
    };
    assert!(Issuer::new(own(|_| ()), &[], signer.clone()).is_ok());
    assert_eq!(new(&own(|params| params.is_ca = rcgen::IsCa::ExplicitNoCa)), IssuerError::NotCa);
    let no_signing = own(|params| params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign]);
    assert_eq!(new(&no_signing), IssuerError::NotCa);
    let long_id = own(|params| {
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 32]);
    });
    assert_eq!(new(&long_id), IssuerError::NoKeyIdentifier);
}

/// Whatever the name of an imported issuer looks like: it can issue, or is refused when it is
/// loaded and not at the first order.
#[test]
fn an_issuer_whose_name_the_builder_changes_is_refused_at_once() {
    let signer = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let (_, issuer) = intermediate(signer.clone(), YEAR);
    let unit = |text: &str| {
        let pair = asn1::Node::parts(
            0x30,
            vec![asn1::Node::leaf(6, &[0x55, 4, 11]), asn1::Node::leaf(0x0c, text.as_bytes())],
        );
        asn1::Node::parts(0x31, vec![pair])
    };
    let with_subject = |names: Vec<asn1::Node>| {
        let mut certificate = asn1::Node::parse(issuer.der());
        *certificate.at(&[0, 5]) = asn1::Node::parts(0x30, names);
        certificate.encode()
    };
    let common_name = asn1::Node::parse(issuer.der()).at(&[0, 5, 0]).clone();
    let rows = [
        (vec![common_name.clone()], Ok(())),
        (vec![unit("one"), common_name.clone()], Ok(())),
        (vec![unit("one"), unit("two"), common_name.clone()], Err(IssuerError::Name)),
        (
            vec![asn1::Node::parts(0x31, vec![common_name.at_ref(0).clone(), unit("one").at_ref(0).clone()])],
            Err(IssuerError::Name),
        ),
    ];
    for (names, want) in rows {
        let loaded = Issuer::new(with_subject(names), &[], signer.clone()).map(of_realm);
        if let Ok(issuer) = &loaded {
            assert!(super::lint::lint(leaf_draft(issuer, &["a.test"]), issuer).is_ok());
        }
        assert_eq!(loaded.map(drop), want);
    }
}

#[test]
fn alternate_chains_are_of_the_issuers_own_key_and_name() {
    use super::alternate::{AlternateError, check};
    use super::chain::ChainError;
    let signer = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let (root, issuer) = intermediate(signer.clone(), YEAR * 5);
    // The same key and name under another root.
    let (other_root, other) = intermediate(signer.clone(), YEAR);
    let other = other.der().to_vec();
    let good = check(&issuer, &[other.clone(), other_root.clone()], T0).unwrap();
    assert_eq!(good, check(&issuer, &[other.clone(), other_root.clone()], T0).unwrap());
    assert_eq!(good.pem().matches("BEGIN CERTIFICATE").count(), 2);
    assert!(good.holds(T0) && good.holds(T0 + YEAR - DAY) && !good.holds(T0 + YEAR));
    let signed = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test Intermediate CA");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(issuer.key_id().to_vec());
        params.not_before = T0.to_utc();
        params.not_after = (T0 + DAY).to_utc();
        change(&mut params);
        params.self_signed(&signer.key).unwrap().der().to_vec()
    };
    check(&issuer, &[signed(&|_| ())], T0).unwrap();
    let (_, stranger) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let rows = [
        (vec![], T0, AlternateError::Empty),
        (vec![issuer.der().to_vec()], T0, AlternateError::Same),
        (vec![stranger.der().to_vec()], T0, AlternateError::Key),
        (
            vec![signed(&|params| params.distinguished_name.push(rcgen::DnType::CommonName, "Another CA"))],
            T0,
            AlternateError::Name,
        ),
        (
            vec![signed(&|params| {
                params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
            })],
            T0,
            AlternateError::KeyIdentifier,
        ),
        (vec![signed(&|params| params.is_ca = rcgen::IsCa::ExplicitNoCa)], T0, AlternateError::NotCa),
        (
            vec![signed(&|params| params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign])],
            T0,
            AlternateError::NotCa,
        ),
        (vec![other.clone(), root], T0, ChainError::Broken(0).into()),
        (vec![b"junk".to_vec()], T0, ChainError::Malformed(0).into()),
        (vec![other.clone(), b"junk".to_vec()], T0, ChainError::Malformed(1).into()),
    ];
    for (chain, now, want) in rows {
        assert_eq!(check(&issuer, &chain, now), Err(want));
    }
    let late = check(&issuer, &[other], T0 + YEAR);
    assert!(matches!(late, Err(AlternateError::Chain(ChainError::NotValid(0, ..)))), "{late:?}");
}

#[test]
fn weak_keys_are_not_certified() {
    use super::lint::LintError;
    use super::policy::{KeyRefusal, check_key};
    use crate::x509::spki::PublicKey;
    use crate::x509::weak::Weakness;
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let PublicKey::Rsa { n, e } = spki(&key(&rcgen::PKCS_RSA_SHA256)).key().clone() else { panic!() };
    let rsa = |n: &[u8], e: &[u8]| PublicKey::Rsa { n: n.to_vec(), e: e.to_vec() };
    let mut identity = vec![0; 32];
    identity[0] = 1;
    let rows = [
        (rsa(&n, &e), None),
        (rsa(&n, &[3]), Some(KeyRefusal::Weak(Weakness::Exponent))),
        (rsa(&n[1..], &e), Some(KeyRefusal::RsaSize(crate::x509::spki::bits(&n[1..])))),
        (rsa(&[&n[..], &[1; 1024]].concat(), &e), Some(KeyRefusal::RsaSize(2048 + 8192))),
        (PublicKey::Ed25519(identity), Some(KeyRefusal::Weak(Weakness::SmallOrder))),
        (spki(&key(&rcgen::PKCS_ED25519)).key().clone(), None),
        (spki(&key(&rcgen::PKCS_ECDSA_P521_SHA512)).key().clone(), None),
    ];
    for (key, want) in rows {
        assert_eq!(check_key(&key).err(), want, "{key:?}");
        // Whoever asks: the lint looks at the key of every grant.
        let grant =
            crate::provisioner::own::grant(&Realm::default(), &[identifier("a.test")], Spki::from_key(key));
        let linted = super::lint::lint(draft(grant, &issuer, [1; 16], T0).unwrap(), &issuer);
        assert_eq!(linted.map(drop).err(), want.map(LintError::Key));
    }
}

fn names_of(issued: &Issued) -> BTreeSet<Identifier> {
    match issued.grant().purpose() {
        crate::provisioner::Purpose::Leaf(names) => names.iter().cloned().collect(),
        other => panic!("{other:?}"),
    }
}
