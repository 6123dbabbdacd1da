use proptest::prelude::*;

use super::super::lint::{LintError, lint};
use super::asn1::Node;
use super::*;
use crate::authority::constraints::{NameConstraints, Subtree};
use crate::provisioner::profile::usages::{Usage, Usages};
use crate::provisioner::profile::{KeyType, KeyTypes, LeafRules};

/// Paths in the certificate: of the to-be-signed part's fields and of its extensions.
const SERIAL: [usize; 2] = [0, 1];
const ALGORITHM: [usize; 2] = [0, 2];
const ISSUER: [usize; 2] = [0, 3];
const NOT_BEFORE: [usize; 3] = [0, 4, 0];
const NOT_AFTER: [usize; 3] = [0, 4, 1];
const SUBJECT: [usize; 2] = [0, 5];
const KEY: [usize; 2] = [0, 6];
const EXTENSIONS: [usize; 3] = [0, 7, 0];

fn with(draft: &Draft, unsigned: Vec<u8>, grant: Grant) -> Draft {
    let Draft { serial, not_before, not_after, .. } = *draft;
    Draft { unsigned, serial, not_before, not_after, grant }
}

/// The extension with that last byte of its identifier (2.5.29.N).
fn extension(certificate: &mut Node, last: u8) -> &mut Node {
    let extensions = certificate.at(&EXTENSIONS).children();
    extensions.iter_mut().find(|each| each.at_ref(0) == &Node::leaf(6, &[0x55, 0x1d, last])).unwrap()
}

/// What is in its OCTET STRING, changed.
fn edit_value(certificate: &mut Node, last: u8, edit: impl Fn(&mut Node)) {
    let octets = extension(certificate, last).children().last_mut().unwrap().bytes();
    let mut value = Node::parse(octets);
    edit(&mut value);
    *octets = value.encode();
}

fn new_extension(oid: &[u8], value: &[u8]) -> Node {
    Node::parts(0x30, vec![Node::leaf(6, oid), Node::leaf(4, value)])
}

fn dns(name: &str) -> Node {
    Node::leaf(0x82, name.as_bytes())
}

const SAN: u8 = 17;
const CONSTRAINTS: u8 = 19;
const USAGE: u8 = 15;
const EXTENDED: u8 = 37;
const SKI: u8 = 14;
const AKI: u8 = 35;

