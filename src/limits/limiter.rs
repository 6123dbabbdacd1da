//! The limits in force, and what counts against them.

use std::fmt;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::gcra::{Bucket, Quota};
use super::keyed::{Key, Keyed, State};
use super::open::Open;
use super::{LIMITS, Limit, Rules, Source};
use crate::time::Timestamp;

impl State for Bucket {
    fn is_idle(&self, now: Timestamp) -> bool {
        self.is_full(now)
    }
}

/// A refusal: which limit, and when to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its key in `[limits]`.
    pub limit: &'static str,
    /// The rule, for people.
    pub rule: String,
    /// How long to wait.
    pub wait: Duration,
    /// Until when that is.
    pub until: Timestamp,
}

impl Refused {
    /// Of the rule of that key.
    pub fn new(limit: &'static str, rule: String, wait: Duration, now: Timestamp) -> Self {
        // To the whole second above: whoever comes then is let in.
        let wait = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        Self { limit, rule, wait, until: now + wait }
    }

    /// For `Retry-After`: whole seconds, at least 1.
    pub fn seconds(&self) -> u64 {
        self.wait.as_secs().max(1)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, rule, until, .. } = self;
        write!(f, "{limit}: {rule}; try again in {} s, at {until}", self.seconds())
    }
}

/// All limits.
pub struct Limiter {
    rules: RwLock<Rules>,
    buckets: [Keyed<Bucket>; LIMITS],
    open: Keyed<Open>,
    /// Of all accounts together, by how long their orders live.
    everybody: Mutex<Vec<(Duration, Open)>>,
}

impl Limiter {
    /// With nothing counted yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: RwLock::new(rules),
            buckets: std::array::from_fn(|_| Keyed::new()),
            open: Keyed::new(),
            everybody: Mutex::default(),
        }
    }

    /// Puts other rules into force; what was counted stays.
    pub fn reload(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules<R>(&self, read: impl FnOnce(&Rules) -> R) -> R {
        read(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where a client comes from.
    pub fn source(&self, peer: std::net::IpAddr) -> Source {
        self.rules(|rules| rules.source(peer))
    }

    /// Whether a limit is in force for that source.
    fn quota(&self, limit: Limit, from: &Source) -> Option<Quota> {
        if from.exempt { None } else { self.rules(|rules| rules.quota(limit)) }
    }

    fn bucket<R>(&self, limit: Limit, key: &Key, now: Timestamp, change: impl FnOnce(&mut Bucket) -> R) -> R {
        self.buckets[limit as usize].with(key, now, change)
    }

    /// Takes one.
    pub fn take(&self, limit: Limit, key: &Key, from: &Source, now: Timestamp) -> Result<(), Refused> {
        let Some(quota) = self.quota(limit, from) else { return Ok(()) };
        let taken = self.bucket(limit, key, now, |bucket| {
            *bucket = quota.settled(*bucket, now);
            quota.take(*bucket, now).map(|next| *bucket = next)
        });
        taken.map_err(|wait| refused(limit, quota, wait, now))
    }

    /// Whether one could be taken.
    pub fn peek(&self, limit: Limit, key: &Key, from: &Source, now: Timestamp) -> Result<(), Refused> {
        let Some(quota) = self.quota(limit, from) else { return Ok(()) };
        let looked = self.bucket(limit, key, now, |bucket| {
            *bucket = quota.settled(*bucket, now);
            quota.take(*bucket, now).map(drop)
        });
        looked.map_err(|wait| refused(limit, quota, wait, now))
    }

    /// Counts what has happened, for a later [`Limiter::peek`] to see.
    pub fn charge(&self, limit: Limit, key: &Key, now: Timestamp) {
        if let Some(quota) = self.rules(|rules| rules.quota(limit)) {
            self.bucket(limit, key, now, |bucket| *bucket = quota.charge(*bucket, now));
        }
    }

    /// Gives one back that was taken for nothing.
    pub fn give_back(&self, limit: Limit, key: &Key, from: &Source, now: Timestamp) {
        if let Some(quota) = self.quota(limit, from) {
            self.bucket(limit, key, now, |bucket| *bucket = quota.give_back(*bucket));
        }
    }

    fn everybody<R>(&self, life: Duration, change: impl FnOnce(&mut Open) -> R) -> R {
        let mut everybody = self.everybody.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, open)) = everybody.iter_mut().find(|(known, _)| *known == life) {
            return change(open);
        }
        let mut open = Open::default();
        let changed = change(&mut open);
        everybody.push((life, open));
        changed
    }

    /// How many orders are open, of all accounts together; limited or not.
    pub fn open_orders(&self, now: Timestamp) -> u64 {
        let mut everybody = self.everybody.lock().unwrap_or_else(PoisonError::into_inner);
        everybody.iter_mut().map(|(life, open)| open.now(*life, now)).sum()
    }

    /// Counts an order that an account opens, of that life.
    pub fn open(&self, account: &Key, life: Duration, from: &Source, now: Timestamp) -> Result<(), Refused> {
        self.admit(account, life, from, now)?;
        self.everybody(life, |open| open.count(life, now, now));
        Ok(())
    }

    fn admit(&self, account: &Key, life: Duration, from: &Source, now: Timestamp) -> Result<(), Refused> {
        let Some(most) = self.rules(|rules| rules.open_orders) else { return Ok(()) };
        if from.exempt {
            self.open.with(account, now, |open| open.count(life, now, now));
            return Ok(());
        }
        self.open.with(account, now, |open| open.open(most, life, now)).map_err(|wait| {
            Refused::new("open_orders", format!("{most} orders of one account open at once"), wait, now)
        })
    }

    /// Counts an open order that is there already.
    pub fn count_open(&self, account: &Key, life: Duration, opened: Timestamp, now: Timestamp) {
        self.everybody(life, |open| open.count(life, opened, now));
        if self.rules(|rules| rules.open_orders.is_some()) {
            self.open.with(account, now, |open| open.count(life, opened, now));
        }
    }

    /// An order has got its certificate.
    pub fn close(&self, account: &Key, life: Duration, opened: Timestamp, now: Timestamp) {
        self.everybody(life, |open| open.close(life, opened, now));
        if self.rules(|rules| rules.open_orders.is_some()) {
            self.open.with(account, now, |open| open.close(life, opened, now));
        }
    }
}

