//! A whole service for tests: memory store, a clock in the test's hand, reproducible entropy, a
//! prover that follows a script, a signer and a store that fail on request.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::ceremony::{CeremonyPlan, CeremonyResult, create_hierarchy};
use super::{Live, Prove, Reach, Service};
use crate::acme::order::{AuthorizationStatus, Order};
use crate::audit::{AuditRecord, Event};
use crate::authority::alternate;
use crate::authority::authorities::{Authorities, Authority, OtherIssuer, Rotation};
use crate::authority::certificate::CertificateRecord;
use crate::authority::issuer::Issuer;
use crate::authority::realm::Realm;
use crate::authority::signer::{Cost, SignError, SignatureAlgorithm, Signer};
use crate::entropy::{Entropy, SeededEntropy};
use crate::id::{AuthorityName, OrderId};
use crate::limits::{Limit, Rules};
use crate::policy::Pair;
use crate::provisioner::Requester;
use crate::provisioner::acme::Terms;
use crate::provisioner::eab::EabMode;
use crate::storage::codec::{HeldAuthorization, Record};
use crate::storage::{
    self, Backend, Batch, BoxFuture, CommitOutcome, Row, Store, StoreError, Table, Versioned,
};
use crate::time::{Clock, ManualClock, SystemClock, Timestamp};
use crate::validation::{Ask, CaaAsk, Consent, Failure, FailureKind, Outcome};
use crate::x509::spki::{PublicKey, Spki};

pub(crate) const START: Timestamp = Timestamp::from_secs(1_793_318_400);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// One scripted attempt.
#[derive(Clone)]
pub(crate) enum Step {
    Say(Outcome),
    After(Duration, Outcome),
    Panic,
}

/// A prover that says what the script has for an identifier, and `Proved` beyond it.
#[derive(Default)]
pub(crate) struct Script {
    steps: Mutex<HashMap<String, VecDeque<Step>>>,
    calls: Mutex<HashMap<String, usize>>,
    asks: Mutex<Vec<Ask>>,
    consents: Mutex<HashMap<String, Consent>>,
    caa: Mutex<Vec<CaaAsk>>,
}

impl Script {
    pub(crate) fn next(&self, identifier: &str, step: Step) {
        self.steps.lock().unwrap().entry(identifier.into()).or_default().push_back(step);
    }
    /// Every ask so far.
    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }
    /// What CAA records say from now on; of other names, nothing.
    pub(crate) fn caa_says(&self, identifier: &str, consent: Consent) {
        self.consents.lock().unwrap().insert(identifier.into(), consent);
    }
    /// Whose CAA records were asked for since this was last asked.
    pub(crate) fn caa_asks(&self) -> Vec<CaaAsk> {
        std::mem::take(&mut *self.caa.lock().unwrap())
    }
    pub(crate) fn calls(&self, identifier: &str) -> usize {
        self.calls.lock().unwrap().get(identifier).copied().unwrap_or(0)
    }
}

impl Prove for Script {
    fn prove<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Outcome> {
        let name = ask.identifier.to_string();
        self.asks.lock().unwrap().push(ask.clone());
        *self.calls.lock().unwrap().entry(name.clone()).or_default() += 1;
        let step = self.steps.lock().unwrap().get_mut(&name).and_then(VecDeque::pop_front);
        Box::pin(async move {
            match step {
                None => Outcome::Proved,
                Some(Step::Say(outcome)) => outcome,
                Some(Step::After(delay, outcome)) => {
                    tokio::time::sleep(delay).await;
                    outcome
                }
                Some(Step::Panic) => panic!("scripted"),
            }
        })
    }

    fn consent<'a>(&'a self, ask: &'a CaaAsk) -> BoxFuture<'a, Consent> {
        self.caa.lock().unwrap().push(ask.clone());
        let said = self.consents.lock().unwrap().get(&ask.identifier.to_string()).cloned();
        Box::pin(async { said.unwrap_or(Consent::Permitted) })
    }
}

pub(crate) fn failed() -> Outcome {
    Outcome::Failed(Failure { kind: FailureKind::Unauthorized, detail: "other content".into() })
}

pub(crate) fn inconclusive() -> Outcome {
    Outcome::Inconclusive(Failure { kind: FailureKind::Dns, detail: "the resolver is silent".into() })
}

/// A P-256 signer that can be slow, or out of order.
pub(crate) struct TestSigner {
    pair: EcdsaKeyPair,
    spki: Spki,
    pub(crate) slow: AtomicBool,
    pub(crate) broken: AtomicBool,
    pub(crate) delay: Mutex<Duration>,
    pub(crate) signed: AtomicUsize,
    /// Signatures under way, and the most that ever were.
    under_way: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
}

