//! A store that looks at every commit: whatever the verbs and their tasks do, in whatever order, what
//! they change must be a step that RFC 8555 has, and what they issue must be proved.
//!
//! It has no thread of its own, so that a history depends on its seed alone: each call gives way to
//! others once before it does its work, and a commit once more before it tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use x509_parser::extensions::GeneralName;

use crate::acme::account::{Account, AccountStatus};
use crate::acme::identifier::Identifier;
use crate::acme::order::{
    Authorization, AuthorizationStatus, Challenge, ChallengeState, Finish, Order, OrderStatus, Slot,
};
use crate::audit::{AuditRecord, Event};
use crate::authority::certificate::CertificateRecord;
use crate::id::OrderId;
use crate::provisioner::Requester;
use crate::storage::codec::Record;
use crate::storage::{
    Batch, BoxFuture, CommitOutcome, Expect, Op, Row, Store, StoreError, Table, Version, Versioned,
};
use crate::time::Timestamp;

/// All records.
type Rows = BTreeMap<(Table, Vec<u8>), Versioned>;

#[derive(Default)]
pub(super) struct Watched {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: Rows,
    version: u64,
    appended: BTreeMap<Table, u64>,
    /// Every time that the clock has shown in this life: a verb decides at one and commits at a later.
    times: Vec<Timestamp>,
    wrong: Vec<String>,
}

impl Watched {
    /// Tells of another time on the clock; a restart forgets the others.
    pub(super) fn time(&self, now: Timestamp, restarted: bool) {
        let mut state = self.state.lock().unwrap();
        if restarted {
            state.times.clear();
        }
        state.times.push(now);
    }

    /// What was wrong so far.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.state.lock().unwrap().wrong.clone()
    }

    /// A record as it is stored now.
    pub(super) fn row<R: Record>(&self, table: Table, key: &[u8]) -> Option<R> {
        read(&self.state.lock().unwrap().rows, table, key)
    }

    fn apply(&self, batch: &Batch) -> CommitOutcome {
        let state = &mut *self.state.lock().unwrap();
        let holds = |(table, key, expect): &(Table, Vec<u8>, Expect)| {
            let found = state.rows.get(&(*table, key.clone())).map(|row| row.version);
            match expect {
                Expect::Absent => found.is_none(),
                Expect::Is(version) => found == Some(*version),
            }
        };
        if !batch.checks.iter().all(holds) {
            return CommitOutcome::Conflict;
        }
        state.wrong.extend(judge(&state.rows, batch, &state.times));
        state.version += 1;
        let version = Version(state.version);
        for op in &batch.ops {
            match op.clone() {
                Op::Put(table, key, value) => {
                    state.rows.insert((table, key), Versioned { version, value });
                }
                Op::Delete(table, key) => {
                    state.rows.remove(&(table, key));
                }
                Op::Append(table, value) => {
                    let number = state.appended.entry(table).or_default();
                    *number += 1;
                    let key = number.to_be_bytes().to_vec();
                    state.rows.insert((table, key), Versioned { version, value });
                }
            }
        }
        CommitOutcome::Committed(version)
    }
}

impl Store for Watched {
    fn get<'a>(
        &'a self,
        table: Table,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            Ok(self.state.lock().unwrap().rows.get(&(table, key.to_vec())).cloned())
        })
    }

    fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let state = self.state.lock().unwrap();
            let rows = state.rows.iter().filter(|((of, key), _)| {
                *of == table && key.starts_with(prefix) && after.is_none_or(|after| key.as_slice() > after)
            });
            Ok(rows.take(limit).map(|((_, key), row)| (key.clone(), row.clone())).collect())
        })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let outcome = self.apply(&batch);
            // Whoever asked may be gone before it hears of it.
            tokio::task::yield_now().await;
            Ok(outcome)
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn read<R: Record>(rows: &Rows, table: Table, key: &[u8]) -> Option<R> {
    let row = rows.get(&(table, key.to_vec()))?;
    Some(R::decode(&row.value).expect("a record of ours"))
}

