//! Random histories of everything a client, an operator, a clock and a power cut can do, interleaved at
//! every point where a verb waits, with each commit judged by [`Watched`] and everything that was
//! acknowledged looked for afterwards.
//!
//! A history depends on its seed alone. `MAYFLY_SEED=N` runs that one again, `MAYFLY_HISTORIES=N` more of
//! them.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::super::Service;
use super::super::account::{AccountUpdate, NewAccount};
use super::super::new_order::NewOrder;
use super::super::revoke::Asker;
use super::super::stand::{Fault, START, Stand, Step, failed, inconclusive};
use super::super::sweep::Cursors;
use super::sweep::{csr_of, terms_of};
use super::watched::{Watched, order_moves};
use crate::acme::account::{Account, AccountStatus};
use crate::acme::challenge::ChallengeKind;
use crate::acme::order::{Authorization, ChallengeState, Finish, Order, OrderStatus, RawIdentifier};
use crate::authority::certificate::CertificateRecord;
use crate::entropy::{Entropy, SystemEntropy};
use crate::id::{AccountId, OrderId};
use crate::jose::jwk::{Jwk, Thumbprint};
use crate::limits::Source;
use crate::storage::codec::{AccountKey, Record};
use crate::storage::{Store, Table};
use crate::time::{Clock, Timestamp};
use crate::validation::Outcome;
use crate::x509::serial::Serial;
use crate::x509::spki::Spki;

const RETENTION: Duration = Duration::from_secs(2 * 3600);
const ACCOUNTS: usize = 2;
const NAMES: u64 = 4;
/// Steps of one history, and histories of one run.
const STEPS: usize = 600;
const HISTORIES: u64 = 120;

/// splitmix64: reproducible, and good enough to choose by.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    /// One in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        if list.is_empty() { None } else { list.get(self.below(list.len() as u64) as usize) }
    }
}

/// What a verb has acknowledged.
#[expect(clippy::large_enum_variant, reason = "a few, in one test")]
enum Ack {
    /// It refused or failed: nothing is promised.
    Nothing,
    Order(OrderId, Order),
    Authorization(OrderId, u16, Authorization),
    Revoked(Serial),
    KeyChanged(usize, usize),
    Closed(usize),
}

type Verb = Pin<Box<dyn Future<Output = Ack>>>;

/// An account, the keys it ever tried to have, and which of them it was told it has.
struct Owner {
    id: AccountId,
    keys: Vec<Jwk>,
    told: usize,
    /// Those of whose change nobody has heard, so that they may have come into force.
    open: Vec<usize>,
    closed: bool,
}

impl Owner {
    /// The key in force; it must be the last that it was told of, or one it was told nothing of.
    fn key(&self, store: &Watched) -> usize {
        let account: Account = store.row(Table::Accounts, self.id.as_bytes()).expect("an account");
        let has = self.keys.iter().position(|key| *key.spki().key() == account.key).expect("a key of it");
        assert!(has == self.told || self.open.contains(&has), "another key than it was told");
        has
    }

    fn thumbprint(&self) -> Thumbprint {
        self.keys[self.told].thumbprint()
    }
}

/// What must be there, since somebody was told so.
#[derive(Default)]
struct Ledger {
    orders: Vec<(OrderId, Order)>,
    authorizations: Vec<(OrderId, u16, Authorization)>,
    revoked: Vec<Serial>,
}

struct History {
    random: Random,
    stand: Stand,
    store: Arc<Watched>,
    owners: Vec<Owner>,
    ledger: Ledger,
    /// Requests for certificates, one or two for each order.
    csrs: Vec<(OrderId, Vec<u8>)>,
    cursors: Cursors,
    /// The latest time the clock has ever shown.
    latest: Timestamp,
    counts: Counts,
}

/// So that a test which does nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    acknowledged: usize,
    dropped: usize,
    crashes: usize,
    certificates: usize,
}

