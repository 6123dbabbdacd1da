//! Which roots an issuer that goes takes along, and by which chains the one that signs is reached then.

use super::chain;
use crate::time::Timestamp;

/// Certificates from an issuer up to one below a root, DER.
pub type Chain = Vec<Vec<u8>>;

/// The root that a chain leads to; `None` if to none of these, or not any more.
fn anchor<'r>(chain: &Chain, roots: &'r [Vec<u8>], now: Timestamp) -> Option<&'r Vec<u8>> {
    let root = chain::check(chain, roots, now).ok()?;
    roots.iter().find(|known| known.as_slice() == root)
}

/// The roots that stay when an issuer goes: all but those that it is reached by and no other is. `leaving`
/// are its chains, and `staying` the chains of each issuer that stays.
pub fn remaining_roots(
    roots: &[Vec<u8>],
    leaving: &[Chain],
    staying: &[Vec<Chain>],
    now: Timestamp,
) -> Vec<Vec<u8>> {
    let mut kept = roots.to_vec();
    for chain in leaving {
        let Some(root) = anchor(chain, roots, now) else { continue };
        let without: Vec<_> = kept.iter().filter(|kept| *kept != root).cloned().collect();
        let reached = |chains: &Vec<Chain>| {
            let by = |roots: &[Vec<u8>]| chains.iter().any(|chain| anchor(chain, roots, now).is_some());
            // One that leads nowhere today loses nothing.
            by(&without) || !by(&kept)
        };
        if !without.is_empty() && staying.iter().all(reached) {
            kept = without;
        }
    }
    kept
}

/// The chains that are served under these roots, of those that were under more of them: by their places, the
/// first one in front. `foreign` chains, which lead to other people's roots, stay behind.
pub fn remaining_chains(
    chains: &[Chain],
    before: &[Vec<u8>],
    roots: &[Vec<u8>],
    now: Timestamp,
) -> Option<(usize, Vec<usize>)> {
    let leads = |place: &usize| anchor(&chains[*place], roots, now).is_some();
    let foreign = |place: &usize| anchor(&chains[*place], before, now).is_none();
    let first = (0..chains.len()).find(leads)?;
    let rest = (0..chains.len()).filter(|place| *place != first && (leads(place) || foreign(place)));
    Some((first, rest.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    const T0: Timestamp = Timestamp::from_secs(1_500_000);

    struct Ca {
        params: CertificateParams,
        key: KeyPair,
    }

    impl Ca {
        fn new(name: &str) -> Self {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = Timestamp::from_secs(1_000_000).to_utc();
            params.not_after = Timestamp::from_secs(2_000_000).to_utc();
            Self { params, key: KeyPair::generate().unwrap() }
        }

        fn root(&self) -> Vec<u8> {
            self.params.self_signed(&self.key).unwrap().der().to_vec()
        }

        fn under(&self, above: &Self) -> Vec<u8> {
            let issuer = Issuer::from_params(&above.params, &above.key);
            self.params.signed_by(&self.key, &issuer).unwrap().der().to_vec()
        }
    }

    #[test]
    fn a_root_goes_with_the_last_that_needs_it() {
        let [old, new, foreign] = ["old", "new", "foreign"].map(Ca::new);
        let (a, b) = (Ca::new("a"), Ca::new("b"));
        let (old_root, new_root) = (old.root(), new.root());
        let both = vec![old_root.clone(), new_root.clone()];
        let under = |issuer: &Ca, root: &Ca| vec![issuer.under(root)];
        let crossed = vec![b.under(&new), new.under(&old)];
        let expired = T0 + std::time::Duration::from_secs(600_000);
        let rows = [
            ("both under one root", T0, vec![under(&b, &old)], both.clone()),
            ("the other one has a chain of its own", T0, vec![under(&b, &new)], vec![new_root.clone()]),
            (
                "crossed, and known by the new root alone",
                T0,
                vec![crossed.clone(), under(&b, &new)],
                vec![new_root.clone()],
            ),
            // The chain with the cross certificate begins below the new root all the same.
            ("crossed alone", T0, vec![crossed.clone()], both.clone()),
            ("one that leads nowhere", T0, vec![under(&b, &foreign)], vec![new_root.clone()]),
            ("nothing is valid any more", expired, vec![under(&b, &new)], both.clone()),
        ];
        for (what, now, staying, want) in rows {
            assert_eq!(remaining_roots(&both, &[under(&a, &old)], &[staying], now), want, "{what}");
        }
        // The last root of all stays.
        let one = vec![old_root.clone()];
        assert_eq!(remaining_roots(&one, &[under(&a, &old)], &[vec![under(&b, &new)]], T0), one);

        let chains = [crossed.clone(), under(&b, &new), under(&b, &foreign)];
        let of = |roots: &[Vec<u8>]| remaining_chains(&chains, &both, roots, T0);
        assert_eq!(of(&both), Some((0, vec![1, 2])));
        assert_eq!(of(&[new_root]), Some((1, vec![2])));
        assert_eq!(of(&[foreign.root()]), Some((2, vec![])));
        assert_eq!(of(&[]), None);
    }
}
