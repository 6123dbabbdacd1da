use std::path::Path;

use proptest::prelude::*;
use rcgen::SigningKey;

use super::super::der::{bit_string, sequence, tlv};
use super::*;
use crate::authority::policy::{self, KeyRefusal};
use crate::x509::weak::Weakness;

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/csrs");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "der"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn names(csr: &Csr) -> String {
    let names = csr.names().iter().map(|name| match name {
        RequestedName::Dns(text) => text.clone(),
        RequestedName::Ip(ip) => ip.to_string(),
        RequestedName::Permanent(text) => text.clone(),
    });
    names.collect::<Vec<_>>().join(" ")
}

/// The verdict on every file of the corpus: the key's label and the names, or the error.
#[test]
fn verdicts() {
    use CsrError::*;
    const A: &str = "a.test";
    type Row<'a> = (&'a str, Result<(&'a str, &'a str), CsrError>);
    let rows: &[Row<'_>] = &[
        ("attributes", Ok(("P-256", A))),
        ("ca-false", Ok(("P-256", A))),
        ("ca-true", Err(AsksForCa)),
        ("cn-empty-no-san", Err(NoNames)),
        ("cn-in-san", Ok(("P-256", A))),
        ("cn-ip-only", Ok(("P-256", "10.0.0.1"))),
        // Whether it is among the names is for the order to say.
        ("cn-not-in-san", Ok(("P-256", A))),
        ("cn-only", Ok(("P-256", A))),
        ("cn-two", Err(Repeated("commonName"))),
        ("cn-utf8", Ok(("P-256", A))),
        ("ed25519", Ok(("Ed25519", A))),
        ("ed448", Err(Key(SpkiError::Unsupported))),
        // CVE-2026-40097: nothing is in there to be looked at.
        ("aki-empty", Ok(("P-256", A))),
        ("eku-empty", Ok(("P-256", A))),
        ("key-usage-empty", Err(Malformed)),
        ("must-staple", Ok(("P-256", A))),
        ("names-dns-ip", Ok(("P-256", "*.b.test a.test 10.0.0.1 2001:db8::1"))),
        ("no-names", Err(NoNames)),
        ("p224", Err(Key(SpkiError::Unsupported))),
        ("p256", Ok(("P-256", A))),
        ("p256-compressed-point", Err(Key(SpkiError::Invalid))),
        ("p256-explicit-parameters", Err(Key(SpkiError::Unsupported))),
        ("p256-sha1", Err(SignatureAlgorithm)),
        ("p256-sha224", Err(SignatureAlgorithm)),
        ("p256-sha512", Ok(("P-256", A))),
        ("p384", Ok(("P-384", A))),
        ("p521", Ok(("P-521", A))),
        // Size and exponent are policy: below.
        ("rsa-1024", Ok(("RSA-1024", A))),
        ("rsa-2048", Ok(("RSA-2048", A))),
        ("rsa-2048-e3", Ok(("RSA-2048", A))),
        ("rsa-2048-md5", Err(SignatureAlgorithm)),
        ("rsa-2048-pss-signature", Err(SignatureAlgorithm)),
        ("rsa-2048-sha1", Err(SignatureAlgorithm)),
        ("rsa-2048-sha384", Ok(("RSA-2048", A))),
        ("rsa-2048-sha512", Ok(("RSA-2048", A))),
        ("rsa-pss-key", Err(Key(SpkiError::Unsupported))),
        ("san-dirname", Err(NameKind("directoryName"))),
        ("san-email", Err(NameKind("rfc822Name"))),
        ("san-empty", Err(NoNames)),
        ("san-ip-5-octets", Err(Malformed)),
        ("san-othername", Err(NameKind("otherName"))),
        ("san-registered-id", Err(NameKind("registeredID"))),
        ("san-uri", Err(NameKind("uniformResourceIdentifier"))),
        ("secp256k1", Err(Key(SpkiError::Unsupported))),
        ("wishes", Ok(("P-256", A))),
    ];
    let corpus = corpus();
    assert_eq!(corpus.len(), rows.len(), "every file has a verdict");
    for (name, want) in rows {
        let (_, der) = corpus.iter().find(|(file, _)| file == name).expect(name);
        let got = Csr::parse(der);
        if let Ok(csr) = &got {
            assert_eq!(csr.der(), der);
        }
        let got = got.map(|csr| (csr.key().key().label(), names(&csr)));
        assert_eq!(got, want.clone().map(|(key, names)| (key.to_owned(), names.to_owned())), "{name}");
    }
}

