use super::*;
use crate::acme::order::{Authorization, Challenge, ChallengeState, Finish, OrderDetails, Slot, TOKEN_BYTES};
use crate::id::AccountId;
use crate::provisioner::profile::usages::{Usage, Usages};
use crate::provisioner::profile::{KeyType, KeyTypes, LeafRules, Profile};
use crate::x509::serial::Serial;
use crate::x509::spki::PublicKey;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const HOUR: Duration = Duration::from_secs(3600);

fn terms() -> Terms {
    Terms {
        lifetimes: Lifetimes { default: HOUR * 24, min: HOUR, max: HOUR * 24 },
        order_ttl: HOUR,
        authorization_ttl: HOUR,
        ..Terms::named("acme")
    }
}

fn exact(name: &str) -> NameRule {
    NameRule::Exact(name.into())
}

fn under(name: &str) -> NameRule {
    NameRule::Under(name.into())
}

fn net(net: &str) -> NameRule {
    NameRule::Net(net.parse().unwrap())
}

fn id(text: &str) -> Identifier {
    let kind = if text.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
    Identifier::parse(kind, text).unwrap()
}

#[test]
fn what_a_rule_covers_and_touches() {
    // Rule, identifier, covered (as an allow rule), touched (as a deny rule).
    let rows = [
        (exact("a.test"), "a.test", true, true),
        (exact("a.test"), "A.TEST", true, true),
        (exact("a.test"), "b.a.test", false, false),
        (exact("a.test"), "ba.test", false, false),
        (exact("a.test"), "*.a.test", false, false),
        // The wildcard one level up stands for the name as well.
        (exact("a.test"), "*.test", false, true),
        (exact("b.a.test"), "*.test", false, false),
        (exact("b.a.test"), "*.a.test", false, true),
        (exact("test"), "test", true, true),
        (under("a.test"), "a.test", false, false),
        (under("a.test"), "b.a.test", true, true),
        (under("a.test"), "c.b.a.test", true, true),
        (under("a.test"), "B.A.Test", true, true),
        (under("a.test"), "ba.test", false, false),
        (under("a.test"), "xa.test", false, false),
        (under("a.test"), "a.test.example", false, false),
        (under("a.test"), "*.a.test", true, true),
        (under("a.test"), "*.b.a.test", true, true),
        // What `*.test` stands for lies beside a.test or is a.test, never below it.
        (under("a.test"), "*.test", false, false),
        (under("test"), "*.test", true, true),
        (net("10.0.0.0/8"), "10.255.255.255", true, true),
        (net("10.0.0.0/8"), "11.0.0.0", false, false),
        (net("10.0.0.1/32"), "10.0.0.1", true, true),
        (net("10.0.0.1/32"), "10.0.0.2", false, false),
        (net("2001:db8::/32"), "2001:db8:ffff::1", true, true),
        (net("2001:db8::/32"), "2001:db9::", false, false),
        (net("::/0"), "10.0.0.1", false, false),
        (net("0.0.0.0/0"), "::1", false, false),
        (net("0.0.0.0/0"), "a.test", false, false),
        (net("0.0.0.0/0"), "*.a.test", false, false),
        (exact("a.test"), "10.0.0.1", false, false),
        (under("test"), "10.0.0.1", false, false),
    ];
    for (rule, text, covered, touched) in rows {
        assert_eq!(rule.covers(&id(text)), covered, "{rule:?} covers {text}");
        assert_eq!(rule.touches(&id(text)), touched, "{rule:?} touches {text}");
        let allowing = Terms { allow: vec![rule.clone()], ..terms() };
        assert_eq!(allowing.allows(&id(text)).is_ok(), covered, "{rule:?} allows {text}");
        let denying = Terms { deny: vec![rule.clone()], ..terms() };
        assert_eq!(denying.allows(&id(text)).is_err(), touched, "{rule:?} denies {text}");
        // Deny wins.
        let both = Terms { allow: vec![rule.clone()], deny: vec![rule.clone()], ..terms() };
        assert!(both.allows(&id(text)).is_err(), "{rule:?} {text}");
    }
}

