use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::x509::pem;

fn dns(text: &str) -> Subtree {
    Subtree::Dns(text.into())
}
fn net(text: &str) -> Subtree {
    Subtree::Ip(text.parse().unwrap())
}
fn uri(text: &str) -> Subtree {
    Subtree::Uri(text.into())
}
fn email(text: &str) -> Subtree {
    Subtree::Email(text.into())
}
fn cn(text: &str) -> Vec<u8> {
    super::super::subject::Subject::common_name(text).unwrap().der().to_vec()
}

/// One word per name: what it is follows from its look.
fn name(text: &str) -> Name<'_> {
    if let Ok(ip) = text.parse() {
        Name::Ip(ip)
    } else if text.contains("://") || text.starts_with("urn:") {
        Name::Uri(text)
    } else if text.contains('@') {
        Name::Email(text)
    } else {
        Name::Dns(text)
    }
}

#[test]
fn rfc_5280_by_the_table() {
    let allow = |subtree: Subtree| NameConstraints { permitted: vec![subtree], excluded: vec![] };
    let deny = |subtree: Subtree| NameConstraints { permitted: vec![], excluded: vec![subtree] };
    // Constraint, names that pass, names that do not.
    let rows: Vec<(NameConstraints, &[&str], &[&str])> = vec![
        (
            allow(dns("example.test")),
            &["example.test", "a.example.test", "A.B.EXAMPLE.test", "*.example.test", "10.0.0.1", "a@b.test"],
            &["test", "xexample.test", "example.test.org", "*.test", "other.test"],
        ),
        (allow(dns(".example.test")), &["a.example.test", "*.example.test"], &["example.test", "a.test"]),
        (allow(dns("")), &["a.test", "*.test"], &[]),
        (deny(dns("")), &["10.0.0.1", "a@b.test"], &["a.test", "*.test"]),
        (
            deny(dns("a.example.test")),
            // The wildcard one label above would stand for the excluded name.
            &["example.test", "b.example.test", "*.test", "xa.example.test", "*.b.example.test"],
            &["a.example.test", "x.a.example.test", "*.a.example.test", "*.example.test"],
        ),
        (deny(dns(".a.test")), &["b.test"], &["x.a.test", "*.a.test", "*.test"]),
        (
            allow(net("10.0.0.0/8")),
            &["10.0.0.0", "10.255.255.255", "a.test"],
            &["11.0.0.0", "9.255.255.255", "::1", "::a00:1"],
        ),
        (allow(net("2001:db8::/32")), &["2001:db8::1"], &["2001:db9::", "10.0.0.1"]),
        (deny(net("0.0.0.0/0")), &["::1", "a.test"], &["0.0.0.0", "255.255.255.255"]),
        (allow(net("0.0.0.0/0")), &["10.0.0.1"], &["::1"]),
        (deny(net("::/0")), &["10.0.0.1"], &["::", "ff::1"]),
        (allow(net("10.0.0.1/32")), &["10.0.0.1"], &["10.0.0.2"]),
        (
            allow(uri("host.test")),
            &["spiffe://host.test/a", "https://HOST.test:8443/x?y#z", "https://host.test", "a.test"],
            &[
                "spiffe://a.host.test/",
                "spiffe://test/",
                "urn:isbn:1",
                "https://10.0.0.1/",
                "https:///x",
                "https://host.test@evil.test/",
                "https://evil.test/@host.test",
                "https://user@host.test/",
                "https://[::1]/",
                "mailto://",
                "https://host.test:x/",
            ],
        ),
        (
            allow(uri(".host.test")),
            &["spiffe://a.host.test/", "spiffe://a.b.host.test"],
            &["spiffe://host.test/", "spiffe://xhost.test/"],
        ),
        (deny(uri("host.test")), &["spiffe://a.host.test"], &["spiffe://host.test/x", "urn:a:b"]),
        (deny(uri("")), &["a.test"], &["spiffe://host.test/x"]),
        (allow(uri("")), &[], &["spiffe://host.test/x"]),
        (
            allow(email("root@host.test")),
            &["root@HOST.test"],
            &["Root@host.test", "a@host.test", "root@a.host.test", "@host.test", "root@"],
        ),
        (allow(email("host.test")), &["a@host.test", "b@Host.test"], &["a@b.host.test", "a@test"]),
        (allow(email(".host.test")), &["a@b.host.test"], &["a@host.test"]),
        (deny(email(".host.test")), &["a@host.test"], &["a@b.host.test"]),
        (
            NameConstraints {
                permitted: vec![dns("example.test"), dns("other.test"), net("10.0.0.0/8")],
                excluded: vec![dns("secret.example.test"), net("10.1.0.0/16")],
            },
            &["example.test", "a.other.test", "10.0.0.1", "a@b.test", "spiffe://x/y"],
            &["secret.example.test", "x.secret.example.test", "10.1.0.1", "third.test", "::1"],
        ),
    ];
    for (constraints, good, bad) in rows {
        for text in good {
            assert_eq!(constraints.check(name(text)), Ok(()), "{text} {constraints:?}");
        }
        for text in bad {
            assert!(constraints.check(name(text)).is_err(), "{text} {constraints:?}");
        }
        assert_eq!(NameConstraints::parse(&constraints.encode()), Ok(constraints));
    }
}