#[test]
fn keys_of_the_corpus_meet_the_policy_or_not() {
    let refused = |name: &str| match name {
        "rsa-1024" => Err(KeyRefusal::RsaSize(1024)),
        "rsa-2048-e3" => Err(KeyRefusal::Weak(Weakness::Exponent)),
        _ => Ok(()),
    };
    for (name, der) in corpus() {
        let Ok(csr) = Csr::parse(&der) else { continue };
        assert_eq!(policy::check_key(csr.key().key()), refused(&name), "{name}");
    }
}

#[test]
fn common_names() {
    let of = |wanted: &str| {
        let (_, der) = corpus().into_iter().find(|(name, _)| name == wanted).unwrap();
        Csr::parse(&der).unwrap().common_name()
    };
    let dns = |text: &str| Some(RequestedName::Dns(text.into()));
    assert_eq!(of("p256"), None);
    assert_eq!(of("cn-only"), dns("a.test"));
    assert_eq!(of("cn-not-in-san"), dns("my server"));
    assert_eq!(of("cn-utf8"), dns("bücher.test"));
    assert_eq!(of("cn-ip-only"), Some(RequestedName::Ip("10.0.0.1".parse().unwrap())));
}

/// One encoding only: whatever is changed in a good request, it is a good request no more.
#[test]
fn no_changed_bit_verifies_and_none_panics() {
    for name in ["p256", "p521", "ed25519", "rsa-2048", "names-dns-ip", "attributes"] {
        let (_, mut der) = corpus().into_iter().find(|(file, _)| file == name).unwrap();
        assert!(Csr::parse(&der).is_ok());
        for at in 0..der.len() {
            for bit in 0..8 {
                der[at] ^= 1 << bit;
                assert!(Csr::parse(&der).is_err(), "{name}: byte {at} of {}, bit {bit}", der.len());
                der[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn cut_and_lengthened_requests_are_refused() {
    for (name, der) in corpus() {
        for end in 0..der.len() {
            assert!(Csr::parse(&der[..end]).is_err(), "{name}: cut to {end}");
        }
        for more in [&[0][..], &[5, 0], b"\n"] {
            assert_eq!(Csr::parse(&[&der, more].concat()).map(drop), Err(CsrError::Malformed), "{name}");
        }
    }
}

/// OBJECT IDENTIFIER extensionRequest, subjectAltName, basicConstraints.
const EXTENSION_REQUEST: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
const SAN: &[u8] = &[6, 3, 0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[6, 3, 0x55, 0x1d, 19];

fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[oid, &tlv(4, &[value])])
}

fn san(name: &str) -> Vec<u8> {
    extension(SAN, &sequence(&[&tlv(0x82, &[name.as_bytes()])]))
}

fn requested(extensions: &[&[u8]]) -> Vec<u8> {
    sequence(&[EXTENSION_REQUEST, &tlv(0x31, &[&sequence(extensions)])])
}

/// A signed request: `attributes` as given, `after` behind them inside the signed part.
fn crafted(attributes: &[&[u8]], after: &[u8]) -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    let info = sequence(&[&[2, 1, 0], &[0x30, 0], &spki, &tlv(0xa0, attributes), after]);
    let signature = key.sign(&info).unwrap();
    sequence(&[&info, &sequence(&[&tlv(6, &[ECDSA_SHA256])]), &bit_string(&signature)])
}

#[test]
fn odd_structures_under_a_good_signature() {
    use CsrError::*;
    let a = requested(&[&san("a.test")]);
    let b = requested(&[&san("b.test")]);
    let empty = sequence(&[]);
    let two_values = sequence(&[
        EXTENSION_REQUEST,
        &tlv(0x31, &[&sequence(&[&san("a.test")]), &sequence(&[&san("b.test")])]),
    ]);
    type Row = (&'static str, Vec<Vec<u8>>, Result<&'static str, CsrError>);
    let rows: Vec<Row> = vec![
        ("plain", vec![a.clone()], Ok("a.test")),
        ("nothing", vec![], Err(NoNames)),
        ("two extensionRequests", vec![a.clone(), b], Err(Repeated("extensionRequest"))),
        ("the same twice", vec![a.clone(), a.clone()], Err(Repeated("extensionRequest"))),
        ("two values in one attribute", vec![two_values], Err(Malformed)),
        ("two SANs", vec![requested(&[&san("a.test"), &san("b.test")])], Err(Repeated("extension"))),
        ("no extensions", vec![requested(&[])], Err(NoNames)),
        ("an empty attribute", vec![empty.clone(), a.clone()], Err(Malformed)),
        ("an empty SET", vec![sequence(&[EXTENSION_REQUEST, &tlv(0x31, &[])])], Err(Malformed)),
        ("an empty extension", vec![requested(&[&empty, &san("a.test")])], Err(Malformed)),
        ("an empty SAN value", vec![requested(&[&extension(SAN, &[])])], Err(Malformed)),
        ("an empty dNSName", vec![requested(&[&san("")])], Ok("")),
        (
            "an empty basicConstraints",
            vec![requested(&[&extension(BASIC_CONSTRAINTS, &empty), &san("a.test")])],
            Ok("a.test"),
        ),
        (
            "basicConstraints without a value",
            vec![requested(&[&extension(BASIC_CONSTRAINTS, &[]), &san("a.test")])],
            Err(Malformed),
        ),
        ("NUL in a name", vec![requested(&[&san("a.test\0.evil")])], Ok("a.test\0.evil")),
        (
            "bytes behind the SAN's value",
            vec![requested(&[&extension(
                SAN,
                &[sequence(&[&tlv(0x82, &[b"a.test"])]), vec![5, 0]].concat(),
            )])],
            Err(Malformed),
        ),
    ];
    for (what, attributes, want) in rows {
        let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
        let got = Csr::parse(&crafted(&attributes, &[])).map(|csr| names(&csr));
        assert_eq!(got, want.map(str::to_owned), "{what}");
    }
    assert!(Csr::parse(&crafted(&[&a], &[5, 0])).is_err(), "bytes inside the signed part");
}

#[test]
fn what_rcgen_writes_is_read() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(["A.test".into(), "2001:db8::1".into()]).unwrap();
        let csr = Csr::parse(params.serialize_request(&key).unwrap().der()).unwrap();
        assert_eq!(names(&csr), "a.test 2001:db8::1");
        assert_eq!(csr.key().der(), rcgen::PublicKeyData::subject_public_key_info(&key));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(Csr::parse(&bytes).is_err());
    }

    /// Well-formed on the outside, random inside, under a good signature.
    #[test]
    fn random_attributes_never_panic(junk in prop::collection::vec(any::<u8>(), 0..60), whole: bool) {
        let attribute = if whole { requested(&[&junk]) } else { junk };
        let _ = Csr::parse(&crafted(&[&attribute], &[]));
    }

    #[test]
    fn random_extension_values_never_panic(last in 9u8..50, value in prop::collection::vec(any::<u8>(), 0..40)) {
        let odd = extension(&[6, 3, 0x55, 0x1d, last], &value);
        let _ = Csr::parse(&crafted(&[&requested(&[&odd, &san("a.test")])], &[]));
    }
}

/// PermanentIdentifier is read for orders of devices only, and only whole.
#[test]
fn names_of_devices() {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = |san: Option<Vec<u8>>, common_name: Option<&str>| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(text) = common_name {
            params.distinguished_name.push(rcgen::DnType::CommonName, text);
        }
        params.custom_extensions = san
            .map(|san| rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], san))
            .into_iter()
            .collect();
        params.serialize_request(&key).unwrap().der().to_vec()
    };
    let named = |text: &str| permanent::general_name(text).unwrap();
    let permanent = |text: &str| RequestedName::Permanent(text.into());
    let dns = tlv_dns("A.test");
    let good: [(Vec<u8>, Vec<RequestedName>); 3] = [
        (made(Some(der::sequence(&[&named("ABC")])), None), vec![permanent("ABC")]),
        (
            made(Some(der::sequence(&[&named("ABC/1.2.3"), &dns])), Some("ABC")),
            vec![RequestedName::Dns("a.test".into()), permanent("ABC/1.2.3")],
        ),
        // No names: the order's. A common name is none by itself.
        (made(None, Some("ABC")), vec![]),
    ];
    for (der, want) in good {
        let csr = Csr::parse_for_device(&der).unwrap();
        assert_eq!(csr.names().iter().cloned().collect::<Vec<_>>(), want);
        let as_host = Csr::parse(&der);
        match want.is_empty() {
            true => assert_eq!(as_host.unwrap().names().len(), 1),
            false => assert_eq!(as_host, Err(CsrError::NameKind("otherName"))),
        }
    }
    assert_eq!(Csr::parse(&made(None, None)), Err(CsrError::NoNames));
    assert!(Csr::parse_for_device(&made(None, None)).unwrap().names().is_empty());
    // A user principal name, and a PermanentIdentifier without a value.
    let upn = der::tlv(0xa0, &[&[6, 3, 0x2a, 3, 4], &der::tlv(0xa0, &[&[0x0c, 1, b'A']])]);
    let oid = der::tlv(0x06, &[permanent::PERMANENT_IDENTIFIER]);
    let empty = der::tlv(0xa0, &[&oid, &der::tlv(0xa0, &[&der::sequence(&[])])]);
    for (name, want) in [(upn, CsrError::NameKind("otherName")), (empty, CsrError::NameMalformed)] {
        assert_eq!(Csr::parse_for_device(&made(Some(der::sequence(&[&name])), None)), Err(want));
    }
}

fn tlv_dns(name: &str) -> Vec<u8> {
    der::tlv(0x82, &[name.as_bytes()])
}
