use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::fleet::Issuance;

const START: Timestamp = Timestamp::from_secs(1_793_318_400);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const TERMS: Terms = Terms { repeat: Duration::from_secs(86_400), send_resolved: true, individual: 3 };

fn id(n: u8) -> IdentityId {
    IdentityId([n; IdentityId::LEN])
}

/// A fleet, its clock, and one receiver.
struct Stand {
    fleet: Fleet,
    issued: Vec<Issuance>,
    retired: Vec<(u8, Timestamp)>,
    now: Timestamp,
    serials: u8,
    terms: Terms,
    ledger: Ledger,
    /// What is written down.
    rows: BTreeMap<Key, Alert>,
}

impl Stand {
    fn new() -> Self {
        let (fleet, ledger) = (Fleet::default(), Ledger::default());
        let (issued, retired) = (Vec::new(), Vec::new());
        let mut stand = Self {
            fleet,
            issued,
            retired,
            now: START,
            serials: 0,
            terms: TERMS,
            ledger,
            rows: BTreeMap::new(),
        };
        stand.pass(Duration::ZERO);
        stand
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.fleet.advance(self.now, &mut |_| ());
    }

    fn issue(&mut self, n: u8, provisioner: u16) {
        self.serials = self.serials.wrapping_add(1);
        let not_after = self.now + 24 * HOUR;
        let issuance = Issuance {
            identity: id(n),
            serial: Serial::new(not_after, [self.serials; 16]),
            issued: self.now,
            not_before: self.now - MINUTE,
            not_after,
            revoked: false,
            automatic: false,
            provisioner,
        };
        self.fleet.learn(&issuance, &mut |_| ());
        self.issued.push(issuance);
    }

    fn fail(&mut self, n: u8, cause: Cause) {
        self.fleet.failed(&id(n), cause, self.now, &mut |_| ());
    }

    fn retire(&mut self, n: u8) {
        let _ = self.fleet.retire(&id(n), self.now, &mut |_| ());
        self.retired.push((n, self.now));
    }

    fn reconcile(&mut self) {
        let name = |number: u16| format!("p{number}");
        self.ledger.reconcile(&self.fleet, &name, &self.terms, self.now);
    }

    /// What is due, as text.
    fn due(&mut self) -> Vec<String> {
        self.reconcile();
        let shown = |ledger: &Ledger, key: &Key| {
            let alert = &ledger.entries[key].alert;
            match alert.ended {
                Some((_, why)) => format!("{} {}", alert.key, why.name()),
                None => format!("{} {}", alert.key, alert.identities),
            }
        };
        self.ledger.due(&self.terms, self.now).iter().map(|key| shown(&self.ledger, key)).collect()
    }

    /// Sends one; `None` is acknowledged.
    fn send(&mut self, key: &Key, delivery: Option<Delivery>) -> Alert {
        let samples = self.ledger.current(key).iter().map(Sample::of).collect();
        let sent = self.ledger.prepare(key, samples).unwrap();
        self.write();
        self.settle(&sent, delivery);
        sent.alert
    }

    fn settle(&mut self, sent: &Prepared, delivery: Option<Delivery>) {
        match delivery {
            None => self.ledger.acknowledge(sent, &self.terms, self.now),
            Some(delivery) => self.ledger.refuse(sent, delivery, None, self.now),
        }
        self.write();
    }

    /// Delivers what is due.
    fn deliver(&mut self) -> Vec<String> {
        let shown = self.due();
        for key in self.ledger.due(&self.terms, self.now) {
            self.send(&key, None);
        }
        self.write();
        shown
    }

    fn write(&mut self) {
        for (key, alert) in self.ledger.take_unwritten() {
            match alert {
                Some(alert) => self.rows.insert(key, alert),
                None => self.rows.remove(&key),
            };
        }
    }

