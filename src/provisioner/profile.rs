//! Certificate profiles that ACME clients choose from (draft-ietf-acme-profiles): by name, each with
//! its own lifetimes, keys, usages, kinds of names, and what else stands in the certificate.
//!
//! What a profile demands goes into the [`super::Grant`], by which the certificate is drafted and
//! the final bytes are checked; the name alone is kept with the order, so that what counts is the
//! configuration in force when the certificate is signed.

pub mod contents;
pub mod san;
pub mod template;
pub mod usages;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use contents::Templates;
use san::{SanKind, SanKinds};
use usages::{KeyUsages, Usages};

use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::Lifetimes;
use crate::limits::gcra::Quota;
use crate::time::Timestamp;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::{PublicKey, bits};

/// A kind of public key, by its algorithm and curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum KeyType {
    EcP256,
    EcP384,
    EcP521,
    Ed25519,
    Rsa,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl KeyType {
    /// Every type with its name in the configuration.
    pub const TABLE: &[(&'static str, Self)] = &[
        ("ec-p256", Self::EcP256),
        ("ec-p384", Self::EcP384),
        ("ec-p521", Self::EcP521),
        ("ed25519", Self::Ed25519),
        ("rsa", Self::Rsa),
        ("ml-dsa-44", Self::MlDsa44),
        ("ml-dsa-65", Self::MlDsa65),
        ("ml-dsa-87", Self::MlDsa87),
    ];

    /// The type of a key.
    pub fn of(key: &PublicKey) -> Self {
        match key {
            PublicKey::EcP256(_) => Self::EcP256,
            PublicKey::EcP384(_) => Self::EcP384,
            PublicKey::EcP521(_) => Self::EcP521,
            PublicKey::Ed25519(_) => Self::Ed25519,
            PublicKey::Rsa { .. } => Self::Rsa,
            PublicKey::MlDsa(ParameterSet::MlDsa44, _) => Self::MlDsa44,
            PublicKey::MlDsa(ParameterSet::MlDsa65, _) => Self::MlDsa65,
            PublicKey::MlDsa(ParameterSet::MlDsa87, _) => Self::MlDsa87,
        }
    }

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| *name)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The key types that may be certified; never none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTypes(u8);

impl KeyTypes {
    /// All that the authority's own policy accepts.
    pub const ANY: Self = Self(0b1111_1111);

    /// These; `None` if there is none.
    pub fn of(types: &[KeyType]) -> Option<Self> {
        let bits = types.iter().fold(0, |bits, each| bits | each.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// Whether a key of that type may be certified.
    pub fn contains(self, key: KeyType) -> bool {
        self.0 & key.bit() != 0
    }

    /// The names, for people.
    pub fn names(self) -> String {
        let held = KeyType::TABLE.iter().filter(|(_, key)| self.contains(*key));
        held.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// What holds for a leaf besides its names and its lifetime. The default is what a provisioner
/// without profiles grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRules {
    /// Keys that may be certified.
    pub key_types: KeyTypes,
    /// Fewest bits of an RSA key.
    pub min_rsa_bits: usize,
    /// What the certificate is good for.
    pub usages: Usages,
    /// What the key may do; `None`: what is usual for its kind.
    pub key_usage: Option<KeyUsages>,
    /// Kinds of names that it may have.
    pub sans: SanKinds,
    /// What it says besides.
    pub templates: Templates,
    /// How far notBefore lies before the moment of issuance.
    pub backdate: Duration,
    /// A certificate that lives no longer than that says that nobody need ask whether it was revoked
    /// (RFC 9608), and does not say whom to ask; `None`: none says so.
    pub no_rev_avail_below: Option<Duration>,
}

/// How far notBefore lies before the moment of issuance, unless a profile says otherwise: clocks differ.
pub const BACKDATE: Duration = Duration::from_secs(60);
/// Fewest bits of any RSA key.
pub const MIN_RSA_BITS: usize = 2048;
/// What lives no longer need not be revoked, unless a profile says otherwise.
pub const NO_REV_AVAIL_BELOW: Duration = Duration::from_secs(7 * 86_400);

impl Default for LeafRules {
    fn default() -> Self {
        Self {
            key_types: KeyTypes::ANY,
            min_rsa_bits: MIN_RSA_BITS,
            usages: Usages::default(),
            key_usage: None,
            sans: SanKinds::ANY,
            templates: Templates::default(),
            backdate: BACKDATE,
            no_rev_avail_below: Some(NO_REV_AVAIL_BELOW),
        }
    }
}

impl LeafRules {
    /// The default, shared.
    pub fn usual() -> Arc<Self> {
        static USUAL: LazyLock<Arc<LeafRules>> = LazyLock::new(Arc::default);
        USUAL.clone()
    }

    /// The rule that a key breaks.
    pub fn check_key(&self, key: &PublicKey) -> Result<(), String> {
        if !self.key_types.contains(KeyType::of(key)) {
            return Err(format!("is not of the profile's types: {}", self.key_types.names()));
        }
        match key {
            PublicKey::Rsa { n, .. } if bits(n) < self.min_rsa_bits => {
                Err(format!("is shorter than the profile's min_rsa_bits, {}", self.min_rsa_bits))
            }
            PublicKey::Rsa { .. }
            | PublicKey::EcP256(_)
            | PublicKey::EcP384(_)
            | PublicKey::EcP521(_)
            | PublicKey::Ed25519(_)
            | PublicKey::MlDsa(..) => Ok(()),
        }
    }

    /// The rule that an order's name breaks.
    pub fn check_name(&self, name: &Identifier) -> Result<(), String> {
        if self.sans.contains(SanKind::of(name)) {
            return Ok(());
        }
        Err(format!("the profile's certificates have names of these kinds only: {}", self.sans.names()))
    }

    /// The key usage of a leaf with that key; `None` if the profile's bits are none that it can do.
    pub fn key_usage_of(&self, key: &PublicKey) -> Option<KeyUsages> {
        match self.key_usage {
            None => Some(KeyUsages::usual(key)),
            Some(usages) => usages.for_key(KeyType::of(key)),
        }
    }

    /// Whether a leaf of that validity says that nobody need ask whether it was revoked.
    pub fn no_rev_avail(&self, not_before: Timestamp, not_after: Timestamp) -> bool {
        self.no_rev_avail_below.is_some_and(|most| not_after.since(not_before) <= most + self.backdate)
    }
}

/// Everything that a profile decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
    /// The rest.
    pub leaf: Arc<LeafRules>,
}

impl Rules {
    /// Whether a certificate may have these names of an order's.
    pub fn check_names(&self, names: &[Identifier]) -> Result<(), Refusal> {
        for name in names {
            if let Err(rule) = self.leaf.check_name(name) {
                let detail = format!("identifier {name}: {rule}");
                return Err(Refusal::new(ErrorKind::RejectedIdentifier, detail));
            }
        }
        Ok(())
    }
}

/// What an order has to heed besides what goes into its certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restraints {
    /// Whether a key that was certified before is refused.
    pub fresh_keys: bool,
    /// Certificates for one account and the same names, under whichever profile has no other.
    pub issue_budget: Option<Quota>,
    /// The same for this profile's certificates alone, counted apart. Beside the other, both hold.
    pub profile_budget: Option<Quota>,
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Shown in the directory: words or a URL.
    pub description: String,
    /// What it decides.
    pub rules: Rules,
    /// What its orders have to heed.
    pub restraints: Restraints,
}

/// The profiles of one provisioner; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profiles {
    /// By name.
    pub offered: BTreeMap<String, Profile>,
    /// For orders that name none; without it such orders get the provisioner's own rules.
    pub default: Option<String>,
}

impl Profiles {
    /// The profile of a new order that asks for `asked`.
    pub fn chosen(&self, asked: Option<String>) -> Result<Option<String>, Refusal> {
        match asked {
            None => Ok(self.default.clone()),
            Some(name) if self.offered.contains_key(&name) => Ok(Some(name)),
            // The name is not repeated: it may be as long as a body.
            Some(_) if self.offered.is_empty() => {
                let detail = "profile: this provisioner offers none: leave it out";
                Err(Refusal::new(ErrorKind::InvalidProfile, detail))
            }
            Some(_) => {
                let names = self.offered.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                let detail = format!("profile: is not offered; there are {names}");
                Err(Refusal::new(ErrorKind::InvalidProfile, detail))
            }
        }
    }

    /// What holds for an order of that profile, or of none, where `usual` holds. The draft has a
    /// profile that has vanished meanwhile refused on finalize.
    pub fn rules(&self, name: Option<&str>, usual: Lifetimes) -> Result<Rules, Refusal> {
        let Some(name) = name else {
            return Ok(Rules { lifetimes: usual, leaf: LeafRules::usual() });
        };
        match self.offered.get(name) {
            Some(profile) => Ok(profile.rules.clone()),
            None => {
                let detail =
                    format!("the order's profile, {name}, is not offered any more: open a new order");
                Err(Refusal::new(ErrorKind::InvalidProfile, detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn lifetimes(hours: u32) -> Lifetimes {
        Lifetimes { default: HOUR * hours, min: HOUR, max: HOUR * hours }
    }

    fn profiles() -> Profiles {
        let key_types = KeyTypes::of(&[KeyType::Ed25519]).unwrap();
        let usages = Usages::client_only().clone();
        let leaf = Arc::new(LeafRules { key_types, usages, ..LeafRules::default() });
        let rules = |hours| Rules { lifetimes: lifetimes(hours), leaf: leaf.clone() };
        let profile = |hours| Profile {
            description: "d".into(),
            rules: rules(hours),
            restraints: Restraints::default(),
        };
        let offered = [("long".to_owned(), profile(9)), ("short".to_owned(), profile(2))].into();
        Profiles { offered, default: None }
    }

    #[test]
    fn who_is_chosen() {
        let (none, some) = (Profiles::default(), profiles());
        let usual = Profiles { default: Some("short".into()), ..profiles() };
        type Row<'a> = (&'a Profiles, Option<&'a str>, Result<Option<&'a str>, &'a str>);
        let rows: [Row<'_>; 8] = [
            (&none, None, Ok(None)),
            (&none, Some("short"), Err("offers none")),
            (&some, None, Ok(None)),
            (&some, Some("short"), Ok(Some("short"))),
            (&some, Some("Short"), Err("long, short")),
            (&some, Some(""), Err("long, short")),
            (&usual, None, Ok(Some("short"))),
            (&usual, Some("long"), Ok(Some("long"))),
        ];
        for (profiles, asked, want) in rows {
            let got = profiles.chosen(asked.map(str::to_owned));
            match (got, want) {
                (Ok(got), Ok(want)) => assert_eq!(got.as_deref(), want),
                (Err(got), Err(want)) => {
                    assert_eq!(got.kind, ErrorKind::InvalidProfile);
                    assert!(got.detail.contains(want), "{}", got.detail);
                }
                (got, want) => panic!("{asked:?}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn what_holds() {
        let usual = lifetimes(24);
        let some = profiles();
        let plain = Rules { lifetimes: usual, leaf: LeafRules::usual() };
        assert_eq!(some.rules(None, usual), Ok(plain));
        assert_eq!(some.rules(Some("short"), usual), Ok(some.offered["short"].rules.clone()));
        let gone = some.rules(Some("gone"), usual).unwrap_err();
        assert_eq!(gone.kind, ErrorKind::InvalidProfile);
        assert!(gone.detail.contains("gone"), "{}", gone.detail);
    }

    #[test]
    fn sets_of_key_types() {
        assert_eq!(KeyTypes::of(&[]), None);
        let all: Vec<KeyType> = KeyType::TABLE.iter().map(|(_, key)| *key).collect();
        assert_eq!(KeyTypes::of(&all), Some(KeyTypes::ANY));
        for only in &all {
            let set = KeyTypes::of(&[*only]).unwrap();
            for other in &all {
                assert_eq!(set.contains(*other), only == other);
            }
        }
        assert_eq!(KeyTypes::of(&[KeyType::Rsa, KeyType::EcP256]).unwrap().names(), "ec-p256, rsa");
    }
    #[test]
    fn when_nobody_need_ask() {
        let t0 = Timestamp::from_secs(1_793_318_400);
        let day = HOUR * 24;
        let usual = LeafRules::default();
        let rows = [
            (Some(day * 7), HOUR, true),
            (Some(day * 7), day * 7 + BACKDATE, true),
            (Some(day * 7), day * 7 + BACKDATE + Duration::from_secs(1), false),
            (Some(HOUR), day, false),
            (None, HOUR, false),
        ];
        for (no_rev_avail_below, lifetime, want) in rows {
            let rules = LeafRules { no_rev_avail_below, ..usual.clone() };
            assert_eq!(rules.no_rev_avail(t0, t0 + lifetime), want, "{no_rev_avail_below:?} {lifetime:?}");
        }
    }
}
