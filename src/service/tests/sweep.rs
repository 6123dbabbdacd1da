//! The sweeper deletes what has run out, all of it, nothing else, a bounded step at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::super::account::{KnownAccount, NewAccount};
use super::super::new_authz::NewAuthorization;
use super::super::new_order::NewOrder;
use super::super::objects::LoadedOrder;
use super::super::revoke::Asker;
use super::super::stand::{HOUR, START, Stand, check_listed_rows};
use super::super::sweep::{Cursors, Swept};
use crate::acme::challenge::ChallengeKind;
use crate::acme::order::{Finish, OrderStatus, RawIdentifier, Slot};
use crate::jose::jwk::Jwk;
use crate::limits::Source;
use crate::service::Provisioner;
use crate::storage::{Batch, Store, Table};
use crate::time::Clock;
use crate::x509::spki::Spki;

const RETENTION: Duration = Duration::from_secs(2 * 3600);

pub(crate) fn terms_of(stand: &Stand) -> Arc<Provisioner> {
    stand.service.provisioner("acme").unwrap()
}

pub(crate) async fn account(stand: &Stand) -> Arc<KnownAccount> {
    let key = rcgen::KeyPair::generate().unwrap();
    let spki = Spki::parse(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
    let key = Jwk::from_key(spki.key().clone()).unwrap();
    stand.service.new_account(&terms_of(stand), key, NewAccount::default()).await.unwrap().0
}

pub(crate) async fn order(stand: &Stand, account: &KnownAccount, names: &[String]) -> LoadedOrder {
    let identifiers =
        names.iter().map(|name| RawIdentifier { kind: "dns".into(), value: name.clone(), ancestor: None });
    let ask = NewOrder { identifiers: identifiers.collect(), ..NewOrder::default() };
    stand.service.new_order(&terms_of(stand), account, ask).await.unwrap()
}

pub(crate) async fn prove(stand: &Stand, account: &KnownAccount, order: &LoadedOrder) {
    let by = (account.account.id, account.thumbprint);
    for (index, slot) in order.order.slots.iter().enumerate() {
        if let Slot::Own(_) = slot {
            let index = u16::try_from(index).unwrap();
            stand
                .service
                .respond(&terms_of(stand), by, order.id, index, ChallengeKind::Dns01, Source::default())
                .await
                .unwrap();
        }
    }
}

pub(crate) fn csr_of(names: &[String]) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new(names.to_vec()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

pub(crate) async fn issue(
    stand: &Stand,
    account: &KnownAccount,
    order: &LoadedOrder,
    names: &[String],
) -> LoadedOrder {
    let csr = csr_of(names);
    stand
        .service
        .finalize(&terms_of(stand), account.account.id, order.id, &csr, Source::default())
        .await
        .unwrap()
}

/// Steps until a step says that nothing more is waiting; each bounded.
pub(crate) async fn sweep_all(stand: &Stand, cursors: &mut Cursors) -> usize {
    let mut deleted = 0;
    for _ in 0..10_000 {
        let Swept { deleted: now, more } = stand.service.sweep(cursors, RETENTION).await.unwrap();
        assert!(now <= 3 * 256, "a step is bounded");
        deleted += now;
        if !more {
            return deleted;
        }
    }
    panic!("the sweep does not end");
}

pub(super) fn name(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[tokio::test]
async fn ten_thousand_orders_come_and_go() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    for n in 0..10_000 {
        let order = order(&stand, &account, &name(&format!("n{n}.test"))).await;
        if n % 10 == 0 {
            prove(&stand, &account, &order).await;
        }
    }
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (10_000, 1000));
    let mut cursors = Cursors::default();
    // Orders live 2 hours and their authorizations 8 more.
    stand.clock.advance(10 * HOUR - Duration::from_secs(1));
    let audit = stand.rows(Table::Audit).await;
    assert_eq!(sweep_all(&stand, &mut cursors).await, audit, "nothing but old audit events");
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (10_000, 1000));
    // One more order, which is to stay.
    let keep = order(&stand, &account, &name("keep.test")).await;
    prove(&stand, &account, &keep).await;
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(sweep_all(&stand, &mut cursors).await, 10_000);
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (1, 1));
    stand.check_held_rows().await.unwrap();
    // Done: another step writes nothing.
    let commits = stand.store.commits.load(Ordering::SeqCst);
    assert_eq!(sweep_all(&stand, &mut cursors).await, 0);
    assert_eq!(stand.store.commits.load(Ordering::SeqCst), commits);
    assert_eq!(stand.rows(Table::Accounts).await, 1);
}