impl TestSigner {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let spki = Spki::from_key(PublicKey::EcP256(pair.public_key().as_ref().to_vec()));
        Self {
            pair,
            spki,
            slow: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            delay: Mutex::new(Duration::ZERO),
            signed: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }
}

impl Signer for TestSigner {
    fn public_key(&self) -> &Spki {
        &self.spki
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::EcdsaP256Sha256
    }
    fn cost(&self) -> Cost {
        if self.slow.load(Ordering::SeqCst) { Cost::Slow } else { Cost::Quick }
    }
    fn sign(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(SignError("secret-module-path is away".into()));
        }
        self.signed.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(under_way, Ordering::SeqCst);
        let delay = *self.delay.lock().unwrap();
        std::thread::sleep(delay);
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        self.pair
            .sign(&SystemRandom::new(), tbs)
            .map(|s| s.as_ref().to_vec())
            .map_err(|_| SignError(String::new()))
    }
}

/// What goes wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Busy,
    NoSpace,
    Conflict,
    /// The error comes before anything is applied.
    Failed,
    /// The batch is applied, and yet its caller hears of a failure.
    FailedAfter,
    /// The batch is too large.
    TooLarge,
}

/// A store whose commits fail as planned.
pub(crate) struct Faulty {
    pub(crate) inner: Arc<dyn Store>,
    /// Commits left until the fault strikes, and the fault.
    plan: Mutex<Option<(usize, Fault)>>,
    pub(crate) commits: AtomicUsize,
    /// Single records read.
    pub(crate) reads: AtomicUsize,
    pub(crate) checks: AtomicUsize,
    pub(crate) down: AtomicBool,
    pub(crate) check_delay: Mutex<Duration>,
    /// How long a batch is under way before it is applied.
    pub(crate) commit_delay: Mutex<Duration>,
    /// Whether checks panic.
    pub(crate) panics: AtomicBool,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            plan: Mutex::new(None),
            commits: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            checks: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            check_delay: Mutex::new(Duration::ZERO),
            commit_delay: Mutex::new(Duration::ZERO),
            panics: AtomicBool::new(false),
        }
    }
    /// The commit after `skip` further ones fails.
    pub(crate) fn fail(&self, skip: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Some((skip, fault));
    }
    /// Whether a planned fault has struck.
    pub(crate) fn struck(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }
    fn fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        match plan.as_mut()? {
            (0, fault) => {
                let fault = *fault;
                *plan = None;
                Some(fault)
            }
            (left, _) => {
                *left -= 1;
                None
            }
        }
    }
}

impl Store for Faulty {
    fn get<'a>(
        &'a self,
        table: Table,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<Versioned>, StoreError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Failed("secret-disk-path is gone".into())) });
        }
        self.inner.get(table, key)
    }
    fn scan<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Row>, StoreError>> {
        self.inner.scan(table, prefix, after, limit)
    }
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<CommitOutcome, StoreError>> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let fault = if self.down.load(Ordering::SeqCst) { Some(Fault::Failed) } else { self.fault() };
        let failed = || StoreError::Failed("secret-disk-path is gone".into());
        let delay = *self.commit_delay.lock().unwrap();
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match fault {
                None => self.inner.commit(batch).await,
                Some(Fault::Busy) => Err(StoreError::Busy),
                Some(Fault::NoSpace) => Err(StoreError::NoSpace("secret-disk-path is full".into())),
                Some(Fault::Conflict) => Ok(CommitOutcome::Conflict),
                Some(Fault::TooLarge) => Err(StoreError::TooLarge("secret".into())),
                Some(Fault::Failed) => Err(failed()),
                Some(Fault::FailedAfter) => {
                    let _ = self.inner.commit(batch).await;
                    Err(failed())
                }
            }
        })
    }
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let panics = self.panics.load(Ordering::SeqCst);
        let (down, delay) = (self.down.load(Ordering::SeqCst), *self.check_delay.lock().unwrap());
        Box::pin(async move {
            assert!(!panics, "as planned");
            tokio::time::sleep(delay).await;
            if down {
                Err(StoreError::Failed("secret-disk-path is gone".into()))
            } else {
                self.inner.check().await
            }
        })
    }
    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