#[test]
fn terms_allow() {
    let open = terms();
    for text in ["a.test", "*.a.test", "10.0.0.1", "2001:db8::1"] {
        assert_eq!(open.allows(&id(text)), Ok(()), "{text}");
    }
    let several = Terms { allow: vec![exact("a.test"), under("b.test"), net("10.0.0.0/8")], ..terms() };
    for (text, want) in
        [("a.test", true), ("x.b.test", true), ("10.1.1.1", true), ("b.test", false), ("::1", false)]
    {
        assert_eq!(several.allows(&id(text)).is_ok(), want, "{text}");
    }
    let plain = Terms { wildcards: false, allow: vec![under("a.test")], ..terms() };
    assert!(plain.allows(&id("*.a.test")).is_err());
    assert_eq!(plain.allows(&id("b.a.test")), Ok(()));
    // What no offered challenge can prove is not to be asked for.
    let rows = [
        (ChallengeKind::Http01, [true, false, true]),
        (ChallengeKind::TlsAlpn01, [true, false, true]),
        (ChallengeKind::Dns01, [true, true, false]),
        (ChallengeKind::DnsAccount01, [true, true, false]),
        (ChallengeKind::DnsPersist01, [true, true, false]),
    ];
    for (kind, want) in rows {
        let only = Terms { challenges: vec![kind], ..terms() };
        assert_eq!(
            ["a.test", "*.a.test", "10.0.0.1"].map(|text| only.allows(&id(text)).is_ok()),
            want,
            "{kind:?}"
        );
    }
    assert!(Terms { challenges: Vec::new(), ..terms() }.allows(&id("a.test")).is_err());
}

fn key() -> rcgen::KeyPair {
    rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn spki(key: &rcgen::KeyPair) -> Spki {
    use rcgen::PublicKeyData;
    Spki::parse(&key.subject_public_key_info()).unwrap()
}

fn csr(names: &[&str], common_name: Option<&str>, key: &rcgen::KeyPair) -> Csr {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = common_name {
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
    }
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(ip) => rcgen::SanType::IpAddress(ip),
            Err(_) => rcgen::SanType::DnsName((*name).try_into().unwrap()),
        })
        .collect();
    Csr::parse(params.serialize_request(key).unwrap().der()).unwrap()
}

fn proved(text: &str) -> Slot {
    let challenge =
        Challenge { kind: ChallengeKind::Dns01, token: [0; TOKEN_BYTES], state: ChallengeState::Valid(T0) };
    Slot::Own(Authorization {
        identifier: id(text),
        expires: T0 + HOUR,
        deactivated: false,
        challenges: vec![challenge],
    })
}

fn ready(names: &[&str]) -> Order {
    Order {
        account: AccountId::new([1; 16]),
        provisioner: "acme".into(),
        created: T0,
        expires: T0 + HOUR,
        not_before: None,
        not_after: None,
        slots: names.iter().map(|name| proved(name)).collect(),
        finish: Finish::Open,
        details: OrderDetails::default(),
    }
}

fn order_id() -> OrderId {
    OrderId::new(T0, [0; 11])
}

fn grant(terms: &Terms, order: &Order, csr: &Csr) -> Result<Grant, ErrorKind> {
    let account = spki(&key());
    terms.grant(order_id(), order, csr, &account, None, T0).map_err(|refusal| refusal.kind)
}

