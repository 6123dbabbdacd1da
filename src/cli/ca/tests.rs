//! The commands, end to end in directories of their own; OpenSSL and webpki judge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cli::{Cli, CliError, run};
use crate::storage::{self, Backend, Table};
use crate::x509::pem;

fn mayfly(home: &Path, arguments: &str) -> Result<String, CliError> {
    // `{}` is the home directory; words with spaces are put in with `~`.
    let words = arguments.split_whitespace();
    let words = words.map(|word| word.replace("{}", home.to_str().unwrap()).replace('~', " "));
    let cli = Cli::try_parse_from(["mayfly".to_owned(), "ca".to_owned()].into_iter().chain(words));
    let cli = cli.unwrap_or_else(|error| panic!("{arguments}: {error}"));
    let mut out = Vec::new();
    run(cli, &mut out).map(|()| String::from_utf8(out).unwrap())
}

fn openssl(home: &Path, arguments: &str) -> (bool, String) {
    let output =
        Command::new("openssl").args(arguments.split_whitespace()).current_dir(home).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), text)
}

fn der(path: PathBuf) -> Vec<u8> {
    pem::parse_certificates(&fs::read(path).unwrap()).unwrap().remove(0)
}

/// How many certificates and audit events a directory's record has.
fn recorded(db: &Path) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = storage::open(Backend::Fjall, db).unwrap();
        let rows = async |table| store.scan(table, b"", None, 100).await.unwrap().len();
        let counted = (rows(Table::Certificates).await, rows(Table::Audit).await);
        store.close().await;
        counted
    })
}

fn webpki_anchors_chain(root: &[u8], intermediate: &[u8]) -> bool {
    // A CA is no end entity to webpki: its signature and name are looked at through the anchor.
    let root = CertificateDer::from(root);
    let (_, parsed) = X509Certificate::from_der(intermediate).unwrap();
    let (_, above) = X509Certificate::from_der(&root).unwrap();
    webpki::anchor_from_trusted_cert(&root).is_ok()
        && parsed.verify_signature(Some(above.public_key())).is_ok()
}

#[test]
fn an_offline_root_signs_an_intermediate_that_is_imported() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    for (kind, of) in [("p384", "p256"), ("ed25519", "ed25519"), ("p256", "p384"), ("rsa2048", "rsa2048")] {
        for dir in ["root", "ca"] {
            let _ = fs::remove_dir_all(home.join(dir));
        }
        let _ = fs::remove_file(home.join("signed.crt"));
        let made = mayfly(
            home,
            &format!("create-root --dir {{}}/root --name Example~Root --key-type {kind} --path-len 1"),
        );
        assert!(made.unwrap().contains("CN=Example Root"));
        let made = mayfly(home, &format!("create-intermediate --dir {{}}/ca --name Issuing --key-type {of}"));
        assert!(made.unwrap().contains("intermediate_ca.csr"));
        let (good, text) = openssl(home, "req -in ca/intermediate_ca.csr -verify -noout -text");
        assert!(good && text.contains("CA:TRUE") && text.contains("CN = Issuing"), "{text}");
        let signed = mayfly(
            home,
            "sign-intermediate --dir {}/root --csr {}/ca/intermediate_ca.csr --out {}/signed.crt --lifetime 30d \
             --permit-dns example.test --exclude-dns secret.example.test --permit-ip 10.0.0.0/8 \
             --exclude-ip ::/0 --permit-uri .example.test --permit-email example.test",
        )
        .unwrap();
        assert!(signed.contains("path length 0") && signed.contains("DNS secret.example.test"), "{signed}");
        let (good, text) = openssl(home, "verify -x509_strict -CAfile root/certs/root_ca.crt signed.crt");
        assert!(good, "{text}");
        let (_, text) = openssl(home, "x509 -in signed.crt -noout -text");
        for part in [
            "Name Constraints: critical",
            "DNS:example.test",
            "IP:10.0.0.0/255.0.0.0",
            "pathlen:0",
            "URI:.example.test",
            "email:example.test",
            "DNS:secret.example.test",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let imported = mayfly(
            home,
            "import-intermediate --dir {}/ca --certificate {}/signed.crt --root {}/root/certs/root_ca.crt",
        );
        assert!(imported.unwrap().contains("[authority]\n  root = \""));
        let (root, below) =
            (der(home.join("ca/certs/root_ca.crt")), der(home.join("ca/certs/intermediate_ca.crt")));
        assert_eq!(root, der(home.join("root/certs/root_ca.crt")));
        assert!(webpki_anchors_chain(&root, &below));
        assert_eq!(
            recorded(&home.join("root/db")),
            (2, 2),
            "the root and the intermediate, each with its event"
        );
        let said = mayfly(home, "inspect {}/ca/certs/intermediate_ca.crt").unwrap();
        assert!(said.contains("permitted") && said.contains("IP 10.0.0.0/8"), "{said}");
        assert!(mayfly(home, "inspect {}/ca/intermediate_ca.csr").unwrap().contains("CN=Issuing"));
    }
}

