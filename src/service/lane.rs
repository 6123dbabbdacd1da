//! Slow signatures take turns, by key: a token or a KMS that hangs keeps its own lane's few threads, and
//! leaves those that other keys and the store work on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Error;
use crate::authority::issuer::Issuer;
use crate::telemetry::trace;
use crate::x509::key_hash::KeyHash;

/// Signatures of one key at once. A token has eight sessions: as many again wait for one, so that none
/// is idle; and 30 keys fit into the runtime's 512 threads for blocking work.
const AT_ONCE: usize = 16;

/// How long a signature waits for its turn, and how long it is waited for: longer than a token takes to
/// be started anew, and than all attempts of one request to a KMS.
const TURN: Duration = Duration::from_secs(5);
const WORK: Duration = Duration::from_secs(30);

/// The lane of one key.
pub(super) struct Lane {
    signatures: Arc<Semaphore>,
    /// Looks at whether the key is there: one at a time, and not behind the queue.
    probes: Arc<Semaphore>,
    turn: Duration,
    work: Duration,
}

/// What a lane is entered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A certificate.
    Signature,
    /// A look at whether the key is there.
    Probe,
}

impl Lane {
    fn new(at_once: usize, turn: Duration, work: Duration) -> Self {
        let signatures = Arc::new(Semaphore::new(at_once));
        Self { signatures, probes: Arc::new(Semaphore::new(1)), turn, work }
    }

    /// The lane of an issuer's key, the same for all that sign with it, before a reload and after.
    pub(super) fn of(issuer: &Issuer) -> Arc<Self> {
        static LANES: Mutex<BTreeMap<KeyHash, Weak<Lane>>> = Mutex::new(BTreeMap::new());
        let key = KeyHash::of(issuer.signer().public_key().der());
        let mut lanes = LANES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&key).and_then(Weak::upgrade) {
            return lane;
        }
        // Those that nobody is in any more.
        lanes.retain(|_, lane| lane.strong_count() > 0);
        let lane = Arc::new(Self::new(AT_ONCE, TURN, WORK));
        lanes.insert(key, Arc::downgrade(&lane));
        lane
    }

    /// Does blocking work when its turn comes. Work that is no longer waited for goes on, keeps its
    /// place until it ends, and its result is dropped.
    pub(super) async fn run<T: Send + 'static>(
        self: Arc<Self>,
        what: For,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let places = match what {
            For::Signature => &self.signatures,
            For::Probe => &self.probes,
        };
        let place = tokio::time::timeout(self.turn, places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Error::Busy("the signing key has more to do than it can, or does not answer"));
        };
        let lane = self.clone();
        // In a box: what runs it is compiled for every type.
        let work: Box<dyn FnOnce() -> T + Send> = Box::new(work);
        let working = tokio::task::spawn_blocking(trace::carried_over(move || {
            let done = work();
            drop((place, lane));
            done
        }));
        match tokio::time::timeout(self.work, working).await {
            Ok(done) => done.map_err(|error| Error::Internal(format!("the signing task failed: {error}"))),
            Err(_) => Err(Error::Busy("the signing key does not answer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    fn hung(lane: &Arc<Lane>, what: For) -> (tokio::task::JoinHandle<Result<(), Error>>, Sender<()>) {
        let (tell, told) = channel();
        let work = move || {
            let _ = told.recv();
        };
        (tokio::spawn(lane.clone().run(what, work)), tell)
    }

    #[tokio::test]
    async fn a_key_that_hangs_keeps_few_threads_and_nobody_waiting_for_ever() {
        let lane = Arc::new(Lane::new(2, Duration::from_millis(50), Duration::from_millis(200)));
        let hanging = [hung(&lane, For::Signature), hung(&lane, For::Signature)];
        tokio::task::yield_now().await;
        let third = lane.clone().run(For::Signature, || unreachable!("no place")).await;
        assert!(matches!(third, Err::<(), _>(Error::Busy(_))));
        // Whether the key is there is asked beside the queue, once.
        assert!(lane.clone().run(For::Probe, || ()).await.is_ok());
        let probe = hung(&lane, For::Probe);
        tokio::task::yield_now().await;
        assert!(matches!(lane.clone().run(For::Probe, || ()).await, Err(Error::Busy(_))));

        let mut held = vec![probe.1];
        for (waiting, tell) in hanging {
            assert!(matches!(waiting.await.unwrap(), Err(Error::Busy(_))), "given up waiting");
            held.push(tell);
        }
        let still = lane.clone().run(For::Signature, || ()).await;
        assert!(matches!(still, Err(Error::Busy(_))), "their places are taken until they end");
        drop(held);
        assert!(lane.clone().run(For::Signature, || ()).await.is_ok());
    }
}