#[test]
fn a_grant_carries_the_order_and_the_key() {
    let key = key();
    let order = Order {
        not_before: Some(T0),
        not_after: Some(T0 + HOUR),
        ..ready(&["a.test", "*.b.test", "10.0.0.1", "2001:db8::1"])
    };
    let csr = csr(&["10.0.0.1", "2001:db8::1", "*.B.test", "A.test", "a.test"], Some("A.TEST"), &key);
    let grant = grant(&terms(), &order, &csr).unwrap();
    let names: Vec<Identifier> = order.identifiers().cloned().collect();
    assert_eq!(grant.purpose(), &Purpose::Leaf(names), "in the order's order");
    assert_eq!(grant.key(), &spki(&key));
    assert_eq!((grant.not_before(), grant.not_after()), (Some(T0), Some(T0 + HOUR)));
    assert_eq!((grant.lifetime(), grant.longest()), (HOUR * 24, HOUR * 24));
    let requester = Requester::Acme { provisioner: "acme".into(), account: order.account, order: order_id() };
    assert_eq!(grant.requester(), &requester);
}

/// Key type of the CSR, profile of the order → what is granted.
#[test]
fn a_grant_is_by_the_order_s_profile() {
    let leaf = LeafRules {
        usages: Usages::of([Usage::ServerAuth]).unwrap(),
        key_types: KeyTypes::of(&[KeyType::EcP384]).unwrap(),
        ..LeafRules::default()
    };
    let usual = LeafRules::default();
    let lifetimes = Lifetimes { default: HOUR * 2, min: HOUR, max: HOUR * 3 };
    let profile = Profile {
        description: "d".into(),
        rules: Rules { lifetimes, leaf: leaf.clone().into() },
        restraints: Default::default(),
    };
    let profiles =
        Profiles { offered: [("short".to_owned(), profile)].into(), default: Some("short".into()) };
    let terms = Terms { profiles, ..terms() };
    let of = |profile: Option<&str>, not_after| {
        let details = OrderDetails { profile: profile.map(str::to_owned), ..OrderDetails::default() };
        Order { details, not_after, ..ready(&["a.test"]) }
    };
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let (p256, p384) = (csr(&["a.test"], None, &key()), csr(&["a.test"], None, &p384));
    use ErrorKind::{BadCsr, InvalidProfile, Malformed};
    let rows = [
        // The default is for new orders; one that names none has none.
        (of(None, None), &p256, Ok((24, 24, None))),
        (of(None, None), &p384, Ok((24, 24, None))),
        (of(Some("short"), None), &p384, Ok((2, 3, Some("short")))),
        (of(Some("short"), None), &p256, Err(BadCsr)),
        (of(Some("short"), Some(T0 + HOUR * 3)), &p384, Ok((2, 3, Some("short")))),
        (of(Some("short"), Some(T0 + HOUR * 4)), &p384, Err(Malformed)),
        (of(Some("gone"), None), &p384, Err(InvalidProfile)),
    ];
    for (order, csr, want) in rows {
        let got = grant(&terms, &order, csr);
        let shown = got.as_ref().map(|grant| {
            let hours = |ttl: Duration| ttl.as_secs() / 3600;
            (hours(grant.lifetime()), hours(grant.longest()), grant.profile())
        });
        assert_eq!(shown.map_err(|kind| *kind), want, "{:?}", order.details);
        if let Ok(grant) = &got {
            let named = grant.profile().is_some();
            assert_eq!(grant.leaf(), if named { &leaf } else { &usual });
        }
    }
}