    /// The process starts anew, and the fleet is read back: all but what failed.
    fn restart(&mut self) {
        self.ledger = Ledger::restored(self.rows.values().cloned());
        self.fleet = Fleet::default();
        self.pass(Duration::ZERO);
        self.issued.iter().for_each(|issuance| self.fleet.learn(issuance, &mut |_| ()));
        for (n, at) in &self.retired {
            let _ = self.fleet.retire(&id(*n), *at, &mut |_| ());
        }
    }
}

fn alone(trouble: &str, n: u8, rest: &str) -> String {
    format!("{trouble}/identity/{} {rest}", id(n))
}

#[test]
fn one_identity_from_failing_to_renewed() {
    let mut stand = Stand::new();
    stand.issue(1, 0);
    stand.pass(15 * HOUR);
    for _ in 0..2 {
        stand.fail(1, Cause::Dns);
    }
    assert!(stand.due().is_empty(), "a failure or two are nobody's concern");
    stand.fail(1, Cause::Dns);
    assert_eq!(stand.deliver(), [alone("failing", 1, "1")]);
    // What failed is forgotten over a restart, and the alert goes on.
    stand.restart();
    let mut anew = Fleet::default();
    anew.advance(stand.now, &mut |_| ());
    std::mem::swap(&mut stand.fleet, &mut anew);
    stand.now = START;
    stand.serials = 0;
    stand.issue(1, 0);
    stand.now = START + 15 * HOUR;
    assert!(stand.due().is_empty());
    stand.pass(6 * HOUR);
    assert_eq!(stand.deliver(), [alone("failing", 1, "overdue"), alone("overdue", 1, "1")]);
    assert!(stand.due().is_empty(), "told once");
    stand.pass(4 * HOUR);
    assert_eq!(stand.deliver(), [alone("overdue", 1, "expired"), alone("expired", 1, "1")]);
    stand.pass(23 * HOUR);
    assert!(stand.due().is_empty());
    stand.pass(2 * HOUR);
    assert_eq!(stand.deliver(), [alone("expired", 1, "1")], "repeated after a day");
    stand.issue(1, 0);
    assert_eq!(stand.deliver(), [alone("expired", 1, "renewed")]);
    assert!(stand.due().is_empty() && stand.rows.is_empty());
}

#[test]
fn ends_and_their_reasons() {
    type Act = fn(&mut Stand);
    let rows: [(Act, &str); 4] = [
        (|stand| stand.issue(1, 0), "overdue renewed"),
        (|stand| stand.retire(1), "overdue retired"),
        (
            |stand| {
                let serial = stand.fleet.identity(&id(1)).unwrap().serial;
                stand.fleet.revoked(&id(1), &serial, &mut |_| ());
            },
            "overdue retired",
        ),
        (|stand| stand.pass(24 * 9 * HOUR), "overdue forgotten"),
    ];
    for (act, want) in rows {
        let (trouble, why) = want.split_once(' ').unwrap();
        for (send_resolved, delivery, told) in [
            (true, None, true),
            (true, Some(Delivery::Uncertain), true),
            (true, Some(Delivery::NotSent), false),
            (false, None, false),
        ] {
            let mut stand = Stand::new();
            stand.terms.send_resolved = send_resolved;
            stand.issue(1, 0);
            stand.pass(21 * HOUR);
            assert_eq!(stand.due(), [alone("overdue", 1, "1")]);
            stand.send(&Key::Identity(Trouble::Overdue, id(1)), delivery);
            stand.restart();
            act(&mut stand);
            let ends: Vec<String> = if told { vec![alone(trouble, 1, why)] } else { Vec::new() };
            assert_eq!(stand.due(), ends, "{want} {delivery:?}");
            stand.deliver();
            assert!(stand.rows.is_empty() && stand.ledger.entries.is_empty());
        }
    }
}

#[test]
fn late_again_before_the_end_was_told_is_another_alert() {
    let mut stand = Stand::new();
    stand.issue(1, 0);
    stand.pass(21 * HOUR);
    stand.deliver();
    stand.issue(1, 0);
    stand.pass(23 * HOUR);
    assert_eq!(stand.due(), [alone("overdue", 1, "renewed")]);
    assert_eq!(stand.deliver(), [alone("overdue", 1, "renewed")]);
    assert_eq!(stand.deliver(), [alone("overdue", 1, "1")]);
}

