//! Whatever a profile may say, and nothing else, is in its certificates.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::lint::lint;
use super::super::urls::Urls;
use super::*;
use crate::provisioner::profile::LeafRules;
use crate::provisioner::profile::contents::{Attribute, Contents, ExtensionTemplate, Facts, Form, Templates};
use crate::provisioner::profile::san::{SanKind, SanKinds};
use crate::provisioner::profile::template::{Place, Template};
use crate::provisioner::profile::usages::{KeyUsages, Usage, Usages};
use crate::x509::pem;

const NAMES: [&str; 3] = ["a.test", "*.b.test", "10.0.0.1"];

fn template(text: &str, place: Place) -> Template {
    Template::new(text, place).unwrap()
}

fn filled(rules: &LeafRules) -> Contents {
    let names: Vec<Identifier> = NAMES.iter().map(|name| identifier(name)).collect();
    let facts = Facts {
        names: &names,
        account: "acct".into(),
        authority: "prod",
        provisioner: "acme",
        profile: "p",
        eab: Some(("kid".into(), "team")),
        ordered: T0,
    };
    rules.templates.fill(&facts).unwrap()
}

fn ask(lifetime: Duration) -> Ask<'static> {
    let lifetimes = Lifetimes { default: lifetime, min: HOUR, max: lifetime };
    Ask { lifetimes, ..Ask::new(&NAMES) }
}

fn grant(rules: &LeafRules, key: &rcgen::KeyPair, lifetime: Duration) -> Grant {
    ask(lifetime).grant(key, T0).with_leaf(rules.clone()).with_contents(filled(rules))
}

fn urls() -> Urls {
    Urls {
        ca_issuers: Some("http://ca.test/issuer.der".into()),
        crl: Some("http://ca.test/crl.der".into()),
        ocsp: Some("http://ca.test/ocsp".into()),
    }
}

/// Everything at once.
fn rich() -> LeafRules {
    let subject = Attribute::TABLE.iter().map(|(_, attribute, ..)| {
        let text = match attribute {
            Attribute::Country => "DE",
            Attribute::CommonName => "{{ name }}",
            Attribute::Organization => "Exämple, O=Other",
            Attribute::Locality => "{{ authority }}/{{ provisioner }}/{{ profile }}",
            _ => "{{ eab.label }}-7",
        };
        (*attribute, template(text, Place::Text))
    });
    let extension = |oid: &str, critical, form, value| ExtensionTemplate {
        oid: oid.parse().unwrap(),
        critical,
        form,
        value: template(value, Form::place(form)),
    };
    LeafRules {
        usages: Usages::of([Usage::ClientAuth, Usage::parse("1.3.6.1.4.1.311.20.2.2").unwrap()]).unwrap(),
        key_usage: KeyUsages::of(&KeyUsages::TABLE.iter().map(|(_, bit)| *bit).collect::<Vec<_>>()),
        templates: Templates {
            subject: subject.collect(),
            uris: vec![template("spiffe://td/{{ eab.label }}/web", Place::Uri)],
            emails: vec![template("{{ eab.label }}@corp.test", Place::Email)],
            extensions: vec![
                extension("1.3.6.1.4.1.32473.1", false, Form::Utf8, "{{ account }}"),
                extension("1.3.6.1.4.1.32473.2", true, Form::Hex, "300302012a"),
            ],
        },
        ..LeafRules::default()
    }
}

