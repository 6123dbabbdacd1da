use super::*;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const HOUR: Duration = Duration::from_secs(3600);

fn issuer(n: u8, live: Option<u64>) -> IssuerFacts {
    let live = live.map(|count| Live { count, last: (count > 0).then_some(T0 + HOUR * 5) });
    IssuerFacts {
        key_id: [n; 20],
        subject: format!("CN={n}"),
        not_after: T0 + HOUR * 1000,
        published: None,
        chains: 1,
        live,
        in_use: false,
        own: false,
    }
}

fn facts() -> Facts {
    Facts {
        next: None,
        signing: issuer(1, Some(9)),
        former: Vec::new(),
        switched: None,
        overlap: HOUR * 24,
        handover: HOUR * 2,
    }
}

#[test]
fn stages() {
    let published = |at| Some(IssuerFacts { published: at, ..issuer(2, Some(0)) });
    let former = |live| vec![issuer(0, live)];
    let retire = Step::Retire([0; 20]);
    let since = Some(T0 - HOUR);
    let rows = [
        ("steady", facts(), (Stage::Steady, Step::Start, Some(T0))),
        ("not noted", Facts { next: published(None), ..facts() }, (Stage::Overlap, Step::Advance, None)),
        (
            "fresh",
            Facts { next: published(since), ..facts() },
            (Stage::Overlap, Step::Advance, Some(T0 + HOUR * 23)),
        ),
        (
            "old enough",
            Facts { next: published(Some(T0 - HOUR * 24)), ..facts() },
            (Stage::Ready, Step::Advance, Some(T0)),
        ),
        (
            "the next one comes first, whatever is left of an earlier one",
            Facts { next: published(since), former: former(Some(3)), ..facts() },
            (Stage::Overlap, Step::Advance, Some(T0 + HOUR * 23)),
        ),
        (
            "not counted",
            Facts { former: former(None), switched: since, ..facts() },
            (Stage::Counting, retire, None),
        ),
        (
            "called over",
            Facts { former: former(Some(3)), switched: since, ..facts() },
            (Stage::HandingOver, retire, Some(T0 + HOUR * 5)),
        ),
        (
            "all were called",
            Facts { former: former(Some(3)), switched: Some(T0 - HOUR * 2), ..facts() },
            (Stage::Draining, retire, Some(T0 + HOUR * 5)),
        ),
        (
            "nobody knows when it was switched",
            Facts { former: former(Some(3)), ..facts() },
            (Stage::Draining, retire, Some(T0 + HOUR * 5)),
        ),
        (
            "none is left",
            Facts { former: former(Some(0)), switched: since, ..facts() },
            (Stage::Drained, retire, Some(T0)),
        ),
        (
            "of two one has none left",
            Facts { former: vec![issuer(7, Some(1)), issuer(0, Some(0))], ..facts() },
            (Stage::Drained, retire, Some(T0)),
        ),
    ];
    for (what, facts, (stage, step, from)) in rows {
        assert_eq!(facts.standing(T0), Standing { stage, step, from }, "{what}");
    }
}

#[test]
fn steps_are_refused_until_their_time() {
    let next = |published| Facts { next: Some(IssuerFacts { published, ..issuer(2, Some(0)) }), ..facts() };
    let until = T0 + HOUR * 24;
    assert_eq!(facts().may_advance(T0), Err(NotYet::NoNext));
    assert_eq!(next(None).may_advance(T0), Err(NotYet::NotNoted));
    let early = next(Some(T0)).may_advance(until - Duration::from_secs(1));
    assert_eq!(early, Err(NotYet::Overlap { since: T0, until }));
    assert_eq!(next(Some(T0)).may_advance(until), Ok(()));

    let former = |one| Facts { former: vec![one], ..facts() };
    let none = issuer(0, Some(0));
    let rows = [
        (former(issuer(0, None)), Err(NotYet::Counting)),
        (former(issuer(0, Some(2))), Err(NotYet::Live { role: Role::Former, count: 2, last: T0 + HOUR * 5 })),
        (former(IssuerFacts { in_use: true, ..none.clone() }), Err(NotYet::InUse)),
        (former(IssuerFacts { own: true, ..none.clone() }), Err(NotYet::Own)),
        (former(IssuerFacts { own: true, live: None, ..none.clone() }), Err(NotYet::Own)),
        (former(none), Ok(())),
        (facts(), Err(NotYet::NotFormer([0; 20]))),
    ];
    for (facts, want) in rows {
        assert_eq!(facts.may_retire(&[0; 20]), want);
    }
    assert_eq!(facts().may_retire(&[1; 20]), Err(NotYet::NotFormer([1; 20])), "the one that signs");
}

/// The next one has signed if it was in force already, and an older configuration came back.
#[test]
fn a_next_one_that_has_signed_stays() {
    let next = |one| Facts { next: Some(one), ..facts() };
    let none = issuer(2, Some(0));
    let rows = [
        (next(issuer(2, None)), Err(NotYet::Counting)),
        (next(issuer(2, Some(2))), Err(NotYet::Live { role: Role::Next, count: 2, last: T0 + HOUR * 5 })),
        (next(IssuerFacts { in_use: true, ..none.clone() }), Err(NotYet::InUse)),
        (next(IssuerFacts { own: true, ..none.clone() }), Err(NotYet::Own)),
        (next(none), Ok(())),
        (facts(), Err(NotYet::NoNext)),
    ];
    for (facts, want) in rows {
        assert_eq!(facts.may_abort(), want);
    }
}

#[test]
fn what_may_be_forced() {
    let live = NotYet::Live { role: Role::Former, count: 1, last: T0 };
    let forced = [NotYet::Overlap { since: T0, until: T0 }, NotYet::NotNoted, live];
    assert!(forced.iter().all(NotYet::may_be_forced));
    let not_former = NotYet::NotFormer([0; 20]);
    let never = [NotYet::Counting, NotYet::NoNext, not_former, NotYet::InUse, NotYet::Own];
    assert!(!never.iter().any(NotYet::may_be_forced));
}

#[test]
fn every_stage_has_its_name() {
    for (stage, name) in Stage::TABLE {
        assert_eq!(stage.to_string(), name);
    }
}
