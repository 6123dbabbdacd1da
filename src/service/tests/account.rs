//! Accounts and what is wrong with them.

use std::time::Duration;

use super::super::Error;
use super::super::account::{AccountUpdate, NewAccount};
use super::super::stand::Stand;
use super::sweep::{account, csr_of, name, order, prove, terms_of};
use crate::jose::jwk::Jwk;
use crate::limits::Source;
use crate::storage::{Batch, Store, Table};

#[tokio::test]
async fn a_key_whose_account_is_gone_ends_in_an_error() {
    let stand = Stand::new().await;
    let known = account(&stand).await;
    let id = known.account.id;
    let _ = stand.store.commit(Batch::new().delete(Table::Accounts, *id.as_bytes())).await.unwrap();
    stand.service.forget_account(id);
    let (terms, key) = (terms_of(&stand), Jwk::from_key(known.account.key.clone()).unwrap());
    let creation = stand.service.new_account(&terms, key, NewAccount::default());
    let ended = tokio::time::timeout(Duration::from_secs(5), creation).await.expect("it ends");
    assert!(matches!(ended, Err(Error::Internal(_))), "{ended:?}");
}

#[tokio::test]
async fn a_closed_account_is_refused_as_such() {
    let stand = Stand::new().await;
    let known = account(&stand).await;
    let (terms, id) = (terms_of(&stand), known.account.id);
    let names = name("a.test");
    let ready = order(&stand, &known, &names).await;
    prove(&stand, &known, &ready).await;
    let close = || AccountUpdate { deactivate: true, ..AccountUpdate::default() };
    stand.service.update_account(id, close()).await.unwrap();
    let key = || Jwk::from_key(known.account.key.clone()).unwrap();
    let deactivated = |error| assert!(matches!(error, Error::Deactivated), "{error}");
    deactivated(stand.service.update_account(id, close()).await.unwrap_err());
    deactivated(stand.service.new_account(&terms, key(), NewAccount::default()).await.unwrap_err());
    let only_existing = NewAccount { only_existing: true, ..NewAccount::default() };
    deactivated(stand.service.new_account(&terms, key(), only_existing).await.unwrap_err());
    let csr = csr_of(&names);
    deactivated(stand.service.finalize(&terms, id, ready.id, &csr, Source::default()).await.unwrap_err());
}
