//! What a leaf's key may be used for: extended key usages and key usage bits.

use crate::x509::oid::Oid;
use crate::x509::spki::PublicKey;

/// An extended key usage (RFC 5280 §4.2.1.12).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Usage {
    ServerAuth,
    ClientAuth,
    CodeSigning,
    EmailProtection,
    TimeStamping,
    /// Any other one.
    Other(Oid),
}

/// anyExtendedKeyUsage and OCSPSigning: the one means every usage, the other speaks for the CA.
const REFUSED: &[(&str, &str)] = &[
    ("2.5.29.37.0", "anyExtendedKeyUsage stands for every usage there is; list those that are meant"),
    ("1.3.6.1.5.5.7.3.9", "OCSPSigning lets the holder speak for the CA; it is never a leaf's"),
];

impl Usage {
    /// Every known usage, with its name in the configuration and its object identifier.
    pub const TABLE: &[(&'static str, Self, &'static str)] = &[
        ("serverAuth", Self::ServerAuth, "1.3.6.1.5.5.7.3.1"),
        ("clientAuth", Self::ClientAuth, "1.3.6.1.5.5.7.3.2"),
        ("codeSigning", Self::CodeSigning, "1.3.6.1.5.5.7.3.3"),
        ("emailProtection", Self::EmailProtection, "1.3.6.1.5.5.7.3.4"),
        ("timeStamping", Self::TimeStamping, "1.3.6.1.5.5.7.3.8"),
    ];

    /// The usage of that name or object identifier.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, usage, _)) = Self::TABLE.iter().find(|(name, _, oid)| *name == text || *oid == text) {
            return Ok(usage.clone());
        }
        let refused = |(oid, why): &&(&str, &str)| *oid == text || why.split(' ').next() == Some(text);
        if let Some((_, why)) = REFUSED.iter().find(refused) {
            return Err((*why).to_owned());
        }
        text.parse().map(Self::Other).map_err(|_| {
            let names: Vec<&str> = Self::TABLE.iter().map(|(name, ..)| *name).collect();
            format!("is not known; write {}, or an object identifier in dotted decimal", names.join(", "))
        })
    }

    /// Its name, or its object identifier.
    pub fn name(&self) -> String {
        match self {
            Self::Other(oid) => oid.to_string(),
            Self::ServerAuth
            | Self::ClientAuth
            | Self::CodeSigning
            | Self::EmailProtection
            | Self::TimeStamping => {
                let row = Self::TABLE.iter().find(|(_, usage, _)| usage == self);
                row.map_or_else(String::new, |(name, ..)| (*name).to_owned())
            }
        }
    }
}

/// The extended key usages of a leaf; never none, which would mean any, none twice, the known ones
/// first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usages(Vec<Usage>);

impl Default for Usages {
    fn default() -> Self {
        Self(vec![Usage::ServerAuth, Usage::ClientAuth])
    }
}

impl Usages {
    /// These; the rule that they break if they cannot stand together.
    pub fn of(usages: impl IntoIterator<Item = Usage>) -> Result<Self, &'static str> {
        let mut usages: Vec<Usage> = usages.into_iter().collect();
        usages.sort();
        if usages.is_empty() {
            return Err("there must be one, since none would mean any");
        }
        if usages.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("one is there twice; remove one");
        }
        // RFC 3161 §2.3.
        if usages.len() > 1 && usages.contains(&Usage::TimeStamping) {
            return Err("timeStamping stands alone (RFC 3161 §2.3)");
        }
        Ok(Self(usages))
    }

    /// That of devices: what they prove is who they are.
    pub fn client_only() -> &'static Self {
        static ONLY: std::sync::LazyLock<Usages> =
            std::sync::LazyLock::new(|| Usages(vec![Usage::ClientAuth]));
        &ONLY
    }

    /// Whether it is one of them.
    pub fn contains(&self, usage: &Usage) -> bool {
        self.0.contains(usage)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Usage> {
        self.0.iter()
    }

    /// Whether the extension is critical: a time stamping authority's is (RFC 3161 §2.3).
    pub fn critical(&self) -> bool {
        self.contains(&Usage::TimeStamping)
    }

    /// The names, for people.
    pub fn names(&self) -> String {
        self.0.iter().map(Usage::name).collect::<Vec<_>>().join(", ")
    }
}

/// Key usage bits (RFC 5280 §4.2.1.3), first byte of the BIT STRING; never none, never those of a
/// CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsages(u8);

const DIGITAL_SIGNATURE: u8 = 0x80;
const NON_REPUDIATION: u8 = 0x40;
const KEY_ENCIPHERMENT: u8 = 0x20;
const DATA_ENCIPHERMENT: u8 = 0x10;
const KEY_AGREEMENT: u8 = 0x08;