#[test]
fn names_of_directories_and_of_unknown_forms() {
    let one = NameConstraints { permitted: vec![Subtree::Directory(cn("Example CA"))], excluded: vec![] };
    assert_eq!(one.check(Name::Directory(&cn("Example CA"))), Ok(()));
    assert_eq!(one.check(Name::Directory(&cn("EXAMPLE   ca"))), Ok(()), "RFC 5280 §7.1 folds");
    assert!(one.check(Name::Directory(&cn("Other CA"))).is_err());
    assert!(one.check(Name::Directory(b"junk")).is_err());
    let other = NameConstraints { permitted: vec![], excluded: vec![Subtree::Other(0)] };
    let violation = other.check(Name::Other(0)).unwrap_err();
    assert!(matches!(violation, Violation::Unprocessable(_)), "{violation}");
    assert_eq!(other.check(Name::Other(8)), Ok(()));
    assert_eq!(other.check(Name::Dns("a.test")), Ok(()));
}

#[test]
fn a_chain_is_as_narrow_as_all_of_it() {
    let mut chain = ChainConstraints::default();
    assert!(chain.is_empty() && chain.check(Name::Dns("a.test")).is_ok());
    chain.push(NameConstraints::default());
    assert!(chain.is_empty());
    chain.push(NameConstraints { permitted: vec![dns("a.test"), dns("b.test")], excluded: vec![] });
    chain.push(NameConstraints { permitted: vec![dns("test")], excluded: vec![dns("b.test")] });
    chain.push(NameConstraints { permitted: vec![net("10.0.0.0/8")], excluded: vec![] });
    let check = |text: &str| {
        let kind = if text.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        chain.check_identifier(&Identifier::parse(kind, text).unwrap()).is_ok()
    };
    assert!(check("x.a.test") && check("10.0.0.1") && check("*.a.test"));
    assert!(!check("b.test") && !check("c.test") && !check("*.test") && !check("11.0.0.1"));
    // Of subtrees that a CA below may permit.
    assert!(chain.check_subtree(&dns("x.a.test")).is_ok() && chain.check_subtree(&dns("c.test")).is_err());
    assert!(chain.check_subtree(&net("10.2.0.0/16")).is_ok());
    assert!(chain.check_subtree(&net("0.0.0.0/0")).is_err());
}

#[test]
fn malformed_extensions_are_refused() {
    let base = |tag: u8, content: &[u8]| sequence(&[&tlv(tag, &[content])]);
    let with = |list: u8, subtree: &[u8]| sequence(&[&tlv(list, &[subtree])]);
    let good = base(0x82, b"a.test");
    assert!(NameConstraints::parse(&with(0xa0, &good)).is_ok());
    let bad: Vec<Vec<u8>> = vec![
        vec![],
        b"junk".to_vec(),
        sequence(&[]),
        sequence(&[&tlv(0xa0, &[])]),
        with(0xa2, &good),
        with(0x80, &good),
        [with(0xa0, &good), vec![0]].concat(),
        sequence(&[&tlv(0xa1, &[&good]), &tlv(0xa0, &[&good])]),
        sequence(&[&tlv(0xa0, &[&good]), &tlv(0xa0, &[&good])]),
        with(0xa0, &tlv(0x82, &[b"a.test"])),
        // minimum and maximum.
        with(0xa0, &sequence(&[&tlv(0x82, &[b"a.test"]), &[0x80, 1, 0]])),
        with(0xa0, &sequence(&[&tlv(0x82, &[b"a.test"]), &[0x81, 1, 4]])),
        with(0xa0, &sequence(&[])),
        with(0xa0, &base(0x82, "ä.test".as_bytes())),
        with(0xa0, &base(0x02, b"a.test")),
        // A mask with a hole, one without an address, half an address.
        with(0xa0, &base(0x87, &[10, 0, 0, 0, 255, 0, 255, 0])),
        with(0xa0, &base(0x87, &[10, 0, 0, 0])),
        with(0xa0, &base(0x87, &[10, 0, 0, 0, 255, 0, 0])),
    ];
    for value in bad {
        assert_eq!(NameConstraints::parse(&value), Err(ConstraintsError), "{value:02x?}");
    }
}

