//! Orders that are renewed automatically (RFC 8739): the renewals, whatever goes wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::Error;
use super::super::account::{AccountUpdate, KnownAccount};
use super::super::new_authz::NewAuthorization;
use super::super::new_order::NewOrder;
use super::super::objects::LoadedOrder;
use super::super::stand::{Fault, HOUR, START, Stand};
use super::super::star::{RenewalCursor, Renewed, StarCertificate};
use super::super::sweep::Cursors;
use super::sweep::{account, csr_of, issue, name, order, prove, sweep_all, terms_of};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::acme::order::{Finish, OrderStatus, RawIdentifier};
use crate::acme::renewal::CertId;
use crate::acme::star::{Ask, KEPT_AFTER_END, Offer, Renewing};
use crate::audit::Event;
use crate::authority::certificate::{CertificateRecord, Replacement};
use crate::fleet::{Cause, State};
use crate::id::OrderId;
use crate::limits::Source;
use crate::provisioner::Requester;
use crate::provisioner::acme::{NameRule, Terms};
use crate::storage::codec::{AccountUse, Record};
use crate::storage::{Batch, Store, Table};
use crate::time::{Clock, Timestamp};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn offering(terms: &mut Terms) {
    terms.auto_renewal =
        Some(Offer { min_lifetime: MINUTE, max_duration: 100 * 24 * HOUR, allow_certificate_get: true });
}

async fn stand() -> Stand {
    Stand::with(offering).await
}

/// Nine hours each, six of them pre-dated, for two days from `now`.
fn two_days(now: Timestamp) -> Ask {
    Ask {
        start: None,
        end: now + 48 * HOUR,
        lifetime: 9 * 3600,
        lifetime_adjust: 0,
        allow_certificate_get: true,
    }
}

async fn open(stand: &Stand, account: &KnownAccount, names: &[String], ask: Ask) -> LoadedOrder {
    let identifiers = names
        .iter()
        .map(|name| RawIdentifier { kind: "dns".into(), value: name.clone(), ancestor: None })
        .collect();
    let ask = NewOrder { identifiers, auto_renewal: Some(ask), ..NewOrder::default() };
    stand.service.new_order(&terms_of(stand), account, ask).await.unwrap()
}

/// An order that is being renewed.
async fn begun(stand: &Stand, account: &KnownAccount, ask: Ask) -> LoadedOrder {
    let names = name("a.test");
    let order = open(stand, account, &names, ask).await;
    prove(stand, account, &order).await;
    issue(stand, account, &order, &names).await
}

async fn fetch(stand: &Stand, id: OrderId) -> Result<StarCertificate, Error> {
    stand.service.star_certificate(&terms_of(stand), None, id).await
}