#[test]
fn a_plain_openssl_root_signs_our_request() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    mayfly(home, "create-intermediate --dir {}/ca --name Issuing").unwrap();
    fs::write(
        home.join("ca.cnf"),
        "[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
         subjectKeyIdentifier=hash\nnameConstraints=critical,permitted;DNS:example.test\n\
         [below]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
         [leaf]\nbasicConstraints=critical,CA:FALSE\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\
         [req]\ndistinguished_name=dn\n[dn]\n",
    )
    .unwrap();
    let steps = [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout root.key -out root.pem -days 30 \
         -subj /O=Other/CN=Plain -config ca.cnf -extensions root",
        "x509 -req -in ca/intermediate_ca.csr -CA root.pem -CAkey root.key -days 20 -extfile ca.cnf \
         -extensions below -out good.pem",
        "x509 -req -in ca/intermediate_ca.csr -CA root.pem -CAkey root.key -days 20 -extfile ca.cnf \
         -extensions leaf -out leaf.pem",
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout stranger.key -out stranger.pem \
         -days 30 -subj /CN=Stranger -config ca.cnf -extensions root",
    ];
    for step in steps {
        let (good, text) = openssl(home, step);
        assert!(good, "{text}");
    }
    let import = |rest: &str| mayfly(home, &format!("import-intermediate --dir {{}}/ca {rest}"));
    let refused = |rest: &str, words: &str| {
        let error = import(rest).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(
            !home.join("ca/certs/intermediate_ca.crt").exists()
                && !home.join("ca/certs/root_ca.crt").exists()
        );
    };
    refused("--certificate {}/good.pem", "--root");
    refused("--certificate {}/leaf.pem --root {}/root.pem", "may not sign certificates");
    refused("--certificate {}/good.pem --root {}/stranger.pem", "does not lead to the root");
    refused("--certificate {}/stranger.pem --root {}/root.pem", "does not belong");
    refused("--certificate {}/ca.cnf --root {}/root.pem", "holds no certificate");
    // With the root behind it, as some CAs hand it out.
    let both = [fs::read(home.join("good.pem")).unwrap(), fs::read(home.join("root.pem")).unwrap()].concat();
    fs::write(home.join("both.pem"), both).unwrap();
    import("--certificate {}/both.pem --root {}/root.pem").unwrap();
    assert_eq!(der(home.join("ca/certs/intermediate_ca.crt")), der(home.join("good.pem")));
    import("--certificate {}/good.pem").unwrap();
    // Signed once more: another certificate for the same key.
    let (good, text) = openssl(home, steps[1]);
    assert!(good, "{text}");
    let error = import("--certificate {}/good.pem").unwrap_err().to_string();
    assert!(error.contains("--replace"), "{error}");
    import("--certificate {}/good.pem --replace").unwrap();
    assert_eq!(der(home.join("ca/certs/intermediate_ca.crt")), der(home.join("good.pem")));
}

