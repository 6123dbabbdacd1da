use proptest::prelude::*;

use super::*;

const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn name(value: &str) -> Identifier {
    Identifier::parse_dns(value).unwrap()
}

fn problem(detail: &str) -> StoredProblem {
    StoredProblem { kind: ErrorKind::IncorrectResponse, detail: detail.into(), identifier: None }
}

fn authorization(identifier: Identifier, states: &[(ChallengeKind, ChallengeState)]) -> Authorization {
    let challenge = |(kind, state): &(ChallengeKind, ChallengeState)| Challenge {
        kind: *kind,
        token: [7; TOKEN_BYTES],
        state: state.clone(),
    };
    Authorization {
        identifier,
        expires: T0 + secs(100),
        deactivated: false,
        challenges: states.iter().map(challenge).collect(),
    }
}

fn order(slots: Vec<Slot>, finish: Finish) -> Order {
    Order {
        account: AccountId::new([1; 16]),
        provisioner: "acme".into(),
        created: T0,
        expires: T0 + secs(100),
        not_before: None,
        not_after: None,
        slots,
        finish,
        details: OrderDetails::default(),
    }
}

fn serial() -> Serial {
    Serial::new(T0, [3; 16])
}

use AuthorizationStatus as A;
use ChallengeKind::{Dns01, Http01, TlsAlpn01};
use ChallengeState::{Invalid, Pending, Processing, Valid};

#[test]
fn a_renewed_order_is_valid_until_it_is_canceled() {
    let state = |canceled| {
        let renewing = crate::acme::star::Renewing {
            csr: vec![1],
            first: T0,
            current: None,
            failures: 0,
            refused: None,
            canceled,
        };
        order(Vec::new(), Finish::Renewing(Box::new(renewing)))
    };
    for (canceled, want, name) in
        [(None, OrderStatus::Valid, "valid"), (Some(T0), OrderStatus::Canceled, "canceled")]
    {
        for now in [T0, T0 + secs(99), T0 + secs(1_000_000)] {
            let status = state(canceled).status(now);
            assert_eq!((status, name_of(status)), (want, name));
        }
    }
}

#[test]
fn every_authorization_status() {
    let failed = || Invalid(problem("no"));
    let tried = || Pending(Some(problem("timeout")));
    let (in_time, late) = (T0 + secs(99), T0 + secs(100));
    // States of http-01 and dns-01, deactivated, and the status in time and late.
    let rows = [
        (Pending(None), Pending(None), false, A::Pending, A::Expired),
        (tried(), Pending(None), false, A::Pending, A::Expired),
        (Processing, Pending(None), false, A::Pending, A::Expired),
        (Valid(T0), Pending(None), false, A::Valid, A::Expired),
        (Pending(None), Valid(T0), false, A::Valid, A::Expired),
        (Processing, Valid(T0), false, A::Valid, A::Expired),
        (failed(), Pending(None), false, A::Invalid, A::Invalid),
        (Pending(None), failed(), false, A::Invalid, A::Invalid),
        // Should both ever be recorded, the failure counts.
        (failed(), Valid(T0), false, A::Invalid, A::Invalid),
        (Pending(None), Pending(None), true, A::Deactivated, A::Deactivated),
        (Valid(T0), Pending(None), true, A::Deactivated, A::Deactivated),
        (failed(), Pending(None), true, A::Deactivated, A::Deactivated),
    ];
    for (http, dns, deactivated, at_99, at_100) in rows {
        let mut subject = authorization(name("a.test"), &[(Http01, http), (Dns01, dns)]);
        subject.deactivated = deactivated;
        assert_eq!(subject.status(in_time), at_99, "{subject:?}");
        assert_eq!(subject.status(late), at_100, "{subject:?}");
        assert_eq!(subject.problem().is_some(), subject.challenges.iter().any(|c| c.state == failed()));
    }
    // Nothing to prove with is not proved.
    assert_eq!(authorization(name("a.test"), &[]).status(in_time), A::Pending);
}