async fn here(stand: &Stand, id: OrderId) -> CertificateRecord {
    match fetch(stand, id).await {
        Ok(StarCertificate::Here { record, .. }) => *record,
        other => panic!("{other:?}"),
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    match result {
        Err(Error::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    }
}

fn validity(record: &CertificateRecord) -> (Timestamp, Timestamp) {
    let (_, parsed) = X509Certificate::from_der(&record.der).unwrap();
    let at = |time: x509_parser::time::ASN1Time| Timestamp::from_secs(time.timestamp() as u64);
    (at(parsed.validity().not_before), at(parsed.validity().not_after))
}

/// Steps until one says that nothing more is due.
async fn renew(stand: &Stand, cursor: &mut RenewalCursor) -> usize {
    let mut handled = 0;
    for _ in 0..10_000 {
        let Renewed { handled: now, more } = stand.service.renew_due(cursor).await.unwrap();
        assert!(now <= 64, "a step is bounded");
        handled += now;
        if !more {
            return handled;
        }
    }
    panic!("the renewals do not end");
}

async fn state_of(stand: &Stand, id: OrderId) -> Renewing {
    let orders = stand.orders().await;
    let (_, order) = orders.iter().find(|(other, _)| *other == id).expect("the order");
    match &order.finish {
        Finish::Renewing(state) => (**state).clone(),
        other => panic!("{other:?}"),
    }
}

/// One row for every such order, at the time that the order has for it.
async fn rows_are_right(stand: &Stand) {
    let orders = stand.orders().await;
    let renewed = orders.iter().filter(|(_, order)| order.details.auto_renewal.is_some());
    let mut want: Vec<Vec<u8>> = renewed
        .map(|(id, order)| {
            let due = order.details.auto_renewal.as_ref().unwrap().due;
            super::super::star::due_row(due, *id)
        })
        .collect();
    want.sort();
    let rows = stand.store.inner.scan(Table::Renewals, &[], None, 10_000).await.unwrap();
    let found: Vec<Vec<u8>> = rows.into_iter().map(|(key, _)| key).collect();
    assert_eq!(found, want);
}

#[tokio::test]
async fn a_series_from_beginning_to_end() {
    let stand = stand().await;
    let account = account(&stand).await;
    let ordered = open(&stand, &account, &name("a.test"), two_days(START)).await;
    assert_eq!(ordered.order.details.auto_renewal.as_ref().unwrap().lifetime_adjust, 6 * 3600);
    assert!(matches!(fetch(&stand, ordered.id).await, Ok(StarCertificate::NotYet(None))));
    prove(&stand, &account, &ordered).await;
    let csr = csr_of(&name("a.test"));
    let terms = terms_of(&stand);
    let finalize = || stand.service.finalize(&terms, account.account.id, ordered.id, &csr, Source::default());
    let done = finalize().await.unwrap();
    assert_eq!(done.order.status(START), OrderStatus::Valid);
    assert_eq!(done.order.expires, START + 48 * HOUR);
    assert_eq!(validity(&here(&stand, done.id).await), (START, START + 9 * HOUR));
    // The same request once more changes nothing; another CSR finds the order finalized.
    assert_eq!(finalize().await.unwrap().order, done.order);
    let other = stand
        .service
        .finalize(&terms, account.account.id, done.id, &csr_of(&name("a.test")), Source::default())
        .await;
    assert_eq!(refused(other), ErrorKind::OrderNotReady);
    assert_eq!(stand.certificates().await.len(), 1);

    let mut cursor = RenewalCursor::default();
    let spki = |record: &CertificateRecord| {
        let (_, parsed) = X509Certificate::from_der(&record.der).unwrap();
        parsed.public_key().raw.to_vec()
    };
    let key = spki(&here(&stand, done.id).await);
    for (hour, from, to) in [(3, 3, 18), (12, 12, 27), (21, 21, 36), (30, 30, 45), (39, 39, 48)] {
        stand.clock.set(START + hour * HOUR - SECOND);
        assert_eq!(renew(&stand, &mut cursor).await, 0, "not before it is due");
        stand.clock.set(START + hour * HOUR);
        assert_eq!(renew(&stand, &mut cursor).await, 1);
        let reads = stand.store.commits.load(Ordering::SeqCst);
        let record = here(&stand, done.id).await;
        assert_eq!(stand.store.commits.load(Ordering::SeqCst), reads, "a reader finds it made");
        assert_eq!(validity(&record), (START + from * HOUR, START + to * HOUR));
        assert_eq!(spki(&record), key, "the CSR's key");
        let requester = Requester::AutoRenewal {
            provisioner: "acme".into(),
            account: account.account.id,
            order: done.id,
        };
        assert_eq!(record.requester, requester);
        rows_are_right(&stand).await;
    }
    // To the last second, and not beyond.
    stand.clock.set(START + 48 * HOUR - SECOND);
    here(&stand, done.id).await;
    stand.clock.advance(SECOND);
    assert_eq!(refused(fetch(&stand, done.id).await), ErrorKind::AutoRenewalExpired);
    renew(&stand, &mut cursor).await;
    assert_eq!(stand.certificates().await.len(), 6);
    let terms = terms_of(&stand);
    let after = stand.service.order(&terms, account.account.id, done.id).await.unwrap();
    assert_eq!(after.order.status(stand.clock.now()), OrderStatus::Valid, "as the RFC wants it");
    // Every certificate has its event, and the series its beginning.
    let events = stand.events().await;
    let of_series =
        |e: &&Event| matches!(e, Event::CertificateIssued { requester: Requester::AutoRenewal { .. }, .. });
    assert_eq!(events.iter().filter(of_series).count(), 6);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AutoRenewalBegun { .. })).count(), 1);
    // It goes when nobody can have a question about it any more.
    stand.clock.set(START + 48 * HOUR + KEPT_AFTER_END - SECOND);
    renew(&stand, &mut cursor).await;
    assert_eq!(refused(fetch(&stand, done.id).await), ErrorKind::AutoRenewalExpired);
    stand.clock.advance(SECOND);
    renew(&stand, &mut cursor).await;
    assert!(matches!(fetch(&stand, done.id).await, Err(Error::NotFound)));
    let left = [Table::Orders, Table::Grants, Table::Renewals].map(|table| stand.rows(table));
    for rows in left {
        assert_eq!(rows.await, 0);
    }
}

#[tokio::test]
async fn a_start_that_lies_ahead() {
    let stand = stand().await;
    let account = account(&stand).await;
    let ask = Ask { start: Some(START + 24 * HOUR), ..two_days(START) };
    let order = begun(&stand, &account, ask).await;
    assert_eq!(order.order.status(START), OrderStatus::Valid);
    assert!(stand.certificates().await.is_empty());
    let mut cursor = RenewalCursor::default();
    for hour in [0, 23] {
        stand.clock.set(START + hour * HOUR);
        renew(&stand, &mut cursor).await;
        match fetch(&stand, order.id).await {
            Ok(StarCertificate::NotYet(Some(when))) => assert_eq!(when, START + 24 * HOUR),
            other => panic!("{other:?}"),
        }
    }
    assert!(stand.certificates().await.is_empty());
    // Its authorizations have run out meanwhile, and the sweeper was there.
    sweep_all(&stand, &mut Cursors::default()).await;
    stand.clock.set(START + 24 * HOUR);
    assert_eq!(renew(&stand, &mut cursor).await, 1);
    let record = here(&stand, order.id).await;
    assert_eq!(validity(&record), (START + 24 * HOUR, START + 33 * HOUR), "not before the start-date");
}