/// What is wrong with a commit over these rows.
fn judge(rows: &Rows, batch: &Batch, times: &[Timestamp]) -> Vec<String> {
    let mut wrong = Vec::new();
    let latest = times.iter().max().copied().unwrap_or(Timestamp::EPOCH);
    // Where a commit says when it was decided, that is when it must be right.
    let decided: Vec<Timestamp> = batch
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Append(Table::Audit, value) => AuditRecord::decode(value).ok().map(|record| record.at),
            _ => None,
        })
        .collect();
    let decided = if decided.is_empty() { times } else { &decided };
    for op in &batch.ops {
        let judged = match op {
            Op::Put(Table::Orders, key, value) => {
                let new = Order::decode(value).unwrap();
                match read::<Order>(rows, Table::Orders, key) {
                    Some(old) => order_moves(&old, &new, decided),
                    None => is_fresh(&new),
                }
            }
            Op::Delete(Table::Orders, key) => match OrderId::from_key(key) {
                Some(id) if id.purge() > latest => Err(format!("{id} is deleted before its time")),
                _ => Ok(()),
            },
            Op::Put(Table::Certificates, key, value) => {
                let new = CertificateRecord::decode(value).unwrap();
                match read::<CertificateRecord>(rows, Table::Certificates, key) {
                    Some(old) => certificate_moves(&old, &new),
                    None => is_proved(rows, batch, key, &new),
                }
            }
            Op::Delete(Table::Certificates, key) => {
                let old: Option<CertificateRecord> = read(rows, Table::Certificates, key);
                match old {
                    Some(old) if old.not_after > latest => Err("a certificate is deleted in its life".into()),
                    _ => Ok(()),
                }
            }
            Op::Put(Table::Accounts, key, value) => {
                let new = Account::decode(value).unwrap();
                let old: Option<Account> = read(rows, Table::Accounts, key);
                match old {
                    Some(old) if old.status == AccountStatus::Deactivated => {
                        Err(format!("a closed account changes: {}", new.id))
                    }
                    _ => Ok(()),
                }
            }
            Op::Put(..) | Op::Delete(..) | Op::Append(..) => Ok(()),
        };
        wrong.extend(judged.err());
    }
    wrong
}

fn is_fresh(order: &Order) -> Result<(), String> {
    let untouched = |slot: &Slot| match slot {
        Slot::Own(authorization) => {
            !authorization.deactivated
                && authorization.challenges.iter().all(|c| c.state == ChallengeState::Pending(None))
        }
        Slot::Reused { .. } => true,
    };
    let fresh = order.finish == Finish::Open && order.slots.iter().all(untouched);
    fresh.then_some(()).ok_or_else(|| format!("a new order is not new: {order:?}"))
}

/// RFC 8555 §7.1.6, of all three kinds of objects.
pub(super) fn order_moves(old: &Order, new: &Order, times: &[Timestamp]) -> Result<(), String> {
    let same = |order: &Order| {
        let Order { account, provisioner, created, expires, not_before, not_after, .. } = order.clone();
        let identifiers: Vec<Identifier> = order.identifiers().cloned().collect();
        (account, provisioner, created, expires, not_before, not_after, identifiers)
    };
    if same(old) != same(new) {
        return Err(format!("an order becomes another: {old:?} {new:?}"));
    }
    let finish = match (&old.finish, &new.finish) {
        (before, after) if before == after => true,
        (Finish::Open, Finish::Processing(_) | Finish::Issued { .. }) => true,
        (Finish::Processing(_), Finish::Issued { .. } | Finish::Failed(_)) => true,
        (Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_), _) => false,
    };
    if !finish {
        return Err(format!("finalization goes from {:?} to {:?}", old.finish, new.finish));
    }
    for (before, after) in old.slots.iter().zip(&new.slots) {
        match (before, after) {
            (Slot::Own(before), Slot::Own(after)) => authorization_moves(before, after)?,
            (Slot::Reused { .. }, Slot::Reused { .. }) if before == after => {}
            (Slot::Own(_) | Slot::Reused { .. }, _) => return Err("a slot becomes another".into()),
        }
    }
    let allowed = |now: &Timestamp| {
        use OrderStatus::{Invalid, Pending, Processing, Ready, Valid};
        matches!(
            (old.status(*now), new.status(*now)),
            (Pending, Pending | Ready | Invalid)
                | (Ready, Ready | Processing | Valid | Invalid)
                | (Processing, Processing | Valid | Invalid)
                | (Valid, Valid)
                | (Invalid, Invalid)
        )
    };
    if times.iter().any(allowed) {
        return Ok(());
    }
    let seen: Vec<_> = times.iter().map(|now| (old.status(*now), new.status(*now))).collect();
    Err(format!("an order goes from one to the other of {seen:?}"))
}

