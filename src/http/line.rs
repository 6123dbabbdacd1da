//! The lines in which requests wait for their beginning, one for each worker.
//!
//! A worker's tasks take turns. Where requests come faster than they are done, each step of one would wait
//! for a step of all the others: who needs many steps, as a validation does, would be the slowest by far. So
//! a signed request is begun when what the worker had to go on with has gone on: a round. Few are under way
//! then, which are quick, and the wait is before the beginning: less for those that have more to wait for
//! behind it ([`Then`]). Who sends what need not stand in line, or handshakes, makes rounds long; more than
//! one is begun in a long one, so that nobody keeps the signed ones out.
//!
//! What else runs on the machine can hold one worker up for long. A request goes to another one where its
//! wait is shorter, although each crossing costs some system calls.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::telemetry::metrics::vocabulary::Stage;

/// By how much the wait must be shorter elsewhere.
const WORTH: Duration = Duration::from_millis(4);
/// Where rounds take so long, and each time as long again, one more request begins in each.
const ROUND: Duration = Duration::from_millis(1);
/// Of how many rounds their length is the average, about: that a worker is held up for a moment is no reason
/// to begin many at once.
const AVERAGE_OF: u64 = 32;
/// The least that one turn counts: of a line that nobody has stood in it is not known how quick it is.
const TURN: Duration = Duration::from_micros(100);

thread_local! {
    static HERE: OnceCell<Arc<Line>> = const { OnceCell::new() };
}

/// What a request has before it once it is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing to wait for, as a rule.
    Answer,
    /// A commit.
    Commit,
    /// Somebody else's answer, and a commit.
    Validation,
}

impl Then {
    /// How much later than a validation it may begin that comes at the same time: so much less is behind it,
    /// with as many under way as two cores bear.
    const fn patience(self) -> Duration {
        Duration::from_millis(match self {
            Self::Answer => 21,
            Self::Commit => 15,
            Self::Validation => 0,
        })
    }
}

/// One worker's line.
pub(super) struct Line {
    runtime: Handle,
    queue: Mutex<Queue>,
    /// That the line is no longer free.
    taken: Notify,
    /// As many as are in the queue, for others to look at.
    waiting: AtomicUsize,
    /// On their way from another worker.
    coming: AtomicUsize,
    /// Nanoseconds of a round, on the average.
    round: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// Those who wait, by when they are to begin, and as they came.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
    come: u64,
    /// This round's turn is given; without that, who comes may begin at once.
    given: bool,
}