/// Everything that outlives a restart, and the service of the day.
pub(crate) struct Stand {
    pub(crate) service: Arc<Service>,
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<Faulty>,
    pub(crate) script: Arc<Script>,
    pub(crate) signer: Arc<TestSigner>,
    pub(crate) hierarchy: CeremonyResult,
    alternates: Vec<Vec<Vec<u8>>>,
    /// Issuers of `default` that sign no more.
    pub(crate) former: Vec<OtherIssuer>,
    constrained_by: Option<Vec<u8>>,
    /// Of the authority `default`; counts from the next start or reload on.
    pub(crate) authority_policy: Pair,
    /// The authority `second`, under which the provisioner `other` then issues.
    pub(crate) second: Option<(CeremonyResult, Arc<TestSigner>)>,
    /// What `other` demands; counts from the next reload on.
    pub(crate) other_eab: EabMode,
    moved_back: bool,
    starts: u64,
}

impl Stand {
    /// With the provisioners `acme` and `other`.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// As [`Stand::new`], with changes to the terms of `acme`.
    pub(crate) async fn with(change: impl FnOnce(&mut Terms)) -> Self {
        Self::at(START, change).await
    }

    /// As [`Stand::new`], at the machine's own time.
    pub(crate) async fn now() -> Self {
        Self::at(SystemClock.now(), |_| ()).await
    }

    async fn at(start_at: Timestamp, change: impl FnOnce(&mut Terms)) -> Self {
        let memory = storage::open(Backend::Memory, Path::new("")).unwrap();
        Self::over(memory, start_at, change).await
    }

    /// Over a store of the caller's.
    pub(crate) async fn over(
        store: Arc<dyn Store>,
        start_at: Timestamp,
        change: impl FnOnce(&mut Terms),
    ) -> Self {
        let mut own = Terms::named("acme");
        change(&mut own);
        let store = Arc::new(Faulty::new(store));
        let clock = ManualClock::new(start_at);
        let (root, signer) = (Arc::new(TestSigner::new()), Arc::new(TestSigner::new()));
        let plan = plan("Test", 24 * 1825 * HOUR);
        let entropy = SeededEntropy::new(0);
        let hierarchy =
            create_hierarchy(&*store, &clock, &entropy, root, signer.clone(), &plan).await.unwrap();
        let script = Arc::new(Script::default());
        let authorities = Authorities::new(vec![authority("default", &hierarchy, &signer)]).unwrap();
        let service = start(&store, &clock, live(&script, authorities, [own, Terms::named("other")]), 1);
        let (alternates, former, constrained_by, second) = (Vec::new(), Vec::new(), None, None);
        Self {
            service,
            clock,
            store,
            script,
            signer,
            hierarchy,
            alternates,
            former,
            constrained_by,
            authority_policy: Pair::default(),
            second,
            other_eab: EabMode::Off,
            moved_back: false,
            starts: 1,
        }
    }

    /// The process dies and starts anew over the same store.
    pub(crate) fn restart(&mut self) {
        self.starts += 1;
        let terms = ["acme", "other"].map(|name| self.service.provisioner(name).unwrap().terms().clone());
        let live = live(&self.script, self.authorities(), terms);
        self.service = start(&self.store, &self.clock, live, self.starts);
    }

    /// The process starts anew with an alternate chain: the same intermediate under another root. That
    /// root's certificate, and the intermediate's under it.
    pub(crate) async fn cross_sign(&mut self, lifetime: Duration) -> CeremonyResult {
        let apart = storage::open(Backend::Memory, Path::new("")).unwrap();
        let plan = plan("Test", lifetime);
        let (entropy, root) = (SeededEntropy::new(9), Arc::new(TestSigner::new()));
        let other = create_hierarchy(&*apart, &self.clock, &entropy, root, self.signer.clone(), &plan);
        let other = other.await.unwrap();
        self.alternates = vec![vec![other.intermediate_der.clone()]];
        self.restart();
        other
    }

