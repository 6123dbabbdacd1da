//! Fills the store of a CA as years of use would, so that a server can be measured over it.
//!
//! Every certificate comes with what its issuance writes: the order while orders are kept, the proof,
//! the audit events. The certificates are no certificates: nothing is signed, their keys and
//! signatures are random bytes, of the size and the (in)compressibility of true ones.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use tokio::task::JoinSet;

use super::BenchError;
use super::crypto::{approved, issuer};
use super::machine::failed;
use crate::acme::challenge::ChallengeKind;
use crate::acme::identifier::Identifier;
use crate::acme::order::{Authorization, Challenge, ChallengeState, Finish, Order, OrderDetails, Slot};
use crate::audit::{AuditRecord, Event};
use crate::authority::certificate::{CertificateRecord, Client, Provenance};
use crate::authority::realm::Realm;
use crate::authority::{draft, lint, sign};
use crate::entropy::{Entropy, SystemEntropy};
use crate::id::{AccountId, OrderId};
use crate::provisioner::acme::Terms;
use crate::provisioner::{Requester, own};
use crate::storage::codec::{HeldAuthorization, Record, held_row, order_row};
use crate::storage::inventory::IndexState;
use crate::storage::{Batch, CommitOutcome, Store, Table, inventory};
use crate::time::Timestamp;
use crate::x509::serial::Serial;
use crate::x509::spki::{PublicKey, Spki};

/// A store with more certificates than this is in use, and not ours to fill.
const IN_USE: usize = 100;
/// Issuances in one batch.
const BATCH: u64 = 90;
/// Batches under way.
const CALLERS: u64 = 4;
/// Accounts that the certificates belong to.
const ACCOUNTS: u64 = 10_000;
/// Lifetime of the certificates, which were issued evenly over it.
const DAY: Duration = Duration::from_secs(86_400);
/// How long an order and its proof are kept after it was opened: the default `order_ttl` and
/// `authorization_ttl`.
const KEPT: Duration = Duration::from_secs(10 * 3600);

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Certificates, live ones.
    pub certificates: u64,
    /// Orders whose time to be removed has come.
    pub expired_orders: u64,
}

/// Hears how many rows' worth of issuances are in the store, of how many.
pub type OnProgress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// Fills a store that is new. Refuses one in use.
pub async fn run(
    store: &Arc<dyn Store>,
    plan: Plan,
    now: Timestamp,
    on_progress: OnProgress<'_>,
) -> Result<(), BenchError> {
    if store.scan(Table::Certificates, &[], None, IN_USE + 1).await?.len() > IN_USE {
        let text = "the store holds certificates already; only the store of a new CA is filled";
        return Err(BenchError::Verdict(text.into()));
    }
    let maker = Arc::new(Maker::new(now)?);
    let total = plan.expired_orders + plan.certificates;
    let mut tasks: JoinSet<Result<u64, BenchError>> = JoinSet::new();
    let (mut begun, mut done) = (0, 0);
    while done < total {
        while begun < total && (tasks.len() as u64) < CALLERS {
            // Old orders first, then the certificates in the order of time, as they come in life.
            let expired = begun < plan.expired_orders;
            let end = if expired { plan.expired_orders } else { total };
            let (first, count) = (begun, BATCH.min(end - begun));
            begun += count;
            let (store, maker) = (store.clone(), maker.clone());
            tasks.spawn(async move {
                let mut batch = Batch::new();
                for n in first..first + count {
                    batch = match expired {
                        true => maker.expired(batch, n)?,
                        false => maker.issuance(batch, n - plan.expired_orders, plan.certificates)?,
                    };
                }
                match store.commit(batch).await? {
                    CommitOutcome::Committed(_) => Ok(count),
                    CommitOutcome::Conflict => Err(failed("a batch without checks met a conflict")),
                }
            });
        }
        if let Some(ended) = tasks.join_next().await {
            done += ended.map_err(failed)??;
            on_progress(done, total);
        }
    }
    // With the rows above it is: a start would go through all certificates to find that out.
    let state = IndexState { complete: true, certificates: plan.certificates, through: None };
    let _ = store.commit(Batch::new().put(Table::Meta, inventory::STATE_KEY, state.encode())).await?;
    Ok(())
}