const AT: u64 = 1_793_318_400;

/// A root, an intermediate with these constraints, and a maker of leaves below it that asks nobody.
struct Hierarchy {
    root: Vec<u8>,
    intermediate: Vec<u8>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

fn params(name: &str) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    let at = |secs| crate::time::Timestamp::from_secs(secs).to_utc();
    (params.not_before, params.not_after) = (at(AT - 1000), at(AT + 1000));
    params
}

fn hierarchy(constraints: &NameConstraints) -> Hierarchy {
    let (root_key, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let root = params("Root").self_signed(&root_key).unwrap().der().to_vec();
    let mut below = params("Below");
    let oid = [2, 5, 29, 30];
    let mut extension = rcgen::CustomExtension::from_oid_content(&oid, constraints.encode());
    extension.set_criticality(true);
    below.custom_extensions.push(extension);
    let above = rcgen::Issuer::new(params("Root"), root_key);
    let intermediate = below.signed_by(&key, &above).unwrap().der().to_vec();
    Hierarchy { root, intermediate, issuer: rcgen::Issuer::new(params("Below"), key) }
}

impl Hierarchy {
    fn leaf(&self, name: Name<'_>) -> Vec<u8> {
        let mut leaf = params("");
        leaf.distinguished_name = rcgen::DistinguishedName::new();
        leaf.is_ca = rcgen::IsCa::ExplicitNoCa;
        leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        leaf.subject_alt_names = vec![match name {
            Name::Dns(text) => rcgen::SanType::DnsName(text.try_into().unwrap()),
            Name::Email(text) => rcgen::SanType::Rfc822Name(text.try_into().unwrap()),
            Name::Uri(text) => rcgen::SanType::URI(text.try_into().unwrap()),
            Name::Ip(ip) => rcgen::SanType::IpAddress(ip),
            Name::Directory(_) | Name::Other(_) => panic!("not here"),
        }];
        leaf.signed_by(&rcgen::KeyPair::generate().unwrap(), &self.issuer).unwrap().der().to_vec()
    }

    fn webpki(&self, leaf: &[u8]) -> bool {
        let root = CertificateDer::from(self.root.as_slice());
        let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
        let intermediates = [CertificateDer::from(self.intermediate.as_slice())];
        let leaf = CertificateDer::from(leaf);
        let leaf = webpki::EndEntityCert::try_from(&leaf).unwrap();
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(AT)),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// What OpenSSL says of each leaf: one run for all.
    fn openssl(&self, folder: &Path, leaves: &[Vec<u8>]) -> Vec<bool> {
        let write =
            |file: &str, der: &[u8]| std::fs::write(folder.join(file), pem::certificate(der)).unwrap();
        write("root.pem", &self.root);
        write("below.pem", &self.intermediate);
        let files: Vec<String> = (0..leaves.len()).map(|index| format!("{index}.pem")).collect();
        leaves.iter().zip(&files).for_each(|(leaf, file)| write(file, leaf));
        let output = Command::new("openssl")
            .current_dir(folder)
            .args(["verify", "-x509_strict", "-attime", &AT.to_string(), "-CAfile", "root.pem"])
            .args(["-untrusted", "below.pem"])
            .args(&files)
            .output()
            .expect("openssl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let ok = |file: &String| said.lines().any(|line| line == format!("{file}: OK"));
        let failed = |file: &String| errors.contains(&format!("error {file}: verification failed"));
        for file in &files {
            assert!(ok(file) != failed(file), "{file}: {said} {errors}");
        }
        files.iter().map(ok).collect()
    }
}

/// Holds one set of constraints against both verifiers. We may be the stricter one for wildcards,
/// mail addresses and URIs, never the laxer one; for plain DNS names and addresses all agree.
fn agree(constraints: &NameConstraints, names: &[&str]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let hierarchy = hierarchy(constraints);
    let leaves: Vec<_> = names.iter().map(|text| hierarchy.leaf(name(text))).collect();
    let openssl = hierarchy.openssl(folder.path(), &leaves);
    let mut refused = 0;
    for ((text, leaf), openssl) in names.iter().zip(&leaves).zip(openssl) {
        let ours = constraints.check(name(text)).is_ok();
        refused += usize::from(!ours);
        let webpki = hierarchy.webpki(leaf);
        let plain =
            matches!(name(text), Name::Ip(_)) || (name(text) == Name::Dns(text) && !text.contains('*'));
        if plain {
            assert_eq!((ours, ours), (openssl, webpki), "openssl, webpki: {text} {constraints:?}");
        }
        assert!(!ours || openssl, "laxer than openssl: {text} {constraints:?}");
        // webpki has no URIs and no mail addresses: it refuses them where they are constrained.
        // Nor has it wildcards right below a top-level name.
        let known = matches!(name(text), Name::Dns(_)) && text.matches('.').count() != 1;
        assert!(!ours || webpki || !known, "{text} {constraints:?}");
    }
    refused
}

#[test]
fn verifiers_agree_by_the_table() {
    let names = [
        "example.test",
        "a.example.test",
        "xexample.test",
        "test",
        "*.example.test",
        "*.test",
        "other.test",
        "10.0.0.1",
        "10.1.0.1",
        "11.0.0.1",
        "2001:db8::1",
        "::1",
        "a@example.test",
        "a@b.example.test",
        "spiffe://example.test/x",
        "spiffe://a.example.test/x",
    ];
    let one = |subtree: Subtree| [vec![subtree]].concat();
    for subtree in [
        dns("example.test"),
        dns(".example.test"),
        dns(""),
        dns("EXAMPLE.test"),
        net("10.0.0.0/8"),
        net("10.0.0.1/32"),
        net("0.0.0.0/0"),
        net("::/0"),
        net("2001:db8::/32"),
        email("example.test"),
        email("a@example.test"),
        email(".example.test"),
        uri("example.test"),
        uri(".example.test"),
    ] {
        let permitted = NameConstraints { permitted: one(subtree.clone()), excluded: vec![] };
        let excluded = NameConstraints { permitted: vec![], excluded: one(subtree.clone()) };
        let refused = agree(&permitted, &names) + agree(&excluded, &names);
        assert!(refused > 0, "{subtree}");
    }
    let both = NameConstraints {
        permitted: vec![dns("example.test"), dns("other.test"), net("10.0.0.0/8")],
        excluded: vec![dns("a.example.test"), net("10.1.0.0/16"), net("::/0")],
    };
    assert!(agree(&both, &names) > 4);
}

fn label() -> impl Strategy<Value = &'static str> + Clone {
    prop::sample::select(vec!["a", "b", "ab", "test", "x-y"])
}

fn host() -> impl Strategy<Value = String> + Clone {
    prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
}

fn subtrees() -> impl Strategy<Value = Vec<Subtree>> {
    let dotted =
        (prop::bool::ANY, host()).prop_map(|(dot, host)| if dot { format!(".{host}") } else { host });
    let network = (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(octets, prefix)| {
        // Few addresses, so that some match.
        let ip = IpAddr::from(octets.map(|octet| octet & 0x83));
        Subtree::Ip(IpNet::new(ip, prefix).unwrap().trunc())
    });
    let one = prop_oneof![
        4 => dotted.clone().prop_map(Subtree::Dns),
        2 => network,
        1 => dotted.clone().prop_map(Subtree::Uri),
        1 => dotted.prop_map(Subtree::Email),
    ];
    prop::collection::vec(one, 0..3)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        4 => host(),
        1 => host().prop_map(|host| format!("*.{host}")),
        2 => any::<[u8; 4]>().prop_map(|octets| IpAddr::from(octets.map(|octet| octet & 0x83)).to_string()),
        1 => host().prop_map(|host| format!("https://{host}/x")),
        1 => host().prop_map(|host| format!("a@{host}")),
    ];
    prop::collection::vec(one, 12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn verifiers_agree_on_what_comes(permitted in subtrees(), excluded in subtrees(), names in names()) {
        let constraints = NameConstraints { permitted, excluded };
        prop_assume!(!constraints.is_empty());
        prop_assert_eq!(&NameConstraints::parse(&constraints.encode()), &Ok(constraints.clone()));
        agree(&constraints, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(read) = NameConstraints::parse(&bytes) {
            prop_assert!(!read.is_empty());
        }
    }
}