impl KeyUsages {
    /// Every bit that a leaf may have, with its name in the configuration.
    pub const TABLE: &[(&'static str, Self)] = &[
        ("digitalSignature", Self(DIGITAL_SIGNATURE)),
        ("nonRepudiation", Self(NON_REPUDIATION)),
        ("keyEncipherment", Self(KEY_ENCIPHERMENT)),
        ("dataEncipherment", Self(DATA_ENCIPHERMENT)),
        ("keyAgreement", Self(KEY_AGREEMENT)),
    ];

    /// All of these; `None` if there is none.
    pub fn of(usages: &[Self]) -> Option<Self> {
        let bits = usages.iter().fold(0, |bits, each| bits | each.0);
        (bits != 0).then_some(Self(bits))
    }

    /// What a leaf with that key has unless its profile says otherwise: RSA keys may also transport
    /// keys in TLS 1.2 (RFC 8446 §4.4.2.2).
    pub fn usual(key: &PublicKey) -> Self {
        match key {
            PublicKey::Rsa { .. } => Self(DIGITAL_SIGNATURE | KEY_ENCIPHERMENT),
            PublicKey::EcP256(_)
            | PublicKey::EcP384(_)
            | PublicKey::EcP521(_)
            | PublicKey::Ed25519(_)
            | PublicKey::MlDsa(..) => Self(DIGITAL_SIGNATURE),
        }
    }

    /// Those of them that a key of that kind can do (RFC 3279 §2.3, RFC 8410 §5,
    /// RFC 9881 §5); `None` if it can do
    /// none.
    pub fn for_key(self, key: super::KeyType) -> Option<Self> {
        use super::KeyType;
        let able = match key {
            KeyType::Rsa => DIGITAL_SIGNATURE | NON_REPUDIATION | KEY_ENCIPHERMENT | DATA_ENCIPHERMENT,
            KeyType::EcP256 | KeyType::EcP384 | KeyType::EcP521 => {
                DIGITAL_SIGNATURE | NON_REPUDIATION | KEY_AGREEMENT
            }
            KeyType::Ed25519 | KeyType::MlDsa44 | KeyType::MlDsa65 | KeyType::MlDsa87 => {
                DIGITAL_SIGNATURE | NON_REPUDIATION
            }
        };
        let bits = self.0 & able;
        (bits != 0).then_some(Self(bits))
    }

    /// The byte, digitalSignature its highest bit.
    pub fn byte(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::KeyType;
    use super::*;

    #[test]
    fn usages_by_name_and_number() {
        for (name, usage, oid) in Usage::TABLE {
            assert_eq!(Usage::parse(name), Ok(usage.clone()));
            assert_eq!(Usage::parse(oid), Ok(usage.clone()));
            assert_eq!(usage.name(), *name);
        }
        assert_eq!(Usage::parse("1.3.6.1.4.1.311.20.2.2").unwrap().name(), "1.3.6.1.4.1.311.20.2.2");
        for (bad, words) in [
            ("2.5.29.37.0", "every usage"),
            ("anyExtendedKeyUsage", "every usage"),
            ("1.3.6.1.5.5.7.3.9", "speak for the CA"),
            ("OCSPSigning", "speak for the CA"),
            ("ServerAuth", "is not known"),
            ("", "is not known"),
        ] {
            assert!(Usage::parse(bad).unwrap_err().contains(words), "{bad}");
        }
    }

    #[test]
    fn sets_of_usages() {
        use Usage::{ClientAuth, CodeSigning, ServerAuth, TimeStamping};
        assert_eq!(Usages::of([ClientAuth, ServerAuth]), Ok(Usages::default()));
        assert_eq!(Usages::of([CodeSigning]).unwrap().names(), "codeSigning");
        for bad in [vec![], vec![ServerAuth, ServerAuth], vec![ServerAuth, TimeStamping]] {
            assert!(Usages::of(bad).is_err());
        }
        assert!(Usages::of([TimeStamping]).unwrap().critical() && !Usages::default().critical());
    }

    #[test]
    fn what_each_key_can_do() {
        let of = |names: &[&str]| {
            let found = |name: &&str| KeyUsages::TABLE.iter().find(|(known, _)| known == name).unwrap().1;
            KeyUsages::of(&names.iter().map(found).collect::<Vec<_>>())
        };
        let all = KeyUsages::of(&KeyUsages::TABLE.iter().map(|(_, bit)| *bit).collect::<Vec<_>>()).unwrap();
        let able: Vec<_> = KeyType::TABLE.iter().map(|(name, key)| (*name, all.for_key(*key))).collect();
        for (name, usages) in able {
            let want = match name {
                "rsa" => of(&["digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment"]),
                "ed25519" | "ml-dsa-44" | "ml-dsa-65" | "ml-dsa-87" => {
                    of(&["digitalSignature", "nonRepudiation"])
                }
                _ => of(&["digitalSignature", "nonRepudiation", "keyAgreement"]),
            };
            assert_eq!(usages, want, "{name}");
        }
        assert_eq!(of(&["keyEncipherment"]).unwrap().for_key(KeyType::EcP256), None);
        assert_eq!(of(&[]), None);
        // keyCertSign and cRLSign are never among them.
        assert_eq!(all.byte() & 0x06, 0);
    }
}
