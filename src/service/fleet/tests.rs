//! Rotation health at work.

use std::time::Duration;

use super::*;
use crate::acme::error::ErrorKind;
use crate::acme::order::{AuthorizationStatus, Order, RawIdentifier, Slot};
use crate::limits::Source;
use crate::service::new_order::NewOrder;
use crate::service::revoke::Asker;
use crate::service::stand::{self, Fault, HOUR, Stand, Step};
use crate::service::tests::sweep::{account, csr_of, issue, order, prove, terms_of};
use crate::storage::{Store, StoreError};
use crate::validation::{Failure, FailureKind, Outcome};

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn id(texts: &[&str]) -> IdentityId {
    let names: Vec<Identifier> = texts.iter().map(|name| Identifier::parse_dns(name).unwrap()).collect();
    IdentityId::of(names.iter()).unwrap()
}

async fn certify(stand: &Stand, texts: &[&str]) {
    let (account, names) = (account(stand).await, names(texts));
    let order = order(stand, &account, &names).await;
    prove(stand, &account, &order).await;
    issue(stand, &account, &order, &names).await;
}

async fn read(stand: &Stand) {
    let mut cursor = FleetCursor::default();
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
}

fn state(stand: &Stand, texts: &[&str]) -> Option<State> {
    stand.service.fleet().advance(stand.service.now());
    stand.service.fleet().identity(&id(texts)).map(|identity| identity.state)
}

#[tokio::test]
async fn silence_retirement_and_revocation_over_a_restart() {
    let mut stand = Stand::new().await;
    read(&stand).await;
    for texts in [&["silent.test"][..], &["moves.test"], &["old.test", "b.test"], &["revoked.test"]] {
        certify(&stand, texts).await;
    }
    let revoked = stand
        .certificates()
        .await
        .into_iter()
        .find(|record| record.content().unwrap().identifiers[0].to_string() == "revoked.test")
        .unwrap();
    let Requester::Acme { account, .. } = revoked.requester else { panic!("of an account") };
    let terms = terms_of(&stand);
    stand.service.revoke(&terms, Asker::Account(account), &revoked.der, None).await.unwrap();
    let of = |texts: &[&str]| texts.iter().map(|name| Identifier::parse_dns(name).unwrap()).collect();
    let refused = stand.service.retire(of(&["old.test"]), None).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "not all of its names");
    stand.service.retire(of(&["b.test", "old.test"]), None).await.unwrap();
    // Another key, and another account.
    stand.clock.advance(15 * HOUR);
    certify(&stand, &["moves.test"]).await;
    stand.clock.advance(6 * HOUR);
    for _ in 0..2 {
        assert_eq!(state(&stand, &["silent.test"]), Some(State::Overdue));
        assert_eq!(state(&stand, &["moves.test"]), Some(State::Healthy));
        assert_eq!(state(&stand, &["b.test", "old.test"]), Some(State::Retired));
        assert_eq!(state(&stand, &["revoked.test"]), Some(State::Retired));
        let summary = stand.service.fleet().summary();
        assert_eq!((summary.identities(), summary.of(State::Overdue)), (4, 1));
        let in_three_hours = stand.service.now() + 3 * HOUR;
        let first = summary.horizon.unwrap().first;
        assert!(first.since(in_three_hours).max(in_three_hours.since(first)) <= Duration::from_secs(60));
        stand.restart();
        assert!(!stand.service.fleet().is_complete());
        read(&stand).await;
        assert!(stand.service.fleet().take_changes().is_empty(), "what is read is no change");
    }
    // Long after, nothing of it is left.
    stand.clock.advance(24 * 10 * HOUR);
    stand.service.fleet().advance(stand.service.now());
    let gone = stand.service.fleet().take_changes();
    let gone: Vec<_> = gone.iter().filter(|c| c.to.is_none()).map(|c| c.identity).collect();
    assert_eq!((gone.len(), stand.service.fleet().summary()), (4, Summary::default()));
    stand.service.forget_retired(&gone).await.unwrap();
    assert_eq!(stand.rows(Table::Retired).await, 0);
}

