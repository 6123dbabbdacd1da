//! One ACME envelope: parse and verify, beside the bare signature it cannot be cheaper than.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use divan::{Bencher, black_box};
use mayfly::jose::base64url;
use mayfly::jose::jwk::Jwk;
use mayfly::jose::jws::Unverified;
use mayfly::x509::spki::PublicKey;

fn main() {
    divan::main();
}

struct Sample {
    body: Vec<u8>,
    key: Jwk,
    input: Vec<u8>,
    signature: Vec<u8>,
}

fn sample() -> Sample {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let key = Jwk::from_key(PublicKey::EcP256(pair.public_key().as_ref().to_vec())).expect("a JWK");
    let header = r#"{"alg":"ES256","kid":"https://localhost:9443/acme/acme/account/AAAAAAAAAAAAAAAAAAAAAA","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","url":"https://localhost:9443/acme/acme/new-order"}"#;
    let protected = base64url(header.as_bytes());
    let payload = base64url(br#"{"identifiers":[{"type":"dns","value":"host-1.example.internal"}]}"#);
    let input = format!("{protected}.{payload}").into_bytes();
    let signature = pair.sign(&SystemRandom::new(), &input).expect("a signature").as_ref().to_vec();
    let signed = base64url(&signature);
    let body = format!(r#"{{"protected":"{protected}","payload":"{payload}","signature":"{signed}"}}"#);
    Sample { body: body.into_bytes(), key, input, signature }
}

#[divan::bench]
fn envelope(bencher: Bencher) {
    let Sample { body, key, .. } = sample();
    bencher.bench(|| Unverified::parse(black_box(&body)).expect("a JWS").verify(&key).expect("it holds"));
}

#[divan::bench]
fn parse_only(bencher: Bencher) {
    let Sample { body, .. } = sample();
    bencher.bench(|| Unverified::parse(black_box(&body)).expect("a JWS"));
}

#[divan::bench]
fn bare_signature(bencher: Bencher) {
    let Sample { key, input, signature, .. } = sample();
    bencher.bench(|| key.verify(black_box(&input), black_box(&signature)));
}