#[tokio::test]
async fn the_sweeper_leaves_what_is_renewed() {
    let stand = stand().await;
    let account = account(&stand).await;
    let alive = begun(&stand, &account, two_days(START)).await;
    let unfinished = open(&stand, &account, &name("b.test"), two_days(START)).await;
    let (mut cursors, mut cursor) = (Cursors::default(), RenewalCursor::default());
    for hour in 0..48 {
        stand.clock.set(START + hour * HOUR);
        sweep_all(&stand, &mut cursors).await;
        renew(&stand, &mut cursor).await;
        here(&stand, alive.id).await;
        rows_are_right(&stand).await;
        // One that nobody finalized goes when an ordinary one would, ten hours after its opening.
        let there = stand.orders().await.iter().any(|(id, _)| *id == unfinished.id);
        assert_eq!(there, hour < 10, "{hour}");
    }
    // Without a step of the renewals, the sweeper alone clears up; the row is gone with the next step.
    stand.clock.set(START + 48 * HOUR + KEPT_AFTER_END + HOUR);
    sweep_all(&stand, &mut cursors).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Renewals).await), (0, 1));
    renew(&stand, &mut cursor).await;
    assert_eq!(stand.rows(Table::Renewals).await, 0);
}

#[tokio::test]
async fn what_was_missed_is_not_made_up_for() {
    let mut stand = stand().await;
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    stand.clock.set(START + 35 * HOUR);
    stand.restart();
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 1);
    let made = stand.certificates().await;
    assert_eq!(made.len(), 2);
    assert_eq!(validity(&here(&stand, order.id).await), (START + 30 * HOUR, START + 45 * HOUR));
    // As well without the task: whoever reads it has it made.
    stand.clock.set(START + 47 * HOUR);
    assert_eq!(validity(&here(&stand, order.id).await), (START + 39 * HOUR, START + 48 * HOUR));
    assert_eq!(stand.certificates().await.len(), 3);
    rows_are_right(&stand).await;
}

#[tokio::test]
async fn of_many_readers_one_renews() {
    let stand = Arc::new(stand().await);
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    stand.clock.set(START + 4 * HOUR);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let stand = stand.clone();
            tokio::spawn(async move { here(&stand, order.id).await.der })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(stand.certificates().await.len(), 2);
}

#[tokio::test]
async fn canceling() {
    let stand = stand().await;
    let account = account(&stand).await;
    let terms = terms_of(&stand);
    let id = account.account.id;
    let invalid = ErrorKind::AutoRenewalCancellationInvalid;
    // Neither an ordinary order nor one that is not valid yet.
    let plain = order(&stand, &account, &name("a.test")).await;
    prove(&stand, &account, &plain).await;
    issue(&stand, &account, &plain, &name("a.test")).await;
    assert_eq!(refused(stand.service.cancel_order(&terms, id, plain.id).await), invalid);
    let pending = open(&stand, &account, &name("b.test"), two_days(START)).await;
    assert_eq!(refused(stand.service.cancel_order(&terms, id, pending.id).await), invalid);

    let begun = begun(&stand, &account, two_days(START)).await;
    let stranger = super::sweep::account(&stand).await.account.id;
    let foreign = stand.service.cancel_order(&terms, stranger, begun.id).await;
    assert!(matches!(foreign, Err(Error::NotFound)));
    // A renewal that comes between is no reason not to.
    stand.store.fail(0, Fault::Conflict);
    let canceled = stand.service.cancel_order(&terms, id, begun.id).await.unwrap();
    assert_eq!(canceled.order.status(START), OrderStatus::Canceled);
    assert_eq!(canceled.order.expires, START + 9 * HOUR, "with its last certificate");
    assert_eq!(refused(fetch(&stand, begun.id).await), ErrorKind::AutoRenewalCanceled);
    assert_eq!(refused(stand.service.cancel_order(&terms, id, begun.id).await), invalid);
    rows_are_right(&stand).await;
    let mut cursor = RenewalCursor::default();
    for hour in [3, 12, 47, 49] {
        stand.clock.set(START + hour * HOUR);
        renew(&stand, &mut cursor).await;
        assert_eq!(refused(fetch(&stand, begun.id).await), ErrorKind::AutoRenewalCanceled);
    }
    let made = stand.certificates().await;
    assert_eq!(made.iter().filter(|r| matches!(r.requester, Requester::AutoRenewal { .. })).count(), 1);
    let events = stand.events().await;
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AutoRenewalCanceled { .. })).count(), 1);
    stand.clock.set(START + 9 * HOUR + KEPT_AFTER_END);
    renew(&stand, &mut cursor).await;
    assert!(matches!(fetch(&stand, begun.id).await, Err(Error::NotFound)));
}

