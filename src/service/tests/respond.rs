//! What a response to a challenge reads, and what it sees of changes meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::Error;
use super::super::account::KnownAccount;
use super::super::objects::{LoadedAuthorization, LoadedOrder};
use super::super::slots::{MAX_ATTEMPTS_OF_ACCOUNT, MAX_VALIDATIONS_OF_ACCOUNT};
use super::super::stand::{HOUR, Stand, Step, inconclusive};
use super::sweep::{account, issue, name, order, prove, terms_of};
use crate::acme::challenge::ChallengeKind::Dns01;
use crate::acme::order::{AuthorizationStatus, OrderStatus};
use crate::limits::Source;
use crate::storage::Table;
use crate::validation::Outcome;

#[tokio::test]
async fn an_issuance_reads_each_order_once_per_verb() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let names = name("a.test");
    let reads = || stand.store.reads.swap(0, Ordering::SeqCst);
    reads();
    let first = order(&stand, &account, &names).await;
    assert_eq!(reads(), 1, "whether the account holds an authorization");
    prove(&stand, &account, &first).await;
    assert_eq!(reads(), 1, "the order");
    issue(&stand, &account, &first, &names).await;
    assert_eq!(reads(), 1, "the order");
    // Of several names, and those held.
    let names = ["b.test", "c.test", "d.test"].map(str::to_owned);
    let first = order(&stand, &account, &names).await;
    prove(&stand, &account, &first).await;
    reads();
    let renewal = order(&stand, &account, &names).await;
    assert_eq!(reads(), 3, "as many as names");
    issue(&stand, &account, &renewal, &names).await;
    assert_eq!(reads(), 2, "the order, and the one that keeps its proofs");
}

#[tokio::test]
async fn a_proof_that_comes_after_a_deactivation_does_not_count() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let (terms, by) = (terms_of(&stand), (account.account.id, account.thumbprint));
    let order = order(&stand, &account, &name("a.test")).await;
    stand.script.next("a.test", Step::After(Duration::from_millis(50), Outcome::Proved));
    let deactivation = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        stand.service.deactivate_authorization(&terms, by.0, order.id, 0).await.unwrap();
    };
    let (answer, ()) =
        tokio::join!(stand.service.respond(&terms, by, order.id, 0, Dns01, Source::default()), deactivation);
    assert_eq!(answer.unwrap().authorization.status(stand.service.now()), AuthorizationStatus::Deactivated);
    assert_eq!(stand.rows(Table::Grants).await, 0);
}

#[tokio::test]
async fn proofs_of_one_order_that_come_together_all_count() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let (terms, by) = (terms_of(&stand), (account.account.id, account.thumbprint));
    let names = ["a.test", "b.test", "c.test"].map(str::to_owned);
    let order = order(&stand, &account, &names).await;
    for name in &names {
        stand.script.next(name, Step::After(Duration::from_millis(20), Outcome::Proved));
    }
    let respond = |index| stand.service.respond(&terms, by, order.id, index, Dns01, Source::default());
    let (a, b, c) = tokio::join!(respond(0), respond(1), respond(2));
    let now = stand.service.now();
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap().authorization.status(now), AuthorizationStatus::Valid);
    }
    let order = stand.service.order(&terms, by.0, order.id).await.unwrap();
    assert_eq!(order.order.status(now), OrderStatus::Ready);
}

/// Orders of a hundred names each, of which the prover makes what `step` says.
async fn orders_of(stand: &Stand, account: &KnownAccount, count: usize, step: &Step) -> Vec<LoadedOrder> {
    let mut orders = Vec::new();
    for n in 0..count {
        let names: Vec<_> = (0..100).map(|m| format!("n{m}.o{n}.test")).collect();
        names.iter().for_each(|name| stand.script.next(name, step.clone()));
        orders.push(order(stand, account, &names).await);
    }
    orders
}

/// Responds to every challenge of the orders, each in a task of its own.
fn respond_to_all(
    stand: &Stand,
    account: &KnownAccount,
    orders: &[LoadedOrder],
) -> JoinSet<Result<LoadedAuthorization, Error>> {
    let mut answers = JoinSet::new();
    for (order, index) in orders.iter().flat_map(|order| (0..100).map(move |index| (order.id, index))) {
        let (service, terms) = (stand.service.clone(), terms_of(stand));
        let by = (account.account.id, account.thumbprint);
        answers
            .spawn(async move { service.respond(&terms, by, order, index, Dns01, Source::default()).await });
    }
    answers
}

#[tokio::test]
async fn one_account_s_validations_leave_room_for_another_s() {
    let stand = Stand::new().await;
    let (greedy, other) = (account(&stand).await, account(&stand).await);
    let silent = Step::After(HOUR, Outcome::Proved);
    let orders = orders_of(&stand, &greedy, 4, &silent).await;
    let answers = respond_to_all(&stand, &greedy, &orders);
    let order = order(&stand, &other, &name("a.test")).await;
    prove(&stand, &other, &order).await;
    let order = stand.service.order(&terms_of(&stand), other.account.id, order.id).await.unwrap();
    assert_eq!(order.order.status(stand.service.now()), OrderStatus::Ready);
    let answers = answers.join_all().await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(Error::Busy(_)))).count();
    assert_eq!(busy, 400 - MAX_VALIDATIONS_OF_ACCOUNT);
    let names = orders.iter().flat_map(|order| order.order.identifiers());
    let calls: usize = names.map(|name| stand.script.calls(&name.to_string())).sum();
    assert_eq!(calls, MAX_ATTEMPTS_OF_ACCOUNT, "the others wait for their turn");
}

#[tokio::test]
async fn a_pause_between_attempts_leaves_the_turn_to_others() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    // The first hundred fail at once, and pause; and then again.
    let orders = orders_of(&stand, &account, 1, &Step::Say(inconclusive())).await;
    let answers = respond_to_all(&stand, &account, &orders);
    let order = order(&stand, &account, &name("a.test")).await;
    let proof = prove(&stand, &account, &order);
    tokio::time::timeout(Duration::from_millis(400), proof).await.expect("nobody waits for a pause");
    let now = stand.service.now();
    for answer in answers.join_all().await {
        assert_eq!(answer.unwrap().authorization.status(now), AuthorizationStatus::Valid);
    }
}