#[test]
fn everything_at_once_field_by_field() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let issuer = issuer.with_urls(urls());
    let key = p256();
    for (days, asked) in [(1, false), (30, true)] {
        let issued = issue(grant(&rich(), &key, DAY * days), &issuer, T0);
        let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
        let subject: Vec<_> = parsed
            .subject()
            .iter_attributes()
            .map(|part| (part.attr_type().to_id_string(), part.as_str().unwrap().to_owned()))
            .collect();
        let want = [
            ("2.5.4.6", "DE"),
            ("2.5.4.8", "team-7"),
            ("2.5.4.7", "prod/acme/p"),
            ("2.5.4.10", "Exämple, O=Other"),
            ("2.5.4.11", "team-7"),
            ("2.5.4.3", "a.test"),
            ("2.5.4.5", "team-7"),
        ];
        assert_eq!(subject, want.map(|(oid, text)| (oid.to_owned(), text.to_owned())));
        let san = parsed.subject_alternative_name().unwrap().unwrap();
        assert!(!san.critical);
        let names = &san.value.general_names;
        assert_eq!(names.len(), NAMES.len() + 2);
        assert_eq!(names[3], GeneralName::URI("spiffe://td/team/web"));
        assert_eq!(names[4], GeneralName::RFC822Name("team@corp.test"));
        // What an EC key can do of it: digitalSignature, nonRepudiation, keyAgreement.
        assert_eq!(parsed.key_usage().unwrap().unwrap().value.flags, 0b1_0011);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert_eq!(usage.other[0].to_id_string(), "1.3.6.1.4.1.311.20.2.2");
        let own = |oid: &str| {
            let found = parsed.extensions().iter().find(|e| e.oid.to_id_string() == oid);
            found.map(|e| (e.critical, e.value.to_vec()))
        };
        assert_eq!(own("1.3.6.1.4.1.32473.1"), Some((false, b"\x0c\x04acct".to_vec())));
        assert_eq!(own("1.3.6.1.4.1.32473.2"), Some((true, vec![0x30, 3, 2, 1, 42])));
        let no_rev_avail = (!asked).then(|| (false, vec![5, 0]));
        assert_eq!(own("2.5.29.56"), no_rev_avail);
        assert_eq!(own("2.5.29.31").is_some(), asked);
        assert_eq!(
            access(&parsed),
            if asked {
                vec!["http://ca.test/ocsp", "http://ca.test/issuer.der"]
            } else {
                vec!["http://ca.test/issuer.der"]
            }
        );
        for extension in parsed.extensions() {
            if let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() {
                let [point] = points.points.as_slice() else { panic!("{points:?}") };
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                    panic!()
                };
                assert_eq!(names.as_slice(), [GeneralName::URI("http://ca.test/crl.der")]);
            }
        }
    }
    // Without URLs there is nothing to say of a certificate that lives long.
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let issued = issue(grant(&LeafRules::default(), &key, DAY * 30), &issuer, T0);
    let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
    assert_eq!(parsed.extensions().len(), 6);
}

fn access<'a>(parsed: &X509Certificate<'a>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for extension in parsed.extensions() {
        if extension.oid.as_bytes() == [0x2b, 6, 1, 5, 5, 7, 1, 1] {
            let (_, parsed) =
                x509_parser::extensions::AuthorityInfoAccess::from_der(extension.value).unwrap();
            found.extend(parsed.accessdescs.iter().map(|one| match one.access_location {
                GeneralName::URI(url) => url,
                ref other => panic!("{other:?}"),
            }));
        }
    }
    found
}

#[test]
fn rfc_3161_wants_its_usage_critical_and_alone() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let rules = LeafRules { usages: Usages::of([Usage::TimeStamping]).unwrap(), ..LeafRules::default() };
    let issued = issue(grant(&rules, &p256(), DAY), &issuer, T0);
    let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
    let usage = parsed.extended_key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.time_stamping && !usage.value.server_auth);
}

#[test]
fn backdating_is_the_profiles() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let now = T0 + DAY;
    for secs in [0, 60, 3600] {
        let backdate = Duration::from_secs(secs);
        let rules = LeafRules { backdate, ..LeafRules::default() };
        let grant = ask(DAY).grant(&p256(), now).with_leaf(rules);
        let issued = issue(grant, &issuer, now);
        assert_eq!((issued.not_before, issued.not_after), (now - backdate, now + DAY));
    }
}