#[tokio::test]
async fn orders_of_many_names_fit_the_store_s_batches() {
    let stand = Stand::with(|terms| terms.max_names = 1000).await;
    let account = account(&stand).await;
    let names =
        |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}{n}.test")).collect::<Vec<_>>();
    for n in 0..12 {
        let order = order(&stand, &account, &names(&format!("o{n}x"), 100)).await;
        prove(&stand, &account, &order).await;
    }
    let order = order(&stand, &account, &names("big", 1000)).await;
    prove(&stand, &account, &order).await;
    stand.clock.advance(11 * HOUR);
    let mut cursors = Cursors::default();
    sweep_all(&stand, &mut cursors).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (0, 0));
}

#[tokio::test]
async fn a_row_that_leads_to_a_newer_order_stays() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let names = name("a.test");
    let first = order(&stand, &account, &names).await;
    prove(&stand, &account, &first).await;
    // Too late to use it again: proved anew, in a newer order.
    stand.clock.advance(8 * HOUR - Duration::from_secs(60));
    let second = order(&stand, &account, &names).await;
    prove(&stand, &account, &second).await;
    stand.clock.advance(3 * HOUR);
    let mut cursors = Cursors::default();
    sweep_all(&stand, &mut cursors).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (1, 1));
    stand.check_held_rows().await.unwrap();
    assert_eq!(order(&stand, &account, &names).await.order.status(stand.clock.now()), OrderStatus::Ready);
    stand.clock.advance(10 * HOUR);
    sweep_all(&stand, &mut cursors).await;
    assert_eq!((stand.rows(Table::Orders).await, stand.rows(Table::Grants).await), (0, 0));
}

#[tokio::test]
async fn certificates_and_audit_go_after_their_retention() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let names = name("a.test");
    let ordered = order(&stand, &account, &names).await;
    prove(&stand, &account, &ordered).await;
    let issued = issue(&stand, &account, &ordered, &names).await;
    assert!(matches!(issued.order.finish, Finish::Issued { .. }));
    let mut cursors = Cursors::default();
    stand.clock.advance(24 * HOUR + RETENTION - Duration::from_secs(1));
    sweep_all(&stand, &mut cursors).await;
    assert_eq!(stand.certificates().await.len(), 1);
    assert_eq!(stand.rows(Table::Audit).await, 0);
    stand.clock.advance(Duration::from_secs(1));
    assert_eq!(sweep_all(&stand, &mut cursors).await, 1);
    assert_eq!(stand.rows(Table::Certificates).await, 2, "the hierarchy stays");
    // Audit numbers go on, and later events are found behind the cursor.
    let again = order(&stand, &account, &names).await;
    prove(&stand, &account, &again).await;
    assert_eq!(sweep_all(&stand, &mut cursors).await, 0);
    stand.clock.advance(RETENTION);
    assert_eq!(sweep_all(&stand, &mut cursors).await, 1);
}

