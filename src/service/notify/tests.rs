use std::time::Duration;

use super::super::fleet::FleetCursor;
use super::super::stand::{self, Fault, HOUR, Stand, Step};
use super::super::tests::sweep::{account, issue, order, prove};
use super::*;
use crate::acme::identifier::Identifier;
use crate::fleet::notices::{Delivery, End, Terms};
use crate::fleet::{Cause, IdentityId, Trouble};
use crate::notify::{BoxFuture, Deliver, Failure};

/// A receiver that does as it is told, and keeps what it gets.
#[derive(Default)]
struct Inbox {
    got: Mutex<Vec<Notice>>,
    says: Mutex<Option<Failure>>,
}

impl Deliver for Inbox {
    fn at_once(&self) -> usize {
        2
    }

    fn deliver<'a>(&'a self, notices: &'a [Notice], _: Timestamp) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            if let Some(failure) = self.says.lock().unwrap().clone() {
                return Err(failure);
            }
            self.got.lock().unwrap().extend_from_slice(notices);
            Ok(())
        })
    }
}

impl Inbox {
    fn says(&self, delivery: Delivery, answered: bool) {
        *self.says.lock().unwrap() = Some(Failure { delivery, answered, reason: "scripted".into() });
    }

    fn works(&self) {
        *self.says.lock().unwrap() = None;
    }

    /// What came since this was last asked: what it is of, and why it ended.
    fn take(&self) -> Vec<(String, Option<End>)> {
        let shown = |notice: Notice| match notice {
            Notice::Alert(alert) => (alert.key.to_string(), alert.ended.map(|(_, why)| why)),
            Notice::Test => ("test".to_owned(), None),
        };
        self.got.lock().unwrap().drain(..).map(shown).collect()
    }
}

fn receiver(name: &str, inbox: &Arc<Inbox>) -> Receiver {
    let terms = Terms { repeat: 24 * HOUR, send_resolved: true, individual: 2 };
    let id = name.as_bytes().repeat(8)[..8].try_into().unwrap();
    let (name, deliver) = (name.to_owned(), inbox.clone());
    Receiver { name, kind: Kind::Webhook, origin: "http://127.0.0.1".into(), terms, id, deliver }
}

fn id(name: &str) -> IdentityId {
    IdentityId::of([Identifier::parse_dns(name).unwrap()].iter()).unwrap()
}

fn of(trouble: Trouble, name: &str) -> String {
    Key::Identity(trouble, id(name)).to_string()
}

async fn certify(stand: &Stand, name: &str) {
    let (account, names) = (account(stand).await, vec![name.to_owned()]);
    let order = order(stand, &account, &names).await;
    prove(stand, &account, &order).await;
    issue(stand, &account, &order, &names).await;
}

async fn read(stand: &Stand) {
    let mut cursor = FleetCursor::default();
    while stand.service.read_fleet(&mut cursor).await.unwrap() {}
}

async fn tell(stand: &Stand, receiver: &Receiver) {
    stand.service.fleet().advance(stand.service.now());
    while stand.service.tell(receiver).await.unwrap() {}
}

#[tokio::test]
async fn late_and_renewed_over_a_restart_and_with_the_receiver_away() {
    let mut stand = Stand::new().await;
    let inbox = Arc::new(Inbox::default());
    let receiver = receiver("a", &inbox);
    tell(&stand, &receiver).await;
    read(&stand).await;
    for name in ["a.test", "b.test", "c.test"] {
        certify(&stand, name).await;
    }
    stand.clock.advance(21 * HOUR);
    inbox.says(Delivery::NotSent, false);
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), []);
    certify(&stand, "c.test").await;
    inbox.works();
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), [], "it is given time");
    stand.clock.advance(Duration::from_secs(10));
    tell(&stand, &receiver).await;
    // Three were late at once and made a group; of that, two are left.
    assert_eq!(inbox.take(), [("overdue/group/silent/acme".to_owned(), None)]);
    stand.restart();
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), [], "nothing is known yet, so nothing has ended");
    read(&stand).await;
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), [], "it was told before the restart");
    certify(&stand, "a.test").await;
    certify(&stand, "b.test").await;
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), [("overdue/group/silent/acme".to_owned(), Some(End::Cleared))]);
    tell(&stand, &receiver).await;
    assert_eq!((inbox.take(), stand.rows(Table::Notices).await), (vec![], 0));
}