/// Drafted by one profile and held against another, which differs in one thing.
#[test]
fn each_part_is_held_against_the_profile() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let (_, plain) = (0, issuer);
    let issuer = plain.with_urls(urls());
    let key = p256();
    let base = rich();
    let change = |change: &dyn Fn(&mut LeafRules)| {
        let mut rules = base.clone();
        change(&mut rules);
        rules
    };
    let only = |kinds: &[SanKind]| SanKinds::of(kinds).unwrap();
    let others = [
        ("usages", change(&|r| r.usages = Usages::default())),
        ("key usage", change(&|r| r.key_usage = None)),
        ("no subject", change(&|r| r.templates.subject.clear())),
        ("less subject", change(&|r| drop(r.templates.subject.pop()))),
        ("another order", change(&|r| r.templates.subject.swap(1, 2))),
        ("another value", change(&|r| r.templates.subject[3].1 = template("x", Place::Text))),
        ("no URI", change(&|r| r.templates.uris.clear())),
        ("another URI", change(&|r| r.templates.uris[0] = template("spiffe://td/x", Place::Uri))),
        ("no mailbox", change(&|r| r.templates.emails.clear())),
        ("another mailbox", change(&|r| r.templates.emails[0] = template("x@y", Place::Email))),
        ("no extension", change(&|r| r.templates.extensions.clear())),
        (
            "another extension",
            change(&|r| r.templates.extensions[0].oid = "1.3.6.1.4.1.32473.9".parse().unwrap()),
        ),
        ("another value of one", change(&|r| r.templates.extensions[0].value = template("x", Place::Text))),
        ("criticality", change(&|r| r.templates.extensions[0].critical = true)),
        ("revocation", change(&|r| r.no_rev_avail_below = None)),
        ("kinds without URIs", change(&|r| r.sans = only(&[SanKind::Dns, SanKind::Ip, SanKind::Email]))),
        ("kinds without mailboxes", change(&|r| r.sans = only(&[SanKind::Dns, SanKind::Ip, SanKind::Uri]))),
        (
            "kinds without addresses",
            change(&|r| r.sans = only(&[SanKind::Dns, SanKind::Uri, SanKind::Email])),
        ),
        (
            "RSA only",
            change(&|r| {
                r.key_types =
                    crate::provisioner::profile::KeyTypes::of(&[crate::provisioner::profile::KeyType::Rsa])
                        .unwrap()
            }),
        ),
    ];
    let drafted = |rules: &LeafRules| draft(grant(rules, &key, DAY), &issuer, [0xab; 16], T0).unwrap();
    assert!(lint(drafted(&base), &issuer).is_ok());
    for (what, other) in &others {
        let made = drafted(&base);
        assert!(lint(Draft { grant: grant(other, &key, DAY), ..made }, &issuer).is_err(), "{what}");
        // But for kinds and keys, the other way round as well.
        if what.starts_with("kinds") || *what == "RSA only" {
            continue;
        }
        let made = drafted(other);
        assert!(
            lint(Draft { grant: grant(&base, &key, DAY), ..made }, &issuer).is_err(),
            "{what}, turned round"
        );
    }
    // An issuer's URLs are its own.
    let made = draft(grant(&base, &key, DAY * 30), &issuer, [0xab; 16], T0).unwrap();
    let elsewhere = Urls { crl: Some("http://other.test/".into()), ..urls() };
    let (_, twin) = (0, of_realm(Issuer::new(issuer.der().to_vec(), &[], issuer.signer().clone()).unwrap()));
    assert!(lint(made, &twin.with_urls(elsewhere)).is_err());
}