/// A renewal that was decided on before the order was cancelled is not committed after.
#[tokio::test]
async fn no_certificate_after_the_cancellation() {
    let stand = Arc::new(stand().await);
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(300);
    let before = stand.signer.signed.load(Ordering::SeqCst);
    stand.clock.set(START + 3 * HOUR);
    let task = {
        let stand = stand.clone();
        tokio::spawn(async move { renew(&stand, &mut RenewalCursor::default()).await })
    };
    for _ in 0..2000 {
        if stand.signer.signed.load(Ordering::SeqCst) > before {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stand.signer.signed.load(Ordering::SeqCst) > before, "it is being signed");
    let terms = terms_of(&stand);
    stand.service.cancel_order(&terms, account.account.id, order.id).await.unwrap();
    task.await.unwrap();
    assert_eq!(stand.certificates().await.len(), 1);
    assert_eq!(refused(fetch(&stand, order.id).await), ErrorKind::AutoRenewalCanceled);
}

#[tokio::test]
async fn a_closed_account_ends_the_series() {
    let stand = stand().await;
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    let close = AccountUpdate { deactivate: true, ..AccountUpdate::default() };
    stand.service.update_account(account.account.id, close).await.unwrap();
    // At once for readers, and for good with the next step.
    assert_eq!(refused(fetch(&stand, order.id).await), ErrorKind::AutoRenewalCanceled);
    stand.clock.set(START + 3 * HOUR);
    renew(&stand, &mut RenewalCursor::default()).await;
    assert!(state_of(&stand, order.id).await.canceled.is_some());
    assert_eq!(stand.certificates().await.len(), 1);
    let stopped = |e: &Event| matches!(e, Event::AutoRenewalStopped { order: of, error: ErrorKind::Unauthorized, .. } if *of == order.id);
    assert!(stand.events().await.iter().any(stopped));
    rows_are_right(&stand).await;
}

#[tokio::test]
async fn an_authorization_given_up_ends_the_series() {
    let stand = stand().await;
    let account = account(&stand).await;
    let (terms, id) = (terms_of(&stand), account.account.id);
    let first = begun(&stand, &account, two_days(START)).await;
    // It rests on what the first one proved.
    let second = open(&stand, &account, &name("a.test"), two_days(START)).await;
    let second = issue(&stand, &account, &second, &name("a.test")).await;
    stand.service.deactivate_authorization(&terms, id, first.id, 0).await.unwrap();
    stand.clock.set(START + 3 * HOUR);
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 2);
    for order in [first.id, second.id] {
        assert_eq!(refused(fetch(&stand, order).await), ErrorKind::AutoRenewalCanceled);
    }
    assert_eq!(stand.certificates().await.len(), 2);
    let events = stand.events().await;
    assert_eq!(events.iter().filter(|e| matches!(e, Event::AutoRenewalStopped { .. })).count(), 2);
}

/// A proof given up while the signer is at work: the certificate is not released.
#[tokio::test]
async fn a_proof_given_up_while_the_next_certificate_is_signed() {
    let stand = stand().await;
    let account = account(&stand).await;
    let (terms, id) = (terms_of(&stand), account.account.id);
    let first = order(&stand, &account, &name("a.test")).await;
    prove(&stand, &account, &first).await;
    let series = open(&stand, &account, &name("a.test"), two_days(START)).await;
    let series = issue(&stand, &account, &series, &name("a.test")).await;
    stand.clock.set(START + 3 * HOUR);
    stand.signer.slow.store(true, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(400);
    let given_up = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stand.service.deactivate_authorization(&terms, id, first.id, 0).await.unwrap();
    };
    let signed = stand.signer.signed.load(Ordering::SeqCst);
    let _ = tokio::join!(fetch(&stand, series.id), given_up);
    assert_eq!(stand.signer.signed.load(Ordering::SeqCst), signed + 1, "it came to that");
    assert_eq!(stand.certificates().await.len(), 1);
    renew(&stand, &mut RenewalCursor::default()).await;
    assert_eq!(refused(fetch(&stand, series.id).await), ErrorKind::AutoRenewalCanceled);
}