type Mutation = (&'static str, Box<dyn Fn(&mut Node)>);

fn mutation(what: &'static str, change: impl Fn(&mut Node) + 'static) -> Mutation {
    (what, Box::new(change))
}

/// Changes that any certificate can suffer.
fn common() -> Vec<Mutation> {
    let other = spki(&p256());
    vec![
        mutation("another key", move |c| *c.at(&KEY) = Node::parse(other.der())),
        mutation("another serial", |c| *c.at(&SERIAL).bytes().last_mut().unwrap() ^= 1),
        mutation("a negative serial", |c| c.at(&SERIAL).bytes()[0] |= 0x80),
        mutation("a longer serial", |c| c.at(&SERIAL).bytes().push(0)),
        mutation("a shorter serial", |c| c.at(&SERIAL).bytes().truncate(18)),
        mutation("no serial to speak of", |c| *c.at(&SERIAL).bytes() = vec![0]),
        mutation("a longer life", |c| c.at(&NOT_AFTER).bytes()[0] += 1),
        mutation("a second more", |c| c.at(&NOT_AFTER).bytes()[11] += 1),
        mutation("an earlier beginning", |c| c.at(&NOT_BEFORE).bytes()[0] -= 1),
        mutation("no end (99991231235959Z)", |c| {
            *c.at(&NOT_AFTER) = Node::leaf(0x18, b"99991231235959Z");
        }),
        mutation("GeneralizedTime before 2050", |c| {
            let text = [b"20", c.at(&NOT_AFTER).bytes().as_slice()].concat();
            *c.at(&NOT_AFTER) = Node::leaf(0x18, &text);
        }),
        mutation("another issuer", |c| {
            *c.at(&ISSUER).at(&[0, 0, 1]).bytes().last_mut().unwrap() ^= 1;
        }),
        mutation("no issuer", |c| c.at(&ISSUER).children().clear()),
        mutation("an issuer name in another string type", |c| c.at(&ISSUER).at(&[0, 0, 1]).tag = 0x13),
        mutation("one more attribute of the subject", |c| {
            let attribute = vec![Node::leaf(6, &[0x55, 4, 10]), Node::leaf(0x0c, b"Somebody")];
            let set = Node::parts(0x31, vec![Node::parts(0x30, attribute)]);
            c.at(&SUBJECT).children().push(set);
        }),
        mutation("one more common name", |c| {
            let attribute = vec![Node::leaf(6, &[0x55, 4, 3]), Node::leaf(0x0c, b"a.test")];
            let set = Node::parts(0x31, vec![Node::parts(0x30, attribute)]);
            c.at(&SUBJECT).children().push(set);
        }),
        mutation("version 1", |c| drop(c.at(&[0]).children().remove(0))),
        mutation("version 2", |c| *c.at(&[0, 0, 0]).bytes() = vec![1]),
        mutation("version 4", |c| *c.at(&[0, 0, 0]).bytes() = vec![3]),
        mutation("an issuerUniqueID", |c| {
            c.at(&[0]).children().insert(7, Node::leaf(0x81, &[0, 1]));
        }),
        mutation("a subjectUniqueID", |c| {
            c.at(&[0]).children().insert(7, Node::leaf(0x82, &[0, 1]));
        }),
        mutation("another signature algorithm inside", |c| {
            *c.at(&ALGORITHM).at(&[0]).bytes().last_mut().unwrap() ^= 1;
        }),
        mutation("another signature algorithm outside", |c| {
            *c.at(&[1, 0]).bytes().last_mut().unwrap() ^= 1;
        }),
        mutation("another signature algorithm in both places", |c| {
            *c.at(&ALGORITHM).at(&[0]).bytes().last_mut().unwrap() ^= 1;
            *c.at(&[1, 0]).bytes().last_mut().unwrap() ^= 1;
        }),
        mutation("parameters of the algorithm inside", |c| {
            c.at(&ALGORITHM).children().push(Node::leaf(5, &[]));
        }),
        mutation("parameters of the algorithm outside", |c| {
            c.at(&[1]).children().push(Node::leaf(5, &[]));
        }),
        mutation("a signature already there", |c| *c.at(&[2]).bytes() = vec![0, 1]),
        mutation("something behind the extensions", |c| {
            c.at(&[0]).children().push(Node::leaf(0x85, b"more"));
        }),
        mutation("something behind the signature", |c| c.children().push(Node::leaf(5, &[]))),
        mutation("no extensions", |c| drop(c.at(&[0]).children().pop())),
        mutation("an unknown extension", |c| {
            c.at(&EXTENSIONS).children().push(new_extension(&[0x2a, 3, 4], &[5, 0]));
        }),
        mutation("an unknown critical extension", |c| {
            let mut odd = new_extension(&[0x2a, 3, 4], &[5, 0]);
            odd.children().insert(1, Node::leaf(1, &[0xff]));
            c.at(&EXTENSIONS).children().push(odd);
        }),
        mutation("name constraints", |c| {
            c.at(&EXTENSIONS).children().push(new_extension(&[0x55, 0x1d, 30], &[0x30, 0]));
        }),
        mutation("an empty extension", |c| c.at(&EXTENSIONS).children().push(Node::parts(0x30, vec![]))),
        mutation("another subject key identifier", |c| {
            edit_value(c, SKI, |value| *value.bytes().last_mut().unwrap() ^= 1);
        }),
        mutation("another authority key identifier", |c| {
            edit_value(c, AKI, |value| *value.at(&[0]).bytes().last_mut().unwrap() ^= 1);
        }),
        mutation("an authority serial", |c| {
            edit_value(c, AKI, |value| value.children().push(Node::leaf(0x82, &[1])));
        }),
        mutation("an empty authority key identifier", |c| {
            edit_value(c, AKI, |value| value.children().clear());
        }),
        mutation("one more key usage", |c| edit_value(c, USAGE, |value| *value.bytes() = vec![0, 0xff])),
        mutation("no key usage", |c| edit_value(c, USAGE, |value| *value.bytes() = vec![7, 0])),
        mutation("a key usage with other unused bits", |c| {
            edit_value(c, USAGE, |value| value.bytes()[0] -= 1);
        }),
        mutation("a path length", |c| {
            edit_value(c, CONSTRAINTS, |value| value.children().push(Node::leaf(2, &[9])));
        }),
        mutation("criticality spelled out", |c| {
            extension(c, SKI).children().insert(1, Node::leaf(1, &[0]));
        }),
        mutation("a critical authority key identifier", |c| {
            extension(c, AKI).children().insert(1, Node::leaf(1, &[0xff]));
        }),
        mutation("key usage that is not critical", |c| drop(extension(c, USAGE).children().remove(1))),
        mutation("criticality that is not DER", |c| {
            *extension(c, USAGE).at(&[1]).bytes() = vec![1];
        }),
        mutation("constraints that are not critical", |c| {
            drop(extension(c, CONSTRAINTS).children().remove(1));
        }),
    ]
}

fn leaf_only() -> Vec<Mutation> {
    let names =
        |change: fn(&mut Vec<Node>)| move |c: &mut Node| edit_value(c, SAN, |value| change(value.children()));
    let mut all = vec![
        mutation("one more name", names(|names| names.push(dns("evil.test")))),
        mutation("one more wildcard", names(|names| names.push(dns("*.a.test")))),
        mutation("one more address", names(|names| names.push(Node::leaf(0x87, &[10, 0, 0, 9])))),
        mutation("a missing name", names(|names| drop(names.pop()))),
        mutation("a doubled name", names(|names| names.push(names[0].clone()))),
        mutation("one doubled, one missing", names(|names| names[1] = names[0].clone())),
        mutation("another name", names(|names| names[0] = dns("b.test"))),
        mutation("a wildcard for a name", names(|names| names[0] = dns("*.a.test"))),
        mutation("upper case", names(|names| names[0] = dns("A.test"))),
        mutation("a trailing dot", names(|names| names[0] = dns("a.test."))),
        mutation("a NUL", names(|names| names[0] = dns("a.test\0"))),
        mutation("no names", names(Vec::clear)),
        mutation("an e-mail address", names(|names| names.push(Node::leaf(0x81, b"a@a.test")))),
        mutation("a URI", names(|names| names.push(Node::leaf(0x86, b"https://a.test")))),
        mutation("an e-mail address for a name", names(|names| names[0].tag = 0x81)),
        mutation(
            "a directory name",
            names(|names| {
                names.push(Node::parts(0xa4, vec![Node::parts(0x30, vec![])]));
            }),
        ),
        mutation("names that are not critical", |c| drop(extension(c, SAN).children().remove(1))),
        mutation("bytes behind the names", |c| {
            extension(c, SAN).children().last_mut().unwrap().bytes().extend([5, 0]);
        }),
        mutation("CA:TRUE", |c| {
            edit_value(c, CONSTRAINTS, |value| *value.children() = vec![Node::leaf(1, &[0xff])]);
        }),
        mutation("CA:FALSE spelled out", |c| {
            edit_value(c, CONSTRAINTS, |value| *value.children() = vec![Node::leaf(1, &[0])]);
        }),
        mutation("keyCertSign", |c| edit_value(c, USAGE, |value| *value.bytes() = vec![2, 0x84])),
    ];
    // serverAuth with another last byte: codeSigning, OCSPSigning; anyExtendedKeyUsage.
    for oid in [
        &[0x2b, 6, 1, 5, 5, 7, 3, 3][..],
        &[0x2b, 6, 1, 5, 5, 7, 3, 9],
        &[0x2b, 6, 1, 5, 5, 7, 3, 1],
        &[0x55, 0x1d, 0x25, 0],
        &[0x2a, 3, 4],
    ] {
        let usage = Node::leaf(6, oid);
        all.push(mutation("one more extended key usage", move |c| {
            edit_value(c, EXTENDED, |value| value.children().push(usage.clone()));
        }));
    }
    all.push(mutation("one extended key usage less", |c| {
        edit_value(c, EXTENDED, |value| drop(value.children().pop()));
    }));
    all.push(mutation("no extended key usage", |c| {
        edit_value(c, EXTENDED, |value| value.children().clear())
    }));
    all
}

fn ca_only() -> Vec<Mutation> {
    vec![
        mutation("no CA", |c| edit_value(c, CONSTRAINTS, |value| value.children().clear())),
        mutation("another common name", |c| {
            *c.at(&SUBJECT).at(&[0, 0, 1]).bytes().last_mut().unwrap() ^= 1;
        }),
        mutation("no subject", |c| c.at(&SUBJECT).children().clear()),
        mutation("two values in one name", |c| {
            let pair = vec![Node::leaf(6, &[0x55, 4, 10]), Node::leaf(0x0c, b"Somebody")];
            c.at(&SUBJECT).at(&[0]).children().push(Node::parts(0x30, pair));
        }),
        mutation("names in a CA", |c| {
            let san = Node::parts(0x30, vec![dns("a.test")]).encode();
            c.at(&EXTENSIONS).children().push(new_extension(&[0x55, 0x1d, SAN], &san));
        }),
        mutation("extended key usage in a CA", |c| {
            let any = Node::parts(0x30, vec![Node::leaf(6, &[0x55, 0x1d, 0x25, 0])]).encode();
            c.at(&EXTENSIONS).children().push(new_extension(&[0x55, 0x1d, EXTENDED], &any));
        }),
    ]
}

/// Applies every mutation, and every extension left out and doubled; all must be refused.
fn refuse_all(issuer: &Issuer, make: impl Fn() -> Grant, mutations: Vec<Mutation>) {
    let drafted = || draft(make(), issuer, [0xab; 16], T0).unwrap();
    let good = drafted();
    let tree = Node::parse(&good.unsigned);
    assert_eq!(tree.encode(), good.unsigned, "the tests' DER is the builder's");
    assert!(lint(drafted(), issuer).is_ok());
    let refuse = |what: &str, change: &dyn Fn(&mut Node)| {
        let mut changed = tree.clone();
        change(&mut changed);
        assert_ne!(changed, tree, "{what} changes something");
        let got = lint(with(&good, changed.encode(), make()), issuer);
        assert!(matches!(got, Err(LintError::Rule(_))), "{what}: {got:?}");
    };
    for (what, change) in mutations {
        refuse(what, &change);
    }
    let count = tree.clone().at(&EXTENSIONS).children().len();
    for index in 0..count {
        refuse("an extension less", &|c| drop(c.at(&EXTENSIONS).children().remove(index)));
        refuse("a doubled extension", &|c| {
            let twice = c.at(&EXTENSIONS).children()[index].clone();
            c.at(&EXTENSIONS).children().push(twice);
        });
    }
}

#[test]
fn every_changed_leaf_is_refused() {
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::RsaPkcs1Sha256] {
        let (_, issuer) = hierarchy(algorithm);
        let key = p256();
        let make = || Ask::new(&["a.test", "*.b.test", "10.0.0.1"]).grant(&key, T0);
        refuse_all(&issuer, make, common().into_iter().chain(leaf_only()).collect());
    }
}

