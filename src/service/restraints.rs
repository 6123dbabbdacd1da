//! What keeps clients from issuing the wrong thing over and over, where a provisioner or a profile asks
//! for it: keys that were certified before, and more certificates for one identity than its budget has.
//!
//! Each takes a turn in this process, so that of many at once each finds what the one before it has left;
//! a budget's row is committed against the version that was read besides. An early look takes no turn:
//! it decides nothing, and nobody waits there for a slow signer. Who asks for neither pays nothing.

use aws_lc_rs::digest::{Context, SHA256};

use super::turns::Turn;
use super::{Error, Service};
use crate::acme::error::{ErrorKind, Refusal};
use crate::acme::identifier::Identifier;
use crate::acme::order::Order;
use crate::id::AccountId;
use crate::limits::Refused;
use crate::limits::gcra::{Bucket, Quota};
use crate::provisioner::profile::Restraints;
use crate::storage::codec::{IssueBudget, Record};
use crate::storage::{Batch, CommitOutcome, Expect, Table, inventory};
use crate::time::Timestamp;
use crate::x509::spki::Spki;

/// A budget that an order's certificate counts in.
struct Budget {
    row: [u8; 32],
    quota: Quota,
}

/// What is left of a budget, one certificate taken from it.
struct Left {
    row: [u8; 32],
    read: Expect,
    left: Bucket,
}

/// One certificate taken from the budgets of an identity; it counts once its batch is committed.
#[derive(Default)]
pub(super) struct Spending<'a> {
    taken: Vec<Left>,
    _turns: Vec<Turn<'a>>,
}

impl Spending<'_> {
    /// Adds it to the batch that issues the certificate.
    pub(super) fn spent(&self, batch: Batch) -> Batch {
        self.taken.iter().fold(batch, |batch, budget| {
            let left = IssueBudget(budget.left).encode();
            batch.expect(Table::IssueBudgets, budget.row, budget.read).put(
                Table::IssueBudgets,
                budget.row,
                left,
            )
        })
    }
}

