//! Certificates that name devices, with or without hosts.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::*;
use crate::authority::lint::lint;
use crate::provisioner::own;
use crate::x509::der::sequence;
use crate::x509::permanent;

fn device(text: &str) -> Identifier {
    Identifier::parse("permanent-identifier", text).unwrap()
}

#[test]
fn names_and_purposes() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let rows = [
        (vec![device("ABC")], false),
        (vec![device("ABC/1.2.840.113549"), device("Gerät")], false),
        (vec![identifier("a.test"), device("ABC"), identifier("10.0.0.1"), identifier("2001:db8::1")], true),
    ];
    for (names, server) in rows {
        let issued = issue(own::grant(&Realm::default(), &names, spki(&p256())), &issuer, T0);
        let (rest, parsed) = X509Certificate::from_der(&issued.der).unwrap();
        assert!(rest.is_empty());
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert_eq!((usage.client_auth, usage.server_auth, usage.other.len()), (true, server, 0));
        let san = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(san.critical);
        let devices: Vec<String> = san
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::OtherName(_, value) => permanent::parse_other_name(value),
                _ => None,
            })
            .collect();
        let wanted: Vec<String> =
            names.iter().filter(|name| name.is_device()).map(ToString::to_string).collect();
        assert_eq!((devices, san.value.general_names.len()), (wanted, names.len()));
    }
}

/// The gate reads the final bytes: a draft for another device, or with another purpose, ends there.
#[test]
fn the_lint_knows_devices() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let key = spki(&p256());
    let made = |names: &[Identifier]| {
        draft(own::grant(&Realm::default(), names, key.clone()), &issuer, [0xab; 16], T0).unwrap()
    };
    assert!(lint(made(&[device("ABC")]), &issuer).is_ok());
    for (drafted, granted) in [
        (vec![device("ABC")], vec![device("ABD")]),
        (vec![device("ABC")], vec![device("ABC/1.2.3")]),
        (vec![device("ABC")], vec![identifier("abc")]),
        (vec![identifier("abc")], vec![device("abc")]),
        (vec![device("ABC"), identifier("a.test")], vec![device("ABC")]),
        (vec![device("ABC")], vec![device("ABC"), identifier("a.test")]),
    ] {
        let wrong = Draft { grant: own::grant(&Realm::default(), &granted, key.clone()), ..made(&drafted) };
        assert!(lint(wrong, &issuer).is_err(), "{drafted:?} for {granted:?}");
    }
    // Another otherName (a user principal name) of the same length in its place.
    let good = made(&[device("ABC")]);
    let san = sequence(&[&permanent::general_name("ABC").unwrap()]);
    let at = good.unsigned.windows(san.len()).position(|window| window == san).unwrap();
    for offset in 0..san.len() {
        let mut changed = made(&[device("ABC")]);
        changed.unsigned[at + offset] ^= 1;
        assert!(lint(changed, &issuer).is_err(), "byte {offset}");
    }
}
