//! One leaf through the core: draft, lint, sign; and the CSR before it.

use divan::{Bencher, black_box};
use mayfly::acme::identifier::Identifier;
use mayfly::authority::{approve, draft, lint, sign};
use mayfly::provisioner::own;
use mayfly::storage::Backend;
use mayfly::time::{Clock, SystemClock};
use mayfly::x509::csr::Csr;
use tokio::runtime::Runtime;

mod support;

fn main() {
    divan::main();
}

fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["host-1.example.internal".to_owned()]).expect("a name");
    params.serialize_request(&key).expect("a request").der().to_vec()
}

#[divan::bench]
fn csr_parse_and_verify(bencher: Bencher) {
    let csr = csr();
    bencher.bench(|| Csr::parse(black_box(&csr)).expect("a CSR"));
}

#[divan::bench]
fn draft_lint_sign(bencher: Bencher) {
    let home = tempfile::tempdir().expect("a directory");
    let service = Runtime::new().expect("a runtime").block_on(support::service(home.path(), Backend::Memory));
    let key = Csr::parse(&csr()).expect("a CSR").key().clone();
    let names = [Identifier::parse_dns("host-1.example.internal").expect("a name")];
    let (live, now) = (service.live(), SystemClock.now());
    let issuer = live.own.issuer();
    bencher.bench(|| {
        let grant = own::grant(issuer.realm().expect("a realm"), &names, key.clone());
        let drafted = draft::draft(grant, issuer, [7; 16], now).expect("a draft");
        let linted = lint::lint(drafted, issuer).expect("a clean draft");
        let (approved, _) = approve::approve(linted, None, now).expect("no policy");
        sign::sign(approved, issuer).expect("a certificate")
    });
}