fn some_rules() -> impl Strategy<Value = LeafRules> {
    let usages = prop::sample::subsequence(vec![0_usize, 1, 2, 3, 5], 1..=5).prop_map(|chosen| {
        let of = |i: usize| match Usage::TABLE.get(i) {
            Some((_, usage, _)) => usage.clone(),
            None => Usage::parse("1.3.6.1.4.1.32473.3").unwrap(),
        };
        Usages::of(chosen.into_iter().map(of)).unwrap()
    });
    let subject = prop::sample::subsequence(Attribute::TABLE.to_vec(), 0..=7).prop_map(|rows| {
        let text = |attribute| match attribute {
            Attribute::Country => "FR",
            Attribute::CommonName => "{{ dns[1] }}",
            Attribute::SerialNumber => "{{ profile }}-1",
            _ => "Ünit {{ eab.label }}",
        };
        rows.iter().map(|(_, a, ..)| (*a, template(text(*a), Place::Text))).collect::<Vec<_>>()
    });
    let uris = prop_oneof![
        Just(vec![]),
        Just(vec!["spiffe://td/{{ name }}"]),
        Just(vec!["https://{{ name }}/", "urn:x:{{ account }}"]),
    ];
    let emails = prop_oneof![Just(vec![]), Just(vec!["{{ eab.label }}@a.test", "x@a.test"])];
    let extensions = prop::collection::vec((any::<bool>(), "[a-zé]{0,150}"), 0..4);
    let key_usage =
        prop::option::of(Just(KeyUsages::of(&[KeyUsages::TABLE[0].1, KeyUsages::TABLE[1].1]).unwrap()));
    let below = prop_oneof![Just(None), Just(Some(HOUR)), Just(Some(DAY * 7))];
    (usages, subject, uris, emails, extensions, key_usage, (below, 0..7200_u64)).prop_map(
        |(usages, subject, uris, emails, extensions, key_usage, (no_rev_avail_below, backdate))| {
            let extension = |(i, (critical, text)): (usize, (bool, String))| ExtensionTemplate {
                oid: format!("1.3.6.1.4.1.32473.{i}").parse().unwrap(),
                critical,
                form: Form::Utf8,
                value: template(&format!("{text}{{{{ account }}}}"), Place::Text),
            };
            LeafRules {
                usages,
                key_usage,
                templates: Templates {
                    subject,
                    uris: uris.into_iter().map(|text| template(text, Place::Uri)).collect(),
                    emails: emails.into_iter().map(|text| template(text, Place::Email)).collect(),
                    extensions: extensions.into_iter().enumerate().map(extension).collect(),
                },
                backdate: Duration::from_secs(backdate),
                no_rev_avail_below,
                ..LeafRules::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random profiles and orders: whatever is in the certificate was said by one or the other.
    #[test]
    fn whatever_is_signed_was_approved(rules in some_rules(), days in 1..60_u32, with_urls in any::<bool>()) {
        let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
        let issuer = if with_urls { issuer.with_urls(urls()) } else { issuer };
        let now = T0 + DAY;
        let contents = filled(&rules);
        let grant = ask(DAY * days).grant(&p256(), now).with_leaf(rules.clone()).with_contents(contents.clone());
        let issued = issue(grant, &issuer, now);
        let (rest, parsed) = X509Certificate::from_der(&issued.der).unwrap();
        prop_assert!(rest.is_empty());
        let subject: Vec<_> =
            parsed.subject().iter_attributes().map(|part| part.as_str().unwrap().to_owned()).collect();
        let approved: Vec<_> = contents.subject().iter().map(|(_, text)| text.clone()).collect();
        prop_assert_eq!(subject, approved);
        let mut names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        names.extend(contents.uris().iter().chain(contents.emails()).cloned());
        let san = parsed.subject_alternative_name().unwrap().unwrap();
        let found: Vec<String> = san.value.general_names.iter().map(|name| match name {
            GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => (*text).to_owned(),
            GeneralName::IPAddress(octets) => crate::x509::ip_of(octets).unwrap().to_string(),
            other => format!("{other:?}"),
        }).collect();
        prop_assert_eq!(found, names);
        let short = rules.no_rev_avail_below.is_some_and(|most| DAY * days <= most);
        let mut oids: Vec<String> =
            ["14", "15", "17", "19", "35", "37"].iter().map(|n| format!("2.5.29.{n}")).collect();
        if short { oids.push("2.5.29.56".into()); }
        if with_urls && !short { oids.push("2.5.29.31".into()); }
        if with_urls { oids.push("1.3.6.1.5.5.7.1.1".into()); }
        oids.extend(contents.extensions().iter().map(|own| own.oid.to_string()));
        let mut found: Vec<String> = parsed.extensions().iter().map(|e| e.oid.to_id_string()).collect();
        oids.sort();
        found.sort();
        prop_assert_eq!(found, oids);
        prop_assert_eq!(access(&parsed).len(), if !with_urls { 0 } else if short { 1 } else { 2 });
        prop_assert_eq!(issued.not_before, now - rules.backdate);
    }
}

fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same, as another reader has it.
#[test]
fn openssl_reads_what_was_approved() {
    let folder = tempfile::tempdir().unwrap();
    let (root, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let issuer = issuer.with_urls(urls());
    let write =
        |name: &str, der: &[u8]| std::fs::write(folder.path().join(name), pem::certificate(der)).unwrap();
    write("root.pem", &root);
    write("intermediate.pem", issuer.der());
    let mut rules = rich();
    // Readers refuse what is critical and unknown to them.
    rules.templates.extensions[1].critical = false;
    for (days, parts) in [
        (1, &["No Revocation Available", "CA Issuers - URI:http://ca.test/issuer.der"][..]),
        (30, &["URI:http://ca.test/crl.der", "OCSP - URI:http://ca.test/ocsp"][..]),
    ] {
        write("leaf.pem", &issue(grant(&rules, &p256(), DAY * days), &issuer, T0).der);
        let text = openssl(
            folder.path(),
            &["x509", "-in", "leaf.pem", "-noout", "-text", "-nameopt", "multiline,utf8,-esc_msb"],
        );
        for part in [
            "countryName               = DE",
            "organizationName          = Exämple, O=Other",
            "commonName                = a.test",
            "serialNumber              = team-7",
            "DNS:a.test, DNS:*.b.test, IP Address:10.0.0.1, URI:spiffe://td/team/web, email:team@corp.test",
            "Digital Signature, Non Repudiation, Key Agreement\n",
            "TLS Web Client Authentication, Microsoft Smartcard Login\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let number = text.contains("2.5.29.56");
        for part in parts {
            // Older releases show the number.
            assert!(
                text.contains(part) || number && *part == "No Revocation Available",
                "{part:?} is not in {text}"
            );
        }
        assert_eq!(
            text.matches("ca.test/crl.der").count() + text.matches("ca.test/ocsp").count(),
            if days == 1 { 0 } else { 2 }
        );
        let now = T0.as_secs().to_string();
        openssl(
            folder.path(),
            &[
                "verify",
                "-x509_strict",
                "-attime",
                &now,
                "-CAfile",
                "root.pem",
                "-untrusted",
                "intermediate.pem",
                "-purpose",
                "sslclient",
                "leaf.pem",
            ],
        );
    }
}