#[test]
fn every_changed_ca_is_refused() {
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP384Sha384));
    let mutations = || common().into_iter().chain(ca_only()).collect::<Vec<_>>();
    let founding = founding(&signer, YEAR * 10, T0);
    let make =
        || ceremony::root(CaSpec::root("Test Root CA").unwrap(), signer.public_key().clone(), YEAR * 10);
    // A root's issuer is its own subject: the two must go together.
    refuse_all(&founding, make, mutations());
    let above = Issuer::new(root(signer.clone(), YEAR * 10, T0).der, &[], signer.clone()).unwrap();
    let key = spki(&p256());
    let make =
        || ceremony::intermediate(CaSpec::issuing("Test Intermediate CA").unwrap(), key.clone(), YEAR * 5);
    let mut all = mutations();
    all.push(mutation("no path length", |c| {
        edit_value(c, CONSTRAINTS, |value| drop(value.children().pop()));
    }));
    refuse_all(&above, make, all);
    let make = || ceremony::intermediate(narrow(), key.clone(), YEAR * 5);
    let mut all = mutations();
    for (what, text) in [("another name permitted", "b.test"), ("all names permitted", "")] {
        all.push(mutation(what, move |c| {
            let base = Node::parts(0x30, vec![Node::leaf(0x82, text.as_bytes())]);
            edit_value(c, 30, |value| *value.at(&[0]).children() = vec![base.clone()]);
        }));
    }
    all.push(mutation("nothing excluded", |c| edit_value(c, 30, |value| drop(value.children().pop()))));
    refuse_all(&above, make, all);
}

