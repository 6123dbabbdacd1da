//! X, the unit that CPU figures of different machines are compared by: what the cryptography of one
//! full issuance costs here, in bare library calls.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED,
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey, UnparsedPublicKey,
};
use serde::Serialize;

use super::BenchError;

/// ECDSA verifications of requests in a full issuance.
const REQUESTS: f64 = 7.0;
/// Calls timed together: some half a millisecond, so that few are interrupted.
const BATCH: u32 = 8;
/// Bytes of a JWS signing input and of a CSR, about.
const MESSAGE: usize = 400;

/// Microseconds per call, with every CPU busy with the same, as under load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Unit {
    /// P-256 verification with a parsed key.
    pub verify_us: f64,
    /// P-256 verification with a key to be parsed, as a CSR's.
    pub csr_verify_us: f64,
    /// P-256 signature.
    pub sign_us: f64,
    /// X: 7 verifications, 1 of a CSR, 1 signature.
    pub x_us: f64,
}

/// The lower quartile of `count` batches, microseconds per call: what a call costs when nothing
/// interrupts it.
pub(super) fn time_of(count: usize, batch: u32, mut call: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..count.max(1))
        .map(|_| {
            let start = Instant::now();
            for _ in 0..batch {
                call();
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(batch)
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 4]
}

pub(super) fn failed(error: impl std::fmt::Debug) -> BenchError {
    BenchError::Crypto(format!("the cryptographic library failed: {error:?}"))
}

impl Unit {
    /// Measures on all CPUs at once, for about `length`; the mean of the CPUs.
    pub fn measure(length: Duration) -> Result<Self, BenchError> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let units: Result<Vec<Self>, BenchError> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..cpus).map(|_| scope.spawn(|| Self::of_one_cpu(length))).collect();
            tasks
                .into_iter()
                .map(|task| task.join().unwrap_or_else(|_| Err(failed("a thread ended"))))
                .collect()
        });
        Ok(Self::mean(&units?))
    }

    /// The mean of several measurements.
    pub fn mean(of: &[Self]) -> Self {
        let mean = |value: fn(&Self) -> f64| of.iter().map(value).sum::<f64>() / of.len().max(1) as f64;
        Self::from_parts(mean(|u| u.verify_us), mean(|u| u.csr_verify_us), mean(|u| u.sign_us))
    }

    fn from_parts(verify_us: f64, csr_verify_us: f64, sign_us: f64) -> Self {
        Self { verify_us, csr_verify_us, sign_us, x_us: REQUESTS * verify_us + csr_verify_us + sign_us }
    }

    fn of_one_cpu(length: Duration) -> Result<Self, BenchError> {
        let random = SystemRandom::new();
        let message = [0x5a; MESSAGE];
        let jws = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
        let jws_signature = jws.sign(&random, &message).map_err(failed)?;
        let parsed =
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, jws.public_key().as_ref()).map_err(failed)?;
        let issuer = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        let csr_signature = issuer.sign(&random, &message).map_err(failed)?;
        let point = issuer.public_key().as_ref().to_vec();

        let mut all_good = true;
        let mut verify = || all_good &= parsed.verify_sig(&message, jws_signature.as_ref()).is_ok();
        // How many batches fit; three kinds share the time, a signature taking a third of a verification.
        let probe = time_of(5, BATCH, &mut verify) * f64::from(BATCH);
        let batches = (length.as_secs_f64() * 1e6 / (probe * 2.4).max(1.0)) as usize;
        let verify_us = time_of(batches, BATCH, &mut verify);
        let csr_verify_us = time_of(batches, BATCH, || {
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &point);
            all_good &= key.verify(&message, csr_signature.as_ref()).is_ok();
        });
        let sign_us = time_of(batches, BATCH, || all_good &= issuer.sign(&random, &message).is_ok());
        if !all_good {
            return Err(failed("a signature did not verify"));
        }
        Ok(Self::from_parts(verify_us, csr_verify_us, sign_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x_is_the_sum_of_its_parts() {
        let unit = Unit::measure(Duration::from_millis(20)).unwrap();
        assert!(unit.verify_us > 1.0 && unit.sign_us > 1.0, "{unit:?}");
        let sum = 7.0 * unit.verify_us + unit.csr_verify_us + unit.sign_us;
        assert!((unit.x_us - sum).abs() < 1e-6);
        let twice = Unit::mean(&[unit, unit]);
        assert!((twice.x_us - unit.x_us).abs() < 1e-6);
    }
}
