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
    Authorization, AuthorizationStatus, Challenge, ChallengeState, Finish, Order, OrderDetails, OrderStatus,
    Slot,
};
use crate::acme::star::{AutoRenewal, Renewing};
use crate::acme::subdomain::is_below;
use crate::audit::{AuditRecord, Event};
use crate::authority::certificate::CertificateRecord;
use crate::id::{EabKid, OrderId};
use crate::provisioner::Requester;
use crate::provisioner::eab::EabKey;
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
                let old = read::<Order>(rows, Table::Orders, key);
                is_found_again(rows, batch, old.as_ref(), &new).and_then(|()| match old {
                    Some(old) => order_moves(&old, &new, decided),
                    None => is_fresh(&new),
                })
            }
            Op::Delete(Table::Orders, key) => match OrderId::from_key(key) {
                Some(id) if id.purge() > latest => Err(format!("{id} is deleted before its time")),
                _ => Ok(()),
            },
            Op::Put(Table::Certificates, key, value) => {
                let new = CertificateRecord::decode(value).unwrap();
                match read::<CertificateRecord>(rows, Table::Certificates, key) {
                    Some(old) => certificate_moves(rows, &old, &new, decided),
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
        Slot::Trusted { deactivated, .. } => !deactivated,
    };
    let fresh = order.finish == Finish::Open && order.slots.iter().all(untouched);
    fresh.then_some(()).ok_or_else(|| format!("a new order is not new: {order:?}"))
}

/// RFC 8555 §7.1.6, of all three kinds of objects.
pub(super) fn order_moves(old: &Order, new: &Order, times: &[Timestamp]) -> Result<(), String> {
    let same = |order: &Order| {
        let Order { account, provisioner, created, not_before, not_after, details, .. } = order.clone();
        let identifiers: Vec<Identifier> = order.identifiers().cloned().collect();
        // What is learned on the way: which keys devices hold, where the certificate may be found again,
        // when to look at a renewal next.
        let due = |agreed| AutoRenewal { due: Timestamp::EPOCH, ..agreed };
        let auto_renewal = details.auto_renewal.map(due);
        let details = OrderDetails { attested: Vec::new(), reuse_row: None, auto_renewal, ..details };
        (account, provisioner, created, not_before, not_after, identifiers, details)
    };
    if same(old) != same(new) || !new.details.attested.starts_with(&old.details.attested) {
        return Err(format!("an order becomes another: {old:?} {new:?}"));
    }
    let renewed = old.details.auto_renewal.is_some();
    let finish = match (&old.finish, &new.finish) {
        (before, after) if before == after => true,
        (Finish::Open, Finish::Processing(_) | Finish::Issued { .. }) => !renewed,
        (Finish::Open, Finish::Renewing(begun)) => renewed && begun.canceled.is_none(),
        (Finish::Processing(_), Finish::Issued { .. } | Finish::Failed(_)) => true,
        (Finish::Renewing(before), Finish::Renewing(after)) => renewal_moves(before, after),
        (Finish::Open, Finish::Open | Finish::Failed(_)) => false,
        (Finish::Processing(_), Finish::Open | Finish::Processing(_) | Finish::Renewing(_)) => false,
        (Finish::Issued { .. } | Finish::Failed(_), _) => false,
        (
            Finish::Renewing(_),
            Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_),
        ) => false,
    };
    if !finish {
        return Err(format!("finalization goes from {:?} to {:?}", old.finish, new.finish));
    }
    let ends = match (&new.finish, &new.details.auto_renewal) {
        (Finish::Renewing(state), Some(agreed)) => match (state.canceled, &state.current) {
            (None, _) => agreed.end,
            (Some(at), None) => at.whole_seconds(),
            (Some(at), Some(last)) => at.max(last.not_after).whole_seconds(),
        },
        (Finish::Renewing(_), None) => return Err("a renewal that nobody asked for".into()),
        (Finish::Open | Finish::Processing(_) | Finish::Issued { .. } | Finish::Failed(_), _) => old.expires,
    };
    if new.expires != ends {
        return Err(format!("an order that ended {} now ends {}, not {ends}", old.expires, new.expires));
    }
    if old.slots.len() != new.slots.len() {
        return Err("an order has more or fewer authorizations than it had".into());
    }
    for (before, after) in old.slots.iter().zip(&new.slots) {
        match (before, after) {
            (Slot::Own(before), Slot::Own(after)) => authorization_moves(before, after)?,
            (Slot::Reused { .. }, Slot::Reused { .. }) if before == after => {}
            (
                Slot::Trusted { identifier: a, expires: a_end, deactivated: was, by: a_by },
                Slot::Trusted { identifier: b, expires: b_end, deactivated: is, by: b_by },
            ) if (a, a_end, a_by) == (b, b_end, b_by) && (*is || !was) => {}
            (Slot::Own(_) | Slot::Reused { .. } | Slot::Trusted { .. }, _) => {
                return Err("a slot becomes another".into());
            }
        }
    }
    let allowed = |now: &Timestamp| {
        use OrderStatus::{Canceled, Invalid, Pending, Processing, Ready, Valid};
        matches!(
            (old.status(*now), new.status(*now)),
            (Pending, Pending | Ready | Invalid)
                | (Ready, Ready | Processing | Valid | Invalid)
                | (Processing, Processing | Valid | Invalid)
                | (Valid, Valid | Canceled)
                | (Canceled, Canceled)
                | (Invalid, Invalid)
        )
    };
    if times.iter().any(allowed) {
        return Ok(());
    }
    let seen: Vec<_> = times.iter().map(|now| (old.status(*now), new.status(*now))).collect();
    Err(format!("an order goes from one to the other of {seen:?}"))
}

