use std::path::Path;
use std::process::Command;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::x509::pem;

const ALL: [&str; 5] = ["a.test", "*.b.test", "xn--bcher-kva.test", "10.0.0.1", "2001:db8::1"];

fn leaf_keys() -> [(&'static rcgen::SignatureAlgorithm, u16); 5] {
    [
        (&rcgen::PKCS_ECDSA_P256_SHA256, 0b001),
        (&rcgen::PKCS_ECDSA_P384_SHA384, 0b001),
        (&rcgen::PKCS_ECDSA_P521_SHA512, 0b001),
        (&rcgen::PKCS_ED25519, 0b001),
        (&rcgen::PKCS_RSA_SHA256, 0b101),
    ]
}

const SIGNERS: [SignatureAlgorithm; 4] = [
    SignatureAlgorithm::EcdsaP256Sha256,
    SignatureAlgorithm::EcdsaP384Sha384,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::RsaPkcs1Sha256,
];

/// Object identifier and criticality of every extension, sorted.
fn extensions(parsed: &X509Certificate<'_>) -> Vec<(String, bool)> {
    let mut found: Vec<_> = parsed.extensions().iter().map(|e| (e.oid.to_id_string(), e.critical)).collect();
    found.sort();
    found
}

fn owned(want: &[(&str, bool)]) -> Vec<(String, bool)> {
    want.iter().map(|(oid, critical)| ((*oid).to_owned(), *critical)).collect()
}

#[test]
fn a_leaf_field_by_field() {
    for algorithm in SIGNERS {
        let (_, issuer) = hierarchy(algorithm);
        for (kind, usage) in leaf_keys() {
            let key = key(kind);
            let issued = issue(Ask::new(&ALL).grant(&key, T0), &issuer, T0);
            let (rest, parsed) = X509Certificate::from_der(&issued.der).unwrap();
            assert!(rest.is_empty());
            assert_eq!(parsed.version().0, 2);
            assert_eq!(parsed.raw_serial(), issued.serial.as_bytes());
            assert!(parsed.raw_serial().len() == 19 && (1..0x80).contains(&parsed.raw_serial()[0]));
            assert_eq!(parsed.subject().as_raw(), [0x30, 0]);
            assert_eq!(parsed.issuer().as_raw(), issuer.subject());
            assert_eq!(parsed.issuer().to_string(), "CN=Test Intermediate CA");
            let secs = |at: Timestamp| i64::try_from(at.as_secs()).unwrap();
            assert_eq!(parsed.validity().not_before.timestamp(), secs(T0) - 60);
            assert_eq!(parsed.validity().not_after.timestamp(), secs(T0 + DAY));
            assert_eq!(parsed.public_key().raw, spki(&key).der());
            assert!(
                parsed.tbs_certificate.issuer_uid.is_none() && parsed.tbs_certificate.subject_uid.is_none()
            );
            let want = [
                ("2.5.29.14", false),
                ("2.5.29.15", true),
                ("2.5.29.17", true),
                ("2.5.29.19", true),
                ("2.5.29.35", false),
                ("2.5.29.37", false),
                ("2.5.29.56", false),
            ];
            assert_eq!(extensions(&parsed), owned(&want));
            let san = parsed.subject_alternative_name().unwrap().unwrap();
            let names: BTreeSet<Identifier> = san
                .value
                .general_names
                .iter()
                .map(|name| match name {
                    GeneralName::DNSName(text) => identifier(text),
                    GeneralName::IPAddress(octets) => Identifier::Ip(crate::x509::ip_of(octets).unwrap()),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(names, names_of(&issued));
            assert_eq!(names.len(), ALL.len());
            let constraints = parsed.basic_constraints().unwrap().unwrap().value;
            assert!(!constraints.ca && constraints.path_len_constraint.is_none());
            assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, usage);
            let extended = parsed.extended_key_usage().unwrap().unwrap().value;
            assert!(extended.server_auth && extended.client_auth && extended.other.is_empty());
            assert!(!(extended.any || extended.code_signing || extended.ocsp_signing));
            for extension in parsed.extensions() {
                match extension.parsed_extension() {
                    ParsedExtension::SubjectKeyIdentifier(id) => {
                        assert_eq!(id.0, super::super::issuer::key_identifier(&spki(&key)));
                    }
                    ParsedExtension::AuthorityKeyIdentifier(id) => {
                        assert_eq!(id.key_identifier.as_ref().unwrap().0, issuer.key_id());
                        assert!(id.authority_cert_issuer.is_none() && id.authority_cert_serial.is_none());
                    }
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_root_and_an_intermediate_field_by_field() {
    for algorithm in SIGNERS {
        let (root_der, issuer) = hierarchy(algorithm);
        let (_, root) = X509Certificate::from_der(&root_der).unwrap();
        let (_, intermediate) = X509Certificate::from_der(issuer.der()).unwrap();
        assert_eq!(root.subject().to_string(), "CN=Test Root CA");
        assert_eq!(root.subject().as_raw(), root.issuer().as_raw());
        assert_eq!(root.subject().as_raw(), intermediate.issuer().as_raw());
        assert_eq!(intermediate.subject().to_string(), "CN=Test Intermediate CA");
        for (parsed, path) in [(&root, None), (&intermediate, Some(0))] {
            let want = [("2.5.29.14", false), ("2.5.29.15", true), ("2.5.29.19", true), ("2.5.29.35", false)];
            assert_eq!(extensions(parsed), owned(&want));
            let constraints = parsed.basic_constraints().unwrap().unwrap().value;
            assert_eq!((constraints.ca, constraints.path_len_constraint), (true, path));
            // keyCertSign and cRLSign.
            assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 0b110_0000);
            assert!(parsed.raw_serial().len() == 19 && (1..0x80).contains(&parsed.raw_serial()[0]));
        }
    }
}

/// What clients built on rustls say.
#[test]
fn webpki_accepts_the_chain_for_its_names_only() {
    for algorithm in SIGNERS {
        let (root, issuer) = hierarchy(algorithm);
        let root = CertificateDer::from(root);
        let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
        let intermediates = [CertificateDer::from(issuer.der())];
        for (kind, _) in leaf_keys() {
            let issued = issue(Ask::new(&ALL).grant(&key(kind), T0), &issuer, T0);
            let der = CertificateDer::from(issued.der.as_slice());
            let leaf = webpki::EndEntityCert::try_from(&der).unwrap();
            let verify = |at: Timestamp, usage| {
                let at = UnixTime::since_unix_epoch(Duration::from_secs(at.as_secs()));
                let all = webpki::ALL_VERIFICATION_ALGS;
                leaf.verify_for_usage(all, &anchors, &intermediates, at, usage, None, None).map(drop)
            };
            let server = webpki::KeyUsage::server_auth;
            assert_eq!(verify(T0, server()), Ok(()), "{algorithm:?} {kind:?}");
            assert_eq!(verify(T0, webpki::KeyUsage::client_auth()), Ok(()));
            assert_eq!(verify(issued.not_before, server()), Ok(()));
            assert_eq!(verify(issued.not_after, server()), Ok(()));
            assert!(verify(issued.not_before - Duration::from_secs(1), server()).is_err());
            assert!(verify(issued.not_after + Duration::from_secs(1), server()).is_err());
            let rows = [
                ("a.test", true),
                ("A.TEST", true),
                ("x.b.test", true),
                ("b.test", false),
                ("y.x.b.test", false),
                ("x.a.test", false),
                ("10.0.0.1", true),
                ("10.0.0.2", false),
                ("2001:db8::1", true),
            ];
            for (name, want) in rows {
                let name = ServerName::try_from(name).unwrap();
                assert_eq!(leaf.verify_is_valid_for_subject_name(&name).is_ok(), want, "{name:?}");
            }
        }
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn openssl_accepts_the_chain_strictly() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, der: &[u8]| std::fs::write(folder.path().join(name), pem::certificate(der)).unwrap();
    for algorithm in SIGNERS {
        let (root, issuer) = hierarchy(algorithm);
        write("root.pem", &root);
        write("intermediate.pem", issuer.der());
        let now = T0.as_secs().to_string();
        let base = ["verify", "-x509_strict", "-check_ss_sig", "-attime", &now, "-CAfile", "root.pem"];
        let (good, text) = openssl(folder.path(), &[&base[..], &["intermediate.pem"]].concat());
        assert!(good, "{algorithm:?}: {text}");
        for (kind, usage) in leaf_keys() {
            let issued = issue(Ask::new(&ALL).grant(&key(kind), T0), &issuer, T0);
            write("leaf.pem", &issued.der);
            let chain = [&base[..], &["-untrusted", "intermediate.pem"]].concat();
            let rows: [(&[&str], bool); 8] = [
                (&["-purpose", "sslserver", "-verify_hostname", "a.test"], true),
                (&["-purpose", "sslclient", "-verify_hostname", "x.b.test"], true),
                (&["-purpose", "sslserver", "-verify_ip", "10.0.0.1"], true),
                (&["-purpose", "sslserver", "-verify_ip", "2001:db8::1"], true),
                (&["-verify_hostname", "b.test"], false),
                (&["-verify_ip", "10.0.0.2"], false),
                (&["-purpose", "smimesign"], false),
                // No CA by any means.
                (&["-purpose", "crlsign"], false),
            ];
            for (more, want) in rows {
                let (good, text) = openssl(folder.path(), &[&chain[..], more, &["leaf.pem"]].concat());
                assert_eq!(good, want, "{algorithm:?} {kind:?} {more:?}: {text}");
            }
            let (good, text) = openssl(folder.path(), &["x509", "-in", "leaf.pem", "-noout", "-text"]);
            assert!(good, "{text}");
            let usages = match usage {
                0b101 => "Digital Signature, Key Encipherment\n",
                _ => "Digital Signature\n",
            };
            let serial = issued.serial.to_string();
            let serial = serial.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
            for part in [
                "Version: 3 (0x2)",
                &format!("            {}\n", serial.collect::<Vec<_>>().join(":")),
                "Issuer: CN = Test Intermediate CA",
                "Subject: \n",
                "X509v3 Subject Alternative Name: critical",
                "DNS:a.test",
                "DNS:*.b.test",
                "IP Address:10.0.0.1",
                "IP Address:2001:DB8:0:0:0:0:0:1",
                "X509v3 Key Usage: critical",
                usages,
                "TLS Web Server Authentication, TLS Web Client Authentication\n",
                "CA:FALSE\n",
            ] {
                assert!(text.contains(part), "{part:?} is not in {text}");
            }
        }
        // An intermediate with path length 0 issues leaves only.
        let plain = Issuer::new(issuer.der().to_vec(), &[], issuer.signer().clone()).unwrap();
        let grant = ceremony::intermediate(CaSpec::issuing("Too Deep CA").unwrap(), spki(&p256()), DAY);
        let deep = super::super::lint::lint(draft(grant, &plain, [1; 16], T0).unwrap(), &plain);
        assert!(matches!(deep, Err(super::super::lint::LintError::Path(_))), "{deep:?}");
    }
}
