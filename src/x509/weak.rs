//! Keys that are no secret: RSA keys that anybody can factor (small divisors, close primes, the ROCA
//! fingerprint), Ed25519 points of small order.

use num_bigint::BigUint;

/// Why a key is worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// 1, 3 and the like, or an even number.
    #[error("the RSA exponent must be odd and at least 65537")]
    Exponent,
    /// Divisible by a small prime.
    #[error("the RSA modulus has a small factor")]
    SmallFactor,
    /// Both primes near the square root: Fermat's method finds them.
    #[error("the RSA modulus is the product of two primes that are close together")]
    ClosePrimes,
    /// CVE-2017-15361.
    #[error("the RSA key was made by a faulty library (ROCA, CVE-2017-15361)")]
    Roca,
    /// An Ed25519 point that makes no signature meaningful.
    #[error("the Ed25519 key is a point of small order: anyone can sign for it")]
    SmallOrder,
}

/// Rounds of Fermat's method: random primes are never this close.
const FERMAT_ROUNDS: usize = 100;

/// Primes of the ROCA fingerprint: moduli made by the faulty library are powers of 65537 modulo
/// every one of them (Nemec et al., CCS 2017).
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Checks modulus and exponent (big-endian).
pub fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), Weakness> {
    let exponent = BigUint::from_bytes_be(e);
    if exponent < BigUint::from(65_537u32) || !exponent.bit(0) {
        return Err(Weakness::Exponent);
    }
    let n = BigUint::from_bytes_be(n);
    if has_small_factor(&n) {
        return Err(Weakness::SmallFactor);
    }
    if is_roca(&n) {
        return Err(Weakness::Roca);
    }
    if has_close_primes(&n) {
        return Err(Weakness::ClosePrimes);
    }
    Ok(())
}

fn residue(n: &BigUint, modulus: u32) -> u32 {
    (n % modulus).iter_u32_digits().next().unwrap_or(0)
}

fn has_small_factor(n: &BigUint) -> bool {
    let composite_free = |p: &u32| (2..*p).take_while(|d| d * d <= *p).all(|d| !p.is_multiple_of(d));
    !n.bit(0) || (3..752u32).step_by(2).filter(composite_free).any(|p| residue(n, p) == 0)
}

fn is_roca(n: &BigUint) -> bool {
    ROCA_PRIMES.iter().all(|&p| {
        let target = residue(n, p);
        let generator = 65_537 % p;
        let mut power = 1 % p;
        (0..p).any(|_| {
            let hit = power == target;
            power = power * generator % p;
            hit
        })
    })
}

fn has_close_primes(n: &BigUint) -> bool {
    let mut a = n.sqrt();
    if &a * &a < *n {
        a += 1u32;
    }
    for _ in 0..FERMAT_ROUNDS {
        let b2 = &a * &a - n;
        if may_be_square(&b2) {
            let b = b2.sqrt();
            if &b * &b == b2 {
                return true;
            }
        }
        a += 1u32;
    }
    false
}

/// Whether the number is a square modulo a few small numbers: spares the root in 99 of 100 cases,
/// and anybody who sends us a key makes us look.
fn may_be_square(number: &BigUint) -> bool {
    [64, 63, 65, 11].into_iter().all(|modulus| {
        let target = residue(number, modulus);
        (0..modulus).any(|root| root * root % modulus == target)
    })
}

/// Encodings of the points of order 1, 2, 4 and 8 on edwards25519 but for the sign in the top bit,
/// those with a coordinate beyond the field's size included.
const SMALL_ORDER: [[u8; 32]; 7] = [
    // Order 4, y = 0.
    [0; 32],
    // Order 1, y = 1.
    {
        let mut point = [0; 32];
        point[0] = 1;
        point
    },
    // Order 8.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    // p - 1 (order 2), p (order 4), p + 1 (order 1).
    below_two_to_255(0xec),
    below_two_to_255(0xed),
    below_two_to_255(0xee),
];

/// 2^255 - 256 + `low`, little-endian.
const fn below_two_to_255(low: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = low;
    point[31] = 0x7f;
    point
}

/// Checks an Ed25519 public key: on a point of small order, signatures that hold for any message
/// can be written without a private key.
pub fn check_ed25519(point: &[u8]) -> Result<(), Weakness> {
    let Some((top, rest)) = point.split_last() else { return Ok(()) };
    let small = SMALL_ORDER.iter().any(|known| known[..31] == *rest && known[31] == top & 0x7f);
    if small { Err(Weakness::SmallOrder) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: &[u8] = &[1, 0, 1];

    fn fresh_modulus() -> Vec<u8> {
        use rcgen::PublicKeyData;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        match crate::x509::spki::Spki::parse(&key.subject_public_key_info()).unwrap().key() {
            crate::x509::spki::PublicKey::Rsa { n, .. } => n.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn good_keys_pass_and_exponents_are_checked() {
        let n = fresh_modulus();
        assert_eq!(check_rsa(&n, E), Ok(()));
        for e in [&[1][..], &[3], &[1, 0, 0], &[], &[2, 0, 0]] {
            assert_eq!(check_rsa(&n, e), Err(Weakness::Exponent), "{e:?}");
        }
    }

    #[test]
    fn small_factors_and_even_numbers() {
        let n = BigUint::from_bytes_be(&fresh_modulus());
        assert_eq!(check_rsa(&(&n * 751u32).to_bytes_be(), E), Err(Weakness::SmallFactor));
        assert_eq!(check_rsa(&(&n * 2u32).to_bytes_be(), E), Err(Weakness::SmallFactor));
    }

    #[test]
    fn close_primes() {
        // 2^521 - 1 is prime; the square of one prime is the closest two primes can be.
        let p = (BigUint::from(1u8) << 521u32) - 1u8;
        assert_eq!(check_rsa(&(&p * &p).to_bytes_be(), E), Err(Weakness::ClosePrimes));
    }

    #[test]
    fn roca_fingerprint() {
        // A modulus of the faulty shape: 65537^k modulo the product of all primes, plus a multiple
        // of that product, made free of small factors by construction (no residue is zero up to 167).
        let product: BigUint = ROCA_PRIMES.iter().map(|p| BigUint::from(*p)).product();
        let base = BigUint::from(65_537u32).modpow(&BigUint::from(123_456_789u64), &product);
        let n = (0u32..)
            .map(|k| &base + &product * ((BigUint::from(1u8) << 1800u32) + k))
            .find(|n| !has_small_factor(n))
            .unwrap();
        assert_eq!(check_rsa(&n.to_bytes_be(), E), Err(Weakness::Roca));
    }

    #[test]
    fn squares_are_never_taken_for_others() {
        for root in 0..5000u32 {
            assert!(may_be_square(&(BigUint::from(root) * root)), "{root}");
        }
        let mut left = 0;
        for number in 0..10_000u32 {
            left += u32::from(may_be_square(&BigUint::from(number)));
        }
        assert!(left < 250, "{left} of 10000 are left to look at, 100 of them squares");
    }

    #[test]
    fn ed25519_points_of_small_order() {
        for point in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut point = point;
                point[31] |= sign;
                assert_eq!(check_ed25519(&point), Err(Weakness::SmallOrder), "{point:02x?}");
                point[5] ^= 1;
                assert_eq!(check_ed25519(&point), Ok(()));
            }
        }
        // The base point.
        let base: Vec<u8> = [vec![0x58], vec![0x66; 31]].concat();
        assert_eq!(check_ed25519(&base), Ok(()));
    }
}
