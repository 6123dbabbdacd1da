//! What keeps clients from issuing the wrong thing over and over, where a provisioner or a profile asks
//! for it: keys that were certified before, and more certificates for one identity than its budget has.
//!
//! Each takes a turn in this process, so that of many at once each finds what the one before it has left;
//! a budget's row is committed against the version that was read besides. Who asks for neither pays
//! nothing.

use aws_lc_rs::digest::{Context, SHA256};
use tokio::sync::MutexGuard;

use super::{Error, Service};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::id::AccountId;
use crate::limits::Refused;
use crate::limits::gcra::{Bucket, Quota};
use crate::provisioner::profile::Restraints;
use crate::storage::codec::{IssueBudget, Record};
use crate::storage::{Batch, Expect, Table, inventory};
use crate::time::Timestamp;
use crate::x509::spki::Spki;

/// One certificate taken from the budget of an identity; it counts once its batch is committed.
pub(super) struct Spending<'a> {
    row: [u8; 32],
    read: Expect,
    left: Bucket,
    _turn: MutexGuard<'a, ()>,
}

impl Spending<'_> {
    /// Adds it to the batch that issues the certificate.
    pub(super) fn spent(&self, batch: Batch) -> Batch {
        batch.expect(Table::IssueBudgets, self.row, self.read).put(
            Table::IssueBudgets,
            self.row,
            IssueBudget(self.left).encode(),
        )
    }
}

/// An identity: an account (which is one provisioner's) and a set of names, in whatever order they come.
fn identity<'a>(account: AccountId, names: impl Iterator<Item = &'a Identifier>) -> [u8; 32] {
    let mut lines: Vec<String> =
        names.map(|name| format!("{}:{}\n", name.kind(), name.order_value())).collect();
    lines.sort();
    let mut context = Context::new(&SHA256);
    context.update(account.as_bytes());
    lines.iter().for_each(|line| context.update(line.as_bytes()));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn beyond(quota: Quota, wait: std::time::Duration, now: Timestamp) -> Error {
    let rule = format!("{quota} are the certificates that one account gets for the same names");
    Refused::new("issue_budget", rule, wait, now).into()
}

/// The second half of a digest chooses the lock.
fn stripe(digest: &[u8; 32]) -> [u8; 16] {
    let mut stripe = [0; 16];
    stripe.copy_from_slice(&digest[16..]);
    stripe
}

impl Service {
    /// Where fresh keys are asked for: refuses one of which there is a certificate in the inventory,
    /// whoever has it. As long as the turn is held, nobody else gets one for the key.
    pub(super) async fn fresh_key(
        &self,
        restraints: &Restraints,
        key: &Spki,
    ) -> Result<Option<MutexGuard<'_, ()>>, Error> {
        if !restraints.fresh_keys {
            return Ok(None);
        }
        let hash = key.hash();
        let turn = self.key_locks.of(&stripe(hash.as_bytes())).await;
        let certified = self.store.scan(Table::CertificateIndex, &inventory::of_key(&hash), None, 1).await?;
        if certified.is_empty() {
            return Ok(Some(turn));
        }
        let detail = "the CSR's key: it was certified before, and a fresh key is asked for here: make a new \
                      key for each certificate";
        Err(Refusal::new(ErrorKind::BadCsr, detail).into())
    }

    /// Where there is a budget: takes one certificate from that of an account and its names.
    pub(super) async fn spend<'a>(
        &self,
        restraints: &Restraints,
        account: AccountId,
        names: impl Iterator<Item = &'a Identifier>,
        now: Timestamp,
    ) -> Result<Option<Spending<'_>>, Error> {
        let Some(quota) = restraints.issue_budget else { return Ok(None) };
        let row = identity(account, names);
        let turn = self.identity_locks.of(&stripe(&row)).await;
        let (left, read) = match self.store.get(Table::IssueBudgets, &row).await? {
            Some(stored) => (IssueBudget::decode(&stored.value)?.0, Expect::Is(stored.version)),
            None => (Bucket::default(), Expect::Absent),
        };
        let left = quota.take(left, now).map_err(|wait| beyond(quota, wait, now))?;
        Ok(Some(Spending { row, read, left, _turn: turn }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_an_account_and_a_set() {
        let of = |account, names: &[&str]| {
            let names: Vec<Identifier> =
                names.iter().map(|name| Identifier::parse_dns(name).unwrap()).collect();
            identity(AccountId::new([account; 16]), names.iter())
        };
        assert_eq!(of(1, &["a.test", "b.test"]), of(1, &["b.test", "a.test"]));
        assert_ne!(of(1, &["a.test", "b.test"]), of(2, &["a.test", "b.test"]));
        assert_ne!(of(1, &["a.test", "b.test"]), of(1, &["a.test"]));
        assert_ne!(of(1, &["a.test"]), of(1, &["*.a.test"]));
    }
}
