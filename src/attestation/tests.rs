use ciborium::Value;
use proptest::prelude::*;
use rcgen::{KeyPair, PublicKeyData};

use super::samples::*;
use super::*;
use crate::attestation::tpm::TPM_DETAILS;

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZw";
const KEY_AUTHORIZATION: &str = "evaGxfADs6pSRb2LAv9IZw.LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";
const DEVICE: &str = "C02XG0FDH05Q";
const ASK: Ask<'static> = Ask { token: TOKEN, key_authorization: KEY_AUTHORIZATION, device: DEVICE };

fn policy(root: &Authority) -> Policy {
    let formats = vec![Format::Tpm, Format::Apple, Format::AndroidKey];
    Policy { formats, roots: vec![root.der.clone()], devices: Vec::new() }
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/testdata/attestation/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a software TPM made (testdata/attestation/README.md), under certificates of the test's own.
fn tpm_vector(folder: &str) -> ([Vec<u8>; 3], Vec<u8>) {
    let part = |name: &str| vector(&format!("{folder}/{name}"));
    assert_eq!(part("key-authorization.txt"), KEY_AUTHORIZATION.as_bytes());
    ([part("cert-info.bin"), part("pub-area.bin"), part("sig.bin")], part("ak-spki.der"))
}

#[test]
fn statements_of_a_tpm() {
    let root = Authority::new("TPM Root");
    let middle = root.below("TPM Intermediate");
    for (folder, algorithm) in [("tpm-ec", -7), ("tpm-rsa", -257)] {
        let (parts, ak) = tpm_vector(folder);
        let ak = middle.ak(&ak, Some(DEVICE), |_| ());
        let object = tpm_object(algorithm, parts.clone(), &[&ak, &middle.der]);
        let attested = verify(&object, &ASK, &policy(&root), NOW).unwrap();
        assert_eq!(attested.key.der(), vector(&format!("{folder}/key-spki.der")), "{folder}");
        assert_eq!(attested.format, Format::Tpm);
        // The root may come along.
        let whole = tpm_object(algorithm, parts.clone(), &[&ak, &middle.der, &root.der]);
        assert_eq!(verify(&whole, &ASK, &policy(&root), NOW), Ok(attested));
        // Made for another challenge or account.
        let other = Ask { key_authorization: &KEY_AUTHORIZATION[1..], ..ASK };
        assert_eq!(verify(&object, &other, &policy(&root), NOW), Err(Refused::Freshness));
        // No bit of what the TPM signed, or of the key, can be changed.
        for part in 0..3 {
            for at in 0..parts[part].len() {
                let mut changed = parts.clone();
                changed[part][at] ^= 0x10;
                let changed = tpm_object(algorithm, changed, &[&ak, &middle.der]);
                assert!(verify(&changed, &ASK, &policy(&root), NOW).is_err(), "{folder}: {part}, byte {at}");
            }
            let mut cut = parts.clone();
            for end in 0..parts[part].len() {
                cut[part] = parts[part][..end].to_vec();
                assert!(
                    verify(
                        &tpm_object(algorithm, cut.clone(), &[&ak, &middle.der]),
                        &ASK,
                        &policy(&root),
                        NOW
                    )
                    .is_err()
                );
            }
            let mut longer = parts.clone();
            longer[part].push(0);
            assert!(
                verify(&tpm_object(algorithm, longer, &[&ak, &middle.der]), &ASK, &policy(&root), NOW)
                    .is_err()
            );
        }
    }
    // A key that may leave the TPM: the TPM says so itself.
    let (parts, ak) = tpm_vector("tpm-exportable");
    let ak = root.ak(&ak, Some(DEVICE), |_| ());
    let refused = verify(&tpm_object(-7, parts, &[&ak]), &ASK, &policy(&root), NOW).unwrap_err();
    assert!(matches!(refused, Refused::KeyProperty(_)), "{refused}");
}

#[test]
fn certificates_of_attestation_keys() {
    let (root, tpm, leaf) = (Authority::new("Root"), Tpm::new(), key());
    let spki = tpm.ak.subject_public_key_info();
    let parts = tpm.certify(&leaf, &hash(KEY_AUTHORIZATION.as_bytes()));
    let of = |ak: &[u8]| verify(&tpm_object(-7, parts.clone(), &[ak]), &ASK, &policy(&root), NOW);
    let refused = |ak: &[u8]| of(ak).expect_err("refused").to_string();
    let good = root.ak(&spki, Some(DEVICE), |_| ());
    assert_eq!(of(&good).unwrap().key.der(), leaf.subject_public_key_info());
    // (What is wrong, the certificate, words of the refusal.)
    let change = |change: &dyn Fn(&mut rcgen::CertificateParams)| root.ak(&spki, Some(DEVICE), |p| change(p));
    let empty_eku = || extension(&[0x55, 0x1d, 37], vec![0x30, 0]);
    let rows = [
        ("no EKU", change(&|p| p.extended_key_usages.clear()), "tcg-kp-AIKCertificate"),
        (
            "another EKU",
            change(&|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]),
            "tcg-kp-AIKCertificate",
        ),
        (
            "an EKU without a purpose",
            change(&|p| {
                p.extended_key_usages.clear();
                p.custom_extensions.push(empty_eku());
            }),
            "x5c",
        ),
        (
            "a subject",
            change(&|p| p.distinguished_name.push(rcgen::DnType::CommonName, "ak")),
            "has a subject",
        ),
        (
            "a CA",
            change(&|p| p.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
            "do not verify",
        ),
        (
            "expired",
            change(&|p| p.not_after = Timestamp::from_secs(NOW.as_secs() - 1).to_utc()),
            "do not verify",
        ),
        (
            "not valid yet",
            change(&|p| p.not_before = Timestamp::from_secs(NOW.as_secs() + 1).to_utc()),
            "do not verify",
        ),
        ("no subjectAltName", change(&|p| p.custom_extensions.clear()), "has no subjectAltName"),
        (
            "no version of the TPM",
            change(&|p| p.custom_extensions = vec![ak_names(Some(DEVICE), &TPM_DETAILS[..2])]),
            "manufacturer, model and version",
        ),
        (
            "a critical extension unknown",
            change(&|p| {
                let mut unknown = extension(&[0x2a, 3, 4], vec![5, 0]);
                unknown.set_criticality(true);
                p.custom_extensions.push(unknown);
            }),
            "x5c",
        ),
        ("no device", root.ak(&spki, None, |_| ()), "does not name the device"),
        ("another device", root.ak(&spki, Some("C02XG0FDH05R"), |_| ()), "another device"),
        ("the device of an assigner", root.ak(&spki, Some("C02XG0FDH05Q/1.2.3"), |_| ()), "another device"),
        ("another root", Authority::new("Root").ak(&spki, Some(DEVICE), |_| ()), "do not verify"),
        ("another key", root.ak(&key().subject_public_key_info(), Some(DEVICE), |_| ()), "signature"),
        ("no certificate", vec![0x30, 0], "malformed"),
        ("a certificate and more", [&good[..], &[0]].concat(), "malformed"),
        ("half a certificate", good[..good.len() / 2].to_vec(), "malformed"),
    ];
    for (what, certificate, want) in rows {
        let got = refused(&certificate);
        assert!(got.contains(want), "{what}: {got}");
        assert!(!got.contains("C02XG0"), "{what}: nothing of the statement is told: {got}");
    }
    // An assigner counts.
    let assigned = root.ak(&spki, Some("C02XG0FDH05Q/1.2.3"), |_| ());
    let ask = Ask { device: "C02XG0FDH05Q/1.2.3", ..ASK };
    assert!(verify(&tpm_object(-7, parts.clone(), &[&assigned]), &ask, &policy(&root), NOW).is_ok());
    // Later or earlier than everything.
    for now in [Timestamp::EPOCH, NOW + std::time::Duration::from_secs(90_000)] {
        let object = tpm_object(-7, parts.clone(), &[&good]);
        assert!(matches!(verify(&object, &ASK, &policy(&root), now), Err(Refused::Chain(_))));
    }
    // Nobody is trusted unless configured.
    let nobody = Policy { roots: Vec::new(), ..policy(&root) };
    assert!(matches!(verify(&tpm_object(-7, parts, &[&good]), &ASK, &nobody, NOW), Err(Refused::Chain(_))));
}

#[test]
fn what_a_tpm_must_have_signed() {
    let (root, leaf) = (Authority::new("Root"), key());
    let fresh = hash(KEY_AUTHORIZATION.as_bytes());
    let of = |tpm: &Tpm, extra: &[u8], algorithm: i64| {
        let ak = root.ak(&tpm.ak.subject_public_key_info(), Some(DEVICE), |_| ());
        let object = tpm_object(algorithm, tpm.certify(&leaf, extra), &[&ak]);
        verify(&object, &ASK, &policy(&root), NOW).map(|attested| attested.format)
    };
    let tpm = Tpm::new();
    assert_eq!(of(&tpm, &fresh, -7), Ok(Format::Tpm));
    for extra in [&[][..], &fresh[1..], &hash(TOKEN.as_bytes()), KEY_AUTHORIZATION.as_bytes()] {
        assert_eq!(of(&tpm, extra, -7), Err(Refused::Freshness));
    }
    // RS1, ES384, RS256, ES256K and none at all.
    for algorithm in [-65535, -35, -257, -47, 0] {
        assert_eq!(of(&tpm, &fresh, algorithm), Err(Refused::Algorithm), "{algorithm}");
    }
    // A quote (TPM_ST_ATTEST_QUOTE), and something that no TPM made.
    for head in [[0xff, 0x54, 0x43, 0x47, 0x80, 0x18], [0xff, 0x54, 0x43, 0x48, 0x80, 0x17]] {
        assert_eq!(of(&Tpm { head, ..Tpm::new() }, &fresh, -7), Err(Refused::NotCertified));
    }
    // Without fixedTPM, fixedParent, sensitiveDataOrigin, sign; and a restricted key.
    for attributes in [0x0004_0070, 0x0004_0062, 0x0004_0052, 0x0000_0072, 0x0005_0072, 0] {
        let refused = of(&Tpm { attributes, ..Tpm::new() }, &fresh, -7);
        assert!(matches!(refused, Err(Refused::KeyProperty(_))), "{attributes:x}: {refused:?}");
    }
    // A name by SHA-1.
    let refused = of(&Tpm { name_hash: 0x0004, ..Tpm::new() }, &fresh, -7);
    assert!(matches!(refused, Err(Refused::Structure(_))), "{refused:?}");
    // Another key's public area beside a good certification.
    let ak = root.ak(&tpm.ak.subject_public_key_info(), Some(DEVICE), |_| ());
    let [info, _, sig] = tpm.certify(&leaf, &fresh);
    let object = tpm_object(-7, [info, tpm.area(&key()), sig], &[&ak]);
    let refused = verify(&object, &ASK, &policy(&root), NOW);
    assert!(matches!(refused, Err(Refused::KeyProperty(why)) if why.contains("certInfo")), "{refused:?}");
}

#[test]
fn formats_and_members() {
    let (root, tpm, leaf) = (Authority::new("Root"), Tpm::new(), key());
    let ak = root.ak(&tpm.ak.subject_public_key_info(), Some(DEVICE), |_| ());
    let object_of = || tpm_object(-7, tpm.certify(&leaf, &hash(KEY_AUTHORIZATION.as_bytes())), &[&ak]);
    let only = |format| Policy { formats: vec![format], ..policy(&root) };
    assert!(verify(&object_of(), &ASK, &only(Format::Tpm), NOW).is_ok());
    assert_eq!(verify(&object_of(), &ASK, &only(Format::Apple), NOW), Err(Refused::Format));
    for format in ["packed", "none", "TPM", ""] {
        let other = object(format, vec![("x5c", x5c(&[&ak]))]);
        assert_eq!(verify(&other, &ASK, &policy(&root), NOW), Err(Refused::Format), "{format}");
    }
    // Each member, absent or of another type.
    let [info, area, sig] = tpm.certify(&leaf, &hash(KEY_AUTHORIZATION.as_bytes()));
    let members = vec![
        ("ver", "2.0".into()),
        ("alg", Value::from(-7)),
        ("x5c", x5c(&[&ak])),
        ("sig", Value::Bytes(sig)),
        ("certInfo", Value::Bytes(info)),
        ("pubArea", Value::Bytes(area)),
    ];
    assert!(verify(&object("tpm", members.clone()), &ASK, &policy(&root), NOW).is_ok());
    for at in 0..members.len() {
        let mut without = members.clone();
        let (name, _) = without.remove(at);
        let refused = verify(&object("tpm", without.clone()), &ASK, &policy(&root), NOW);
        assert!(matches!(refused, Err(Refused::Member(_))), "{name}: {refused:?}");
        for odd in [Value::Null, Value::Array(vec![]), Value::Bytes(vec![]), Value::from(u64::MAX)] {
            let odd = [&without[..], &[(name, odd)]].concat();
            assert!(verify(&object("tpm", odd), &ASK, &policy(&root), NOW).is_err(), "{name}");
        }
    }
    let many = vec![ak.as_slice(); 9];
    let refused = verify(&object("tpm", vec![("x5c", x5c(&many))]), &ASK, &policy(&root), NOW);
    assert!(matches!(refused, Err(Refused::Member(_))), "{refused:?}");
    for (format, name) in Format::TABLE {
        assert_eq!((format.name(), Format::parse(name)), (*name, Some(*format)));
    }
}

#[test]
fn statements_of_apple_devices() {
    let root = Authority::new("Apple Enterprise Attestation Root CA");
    let middle = root.below("Apple Enterprise Attestation Sub CA 1");
    let (leaf, udid) = (key(), "00008101-000A1D2E3C02001E");
    let spki = leaf.subject_public_key_info();
    let of = |values: [Option<&[u8]>; 3], device: &str| {
        let certificate = middle.apple(&spki, values);
        let object = object("apple", vec![("x5c", x5c(&[&certificate, &middle.der]))]);
        let ask = Ask { device, ..ASK };
        verify(&object, &ask, &policy(&root), NOW).map(|attested| attested.key.der().to_vec())
    };
    let (token, authorization) = (hash(TOKEN.as_bytes()), hash(KEY_AUTHORIZATION.as_bytes()));
    let (serial, id) = (Some(DEVICE.as_bytes()), Some(udid.as_bytes()));
    let rows = [
        ("by the token", [Some(&token[..]), serial, id], DEVICE, Ok(spki.clone())),
        ("by the key authorization", [Some(&authorization[..]), serial, None], DEVICE, Ok(spki.clone())),
        ("by UDID", [Some(&token[..]), serial, id], udid, Ok(spki.clone())),
        ("another device", [Some(&token[..]), serial, id], "C02XG0FDH05R", Err(Refused::OtherDevice)),
        ("of a user's own", [Some(&token[..]), None, None], DEVICE, Err(Refused::NoDevice)),
        ("another nonce", [Some(&token[1..]), serial, id], DEVICE, Err(Refused::Freshness)),
        ("the token itself", [Some(TOKEN.as_bytes()), serial, id], DEVICE, Err(Refused::Freshness)),
        ("no nonce", [None, serial, id], DEVICE, Err(Refused::Leaf("has no freshness code"))),
    ];
    for (what, values, device, want) in rows {
        assert_eq!(of(values, device), want, "{what}");
    }
    // A chain with a hole, of another root, and of a leaf alone.
    let certificate = middle.apple(&spki, [Some(&token), serial, id]);
    for chain in [&[&certificate[..]][..], &[&certificate, &Authority::new("Apple").der], &[&middle.der]] {
        let refused = verify(&object("apple", vec![("x5c", x5c(chain))]), &ASK, &policy(&root), NOW);
        assert!(matches!(refused, Err(Refused::Chain(_))), "{refused:?}");
    }
}

#[test]
fn statements_of_android_devices() {
    let root = Authority::new("Key Attestation CA1");
    let (middle, leaf) = (root.below("Droid CA2"), key());
    let spki = leaf.subject_public_key_info();
    let of = |description: &Description, signed: &str| {
        let certificate = middle.android(&spki, &description.der());
        let object = android_object(&leaf, signed.as_bytes(), &[&certificate, &middle.der]);
        verify(&object, &ASK, &policy(&root), NOW).map(|attested| attested.key.der().to_vec())
    };
    let good = || Description::good(hash(KEY_AUTHORIZATION.as_bytes()), Some(DEVICE));
    assert_eq!(of(&good(), KEY_AUTHORIZATION), Ok(spki.clone()));
    let raw = Description { challenge: KEY_AUTHORIZATION.as_bytes().to_vec(), ..good() };
    assert_eq!(of(&raw, KEY_AUTHORIZATION), Ok(spki.clone()));
    let strongbox = Description { level: 2, ..good() };
    assert_eq!(of(&strongbox, KEY_AUTHORIZATION), Ok(spki.clone()));
    assert_eq!(of(&good(), TOKEN), Err(Refused::Signature));
    let property = "the attested key";
    let rows = [
        ("in software", Description { level: 0, ..good() }, property),
        ("another challenge", Description { challenge: hash(TOKEN.as_bytes()), ..good() }, "this challenge"),
        ("imported", Description { origin: 2, ..good() }, property),
        ("for encryption", Description { purposes: vec![0, 1], ..good() }, property),
        ("for everybody", Description { all_applications: true, ..good() }, property),
        ("unlocked", Description { locked: 0, ..good() }, property),
        ("another system", Description { boot: 1, ..good() }, property),
        ("without ID attestation", Description { serial: None, ..good() }, "does not name"),
        ("an ID by software", Description { in_hardware: false, ..good() }, "does not name"),
        ("another device", Description { serial: Some("R5CT"), ..good() }, "another device"),
        ("no ID", Description { serial: Some(""), ..good() }, "malformed"),
    ];
    for (what, description, want) in rows {
        let got = of(&description, KEY_AUTHORIZATION).expect_err(what).to_string();
        assert!(got.contains(want), "{what}: {got}");
    }
    // Whatever is cut from or changed in the description: refused or accepted, never a panic.
    let der = good().der();
    for at in 0..der.len() {
        let mut changed = der.clone();
        changed[at] ^= 0x80;
        for description in [&der[..at], &changed] {
            let certificate = middle.android(&spki, description);
            let object = android_object(&leaf, KEY_AUTHORIZATION.as_bytes(), &[&certificate, &middle.der]);
            let result = verify(&object, &ASK, &policy(&root), NOW);
            assert!(description.len() == der.len() || result.is_err(), "cut to {at}");
        }
    }
}

/// Made by telephones for WebAuthn (testdata/attestation/README.md): there authData and
/// clientDataHash stand where ACME has the key authorization.
#[test]
fn android_statements_of_real_telephones() {
    // 2025-01-08 and 2026-04-26, when the chains were valid.
    for (name, at) in [("android-pixel-8a", 1_736_294_400), ("android-root-5", 1_777_161_600)] {
        let bytes = vector(&format!("{name}.cbor"));
        let hash = vector(&format!("{name}.client-data-hash"));
        let whole: Value = ciborium::from_reader(bytes.as_slice()).unwrap();
        let find = |(key, _): &&(Value, Value)| key.as_text() == Some("authData");
        let data = whole.as_map().unwrap().iter().find(find).unwrap().1.as_bytes().unwrap();
        let object = object::Object::parse(&bytes).unwrap();
        assert_eq!(object.format(), "android-key");
        let certificates = object.certificates().unwrap();
        let (root, now) = (certificates.last().unwrap().to_vec(), Timestamp::from_secs(at));
        let leaf = chain::verify(&certificates, std::slice::from_ref(&root), now).unwrap();
        let signed = [data, hash.as_slice()].concat();
        let evidence = android::check(&object, &leaf, &signed, &[&hash]).unwrap();
        assert_eq!(evidence.key, leaf.key);
        assert!(evidence.devices.is_empty(), "a browser gets no ID attestation");
        // Nothing of it holds for ACME, nor a day later, nor under another root.
        assert_eq!(android::check(&object, &leaf, &signed, &[&[0; 32]]).err(), Some(Refused::Freshness));
        assert_eq!(android::check(&object, &leaf, &hash, &[&hash]).err(), Some(Refused::Signature));
        let year = std::time::Duration::from_secs(86_400 * 365);
        assert!(chain::verify(&certificates, std::slice::from_ref(&root), now + year).is_err());
        assert!(chain::verify(&certificates, &[Authority::new("Root").der], now).is_err());
        let policy = Policy { formats: vec![Format::AndroidKey], roots: vec![root], devices: Vec::new() };
        assert_eq!(verify(&bytes, &ASK, &policy, now), Err(Refused::Signature));
    }
}

#[test]
fn roots_of_a_file() {
    use crate::x509::pem::certificate;
    let (one, two) = (Authority::new("One"), Authority::new("Two"));
    let text = certificate(&one.der) + &certificate(&two.der);
    assert_eq!(parse_roots(text.as_bytes()), Ok(vec![one.der.clone(), two.der]));
    assert_eq!(parse_roots(b""), Err(RootError::NotPem));
    let leaf = one.leaf(&key().subject_public_key_info(), |_| ());
    assert_eq!(parse_roots(certificate(&leaf).as_bytes()), Err(RootError::NotAnchor));
    assert_eq!(parse_roots(certificate(&[0x30, 0]).as_bytes()), Err(RootError::NotAnchor));
    assert_eq!(parse_roots(certificate(&one.der).repeat(65).as_bytes()), Err(RootError::TooMany));
}

proptest! {
    #[test]
    fn random_bytes_prove_nothing(bytes: Vec<u8>) {
        let policy = Policy { formats: vec![Format::Tpm], roots: Vec::new(), devices: Vec::new() };
        prop_assert!(verify(&bytes, &ASK, &policy, NOW).is_err());
        // Under a good beginning: {"fmt": "tpm", "attStmt": …
        let head = b"\xa2\x63fmt\x63tpm\x67attStmt";
        prop_assert!(verify(&[head, &bytes[..]].concat(), &ASK, &policy, NOW).is_err());
    }

    /// A real statement with some bytes gone bad.
    #[test]
    fn damaged_statements_never_panic(hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = vector("android-pixel-8a.cbor");
        for (at, byte) in hits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let policy = Policy { formats: vec![Format::AndroidKey], roots: Vec::new(), devices: Vec::new() };
        prop_assert!(verify(&bytes, &ASK, &policy, NOW).is_err());
    }
}
