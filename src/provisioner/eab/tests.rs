use super::*;
use crate::jose::mac::MacAlgorithm;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const DAY: Duration = Duration::from_secs(86_400);

fn id(text: &str) -> Identifier {
    let kind = if text.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
    Identifier::parse(kind, text).unwrap()
}

fn terms() -> Terms {
    Terms { eab: EabMode::Required, eab_trusts_names: true, ..Terms::named("acme") }
}

fn ask(allow: &[&str]) -> EabAsk {
    EabAsk {
        provisioner: "acme".into(),
        allow: allow.iter().map(|rule| (*rule).to_owned()).collect(),
        lifetime: DAY,
        max_uses: 2,
        label: "web".into(),
        trusts_names: !allow.is_empty(),
    }
}

fn make(ask: EabAsk, terms: &Terms) -> Result<EabKey, Refusal> {
    EabKey::create(ask, terms, [0xff; 16], [0xff; SECRET_BYTES], T0)
}

fn key(allow: &[&str]) -> EabKey {
    make(ask(allow), &terms()).unwrap()
}

#[test]
fn what_is_made_and_what_is_refused() {
    let made = key(&["a.test", "*.b.test", "10.0.0.0/8"]);
    assert_eq!((made.expires, made.max_uses, made.trusts_names), (T0 + DAY, 2, true));
    assert_eq!(made.secret.as_bytes().len(), SECRET_BYTES);
    for text in [made.kid.to_string(), made.secret.reveal()] {
        assert!(text.starts_with(|c: char| c.is_ascii_alphabetic()), "{text}");
    }
    let shown = format!("{made:?}");
    assert!(!shown.contains("255") && shown.contains("EabSecret"), "{shown}");

    let many: Vec<String> = (0..=MAX_RULES).map(|n| format!("n{n}.test")).collect();
    let rows = [
        (EabAsk { trusts_names: true, ..ask(&[]) }, "at least one allow"),
        (ask(&["a_b"]), "allow: "),
        (ask(&["*"]), "wildcard"),
        (ask(&["10.0.0.1/8"]), "10.0.0.0/8"),
        (EabAsk { allow: many, ..ask(&[]) }, "at most 100"),
        (EabAsk { lifetime: Duration::ZERO, ..ask(&[]) }, "expires: give 60 seconds to 3650 days"),
        (EabAsk { lifetime: DAY * 3651, ..ask(&[]) }, "expires: "),
        (EabAsk { max_uses: 0, ..ask(&[]) }, "uses: give 1 to"),
        (EabAsk { max_uses: MAX_USES + 1, ..ask(&[]) }, "uses: "),
        (EabAsk { label: "x".repeat(MAX_LABEL + 1), ..ask(&[]) }, "label: "),
        (EabAsk { label: "a\nb".into(), ..ask(&[]) }, "label: "),
    ];
    for (bad, want) in rows {
        let refusal = make(bad.clone(), &terms()).unwrap_err();
        assert!(
            refusal.kind == ErrorKind::Malformed && refusal.detail.contains(want),
            "{bad:?}: {refusal:?}"
        );
    }
    let off = Terms { eab: EabMode::Off, ..terms() };
    assert!(make(ask(&[]), &off).unwrap_err().detail.contains("takes no external"));
    let strict = Terms { eab_trusts_names: false, ..terms() };
    assert!(make(ask(&["a.test"]), &strict).unwrap_err().detail.contains("eab_trusts_names"));
    assert!(make(EabAsk { trusts_names: false, ..ask(&["a.test"]) }, &strict).is_ok());
}

#[test]
fn registrations_end_by_count_by_time_and_by_revocation() {
    let (fresh, gone) = (key(&[]), EabKey { revoked: Some(T0), ..key(&[]) });
    let last = Timestamp::from_millis((T0 + DAY).as_millis() - 1);
    let rows = [
        (&fresh, 0, T0, EabState::Active),
        (&fresh, 1, last, EabState::Active),
        (&fresh, 2, T0, EabState::UsedUp),
        (&fresh, u32::MAX, T0, EabState::UsedUp),
        (&fresh, 0, T0 + DAY, EabState::Expired),
        (&fresh, 2, T0 + DAY, EabState::Expired),
        (&gone, 0, T0, EabState::Revoked),
        (&gone, 2, T0 + DAY, EabState::Revoked),
    ];
    for (key, uses, now, want) in rows {
        assert_eq!(key.state(uses, now), want, "{uses} {now}");
        let checked = key.check_registration(&terms(), uses, now);
        assert_eq!(checked.is_ok(), want == EabState::Active, "{checked:?}");
        assert!(
            checked.is_err_and(|refusal| refusal.kind == ErrorKind::Unauthorized) || want == EabState::Active
        );
    }
    assert!(fresh.check_registration(&Terms { name: "other".into(), ..terms() }, 0, T0).is_err());
    // Neither count nor time ends what was registered.
    assert_eq!(fresh.check_standing(), Ok(()));
    assert_eq!(gone.check_standing().unwrap_err().kind, ErrorKind::Unauthorized);
    let names: std::collections::BTreeSet<_> =
        EabState::TABLE.iter().map(|(state, _)| state.name()).collect();
    assert_eq!(names.len(), EabState::TABLE.len());
}

