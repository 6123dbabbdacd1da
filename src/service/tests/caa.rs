//! CAA at finalization: every name, once, and nothing without consent.

use crate::limits::Source;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::Error;
use super::super::account::KnownAccount;
use super::super::objects::LoadedOrder;
use super::super::stand::Stand;
use super::sweep::{account, csr_of, order, prove, terms_of};
use crate::acme::challenge::ChallengeKind;
use crate::acme::error::ErrorKind;
use crate::acme::order::{Finish, OrderStatus};
use crate::validation::Consent;

async fn stand() -> Stand {
    Stand::with(|terms| {
        terms.caa = true;
        terms.caa_identities = vec!["ca.test".to_owned()];
    })
    .await
}

async fn finalize(
    stand: &Stand,
    account: &KnownAccount,
    order: &LoadedOrder,
    csr: &[u8],
) -> Result<LoadedOrder, Error> {
    stand.service.finalize(&terms_of(stand), account.account.id, order.id, csr, Source::default()).await
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}.test")).collect()
}

/// Three million certificates were once issued after one name's records had been checked N times
/// instead of N names' once each (2020-02-29). So: each distinct name is validated once, and asked
/// for once when issuing; also where the proofs are older ones; and each of them can forbid.
#[tokio::test]
async fn field_13_every_distinct_name_is_checked_once() {
    let stand = stand().await;
    let account = account(&stand).await;
    let mut names = names(20);
    names.push("*.n3.test".to_owned());
    let doubled: Vec<_> = names.iter().chain(&names).cloned().collect();
    let first = order(&stand, &account, &doubled).await;
    prove(&stand, &account, &first).await;
    for name in &names {
        assert_eq!(stand.script.calls(name), 1, "{name}");
    }
    // At the time of validation, the validator itself looks; it is told to.
    assert!(stand.script.asks().iter().all(|ask| ask.caa == Some(vec!["ca.test".to_owned()])));
    assert_eq!(stand.script.caa_asks(), []);

    let csr = csr_of(&names);
    let renewal = order(&stand, &account, &names).await;
    for (what, order) in [("own proofs", &first), ("older proofs", &renewal)] {
        for bad in &names {
            stand.script.caa_says(bad, Consent::Forbidden(format!("{bad} is closed")));
            let refused = finalize(&stand, &account, order, &csr).await;
            let Err(Error::Refused(refusal)) = refused else { panic!("{what}: {bad}: {refused:?}") };
            assert_eq!(refusal.kind, ErrorKind::Caa);
            let named: Vec<_> = refusal.subproblems.iter().map(|sub| sub.identifier.1.as_str()).collect();
            assert_eq!(named, [bad.as_str()], "{what}");
            stand.script.caa_says(bad, Consent::Permitted);
        }
        assert_eq!(stand.certificates().await.len(), usize::from(what == "older proofs"));
        stand.script.caa_asks();
        let issued = finalize(&stand, &account, order, &csr).await.unwrap();
        assert!(matches!(issued.order.finish, Finish::Issued { .. }), "{what}");
        let asks = stand.script.caa_asks();
        let asked: BTreeSet<_> = asks.iter().map(|ask| ask.identifier.to_string()).collect();
        assert_eq!((asks.len(), asked), (names.len(), names.iter().cloned().collect()), "{what}");
        let url = format!("https://ca.test/acme/acme/account/{}", account.account.id);
        for ask in asks {
            assert_eq!((ask.method, &ask.account_url), (Some(ChallengeKind::Dns01), &url), "{what}");
            assert_eq!(ask.identities, ["ca.test"]);
        }
        // The answer again, without asking again.
        finalize(&stand, &account, order, &csr).await.unwrap();
        assert_eq!(stand.script.caa_asks(), []);
    }
}

#[tokio::test]
async fn several_forbidden_names_are_all_told() {
    let stand = stand().await;
    let account = account(&stand).await;
    let names = names(4);
    let order = order(&stand, &account, &names).await;
    prove(&stand, &account, &order).await;
    stand.script.caa_says("n1.test", Consent::Forbidden("closed".into()));
    stand.script.caa_says("n2.test", Consent::Unknown("silent".into()));
    stand.script.caa_says("n3.test", Consent::Forbidden("closed".into()));
    let refused = finalize(&stand, &account, &order, &csr_of(&names)).await;
    let Err(Error::Refused(refusal)) = refused else { panic!("{refused:?}") };
    let named: Vec<_> = refusal.subproblems.iter().map(|sub| sub.identifier.1.as_str()).collect();
    assert_eq!((refusal.kind, named), (ErrorKind::Caa, vec!["n1.test", "n3.test"]));
}

