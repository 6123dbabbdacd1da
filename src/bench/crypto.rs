//! This machine's bare cryptography, and what the issuing core adds to it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, VerificationAlgorithm,
};
use serde::Serialize;

use super::BenchError;
use super::machine::{Unit, failed, time_of};
use crate::acme::identifier::Identifier;
use crate::authority::ca::CaSpec;
use crate::authority::issuer::Issuer;
use crate::authority::realm::Realm;
use crate::authority::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::authority::{approve, draft, lint, sign};
use crate::client::csr::CertificateKey;
use crate::client::key::{AccountKey, KeyKind, Sender};
use crate::entropy::{Entropy, SystemEntropy};
use crate::jose::jws::{KeyRef, Unverified};
use crate::provisioner::{ceremony, own};
use crate::time::{Clock, SystemClock, Timestamp};
use crate::x509::csr::Csr;
use crate::x509::spki::{PublicKey, Spki};

const MESSAGE: [u8; 400] = [0x5a; 400];
/// Lifetime of the issuer made for the measurement.
const DAY: Duration = Duration::from_secs(86_400);

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What.
    pub operation: &'static str,
    /// Microseconds per call on one otherwise idle CPU.
    pub us: f64,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// One per operation.
    pub rows: Vec<Row>,
    /// With every CPU busy.
    pub unit: Unit,
}

/// Measures every operation for about `each`.
pub fn run(each: Duration) -> Result<Figures, BenchError> {
    let mut bench = Bench { each, rows: Vec::new() };
    bench.ecdsa(["P-256 sign", "P-256 verify"], &ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1)?;
    bench.ecdsa(["P-384 sign", "P-384 verify"], &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1)?;
    bench.ed25519()?;
    bench.rsa()?;
    bench.requests()?;
    bench.leaf()?;
    Ok(Figures { rows: bench.rows, unit: Unit::measure(each * 2)? })
}

struct Bench {
    each: Duration,
    rows: Vec<Row>,
}

impl Bench {
    fn row(&mut self, operation: &'static str, mut call: impl FnMut() -> bool) -> Result<(), BenchError> {
        let mut good = true;
        let mut call = || good &= call();
        let probe = time_of(5, 1, &mut call).max(0.1);
        let batch = ((500.0 / probe) as u32).max(1);
        let batches = (self.each.as_secs_f64() * 1e6 / (probe * f64::from(batch))) as usize;
        let us = time_of(batches, batch, &mut call);
        self.rows.push(Row { operation, us });
        if good { Ok(()) } else { Err(failed(operation)) }
    }

    fn verify(
        &mut self,
        name: &'static str,
        algorithm: &'static dyn VerificationAlgorithm,
        key: &[u8],
        signature: &[u8],
    ) -> Result<(), BenchError> {
        let key = ParsedPublicKey::new(algorithm, key).map_err(failed)?;
        self.row(name, || key.verify_sig(&MESSAGE, signature).is_ok())
    }

    fn ecdsa(
        &mut self,
        names: [&'static str; 2],
        signing: &'static EcdsaSigningAlgorithm,
        verification: &'static dyn VerificationAlgorithm,
    ) -> Result<(), BenchError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate(signing).map_err(failed)?;
        self.row(names[0], || pair.sign(&random, &MESSAGE).is_ok())?;
        let signature = pair.sign(&random, &MESSAGE).map_err(failed)?;
        self.verify(names[1], verification, pair.public_key().as_ref(), signature.as_ref())
    }

    fn ed25519(&mut self) -> Result<(), BenchError> {
        let pair = Ed25519KeyPair::generate().map_err(failed)?;
        self.row("Ed25519 sign", || !pair.sign(&MESSAGE).as_ref().is_empty())?;
        let signature = pair.sign(&MESSAGE);
        self.verify("Ed25519 verify", &ED25519, pair.public_key().as_ref(), signature.as_ref())
    }