/// Names below `a.test` but for `x.a.test`, and path length 1.
fn narrow() -> CaSpec {
    let dns = |text: &str| vec![Subtree::Dns(text.to_owned())];
    let constraints = NameConstraints { permitted: dns("a.test"), excluded: dns("x.a.test") };
    CaSpec { path_len: Some(1), constraints, ..CaSpec::issuing("Narrow CA").unwrap() }
}

/// What the issuer's own chain forbids is not signed, whoever asks; from each of its certificates.
#[test]
fn names_and_depth_are_the_chains() {
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP384Sha384));
    let founding = founding(&signer, YEAR * 10, T0);
    let constraints = NameConstraints { permitted: vec![], excluded: vec![Subtree::Dns("y.a.test".into())] };
    let spec = CaSpec { constraints, path_len: Some(2), ..CaSpec::root("Test Root CA").unwrap() };
    let root = issue(ceremony::root(spec, signer.public_key().clone(), YEAR), &founding, T0).der;
    let root_issuer = Issuer::new(root.clone(), &[], signer).unwrap();
    let below: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let grant = |spec| ceremony::intermediate(spec, below.public_key().clone(), YEAR);
    let der = issue(grant(narrow()), &root_issuer, T0).der;
    let issuer = of_realm(Issuer::new(der.clone(), &[], below.clone()).unwrap());
    let leaf = |issuer: &Issuer, name: &str| {
        lint(draft(Ask::new(&[name]).grant(&p256(), T0), issuer, [1; 16], T0).unwrap(), issuer).map(drop)
    };
    let under = || Issuer::new(der.clone(), &[], below.clone()).unwrap().under_root(&root).unwrap();
    let (plain, under) = (under(), of_realm(under()));
    assert!(leaf(&issuer, "y.a.test").is_ok(), "the root is not known yet");
    for (name, good) in [
        ("a.test", true),
        ("z.a.test", true),
        ("x.a.test", false),
        ("y.a.test", false),
        ("*.a.test", false),
        ("b.test", false),
        ("10.0.0.1", true),
    ] {
        let got = leaf(&under, name);
        assert!(if good { got.is_ok() } else { matches!(got, Err(LintError::Name(_))) }, "{name}: {got:?}");
        let early = under.constraints().check_identifier(&identifier(name));
        assert_eq!(early.is_ok(), good, "newOrder says the same of {name}");
    }
    assert_eq!((root_issuer.path_room(), under.path_room()), (Some(2), Some(1)));
    let ca = |path_len, permitted: &str| {
        let constraints =
            NameConstraints { permitted: vec![Subtree::Dns(permitted.into())], excluded: vec![] };
        let spec = CaSpec { path_len, constraints, ..narrow() };
        lint(draft(grant(spec), &plain, [1; 16], T0).unwrap(), &plain).map(drop)
    };
    assert!(ca(Some(0), "z.a.test").is_ok());
    for path in [None, Some(1), Some(2)] {
        assert!(matches!(ca(path, "z.a.test"), Err(LintError::Path(_))), "{path:?}");
    }
    assert!(matches!(ca(Some(0), "b.test"), Err(LintError::Name(_))));
    // A chain that is deeper than its own certificates allow makes no issuer.
    let deep = issue(grant(CaSpec::issuing("Deep CA").unwrap()), &plain, T0).der;
    let third = issue(
        ceremony::intermediate(CaSpec::issuing("Third CA").unwrap(), below.public_key().clone(), DAY),
        &Issuer::new(der.clone(), &[], below.clone()).unwrap(),
        T0,
    )
    .der;
    assert!(Issuer::new(third, &[deep, der], below).is_err());
}