fn authorization_moves(old: &Authorization, new: &Authorization) -> Result<(), String> {
    if old.identifier != new.identifier || old.challenges.len() != new.challenges.len() {
        return Err("an authorization becomes another".into());
    }
    if old.deactivated && old != new {
        return Err(format!("an authorization that was given up changes: {old:?} {new:?}"));
    }
    if new.expires < old.expires {
        return Err("an authorization ends earlier than it said".into());
    }
    old.challenges.iter().zip(&new.challenges).try_for_each(|(before, after)| {
        let same = |c: &Challenge| (c.kind, c.token);
        let moves = match (&before.state, &after.state) {
            (a, b) if a == b => true,
            (ChallengeState::Pending(_), ChallengeState::Pending(reason)) => reason.is_some(),
            (ChallengeState::Pending(_), _) => true,
            (ChallengeState::Processing, ChallengeState::Pending(reason)) => {
                reason.is_some() || new.deactivated
            }
            (ChallengeState::Processing, _) => true,
            (ChallengeState::Valid(_) | ChallengeState::Invalid(_), _) => false,
        };
        let holds = same(before) == same(after) && moves;
        holds.then_some(()).ok_or_else(|| format!("a challenge goes from {before:?} to {after:?}"))
    })
}

fn certificate_moves(old: &CertificateRecord, new: &CertificateRecord) -> Result<(), String> {
    let only_revoked = old.der == new.der
        && old.requester == new.requester
        && old.not_after == new.not_after
        && old.revocation.is_none()
        && new.revocation.is_some();
    only_revoked.then_some(()).ok_or_else(|| "a certificate changes other than by revocation".to_owned())
}

/// No certificate without its order, for which it is the only one, and all of whose names the account
/// had proved when it was signed.
fn is_proved(rows: &Rows, batch: &Batch, serial: &[u8], record: &CertificateRecord) -> Result<(), String> {
    let Requester::Acme { account, order: id, .. } = &record.requester else { return Ok(()) };
    let order: Order = read(rows, Table::Orders, id.as_bytes()).ok_or("a certificate without an order")?;
    if order.account != *account {
        return Err("a certificate for another account's order".into());
    }
    let known: Account = read(rows, Table::Accounts, account.as_bytes()).ok_or("no such account")?;
    if known.status != AccountStatus::Valid {
        return Err("a certificate for a closed account".into());
    }
    for slot in &order.slots {
        let proof = match slot {
            Slot::Own(authorization) => Some(authorization.clone()),
            Slot::Reused { order: keeper, index, .. } => {
                let keeper: Option<Order> = read(rows, Table::Orders, keeper.as_bytes());
                keeper
                    .filter(|keeper| keeper.account == *account)
                    .and_then(|keeper| keeper.own(*index).cloned())
            }
        };
        let holds = proof.as_ref().is_some_and(|proof| {
            proof.identifier == *slot.identifier()
                && proof.status(record.issued) == AuthorizationStatus::Valid
        });
        if !holds {
            return Err(format!("{} was not proved at {}: {proof:?}", slot.identifier(), record.issued));
        }
    }
    let other = rows.iter().filter(|((table, _), _)| *table == Table::Certificates).any(|(_, row)| {
        let other = CertificateRecord::decode(&row.value).unwrap();
        matches!(other.requester, Requester::Acme { order, .. } if order == *id)
    });
    if other {
        return Err(format!("a second certificate for {id}"));
    }
    let told = batch.ops.iter().any(|op| match op {
        Op::Put(Table::Orders, key, value) if key == id.as_bytes() => {
            let Finish::Issued { serial: told, .. } = Order::decode(value).unwrap().finish else {
                return false;
            };
            told.as_bytes() == serial
        }
        _ => false,
    });
    if !told {
        return Err("a certificate that its order does not know of".into());
    }
    let logged = batch.ops.iter().any(|op| match op {
        Op::Append(Table::Audit, value) => match AuditRecord::decode(value).unwrap().event {
            Event::CertificateIssued { serial: logged, .. } => logged.as_bytes() == serial,
            _ => false,
        },
        Op::Append(..) | Op::Put(..) | Op::Delete(..) => false,
    });
    if !logged {
        return Err("a certificate that the audit log does not know of".into());
    }
    let ordered: BTreeSet<String> = order.identifiers().map(ToString::to_string).collect();
    if names_of(&record.der) != ordered {
        return Err(format!("the certificate names {:?}, not {ordered:?}", names_of(&record.der)));
    }
    Ok(())
}

fn names_of(der: &[u8]) -> BTreeSet<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(text) => (*text).to_owned(),
            other => panic!("{other:?}"),
        })
        .collect()
}
