//! Replay nonces (RFC 8555 §6.5) without a store.
//!
//! A nonce is a counter under a MAC; which counters have been used is a bitmap. The MAC key is
//! drawn at start, so nothing outlives the process: after a restart every old nonce is refused
//! (clients retry on badNonce), and a replay across a restart is impossible. Within the process
//! each nonce is redeemed exactly once. The bitmap covers the newest [`WINDOW`] nonces; only a
//! nonce older than that is refused unused.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{constant_time, hmac};

use crate::jose::{base64url, from_base64url};

const SEGMENT_BITS: u64 = 1 << 16;
const SEGMENTS: usize = 512;
/// Nonces that can be outstanding at once: 33 million, 4 MiB of bitmap when all are redeemed.
pub const WINDOW: u64 = SEGMENT_BITS * SEGMENTS as u64;

const TAG: usize = 16;

/// Issues and redeems nonces.
#[derive(Debug)]
pub struct Nonces {
    key: hmac::Key,
    next: AtomicU64,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    first_segment: u64,
    segments: VecDeque<Box<[u64]>>,
}

impl Nonces {
    /// A fresh series under a fresh key.
    pub fn new(key: [u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            next: AtomicU64::new(0),
            used: Mutex::new(Used { first_segment: 0, segments: VecDeque::new() }),
        }
    }

    /// The next nonce, 32 base64url characters.
    pub fn issue(&self) -> String {
        let counter = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let tag = hmac::sign(&self.key, &counter);
        let mut nonce = [0; 8 + TAG];
        nonce[..8].copy_from_slice(&counter);
        nonce[8..].copy_from_slice(&tag.as_ref()[..TAG]);
        base64url(&nonce)
    }

    /// How many were issued.
    pub fn issued(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Uses a nonce up; false if it is not ours, too old, or used before.
    #[must_use]
    pub fn redeem(&self, nonce: &str) -> bool {
        if nonce.len() != (8 + TAG) / 3 * 4 {
            return false;
        }
        let Some(bytes) = from_base64url(nonce) else { return false };
        let (counter, tag) = bytes.split_at(8);
        let expected = hmac::sign(&self.key, counter);
        if constant_time::verify_slices_are_equal(tag, &expected.as_ref()[..TAG]).is_err() {
            return false;
        }
        let mut wide = [0; 8];
        wide.copy_from_slice(counter);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.mark(u64::from_be_bytes(wide))
    }
}

impl Used {
    /// Marks a counter; false if it was marked before or has left the window.
    fn mark(&mut self, counter: u64) -> bool {
        let (segment, bit) = (counter / SEGMENT_BITS, counter % SEGMENT_BITS);
        let Some(mut index) = segment.checked_sub(self.first_segment) else { return false };
        while index >= SEGMENTS as u64 {
            self.segments.pop_front();
            self.first_segment += 1;
            index -= 1;
        }
        let index = index as usize;
        while self.segments.len() <= index {
            self.segments.push_back(vec![0; (SEGMENT_BITS / 64) as usize].into_boxed_slice());
        }
        let word = &mut self.segments[index][(bit / 64) as usize];
        let fresh = *word & (1 << (bit % 64)) == 0;
        *word |= 1 << (bit % 64);
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redeemed_exactly_once_even_concurrently() {
        let nonces = Nonces::new([7; 32]);
        for _ in 0..200 {
            let nonce = nonces.issue();
            let wins: usize = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| nonces.redeem(&nonce))).collect();
                tries.into_iter().map(|t| t.join().unwrap() as usize).sum()
            });
            assert_eq!(wins, 1);
        }
    }

    #[test]
    fn any_order_within_the_window() {
        let nonces = Nonces::new([7; 32]);
        let issued: Vec<_> = (0..200_000).map(|_| nonces.issue()).collect();
        assert!(issued.iter().rev().all(|nonce| nonces.redeem(nonce)));
        assert!(issued.iter().all(|nonce| !nonces.redeem(nonce)));
    }

    #[test]
    fn forged_foreign_and_malformed_are_refused() {
        let nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue();
        assert!(!Nonces::new([8; 32]).redeem(&nonce), "another process's key");
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(!nonces.redeem(std::str::from_utf8(&forged).unwrap()), "byte {at}");
        }
        for bad in ["", "A", &nonce[1..], &format!("{nonce}A"), &"é".repeat(16)] {
            assert!(!nonces.redeem(bad));
        }
        assert!(nonces.redeem(&nonce));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let nonces = Nonces::new([7; 32]);
        let (old, kept) = (nonces.issue(), {
            nonces.next.store(SEGMENT_BITS * 2, Ordering::Relaxed);
            nonces.issue()
        });
        nonces.next.store(WINDOW + SEGMENT_BITS, Ordering::Relaxed);
        assert!(nonces.redeem(&nonces.issue()));
        assert!(!nonces.redeem(&old));
        assert!(nonces.redeem(&kept));
        assert!(nonces.used.lock().unwrap().segments.len() <= SEGMENTS);
    }
}
