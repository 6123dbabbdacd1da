//! Accounts that nobody uses go; those that are used, or have something alive, stay.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::Error;
use super::super::account::AccountUpdate;
use super::super::stand::{HOUR, Stand};
use super::super::sweep::{Cursors, Swept};
use super::sweep::{account, issue, name, order, prove, sweep_all, terms_of};
use crate::audit::Event;
use crate::storage::codec::{AccountUse, Record};
use crate::storage::{Batch, Store, Table};

const DAY: Duration = Duration::from_secs(24 * 3600);
const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

async fn sweep(stand: &Stand) -> usize {
    let (mut cursor, mut deleted) = (None, 0);
    loop {
        let Swept { deleted: now, more } =
            stand.service.sweep_accounts(&mut cursor, RETENTION).await.unwrap();
        deleted += now;
        if !more {
            return deleted;
        }
    }
}

#[tokio::test]
async fn an_account_that_is_not_used_goes_with_its_key() {
    let stand = Stand::new().await;
    let (unused, used) = (account(&stand).await, account(&stand).await);
    for tens in 1..=9 {
        stand.clock.advance(10 * DAY);
        assert_eq!(sweep(&stand).await, usize::from(tens == 9), "after {tens}0 days");
        order(&stand, &used, &name("a.test")).await;
    }
    for table in [Table::Accounts, Table::AccountKeys, Table::AccountUses] {
        assert_eq!(stand.rows(table).await, 1, "{}", table.name());
    }
    let terms = terms_of(&stand);
    assert!(stand.service.account(&terms, unused.account.id).await.unwrap().is_none());
    assert!(stand.service.account(&terms, used.account.id).await.unwrap().is_some());
    let removed = stand.events().await.into_iter().find_map(|event| match event {
        Event::AccountRemoved { account, thumbprint, .. } => Some((account, thumbprint)),
        _ => None,
    });
    assert_eq!(removed, Some((unused.account.id, unused.thumbprint.0)));
    // Its key may come again.
    let (again, created) =
        stand.service.new_account(&terms, unused.key.clone(), Default::default()).await.unwrap();
    assert!(created && again.account.id != unused.account.id);
}

#[tokio::test]
async fn what_is_alive_keeps_its_account() {
    let stand = Stand::new().await;
    stand.reload(|terms| terms.lifetimes.max = 200 * DAY);
    let holder = account(&stand).await;
    let opened = order(&stand, &holder, &name("a.test")).await;
    prove(&stand, &holder, &opened).await;
    issue(&stand, &holder, &opened, &name("a.test")).await;
    stand.clock.advance(150 * DAY);
    assert_eq!(sweep(&stand).await, 0, "its certificate may be alive");
    stand.clock.advance(300 * DAY);
    assert_eq!(sweep(&stand).await, 1);
}

#[tokio::test]
async fn changes_are_uses_too() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    stand.clock.advance(80 * DAY);
    let contacts = Some(vec!["mailto:a@b.test".to_owned()]);
    let update = AccountUpdate { contacts, deactivate: false };
    stand.service.update_account(account.account.id, update).await.unwrap();
    stand.clock.advance(80 * DAY);
    assert_eq!(sweep(&stand).await, 0);
    stand.clock.advance(10 * DAY);
    assert_eq!(sweep(&stand).await, 1);
}

#[tokio::test]
async fn an_account_from_before_uses_were_written_down_is_given_time() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    let key = *account.account.id.as_bytes();
    let _ = stand.store.commit(Batch::new().delete(Table::AccountUses, key)).await.unwrap();
    stand.clock.advance(100 * DAY);
    assert_eq!(sweep(&stand).await, 0);
    let row = stand.store.get(Table::AccountUses, &key).await.unwrap().unwrap();
    let begun = AccountUse::decode(&row.value).unwrap();
    assert_eq!(begun.until, begun.used + 398 * DAY);
    stand.clock.advance(397 * DAY);
    assert_eq!(sweep(&stand).await, 0);
    stand.clock.advance(DAY);
    assert_eq!(sweep(&stand).await, 1);
}

/// A use is noted in the order's own commit, once a day; an order costs one commit as ever, and reads
/// nothing more.
#[tokio::test]
async fn uses_cost_no_commit() {
    let stand = Stand::new().await;
    let account = account(&stand).await;
    order(&stand, &account, &name("a.test")).await;
    let count = || (stand.store.commits.load(Ordering::SeqCst), stand.store.reads.load(Ordering::SeqCst));
    let (commits, reads) = count();
    order(&stand, &account, &name("b.test")).await;
    let (after, plain) = count();
    assert_eq!(after, commits + 1);
    stand.clock.advance(DAY);
    order(&stand, &account, &name("c.test")).await;
    let (daily, read) = count();
    assert_eq!(daily, after + 1);
    assert_eq!(read - plain, plain - reads + 1, "the row is read before it is written, once a day");
}

/// An order that comes while its account goes: either the order is there and the account too, or neither.
#[tokio::test]
async fn an_order_and_the_sweep_at_once() {
    for round in 0..20 {
        let stand = Stand::new().await;
        let account = account(&stand).await;
        stand.clock.advance(91 * DAY);
        let opened = async {
            for _ in 0..round % 5 {
                tokio::task::yield_now().await;
            }
            let identifiers = vec![crate::acme::order::RawIdentifier {
                kind: "dns".into(),
                value: "a.test".into(),
                ancestor: None,
            }];
            let ask = super::super::new_order::NewOrder { identifiers, ..Default::default() };
            stand.service.new_order(&terms_of(&stand), &account, ask).await
        };
        let (opened, deleted) = tokio::join!(opened, sweep(&stand));
        match opened {
            Ok(_) => assert_eq!((deleted, stand.rows(Table::Accounts).await), (0, 1)),
            Err(Error::NotFound | Error::Busy(_)) => {
                assert_eq!((stand.rows(Table::Accounts).await, stand.rows(Table::Orders).await), (0, 0));
                assert_eq!(stand.rows(Table::AccountUses).await, 0);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_step_is_bounded_and_the_next_goes_on() {
    let stand = Stand::new().await;
    for _ in 0..300 {
        account(&stand).await;
    }
    stand.clock.advance(91 * DAY);
    let mut cursor = None;
    let first = stand.service.sweep_accounts(&mut cursor, RETENTION).await.unwrap();
    assert_eq!(first, Swept { deleted: 256, more: true });
    let second = stand.service.sweep_accounts(&mut cursor, RETENTION).await.unwrap();
    assert_eq!(second, Swept { deleted: 44, more: false });
    // The audit's records of it go as all do.
    stand.clock.advance(1000 * HOUR);
    sweep_all(&stand, &mut Cursors::default()).await;
    assert_eq!(stand.rows(Table::Audit).await, 0);
}