impl Line {
    /// The line of a runtime, which is to drive it.
    pub(super) fn of(runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            queue: Mutex::default(),
            taken: Notify::new(),
            waiting: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            round: AtomicU64::new(0),
        })
    }

    /// Gives turns on the calling thread, some in each round, for as long as somebody wants one.
    pub(super) async fn drive(self: Arc<Self>) {
        // A thread has one runtime, and so one line.
        HERE.with(|here| drop(here.set(self.clone())));
        loop {
            if !self.queue().given {
                self.taken.notified().await;
            }
            let begun = Instant::now();
            behind_the_others().await;
            self.next_round(begun.elapsed());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Behind a round of that length: the next one's turns go to the first.
    fn next_round(&self, round: Duration) {
        let round = u64::try_from(round.as_nanos()).unwrap_or(u64::MAX);
        let average = self.round.load(Ordering::Relaxed);
        self.round.store(average - average / AVERAGE_OF + round / AVERAGE_OF, Ordering::Relaxed);
        let turns = self.turns();
        let mut queue = self.queue();
        let mut given = 0;
        while given < turns
            && let Some((_, first)) = queue.waiting.pop_first()
        {
            // One that waits no more, as its runtime ends, leaves its turn to the next.
            given += u32::from(first.send(()).is_ok());
        }
        queue.given = given > 0;
        self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
    }

    fn round(&self) -> Duration {
        Duration::from_nanos(self.round.load(Ordering::Relaxed))
    }

    /// Turns of a round.
    fn turns(&self) -> u32 {
        u32::try_from(self.round().as_nanos() / ROUND.as_nanos()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// How long one that comes now will wait.
    fn wait(&self) -> Duration {
        let line = self.waiting.load(Ordering::Relaxed) + self.coming.load(Ordering::Relaxed);
        let turn = (self.round() / self.turns()).max(TURN);
        turn.saturating_mul(u32::try_from(line).unwrap_or(u32::MAX))
    }

    async fn turn(&self, then: Then) {
        let turn = {
            let mut queue = self.queue();
            if !std::mem::replace(&mut queue.given, true) {
                self.taken.notify_one();
                return;
            }
            let (give, turn) = oneshot::channel();
            queue.come += 1;
            let place = (Instant::now() + then.patience(), queue.come);
            queue.waiting.insert(place, give);
            self.waiting.store(queue.waiting.len(), Ordering::Relaxed);
            turn
        };
        // Its other end is in this line, and goes only when the turn has come.
        let _ = Stage::Queue.follow(turn).await;
    }
}

/// Waits until it is a request's turn to begin; on a thread that drives no line, not at all.
pub(super) async fn turn(then: Then) {
    let line = HERE.with(|here| here.get().cloned());
    if let Some(line) = line {
        line.turn(then).await;
    }
}

/// The lines of all workers.
#[derive(Clone)]
pub(super) struct Lines(Arc<[Arc<Line>]>);

impl Lines {
    /// All there are.
    pub(super) fn new(lines: impl IntoIterator<Item = Arc<Line>>) -> Self {
        Self(lines.into_iter().collect())
    }

    /// Runs a request in a task of its own: on this worker, unless the wait is shorter on another.
    pub(super) fn run<F>(&self, request: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let own = HERE.with(|here| here.get().map_or(Duration::ZERO, |line| line.wait()));
        match shorter(own, self.0.iter().map(|line| line.wait())) {
            None => tokio::spawn(request),
            Some(place) => {
                let coming = Coming::to(self.0[place].clone());
                let runtime = coming.0.runtime.clone();
                runtime.spawn(async move {
                    drop(coming);
                    request.await
                })
            }
        }
    }
}

/// Which of these waits is the shortest, if it is worth a crossing.
fn shorter(own: Duration, waits: impl Iterator<Item = Duration>) -> Option<usize> {
    let least = own.checked_sub(WORTH)?;
    let (place, wait) = waits.enumerate().min_by_key(|(_, wait)| *wait)?;
    (wait < least).then_some(place)
}

/// One on its way to a line, until it is dropped.
struct Coming(Arc<Line>);

impl Coming {
    fn to(line: Arc<Line>) -> Self {
        line.coming.fetch_add(1, Ordering::Relaxed);
        Self(line)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Goes to the end of the runtime's queue. The runtime's own way also looks for new input each time, which
/// is a system call.
async fn behind_the_others() {
    let mut been = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut been, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
impl Lines {
    /// No turn is given until [`Lines::release`].
    pub(super) fn hold(&self) {
        self.0.iter().for_each(|line| line.queue().given = true);
    }

    pub(super) fn release(&self) {
        self.0.iter().for_each(|line| line.taken.notify_one());
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.iter().map(|line| line.queue().waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn driven() -> Arc<Line> {
        let line = Line::of(Handle::current());
        tokio::spawn(line.clone().drive());
        line
    }

    /// What is begun and what goes on, in the order in which it does.
    type Done = Arc<Mutex<Vec<&'static str>>>;

    fn done(done: &Done) -> Vec<&'static str> {
        done.lock().unwrap().clone()
    }

    fn request(to: &Done, then: Then, name: &'static str) -> JoinHandle<()> {
        let to = to.clone();
        tokio::spawn(async move {
            turn(then).await;
            to.lock().unwrap().push(name);
            behind_the_others().await;
            to.lock().unwrap().push("goes on");
        })
    }

    #[tokio::test(start_paused = true)]
    async fn one_begins_when_the_others_have_gone_on() {
        driven();
        tokio::task::yield_now().await;
        let to = Done::default();
        let answers = [Then::Answer; 4].map(|then| request(&to, then, "begins"));
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(done(&to), ["begins", "goes on"].repeat(4));
        // Only where nobody has anything to do does this time pass: also the line.
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }

    #[test]
    fn more_begin_where_rounds_are_long() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let line = Line::of(runtime.handle().clone());
        let mut receivers = Vec::new();
        for n in 0..12 {
            let (give, turn) = oneshot::channel();
            line.queue().waiting.insert((Instant::now(), n), give);
            receivers.push(turn);
        }
        let mut begun = |average: Duration, round| {
            line.round.store(average.as_nanos() as u64, Ordering::Relaxed);
            line.next_round(round);
            receivers.extract_if(.., |turn| turn.try_recv().is_ok()).count()
        };
        assert_eq!(begun(Duration::ZERO, Duration::ZERO), 1);
        // One is an accident.
        assert_eq!(begun(Duration::ZERO, 20 * ROUND), 1);
        assert_eq!(begun(ROUND, ROUND), 2);
        assert_eq!(begun(4 * ROUND, 4 * ROUND), 5);
        assert!(line.queue().given);
        assert_eq!(begun(Duration::from_secs(1 << 33), Duration::from_secs(1 << 40)), 3);
        assert_eq!(begun(Duration::ZERO, Duration::ZERO), 0);
        assert!(!line.queue().given, "nobody waits");
    }

    #[tokio::test]
    async fn what_stands_in_no_line_keeps_nobody_from_its_turn() {
        driven();
        let busy: Vec<_> = (0..100)
            .map(|_| {
                tokio::spawn(async {
                    loop {
                        std::thread::sleep(Duration::from_micros(50));
                        behind_the_others().await;
                    }
                })
            })
            .collect();
        let rounds = Arc::new(AtomicU64::new(0));
        let count = rounds.clone();
        let counting = tokio::spawn(async move {
            loop {
                count.fetch_add(1, Ordering::Relaxed);
                behind_the_others().await;
            }
        });
        let waiting: Vec<_> = (0..400).map(|_| tokio::spawn(turn(Then::Commit))).collect();
        for one in waiting {
            one.await.unwrap();
        }
        counting.abort();
        let rounds = rounds.load(Ordering::Relaxed);
        assert!(rounds < 300, "{rounds} rounds");
        busy.iter().for_each(JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_more_to_wait_for_begins_sooner_and_nobody_is_passed_for_ever() {
        let line = Line::of(Handle::current());
        HERE.with(|here| drop(here.set(line.clone())));
        line.queue().given = true;
        let to = Done::default();
        let mut requests = vec![
            request(&to, Then::Answer, "third"),
            request(&to, Then::Answer, "given up"),
            request(&to, Then::Answer, "fourth"),
            request(&to, Then::Commit, "second"),
            request(&to, Then::Validation, "first"),
        ];
        tokio::task::yield_now().await;
        requests.remove(1).abort();
        tokio::time::advance(Then::Answer.patience() + Duration::from_millis(1)).await;
        requests.push(request(&to, Then::Validation, "late"));
        tokio::task::yield_now().await;
        assert_eq!((line.queue().waiting.len(), done(&to).len()), (6, 0));
        tokio::spawn(line.drive());
        for request in requests {
            request.await.unwrap();
        }
        let begun: Vec<_> = done(&to).into_iter().filter(|it| *it != "goes on").collect();
        assert_eq!(begun, ["first", "second", "third", "fourth", "late"]);
    }

    #[tokio::test]
    async fn where_nobody_drives_a_line_nobody_waits() {
        turn(Then::Answer).await;
        turn(Then::Answer).await;
    }

    #[test]
    fn a_wait_is_left_for_one_that_is_much_shorter() {
        let ms = Duration::from_millis;
        for (own, waits, want) in [
            (0, &[0, 0][..], None),
            (4, &[4, 0], None),
            (5, &[5, 0], Some(1)),
            (5, &[5, 1], None),
            (50, &[50, 40, 30], Some(2)),
            (50, &[], None),
            (0, &[50], None),
        ] {
            assert_eq!(shorter(ms(own), waits.iter().map(|wait| ms(*wait))), want, "{own} {waits:?}");
        }
    }

    #[tokio::test]
    async fn a_request_goes_where_the_line_is_shorter() {
        let here = driven();
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let line = Line::of(runtime.handle().clone());
            tell.send(line.clone()).unwrap();
            runtime.block_on(async move {
                tokio::spawn(line.drive());
                let _ = stopped.await;
            });
        });
        let there = told.recv().unwrap();
        tokio::task::yield_now().await;
        let lines = Lines::new([here.clone(), there.clone()]);
        let own = std::thread::current().id();
        let place = || async {
            turn(Then::Answer).await;
            std::thread::current().id()
        };
        assert_eq!(lines.run(place()).await.unwrap(), own);
        here.round.store(900_000, Ordering::Relaxed);
        let crowd: Vec<_> = (0..10).map(|_| Coming::to(here.clone())).collect();
        assert_eq!(lines.run(place()).await.unwrap(), other.thread().id());
        // Of a line that nobody has stood in yet it is not known how quick it is.
        let many: Vec<_> = (0..60).map(|_| Coming::to(there.clone())).collect();
        assert_eq!(lines.run(place()).await.unwrap(), own, "it would be no shorter");
        drop((crowd, many));
        assert_eq!((here.wait(), there.wait()), (Duration::ZERO, Duration::ZERO));
        stop.send(()).unwrap();
        other.join().unwrap();
    }
}