#[test]
fn a_grant_needs_exactly_the_names_of_the_order() {
    let key = key();
    let ordered = ["a.test", "*.b.test", "10.0.0.1"];
    use ErrorKind::BadCsr;
    type Row<'a> = (&'a [&'a str], Option<&'a str>, Result<(), ErrorKind>);
    let rows: [Row<'_>; 16] = [
        (&["a.test", "*.b.test", "10.0.0.1"], None, Ok(())),
        (&["10.0.0.1", "*.b.test", "a.test"], Some("*.b.test"), Ok(())),
        (&["a.test", "*.b.test", "10.0.0.1"], Some("10.0.0.1"), Ok(())),
        (&["a.test", "*.b.test", "10.0.0.1"], Some(""), Ok(())),
        (&["a.test", "*.b.test"], None, Err(BadCsr)),
        (&["a.test"], Some("a.test"), Err(BadCsr)),
        // A common name beside a subjectAltName adds nothing to it.
        (&["a.test", "*.b.test"], Some("10.0.0.1"), Err(BadCsr)),
        (&["a.test", "*.b.test", "10.0.0.1", "c.test"], None, Err(BadCsr)),
        (&["a.test", "*.b.test", "10.0.0.1", "10.0.0.2"], None, Err(BadCsr)),
        (&["a.test", "b.test", "10.0.0.1"], None, Err(BadCsr)),
        (&["*.a.test", "*.b.test", "10.0.0.1"], None, Err(BadCsr)),
        (&["a.test", "x.b.test", "10.0.0.1"], None, Err(BadCsr)),
        (&["a.test", "*.b.test", "::ffff:10.0.0.1"], None, Err(BadCsr)),
        (&["a.test.", "*.b.test", "10.0.0.1"], None, Err(BadCsr)),
        (&["a.test", "*.b.test", "10.0.0.1"], Some("c.test"), Err(BadCsr)),
        (&["a.test", "*.b.test", "10.0.0.1"], Some("My Server"), Err(BadCsr)),
    ];
    for (names, common_name, want) in rows {
        let got = grant(&terms(), &ready(&ordered), &csr(names, common_name, &key));
        assert_eq!(got.map(drop), want, "{names:?} {common_name:?}");
    }
    // An address written into a dNSName is no iPAddress.
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![rcgen::SanType::DnsName("10.0.0.1".try_into().unwrap())];
    let as_dns = Csr::parse(params.serialize_request(&key).unwrap().der()).unwrap();
    assert_eq!(grant(&terms(), &ready(&["10.0.0.1"]), &as_dns).map(drop), Err(BadCsr));
    // The common name alone is the request where there is no subjectAltName.
    assert!(grant(&terms(), &ready(&["a.test"]), &csr(&[], Some("a.test"), &key)).is_ok());
    assert!(grant(&terms(), &ready(&["a.test", "b.test"]), &csr(&[], Some("a.test"), &key)).is_err());
}

#[test]
fn a_grant_needs_a_ready_order() {
    let request = csr(&["a.test"], None, &key());
    let with = |finish| Order { finish, ..ready(&["a.test"]) };
    let pending = {
        let mut order = ready(&["a.test"]);
        order.own_mut(0).unwrap().challenges[0].state = ChallengeState::Pending(None);
        order
    };
    let mut given_up = ready(&["a.test"]);
    given_up.own_mut(0).unwrap().deactivated = true;
    let expired = Order { expires: T0, ..ready(&["a.test"]) };
    let mut proof_expired = ready(&["a.test"]);
    proof_expired.own_mut(0).unwrap().expires = T0;
    use ErrorKind::OrderNotReady;
    let problem =
        crate::acme::error::StoredProblem { kind: ErrorKind::BadCsr, detail: "no".into(), identifier: None };
    let rows = [
        (ready(&["a.test"]), Ok(())),
        (with(Finish::Processing(request.der().to_vec())), Ok(())),
        (pending, Err(OrderNotReady)),
        (given_up.clone(), Err(OrderNotReady)),
        (expired, Err(OrderNotReady)),
        (proof_expired, Err(OrderNotReady)),
        (with(Finish::Failed(problem)), Err(OrderNotReady)),
        (with(Finish::Issued { serial: Serial::new(T0, [0; 16]), csr: [0; 32] }), Err(OrderNotReady)),
        (Order { provisioner: "other".into(), ..ready(&["a.test"]) }, Err(ErrorKind::Unauthorized)),
    ];
    for (order, want) in rows {
        assert_eq!(grant(&terms(), &order, &request).map(drop), want, "{order:?}");
    }
}