/// A draft as it comes from the builder, with another grant, serial or times than it was made by.
#[test]
fn a_draft_of_something_else_is_refused() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let (_, other_issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let (key, other) = (p256(), p256());
    let names = ["a.test", "b.test"];
    let fresh = || draft(Ask::new(&names).grant(&key, T0), &issuer, [0xab; 16], T0).unwrap();
    assert!(lint(fresh(), &issuer).is_ok());
    assert!(lint(fresh(), &other_issuer).is_err(), "drafted under another issuer");
    for grant in [
        Ask::new(&["a.test"]).grant(&key, T0),
        Ask::new(&["a.test", "b.test", "c.test"]).grant(&key, T0),
        Ask::new(&["a.test", "c.test"]).grant(&key, T0),
        Ask::new(&names).grant(&other, T0),
        ceremony::intermediate(CaSpec::issuing("a.test").unwrap(), spki(&key), DAY),
        ceremony::root(CaSpec::root("a.test").unwrap(), spki(&key), DAY),
    ] {
        let made = fresh();
        assert!(lint(Draft { grant, ..made }, &issuer).is_err());
    }
    let hour = fresh().not_after - HOUR;
    let serial = crate::x509::serial::Serial::new(hour, [0xab; 16]);
    assert!(lint(Draft { serial, ..fresh() }, &issuer).is_err());
    assert!(lint(Draft { not_after: hour, ..fresh() }, &issuer).is_err());
    assert!(lint(Draft { not_before: hour, ..fresh() }, &issuer).is_err());
}

