//! Requests for certificates that were refused, as they are kept: each once, and how often it came.
//!
//! Whoever has an account can be refused with every request, so what is kept of that is bounded three times:
//! what is refused again for the same reason is counted in the row that it has; an account has so many rows
//! in an hour, and all together so many in a second; and what is beyond that is counted in one row more.
//! [`Collected`] says what is to be written; it is told of refusals, and waits for nobody.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::acme::error::ErrorKind;
use crate::authority::certificate::Client;
use crate::id::{AccountId, OrderId};
use crate::time::Timestamp;
use crate::x509::key_hash::KeyHash;
use crate::x509::serial::Serial;

/// How long repetitions are counted in one row.
pub const SPAN: Duration = Duration::from_secs(3600);

/// Rows of one account in that time.
pub const MOST_OF_ACCOUNT: u32 = 200;

/// New rows between two writes, which are a second apart.
pub const MOST_AT_ONCE: usize = 64;

/// Rows of one write: some hundred kilobytes.
pub const AT_ONCE: usize = 256;

/// How long a row that is written waits until its count is written again.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Rows in which repetitions are counted; accounts that are counted.
pub const MOST_OPEN: usize = 1024;
const MOST_ACCOUNTS: usize = 4096;

/// Bytes of a refusal's reason, of a profile's name as the client wrote it, of a name, and of all names.
const LONGEST_DETAIL: usize = 400;
const LONGEST_PROFILE: usize = 64;
const LONGEST_NAME: usize = 255;
const LONGEST_NAMES: usize = 1024;

/// What was asked for. The order of variants is part of the record format: add at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Asked {
    /// An order (newOrder).
    Order,
    /// An authorization ahead of any order (newAuthz).
    Authorization,
    /// The certificate of an order (finalize).
    Certificate,
    /// Whatever there was beyond what is kept one by one.
    Others,
}

impl Asked {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Authorization => "authorization",
            Self::Certificate => "certificate",
            Self::Others => "others",
        }
    }
}

/// One refused request, or several that are alike: of what differs between them, that of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRequest {
    /// When it was refused first.
    pub first: Timestamp,
    /// When it was last.
    pub last: Timestamp,
    /// How often.
    pub times: u64,
    /// What was asked for.
    pub asked: Asked,
    /// The provisioner's name.
    pub provisioner: String,
    /// The authority that it issues under, and the key identifier of the issuer that would have signed.
    pub authority: String,
    /// See there.
    pub issuer: [u8; 20],
    /// Whose request it was; none if it is that of several.
    pub account: Option<AccountId>,
    /// The order that was to be finalized.
    pub order: Option<OrderId>,
    /// The first names, as they were asked for.
    pub names: Vec<String>,
    /// How many names there were besides.
    pub others: u32,
    /// The profile that was asked for.
    pub profile: Option<String>,
    /// The key that was to be certified.
    pub key: Option<KeyHash>,
    /// The certificate that was to be replaced.
    pub replaces: Option<Serial>,
    /// What kind of refusal.
    pub error: ErrorKind,
    /// Why, as the client was told.
    pub detail: String,
    /// Who sent it.
    pub client: Option<Client>,
}

/// Whether a character moves what is around it when a terminal or a page shows it.
fn moves(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The beginning of a text, with nothing in it that would be more than text.
fn cut(text: &str, most: usize) -> String {
    let mut kept = String::new();
    for c in text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }) {
        if kept.len() + c.len_utf8() > most {
            break;
        }
        kept.push(c);
    }
    kept
}

impl RefusedRequest {
    /// Keeps so much of it that it is of bounded size, and text only: clients have written some of it.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let mut room = LONGEST_NAMES;
        let all = self.names.len();
        let names = self.names.iter().map(|name| cut(name, LONGEST_NAME));
        self.names = names
            .take_while(|name| {
                room = room.saturating_sub(name.len() + 1);
                room > 0
            })
            .collect();
        let dropped = u32::try_from(all - self.names.len()).unwrap_or(u32::MAX);
        self.others = self.others.saturating_add(dropped);
        self.profile = self.profile.map(|profile| cut(&profile, LONGEST_PROFILE));
        self.detail = cut(&self.detail, LONGEST_DETAIL);
        self
    }
}

/// What repetitions have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    account: Option<AccountId>,
    asked: Asked,
    error: Option<ErrorKind>,
    names: Vec<String>,
    others: u32,
}

impl Kind {
    fn of(request: &RefusedRequest) -> Self {
        let RefusedRequest { account, asked, error, names, others, .. } = request;
        Self { account: *account, asked: *asked, error: Some(*error), names: names.clone(), others: *others }
    }