/// Makes the rows.
struct Maker {
    now: Timestamp,
    /// A true certificate of a throw-away issuer.
    sample: CertificateRecord,
    /// Where its public key begins, its serial, and its name.
    key: usize,
    serial: usize,
    name: usize,
    /// Where its beginning and its end are.
    validity: [usize; 2],
    /// How long before its signing it begins.
    backdate: Duration,
    /// Where its accounts' ids differ.
    accounts: [u8; 8],
    entropy: SystemEntropy,
}

/// Bytes of the key's point and, nearly, of a signature.
const POINT: usize = 64;

impl Maker {
    fn new(now: Timestamp) -> Result<Self, BenchError> {
        let system = SystemEntropy::default();
        let entropy: &dyn Entropy = &system;
        let issuer = issuer(now, entropy)?;
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        let point = pair.public_key().as_ref().to_vec();
        let names = [Identifier::parse_dns(&name(1_000_000)).map_err(failed)?];
        let grant = own::grant(&Realm::default(), &names, Spki::from_key(PublicKey::EcP256(point.clone())));
        let drafted = draft::draft(grant, &issuer, entropy.bytes(), now).map_err(failed)?;
        let linted = lint::lint(drafted, &issuer).map_err(failed)?;
        let issued = sign::sign(approved(linted, now)?, &issuer).map_err(failed)?;
        let client = Client::new([10, 0, 0, 1].into(), b"lego/4.20 (linux)");
        let provenance = Provenance { client: Some(client), ..Provenance::default() };
        let sample = issued.record(provenance, now);
        let place = |part: &[u8]| {
            let found = sample.der.windows(part.len()).position(|window| window == part);
            found.ok_or_else(|| failed("the sample certificate lacks a part of its own"))
        };
        let (key, serial) = (place(&point)? + 1, place(issued.serial.as_bytes())?);
        let name = place(names[0].order_value().as_bytes())?;
        let not_before = issued.not_before;
        let validity = [place(&utc_time(not_before))?, place(&utc_time(issued.not_after))?];
        let backdate = now.since(not_before);
        Ok(Self {
            now,
            key,
            serial,
            name,
            validity,
            backdate,
            sample,
            accounts: entropy.bytes(),
            entropy: system,
        })
    }

    fn random<const N: usize>(&self) -> [u8; N] {
        let entropy: &dyn Entropy = &self.entropy;
        entropy.bytes()
    }

    fn account(&self, n: u64) -> AccountId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(n % ACCOUNTS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes[8..].copy_from_slice(&self.accounts);
        AccountId::new(bytes)
    }

    /// An order that was never finalized, and whose time has come a minute ago.
    fn expired(&self, batch: Batch, n: u64) -> Result<Batch, BenchError> {
        let purge = self.now - Duration::from_secs(60);
        let (id, order) = self.order(n, purge - KEPT, Finish::Open)?;
        Ok(batch.put(Table::Orders, *id.as_bytes(), order.encode()).put(
            Table::AccountOrders,
            order_row(order.account, id),
            Vec::new(),
        ))
    }

    fn order(&self, n: u64, created: Timestamp, finish: Finish) -> Result<(OrderId, Order), BenchError> {
        let proved = matches!(finish, Finish::Issued { .. });
        let challenge = |kind| Challenge {
            kind,
            token: self.random(),
            state: match kind {
                ChallengeKind::Http01 if proved => ChallengeState::Valid(created),
                _ => ChallengeState::Pending(None),
            },
        };
        let own = Authorization {
            identifier: Identifier::parse_dns(&name(n)).map_err(failed)?,
            expires: created + KEPT,
            deactivated: false,
            challenges: Terms::named("").challenges.into_iter().map(challenge).collect(),
        };
        let order = Order {
            account: self.account(n),
            provisioner: "acme".into(),
            created,
            expires: created + KEPT,
            not_before: None,
            not_after: None,
            slots: vec![Slot::Own(own)],
            finish,
            details: OrderDetails::default(),
        };
        Ok((OrderId::new(created + KEPT, self.random()), order))
    }