/// A slow signer signs after the order was accepted: what was given up meanwhile is not signed for.
#[test]
fn a_processing_order_is_granted_only_while_its_proofs_stand() {
    let request = csr(&["a.test"], None, &key());
    let processing = Order { finish: Finish::Processing(request.der().to_vec()), ..ready(&["a.test"]) };
    let mut given_up = processing.clone();
    given_up.deactivate(0, T0).unwrap();
    assert_eq!(grant(&terms(), &given_up, &request).map(drop), Err(ErrorKind::Unauthorized));
    // Time alone takes nothing from an order that was accepted in time.
    let account = spki(&key());
    assert!(terms().grant(order_id(), &processing, &request, &account, None, T0 + HOUR * 2).is_ok());
}

#[test]
fn a_grant_follows_the_rules_of_today() {
    let request = csr(&["a.test"], None, &key());
    let order = ready(&["a.test"]);
    for terms in [
        Terms { deny: vec![exact("a.test")], ..terms() },
        Terms { allow: vec![under("a.test")], ..terms() },
        Terms { challenges: Vec::new(), ..terms() },
    ] {
        assert_eq!(grant(&terms, &order, &request).map(drop), Err(ErrorKind::RejectedIdentifier));
    }
    let wildcard = ready(&["*.a.test"]);
    let plain = Terms { wildcards: false, ..terms() };
    let got = grant(&plain, &wildcard, &csr(&["*.a.test"], None, &key())).map(drop);
    assert_eq!(got, Err(ErrorKind::RejectedIdentifier));
    // A lifetime that was within the limits of newOrder, and is not any more.
    let shorter = Terms { lifetimes: Lifetimes { default: HOUR, min: HOUR, max: HOUR }, ..terms() };
    for (not_before, hours, want) in [
        (None, 1, Ok(())),
        (None, 2, Err(ErrorKind::Malformed)),
        (Some(T0 + HOUR), 2, Ok(())),
        (Some(T0 + HOUR), 3, Err(ErrorKind::Malformed)),
    ] {
        let order = Order { not_before, not_after: Some(T0 + HOUR * hours), ..order.clone() };
        assert_eq!(grant(&shorter, &order, &request).map(drop), want, "{not_before:?} {hours}");
    }
}

#[test]
fn the_account_key_is_not_certified() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let request = csr(&["a.test"], None, &key);
        // As the account record keeps it.
        let stored: PublicKey = spki(&key).key().clone();
        let got = terms().grant(order_id(), &ready(&["a.test"]), &request, &Spki::from_key(stored), None, T0);
        assert_eq!(got.unwrap_err().kind, ErrorKind::BadCsr);
        assert!(grant(&terms(), &ready(&["a.test"]), &request).is_ok(), "beside another account key");
    }
}

