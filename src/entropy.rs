//! The one door for randomness: everything else is handed bytes.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// A source of cryptographically secure random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `into` completely.
    fn fill(&self, into: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// `N` fresh bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

/// The generator of aws-lc-rs, seeded by the operating system.
#[derive(Debug, Default)]
pub struct SystemEntropy(SystemRandom);

impl Entropy for SystemEntropy {
    fn fill(&self, into: &mut [u8]) {
        // AWS-LC aborts the process itself when the system's entropy source fails, so an error
        // cannot be met here; going on without randomness would be the only worse choice.
        self.0.fill(into).expect("the system's entropy source works");
    }
}

/// A reproducible source for tests: SHA-256 in counter mode over a seed.
#[cfg(test)]
#[derive(Debug)]
pub struct SeededEntropy {
    seed: u64,
    counter: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl SeededEntropy {
    /// A source whose output depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self { seed, counter: std::sync::atomic::AtomicU64::new(0) }
    }
}

#[cfg(test)]
impl Entropy for SeededEntropy {
    fn fill(&self, into: &mut [u8]) {
        use aws_lc_rs::digest::{SHA256, digest};
        for chunk in into.chunks_mut(32) {
            let n = self.counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let mut input = self.seed.to_be_bytes().to_vec();
            input.extend(n.to_be_bytes());
            chunk.copy_from_slice(&digest(&SHA256, &input).as_ref()[..chunk.len()]);
        }
    }
}