/// A resolver that is down ends nothing: 503, and the same order later.
#[tokio::test]
async fn records_that_cannot_be_looked_up_put_the_finalization_off() {
    let stand = stand().await;
    let account = account(&stand).await;
    let names = names(2);
    let opened = order(&stand, &account, &names).await;
    let csr = csr_of(&names);
    let early = finalize(&stand, &account, &opened, &csr).await;
    assert!(matches!(&early, Err(Error::Refused(r)) if r.kind == ErrorKind::OrderNotReady), "{early:?}");
    assert_eq!(stand.script.caa_asks(), [], "nobody is asked about an order that is not ready");
    prove(&stand, &account, &opened).await;
    stand.script.caa_says("n1.test", Consent::Unknown("the resolver is silent".into()));
    for _ in 0..3 {
        let put_off = finalize(&stand, &account, &opened, &csr).await;
        assert!(matches!(put_off, Err(Error::Busy(_))), "{put_off:?}");
        let now = stand.service.order(&terms_of(&stand), account.account.id, opened.id).await.unwrap();
        assert_eq!(now.order.status(stand.service.now()), OrderStatus::Ready);
    }
    stand.script.caa_says("n1.test", Consent::Permitted);
    let issued = finalize(&stand, &account, &opened, &csr).await.unwrap();
    assert_eq!(issued.order.status(stand.service.now()), OrderStatus::Valid);
}

/// Behind a slow signer the order is accepted first and signed later: both times, all must consent.
#[tokio::test]
async fn a_slow_signer_changes_nothing() {
    let stand = stand().await;
    stand.signer.slow.store(true, Ordering::SeqCst);
    let account = account(&stand).await;
    let names = names(2);
    let csr = csr_of(&names);
    let refused = order(&stand, &account, &names).await;
    prove(&stand, &account, &refused).await;
    stand.script.caa_says("n1.test", Consent::Forbidden("closed".into()));
    assert!(finalize(&stand, &account, &refused, &csr).await.is_err());
    assert_eq!(stand.signer.signed.load(Ordering::SeqCst), 0);
    stand.script.caa_says("n1.test", Consent::Permitted);

    // Accepted, and then the process dies; by the time of the next one the owner has thought again.
    stand.signer.broken.store(true, Ordering::SeqCst);
    let accepted = finalize(&stand, &account, &refused, &csr).await.unwrap();
    assert!(matches!(accepted.order.finish, Finish::Processing(_)));
    stand.signer.broken.store(false, Ordering::SeqCst);
    stand.script.caa_says("n0.test", Consent::Forbidden("closed".into()));
    stand.service.resume_finalize(accepted.id, None).unwrap().await.unwrap();
    let ended = stand.service.order(&terms_of(&stand), account.account.id, accepted.id).await.unwrap();
    let Finish::Failed(problem) = &ended.order.finish else { panic!("{:?}", ended.order.finish) };
    assert_eq!(problem.kind, ErrorKind::Caa);
    // The inventory has both refusals, though nobody was answered with the second.
    stand.service.keep_refused(true).await.unwrap();
    let kept = stand.service.refused_requests(&Default::default(), None, 9).await.unwrap().refused;
    let times: u64 = kept.iter().map(|(_, row)| row.times).sum();
    assert!(times == 2 && kept.iter().all(|(_, row)| row.order == Some(accepted.id)), "{kept:?}");
}

#[tokio::test]
async fn without_caa_nothing_is_read_or_asked() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let names = names(2);
    let order = order(&stand, &account, &names).await;
    prove(&stand, &account, &order).await;
    stand.store.reads.store(0, Ordering::SeqCst);
    finalize(&stand, &account, &order, &csr_of(&names)).await.unwrap();
    assert_eq!(stand.store.reads.load(Ordering::SeqCst), 1, "the order");
    assert_eq!(stand.script.caa_asks(), []);
    assert!(stand.script.asks().iter().all(|ask| ask.caa.is_none()));
}

/// Proved between the look at the records and the order's lock: nobody has asked yet.
#[tokio::test]
async fn an_order_that_becomes_ready_meanwhile_is_not_issued_unasked() {
    let stand = stand().await;
    let account = account(&stand).await;
    let names = names(1);
    let opened = order(&stand, &account, &names).await;
    let csr = csr_of(&names);
    let pause = |millis| tokio::time::sleep(Duration::from_millis(millis));
    // The proof waits for the lock, and then, behind it, the finalization.
    let guard = stand.service.order_locks.of(opened.id.as_bytes()).await;
    let finalizing = async {
        pause(100).await;
        finalize(&stand, &account, &opened, &csr).await
    };
    let releasing = async {
        pause(300).await;
        drop(guard);
    };
    let ((), early, ()) = tokio::join!(prove(&stand, &account, &opened), finalizing, releasing);
    assert!(matches!(early, Err(Error::Busy(_))), "{early:?}");
    assert_eq!((stand.script.caa_asks(), stand.certificates().await.len()), (vec![], 0));
    finalize(&stand, &account, &opened, &csr).await.unwrap();
    assert_eq!(stand.script.caa_asks().len(), 1);
}
