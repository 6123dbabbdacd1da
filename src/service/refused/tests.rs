use std::time::Duration;

use super::super::stand::Stand;
use super::*;
use crate::storage::Store;

fn row(name: &str, at: Timestamp) -> RefusedRequest {
    RefusedRequest {
        first: at,
        last: at,
        times: 1,
        asked: Asked::Order,
        provisioner: "acme".into(),
        authority: "prod".into(),
        issuer: [7; 20],
        account: Some(AccountId::new([1; 16])),
        order: None,
        names: vec![name.to_owned()],
        others: 0,
        profile: None,
        key: None,
        replaces: None,
        error: ErrorKind::RejectedIdentifier,
        detail: "no".into(),
        client: None,
    }
}

async fn numbers(service: &Service, query: &RefusedQuery, limit: usize) -> Vec<u64> {
    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = service.refused_requests(query, before, limit).await.unwrap();
        assert!(page.refused.len() <= limit);
        found.extend(page.refused.iter().map(|(number, _)| *number));
        pages += 1;
        assert!(pages < 500, "the cursor moves on");
        match page.next {
            Some(next) => before = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn the_latest_are_kept_and_pages_miss_nothing() {
    let stand = Stand::new().await;
    let query = RefusedQuery::default();
    assert!(numbers(&stand.service, &query, 5).await.is_empty());
    let mut kept = Kept { gone: 0, last: 0 };
    let all = MOST + 700;
    while kept.last < all {
        let some: Vec<_> = (kept.last + 1..=all)
            .take(AT_ONCE)
            .map(|number| (number, row(&format!("{}.test", number % 1000), Timestamp::from_secs(number))))
            .collect();
        kept.last += some.len() as u64;
        stand.service.store_refused(&some, &mut kept).await.unwrap();
    }
    assert_eq!((kept.gone, stand.rows(Table::RefusedRequests).await as u64), (700, MOST));
    // Another process finds them.
    assert!(matches!(stand.service.kept_refusals().await.unwrap(), Kept { gone: 700, last } if last == all));
    *stand.service.refused.kept.lock().await = Some(kept);
    assert_eq!(numbers(&stand.service, &query, 500).await, (701..=all).rev().collect::<Vec<_>>());
    let one = RefusedQuery { name: Some(Identifier::parse_dns("7.test").unwrap()), ..query.clone() };
    assert_eq!(
        numbers(&stand.service, &one, 3).await,
        (1..=10).rev().map(|n| n * 1000 + 7).collect::<Vec<_>>()
    );
    // With a gap that the sweeper left.
    let gap = (5000..7000u64).step_by(1000);
    for start in gap {
        let batch = (start..start + 900)
            .fold(Batch::new(), |batch, number| batch.delete(Table::RefusedRequests, number.to_be_bytes()));
        assert!(matches!(stand.store.commit(batch).await.unwrap(), CommitOutcome::Committed(_)));
    }
    let there = (701..=all).rev().filter(|n| !(5000..5900).contains(n) && !(6000..6900).contains(n));
    assert_eq!(numbers(&stand.service, &query, 77).await, there.collect::<Vec<_>>());
    let since = RefusedQuery { since: Some(Timestamp::from_secs(all - 2)), ..query };
    assert_eq!(numbers(&stand.service, &since, 77).await, [all, all - 1, all - 2]);
}

#[test]
fn all_conditions_must_hold() {
    let at = Timestamp::from_secs(100);
    let client = Client::new([192, 0, 2, 7].into(), b"agent/1.0");
    let row = RefusedRequest { client: Some(client), ..row("*.a.test", at) };
    let account = AccountId::new([1; 16]);
    let whole = RefusedQuery {
        name: Some(Identifier::parse_dns("*.a.test").unwrap()),
        account: Some(account),
        provisioner: Some("acme".into()),
        client: Some([192, 0, 2, 7].into()),
        error: Some(ErrorKind::RejectedIdentifier),
        since: Some(at),
    };
    assert!(whole.admits(&row));
    let others = [
        RefusedQuery { name: Some(Identifier::parse_dns("a.test").unwrap()), ..whole.clone() },
        RefusedQuery { account: Some(AccountId::new([2; 16])), ..whole.clone() },
        RefusedQuery { provisioner: Some("web".into()), ..whole.clone() },
        RefusedQuery { client: Some([192, 0, 2, 8].into()), ..whole.clone() },
        RefusedQuery { error: Some(ErrorKind::RateLimited), ..whole.clone() },
        RefusedQuery { since: Some(at + Duration::from_secs(1)), ..whole.clone() },
    ];
    for other in others {
        assert!(!other.admits(&row), "{other:?}");
    }
}