/// RFC 8739 §3.1: the same key, later and later certificates, and none after it was cancelled.
fn renewal_moves(old: &Renewing, new: &Renewing) -> bool {
    let goes_on = match (&old.current, &new.current) {
        (None, None) => true,
        (Some(before), Some(after)) if before == after => true,
        (None, Some(_)) => new.canceled.is_none(),
        (Some(before), Some(after)) => {
            new.canceled.is_none() && before.index < after.index && before.not_after <= after.not_after
        }
        (Some(_), None) => false,
    };
    (&old.csr, old.first) == (&new.csr, new.first) && goes_on && old.canceled.is_none()
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

/// It is revoked once, and marked as replaced by an order; by another one only if that came to nothing.
fn certificate_moves(
    rows: &Rows,
    old: &CertificateRecord,
    new: &CertificateRecord,
    times: &[Timestamp],
) -> Result<(), String> {
    let fixed = |record: &CertificateRecord| {
        let mut record = record.clone();
        (record.revocation, record.details.replaced_by) = (None, None);
        record
    };
    if fixed(old) != fixed(new) {
        return Err("a certificate becomes another".into());
    }
    if old.revocation.is_some() && old.revocation != new.revocation {
        return Err("a revocation changes".into());
    }
    let (before, after) = match (&old.details.replaced_by, &new.details.replaced_by) {
        (None, None | Some(_)) => return Ok(()),
        (Some(before), Some(after)) if before == after => return Ok(()),
        (Some(before), Some(after)) => (before, after),
        (Some(_), None) => return Err("a certificate is not replaced any more".into()),
    };
    let nothing = before.order == after.order
        || read::<Order>(rows, Table::Orders, before.order.as_bytes())
            .is_none_or(|order| times.iter().any(|now| order.status(*now) == OrderStatus::Invalid));
    (before.serial.is_none() && nothing)
        .then_some(())
        .ok_or_else(|| format!("a certificate that {before:?} replaces is replaced by {after:?}"))
}

/// An order that is done without a certificate of its own has one that the account got for the same.
fn is_found_again(rows: &Rows, batch: &Batch, old: Option<&Order>, new: &Order) -> Result<(), String> {
    let Finish::Issued { serial, .. } = &new.finish else { return Ok(()) };
    let made =
        |op: &Op| matches!(op, Op::Put(Table::Certificates, key, _) if key.as_slice() == serial.as_bytes());
    if old.is_some_and(|old| old.finish == new.finish) || batch.ops.iter().any(made) {
        return Ok(());
    }
    let record: CertificateRecord =
        read(rows, Table::Certificates, serial.as_bytes()).ok_or("done, and no certificate is there")?;
    let Requester::Acme { account, .. } = &record.requester else {
        return Err("done with a certificate that no order asked for".into());
    };
    let names: BTreeSet<String> = new.identifiers().map(ToString::to_string).collect();
    let good = *account == new.account
        && record.revocation.is_none()
        && record.details.replaced_by.is_none()
        && names_of(&record.der) == names;
    good.then_some(()).ok_or_else(|| format!("done with a certificate for something else: {record:?}"))
}

/// Whether an account's external account binding stands in for the validation of a name.
fn is_vouched_for(rows: &Rows, known: &Account, by: &EabKid, name: &Identifier) -> bool {
    let bound = known.details.eab.as_ref().is_some_and(|binding| binding.kid == *by);
    let key: Option<EabKey> = read(rows, Table::EabKeys, by.as_bytes());
    bound
        && key.is_some_and(|key| {
            key.trusts_names && key.revoked.is_none() && key.allow.iter().any(|rule| rule.covers(name))
        })
}

/// Every name of the order is proved at `at`, by its own authorization, one above it, or the account's
/// external account binding.
fn names_are_proved(rows: &Rows, order: &Order, known: &Account, at: Timestamp) -> Result<(), String> {
    if order.named().count() != order.identifiers().count() {
        return Err("a name without an authorization".into());
    }
    for (name, slot) in order.named() {
        let place = order.slots.iter().position(|other| std::ptr::eq(other, slot)).expect("one of them");
        let place = u16::try_from(place).expect("few");
        let (proof, below) = match slot {
            Slot::Own(authorization) => (Some(authorization.clone()), order.details.counts_below(place)),
            Slot::Reused { order: keeper, index, .. } => {
                let keeper: Option<Order> = read(rows, Table::Orders, keeper.as_bytes());
                let keeper = keeper.filter(|keeper| keeper.account == order.account);
                let below = keeper.as_ref().is_some_and(|keeper| keeper.details.counts_below(*index));
                (keeper.and_then(|keeper| keeper.own(*index).cloned()), below)
            }
            Slot::Trusted { identifier, expires, deactivated, by } => {
                let holds = identifier == name && !deactivated && at < *expires;
                if !holds || !is_vouched_for(rows, known, by, name) {
                    return Err(format!("nobody vouched for {name} at {at}: {slot:?}"));
                }
                continue;
            }
        };
        let holds = proof.as_ref().is_some_and(|proof| {
            (proof.identifier == *name || (below && is_below(name, &proof.identifier)))
                && proof.identifier == *slot.identifier()
                && proof.status(at) == AuthorizationStatus::Valid
        });
        if !holds {
            return Err(format!("{name} was not proved at {at}: {proof:?}"));
        }
    }
    Ok(())
}

/// No certificate without its order, for which it is the only one (or, of an automatic renewal, the
/// next one), and all of whose names the account had proved when it was signed.
fn is_proved(rows: &Rows, batch: &Batch, serial: &[u8], record: &CertificateRecord) -> Result<(), String> {
    let (account, id, renewed) = match &record.requester {
        Requester::Acme { account, order, .. } => (account, order, false),
        Requester::AutoRenewal { account, order, .. } => (account, order, true),
        Requester::Own | Requester::Ceremony => return Ok(()),
    };
    let order: Order = read(rows, Table::Orders, id.as_bytes()).ok_or("a certificate without an order")?;
    if order.account != *account || order.details.pre_authorization {
        return Err("a certificate for another account's order, or for none".into());
    }
    let known: Account = read(rows, Table::Accounts, account.as_bytes()).ok_or("no such account")?;
    if known.status != AccountStatus::Valid {
        return Err("a certificate for a closed account".into());
    }
    match (&order.finish, &order.details.auto_renewal) {
        (Finish::Open, None) | (Finish::Processing(_), None) if !renewed => {
            names_are_proved(rows, &order, &known, record.issued)?;
        }
        (Finish::Open, Some(agreed)) if renewed && record.not_after <= agreed.end => {
            names_are_proved(rows, &order, &known, record.issued)?;
        }
        // Proved once, and not given up since (RFC 8739 §3.1).
        (Finish::Renewing(state), Some(agreed)) if renewed => {
            if state.canceled.is_some() || record.not_after > agreed.end || !order.still_proved() {
                return Err(format!("a renewal that has ended goes on: {order:?}"));
            }
            let named = order.named().filter(|(_, slot)| matches!(slot, Slot::Trusted { .. }));
            for (name, slot) in named {
                let Slot::Trusted { by, .. } = slot else { unreachable!("filtered") };
                if !is_vouched_for(rows, &known, by, name) {
                    return Err(format!("nobody vouches for {name} any more"));
                }
            }
        }
        (
            Finish::Open
            | Finish::Processing(_)
            | Finish::Issued { .. }
            | Finish::Failed(_)
            | Finish::Renewing(_),
            _,
        ) => return Err(format!("a certificate for {:?}", order.finish)),
    }
    let other = rows.iter().filter(|((table, _), _)| *table == Table::Certificates).any(|(_, row)| {
        match CertificateRecord::decode(&row.value).unwrap().requester {
            Requester::Acme { order, .. } => order == *id,
            Requester::AutoRenewal { order, .. } => order == *id && !renewed,
            Requester::Own | Requester::Ceremony => false,
        }
    });
    if other {
        return Err(format!("a second certificate for {id}"));
    }
    let told = batch.ops.iter().any(|op| match op {
        Op::Put(Table::Orders, key, value) if key == id.as_bytes() => {
            match Order::decode(value).unwrap().finish {
                Finish::Issued { serial: told, .. } => !renewed && told.as_bytes() == serial,
                Finish::Renewing(state) => {
                    renewed && state.current.is_some_and(|current| current.serial.as_bytes() == serial)
                }
                Finish::Open | Finish::Processing(_) | Finish::Failed(_) => false,
            }
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