#[test]
fn every_order_status() {
    let own = |state| Slot::Own(authorization(name("a.test"), &[(Http01, state)]));
    let given_up = || {
        let Slot::Own(mut authorization) = own(Valid(T0)) else { unreachable!() };
        authorization.deactivated = true;
        Slot::Own(authorization)
    };
    let reused = |expires| Slot::Reused {
        identifier: name("b.test"),
        order: OrderId::new(T0, [0; 11]),
        index: 0,
        expires,
    };
    let held = || reused(T0 + secs(100));
    let now = T0 + secs(50);
    use OrderStatus as O;
    let rows = [
        (vec![own(Pending(None))], O::Pending),
        (vec![own(Processing)], O::Pending),
        (vec![own(Valid(T0))], O::Ready),
        (vec![held()], O::Ready),
        (vec![reused(now)], O::Invalid),
        (vec![held(), own(Pending(None))], O::Pending),
        (vec![own(Pending(None)), held()], O::Pending),
        (vec![own(Valid(T0)), held()], O::Ready),
        (vec![own(Valid(T0)), reused(now)], O::Invalid),
        (vec![own(Pending(None)), reused(now)], O::Invalid),
        (vec![own(Pending(None)), own(Invalid(problem("no")))], O::Invalid),
        (vec![own(Valid(T0)), own(Invalid(problem("no")))], O::Invalid),
        (vec![own(Valid(T0)), given_up()], O::Invalid),
    ];
    for (slots, open) in rows {
        let cases = [
            (Finish::Open, open, O::Invalid),
            (Finish::Processing(vec![1]), O::Processing, O::Processing),
            (Finish::Issued { serial: serial(), csr: [0; 32] }, O::Valid, O::Valid),
            (Finish::Failed(problem("refused")), O::Invalid, O::Invalid),
        ];
        for (finish, in_time, late) in cases {
            let subject = order(slots.clone(), finish);
            assert_eq!(subject.status(now), in_time, "{subject:?}");
            assert_eq!(subject.status(T0 + secs(100)), late, "{subject:?}");
        }
    }
}

#[test]
fn an_order_tells_why_it_is_invalid() {
    let slot = |state| Slot::Own(authorization(name("a.test"), &[(Http01, state)]));
    let reused =
        Slot::Reused { identifier: name("b.test"), order: OrderId::new(T0, [0; 11]), index: 0, expires: T0 };
    let subject = order(vec![reused, slot(Valid(T0)), slot(Invalid(problem("no")))], Finish::Open);
    assert_eq!(subject.problem(), Some(&problem("no")));
    let refused = Order { finish: Finish::Failed(problem("refused")), ..subject.clone() };
    assert_eq!(refused.problem(), Some(&problem("refused")));
    assert_eq!(order(vec![slot(Pending(Some(problem("timeout"))))], Finish::Open).problem(), None);
    let values: Vec<_> = subject.identifiers().map(ToString::to_string).collect();
    assert_eq!(values, ["b.test", "a.test", "a.test"]);
    let mut subject = subject;
    assert_eq!(subject.own(0), None);
    assert!(subject.own(1).is_some() && subject.own_mut(2).is_some());
    assert!(subject.own(3).is_none() && subject.own_mut(3).is_none());
    let names = [
        (OrderStatus::Pending, "pending"),
        (OrderStatus::Ready, "ready"),
        (OrderStatus::Processing, "processing"),
        (OrderStatus::Valid, "valid"),
        (OrderStatus::Invalid, "invalid"),
    ];
    for (status, text) in names {
        assert_eq!(name_of(status), text);
    }
}

