//! ML-DSA (FIPS 204) in X.509 (RFC 9881): the parameter sets, pure mode with an empty context.

use aws_lc_rs::signature::{
    ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING,
    PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
};
use serde::{Deserialize, Serialize};

/// A parameter set. The order of variants is part of record formats: add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ParameterSet {
    /// ML-DSA-44, category 2.
    MlDsa44,
    /// ML-DSA-65, category 3.
    MlDsa65,
    /// ML-DSA-87, category 5.
    MlDsa87,
}

/// The private key as a seed (RFC 9881 §6): every parameter set has one of this size.
pub const SEED_BYTES: usize = 32;

impl ParameterSet {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// How people call it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// The one AlgorithmIdentifier, of keys as of signatures: no parameters (RFC 9881 §2). The object
    /// identifier's content bytes are the last nine.
    pub const fn algorithm_der(self) -> &'static [u8; 13] {
        match self {
            Self::MlDsa44 => &[0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11],
            Self::MlDsa65 => &[0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12],
            Self::MlDsa87 => &[0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13],
        }
    }

    /// The set of an object identifier, by its content bytes.
    pub fn of_oid(content: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.algorithm_der()[4..] == *content)
    }

    /// Bytes of a public key (FIPS 204 table 2).
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// What verifies.
    pub fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa44 => &ML_DSA_44,
            Self::MlDsa65 => &ML_DSA_65,
            Self::MlDsa87 => &ML_DSA_87,
        }
    }

    /// What signs.
    pub fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Self::MlDsa44 => &ML_DSA_44_SIGNING,
            Self::MlDsa65 => &ML_DSA_65_SIGNING,
            Self::MlDsa87 => &ML_DSA_87_SIGNING,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{KeyPair, PqdsaKeyPair};

    use super::*;

    #[test]
    fn identifiers_are_those_of_an_independent_table() {
        for set in ParameterSet::ALL {
            assert_eq!(ParameterSet::of_oid(&set.algorithm_der()[4..]), Some(set));
            let last = match set {
                ParameterSet::MlDsa44 => 17,
                ParameterSet::MlDsa65 => 18,
                ParameterSet::MlDsa87 => 19,
            };
            let text = format!("2.16.840.1.101.3.4.3.{last}");
            assert_eq!(
                crate::x509::permanent::oid_content(&text).unwrap(),
                &set.algorithm_der()[4..],
                "{text}"
            );
            let pair = PqdsaKeyPair::from_seed(set.signing(), &[7; SEED_BYTES]).unwrap();
            assert_eq!(pair.public_key().as_ref().len(), set.public_key_bytes());
        }
        assert_eq!(ParameterSet::of_oid(&[0x2b, 0x65, 0x70]), None);
    }
}
