//! What a response to a challenge reads, and what it sees of changes meanwhile.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::stand::{Stand, Step};
use super::sweep::{account, issue, name, order, prove, terms_of};
use crate::acme::challenge::ChallengeKind::Dns01;
use crate::acme::order::{AuthorizationStatus, OrderStatus};
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
    let (answer, ()) = tokio::join!(stand.service.respond(&terms, by, order.id, 0, Dns01), deactivation);
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
    let respond = |index| stand.service.respond(&terms, by, order.id, index, Dns01);
    let (a, b, c) = tokio::join!(respond(0), respond(1), respond(2));
    let now = stand.service.now();
    for answer in [a, b, c] {
        assert_eq!(answer.unwrap().authorization.status(now), AuthorizationStatus::Valid);
    }
    let order = stand.service.order(&terms, by.0, order.id).await.unwrap();
    assert_eq!(order.order.status(now), OrderStatus::Ready);
}