#[test]
fn a_pipeline_that_dies_is_one_alert() {
    let mut stand = Stand::new();
    for n in 1..=200 {
        stand.issue(n, u16::from(n > 100));
    }
    stand.issue(250, 0);
    stand.fail(250, Cause::Caa);
    stand.pass(21 * HOUR);
    let told = stand.deliver();
    // One that fails for another reason stands by itself.
    let want = [
        alone("overdue", 250, "1"),
        "overdue/group/silent/p0 100".to_owned(),
        "overdue/group/silent/p1 100".to_owned(),
    ];
    assert_eq!(told, want);
    let group = Key::Group(Trouble::Overdue, None, "p0".into());
    assert_eq!(stand.rows[&group].samples.len(), SAMPLES);
    // Some renew, and the rest of it is still the group: it does not fall apart into single alerts.
    for n in 1..=99 {
        stand.issue(n, 0);
    }
    assert!(stand.due().is_empty());
    assert_eq!(stand.ledger.entries[&group].alert.identities, 1);
    stand.issue(100, 0);
    assert_eq!(stand.deliver(), ["overdue/group/silent/p0 cleared"]);
}

#[test]
fn one_after_the_other_are_told_alone_until_they_are_too_many() {
    let mut stand = Stand::new();
    let mut told = Vec::new();
    for n in 1..=7 {
        stand.issue(n, 0);
        stand.pass(2 * MINUTE);
    }
    stand.pass(20 * HOUR - 30 * MINUTE);
    for _ in 0..90 {
        stand.pass(MINUTE);
        told.extend(stand.deliver());
    }
    let group = |count: u8| format!("overdue/group/silent/p0 {count}");
    let (single, rest) = told.split_at(3);
    assert!(single.iter().all(|one| one.starts_with("overdue/identity/")), "{told:?}");
    assert_eq!(rest, [group(1), group(2), group(4)], "a group is told of again when it has doubled");
}

#[test]
fn what_is_kept_is_bounded() {
    let mut stand = Stand::new();
    stand.terms.individual = 100;
    // Single alerts in many groups, until there are too many of them.
    for provisioner in 0..10_u16 {
        for n in 0..90_u16 {
            let n = provisioner * 90 + n;
            let mut bytes = [0; IdentityId::LEN];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            let not_after = stand.now + 24 * HOUR;
            let issuance = Issuance {
                identity: IdentityId(bytes),
                serial: Serial::new(not_after, [0; 16]),
                issued: stand.now,
                not_before: stand.now,
                not_after,
                revoked: false,
                automatic: false,
                provisioner,
            };
            stand.fleet.learn(&issuance, &mut |_| ());
        }
    }
    stand.pass(21 * HOUR);
    stand.reconcile();
    assert!(stand.ledger.alone <= MOST_ALONE && stand.ledger.entries.len() < MOST_ALONE + 10);
    assert_eq!(stand.ledger.firing().1, 900, "everybody is told of");
}

#[test]
fn news_go_before_repetitions_and_before_what_has_failed() {
    let mut stand = Stand::new();
    stand.issue(1, 0);
    stand.issue(2, 0);
    stand.pass(21 * HOUR);
    let key = |n| Key::Identity(Trouble::Overdue, id(n));
    assert_eq!(stand.due().len(), 2);
    let sent = stand.ledger.prepare(&key(1), Vec::new()).unwrap();
    stand.ledger.refuse(&sent, Delivery::Uncertain, Some(0), stand.now);
    assert_eq!(stand.ledger.due(&stand.terms, stand.now), [key(2)], "what was answered waits by itself");
    stand.pass(MINUTE);
    assert_eq!(stand.ledger.due(&stand.terms, stand.now), [key(2), key(1)]);
    stand.ledger.pace.failed(stand.now, 0);
    assert!(stand.due().is_empty(), "it is given time");
    stand.pass(MINUTE);
    assert_eq!(stand.due().len(), 2);
}

