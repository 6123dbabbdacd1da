//! ML-DSA (RFC 9881) from `mayfly init` to a leaf, over real TLS, and what others make of it: the test's
//! own TLS client verifies the chain at every connection, and OpenSSL (in Python's `cryptography`)
//! verifies it once more and reads the key files.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::acme::{Client, csr_for};
use crate::support::clients::installed;
use crate::support::process::{output, run};
use crate::support::server::{Server, binary, support_file};
use crate::support::web::Web;

#[test]
fn issuers_and_leaves_of_every_set() {
    let python = installed("py/bin/python");
    let kinds = [
        ("ml-dsa-87", "ml-dsa-44", &rcgen::PKCS_ML_DSA_65, "MLDSA65 MLDSA44 MLDSA87"),
        ("ml-dsa-44", "ml-dsa-65", &rcgen::PKCS_ML_DSA_87, "MLDSA87 MLDSA65 MLDSA44"),
        ("ml-dsa-65", "ml-dsa-87", &rcgen::PKCS_ML_DSA_44, "MLDSA44 MLDSA87 MLDSA65"),
    ];
    for (root, issuer, leaf, want) in kinds {
        let kinds = ["--root-key-type", root, "--key-type", issuer];
        let mut server = Server::init_with(&kinds, &[], |_| {});
        server.serve();
        let web = Web::start(server.http_port);
        let mut client = Client::registered(&server);
        let names = ["one.test", "127.0.0.1"];
        let order = client.order(&names).unwrap();
        client.authorize(&web, &order).unwrap();
        let key = rcgen::KeyPair::generate_for(leaf).unwrap();
        // A request signed with another key is none.
        let mut damaged = csr_for(&names, &key);
        *damaged.last_mut().unwrap() ^= 1;
        let no = client.finalize(&order, &damaged).map(drop).unwrap_err();
        assert_eq!(no.problem(), (400, "badCSR".to_owned()));
        let done = client.finalize(&order, &csr_for(&names, &key)).unwrap();
        let pem = client.fetch(done.certificate().unwrap()).unwrap().text();
        assert!(server.log().contains("key=\"ML-DSA-"), "{}", server.log());

        let chain = server.scratch("ml-dsa").join("chain.pem");
        fs::write(&chain, pem).unwrap();
        let mut verifier = Command::new(&python);
        verifier.arg("-W").arg("ignore").arg(support_file("ml_dsa.py")).arg(&chain).arg(server.root());
        let said = output(verifier.arg(server.dir().join("secrets/intermediate_ca_key")));
        assert_eq!(said.split_whitespace().collect::<Vec<_>>().join(" "), want);

        // The largest leaf of all is still there after a restart.
        server.stop();
        server.serve();
        let again = client.again().fetch(done.certificate().unwrap()).unwrap().text();
        assert_eq!(again, fs::read_to_string(&chain).unwrap());
    }
}

#[test]
fn kinds_of_keys_that_are_none_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.args(["init", "--name", "X", "--dns", "localhost", "--key-type", "ml-dsa-66", "--dir"]);
    command.arg(home.path().join("ca"));
    let ended = run(&mut command, &home.path().join("out"), Duration::from_secs(60));
    assert!(!ended.status.success() && ended.output.contains("ml-dsa-65"), "{}", ended.output);
    assert!(!home.path().join("ca").exists());
}