/// Drafted under one set of rules and held against another: by the final bytes, whatever the name.
#[test]
fn a_leaf_keeps_to_the_rules_of_its_profile() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let of = |usages: &[Usage]| Usages::of(usages.iter().cloned()).unwrap();
    let [both, server, client] = [Usages::default(), of(&[Usage::ServerAuth]), of(&[Usage::ClientAuth])];
    let all = [&both, &server, &client];
    let rules = |usages: &Usages| LeafRules { usages: usages.clone(), ..LeafRules::default() };
    let key = p256();
    let grant = |leaf| Ask::new(&["a.test", "b.test"]).grant(&key, T0).with_leaf(leaf);
    for drafted in all {
        for granted in all {
            let made = draft(grant(rules(drafted)), &issuer, [0xab; 16], T0).unwrap();
            let got = lint(Draft { grant: grant(rules(granted)), ..made }, &issuer);
            assert_eq!(got.is_ok(), drafted == granted, "{drafted:?} {granted:?}");
        }
    }
    for usages in [&server, &client] {
        refuse_all(&issuer, || grant(rules(usages)), common().into_iter().chain(leaf_only()).collect());
    }
    for (_, only) in KeyType::TABLE {
        let leaf = LeafRules { key_types: KeyTypes::of(&[*only]).unwrap(), ..LeafRules::default() };
        let got = lint(draft(grant(leaf), &issuer, [0xab; 16], T0).unwrap(), &issuer);
        match *only {
            KeyType::EcP256 => assert!(got.is_ok()),
            KeyType::EcP384
            | KeyType::EcP521
            | KeyType::Ed25519
            | KeyType::Rsa
            | KeyType::MlDsa44
            | KeyType::MlDsa65
            | KeyType::MlDsa87 => {
                assert_eq!(got.unwrap_err(), LintError::Rule("its key is one that is granted"));
            }
        }
    }
}