    fn beyond(account: Option<AccountId>) -> Self {
        Self { account, asked: Asked::Others, error: None, names: Vec::new(), others: 0 }
    }
}

/// A row in which repetitions are counted.
#[derive(Debug)]
struct Open {
    row: RefusedRequest,
    /// Its number, once it has one.
    number: Option<u64>,
    /// Since when it is as it was written; none if it is not.
    written: Option<Timestamp>,
    changed: bool,
    /// Whether it was taken last, and may be put back.
    taken: bool,
}

/// What was refused lately, on its way to the store.
#[derive(Debug, Default)]
pub struct Collected {
    open: HashMap<Kind, Open>,
    accounts: HashMap<AccountId, (Timestamp, u32)>,
    /// New rows since the last write.
    fresh: usize,
}

impl Collected {
    /// Takes in a refusal.
    pub fn note(&mut self, request: RefusedRequest) {
        let request = request.bounded();
        let (kind, now) = (Kind::of(&request), request.last);
        if let Some(open) = self.open.get_mut(&kind) {
            return open.again(request);
        }
        if request.account.is_some_and(|account| self.may_have_more(account, now)) && self.has_room() {
            if let Some((_, rows)) = request.account.and_then(|account| self.accounts.get_mut(&account)) {
                *rows += 1;
            }
            return self.begin(kind, request);
        }
        self.note_beyond(request);
    }

    /// Counts what is not kept one by one: by account, as long as there is room for that.
    fn note_beyond(&mut self, request: RefusedRequest) {
        let known = request.account.filter(|account| self.accounts.contains_key(account));
        let row = RefusedRequest {
            asked: Asked::Others,
            account: None,
            order: None,
            names: Vec::new(),
            others: 0,
            profile: None,
            key: None,
            replaces: None,
            ..request
        };
        for account in known.map(Some).into_iter().chain([None]) {
            let (kind, row) = (Kind::beyond(account), RefusedRequest { account, ..row.clone() });
            if let Some(open) = self.open.get_mut(&kind) {
                return open.again(row);
            }
            // The one row of all accounts finds room in any case.
            if account.is_none() || self.has_room() {
                return self.begin(kind, row);
            }
        }
    }

    fn begin(&mut self, kind: Kind, row: RefusedRequest) {
        self.fresh += 1;
        self.open.insert(kind, Open { row, number: None, written: None, changed: true, taken: false });
    }

    fn may_have_more(&mut self, account: AccountId, now: Timestamp) -> bool {
        if !self.accounts.contains_key(&account) && self.accounts.len() >= MOST_ACCOUNTS {
            return false;
        }
        let (since, rows) = self.accounts.entry(account).or_insert((now, 0));
        if now.since(*since) >= SPAN {
            (*since, *rows) = (now, 0);
        }
        *rows < MOST_OF_ACCOUNT
    }

    /// Whether one more row may be begun; a row that is as it was written, and has not been counted in for
    /// longest, makes room.
    fn has_room(&mut self) -> bool {
        if self.fresh >= MOST_AT_ONCE {
            return false;
        }
        if self.open.len() < MOST_OPEN {
            return true;
        }
        let unchanged = self.open.iter().filter(|(_, open)| !open.changed && !open.taken);
        let Some(oldest) = unchanged.min_by_key(|(_, open)| open.row.last).map(|(kind, _)| kind.clone())
        else {
            return false;
        };
        self.open.remove(&oldest);
        true
    }

    /// What is to be written now, [`AT_ONCE`] at most, by number: new rows get those behind `last`, which is
    /// moved on, and so do those whose number is no more than `going`, which is kept no longer. What was taken
    /// the last time cannot be put back any more. With `all`, counts are written that would wait otherwise.
    pub fn take(
        &mut self,
        now: Timestamp,
        all: bool,
        last: &mut u64,
        going: u64,
    ) -> Vec<(u64, RefusedRequest)> {
        self.fresh = 0;
        self.open.retain(|_, open| open.changed || !open.has_ended(now));
        self.open.values_mut().for_each(|open| open.taken = false);
        self.accounts.retain(|_, (since, _)| now.since(*since) < SPAN && *since <= now);
        let mut due = Vec::new();
        for open in self.open.values_mut().filter(|open| open.changed) {
            let ripe = open.written.is_none_or(|at| now.since(at) >= PATIENCE || at > now);
            if all || ripe || open.has_ended(now) {
                due.push(open);
            }
        }
        due.sort_by_key(|open| (open.row.first, open.number));
        due.truncate(AT_ONCE);
        let mut rows = Vec::with_capacity(due.len());
        for open in due {
            open.number = open.number.filter(|number| *number > going);
            let number = *open.number.get_or_insert_with(|| {
                *last += 1;
                *last
            });
            (open.changed, open.written, open.taken) = (false, Some(now), true);
            rows.push((number, open.row.clone()));
        }
        rows
    }