#[test]
fn an_account_that_is_bound_gets_what_its_key_allows() {
    use crate::id::EabKid;
    use crate::provisioner::eab::EabSecret;
    let kid = EabKid::new([5; 16]);
    let eab = EabKey {
        kid,
        secret: EabSecret::new([1; 64]),
        provisioner: "acme".into(),
        allow: vec![under("a.test")],
        expires: T0,
        max_uses: 1,
        label: String::new(),
        trusts_names: true,
        created: T0,
        revoked: None,
    };
    let trusting = Terms { eab: EabMode::Required, eab_trusts_names: true, ..terms() };
    let trusted = |name: &str, by| {
        let mut order = ready(&["x.test"]);
        order.slots =
            vec![Slot::Trusted { identifier: id(name), expires: T0 + HOUR, deactivated: false, by }];
        order
    };
    let account = spki(&key());
    let grant = |terms: &Terms, order: &Order, eab: Option<&EabKey>| {
        let names: Vec<String> = order.identifiers().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let request = csr(&names, None, &key());
        terms.grant(order_id(), order, &request, &account, eab, T0).map(drop).map_err(|refusal| refusal.kind)
    };
    let revoked = EabKey { revoked: Some(T0), ..eab.clone() };
    let untrusting = EabKey { trusts_names: false, ..eab.clone() };
    let elsewhere = EabKey { provisioner: "other".into(), ..eab.clone() };
    let unscoped = EabKey { allow: vec![], ..eab.clone() };
    let other = EabKid::new([6; 16]);
    let denying = Terms { deny: vec![under("a.test")], ..trusting.clone() };
    let http_only = Terms { challenges: vec![ChallengeKind::Http01], ..trusting.clone() };
    use ErrorKind::{RejectedIdentifier, Unauthorized};
    let rows = [
        // Proved by a challenge: the scope and the key's standing count.
        (&trusting, ready(&["x.a.test"]), Some(&eab), Ok(())),
        (&trusting, ready(&["x.a.test"]), None, Ok(())),
        (&trusting, ready(&["x.b.test"]), Some(&eab), Err(RejectedIdentifier)),
        (&trusting, ready(&["x.b.test"]), Some(&unscoped), Ok(())),
        (&trusting, ready(&["x.a.test"]), Some(&revoked), Err(Unauthorized)),
        (&terms(), ready(&["x.a.test"]), Some(&revoked), Err(Unauthorized)),
        // Trusted: key, provisioner and scope must all still say so.
        (&trusting, trusted("x.a.test", kid), Some(&eab), Ok(())),
        (&http_only, trusted("*.a.test", kid), Some(&eab), Ok(())),
        (&trusting, trusted("x.a.test", kid), None, Err(Unauthorized)),
        (&trusting, trusted("x.a.test", other), Some(&eab), Err(Unauthorized)),
        (&trusting, trusted("x.b.test", kid), Some(&eab), Err(Unauthorized)),
        (&trusting, trusted("x.a.test", kid), Some(&revoked), Err(Unauthorized)),
        (&trusting, trusted("x.a.test", kid), Some(&untrusting), Err(Unauthorized)),
        (&trusting, trusted("x.a.test", kid), Some(&unscoped), Err(Unauthorized)),
        (&trusting, trusted("x.a.test", kid), Some(&elsewhere), Err(Unauthorized)),
        (&terms(), trusted("x.a.test", kid), Some(&eab), Err(Unauthorized)),
        (&denying, trusted("x.a.test", kid), Some(&eab), Err(RejectedIdentifier)),
    ];
    for (terms, order, eab, want) in rows {
        assert_eq!(grant(terms, &order, eab), want, "{order:?} {eab:?}");
    }
}

/// An order that is renewed automatically, its renewal begun or not.
fn renewed(names: &[&str], begun: Option<Option<Timestamp>>) -> Order {
    use crate::acme::star::{AutoRenewal, Renewing};
    let agreed = AutoRenewal {
        start: None,
        end: T0 + HOUR * 48,
        lifetime: 3600 * 6,
        lifetime_adjust: 3600 * 4,
        allow_certificate_get: false,
        keep: T0,
        due: T0,
    };
    let state = |canceled| Renewing {
        csr: Vec::new(),
        first: T0,
        current: None,
        failures: 0,
        refused: None,
        canceled,
    };
    let finish = begun.map_or(Finish::Open, |canceled| Finish::Renewing(Box::new(state(canceled))));
    Order {
        finish,
        details: OrderDetails { auto_renewal: Some(agreed), ..OrderDetails::default() },
        ..ready(names)
    }
}

fn renewing_terms() -> Terms {
    let offer = Offer { min_lifetime: HOUR, max_duration: HOUR, allow_certificate_get: false };
    Terms { auto_renewal: Some(offer), ..terms() }
}