/// The order that keeps the proof goes long before the series ends; how it was given stays known.
#[tokio::test]
async fn caa_hears_of_the_method_when_the_proof_has_left_the_store() {
    let stand = Stand::with(|terms| {
        offering(terms);
        terms.caa = true;
        terms.caa_identities = vec!["ca.test".to_owned()];
    })
    .await;
    let account = account(&stand).await;
    let first = order(&stand, &account, &name("a.test")).await;
    prove(&stand, &account, &first).await;
    let series = open(&stand, &account, &name("a.test"), two_days(START)).await;
    issue(&stand, &account, &series, &name("a.test")).await;
    stand.clock.set(START + 12 * HOUR);
    sweep_all(&stand, &mut Cursors::default()).await;
    assert_eq!(stand.orders().await.len(), 1, "the proof has gone");
    let _ = stand.script.caa_asks();
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 1);
    let methods: Vec<_> = stand.script.caa_asks().into_iter().map(|ask| ask.method).collect();
    assert_eq!(methods, [Some(ChallengeKind::Dns01)]);
    here(&stand, series.id).await;
}

#[tokio::test]
async fn a_series_replaces_a_certificate_for_good() {
    let stand = stand().await;
    let account = account(&stand).await;
    let terms = terms_of(&stand);
    let old = order(&stand, &account, &name("a.test")).await;
    prove(&stand, &account, &old).await;
    let old = issue(&stand, &account, &old, &name("a.test")).await;
    let Finish::Issued { serial, .. } = old.order.finish else { panic!() };
    let issuer = stand.certificates().await[0].issuer;
    let identifiers = vec![RawIdentifier { kind: "dns".into(), value: "a.test".into(), ancestor: None }];
    let (replaces, auto_renewal) = (Some(CertId { issuer, serial }), Some(two_days(START)));
    let ask = NewOrder { identifiers, replaces, auto_renewal, ..NewOrder::default() };
    let series = stand.service.new_order(&terms, &account, ask).await.unwrap();
    let series = issue(&stand, &account, &series, &name("a.test")).await;
    let mark = || async {
        let record = stand.service.certificate(account.account.id, serial).await.unwrap();
        record.details.replaced_by.unwrap()
    };
    let first = state_of(&stand, series.id).await.current.unwrap().serial;
    assert_eq!(mark().await, Replacement { order: series.id, serial: Some(first) });
    // By its first certificate, and not again by each.
    stand.clock.set(START + 3 * HOUR);
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 1);
    assert_eq!(mark().await.serial, Some(first));
}

/// Both are written down in the same moment, and the longer life counts.
#[tokio::test]
async fn an_ordinary_order_beside_it_does_not_shorten_the_account_s_life() {
    let stand = stand().await;
    let account = account(&stand).await;
    stand.clock.advance(25 * HOUR);
    let now = stand.clock.now();
    let long = Ask { end: now + 90 * 24 * HOUR, ..two_days(now) };
    let (a, b) = (name("a.test"), name("b.test"));
    *stand.store.commit_delay.lock().unwrap() = Duration::from_millis(50);
    let beside = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        order(&stand, &account, &b).await
    };
    tokio::join!(open(&stand, &account, &a, long), beside);
    let row = stand.store.inner.get(Table::AccountUses, account.account.id.as_bytes()).await.unwrap();
    let noted = AccountUse::decode(&row.unwrap().value).unwrap();
    assert!(noted.until >= now + 90 * 24 * HOUR, "{}", noted.until);
}

/// What keeps an authorization asked for ahead is no order, to nobody.
#[tokio::test]
async fn a_pre_authorization_is_not_canceled() {
    let stand = stand().await;
    let account = account(&stand).await;
    let identifier = RawIdentifier { kind: "dns".into(), value: "a.test".into(), ancestor: None };
    let ask = NewAuthorization { identifier, ..NewAuthorization::default() };
    let terms = terms_of(&stand);
    let (ahead, _) = stand.service.new_authorization(&terms, &account, ask).await.unwrap();
    let canceled = stand.service.cancel_order(&terms, account.account.id, ahead.order).await;
    assert!(matches!(canceled, Err(Error::NotFound)), "{canceled:?}");
}