fn refused(limit: Limit, quota: Quota, wait: Duration, now: Timestamp) -> Refused {
    Refused::new(limit.name(), format!("{quota} are the {} accepted", limit.whose()), wait, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_secs(1_793_318_400);
    const KEY: Key = [7; 16];
    const HOUR: Duration = Duration::from_secs(3600);

    fn rules(count: u32) -> Rules {
        let mut rules = Rules { open_orders: Some(2), ..Rules::default() };
        for limit in Limit::ALL {
            rules.set(*limit, Quota::new(count, HOUR));
        }
        rules
    }

    #[test]
    fn every_limit_counts_for_itself_and_says_when() {
        let (limiter, from) = (Limiter::new(rules(2)), Source::default());
        for limit in Limit::ALL {
            limiter.take(*limit, &KEY, &from, T0).unwrap();
            limiter.peek(*limit, &KEY, &from, T0).unwrap();
            limiter.take(*limit, &KEY, &from, T0).unwrap();
            let refused = limiter.take(*limit, &KEY, &from, T0).unwrap_err();
            assert_eq!(limiter.peek(*limit, &KEY, &from, T0), Err(refused.clone()));
            assert_eq!((refused.seconds(), refused.until), (1800, T0 + HOUR / 2));
            let text = refused.to_string();
            assert!(text.starts_with(limit.name()) && text.contains("2 per 1 h"), "{text}");
            assert!(text.contains("in 1800 s") && text.contains(&refused.until.to_string()), "{text}");
            // Others are not concerned.
            limiter.take(*limit, &[8; 16], &from, T0).unwrap();
            limiter.give_back(*limit, &KEY, &from, T0);
            limiter.take(*limit, &KEY, &from, T0).unwrap();
            limiter.take(*limit, &KEY, &from, refused.until).unwrap();
        }
    }

    #[test]
    fn whole_seconds_are_long_enough() {
        let mut all = rules(1);
        all.set(Limit::AccountOrders, Quota::new(7, Duration::from_secs(10)));
        let (limiter, from) = (Limiter::new(all), Source::default());
        let mut now = T0;
        for _ in 0..50 {
            while limiter.take(Limit::AccountOrders, &KEY, &from, now).is_ok() {}
            let refused = limiter.take(Limit::AccountOrders, &KEY, &from, now).unwrap_err();
            now = now + Duration::from_secs(refused.seconds());
            limiter.take(Limit::AccountOrders, &KEY, &from, now).unwrap();
            now = now + Duration::from_millis(137);
        }
    }

    #[test]
    fn exempt_sources_and_switched_off_limits() {
        let limiter = Limiter::new(rules(1));
        let exempt = Source { exempt: true, ..Source::default() };
        for _ in 0..100 {
            limiter.take(Limit::NetworkOrders, &KEY, &exempt, T0).unwrap();
            limiter.open(&KEY, HOUR, &exempt, T0).unwrap();
        }
        limiter.take(Limit::NetworkOrders, &KEY, &Source::default(), T0).unwrap();
        // Open orders are counted all the same: they are there.
        assert_eq!(limiter.open(&KEY, HOUR, &Source::default(), T0).unwrap_err().limit, "open_orders");
        let mut off = rules(1);
        off.set(Limit::AccountOrders, None);
        off.open_orders = None;
        limiter.reload(off);
        for _ in 0..100 {
            limiter.take(Limit::AccountOrders, &KEY, &Source::default(), T0).unwrap();
            limiter.open(&KEY, HOUR, &Source::default(), T0).unwrap();
        }
        // What was taken stays taken over a reload.
        assert!(limiter.take(Limit::NetworkOrders, &KEY, &Source::default(), T0).is_err());
    }

    #[test]
    fn a_stricter_quota_lets_in_when_it_said() {
        let mut all = rules(1);
        for peek in [false, true] {
            all.set(Limit::AccountOrders, Quota::new(12, 24 * HOUR));
            let (limiter, from) = (Limiter::new(all.clone()), Source::default());
            while limiter.take(Limit::AccountOrders, &KEY, &from, T0).is_ok() {}
            all.set(Limit::AccountOrders, Quota::new(12, HOUR));
            limiter.reload(all.clone());
            let refused = match peek {
                true => limiter.peek(Limit::AccountOrders, &KEY, &from, T0),
                false => limiter.take(Limit::AccountOrders, &KEY, &from, T0),
            };
            let refused = refused.unwrap_err();
            assert_eq!(refused.wait, HOUR / 12);
            limiter.take(Limit::AccountOrders, &KEY, &from, refused.until).unwrap();
        }
    }

    #[test]
    fn charges_are_seen_later() {
        let (limiter, from) = (Limiter::new(rules(1)), Source::default());
        limiter.peek(Limit::AccountFailures, &KEY, &from, T0).unwrap();
        limiter.charge(Limit::AccountFailures, &KEY, T0);
        limiter.charge(Limit::AccountFailures, &KEY, T0);
        assert_eq!(limiter.peek(Limit::AccountFailures, &KEY, &from, T0).unwrap_err().seconds(), 3600);
    }

    #[test]
    fn open_orders_come_back() {
        let (limiter, from) = (Limiter::new(rules(1)), Source::default());
        limiter.open(&KEY, HOUR, &from, T0).unwrap();
        limiter.count_open(&KEY, HOUR, T0 - HOUR / 2, T0);
        limiter.open(&KEY, HOUR, &from, T0).unwrap_err();
        limiter.close(&KEY, HOUR, T0, T0);
        limiter.open(&KEY, HOUR, &from, T0).unwrap();
        limiter.open(&KEY, HOUR, &from, T0).unwrap_err();
    }
}