#[test]
fn a_grant_for_a_period_is_held_against_the_terms_of_today() {
    let request = csr(&["a.test"], None, &key());
    let account = spki(&key());
    let period =
        |order: &Order, index| order.details.auto_renewal.as_ref().unwrap().period(T0, index).unwrap();
    // Long after its authorizations have run out: they were proved once.
    let order = renewed(&["a.test"], Some(None));
    let late = T0 + HOUR * 40;
    let fourth = period(&order, 4);
    let ask = |terms: &Terms, order: &Order, csr: &Csr, period| {
        terms
            .grant_period(order_id(), order, csr, &account, None, &period, late)
            .map_err(|refusal| refusal.kind)
    };
    let grant = ask(&renewing_terms(), &order, &request, fourth).unwrap();
    assert_eq!(
        (grant.not_before(), grant.not_after()),
        (Some(T0 + HOUR * 20), Some(T0 + HOUR * 30)),
        "nrd[4] is 24 hours in; four hours before, six behind"
    );
    assert_eq!((grant.lifetime(), grant.longest()), (HOUR * 6, HOUR * 10));
    let requester =
        Requester::AutoRenewal { provisioner: "acme".into(), account: order.account, order: order_id() };
    assert_eq!(grant.requester(), &requester);

    let mut given_up = order.clone();
    given_up.own_mut(0).unwrap().deactivated = true;
    let outliving = crate::acme::star::Period { not_after: T0 + HOUR * 49, ..fourth };
    let short = Lifetimes { default: HOUR, min: HOUR, max: HOUR * 9 };
    let plain = Order { details: OrderDetails::default(), ..order.clone() };
    use ErrorKind::{AutoRenewalCanceled, AutoRenewalExpired, BadCsr, RejectedIdentifier, Unauthorized};
    let rows = [
        (terms(), order.clone(), fourth, Unauthorized, "renewal is not offered any more"),
        (
            Terms { deny: vec![exact("a.test")], ..renewing_terms() },
            order.clone(),
            fourth,
            RejectedIdentifier,
            "denied",
        ),
        (
            Terms { lifetimes: short, ..renewing_terms() },
            order.clone(),
            fourth,
            Unauthorized,
            "too long by now",
        ),
        (
            Terms { name: "other".into(), ..renewing_terms() },
            order.clone(),
            fourth,
            Unauthorized,
            "another's",
        ),
        (renewing_terms(), renewed(&["a.test"], Some(Some(T0))), fourth, AutoRenewalCanceled, "canceled"),
        (renewing_terms(), given_up, fourth, Unauthorized, "given up"),
        (renewing_terms(), order.clone(), outliving, AutoRenewalExpired, "beyond the end"),
        (renewing_terms(), plain, fourth, Unauthorized, "no such order"),
        (renewing_terms(), renewed(&["a.test", "b.test"], Some(None)), fourth, BadCsr, "other names"),
        (renewing_terms(), renewed(&["a.test"], None), fourth, ErrorKind::OrderNotReady, "expired before"),
    ];
    for (terms, order, period, want, what) in rows {
        assert_eq!(ask(&terms, &order, &request, period).map(drop), Err(want), "{what}");
    }
    // The account's own key is none to certify, and a wildcard is a name like any other.
    let request = csr(&["*.a.test"], None, &key());
    assert!(ask(&renewing_terms(), &renewed(&["*.a.test"], Some(None)), &request, fourth).is_ok());
    let own = terms().grant_period(order_id(), &order, &request, request.key(), None, &fourth, late);
    assert!(own.is_err());
}

/// What asks for the ordinary grant of such an order gets the one for its first certificate.
#[test]
fn the_first_grant_of_a_series() {
    let request = csr(&["a.test"], None, &key());
    let order = renewed(&["a.test"], None);
    let first = grant(&renewing_terms(), &order, &request).unwrap();
    assert_eq!((first.not_before(), first.not_after()), (Some(T0), Some(T0 + HOUR * 6)));
    assert!(matches!(first.requester(), Requester::AutoRenewal { .. }));
    assert_eq!(grant(&terms(), &order, &request).map(drop), Err(ErrorKind::Unauthorized));
}