fn key() -> Jwk {
    let pair = rcgen::KeyPair::generate().unwrap();
    let spki = Spki::parse(&rcgen::PublicKeyData::subject_public_key_info(&pair)).unwrap();
    Jwk::from_key(spki.key().clone()).unwrap()
}

fn raw(name: String) -> RawIdentifier {
    RawIdentifier { kind: "dns".into(), value: name, ancestor: None }
}

impl History {
    async fn new(seed: u64) -> Self {
        let store = Arc::new(Watched::default());
        store.time(START, true);
        let mut random = Random(seed);
        let reuse = !random.once_in(4);
        let stand = Stand::over(store.clone(), START, |terms| {
            if !reuse {
                terms.authorization_ttl = Duration::ZERO;
            }
        })
        .await;
        let mut owners = Vec::new();
        for _ in 0..ACCOUNTS {
            let key = key();
            let made = stand.service.new_account(&terms_of(&stand), key.clone(), NewAccount::default()).await;
            let id = made.unwrap().0.account.id;
            owners.push(Owner { id, keys: vec![key], told: 0, open: Vec::new(), closed: false });
        }
        let (ledger, cursors) = (Ledger::default(), Cursors::default());
        let (csrs, latest, counts) = (Vec::new(), START, Counts::default());
        Self { random, stand, store, owners, ledger, csrs, cursors, latest, counts }
    }

