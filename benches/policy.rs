//! A verdict: reading a certificate, and holding it against policies short and long.

use divan::{Bencher, black_box};
use mayfly::policy::{Context, Facts, Policy, Who, document};
use mayfly::time::{Clock, SystemClock};

fn main() {
    divan::main();
}

fn certificate() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = ["host-1.web.example.internal".to_owned(), "host-2.web.example.internal".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    params.self_signed(&key).expect("a certificate").der().to_vec()
}

/// The sample, and a list as long as lists may be, of which no entry covers the names.
fn policy(kind: &str) -> Policy {
    let text = match kind {
        "sample" => include_str!("../config/policies/web.toml").to_owned(),
        _ => {
            let names: Vec<String> = (0..1024).map(|n| format!("\"*.team-{n}.example.internal\"")).collect();
            format!("[[allow]]\ndns = [{}]\n", names.join(", "))
        }
    };
    document::parse(&text, kind).expect("a policy")
}

#[divan::bench]
fn facts_of_certificate(bencher: Bencher) {
    let (der, now) = (certificate(), SystemClock.now());
    bencher.bench(|| Facts::of_certificate(black_box(&der), now).expect("facts"));
}

#[divan::bench(args = ["sample", "1024 names"])]
fn verdict(bencher: Bencher, kind: &str) {
    let (facts, policy) = (Facts::of_certificate(&certificate(), SystemClock.now()), policy(kind));
    let context = Context::new(SystemClock.now(), Who::Acme);
    bencher.bench(|| policy.judge(black_box(&facts), &context));
}