#[test]
fn one_step_and_deeper_and_across() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::write(home.join("password"), "correct horse\n").unwrap();
    std::process::Command::new("chmod").arg("600").arg(home.join("password")).status().unwrap();
    mayfly(home, "create-root --dir {}/old --name Old~Root --password-file {}/password").unwrap();
    mayfly(home, "create-root --dir {}/new --name New~Root --permit-dns example.test --key-type ed25519")
        .unwrap();
    let error =
        mayfly(home, "create-intermediate --dir {}/no --name N --root-dir {}/old").unwrap_err().to_string();
    assert!(error.contains("encrypted"), "{error}");
    assert!(!home.join("no").exists(), "nothing is left behind");
    mayfly(home, "create-intermediate --dir {}/ca --name One --root-dir {}/new --path-len 1").unwrap();
    // Below the intermediate, and no deeper than its path length; no names that it may not certify.
    mayfly(home, "create-intermediate --dir {}/deep --name Deep").unwrap();
    let sign = |rest: &str| {
        mayfly(
            home,
            &format!(
                "sign-intermediate --dir {{}}/ca --by intermediate --db {{}}/ca/db \
                      --csr {{}}/deep/intermediate_ca.csr --out {{}}/deep.crt {rest}"
            ),
        )
    };
    let rows = [("--path-len 1", "path length"), ("--permit-dns other.test", "outside the names")];
    for (rest, words) in rows {
        let error = sign(rest).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!home.join("deep.crt").exists());
    }
    sign("--permit-dns a.example.test").unwrap();
    mayfly(
        home,
        "import-intermediate --dir {}/deep --certificate {}/deep.crt --root {}/new/certs/root_ca.crt",
    )
    .unwrap();
    let verify = "verify -x509_strict -untrusted deep/certs/intermediate_ca.crt -CAfile";
    let (good, text) =
        openssl(home, &format!("{verify} new/certs/root_ca.crt deep/certs/intermediate_ca.crt"));
    assert!(good, "{text}");
    let error = sign("").unwrap_err().to_string();
    assert!(error.contains("is there already"), "{error}");

    // Who trusts the old root only, comes to the new hierarchy over the cross certificate.
    mayfly(
        home,
        "cross-sign --dir {}/old --password-file {}/password --certificate {}/new/certs/root_ca.crt --out {}/cross.crt",
    )
    .unwrap();
    let path = |more: &str| {
        openssl(
            home,
            &format!(
                "verify -x509_strict -no-CApath -no-CAstore -CAfile \
        old/certs/root_ca.crt {more} ca/certs/intermediate_ca.crt"
            ),
        )
    };
    assert!(!path("").0, "not without it");
    let (good, text) = path("-untrusted cross.crt");
    assert!(good, "{text}");
    let (cross, new) = (der(home.join("cross.crt")), der(home.join("new/certs/root_ca.crt")));
    let (_, cross) = X509Certificate::from_der(&cross).unwrap();
    let (_, new) = X509Certificate::from_der(&new).unwrap();
    assert_eq!(cross.subject().as_raw(), new.subject().as_raw());
    assert_eq!(cross.public_key().raw, new.public_key().raw);
    assert!(cross.validity().not_after.timestamp() <= new.validity().not_after.timestamp());
    let constraints = |of: &X509Certificate<'_>| {
        of.extensions().iter().find(|e| e.oid.as_bytes() == [0x55, 0x1d, 30]).unwrap().value.to_vec()
    };
    assert_eq!(constraints(&cross), constraints(&new));
    for (file, words) in [
        ("old/certs/root_ca.crt", "nothing to cross"),
        ("password", "holds no certificate"),
        ("ca/certs/none.crt", "No such file"),
    ] {
        let command = format!(
            "cross-sign --dir {{}}/old --password-file {{}}/password --certificate {{}}/{file} --out {{}}/no.crt"
        );
        let error = mayfly(home, &command).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(recorded(&home.join("old/db")), (2, 2));
}

