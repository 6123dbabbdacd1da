//! The openssl command line is a requirement of these tests: keys must pass between the two.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::entropy::{SeededEntropy, SystemEntropy};

struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
    /// Runs openssl in the directory; returns what it printed.
    fn openssl(&self, line: &str) -> Vec<u8> {
        let out = Command::new("openssl")
            .args(line.split_whitespace())
            .current_dir(self.0.path())
            .output()
            .expect("these tests need the openssl command");
        assert!(out.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }
    fn own(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }
}

fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

/// A signature of `key` verifies in openssl under the public key that openssl reads from `file`.
fn openssl_verifies(dir: &Dir, key: &FileKey, file: &str, passin: &str) {
    dir.openssl(&format!("pkey -in {file} {passin} -pubout -out pub.pem"));
    dir.write("tbs", b"to be signed");
    dir.write("sig", key.sign(b"to be signed").unwrap());
    let line = match key.algorithm() {
        SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::RsaPkcs1Sha256 => "-digest sha256",
        SignatureAlgorithm::EcdsaP384Sha384 => "-digest sha384",
        SignatureAlgorithm::Ed25519 => "",
        SignatureAlgorithm::MlDsa(_) => panic!("this openssl knows no ML-DSA"),
    };
    dir.openssl(&format!("pkeyutl -verify -pubin -inkey pub.pem -rawin {line} -in tbs -sigfile sig"));
}

/// The key inside the SubjectPublicKeyInfo that openssl prints ends it.
fn openssl_has_public(dir: &Dir, key: &FileKey, file: &str, passin: &str) {
    let der = dir.openssl(&format!("pkey -in {file} {passin} -pubout -outform DER"));
    let raw = match key.public_key().key() {
        PublicKey::EcP256(raw) | PublicKey::EcP384(raw) | PublicKey::Ed25519(raw) => raw.clone(),
        PublicKey::Rsa { n, e } => {
            assert_eq!(e, &[1, 0, 1]);
            // The exponent follows as INTEGER: tag, length, 65537.
            [n.as_slice(), &[2, 3, 1, 0, 1]].concat()
        }
        PublicKey::EcP521(_) | PublicKey::MlDsa(..) => panic!("not a kind that openssl reads here"),
    };
    assert!(der.ends_with(&raw));
}