/// An identity: an account (which is one provisioner's) and a set of names, in whatever order they come;
/// for a budget that one profile has for itself, the profile too.
fn identity<'a>(
    account: AccountId,
    names: impl Iterator<Item = &'a Identifier>,
    profile: Option<&str>,
) -> [u8; 32] {
    let mut lines: Vec<String> =
        names.map(|name| format!("{}:{}\n", name.kind(), name.order_value())).collect();
    lines.sort();
    let mut context = Context::new(&SHA256);
    context.update(account.as_bytes());
    lines.iter().for_each(|line| context.update(line.as_bytes()));
    // No kind of names is called that, and none is without a colon.
    profile.iter().for_each(|profile| context.update(format!("profile {profile}\n").as_bytes()));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The budgets that an order counts in, in the order of their rows.
fn budgets(restraints: &Restraints, order: &Order) -> Vec<Budget> {
    let of = |quota: Option<Quota>, profile| {
        let row = |quota| Budget { row: identity(order.account, order.identifiers(), profile), quota };
        quota.map(row)
    };
    let shared = of(restraints.issue_budget, None);
    let own = of(restraints.profile_budget, Some(order.details.profile.as_deref().unwrap_or_default()));
    let mut budgets: Vec<Budget> = shared.into_iter().chain(own).collect();
    budgets.sort_by_key(|budget| budget.row);
    budgets
}

fn beyond(quota: Quota, wait: std::time::Duration, now: Timestamp) -> Error {
    let rule = format!("{quota} are the certificates that one account gets for the same names");
    Refused::new("issue_budget", rule, wait, now).into()
}

impl Service {
    /// Where fresh keys are asked for: refuses one of which there is a certificate in the inventory,
    /// whoever has it. As long as the turn is held, nobody else gets one for the key.
    pub(super) async fn fresh_key(
        &self,
        restraints: &Restraints,
        key: &Spki,
    ) -> Result<Option<Turn<'_>>, Error> {
        if !restraints.fresh_keys {
            return Ok(None);
        }
        let turn = self.key_turns.of(*key.hash().as_bytes()).await;
        self.check_fresh_key(restraints, key).await?;
        Ok(Some(turn))
    }

    /// The early look at the same.
    pub(super) async fn check_fresh_key(&self, restraints: &Restraints, key: &Spki) -> Result<(), Error> {
        if !restraints.fresh_keys {
            return Ok(());
        }
        // Asked first: what is indexed by the end of the search need not have been there for it.
        let building = self.index_building().is_some();
        if self.is_certified(key).await? {
            let detail = "the CSR's key: it was certified before, and a fresh key is asked for here: make a \
                          new key for each certificate";
            return Err(Refusal::new(ErrorKind::BadCsr, detail).into());
        }
        match building {
            false => Ok(()),
            true => Err(Error::Busy(
                "fresh keys are asked for here, and the certificates from before are still being indexed",
            )),
        }
    }

    async fn is_certified(&self, key: &Spki) -> Result<bool, Error> {
        let rows = inventory::of_key(&key.hash());
        Ok(!self.store.scan(Table::CertificateIndex, &rows, None, 1).await?.is_empty())
    }

    /// Where there are budgets: takes one certificate from each that the order counts in.
    pub(super) async fn spend(
        &self,
        restraints: &Restraints,
        order: &Order,
        now: Timestamp,
    ) -> Result<Spending<'_>, Error> {
        let budgets = budgets(restraints, order);
        let mut turns = Vec::with_capacity(budgets.len());
        for budget in &budgets {
            turns.push(self.budget_turns.of(budget.row).await);
        }
        let taken = self.take_of_each(&budgets, now).await?;
        Ok(Spending { taken, _turns: turns })
    }

    /// The early look at the same.
    pub(super) async fn check_budget(
        &self,
        restraints: &Restraints,
        order: &Order,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.take_of_each(&budgets(restraints, order), now).await.map(drop)
    }

    /// All or none; the refusal is that of the longest wait.
    async fn take_of_each(&self, budgets: &[Budget], now: Timestamp) -> Result<Vec<Left>, Error> {
        let (mut taken, mut refused) = (Vec::with_capacity(budgets.len()), None);
        for &Budget { row, quota } in budgets {
            let (stored, read) = match self.store.get(Table::IssueBudgets, &row).await? {
                Some(stored) => (IssueBudget::decode(&stored.value)?.0, Expect::Is(stored.version)),
                None => (Bucket::default(), Expect::Absent),
            };
            match quota.take(stored, now) {
                Ok(left) => taken.push(Left { row, read, left }),
                Err(wait) => {
                    let left = quota.settled(stored, now);
                    if left != stored {
                        self.keep_settled(Left { row, read, left }).await?;
                    }
                    if refused.is_none_or(|(longest, _)| longest < wait) {
                        refused = Some((wait, quota));
                    }
                }
            }
        }
        match refused {
            None => Ok(taken),
            Some((wait, quota)) => Err(beyond(quota, wait, now)),
        }
    }

    /// After another quota was put into force, or the clock was set back: so that the wait that is said
    /// now is the last one.
    async fn keep_settled(&self, budget: Left) -> Result<(), Error> {
        let batch = Spending { taken: vec![budget], _turns: Vec::new() }.spent(Batch::new());
        match self.store.commit(batch).await? {
            // Whoever came first has kept as much.
            CommitOutcome::Committed(_) | CommitOutcome::Conflict => Ok(()),
        }
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
            identity(AccountId::new([account; 16]), names.iter(), None)
        };
        assert_eq!(of(1, &["a.test", "b.test"]), of(1, &["b.test", "a.test"]));
        assert_ne!(of(1, &["a.test", "b.test"]), of(2, &["a.test", "b.test"]));
        assert_ne!(of(1, &["a.test", "b.test"]), of(1, &["a.test"]));
        assert_ne!(of(1, &["a.test"]), of(1, &["*.a.test"]));
        let name = [Identifier::parse_dns("a.test").unwrap()];
        let of = |profile| identity(AccountId::new([1; 16]), name.iter(), profile);
        assert!(of(None) != of(Some("a")) && of(Some("a")) != of(Some("b")));
    }
}
