//! The issuing authorities of one process, each walled off from the others.
//!
//! An authority signs with one issuer at a time; chains of other ones, before it or after it, are
//! served with the certificates that those signed. An issuer belongs to one authority: it carries its
//! [`Realm`], a grant carries the name of the authority it was granted for, and
//! [`super::lint::lint`] and [`super::sign::sign`] refuse any other pair.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::alternate::AlternateChain;
use super::bundle::{Bundle, fingerprint};
use super::issuer::{Issuer, subject_key_id};
use super::realm::Realm;
use super::rotation::{Facts, IssuerFacts};
use crate::id::AuthorityName;
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::pem;

/// A chain over a key that signs nothing here, or nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherIssuer {
    key_id: [u8; 20],
    /// SubjectPublicKeyInfo, DER.
    key: Vec<u8>,
    subject: String,
    not_after: Timestamp,
    chain: Vec<Vec<u8>>,
    chain_pem: String,
    chains: usize,
}

impl OtherIssuer {
    /// From its chain (DER, itself first, without the root); `None` if the first is no certificate with
    /// a 20-byte subject key identifier.
    pub fn new(chain: Vec<Vec<u8>>) -> Option<Self> {
        let (_, first) = X509Certificate::from_der(chain.first()?).ok()?;
        let key_id = subject_key_id(&first)?;
        let (key, subject) = (first.public_key().raw.to_vec(), first.subject().to_string());
        let not_after = first_end(&chain);
        let chain_pem = chain.iter().map(|der| pem::certificate(der)).collect();
        Some(Self { key_id, key, subject, not_after, chain, chain_pem, chains: 1 })
    }

    /// An issuer that signs nothing yet, as it will be served: known by its certificates alone.
    pub fn of(issuer: &Issuer) -> Option<Self> {
        let chains = 1 + issuer.alternates().len();
        Some(Self { chains, ..Self::new(issuer.chain().to_vec())? })
    }

    /// Its subject key identifier.
    pub fn key_id(&self) -> &[u8; 20] {
        &self.key_id
    }

    /// Itself and what is above it, DER.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    fn facts(&self) -> IssuerFacts {
        IssuerFacts { chains: self.chains, ..facts(self.key_id, self.subject.clone(), self.not_after) }
    }
}

fn key_of(der: &[u8]) -> Option<KeyHash> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(KeyHash::of(certificate.public_key().raw))
}

/// What its certificates say of an issuer; the rest is to be filled in.
fn facts(key_id: [u8; 20], subject: String, not_after: Timestamp) -> IssuerFacts {
    IssuerFacts {
        key_id,
        subject,
        not_after,
        published: None,
        chains: 1,
        live: None,
        in_use: false,
        own: false,
    }
}

/// When the first certificate of a chain ends.
fn first_end(chain: &[Vec<u8>]) -> Timestamp {
    let end = |der: &Vec<u8>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        u64::try_from(parsed.validity().not_after.timestamp()).ok()
    };
    Timestamp::from_secs(chain.iter().filter_map(end).min().unwrap_or(0))
}

/// How an authority goes over to another issuer.
#[derive(Debug)]
pub struct Rotation {
    /// The issuer that is to sign next: in the bundle already.
    pub next: Option<OtherIssuer>,
    /// How long it is there before it signs.
    pub overlap: Duration,
    /// Over how long clients are called over once it does.
    pub handover: Duration,
}

impl Rotation {
    /// What holds if nothing else is said.
    pub const DAY: Duration = Duration::from_secs(24 * 3600);
}

impl Default for Rotation {
    fn default() -> Self {
        Self { next: None, overlap: Self::DAY, handover: Self::DAY }
    }
}

/// One authority.
#[derive(Debug)]
pub struct Authority {
    realm: Arc<Realm>,
    issuer: Arc<Issuer>,
    others: Vec<OtherIssuer>,
    rotation: Rotation,
    roots: Vec<Vec<u8>>,
    expiry_warning: Duration,
    bundle: Bundle,
    intermediates: Bundle,
}

impl Authority {
    /// Joins the parts: the issuer that signs, other issuers' chains, the roots to trust (DER), and how
    /// long before the end of any of them to warn.
    pub fn new(
        realm: Realm,
        issuer: Issuer,
        others: Vec<OtherIssuer>,
        roots: Vec<Vec<u8>>,
        expiry_warning: Duration,
    ) -> Self {
        let realm = Arc::new(realm);
        let new = Self {
            bundle: Bundle::of(roots.iter().map(Vec::as_slice)),
            intermediates: Bundle::of([]),
            issuer: Arc::new(issuer.of_realm(realm.clone())),
            realm,
            others,
            rotation: Rotation::default(),
            roots,
            expiry_warning,
        };
        Self { intermediates: Bundle::of(new.chains().map(Vec::as_slice)), ..new }
    }