    fn rsa(&mut self) -> Result<(), BenchError> {
        let random = SystemRandom::new();
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let mut signature = vec![0; pair.public_modulus_len()];
        self.row("RSA-2048 sign", || {
            pair.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature).is_ok()
        })?;
        let public = pair.public_key().as_ref();
        self.verify("RSA-2048 verify", &RSA_PKCS1_2048_8192_SHA256, public, &signature)
    }

    /// A request's JWS and a CSR, by the server's own readers.
    fn requests(&mut self) -> Result<(), BenchError> {
        let key = AccountKey::generate(KeyKind::P256)?;
        let body = key.jws(Sender::Key, "nonce", "https://ca.test/new-account", "{}")?;
        let KeyRef::Jwk(jwk) = Unverified::parse(body.as_bytes()).map_err(failed)?.key else {
            return Err(failed("jwk"));
        };
        let jwk = jwk.parse().map_err(failed)?;
        let kid = Sender::Account("https://ca.test/acme/acme/account/AAAAAAAAAAAAAAAAAAAAAA");
        let body = key.jws(kid, "nonce", "https://ca.test/new-order", &"x".repeat(300))?;
        self.row("JWS ES256 parse", || Unverified::parse(body.as_bytes()).is_ok())?;
        self.row("JWS ES256 parse and verify", || {
            Unverified::parse(body.as_bytes()).is_ok_and(|jws| jws.verify(&jwk).is_some())
        })?;
        let csr = CertificateKey::generate(KeyKind::P256)?.request(&["a.bench.test".to_owned()])?;
        self.row("CSR P-256 parse and verify", || Csr::parse(&csr).is_ok())
    }

    /// A leaf by the issuing core.
    fn leaf(&mut self) -> Result<(), BenchError> {
        let (clock, entropy) = (SystemClock, SystemEntropy::default());
        let now = clock.now();
        let issuer = issuer(now, &entropy)?;
        let names = [Identifier::parse_dns("a.bench.test").map_err(failed)?];
        let subject = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        let subject = Spki::from_key(PublicKey::EcP256(subject.public_key().as_ref().to_vec()));
        let random: &dyn Entropy = &entropy;
        let drafted = || {
            draft::draft(own::grant(&Realm::default(), &names, subject.clone()), &issuer, random.bytes(), now)
                .map_err(failed)
        };
        self.row("leaf: draft", || drafted().is_ok())?;
        self.row("leaf: draft and lint", || drafted().is_ok_and(|draft| lint::lint(draft, &issuer).is_ok()))?;
        self.row("leaf: draft, lint and sign P-256", || {
            let linted = drafted().and_then(|draft| lint::lint(draft, &issuer).map_err(failed));
            let approved = linted.and_then(|linted| approved(linted, now));
            approved.is_ok_and(|approved| sign::sign(approved, &issuer).is_ok())
        })
    }
}

/// A key in memory, for the measurement only.
struct MemoryKey(EcdsaKeyPair, Spki);

impl Signer for MemoryKey {
    fn public_key(&self) -> &Spki {
        &self.1
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn cost(&self) -> Cost {
        Cost::Quick
    }
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&SystemRandom::new(), tbs);
        Ok(signature.map_err(|error| SignError(error.to_string()))?.as_ref().to_vec())
    }
}

/// As it is where there is no policy.
pub(super) fn approved(linted: lint::Linted, now: Timestamp) -> Result<approve::Approved, BenchError> {
    let approved = approve::approve(linted, None, now);
    approved.map(|(approved, _)| approved).map_err(|refused| failed(format!("{:?}", refused.0.reasons)))
}

/// A self-signed issuer of a day.
pub(super) fn issuer(now: Timestamp, entropy: &dyn Entropy) -> Result<Issuer, BenchError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let spki = Spki::from_key(PublicKey::EcP256(pair.public_key().as_ref().to_vec()));
    let signer: Arc<dyn Signer> = Arc::new(MemoryKey(pair, spki.clone()));
    let begin = (now - draft::BACKDATE).whole_seconds();
    let end = (now + DAY * 2).whole_seconds();
    let spec = CaSpec::root("Bench Root CA").map_err(failed)?;
    let founding = Issuer::founding(&spec.subject, begin, end, signer.clone());
    let grant = ceremony::root(spec, spki, DAY * 2);
    let drafted = draft::draft(grant, &founding, entropy.bytes(), now).map_err(failed)?;
    let linted = lint::lint(drafted, &founding).map_err(failed)?;
    let root = sign::sign(approved(linted, now)?, &founding).map_err(failed)?;
    let issuer = Issuer::new(root.der, &[], signer).map_err(failed)?;
    Ok(issuer.of_realm(Arc::new(Realm::default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_measured() {
        let figures = run(Duration::from_millis(2)).unwrap();
        assert_eq!(figures.rows.len(), 14);
        assert!(figures.rows.iter().all(|row| row.us > 0.0), "{figures:?}");
    }
}