#[test]
fn respond_starts_one_validation_of_a_pending_authorization() {
    let now = T0;
    let fresh = || authorization(name("a.test"), &[(Http01, Pending(None)), (Dns01, Pending(None))]);
    let mut subject = fresh();
    assert!(!subject.respond(TlsAlpn01, now), "not offered");
    assert_eq!(subject, fresh());
    assert!(subject.respond(Http01, now));
    assert_eq!(subject.challenge(Http01).unwrap().state, Processing);
    for kind in [Http01, Dns01] {
        let before = subject.clone();
        assert!(!subject.respond(kind, now), "one is under validation");
        assert_eq!(subject, before);
    }
    // Tried without a result: again, by either way.
    assert!(subject.settle(Http01, Verdict::Inconclusive(problem("timeout")), now, DAY));
    assert_eq!(subject.challenge(Http01).unwrap().state, Pending(Some(problem("timeout"))));
    assert!(subject.clone().respond(Http01, now) && subject.clone().respond(Dns01, now));
    for state in [Valid(T0), Invalid(problem("no"))] {
        let mut settled = authorization(name("a.test"), &[(Http01, state), (Dns01, Pending(None))]);
        assert!(!settled.respond(Dns01, now));
    }
    assert!(!fresh().respond(Http01, T0 + secs(100)), "expired");
    assert!(!Authorization { deactivated: true, ..fresh() }.respond(Http01, now));
}

#[test]
fn settle_writes_the_verdict_once() {
    let fresh = || authorization(name("a.test"), &[(Http01, Processing), (Dns01, Pending(None))]);
    let now = T0 + secs(10);

    let mut proved = fresh();
    assert!(proved.settle(Http01, Verdict::Proved, now, DAY));
    assert_eq!((proved.status(now), proved.expires), (A::Valid, now + DAY));
    let mut no_reuse = fresh();
    assert!(no_reuse.settle(Http01, Verdict::Proved, now, Duration::ZERO));
    assert_eq!(no_reuse.expires, T0 + secs(100), "as long as the order at hand");

    // What a proof says of its own end is never exceeded, and never adds.
    for (end, expires) in [(secs(20), secs(20)), (secs(99), secs(99)), (2 * DAY, secs(10) + DAY)] {
        let mut bounded = fresh();
        assert!(bounded.settle(Http01, Verdict::ProvedUntil(T0 + end), now, DAY));
        assert_eq!((bounded.status(now), bounded.expires), (A::Valid, T0 + expires));
    }

    let mut failed = fresh();
    assert!(failed.settle(Http01, Verdict::Failed(problem("no")), now, DAY));
    assert_eq!((failed.status(now), failed.expires), (A::Invalid, T0 + secs(100)));

    for mut settled in [proved, failed, Authorization { deactivated: true, ..fresh() }] {
        for verdict in
            [Verdict::Proved, Verdict::Failed(problem("later")), Verdict::Inconclusive(problem("later"))]
        {
            let before = settled.clone();
            assert!(!settled.settle(Http01, verdict.clone(), now, DAY));
            assert!(!settled.settle(Dns01, verdict, now, DAY));
            assert_eq!(settled, before);
        }
    }
    assert!(!fresh().settle(TlsAlpn01, Verdict::Proved, now, DAY), "not offered");
    assert!(!fresh().settle(Http01, Verdict::Proved, T0 + secs(100), DAY), "expired");
}

/// Two responses at the same moment start two validations; the one that was recorded counts, and
/// the other must not leave it behind as processing in a settled authorization.
#[test]
fn a_verdict_on_a_challenge_is_dropped_while_another_is_under_validation() {
    let fresh = || authorization(name("a.test"), &[(Http01, Processing), (Dns01, Pending(None))]);
    for verdict in [Verdict::Proved, Verdict::Failed(problem("no")), Verdict::Inconclusive(problem("?"))] {
        let mut subject = fresh();
        assert!(!subject.settle(Dns01, verdict, T0, DAY));
        assert_eq!(subject, fresh());
    }
}

