//! Limits at the verbs, and what a start finds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::account::KnownAccount;
use super::super::new_order::NewOrder;
use super::super::objects::LoadedOrder;
use super::super::stand::{HOUR, START, Stand, Step, no_limits};
use super::super::{Error, resume::Resumed};
use super::sweep::{account, csr_of, issue, name, order, prove, terms_of};
use crate::acme::challenge::ChallengeKind::Dns01;
use crate::acme::order::{Finish, OrderStatus, RawIdentifier};
use crate::limits::gcra::Quota;
use crate::limits::{Limit, Rules, Source};
use crate::storage::embedded::fjall::Fjall;
use crate::storage::group::GroupCommit;
use crate::storage::{Store, Table};
use crate::time::Clock;
use crate::validation::{Failure, FailureKind, Outcome};

fn only(limit: Limit, count: u32) -> Rules {
    let mut rules = no_limits();
    rules.set(limit, Quota::new(count, HOUR));
    rules
}

fn ask(names: &[&str], from: Source) -> NewOrder {
    let identifiers =
        names.iter().map(|name| RawIdentifier { kind: "dns".into(), value: (*name).into(), ancestor: None });
    NewOrder { identifiers: identifiers.collect(), from, ..NewOrder::default() }
}

async fn try_order(stand: &Stand, account: &KnownAccount, n: usize) -> Result<LoadedOrder, Error> {
    let ask = ask(&[&format!("n{n}.test")], Source::default());
    stand.service.new_order(&terms_of(stand), account, ask).await
}

async fn obtain(stand: &Stand, account: &KnownAccount, names: &[String]) {
    let opened = order(stand, account, names).await;
    prove(stand, account, &opened).await;
    issue(stand, account, &opened, names).await;
}