    /// From one start of the process to its crash, or to the end of the steps.
    async fn life(&mut self, steps: &mut usize) {
        let mut under_way: Vec<Verb> = Vec::new();
        while *steps > 0 {
            *steps -= 1;
            match self.random.below(100) {
                0..24 => {
                    if let Some(verb) = self.verb() {
                        under_way.push(verb);
                    }
                }
                24..72 => self.poll_one(&mut under_way).await,
                72..82 => tokio::task::yield_now().await,
                82..85 => self.drop_one(&mut under_way),
                85..90 => tokio::time::advance(Duration::from_millis(self.random.below(4000))).await,
                90..92 => self.jump(),
                92..94 => self.sweep().await,
                94..97 => self.trouble(),
                97 => {
                    self.counts.crashes += 1;
                    return;
                }
                // The order as it is now, so that the next verb fits it.
                _ => self.look(),
            }
            let wrong = self.store.wrong();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }

    async fn poll_one(&mut self, under_way: &mut Vec<Verb>) {
        if under_way.is_empty() {
            return;
        }
        let place = self.random.below(under_way.len() as u64) as usize;
        let polls = 1 + self.random.below(12);
        for _ in 0..polls {
            let verb = &mut under_way[place];
            let polled = poll_fn(|context| Poll::Ready(verb.as_mut().poll(context))).await;
            if let Poll::Ready(ack) = polled {
                drop(under_way.swap_remove(place));
                self.acknowledge(ack);
                return;
            }
            if self.random.once_in(2) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// The client has hung up.
    fn drop_one(&mut self, under_way: &mut Vec<Verb>) {
        if !under_way.is_empty() {
            let place = self.random.below(under_way.len() as u64) as usize;
            drop(under_way.swap_remove(place));
            self.counts.dropped += 1;
        }
    }

    fn jump(&mut self) {
        let now = self.stand.clock.now();
        let by = match self.random.below(8) {
            0..4 => Duration::from_secs(self.random.below(600)),
            4..7 => Duration::from_secs(self.random.below(5 * 3600)),
            _ => Duration::from_secs(self.random.below(30 * 3600)),
        };
        // Back too, as a clock that ran ahead is set.
        let to = if self.random.once_in(4) { (now - by / 4).max(START) } else { now + by };
        self.stand.clock.set(to);
        self.store.time(to, false);
        self.latest = self.latest.max(to);
    }

    async fn sweep(&mut self) {
        let service = self.stand.service.clone();
        for _ in 0..3 {
            // A store that fails is no reason to stop sweeping.
            let _ = service.sweep(&mut self.cursors, RETENTION).await;
        }
    }

    /// Something will go wrong before long, or is put right.
    fn trouble(&mut self) {
        const FAULTS: [Fault; 5] =
            [Fault::Busy, Fault::NoSpace, Fault::Conflict, Fault::Failed, Fault::FailedAfter];
        let name = self.name();
        match self.random.below(8) {
            0..3 => {
                let (skip, fault) = (self.random.below(3) as usize, self.random.below(5) as usize);
                self.stand.store.fail(skip, FAULTS[fault]);
            }
            3 => self.stand.script.next(&name, Step::Say(failed())),
            4 => self.stand.script.next(&name, Step::Say(inconclusive())),
            5 => {
                let delay = Duration::from_millis(self.random.below(5000));
                let outcome = if self.random.once_in(3) { failed() } else { Outcome::Proved };
                self.stand.script.next(&name, Step::After(delay, outcome));
            }
            6 => {
                self.stand.signer.slow.fetch_xor(true, Ordering::SeqCst);
            }
            _ => {
                self.stand.signer.broken.fetch_xor(true, Ordering::SeqCst);
            }
        }
    }

    /// What is stored is known: as if every order had been read.
    fn look(&mut self) {
        for (id, known) in &mut self.ledger.orders {
            if let Some(order) = self.store.row(Table::Orders, id.as_bytes()) {
                *known = order;
            }
        }
    }

    fn name(&mut self) -> String {
        format!("n{}.test", self.random.below(NAMES))
    }

    fn owner_of(&self, order: &Order) -> usize {
        self.owners.iter().position(|owner| owner.id == order.account).unwrap()
    }

    /// A verb in the making; what it is called with is chosen now, when it runs is not.
    fn verb(&mut self) -> Option<Verb> {
        let service = self.stand.service.clone();
        let terms = terms_of(&self.stand);
        let who = self.random.below(ACCOUNTS as u64) as usize;
        let account = self.owners[who].id;
        let choice = self.random.below(100);
        if choice < 28 {
            let mut names: Vec<String> = (0..=self.random.below(2)).map(|_| self.name()).collect();
            names.dedup();
            return Some(Box::pin(async move {
                let identifiers = names.into_iter().map(raw).collect();
                let ask = NewOrder { identifiers, ..NewOrder::default() };
                let Ok(Some(known)) = service.account(&terms, account).await else { return Ack::Nothing };
                match service.new_order(&terms, &known, ask).await {
                    Ok(made) => Ack::Order(made.id, made.order),
                    Err(_) => Ack::Nothing,
                }
            }));
        }
        let recent = self.ledger.orders.len().saturating_sub(6);
        let (id, order) = self.random.pick(&self.ledger.orders[recent..])?.clone();
        let owner = self.owner_of(&order);
        let (account, by) = (order.account, (order.account, self.owners[owner].thumbprint()));
        let index = self.random.below(order.slots.len() as u64) as u16;
        // Half of the time what a client would do next.
        let choice = match order.status(self.stand.clock.now()) {
            OrderStatus::Pending if self.random.once_in(2) => 30,
            OrderStatus::Ready if self.random.once_in(2) => 60,
            _ => choice,
        };
        Some(match choice {
            28..56 => {
                let kind = if self.random.once_in(4) { ChallengeKind::Http01 } else { ChallengeKind::Dns01 };
                Box::pin(async move {
                    match service.respond(&terms, by, id, index, kind, Source::default()).await {
                        Ok(done) => Ack::Authorization(done.order, done.index, done.authorization),
                        Err(_) => Ack::Nothing,
                    }
                })
            }
            56..76 => {
                let csr = self.csr(id, &order);
                Box::pin(async move {
                    match service.finalize(&terms, account, id, &csr, Source::default()).await {
                        Ok(done) => Ack::Order(done.id, done.order),
                        Err(_) => Ack::Nothing,
                    }
                })
            }
            76..84 => Box::pin(async move {
                match service.order(&terms, account, id).await {
                    Ok(found) => Ack::Order(found.id, found.order),
                    Err(_) => Ack::Nothing,
                }
            }),
            84..88 => Box::pin(async move {
                let _ = service.authorization(&terms, account, id, index).await;
                Ack::Nothing
            }),
            88..92 => Box::pin(async move {
                match service.deactivate_authorization(&terms, account, id, index).await {
                    Ok(done) => Ack::Authorization(done.order, done.index, done.authorization),
                    Err(_) => Ack::Nothing,
                }
            }),
            92..95 => self.revocation(service, who),
            95..98 => {
                let (key, known) = (key(), self.owners[who].id);
                self.owners[who].keys.push(key.clone());
                let place = self.owners[who].keys.len() - 1;
                self.owners[who].open.push(place);
                Box::pin(async move {
                    let Ok(Some(known)) = service.account(&terms, known).await else { return Ack::Nothing };
                    match service.change_key(&terms, &known, key).await {
                        Ok(_) => Ack::KeyChanged(who, place),
                        Err(_) => Ack::Nothing,
                    }
                })
            }
            _ if self.random.once_in(3) => {
                let close = AccountUpdate { deactivate: true, ..AccountUpdate::default() };
                let account = self.owners[who].id;
                Box::pin(async move {
                    match service.update_account(account, close).await {
                        Ok(_) => Ack::Closed(who),
                        Err(_) => Ack::Nothing,
                    }
                })
            }
            _ => return None,
        })
    }

    /// Mostly the request that the order has seen before, as clients repeat themselves.
    fn csr(&mut self, id: OrderId, order: &Order) -> Vec<u8> {
        let known = self.csrs.iter().find(|(of, _)| *of == id).map(|(_, csr)| csr.clone());
        match known {
            Some(csr) if !self.random.once_in(5) => csr,
            _ => {
                let names: Vec<String> = order.identifiers().map(ToString::to_string).collect();
                let csr = csr_of(&names);
                self.csrs.push((id, csr.clone()));
                csr
            }
        }
    }

    fn revocation(&mut self, service: Arc<Service>, who: usize) -> Verb {
        let issued: Vec<Serial> = self
            .ledger
            .orders
            .iter()
            .filter_map(|(_, order)| match order.finish {
                Finish::Issued { serial, .. } => Some(serial),
                // RFC 8739 §3.1.2: those of a renewal are cancelled, not revoked; nobody asks for one here.
                Finish::Open | Finish::Processing(_) | Finish::Failed(_) | Finish::Renewing(_) => None,
            })
            .collect();
        let serial = self.random.pick(&issued).copied();
        let found = serial.and_then(|serial| {
            let record: CertificateRecord = self.store.row(Table::Certificates, serial.as_bytes())?;
            Some((serial, record))
        });
        let (terms, account) = (terms_of(&self.stand), self.owners[who].id);
        Box::pin(async move {
            let Some((serial, record)) = found else { return Ack::Nothing };
            match service.revoke(&terms, Asker::Account(account), &record.der, None).await {
                Ok(()) => Ack::Revoked(serial),
                Err(_) => Ack::Nothing,
            }
        })
    }

    fn acknowledge(&mut self, ack: Ack) {
        self.counts.acknowledged += usize::from(!matches!(ack, Ack::Nothing));
        match ack {
            Ack::Nothing => {}
            Ack::Order(id, order) => match self.ledger.orders.iter_mut().find(|(of, _)| *of == id) {
                // An answer that was long on its way may tell of the past.
                Some((_, known)) if order_moves(known, &order, &[START]).is_ok() => *known = order,
                Some(_) => {}
                None => self.ledger.orders.push((id, order)),
            },
            Ack::Authorization(order, index, authorization) => {
                self.ledger.authorizations.push((order, index, authorization));
            }
            Ack::Revoked(serial) => self.ledger.revoked.push(serial),
            Ack::KeyChanged(who, place) => {
                let owner = &mut self.owners[who];
                // An answer that was long on its way may tell of the past.
                if owner.key(&self.store) == place {
                    owner.told = place;
                    owner.open.retain(|open| *open != place);
                }
            }
            Ack::Closed(who) => self.owners[who].closed = true,
        }
    }

    /// Everything somebody was told of is there.
    fn audit(&mut self) {
        for owner in &self.owners {
            let account: Account = self.store.row(Table::Accounts, owner.id.as_bytes()).expect("an account");
            assert!(!owner.closed || account.status == AccountStatus::Deactivated, "open again");
            let has = owner.key(&self.store);
            let row = [b"acme".as_slice(), &[0], &owner.keys[has].thumbprint().0].concat();
            let AccountKey(of) = self.store.row(Table::AccountKeys, &row).expect("the key's row");
            assert_eq!(of, owner.id);
        }
        let (store, latest) = (&self.store, self.latest);
        let kept = |id: &OrderId| id.purge() > latest;
        self.counts.certificates = 0;
        for (id, known) in &self.ledger.orders {
            if let Finish::Issued { serial, .. } = known.finish {
                self.counts.certificates += 1;
                let record: Option<CertificateRecord> = store.row(Table::Certificates, serial.as_bytes());
                let ended = Serial::as_bytes(&serial)[..3] <= Serial::new(latest, [0; 16]).as_bytes()[..3];
                assert!(ended || record.is_some(), "the certificate of {id} is gone");
            }
            if !kept(id) {
                continue;
            }
            let now: Order = store.row(Table::Orders, id.as_bytes()).expect("an order that was acknowledged");
            if let Finish::Issued { .. } = known.finish {
                assert_eq!(now.finish, known.finish, "{id} has another certificate");
            }
        }
        for (id, index, known) in self.ledger.authorizations.iter().filter(|(id, _, _)| kept(id)) {
            let order: Order = store.row(Table::Orders, id.as_bytes()).expect("the authorization's order");
            let now = order.own(*index).expect("the authorization");
            assert!(now.deactivated || !known.deactivated, "{id}/{index} is in force again");
            for (then, now) in known.challenges.iter().zip(&now.challenges) {
                let settled = matches!(then.state, ChallengeState::Valid(_) | ChallengeState::Invalid(_));
                assert!(!settled || then == now, "{id}/{index}: {then:?} has become {now:?}");
            }
        }
        for serial in &self.ledger.revoked {
            let record: Option<CertificateRecord> = store.row(Table::Certificates, serial.as_bytes());
            assert!(record.is_none_or(|record| record.revocation.is_some()), "{serial} is good again");
        }
    }

    /// With all troubles over, nothing stays under way for ever, and a new order comes to its end.
    async fn quiet(&mut self) {
        self.stand.signer.broken.store(false, Ordering::SeqCst);
        // A fault that was planned and has not struck.
        while !self.stand.store.struck() {
            let _ = self.stand.store.commit(crate::storage::Batch::new()).await;
        }
        let (service, terms) = (self.stand.service.clone(), terms_of(&self.stand));
        for _ in 0..20 {
            for (id, order) in &self.ledger.orders {
                let _ = service.order(&terms, order.account, *id).await;
                for index in 0..order.slots.len() as u16 {
                    let _ = service.authorization(&terms, order.account, *id, index).await;
                }
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let now = service.now();
        for (id, _) in &self.ledger.orders {
            let Some(order) = self.store.row::<Order>(Table::Orders, id.as_bytes()) else { continue };
            assert_ne!(order.status(now), OrderStatus::Processing, "{id} is stuck: {order:?}");
            let account: Account =
                self.store.row(Table::Accounts, order.account.as_bytes()).expect("its account");
            // Of a closed account nothing is taken up: nobody could read what came of it.
            if account.status == AccountStatus::Deactivated {
                continue;
            }
            for index in 0..order.slots.len() as u16 {
                let stuck = order.own(index).and_then(|authorization| authorization.under_validation(now));
                assert_eq!(stuck, None, "{id}/{index} is stuck");
            }
        }
        let made = service.new_account(&terms, key(), NewAccount::default()).await.unwrap().0;
        let by = (made.account.id, made.thumbprint);
        let identifiers = vec![raw("last.test".to_owned())];
        let ask = NewOrder { identifiers, ..NewOrder::default() };
        let id = service.new_order(&terms, &made, ask).await.unwrap().id;
        let from = Source::default();
        service.respond(&terms, by, id, 0, ChallengeKind::Dns01, from).await.unwrap();
        service.finalize(&terms, by.0, id, &csr_of(&["last.test".to_owned()]), from).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        let order = service.order(&terms, by.0, id).await.unwrap().order;
        assert_eq!(order.status(service.now()), OrderStatus::Valid);
        self.stand.check_held_rows().await.unwrap();
        let wrong = self.store.wrong();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn history(seed: u64) -> Counts {
    // A crash is the end of a runtime, and of every task in it.
    let mut history = runtime().block_on(History::new(seed));
    let mut steps = STEPS;
    while steps > 0 {
        let runtime = runtime();
        runtime.block_on(history.life(&mut steps));
        runtime.shutdown_background();
        history.audit();
        history.stand.restart();
        history.cursors = Cursors::default();
        history.store.time(history.stand.clock.now(), true);
    }
    runtime().block_on(history.quiet());
    history.audit();
    history.counts
}

#[test]
fn whatever_is_interleaved_nothing_unproved_is_issued_and_nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, count) = match number("MAYFLY_SEED") {
        Some(seed) => (seed, 1),
        None => {
            let source: &dyn Entropy = &SystemEntropy::default();
            (u64::from_be_bytes(source.bytes()), number("MAYFLY_HISTORIES").unwrap_or(HISTORIES))
        }
    };
    let mut all = Counts::default();
    for seed in (0..count).map(|n| first.wrapping_add(n)) {
        let counts = catch_unwind(AssertUnwindSafe(|| history(seed)))
            .unwrap_or_else(|_| panic!("a history fails; run it again with MAYFLY_SEED={seed}"));
        all.acknowledged += counts.acknowledged;
        all.dropped += counts.dropped;
        all.crashes += counts.crashes;
        all.certificates += counts.certificates;
    }
    println!("{count} histories: {all:?}");
    // One history may be without; many are not.
    if count >= 50 {
        let least = count as usize;
        assert!(all.acknowledged > 10 * least && all.crashes > least && all.dropped > least, "{all:?}");
        assert!(all.certificates > least / 2, "{all:?}");
    }
}

/// A judge that lets everything pass would prove nothing.
#[test]
fn the_judge_sees_steps_that_there_are_not() {
    runtime().block_on(async {
        let store = Arc::new(Watched::default());
        store.time(START, true);
        let stand = Stand::over(store.clone(), START, |_| ()).await;
        let account = super::sweep::account(&stand).await;
        let names = super::sweep::name("a.test");
        let opened = super::sweep::order(&stand, &account, &names).await;
        super::sweep::prove(&stand, &account, &opened).await;
        let proved: Order = store.row(Table::Orders, opened.id.as_bytes()).unwrap();
        let done = super::sweep::issue(&stand, &account, &opened, &names).await.order;
        assert_eq!(store.wrong(), Vec::<String>::new());
        let forward = [(&opened.order, &proved), (&proved, &done), (&proved, &proved)];
        for (old, new) in forward {
            order_moves(old, new, &[START]).unwrap();
        }
        for (old, new) in [(&proved, &opened.order), (&done, &proved), (&opened.order, &done)] {
            assert!(order_moves(old, new, &[START]).is_err());
        }
        // And in the store itself: back to pending, and a certificate out of the blue.
        let key = *opened.id.as_bytes();
        let back = crate::storage::Batch::new().put(Table::Orders, key, opened.order.encode());
        let _ = store.commit(back).await.unwrap();
        assert_eq!(store.wrong().len(), 1, "{:?}", store.wrong());
        let record = stand.certificates().await.remove(0);
        let second = crate::storage::Batch::new().put(Table::Certificates, vec![7; 19], record.encode());
        let _ = store.commit(second).await.unwrap();
        assert_eq!(store.wrong().len(), 2, "{:?}", store.wrong());
    });
}