#[test]
fn deactivation_takes_back_what_is_pending_or_valid() {
    let slot = |state| Slot::Own(authorization(name("a.test"), &[(Http01, state)]));
    let now = T0 + secs(10);
    for state in [Pending(None), Valid(T0), Processing] {
        let mut subject = order(vec![slot(state)], Finish::Open);
        assert_eq!(subject.deactivate(0, now), Ok(()));
        assert_eq!(subject.status(now), OrderStatus::Invalid);
        assert_eq!(subject.own(0).unwrap().status(now), A::Deactivated);
        let before = subject.clone();
        assert!(subject.deactivate(0, now).is_err(), "twice");
        assert_eq!(subject, before);
    }
    for (state, at) in [(Invalid(problem("no")), now), (Valid(T0), T0 + secs(100))] {
        let mut subject = order(vec![slot(state)], Finish::Open);
        let before = subject.clone();
        assert_eq!(subject.deactivate(0, at).unwrap_err().kind, ErrorKind::Malformed);
        assert_eq!(subject, before);
    }
    assert!(order(vec![], Finish::Open).deactivate(0, now).is_err());
    // What was issued stays issued.
    let mut issued = order(vec![slot(Valid(T0))], Finish::Issued { serial: serial(), csr: [0; 32] });
    assert_eq!(issued.deactivate(0, now), Ok(()));
    assert_eq!(issued.status(now), OrderStatus::Valid);
}

/// A poll goes on with a validation that is recorded as processing: a settled authorization has
/// none, or every poll of it would send out another validation.
#[test]
fn what_is_given_up_is_no_longer_under_validation() {
    let slot = Slot::Own(authorization(name("a.test"), &[(Http01, Processing), (Dns01, Pending(None))]));
    let mut subject = order(vec![slot], Finish::Open);
    assert_eq!(subject.own(0).unwrap().under_validation(T0), Some(Http01));
    assert_eq!(subject.own(0).unwrap().under_validation(T0 + secs(100)), None, "expired");
    subject.deactivate(0, T0).unwrap();
    assert_eq!(subject.own(0).unwrap().under_validation(T0), None);
    let states = subject.own(0).unwrap().challenges.iter().map(|challenge| &challenge.state);
    assert!(states.eq([&Pending(None), &Pending(None)]));
}

fn raw(kind: &str, value: &str) -> RawIdentifier {
    RawIdentifier { kind: kind.into(), value: value.into(), ancestor: None }
}

