//! newOrder, challenge, finalize through the service verbs: everything but HTTP, JWS and the
//! network, over the store in memory (no sync) and over fjall (one sync for each of three commits).

use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use mayfly::acme::challenge::ChallengeKind;
use mayfly::acme::order::RawIdentifier;
use mayfly::jose::jwk::Jwk;
use mayfly::limits::Source;
use mayfly::service::account::NewAccount;
use mayfly::service::new_order::NewOrder;
use mayfly::storage::Backend;
use mayfly::x509::spki::{PublicKey, Spki};
use rcgen::PublicKeyData;
use tokio::runtime::Runtime;

mod support;

fn main() {
    divan::main();
}

#[divan::bench(args = ["memory", "fjall"])]
fn one_order(bencher: Bencher, engine: &str) {
    let backend = if engine == "fjall" { Backend::Fjall } else { Backend::Memory };
    let home = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::new().expect("a runtime");
    let service = runtime.block_on(support::service(home.path(), backend));
    let terms = service.provisioner("acme").expect("the provisioner");
    let pair = rcgen::KeyPair::generate().expect("a key");
    let spki = Spki::parse(&pair.subject_public_key_info()).expect("a key");
    let PublicKey::EcP256(point) = spki.key().clone() else { panic!("P-256 is the default") };
    let key = Jwk::from_key(PublicKey::EcP256(point)).expect("a JWK");
    let (known, _) =
        runtime.block_on(service.new_account(&terms, key, NewAccount::default())).expect("an account");
    let account = (known.account.id, known.thumbprint);
    // The rate is measured, not limited.
    let exempt = Source { exempt: true, ..Source::default() };
    let leaf_key = rcgen::KeyPair::generate().expect("a key");
    let next = AtomicU64::new(0);
    bencher.bench(|| {
        let name = format!("host-{}.example.internal", next.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async {
            let ask = NewOrder {
                identifiers: vec![RawIdentifier { kind: "dns".into(), value: name.clone(), ancestor: None }],
                from: exempt,
                ..NewOrder::default()
            };
            let order = service.new_order(&terms, &known, ask).await.expect("an order");
            let http = ChallengeKind::Http01;
            service.respond(&terms, account, order.id, 0, http, exempt).await.expect("a proof");
            let params = rcgen::CertificateParams::new([name]).expect("a name");
            let csr = params.serialize_request(&leaf_key).expect("a request");
            service.finalize(&terms, account.0, order.id, csr.der(), exempt).await.expect("a certificate")
        })
    });
}