#[tokio::test]
async fn failures_are_told_with_their_cause_and_names() {
    let stand = Stand::new().await;
    let inbox = Arc::new(Inbox::default());
    let receiver = receiver("a", &inbox);
    read(&stand).await;
    certify(&stand, "a.test").await;
    stand.clock.advance(16 * HOUR);
    for _ in 0..24 {
        stand.script.next("a.test", Step::Say(stand::failed()));
    }
    for _ in 0..3 {
        let (account, names) = (account(&stand).await, vec!["a.test".to_owned()]);
        let order = order(&stand, &account, &names).await;
        prove(&stand, &account, &order).await;
    }
    for _ in 0..200 {
        tell(&stand, &receiver).await;
        if !inbox.got.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let got = inbox.got.lock().unwrap().clone();
    let [Notice::Alert(alert)] = got.as_slice() else { panic!("{got:?}") };
    assert_eq!(alert.key, Key::Identity(Trouble::Failing, id("a.test")));
    assert_eq!((alert.cause, alert.provisioner.as_str()), (Some(Cause::Content), "acme"));
    assert_eq!(alert.samples[0].names, ["a.test"]);
    assert!(alert.samples[0].account.is_some() && alert.samples[0].failures == [(Cause::Content, 3)]);
}

#[tokio::test]
async fn each_receiver_is_told_for_itself_and_one_that_is_gone_is_forgotten() {
    let stand = Stand::new().await;
    let (one, other) = (Arc::new(Inbox::default()), Arc::new(Inbox::default()));
    let (a, b) = (receiver("a", &one), receiver("b", &other));
    read(&stand).await;
    certify(&stand, "a.test").await;
    stand.clock.advance(21 * HOUR);
    one.says(Delivery::Uncertain, true);
    tell(&stand, &a).await;
    tell(&stand, &b).await;
    assert_eq!(other.take(), [(of(Trouble::Overdue, "a.test"), None)]);
    assert_eq!(one.take(), []);
    assert_eq!(stand.rows(Table::Notices).await, 2);
    certify(&stand, "a.test").await;
    one.works();
    stand.clock.advance(Duration::from_secs(10));
    tell(&stand, &a).await;
    // It may have taken it in, so it hears of the end.
    assert_eq!(one.take(), [(of(Trouble::Overdue, "a.test"), Some(End::Renewed))]);
    stand.service.forget_receivers().await.unwrap();
    assert_eq!(stand.rows(Table::Notices).await, 0);
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_written_down() {
    let stand = Stand::new().await;
    let inbox = Arc::new(Inbox::default());
    let receiver = receiver("a", &inbox);
    read(&stand).await;
    certify(&stand, "a.test").await;
    stand.clock.advance(21 * HOUR);
    stand.service.fleet().advance(stand.service.now());
    stand.store.fail(0, Fault::Busy);
    assert!(stand.service.tell(&receiver).await.is_err());
    assert_eq!(inbox.take(), []);
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take().len(), 1);
    assert_eq!(stand.rows(Table::Notices).await, 1);
}

/// Which keeps everybody from renewing.
#[tokio::test]
async fn a_full_disk_keeps_nobody_from_hearing() {
    let stand = Stand::new().await;
    let inbox = Arc::new(Inbox::default());
    let receiver = receiver("a", &inbox);
    read(&stand).await;
    certify(&stand, "a.test").await;
    stand.clock.advance(21 * HOUR);
    stand.service.fleet().advance(stand.service.now());
    stand.store.fail(0, Fault::NoSpace);
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take().len(), 1);
    // Room again.
    assert_eq!(stand.rows(Table::Notices).await, 1);
    tell(&stand, &receiver).await;
    assert_eq!(inbox.take(), []);
}

#[tokio::test]
async fn a_test_reaches_every_receiver_in_force() {
    let stand = Stand::new().await;
    let (one, other) = (Arc::new(Inbox::default()), Arc::new(Inbox::default()));
    other.says(Delivery::NotSent, false);
    stand.tells([receiver("a", &one), receiver("b", &other)]);
    let tested = stand.service.test_receivers().await;
    let shown: Vec<_> = tested.iter().map(|one| (one.name.as_str(), one.failure.as_deref())).collect();
    assert_eq!(shown, [("a", None), ("b", Some("scripted"))]);
    assert_eq!(one.take(), [("test".to_owned(), None)]);
}
