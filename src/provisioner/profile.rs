//! Certificate profiles that ACME clients choose from (draft-ietf-acme-profiles): by name, each with
//! its own lifetimes, key types and extended key usages.
//!
//! What a profile demands goes into the [`super::Grant`], by which the certificate is drafted and
//! the final bytes are checked; the name alone is kept with the order, so that what counts is the
//! configuration in force when the certificate is signed.

use std::collections::BTreeMap;

use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::order::Lifetimes;
use crate::x509::ml_dsa::ParameterSet;
use crate::x509::spki::PublicKey;

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

/// The extended key usages of a leaf (RFC 5280 §4.2.1.12); never none, which would mean any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usages {
    /// serverAuth and clientAuth.
    #[default]
    Both,
    /// serverAuth alone.
    Server,
    /// clientAuth alone.
    Client,
}

impl Usages {
    /// Whether serverAuth is one of them.
    pub fn server(self) -> bool {
        matches!(self, Self::Both | Self::Server)
    }

    /// Whether clientAuth is one of them.
    pub fn client(self) -> bool {
        matches!(self, Self::Both | Self::Client)
    }

    /// The names, for people.
    pub fn names(self) -> &'static str {
        match self {
            Self::Both => "serverAuth, clientAuth",
            Self::Server => "serverAuth",
            Self::Client => "clientAuth",
        }
    }
}

/// What holds for a leaf besides its names and its lifetime. The default is what a provisioner
/// without profiles grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafRules {
    /// Keys that may be certified.
    pub key_types: KeyTypes,
    /// What the certificate is good for.
    pub usages: Usages,
}

impl Default for LeafRules {
    fn default() -> Self {
        Self { key_types: KeyTypes::ANY, usages: Usages::Both }
    }
}

/// Everything that a profile decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lifetimes of certificates.
    pub lifetimes: Lifetimes,
    /// The rest.
    pub leaf: LeafRules,
}

/// One profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Shown in the directory: words or a URL.
    pub description: String,
    /// What it decides.
    pub rules: Rules,
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
            return Ok(Rules { lifetimes: usual, leaf: LeafRules::default() });
        };
        match self.offered.get(name) {
            Some(profile) => Ok(profile.rules),
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
        let leaf =
            LeafRules { key_types: KeyTypes::of(&[KeyType::Ed25519]).unwrap(), usages: Usages::Client };
        let profile =
            |hours| Profile { description: "d".into(), rules: Rules { lifetimes: lifetimes(hours), leaf } };
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
        let plain = Rules { lifetimes: usual, leaf: LeafRules::default() };
        assert_eq!(some.rules(None, usual), Ok(plain));
        assert_eq!(some.rules(Some("short"), usual), Ok(some.offered["short"].rules));
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
        for (usages, server, client) in
            [(Usages::Both, true, true), (Usages::Server, true, false), (Usages::Client, false, true)]
        {
            assert_eq!((usages.server(), usages.client()), (server, client));
            assert_eq!(
                (usages.names().contains("server"), usages.names().contains("client")),
                (server, client)
            );
        }
    }
}