#[tokio::test]
async fn failed_validations_are_reasons() {
    let stand = Stand::new().await;
    read(&stand).await;
    certify(&stand, &["a.test"]).await;
    stand.clock.advance(16 * HOUR);
    for _ in 0..8 {
        stand.script.next("a.test", Step::Say(stand::failed()));
    }
    let (account, names) = (account(&stand).await, names(&["a.test"]));
    let order = order(&stand, &account, &names).await;
    prove(&stand, &account, &order).await;
    for _ in 0..200 {
        if stand.service.fleet().identity(&id(&["a.test"])).unwrap().last_failure.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let shown = stand.service.fleet().identity(&id(&["a.test"])).unwrap();
    assert_eq!(shown.last_failure.map(|(_, cause)| cause), Some(Cause::Content));
    assert_eq!(stand.service.fleet().summary().failing[Cause::Content as usize], 1);
}

fn failures(stand: &Stand, texts: &[&str]) -> Vec<(Cause, u8)> {
    let shown = stand.service.fleet().identity(&id(texts)).unwrap();
    let counts = Cause::ALL.iter().map(|cause| (*cause, shown.failures[*cause as usize]));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn ask(texts: &[&str]) -> NewOrder {
    let raw = |name: &&str| RawIdentifier { kind: "dns".into(), value: (*name).to_owned(), ancestor: None };
    NewOrder { identifiers: texts.iter().map(raw).collect(), ..NewOrder::default() }
}

#[tokio::test]
async fn refused_orders_are_reasons() {
    let stand = Stand::with(|terms| terms.max_names = 2).await;
    read(&stand).await;
    certify(&stand, &["a.test", "b.test"]).await;
    certify(&stand, &["other.test"]).await;
    stand.clock.advance(HOUR);
    let account = account(&stand).await;
    let refused = async |ask: NewOrder| {
        let outcome = stand.service.new_order(&terms_of(&stand), &account, ask).await;
        outcome.map(drop).unwrap_err()
    };
    let both = || ask(&["B.test", "a.test"]);
    refused(NewOrder { profile: Some("nope".into()), ..both() }).await;
    assert_eq!(failures(&stand, &["a.test", "b.test"]), [(Cause::Policy, 1)]);
    refused(NewOrder { not_after: Some(Timestamp::EPOCH), ..both() }).await;
    assert_eq!(failures(&stand, &["a.test", "b.test"]), [(Cause::Policy, 1), (Cause::Other, 1)]);
    // Of other names, of names that do not read, and through a fault of ours.
    refused(ask(&["a.test", "b.test", "c.test"])).await;
    refused(NewOrder { profile: Some("nope".into()), ..ask(&["a.test"]) }).await;
    refused(ask(&["a.test", "b_.test"])).await;
    stand.store.fail(0, Fault::NoSpace);
    assert!(matches!(refused(both()).await, Error::Store(_)));
    assert_eq!(failures(&stand, &["a.test", "b.test"]), [(Cause::Policy, 1), (Cause::Other, 1)]);
    assert!(failures(&stand, &["other.test"]).is_empty());
    assert_eq!(stand.service.fleet().summary().failing.iter().sum::<u64>(), 1);
    // A certificate ends it.
    certify(&stand, &["a.test", "b.test"]).await;
    assert!(failures(&stand, &["a.test", "b.test"]).is_empty());
}

#[tokio::test]
async fn refused_finalizations_are_reasons() {
    let stand = Stand::new().await;
    read(&stand).await;
    certify(&stand, &["a.test"]).await;
    stand.clock.advance(HOUR);
    let (account, names) = (account(&stand).await, names(&["a.test"]));
    let order = order(&stand, &account, &names).await;
    let refused = async |csr: &[u8]| {
        let (terms, from) = (terms_of(&stand), Source::default());
        let outcome = stand.service.finalize(&terms, account.account.id, order.id, csr, from).await;
        match outcome {
            Err(Error::Refused(refusal)) => refusal.kind,
            other => panic!("{other:?}"),
        }
    };
    // Too early is no attempt.
    assert_eq!(refused(&csr_of(&names)).await, ErrorKind::OrderNotReady);
    assert!(failures(&stand, &["a.test"]).is_empty());
    prove(&stand, &account, &order).await;
    assert_eq!(refused(&csr_of(&["b.test".to_owned()])).await, ErrorKind::BadCsr);
    assert_eq!(refused(b"none").await, ErrorKind::BadCsr);
    assert_eq!(failures(&stand, &["a.test"]), [(Cause::Policy, 2)]);
    issue(&stand, &account, &order, &names).await;
    assert!(failures(&stand, &["a.test"]).is_empty());
    // Of an order that is done, too late.
    assert_eq!(refused(&csr_of(&names)).await, ErrorKind::OrderNotReady);
    assert!(failures(&stand, &["a.test"]).is_empty());
}

/// A host whose names all fail alike has failed once in an order, whatever it is asked afterwards.
#[tokio::test]
async fn one_order_is_one_failure_of_each_cause() {
    let stand = Stand::new().await;
    read(&stand).await;
    let texts = ["a.test", "b.test", "c.test"];
    certify(&stand, &texts).await;
    stand.clock.advance(HOUR);
    for (name, kind) in [
        ("a.test", FailureKind::Connection),
        ("b.test", FailureKind::Connection),
        ("c.test", FailureKind::Dns),
    ] {
        for _ in 0..8 {
            let failure = Failure { kind, detail: "scripted".into() };
            stand.script.next(name, Step::Say(Outcome::Failed(failure)));
        }
    }
    let (account, names) = (account(&stand).await, names(&texts));
    let order = order(&stand, &account, &names).await;
    prove(&stand, &account, &order).await;
    let all_failed = |order: &Order| {
        let failed = |slot: &Slot| slot.status(stand.service.now()) == AuthorizationStatus::Invalid;
        order.slots.iter().all(failed)
    };
    for _ in 0..1000 {
        if all_failed(&stand.service.load_order(order.id).await.unwrap().order) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The last one is told of behind its commit.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let want = [(Cause::Dns, 1), (Cause::Connection, 1)];
    assert_eq!(failures(&stand, &texts), want);
    let finalized = stand
        .service
        .finalize(&terms_of(&stand), account.account.id, order.id, &csr_of(&names), Source::default())
        .await;
    assert!(matches!(finalized, Err(Error::Refused(_))));
    assert_eq!(failures(&stand, &texts), want);
}

#[test]
fn what_is_whose_fault() {
    let ours = [Error::Busy("full"), Error::Internal("broken".into()), Error::Store(StoreError::Busy)];
    for error in ours {
        assert_eq!(error.cause(), None, "{error:?}");
    }
    for (kind, want) in [
        (ErrorKind::ServerInternal, None),
        (ErrorKind::OrderNotReady, None),
        (ErrorKind::RejectedIdentifier, Some(Cause::Policy)),
        (ErrorKind::InvalidProfile, Some(Cause::Policy)),
        (ErrorKind::ExternalAccountRequired, Some(Cause::Policy)),
        (ErrorKind::BadCsr, Some(Cause::Policy)),
        (ErrorKind::BadPublicKey, Some(Cause::Policy)),
        (ErrorKind::Unauthorized, Some(Cause::Policy)),
        (ErrorKind::RateLimited, Some(Cause::Limits)),
        (ErrorKind::Caa, Some(Cause::Caa)),
        (ErrorKind::AlreadyReplaced, Some(Cause::Other)),
    ] {
        assert_eq!(Error::Refused(Refusal::new(kind, "")).cause(), want, "{kind:?}");
    }
    assert_eq!(Error::Deactivated.cause(), Some(Cause::Policy));
    assert_eq!(Cause::of_validation(ErrorKind::Unauthorized), Some(Cause::Content));
    assert_eq!(Cause::of_validation(ErrorKind::ServerInternal), None);
}

/// One walk is enough for both; a certificate that does not read is in no fleet, and leaves no number of
/// live ones.
#[tokio::test]
async fn one_walk_knows_the_fleet_and_counts() {
    let mut stand = Stand::new().await;
    for texts in [&["a.test"][..], &["b.test"], &["c.test"]] {
        certify(&stand, texts).await;
        stand.clock.advance(HOUR);
    }
    let live = |stand: &Stand| {
        let rotation = stand.service.rotations().remove(0);
        rotation.facts.signing.live.map(|live| live.count)
    };
    let walk = async |stand: &Stand| {
        let mut cursor = FleetCursor::counting(stand.service.begin_count());
        assert_eq!(live(stand), None);
        while stand.service.read_fleet(&mut cursor).await.unwrap() {}
        cursor
    };
    stand.restart();
    assert_eq!(walk(&stand).await.uncounted(), None);
    assert_eq!((live(&stand), stand.service.fleet().summary().identities()), (Some(3), 3));
    let rows = stand.store.scan(Table::Certificates, &[], None, 100).await.unwrap();
    let mut leaves = rows.iter().filter(|(_, row)| {
        let record = CertificateRecord::decode(&row.value).unwrap();
        matches!(record.requester, Requester::Acme { .. })
    });
    let (key, good) = leaves.nth(1).cloned().unwrap();
    let put = async |stand: &Stand, value: Vec<u8>| {
        let batch = Batch::new().put(Table::Certificates, key.clone(), value);
        let _ = stand.store.commit(batch).await.unwrap();
    };
    put(&stand, vec![0xff]).await;
    stand.restart();
    let cursor = walk(&stand).await;
    let left = cursor.uncounted().expect("cut off").to_vec();
    assert_eq!((live(&stand), stand.service.fleet().summary().identities()), (None, 2));
    assert!(stand.service.fleet().is_complete());
    assert!(stand.service.count_leaves(&left).await.is_err());
    assert_eq!(live(&stand), None);
    // Mended.
    put(&stand, good.value).await;
    assert_eq!(stand.service.count_leaves(&left).await.unwrap(), None);
    assert_eq!(live(&stand), Some(3));
    // One that had expired before the count began is nobody's business.
    stand.clock.advance(30 * HOUR);
    put(&stand, vec![0xff]).await;
    stand.restart();
    assert_eq!(walk(&stand).await.uncounted(), None);
    assert_eq!(live(&stand), Some(0));
}

/// A clock that ran ahead has made everybody late, or forgotten; set right, it is as if it had not.
#[tokio::test]
async fn a_clock_that_is_set_back() {
    let stand = Stand::new().await;
    read(&stand).await;
    certify(&stand, &["a.test"]).await;
    let right = stand.service.now();
    for ahead in [23 * HOUR, 2 * 24 * HOUR, 9 * 24 * HOUR] {
        stand.clock.advance(ahead);
        assert_ne!(state(&stand, &["a.test"]), Some(State::Healthy));
        // As far as clocks are kept right by, it waits.
        stand.clock.set(stand.service.now() - Duration::from_secs(120));
        stand.service.fleet().advance(stand.service.now());
        assert!(stand.service.fleet().is_complete() && !stand.service.fleet().is_to_be_read());
        stand.clock.set(right);
        stand.service.fleet().advance(stand.service.now());
        assert!(stand.service.fleet().is_to_be_read(), "{ahead:?}");
        read(&stand).await;
        assert!(!stand.service.fleet().is_to_be_read());
        assert_eq!(state(&stand, &["a.test"]), Some(State::Healthy), "{ahead:?}");
        certify(&stand, &["b.test"]).await;
        assert_eq!(state(&stand, &["b.test"]), Some(State::Healthy));
    }
    // Set back while it is read.
    let mut cursor = FleetCursor::default();
    stand.clock.advance(9 * 24 * HOUR);
    stand.service.fleet().advance(stand.service.now());
    stand.clock.set(right);
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
    assert_eq!(state(&stand, &["a.test"]), Some(State::Healthy));
}