#[test]
fn nothing_lives_longer_than_granted() {
    let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
    let key = p256();
    let long = Lifetimes { default: DAY, min: HOUR, max: DAY + Duration::from_secs(240) };
    let not_after = Some(T0 + DAY + Duration::from_secs(240));
    let ask = Ask { lifetimes: long, not_after, ..Ask::new(&["a.test"]) };
    let made = draft(ask.grant(&key, T0), &issuer, [1; 16], T0).unwrap();
    let grant = Ask::new(&["a.test"]).grant(&key, T0);
    assert!(matches!(lint(Draft { grant, ..made }, &issuer), Err(LintError::Rule(_))));
}

/// Whatever else fits: an issuer of one authority signs nothing that was granted for another, nor what
/// was granted for none.
#[test]
fn an_issuer_signs_for_its_own_authority_only() {
    let realm = |name: &str| Realm { name: AuthorityName::new(name), ..Realm::default() };
    let names = [Identifier::parse_dns("a.test").unwrap()];
    let bare = |signer: &Arc<dyn Signer>| intermediate(signer.clone(), YEAR).1;
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let prod = bare(&signer).of_realm(Arc::new(realm("prod")));
    // The very same key and name, under another authority.
    let dev = Issuer::new(prod.der().to_vec(), &[], signer.clone()).unwrap().of_realm(Arc::new(realm("dev")));
    let none = Issuer::new(prod.der().to_vec(), &[], signer.clone()).unwrap();
    let key = spki(&p256());
    let of = |granted: &str, issuer: &Issuer| {
        let grant = crate::provisioner::own::grant(&realm(granted), &names, key.clone());
        lint(draft(grant, issuer, [1; 16], T0).unwrap(), issuer)
    };
    for (granted, issuer, good) in
        [("prod", &prod, true), ("dev", &dev, true), ("dev", &prod, false), ("prod", &dev, false)]
    {
        assert_eq!(of(granted, issuer).is_ok(), good, "{granted} by {:?}", issuer.authority());
    }
    assert!(of("prod", &none).is_err());
    let founded =
        crate::provisioner::ceremony::intermediate(CaSpec::issuing("X CA").unwrap(), key.clone(), DAY);
    assert!(lint(draft(founded, &prod, [1; 16], T0).unwrap(), &prod).is_err());
    // What was linted for one is not signed by the other either.
    assert!(sign(approved(of("prod", &prod).unwrap(), T0), &dev).is_err());
    assert!(sign(approved(of("prod", &prod).unwrap(), T0), &prod).is_ok());
}

/// The authority's cap holds whatever a provisioner grants.
#[test]
fn an_authority_s_cap_is_held_against_the_final_bytes() {
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP256Sha256));
    let names = [Identifier::parse_dns("a.test").unwrap()];
    for (cap, good) in [(None, true), (Some(DAY), true), (Some(DAY / 2), false)] {
        let (_, issuer) = intermediate(signer.clone(), YEAR);
        let issuer = issuer.of_realm(Arc::new(Realm { max_ttl: cap, ..Realm::default() }));
        let of = |granted: &Realm| {
            let grant = crate::provisioner::own::grant(granted, &names, spki(&p256()));
            lint(draft(grant, &issuer, [1; 16], T0).unwrap(), &issuer).is_ok()
        };
        assert_eq!(of(&Realm::default()), good, "{cap:?}");
        assert!(of(&Realm { max_ttl: cap, ..Realm::default() }), "the own certificate keeps to it");
    }
}