#[tokio::test]
async fn a_restart_and_faults_lose_no_place() {
    use super::super::stand::Fault;
    let mut stand = Stand::new().await;
    let account = account(&stand).await;
    for n in 0..600 {
        order(&stand, &account, &name(&format!("n{n}.test"))).await;
    }
    stand.clock.advance(11 * HOUR);
    let mut cursors = Cursors::default();
    stand.store.fail(0, Fault::Busy);
    stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap_err();
    stand.store.fail(0, Fault::Conflict);
    assert!(stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap().more);
    stand.store.fail(0, Fault::FailedAfter);
    stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap_err();
    stand.service.sweep(&mut cursors, 24 * HOUR).await.unwrap();
    stand.restart();
    let mut cursors = Cursors::default();
    sweep_all(&stand, &mut cursors).await;
    assert_eq!(stand.rows(Table::Orders).await, 0);
}

/// One unreadable record is no reason to stop deleting, or to refuse a name for ever.
#[tokio::test]
async fn unreadable_records_do_not_stop_the_sweep() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let order = order(&stand, &account, &name(&format!("n{n}.test"))).await;
        prove(&stand, &account, &order).await;
        ids.push(order.id);
    }
    let row = crate::storage::codec::held_row(
        account.account.id,
        &crate::acme::identifier::Identifier::parse_dns("n1.test").unwrap(),
    );
    let batch = Batch::new()
        .put(Table::Orders, *ids[0].as_bytes(), vec![9, 9, 9])
        .put(Table::Grants, row, vec![9, 9, 9])
        .put(Table::Orders, b"odd".to_vec(), vec![9]);
    let _ = stand.store.commit(batch).await.unwrap();
    stand.clock.advance(11 * HOUR);
    let mut cursors = Cursors::default();
    sweep_all(&stand, &mut cursors).await;
    assert_eq!(stand.rows(Table::Orders).await, 0);
    // The one row whose order did not read cannot be found any more; the next proof replaces it.
    assert_eq!(stand.rows(Table::Grants).await, 1);
}

/// After a clock that ran ahead is set back, what is opened then goes in its time all the same.
#[tokio::test]
async fn a_clock_set_back_leaves_nothing_behind() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    stand.clock.set(START + 1000 * HOUR);
    order(&stand, &account, &name("ahead.test")).await;
    stand.clock.advance(11 * HOUR);
    let mut cursors = Cursors::default();
    sweep_all(&stand, &mut cursors).await;
    stand.clock.set(START + HOUR);
    order(&stand, &account, &name("b.test")).await;
    sweep_all(&stand, &mut cursors).await;
    assert_eq!(stand.rows(Table::Orders).await, 1);
    stand.clock.advance(11 * HOUR);
    sweep_all(&stand, &mut cursors).await;
    assert_eq!(stand.rows(Table::Orders).await, 0);
}

#[derive(Clone, Debug)]
enum Act {
    Order(usize, Vec<u8>),
    Prove(usize),
    Issue(usize),
    Revoke(usize),
    Deactivate(usize, u16),
    Ahead(usize, u8),
    Pass(u64),
    Sweep,
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let one = prop_oneof![
        4 => (0..2usize, proptest::collection::vec(0..4u8, 1..3)).prop_map(|(who, names)| Act::Order(who, names)),
        4 => (0..64usize).prop_map(Act::Prove),
        3 => (0..64usize).prop_map(Act::Issue),
        2 => (0..64usize).prop_map(Act::Revoke),
        1 => (0..64usize, 0..2u16).prop_map(|(order, index)| Act::Deactivate(order, index)),
        1 => (0..2usize, 0..4u8).prop_map(|(who, name)| Act::Ahead(who, name)),
        3 => (1..36_000u64).prop_map(Act::Pass),
        3 => Just(Act::Sweep),
        1 => Just(Act::Restart),
    ];
    proptest::collection::vec(one, 1..40)
}