#[test]
fn scope_and_trust() {
    let scoped = key(&["a.test", "*.b.test", "10.0.0.0/8"]);
    let untrusting = EabKey { trusts_names: false, ..scoped.clone() };
    let http_only = Terms { challenges: vec![crate::acme::challenge::ChallengeKind::Http01], ..terms() };
    let strict = Terms { eab_trusts_names: false, ..http_only.clone() };
    // Name, in scope, and whether it may be asked for where only http-01 is offered: trusted, not.
    let rows = [
        ("a.test", true, true, true),
        ("A.TEST", true, true, true),
        ("x.a.test", false, false, false),
        ("b.test", false, false, false),
        ("x.b.test", true, true, true),
        ("*.b.test", true, true, false),
        ("*.a.test", false, false, false),
        ("10.1.2.3", true, true, true),
        ("11.0.0.1", false, false, false),
        ("::1", false, false, false),
    ];
    for (name, covered, trusted, untrusted) in rows {
        let name = id(name);
        assert_eq!(scoped.covers(&name).is_ok(), covered, "{name}");
        assert_eq!(scoped.vouches_for(&http_only, &name), covered, "{name}");
        assert_eq!(scoped.allows(&http_only, &name).is_ok(), trusted, "{name}");
        assert_eq!(untrusting.allows(&http_only, &name).is_ok(), untrusted, "{name}");
        assert_eq!(scoped.allows(&strict, &name).is_ok(), untrusted, "{name}");
        // It takes the key's word, the provisioner's, a key in force and the right provisioner.
        assert!(!untrusting.vouches_for(&http_only, &name));
        assert!(!scoped.vouches_for(&strict, &name));
        let revoked = EabKey { revoked: Some(T0), ..scoped.clone() };
        assert!(!revoked.vouches_for(&http_only, &name));
        assert!(!scoped.vouches_for(&Terms { name: "other".into(), ..terms() }, &name));
        // What the provisioner denies, no key gives.
        let denied = Terms { deny: scoped.allow.clone(), ..terms() };
        assert!(scoped.allows(&denied, &name).is_err(), "{name}");
    }
    let open = key(&[]);
    assert!(open.covers(&id("any.test")).is_ok() && !open.vouches_for(&terms(), &id("any.test")));
    // An empty scope vouches for nothing, however it came to be.
    assert!(!EabKey { trusts_names: true, ..open }.vouches_for(&terms(), &id("any.test")));
}

#[test]
fn a_binding_is_for_the_key_that_signs() {
    let jwk =
        Jwk::parse(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
    let jwk = jwk.unwrap();
    let key = key(&[]);
    let bind = |payload: &str| {
        let header = base64url(br#"{"alg":"HS256","kid":"k","url":"u"}"#);
        let payload = base64url(payload.as_bytes());
        let mac = MacAlgorithm::Hs256.sign(key.secret.as_bytes(), format!("{header}.{payload}").as_bytes());
        let mac = base64url(&mac);
        let json = format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{mac}"}}"#);
        UnverifiedMac::parse(&json).unwrap()
    };
    assert_eq!(key.verify(&bind(&jwk.to_json()), &jwk), Ok(()));
    // Members in another order are the same key.
    let dressed =
        r#"{"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kty":"OKP","crv":"Ed25519","kid":"x"}"#;
    assert_eq!(key.verify(&bind(dressed), &jwk), Ok(()));
    let x = base64url(&[9; 32]);
    for payload in ["", "{}", "[]", &format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)] {
        assert_eq!(key.verify(&bind(payload), &jwk).unwrap_err().kind, ErrorKind::Malformed, "{payload}");
    }
    let other = EabKey { secret: EabSecret::new([1; SECRET_BYTES]), ..key.clone() };
    assert_eq!(other.verify(&bind(&jwk.to_json()), &jwk), Err(not_made_by_a_key()));
}

#[test]
fn when_a_binding_is_wanted() {
    let required = ErrorKind::ExternalAccountRequired;
    let rows = [
        (EabMode::Off, None, Ok(None)),
        (EabMode::Off, Some(1), Ok(None)),
        (EabMode::Optional, None, Ok(None)),
        (EabMode::Optional, Some(1), Ok(Some(1))),
        (EabMode::Required, None, Err(required)),
        (EabMode::Required, Some(1), Ok(Some(1))),
    ];
    for (mode, given, want) in rows {
        assert_eq!(wanted(mode, given).map_err(|refusal| refusal.kind), want, "{mode:?} {given:?}");
    }
}