    /// The same authority, going over to another issuer like this.
    pub fn rotating(self, rotation: Rotation) -> Self {
        let new = Self { rotation, ..self };
        Self { intermediates: Bundle::of(new.chains().map(Vec::as_slice)), ..new }
    }

    /// All certificates between its roots and leaves: the signing issuer's chain, the next one's, others'.
    fn chains(&self) -> impl Iterator<Item = &Vec<u8>> {
        let others = self.rotation.next.iter().chain(&self.others).flat_map(OtherIssuer::chain);
        self.issuer.chain().iter().chain(others)
    }

    /// What its configuration and its certificates say of its rotation; the rest is to be filled in.
    pub fn rotation_facts(&self) -> Facts {
        let issuer = &self.issuer;
        let signing = match OtherIssuer::of(issuer) {
            Some(known) => known.facts(),
            None => facts(*issuer.key_id(), String::new(), issuer.not_after()),
        };
        Facts {
            next: self.rotation.next.as_ref().map(OtherIssuer::facts),
            signing,
            former: self.others.iter().map(OtherIssuer::facts).collect(),
            switched: None,
            overlap: self.rotation.overlap,
            handover: self.rotation.handover,
        }
    }

    /// Its name.
    pub fn name(&self) -> &AuthorityName {
        &self.realm.name
    }
    /// What holds for everything it signs.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }
    /// The issuer that signs.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }
    /// How it goes over to another issuer.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }
    /// Other issuers whose chains are served.
    pub fn others(&self) -> &[OtherIssuer] {
        &self.others
    }
    /// Roots to trust, DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.roots
    }
    /// The roots as they are sent.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }
    /// The certificates between the roots and the leaves as they are sent.
    pub fn intermediates(&self) -> &Bundle {
        &self.intermediates
    }

    /// What has run out at `now`, or will within the time that is warned ahead.
    pub fn expiring(&self, now: Timestamp) -> Vec<Expiring> {
        let chains = self.chains().map(|der| (Kind::Chain, der));
        let roots = self.roots.iter().map(|der| (Kind::Root, der));
        let mut found: Vec<Expiring> = Vec::new();
        for (kind, der) in chains.chain(roots) {
            let Ok((_, parsed)) = X509Certificate::from_der(der) else { continue };
            let end = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
            let not_after = Timestamp::from_secs(end);
            let one = Expiring { kind, subject: parsed.subject().to_string(), not_after };
            if not_after <= now + self.expiry_warning && !found.contains(&one) {
                found.push(one);
            }
        }
        found
    }
}

/// What kind of certificate runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An issuer, or one between it and the root.
    Chain,
    /// A root.
    Root,
}

/// A certificate whose end is near or past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Which kind.
    pub kind: Kind,
    /// Its subject, for people.
    pub subject: String,
    /// Its end.
    pub not_after: Timestamp,
}

/// What follows a leaf: the first chain, and others that may stand in its place.
#[derive(Clone, Copy, Debug)]
pub struct Chains<'a> {
    /// PEM.
    pub first: &'a str,
    /// In the configuration's order.
    pub alternates: &'a [AlternateChain],
}

/// Why authorities cannot be run together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// None.
    #[error("there is no authority")]
    None,
    /// Names stand for one each.
    #[error("there are two authorities named {0}")]
    Name(AuthorityName),
    /// A key stands for one, or nobody could say by whom a certificate was signed.
    #[error("the authorities {0} and {1} have one and the same issuer key; give each its own")]
    Key(AuthorityName, AuthorityName),
    /// Certificates name their issuer's key by it.
    #[error(
        "issuers of the authorities {0} and {1} have one and the same subject key identifier, though their keys \
         differ; have one of them certified again"
    )]
    KeyIdentifier(AuthorityName, AuthorityName),
}

/// Which of an authority's issuers.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// The one that signs.
    Signing,
    /// The one that is to sign next.
    Next,
    /// One of the others.
    Other(usize),
}

/// Which authority, and which of its issuers' chains.
type Place = (usize, Which);

/// All authorities of a process; never none.
#[derive(Debug)]
pub struct Authorities {
    all: Vec<Arc<Authority>>,
    by_key: HashMap<[u8; 20], Place>,
    /// Of every CA certificate here.
    keys: HashSet<KeyHash>,
    /// Hex SHA-256 and PEM.
    roots: Vec<(String, String)>,
    bundle: Bundle,
    intermediates: Bundle,
}