/// A root signs itself; nobody else's signature makes one, and it signs nothing else.
#[test]
fn only_a_root_in_the_making_is_self_signed() {
    let signer: Arc<dyn Signer> = Arc::new(TestSigner::new(SignatureAlgorithm::EcdsaP384Sha384));
    let made = root(signer.clone(), YEAR * 10, T0);
    let issuer = Issuer::new(made.der, &[], signer.clone()).unwrap();
    let of = |grant, issuer: &Issuer| lint(draft(grant, issuer, [1; 16], T0).unwrap(), issuer).map(drop);
    let stranger = ceremony::root(CaSpec::root("Other Root CA").unwrap(), spki(&p256()), YEAR);
    assert!(matches!(of(stranger, &issuer), Err(LintError::Rule(_))), "an unconstrained CA below a root");
    let again = ceremony::root(CaSpec::root("Test Root CA").unwrap(), signer.public_key().clone(), YEAR);
    assert!(matches!(of(again, &issuer), Err(LintError::Rule(_))));

    let founding = founding(&signer, YEAR * 10, T0);
    let other_key = ceremony::root(CaSpec::root("Test Root CA").unwrap(), spki(&p256()), YEAR);
    assert!(matches!(of(other_key, &founding), Err(LintError::Rule(_))), "a root for another key");
    let other_name =
        ceremony::root(CaSpec::root("Other Root CA").unwrap(), signer.public_key().clone(), YEAR);
    assert!(matches!(of(other_name, &founding), Err(LintError::Rule(_))), "a root by another name");
    let below =
        ceremony::intermediate(CaSpec::issuing("Test Root CA").unwrap(), signer.public_key().clone(), YEAR);
    assert!(matches!(of(below, &founding), Err(LintError::Rule(_))));
    let leaf = Ask::new(&["a.test"]).grant(&p256(), T0);
    assert!(matches!(of(leaf, &founding), Err(LintError::Rule(_))));
}

/// Anything in the signed certificate was approved: not one bit of a draft can be another.
#[test]
fn no_changed_bit_passes() {
    for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::RsaPkcs1Sha256] {
        let (_, issuer) = hierarchy(algorithm);
        let key = p256();
        let ask = Ask::new(&["a.test", "*.b.test", "2001:db8::1"]);
        let good = draft(ask.grant(&key, T0), &issuer, [0xab; 16], T0).unwrap();
        for at in 0..good.unsigned.len() {
            for bit in 0..8 {
                let mut bytes = good.unsigned.clone();
                bytes[at] ^= 1 << bit;
                let got = lint(with(&good, bytes, ask_again(&ask, &key)), &issuer);
                assert!(got.is_err(), "byte {at} of {}, bit {bit}", good.unsigned.len());
            }
        }
    }
}

fn ask_again(ask: &Ask<'_>, key: &rcgen::KeyPair) -> Grant {
    let names: Vec<Identifier> = ask.names.iter().map(|name| identifier(name)).collect();
    // Lifetime and names as `Ask::new` grants them, without a request to verify each time.
    crate::provisioner::own::grant(&Realm::default(), &names, spki(key))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Bytes cut out, put in and overwritten.
    #[test]
    fn no_splice_passes(at: prop::sample::Index, cut in 0usize..40, put in prop::collection::vec(any::<u8>(), 0..40)) {
        static FIXTURE: std::sync::LazyLock<(Issuer, rcgen::KeyPair, Vec<u8>)> = std::sync::LazyLock::new(|| {
            let (_, issuer) = hierarchy(SignatureAlgorithm::EcdsaP256Sha256);
            let key = p256();
            let made = draft(Ask::new(&["a.test"]).grant(&key, T0), &issuer, [0xab; 16], T0).unwrap();
            (issuer, key, made.unsigned)
        });
        let (issuer, key, unsigned) = &*FIXTURE;
        let at = at.index(unsigned.len());
        let mut bytes = unsigned.clone();
        bytes.splice(at..(at + cut).min(unsigned.len()), put);
        let ask = Ask::new(&["a.test"]);
        let good = draft(ask_again(&ask, key), issuer, [0xab; 16], T0).unwrap();
        let got = lint(with(&good, bytes.clone(), ask_again(&ask, key)), issuer);
        prop_assert_eq!(got.is_ok(), bytes == *unsigned);
    }
}