    /// The process starts anew under a root whose certificate permits only these DNS names.
    pub(crate) fn constrain(&mut self, permitted: &[&str]) {
        use crate::authority::constraints::{NameConstraints, Subtree};
        let permitted = permitted.iter().map(|name| Subtree::Dns((*name).to_owned())).collect();
        let value = NameConstraints { permitted, excluded: Vec::new() }.encode();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 30], value)];
        let root = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        self.constrained_by = Some(root.der().to_vec());
        self.restart();
    }

    /// Tells these from now on.
    pub(crate) fn tells(&self, receivers: impl IntoIterator<Item = crate::notify::Receiver>) {
        let terms = [Terms::named("acme"), self.other()];
        self.service.reload(live(&self.script, self.authorities(), terms).telling(receivers));
    }

    /// Puts other terms of `acme` into force.
    pub(crate) fn reload(&self, change: impl FnOnce(&mut Terms)) {
        let own = self.service.provisioner("acme");
        let mut own = own.map_or_else(|| Terms::named("acme"), |own| own.terms().clone());
        change(&mut own);
        self.service.reload(live(&self.script, self.authorities(), [own, self.other()]));
    }

    /// Both authorities are there, and both provisioners issue under the first.
    pub(crate) fn move_other_back(&mut self, second: Option<(CeremonyResult, Arc<TestSigner>)>) {
        (self.second, self.moved_back) = (second, true);
        self.reload(|_| ());
    }

    fn other(&self) -> Terms {
        let walled = self.second.is_some() && !self.moved_back;
        let authority = AuthorityName::new(if walled { "second" } else { "default" });
        Terms { authority, eab: self.other_eab, ..Terms::named("other") }
    }

    fn authorities(&self) -> Authorities {
        let policy = self.authority_policy.clone();
        let former = self.former.clone();
        let own = authority_with("default", policy, former, (&self.hierarchy, &self.signer), |issuer| {
            let check = |chain: &Vec<_>| alternate::check(&issuer, chain, self.clock.now()).unwrap();
            let alternates = self.alternates.iter().map(check).collect();
            let issuer = issuer.with_alternates(alternates);
            match &self.constrained_by {
                Some(root) => issuer.under_root(root).unwrap(),
                None => issuer,
            }
        });
        let second = self.second.iter().map(|(made, signer)| authority("second", made, signer));
        Authorities::new(std::iter::once(own).chain(second).collect()).unwrap()
    }

    /// Founds a second authority and lets the provisioner `other` issue under it, without a restart.
    pub(crate) async fn wall_off_other(&mut self) {
        let apart = storage::open(Backend::Memory, Path::new("")).unwrap();
        let (root, signer) = (Arc::new(TestSigner::new()), Arc::new(TestSigner::new()));
        let entropy = SeededEntropy::new(77);
        let plan = plan("Second", 24 * 1825 * HOUR);
        let made = create_hierarchy(&*apart, &self.clock, &entropy, root, signer.clone(), &plan).await;
        self.second = Some((made.unwrap(), signer));
        self.reload(|_| ());
    }

    /// The process starts anew with another issuer for its authority, under another root.
    pub(crate) async fn replace_issuer(&mut self) {
        let apart = storage::open(Backend::Memory, Path::new("")).unwrap();
        let (root, signer) = (Arc::new(TestSigner::new()), Arc::new(TestSigner::new()));
        let entropy = SeededEntropy::new(78);
        let plan = plan("Next", 24 * 1825 * HOUR);
        let made = create_hierarchy(&*apart, &self.clock, &entropy, root, signer.clone(), &plan).await;
        (self.hierarchy, self.signer) = (made.unwrap(), signer);
        self.restart();
    }

    /// Another issuer signs for its authority from now on, without a restart; the chain of the one before
    /// is served on. That one's key identifier.
    pub(crate) async fn rotate(&mut self) -> [u8; 20] {
        let before = OtherIssuer::new(vec![self.hierarchy.intermediate_der.clone()]).unwrap();
        let key_id = *before.key_id();
        self.former.push(before);
        self.alternates.clear();
        let apart = storage::open(Backend::Memory, Path::new("")).unwrap();
        let (root, signer) = (Arc::new(TestSigner::new()), Arc::new(TestSigner::new()));
        let entropy = SeededEntropy::new(79);
        let plan = plan("Rotated", 24 * 1825 * HOUR);
        let made = create_hierarchy(&*apart, &self.clock, &entropy, root, signer.clone(), &plan).await;
        (self.hierarchy, self.signer) = (made.unwrap(), signer);
        self.reload(|_| ());
        key_id
    }

    async fn all(&self, table: Table) -> Vec<Row> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.inner.scan(table, &[], after.as_deref(), 1000).await.unwrap();
            let Some((last, _)) = page.last() else { return rows };
            after = Some(last.clone());
            rows.extend(page);
        }
    }

    /// Certificates that accounts hold.
    pub(crate) async fn certificates(&self) -> Vec<CertificateRecord> {
        let rows = self.all(Table::Certificates).await.into_iter();
        rows.map(|(_, row)| CertificateRecord::decode(&row.value).unwrap())
            .filter(|record| {
                matches!(record.requester, Requester::Acme { .. } | Requester::AutoRenewal { .. })
            })
            .collect()
    }

    pub(crate) async fn orders(&self) -> Vec<(OrderId, Order)> {
        let rows = self.all(Table::Orders).await.into_iter();
        rows.map(|(key, row)| (OrderId::from_key(&key).unwrap(), Order::decode(&row.value).unwrap()))
            .collect()
    }

    pub(crate) async fn rows(&self, table: Table) -> usize {
        self.all(table).await.len()
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        let rows = self.all(Table::Audit).await.into_iter();
        rows.map(|(_, row)| AuditRecord::decode(&row.value).unwrap().event).collect()
    }

    /// Every row of held authorizations leads to an order that is there and to an authorization in
    /// it that was proved and not given up, or to one that has merely run out.
    pub(crate) async fn check_held_rows(&self) -> Result<(), String> {
        let orders: HashMap<OrderId, Order> = self.orders().await.into_iter().collect();
        for (key, row) in self.all(Table::Grants).await {
            let held = HeldAuthorization::decode(&row.value).unwrap();
            let order = orders.get(&held.order).ok_or(format!("{:?}: its order is gone", held.order))?;
            let authorization = order.own(held.index).ok_or("no such authorization")?;
            if crate::storage::codec::held_row(order.account, &authorization.identifier) != key {
                return Err("it is for something else".into());
            }
            let before = Timestamp::from_millis(held.expires.as_millis() - 1);
            if authorization.expires != held.expires
                || authorization.status(before) != AuthorizationStatus::Valid
            {
                return Err(format!("{:?} is not valid", authorization.identifier));
            }
        }
        Ok(())
    }
}