/// What the configuration forbids is refused, recorded once, and goes on when it is allowed again.
#[tokio::test]
async fn the_configuration_of_today_decides() {
    type Change = (&'static str, fn(&mut Terms), ErrorKind);
    let changes: [Change; 4] = [
        ("denied", |t| t.deny = vec![NameRule::Exact("a.test".into())], ErrorKind::RejectedIdentifier),
        ("not offered", |t| t.auto_renewal = None, ErrorKind::Unauthorized),
        ("shorter", |t| t.lifetimes.max = 10 * HOUR, ErrorKind::Unauthorized),
        ("gone", |t| t.name = "renamed".into(), ErrorKind::Unauthorized),
    ];
    for (what, change, want) in changes {
        let stand = stand().await;
        let account = account(&stand).await;
        let order = begun(&stand, &account, two_days(START)).await;
        let before = terms_of(&stand);
        stand.reload(change);
        let mut cursor = RenewalCursor::default();
        // From when it is due to long after its last certificate has ended.
        for minute in 0..14 * 60 {
            stand.clock.set(START + 3 * HOUR + minute * MINUTE);
            renew(&stand, &mut cursor).await;
        }
        assert_eq!(stand.certificates().await.len(), 1, "{what}");
        let is_refusal = |e: &Event| matches!(e, Event::AutoRenewalRefused { error, .. } if *error == want);
        assert_eq!(stand.events().await.into_iter().filter(is_refusal).count(), 1, "{what}");
        let asker = Some(account.account.id);
        let read = || stand.service.star_certificate(&before, asker, order.id);
        assert_eq!(refused(read().await), want, "{what}: the last one has ended");
        assert_eq!(state_of(&stand, order.id).await.canceled, None, "{what}");
        let fleet = stand.service.fleet();
        fleet.advance(stand.service.now());
        let summary = fleet.summary();
        assert_eq!((summary.of(State::Expired), summary.failing[Cause::Policy as usize]), (1, 1), "{what}");
        stand.reload(|terms| *terms = (*before).clone());
        stand.clock.advance(10 * MINUTE);
        renew(&stand, &mut cursor).await;
        assert!(matches!(read().await, Ok(StarCertificate::Here { .. })), "{what}: allowed again");
        let state = state_of(&stand, order.id).await;
        assert_eq!((state.failures, state.refused), (0, None), "{what}");
        let summary = fleet.summary();
        assert_eq!((summary.of(State::Healthy), summary.failing), (1, [0; Cause::COUNT]), "{what}");
        rows_are_right(&stand).await;
    }
}

#[tokio::test]
async fn a_signer_that_is_away_is_asked_again_and_the_old_certificate_serves_on() {
    let stand = stand().await;
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    stand.signer.broken.store(true, Ordering::SeqCst);
    stand.clock.set(START + 3 * HOUR);
    let mut cursor = RenewalCursor::default();
    renew(&stand, &mut cursor).await;
    assert_eq!(state_of(&stand, order.id).await.failures, 1);
    // Readers do not have it tried over and over.
    let commits = stand.store.commits.load(Ordering::SeqCst);
    for _ in 0..10 {
        assert_eq!(validity(&here(&stand, order.id).await).1, START + 9 * HOUR);
    }
    assert_eq!(stand.store.commits.load(Ordering::SeqCst), commits);
    for _ in 0..100 {
        stand.clock.advance(30 * SECOND);
        renew(&stand, &mut cursor).await;
    }
    let failures = state_of(&stand, order.id).await.failures;
    assert!((8..=20).contains(&failures), "{failures} in 50 minutes");
    assert_eq!(stand.service.fleet().summary().failing[Cause::Other as usize], 1);
    // Nine hours after its beginning the certificate has ended: now there is none, by our fault.
    stand.clock.set(START + 9 * HOUR);
    assert!(matches!(fetch(&stand, order.id).await, Err(Error::Busy(_))));
    stand.signer.broken.store(false, Ordering::SeqCst);
    stand.clock.advance(10 * MINUTE);
    renew(&stand, &mut cursor).await;
    assert_eq!(validity(&here(&stand, order.id).await), (START + 3 * HOUR, START + 18 * HOUR));
    assert_eq!(state_of(&stand, order.id).await.failures, 0);
    let events = stand.events().await;
    assert!(!events.iter().any(|e| matches!(e, Event::AutoRenewalRefused { .. })), "nobody refused anything");
}

/// Whatever happens to a commit, the process then dies: no certificate is lost or made twice.
#[tokio::test]
async fn crashes_around_every_commit() {
    let faults = [Fault::Busy, Fault::NoSpace, Fault::Conflict, Fault::Failed, Fault::FailedAfter];
    for fault in faults {
        let mut stand = stand().await;
        let account = account(&stand).await;
        let names = name("a.test");
        let order = open(&stand, &account, &names, two_days(START)).await;
        prove(&stand, &account, &order).await;
        let csr = csr_of(&names);
        for hour in [0, 3, 12, 21, 30, 39] {
            stand.clock.set(START + hour * HOUR);
            stand.store.fail(0, fault);
            if hour == 0 {
                let terms = terms_of(&stand);
                let first = stand
                    .service
                    .finalize(&terms, account.account.id, order.id, &csr, Source::default())
                    .await;
                assert!(first.is_err(), "{fault:?}");
            } else {
                let _ = stand.service.renew_due(&mut RenewalCursor::default()).await;
            }
            assert!(stand.store.struck(), "{fault:?}");
            stand.restart();
            if hour == 0 {
                let terms = terms_of(&stand);
                stand
                    .service
                    .finalize(&terms, account.account.id, order.id, &csr, Source::default())
                    .await
                    .unwrap();
            }
            renew(&stand, &mut RenewalCursor::default()).await;
            let now = stand.clock.now();
            let (from, to) = validity(&here(&stand, order.id).await);
            assert!(from <= now && now < to, "{fault:?} at {hour}");
            rows_are_right(&stand).await;
        }
        assert_eq!(stand.certificates().await.len(), 6, "{fault:?}");
        let serial = state_of(&stand, order.id).await.current.unwrap().serial;
        let row = stand.store.get(Table::Certificates, serial.as_bytes()).await.unwrap();
        assert!(row.is_some());
    }
}

#[tokio::test]
async fn a_slow_signer_begins_a_series_as_well() {
    let mut stand = stand().await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let account = account(&stand).await;
    let names = name("a.test");
    let order = open(&stand, &account, &names, two_days(START)).await;
    prove(&stand, &account, &order).await;
    // Accepted, and then the process dies before the signer has answered.
    stand.signer.broken.store(true, Ordering::SeqCst);
    let accepted = issue(&stand, &account, &order, &names).await;
    assert_eq!(accepted.order.status(START), OrderStatus::Processing);
    assert!(matches!(fetch(&stand, order.id).await, Ok(StarCertificate::NotYet(None))));
    stand.restart();
    stand.signer.broken.store(false, Ordering::SeqCst);
    let terms = terms_of(&stand);
    for _ in 0..500 {
        let loaded = stand.service.order(&terms, account.account.id, order.id).await.unwrap();
        if loaded.order.status(START) == OrderStatus::Valid {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(validity(&here(&stand, order.id).await), (START, START + 9 * HOUR));
    stand.clock.set(START + 3 * HOUR);
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 1);
    assert_eq!(stand.certificates().await.len(), 2);
}

#[tokio::test]
async fn clocks_that_jump() {
    let stand = stand().await;
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    let mut cursor = RenewalCursor::default();
    stand.clock.set(START + 22 * HOUR);
    assert_eq!(renew(&stand, &mut cursor).await, 1);
    // Back: nothing is made again, and what there is is served.
    stand.clock.set(START + 4 * HOUR);
    assert_eq!(renew(&stand, &mut cursor).await, 0);
    here(&stand, order.id).await;
    assert_eq!(stand.certificates().await.len(), 2);
    // Beyond the end, where there is nothing to do any more, and back again: who reads it has it made.
    stand.clock.set(START + 49 * HOUR);
    assert_eq!(refused(fetch(&stand, order.id).await), ErrorKind::AutoRenewalExpired);
    let second = begun(&stand, &account, two_days(stand.clock.now())).await;
    stand.clock.set(START + 98 * HOUR);
    renew(&stand, &mut cursor).await;
    stand.clock.set(START + 60 * HOUR);
    assert_eq!(validity(&here(&stand, second.id).await).1, START + 67 * HOUR);
    rows_are_right(&stand).await;
    stand.clock.set(START + 4 * HOUR);
    assert_eq!(renew(&stand, &mut cursor).await, 0);
    let made = stand.certificates().await.len();
    here(&stand, order.id).await;
    assert_eq!(stand.certificates().await.len(), made);
    // An order begun in that time is not overlooked by a task that has seen the future.
    let other = begun(&stand, &account, two_days(stand.clock.now())).await;
    stand.clock.set(START + 7 * HOUR);
    assert_eq!(renew(&stand, &mut cursor).await, 1);
    assert_eq!(validity(&here(&stand, other.id).await).0, START + 7 * HOUR);
    rows_are_right(&stand).await;
}

#[tokio::test]
async fn rows_that_lead_nowhere_are_removed_and_hold_nobody_up() {
    let stand = stand().await;
    let account = account(&stand).await;
    let order = begun(&stand, &account, two_days(START)).await;
    let due = super::super::star::due_row;
    let nowhere = OrderId::new(START, [9; 11]);
    let unreadable = OrderId::new(START + 1000 * HOUR, [8; 11]);
    let batch = Batch::new()
        .put(Table::Renewals, due(START + HOUR, nowhere), Vec::new())
        .put(Table::Renewals, due(START + HOUR, order.id), Vec::new())
        .put(Table::Renewals, due(START + HOUR, unreadable), Vec::new())
        .put(Table::Orders, *unreadable.as_bytes(), vec![2, 0xff])
        .put(Table::Renewals, vec![0, 1], Vec::new());
    let _ = stand.store.commit(batch).await.unwrap();
    stand.clock.set(START + 3 * HOUR);
    assert_eq!(renew(&stand, &mut RenewalCursor::default()).await, 5);
    assert_eq!(validity(&here(&stand, order.id).await).0, START + 3 * HOUR);
    // The order's own row, and the one of what does not read, which is looked at again.
    assert_eq!(stand.rows(Table::Renewals).await, 2);
}

#[tokio::test]
async fn hundreds_are_renewed_in_bounded_steps() {
    let stand = stand().await;
    let account = account(&stand).await;
    let names = name("a.test");
    let first = begun(&stand, &account, two_days(START)).await;
    let mut ids = vec![first.id];
    for _ in 0..199 {
        let order = open(&stand, &account, &names, two_days(START)).await;
        ids.push(issue(&stand, &account, &order, &names).await.id);
    }
    let mut cursor = RenewalCursor::default();
    for hour in [3, 12] {
        stand.clock.set(START + hour * HOUR);
        assert_eq!(renew(&stand, &mut cursor).await, 200);
        assert_eq!(renew(&stand, &mut cursor).await, 0);
    }
    assert_eq!(stand.certificates().await.len(), 600);
    rows_are_right(&stand).await;
}

#[tokio::test]
async fn an_ordinary_order_costs_what_it_did() {
    let stand = stand().await;
    let account = account(&stand).await;
    let (reads, commits) = (&stand.store.reads, &stand.store.commits);
    let at = || (reads.load(Ordering::SeqCst), commits.load(Ordering::SeqCst));
    let start = at();
    let plain = order(&stand, &account, &name("a.test")).await;
    assert_eq!((at().0 - start.0, at().1 - start.1), (1, 1), "newOrder: one read per name, one commit");
    prove(&stand, &account, &plain).await;
    let start = at();
    issue(&stand, &account, &plain, &name("a.test")).await;
    assert_eq!((at().0 - start.0, at().1 - start.1), (1, 1), "finalize");
    assert_eq!(stand.rows(Table::Renewals).await, 0);
}

#[derive(Clone, Debug)]
enum Happening {
    Pass(u64),
    Renew,
    Read,
    Restart,
    Fault(Fault),
    Signer(bool),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let faults = prop::sample::select(vec![Fault::Busy, Fault::Conflict, Fault::FailedAfter, Fault::NoSpace]);
    let one = prop_oneof![
        4 => (1u64..20_000).prop_map(Happening::Pass),
        4 => Just(Happening::Renew),
        2 => Just(Happening::Read),
        1 => Just(Happening::Restart),
        1 => faults.prop_map(Happening::Fault),
        1 => any::<bool>().prop_map(Happening::Signer),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// From the beginning to the end-date a reader gets a certificate that is valid now, whatever was
    /// missed, lost or broken before, once nothing is broken any more.
    #[test]
    fn whenever_it_is_read_it_is_valid(
        lifetime in 60u64..50_000, adjust in 0u64..60_000, duration in 60u64..400_000, story in happenings()
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stand = Stand::with(|terms| {
                offering(terms);
                terms.lifetimes.max = 100 * HOUR;
            })
            .await;
            let account = account(&stand).await;
            let end = START + Duration::from_secs(duration);
            let ask = Ask { start: None, end, lifetime, lifetime_adjust: adjust, allow_certificate_get: true };
            let order = begun(&stand, &account, ask).await;
            let mut cursor = RenewalCursor::default();
            for happening in story {
                match happening {
                    Happening::Pass(secs) => stand.clock.advance(Duration::from_secs(secs)),
                    Happening::Renew => drop(stand.service.renew_due(&mut cursor).await),
                    Happening::Read => drop(fetch(&stand, order.id).await),
                    Happening::Restart => {
                        stand.restart();
                        cursor = RenewalCursor::default();
                    }
                    Happening::Fault(fault) => stand.store.fail(0, fault),
                    Happening::Signer(broken) => stand.signer.broken.store(broken, Ordering::SeqCst),
                }
            }
            // All is well again; what was put off after a failure is tried within ten minutes.
            stand.signer.broken.store(false, Ordering::SeqCst);
            if !stand.store.struck() {
                let _ = stand.store.commit(Batch::new()).await;
            }
            if state_of_or_gone(&stand, order.id).await.is_some_and(|state| state.failures > 0) {
                stand.clock.advance(10 * MINUTE);
            }
            let now = stand.clock.now();
            match fetch(&stand, order.id).await {
                Ok(StarCertificate::Here { record, fresh_until }) => {
                    let (from, to) = validity(&record);
                    prop_assert!(from <= now && now < to && now < end);
                    prop_assert!(to <= end && fresh_until <= to && fresh_until > now);
                }
                Err(Error::Refused(refusal)) => {
                    prop_assert_eq!(refusal.kind, ErrorKind::AutoRenewalExpired);
                    prop_assert!(now >= end);
                }
                Err(Error::NotFound) => prop_assert!(now >= end + KEPT_AFTER_END),
                other => prop_assert!(false, "{:?}", other),
            }
            // No two certificates of one period, and none beyond the end.
            let mut seen = std::collections::BTreeSet::new();
            for record in stand.certificates().await {
                let (from, to) = validity(&record);
                prop_assert!(seen.insert((from, to)) && to <= end);
            }
            rows_are_right(&stand).await;
            Ok(())
        })?;
    }
}

async fn state_of_or_gone(stand: &Stand, id: OrderId) -> Option<Renewing> {
    let orders = stand.orders().await;
    let (_, order) = orders.iter().find(|(other, _)| *other == id)?;
    match &order.finish {
        Finish::Renewing(state) => Some((**state).clone()),
        _ => None,
    }
}