#[track_caller]
fn limited<T: std::fmt::Debug>(result: Result<T, Error>) -> (&'static str, u64) {
    match result {
        Err(Error::Limited(refused)) => (refused.limit, refused.seconds()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn open_orders_are_bounded_over_restarts_too() {
    let mut stand = Stand::new().await;
    let rules = Rules { open_orders: Some(5), ..no_limits() };
    stand.service.limits().reload(rules.clone());
    let (one, other) = (account(&stand).await, account(&stand).await);
    let first = order(&stand, &one, &name("first.test")).await;
    for n in 1..5 {
        try_order(&stand, &one, n).await.unwrap();
    }
    assert_eq!(limited(try_order(&stand, &one, 9).await).0, "open_orders");
    try_order(&stand, &other, 1).await.unwrap();
    stand.clock.advance(Duration::from_secs(1));
    // A start counts again what is open.
    stand.restart();
    stand.service.limits().reload(rules.clone());
    let resumed = stand.service.resume(stand.clock.now()).await;
    assert_eq!(resumed, Resumed { open: 6, ..Resumed::default() });
    let wait = limited(try_order(&stand, &one, 9).await).1;
    assert!(wait > 3600 && wait <= 2 * 3600 + 900, "{wait}");
    // A certificate makes room for one more.
    prove(&stand, &one, &first).await;
    let (terms, csr) = (terms_of(&stand), csr_of(&name("first.test")));
    stand.service.finalize(&terms, one.account.id, first.id, &csr, Source::default()).await.unwrap();
    try_order(&stand, &one, 9).await.unwrap();
    limited(try_order(&stand, &one, 10).await);
    // And so does time, when it said it would.
    let wait = limited(try_order(&stand, &one, 10).await).1;
    stand.clock.advance(Duration::from_secs(wait));
    try_order(&stand, &one, 10).await.unwrap();
}

/// 20,000 newOrder calls of one account over the real engine: what is stored is what the cap allows, in
/// rows and in bytes, and another account is served throughout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_end_take_a_bounded_place_on_the_disk() {
    const CALLS: usize = 20_000;
    const OPEN: u32 = 400;
    let home = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(GroupCommit::start(Fjall::open(home.path()).unwrap()).unwrap());
    let stand = Stand::over(store, START, |_| ()).await;
    stand.service.limits().reload(Rules { open_orders: Some(OPEN), ..Rules::default() });
    let (abuser, other) = (account(&stand).await, account(&stand).await);
    let commits = stand.store.commits.load(Ordering::SeqCst);
    let mut opened = 0;
    for n in 0..CALLS {
        match try_order(&stand, &abuser, n).await {
            Ok(_) => opened += 1,
            Err(Error::Limited(_)) => {}
            Err(error) => panic!("{error}"),
        }
        if n % 2_000 == 0 {
            obtain(&stand, &other, &name(&format!("other{n}.test"))).await;
        }
    }
    assert_eq!(opened, OPEN as usize);
    let others = CALLS / 2_000;
    assert_eq!(stand.rows(Table::Orders).await, opened + others);
    // A refused call costs no commit.
    let commits = stand.store.commits.load(Ordering::SeqCst) - commits;
    assert!(commits <= opened + others * 4, "{commits}");
    let bytes: usize = stand
        .orders()
        .await
        .iter()
        .map(|(_, order)| crate::storage::codec::Record::encode(order).len())
        .sum();
    assert!(bytes / (opened + others) < 1024, "{bytes}");
}

#[tokio::test]
async fn orders_of_an_account_and_of_a_network() {
    let stand = Stand::new().await;
    let (one, two) = (account(&stand).await, account(&stand).await);
    stand.service.limits().reload(only(Limit::AccountOrders, 2));
    for n in 0..2 {
        try_order(&stand, &one, n).await.unwrap();
    }
    assert_eq!(limited(try_order(&stand, &one, 3).await), ("account_orders", 1800));
    try_order(&stand, &two, 4).await.unwrap();
    // What is refused for another reason is not counted.
    for _ in 0..5 {
        let terms = terms_of(&stand);
        let bad = stand.service.new_order(&terms, &two, ask(&["a_b"], Source::default()));
        assert!(matches!(bad.await, Err(Error::Refused(_))));
    }
    try_order(&stand, &two, 5).await.unwrap();
    stand.clock.advance(Duration::from_secs(1800));
    try_order(&stand, &one, 3).await.unwrap();
    // A network counts over its accounts; an exempt one does not count.
    stand.service.limits().reload(only(Limit::NetworkOrders, 2));
    for account in [&one, &two] {
        try_order(&stand, account, 6).await.unwrap();
    }
    assert_eq!(limited(try_order(&stand, &one, 7).await), ("network_orders", 1800));
    for from in [Source { network: [9; 16], exempt: false }, Source { exempt: true, ..Source::default() }] {
        stand.service.new_order(&terms_of(&stand), &one, ask(&["x.test"], from)).await.unwrap();
    }
}

#[tokio::test]
async fn certificates_for_the_same_names() {
    let stand = Stand::new().await;
    stand.service.limits().reload(only(Limit::NameSetCertificates, 2));
    let (one, two) = (account(&stand).await, account(&stand).await);
    let both = ["a.test".to_owned(), "b.test".to_owned()];
    let waiting = order(&stand, &two, &both).await;
    prove(&stand, &two, &waiting).await;
    obtain(&stand, &one, &both).await;
    obtain(&stand, &one, &["b.test".to_owned(), "a.test".to_owned()]).await;
    // Neither a new order, nor one that is there: which stays as it is, and goes on later.
    let terms = terms_of(&stand);
    let again = stand.service.new_order(&terms, &one, ask(&["a.test", "b.test"], Source::default()));
    assert_eq!(limited(again.await), ("name_set_certificates", 1800));
    let csr = csr_of(&both);
    let finalize = || stand.service.finalize(&terms, two.account.id, waiting.id, &csr, Source::default());
    assert_eq!(limited(finalize().await).0, "name_set_certificates");
    let loaded = stand.service.order(&terms, two.account.id, waiting.id).await.unwrap();
    assert_eq!(loaded.order.status(stand.clock.now()), OrderStatus::Ready);
    obtain(&stand, &one, &name("a.test")).await;
    stand.clock.advance(Duration::from_secs(1800));
    // A signer that fails takes nothing.
    stand.signer.broken.store(true, Ordering::SeqCst);
    finalize().await.unwrap_err();
    stand.signer.broken.store(false, Ordering::SeqCst);
    finalize().await.unwrap();
}

/// Settles at the first attempt.
fn forbidden() -> Outcome {
    Outcome::Failed(Failure { kind: FailureKind::Forbidden, detail: "not a target".into() })
}

#[tokio::test]
async fn failed_validations_count_and_others_do_not() {
    let stand = Stand::new().await;
    stand.service.limits().reload(only(Limit::AccountFailures, 2));
    let account = account(&stand).await;
    let terms = terms_of(&stand);
    let by = (account.account.id, account.thumbprint);
    for n in 0..4 {
        let one = try_order(&stand, &account, n).await.unwrap();
        if n >= 2 {
            stand.script.next(&format!("n{n}.test"), Step::Say(forbidden()));
        }
        stand.service.respond(&terms, by, one.id, 0, Dns01, Source::default()).await.unwrap();
    }
    let last = try_order(&stand, &account, 4).await.unwrap();
    let respond = || stand.service.respond(&terms, by, last.id, 0, Dns01, Source::default());
    assert_eq!(limited(respond().await), ("account_failures", 1800));
    stand.clock.advance(Duration::from_secs(1800));
    respond().await.unwrap();
}

/// One that is slow, or finds no place, holds up no other.
#[tokio::test]
async fn a_start_takes_up_many_at_once_and_none_waits_for_another_s_place() {
    let mut stand = Stand::new().await;
    let terms = terms_of(&stand);
    let mut responding = JoinSet::new();
    // More validations than resumption has places for.
    for n in 0..6 {
        let account = account(&stand).await;
        for half in 0..2 {
            let names: Vec<String> = (0..100).map(|name| format!("n{name}.{half}.{n}.test")).collect();
            names.iter().for_each(|name| stand.script.next(name, Step::After(HOUR, Outcome::Proved)));
            let opened = order(&stand, &account, &names).await;
            for index in 0..100 {
                let (service, terms) = (stand.service.clone(), terms.clone());
                let by = (account.account.id, account.thumbprint);
                let from = Source { network: [n; 16], exempt: false };
                responding.spawn(async move {
                    service.respond(&terms, by, opened.id, index, Dns01, from).await.unwrap()
                });
            }
        }
    }
    responding.join_all().await;
    // Behind those in the walk.
    stand.clock.advance(Duration::from_secs(10));
    stand.signer.slow.store(true, Ordering::SeqCst);
    stand.signer.broken.store(true, Ordering::SeqCst);
    let account = account(&stand).await;
    let mut signing = Vec::new();
    for n in 0..20 {
        let names = name(&format!("signed{n}.test"));
        let opened = order(&stand, &account, &names).await;
        prove(&stand, &account, &opened).await;
        let (id, csr) = (account.account.id, csr_of(&names));
        let accepted = stand.service.finalize(&terms, id, opened.id, &csr, Source::default()).await.unwrap();
        assert!(matches!(accepted.order.finish, Finish::Processing(_)));
        signing.push(opened.id);
    }
    stand.signer.broken.store(false, Ordering::SeqCst);
    *stand.signer.delay.lock().unwrap() = Duration::from_millis(20);
    for (n, half, name) in (0..6).flat_map(|n| (0..200).map(move |at| (n, at / 100, at % 100))) {
        stand.script.next(&format!("n{name}.{half}.{n}.test"), Step::After(HOUR, Outcome::Proved));
    }
    stand.restart();
    let (service, started) = (stand.service.clone(), stand.clock.now());
    let resuming = tokio::spawn(async move { service.resume(started).await });
    for _ in 0..500 {
        if stand.certificates().await.len() == signing.len() {
            let most = stand.signer.most_at_once.load(Ordering::SeqCst);
            assert!((2..=8).contains(&most), "{most} signatures at once");
            assert!(!resuming.is_finished(), "some validations have no place yet");
            resuming.abort();
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} of {} certificates", stand.certificates().await.len(), signing.len());
}

/// Nobody polls: a start alone takes up the validation and the finalization that a crash cut short.
#[tokio::test]
async fn a_start_takes_up_what_was_cut_short() {
    let mut stand = Stand::new().await;
    let account = account(&stand).await;
    let terms = terms_of(&stand);
    let by = (account.account.id, account.thumbprint);
    let validating = order(&stand, &account, &name("slow.test")).await;
    stand.script.next("slow.test", Step::After(HOUR, Outcome::Proved));
    stand.service.respond(&terms, by, validating.id, 0, Dns01, Source::default()).await.unwrap();
    let signing = order(&stand, &account, &name("signed.test")).await;
    prove(&stand, &account, &signing).await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    stand.signer.broken.store(true, Ordering::SeqCst);
    let csr = csr_of(&name("signed.test"));
    let accepted = stand.service.finalize(&terms, by.0, signing.id, &csr, Source::default()).await.unwrap();
    assert!(matches!(accepted.order.finish, Finish::Processing(_)));
    issue_many(&stand, &account).await;
    stand.signer.broken.store(false, Ordering::SeqCst);
    stand.clock.advance(Duration::from_secs(1));
    stand.restart();
    let resumed = stand.service.resume(stand.clock.now()).await;
    assert_eq!((resumed.validations, resumed.finalizations), (1, 1), "{resumed:?}");
    for _ in 0..500 {
        let orders = stand.orders().await;
        let status = |id| orders.iter().find(|(found, _)| *found == id).unwrap().1.status(stand.clock.now());
        if (status(validating.id), status(signing.id)) == (OrderStatus::Ready, OrderStatus::Valid) {
            assert_eq!(stand.certificates().await.len(), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", stand.orders().await);
}

/// More than one page of orders that need nothing.
async fn issue_many(stand: &Stand, account: &KnownAccount) {
    for n in 0..300 {
        try_order(stand, account, n).await.unwrap();
    }
}

/// What is asked when an order is opened is what is counted when it is finalized, whatever proves it.
#[tokio::test]
async fn names_below_an_ancestor_are_counted_as_themselves() {
    let stand = Stand::with(|terms| terms.subdomains = true).await;
    stand.service.limits().reload(only(Limit::NameSetCertificates, 1));
    let account = account(&stand).await;
    let identifier = |name: &str| RawIdentifier {
        kind: "dns".into(),
        value: name.into(),
        ancestor: Some("example.test".into()),
    };
    let open = async |name: &str| {
        let ask = NewOrder { identifiers: vec![identifier(name)], ..NewOrder::default() };
        stand.service.new_order(&terms_of(&stand), &account, ask).await
    };
    let first = open("a.example.test").await.unwrap();
    prove(&stand, &account, &first).await;
    issue(&stand, &account, &first, &name("a.example.test")).await;
    assert_eq!(limited(open("a.example.test").await).0, "name_set_certificates");
    open("b.example.test").await.unwrap();
}