impl Authorities {
    /// Joins them, in the configuration's order.
    pub fn new(all: Vec<Authority>) -> Result<Self, AuthoritiesError> {
        if all.is_empty() {
            return Err(AuthoritiesError::None);
        }
        let mut by_key: HashMap<[u8; 20], Place> = HashMap::new();
        // By the keys themselves: one key may have several identifiers.
        let mut keys: HashMap<&[u8], usize> = HashMap::new();
        for (place, authority) in all.iter().enumerate() {
            if all[..place].iter().any(|other| other.name() == authority.name()) {
                return Err(AuthoritiesError::Name(authority.name().clone()));
            }
            let own =
                (authority.issuer.key_id(), authority.issuer.signer().public_key().der(), Which::Signing);
            let next =
                authority.rotation.next.iter().map(|next| (&next.key_id, next.key.as_slice(), Which::Next));
            let others = authority.others.iter().enumerate();
            let others = others.map(|(n, other)| (&other.key_id, other.key.as_slice(), Which::Other(n)));
            for (key_id, key, which) in std::iter::once(own).chain(next).chain(others) {
                let names = |other: usize| (all[other].name().clone(), authority.name().clone());
                if let Some(other) = keys.insert(key, place).filter(|other| *other != place) {
                    let (other, this) = names(other);
                    return Err(AuthoritiesError::Key(other, this));
                }
                match by_key.get(key_id) {
                    Some((other, _)) if *other != place => {
                        let (other, this) = names(*other);
                        return Err(AuthoritiesError::KeyIdentifier(other, this));
                    }
                    // The one that signs has the chain that counts.
                    Some(_) => {}
                    None => drop(by_key.insert(*key_id, (place, which))),
                }
            }
        }
        let each = all.iter().flat_map(|authority| &authority.roots).map(Vec::as_slice);
        let mut roots: Vec<(String, String)> = Vec::new();
        for der in each.clone() {
            let hash = fingerprint(der);
            if !roots.iter().any(|(known, _)| *known == hash) {
                roots.push((hash, pem::certificate(der)));
            }
        }
        let chains = || all.iter().flat_map(Authority::chains).map(Vec::as_slice);
        let alternates = all.iter().flat_map(|authority| authority.issuer.alternates());
        let alternates = alternates.filter_map(|chain| pem::parse_certificates(chain.pem().as_bytes()));
        let alternates: Vec<Vec<u8>> = alternates.flatten().collect();
        let certificates = each.clone().chain(chains()).chain(alternates.iter().map(Vec::as_slice));
        let keys = certificates.filter_map(key_of).collect();
        let (bundle, intermediates) = (Bundle::of(each), Bundle::of(chains()));
        let all = all.into_iter().map(Arc::new).collect();
        Ok(Self { all, by_key, keys, roots, bundle, intermediates })
    }

    /// Whether a key is that of a CA certificate here: an issuer's, be it the signing one or not, or one
    /// above it, up to the roots.
    pub fn holds_key(&self, key: &KeyHash) -> bool {
        self.keys.contains(key)
    }

    /// In the configuration's order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Authority>> {
        self.all.iter()
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Authority>> {
        self.all.iter().find(|authority| authority.name().as_str() == name)
    }

    /// What follows a leaf that the issuer with that key identifier signed.
    pub fn chains(&self, issuer: &[u8; 20]) -> Option<Chains<'_>> {
        let (place, which) = self.by_key.get(issuer)?;
        let authority = self.all.get(*place)?;
        Some(match which {
            Which::Signing => {
                Chains { first: authority.issuer.chain_pem(), alternates: authority.issuer.alternates() }
            }
            Which::Next => Chains { first: &authority.rotation.next.as_ref()?.chain_pem, alternates: &[] },
            Which::Other(n) => Chains { first: &authority.others.get(*n)?.chain_pem, alternates: &[] },
        })
    }

    /// The authority that the issuer with that key identifier belongs to: signing, next or former.
    pub fn of_issuer(&self, issuer: &[u8; 20]) -> Option<&Arc<Authority>> {
        let (place, _) = self.by_key.get(issuer)?;
        self.all.get(*place)
    }

    /// The root with that lower-case hex SHA-256, PEM.
    pub fn root(&self, fingerprint: &str) -> Option<&str> {
        self.roots.iter().find(|(known, _)| known == fingerprint).map(|(_, pem)| pem.as_str())
    }

    /// Every root to trust.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Every certificate between a root and leaves.
    pub fn intermediates(&self) -> &Bundle {
        &self.intermediates
    }
}