#[test]
fn generated_keys_load_again_and_openssl_reads_them() {
    let dir = Dir::new();
    let secret = password("correct horse");
    for kind in [KeyKind::P256, KeyKind::P384] {
        for given in [None, Some(&secret)] {
            let name = format!("{kind:?}{}", given.is_some());
            let path = dir.path(&name);
            let made = FileKey::generate(&path, kind, given, &SystemEntropy::default()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
            let loaded = FileKey::load(&path, given).unwrap();
            assert_eq!(made.public_key(), loaded.public_key());
            assert_eq!(loaded.cost(), Cost::Quick);
            dir.write("pw", "correct horse\n");
            let passin = if given.is_some() { "-passin file:pw" } else { "" };
            openssl_verifies(&dir, &loaded, &name, passin);
            openssl_has_public(&dir, &loaded, &name, passin);
        }
    }
    let text = fs::read_to_string(dir.path("P256true")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    let shown = String::from_utf8(dir.openssl("asn1parse -in P256true")).unwrap();
    for want in ["PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc", ":0927C0"] {
        assert!(shown.contains(want), "{want} (0x0927C0 is 600000): {shown}");
    }
}

#[test]
fn keys_of_openssl_load() {
    let dir = Dir::new();
    let rows = [
        ("EC -pkeyopt ec_paramgen_curve:P-256", SignatureAlgorithm::EcdsaP256Sha256, Cost::Quick),
        ("EC -pkeyopt ec_paramgen_curve:P-384", SignatureAlgorithm::EcdsaP384Sha384, Cost::Quick),
        ("ED25519", SignatureAlgorithm::Ed25519, Cost::Quick),
        ("RSA -pkeyopt rsa_keygen_bits:2048", SignatureAlgorithm::RsaPkcs1Sha256, Cost::Slow),
        ("RSA -pkeyopt rsa_keygen_bits:3072", SignatureAlgorithm::RsaPkcs1Sha256, Cost::Slow),
    ];
    for (spec, algorithm, cost) in rows {
        dir.openssl(&format!("genpkey -algorithm {spec} -out plain"));
        let plain = FileKey::load(&dir.own("plain"), None).unwrap();
        assert_eq!((plain.algorithm(), plain.cost()), (algorithm, cost), "{spec}");
        openssl_verifies(&dir, &plain, "plain", "");
        openssl_has_public(&dir, &plain, "plain", "");

        dir.openssl("pkcs8 -topk8 -v2 aes-256-cbc -in plain -out enc -passout pass:tiger");
        let opened = FileKey::load(&dir.own("enc"), Some(&password("tiger"))).unwrap();
        assert_eq!(opened.public_key(), plain.public_key(), "{spec}");
    }
}

#[test]
fn encryption_schemes_of_openssl() {
    let dir = Dir::new();
    dir.openssl("genpkey -algorithm ED25519 -out plain");
    let plain = FileKey::load(&dir.own("plain"), None).unwrap();
    let good = [
        "-v2 aes-128-cbc",
        "-v2 aes-192-cbc",
        "-v2 aes-256-cbc",
        "-v2 aes-256-cbc -v2prf hmacWithSHA1",
        "-v2 aes-128-cbc -v2prf hmacWithSHA512",
        "-v2 aes-256-cbc -v2prf hmacWithSHA384 -iter 1",
    ];
    for scheme in good {
        dir.openssl(&format!("pkcs8 -topk8 {scheme} -in plain -out enc -passout pass:tiger"));
        let opened = FileKey::load(&dir.own("enc"), Some(&password("tiger"))).expect(scheme);
        assert_eq!(opened.public_key(), plain.public_key(), "{scheme}");
    }
    for (scheme, want) in [
        ("-scrypt", "scrypt"),
        ("-v2 des3", "1.2.840.113549.3.7"),
        ("-v2 aes-256-cbc -v2prf hmacWithSHA224", "PRF"),
        ("-v1 PBE-SHA1-3DES", "1.2.840.113549.1.12.1.3"),
    ] {
        dir.openssl(&format!("pkcs8 -topk8 {scheme} -in plain -out enc -passout pass:tiger"));
        let error = FileKey::load(&dir.own("enc"), Some(&password("tiger"))).unwrap_err();
        assert!(matches!(error, KeyFileError::UnsupportedEncryption { .. }), "{scheme}: {error}");
        let text = error.to_string();
        assert!(text.contains(want) && text.contains("openssl pkcs8 -topk8"), "{scheme}: {text}");
    }
}

#[test]
fn unsupported_kinds_say_what_they_are() {
    let dir = Dir::new();
    let rows = [
        ("EC -pkeyopt ec_paramgen_curve:secp256k1", "curve 1.3.132.0.10"),
        ("EC -pkeyopt ec_paramgen_curve:P-521", "curve 1.3.132.0.35"),
        ("RSA -pkeyopt rsa_keygen_bits:1024", "RSA of 1024 bits"),
        ("RSA -pkeyopt rsa_keygen_bits:4104", "RSA of 4104 bits"),
        ("RSA-PSS -pkeyopt rsa_keygen_bits:2048", "algorithm 1.2.840.113549.1.1.10"),
        ("X25519", "algorithm 1.3.101.110"),
    ];
    for (spec, want) in rows {
        dir.openssl(&format!("genpkey -algorithm {spec} -out key"));
        let error = FileKey::load(&dir.own("key"), None).unwrap_err();
        assert!(matches!(error, KeyFileError::UnsupportedKind { .. }), "{spec}: {error}");
        assert!(error.to_string().contains(want), "{spec}: {error}");
    }
    dir.openssl("ecparam -name prime256v1 -genkey -noout -out key");
    let error = FileKey::load(&dir.own("key"), None).unwrap_err().to_string();
    assert!(error.contains("EC PRIVATE KEY") && error.contains("-nocrypt"), "{error}");
}

#[test]
fn passwords() {
    let dir = Dir::new();
    let path = dir.path("key");
    let entropy = SeededEntropy::new(1);
    FileKey::generate(&path, KeyKind::P256, Some(&password("right")), &entropy).unwrap();
    assert!(matches!(FileKey::load(&path, None), Err(KeyFileError::NeedsPassword { .. })));
    for wrong in ["wrong", "Right", "right ", "righ"] {
        let error = FileKey::load(&path, Some(&password(wrong))).unwrap_err();
        assert!(matches!(error, KeyFileError::WrongPassword { .. }), "{wrong}: {error}");
    }
    // A plain key has no use for a password, and does not mind one.
    let plain = dir.path("plain");
    FileKey::generate(&plain, KeyKind::P256, None, &entropy).unwrap();
    assert!(FileKey::load(&plain, Some(&password("right"))).is_ok());
}

/// With one round a thousand wrong passwords are tried quickly: a few have fitting padding.
#[test]
fn a_wrong_password_is_never_anything_else() {
    let dir = Dir::new();
    dir.openssl("genpkey -algorithm ED25519 -out plain");
    dir.openssl("pkcs8 -topk8 -v2 aes-256-cbc -iter 1 -in plain -out enc -passout pass:tiger");
    let path = dir.own("enc");
    for n in 0..1000 {
        let error = FileKey::load(&path, Some(&password(&n.to_string()))).unwrap_err();
        assert!(matches!(error, KeyFileError::WrongPassword { .. }), "{n}: {error}");
    }
}

#[test]
fn password_files() {
    let dir = Dir::new();
    let key = dir.path("key");
    let long = "x".repeat(1025);
    let rows: &[(&str, bool)] = &[
        ("right", true),
        ("right\n", true),
        ("right\r\nsecond line\n", true),
        ("", false),
        ("\nright", false),
        (&long, false),
    ];
    FileKey::generate(&key, KeyKind::P256, Some(&password("right")), &SeededEntropy::new(2)).unwrap();
    for (text, good) in rows {
        let read = Password::read(&dir.write("pw", text));
        match (read, good) {
            (Ok(read), true) => assert!(FileKey::load(&key, Some(&read)).is_ok(), "{text:?}"),
            (Err(KeyFileError::BadPasswordFile { .. }), false) => {}
            (other, _) => panic!("{text:?}: {other:?}"),
        }
    }
    let open = dir.write("pw", "right");
    fs::set_permissions(&open, Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(Password::read(&open), Err(KeyFileError::TooOpen { mode: 0o604, .. })));
    assert!(matches!(Password::read(&dir.path("none")), Err(KeyFileError::Read { .. })));
    assert!(Password::new("").is_none());
}

#[test]
fn a_file_open_to_others_is_refused_with_the_remedy() {
    let dir = Dir::new();
    let path = dir.path("a key");
    FileKey::generate(&path, KeyKind::P256, None, &SeededEntropy::new(3)).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o644, 0o601, 0o620] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = FileKey::load(&path, None).unwrap_err();
        assert!(matches!(error, KeyFileError::TooOpen { .. }), "{mode:o}: {error}");
        assert!(error.to_string().contains(&format!("chmod 600 '{}'", path.display())), "{error}");
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(FileKey::load(&path, None).is_ok(), "{mode:o}");
    }
}

