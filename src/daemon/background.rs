//! What goes on beside the requests: each task for itself, and started again if it panics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::{Id, JoinSet};

use crate::acme::identifier::Identifier;
use crate::authority::authorities::{Expiring, Kind};
use crate::config::settings::Store;
use crate::http::tls::OwnCertificate;
use crate::notify::{Receiver, ReceiverId};
use crate::service::Service;
use crate::service::campaigns::EnrolCursor;
use crate::service::fleet::FleetCursor;
use crate::service::star::RenewalCursor;
use crate::service::sweep::Cursors;
use crate::storage::BoxFuture;
use crate::telemetry::trace::Span;
use crate::time::Timestamp;

/// Between a panic and the next start: a task that panics at once shall not spin.
const PAUSE: Duration = Duration::from_secs(5);
/// After a sweep that found nothing more.
const IDLE: Duration = Duration::from_secs(10);
/// After one that did, so that requests go first.
const BUSY: Duration = Duration::from_millis(20);
/// Between two walks over all accounts.
const ACCOUNTS: Duration = Duration::from_secs(3600);

/// Starts them all; dropping the set ends them.
pub(super) fn start(
    service: &Arc<Service>,
    own: Arc<OwnCertificate>,
    names: Vec<Identifier>,
    renew_at: Timestamp,
    store: &Store,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let started = service.now();
    let (retention, account_retention) = (store.retention, store.account_retention);
    // Over a panic too: a certificate that was renewed is not renewed again at once.
    let due = Arc::new(Mutex::new(renew_at));
    let it = service.clone();
    tasks.spawn(supervised("renewal of the server's own certificate", PAUSE, move || {
        renew_own(it.clone(), own.clone(), names.clone(), due.clone())
    }));
    let it = service.clone();
    tasks.spawn(supervised("automatic renewals", PAUSE, move || renew_orders(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("sweep", PAUSE, move || sweep(it.clone(), retention)));
    let it = service.clone();
    tasks
        .spawn(supervised("sweep of accounts", PAUSE, move || sweep_accounts(it.clone(), account_retention)));
    let it = service.clone();
    tasks.spawn(supervised("certificate index", PAUSE, move || build_index(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("reading of the inventory", PAUSE, move || read_inventory(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("watch over the CA certificates", PAUSE, move || watch_issuers(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("change of issuers", PAUSE, move || note_issuers(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("fleet", PAUSE, move || watch_fleet(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("campaigns", PAUSE, move || follow_campaigns(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("notifications", PAUSE, move || notify(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("record of refusals", PAUSE, move || keep_refused(it.clone())));
    let it = service.clone();
    tasks.spawn(supervised("resumption of work cut short", PAUSE, move || resume(it.clone(), started)));
    tasks
}

/// Runs a task to its end, as often as it takes: a panic is told of, and the task begins anew.
fn supervised<F>(
    name: &'static str,
    pause: Duration,
    task: impl Fn() -> F + Send + 'static,
) -> BoxFuture<'static, ()>
where
    F: Future<Output = ()> + Send + 'static,
{
    // In boxes, so that what watches over a task is compiled once, not for every one.
    Box::pin(watched(name, pause, Box::new(move || Box::pin(task()))))
}

async fn watched(name: &'static str, pause: Duration, task: Box<dyn Fn() -> BoxFuture<'static, ()> + Send>) {
    loop {
        // A set, because it takes its task along when it is dropped.
        let mut one = JoinSet::new();
        one.spawn(task());
        match one.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(task = name, %error, "a background task has panicked; it is started again");
            }
            // Done, or stopped with the process.
            Some(Ok(()) | Err(_)) | None => return,
        }
        tokio::time::sleep(pause).await;
    }
}

/// Notes when an authority signs with another issuer than before: after a start or a reload.
async fn note_issuers(service: Arc<Service>) {
    const STEP: Duration = Duration::from_secs(5);
    loop {
        if let Err(error) = service.note_issuers().await {
            tracing::warn!(%error, "a change of issuers could not be noted; trying on");
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Issues the next certificates of orders that are renewed automatically, in bounded steps. A short
/// pause costs one read of the head of a table, and it bounds by how much a renewal is late.
async fn renew_orders(service: Arc<Service>) {
    const IDLE: Duration = Duration::from_secs(1);
    const FAILED: Duration = Duration::from_secs(5);
    let mut cursor = RenewalCursor::default();
    loop {
        let pause = match service.renew_due(&mut cursor).await {
            Ok(renewed) if renewed.more => BUSY,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "automatic renewals failed; trying on");
                FAILED
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Renews the listener's certificate at two thirds of its life, and when another issuer signs.
async fn renew_own(
    service: Arc<Service>,
    own: Arc<OwnCertificate>,
    names: Vec<Identifier>,
    due: Arc<Mutex<Timestamp>>,
) {
    // Short steps: another issuer, a machine that slept, or a clock that was set, is noticed soon.
    const STEP: Duration = Duration::from_secs(2);
    const FAILED: Duration = Duration::from_secs(30);
    let signing = || *service.live().own.issuer().key_id();
    let mut under = signing();
    loop {
        tokio::time::sleep(STEP).await;
        let issuer = signing();
        if service.now() < *due.lock().unwrap_or_else(PoisonError::into_inner) && issuer == under {
            continue;
        }
        match own.renew(&service, &names).await {
            Ok(next) => {
                tracing::info!(next = %next, "the server's own certificate was renewed");
                *due.lock().unwrap_or_else(PoisonError::into_inner) = next;
                under = issuer;
            }
            Err(error) => {
                tracing::error!(%error, "the server's own certificate was not renewed; trying on");
                tokio::time::sleep(FAILED).await;
            }
        }
    }
}

/// Sweeps in bounded steps, with pauses so that requests go first.
async fn sweep(service: Arc<Service>, retention: Duration) {
    let mut cursors = Cursors::default();
    loop {
        let span = Span::of_background("sweep");
        let swept = span.work().within(service.sweep(&mut cursors, retention)).await;
        match &swept {
            Ok(swept) if swept.deleted == 0 => span.forget(),
            Ok(swept) => span.number("mayfly.rows", swept.deleted as u64),
            Err(_) => span.fail(),
        }
        let pause = match swept {
            Ok(swept) if swept.more => BUSY,
            Ok(_) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "sweeping expired data failed; trying on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Walks over all accounts, now and then, and removes those that nobody uses.
async fn sweep_accounts(service: Arc<Service>, retention: Duration) {
    let mut cursor = None;
    loop {
        let pause = match service.sweep_accounts(&mut cursor, retention).await {
            Ok(swept) if swept.more => BUSY,
            Ok(_) => ACCOUNTS,
            Err(error) => {
                tracing::warn!(%error, "sweeping unused accounts failed; trying on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Gives certificates from before there was an index their rows, once, so slowly that requests go first.
async fn build_index(service: Arc<Service>) {
    loop {
        let pause = match service.build_index().await {
            Ok(true) => BUSY,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "indexing certificates failed; trying on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Reads the inventory once, step by step, so that requests go first: who is to renew when, and how many
/// live certificates each issuer has.
async fn read_inventory(service: Arc<Service>) {
    const STEP: Duration = Duration::from_millis(2);
    let mut cursor = FleetCursor::counting(service.begin_count());
    read_fleet(&service, &mut cursor).await;
    // Behind a certificate that does not read there is no number, until it is mended or swept.
    let mut left = cursor.uncounted().map(<[u8]>::to_vec);
    while let Some(after) = left.take() {
        let pause = match service.count_leaves(&after).await {
            Ok(next) => {
                left = next;
                STEP
            }
            Err(error) => {
                tracing::error!(%error, "the live certificates of each issuer cannot be counted; trying on");
                left = Some(after);
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Reads who is to renew when.
async fn read_fleet(service: &Service, cursor: &mut FleetCursor) {
    const STEP: Duration = Duration::from_millis(2);
    loop {
        let pause = match service.read_fleet(cursor).await {
            Ok(true) => STEP,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "reading the inventory failed; trying on");
                IDLE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Warns of CA certificates that are about to end: at the start, and once a day.
async fn watch_issuers(service: Arc<Service>) {
    const DAY: Duration = Duration::from_secs(86_400);
    loop {
        let now = service.now();
        for authority in service.live().authorities.iter() {
            for Expiring { kind, subject, not_after } in authority.expiring(now) {
                let what = match kind {
                    Kind::Chain => "an issuer, or a certificate above it",
                    Kind::Root => "a root",
                };
                let name = authority.name();
                if not_after <= now {
                    tracing::error!(authority = %name, subject, %not_after, "{what} has expired: replace it");
                } else {
                    tracing::warn!(
                        authority = %name, subject, %not_after,
                        "{what} is about to expire: replace it; nothing is issued beyond its end"
                    );
                }
            }
        }
        tokio::time::sleep(DAY).await;
    }
}

/// Tells of whoever is late, to the minute, once the inventory has been read.
async fn watch_fleet(service: Arc<Service>) {
    const STEP: Duration = Duration::from_secs(5);
    loop {
        tokio::time::sleep(STEP).await;
        service.fleet().advance(service.now());
        if service.fleet().is_to_be_read() {
            read_fleet(&service, &mut FleetCursor::default()).await;
        }
        if let Err(error) = service.tell_changes().await {
            tracing::warn!(%error, "retired identities that are gone could not be forgotten");
        }
    }
}

/// Finds out whom campaigns call, so slowly that requests go first.
async fn follow_campaigns(service: Arc<Service>) {
    const IDLE: Duration = Duration::from_secs(1);
    const FAILED: Duration = Duration::from_secs(10);
    let mut cursor = EnrolCursor::default();
    loop {
        let pause = match service.follow_campaigns(&mut cursor).await {
            Ok(true) => Duration::from_millis(2),
            Ok(false) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "a campaign could not be followed; trying on");
                FAILED
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Tells the receivers what is wrong in the fleet: each by itself, so that none waits for another.
async fn notify(service: Arc<Service>) {
    const STEP: Duration = Duration::from_secs(2);
    let mut rounds: JoinSet<()> = JoinSet::new();
    let mut telling: HashMap<ReceiverId, Id> = HashMap::new();
    let mut kept: Option<Vec<ReceiverId>> = None;
    loop {
        while let Some(ended) = rounds.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => {
                    tracing::error!(%error, "a round of notifications broke off");
                    error.id()
                }
            };
            telling.retain(|_, round| *round != id);
        }
        let receivers = service.live().receivers.clone();
        let ids: Vec<ReceiverId> = receivers.iter().map(|receiver| receiver.id).collect();
        if kept.as_ref() != Some(&ids) && telling.keys().all(|id| ids.contains(id)) {
            match service.forget_receivers().await {
                Ok(()) => kept = Some(ids),
                Err(error) => tracing::warn!(%error, "what former receivers were told is not removed yet"),
            }
        }
        for receiver in receivers {
            let (id, service) = (receiver.id, service.clone());
            telling.entry(id).or_insert_with(|| rounds.spawn(tell(service, receiver)).id());
        }
        tokio::time::sleep(STEP).await;
    }
}

/// One receiver, until it knows all that it is to know now.
async fn tell(service: Arc<Service>, receiver: Arc<Receiver>) {
    loop {
        match service.tell(&receiver).await {
            Ok(true) => tokio::task::yield_now().await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(receiver = receiver.name, %error, "a receiver could not be told; trying on");
                return;
            }
        }
    }
}

/// Writes what was refused, once a second: the answers do not wait for it.
async fn keep_refused(service: Arc<Service>) {
    const STEP: Duration = Duration::from_secs(1);
    loop {
        if let Err(error) = service.keep_refused(false).await {
            tracing::warn!(%error, "refused requests could not be recorded; trying on");
            tokio::time::sleep(IDLE).await;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Goes on with what the last process left.
async fn resume(service: Arc<Service>, started: Timestamp) {
    let resumed = service.resume(started).await;
    tracing::info!(
        open_orders = resumed.open,
        validations = resumed.validations,
        finalizations = resumed.finalizations,
        "work of the last run was taken up"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_not_the_end() {
        let runs = Arc::new(AtomicUsize::new(0));
        let count = runs.clone();
        supervised("test", Duration::from_millis(1), move || {
            let count = count.clone();
            async move {
                let run = count.fetch_add(1, Ordering::SeqCst);
                assert!(run >= 2, "scripted");
            }
        })
        .await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn dropping_the_supervisor_ends_the_task() {
        let held = Arc::new(());
        let mine = held.clone();
        let supervisor = tokio::spawn(supervised("test", PAUSE, move || {
            let mine = mine.clone();
            async move {
                std::future::pending::<()>().await;
                drop(mine);
            }
        }));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(Arc::strong_count(&held) > 1);
        supervisor.abort();
        let _ = supervisor.await;
        for _ in 0..100 {
            if Arc::strong_count(&held) == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the task is still there");
    }
}