#[test]
fn identifiers_are_normalised_bounded_and_deduplicated() {
    let read = |raws: &[RawIdentifier], max| {
        let read = read_identifiers(raws, max, |_| Ok(()))?;
        Ok::<_, Refusal>(read.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(
        read(
            &[
                raw("dns", "B.test"),
                raw("ip", "10.0.0.1"),
                raw("dns", "a.test"),
                raw("dns", "b.TEST"),
                raw("dns", "*.b.test"),
                raw("ip", "10.0.0.1"),
            ],
            6
        )
        .unwrap(),
        ["b.test", "10.0.0.1", "a.test", "*.b.test"],
        "in the client's order"
    );
    assert_eq!(read(&[], 6).unwrap_err().kind, ErrorKind::Malformed);
    let same = vec![raw("dns", "a.test"); 3];
    assert_eq!(read(&same, 3).unwrap(), ["a.test"]);
    assert_eq!(read(&same, 2).unwrap_err().kind, ErrorKind::Malformed, "counted before deduplication");
    assert!(read(&same, 0).is_err(), "zero is a limit");
}

#[test]
fn every_bad_identifier_is_reported() {
    let allowed = |id: &Identifier| {
        if id.order_value().ends_with("denied.test") { Err("denied".to_owned()) } else { Ok(()) }
    };
    let read = |raws: &[RawIdentifier]| read_identifiers(raws, 9, allowed).unwrap_err();
    let good = raw("dns", "a.test");
    use ErrorKind::{Malformed, RejectedIdentifier, UnsupportedIdentifier};
    let rows = [
        // One: the problem is its own.
        (vec![good.clone(), raw("dns", "X.denied.test")], RejectedIdentifier, vec![RejectedIdentifier]),
        (vec![raw("email", "a@a.test")], UnsupportedIdentifier, vec![UnsupportedIdentifier]),
        (vec![raw("dns", "a..b"), good.clone()], Malformed, vec![Malformed]),
        (vec![raw("ip", "a.test")], Malformed, vec![Malformed]),
        // Several of one kind keep it; mixed kinds are a malformed request.
        (
            vec![raw("dns", "x.denied.test"), good.clone(), raw("dns", "y.denied.test")],
            RejectedIdentifier,
            vec![RejectedIdentifier, RejectedIdentifier],
        ),
        (
            vec![raw("dns", "x.denied.test"), raw("email", "a"), raw("dns", "")],
            Malformed,
            vec![RejectedIdentifier, UnsupportedIdentifier, Malformed],
        ),
    ];
    for (raws, kind, kinds) in rows {
        let refusal = read(&raws);
        assert_eq!(refusal.kind, kind, "{raws:?}");
        assert_eq!(refusal.subproblems.iter().map(|sub| sub.kind).collect::<Vec<_>>(), kinds, "{raws:?}");
        // As the client wrote them, so that it can match them.
        let named = refusal.subproblems.iter().map(|sub| raw(&sub.identifier.0, &sub.identifier.1));
        let bad = raws.iter().filter(|each| **each != good).cloned();
        assert!(named.eq(bad), "{raws:?}");
    }
    let detail = read(&[raw("dns", "a\n\u{1b}[31m.test")]).detail;
    assert!(detail.chars().all(|c| !c.is_control()), "{detail:?}");
}

#[test]
fn validity_limits() {
    let limits = Lifetimes { default: DAY, min: secs(300), max: DAY };
    let none = Lifetimes { min: Duration::ZERO, ..limits };
    let (at, before) = (|s| Some(T0 + secs(s)), |s| Some(T0 - secs(s)));
    let day = DAY.as_secs();
    let rows = [
        (None, None, limits, true),
        (before(300), None, limits, true),
        (before(301), None, limits, false),
        (at(day), None, limits, true),
        (at(day + 1), None, limits, false),
        (None, at(300), limits, true),
        (None, at(299), limits, false),
        (None, at(day), limits, true),
        (None, at(day + 1), limits, false),
        (None, before(1), limits, false),
        (at(day), at(day + 300), limits, true),
        (at(day), at(2 * day), limits, true),
        (at(day), at(2 * day + 1), limits, false),
        (at(day), at(1), limits, false),
        (before(300), at(day - 300), limits, true),
        (before(300), at(day - 299), limits, false),
        // Long enough, but over when it begins.
        (before(300), at(0), limits, false),
        (before(300), at(1), limits, true),
        // No least lifetime still means a lifetime.
        (None, at(1), none, true),
        (None, at(0), none, false),
        (None, before(1), none, false),
        (at(100), at(100), none, false),
        (at(100), at(99), none, false),
        (at(100), at(101), none, true),
        (before(200), before(100), none, false),
    ];
    for (not_before, not_after, limits, good) in rows {
        let got = check_validity(not_before, not_after, limits, T0);
        assert_eq!(got.is_ok(), good, "{not_before:?} {not_after:?} {limits:?}: {got:?}");
        assert!(got.is_ok() || got.unwrap_err().kind == ErrorKind::Malformed);
    }
    // At the ends of time nothing overflows.
    let end = Timestamp::from_millis(u64::MAX);
    for now in [Timestamp::EPOCH, end] {
        for asked in [None, Some(Timestamp::EPOCH), Some(end)] {
            let _ = check_validity(asked, asked, limits, now);
        }
    }
}

/// What can happen to an order, in any sequence.
#[derive(Clone, Debug)]
enum Step {
    Respond(u16, ChallengeKind),
    Settle(u16, ChallengeKind, Verdict),
    Deactivate(u16),
    /// Seconds, forward or back.
    Jump(i64),
    Finish(Finish),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = || prop::sample::select(vec![Http01, Dns01, TlsAlpn01]);
    let verdict = prop_oneof![
        4 => Just(Verdict::Proved),
        1 => (1..200_000u64).prop_map(|end| Verdict::ProvedUntil(T0 + secs(end))),
        1 => Just(Verdict::Failed(problem("no"))),
        1 => Just(Verdict::Inconclusive(problem("timeout"))),
    ];
    let finish = prop_oneof![
        Just(Finish::Issued { serial: serial(), csr: [9; 32] }),
        Just(Finish::Processing(vec![1, 2])),
        Just(Finish::Failed(problem("refused"))),
    ];
    let step = prop_oneof![
        4 => (0..4u16, kind()).prop_map(|(slot, kind)| Step::Respond(slot, kind)),
        6 => (0..4u16, kind(), verdict).prop_map(|(slot, kind, verdict)| Step::Settle(slot, kind, verdict)),
        1 => (0..4u16).prop_map(Step::Deactivate),
        2 => prop::sample::select(vec![-200_000i64, -90, -1, 1, 30, 99, 101, 200_000]).prop_map(Step::Jump),
        2 => finish.prop_map(Step::Finish),
    ];
    prop::collection::vec(step, 1..40)
}

/// What must be true of an order whatever happened to it, kept by other means than the order's.
struct Witness {
    order: Order,
    now: Timestamp,
    /// Accepted proofs, by slot: by which challenge, and until when they hold.
    proofs: [Option<(ChallengeKind, Timestamp)>; 4],
    /// Slots that reached a terminal state, and which.
    ended: [Option<A>; 4],
}

impl Witness {
    fn new() -> Self {
        let all = [(Http01, Pending(None)), (Dns01, Pending(None)), (TlsAlpn01, Pending(None))];
        let reused = Slot::Reused {
            identifier: name("d.test"),
            order: OrderId::new(T0, [0; 11]),
            index: 0,
            expires: T0 + secs(95),
        };
        let slots = vec![
            Slot::Own(authorization(name("a.test"), &all)),
            Slot::Own(authorization(name("*.b.test"), &all[1..2])),
            Slot::Own(authorization(
                Identifier::parse_ip("10.0.0.1").unwrap(),
                &[all[0].clone(), all[2].clone()],
            )),
            reused,
        ];
        Self { order: order(slots, Finish::Open), now: T0, proofs: [None; 4], ended: [None; 4] }
    }

    fn apply(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match step {
            Step::Jump(by) if by < 0 => self.now = now - secs(by.unsigned_abs()),
            Step::Jump(by) => self.now = now + secs(by.unsigned_abs()),
            Step::Respond(slot, kind) => {
                let Some(authorization) = self.order.own_mut(slot) else { return Ok(()) };
                let before = authorization.clone();
                let began = authorization.respond(kind, now);
                let free = before.challenges.iter().all(|c| c.state != Processing);
                let may = before.status(now) == A::Pending && free && before.challenge(kind).is_some();
                prop_assert_eq!(began, may);
                prop_assert!(began || *authorization == before);
            }
            Step::Settle(slot, kind, verdict) => {
                let Some(authorization) = self.order.own_mut(slot) else { return Ok(()) };
                let before = authorization.clone();
                let taken = authorization.settle(kind, verdict.clone(), now, DAY);
                prop_assert!(taken || *authorization == before);
                prop_assert!(!taken || before.status(now) == A::Pending);
                if taken {
                    let slot = usize::from(slot);
                    match verdict {
                        Verdict::Proved | Verdict::ProvedUntil(_) => {
                            self.proofs[slot] = Some((kind, authorization.expires))
                        }
                        Verdict::Failed(_) => self.ended[slot] = Some(A::Invalid),
                        Verdict::Inconclusive(_) => {}
                    }
                }
            }
            Step::Deactivate(slot) => {
                if self.order.deactivate(slot, now).is_ok() {
                    self.ended[usize::from(slot)] = Some(A::Deactivated);
                }
            }
            // As finalization does: from ready to anything, from processing to an end.
            Step::Finish(finish) => match (self.order.status(now), &finish) {
                (OrderStatus::Ready, _) => self.order.finish = finish,
                (OrderStatus::Processing, Finish::Issued { .. }) if self.order.still_proved() => {
                    self.order.finish = finish;
                }
                (OrderStatus::Processing, Finish::Failed(_)) => self.order.finish = finish,
                _ => {}
            },
        }
        Ok(())
    }

    fn check(&self, finish_before: &Finish) -> Result<(), TestCaseError> {
        let (order, now) = (&self.order, self.now);
        // Terminal is terminal, whatever the clock does.
        if matches!(finish_before, Finish::Issued { .. } | Finish::Failed(_)) {
            prop_assert_eq!(&order.finish, finish_before);
        }
        let status = order.status(now);
        match &order.finish {
            Finish::Issued { .. } | Finish::Renewing(_) => prop_assert_eq!(status, OrderStatus::Valid),
            Finish::Failed(_) => prop_assert_eq!(status, OrderStatus::Invalid),
            Finish::Processing(_) => prop_assert_eq!(status, OrderStatus::Processing),
            Finish::Open => prop_assert!(matches!(
                status,
                OrderStatus::Pending | OrderStatus::Ready | OrderStatus::Invalid
            )),
        }
        let mut all_proved = true;
        for (index, slot) in order.slots.iter().enumerate() {
            let Slot::Own(authorization) = slot else {
                all_proved &= now < T0 + secs(95);
                continue;
            };
            let found = authorization.status(now);
            if let Some(end) = self.ended[index] {
                prop_assert_eq!(found, end);
            }
            let proof = self.proofs[index];
            prop_assert_eq!(
                found == A::Valid,
                proof.is_some_and(|(_, until)| now < until) && self.ended[index].is_none()
            );
            for challenge in &authorization.challenges {
                let proved = matches!(challenge.state, Valid(_));
                prop_assert_eq!(proved, proof.is_some_and(|(kind, _)| kind == challenge.kind));
            }
            let processing = authorization.challenges.iter().filter(|c| c.state == Processing).count();
            prop_assert!(processing <= 1);
            prop_assert!(processing == 0 || (proof.is_none() && self.ended[index].is_none()));
            all_proved &= found == A::Valid;
        }
        if order.finish == Finish::Open {
            prop_assert_eq!(status == OrderStatus::Ready, all_proved && now < T0 + secs(100));
        }
        prop_assert!(status != OrderStatus::Ready || order.still_proved());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Any interleaving of responses, verdicts, deactivations, clock jumps and finalizations.
    #[test]
    fn no_path_skips_proof_or_leaves_a_terminal_state(steps in steps()) {
        let mut witness = Witness::new();
        for step in steps {
            let finish = witness.order.finish.clone();
            witness.apply(step)?;
            witness.check(&finish)?;
        }
    }
}

/// The machine above is of use only if it gets to the interesting states.
#[test]
fn the_state_machine_reaches_every_status() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..3000 {
        let mut witness = Witness::new();
        for step in steps().new_tree(&mut runner).unwrap().current() {
            witness.apply(step).unwrap();
            seen.insert(name_of(witness.order.status(witness.now)));
        }
    }
    assert_eq!(Vec::from_iter(seen), ["invalid", "pending", "processing", "ready", "valid"]);
}

fn trusted() -> Slot {
    let by = EabKid::new([5; 16]);
    Slot::Trusted { identifier: name("t.test"), expires: T0 + secs(100), deactivated: false, by }
}

#[test]
fn a_trusted_name_is_proved_until_it_is_given_up_or_runs_out() {
    let (in_time, late) = (T0 + secs(99), T0 + secs(100));
    let mut subject = order(vec![trusted()], Finish::Open);
    assert_eq!(subject.status(in_time), OrderStatus::Ready);
    assert_eq!(subject.status(late), OrderStatus::Invalid);
    assert_eq!((trusted().status(in_time), trusted().status(late)), (A::Valid, A::Expired));
    assert!(subject.still_proved() && subject.problem().is_none());
    // Kept here, and not to be proved by challenges.
    assert_eq!(subject.kept(0), Some(&trusted()));
    assert_eq!(subject.own(0), None);
    assert!(subject.deactivate(0, late).is_err());
    assert_eq!(subject.deactivate(0, in_time), Ok(()));
    assert_eq!(subject.status(in_time), OrderStatus::Invalid);
    assert_eq!(subject.slots[0].status(late), A::Deactivated);
    assert!(!subject.still_proved());
    assert!(subject.deactivate(0, in_time).is_err());
    // Beside one that is to be proved, that one decides.
    let pending = Slot::Own(authorization(name("a.test"), &[(Http01, Pending(None))]));
    assert_eq!(order(vec![trusted(), pending], Finish::Open).status(in_time), OrderStatus::Pending);
}