#[test]
fn a_repeated_attempt_is_the_same_attempt_over_a_restart_too() {
    let mut stand = Stand::new();
    for n in 1..=9 {
        stand.issue(n, 0);
    }
    stand.pass(21 * HOUR);
    stand.reconcile();
    let group = Key::Group(Trouble::Overdue, None, "p0".into());
    let first = stand.send(&group, Some(Delivery::Uncertain));
    stand.pass(5 * MINUTE);
    stand.restart();
    stand.reconcile();
    let again = stand.send(&group, None);
    assert_eq!((first.key, first.since, first.told), (again.key, again.since, again.told));
}

/// What happens.
#[derive(Clone, Debug)]
enum Turn {
    Pass(u16),
    Renew(u8),
    Retire(u8),
    Fail(u8, bool),
    /// A round in which the receiver does this to one notice after the other.
    Round(Vec<Luck>),
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Luck {
    Acknowledges,
    /// Takes it in, and the answer is lost.
    TakesIn,
    /// Does not, and nobody knows.
    Swallows,
    /// Is not there.
    Away,
    /// Takes it in; the process ends before that is written down.
    TakesInAndCrash,
}

fn turn() -> impl Strategy<Value = Turn> {
    let luck = prop_oneof![
        4 => Just(Luck::Acknowledges),
        1 => Just(Luck::TakesIn),
        1 => Just(Luck::Swallows),
        2 => Just(Luck::Away),
        1 => Just(Luck::TakesInAndCrash),
    ];
    prop_oneof![
        3 => (1_u16..600).prop_map(Turn::Pass),
        3 => (1_u8..13).prop_map(Turn::Renew),
        1 => (1_u8..13).prop_map(Turn::Retire),
        2 => (1_u8..13, any::<bool>()).prop_map(|(n, dns)| Turn::Fail(n, dns)),
        6 => proptest::collection::vec(luck, 1..8).prop_map(Turn::Round),
        1 => Just(Turn::Restart),
    ]
}

/// What the receiver has heard, and what it knows to go on.
#[derive(Default)]
struct Heard {
    going: HashMap<Key, Timestamp>,
    acknowledged: HashMap<(Key, Timestamp, Option<Serial>), u32>,
    resolved: HashMap<(Key, Timestamp, Option<Serial>), u32>,
}

impl Heard {
    fn take(&mut self, alert: &Alert) {
        if alert.ended.is_some() {
            self.going.remove(&alert.key);
        } else {
            self.going.insert(alert.key.clone(), alert.since);
        }
    }