/// Every order that a client may see as one is listed with its account, and nothing else is.
pub(crate) async fn check_listed_rows(stand: &Stand) -> Result<(), String> {
    let orders = stand.orders().await.into_iter().filter(|(_, order)| !order.details.pre_authorization);
    let mut want: Vec<Vec<u8>> =
        orders.map(|(id, order)| [&order.account.as_bytes()[..], id.as_bytes()].concat()).collect();
    want.sort();
    let listed: Vec<Vec<u8>> =
        stand.all(Table::AccountOrders).await.into_iter().map(|(key, _)| key).collect();
    if listed == want { Ok(()) } else { Err(format!("{} rows for {} orders", listed.len(), want.len())) }
}

fn plan(name: &str, intermediate_lifetime: Duration) -> CeremonyPlan {
    CeremonyPlan { name: name.into(), root_lifetime: 24 * 3650 * HOUR, intermediate_lifetime }
}

/// An authority of that name.
pub(crate) fn authority(name: &str, made: &CeremonyResult, signer: &Arc<TestSigner>) -> Authority {
    authority_with(name, Pair::default(), Vec::new(), (made, signer), |issuer| issuer)
}

fn authority_with(
    name: &str,
    policy: Pair,
    former: Vec<OtherIssuer>,
    (made, signer): (&CeremonyResult, &Arc<TestSigner>),
    change: impl FnOnce(Issuer) -> Issuer,
) -> Authority {
    let issuer = Issuer::new(made.intermediate_der.clone(), &[], signer.clone()).unwrap();
    let realm = Realm { name: AuthorityName::new(name), policy, ..Realm::default() };
    let rotation = Rotation { handover: HOUR, ..Rotation::default() };
    Authority::new(realm, change(issuer), former, vec![made.root_der.clone()], 24 * 30 * HOUR)
        .rotating(rotation)
}

fn live(script: &Arc<Script>, authorities: Authorities, terms: [Terms; 2]) -> Live {
    let one = |terms: &Terms| {
        let (account_urls, account_hash_prefix) = (
            format!("https://ca.test/acme/{}/account/", terms.name),
            format!("https://ca.test/acme/{}/account-hash/", terms.name),
        );
        (terms.name.clone(), Reach { prover: script.clone(), account_urls, account_hash_prefix })
    };
    let reach = terms.iter().map(one).collect();
    Live::new(authorities, &AuthorityName::default(), terms, reach, (3, no_limits())).unwrap()
}

/// Rules that keep nobody from anything; tests of limits put others into force.
pub(crate) fn no_limits() -> Rules {
    let mut rules = Rules { open_orders: None, ..Rules::default() };
    Limit::ALL.iter().for_each(|limit| rules.set(*limit, None));
    rules
}

fn start(store: &Arc<Faulty>, clock: &ManualClock, live: Live, seed: u64) -> Arc<Service> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    Arc::new(Service::new(store.clone(), Arc::new(clock.clone()), entropy, live))
}