#[test]
fn requests_of_other_things_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    mayfly(home, "create-root --dir {}/root --name Root").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = |file: &str, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::default();
        change(&mut params);
        let der = params.serialize_request(&key).unwrap().der().to_vec();
        fs::write(home.join(file), pem::certification_request(&der)).unwrap();
    };
    csr("names.csr", &|p| p.subject_alt_names = vec![rcgen::SanType::DnsName("a.test".try_into().unwrap())]);
    csr("empty.csr", &|p| p.distinguished_name = rcgen::DistinguishedName::new());
    csr("good.csr", &|p| p.distinguished_name.push(rcgen::DnType::OrganizationName, "Example"));
    let good = fs::read_to_string(home.join("good.csr")).unwrap();
    let (_, mut torn) = pem_rfc7468::decode_vec(good.as_bytes()).unwrap();
    *torn.last_mut().unwrap() ^= 1;
    fs::write(home.join("torn.csr"), torn).unwrap();
    fs::write(home.join("large.csr"), vec![b'-'; 300_000]).unwrap();
    let sign = |file: &str| {
        mayfly(home, &format!("sign-intermediate --dir {{}}/root --csr {{}}/{file} --out {{}}/{file}.crt"))
    };
    for (file, words) in [
        ("names.csr", "subjectAltName"),
        ("empty.csr", "subject is empty"),
        ("torn.csr", "signature"),
        ("large.csr", "larger than"),
        ("root/certs/root_ca.crt", "certification request"),
    ] {
        let error = sign(file).unwrap_err().to_string();
        assert!(error.contains(words), "{file}: {error}");
    }
    assert_eq!(recorded(&home.join("root/db")), (1, 1), "nothing was signed");
    sign("good.csr").unwrap();
    let (_, text) = openssl(home, "x509 -in good.csr.crt -noout -subject");
    assert!(text.contains("O = Example"), "{text}");
    let error = mayfly(home, "create-root --dir {}/root --name Other").unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
}

/// What stands beside the file, for whatever reason, is neither followed nor written over; a run that was
/// cut off between the two certificates is finished by the same command.
#[test]
fn certificates_are_put_in_place_past_what_lies_there() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    mayfly(home, "create-root --dir {}/root --name R").unwrap();
    mayfly(home, "create-intermediate --dir {}/ca --name I").unwrap();
    let victim = home.join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, home.join("i.crt.new")).unwrap();
    mayfly(home, "sign-intermediate --dir {}/root --csr {}/ca/intermediate_ca.csr --out {}/i.crt").unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

    // The root is there, the intermediate is not.
    fs::copy(home.join("root/certs/root_ca.crt"), home.join("ca/certs/root_ca.crt")).unwrap();
    let import = "import-intermediate --dir {}/ca --certificate {}/i.crt --root {}/root/certs/root_ca.crt";
    mayfly(home, import).unwrap();
    assert_eq!(der(home.join("ca/certs/intermediate_ca.crt")), der(home.join("i.crt")));
    // The new root is there, the old intermediate still is.
    mayfly(home, "create-root --dir {}/root2 --name R2").unwrap();
    mayfly(home, "sign-intermediate --dir {}/root2 --csr {}/ca/intermediate_ca.csr --out {}/i2.crt").unwrap();
    fs::copy(home.join("root2/certs/root_ca.crt"), home.join("ca/certs/root_ca.crt")).unwrap();
    let import = "import-intermediate --dir {}/ca --certificate {}/i2.crt --root {}/root2/certs/root_ca.crt";
    assert!(mayfly(home, import).unwrap_err().to_string().contains("--replace"));
    mayfly(home, &format!("{import} --replace")).unwrap();
    assert_eq!(der(home.join("ca/certs/intermediate_ca.crt")), der(home.join("i2.crt")));
    for dir in ["ca/certs", "."] {
        let left = fs::read_dir(home.join(dir)).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
        assert!(left.iter().all(|name| name == "i.crt.new"), "{left:?}");
    }
}

/// The help is a text of its own, and names every kind that is generated.
#[test]
fn the_help_names_every_kind_of_key() {
    for command in ["ca create-root", "ca create-intermediate", "init"] {
        let words = ["mayfly"].into_iter().chain(command.split(' ')).chain(["--help"]);
        let help = Cli::try_parse_from(words).unwrap_err().to_string();
        for (kind, _) in crate::keystore::file::KeyKind::TABLE {
            assert!(help.contains(kind), "{command}: {kind}");
        }
    }
}