    fn acknowledge(&mut self, alert: &Alert) {
        self.take(alert);
        let of = if alert.ended.is_some() { &mut self.resolved } else { &mut self.acknowledged };
        *of.entry((alert.key.clone(), alert.since, alert.serial)).or_default() += 1;
    }
}

fn round(stand: &mut Stand, heard: &mut Heard, lucks: &[Luck]) {
    stand.reconcile();
    stand.write();
    stand.ledger.pace.succeeded();
    let due = stand.ledger.due(&stand.terms, stand.now);
    for (key, luck) in due.iter().zip(lucks) {
        let samples = stand.ledger.current(key).iter().map(Sample::of).collect();
        let sent = stand.ledger.prepare(key, samples).unwrap();
        stand.write();
        let delivery = match luck {
            Luck::Acknowledges => {
                heard.acknowledge(&sent.alert);
                None
            }
            Luck::TakesIn => {
                heard.take(&sent.alert);
                Some(Delivery::Uncertain)
            }
            Luck::Swallows => Some(Delivery::Uncertain),
            Luck::Away => Some(Delivery::NotSent),
            Luck::TakesInAndCrash => {
                heard.take(&sent.alert);
                return stand.restart();
            }
        };
        stand.settle(&sent, delivery);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever fails and however often it starts anew: in the end the receiver knows what goes on and
    /// nothing else, and of what it has acknowledged it has acknowledged one end.
    #[test]
    fn nothing_is_lost_and_every_alert_ends_once(turns in proptest::collection::vec(turn(), 1..120)) {
        let (mut stand, mut heard) = (Stand::new(), Heard::default());
        for n in 1..13 {
            stand.issue(n, u16::from(n % 2));
        }
        for turn in turns {
            match turn {
                Turn::Pass(minutes) => stand.pass(MINUTE * u32::from(minutes)),
                Turn::Renew(n) => stand.issue(n, u16::from(n % 2)),
                Turn::Retire(n) => stand.retire(n),
                Turn::Fail(n, dns) => {
                    let cause = if dns { Cause::Dns } else { Cause::Policy };
                    for _ in 0..3 {
                        stand.fail(n, cause);
                    }
                }
                Turn::Round(lucks) => round(&mut stand, &mut heard, &lucks),
                Turn::Restart => stand.restart(),
            }
        }
        let well = [Luck::Acknowledges; 64];
        for _ in 0..3 {
            round(&mut stand, &mut heard, &well);
        }
        // Everybody in trouble is told of, by an alert of its own or among others.
        let mut others: HashMap<Key, u64> = HashMap::new();
        for (group, _, members) in stand.fleet.troubled() {
            for one in members {
                if !heard.going.contains_key(&Key::Identity(group.trouble, one.id)) {
                    // Since a restart, perhaps among those that were told with a reason.
                    let key = stand.ledger.told_as(&group, &format!("p{}", group.provisioner));
                    *others.entry(key).or_default() += 1;
                }
            }
        }
        for (key, count) in &others {
            prop_assert!(heard.going.contains_key(key), "{key} of {count} is not told");
            prop_assert_eq!(stand.ledger.entries[key].alert.identities, *count);
        }
        let groups = heard.going.keys().filter(|key| matches!(key, Key::Group(..))).count();
        prop_assert_eq!(groups, others.len(), "groups of nobody");
        // All is well again: the receiver knows of nothing, and has heard each end once.
        stand.pass(24 * 9 * HOUR);
        for _ in 0..3 {
            round(&mut stand, &mut heard, &well);
        }
        prop_assert!(heard.going.is_empty(), "{:?}", heard.going);
        prop_assert!(stand.rows.is_empty());
        for alert in heard.acknowledged.keys() {
            let ends = heard.resolved.get(alert).copied().unwrap_or_default();
            // An end that was taken in, and acknowledged a second time behind a crash, is one to it.
            prop_assert_eq!(ends, 1, "{:?}", alert);
        }
    }
}

/// What failed is forgotten over a restart: who was told as late for a reason is not told anew as silent.
#[test]
fn a_group_goes_on_over_a_restart() {
    let mut stand = Stand::new();
    for n in 0..20 {
        stand.issue(n, 0);
    }
    stand.pass(20 * HOUR);
    (0..20).for_each(|n| stand.fail(n, Cause::Dns));
    stand.pass(HOUR);
    let told = stand.deliver();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told, ["overdue/group/dns/p0 20"]);
    stand.restart();
    assert_eq!(stand.deliver(), [""; 0]);
    // Some try again, some for another reason; new ones are silent.
    (0..8).for_each(|n| stand.fail(n, Cause::Dns));
    assert_eq!(stand.deliver(), [""; 0]);
    (8..12).for_each(|n| stand.fail(n, Cause::Caa));
    assert_eq!(stand.deliver(), ["overdue/group/caa/p0 4"]);
    // All have renewed: one end for each.
    (0..20).for_each(|n| stand.issue(n, 0));
    assert_eq!(stand.deliver(), ["overdue/group/dns/p0 cleared", "overdue/group/caa/p0 cleared"]);
    assert!(stand.rows.is_empty());
}