async fn churn(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let mut stand = Stand::new().await;
    let accounts = [account(&stand).await, account(&stand).await];
    let mut orders: Vec<(usize, LoadedOrder)> = Vec::new();
    let mut cursors = Cursors::default();
    let mut revoked = Vec::new();
    for act in acts {
        let pick = |n: usize| orders.get(n % orders.len().max(1));
        match act {
            Act::Order(who, names) => {
                let names: Vec<_> = names.iter().map(|n| format!("n{n}.test")).collect();
                orders.push((who, order(&stand, &accounts[who], &names).await));
            }
            Act::Prove(n) => {
                let Some((who, order)) = pick(n) else { continue };
                let by = (accounts[*who].account.id, accounts[*who].thumbprint);
                for index in 0..u16::try_from(order.order.slots.len()).unwrap() {
                    let terms = terms_of(&stand);
                    let _ = stand
                        .service
                        .respond(&terms, by, order.id, index, ChallengeKind::Dns01, Source::default())
                        .await;
                }
            }
            Act::Issue(n) => {
                let Some((who, order)) = pick(n) else { continue };
                let names: Vec<_> = order.order.identifiers().map(ToString::to_string).collect();
                let mut params = rcgen::CertificateParams::new(names).unwrap();
                params.distinguished_name = rcgen::DistinguishedName::new();
                let csr = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap();
                let account = accounts[*who].account.id;
                let _ = stand
                    .service
                    .finalize(&terms_of(&stand), account, order.id, csr.der(), Source::default())
                    .await;
            }
            Act::Revoke(n) => {
                let all = stand.certificates().await;
                let Some(record) = all.get(n % all.len().max(1)) else { continue };
                let crate::provisioner::Requester::Acme { account, .. } = record.requester else { continue };
                let asked =
                    stand.service.revoke(&terms_of(&stand), Asker::Account(account), &record.der, None).await;
                if asked.is_ok() {
                    revoked.push(record.clone());
                }
            }
            Act::Deactivate(n, index) => {
                let Some((who, order)) = pick(n) else { continue };
                let account = accounts[*who].account.id;
                let _ =
                    stand.service.deactivate_authorization(&terms_of(&stand), account, order.id, index).await;
            }
            Act::Ahead(who, name) => {
                let (account, terms) = (&accounts[who], terms_of(&stand));
                let value = format!("n{name}.test");
                let identifier = RawIdentifier { kind: "dns".into(), value, ancestor: None };
                let ask = NewAuthorization { identifier, subdomains: false, ..NewAuthorization::default() };
                let made = stand.service.new_authorization(&terms, account, ask).await.unwrap().0;
                let by = (account.account.id, account.thumbprint);
                let kind = ChallengeKind::Dns01;
                stand
                    .service
                    .respond(&terms, by, made.order, made.index, kind, Source::default())
                    .await
                    .unwrap();
            }
            Act::Pass(secs) => stand.clock.advance(Duration::from_secs(secs)),
            Act::Sweep => drop(sweep_all(&stand, &mut cursors).await),
            Act::Restart => {
                stand.restart();
                cursors = Cursors::default();
            }
        }
        stand.check_held_rows().await.map_err(TestCaseError::fail)?;
        check_listed_rows(&stand).await.map_err(TestCaseError::fail)?;
        let now = stand.clock.now();
        let kept = stand.certificates().await;
        for record in revoked.iter().filter(|record| record.not_after + RETENTION > now) {
            let found = kept.iter().find(|kept| kept.der == record.der);
            prop_assert!(found.is_some_and(|kept| kept.revocation.is_some()));
        }
        // No order holds two certificates.
        let mut issued: Vec<_> = kept.iter().map(|record| format!("{:?}", record.requester)).collect();
        issued.sort();
        let all = issued.len();
        issued.dedup();
        prop_assert_eq!(issued.len(), all);
    }
    // In the end everything goes.
    stand.clock.advance(100 * HOUR);
    sweep_all(&stand, &mut cursors).await;
    for table in [Table::Orders, Table::AccountOrders, Table::Grants, Table::Audit] {
        prop_assert_eq!(stand.rows(table).await, 0, "{:?}", table);
    }
    prop_assert!(stand.certificates().await.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_held_rows_lead_somewhere_and_revocations_stay(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(churn(acts))?;
    }
}