    /// All that an issuance leaves behind; it was the `n`th of `of`.
    fn issuance(&self, batch: Batch, n: u64, of: u64) -> Result<Batch, BenchError> {
        let age = DAY.mul_f64(1.0 - (n as f64 + 1.0) / of as f64);
        let issued = self.now - age;
        let not_after = issued + DAY;
        let serial = Serial::new(not_after, self.random());
        let finish = Finish::Issued { serial, csr: self.random() };
        let (id, order) = self.order(n, issued, finish)?;
        let Slot::Own(proof) = &order.slots[0] else { return Err(failed("an order without its proof")) };
        let mut der = self.sample.der.clone();
        der[self.serial..][..Serial::LEN].copy_from_slice(serial.as_bytes());
        der[self.key..][..POINT].copy_from_slice(&self.random::<POINT>());
        let named = name(n);
        der[self.name..][..named.len()].copy_from_slice(named.as_bytes());
        for (place, at) in self.validity.into_iter().zip([issued - self.backdate, not_after]) {
            let text = utc_time(at);
            der[place..][..text.len()].copy_from_slice(&text);
        }
        let signature = der.len() - POINT;
        der[signature..].copy_from_slice(&self.random::<POINT>());
        let requester =
            Requester::Acme { provisioner: order.provisioner.clone(), account: order.account, order: id };
        let proved = Event::AuthorizationValid {
            account: order.account,
            order: id,
            identifier: proof.identifier.clone(),
            by: ChallengeKind::Http01,
        };
        let signed = Event::CertificateIssued { serial, requester: requester.clone() };
        let record = CertificateRecord { der, requester, issued, not_after, ..self.sample.clone() };
        let mut batch = batch
            .append(Table::Audit, AuditRecord { at: issued, event: proved, actor: None }.encode())
            .append(Table::Audit, AuditRecord { at: issued, event: signed, actor: None }.encode())
            .put(Table::Certificates, *serial.as_bytes(), record.encode());
        for row in inventory::rows_of_record(&serial, &record).map_err(failed)? {
            batch = batch.put(Table::CertificateIndex, row, Vec::new());
        }
        if id.purge() > self.now {
            let held = HeldAuthorization { order: id, index: 0, expires: proof.expires, subdomains: false };
            batch = batch.put(Table::Grants, held_row(order.account, &proof.identifier), held.encode()).put(
                Table::Orders,
                *id.as_bytes(),
                order.encode(),
            );
        }
        Ok(batch)
    }
}

/// A time as certificates have it (RFC 5280 §4.1.2.5.1).
fn utc_time(at: Timestamp) -> Vec<u8> {
    let at = at.to_utc();
    let [year, month, day] = [at.year() % 100, u8::from(at.month()).into(), at.day().into()];
    let [hour, minute, second] = [at.hour(), at.minute(), at.second()];
    format!("{year:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").into_bytes()
}

/// All of one length, to stand in the same place of the same certificate.
fn name(n: u64) -> String {
    format!("n{n:010}-host.fill.test")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{self, Backend};
    use crate::time::{Clock, SystemClock};

    #[tokio::test]
    async fn a_filled_store_reads_as_one_that_was_used() {
        let store = storage::open(Backend::Memory, std::path::Path::new("/x")).unwrap();
        let now = SystemClock.now();
        let plan = Plan { certificates: 400, expired_orders: 10 };
        run(&store, plan, now, &|_, _| ()).await.unwrap();
        let rows = store.scan(Table::Certificates, &[], None, 1000).await.unwrap();
        assert_eq!(rows.len(), 400);
        for (key, row) in rows {
            let record = CertificateRecord::decode(&row.value).unwrap();
            assert!(record.not_after >= now && record.issued <= now);
            let (rest, parsed) = x509_parser::parse_x509_certificate(&record.der).unwrap();
            assert!(rest.is_empty() && parsed.raw_serial() == key);
            let validity = [parsed.validity().not_before, parsed.validity().not_after];
            let [from, to] = validity.map(|time| u64::try_from(time.timestamp()).unwrap());
            assert_eq!((to, to - from), (record.not_after.as_secs(), 86_460));
        }
        let orders = store.scan(Table::Orders, &[], None, 1000).await.unwrap();
        let expired = orders.iter().filter(|(key, _)| OrderId::from_key(key).unwrap().purge() < now).count();
        assert_eq!(expired, 10);
        assert!((170..185).contains(&orders.len()), "{}: those of ten hours of a day", orders.len());
        for (_, row) in orders {
            Order::decode(&row.value).unwrap();
        }
        let state = store.get(Table::Meta, inventory::STATE_KEY).await.unwrap().unwrap();
        assert!(IndexState::decode(&state.value).unwrap().complete, "a start has nothing to index");
        let again = run(&store, plan, now, &|_, _| ()).await;
        assert!(matches!(again, Err(BenchError::Verdict(_))), "it is in use now: {again:?}");
    }
}