    /// Takes back what was taken last and could not be written, to write it with what comes next.
    pub fn put_back(&mut self, rows: Vec<(u64, RefusedRequest)>) {
        for (number, row) in rows {
            let kind = match row.asked {
                Asked::Others => Kind::beyond(row.account),
                Asked::Order | Asked::Authorization | Asked::Certificate => Kind::of(&row),
            };
            // It is there still, perhaps with more counted in it: what is taken stays until the next time.
            if let Some(open) = self.open.get_mut(&kind).filter(|open| open.number == Some(number)) {
                (open.changed, open.written, open.taken) = (true, None, false);
            }
        }
    }
}

impl Open {
    /// Counts one more in it; of what differs, the newest is of most use.
    fn again(&mut self, request: RefusedRequest) {
        let (first, times) = (self.row.first, self.row.times.saturating_add(request.times));
        self.row = RefusedRequest { first, times, ..request };
        self.changed = true;
    }

    fn has_ended(&self, now: Timestamp) -> bool {
        now.since(self.row.first) >= SPAN || self.row.first > now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn refused(account: u8, name: &str, secs: u64) -> RefusedRequest {
        RefusedRequest {
            first: at(secs),
            last: at(secs),
            times: 1,
            asked: Asked::Order,
            provisioner: "acme".into(),
            authority: "prod".into(),
            issuer: [7; 20],
            account: Some(AccountId::new([account; 16])),
            order: None,
            names: vec![name.to_owned()],
            others: 0,
            profile: None,
            key: None,
            replaces: None,
            error: ErrorKind::RejectedIdentifier,
            detail: format!("at {secs}"),
            client: None,
        }
    }

    #[test]
    fn what_is_alike_is_counted_in_one_row_for_an_hour() {
        let (mut collected, mut last) = (Collected::default(), 6);
        collected.note(refused(1, "a.test", 100));
        collected.note(refused(1, "a.test", 100));
        collected.note(refused(2, "a.test", 100));
        let rows = collected.take(at(101), false, &mut last, 0);
        assert_eq!(rows.iter().map(|(number, row)| (*number, row.times)).collect::<Vec<_>>().len(), 2);
        assert_eq!(last, 8);
        let number = rows.iter().find(|(_, row)| row.times == 2).unwrap().0;
        // The count waits a little.
        collected.note(refused(1, "a.test", 105));
        assert_eq!(collected.take(at(106), false, &mut last, 0), []);
        let again = collected.take(at(111), false, &mut last, 0);
        assert_eq!((again[0].0, again[0].1.times, again.len()), (number, 3, 1));
        assert_eq!((again[0].1.first, again[0].1.last), (at(100), at(105)));
        assert_eq!(again[0].1.detail, "at 105");
        // A stop does not wait.
        collected.note(refused(1, "a.test", 112));
        assert_eq!(collected.take(at(112), true, &mut last, 0)[0].1.times, 4);
        // Another hour, another row.
        assert_eq!(collected.take(at(100 + 3600), false, &mut last, 0), []);
        collected.note(refused(1, "a.test", 3700));
        let next = collected.take(at(3701), false, &mut last, 0);
        assert_eq!((next[0].0, next[0].1.times), (9, 1));
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let (mut collected, mut last) = (Collected::default(), 0);
        collected.note(refused(1, "a.test", 100));
        let rows = collected.take(at(101), false, &mut last, 0);
        collected.put_back(rows.clone());
        assert_eq!(collected.take(at(101), false, &mut last, 0), rows);
        // Counted in meanwhile, and with its hour over.
        let rows = collected.take(at(100), false, &mut last, 0);
        assert_eq!(rows, []);
        collected.note(refused(1, "a.test", 102));
        let rows = collected.take(at(4000), false, &mut last, 0);
        assert_eq!((rows.len(), rows[0].1.times, last), (1, 2, 1));
        collected.put_back(rows.clone());
        assert_eq!(collected.take(at(4001), false, &mut last, 0), rows);
        assert_eq!(collected.take(at(4002), false, &mut last, 0), []);
        assert!(collected.open.is_empty());
    }

    #[test]
    fn rows_are_of_bounded_size() {
        let mut large = refused(1, "a.test", 1);
        large.names = (0..5000).map(|n| format!("{n}.{}.test", "x".repeat(50))).collect();
        (large.detail, large.profile) = ("ä".repeat(4000), Some("é".repeat(4000)));
        let kept = large.bounded();
        assert_eq!(kept.names.len() + kept.others as usize, 5000);
        assert!(kept.names.len() > 10 && postcard::to_allocvec(&kept).unwrap().len() < 2048);
    }

    #[test]
    fn what_clients_wrote_is_text_and_names_of_nothing_take_room_too() {
        let mut odd = refused(1, "\u{1b}]0;x\u{7}\nforged\u{9b}2J\u{202e}", 1);
        (odd.detail, odd.profile) = ("a\rb".into(), Some("p\u{85}q".into()));
        odd.names.extend(vec![String::new(); 3000]);
        let kept = odd.bounded();
        assert_eq!(kept.names[0], "\u{fffd}]0;x\u{fffd}\u{fffd}forged\u{fffd}2J\u{fffd}");
        assert_eq!((kept.detail.as_str(), kept.profile.as_deref()), ("a\u{fffd}b", Some("p\u{fffd}q")));
        assert!(kept.names.len() <= LONGEST_NAMES && kept.names.len() + kept.others as usize == 3001);
    }

    #[test]
    fn a_row_that_goes_gets_a_number_that_stays() {
        let (mut collected, mut last) = (Collected::default(), 0);
        collected.note(refused(1, "a.test", 100));
        assert_eq!(collected.take(at(101), false, &mut last, 0)[0].0, 1);
        last = 20_000;
        collected.note(refused(1, "a.test", 200));
        let again = collected.take(at(201), false, &mut last, 11_000);
        assert_eq!((again[0].0, again[0].1.times), (20_001, 2));
    }

    proptest! {
        /// Nothing is lost from the count, and the bounds hold, whoever asks for whatever.
        #[test]
        fn all_are_counted_in_few_rows(asks in prop::collection::vec((0..40u8, 0..3000u32, 0..3u64), 1..4000)) {
            let (mut collected, mut last, mut now) = (Collected::default(), 0, 1000);
            let mut kept: HashMap<u64, RefusedRequest> = HashMap::new();
            let (mut many, mut seconds) = (asks.len() as u64, 0);
            for (place, (account, name, wait)) in asks.into_iter().enumerate() {
                collected.note(refused(account, &format!("{name}.test"), now));
                // Seldom, so that a second has many.
                if place % 200 == 199 {
                    now += wait;
                    seconds += 1;
                    let rows = collected.take(at(now), false, &mut last, 0);
                    // The one row of all accounts comes besides.
                    prop_assert!(last <= seconds * (MOST_AT_ONCE as u64 + 1));
                    match wait {
                        1 => {
                            // More are refused while the store takes its time to say no.
                            for n in 0..80 {
                                collected.note(refused(account, &format!("{}.test", name + n), now));
                                many += 1;
                            }
                            collected.put_back(rows);
                        }
                        _ => kept.extend(rows),
                    }
                }
                prop_assert!(collected.open.len() <= MOST_OPEN + 1);
            }
            loop {
                let rows = collected.take(at(now), true, &mut last, 0);
                prop_assert!(rows.len() <= AT_ONCE);
                if rows.is_empty() {
                    break;
                }
                kept.extend(rows);
            }
            prop_assert_eq!(kept.values().map(|row| row.times).sum::<u64>(), many);
            prop_assert_eq!(kept.len() as u64, last);
        }
    }

    #[test]
    fn an_account_has_its_share() {
        let (mut collected, mut last) = (Collected::default(), 0);
        let mut kept: HashMap<u64, RefusedRequest> = HashMap::new();
        for second in 0..300 {
            for n in 0..10 {
                collected.note(refused(1, &format!("{second}-{n}.test"), second));
            }
            kept.extend(collected.take(at(second), false, &mut last, 0));
        }
        collected.note(refused(2, "a.test", 300));
        kept.extend(collected.take(at(301), true, &mut last, 0));
        assert_eq!(kept.len(), MOST_OF_ACCOUNT as usize + 2);
        let others: Vec<_> = kept.values().filter(|row| row.asked == Asked::Others).collect();
        assert_eq!((others.len(), others[0].times), (1, 3000 - u64::from(MOST_OF_ACCOUNT)));
        assert_eq!(others[0].account, Some(AccountId::new([1; 16])));
    }
}