#[test]
fn nothing_is_overwritten() {
    let dir = Dir::new();
    let path = dir.write("key", "precious");
    let error = FileKey::generate(&path, KeyKind::P256, None, &SeededEntropy::new(4)).unwrap_err();
    assert!(matches!(error, KeyFileError::Write { .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

/// A flipped bit is an error, or the key is the same key; never a panic, never another key.
#[test]
fn flipped_bits() {
    let dir = Dir::new();
    for encrypted in [false, true] {
        let scheme = if encrypted { "-v2 aes-256-cbc -iter 1 -passout pass:tiger" } else { "-nocrypt" };
        dir.openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain");
        dir.openssl(&format!("pkcs8 -topk8 {scheme} -in plain -outform DER -out der"));
        let label = if encrypted { ENCRYPTED } else { PLAIN };
        let der = fs::read(dir.path("der")).unwrap();
        let secret = password("tiger");
        let load = |bytes: &[u8]| {
            let pem = pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, bytes).unwrap();
            FileKey::load(&dir.write("flipped", pem), Some(&secret))
        };
        let good = load(&der).unwrap();
        for bit in 0..der.len() * 8 {
            let mut bad = der.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // A flipped high bit of the iteration count would only cost time.
            if let Ok(key) = load(&bad) {
                assert_eq!(key.public_key(), good.public_key(), "bit {bit}");
            }
        }
        for length in 0..der.len() {
            assert!(load(&der[..length]).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    let dir = Dir::new();
    let key = FileKey::generate(&dir.path("key"), KeyKind::P384, None, &SeededEntropy::new(5)).unwrap();
    assert_eq!(format!("{key:?}"), "FileKey { algorithm: EcdsaP384Sha384, .. }");
    assert_eq!(format!("{:?}", password("hunter2")), "Password(…)");
}

/// A PrivateKeyInfo around the ML-DSA private key of RFC 9881 §6, which is a CHOICE.
fn ml_dsa_pkcs8(set: ParameterSet, choice: &[u8]) -> Vec<u8> {
    use crate::x509::der::{sequence, tlv};
    sequence(&[&[2, 1, 0], set.algorithm_der(), &tlv(0x04, &[choice])])
}

#[test]
fn ml_dsa_keys_in_each_form_of_rfc_9881() {
    use crate::x509::der::{sequence, tlv};
    use aws_lc_rs::encoding::AsRawBytes;
    let dir = Dir::new();
    let seed: Vec<u8> = (0..32).collect();
    let write = |name: &str, der: &[u8]| {
        let pem = pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, der).unwrap();
        dir.write(name, pem)
    };
    for set in ParameterSet::ALL {
        let pair = PqdsaKeyPair::from_seed(set.signing(), &seed).unwrap();
        let expanded = pair.private_key().as_raw_bytes().unwrap().as_ref().to_vec();
        let public = PublicKey::MlDsa(set, pair.public_key().as_ref().to_vec());
        let both = sequence(&[&tlv(0x04, &[&seed]), &tlv(0x04, &[&expanded])]);
        let forms = [tlv(0x80, &[&seed]), tlv(0x04, &[&expanded]), both];
        for (at, form) in forms.iter().enumerate() {
            let key = FileKey::load(&write("key", &ml_dsa_pkcs8(set, form)), None)
                .unwrap_or_else(|error| panic!("{set:?} form {at}: {error}"));
            assert_eq!(key.public_key().key(), &public, "{set:?} form {at}");
            assert_eq!((key.algorithm(), key.cost()), (SignatureAlgorithm::MlDsa(set), Cost::Quick));
        }
        // A seed and an expanded key that are two keys; a seed that is short; nothing.
        let other = PqdsaKeyPair::generate(set.signing()).unwrap();
        let other = other.private_key().as_raw_bytes().unwrap().as_ref().to_vec();
        let torn = sequence(&[&tlv(0x04, &[&seed]), &tlv(0x04, &[&other])]);
        for bad in [torn, tlv(0x80, &[&seed[1..]]), tlv(0x04, &[&expanded[1..]]), sequence(&[]), vec![]] {
            let error = FileKey::load(&write("key", &ml_dsa_pkcs8(set, &bad)), None).unwrap_err();
            assert!(matches!(error, KeyFileError::Malformed { .. }), "{set:?}: {error}");
        }
    }
}

#[test]
fn generated_ml_dsa_keys_load_again_sealed_or_not() {
    let dir = Dir::new();
    let secret = password("correct horse");
    for (name, kind) in KeyKind::TABLE {
        assert_eq!(KeyKind::parse(name), Ok(kind));
        let KeyKind::MlDsa(set) = kind else { continue };
        for given in [None, Some(&secret)] {
            let path = dir.path(&format!("{name}-{}", given.is_some()));
            let made = FileKey::generate(&path, kind, given, &SystemEntropy::default()).unwrap();
            let loaded = FileKey::load(&path, given).unwrap();
            assert_eq!(made.public_key(), loaded.public_key());
            let (one, two) = (loaded.sign(b"to be signed").unwrap(), made.sign(b"to be signed").unwrap());
            assert_ne!(one, two, "signatures are hedged");
            for signature in [one, two] {
                let parsed = made.public_key().parsed(set.verification()).unwrap();
                parsed.verify_sig(b"to be signed", &signature).unwrap();
                assert!(parsed.verify_sig(b"to be sighed", &signature).is_err());
            }
        }
    }
    assert!(KeyKind::parse("rsa").unwrap_err().contains("ml-dsa-65"));
}

/// The vectors of RFC 9881, appendix C; see testdata/ml_dsa.
#[test]
fn the_example_keys_of_rfc_9881() {
    let dir = Dir::new();
    let given = |name: &str| fs::read(Path::new("testdata/ml_dsa").join(name)).unwrap();
    for (name, set) in [("44", 0), ("65", 1), ("87", 2)].map(|(name, at)| (name, ParameterSet::ALL[at])) {
        let (label, public) = pem_rfc7468::decode_vec(&given(&format!("ml-dsa-{name}.pub.pem")))
            .map(|(label, der)| (label.to_owned(), der))
            .unwrap();
        assert_eq!(label, "PUBLIC KEY");
        for form in ["seed", "both"] {
            let file = dir.write("key", given(&format!("ml-dsa-{name}.{form}.pem")));
            let key = FileKey::load(&file, None).unwrap_or_else(|error| panic!("{name} {form}: {error}"));
            assert_eq!(key.algorithm(), SignatureAlgorithm::MlDsa(set));
            assert_eq!(key.public_key().der(), public, "{name} {form}");
        }
        assert_eq!(Spki::parse(&public).unwrap().der(), public);
    }
    for name in ["inconsistent", "inconsistent-tr"] {
        let file = dir.write("key", given(&format!("ml-dsa-44.{name}.pem")));
        let error = FileKey::load(&file, None).unwrap_err();
        assert!(matches!(error, KeyFileError::Malformed { .. }), "{name}: {error}");
    }
}

/// Our verifier on the example certificate of ML-DSA-65.
#[test]
fn the_example_certificate_of_rfc_9881() {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let dir = Dir::new();
    let given = |name: &str| fs::read(Path::new("testdata/ml_dsa").join(name)).unwrap();
    let certificate = |name: &str| crate::x509::pem::parse_certificates(&given(name)).unwrap().remove(0);
    let der = certificate("ml-dsa-65.crt");
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let spki = Spki::parse(parsed.public_key().raw).unwrap();
    let key = FileKey::load(&dir.write("key", given("ml-dsa-65.seed.pem")), None).unwrap();
    assert_eq!(&spki, key.public_key());
    let PublicKey::MlDsa(set, _) = spki.key() else { panic!("not ML-DSA") };
    let verifier = spki.parsed(set.verification()).unwrap();
    let (tbs, signature) = (parsed.tbs_certificate.as_ref(), parsed.signature_value.data.as_ref());
    verifier.verify_sig(tbs, signature).unwrap();
    assert!(verifier.verify_sig(&tbs[1..], signature).is_err());
}

/// Whoever reads a secret under its name, at whatever moment a writer is interrupted, finds all of it.
#[test]
fn a_secret_has_its_name_only_when_it_is_whole() {
    let dir = Dir::new();
    // So large that writing it takes a while.
    let secret = vec![b'x'; 8 << 20];
    let paths: Vec<PathBuf> = (0..8).map(|n| dir.path(&format!("{n}.key"))).collect();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| paths.iter().for_each(|path| write_secret(path, &secret).unwrap()));
        while !writer.is_finished() {
            for found in paths.iter().filter_map(|path| fs::metadata(path).ok()) {
                assert_eq!(found.len(), secret.len() as u64);
            }
        }
    });
    let refused = write_secret(&paths[0], b"another").unwrap_err();
    assert!(refused.to_string().contains("File exists"), "{refused}");
    std::os::unix::fs::symlink("nowhere", dir.path("link")).unwrap();
    assert!(write_secret(&dir.path("link"), b"x").is_err() && write_secret(&dir.path(".."), b"x").is_err());
    assert_eq!(fs::metadata(&paths[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let left = fs::read_dir(dir.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(
        left.filter(|name| name.to_string_lossy().starts_with('.')).count(),
        0,
        "nothing is left beside"
    );
}
